//! Matrix products and recurrences by themselves: what each costs in seconds of processor time, which is what the CPU device
//! and a software adapter spend.
//!
//! Each operation is taken out of a network's program and run alone, on buffers of small numbers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use wgpu_rnn::ops::{
    BufferId, Gemm, Matrix, Operation, Program, Recurrence, Role, SEED_WORDS, Section,
};
use wgpu_rnn::{Device, Plan, Result};

use crate::definition::{Cell, Workload};
use crate::planned::{Data, Planned};
use crate::selection::Selection;

/// Hidden units and sequences of LSTMs whose recurrence is timed besides those of the workloads.
const RECURRENCES: [(usize, usize); 8] = [
    (32, 1),
    (32, 64),
    (64, 16),
    (64, 256),
    (128, 16),
    (128, 64),
    (256, 64),
    (512, 64),
];

/// Rows, columns and terms of a square product.
const SQUARE: usize = 512;

/// Prints the products and recurrences of `workloads`, and some more of each, on a device.
pub(crate) fn operations(
    selection: &Selection,
    workloads: &[Workload],
    device: &Arc<dyn Device>,
) -> Result<()> {
    println!("\n{}", device.name());
    let mut seen = BTreeSet::new();
    let (program, operation) = square();
    measure(selection, device, (&program, &operation), &mut seen)?;
    for workload in recurrences().iter().chain(workloads) {
        let mode = workload.training.then(|| selection.gradient_mode());
        let planned = Planned::new(device, &Data::new(workload)?, &workload.lengths, mode)?;
        let program = planned.plan.program().clone();
        drop(planned);
        for section in [Section::Forward, Section::Backward] {
            for operation in program.section(section) {
                measure(selection, device, (&program, operation), &mut seen)?;
            }
        }
    }
    Ok(())
}

/// Networks for the recurrences alone, forward.
fn recurrences() -> Vec<Workload> {
    let of = |(hidden, batch): (usize, usize)| Workload {
        name: "recurrence".to_owned(),
        title: "",
        cell: Cell::Lstm,
        layers: 1,
        both_directions: false,
        input: 4,
        hidden,
        lengths: vec![32; batch],
        streams: false,
        forward: true,
        training: false,
    };
    RECURRENCES.into_iter().map(of).collect()
}

/// A square product.
fn square() -> (Program, Operation) {
    let mut program = Program::new();
    let mut matrix = |label, role| {
        let buffer = program.buffer(label, SQUARE * SQUARE, role);
        Matrix::rows(buffer, SQUARE)
    };
    let gemm = Gemm {
        a: matrix("a", Role::Input),
        b: matrix("b", Role::Packed),
        c: matrix("c", Role::Output),
        m: SQUARE,
        n: SQUARE,
        k: SQUARE,
        map: None,
        bias: None,
        accumulate: false,
    };
    (program, gemm.into())
}

/// Measures an operation, if it is a product or a recurrence that was not seen before.
fn measure(
    selection: &Selection,
    device: &Arc<dyn Device>,
    (program, operation): (&Program, &Operation),
    seen: &mut BTreeSet<String>,
) -> Result<()> {
    let Some(name) = name(operation) else {
        return Ok(());
    };
    if !seen.insert(name.clone()) {
        return Ok(());
    }
    let mut plan = Alone::load(device, alone(program, operation))?;
    let cost = plan.cost(selection.seconds)?;
    let per_second = |seconds: f64| match operation {
        Operation::Gemm(op) => {
            let operations = 2.0 * (op.m * op.n * op.k) as f64;
            format!("{:7.2} GFLOP/s", operations / seconds / 1e9)
        }
        _ => format!("{:8.3} ms a step", 1e3 * seconds / steps(operation) as f64),
    };
    let of_processor = (cost.processor).map_or("unknown".to_owned(), per_second);
    let figure = format!(
        "{}, in processor time {of_processor}",
        per_second(cost.wall)
    );
    let wall = 1e3 * cost.wall;
    let dispatches = plan.plan.dispatches(Section::Forward);
    println!("  {name:72} {dispatches:4} dispatches {wall:9.3} ms  {figure}");
    Ok(())
}

fn name(operation: &Operation) -> Option<String> {
    let recurrence = |kind: &str, op: &Recurrence| {
        format!(
            "{kind} {:?} H {} B {}, {} directions, {} steps",
            op.spec.cell,
            op.hidden,
            op.batch,
            op.directions,
            op.steps.len()
        )
    };
    Some(match operation {
        Operation::Gemm(op) => {
            let way = |matrix: Matrix| if matrix.strides[1] == 1 { "" } else { "^T" };
            let map = op.map.map_or(String::new(), |map| format!(", {map:?}"));
            let map = map.split('(').next().unwrap_or_default();
            format!(
                "product [{}, {}]{} [{}, {}]{}{map}",
                op.m,
                op.k,
                way(op.a),
                op.k,
                op.n,
                way(op.b),
            )
        }
        Operation::RecurrentForward(op) => recurrence("forward", op),
        Operation::RecurrentBackward(op) => recurrence("backward", &op.forward),
        _ => return None,
    })
}

fn steps(operation: &Operation) -> usize {
    match operation {
        Operation::RecurrentForward(op) => op.steps.len(),
        Operation::RecurrentBackward(op) => op.forward.steps.len(),
        _ => 1,
    }
}

/// A program of the operation alone, and its buffers. These keep their numbers and sizes, but none is the caller's; one more
/// is read after a run, to wait for it.
fn alone(program: &Program, operation: &Operation) -> (Program, Vec<BufferId>, BufferId) {
    let mut single = Program::new();
    let mut all = Vec::new();
    for spec in program.buffers() {
        let role = match spec.role {
            Role::External => Role::Workspace,
            role => role,
        };
        all.push(single.buffer(spec.label.clone(), spec.len, role));
    }
    single.table(&program.words()[SEED_WORDS..]);
    single.push(Section::Forward, operation.clone());
    let flag = single.buffer("flag", 1, Role::Output);
    (single, all, flag)
}

/// What a call costs, in seconds.
struct Cost {
    wall: f64,
    /// Of all threads of this process.
    processor: Option<f64>,
}

/// A loaded program of one operation.
struct Alone {
    plan: Box<dyn Plan>,
    flag: BufferId,
}

impl Alone {
    fn load(
        device: &Arc<dyn Device>,
        (program, buffers, flag): (Program, Vec<BufferId>, BufferId),
    ) -> Result<Self> {
        let mut plan = device.load(program, &[])?;
        for &buffer in &buffers {
            let len = plan.program().spec(buffer).len;
            let values: Vec<f32> = (0..len).map(|i| 0.1 * (i as f32).sin()).collect();
            plan.write(buffer, &values)?;
        }

        Ok(Self { plan, flag })
    }

    fn run(&mut self) -> Result<()> {
        let mut value = [0.0];
        (self.plan).run_and_read(&[Section::Forward], &mut [(self.flag, &mut value)])
    }

    /// Over calls that take about `budget` seconds, after one that is not counted: the median by the clock on the wall, the
    /// mean of processor time, of which a system says in the middle of a call only what it has counted so far.
    fn cost(&mut self, budget: f64) -> Result<Cost> {
        self.run()?;
        let (start, mut walls) = (Instant::now(), Vec::new());
        let before = processor_seconds();
        while walls.len() < 3 || start.elapsed().as_secs_f64() < budget {
            let wall = Instant::now();
            self.run()?;
            walls.push(wall.elapsed().as_secs_f64());
        }
        let spent = processor_seconds().zip(before).map(|(b, a)| b - a);
        walls.sort_by(f64::total_cmp);
        Ok(Cost {
            wall: walls[walls.len() / 2],
            processor: spent.map(|spent| spent / walls.len() as f64),
        })
    }
}

/// Processor time of this process so far.
#[cfg(unix)]
fn processor_seconds() -> Option<f64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64)
}

#[cfg(not(unix))]
fn processor_seconds() -> Option<f64> {
    None
}
