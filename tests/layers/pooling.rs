//! Pooling over time, and the last states of both directions.

use std::sync::Arc;

use wgpu_rnn::nn::{LastStates, Pooling};
use wgpu_rnn::ops::{PoolKind, Program, Role, Section};
use wgpu_rnn::{Direction, GradientMode, Network, NetworkOptions, Packing, RnnConfig};

use super::support::*;

/// Lengths and width.
fn shapes() -> Vec<(Vec<usize>, usize)> {
    vec![
        (vec![1], 1),
        (vec![0], 2),
        (vec![0, 0, 0], 3),
        (vec![3, 0, 5, 1, 5], 4),
        (vec![7; 9], 33),
        ((0..70).map(|i| i * 37 % 50).collect(), 12),
    ]
}

/// The rows of each sequence in the caller's order.
fn rows_of(packing: &Packing) -> Vec<Vec<usize>> {
    let mut rows = vec![Vec::new(); packing.batch()];
    for (row, &sequence) in packing.sequence_of_rows().iter().enumerate() {
        rows[sequence as usize].push(row);
    }
    rows
}

/// The naive pooling of one column of one sequence.
fn pool(kind: PoolKind, values: &[f64]) -> f64 {
    match kind {
        _ if values.is_empty() => 0.0,
        PoolKind::Mean => values.iter().sum::<f64>() / values.len() as f64,
        PoolKind::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

fn check(kind: PoolKind, lengths: &[usize], width: usize) {
    let packing = Arc::new(Packing::new(lengths).unwrap());
    let (batch, tokens) = (packing.batch(), packing.tokens());
    let mut values = Values(lengths.len() as u64);
    let (x, d_y) = (
        values.vec(tokens * width, 1.0),
        values.vec(batch * width, 1.0),
    );
    let mut case = Case::new();
    let pooling = Pooling::new(&mut case.program, kind, &packing, width).unwrap();
    let [ix, id_y] = [&x, &d_y].map(|content| case.buffer(content));
    let (y, d_x) = (case.result(batch * width), case.result(tokens * width));
    pooling.forward(&mut case.program, (ix.into(), y.into()));
    pooling.backward(&mut case.program, (id_y.into(), d_x.into()));
    let (mut expected, mut gradient) = (vec![0.0; batch * width], vec![0.0; tokens * width]);
    for (sequence, rows) in rows_of(&packing).iter().enumerate() {
        for column in 0..width {
            let column_of = |row: &usize| f64::from(x[row * width + column]);
            let values: Vec<f64> = rows.iter().map(column_of).collect();
            expected[sequence * width + column] = pool(kind, &values);
            for (step, row) in rows.iter().enumerate() {
                // All values are at least 2^-12 apart, or equal: then the first wins, which a difference does not show.
                let by = |value: f64| {
                    let mut changed = values.clone();
                    changed[step] = value;
                    pool(kind, &changed)
                };
                let first = values.iter().position(|&v| v == values[step]) == Some(step);
                let d = match (kind, first) {
                    (PoolKind::Max, true) => {
                        // From above, so that of equal values the changed one wins.
                        (by(values[step] + 1e-6) - by(values[step])) / 1e-6
                    }
                    (PoolKind::Max, false) => 0.0,
                    (PoolKind::Mean, _) => derivative(values[step], by),
                };
                let d_y = f64::from(d_y[sequence * width + column]);
                gradient[row * width + column] = d * d_y;
            }
        }
    }
    let steps = packing.steps() as f64;
    case.each([y, d_x], |device, [y, d_x]| {
        let what = format!("{kind:?} of {lengths:?} on {device}");
        let exact = kind == PoolKind::Max;
        // Values are at most 1: roundings of the sum, and of the division (2.5 ulp in WGSL).
        let tolerance = if exact { 0.0 } else { (steps + 3.0) * EPSILON };
        assert_close(&what, &y, &expected, |_| tolerance);
        assert_close(&what, &d_x, &gradient, |_| 3.0 * EPSILON + DERIVATIVE_ERROR);
    });
}

#[test]
fn mean_and_maximum() {
    for (lengths, width) in shapes() {
        check(PoolKind::Mean, &lengths, width);
        check(PoolKind::Max, &lengths, width);
    }
}

/// Equal maxima, infinities and NaN; negative values, so that a maximum that starts from 0 is found out.
#[test]
fn special_maxima() {
    let packing = Arc::new(Packing::new(&[3, 3, 3, 3]).unwrap());
    let sequences = [
        [-2.0, -1.0, -1.0],
        [-3.0, f32::NAN, 5.0],
        [f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY],
        [1.0, f32::INFINITY, 2.0],
    ];
    let x: Vec<f32> = (0..12).map(|row| sequences[row % 4][row / 4]).collect();
    let mut case = Case::new();
    let pooling = Pooling::new(&mut case.program, PoolKind::Max, &packing, 1).unwrap();
    let (x, d_y) = (case.buffer(&x), case.buffer(&[1.0, 2.0, 3.0, 4.0]));
    let (y, d_x) = (case.result(4), case.result(12));
    pooling.forward(&mut case.program, (x.into(), y.into()));
    pooling.backward(&mut case.program, (d_y.into(), d_x.into()));
    case.each([y, d_x], |device, [y, d_x]| {
        let expected = [-1.0, f64::NAN, f64::NEG_INFINITY, f64::INFINITY];
        assert_close(device, &y, &expected, |_| 0.0);
        let first = [0.0, 0.0, 3.0, 0.0, 1.0, 2.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(d_x, first, "{device}");
    });
}

/// More steps than one dispatch walks; whole numbers, so that sums are exact until the division.
#[test]
fn long_sequences() {
    let lengths = [70_000, 40_000, 3];
    let packing = Arc::new(Packing::new(&lengths).unwrap());
    let x: Vec<f32> = (0..packing.tokens())
        .map(|row| (row * 7 % 11) as f32)
        .collect();
    let mut expected = Vec::new();
    for (sequence, rows) in rows_of(&packing).iter().enumerate() {
        let sum: f64 = rows.iter().map(|&row| f64::from(x[row])).sum();
        expected.push(sum / lengths[sequence] as f64);
    }
    let mut case = Case::new();
    let ix = case.buffer(&x);
    let [mean, max] = [(); 2].map(|()| case.result(3));
    for (kind, y) in [(PoolKind::Mean, mean), (PoolKind::Max, max)] {
        let pooling = Pooling::new(&mut case.program, kind, &packing, 1).unwrap();
        pooling.forward(&mut case.program, (ix.into(), y.into()));
    }
    case.each([mean, max], |device, [mean, max]| {
        // Three parts, each divided (2.5 ulp) and added.
        assert_close(device, &mean, &expected, |i| 12.0 * EPSILON * expected[i]);
        assert_eq!(max[..2], [10.0, 10.0], "{device}");
    });
}

/// The states of both directions side by side, and their gradient in its place.
#[test]
fn last_states() {
    let lengths = [2, 0, 5, 1];
    let packing = Arc::new(Packing::new(&lengths).unwrap());
    let config = RnnConfig::gru(3, 4)
        .layers(2)
        .direction(Direction::BidirectionalConcat)
        .build()
        .unwrap();
    let weights = wgpu_rnn::Parameters::uniform(&config, 5).unwrap();
    let mut case = Case::new();
    let parameters = case.buffer(weights.data());
    let gradients = case.buffer(&vec![0.0; weights.data().len()]);
    let options = NetworkOptions {
        gradients: Some(GradientMode::Save),
        ..NetworkOptions::default()
    };
    let network = Network::new(
        &mut case.program,
        &config,
        &packing,
        &options,
        parameters.into(),
        Some(gradients.into()),
    )
    .unwrap();
    let last = LastStates::new(&network);
    assert_eq!(last.width(), 8);
    let h: Vec<f32> = (0..2 * 2 * 4 * 4).map(|i| i as f32).collect();
    case.contents.push((network.h_n, h.clone()));
    let d_y: Vec<f32> = (0..32).map(|i| i as f32).collect();
    let d_y = case.buffer(&d_y);
    let y = case.result(32);
    last.forward(&mut case.program, y.into());
    last.backward(&mut case.program, d_y.into()).unwrap();
    let d_h = network.gradients.unwrap().h_n;
    case.each([y, d_h], |device, [y, d_h]| {
        for sequence in 0..4 {
            for unit in 0..8 {
                let (direction, unit_of) = (unit / 4, unit % 4);
                // The last layer's two directions are the third and fourth state.
                let state = (2 + direction) * 16 + sequence * 4 + unit_of;
                let row = sequence * 8 + unit;
                assert_eq!(y[row], h[state], "{device}");
                assert_eq!(d_h[state], row as f32, "{device}");
            }
        }
        assert!(d_h[..32].iter().all(|&d| d == 0.0), "{device}");
    });
}

#[test]
fn last_states_need_a_backward_section() {
    let mut program = Program::new();
    let config = RnnConfig::gru(3, 4).build().unwrap();
    let packing = Arc::new(Packing::new(&[2]).unwrap());
    let parameters = program.buffer("parameters", 200, Role::External);
    let options = NetworkOptions::default();
    let network = Network::new(
        &mut program,
        &config,
        &packing,
        &options,
        parameters.into(),
        None,
    )
    .unwrap();
    let d = program.buffer("d", 4, Role::Input);
    assert!(
        LastStates::new(&network)
            .backward(&mut program, d.into())
            .is_err()
    );
    assert!(program.section(Section::Backward).is_empty());
}
