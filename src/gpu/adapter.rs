//! Finds an adapter: by backend, by name, best kind first.

use super::options::{GpuOptions, LimitsChoice};
use crate::error::{Error, Result};

#[cfg(target_os = "linux")]
const INSTALL: &str = "Install the GPU vendor's Vulkan driver, or a software one (Debian, Ubuntu: \
    `apt-get install mesa-vulkan-drivers libegl1 libgl1-mesa-dri`; Fedora: `dnf install mesa-vulkan-drivers`; Arch: \
    `pacman -S vulkan-swrast`), check WGPU_BACKEND and WGPU_ADAPTER_NAME, or use the CPU device";
#[cfg(not(target_os = "linux"))]
const INSTALL: &str = "Install or update the GPU driver (Vulkan, Metal or DirectX 12), check WGPU_BACKEND and \
    WGPU_ADAPTER_NAME, or use the CPU device";

/// What a caller asked for, environment included.
struct Wanted {
    backends: wgpu::Backends,
    name: Option<String>,
}

impl Wanted {
    fn new(options: &GpuOptions) -> Self {
        let environment = std::env::var("WGPU_ADAPTER_NAME").ok();
        Self {
            backends: options
                .backends
                .unwrap_or_else(|| wgpu::Backends::all().with_env()),
            name: options
                .adapter
                .clone()
                .or(environment)
                .filter(|name| !name.is_empty()),
        }
    }

    fn matches(&self, info: &wgpu::AdapterInfo) -> bool {
        self.name.as_ref().is_none_or(|name| {
            let found = info.name.to_lowercase();
            found.contains(&name.to_lowercase())
        })
    }

    fn describe(&self) -> String {
        match &self.name {
            None => format!("looked at backends {:?}", self.backends),
            Some(name) => format!("looked for `{name}` on backends {:?}", self.backends),
        }
    }
}

/// One line about an adapter.
pub(crate) fn describe(info: &wgpu::AdapterInfo) -> String {
    let driver = match (info.driver.as_str(), info.driver_info.as_str()) {
        ("", "") => String::new(),
        (driver, "") | ("", driver) => format!(", {driver}"),
        (driver, details) => format!(", {driver} {details}"),
    };
    format!("{} ({}{driver})", info.name, info.backend)
}

/// All adapters that are there, on the backends that `WGPU_BACKEND` names, else on all; best kind first.
pub async fn list_adapters() -> Vec<wgpu::Adapter> {
    enumerate(wgpu::Backends::all().with_env()).await
}

async fn enumerate(backends: wgpu::Backends) -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    descriptor.backends = backends;
    let instance = wgpu::Instance::new(descriptor);
    #[cfg(not(target_family = "wasm"))]
    let mut adapters = instance.enumerate_adapters(backends).await;
    // A browser shows one adapter, on request.
    #[cfg(target_family = "wasm")]
    let mut adapters: Vec<_> = instance
        .request_adapter(&wgpu::RequestAdapterOptions::default())
        .await
        .into_iter()
        .collect();
    adapters.sort_by_key(|adapter| rank(&adapter.get_info()));
    adapters
}

/// Real GPUs before software, explicit interfaces before GL; the sort keeps the system's order otherwise.
fn rank(info: &wgpu::AdapterInfo) -> (u8, bool) {
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    (kind, info.backend == wgpu::Backend::Gl)
}

fn computes(adapter: &wgpu::Adapter) -> bool {
    let flags = adapter.get_downlevel_capabilities().flags;
    flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
        && adapter.limits().max_storage_buffers_per_shader_stage >= 8
}

/// The adapter that `options` and the environment ask for.
pub(crate) async fn choose(options: &GpuOptions) -> Result<wgpu::Adapter> {
    let wanted = Wanted::new(options);
    let (usable, useless): (Vec<_>, Vec<_>) = enumerate(wanted.backends)
        .await
        .into_iter()
        .partition(computes);
    let found: Vec<String> = usable
        .iter()
        .map(|adapter| describe(&adapter.get_info()))
        .chain(useless.iter().map(|adapter| {
            format!(
                "{} without sufficient compute shaders",
                describe(&adapter.get_info())
            )
        }))
        .collect();
    usable
        .into_iter()
        .find(|adapter| wanted.matches(&adapter.get_info()))
        .ok_or_else(|| Error::NoAdapter {
            detail: match found.as_slice() {
                [] => format!("{}, found none", wanted.describe()),
                found => format!("{}, found: {}", wanted.describe(), found.join("; ")),
            },
            advice: INSTALL,
        })
}

/// The limits to request: the adapter's own, those of compute shaders and buffers cut down to WebGPU's defaults if asked.
pub(crate) fn limits(adapter: &wgpu::Adapter, choice: LimitsChoice) -> wgpu::Limits {
    let offered = adapter.limits();
    match choice {
        LimitsChoice::Adapter => offered,
        LimitsChoice::Default => cut(offered),
    }
}

/// `offered`, reduced to WebGPU's default where compute work depends on it. Textures and the like stay as they are:
/// they are not used here, and some GL adapters lie below the defaults there.
fn cut(offered: wgpu::Limits) -> wgpu::Limits {
    let default = wgpu::Limits::default();
    macro_rules! reduce {
        ($($limit:ident),*) => {
            wgpu::Limits {
                $($limit: offered.$limit.min(default.$limit),)*
                min_uniform_buffer_offset_alignment: default
                    .min_uniform_buffer_offset_alignment
                    .max(offered.min_uniform_buffer_offset_alignment),
                min_storage_buffer_offset_alignment: default
                    .min_storage_buffer_offset_alignment
                    .max(offered.min_storage_buffer_offset_alignment),
                ..offered
            }
        };
    }
    reduce!(
        max_bind_groups,
        max_bindings_per_bind_group,
        max_dynamic_uniform_buffers_per_pipeline_layout,
        max_storage_buffers_per_shader_stage,
        max_uniform_buffers_per_shader_stage,
        max_uniform_buffer_binding_size,
        max_storage_buffer_binding_size,
        max_buffer_size,
        max_compute_workgroup_storage_size,
        max_compute_invocations_per_workgroup,
        max_compute_workgroup_size_x,
        max_compute_workgroup_size_y,
        max_compute_workgroup_size_z,
        max_compute_workgroups_per_dimension
    )
}

/// Why a device could not be made of an adapter.
pub(crate) fn refused(info: &wgpu::AdapterInfo, error: &wgpu::RequestDeviceError) -> Error {
    Error::NoAdapter {
        detail: format!("{} gave no device: {error}", describe(info)),
        advice: INSTALL,
    }
}
