//! A checkpoint with something in every section.

use std::time::Duration;

use wgpu_rnn::checkpoint::Checkpoint;
use wgpu_rnn::data::{Crossing, Scaler, Scaling, Split, TimeCuts, Vocabulary, Window};
use wgpu_rnn::metrics::Latency;
use wgpu_rnn::{Parameters, RnnConfig};

pub(crate) fn config() -> RnnConfig {
    RnnConfig::gru(2, 3).build().unwrap()
}

pub(crate) fn full() -> Checkpoint {
    let mut checkpoint = Checkpoint::new();
    checkpoint.networks.insert("rnn".into(), config());
    checkpoint.model = vec!["0 `x` input".into(), "1 `rnn` gru \"é\" 0.0".into()];
    let weights = Parameters::uniform(&config(), 1).unwrap();
    let parameters = &mut checkpoint.parameters;
    parameters.insert_network("rnn.", &weights).unwrap();
    // Numbers that text would lose: the smallest, the next to one, minus zero.
    let edge = vec![f32::from_bits(1), 1.0f32.next_up(), -0.0, f32::MAX];
    parameters.insert("head.weight", vec![2, 2], edge).unwrap();
    parameters.insert("head.bias", vec![], vec![0.1]).unwrap();
    let state = &mut checkpoint.optimizer;
    state.kind = "adam".into();
    state.counters.insert("steps".into(), u64::MAX);
    state.tensors.insert_network("first.", &weights).unwrap();
    checkpoint.position.seed = u64::MAX - 1;
    checkpoint.position.epoch = 3;
    checkpoint.counters.insert("skipped".into(), 2);
    let vocabulary = Vocabulary::build(["reply", "größe \"x\"", "reply"], 1).unwrap();
    checkpoint.vocabularies.insert("event".into(), vocabulary);
    let scaler = Scaler::fit(Scaling::Standard, 1, [&[0.1, 0.7, 0.3][..]]).unwrap();
    checkpoint.scalers.insert("hours".into(), scaler);
    checkpoint
        .set_section("schedule", &(0.1f64 + 0.2, Some(7u32)))
        .unwrap();
    fill_card(&mut checkpoint);
    checkpoint
}

fn fill_card(checkpoint: &mut Checkpoint) {
    let card = &mut checkpoint.card;
    card.name = "tickets".into();
    card.task = "Escalation within the next 4 hours, after each event.".into();
    card.sequence_pattern = "A step an event; the median ticket has 18.".into();
    card.why_recurrence = "A reversal after an early trigger is in no aggregate.".into();
    card.data = "Synthetic.".into();
    card.time_unit = "hours".into();
    let windows: Vec<Window> = (0..10u32)
        .map(|n| Window {
            entity: n.into(),
            start: n.into(),
            end: i64::from(n) + 1,
        })
        .collect();
    let cuts = TimeCuts {
        validation_from: None,
        hold_out_from: 8,
        crossing: Crossing::Refuse,
    };
    let split = Split::by_time(&windows, cuts).unwrap();
    card.hold_out = Some(split.hold_out_report().clone());
    card.metrics.insert("AUC".into(), 0.1 + 0.2);
    card.metrics.insert("a|b".into(), -1.0);
    let times: Vec<Duration> = (1..=100).map(Duration::from_micros).collect();
    card.latency
        .insert("CPU".into(), Latency::new(&times).unwrap());
    card.notes
        .push("Retrain when the unknown rate\npasses 2 %.".into());
}
