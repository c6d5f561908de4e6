//! What a device's buffers and plans share: the `wgpu` handles, what was asked of them and the state of being lost.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::lock::lock;
use super::options::GpuOptions;
use crate::error::{Error, Result};
use crate::ops::Precision;

/// Why the device is lost, if it is.
pub(crate) type Lost = Arc<Mutex<Option<String>>>;

#[derive(Debug)]
pub(crate) struct Context {
    /// Tells devices apart; handles of `wgpu` from different instances may compare equal.
    pub(crate) id: u64,
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) info: wgpu::AdapterInfo,
    pub(crate) limits: wgpu::Limits,
    pub(crate) options: GpuOptions,
    pub(crate) lost: Lost,
    /// See [`Context::turn`].
    pub(crate) turns: Mutex<()>,
}

/// A number that no other device has.
pub(crate) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Context {
    /// Whether buffers can be stored in this precision.
    pub(crate) fn can_store(&self, precision: Precision) -> bool {
        let needed = match precision {
            Precision::F32 => wgpu::Features::empty(),
            Precision::F16 => wgpu::Features::SHADER_F16,
        };
        self.device.features().contains(needed)
    }

    /// [`Error::DeviceLost`] once the device was lost.
    pub(crate) fn check_lost(&self) -> Result<()> {
        match &*lock(&self.lost) {
            None => Ok(()),
            Some(reason) => Err(Error::DeviceLost(reason.clone())),
        }
    }

    /// Remembers that the device is gone; the first reason counts.
    pub(crate) fn mark_lost(&self, reason: impl Into<String>) -> Error {
        let mut lost = lock(&self.lost);
        Error::DeviceLost(lost.get_or_insert_with(|| reason.into()).clone())
    }

    /// On GL only one thread at a time may use the context, and `wgpu` panics in one that waited six seconds for it: there,
    /// threads take turns here, where they can wait as long as it takes.
    pub(crate) fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        (self.info.backend == wgpu::Backend::Gl).then(|| lock(&self.turns))
    }

    /// Runs `work` and returns the first error that `wgpu` reported meanwhile. Without scopes `wgpu` would hand it to the
    /// host program's handler, which panics by default.
    pub(crate) fn scoped<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let _turn = self.turn();
        self.check_lost()?;
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let value = work();
        let errors = [
            settled(validation.pop()),
            settled(internal.pop()),
            settled(memory.pop()),
        ];
        self.check_lost()?;
        match errors.into_iter().flatten().next() {
            None => Ok(value),
            Some(wgpu::Error::OutOfMemory { source }) => Err(Error::OutOfMemory(chain(&*source))),
            Some(_) if self.is_gone() => {
                Err(self.mark_lost("it was destroyed, or the driver reset it"))
            }
            Some(error) => Err(Error::Device(error.to_string())),
        }
    }

    /// Whether the device was lost without our being told, because the callback is the caller's or has not run yet. `wgpu`
    /// reports no errors of a lost device: a buffer seems to be created, but cannot be mapped.
    fn is_gone(&self) -> bool {
        let filter = wgpu::ErrorFilter::Validation;
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let creation = self.device.push_error_scope(filter);
        let probe = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("probe"),
            size: 16,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let created = settled(creation.pop()).is_none() && settled(memory.pop()).is_none();
        let mapping = self.device.push_error_scope(filter);
        probe.map_async(wgpu::MapMode::Read, .., |_| ());
        let mapped = settled(mapping.pop()).is_none();
        created && !mapped
    }

    /// Waits until the work up to `submission` is done.
    pub(crate) fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<()> {
        loop {
            let turn = self.turn();
            let result = self.device.poll(wgpu::PollType::Wait {
                submission_index: Some(submission.clone()),
                // On GL in short turns, so that other threads get theirs.
                timeout: turn.is_some().then_some(Duration::from_millis(20)),
            });
            drop(turn);
            self.check_lost()?;
            match result {
                Ok(_) => return Ok(()),
                Err(wgpu::PollError::Timeout) => {}
                Err(error) => {
                    let _turn = self.turn();
                    // A lost device takes submissions without a word, then knows nothing of them.
                    return Err(match self.is_gone() {
                        true => self.mark_lost("it was destroyed, or the driver reset it"),
                        false => Error::Device(error.to_string()),
                    });
                }
            }
        }
    }

    /// Lets callbacks run, without waiting.
    pub(crate) fn poll(&self) {
        let _turn = self.turn();
        // What goes wrong shows in the callbacks.
        let _ = self.device.poll(wgpu::PollType::Poll);
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// An error scope's result. Natively it is there at once. In a browser it comes later: there this gives nothing rather
/// than block, and an error shows in the browser's console and at the next read.
fn settled(future: impl Future<Output = Option<wgpu::Error>>) -> Option<wgpu::Error> {
    match pin!(future).poll(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(error) => error,
        Poll::Pending => None,
    }
}
