//! The generator keeps what its documentation says.

use wgpu_rnn::metrics::{BinaryScores, Binning};

use crate::tickets::dataset::{Dataset, labels};
use crate::tickets::generator::{LONGEST, Ticket, tickets};

const COUNT: usize = 60_000;

fn lengths(tickets: &[Ticket]) -> Vec<usize> {
    let mut lengths: Vec<usize> = tickets.iter().map(|ticket| ticket.steps.len()).collect();
    lengths.sort_unstable();
    lengths
}

/// A sample quantile of a distribution with density `f` there has the deviation `sqrt(q (1 - q) / n) / f`: 0.10 at the median and
/// 1.07 at the 95th percentile of these lengths, and half an event of rounding. Four of these are allowed.
#[test]
fn lengths_are_as_documented() {
    let lengths = lengths(&tickets(COUNT, 7));
    let [median, p95] = [50, 95].map(|percent| lengths[COUNT * percent / 100] as f64);
    assert!((median - 18.0).abs() <= 0.5 + 4.0 * 0.10, "{median}");
    assert!((p95 - 112.0).abs() <= 0.5 + 4.0 * 1.07, "{p95}");
    assert!(lengths[0] >= 1 && lengths[COUNT - 1] <= LONGEST);
}

/// 3.2 % escalate; the share of `COUNT` labels has a deviation of 0.072 %, four of which are allowed.
#[test]
fn prevalence_is_as_documented() {
    let tickets = tickets(COUNT, 8);
    let escalated = tickets.iter().filter(|ticket| ticket.escalated).count();
    let share = escalated as f64 / COUNT as f64;
    assert!((share - 0.032).abs() < 4.0 * 0.00072, "{share}");
}

/// In every tenth of the tickets, by true probability, as many escalate as it says, to four deviations.
#[test]
fn the_true_probability_is_true() {
    let tickets = tickets(COUNT, 9);
    let tickets: Vec<&Ticket> = tickets.iter().collect();
    let truth: Vec<f32> = tickets.iter().map(|t| t.probability as f32).collect();
    let scores = BinaryScores::new(&labels(&tickets), &truth).unwrap();
    let calibration = scores.calibration(10, Binning::Quantile).unwrap();
    for bin in &calibration.bins {
        let variance = bin.predicted * (1.0 - bin.predicted) / bin.count as f64;
        let distance = (bin.predicted - bin.observed).abs();
        // Where next to nothing is expected one escalation more is no surprise.
        let least = 3.0 / bin.count as f64;
        assert!(distance < least + 4.0 * variance.sqrt(), "{bin:?}");
    }
    let auc = scores.auc().unwrap();
    assert!((0.93..0.98).contains(&auc), "best reachable AUC {auc}");
}

#[test]
fn a_seed_repeats_and_another_does_not() {
    assert_eq!(tickets(500, 1), tickets(500, 1));
    assert_ne!(tickets(500, 1), tickets(500, 2));
    // More tickets are the same ones and others.
    let (few, many) = (tickets(100, 3), tickets(500, 3));
    assert!(few.iter().all(|ticket| many.contains(ticket)));
}

#[test]
fn times_and_priorities_are_consistent() {
    for ticket in tickets(2_000, 4) {
        for pair in ticket.steps.windows(2) {
            assert!(pair[1].hours >= pair[0].hours);
            assert!(pair[1].priority.abs_diff(pair[0].priority) <= 1);
        }
    }
}

/// Training ends before validation begins, and validation before the hold-out.
#[test]
fn parts_do_not_overlap_in_time() {
    let data = Dataset::new(tickets(5_000, 5)).unwrap();
    let end = |part: &[usize]| {
        let tickets = data.part(part).into_iter();
        let ends = tickets.map(|t| t.opened * 24.0 + f64::from(t.last().hours));
        ends.fold(0.0, f64::max)
    };
    let start = |part: &[usize]| data.tickets[part[0]].opened * 24.0;
    let split = &data.split;
    assert!(end(split.training()) < start(split.validation()));
    assert!(end(split.validation()) < start(split.hold_out()));
    assert!(Dataset::new(Vec::new()).is_err());
}
