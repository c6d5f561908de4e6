//! Operations of the user's own as any device runs and refuses them: their kernels are here, outside the crate.

use std::sync::Arc;

use wgpu_rnn::ops::*;
use wgpu_rnn::{Device, Error, Result};

/// `y = x |x|`
#[derive(Debug)]
pub(crate) struct SignedSquare;

impl Kernel for SignedSquare {
    fn name(&self) -> &'static str {
        "signed_square"
    }

    fn check(&self, operation: &CustomOperation) -> Result<()> {
        match (&operation.reads[..], &operation.writes[..]) {
            ([x], [y]) if x.len == y.len => Ok(()),
            _ => Err(Error::Shape {
                what: "signed square".to_owned(),
                expected: "an operand to read and one to write, of one length".to_owned(),
                got: format!("{operation:?}"),
            }),
        }
    }

    fn compute(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        for (y, x) in writes[0].iter_mut().zip(reads[0]) {
            *y = x * x.abs();
        }
    }

    fn shader(&self, operation: &CustomOperation) -> Option<CustomShader> {
        let source = "
            struct Params { x_offset: u32, x_len: u32, y_offset: u32, y_len: u32 }
            @group(0) @binding(0) var<uniform> params: Params;
            @group(1) @binding(0) var<storage, read> x: array<f32>;
            @group(1) @binding(1) var<storage, read_write> y: array<f32>;

            @compute @workgroup_size(64)
            fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
                let index = id.x + id.y * groups.x * 64u;
                if index < params.y_len {
                    let value = x[params.x_offset + index];
                    y[params.y_offset + index] = value * abs(value);
                }
            }";
        Some(CustomShader::linear(source, operation.writes[0].len, 64))
    }
}

/// `d_x = factor d_y |x|`, by fours.
#[derive(Debug)]
struct SignedSquareBackward {
    factor: f32,
}

impl Kernel for SignedSquareBackward {
    fn name(&self) -> &'static str {
        "signed_square_backward"
    }

    fn compute(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        for ((d_x, x), d_y) in writes[0].iter_mut().zip(reads[0]).zip(reads[1]) {
            *d_x = self.factor * x.abs() * d_y;
        }
    }

    fn shader(&self, operation: &CustomOperation) -> Option<CustomShader> {
        let source = "
            struct Params {
                x_offset: u32, x_len: u32, d_y_offset: u32, d_y_len: u32, d_x_offset: u32, d_x_len: u32, factor: f32,
            }
            @group(0) @binding(0) var<uniform> params: Params;
            @group(1) @binding(0) var<storage, read> x: array<vec4f>;
            @group(1) @binding(1) var<storage, read> d_y: array<vec4f>;
            @group(1) @binding(2) var<storage, read_write> d_x: array<vec4f>;

            @compute @workgroup_size(32)
            fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
                let index = id.x + id.y * groups.x * 32u;
                if index < params.d_x_len / 4u {
                    let slope = params.factor * abs(x[params.x_offset / 4u + index]);
                    d_x[params.d_x_offset / 4u + index] = slope * d_y[params.d_y_offset / 4u + index];
                }
            }";
        let fours = operation.writes[0].len / 4;
        Some(CustomShader::linear(source, fours, 32).parameter(self.factor))
    }
}

/// `sums[r] += the sum of row r`, and `largest[r]` its largest number: a workgroup a row, in workgroup memory.
#[derive(Debug)]
struct RowSums {
    width: usize,
}

impl Kernel for RowSums {
    fn name(&self) -> &'static str {
        "row_sums"
    }

    fn compute(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        for (index, row) in reads[0].chunks(self.width).enumerate() {
            writes[0][index] = row.iter().copied().fold(f32::MIN, f32::max);
            writes[1][index] += row.iter().sum::<f32>();
        }
    }

    fn shader(&self, operation: &CustomOperation) -> Option<CustomShader> {
        let source = "
            struct Params {
                x_offset: u32, x_len: u32, largest_offset: u32, rows: u32, sums_offset: u32, sums_len: u32, width: u32,
            }
            @group(0) @binding(0) var<uniform> params: Params;
            @group(1) @binding(0) var<storage, read> x: array<f32>;
            @group(1) @binding(1) var<storage, read_write> largest: array<f32>;
            @group(1) @binding(2) var<storage, read_write> sums: array<f32>;

            override START: f32 = -3.4028235e38;
            var<workgroup> sh_sums: array<f32, 16>;
            var<workgroup> sh_largest: array<f32, 16>;

            @compute @workgroup_size(16)
            fn main(@builtin(workgroup_id) row: vec3u, @builtin(local_invocation_index) local: u32) {
                var sum = 0.0;
                var most = START;
                for (var column = local; column < params.width; column += 16u) {
                    let value = x[params.x_offset + row.x * params.width + column];
                    sum += value;
                    most = max(most, value);
                }
                sh_sums[local] = sum;
                sh_largest[local] = most;
                workgroupBarrier();
                if local == 0u {
                    for (var other = 1u; other < 16u; other++) {
                        sum += sh_sums[other];
                        most = max(most, sh_largest[other]);
                    }
                    largest[params.largest_offset + row.x] = most;
                    sums[params.sums_offset + row.x] += sum;
                }
            }";
        let rows = operation.writes[0].len as u32;
        let shader = CustomShader::new(source, [rows, 1, 1]);
        Some(
            shader
                .parameter(self.width as u32)
                .cost(operation.reads[0].len as u64),
        )
    }
}

/// Multiples of 1/64 below 2: small sums and products of them are exact.
fn values(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as f32 / 64.0 - 2.0
    };
    (0..len).map(|_| next()).collect()
}

/// Runs a program of one operation; gives all of its buffers afterwards.
fn run(
    device: &dyn Device,
    (program, contents): (&Program, &[(BufferId, Vec<f32>)]),
) -> Vec<Vec<f32>> {
    let mut plan = device.load(program.clone(), &[]).unwrap();
    for (buffer, values) in contents {
        plan.write(*buffer, values).unwrap();
    }
    plan.run(Section::Forward).unwrap();
    let read = |(buffer, values): &(BufferId, Vec<f32>)| {
        let mut read = vec![f32::NAN; values.len()];
        plan.read(*buffer, &mut read).unwrap();
        read
    };
    contents.iter().map(read).collect()
}

fn program(contents: &[Vec<f32>]) -> (Program, Vec<(BufferId, Vec<f32>)>) {
    let mut program = Program::new();
    let buffers = contents.iter().map(|values| {
        let buffer = program.buffer("values", values.len(), Role::Input);
        (buffer, values.clone())
    });
    let buffers = buffers.collect();
    (program, buffers)
}

/// All kernels at offsets, of lengths that leave workgroups half empty and that need workgroups in two dimensions.
pub(crate) fn check(device: &dyn Device) {
    for len in [1, 64, 1_000, 64 * 65_535 + 100] {
        let (x, y) = (values(len + 3, 1), values(len + 7, 2));
        let (mut program, contents) = program(&[x.clone(), y.clone()]);
        let [x_region, y_region] =
            [(0, 3), (1, 5)].map(|(buffer, at)| Region::from(contents[buffer].0).at(at));
        let operation = CustomOperation::new(Arc::new(SignedSquare));
        program.push(
            Section::Forward,
            operation.read(x_region, len).write(y_region, len),
        );
        let mut expected = y;
        for (y, x) in expected[5..5 + len].iter_mut().zip(&x[3..]) {
            *y = x * x.abs();
        }
        let got = run(device, (&program, &contents));
        assert_eq!(got[0], x, "{}", device.name());
        assert_eq!(got[1], expected, "{}: {len}", device.name());
    }
    for len in [4, 128, 1_004] {
        let (x, d_y, d_x) = (values(len + 8, 1), values(len, 2), values(len + 6, 3));
        let (mut program, contents) = program(&[x.clone(), d_y.clone(), d_x.clone()]);
        let operation = CustomOperation::new(Arc::new(SignedSquareBackward { factor: 2.0 }))
            .read(Region::from(contents[0].0).at(8), len)
            .read(contents[1].0, len)
            .write(Region::from(contents[2].0).at(4), len);
        program.push(Section::Forward, operation);
        let mut expected = d_x;
        for (index, d_x) in expected[4..4 + len].iter_mut().enumerate() {
            *d_x = 2.0 * x[8 + index].abs() * d_y[index];
        }
        let got = run(device, (&program, &contents));
        assert_eq!(got[2], expected, "{}: {len}", device.name());
    }
    for (rows, width) in [(1, 1), (7, 33), (300, 5)] {
        let (x, largest, sums) = (
            values(rows * width + 2, 1),
            values(rows + 1, 2),
            values(rows, 3),
        );
        let (mut program, contents) = program(&[x.clone(), largest.clone(), sums.clone()]);
        let operation = CustomOperation::new(Arc::new(RowSums { width }))
            .read(Region::from(contents[0].0).at(2), rows * width)
            .write(Region::from(contents[1].0).at(1), rows)
            .update(contents[2].0, rows);
        program.push(Section::Forward, operation);
        let [mut most, mut total] = [largest, sums];
        for (row, values) in x[2..].chunks(width).enumerate() {
            most[1 + row] = values.iter().copied().fold(f32::MIN, f32::max);
            total[row] += values.iter().sum::<f32>();
        }
        let got = run(device, (&program, &contents));
        assert_eq!(
            got[1..],
            [most, total],
            "{}: {rows} x {width}",
            device.name()
        );
    }
}

/// A kernel that does nothing on the CPU, with any shader or none.
#[derive(Debug)]
pub(crate) struct Faulty {
    pub(crate) shader: Option<CustomShader>,
}

impl Kernel for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn compute(&self, _: &[&[f32]], _: &mut [&mut [f32]]) {}

    fn shader(&self, _: &CustomOperation) -> Option<CustomShader> {
        self.shader.clone()
    }
}

/// What a device says to an operation on `a` and `b`, eight elements each, when a program with it is loaded.
pub(crate) fn refusal(
    device: &dyn Device,
    kernel: impl Kernel + 'static,
    operands: impl FnOnce(CustomOperation, [BufferId; 2]) -> CustomOperation,
) -> Error {
    let mut program = Program::new();
    let buffers = ["a", "b"].map(|label| program.buffer(label, 8, Role::Input));
    let operation = operands(CustomOperation::new(Arc::new(kernel)), buffers);
    program.push(Section::Forward, operation);
    device.load(program, &[]).map(|_| ()).unwrap_err()
}

/// What every device refuses.
pub(crate) fn check_refused(device: &dyn Device) {
    let kernel = || SignedSquare;
    let beyond = refusal(device, kernel(), |op, [a, b]| op.read(a, 9).write(b, 9));
    assert!(matches!(beyond, Error::Shape { .. }), "{beyond}");
    let beyond = refusal(device, kernel(), |op, [a, b]| {
        op.read(a, 4).write(Region::from(b).at(5), 4)
    });
    assert!(beyond.to_string().contains("`b`"), "{beyond}");
    let huge = refusal(device, kernel(), |op, [a, b]| {
        op.read(Region::from(a).at(usize::MAX), 2).write(b, 2)
    });
    assert!(matches!(huge, Error::Shape { .. }), "{huge}");
    let named = |error: Error, operation: &str, part: &str| {
        let text = error.to_string();
        assert!(matches!(error, Error::Operation { .. }), "{text}");
        assert!(text.contains(operation) && text.contains(part), "{text}");
    };
    // What is written overlaps what is read, or lies in the same buffer; twice.
    for at in [0, 4, 2] {
        let kernel = SignedSquare;
        let shared = refusal(device, kernel, |op, [a, _]| {
            op.read(Region::from(a).at(at), 4).write(a, 4)
        });
        named(shared, "`signed_square`", "another of its operands");
        let twice = refusal(device, Faulty { shader: None }, |op, [a, b]| {
            op.read(b, 4).update(Region::from(a).at(at), 4).write(a, 4)
        });
        named(twice, "`faulty`", "another of its operands");
    }
    let many = refusal(device, Faulty { shader: None }, |op, [a, b]| {
        (0..MOST_OPERANDS).fold(op.write(b, 1), |op, _| op.read(a, 1))
    });
    named(many, "`faulty`", "9 operands");
    // The kernel's own check.
    let lengths = refusal(device, kernel(), |op, [a, b]| op.read(a, 3).write(b, 4));
    assert!(lengths.to_string().contains("of one length"), "{lengths}");
}
