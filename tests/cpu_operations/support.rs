//! A program of one operation, and values to put into it.

use wgpu_rnn::cpu::CpuDevice;
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
        threads: usize,
    ) -> Result<Box<dyn Plan>, Error> {
        let mut program = self.program.clone();
        program.push(Section::Forward, operation);
        CpuDevice::with_threads(threads)?.load(program, &[])
    }

    /// The content of `result` after the operation, which must not depend on the number of threads.
    pub(crate) fn run(&self, operation: impl Into<Operation>, result: BufferId) -> Vec<f32> {
        let operation = operation.into();
        let run = |threads| {
            let mut plan = self.load(operation.clone(), threads).unwrap();
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
        assert!(
            values
                .iter()
                .zip(&again)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
        values
    }
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
