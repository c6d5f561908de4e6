//! The data, the design, the start and the tables.

use wgpu_rnn::config::Cell;
use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::model::GradientCheckOptions;

use crate::adding::{Adding, BASELINE};
use crate::choice::{CELLS, Choice, Extra, cell_name, design};
use crate::memory::{LEARNED, Learned, table};
use crate::model::model;
use crate::problem::{Part, Problem, RECORDS, TARGET};
use crate::table::Table;
use crate::training::initial;

fn adding(length: usize) -> Adding {
    Adding::new(length, (100, 0.01), 7)
}

#[test]
fn two_steps_are_marked_and_their_sum_is_the_target() {
    for (length, number) in [(4, 0), (5, 1), (100, 2), (1000, 1 << 41)] {
        let sum = adding(length).sum(number);
        let records: Vec<[f32; 2]> = (0..length).map(|step| sum.record(step)).collect();
        let marked: Vec<usize> = (0..length)
            .filter(|&step| records[step][1] == 1.0)
            .collect();
        assert_eq!(marked, sum.marked);
        assert!(marked[0] < length / 2 && marked[1] >= length / 2);
        assert!(records.iter().all(|[value, _]| (0.0..1.0).contains(value)));
        let by_hand: f32 = records.iter().map(|[value, marker]| value * marker).sum();
        assert_eq!(sum.target(), by_hand);
    }
}

#[test]
fn a_number_repeats_and_another_does_not() {
    let problem = adding(50);
    assert_eq!(problem.sum(3), adding(50).sum(3));
    assert_ne!(problem.sum(3), problem.sum(4));
    // No sequence comes twice, and none that judges is trained on.
    let mut seen: Vec<usize> = (0..4)
        .flat_map(|epoch| problem.batches(epoch).unwrap().concat())
        .chain(problem.part(Part::HoldOut).iter().copied())
        .collect();
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

/// The variance of the sum of two uniform numbers, to what so many samples tell.
#[test]
fn who_says_one_has_the_baseline() {
    let problem = adding(10);
    let samples: Vec<usize> = (0..40_000).collect();
    let [mse, _] = problem.judge(&samples, &vec![1.0; samples.len()]).unwrap();
    // The squared error has a variance of 7/180.
    let deviation = (7.0 / 180.0 / samples.len() as f64).sqrt();
    assert!((mse - BASELINE).abs() < 5.0 * deviation, "{mse}");
    const { assert!(LEARNED < 0.1 * BASELINE) };
}

#[test]
fn rows_are_packed_step_by_step() {
    let problem = adding(5);
    let sums = [problem.sum(3), problem.sum(8)];
    let batch = problem.batch(&[3, 8]).unwrap();
    let records = (0..5).flat_map(|step| sums.iter().flat_map(move |sum| sum.record(step)));
    assert_eq!(batch.get(RECORDS).unwrap(), records.collect::<Vec<f32>>());
    assert_eq!(batch.get(TARGET).unwrap(), sums.map(|sum| sum.target()));
}

#[test]
fn the_design_has_each_network_once_and_all_can_be_built() {
    let choices = design(&[4, 8, 16], 2);
    // Three cells, two directions, three widths; dropout three times; layer norm twice.
    assert_eq!(choices.len(), 3 * 2 * 3 + 3 + 2);
    for (number, choice) in choices.iter().enumerate() {
        assert!(!choices[..number].contains(choice));
        choice.config(5).unwrap();
    }
    let refused = Choice {
        cell: Cell::Elman,
        directions: 1,
        units: 4,
        layers: 1,
        extra: Extra::LayerNorm,
    };
    assert!(refused.config(5).is_err());
}

/// With `b` in the gate of a unit that nothing else moves, a state of 1 has half-lives from one step to the longest.
#[test]
fn gates_remember_for_one_to_all_steps() {
    const HIDDEN: usize = 64;
    let problem = adding(100);
    for (cell, sign_at, forget_at) in [(Cell::Lstm, Some(0), 1), (Cell::Gru, None, 1)] {
        let choice = Choice {
            cell,
            directions: 1,
            units: HIDDEN,
            layers: 1,
            extra: Extra::None,
        };
        let model = model(&choice, &problem.ends()).unwrap();
        let parameters = initial(&model, &problem, 1).unwrap();
        let bias = parameters.get("rnn.bias_ih_l0").unwrap();
        let gate = |at: usize| &bias[at * HIDDEN..(at + 1) * HIDDEN];
        for &bias in gate(forget_at) {
            assert!((0.0..=99f32.ln()).contains(&bias));
        }
        assert!(gate(forget_at).iter().any(|&bias| bias > 50f32.ln()));
        if let Some(input) = sign_at {
            let opposite: Vec<f32> = gate(forget_at).iter().map(|bias| -bias).collect();
            assert_eq!(gate(input), opposite);
        }
    }
}

/// The gradients of each network against finite differences.
#[test]
fn gradients_are_right() {
    let problem = adding(10);
    let device = CpuDevice::new().unwrap();
    let batch = problem.batch(&[1, 2, 3]).unwrap();
    for choice in design(&[3], 2) {
        let model = model(&choice, &problem.ends()).unwrap();
        let parameters = initial(&model, &problem, 5).unwrap();
        let options = GradientCheckOptions::default();
        let report = model
            .check_gradients(&device, &parameters, &batch, &options)
            .unwrap();
        assert!(report.passes(), "{choice:?}:\n{report}");
    }
}

#[test]
fn parameters_begin_as_the_problem_knows() {
    let problem = adding(10);
    for choice in design(&[3], 1) {
        let model = model(&choice, &problem.ends()).unwrap();
        let parameters = initial(&model, &problem, 5).unwrap();
        assert_eq!(parameters.data().len(), model.layout().len());
        // The mean of the targets.
        assert_eq!(parameters.get("head.bias").unwrap(), [1.0]);
        assert_eq!(parameters, initial(&model, &problem, 5).unwrap());
    }
}

/// Who learned it has a number of steps; who did not, how many there were.
#[test]
fn the_adding_table_says_who_failed() {
    let learned = |cell, errors: &[f64]| Learned {
        cell,
        length: 100,
        learning_rate: 0.01,
        baseline: BASELINE,
        errors: errors.to_vec(),
        tokens_per_second: 1.0,
        seconds: 1.0,
    };
    let all = [
        learned(Cell::Elman, &[0.17, 0.16, 0.165]),
        learned(Cell::Gru, &[0.1, 0.009]),
    ];
    let csv = String::from_utf8(table(&all, 75).csv().unwrap()).unwrap();
    let names = CELLS.map(cell_name);
    assert_eq!(names, ["Elman", "GRU", "LSTM"]);
    let row = csv.lines().nth(1).unwrap();
    assert_eq!(row, "100,0.1667,0.1600,not in 75,0.0090,50,,");
}

#[test]
fn a_table_is_markdown_and_csv() {
    let mut some = Table::new("title".to_owned(), &["cell", "AUC"]);
    some.push(["LSTM, wide".to_owned(), "0.9".to_owned()]);
    some.push(["GRU".to_owned()]);
    let expected =
        "| cell       | AUC |\n|------------|----:|\n| LSTM, wide | 0.9 |\n| GRU        |     |\n";
    assert_eq!(some.markdown(), expected);
    let csv = String::from_utf8(some.csv().unwrap()).unwrap();
    assert_eq!(csv, "cell,AUC\n\"LSTM, wide\",0.9\nGRU,\n");
}
