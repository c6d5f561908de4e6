//! Tickets as a network sees them: parts in time, records of numbers, batches.

use std::sync::Arc;

use wgpu_rnn::data::{Crossing, Scaler, Scaling, Split, TimeCuts, Vocabulary, Window};
use wgpu_rnn::{Packing, Result};

use crate::tickets::event::Event;
use crate::tickets::generator::{DAYS, HORIZON_HOURS, Step, Ticket};

/// Days at the end that are held out.
const HOLD_OUT_DAYS: f64 = 90.0;
/// Days before them that validate.
const VALIDATION_DAYS: f64 = 90.0;
/// Scalar features of an event: hours since opening and since the event before, on a logarithmic scale, and the priority.
pub const FEATURES: usize = 3;
/// Elements of a record: the event's number and its features.
pub const RECORD: usize = 1 + FEATURES;

/// All tickets, in parts, and what was fitted on the training part.
#[derive(Debug)]
pub struct Dataset {
    /// In the order in which they were opened.
    pub tickets: Vec<Ticket>,
    /// Which tickets train, validate and judge.
    pub split: Split,
    /// From tickets to what a network sees.
    pub encoder: Encoder,
}

/// From events to records.
#[derive(Debug, Clone)]
pub struct Encoder {
    /// What types of events are called in the stream.
    pub names: fn(Event) -> &'static str,
    /// The numbers of these names.
    pub vocabulary: Vocabulary,
    /// Of the features.
    pub scaler: Scaler,
}

/// Tickets side by side, packed.
#[derive(Debug)]
pub struct Batch {
    /// How the events are laid out.
    pub packing: Arc<Packing>,
    /// `[tokens, RECORD]`
    pub records: Vec<f32>,
    /// `[batch]`, in the order of the tickets.
    pub labels: Vec<f32>,
}

impl Dataset {
    /// Parts tickets in time: a ticket reaches from its opening to the end of the hours that its label speaks of, and those
    /// that reach across a cut are left out, so that nothing of the hold-out can leak into training.
    ///
    /// # Errors
    /// [`Error::Data`](wgpu_rnn::Error::Data) if a part is empty.
    pub fn new(tickets: Vec<Ticket>) -> Result<Self> {
        let windows: Vec<Window> = { tickets.iter().enumerate() }
            .map(|(number, ticket)| window(number as u64, ticket))
            .collect();
        let cuts = TimeCuts {
            validation_from: Some(((DAYS - HOLD_OUT_DAYS - VALIDATION_DAYS) * 24.0) as i64),
            hold_out_from: ((DAYS - HOLD_OUT_DAYS) * 24.0) as i64,
            crossing: Crossing::Drop,
        };
        let split = Split::by_time(&windows, cuts)?;
        let training = || split.training().iter().map(|&at| &tickets[at]);
        let encoder = Encoder::fit(training)?;
        Ok(Self {
            tickets,
            split,
            encoder,
        })
    }

    /// Those tickets of a part.
    pub fn part(&self, part: &[usize]) -> Vec<&Ticket> {
        part.iter().map(|&at| &self.tickets[at]).collect()
    }
}

/// Whole hours, rounded outwards.
fn window(entity: u64, ticket: &Ticket) -> Window {
    let start = ticket.opened * 24.0;
    let end = start + f64::from(ticket.last().hours) + HORIZON_HOURS;
    Window {
        entity,
        start: start.floor() as i64,
        end: end.ceil() as i64,
    }
}

impl Encoder {
    /// Vocabulary and scaler of the training part.
    fn fit<'a, I: Iterator<Item = &'a Ticket>>(training: impl Fn() -> I) -> Result<Self> {
        let names = training().flat_map(|ticket| &ticket.steps);
        let vocabulary = Vocabulary::build(names.map(|step| step.event.name()), 1)?;
        let rows: Vec<Vec<f32>> = training()
            .map(|ticket| ticket.steps.iter().flat_map(features).collect())
            .collect();
        let rows = rows.iter().map(Vec::as_slice);
        Ok(Self {
            names: Event::name,
            scaler: Scaler::fit(Scaling::Standard, FEATURES, rows)?,
            vocabulary,
        })
    }

    /// Tickets as a batch, in their order.
    ///
    /// # Errors
    /// [`Error::Data`](wgpu_rnn::Error::Data) if a feature is not finite.
    pub fn batch(&self, tickets: &[&Ticket]) -> Result<Batch> {
        let lengths: Vec<usize> = tickets.iter().map(|ticket| ticket.steps.len()).collect();
        let packing = Packing::new(&lengths)?;
        let mut records = vec![0.0; packing.tokens() * RECORD];
        for (sorted, &original) in packing.order().iter().enumerate() {
            for (time, record) in self.records(tickets[original])?.iter().enumerate() {
                let row = packing.row(time, sorted) * RECORD;
                records[row..row + RECORD].copy_from_slice(record);
            }
        }
        Ok(Batch {
            packing: Arc::new(packing),
            records,
            labels: labels(tickets),
        })
    }

    /// A ticket's records, one an event.
    fn records(&self, ticket: &Ticket) -> Result<Vec<[f32; RECORD]>> {
        let mut scaled: Vec<f32> = ticket.steps.iter().flat_map(features).collect();
        self.scaler.transform(&mut scaled)?;
        let (features, _) = scaled.as_chunks::<FEATURES>();
        let steps = ticket.steps.iter().zip(features);
        let records = steps.map(|(step, &[hours, gap, priority])| {
            [self.number(step.event) as f32, hours, gap, priority]
        });
        Ok(records.collect())
    }

    /// An event's number in the vocabulary.
    pub fn number(&self, event: Event) -> u32 {
        self.vocabulary.encode((self.names)(event))
    }
}

/// An event's features before scaling.
pub fn features(step: &Step) -> [f32; FEATURES] {
    [
        step.hours.ln_1p(),
        step.gap.ln_1p(),
        f32::from(step.priority),
    ]
}

/// 1 for those that escalated, else 0.
pub fn labels(tickets: &[&Ticket]) -> Vec<f32> {
    let labels = tickets.iter().map(|ticket| ticket.escalated);
    labels
        .map(|escalated| f32::from(u8::from(escalated)))
        .collect()
}
