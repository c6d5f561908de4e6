//! Buffers, plans and adapters.

use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::ops::{BufferId, Fill, Gemm, Matrix, Program, Role, Section};
use wgpu_rnn::{Device, DeviceBuffer, Error};

use crate::{error_of, shape_error};

/// A GPU under WebGPU's default limits.
#[cfg(feature = "gpu")]
pub(crate) fn gpu() -> wgpu_rnn::gpu::GpuDevice {
    use wgpu_rnn::gpu::{GpuDevice, GpuOptions, LimitsChoice};
    let options = GpuOptions::new().limits(LimitsChoice::Default);
    GpuDevice::request_blocking(&options).unwrap_or_else(|error| panic!("{error}"))
}

/// The devices, each with a buffer of `len` elements of another device.
fn devices(len: usize) -> Vec<(Box<dyn Device>, DeviceBuffer)> {
    let cpu = CpuDevice::new().unwrap();
    #[cfg(feature = "gpu")]
    {
        let (first, second) = (gpu(), gpu());
        let [own, other] =
            [cpu.buffer("cpu's", len), second.buffer("gpu's", len)].map(Result::unwrap);
        vec![
            (Box::new(cpu), other.clone()),
            (Box::new(first.clone()), own),
            (Box::new(first), other),
        ]
    }
    #[cfg(not(feature = "gpu"))]
    {
        let _ = (cpu, len);
        Vec::new()
    }
}

/// `[external, input, output, workspace]` of 8 elements each, all filled with 3.
fn program() -> (Program, [BufferId; 4]) {
    let mut program = Program::new();
    let roles = [Role::External, Role::Input, Role::Output, Role::Workspace];
    let labels = ["external", "input", "output", "workspace"];
    let mut buffer = |index: usize| {
        let target = program.buffer(labels[index], 8, roles[index]);
        let fill = Fill {
            target: target.into(),
            len: 8,
            value: 3.0,
        };
        program.push(Section::Forward, fill);
        target
    };
    let buffers = [buffer(0), buffer(1), buffer(2), buffer(3)];
    (program, buffers)
}

/// A buffer of another program, which has more of them.
fn unknown() -> BufferId {
    let mut larger = program().0;
    larger.buffer("one more", 8, Role::Input)
}

#[test]
fn buffers_of_another_device() {
    for (device, foreign) in devices(8) {
        let (program, [external, input, ..]) = program();
        let own = device.buffer("own", 8).unwrap();
        for (result, what) in [
            (device.read(&foreign, 0..8).map(|_| ()), ""),
            (device.write(&foreign, 0, &[1.0]), ""),
            (
                device
                    .load(program.clone(), &[(external, foreign.clone())])
                    .map(|_| ()),
                "`external`",
            ),
            (
                device
                    .load(
                        program.clone(),
                        &[(external, own), (input, foreign.clone())],
                    )
                    .map(|_| ()),
                "`input`",
            ),
        ] {
            let error = error_of(result, &["belongs to another device", what]);
            assert!(matches!(error, Error::ForeignBuffer(_)), "{error:?}");
        }
    }
}

#[test]
fn bindings_that_do_not_fit() {
    for (device, _) in devices(8) {
        let (program, [external, input, output, workspace]) = program();
        let load = |given: &[(BufferId, &DeviceBuffer)]| {
            let given: Vec<_> = given
                .iter()
                .map(|&(id, buffer)| (id, buffer.clone()))
                .collect();
            device
                .load(program.clone(), &given)
                .map(|plan| plan.bytes())
        };
        let [a, b, c] = [8; 3].map(|len| device.buffer("own", len).unwrap());
        let short = device.buffer("short", 7).unwrap();
        let empty = device.buffer("empty", 0).unwrap();
        shape_error(
            load(&[]),
            &["external: expected an external buffer", "got none"],
        );
        shape_error(
            load(&[(external, &short)]),
            &["external", "expected 8", "got 7"],
        );
        shape_error(
            load(&[(external, &empty)]),
            &["external", "expected 8", "got 0"],
        );
        let twice = [(external, &a), (external, &b)];
        shape_error(load(&twice), &["external", "one external buffer", "two"]);
        let private = [(external, &a), (workspace, &b)];
        shape_error(
            load(&private),
            &["`workspace`", "External, Input or Output", "Workspace"],
        );
        let unknown = [(external, &a), (unknown(), &b)];
        shape_error(load(&unknown), &["4 buffers", "number 4"]);
        shape_error(
            load(&[(external, &a), (output, &short)]),
            &["output", "got 7"],
        );
        let few = load(&[(external, &a), (input, &b), (output, &c)]).unwrap();
        let all = load(&[(external, &a)]).unwrap();
        assert_eq!(
            all - few,
            2 * 4 * 8,
            "the caller's buffers are not the plan's"
        );
    }
}

#[test]
fn a_program_fills_the_buffers_it_is_given() {
    for (device, _) in devices(8) {
        let (program, [external, input, output, workspace]) = program();
        let [a, b, c] = [8; 3].map(|len| device.buffer("own", len).unwrap());
        let given = [(external, a), (input, b), (output, c)];
        let mut plan = device.load(program, &given).unwrap();
        plan.run(Section::Forward).unwrap();
        for (id, buffer) in given {
            assert_eq!(device.read(&buffer, 0..8).unwrap(), [3.0; 8]);
            plan.write(id, &[4.0; 8]).unwrap();
            assert_eq!(device.read(&buffer, 0..8).unwrap(), [4.0; 8]);
        }
        let mut values = [0.0; 8];
        plan.read(workspace, &mut values).unwrap();
        assert_eq!(values, [3.0; 8]);
    }
}

/// One buffer may be two inputs of an operation, but not its input and its output.
#[test]
fn one_buffer_for_two() {
    for (device, _) in devices(8) {
        let mut program = Program::new();
        let [a, b] = ["a", "b"].map(|label| program.buffer(label, 4, Role::Input));
        let c = program.buffer("c", 4, Role::Output);
        let product = Gemm {
            a: Matrix::rows(a, 2),
            b: Matrix::rows(b, 2),
            c: Matrix::rows(c, 2),
            m: 2,
            n: 2,
            k: 2,
            map: None,
            bias: None,
            accumulate: false,
        };
        program.push(Section::Forward, product);
        let [own, other] = [(); 2].map(|()| device.buffer("own", 4).unwrap());
        device.write(&own, 0, &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let load = |given: &[(BufferId, &DeviceBuffer)]| {
            let given: Vec<_> = (given.iter())
                .map(|&(id, buffer)| (id, buffer.clone()))
                .collect();
            device.load(program.clone(), &given)
        };
        let mut plan = load(&[(a, &own), (b, &own), (c, &other)]).unwrap();
        plan.run(Section::Forward).unwrap();
        assert_eq!(device.read(&other, 0..4).unwrap(), [7.0, 10.0, 15.0, 22.0]);
        for (input, label) in [(a, "`a`"), (b, "`b`")] {
            let result = load(&[(input, &own), (c, &own)]);
            shape_error(result, &["external buffers", label, "`c`"]);
        }
    }
}

#[test]
fn reads_and_writes_of_another_length() {
    for (device, _) in devices(8) {
        let (program, [external, input, output, _]) = program();
        let own = device.buffer("own", 8).unwrap();
        let mut plan = device.load(program, &[(external, own)]).unwrap();
        for values in [0, 7, 9] {
            let parts = ["expected 8", &format!("got {values}")];
            shape_error(plan.write(input, &vec![0.0; values]), &parts);
            shape_error(plan.read(output, &mut vec![0.0; values]), &parts);
        }
        let parts = ["4 buffers", "number 4"];
        shape_error(plan.write(unknown(), &[0.0; 8]), &parts);
        shape_error(plan.read(unknown(), &mut [0.0; 8]), &parts);
    }
}

#[test]
fn ranges_outside_a_buffer() {
    for (device, _) in devices(8) {
        let buffer = device.buffer("own", 8).unwrap();
        for range in [5..9, 9..9, usize::MAX - 1..usize::MAX, 0..usize::MAX] {
            shape_error(device.read(&buffer, range), &["within 0..8"]);
        }
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is tested")]
        let reversed = 5..3;
        shape_error(device.read(&buffer, reversed), &["5..3"]);
        for offset in [7, 8, usize::MAX - 1, usize::MAX] {
            let error = error_of(device.write(&buffer, offset, &[1.0, 2.0]), &[]);
            let fits = matches!(error, Error::Shape { .. } | Error::Overflow { .. });
            assert!(fits, "{error:?}");
        }
        assert_eq!(device.read(&buffer, 0..8).unwrap(), [0.0; 8]);
    }
}

#[test]
fn more_memory_than_there_is_on_the_cpu() {
    let device = CpuDevice::new().unwrap();
    for len in [usize::MAX, usize::MAX / 8, 1 << 50] {
        let error = error_of(device.buffer("huge", len), &["huge", &len.to_string()]);
        assert!(matches!(error, Error::OutOfMemory(_)), "{error:?}");
    }
}

#[cfg(feature = "gpu")]
mod on_a_gpu {
    use std::sync::Arc;

    use wgpu_rnn::gpu::{GpuDevice, GpuOptions};
    use wgpu_rnn::rnn::Rnn;
    use wgpu_rnn::{Device, Error, Mode, PackedBatch, Packing, Parameters, RnnConfig, wgpu};

    use super::gpu;
    use crate::{error_of, shape_error};

    #[test]
    fn unknown_adapters() {
        let options = GpuOptions::new().adapter("no such adapter");
        let error = error_of(
            GpuDevice::request_blocking(&options),
            &["no such adapter", "found", "nstall"],
        );
        assert!(matches!(error, Error::NoAdapter { .. }), "{error:?}");
        let options = GpuOptions::new().backends(wgpu::Backends::empty());
        let error = error_of(
            GpuDevice::request_blocking(&options),
            &["found none", "nstall"],
        );
        assert!(matches!(error, Error::NoAdapter { .. }), "{error:?}");
    }

    #[test]
    fn imported_ranges_that_do_not_fit() {
        let device = gpu();
        let usage = wgpu::BufferUsages::STORAGE;
        let create = |usage| {
            device.wgpu_device().create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: 1_024,
                usage,
                mapped_at_creation: false,
            })
        };
        let buffer = create(usage);
        for (offset, len) in [
            (0, 0),
            (0, 257),
            (1_024, 1),
            (0, 1 << 62),
            (0, usize::MAX),
            (u64::MAX - 255, 1),
        ] {
            let parts = [
                "within 1024 bytes",
                &format!("{len} elements from byte {offset} on"),
            ];
            shape_error(device.import(&buffer, offset, len), &parts);
        }
        for offset in [1, 4, 128, 255] {
            let parts = ["a multiple of 256 bytes", &format!("got {offset}")];
            shape_error(device.import(&buffer, offset, 1), &parts);
        }
        let copied = create(wgpu::BufferUsages::COPY_DST);
        error_of(device.import(&copied, 0, 1), &["STORAGE", "COPY_DST"]);
        // A range that cannot be copied can be bound, but not read or written from the host.
        let bound = device.import(&buffer, 256, 8).unwrap();
        error_of(device.read(&bound, 0..8), &["COPY_SRC", "STORAGE"]);
        error_of(device.write(&bound, 0, &[1.0]), &["COPY_DST", "STORAGE"]);
    }

    /// The gates of 1,100 steps of 64 sequences, 128 units and 4 slots are 144 MB; WebGPU grants 128 MiB.
    #[test]
    fn what_exceeds_the_adapters_limits_is_refused_before_anything_is_done() {
        let device: Arc<dyn Device> = Arc::new(gpu());
        let config = RnnConfig::lstm(1, 128).build().unwrap();
        let parameters = Parameters::uniform(&config, 1).unwrap();
        let mut rnn = Rnn::new(device.clone(), config, &parameters).unwrap();
        let packing = Arc::new(Packing::dense(1_100, 64).unwrap());
        let batch = PackedBatch::new(packing, 1, vec![0.0; 1_100 * 64]).unwrap();
        let result = rnn.forward(&batch, None, Mode::Evaluation);
        let error = error_of(result.map(|_| ()), &["gates", "use fewer sequences"]);
        let Error::Limit { needed, limit, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!((needed, limit), (1_100 * 64 * 128 * 4 * 4, 128 << 20));
        assert_eq!(rnn.bytes(), (0, 0), "no plan is left");
        for len in [(128 << 20) / 4 + 1, 1 << 40, usize::MAX] {
            let error = error_of(device.buffer("huge", len), &["huge", "134217728"]);
            assert!(matches!(error, Error::Limit { .. }), "{error:?}");
        }
        // The device and the network still work.
        let small = PackedBatch::from_sequences(1, &[vec![0.5; 3]]).unwrap();
        rnn.infer(&small, None).unwrap();
    }
}
