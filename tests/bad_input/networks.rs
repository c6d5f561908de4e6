//! Networks: calls out of order and arguments of other networks, on both devices.

use std::sync::Arc;

use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::rnn::{GradientMode, Rnn};
use wgpu_rnn::{
    Device, Direction, Error, Mode, OutputGradient, PackedBatch, Parameters, RnnConfig, State,
};

use crate::{error_of, shape_error};

fn devices() -> Vec<Arc<dyn Device>> {
    vec![
        Arc::new(CpuDevice::new().unwrap()),
        #[cfg(feature = "gpu")]
        Arc::new(crate::devices::gpu()),
    ]
}

fn config() -> RnnConfig {
    RnnConfig::lstm(2, 4).build().unwrap()
}

fn network(device: &Arc<dyn Device>) -> Rnn {
    let parameters = Parameters::uniform(&config(), 1).unwrap();
    Rnn::new(device.clone(), config(), &parameters).unwrap()
}

fn batch() -> PackedBatch {
    PackedBatch::from_sequences(2, &[vec![0.5; 6], vec![-0.5; 2]]).unwrap()
}

fn ones() -> OutputGradient {
    OutputGradient {
        y: Some(vec![1.0; 4 * 4]),
        ..OutputGradient::default()
    }
}

#[track_caller]
fn out_of_order(result: wgpu_rnn::Result<wgpu_rnn::Gradients>) {
    let error = error_of(result, &["`backward` needs"]);
    assert!(matches!(error, Error::State(_)), "{error:?}");
}

#[test]
fn calls_out_of_order() {
    for device in devices() {
        let mut rnn = network(&device);
        out_of_order(rnn.backward(&ones()));
        rnn.infer(&batch(), None).unwrap();
        out_of_order(rnn.backward(&ones()));
        rnn.forward(&batch(), None, Mode::Evaluation).unwrap();
        rnn.backward(&ones()).unwrap();
        // Saved gates are used up.
        out_of_order(rnn.backward(&ones()));
        rnn.forward(&batch(), None, Mode::Evaluation).unwrap();
        let others = Parameters::uniform(&config(), 2).unwrap();
        rnn.set_parameters(&others).unwrap();
        out_of_order(rnn.backward(&ones()));
        rnn.set_gradient_mode(GradientMode::Recompute);
        rnn.forward(&batch(), None, Mode::Evaluation).unwrap();
        let first = rnn.backward(&ones()).unwrap();
        assert_eq!(rnn.backward(&ones()).unwrap(), first);
    }
}

#[test]
fn batches_states_and_gradients_of_other_networks() {
    for device in devices() {
        let mut rnn = network(&device);
        let expected = rnn.forward(&batch(), None, Mode::Evaluation).unwrap();
        let wide = PackedBatch::from_sequences(3, &[vec![0.0; 6]]).unwrap();
        shape_error(rnn.infer(&wide, None), &["features", "expected 2", "got 3"]);
        shape_error(rnn.forward(&wide, None, Mode::Training), &["features"]);
        let good = State::zeros(&config(), 2).unwrap();
        for (h, c, what) in [
            (0, 8, "state h"),
            (9, 8, "state h"),
            (8, 0, "state c"),
            (8, 7, "state c"),
        ] {
            let state = State {
                h: vec![0.0; h],
                c: vec![0.0; c],
            };
            shape_error(rnn.infer(&batch(), Some(&state)), &[what, "2 sequences"]);
        }
        // None of these has touched the forward before them: its backward still works.
        for (y, h, c) in [(15, 8, 8), (16, 7, 8), (16, 8, 9)] {
            let gradient = OutputGradient {
                y: Some(vec![0.0; y]),
                h: Some(vec![0.0; h]),
                c: Some(vec![0.0; c]),
            };
            shape_error(rnn.backward(&gradient), &["gradient of"]);
        }
        let gradients = rnn.backward(&ones()).unwrap();
        let mut fresh = network(&device);
        let output = fresh
            .forward(&batch(), Some(&good), Mode::Evaluation)
            .unwrap();
        assert_eq!(output, expected);
        assert_eq!(fresh.backward(&ones()).unwrap(), gradients);
    }
}

#[test]
fn weights_of_other_networks() {
    let others = [
        RnnConfig::gru(2, 4),
        RnnConfig::lstm(3, 4),
        RnnConfig::lstm(2, 5),
        RnnConfig::lstm(2, 4).layers(2),
        RnnConfig::lstm(2, 4).direction(Direction::BidirectionalSum),
        RnnConfig::lstm(2, 4).projection(4, false),
    ];
    for device in devices() {
        let mut rnn = network(&device);
        let before = rnn.infer(&batch(), None).unwrap();
        for other in &others {
            let parameters = Parameters::uniform(&other.clone().build().unwrap(), 1).unwrap();
            let parts = &["parameters of another configuration"];
            shape_error(rnn.set_parameters(&parameters), parts);
            shape_error(Rnn::new(device.clone(), config(), &parameters), parts);
        }
        // The first tensor that differs is named.
        let wide = Parameters::zeros(&others[1].clone().build().unwrap()).unwrap();
        let parts = [
            "expected `weight_ih_l0` [16, 2]",
            "got `weight_ih_l0` [16, 3]",
        ];
        shape_error(rnn.set_parameters(&wide), &parts);
        let deep = Parameters::zeros(&others[3].clone().build().unwrap()).unwrap();
        let parts = ["expected no further tensor", "got `weight_ih_l1` [16, 4]"];
        shape_error(rnn.set_parameters(&deep), &parts);
        assert_eq!(rnn.infer(&batch(), None).unwrap(), before);
    }
}

#[test]
fn a_chunk_of_any_number_of_rows() {
    for device in devices() {
        let mut rnn = network(&device);
        rnn.set_gradient_mode(GradientMode::Recompute);
        let mut answers = [usize::MAX, 0, 1, 3].map(|rows| {
            rnn.set_chunk_rows(rows);
            rnn.forward(&batch(), None, Mode::Evaluation).unwrap()
        });
        let first = answers[0].clone();
        assert!(answers.iter_mut().all(|answer| *answer == first));
    }
}

#[test]
fn batches_of_nothing() {
    for device in devices() {
        let mut rnn = network(&device);
        for lengths in [vec![], vec![0], vec![0, 0, 0]] {
            let sequences: Vec<Vec<f32>> = lengths.iter().map(|&n: &usize| vec![0.0; n]).collect();
            let batch = PackedBatch::from_sequences(2, &sequences).unwrap();
            let output = rnn.forward(&batch, None, Mode::Training).unwrap();
            assert_eq!(
                (output.y.len(), output.state.h.len()),
                (0, 4 * lengths.len())
            );
            let gradients = rnn.backward(&OutputGradient::default()).unwrap();
            assert!(gradients.parameters.iter().all(|&gradient| gradient == 0.0));
        }
    }
}
