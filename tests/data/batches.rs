use proptest::prelude::*;
use wgpu_rnn::data::{BatchOptions, LengthBatches};

use crate::refused;

fn options(token_budget: usize, seed: u64) -> BatchOptions {
    BatchOptions {
        token_budget,
        seed,
        ..BatchOptions::default()
    }
}

fn sorted(batches: &[Vec<usize>]) -> Vec<usize> {
    let mut samples = batches.concat();
    samples.sort_unstable();
    samples
}

/// Most threads have few events, some have many: as tickets have.
fn skewed(count: usize) -> Vec<usize> {
    (0..count)
        .map(|n| 1 + (2.0 * (0.05 * ((n * 7919) % 100) as f64).exp()) as usize)
        .collect()
}

proptest! {
    #[test]
    fn every_sequence_once_within_the_limits(
        lengths in prop::collection::vec(0..40usize, 1..80),
        (room, most) in (0..60usize, 1..9usize),
        (seed, epoch) in (any::<u64>(), any::<u64>()),
        growth in 1.0..3.0f64,
    ) {
        let longest = lengths.iter().copied().max().unwrap();
        let options = BatchOptions {
            token_budget: (longest + room).max(1),
            max_sequences: most,
            growth,
            seed,
        };
        let batches = LengthBatches::new(&lengths, options).unwrap();
        for made in [batches.epoch(epoch), batches.random_epoch(epoch)] {
            prop_assert_eq!(sorted(&made), (0..lengths.len()).collect::<Vec<_>>());
            for batch in &made {
                let tokens: usize = batch.iter().map(|&sample| lengths[sample].max(1)).sum();
                prop_assert!(!batch.is_empty() && batch.len() <= most);
                prop_assert!(tokens <= options.token_budget);
            }
            let padding = batches.padding(&made);
            prop_assert_eq!(padding.tokens, lengths.iter().sum::<usize>());
            prop_assert_eq!(padding.batches, made.len());
            prop_assert!(padding.padded >= padding.tokens);
        }
        prop_assert_eq!(batches.epoch(epoch), LengthBatches::new(&lengths, options).unwrap().epoch(epoch));
    }

    #[test]
    fn equal_lengths_need_no_padding(length in 1..9usize, count in 1..50usize, seed in any::<u64>()) {
        let batches = LengthBatches::new(&vec![length; count], options(20, seed)).unwrap();
        prop_assert_eq!(batches.padding(&batches.epoch(0)).share(), 0.0);
    }
}

#[test]
fn epochs_and_seeds_differ() {
    let lengths = skewed(300);
    let batches = LengthBatches::new(&lengths, options(512, 1)).unwrap();
    let other = LengthBatches::new(&lengths, options(512, 2)).unwrap();
    assert_ne!(batches.epoch(0), batches.epoch(1));
    assert_ne!(batches.epoch(0), batches.epoch(1 << 32));
    assert_ne!(batches.epoch(0), other.epoch(0));
    assert_ne!(batches.random_epoch(0), batches.random_epoch(1));
}

/// A checkpoint's data order has to be the same in later versions: it is nothing but the seed's and the epoch's.
#[test]
fn the_order_is_fixed() {
    let batches = LengthBatches::new(&[5, 1, 1, 4, 1, 5, 2, 0], options(6, 42)).unwrap();
    let order = batches.epoch(3);
    assert_eq!(sorted(&order), (0..8).collect::<Vec<_>>());
    assert_eq!(order, ORDER.map(<[usize]>::to_vec));
}

/// As the first version had it.
const ORDER: [&[usize]; 4] = [&[7, 4, 1, 2, 6], &[3], &[0], &[5]];

#[test]
fn bucketing_saves_padding() {
    let lengths = skewed(2_000);
    let batches = LengthBatches::new(&lengths, options(4_096, 9)).unwrap();
    for epoch in 0..3 {
        let bucketed = batches.padding(&batches.epoch(epoch));
        let random = batches.padding(&batches.random_epoch(epoch));
        assert_eq!(bucketed.tokens, random.tokens);
        assert!(random.share() > 0.5, "{random:?}");
        assert!(bucketed.share() < 0.2, "{bucketed:?}");
        assert!(bucketed.saved_against(&random) > 0.8);
        assert!(bucketed.steps < random.steps);
        assert_eq!(random.saved_against(&random), 0.0);
    }
}

#[test]
fn sequences_of_a_sampler() {
    let batches = LengthBatches::new(&[3, 4, 5], options(10, 0)).unwrap();
    let made = batches.epoch_of(&[2, 2, 0, 2], 0).unwrap();
    assert_eq!(sorted(&made), [0, 2, 2, 2]);
    assert!(batches.epoch_of(&[], 0).unwrap().is_empty());
    refused(
        batches.epoch_of(&[0, 3], 0),
        "sample 1: expected the index of one of 3 sequences, got 3",
    );
}

#[test]
fn bad_options() {
    let new = |lengths: &[usize], options| LengthBatches::new(lengths, options);
    let good = options(8, 0);
    refused(
        new(&[1, 9], good),
        "length of sequence 1: expected at most the token budget of 8, got 9",
    );
    refused(
        new(&[], good),
        "lengths: expected at least one sequence, got none",
    );
    refused(
        new(&[1], options(0, 0)),
        "option `token_budget`: must be at least 1, got 0",
    );
    let most = BatchOptions {
        max_sequences: 0,
        ..good
    };
    refused(
        new(&[1], most),
        "option `max_sequences`: must be at least 1, got 0",
    );
    for growth in [0.9, f64::NAN, f64::INFINITY] {
        let text = format!("option `growth`: must be finite and at least 1, got {growth}");
        refused(new(&[1], BatchOptions { growth, ..good }), &text);
    }
}
