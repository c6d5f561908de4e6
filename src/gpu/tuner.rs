//! Which form and strategy a recurrence takes on this adapter: measured, and remembered.
//!
//! What suits depends on the cell, its width, the number of sequences and their lengths, and on an adapter's cores, caches
//! and driver; a table made on one adapter is a guess on another. The tuner runs an operation's candidates over some of its
//! steps, in buffers of its own that hold zeros, and keeps the fastest: first the way of inputs and weights, then tile
//! and strategy.

use std::time::Instant;

use super::choice::{Choice, TILES};
use super::kernel::{table_choice, tuning_key};
use super::loader::Loader;
use super::plan::GpuPlan;
use super::recorder::Recorder;
use crate::error::{Error, Result};
use crate::ops::{BufferId, Operation, Program, Recurrence, RecurrentBackward, Section};

/// Whether there is a way to wait for a measurement: not in a browser.
pub(crate) const CAN_TUNE: bool = cfg!(not(target_family = "wasm"));

/// Places of an operation's steps that are measured, and steps at each.
const WINDOWS: usize = 4;
const WINDOW_STEPS: usize = 4;

/// A candidate slower than this many times the best so far is not measured again.
const HOPELESS: f64 = 1.5;
const REPEATS: usize = 3;

/// What was found for an operation; see [`GpuDevice::tune`](super::GpuDevice::tune).
#[derive(Debug, Clone, PartialEq)]
pub struct Tuned {
    /// The operation: kernel, cell, sizes. Numbers of sequences, steps and rows are rounded up to powers of two.
    pub key: String,
    /// Strategy, tile, the way of the inputs and that of the weights.
    pub choice: String,
    /// Seconds that its measured steps take.
    pub seconds: f64,
    /// The same of what the table would have chosen.
    pub table_seconds: f64,
}

/// An operation of which there are candidates.
#[derive(Debug, Clone, Copy)]
enum Tunable<'a> {
    Forward(&'a Recurrence),
    Backward(&'a RecurrentBackward),
}

impl<'a> Tunable<'a> {
    fn all_of(operation: &'a Operation) -> Vec<Self> {
        match operation {
            Operation::RecurrentForward(op) => vec![Self::Forward(op)],
            Operation::RecurrentBackward(op) => vec![Self::Backward(op)],
            Operation::RecurrentWave(op) => op.cells.iter().map(Self::Forward).collect(),
            Operation::RecurrentBackwardWave(op) => op.cells.iter().map(Self::Backward).collect(),
            _ => Vec::new(),
        }
    }

    fn recurrence(self) -> &'a Recurrence {
        match self {
            Self::Forward(op) => op,
            Self::Backward(op) => &op.forward,
        }
    }

    fn key(self, program: &Program) -> String {
        let kernel = match self {
            Self::Forward(_) => "recurrent_forward",
            Self::Backward(_) => "recurrent_backward",
        };
        let op = self.recurrence();
        tuning_key(kernel, op, program.spec(op.weights.buffer).precision)
    }

    /// The buffers that it touches.
    fn buffers(self) -> Vec<BufferId> {
        let op = self.recurrence();
        let mut buffers = vec![op.gates.buffer, op.states.h.buffer, op.weights.buffer];
        buffers.extend(op.recurrent_sums.map(|sums| sums.buffer));
        buffers.extend(op.running.map(|running| running.h.buffer));
        if let Self::Backward(op) = self {
            buffers.extend([op.h_gradient.buffer, op.output_gradient.buffer]);
        }
        buffers
    }

    /// The same over other steps.
    fn over(self, steps: std::ops::Range<usize>) -> Operation {
        match self {
            Self::Forward(op) => Operation::RecurrentForward(Recurrence {
                steps,
                ..op.clone()
            }),
            Self::Backward(op) => Operation::RecurrentBackward(RecurrentBackward {
                forward: Recurrence {
                    steps,
                    ..op.forward.clone()
                },
                ..op.clone()
            }),
        }
    }

    /// Some of its steps: windows spread over all of them, since a ragged batch gets smaller.
    fn windows(self) -> Vec<Operation> {
        let steps = &self.recurrence().steps;
        let count = steps.len().div_ceil(WINDOW_STEPS).min(WINDOWS);
        let start = |window: usize| steps.start + steps.len() * window / count;
        (0..count)
            .map(|window| {
                let end = steps.end.min(start(window) + WINDOW_STEPS);
                self.over(start(window)..end)
            })
            .collect()
    }
}

/// Measures the recurrences of a program that nothing is known of, remembers the choices and writes them to the cache.
pub(crate) fn tune(loader: &Loader, program: &Program) -> Result<Vec<Tuned>> {
    let mut all = Vec::new();
    for section in Section::ALL {
        for tunable in program.section(section).iter().flat_map(Tunable::all_of) {
            let key = tunable.key(program);
            if loader.choices.get(&key).is_some() {
                continue;
            }
            let measured = Measurement::new(loader, program, tunable).best();
            let (choice, seconds, table_seconds) = match measured {
                Err(Error::OutOfMemory(what)) => {
                    log::warn!("no room to tune `{key}`: {what}");
                    continue;
                }
                other => other?,
            };
            log::info!("tuned {key}: {choice}, {seconds:.2e} s against {table_seconds:.2e} s");
            loader.choices.insert(&key, choice);
            all.push(Tuned {
                key,
                choice: choice.to_string(),
                seconds,
                table_seconds,
            });
        }
    }
    if !all.is_empty() {
        loader.choices.store();
    }
    Ok(all)
}

/// The candidates of one operation.
struct Measurement<'a> {
    loader: &'a Loader,
    op: &'a Recurrence,
    program: Program,
    measured: Vec<(Choice, f64)>,
}

impl<'a> Measurement<'a> {
    fn new(loader: &'a Loader, program: &Program, tunable: Tunable<'a>) -> Self {
        Self {
            loader,
            op: tunable.recurrence(),
            program: program.only(&tunable.buffers(), tunable.windows()),
            measured: Vec::new(),
        }
    }

    /// The fastest candidate, its seconds, and those of the table's.
    fn best(mut self) -> Result<(Choice, f64, f64)> {
        let recorder = Recorder::new(self.loader, &self.program, &[]);
        let table = table_choice((self.op, 1), &recorder);
        let broadcasts = recorder.subgroup_size().is_some();
        let textures = recorder.can_texture(self.op.weights.buffer) && self.op.layout.slots == 4;
        self.measure(table)?;
        for (broadcast, texture) in [(true, true), (true, false), (false, true), (false, false)] {
            if broadcast <= broadcasts && texture <= textures {
                self.measure(Choice {
                    broadcast,
                    texture,
                    ..table
                })?;
            }
        }
        let (way, _) = self.fastest(table);
        let most = self.op.batch.max(1);
        for (index, tile) in TILES.into_iter().enumerate() {
            // A tile wider than the batch has no use beyond the first.
            if index > 0 && TILES[index - 1] >= most {
                break;
            }
            for persistent in [true, false] {
                self.measure(Choice {
                    persistent,
                    tile,
                    ..way
                })?;
            }
        }
        let (choice, seconds) = self.fastest(table);
        let of_table = self.measured.iter().find(|(choice, _)| *choice == table);
        Ok((
            choice,
            seconds,
            of_table.map_or(seconds, |(_, seconds)| *seconds),
        ))
    }

    fn fastest(&self, table: Choice) -> (Choice, f64) {
        let fastest = self.measured.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        fastest.copied().unwrap_or((table, f64::INFINITY))
    }

    /// Measures a candidate once; what the adapter's limits do not allow is left out.
    fn measure(&mut self, choice: Choice) -> Result<()> {
        if self.measured.iter().any(|(known, _)| *known == choice) {
            return Ok(());
        }
        let plan = GpuPlan::load(self.loader, self.program.clone(), &[], Some(choice));
        let mut plan = match plan {
            Err(Error::Limit { what, .. }) => {
                log::debug!("{choice} is beyond the limits: {what}");
                return Ok(());
            }
            plan => plan?,
        };
        // The first run compiles, and waits for the pages of new buffers.
        self.run(&mut plan)?;
        let best = self.fastest(choice).1;
        let mut seconds = f64::INFINITY;
        for _ in 0..REPEATS {
            seconds = seconds.min(self.run(&mut plan)?);
            if seconds > HOPELESS * best {
                break;
            }
        }
        log::debug!("{choice}: {seconds:.3e} s");
        self.measured.push((choice, seconds));
        Ok(())
    }

    /// Seconds of a run: by timestamps where the device has them, else by the host's clock.
    fn run(&self, plan: &mut GpuPlan) -> Result<f64> {
        let features = self.loader.context.device.features();
        if features.contains(wgpu::Features::TIMESTAMP_QUERY) {
            return plan.duration(Section::Forward);
        }
        let start = Instant::now();
        plan.run_and_wait(Section::Forward)?;
        Ok(start.elapsed().as_secs_f64())
    }
}
