//! Ranges of `wgpu` buffers, and the way of their elements from and to the host.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::context::Context;
use super::lock::lock;
use crate::device::DeviceBuffer;
use crate::error::{Error, Result};
use crate::ops::Precision;

/// The alignment of an imported range: WebGPU's default for a storage binding.
const IMPORT_ALIGNMENT: u64 = 256;
/// The smallest buffer: an empty one still has to be bound.
const SMALLEST: u64 = 16;

/// A range of a `wgpu` buffer, with the device that it belongs to.
#[derive(Debug, Clone)]
pub struct BufferSlice {
    /// Of the device.
    owner: u64,
    buffer: wgpu::Buffer,
    /// In bytes.
    offset: u64,
    /// In bytes, at least 4.
    size: u64,
    precision: Precision,
}

impl BufferSlice {
    /// The buffer.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// First byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes; a little more than the elements need if there are none.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn create(
        context: &Context,
        label: &str,
        (len, precision): (usize, Precision),
    ) -> Result<Self> {
        let size = check_size(context, label, (len, precision))?;
        let buffer = context
            .scoped(|| {
                context.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(label),
                    size,
                    usage: wgpu::BufferUsages::STORAGE
                        | wgpu::BufferUsages::COPY_SRC
                        | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            })
            .map_err(|error| match error {
                Error::OutOfMemory(_) => {
                    Error::OutOfMemory(format!("buffer `{label}` of {size} bytes"))
                }
                error => error,
            })?;
        Ok(Self {
            owner: context.id,
            buffer,
            offset: 0,
            size,
            precision,
        })
    }

    pub(crate) fn import(
        context: &Context,
        buffer: &wgpu::Buffer,
        offset: u64,
        len: usize,
    ) -> Result<Self> {
        let size = (len as u64).saturating_mul(4);
        let end = offset.checked_add(size);
        if len == 0 || end.is_none_or(|end| end > buffer.size()) {
            return Err(Error::shape(
                "imported buffer",
                format!("1 element or more within {} bytes", buffer.size()),
                format!("{len} elements from byte {offset} on"),
            ));
        }
        let alignment = IMPORT_ALIGNMENT.max(u64::from(
            context.limits.min_storage_buffer_offset_alignment,
        ));
        if !offset.is_multiple_of(alignment) {
            return Err(Error::shape(
                "offset of an imported buffer",
                format!("a multiple of {alignment} bytes"),
                offset,
            ));
        }
        require_usage(buffer, wgpu::BufferUsages::STORAGE)?;
        check_size(context, "imported buffer", (len, Precision::F32))?;
        Ok(Self {
            owner: context.id,
            buffer: buffer.clone(),
            offset,
            size,
            precision: Precision::F32,
        })
    }

    /// Replaces elements from `offset` on; all of them, if they are not stored in `f32`.
    pub(crate) fn write(&self, context: &Context, offset: usize, values: &[f32]) -> Result<()> {
        require_usage(&self.buffer, wgpu::BufferUsages::COPY_DST)?;
        let offset = self.offset + self.precision.bytes(offset);
        let halves;
        let bytes = match self.precision {
            Precision::F32 => bytemuck::cast_slice(values),
            Precision::F16 => {
                halves = to_halves(values);
                bytemuck::cast_slice(&halves)
            }
        };
        context.scoped(|| context.queue.write_buffer(&self.buffer, offset, bytes))
    }

    /// How its elements are stored.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// Whether its content can be copied from.
    pub(crate) fn check_readable(&self) -> Result<()> {
        require_usage(&self.buffer, wgpu::BufferUsages::COPY_SRC)
    }

    pub(crate) fn binding(&self) -> wgpu::BufferBinding<'_> {
        wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: wgpu::BufferSize::new(self.size),
        }
    }
}

fn require_usage(buffer: &wgpu::Buffer, usage: wgpu::BufferUsages) -> Result<()> {
    if buffer.usage().contains(usage) {
        Ok(())
    } else {
        Err(Error::Device(format!(
            "an imported buffer needs usage {usage:?}, it has {:?}",
            buffer.usage()
        )))
    }
}

/// As the shaders store it (`lib/half.wgsl`), and a zero for whole words.
fn to_halves(values: &[f32]) -> Vec<u16> {
    let largest = f32::from(half::f16::MAX);
    let bounded = values.iter().map(|value| value.clamp(-largest, largest));
    let mut halves: Vec<u16> = bounded
        .map(|value| half::f16::from_f32(value).to_bits())
        .collect();
    halves.resize(halves.len().next_multiple_of(2), 0);
    halves
}

/// Bytes that a copy of so many elements takes: whole words.
pub(crate) fn copied_bytes(len: usize, precision: Precision) -> u64 {
    precision.bytes(len).next_multiple_of(4)
}

/// Bytes of a buffer of so many elements, or [`Error::Limit`].
pub(crate) fn check_size(
    context: &Context,
    label: &str,
    (len, precision): (usize, Precision),
) -> Result<u64> {
    let limits = &context.limits;
    let limit = limits
        .max_buffer_size
        .min(limits.max_storage_buffer_binding_size);
    let needed = (precision.bytes(len).checked_next_multiple_of(4))
        .unwrap_or(u64::MAX)
        .max(SMALLEST);
    if needed <= limit {
        Ok(needed)
    } else {
        Err(Error::Limit {
            what: format!("buffer `{label}` (bytes)"),
            needed,
            limit,
            advice: "use fewer sequences or shorter chunks of time in one batch",
        })
    }
}

/// The GPU range behind a device buffer.
pub(crate) fn slice_of(
    context: &Context,
    buffer: &DeviceBuffer,
    what: &str,
) -> Result<Arc<BufferSlice>> {
    let slice = buffer.storage::<BufferSlice>(what)?;
    match slice.owner == context.id {
        true => Ok(slice),
        false => Err(Error::ForeignBuffer(what.to_owned())),
    }
}

/// A buffer of `size` bytes that the host can map to read.
pub(crate) fn staging(context: &Context, size: u64) -> Result<wgpu::Buffer> {
    context.scoped(|| {
        context.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("staging"),
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    })
}

/// Submits a copy of `len` elements from element `offset` of `slice` on to the start of `staging`.
pub(crate) fn copy_to(
    context: &Context,
    slice: &BufferSlice,
    offset: usize,
    staging: &wgpu::Buffer,
    len: usize,
) -> Result<wgpu::SubmissionIndex> {
    slice.check_readable()?;
    let offset = slice.offset + 4 * offset as u64;
    context.scoped(|| {
        let mut encoder = context.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&slice.buffer, offset, staging, 0, 4 * len as u64);
        context.queue.submit([encoder.finish()])
    })
}

/// Where copied elements go, and how they were stored.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) precision: Precision,
}

impl<'a> From<&'a mut [f32]> for Part<'a> {
    fn from(values: &'a mut [f32]) -> Self {
        let precision = Precision::F32;
        Self { values, precision }
    }
}

impl Part<'_> {
    fn bytes(&self) -> u64 {
        copied_bytes(self.values.len(), self.precision)
    }

    /// Takes them from the start of `bytes`.
    fn fill(&mut self, bytes: &[u8]) {
        let stored = &bytes[..self.precision.bytes(self.values.len()) as usize];
        match self.precision {
            Precision::F32 => {
                bytemuck::cast_slice_mut::<f32, u8>(self.values).copy_from_slice(stored);
            }
            Precision::F16 => {
                for (value, half) in self.values.iter_mut().zip(stored.chunks_exact(2)) {
                    *value = half::f16::from_le_bytes([half[0], half[1]]).into();
                }
            }
        }
    }
}

/// Maps `staging` after `submission` and copies its first elements to `parts`, one after the other, waiting.
pub(crate) fn fetch(
    context: &Context,
    staging: &wgpu::Buffer,
    submission: wgpu::SubmissionIndex,
    parts: &mut [Part<'_>],
) -> Result<()> {
    let mapping = Mapping::start(context, staging, parts.iter().map(Part::bytes).sum())?;
    context.wait(submission)?;
    let result = mapping.wait(context)?;
    finish(context, staging, result, parts)
}

/// Like [`fetch`] without blocking the caller's thread.
pub(crate) async fn fetch_async(
    context: &Arc<Context>,
    staging: &wgpu::Buffer,
    submission: wgpu::SubmissionIndex,
    part: Part<'_>,
) -> Result<()> {
    let mapping = Mapping::start(context, staging, part.bytes())?;
    // Natively nobody else need be polling the device, so a thread waits for the submission: the executor's thread stays
    // free. A browser polls by itself.
    #[cfg(not(target_family = "wasm"))]
    {
        let (context, mapping) = (Arc::clone(context), mapping.clone());
        std::thread::spawn(move || {
            let result = context.wait(submission);
            if result.and_then(|()| mapping.wait(&context)).is_err() {
                mapping.settle(Err(()));
            }
        });
    }
    #[cfg(target_family = "wasm")]
    let _ = submission;
    let result = mapping.await;
    finish(context, staging, result, &mut [part])
}

fn finish(
    context: &Context,
    staging: &wgpu::Buffer,
    mapped: Mapped,
    parts: &mut [Part<'_>],
) -> Result<()> {
    context.check_lost()?;
    // A buffer of our own that no longer maps: that is how a device that was lost shows itself.
    mapped.map_err(|()| context.mark_lost("a buffer could not be mapped"))?;
    let _turn = context.turn();
    {
        let view = staging
            .get_mapped_range(..parts.iter().map(Part::bytes).sum::<u64>())
            .map_err(|error| Error::Device(error.to_string()))?;
        let mut rest = &view[..];
        for part in parts {
            part.fill(rest);
            rest = &rest[part.bytes() as usize..];
        }
    }
    staging.unmap();
    Ok(())
}

type Mapped = std::result::Result<(), ()>;

#[derive(Debug, Default)]
struct MappingState {
    result: Option<Mapped>,
    waker: Option<Waker>,
}

/// A mapping under way: its callback sets the result and wakes whoever waits, a task or a thread.
#[derive(Debug, Clone, Default)]
struct Mapping {
    state: Arc<(Mutex<MappingState>, Condvar)>,
}

impl Mapping {
    fn start(context: &Context, staging: &wgpu::Buffer, bytes: u64) -> Result<Self> {
        let mapping = Self::default();
        let done = mapping.clone();
        context.scoped(|| {
            staging.map_async(wgpu::MapMode::Read, ..bytes, move |result| {
                done.settle(result.map_err(|_| ()));
            });
        })?;
        Ok(mapping)
    }

    fn settle(&self, result: Mapped) {
        let mut state = lock(&self.state.0);
        state.result.get_or_insert(result);
        self.state.1.notify_all();
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Waits for the callback. The device was polled, but another thread that polls too may be the one to call it.
    fn wait(&self, context: &Context) -> Result<Mapped> {
        let mut state = lock(&self.state.0);
        loop {
            if let Some(result) = state.result {
                return Ok(result);
            }
            let pause = Duration::from_millis(10);
            let (woken, timeout) =
                (self.state.1.wait_timeout(state, pause)).unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                drop(woken);
                context.check_lost()?;
                context.poll();
                state = lock(&self.state.0);
            } else {
                state = woken;
            }
        }
    }
}

impl Future for Mapping {
    type Output = Mapped;

    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.state.0);
        match state.result {
            Some(result) => Poll::Ready(result),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
