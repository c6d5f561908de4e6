//! The device: requested by ourselves or made of the caller's.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::adapter;
use super::buffer::{self, BufferSlice};
use super::cache::CacheDirectory;
use super::choice::Choices;
use super::context::{Context, Lost, next_id};
use super::loader::Loader;
use super::lock::lock;
use super::options::{GpuOptions, LimitsChoice, Tuning};
use super::pipeline::PipelineCache;
use super::plan::GpuPlan;
use super::tuner::{self, Tuned};
use crate::device::{Device, DeviceBuffer, Plan};
use crate::error::{Error, Result};
use crate::ops::{BufferId, Precision, Program};

/// Features that a caller's device must have: none.
pub const REQUIRED_FEATURES: wgpu::Features = wgpu::Features::empty();

/// Features that are used where a device has them, a caller's too: subgroups by kernels, half precision by programs that
/// [store](Precision) in it, timestamps by [`Plan::profile`] and [`GpuDevice::tune`], compiled pipelines by a
/// [cache](GpuOptions::cache_directory).
pub const OPTIONAL_FEATURES: wgpu::Features = (wgpu::Features::SUBGROUP
    .union(wgpu::Features::SHADER_F16)
    .union(wgpu::Features::TIMESTAMP_QUERY))
.union(wgpu::Features::PIPELINE_CACHE);

/// Multiply-adds of a submission on a software GL: some tenths of a second.
const SOFTWARE_GL_BUDGET: u64 = 1 << 27;

/// Limits that a caller's device must have at least: WebGPU's defaults. (A network that fits may need less; what does not
/// fit is refused when it is loaded.)
pub fn required_limits() -> wgpu::Limits {
    wgpu::Limits::default()
}

/// A GPU, or a software adapter. Clones are the same device and share buffers; two made separately do not, even over one
/// underlying device.
#[derive(Debug, Clone)]
pub struct GpuDevice {
    loader: Arc<Loader>,
}

impl GpuDevice {
    /// Requests a device of its own. `WGPU_BACKEND` and `WGPU_ADAPTER_NAME` say what `options` leave open.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], which says what was looked for, what is there and what to install.
    pub async fn request(options: &GpuOptions) -> Result<Self> {
        let adapter = adapter::choose(options).await?;
        let info = adapter.get_info();
        let optional = match options.limits {
            LimitsChoice::Adapter => OPTIONAL_FEATURES & adapter.features(),
            LimitsChoice::Default => wgpu::Features::empty(),
        };
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("wgpu-rnn"),
                required_features: REQUIRED_FEATURES | optional,
                required_limits: adapter::limits(&adapter, options.limits),
                ..Default::default()
            })
            .await
            .map_err(|error| adapter::refused(&info, &error))?;
        let lost = Lost::default();
        let remember = lost.clone();
        // The callback is a single slot of the device; this device is ours, so the slot is too.
        device.set_device_lost_callback(move |reason, message| {
            log::error!("the GPU device was lost ({reason:?}): {message}");
            lock(&remember).get_or_insert_with(|| format!("{reason:?}: {message}"));
        });
        Ok(Self::new(device, queue, info, options.clone(), lost))
    }

    /// Like [`request`](Self::request), waiting.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    #[cfg(not(target_family = "wasm"))]
    pub fn request_blocking(options: &GpuOptions) -> Result<Self> {
        pollster::block_on(Self::request(options))
    }

    /// Uses a device of the caller's, with at least [`REQUIRED_FEATURES`] and, for the largest networks,
    /// [`required_limits`]. Features of [`OPTIONAL_FEATURES`] that it has are used. Of `options` the strategy, the
    /// submit budget, the checks and the use of subgroups count.
    ///
    /// The device-lost callback and the handler of uncaptured errors stay the caller's: forward a loss with
    /// [`mark_lost`](Self::mark_lost), else it is noticed at the next read.
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue, options: &GpuOptions) -> Self {
        let info = device.adapter_info();
        Self::new(device, queue, info, options.clone(), Lost::default())
    }

    fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        info: wgpu::AdapterInfo,
        mut options: GpuOptions,
        lost: Lost,
    ) -> Self {
        let limits = device.limits();
        // A software GL computes inside the submission and keeps the context meanwhile: others have to wait for it.
        if info.backend == wgpu::Backend::Gl && info.device_type == wgpu::DeviceType::Cpu {
            options.submit_budget = options.submit_budget.min(SOFTWARE_GL_BUDGET);
        }
        log::info!(
            "GPU device {}: {} KiB workgroup memory, {} invocations, {} storage buffers, bindings of {} MiB",
            adapter::describe(&info),
            limits.max_compute_workgroup_storage_size >> 10,
            limits.max_compute_invocations_per_workgroup,
            limits.max_storage_buffers_per_shader_stage,
            limits.max_storage_buffer_binding_size >> 20,
        );
        let cache = options.cache.as_deref();
        let cache = cache.map(|directory| CacheDirectory::new(directory, &info));
        let pipelines = PipelineCache::new(&device, cache.clone());
        let context = Context {
            id: next_id(),
            device,
            queue,
            info,
            limits,
            options,
            lost,
            turns: Mutex::default(),
        };
        Self {
            loader: Arc::new(Loader {
                context: Arc::new(context),
                pipelines,
                choices: Choices::load(cache),
            }),
        }
    }

    fn context(&self) -> &Arc<Context> {
        &self.loader.context
    }

    /// Measures tiles and strategies for the recurrences of a program that nothing is known of, in buffers of their own, for
    /// the plans that are loaded from now on; returns what was measured. Takes up to some seconds for each on a slow adapter.
    /// With a [cache](GpuOptions::cache_directory) the choices are kept.
    ///
    /// # Errors
    /// [`Error::Device`] in a browser, where nothing can be waited for; else as [`Device::load`].
    pub fn tune(&self, program: &Program) -> Result<Vec<Tuned>> {
        self.context().check_lost()?;
        match tuner::CAN_TUNE {
            true => tuner::tune(&self.loader, program),
            false => Err(Error::Device(
                "tuning has to wait for the device".to_owned(),
            )),
        }
    }

    /// Whether programs can have buffers that are stored in this precision: the underlying device has what it takes.
    pub fn can_store(&self, precision: Precision) -> bool {
        self.context().can_store(precision)
    }

    /// Tells that the underlying device was lost: from now on every call returns [`Error::DeviceLost`].
    pub fn mark_lost(&self, reason: &str) {
        self.context().mark_lost(reason);
    }

    /// The underlying device.
    pub fn wgpu_device(&self) -> &wgpu::Device {
        &self.context().device
    }

    /// The underlying queue.
    pub fn wgpu_queue(&self) -> &wgpu::Queue {
        &self.context().queue
    }

    /// The adapter.
    pub fn adapter_info(&self) -> &wgpu::AdapterInfo {
        &self.context().info
    }

    /// How it was set up.
    pub fn options(&self) -> &GpuOptions {
        &self.context().options
    }

    /// `len` elements of a buffer of the caller's, from byte `offset` on, to be bound to an external buffer, an input or an
    /// output of a program, or read and written. Ranges of one buffer can be bound to several of them, unless one operation
    /// reads the one and writes the other. The buffer must belong to this device's underlying device: `wgpu` refuses another one's late, or panics
    /// if it comes from another instance.
    ///
    /// # Errors
    /// [`Error::Shape`] if the range is empty, lies outside, or `offset` is not aligned to 256 bytes;
    /// [`Error::Device`] if the buffer lacks the usage `STORAGE`.
    pub fn import(&self, buffer: &wgpu::Buffer, offset: u64, len: usize) -> Result<DeviceBuffer> {
        self.context().check_lost()?;
        let slice = BufferSlice::import(self.context(), buffer, offset, len)?;
        Ok(DeviceBuffer::new(Arc::new(slice), len))
    }

    /// Like [`Device::read`], without blocking the executor's thread.
    ///
    /// # Errors
    /// As [`Device::read`].
    pub async fn read_async(&self, buffer: &DeviceBuffer, range: Range<usize>) -> Result<Vec<f32>> {
        let slice = self.slice(buffer)?;
        buffer.check_range(&range, range.len())?;
        let mut values = vec![0.0; range.len()];
        if !values.is_empty() {
            let staging = buffer::staging(self.context(), 4 * values.len() as u64)?;
            let copy =
                buffer::copy_to(self.context(), &slice, range.start, &staging, values.len())?;
            buffer::fetch_async(self.context(), &staging, copy, (&mut values[..]).into()).await?;
        }
        Ok(values)
    }

    /// Like [`Device::load`], as the type that can also record into a caller's encoder.
    ///
    /// # Errors
    /// As [`Device::load`].
    pub fn load_plan(
        &self,
        program: Program,
        external: &[(BufferId, DeviceBuffer)],
    ) -> Result<GpuPlan> {
        if self.options().tuning == Tuning::OnFirstUse && tuner::CAN_TUNE {
            tuner::tune(&self.loader, &program)?;
        }
        GpuPlan::load(&self.loader, program, external, None)
    }

    #[cfg(test)]
    pub(super) fn loader(&self) -> &Loader {
        &self.loader
    }

    fn slice(&self, buffer: &DeviceBuffer) -> Result<Arc<BufferSlice>> {
        self.context().check_lost()?;
        buffer::slice_of(self.context(), buffer, "argument")
    }
}

/// Measured on Mesa's lavapipe, where 16 to 64 differ little; a GPU's dispatches cost less against its steps.
const WAVE_STEPS: usize = 32;

impl Device for GpuDevice {
    fn wave_steps(&self) -> Option<usize> {
        Some(WAVE_STEPS)
    }

    fn name(&self) -> String {
        adapter::describe(&self.context().info)
    }

    fn buffer(&self, label: &str, len: usize) -> Result<DeviceBuffer> {
        self.context().check_lost()?;
        let slice = BufferSlice::create(self.context(), label, (len, Precision::F32))?;
        Ok(DeviceBuffer::new(Arc::new(slice), len))
    }

    fn write(&self, buffer: &DeviceBuffer, offset: usize, values: &[f32]) -> Result<()> {
        let slice = self.slice(buffer)?;
        let end = offset.checked_add(values.len()).ok_or(Error::Overflow {
            what: "range of a device buffer",
            detail: format!("{offset} + {}", values.len()),
        })?;
        buffer.check_range(&(offset..end), values.len())?;
        slice.write(self.context(), offset, values)
    }

    fn read(&self, buffer: &DeviceBuffer, range: Range<usize>) -> Result<Vec<f32>> {
        let slice = self.slice(buffer)?;
        buffer.check_range(&range, range.len())?;
        let mut values = vec![0.0; range.len()];
        if !values.is_empty() {
            let staging = buffer::staging(self.context(), 4 * values.len() as u64)?;
            let copy =
                buffer::copy_to(self.context(), &slice, range.start, &staging, values.len())?;
            let mut parts = [(&mut values[..]).into()];
            buffer::fetch(self.context(), &staging, copy, &mut parts)?;
        }
        Ok(values)
    }

    fn load(
        &self,
        program: Program,
        external: &[(BufferId, DeviceBuffer)],
    ) -> Result<Box<dyn Plan>> {
        Ok(Box::new(self.load_plan(program, external)?))
    }
}
