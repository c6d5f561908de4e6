//! A host program that uses `wgpu` for itself.

use wgpu_rnn::wgpu;

/// A device as a host program requests it: nothing is known of it here but that it is on Vulkan.
pub(crate) fn device() -> (wgpu::Device, wgpu::Queue) {
    device_with(wgpu_rnn::gpu::REQUIRED_FEATURES)
}

/// The same with these features.
pub(crate) fn device_with(features: wgpu::Features) -> (wgpu::Device, wgpu::Queue) {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    descriptor.backends = wgpu::Backends::VULKAN;
    let instance = wgpu::Instance::new(descriptor);
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
    let adapter = adapters.into_iter().next();
    let adapter =
        adapter.expect("these tests need a Vulkan adapter: install `mesa-vulkan-drivers`");
    let device = adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("host"),
        required_features: features,
        required_limits: wgpu_rnn::gpu::required_limits(),
        ..Default::default()
    });
    pollster::block_on(device).unwrap()
}

/// A buffer of the host's.
pub(crate) fn buffer(device: &wgpu::Device, bytes: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("host's"),
        size: bytes,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

const SHADER: &str = "
    override FROM: u32;
    override TO: u32;
    override LEN: u32;
    override FACTOR: f32;
    override ADDED: f32;
    @group(0) @binding(0) var<storage, read_write> arena: array<f32>;
    // A part of the arena: `to = ADDED * to + FACTOR * from`.
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x < LEN {
            arena[TO + id.x] = ADDED * arena[TO + id.x] + FACTOR * arena[FROM + id.x];
        }
    }";

/// Where parts of the host's buffer lie, and how they are combined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Combine {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) len: usize,
    pub(crate) factor: f64,
    pub(crate) added: f64,
}

/// Records a pass of the host's own over its buffer: `to = added * to + factor * from`.
pub(crate) fn combine(
    device: &wgpu::Device,
    encoder: &mut wgpu::CommandEncoder,
    arena: &wgpu::Buffer,
    part: Combine,
) {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("host's"),
        source: wgpu::ShaderSource::Wgsl(SHADER.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("host's"),
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &[
                ("FROM", part.from as f64),
                ("TO", part.to as f64),
                ("LEN", part.len as f64),
                ("FACTOR", part.factor),
                ("ADDED", part.added),
            ],
            ..Default::default()
        },
        cache: None,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry {
            binding: 0,
            resource: arena.as_entire_binding(),
        }],
    });
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(part.len.div_ceil(64) as u32, 1, 1);
}
