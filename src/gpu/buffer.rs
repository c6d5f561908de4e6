//! Ranges of `wgpu` buffers, and the way of their elements from and to the host.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::context::{Context, lock};
use crate::device::{DeviceBuffer, Storage};
use crate::error::{Error, Result};

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

    pub(crate) fn create(context: &Context, label: &str, len: usize) -> Result<Self> {
        let size = check_size(context, label, len)?;
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
        check_size(context, "imported buffer", len)?;
        Ok(Self {
            owner: context.id,
            buffer: buffer.clone(),
            offset,
            size,
        })
    }

    pub(crate) fn write(&self, context: &Context, offset: usize, values: &[f32]) -> Result<()> {
        require_usage(&self.buffer, wgpu::BufferUsages::COPY_DST)?;
        let offset = self.offset + 4 * offset as u64;
        context.scoped(|| {
            context
                .queue
                .write_buffer(&self.buffer, offset, bytemuck::cast_slice(values));
        })
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

/// Bytes of a buffer of `len` elements, or [`Error::Limit`].
pub(crate) fn check_size(context: &Context, label: &str, len: usize) -> Result<u64> {
    let limits = &context.limits;
    let limit = limits
        .max_buffer_size
        .min(limits.max_storage_buffer_binding_size);
    let needed = (len as u64).saturating_mul(4).max(SMALLEST);
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
pub(crate) fn slice_of<'a>(
    context: &Context,
    buffer: &'a DeviceBuffer,
    what: &str,
) -> Result<&'a BufferSlice> {
    match &buffer.storage {
        Storage::Gpu(slice) if slice.owner == context.id => Ok(slice),
        _ => Err(Error::ForeignBuffer(what.to_owned())),
    }
}

/// A buffer that the host can map to read `len` elements.
pub(crate) fn staging(context: &Context, len: usize) -> Result<wgpu::Buffer> {
    context.scoped(|| {
        context.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("staging"),
            size: 4 * len as u64,
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

/// Maps `staging` after `submission` and copies its first elements to `parts`, one after the other, waiting.
pub(crate) fn fetch(
    context: &Context,
    staging: &wgpu::Buffer,
    submission: wgpu::SubmissionIndex,
    parts: &mut [&mut [f32]],
) -> Result<()> {
    let len = parts.iter().map(|values| values.len()).sum();
    let mapping = Mapping::start(context, staging, len)?;
    context.wait(submission)?;
    let result = mapping.wait(context)?;
    finish(context, staging, result, parts)
}

/// Like [`fetch`] without blocking the caller's thread.
pub(crate) async fn fetch_async(
    context: &Arc<Context>,
    staging: &wgpu::Buffer,
    submission: wgpu::SubmissionIndex,
    values: &mut [f32],
) -> Result<()> {
    let mapping = Mapping::start(context, staging, values.len())?;
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
    finish(context, staging, result, &mut [values])
}

fn finish(
    context: &Context,
    staging: &wgpu::Buffer,
    mapped: Mapped,
    parts: &mut [&mut [f32]],
) -> Result<()> {
    context.check_lost()?;
    // A buffer of our own that no longer maps: that is how a device that was lost shows itself.
    mapped.map_err(|()| context.mark_lost("a buffer could not be mapped"))?;
    let _turn = context.turn();
    {
        let len: usize = parts.iter().map(|values| size_of_val(*values)).sum();
        let view = staging
            .get_mapped_range(..len as u64)
            .map_err(|error| Error::Device(error.to_string()))?;
        let mut rest = &view[..];
        for values in parts {
            let (part, after) = rest.split_at(size_of_val(*values));
            bytemuck::cast_slice_mut::<f32, u8>(values).copy_from_slice(part);
            rest = after;
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
    fn start(context: &Context, staging: &wgpu::Buffer, len: usize) -> Result<Self> {
        let mapping = Self::default();
        let done = mapping.clone();
        context.scoped(|| {
            staging.map_async(wgpu::MapMode::Read, ..4 * len as u64, move |result| {
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
