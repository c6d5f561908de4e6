//! A program of one operation, and values to put into it.

use wgpu_rnn::cpu::{CpuDevice, CpuOptions, Instructions};
use wgpu_rnn::ops::*;
use wgpu_rnn::{Device, Error, Plan};

pub(crate) const EPSILON: f64 = f32::EPSILON as f64;

/// A generator of values in [-1, 1) that are multiples of 2^-12.
pub(crate) struct Values(pub(crate) u64);

impl Values {
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 51) as f32 - 4096.0) / 4096.0
    }

    pub(crate) fn vec(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }
}

/// A program of one operation over given buffers.
pub(crate) struct Harness {
    pub(crate) program: Program,
    pub(crate) content: Vec<(BufferId, Vec<f32>)>,
}

impl Harness {
    pub(crate) fn new() -> Self {
        Self {
            program: Program::new(),
            content: Vec::new(),
        }
    }

    pub(crate) fn buffer(&mut self, content: &[f32]) -> BufferId {
        self.buffer_of(content, Role::Input)
    }

    pub(crate) fn buffer_of(&mut self, content: &[f32], role: Role) -> BufferId {
        let id = self.program.buffer("test", content.len(), role);
        self.content.push((id, content.to_vec()));
        id
    }

    pub(crate) fn load(
        &self,
        operation: impl Into<Operation>,
        options: &CpuOptions,
    ) -> Result<Box<dyn Plan>, Error> {
        let mut program = self.program.clone();
        program.push(Section::Forward, operation);
        CpuDevice::with_options(options)?.load(program, &[])
    }

    /// The content of `result` after an operation that has no kernel for each instruction set.
    pub(crate) fn run(&self, operation: impl Into<Operation>, result: BufferId) -> Vec<f32> {
        let operation = operation.into();
        let mut sets = Instructions::available().into_iter();
        let of_set = |set| self.run_on(set, &operation, result);
        let values = of_set(sets.next().unwrap());
        assert!(sets.all(|set| same_bits(&values, &of_set(set))));
        values
    }

    /// The content of `result` after the operation, which must not depend on the number of threads.
    pub(crate) fn run_on(
        &self,
        set: Instructions,
        operation: &Operation,
        result: BufferId,
    ) -> Vec<f32> {
        let run = |threads| {
            let options = CpuOptions::new().threads(threads).instructions(set);
            let mut plan = self.load(operation.clone(), &options).unwrap();
            for (id, content) in &self.content {
                plan.write(*id, content).unwrap();
            }
            plan.set_seed(7).unwrap();
            plan.run(Section::Forward).unwrap();
            // Once more with the same content, as a plan is run that keeps something from the first time.
            for (id, content) in &self.content {
                plan.write(*id, content).unwrap();
            }
            plan.run(Section::Forward).unwrap();
            let mut values = vec![0.0; self.program.spec(result).len];
            plan.read(result, &mut values).unwrap();
            values
        };
        let values = run(1);
        let again = run(3);
        assert!(same_bits(&values, &again), "{set}: threads change it");
        values
    }
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.iter()
        .map(|a| a.to_bits())
        .eq(b.iter().map(|b| b.to_bits()))
}

#[track_caller]
pub(crate) fn assert_close(got: &[f32], expected: &[f64], tolerance: impl Fn(usize) -> f64) {
    assert_eq!(got.len(), expected.len());
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let difference = (f64::from(got) - expected).abs();
        let tolerance = tolerance(i);
        assert!(
            difference <= tolerance,
            "[{i}] {got} for {expected}, tolerance {tolerance}"
        );
    }
}
