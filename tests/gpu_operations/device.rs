//! The device itself: adapters, buffers, the caller's device and encoder, loss, and refusals.

use wgpu_rnn::gpu::{GpuDevice, GpuOptions, LimitsChoice};
use wgpu_rnn::ops::{BufferId, Fill, Gemm, Matrix, Program, Region, Role, Section};
use wgpu_rnn::wgpu::{self, BufferUsages};
use wgpu_rnn::{Device, Error, Plan};

use crate::support::{devices, random, read};

/// `target[0..8] = 3` on an external buffer.
fn fill_program() -> (Program, BufferId) {
    let mut program = Program::new();
    let target = program.buffer("target", 8, Role::External);
    program.push(
        Section::Forward,
        Fill {
            target: target.into(),
            len: 8,
            value: 3.0,
        },
    );
    (program, target)
}

fn own_device() -> GpuDevice {
    GpuDevice::request_blocking(&GpuOptions::new().backends(wgpu::Backends::VULKAN)).unwrap()
}

#[test]
fn names_and_limits() {
    let [default, full, gl] = devices() else {
        unreachable!()
    };
    let limits = default.wgpu_device().limits();
    assert_eq!(limits.max_storage_buffers_per_shader_stage, 8);
    assert_eq!(limits.max_compute_workgroup_storage_size, 16 << 10);
    assert_eq!(limits.max_compute_invocations_per_workgroup, 256);
    assert!(
        full.wgpu_device()
            .limits()
            .max_compute_invocations_per_workgroup
            >= 256
    );
    assert!(full.name().contains("vulkan"), "{}", full.name());
    assert_eq!(gl.adapter_info().backend, wgpu::Backend::Gl);
    assert_eq!(
        default.options(),
        &GpuOptions::new()
            .backends(wgpu::Backends::VULKAN)
            .limits(LimitsChoice::Default)
    );
}

#[test]
fn unknown_adapter_is_an_error_that_lists_what_is_there() {
    let options = GpuOptions::new().adapter("no such adapter");
    let error = GpuDevice::request_blocking(&options).unwrap_err();
    let Error::NoAdapter { detail, advice } = error else {
        panic!("{error}")
    };
    assert!(detail.contains("no such adapter"), "{detail}");
    assert!(
        detail.contains(&devices()[0].adapter_info().name),
        "{detail}"
    );
    assert!(advice.contains("nstall"), "{advice}");
    let options = GpuOptions::new().backends(wgpu::Backends::empty());
    let error = GpuDevice::request_blocking(&options).unwrap_err();
    assert!(matches!(error, Error::NoAdapter { .. }), "{error}");
}

#[test]
fn buffers_are_zero_at_first_and_keep_what_is_written() {
    for device in devices() {
        let buffer = device.buffer("numbers", 1_000).unwrap();
        assert_eq!(device.read(&buffer, 0..1_000).unwrap(), vec![0.0; 1_000]);
        let values = random(10, 1);
        device.write(&buffer, 5, &values).unwrap();
        assert_eq!(device.read(&buffer, 5..15).unwrap(), values);
        assert_eq!(device.read(&buffer, 3..6).unwrap(), [0.0, 0.0, values[0]]);
        assert!(device.read(&buffer, 7..7).unwrap().is_empty());
        let later = pollster::block_on(device.read_async(&buffer, 5..15)).unwrap();
        assert_eq!(later, values);
        let empty = device.buffer("empty", 0).unwrap();
        assert!(device.read(&empty, 0..0).unwrap().is_empty());
    }
}

#[test]
fn ranges_outside_a_buffer_are_refused() {
    let device = &devices()[0];
    let buffer = device.buffer("numbers", 10).unwrap();
    for range in [5..11, 11..11, usize::MAX - 1..usize::MAX] {
        let error = device.read(&buffer, range).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
    for offset in [9, usize::MAX] {
        let error = device.write(&buffer, offset, &[1.0, 2.0]).unwrap_err();
        assert!(
            matches!(error, Error::Shape { .. } | Error::Overflow { .. }),
            "{error}"
        );
    }
}

#[test]
fn buffers_of_another_device_are_refused() {
    let (device, other) = (&devices()[0], &devices()[1]);
    let foreign = other.buffer("foreign", 8).unwrap();
    let (program, target) = fill_program();
    for error in [
        device.read(&foreign, 0..8).unwrap_err(),
        device.write(&foreign, 0, &[1.0]).unwrap_err(),
        device.load(program, &[(target, foreign)]).unwrap_err(),
    ] {
        assert!(matches!(error, Error::ForeignBuffer(_)), "{error}");
    }
}

#[test]
fn external_buffers_have_to_fit() {
    let device = &devices()[0];
    let (program, target) = fill_program();
    let error = device.load(program.clone(), &[]).unwrap_err();
    assert!(error.to_string().contains("target"), "{error}");
    let short = device.buffer("short", 7).unwrap();
    let error = device
        .load(program.clone(), &[(target, short)])
        .unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    let right = device.buffer("right", 8).unwrap();
    let mut plan = device.load(program, &[(target, right.clone())]).unwrap();
    plan.run(Section::Forward).unwrap();
    assert_eq!(device.read(&right, 0..8).unwrap(), [3.0; 8]);
    let bytes = plan.bytes();
    plan.run(Section::Forward).unwrap();
    assert_eq!(plan.bytes(), bytes);
}

#[test]
fn operations_outside_their_buffers_are_refused_when_loaded() {
    let device = &devices()[0];
    let mut program = Program::new();
    let a = program.buffer("a", 12, Role::Input);
    let c = program.buffer("c", 16, Role::Output);
    program.push(
        Section::Forward,
        Gemm {
            a: Matrix::rows(Region::from(a).at(1), 3),
            b: Matrix::rows(a, 4),
            c: Matrix::rows(c, 4),
            m: 4,
            n: 4,
            k: 3,
            map: None,
            bias: None,
            accumulate: false,
        },
    );
    let error = device.load(program, &[]).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    assert!(
        error.to_string().contains("left factor in buffer `a`"),
        "{error}"
    );
}

#[test]
fn what_exceeds_the_limits_is_refused() {
    let device = &devices()[0];
    let too_many = (128 << 20) / 4 + 1;
    let mut program = Program::new();
    program.buffer("activations", too_many, Role::Activation);
    for error in [
        device.buffer("large", too_many).unwrap_err(),
        device.load(program, &[]).unwrap_err(),
    ] {
        let Error::Limit { needed, limit, .. } = error else {
            panic!("{error}")
        };
        assert_eq!((needed, limit), (4 * too_many as u64, 128 << 20));
    }
}

#[test]
fn the_callers_device_buffer_and_encoder() {
    let owner = own_device();
    let (raw, queue) = (owner.wgpu_device().clone(), owner.wgpu_queue().clone());
    let device = GpuDevice::from_device(raw.clone(), queue.clone(), &GpuOptions::new());
    let create = |usage| {
        raw.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 1_024,
            usage,
            mapped_at_creation: false,
        })
    };
    let copy = BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
    let buffer = create(BufferUsages::STORAGE | copy);
    for (offset, len) in [(4, 8), (256, 0), (256, 193), (u64::MAX - 255, 8)] {
        let error = device.import(&buffer, offset, len).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
    let error = device.import(&create(copy), 0, 8).unwrap_err();
    assert!(error.to_string().contains("STORAGE"), "{error}");
    let slice = device.import(&buffer, 512, 8).unwrap();
    let (program, target) = fill_program();
    let mut plan = device
        .load_plan(program, &[(target, slice.clone())])
        .unwrap();
    let mut encoder = raw.create_command_encoder(&Default::default());
    plan.record(Section::Forward, &mut encoder).unwrap();
    assert_eq!(device.read(&slice, 0..8).unwrap(), [0.0; 8]);
    queue.submit([encoder.finish()]);
    assert_eq!(device.read(&slice, 0..8).unwrap(), [3.0; 8]);
    let mut values = [0.0; 8];
    pollster::block_on(plan.read_async(target, &mut values)).unwrap();
    assert_eq!(values, [3.0; 8]);
    assert_eq!(device.clone().read(&slice, 0..8).unwrap(), [3.0; 8]);
}

/// A budget of one multiply-add puts every dispatch into a submission of its own; results stay the same.
#[test]
fn submissions_are_split() {
    let run = |budget: u64| {
        let options = GpuOptions::new()
            .backends(wgpu::Backends::VULKAN)
            .submit_budget(budget);
        let device = GpuDevice::request_blocking(&options).unwrap();
        let mut program = Program::new();
        let a = program.buffer("a", 300 * 20, Role::Input);
        let c = program.buffer("c", 300 * 300, Role::Output);
        for _ in 0..3 {
            program.push(
                Section::Forward,
                Gemm {
                    a: Matrix::rows(a, 20),
                    b: Matrix::rows(a, 20).transposed(),
                    c: Matrix::rows(c, 300),
                    m: 300,
                    n: 300,
                    k: 20,
                    map: None,
                    bias: None,
                    accumulate: true,
                },
            );
        }
        let mut plan = device.load_plan(program, &[]).unwrap();
        plan.write(a, &random(300 * 20, 1)).unwrap();
        plan.run(Section::Forward).unwrap();
        (plan.dispatches(Section::Forward), read(&mut plan, c))
    };
    let (few, whole) = run(u64::MAX);
    let (many, split) = run(1);
    assert_eq!((few, many), (3, 15));
    assert_eq!(whole, split);
}

#[test]
fn a_lost_device_is_an_error_from_then_on() {
    for from_caller in [false, true] {
        let owner = own_device();
        let raw = owner.wgpu_device().clone();
        let device = match from_caller {
            false => owner,
            true => {
                GpuDevice::from_device(raw.clone(), owner.wgpu_queue().clone(), &GpuOptions::new())
            }
        };
        let buffer = device.buffer("numbers", 8).unwrap();
        let (program, target) = fill_program();
        let mut plan = device
            .load_plan(program.clone(), &[(target, buffer.clone())])
            .unwrap();
        plan.run(Section::Forward).unwrap();
        raw.destroy();
        // A caller's device tells nothing before a read: the callback is the caller's.
        let first = device.read(&buffer, 0..8).unwrap_err();
        assert!(matches!(first, Error::DeviceLost(_)), "{first}");
        for error in [
            plan.run(Section::Forward).unwrap_err(),
            plan.set_seed(1).unwrap_err(),
            plan.write(target, &[0.0; 8]).unwrap_err(),
            plan.read(target, &mut [0.0; 8]).unwrap_err(),
            device.write(&buffer, 0, &[1.0]).unwrap_err(),
            device.buffer("another", 1).unwrap_err(),
            device.load(program, &[(target, buffer)]).unwrap_err(),
            pollster::block_on(plan.read_async(target, &mut [0.0; 8])).unwrap_err(),
        ] {
            assert!(matches!(error, Error::DeviceLost(_)), "{error}");
        }
    }
}

#[test]
fn a_loss_can_be_forwarded() {
    let device = own_device();
    device.mark_lost("the host said so");
    let error = device.buffer("numbers", 8).unwrap_err();
    assert_eq!(error, Error::DeviceLost("the host said so".to_owned()));
}
