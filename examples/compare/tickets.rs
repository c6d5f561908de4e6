//! Which made-up tickets escalate: the data of `examples/tickets`.
//!
//! Some 600 of the tickets that judge by default escalated, so an AUC of 0.96 has a standard error of 0.006 (Hanley and McNeil
//! 1982). The same tickets judge all networks, which makes differences a little more exact than that.

use example_support::tickets::dataset::{Dataset, FEATURES, RECORD, labels};
use example_support::tickets::generator::{Ticket, tickets};
use wgpu_rnn::data::{BatchOptions, LengthBatches};
use wgpu_rnn::metrics::BinaryScores;
use wgpu_rnn::model::Batch;
use wgpu_rnn::ops::PointwiseLossKind;
use wgpu_rnn::train::Goal;
use wgpu_rnn::{Error, PackedBatch, Result};

use crate::options::{Options, TOKEN_BUDGET};
use crate::problem::{Effort, Ends, Part, Problem, RECORDS, TARGET};

/// What enters the recurrent network at a step: an event's embedding and its features.
const INPUTS: usize = 32;
/// Weight of tickets that escalated.
const POSITIVE_WEIGHT: f32 = 3.0;
/// Tickets that decide which epoch is the best, at most.
const VALIDATION: usize = 6_000;
const LEARNING_RATE: f64 = 0.005;

/// Tickets; a sample is a ticket's number.
#[derive(Debug)]
pub(crate) struct Tickets {
    data: Dataset,
    training: Vec<usize>,
    validation: Vec<usize>,
    batches: LengthBatches,
    epochs: u64,
}

impl Tickets {
    /// Makes tickets and parts them in time. All of the last 90 days judge; of those before not all need to be trained on.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let data = Dataset::new(tickets(options.tickets, options.seed))?;
        for part in [data.split.validation(), data.split.hold_out()] {
            if labels(&data.part(part)).iter().sum::<f32>() == 0.0 {
                return Err(Error::State(
                    "no ticket of a part that judges escalated: make up more with --tickets",
                ));
            }
        }
        let training = spread(data.split.training(), options.training_tickets());
        let batches = BatchOptions {
            token_budget: TOKEN_BUDGET,
            seed: options.seed,
            ..BatchOptions::default()
        };
        let lengths = lengths(&data, &training);
        Ok(Self {
            validation: spread(data.split.validation(), VALIDATION),
            batches: LengthBatches::new(&lengths, batches)?,
            epochs: options.epochs(5, 6),
            training,
            data,
        })
    }

    fn chosen(&self, samples: &[usize]) -> Vec<&Ticket> {
        self.data.part(samples)
    }
}

fn lengths(data: &Dataset, samples: &[usize]) -> Vec<usize> {
    let tickets = data.part(samples).into_iter();
    tickets.map(|ticket| ticket.steps.len()).collect()
}

/// At most `count` of `samples`, evenly spread.
fn spread(samples: &[usize], count: usize) -> Vec<usize> {
    let count = count.min(samples.len());
    let chosen = (0..count).map(|place| samples[place * samples.len() / count]);
    chosen.collect()
}

impl Problem for Tickets {
    fn name(&self) -> &'static str {
        "tickets"
    }

    fn about(&self) -> String {
        let hold_out = self.part(Part::HoldOut);
        let escalated: f32 = labels(&self.chosen(hold_out)).iter().sum();
        format!(
            "made-up tickets, escalation within 4 hours: {} trained on, {} of the last 90 days judge, {escalated} of which escalated",
            self.training.len(),
            hold_out.len(),
        )
    }

    fn ends(&self) -> Ends {
        let labels = labels(&self.chosen(&self.training));
        let positives = labels.iter().sum::<f32>().max(1.0);
        let odds = POSITIVE_WEIGHT * positives / (labels.len() as f32 - positives).max(1.0);
        Ends {
            table: Some([self.data.encoder.vocabulary.len(), INPUTS - FEATURES]),
            features: FEATURES,
            outputs: 1,
            loss: PointwiseLossKind::BinaryCrossEntropy {
                positive_weight: POSITIVE_WEIGHT,
            },
            bias: Some(odds.ln()),
            memory: None,
        }
    }

    fn effort(&self) -> Effort {
        Effort {
            epochs: self.epochs,
            patience: 0,
            learning_rate: LEARNING_RATE,
            falls: true,
        }
    }

    fn batches(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        let batches = self.batches.epoch(epoch).into_iter();
        let numbers = |batch: Vec<usize>| batch.into_iter().map(|at| self.training[at]).collect();
        Ok(batches.map(numbers).collect())
    }

    fn lengths(&self, samples: &[usize]) -> Vec<usize> {
        lengths(&self.data, samples)
    }

    fn batch(&self, samples: &[usize]) -> Result<Batch> {
        let batch = self.data.encoder.batch(&self.chosen(samples))?;
        let records = PackedBatch::new(batch.packing, RECORD, batch.records)?;
        Ok(Batch::new()
            .packed(RECORDS, records)
            .rows(TARGET, batch.labels))
    }

    fn part(&self, part: Part) -> &[usize] {
        match part {
            Part::Validation => &self.validation,
            Part::HoldOut => self.data.split.hold_out(),
        }
    }

    fn metrics(&self) -> [&'static str; 2] {
        ["AUC", "average precision"]
    }

    fn goal(&self) -> Goal {
        Goal::Maximize
    }

    fn judge(&self, samples: &[usize], predictions: &[f32]) -> Result<[f64; 2]> {
        let scores = BinaryScores::new(&labels(&self.chosen(samples)), predictions)?;
        Ok([scores.auc()?, scores.average_precision()?])
    }

    fn baselines(&self) -> Result<Vec<(&'static str, [f64; 2])>> {
        let hold_out = self.part(Part::HoldOut);
        let truth: Vec<f32> = { self.chosen(hold_out).into_iter() }
            .map(|ticket| ticket.probability as f32)
            .collect();
        let best = self.judge(hold_out, &truth)?;
        Ok(vec![("true probability, the best reachable", best)])
    }
}
