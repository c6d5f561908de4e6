//! Every kernel that works on buffers stored in half precision, against the CPU device with the same numbers in single
//! precision.
//!
//! The operands are multiples of 1/64 below 1, which half precision holds exactly. So a result may differ by the roundings of
//! its sum in `f32`, and by one rounding to half precision if that is how it is stored: WGSL lets that be either neighbour,
//! less than `2^-10` of the number away.

use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::gpu::GpuDevice;
use wgpu_rnn::ops::{
    BufferId, ColumnSums, CopyJob, DropoutRows, Fill, Gemm, LayerNormRows, LayerNormRowsBackward,
    Matrix, MergeDirections, Operation, Program, RandomPurpose, RandomSite, Region, Role, RowMap,
    Section, StridedCopies,
};
use wgpu_rnn::{Device, Error, Precision};

use crate::support::{devices, random, read};

/// Vulkan with all that the adapter offers: the one device that has half precision.
fn device() -> &'static GpuDevice {
    let device = &devices()[1];
    assert!(device.can_store(Precision::F16), "{}", device.name());
    device
}

/// A program in which some buffers are stored in `precision`.
struct Case {
    program: Program,
    precision: Precision,
    contents: Vec<(BufferId, Vec<f32>)>,
}

impl Case {
    fn buffer(&mut self, len: usize, role: Role, precision: Precision) -> BufferId {
        let values = random(len, self.contents.len() as u32 + 1).into_iter();
        let values = values.map(|value| (value * 63.0).round() / 64.0);
        let buffer = (self.program).stored_buffer("values", len, role, precision);
        self.contents.push((buffer, values.collect()));
        buffer
    }

    fn half(&mut self, len: usize) -> BufferId {
        self.buffer(len, Role::Workspace, self.precision)
    }

    fn single(&mut self, len: usize) -> BufferId {
        self.buffer(len, Role::Workspace, Precision::F32)
    }

    /// What a network packs its weights into, which may be read as a texture.
    fn packed(&mut self, len: usize) -> BufferId {
        self.buffer(len, Role::Packed, self.precision)
    }

    fn push(&mut self, operation: impl Into<Operation>) {
        self.program.push(Section::Forward, operation);
    }

    fn run(&self, device: &dyn Device) -> Vec<Vec<f32>> {
        let mut plan = device.load(self.program.clone(), &[]).unwrap();
        plan.set_seed(7).unwrap();
        for (buffer, values) in &self.contents {
            plan.write(*buffer, values).unwrap();
        }
        plan.run(Section::Forward).unwrap();
        let buffers = self.contents.iter();
        buffers
            .map(|(buffer, _)| read(&mut *plan, *buffer))
            .collect()
    }
}

/// Compares all buffers after a run; a result in `f32` may be off by `tolerance`.
fn agree(what: &str, tolerance: f64, build: impl Fn(&mut Case)) {
    let case = |precision| {
        let mut case = Case {
            program: Program::new(),
            precision,
            contents: Vec::new(),
        };
        build(&mut case);
        case
    };
    let half = case(Precision::F16);
    let expected = case(Precision::F32).run(&CpuDevice::new().unwrap());
    let got = half.run(device());
    for ((got, expected), (buffer, _)) in got.iter().zip(&expected).zip(&half.contents) {
        let spec = half.program.spec(*buffer);
        for (index, (&got, &expected)) in got.iter().zip(expected).enumerate() {
            let (got, expected) = (f64::from(got), f64::from(expected));
            let rounding = match spec.precision {
                Precision::F32 => 0.0,
                Precision::F16 => expected.abs() / 1024.0 + f64::powi(2.0, -24),
            };
            assert!(
                (got - expected).abs() <= tolerance + rounding,
                "{what}: {index} of {spec:?} is {got}, expected {expected}"
            );
        }
    }
}

/// Of sums of `terms` products below 1.
fn sum_tolerance(terms: usize) -> f64 {
    let terms = terms as f64;
    terms * terms * f64::from(f32::EPSILON)
}

#[test]
fn projections() {
    // Where there are subgroups by broadcasts, odd sizes number by number; else in workgroup memory.
    for [m, n, k] in [[5, 7, 3], [130, 67, 35], [36, 64, 20], [9, 132, 64]] {
        for (half_input, accumulate, map) in [(false, false, true), (true, true, false)] {
            agree("gemm", sum_tolerance(k), |case| {
                let a = match half_input {
                    true => case.half(m * k),
                    false => case.single(m * k),
                };
                let (b, c) = (case.packed(k * n + n), case.half(m * n));
                let reverse: Vec<u32> = (0..m as u32).rev().collect();
                let table = case.program.table(&reverse);
                case.push(Gemm {
                    a: Matrix::rows(a, k),
                    b: Matrix::rows(b, n),
                    c: Matrix::rows(c, n),
                    m,
                    n,
                    k,
                    map: map.then_some(RowMap::GatherM(table)),
                    bias: Some(Region::from(b).at(k * n)),
                    accumulate,
                });
            });
        }
    }
}

#[test]
fn gradients_of_products() {
    // Long sums are split; their results are single precision before they are added up.
    for [m, n, k] in [[5, 7, 3], [20, 36, 44], [3, 5, 2_000], [8, 16, 2_000]] {
        agree("gemm", sum_tolerance(k), |case| {
            let (a, b, c) = (case.half(k * m), case.half(k * n), case.single(m * n));
            let gemm = Gemm {
                a: Matrix::rows(a, m).transposed(),
                b: Matrix::rows(b, n),
                c: Matrix::rows(c, n),
                m,
                n,
                k,
                map: None,
                bias: None,
                accumulate: true,
            };
            case.push(gemm);
            let half = case.half(m * n);
            case.push(Gemm {
                c: Matrix::rows(half, n),
                accumulate: false,
                ..gemm
            });
        });
        // With packed weights the other way round.
        let k = k.min(44);
        agree("gemm", sum_tolerance(k), |case| {
            let (a, b, c) = (case.half(m * k), case.packed(n * k), case.single(m * n));
            case.push(Gemm {
                a: Matrix::rows(a, k),
                b: Matrix::rows(b, k).transposed(),
                c: Matrix::rows(c, n),
                m,
                n,
                k,
                map: None,
                bias: None,
                accumulate: false,
            });
        });
    }
}

#[test]
fn copies_and_sums() {
    for accumulate in [false, true] {
        agree("strided_copies", f64::from(f32::EPSILON), |case| {
            let (source, target) = (case.single(70), case.half(83));
            let job = CopyJob {
                source: 3,
                target: 1,
                size: [9, 7],
                source_strides: [7, 1],
                target_strides: [1, 9],
            };
            case.push(StridedCopies {
                source,
                target,
                jobs: vec![job],
                accumulate,
            });
        });
    }
    for (factors, columns) in [(false, 21), (true, 21), (false, 24), (true, 24)] {
        agree("column_sums", sum_tolerance(50), |case| {
            let (a, b) = (case.half(50 * columns), case.single(50 * columns));
            let target = case.single(columns);
            case.push(ColumnSums {
                a: a.into(),
                a_stride: columns,
                b: factors.then_some(b.into()),
                b_stride: columns,
                target: target.into(),
                rows: 50,
                columns,
                accumulate: true,
            });
        });
    }
}

/// Scaled by `1 / sqrt(variance)`, some 2 here: the mean's and the variance's roundings count for so much, and again in the
/// backward's products.
#[test]
fn norms() {
    let (rows, hidden, slots, slot_mask) = (7, 9, 4, 0b0111);
    let units = hidden * slots;
    let tolerance = 64.0 * f64::from(f32::EPSILON);
    agree("layer_norm_rows", tolerance, |case| {
        let (values, deviation) = (case.half(rows * units), case.single(rows));
        let packed = case.packed(2 * units);
        case.push(LayerNormRows {
            values: values.into(),
            deviation: deviation.into(),
            scale: Some(packed.into()),
            bias: Some(Region::from(packed).at(units)),
            rows,
            hidden,
            slots,
            slot_mask,
            epsilon: 1e-3,
        });
    });
    agree("layer_norm_rows_backward", tolerance, |case| {
        let (values, deviation) = (case.single(rows * units), case.single(rows));
        let (scale, gradient) = (case.packed(units), case.half(rows * units));
        case.push(LayerNormRowsBackward {
            normalised: values.into(),
            deviation: deviation.into(),
            scale: scale.into(),
            gradient: gradient.into(),
            rows,
            hidden,
            slots,
            slot_mask,
        });
    });
}

fn merged_rows(tokens: usize, width: usize) {
    agree("merge_directions", 4.0 * f64::from(f32::EPSILON), |case| {
        let states = [case.half(tokens * width), case.half(tokens * width)];
        let (residual, output) = (case.half(tokens * 2 * width), case.half(tokens * 2 * width));
        let reverse: Vec<u32> = (0..tokens as u32).rev().collect();
        let table = case.program.table(&reverse);
        case.push(MergeDirections {
            states: states.map(|states| Some(states.into())),
            reverse: [false, true],
            table,
            output: output.into(),
            residual: Some(residual.into()),
            tokens,
            width,
            sum: false,
        });
    });
}

#[test]
fn merged_and_dropped_rows() {
    let tokens = 33;
    for width in [5, 8] {
        merged_rows(tokens, width);
    }
    let width = 5;
    for in_place in [true, false] {
        agree("dropout_rows", 4.0 * f64::from(f32::EPSILON), |case| {
            let (source, other) = (case.half(tokens * width), case.half(tokens * width));
            let sequences: Vec<u32> = (0..tokens as u32).collect();
            let sequences = case.program.table(&sequences);
            case.push(DropoutRows {
                source: Some(source.into()),
                target: if in_place { source } else { other }.into(),
                rows: tokens,
                width,
                sequences,
                steps: None,
                probability: 0.3,
                site: RandomSite {
                    layer: 1,
                    direction: 0,
                    purpose: RandomPurpose::Input,
                },
            });
        });
    }
}

/// What is too large becomes the largest number, on the way from the host and from a kernel; NaN stays what it is.
#[test]
fn large_numbers_saturate() {
    let mut program = Program::new();
    let a = program.buffer("a", 5, Role::Input);
    let b = program.buffer("b", 1, Role::Input);
    let [c, copy] =
        ["c", "copy"].map(|label| program.stored_buffer(label, 5, Role::Workspace, Precision::F16));
    program.push(
        Section::Forward,
        Gemm {
            a: Matrix::rows(a, 1),
            b: Matrix::rows(b, 1),
            c: Matrix::rows(c, 1),
            m: 5,
            n: 1,
            k: 1,
            map: None,
            bias: None,
            accumulate: false,
        },
    );
    let mut plan = device().load(program, &[]).unwrap();
    let large = [300.0, -300.0, f32::NAN, f32::MAX, 1.0];
    plan.write(a, &large).unwrap();
    plan.write(b, &[300.0]).unwrap();
    plan.write(copy, &large.map(|value| value * 300.0)).unwrap();
    plan.run(Section::Forward).unwrap();
    for buffer in [c, copy] {
        let got = read(&mut *plan, buffer);
        assert!(got[2].is_nan(), "{got:?}");
        assert_eq!(
            [got[0], got[1], got[3], got[4]],
            [65_504.0, -65_504.0, 65_504.0, 300.0]
        );
    }
}

#[test]
fn other_kernels_refuse() {
    let mut program = Program::new();
    let target = program.stored_buffer("filled", 9, Role::Workspace, Precision::F16);
    let fill = Fill {
        target: target.into(),
        len: 9,
        value: 1.0,
    };
    program.push(Section::Forward, fill);
    let error = device().load(program, &[]).map(|_| ()).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(
            error,
            Error::Option {
                option: "storage",
                ..
            }
        ),
        "{text}"
    );
    assert!(
        text.contains("`fill`") && text.contains("`filled`"),
        "{text}"
    );
    // A caller's buffer is single precision.
    let mut program = Program::new();
    let given = program.stored_buffer("given", 4, Role::Input, Precision::F16);
    let buffer = device().buffer("caller's", 4).unwrap();
    let error = device().load(program, &[(given, buffer)]).map(|_| ());
    let text = error.unwrap_err().to_string();
    assert!(text.contains("`given`") && text.contains("F16"), "{text}");
}
