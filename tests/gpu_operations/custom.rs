//! Operations of the user's own: the shader against the CPU's function, and what is refused before it runs.

use std::sync::Arc;

use wgpu_rnn::Error;
use wgpu_rnn::ops::{CustomOperation, CustomShader, Kernel};

use crate::support::{Case, all_devices, devices, random};

/// `sum = sum + factor * x |x|`, and `y = x |x|` beside it.
const SOURCE: &str = "
    struct Params {
        x_offset: u32, x_len: u32, y_offset: u32, y_len: u32, sum_offset: u32, sum_len: u32,
        factor: f32, unused: u32,
    }
    @group(0) @binding(0) var<uniform> params: Params;
    @group(1) @binding(0) var<storage, read> x: array<f32>;
    @group(1) @binding(1) var<storage, read_write> y: array<f32>;
    @group(1) @binding(2) var<storage, read_write> sum: array<f32>;

    @compute @workgroup_size(64)
    fn main(
        @builtin(global_invocation_id) id: vec3u,
        @builtin(num_workgroups) groups: vec3u,
    ) {
        let index = id.x + id.y * groups.x * 64u;
        if index < params.x_len {
            let value = x[params.x_offset + index];
            let square = value * abs(value);
            y[params.y_offset + index] = square;
            sum[params.sum_offset + index] += params.factor * square;
        }
    }";

/// A kernel whose shader is this one, if it has any.
#[derive(Debug)]
struct Squares {
    source: Option<String>,
    factor: f32,
}

impl Kernel for Squares {
    fn name(&self) -> &'static str {
        "squares"
    }

    fn compute(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let (y, sum) = writes.split_at_mut(1);
        let places = y[0].iter_mut().zip(sum[0].iter_mut());
        for ((y, sum), x) in places.zip(reads[0]) {
            *y = x * x.abs();
            *sum += self.factor * *y;
        }
    }

    fn shader(&self, operation: &CustomOperation) -> Option<CustomShader> {
        let source = self.source.clone()?;
        let shader = CustomShader::linear(source, operation.reads[0].len, 64);
        Some(shader.parameter(self.factor).parameter(7u32))
    }
}

fn squares(source: Option<String>) -> CustomOperation {
    let factor = -0.5;
    CustomOperation::new(Arc::new(Squares { source, factor }))
}

#[test]
fn shader_and_function_agree() {
    for len in [1, 7, 64, 1000] {
        let mut case = Case::new();
        let x = random(len + 3, 1);
        let begun = random(len + 2, 2);
        let buffer = case.buffer("x", x.clone());
        let y = case.buffer("y", random(len + 1, 3));
        let sum = case.buffer("sum", begun.clone());
        let operation = squares(Some(SOURCE.to_owned()))
            .read(wgpu_rnn::ops::Region::from(buffer).at(3), len)
            .write(wgpu_rnn::ops::Region::from(y).at(1), len)
            .update(wgpu_rnn::ops::Region::from(sum).at(2), len);
        case.push(operation);
        for (device, results) in case.run(0, &[y, sum]) {
            for index in 0..len {
                let value = f64::from(x[index + 3]);
                let square = value * value.abs();
                let expected = f64::from(begun[index + 2]) - 0.5 * square;
                let errors = [
                    f64::from(results[0][index + 1]) - square,
                    f64::from(results[1][index + 2]) - expected,
                ];
                assert!(
                    errors.iter().all(|error| error.abs() < 2e-7),
                    "{device} {errors:?}"
                );
            }
        }
    }
}

/// The text of the refusal on a device.
fn refusal(
    gpu: bool,
    source: Option<&str>,
    build: impl Fn(CustomOperation, [wgpu_rnn::ops::BufferId; 3]) -> CustomOperation,
) -> String {
    let mut case = Case::new();
    let buffers = ["x", "y", "sum"].map(|label| case.buffer(label, vec![0.0; 8]));
    case.push(build(squares(source.map(str::to_owned)), buffers));
    let all = all_devices();
    let device = if gpu { all[0] } else { all[all.len() - 1] };
    let error = device
        .load(case.program, &[])
        .expect_err("this does not fit");
    assert!(
        matches!(error, Error::Operation { .. } | Error::Shape { .. }),
        "{error:?}"
    );
    error.to_string()
}

#[test]
fn what_does_not_fit_is_refused() {
    assert!(!devices().is_empty());
    let whole = |operation: CustomOperation, [x, y, sum]: [wgpu_rnn::ops::BufferId; 3]| {
        operation.read(x, 8).write(y, 8).update(sum, 8)
    };
    let refused = |source: Option<&str>, text: &str| {
        let error = refusal(true, source, whole);
        assert!(error.contains("squares") && error.contains(text), "{error}");
    };
    refused(None, "no shader");
    refused(Some("fn main( {"), "no WGSL");
    refused(Some(&SOURCE.replace("fn main", "fn other")), "`main`");
    refused(
        Some(&SOURCE.replace("@binding(2)", "@binding(3)")),
        "group 1",
    );
    refused(
        Some(&SOURCE.replace("storage, read> x", "storage, read_write> x")),
        "binding 0 of group 1",
    );
    refused(
        Some(&SOURCE.replace("factor: f32, unused: u32,", "factor: f32,")),
        "binding 0 of group 0",
    );
    for gpu in [false, true] {
        let error =
            |build: &dyn Fn(CustomOperation, [wgpu_rnn::ops::BufferId; 3]) -> CustomOperation| {
                refusal(gpu, Some(SOURCE), build)
            };
        // Beyond a buffer's end, a buffer that is written and read, nothing written, too many operands.
        assert!(error(&|op, [x, y, sum]| op.read(x, 9).write(y, 8).update(sum, 8)).contains('8'));
        assert!(
            error(&|op, [x, y, _]| op.read(x, 8).write(y, 8).update(x, 8))
                .contains("another of its operands")
        );
        assert!(error(&|op, [x, ..]| op.read(x, 8)).contains("writes nothing"));
        let many = |op: CustomOperation, [x, y, _]: [wgpu_rnn::ops::BufferId; 3]| {
            (0..8).fold(op.write(y, 8), |op, _| op.read(x, 8))
        };
        assert!(error(&many).contains("9 operands"));
    }
}
