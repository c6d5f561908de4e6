//! The adding problem (Hochreiter and Schmidhuber 1997, in the form of Arjovsky et al. 2016): at each step a value from 0 to 1
//! and a marker; one step of the first half is marked and one of the second; the target is the sum of the two marked values.
//! What is marked first lies up to `T` steps back. Who always says 1 has a mean squared error of 1/6.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::metrics::ForecastErrors;
use wgpu_rnn::model::Batch;
use wgpu_rnn::ops::PointwiseLossKind;
use wgpu_rnn::train::Goal;
use wgpu_rnn::{Error, Result};

use crate::problem::{Effort, Ends, Part, Problem, RECORDS, TARGET};

/// The error of who always says the mean.
pub(crate) const BASELINE: f64 = 1.0 / 6.0;
/// Sequences of a step.
pub(crate) const SEQUENCES: usize = 64;
/// Steps after which it is judged.
pub(crate) const STEPS: u64 = 25;
/// Sequences that judge.
const JUDGES: usize = 512;
/// The first of them: training never comes so far.
const FIRST_JUDGE: usize = 1 << 40;

/// Sequences of one length; a sample is the number of a random stream, and none is trained on twice.
#[derive(Debug)]
pub(crate) struct Adding {
    pub(crate) length: usize,
    seed: u64,
    effort: Effort,
    judges: Vec<usize>,
}

/// One sequence.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sum {
    pub(crate) values: Vec<f32>,
    /// A step of the first half and one of the second.
    pub(crate) marked: [usize; 2],
}

impl Adding {
    /// Sequences of `length` steps, for `steps` steps of training at most.
    pub(crate) fn new(length: usize, (steps, learning_rate): (u64, f64), seed: u64) -> Self {
        Self {
            length,
            seed,
            effort: Effort {
                epochs: steps.div_ceil(STEPS),
                patience: 0,
                learning_rate,
                falls: false,
            },
            judges: (FIRST_JUDGE..FIRST_JUDGE + JUDGES).collect(),
        }
    }

    /// The sequence with this number.
    pub(crate) fn sum(&self, number: usize) -> Sum {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(number as u64);
        let half = self.length / 2;
        Sum {
            marked: [
                random.random_range(0..half),
                random.random_range(half..self.length),
            ],
            values: (0..self.length)
                .map(|_| random.random_range(0.0..1.0))
                .collect(),
        }
    }
}

impl Sum {
    pub(crate) fn target(&self) -> f32 {
        self.marked.iter().map(|&step| self.values[step]).sum()
    }

    /// Value and marker.
    pub(crate) fn record(&self, step: usize) -> [f32; 2] {
        let is_marked = self.marked.contains(&step);
        [self.values[step], f32::from(u8::from(is_marked))]
    }
}

impl Problem for Adding {
    fn name(&self) -> &'static str {
        "adding"
    }

    fn about(&self) -> String {
        format!("the adding problem over {} steps", self.length)
    }

    fn ends(&self) -> Ends {
        Ends {
            table: None,
            features: 2,
            outputs: 1,
            loss: PointwiseLossKind::Squared,
            bias: Some(1.0),
            memory: Some(self.length),
        }
    }

    fn effort(&self) -> Effort {
        self.effort
    }

    fn batches(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        let first = usize::try_from(epoch * STEPS)
            .ok()
            .and_then(|step| step.checked_mul(SEQUENCES))
            .filter(|first| *first < FIRST_JUDGE - STEPS as usize * SEQUENCES)
            .ok_or(Error::State(
                "training has come to the sequences that judge",
            ))?;
        let batch = |step: usize| {
            let first = first + step * SEQUENCES;
            (first..first + SEQUENCES).collect()
        };
        Ok((0..STEPS as usize).map(batch).collect())
    }

    fn lengths(&self, samples: &[usize]) -> Vec<usize> {
        vec![self.length; samples.len()]
    }

    fn batch(&self, samples: &[usize]) -> Result<Batch> {
        let sums: Vec<Sum> = samples.iter().map(|&number| self.sum(number)).collect();
        let records: Vec<Vec<f32>> = { sums.iter() }
            .map(|sum| (0..self.length).flat_map(|step| sum.record(step)).collect())
            .collect();
        let batch = Batch::new().sequences(RECORDS, 2, &records)?;
        Ok(batch.rows(TARGET, sums.iter().map(Sum::target).collect()))
    }

    fn part(&self, _: Part) -> &[usize] {
        &self.judges
    }

    fn metrics(&self) -> [&'static str; 2] {
        ["MSE", "MAE"]
    }

    fn goal(&self) -> Goal {
        Goal::Minimize
    }

    fn judge(&self, samples: &[usize], predictions: &[f32]) -> Result<[f64; 2]> {
        let targets: Vec<f32> = { samples.iter() }
            .map(|&number| self.sum(number).target())
            .collect();
        let errors = ForecastErrors::new(&targets, predictions)?;
        Ok([errors.rmse().powi(2), errors.mae()])
    }

    fn baselines(&self) -> Result<Vec<(&'static str, [f64; 2])>> {
        let ones = vec![1.0; self.judges.len()];
        Ok(vec![("always 1", self.judge(&self.judges, &ones)?)])
    }
}
