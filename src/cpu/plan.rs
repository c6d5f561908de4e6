//! A program loaded onto the CPU: checked once, then interpreted.

use std::time::Instant;

use crate::cpu::access::{Accesses, Touched};
use crate::cpu::aligned::AlignedFloats;
use crate::cpu::layer_backward::LayerBackward;
use crate::cpu::layer_forward::{LayerForward, On};
use crate::cpu::machine::Machine;
use crate::cpu::memory::{Memory, aliases};
use crate::cpu::panel_cache::{PanelCache, PanelSource};
use crate::cpu::run::{Context, Run};
use crate::cpu::simd::lanes;
use crate::cpu::stale::Stale;
use crate::device::{DeviceBuffer, Plan, Span};
use crate::error::{Error, Result};
use crate::ops::{BufferId, Operation, Precision, Program, Role, Section};

/// A section of fewer multiplications than this is done by the thread that asks for it: handing it to the pool and waiting
/// would take longer.
const WORTH_WAKING: usize = 1 << 18;

fn each<R: Run + 'static>(parts: Vec<R>) -> Vec<Box<dyn Run>> {
    { parts.into_iter() }
        .map(|part| Box::new(part) as Box<dyn Run>)
        .collect()
}

/// What an operation comes to: itself, or its parts.
fn implementations(operation: &Operation) -> Vec<Box<dyn Run>> {
    match operation.clone() {
        Operation::Fill(op) => vec![Box::new(op)],
        Operation::Elementwise(op) => vec![Box::new(op)],
        Operation::StridedCopies(op) => vec![Box::new(op)],
        Operation::GatherRows(op) => vec![Box::new(op)],
        Operation::Gemm(op) => vec![Box::new(op)],
        Operation::ColumnSums(op) => vec![Box::new(op)],
        Operation::LayerNormRows(op) => vec![Box::new(op)],
        Operation::LayerNormRowsBackward(op) => vec![Box::new(op)],
        Operation::MergeDirections(op) => vec![Box::new(op)],
        Operation::SplitDirections(op) => vec![Box::new(op)],
        Operation::DropoutRows(op) => vec![Box::new(op)],
        Operation::RecurrentForward(op) => vec![Box::new(op)],
        Operation::RecurrentBackward(op) => vec![Box::new(op)],
        Operation::StackStep(op) => op.parts().iter().flat_map(implementations).collect(),
        Operation::RecurrentWave(op) => each(op.cells),
        Operation::RecurrentBackwardWave(op) => each(op.cells),
        Operation::EmbeddingRows(op) => vec![Box::new(op)],
        Operation::EmbeddingRowsBackward(op) => vec![Box::new(op)],
        Operation::PoolRows(op) => vec![Box::new(op)],
        Operation::PoolRowsBackward(op) => vec![Box::new(op)],
        Operation::PointwiseLoss(op) => vec![Box::new(op)],
        Operation::SoftmaxCrossEntropy(op) => vec![Box::new(op)],
        Operation::GradientNorm(op) => vec![Box::new(op)],
        Operation::OptimizerControl(op) => vec![Box::new(op)],
        Operation::OptimizerStep(op) => vec![Box::new(op)],
        Operation::Custom(op) => vec![Box::new(op)],
    }
}

/// What a section comes to, with names: operations that are better done as one are.
fn section_work(
    program: &Program,
    section: Section,
    aliases: &[usize],
    on: On,
) -> Vec<(&'static str, Box<dyn Run>)> {
    let (mut work, mut operations) = (Vec::new(), program.section(section));
    while let Some(operation) = operations.first() {
        if let Some((layer, taken)) = LayerForward::take(program, operations, on) {
            work.push(("layer_forward", Box::new(layer) as Box<dyn Run>));
            operations = &operations[taken..];
            continue;
        }
        if let Some((layer, taken)) = LayerBackward::take(program, operations) {
            // Buffers of the caller's may keep apart operations that would get in each other's way as one.
            let mut accesses = Accesses::new(program, aliases);
            if layer
                .accesses(&mut accesses)
                .and_then(|()| accesses.finish())
                .is_ok()
            {
                work.push(("layer_backward", Box::new(layer)));
                operations = &operations[taken..];
                continue;
            }
        }
        let parts = implementations(operation).into_iter();
        work.extend(parts.map(|run| (operation.name(), run)));
        operations = &operations[1..];
    }
    work
}

/// A program on the CPU.
#[derive(Debug)]
pub struct CpuPlan {
    machine: Machine,
    program: Program,
    memory: Memory,
    stale: Stale,
    scratch: AlignedFloats,
    panels: PanelCache,
    /// The operations of each section.
    work: [Vec<Work>; 4],
    /// Multiplications of each section.
    multiplications: [usize; 4],
    /// Whether a section has been run from its first operation to its last, so that nothing that it touches is stale.
    settled: [bool; 4],
    seed: u64,
}

/// An operation, what it touches, and what it has to do with the panels.
#[derive(Debug)]
struct Work {
    name: &'static str,
    operation: Box<dyn Run>,
    touched: Touched,
    /// The place of those that it wants.
    place: Option<usize>,
    /// Buffers that panels are made of and that it writes.
    writes: Vec<BufferId>,
}

impl CpuPlan {
    pub(super) fn new(
        machine: &Machine,
        program: Program,
        external: &[(BufferId, DeviceBuffer)],
    ) -> Result<Self> {
        if let Some(spec) =
            { program.buffers().iter() }.find(|spec| spec.precision != Precision::F32)
        {
            return Err(Error::option(
                "storage",
                format!(
                    "buffer `{}` is stored in {:?}, which the GPU device alone can; the CPU device takes Precision::F32",
                    spec.label, spec.precision
                ),
            ));
        }
        let aliases = aliases(&program, external)?;
        let (mut scratch, mut panels) = (0, PanelCache::default());
        let on = On {
            threads: machine.threads.count(),
            lanes: lanes(machine.arch),
        };
        let (mut work, mut multiplications) = (<[Vec<Work>; 4]>::default(), [0; 4]);
        for (section, work) in Section::ALL.into_iter().zip(&mut work) {
            for (name, operation) in section_work(&program, section, &aliases, on) {
                let mut accesses = Accesses::new(&program, &aliases);
                operation.accesses(&mut accesses)?;
                let touched = accesses.finish()?;
                scratch = scratch.max(operation.scratch());
                let total: &mut usize = &mut multiplications[section as usize];
                *total = total.saturating_add(operation.multiplications());
                let lasting = |source: &PanelSource| {
                    program.buffers()[source.weights().0].role == Role::Packed
                };
                // Products can do without, recurrences cannot.
                let worth = |source: &PanelSource| {
                    lasting(source) || !matches!(source, PanelSource::Matrix(_))
                };
                let source = operation.panels().filter(worth);
                let place = source.map(|source| {
                    let lasting = lasting(&source);
                    panels.place(source, lasting)
                });
                work.push(Work {
                    name,
                    operation,
                    place,
                    writes: touched.written.clone(),
                    touched,
                });
            }
        }
        panels.allocate(&machine.pool, machine.arch)?;
        for of_operation in work.iter_mut().flatten() {
            of_operation.writes.retain(|&buffer| panels.are_of(buffer));
        }
        let memory = Memory::new(&machine.pool, &program, external)?;
        let words = program.words();
        Ok(Self {
            machine: machine.clone(),
            stale: Stale::new(memory.stale().iter().copied()),
            memory,
            scratch: AlignedFloats::from_pool(&machine.pool, "scratch", scratch)?,
            panels,
            work,
            multiplications,
            settled: [false; 4],
            // A program may bring a seed of its own in its table.
            seed: words.first().map_or(0, |&low| u64::from(low))
                | words.get(1).map_or(0, |&high| u64::from(high) << 32),
            program,
        })
    }

    /// Does a section's operations, telling `after` the name of each that is done.
    fn interpret(&mut self, section: Section, mut after: impl FnMut(&'static str)) -> Result<()> {
        let settled = self.settled[section as usize];
        for work in &self.work[section as usize] {
            if !settled {
                self.stale.before(&work.touched, &self.memory)?;
            }
            let panels = match work.place {
                Some(place) => self.panels.get(place, &self.memory)?,
                None => None,
            };
            work.operation.run(Context {
                memory: &self.memory,
                words: self.program.words(),
                seed: self.seed,
                scratch: &mut self.scratch,
                panels,
                arch: self.machine.arch,
            })?;
            if !settled {
                self.stale.after(&work.touched);
            }
            for &buffer in &work.writes {
                self.panels.written(buffer);
            }
            after(work.name);
        }
        self.settled[section as usize] = true;
        Ok(())
    }

    /// Runs a section on as many threads as it is worth.
    fn run_with(&mut self, section: Section, after: impl FnMut(&'static str) + Send) -> Result<()> {
        if self.work[section as usize].is_empty() {
            return Ok(());
        }
        let threads = self.machine.threads.clone();
        if self.multiplications[section as usize] <= WORTH_WAKING {
            return threads.run_here(|| self.interpret(section, after));
        }
        threads.run(|| self.interpret(section, after))
    }
}

impl Plan for CpuPlan {
    fn program(&self) -> &Program {
        &self.program
    }

    fn set_seed(&mut self, seed: u64) -> Result<()> {
        self.seed = seed;
        Ok(())
    }

    fn write(&mut self, buffer: BufferId, values: &[f32]) -> Result<()> {
        self.program.check_len(buffer, values.len())?;
        self.memory.write(buffer)?[..values.len()].copy_from_slice(values);
        self.stale.replaced(buffer);
        self.panels.written(buffer);
        Ok(())
    }

    fn run(&mut self, section: Section) -> Result<()> {
        self.run_with(section, |_| ())
    }

    fn read(&mut self, buffer: BufferId, values: &mut [f32]) -> Result<()> {
        self.program.check_len(buffer, values.len())?;
        self.stale.settle(buffer, &self.memory)?;
        values.copy_from_slice(&self.memory.read(buffer)?[..values.len()]);
        Ok(())
    }

    fn dispatches(&self, section: Section) -> usize {
        self.work[section as usize].len()
    }

    fn profile(&mut self, section: Section) -> Result<Vec<Span>> {
        if cfg!(all(target_family = "wasm", target_os = "unknown")) {
            return Err(Error::Device("there is no clock to profile by".to_owned()));
        }
        let mut spans = Vec::with_capacity(self.work[section as usize].len());
        let (origin, mut start) = (Instant::now(), 0.0);
        self.run_with(section, |name| {
            let end = origin.elapsed().as_secs_f64();
            spans.push(Span {
                label: name.to_owned(),
                workgroups: [1; 3],
                start,
                end,
            });
            start = end;
        })?;
        Ok(spans)
    }

    fn bytes(&self) -> u64 {
        4 * (self.memory.own() + self.scratch.len() + self.panels.len()) as u64
    }
}
