//! Operations of the user's own: their kernels give the same on every device.

use std::sync::Arc;

use wgpu_rnn::ops::*;
use wgpu_rnn::{Device, Error, Precision, wgpu};

use crate::custom_cases::{self as cases, Faulty, SignedSquare, refusal};
use crate::support::devices;

#[test]
fn kernels_of_the_users_own() {
    for device in devices() {
        cases::check(device);
    }
}

#[test]
fn refusals() {
    for device in devices() {
        cases::check_refused(device);
        check_refused_shaders(device);
    }
}

fn squares(program: &mut Program, [x, y]: [BufferId; 2]) {
    let operation = CustomOperation::new(Arc::new(SignedSquare));
    program.push(Section::Forward, operation.read(x, 4).write(y, 4));
}

#[test]
fn half_precision_is_refused() {
    let device = &devices()[1];
    assert!(device.can_store(Precision::F16));
    let mut program = Program::new();
    let x = program.stored_buffer("halves", 4, Role::Workspace, Precision::F16);
    let y = program.buffer("y", 4, Role::Output);
    squares(&mut program, [x, y]);
    let error = device.load(program, &[]).map(|_| ()).unwrap_err();
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
        text.contains("`halves`") && text.contains("signed_square"),
        "{text}"
    );
}

#[test]
fn ranges_of_one_buffer_are_refused() {
    for device in devices() {
        let buffer = device.wgpu_device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 1024,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        let mut program = Program::new();
        let ids = ["first", "second"].map(|label| program.buffer(label, 4, Role::External));
        squares(&mut program, ids);
        let given = [0, 512].map(|offset| device.import(&buffer, offset, 4).unwrap());
        let external: Vec<_> = ids.into_iter().zip(given).collect();
        let error = device.load(program, &external).map(|_| ()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`first`") && text.contains("`second`"),
            "{text}"
        );
    }
}

const DECLARED: &str = "
    struct Params { a_offset: u32, a_len: u32, b_offset: u32, b_len: u32, factor: f32 }
    @group(0) @binding(0) var<uniform> params: Params;
    @group(1) @binding(0) var<storage, read> a: array<f32>;
    @group(1) @binding(1) var<storage, read_write> b: array<f32>;
    ";
const MAIN: &str = "
    @compute @workgroup_size(1)
    fn main() { b[params.b_offset] = f32(params.factor) * f32(a[params.a_offset]); }";

/// Changes to the shader above that make it one that does not fit, and what a GPU device says to them.
const FAULTS: [(&str, &str, &str); 21] = [
    ("fn main()", "fn main(", "no WGSL"),
    ("params.factor", "params.factr", "no WGSL"),
    ("fn main", "fn other", "`main`"),
    ("@compute @workgroup_size(1)", "", "entry point"),
    (
        "fn main",
        "fn second() {} @compute @workgroup_size(1) fn main",
        "`main`",
    ),
    (
        "@group(1) @binding(0) var<storage, read> a: array<f32>;",
        "const a = array<f32, 1>(0.0);",
        "binding 0 of group 1",
    ),
    (
        "@group(0) @binding(0) var<uniform> params: Params;",
        "const params = Params();",
        "uniform",
    ),
    (
        "storage, read>",
        "storage, read_write>",
        "binding 0 of group 1",
    ),
    ("storage, read>", "uniform>", "binding 0 of group 1"),
    ("a: array<f32>", "a: array<u32>", "binding 0 of group 1"),
    ("a: array<f32>", "a: array<f32, 4>", "binding 0 of group 1"),
    ("@binding(1)", "@binding(2)", "binding 2 of group 1"),
    (
        "@group(1) @binding(1)",
        "@group(2) @binding(1)",
        "binding 1 of group 2",
    ),
    ("b_len: u32, ", "", "binding 0 of group 0"),
    ("b_len: u32", "b_len: f32", "binding 0 of group 0"),
    ("factor: f32", "factor: u32", "binding 0 of group 0"),
    ("factor: f32", "factor: vec4f", "no WGSL"),
    (
        "factor: f32",
        "factor: f32, more: f32",
        "binding 0 of group 0",
    ),
    (
        "struct Params",
        "@group(0) @binding(1) var<uniform> more: vec4u; struct Params",
        "binding 1 of group 0",
    ),
    (
        "struct Params",
        "override OPEN: f32; struct Params",
        "`OPEN`",
    ),
    // What wgpu finds: more invocations than any device has in a workgroup.
    ("@workgroup_size(1)", "@workgroup_size(65536)", "compiled"),
];

/// What a GPU device refuses beside that.
fn check_refused_shaders(device: &dyn Device) {
    let with = |shader: Option<CustomShader>| {
        let error = refusal(device, Faulty { shader }, |op, [a, b]| {
            op.read(a, 8).write(b, 8)
        });
        let text = error.to_string();
        assert!(matches!(error, Error::Operation { .. }), "{text}");
        assert!(text.contains("`faulty`"), "{text}");
        text
    };
    let none = with(None);
    assert!(none.contains("no shader"), "{none}");
    let shader = |source: String| CustomShader::new(source, [1; 3]).parameter(0.5);
    for (right, wrong, why) in FAULTS {
        let source = format!("{DECLARED}{MAIN}");
        assert!(source.contains(right), "{right}");
        let text = with(Some(shader(source.replace(right, wrong))));
        assert!(text.contains(why), "`{wrong}`: {text}");
    }
    let no_work = CustomShader::new(format!("{DECLARED}{MAIN}"), [1, 0, 1]).parameter(0.5);
    let text = with(Some(no_work));
    assert!(text.contains("1 x 0 x 1 workgroups"), "{text}");
}
