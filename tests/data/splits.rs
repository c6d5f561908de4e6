use proptest::prelude::*;
use wgpu_rnn::data::{Crossing, EntityShares, Rule, Split, TimeCuts, Window};

use crate::refused;

fn window(entity: u64, start: i64, end: i64) -> Window {
    Window { entity, start, end }
}

fn cuts(validation_from: Option<i64>, hold_out_from: i64, crossing: Crossing) -> TimeCuts {
    TimeCuts {
        validation_from,
        hold_out_from,
        crossing,
    }
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    let one = (0..20u64, -50..50i64, 0..12i64);
    prop::collection::vec(one, 1..60).prop_map(|windows| {
        let window = |(entity, start, length)| window(entity, start, start + length);
        windows.into_iter().map(window).collect()
    })
}

/// The rules, pair by pair.
fn leaks(windows: &[Window], split: &Split, rule: Rule) -> bool {
    let parts = [split.training(), split.validation(), split.hold_out()];
    (0..3).any(|earlier| {
        parts[earlier + 1..].iter().any(|later| {
            parts[earlier].iter().any(|&a| {
                later.iter().any(|&b| match rule {
                    Rule::Time => windows[a].end > windows[b].start,
                    Rule::Entity => windows[a].entity == windows[b].entity,
                })
            })
        })
    })
}

proptest! {
    #[test]
    fn no_split_by_time_leaks(
        windows in windows(),
        (validation, hold_out) in (-50..50i64, -50..50i64),
        drop in any::<bool>(),
    ) {
        let crossing = if drop { Crossing::Drop } else { Crossing::Refuse };
        let made = Split::by_time(&windows, cuts(Some(validation), hold_out, crossing));
        if let Ok(split) = made {
            prop_assert!(!leaks(&windows, &split, Rule::Time));
            let parts = [split.training(), split.validation(), split.hold_out()].concat();
            prop_assert_eq!(parts.len() + split.dropped(), windows.len());
            prop_assert!(split.hold_out().iter().all(|&index| windows[index].start >= hold_out));
            prop_assert_eq!(split.hold_out_report().windows, split.hold_out().len());
        } else if validation <= hold_out {
            // Refused for a reason: a part is empty, or windows overlap across a cut.
            let part = |low: i64, high: i64| {
                windows.iter().filter(|w| low <= w.start && w.start < high && (!drop || w.end <= high)).collect::<Vec<_>>()
            };
            let parts = [part(i64::MIN, validation), part(validation, hold_out), part(hold_out, i64::MAX)];
            let overlap = (0..3).any(|a| parts[a + 1..].iter().flatten().any(|l| parts[a].iter().any(|e| e.end > l.start)));
            prop_assert!(parts.iter().any(Vec::is_empty) || overlap);
        }
    }

    #[test]
    fn no_split_by_entity_leaks(windows in windows(), seed in any::<u64>()) {
        let shares = EntityShares { validation: 0.2, hold_out: 0.3, seed };
        if let Ok(split) = Split::by_entity(&windows, shares) {
            prop_assert!(!leaks(&windows, &split, Rule::Entity));
            prop_assert_eq!(split.hold_out_report().known_entities, 0);
            // Others come: whoever was held out still is.
            let mut more = windows.clone();
            more.push(window(99, 0, 1));
            let again = Split::by_entity(&more, shares).unwrap();
            prop_assert!(split.hold_out().iter().all(|index| again.hold_out().contains(index)));
        }
    }

    #[test]
    fn the_guard_is_its_definition(windows in windows(), parts in prop::collection::vec(0..4usize, 60)) {
        let of = |part| (0..windows.len()).filter(|&index| parts[index] == part).collect::<Vec<_>>();
        let (training, validation, hold_out) = (of(0), of(1), of(2));
        prop_assume!(!training.is_empty() && !hold_out.is_empty());
        for rule in [Rule::Time, Rule::Entity] {
            let meets = |earlier: &[usize], later: &[usize]| earlier.iter().any(|&a| later.iter().any(|&b| match rule {
                Rule::Time => windows[a].end > windows[b].start,
                Rule::Entity => windows[a].entity == windows[b].entity,
            }));
            let leaks = meets(&training, &validation) || meets(&training, &hold_out) || meets(&validation, &hold_out);
            let made = Split::from_parts(&windows, [&training, &validation, &hold_out], rule);
            prop_assert_eq!(made.is_err(), leaks);
        }
    }
}

#[test]
fn shares_are_kept() {
    let windows: Vec<Window> = (0..20_000).map(|n| window(n / 2, 0, 1)).collect();
    let shares = EntityShares {
        validation: 0.1,
        hold_out: 0.2,
        seed: 3,
    };
    let split = Split::by_entity(&windows, shares).unwrap();
    // Five standard deviations of a binomial share of 10,000 entities.
    for (part, share) in [(split.validation(), 0.1f64), (split.hold_out(), 0.2)] {
        let bound = 5.0 * (share * (1.0 - share) / 10_000.0).sqrt();
        assert!((part.len() as f64 / 20_000.0 - share).abs() < bound);
    }
    let other = Split::by_entity(&windows, EntityShares { seed: 4, ..shares }).unwrap();
    assert_ne!(split.hold_out(), other.hold_out());
}

#[test]
fn the_hold_out_is_reported() {
    let windows = [
        window(1, 0, 5),
        window(2, 3, 12),
        window(1, 10, 14),
        window(2, 11, 20),
        window(3, 12, 15),
    ];
    let split = Split::by_time(&windows, cuts(None, 10, Crossing::Drop)).unwrap();
    assert_eq!(split.training(), [0]);
    assert_eq!(split.hold_out(), [2, 3, 4]);
    assert_eq!(split.dropped(), 1);
    assert_eq!(
        split.hold_out_report().to_string(),
        "held out by time: 3 windows of 3 entities (1 of them known) from 10 to 20; trained on 1 windows from 0 to 5, \
         validated on 0, 1 left out"
    );
}

#[test]
fn leakage_names_the_first_pair() {
    let windows = [
        window(7, 0, 5),
        window(8, 3, 12),
        window(9, 14, 15),
        window(7, 10, 11),
    ];
    refused(
        Split::by_time(&windows, cuts(None, 10, Crossing::Refuse)),
        "split with leakage: expected training windows that end before hold-out begins, got training window 1 (entity 8, \
         3 to 12) and hold-out window 3 (entity 7, 10 to 11)",
    );
    refused(
        Split::from_parts(&windows, [&[0, 1], &[], &[2, 3]], Rule::Entity),
        "split with leakage: expected training and hold-out windows of different entities, got training window 0 (entity \
         7, 0 to 5) and hold-out window 3 (entity 7, 10 to 11)",
    );
    // One that ends exactly when the next begins does not overlap.
    let meeting = [window(1, 0, 10), window(1, 10, 20)];
    assert!(Split::by_time(&meeting, cuts(None, 10, Crossing::Refuse)).is_ok());
}

#[test]
fn bad_splits() {
    let windows = [window(1, 0, 5), window(2, 10, 9)];
    refused(
        Split::by_time(&windows, cuts(None, 10, Crossing::Refuse)),
        "window 1: expected an end not before its start 10, got 9",
    );
    let windows = [window(1, 0, 5), window(2, 10, 19)];
    refused(
        Split::by_time(&windows, cuts(None, 50, Crossing::Refuse)),
        "hold-out part of 2 windows: expected at least one window, got none",
    );
    refused(
        Split::by_time(&windows, cuts(Some(7), 10, Crossing::Refuse)),
        "validation part of 2 windows: expected at least one window, got none",
    );
    refused(
        Split::by_time(&[], cuts(None, 0, Crossing::Drop)),
        "training part of 0 windows: expected at least one window, got none",
    );
    refused(
        Split::by_time(&windows, cuts(Some(11), 10, Crossing::Drop)),
        "option `validation_from`: at most `hold_out_from` (10), got 11",
    );
    refused(
        Split::from_parts(&windows, [&[0], &[], &[2]], Rule::Time),
        "parts of a split: expected indices of 2 windows, got 2",
    );
    refused(
        Split::from_parts(&windows, [&[0, 1], &[], &[0]], Rule::Time),
        "parts of a split: expected each window once, got window 0 twice",
    );
    let shares = |validation, hold_out| EntityShares {
        validation,
        hold_out,
        seed: 0,
    };
    refused(
        Split::by_entity(&windows, shares(f64::NAN, 0.1)),
        "option `validation`: a share in [0, 1), got NaN",
    );
    refused(
        Split::by_entity(&windows, shares(0.5, 0.5)),
        "option `hold_out`: with `validation` below 1, got 0.5 and 0.5",
    );
}
