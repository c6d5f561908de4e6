//! An operation of the user's own: a function for the CPU and, if it shall run there, a shader for the GPU.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ops::Region;

/// Operands of a [`CustomOperation`] at most: the storage buffers that every WebGPU device gives a shader.
pub const MOST_OPERANDS: usize = 8;

/// What a [`CustomOperation`] computes: twice, on the CPU and in a shader. The two should agree to rounding.
///
/// `y = x |x|`, and what it makes of a gradient, `d_x = d_y * 2 |x|`:
///
/// ```
/// use std::sync::Arc;
/// use wgpu_rnn::cpu::CpuDevice;
/// use wgpu_rnn::ops::{CustomOperation, CustomShader, Kernel, Program, Role, Section};
/// use wgpu_rnn::{Device, Error, Result};
///
/// #[derive(Debug)]
/// struct SignedSquare;
///
/// impl Kernel for SignedSquare {
///     fn name(&self) -> &'static str {
///         "signed_square"
///     }
///
///     fn check(&self, operation: &CustomOperation) -> Result<()> {
///         same_lengths(operation, 1)
///     }
///
///     fn compute(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
///         for (y, x) in writes[0].iter_mut().zip(reads[0]) {
///             *y = x * x.abs();
///         }
///     }
///
///     fn shader(&self, operation: &CustomOperation) -> Option<CustomShader> {
///         let source = "
///             struct Params { x_offset: u32, x_len: u32, y_offset: u32, y_len: u32 }
///             @group(0) @binding(0) var<uniform> params: Params;
///             @group(1) @binding(0) var<storage, read> x: array<f32>;
///             @group(1) @binding(1) var<storage, read_write> y: array<f32>;
///
///             @compute @workgroup_size(64)
///             fn main(
///                 @builtin(global_invocation_id) id: vec3u,
///                 @builtin(num_workgroups) groups: vec3u,
///             ) {
///                 let index = id.x + id.y * groups.x * 64u;
///                 if index < params.y_len {
///                     let value = x[params.x_offset + index];
///                     y[params.y_offset + index] = value * abs(value);
///                 }
///             }";
///         Some(CustomShader::linear(source, operation.writes[0].len, 64))
///     }
/// }
///
/// #[derive(Debug)]
/// struct SignedSquareBackward;
///
/// impl Kernel for SignedSquareBackward {
///     fn name(&self) -> &'static str {
///         "signed_square_backward"
///     }
///
///     fn check(&self, operation: &CustomOperation) -> Result<()> {
///         same_lengths(operation, 2)
///     }
///
///     fn compute(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
///         for ((d_x, x), d_y) in writes[0].iter_mut().zip(reads[0]).zip(reads[1]) {
///             *d_x = d_y * 2.0 * x.abs();
///         }
///     }
///
///     fn shader(&self, operation: &CustomOperation) -> Option<CustomShader> {
///         let source = "
///             struct Params {
///                 x_offset: u32, x_len: u32,
///                 d_y_offset: u32, d_y_len: u32,
///                 d_x_offset: u32, d_x_len: u32,
///                 factor: f32,
///             }
///             @group(0) @binding(0) var<uniform> params: Params;
///             @group(1) @binding(0) var<storage, read> x: array<f32>;
///             @group(1) @binding(1) var<storage, read> d_y: array<f32>;
///             @group(1) @binding(2) var<storage, read_write> d_x: array<f32>;
///
///             @compute @workgroup_size(64)
///             fn main(
///                 @builtin(global_invocation_id) id: vec3u,
///                 @builtin(num_workgroups) groups: vec3u,
///             ) {
///                 let index = id.x + id.y * groups.x * 64u;
///                 if index < params.d_x_len {
///                     let slope = params.factor * abs(x[params.x_offset + index]);
///                     d_x[params.d_x_offset + index] = d_y[params.d_y_offset + index] * slope;
///                 }
///             }";
///         let shader = CustomShader::linear(source, operation.writes[0].len, 64);
///         Some(shader.parameter(2.0))
///     }
/// }
///
/// /// So many operands are read, one is written, and all are of one length.
/// fn same_lengths(operation: &CustomOperation, reads: usize) -> Result<()> {
///     let lengths: Vec<usize> = operation.operands().map(|operand| operand.len).collect();
///     let one = lengths.windows(2).all(|pair| pair[0] == pair[1]);
///     if one && (operation.reads.len(), operation.writes.len(), lengths.len()) == (reads, 1, reads + 1) {
///         return Ok(());
///     }
///     Err(Error::Shape {
///         what: operation.kernel.name().to_owned(),
///         expected: format!("{reads} operands to read and one to write, of one length"),
///         got: format!("lengths {lengths:?}"),
///     })
/// }
///
/// let mut program = Program::new();
/// let x = program.buffer("x", 3, Role::Input);
/// let y = program.buffer("y", 3, Role::Output);
/// let [d_y, d_x] = [("d_y", Role::Input), ("d_x", Role::Output)].map(|(label, role)| program.buffer(label, 3, role));
/// let forward = CustomOperation::new(Arc::new(SignedSquare)).read(x, 3).write(y, 3);
/// let backward = CustomOperation::new(Arc::new(SignedSquareBackward)).read(x, 3).read(d_y, 3).write(d_x, 3);
/// program.push(Section::Forward, forward);
/// program.push(Section::Backward, backward);
///
/// let mut plan = CpuDevice::new()?.load(program, &[])?;
/// plan.write(x, &[-2.0, 0.0, 3.0])?;
/// plan.write(d_y, &[1.0, 1.0, 0.5])?;
/// plan.run_all(&[Section::Forward, Section::Backward])?;
/// let mut values = [0.0; 3];
/// plan.read(y, &mut values)?;
/// assert_eq!(values, [-4.0, 0.0, 9.0]);
/// plan.read(d_x, &mut values)?;
/// assert_eq!(values, [4.0, 0.0, 3.0]);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
pub trait Kernel: Debug + Send + Sync {
    /// Its name, for errors and profiles.
    fn name(&self) -> &'static str;

    /// Sees that it can work with the operands of an operation: with their number and lengths, on which
    /// [`compute`](Self::compute) and the shader may rely. Asked once, when a program is loaded; that they lie within their
    /// buffers is checked besides.
    ///
    /// # Errors
    /// Any, for operands that it cannot work with; the program is then refused with it.
    fn check(&self, operation: &CustomOperation) -> Result<()> {
        let _ = operation;
        Ok(())
    }

    /// Computes on the CPU. `reads` are the operands that are read, `writes` those that are written and after them those that
    /// are updated, each in the operation's order and of its operand's length.
    ///
    /// It runs on one thread. For the same operands it has to give the same bits, and it should not allocate.
    fn compute(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]);

    /// The shader that computes the same on the GPU. `None`, as it is by default, if there is none: then a GPU device refuses
    /// to load a program with it.
    fn shader(&self, operation: &CustomOperation) -> Option<CustomShader> {
        let _ = operation;
        None
    }
}

/// A compute shader for a [`CustomOperation`], in WGSL.
///
/// The entry point is `main`. Each operand has a storage buffer in group 1, the operands that are read, written and updated one
/// after the other as [`CustomOperation::operands`] has them, from binding 0 on: `var<storage, read>` for one that is read, else
/// `var<storage, read_write>`, of `array<f32>`, or of `array<vec2f>` or `array<vec4f>` if offset and length are multiples of 2
/// or 4. The whole buffer is bound that the operand lies in. So a uniform at group 0, binding 0 says where it begins and how long
/// it is: a struct of two `u32` for each operand, offset and length, both in numbers of `f32`, and after these of the
/// [parameters](Self::parameter).
///
/// All that is checked when the program is loaded, and nothing else may be bound. The shader keeps the checks that `wgpu` adds:
/// it cannot leave the buffers, but nothing keeps it from another part of a buffer that it writes to. Override constants need a
/// default.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomShader {
    pub(crate) source: Cow<'static, str>,
    pub(crate) parameters: Vec<ShaderParameter>,
    pub(crate) workgroups: [u32; 3],
    pub(crate) cost: Option<u64>,
}

impl CustomShader {
    /// A shader that is run by so many workgroups. A device takes 65,535 in each dimension, or more.
    pub fn new(source: impl Into<Cow<'static, str>>, workgroups: [u32; 3]) -> Self {
        Self {
            source: source.into(),
            parameters: Vec::new(),
            workgroups,
            cost: None,
        }
    }

    /// A shader that is run by at least `invocations` invocations, `of_workgroup` of them in each workgroup
    /// (`@workgroup_size`). As few workgroups fit one dimension, they are spread over x and y: an invocation's number is
    /// `id.x + id.y * groups.x * of_workgroup`, with the built-in `global_invocation_id` and `num_workgroups`, and may be
    /// beyond the last that was asked for.
    pub fn linear(
        source: impl Into<Cow<'static, str>>,
        invocations: usize,
        of_workgroup: u32,
    ) -> Self {
        /// WebGPU's default limit, the least that a device has.
        const MOST: usize = 65_535;
        let groups = invocations.div_ceil((of_workgroup as usize).max(1)).max(1);
        let y = groups.div_ceil(MOST);
        // More rows than fit are refused when the program is loaded.
        let [x, y] = [groups.div_ceil(y), y].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        Self::new(source, [x, y, 1])
    }

    /// One more number in the uniform, after the operands' offsets and lengths.
    pub fn parameter(mut self, parameter: impl Into<ShaderParameter>) -> Self {
        self.parameters.push(parameter.into());
        self
    }

    /// About how many multiplications it takes, by which a long run is split into submissions: see
    /// [`GpuOptions::submit_budget`](crate::gpu::GpuOptions::submit_budget). Without it as many as all operands have elements.
    pub fn cost(mut self, multiplications: u64) -> Self {
        self.cost = Some(multiplications);
        self
    }
}

/// A number in the uniform of a [`CustomShader`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ShaderParameter {
    /// `u32`
    U32(u32),
    /// `f32`
    F32(f32),
}

impl From<u32> for ShaderParameter {
    fn from(value: u32) -> Self {
        Self::U32(value)
    }
}

impl From<f32> for ShaderParameter {
    fn from(value: f32) -> Self {
        Self::F32(value)
    }
}

/// Neighbouring elements that a [`CustomOperation`] reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operand {
    /// Where they begin.
    pub region: Region,
    /// How many elements.
    pub len: usize,
}

/// An operation of the user's own: a [`Kernel`] and its operands, [`MOST_OPERANDS`] at most.
///
/// The buffer of an operand that is written or updated is no other operand's. What is written is replaced to the last element:
/// the kernel may not read it, and what it leaves out may hold anything. All buffers are stored in
/// [`Precision::F32`](crate::ops::Precision::F32). What a device checks of all this it checks when a program is loaded.
#[derive(Debug, Clone)]
pub struct CustomOperation {
    /// What is computed.
    pub kernel: Arc<dyn Kernel>,
    /// What is read.
    pub reads: Vec<Operand>,
    /// What is replaced.
    pub writes: Vec<Operand>,
    /// What is read and written.
    pub updates: Vec<Operand>,
}

impl CustomOperation {
    /// Without operands yet.
    pub fn new(kernel: Arc<dyn Kernel>) -> Self {
        Self {
            kernel,
            reads: Vec::new(),
            writes: Vec::new(),
            updates: Vec::new(),
        }
    }

    /// With one more operand that is read.
    pub fn read(mut self, region: impl Into<Region>, len: usize) -> Self {
        let region = region.into();
        self.reads.push(Operand { region, len });
        self
    }

    /// With one more operand that is replaced.
    pub fn write(mut self, region: impl Into<Region>, len: usize) -> Self {
        let region = region.into();
        self.writes.push(Operand { region, len });
        self
    }

    /// With one more operand that is read and written.
    pub fn update(mut self, region: impl Into<Region>, len: usize) -> Self {
        let region = region.into();
        self.updates.push(Operand { region, len });
        self
    }

    /// All operands: those that are read, then those that are written, then those that are updated.
    pub fn operands(&self) -> impl Iterator<Item = &Operand> {
        self.reads.iter().chain(self.written())
    }

    /// Those that are written and those that are updated.
    pub(crate) fn written(&self) -> impl Iterator<Item = &Operand> {
        self.writes.iter().chain(&self.updates)
    }

    /// What a device checks when it loads the operation, beside the buffers' ends.
    pub(crate) fn validate(&self) -> Result<()> {
        let count = self.operands().count();
        if self.written().next().is_none() {
            return Err(self.refuse("it writes nothing"));
        }
        if count > MOST_OPERANDS {
            return Err(self.refuse(format!(
                "it has {count} operands, {MOST_OPERANDS} is the most"
            )));
        }
        for written in self.written() {
            let of_buffer = self
                .operands()
                .filter(|operand| operand.region.buffer == written.region.buffer);
            if of_buffer.count() > 1 {
                return Err(self.refuse(
                    "it writes to a buffer that another of its operands is in, too; one operand can take the buffer for both, \
                     or a copy",
                ));
            }
        }
        self.kernel.check(self)
    }

    pub(crate) fn refuse(&self, reason: impl Into<String>) -> Error {
        Error::Operation {
            operation: self.kernel.name().to_owned(),
            reason: reason.into(),
        }
    }
}
