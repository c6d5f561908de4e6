//! Layouts, shader modules and pipelines, each made once for a device.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::cache::CacheDirectory;
use super::context::Context;
use super::lock::lock;
use super::shader::{Access, Shader};
use super::texture;
use crate::error::{Error, Result};
use crate::ops::Precision;

/// A shader with its override constants.
#[derive(Debug, Clone)]
pub(crate) struct PipelineRequest {
    pub(crate) shader: Shader,
    pub(crate) overrides: Vec<(&'static str, f64)>,
}

impl PipelineRequest {
    pub(crate) fn key(&self) -> PipelineKey {
        PipelineKey {
            source: self.shader.shared_source().clone(),
            foreign: self.shader.is_foreign(),
            overrides: bits(&self.overrides),
        }
    }
}

fn bits(overrides: &[(&'static str, f64)]) -> Vec<(&'static str, u64)> {
    overrides
        .iter()
        .map(|(name, value)| (*name, value.to_bits()))
        .collect()
}

/// What tells pipelines apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PipelineKey {
    source: Arc<str>,
    foreign: bool,
    overrides: Vec<(&'static str, u64)>,
}

impl Hash for PipelineKey {
    /// Of the source only the length: hashing tens of kilobytes for each dispatch would take longer than all the rest of
    /// recording it, and comparing is fast.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.len().hash(state);
        self.overrides.hash(state);
    }
}

#[derive(Debug, Clone)]
struct StorageLayout {
    group: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
}

#[derive(Debug)]
pub(crate) struct PipelineCache {
    parameters: wgpu::BindGroupLayout,
    layouts: Mutex<HashMap<Vec<Access>, StorageLayout>>,
    /// By their source, and whether it keeps the run-time checks.
    modules: Mutex<HashMap<(Arc<str>, bool), wgpu::ShaderModule>>,
    pipelines: Mutex<HashMap<PipelineKey, wgpu::ComputePipeline>>,
    /// What the driver compiled, and where it is kept in a file.
    compiled: Option<(wgpu::PipelineCache, CacheDirectory)>,
}

/// The file of what the driver compiled, and how much of it is looked at.
const COMPILED_FILE: &str = "pipelines.bin";
const MOST_COMPILED_BYTES: u64 = 1 << 28;

fn entry(
    binding: u32,
    ty: wgpu::BufferBindingType,
    dynamic: Option<u64>,
) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: dynamic.is_some(),
            min_binding_size: dynamic.and_then(wgpu::BufferSize::new),
        },
        count: None,
    }
}

fn texture_entry(binding: u32, precision: Precision) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::StorageTexture {
            access: wgpu::StorageTextureAccess::ReadOnly,
            format: texture::format(precision),
            view_dimension: wgpu::TextureViewDimension::D2,
        },
        count: None,
    }
}

/// The largest uniform of a kernel, and the size of the uniform binding.
pub(crate) const UNIFORM_BYTES: usize = 4096;

/// Bytes of the binding of a relative step; WebGL-class adapters want multiples of 16.
pub(crate) const STEP_BYTES: u64 = 16;

impl PipelineCache {
    /// With what `cache` keeps, where the device has the feature for it.
    pub(crate) fn new(device: &wgpu::Device, cache: Option<CacheDirectory>) -> Self {
        let uniform = wgpu::BufferBindingType::Uniform;
        let parameters = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("parameters"),
            entries: &[
                entry(0, uniform, Some(UNIFORM_BYTES as u64)),
                entry(1, uniform, Some(STEP_BYTES)),
            ],
        });
        Self {
            parameters,
            layouts: Mutex::default(),
            modules: Mutex::default(),
            pipelines: Mutex::default(),
            compiled: cache
                .filter(|_| (device.features()).contains(wgpu::Features::PIPELINE_CACHE))
                .map(|cache| (compiled(device, &cache), cache)),
        }
    }

    /// The layout of group 0.
    pub(crate) fn parameters_layout(&self) -> &wgpu::BindGroupLayout {
        &self.parameters
    }

    /// The layout of group 1 for buffers used in this way.
    pub(crate) fn storage_layout(
        &self,
        context: &Context,
        bindings: &[Access],
    ) -> Result<wgpu::BindGroupLayout> {
        Ok(self.layout(context, bindings)?.group)
    }

    fn layout(&self, context: &Context, bindings: &[Access]) -> Result<StorageLayout> {
        if let Some(layout) = lock(&self.layouts).get(bindings) {
            return Ok(layout.clone());
        }
        let entries: Vec<_> = (0..)
            .zip(bindings)
            .map(|(binding, access)| match access {
                Access::Texture(precision) => texture_entry(binding, *precision),
                Access::Read | Access::ReadWrite => {
                    let read_only = *access == Access::Read;
                    let storage = wgpu::BufferBindingType::Storage { read_only };
                    entry(binding, storage, None)
                }
            })
            .collect();
        let layout = context.scoped(|| {
            let group = context
                .device
                .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                    label: Some("storage"),
                    entries: &entries,
                });
            let pipeline = context
                .device
                .create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                    label: Some("wgpu-rnn"),
                    bind_group_layouts: &[Some(&self.parameters), Some(&group)],
                    immediate_size: 0,
                });
            StorageLayout { group, pipeline }
        })?;
        lock(&self.layouts).insert(bindings.to_vec(), layout.clone());
        Ok(layout)
    }

    fn module(&self, context: &Context, shader: &Shader) -> Result<wgpu::ShaderModule> {
        let key = (shader.shared_source().clone(), shader.is_foreign());
        if let Some(module) = lock(&self.modules).get(&key) {
            return Ok(module.clone());
        }
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(shader.label()),
            source: wgpu::ShaderSource::Wgsl(Cow::Borrowed(shader.source())),
        };
        let foreign = shader.is_foreign();
        let module = context.scoped(|| create_module(context, foreign, descriptor))?;
        lock(&self.modules).insert(key, module.clone());
        Ok(module)
    }

    fn create(
        &self,
        context: &Context,
        request: &PipelineRequest,
    ) -> Result<wgpu::ComputePipeline> {
        let key = request.key();
        if let Some(pipeline) = lock(&self.pipelines).get(&key) {
            return Ok(pipeline.clone());
        }
        let shader = &request.shader;
        let describe = |error| match error {
            Error::Device(text) if shader.is_foreign() => Error::Operation {
                operation: shader.label().to_owned(),
                reason: format!("its shader cannot be compiled: {text}"),
            },
            Error::Device(text) => Error::Device(format!("shader `{}`: {text}", shader.label())),
            error => error,
        };
        let layout = self.layout(context, shader.bindings())?;
        let module = self.module(context, shader).map_err(describe)?;
        let pipeline = context
            .scoped(|| {
                context
                    .device
                    .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                        label: Some(shader.label()),
                        layout: Some(&layout.pipeline),
                        module: &module,
                        entry_point: Some("main"),
                        compilation_options: wgpu::PipelineCompilationOptions {
                            constants: &request.overrides,
                            // The crate's kernels write workgroup memory before they read it.
                            zero_initialize_workgroup_memory: shader.is_foreign(),
                        },
                        cache: self.compiled.as_ref().map(|(compiled, _)| compiled),
                    })
            })
            .map_err(describe)?;
        lock(&self.pipelines).insert(key, pipeline.clone());
        Ok(pipeline)
    }

    /// The pipelines of all `requests`, in their order; those that are missing are compiled on several threads, because
    /// `wgpu` compiles synchronously and drivers take up to seconds each.
    pub(crate) fn get_all(
        &self,
        context: &Context,
        requests: &[PipelineRequest],
    ) -> Result<Vec<wgpu::ComputePipeline>> {
        let missing: Vec<&PipelineRequest> = {
            let pipelines = lock(&self.pipelines);
            let absent = |request: &&PipelineRequest| !pipelines.contains_key(&request.key());
            requests.iter().filter(absent).collect()
        };
        self.create_all(context, &missing)?;
        if let (Some((compiled, cache)), false) = (&self.compiled, missing.is_empty())
            && let Some(bytes) = compiled.get_data()
        {
            cache.store(COMPILED_FILE, &bytes);
        }
        requests
            .iter()
            .map(|request| self.create(context, request))
            .collect()
    }

    fn create_all(&self, context: &Context, missing: &[&PipelineRequest]) -> Result<()> {
        let threads = match cfg!(target_family = "wasm") {
            true => 1,
            false => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let next = AtomicUsize::new(0);
        // Error scopes belong to a thread: each creation opens its own.
        let work = || -> Result<()> {
            while let Some(request) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.create(context, request)?;
            }
            Ok(())
        };
        if threads.min(missing.len()) <= 1 {
            return work();
        }
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads.min(missing.len()))
                .map(|_| scope.spawn(work))
                .collect();
            handles
                .into_iter()
                .try_for_each(|handle| match handle.join() {
                    Ok(result) => result,
                    Err(_) => Err(Error::Device("a shader compiler panicked".to_owned())),
                })
        })
    }
}

#[expect(
    unsafe_code,
    reason = "wgpu cannot tell that a file holds what it once wrote"
)]
fn compiled(device: &wgpu::Device, cache: &CacheDirectory) -> wgpu::PipelineCache {
    let data = cache.load(COMPILED_FILE, MOST_COMPILED_BYTES);
    let descriptor = wgpu::PipelineCacheDescriptor {
        label: Some("wgpu-rnn"),
        data: data.as_deref(),
        // What another driver or version of wgpu wrote is begun anew.
        fallback: true,
    };
    // SAFETY: the caller named a directory that only the user writes to; in files of this name there, what `get_data` gave is
    // put as a whole. `wgpu` checks its header, with adapter and driver.
    unsafe { device.create_pipeline_cache(&descriptor) }
}

#[expect(
    unsafe_code,
    reason = "modules without run-time checks are an unsafe call of wgpu's"
)]
fn create_module(
    context: &Context,
    foreign: bool,
    descriptor: wgpu::ShaderModuleDescriptor<'_>,
) -> wgpu::ShaderModule {
    if foreign || context.options.checked {
        context.device.create_shader_module(descriptor)
    } else {
        // SAFETY: it is one of the crate's own shaders: the ranges and tables of every operation are checked against its buffers when a plan is loaded, and the
        // kernels' loops are bounded by those same sizes.
        unsafe {
            context
                .device
                .create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        }
    }
}
