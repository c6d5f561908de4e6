//! Programs and buffers that do not fit are refused when they are loaded.

use wgpu_rnn::cpu::{CpuDevice, CpuOptions, Instructions};
use wgpu_rnn::ops::*;
use wgpu_rnn::{Device, Error};

use super::recurrences;
use super::support::*;

#[test]
fn programs_that_leave_their_buffers_are_refused() {
    let mut harness = Harness::new();
    let (a, b) = (harness.buffer(&[0.0; 10]), harness.buffer(&[0.0; 10]));
    let table = harness.program.table(&[0, 5]);
    let copy = |from: Region, to: Region, len| Elementwise {
        kind: ElementwiseKind::Copy,
        a: from,
        b: None,
        target: to,
        len,
    };
    let refused = |operation: Operation| harness.load(operation, &CpuOptions::new()).unwrap_err();
    let out = refused(copy(a.into(), Region::from(b).at(1), 10).into());
    assert!(matches!(out, Error::Shape { .. }), "{out}");
    let huge = refused(copy(Region::from(a).at(usize::MAX), b.into(), 2).into());
    assert!(matches!(huge, Error::Shape { .. }), "{huge}");
    let shared = refused(copy(a.into(), Region::from(a).at(5), 5).into());
    assert!(matches!(shared, Error::State(_)), "{shared}");
    let gather = GatherRows {
        source: a.into(),
        source_stride: 2,
        target: b.into(),
        target_stride: 2,
        table,
        rows: 2,
        width: 2,
    };
    assert!(matches!(refused(gather.into()), Error::Shape { .. }));
    let beyond = GatherRows {
        table: table.at(1),
        ..gather
    };
    assert!(matches!(refused(beyond.into()), Error::Shape { .. }));
    let overlap = MeanSquaredError {
        prediction: a.into(),
        target: a.into(),
        gradient: b.into(),
        loss: Region::from(b).at(3),
        len: 4,
    };
    assert!(matches!(refused(overlap.into()), Error::State(_)));
    let overflow = GradientNorm {
        values: a.into(),
        target: b.into(),
        len: usize::MAX,
    };
    assert!(matches!(refused(overflow.into()), Error::Shape { .. }));
}

#[test]
fn external_buffers_are_shared_and_checked() {
    let device = CpuDevice::with_threads(1).unwrap();
    let mut program = Program::new();
    let values = program.buffer("values", 3, Role::External);
    let own = program.buffer("own", 3, Role::Workspace);
    program.push(
        Section::Forward,
        Fill {
            target: values.into(),
            len: 3,
            value: 4.0,
        },
    );
    let load = |external: &[(BufferId, wgpu_rnn::DeviceBuffer)]| {
        device
            .load(program.clone(), external)
            .map(|_| ())
            .unwrap_err()
    };
    assert!(matches!(load(&[]), Error::Shape { .. }));
    let (short, right) = (
        device.buffer("short", 2).unwrap(),
        device.buffer("right", 3).unwrap(),
    );
    assert!(matches!(load(&[(values, short)]), Error::Shape { .. }));
    assert!(matches!(
        load(&[(values, right.clone()), (own, right.clone())]),
        Error::Shape { .. }
    ));
    let mut plan = device
        .load(program.clone(), &[(values, right.clone())])
        .unwrap();
    plan.run(Section::Forward).unwrap();
    assert_eq!(device.read(&right, 1..3).unwrap(), [4.0, 4.0]);
    assert_eq!(plan.bytes(), 12);
    assert!(plan.write(own, &[0.0; 4]).is_err());
    assert!(plan.read(own, &mut [0.0; 2]).is_err());
    assert!(device.read(&right, 2..4).is_err());
    assert!(device.write(&right, usize::MAX, &[0.0; 2]).is_err());
    assert!(CpuDevice::with_threads(0).is_err());
}

#[test]
fn instructions_that_the_machine_lacks() {
    use Instructions::*;
    let available = Instructions::available();
    assert_eq!(available.last(), Some(&Scalar));
    for set in [Avx512, Avx2, Neon, Simd128, Scalar] {
        let device = CpuDevice::with_options(&CpuOptions::new().instructions(set));
        match device {
            Ok(device) => {
                assert!(available.contains(&set));
                assert!(device.name().ends_with(&set.to_string()));
            }
            Err(error) => {
                assert!(!available.contains(&set));
                let text = error.to_string();
                assert!(matches!(error, Error::Option { .. }), "{text}");
                assert!(
                    text.contains(&set.to_string()) && text.contains("scalar"),
                    "{text}"
                );
            }
        }
    }
    // No machine has them all.
    assert!(available.len() < 5);
    assert!(CpuDevice::with_options(&CpuOptions::new().instructions(Widest)).is_ok());
    let names = ["widest", "avx512", "avx2", "neon", "simd128", "scalar"];
    let parsed = names.map(|name| name.parse::<Instructions>().unwrap());
    assert_eq!(parsed, [Widest, Avx512, Avx2, Neon, Simd128, Scalar]);
    let error = "mmx".parse::<Instructions>().unwrap_err().to_string();
    assert!(error.contains("mmx") && error.contains("avx2"), "{error}");
}

#[test]
fn recurrences_that_do_not_fit_are_refused() {
    let device = CpuDevice::with_threads(1).unwrap();
    recurrences::are_refused_by(&device);
    for config in recurrences::cells() {
        let (program, mut running) = recurrences::recurrence(&config);
        running.running = Some(running.states);
        let error = recurrences::load(&device, &program, running).unwrap_err();
        assert!(error.to_string().contains("running states"), "{error}");
    }
}
