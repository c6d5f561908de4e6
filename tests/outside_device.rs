//! A device that is written outside of the crate, against its public API alone: naive loops over a few operations. Layers of the
//! crate run on it, and it refuses what it cannot do.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::device::bind;
use wgpu_rnn::nn::Linear;
use wgpu_rnn::ops::{
    BufferId, Elementwise, ElementwiseKind, Fill, Gemm, Matrix, Operation, Program, Region, Role,
    RowMap, Section,
};
use wgpu_rnn::{Device, DeviceBuffer, Error, Plan, Precision, Result, Span};

/// A buffer's elements, shared between plans and the device.
type Elements = Mutex<Vec<f32>>;

#[derive(Debug)]
struct NaiveDevice;

impl Device for NaiveDevice {
    fn name(&self) -> String {
        "naive loops".to_owned()
    }

    fn buffer(&self, _: &str, len: usize) -> Result<DeviceBuffer> {
        Ok(DeviceBuffer::new(
            Arc::new(Elements::new(vec![0.0; len])),
            len,
        ))
    }

    fn write(&self, buffer: &DeviceBuffer, offset: usize, values: &[f32]) -> Result<()> {
        let range = offset..offset.saturating_add(values.len());
        buffer.check_range(&range, values.len())?;
        let elements = buffer.storage::<Elements>("written")?;
        elements.lock().unwrap()[range].copy_from_slice(values);
        Ok(())
    }

    fn read(&self, buffer: &DeviceBuffer, range: Range<usize>) -> Result<Vec<f32>> {
        buffer.check_range(&range, range.len())?;
        let elements = buffer.storage::<Elements>("read")?;
        Ok(elements.lock().unwrap()[range].to_vec())
    }

    fn load(
        &self,
        program: Program,
        external: &[(BufferId, DeviceBuffer)],
    ) -> Result<Box<dyn Plan>> {
        for section in Section::ALL {
            let mut operations = program.section(section).iter();
            operations.try_for_each(|operation| check(&program, operation))?;
        }
        let given = bind(&program, external)?.into_iter();
        let buffers = (program.buffers().iter().zip(given))
            .map(|(spec, given)| match (given, spec.precision) {
                (_, Precision::F16) => Err(unsupported("half precision")),
                (Some(buffer), _) => buffer.storage::<Elements>(&spec.label),
                (None, _) => Ok(Arc::new(Elements::new(vec![0.0; spec.len]))),
            })
            .collect::<Result<_>>()?;
        Ok(Box::new(NaivePlan {
            program,
            buffers,
            seed: 0,
        }))
    }
}

#[derive(Debug)]
struct NaivePlan {
    program: Program,
    buffers: Vec<Arc<Elements>>,
    seed: u64,
}

fn unsupported(what: &str) -> Error {
    Error::Device(format!("naive loops do not know {what}"))
}

/// Checks when a program is loaded that an operation is one of those below and stays within its buffers.
fn check(program: &Program, operation: &Operation) -> Result<()> {
    let check = |region: Region, elements: usize| {
        let spec = program.buffers().get(region.buffer.index());
        let len = spec.map_or(0, |spec| spec.len);
        match region.offset.saturating_add(elements) <= len {
            true => Ok(()),
            false => Err(Error::Shape {
                what: "operation".to_owned(),
                expected: format!("elements within 0..{len}"),
                got: format!("{elements} elements from {}", region.offset),
            }),
        }
    };
    match operation {
        Operation::Fill(op) => check(op.target, op.len),
        Operation::Elementwise(op) => {
            if !matches!(op.kind, ElementwiseKind::Copy | ElementwiseKind::Multiply) {
                return Err(unsupported("this elementwise operation"));
            }
            let regions = [Some(op.a), op.b, Some(op.target)].into_iter().flatten();
            { regions }.try_for_each(|at| check(at, op.len))
        }
        Operation::Gemm(op) => {
            let a_rows = match op.map {
                None => op.m,
                Some(RowMap::GatherM(table)) => {
                    let rows = program.words_at(table, op.m)?.iter();
                    rows.max().map_or(0, |&row| row as usize + 1)
                }
                Some(_) => return Err(unsupported("this way through the table")),
            };
            let matrix = |matrix: Matrix, rows: usize, columns: usize| match rows * columns {
                0 => Ok(()),
                _ => check(matrix.region, place(&matrix, rows - 1, columns - 1) + 1),
            };
            matrix(op.a, a_rows, op.k)?;
            matrix(op.b, op.k, op.n)?;
            matrix(op.c, op.m, op.n)?;
            op.bias.map_or(Ok(()), |bias| check(bias, op.n))
        }
        other => Err(unsupported(other.name())),
    }
}

/// The place of an element behind a matrix's first.
fn place(matrix: &Matrix, row: usize, column: usize) -> usize {
    row * matrix.strides[0] + column * matrix.strides[1]
}

impl NaivePlan {
    /// A copy of a region to the end of its buffer.
    fn elements(&self, region: Region) -> Vec<f32> {
        let buffer = self.buffers[region.buffer.index()].lock().unwrap();
        buffer[region.offset..].to_vec()
    }

    /// Replaces elements behind a region's start.
    fn set(&self, region: Region, elements: impl IntoIterator<Item = (usize, f32)>) {
        let mut buffer = self.buffers[region.buffer.index()].lock().unwrap();
        for (index, value) in elements {
            buffer[region.offset + index] = value;
        }
    }

    fn fill(&self, op: &Fill) {
        self.set(op.target, (0..op.len).map(|index| (index, op.value)));
    }

    fn elementwise(&self, op: &Elementwise) {
        let (a, b) = (self.elements(op.a), op.b.map(|b| self.elements(b)));
        let of = |index: usize| b.as_ref().map_or(1.0, |b| b[index]) * a[index];
        self.set(op.target, (0..op.len).map(|index| (index, of(index))));
    }

    fn gemm(&self, op: &Gemm) -> Result<()> {
        let [a, b, old] = [op.a, op.b, op.c].map(|matrix| self.elements(matrix.region));
        let bias = op.bias.map(|bias| self.elements(bias));
        let rows = match op.map {
            Some(RowMap::GatherM(table)) => Some(self.program.words_at(table, op.m)?),
            _ => None,
        };
        let sum = |row: usize, column: usize| {
            let of_a = rows.map_or(row, |rows| rows[row] as usize);
            let term = |k| a[place(&op.a, of_a, k)] * b[place(&op.b, k, column)];
            let begun = match op.accumulate {
                true => old[place(&op.c, row, column)],
                false => 0.0,
            };
            let bias = bias.as_ref().map_or(0.0, |bias| bias[column]);
            begun + bias + (0..op.k).map(term).sum::<f32>()
        };
        let places = (0..op.m).flat_map(|row| (0..op.n).map(move |column| (row, column)));
        let elements = places.map(|(row, column)| (place(&op.c, row, column), sum(row, column)));
        self.set(op.c.region, elements);
        Ok(())
    }
}

impl Plan for NaivePlan {
    fn program(&self) -> &Program {
        &self.program
    }

    fn set_seed(&mut self, seed: u64) -> Result<()> {
        self.seed = seed;
        Ok(())
    }

    fn write(&mut self, buffer: BufferId, values: &[f32]) -> Result<()> {
        self.program.check_len(buffer, values.len())?;
        self.set(buffer.into(), values.iter().copied().enumerate());
        Ok(())
    }

    fn run(&mut self, section: Section) -> Result<()> {
        for operation in self.program.section(section) {
            match operation {
                Operation::Fill(op) => self.fill(op),
                Operation::Elementwise(op) => self.elementwise(op),
                Operation::Gemm(op) => self.gemm(op)?,
                other => return Err(unsupported(other.name())),
            }
        }
        Ok(())
    }

    fn read(&mut self, buffer: BufferId, values: &mut [f32]) -> Result<()> {
        self.program.check_len(buffer, values.len())?;
        values.copy_from_slice(&self.elements(buffer.into()));
        Ok(())
    }

    fn dispatches(&self, section: Section) -> usize {
        self.program.section(section).len()
    }

    fn profile(&mut self, _: Section) -> Result<Vec<Span>> {
        Err(unsupported("the time"))
    }

    fn bytes(&self) -> u64 {
        let own = self.program.buffers().iter();
        { own.filter(|spec| spec.role != Role::External) }
            .map(|spec| spec.precision.bytes(spec.len))
            .sum()
    }
}

/// A program of all operations that the device knows, its input and its result.
fn program() -> (Program, [BufferId; 2]) {
    let mut program = Program::new();
    let x = program.buffer("x", 6, Role::Input);
    let scale = program.buffer("scale", 6, Role::Workspace);
    let scaled = program.buffer("scaled", 6, Role::Workspace);
    let y = program.buffer("y", 8, Role::Output);
    let fill = Fill {
        target: scale.into(),
        len: 6,
        value: 3.0,
    };
    let multiply = Elementwise {
        kind: ElementwiseKind::Multiply,
        a: x.into(),
        b: Some(scale.into()),
        target: scaled.into(),
        len: 6,
    };
    // Rows 2, 0, 2 and 1 of `[3, 2]`, times `[2, 2]`, which is the input's end.
    let product = Gemm {
        a: Matrix::rows(scaled, 2),
        b: Matrix::rows(Region::from(x).at(2), 2).transposed(),
        c: Matrix::rows(y, 2),
        m: 4,
        n: 2,
        k: 2,
        map: Some(RowMap::GatherM(program.table(&[2, 0, 2, 1]))),
        bias: Some(scale.into()),
        accumulate: true,
    };
    program.push(Section::Forward, fill);
    program.push(Section::Forward, multiply);
    program.push(Section::Forward, product);
    (program, [x, y])
}

/// Whole numbers: every device has the same sums.
const X: [f32; 6] = [1.0, -2.0, 3.0, 5.0, 0.0, 7.0];

#[test]
fn it_computes_what_another_device_computes() {
    let devices: [&dyn Device; 2] = [&NaiveDevice, &CpuDevice::new().unwrap()];
    let results = devices.map(|device| {
        let (program, [x, y]) = program();
        let mut plan = device.load(program, &[]).unwrap();
        plan.write(x, &X).unwrap();
        // Twice, since the product adds to what is there.
        plan.run_all(&[Section::Forward; 2]).unwrap();
        let mut values = [0.0; 8];
        plan.run_and_read(&[], &mut [(y, &mut values)]).unwrap();
        values
    });
    assert_eq!(results[0], results[1]);
    assert_ne!(results[0], [0.0; 8]);
}

#[test]
fn it_works_on_buffers_of_the_callers() {
    let (program, [x, y]) = program();
    let device = NaiveDevice;
    let [input, output] = [6, 8].map(|len| device.buffer("given", len).unwrap());
    device.write(&input, 0, &X).unwrap();
    let given = [(x, input), (y, output.clone())];
    let mut plan = device.load(program, &given).unwrap();
    plan.run(Section::Forward).unwrap();
    let mut values = vec![0.0; 8];
    plan.read(y, &mut values).unwrap();
    assert_eq!(device.read(&output, 0..8).unwrap(), values);
    // Row 2 of `3 x` is `[0, 21]`; the bias is 3.
    assert_eq!(values[..2], [3.0 + 21.0 * 5.0, 3.0 + 21.0 * 7.0]);
}

#[test]
fn a_layer_runs_on_it() {
    let linear = Linear::new(2, 3).unwrap();
    let weights: Vec<f32> = (0..9).map(|index| index as f32 - 4.0).collect();
    let mut program = Program::new();
    let parameters = program.buffer("parameters", 9, Role::External);
    let x = program.buffer("x", 6, Role::Input);
    let y = program.buffer("y", 9, Role::Output);
    linear.forward(&mut program, 3, parameters.into(), (x.into(), y.into()));
    let device: Arc<dyn Device> = Arc::new(NaiveDevice);
    let given = device.buffer("parameters", 9).unwrap();
    device.write(&given, 0, &weights).unwrap();
    let mut plan = device.load(program, &[(parameters, given)]).unwrap();
    plan.write(x, &X).unwrap();
    plan.run(Section::Forward).unwrap();
    let mut values = vec![0.0; 9];
    plan.read(y, &mut values).unwrap();
    assert_eq!(values, linear.apply(&weights, &X).unwrap());
}

#[test]
fn each_device_refuses_the_others_buffers() {
    let (naive, cpu) = (NaiveDevice, CpuDevice::new().unwrap());
    let devices: [&dyn Device; 2] = [&naive, &cpu];
    for (device, other) in [(devices[0], devices[1]), (devices[1], devices[0])] {
        let foreign = other.buffer("foreign", 6).unwrap();
        let (program, [x, _]) = program();
        for result in [
            device.write(&foreign, 0, &X),
            device.read(&foreign, 0..6).map(|_| ()),
            device.load(program, &[(x, foreign)]).map(|_| ()),
        ] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::ForeignBuffer(_)), "{error}");
        }
    }
}

#[test]
fn it_refuses_what_it_does_not_know() {
    let (mut program, [x, y]) = program();
    let accumulate = Elementwise {
        kind: ElementwiseKind::Accumulate,
        a: x.into(),
        b: None,
        target: y.into(),
        len: 6,
    };
    program.push(Section::Update, accumulate);
    let error = NaiveDevice.load(program, &[]).unwrap_err();
    assert!(matches!(error, Error::Device(_)), "{error}");

    let mut program = Program::new();
    let short = program.buffer("short", 2, Role::Output);
    let fill = Fill {
        target: Region::from(short).at(1),
        len: 2,
        value: 1.0,
    };
    program.push(Section::Forward, fill);
    let error = NaiveDevice.load(program, &[]).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
}
