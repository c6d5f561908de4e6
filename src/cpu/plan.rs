//! A program loaded onto the CPU: checked once, then interpreted.

use std::time::Instant;

use crate::cpu::Threads;
use crate::cpu::access::Accesses;
use crate::cpu::memory::{Memory, aliases, zeros};
use crate::cpu::panel_cache::{PackedPanels, PanelCache, PanelSource};
use crate::cpu::panels::Panels;
use crate::cpu::plain::LayerPanels;
use crate::device::{DeviceBuffer, Plan, Span};
use crate::error::{Error, Result};
use crate::ops::{BufferId, Operation, Program, Role, Section, TableOffset};

/// A section of fewer multiplications than this is done by the thread that asks for it: handing it to the pool and waiting
/// would take longer.
const WORTH_WAKING: usize = 1 << 18;

/// An operation on the CPU.
pub(super) trait Run {
    /// Names everything that [`run`](Self::run) touches.
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()>;

    /// Elements of scratch space that it needs.
    fn scratch(&self) -> usize {
        0
    }

    /// Multiplications of its matrix products.
    fn multiplications(&self) -> usize {
        0
    }

    /// Where the panels come from that it wants its weights in, if it does.
    fn panels(&self) -> Option<PanelSource> {
        None
    }

    /// Does it. The accesses have been checked.
    fn run(&self, context: Context<'_>) -> Result<()>;
}

/// What an operation works with.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) memory: &'a Memory,
    pub(super) words: &'a [u32],
    pub(super) seed: u64,
    /// At least as much as the operation asked for, of any content.
    pub(super) scratch: &'a mut [f32],
    /// What the operation asked for.
    pub(super) panels: Option<&'a PackedPanels>,
}

impl<'a> Context<'a> {
    /// The panels of a layer, if the operation asked for such.
    pub(super) fn layer_panels(&self) -> Option<&'a LayerPanels> {
        match self.panels {
            Some(PackedPanels::Layer(panels)) => Some(panels),
            _ => None,
        }
    }

    /// The panels of a matrix, if the operation asked for such.
    pub(super) fn matrix_panels(&self) -> Option<&'a Panels> {
        match self.panels {
            Some(PackedPanels::Matrix(panels)) => Some(panels),
            _ => None,
        }
    }

    /// `len` words of the table.
    pub(super) fn words(&self, table: TableOffset, len: usize) -> &'a [u32] {
        &self.words[table.0..table.0 + len]
    }
}

fn implementation(operation: &Operation) -> &dyn Run {
    match operation {
        Operation::Fill(op) => op,
        Operation::Elementwise(op) => op,
        Operation::StridedCopies(op) => op,
        Operation::GatherRows(op) => op,
        Operation::Gemm(op) => op,
        Operation::ColumnSums(op) => op,
        Operation::LayerNormRows(op) => op,
        Operation::LayerNormRowsBackward(op) => op,
        Operation::MergeDirections(op) => op,
        Operation::SplitDirections(op) => op,
        Operation::DropoutRows(op) => op,
        Operation::RecurrentForward(op) => op,
        Operation::RecurrentBackward(op) => op,
        Operation::MeanSquaredError(op) => op,
        Operation::SquaredNorm(op) => op,
        Operation::Adam(op) => op,
    }
}

/// A program on the CPU.
#[derive(Debug)]
pub struct CpuPlan {
    threads: Threads,
    program: Program,
    memory: Memory,
    scratch: Vec<f32>,
    panels: PanelCache,
    /// For each section's operations.
    uses: [Vec<PanelUse>; 4],
    /// Multiplications of each section.
    multiplications: [usize; 4],
    seed: u64,
}

/// What an operation has to do with the panels.
#[derive(Debug, Default)]
struct PanelUse {
    /// The place of those that it wants.
    place: Option<usize>,
    /// Buffers that panels are made of and that it writes.
    writes: Vec<BufferId>,
}

impl CpuPlan {
    pub(super) fn new(
        threads: Threads,
        program: Program,
        external: &[(BufferId, DeviceBuffer)],
    ) -> Result<Self> {
        let aliases = aliases(&program, external)?;
        let (mut scratch, mut panels) = (0, PanelCache::default());
        let (mut uses, mut multiplications) = (<[Vec<PanelUse>; 4]>::default(), [0; 4]);
        for (section, uses) in Section::ALL.into_iter().zip(&mut uses) {
            for operation in program.section(section) {
                let operation = implementation(operation);
                let mut accesses = Accesses::new(&program, &aliases);
                operation.accesses(&mut accesses)?;
                let writes = accesses.finish()?;
                scratch = scratch.max(operation.scratch());
                let total: &mut usize = &mut multiplications[section as usize];
                *total = total.saturating_add(operation.multiplications());
                let weights = |source: &PanelSource| {
                    program.buffers()[source.weights().0].role == Role::Packed
                };
                let place = operation.panels().filter(weights);
                let place = place.map(|source| panels.place(source));
                uses.push(PanelUse { place, writes });
            }
        }
        panels.allocate();
        for of_operation in uses.iter_mut().flatten() {
            of_operation.writes.retain(|&buffer| panels.are_of(buffer));
        }
        let memory = Memory::new(&program, external)?;
        let words = program.words();
        Ok(Self {
            threads,
            memory,
            scratch: zeros("scratch", scratch)?,
            panels,
            uses,
            multiplications,
            // A program may bring a seed of its own in its table.
            seed: words.first().map_or(0, |&low| u64::from(low))
                | words.get(1).map_or(0, |&high| u64::from(high) << 32),
            program,
        })
    }

    /// Does a section's operations, telling `after` of each that is done.
    fn interpret(&mut self, section: Section, mut after: impl FnMut(&Operation)) -> Result<()> {
        let operations = self.program.section(section).iter();
        for (operation, uses) in operations.zip(&self.uses[section as usize]) {
            let panels = match uses.place {
                Some(place) => self.panels.get(place, &self.memory)?,
                None => None,
            };
            implementation(operation).run(Context {
                memory: &self.memory,
                words: self.program.words(),
                seed: self.seed,
                scratch: &mut self.scratch,
                panels,
            })?;
            for &buffer in &uses.writes {
                self.panels.written(buffer);
            }
            after(operation);
        }
        Ok(())
    }

    /// Runs a section on as many threads as it is worth.
    fn run_with(&mut self, section: Section, after: impl FnMut(&Operation) + Send) -> Result<()> {
        if self.program.section(section).is_empty() {
            return Ok(());
        }
        if self.multiplications[section as usize] <= WORTH_WAKING {
            return self.interpret(section, after);
        }
        let threads = self.threads.clone();
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
        self.panels.written(buffer);
        Ok(())
    }

    fn run(&mut self, section: Section) -> Result<()> {
        self.run_with(section, |_| ())
    }

    fn read(&mut self, buffer: BufferId, values: &mut [f32]) -> Result<()> {
        self.program.check_len(buffer, values.len())?;
        values.copy_from_slice(&self.memory.read(buffer)?[..values.len()]);
        Ok(())
    }

    fn dispatches(&self, section: Section) -> usize {
        self.program.section(section).len()
    }

    fn profile(&mut self, section: Section) -> Result<Vec<Span>> {
        if cfg!(all(target_family = "wasm", target_os = "unknown")) {
            return Err(Error::Device("there is no clock to profile by".to_owned()));
        }
        let mut spans = Vec::with_capacity(self.program.section(section).len());
        let (origin, mut start) = (Instant::now(), 0.0);
        self.run_with(section, |operation| {
            let end = origin.elapsed().as_secs_f64();
            spans.push(Span {
                label: operation.name().to_owned(),
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
