//! How long each dispatch of a section takes on the device, by timestamp queries.

use super::buffer;
use super::context::Context;
use super::plan::GpuPlan;
use crate::device::Span;
use crate::error::{Error, Result};
use crate::ops::Section;

/// Queries of a set: WebGPU's limit. Two for each dispatch.
const QUERIES: usize = 4096;

impl GpuPlan {
    /// [`Plan::profile`](crate::device::Plan::profile): each dispatch gets a pass of its own, between two timestamps.
    pub(super) fn measure(&mut self, section: Section) -> Result<Vec<Span>> {
        let context = self.context().clone();
        if !(context.device.features()).contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Err(Error::Device(
                "to profile, the device has to have the feature TIMESTAMP_QUERY".to_owned(),
            ));
        }
        let count = self.labels(section).count();
        let stopwatch = Stopwatch::new(&context)?;
        let mut ticks = Vec::with_capacity(2 * count);
        let mut start = 0;
        while start < count {
            let end = count.min(start + QUERIES / 2);
            ticks.extend(stopwatch.measure(&context, |encoder| {
                self.encode_timed(section, start..end, encoder, &stopwatch.queries);
                end - start
            })?);
            start = end;
        }
        let period = f64::from(context.queue.get_timestamp_period());
        let origin = ticks.first().copied().unwrap_or(0);
        let since = |tick: u64| tick.saturating_sub(origin) as f64 * period * 1e-9;
        let spans = (self.labels(section).zip(ticks.chunks_exact(2)))
            .map(|((label, workgroups), ticks)| Span {
                label: label.to_owned(),
                workgroups,
                start: since(ticks[0]),
                end: since(ticks[1]),
            })
            .collect();
        Ok(spans)
    }
}

impl GpuPlan {
    /// Seconds that a section takes in one pass, the device's feature TIMESTAMP_QUERY given.
    pub(super) fn duration(&self, section: Section) -> Result<f64> {
        let context = self.context();
        let stopwatch = Stopwatch::new(context)?;
        let ticks = stopwatch.measure(context, |encoder| {
            self.encode_whole(section, encoder, &stopwatch.queries);
            1
        })?;
        let period = f64::from(context.queue.get_timestamp_period());
        Ok(ticks[1].saturating_sub(ticks[0]) as f64 * period * 1e-9)
    }
}

/// A set of queries and the buffers that their results pass through.
struct Stopwatch {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
}

impl Stopwatch {
    fn new(context: &Context) -> Result<Self> {
        context.scoped(|| {
            let device = &context.device;
            let resolved = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
            Self {
                queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("profile"),
                    ty: wgpu::QueryType::Timestamp,
                    count: QUERIES as u32,
                }),
                resolved: device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("timestamps"),
                    size: 8 * QUERIES as u64,
                    usage: resolved,
                    mapped_at_creation: false,
                }),
                staging: device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("timestamps"),
                    size: 8 * QUERIES as u64,
                    usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                }),
            }
        })
    }

    /// Submits what `encode` writes, which says how many dispatches it measures; returns two ticks for each.
    fn measure(
        &self,
        context: &Context,
        encode: impl FnOnce(&mut wgpu::CommandEncoder) -> usize,
    ) -> Result<Vec<u64>> {
        let (submission, count) = context.scoped(|| {
            let mut encoder = context.device.create_command_encoder(&Default::default());
            let count = 2 * encode(&mut encoder);
            let bytes = 8 * count as u64;
            encoder.resolve_query_set(&self.queries, 0..count as u32, &self.resolved, 0);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.staging, 0, bytes);
            (context.queue.submit([encoder.finish()]), count)
        })?;
        // The ticks are read as pairs of the numbers that buffers hold, bit for bit.
        let mut words = vec![0.0f32; 2 * count];
        let mut parts = [(&mut words[..]).into()];
        buffer::fetch(context, &self.staging, submission, &mut parts)?;
        let bits =
            |words: &[f32]| u64::from(words[0].to_bits()) | u64::from(words[1].to_bits()) << 32;
        Ok(words.chunks_exact(2).map(bits).collect())
    }
}
