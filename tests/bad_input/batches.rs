//! Batches, states and gradients of wrong sizes.

use std::sync::Arc;

use wgpu_rnn::{
    Layout, Mode, OutputGradient, PackedBatch, Packing, Parameters, RnnConfig, State, reference,
};

use crate::{error_of, overflow_error, shape_error};

const LAYOUTS: [Layout; 2] = [Layout::TimeFirst, Layout::BatchFirst];

#[test]
fn dense_batches_of_another_size() {
    for layout in LAYOUTS {
        for values in [0, 23, 25, 48] {
            let batch = PackedBatch::from_dense(&vec![0.0; values], [3, 4, 2], layout, None);
            shape_error(
                batch,
                &["3 x 4 x 2 = 24 values", &format!("{values} values")],
            );
        }
    }
}

#[test]
fn lengths_that_do_not_fit() {
    let x = [0.0; 24];
    for layout in LAYOUTS {
        let with =
            |lengths: &[usize]| PackedBatch::from_dense(&x, [3, 4, 2], layout, Some(lengths));
        shape_error(with(&[]), &["lengths", "expected 4", "got 0"]);
        shape_error(with(&[3, 3, 3]), &["lengths", "expected 4", "got 3"]);
        shape_error(with(&[3; 5]), &["lengths", "expected 4", "got 5"]);
        shape_error(
            with(&[3, 0, 4, 1]),
            &["sequence 2", "at most 3 steps", "got 4"],
        );
        shape_error(with(&[3, 0, 1, usize::MAX]), &["sequence 3", "at most 3"]);
        let signed =
            |lengths: &[i32]| PackedBatch::from_dense_signed(&x, [3, 4, 2], layout, lengths);
        shape_error(
            signed(&[3, -1, 2, 1]),
            &["sequence 1", "0 or more", "got -1"],
        );
        shape_error(signed(&[3, 2, 2, i32::MIN]), &["sequence 3", "-2147483648"]);
        shape_error(signed(&[3, 2, 2, i32::MAX]), &["sequence 3", "at most 3"]);
        shape_error(signed(&[3, 2, 2]), &["expected 4", "got 3"]);
        signed(&[3, 0, 2, 1]).unwrap();
    }
}

#[test]
fn lists_of_sequences_that_are_no_rows() {
    let sequences = [vec![0.0; 6], vec![0.0; 5]];
    shape_error(
        PackedBatch::from_sequences(3, &sequences),
        &["sequence 1", "multiple of 3 features", "5 values"],
    );
    shape_error(
        PackedBatch::from_sequences(0, &sequences),
        &["features", "got 0"],
    );
    let packing = Arc::new(Packing::new(&[2, 1]).unwrap());
    for values in [0, 8, 10] {
        let batch = PackedBatch::new(packing.clone(), 3, vec![0.0; values]);
        shape_error(
            batch,
            &["3 tokens x 3 features", &format!("{values} values")],
        );
    }
}

#[test]
fn a_dense_batch_too_short_for_its_sequences() {
    let batch = PackedBatch::from_sequences(1, &[vec![0.0; 3]]).unwrap();
    for layout in LAYOUTS {
        shape_error(batch.to_dense(2, layout), &["at least 3 steps", "got 2"]);
        overflow_error(batch.to_dense(usize::MAX, layout).map(|_| ()), &[]);
    }
}

#[test]
fn overflowed_batches() {
    let huge = [1 << 33, usize::MAX / 2, usize::MAX];
    for layout in LAYOUTS {
        for size in huge {
            for shape in [[size, 4, 2], [3, size, 2], [3, 4, size], [size, size, size]] {
                let batch = PackedBatch::from_dense(&[], shape, layout, None);
                overflow_error(batch, &["dense batch", &size.to_string()]);
            }
            // Products of zero values whose other sizes are absurd.
            let batch = PackedBatch::from_dense(&[], [0, size, 2], layout, None);
            overflow_error(batch, &["number of tokens", &size.to_string()]);
        }
    }
    for size in huge {
        overflow_error(Packing::dense(0, size), &["number of tokens"]);
        overflow_error(Packing::dense(size, 1), &["number of tokens"]);
        overflow_error(Packing::dense(size, size), &["number of tokens"]);
        overflow_error(
            Packing::new(&[1, size, 2]),
            &["3 sequences", &size.to_string()],
        );
    }
    overflow_error(Packing::dense(1 << 16, 1 << 16), &["number of tokens"]);
    let packing = Arc::new(Packing::new(&[2, 1]).unwrap());
    for size in huge {
        let batch = PackedBatch::new(packing.clone(), size, vec![]);
        overflow_error(batch, &["packed batch", &size.to_string()]);
    }
    overflow_error(
        PackedBatch::from_sequences(1 << 33, &[vec![0.0f32; 0]; 1]).and_then(|batch| {
            PackedBatch::new(Arc::new(Packing::new(&[1])?), batch.features(), vec![])
        }),
        &["packed batch"],
    );
}

#[test]
fn states_and_gradients_of_another_size() {
    let config = RnnConfig::lstm(2, 4)
        .layers(2)
        .projection(3, false)
        .build()
        .unwrap();
    let zeros = State::<f32>::zeros(&config, 5).unwrap();
    assert_eq!((zeros.h.len(), zeros.c.len()), (2 * 5 * 3, 2 * 5 * 4));
    zeros.check(&config, 5).unwrap();
    shape_error(
        zeros.check(&config, 4),
        &["state h", "2 layers", "4 sequences", "got 30"],
    );
    let mut short = zeros.clone();
    short.c.pop();
    shape_error(short.check(&config, 5), &["state c", "40", "got 39"]);
    let gru = RnnConfig::gru(2, 4).build().unwrap();
    let mut state = State::<f32>::zeros(&gru, 5).unwrap();
    state.c = vec![0.0; 20];
    shape_error(state.check(&gru, 5), &["state c", "= 0", "got 20"]);
    overflow_error(State::<f32>::zeros(&config, usize::MAX), &["state h"]);
    let gradient = |y, h, c| OutputGradient {
        y: Some(vec![0.0f32; y]),
        h: Some(vec![0.0; h]),
        c: Some(vec![0.0; c]),
    };
    gradient(7 * 3, 30, 40).check(&config, 7, 5).unwrap();
    for (y, h, c, what) in [
        (20, 30, 40, "gradient of y"),
        (21, 31, 40, "gradient of h_n"),
        (21, 30, 0, "gradient of c_n"),
    ] {
        let wrong = gradient(y, h, c).check(&config, 7, 5);
        shape_error(wrong, &[what]);
    }
}

#[test]
fn the_reference_checks_too() {
    let config = RnnConfig::gru(2, 4).build().unwrap();
    let parameters = Parameters::uniform(&config, 1).unwrap();
    let weights = parameters.data();
    let packing = Arc::new(Packing::new(&[3, 1]).unwrap());
    let run = |weights: &[f32], x: &[f32], state: Option<&State>| {
        reference::forward(&config, weights, &packing, x, state, Mode::Evaluation, 0)
    };
    let (x, state) = ([0.5; 8], State::zeros(&config, 2).unwrap());
    let (_, tape) = run(weights, &x, Some(&state)).unwrap();
    shape_error(run(&weights[1..], &x, None).map(|_| ()), &[]);
    shape_error(run(weights, &x[1..], None).map(|_| ()), &[]);
    let wrong = State::zeros(&config, 3).unwrap();
    shape_error(run(weights, &x, Some(&wrong)).map(|_| ()), &["state h"]);
    let gradient = OutputGradient {
        y: Some(vec![0.0; 15]),
        ..OutputGradient::default()
    };
    let error = error_of(
        reference::backward(&tape, &gradient),
        &["gradient of y", "16", "15"],
    );
    assert!(matches!(error, wgpu_rnn::Error::Shape { .. }), "{error:?}");
}
