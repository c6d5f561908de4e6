//! Prediction: outputs against the reference, plans kept by shape within a bound, carried states.

use std::sync::Arc;

use wgpu_rnn::model::{Batch, Graph, Model, Predictor};
use wgpu_rnn::nn::{RecurrentOptions, Rows, Start};
use wgpu_rnn::ops::{PointwiseLossKind, PoolKind};
use wgpu_rnn::{Direction, Error, PackedBatch, RnnConfig};

use crate::support::{devices, numbers, ragged};

const WIDTH: usize = 2;

fn model() -> Model {
    let mut graph = Graph::new();
    let x = graph.sequences("x", WIDTH).unwrap();
    let config = RnnConfig::gru(WIDTH, 4).layers(2);
    let config = config
        .direction(Direction::BidirectionalConcat)
        .build()
        .unwrap();
    let rnn = graph.rnn("rnn", x, &config).unwrap();
    // In evaluation the node before it, which is an output, too.
    let kept = graph.dropout(rnn.last, 0.5).unwrap();
    let y = graph.linear("head", kept, 3).unwrap();
    let each = graph.linear("each", rnn.y, 1).unwrap();
    let mean = graph.pool(rnn.y, PoolKind::Mean).unwrap();
    for (name, node) in [
        ("y", y),
        ("each", each),
        ("rows", rnn.y),
        ("last", rnn.last),
        ("kept", kept),
        ("states", rnn.states.h),
        ("mean", mean),
        ("x again", x),
    ] {
        graph.output(name, node).unwrap();
    }
    let target = graph.input("target", Rows::Sequences, 3).unwrap();
    let loss = graph.loss(PointwiseLossKind::Squared, y, target).unwrap();
    graph.minimize(loss, 2.0).unwrap();
    graph.build().unwrap()
}

#[test]
fn outputs_are_the_reference_s() {
    let model = model();
    let parameters = model.initial(3).unwrap();
    let lengths = [3, 0, 5];
    let batch = Batch::new()
        .sequences("x", WIDTH, &ragged(1, &lengths, WIDTH))
        .unwrap();
    for device in devices() {
        let mut predictor = Predictor::new(device.clone(), &model, &parameters).unwrap();
        let outputs = predictor.run(&batch).unwrap();
        for name in model.outputs() {
            let expected = model.reference(&parameters, &batch, name).unwrap();
            let got = outputs.get(name).unwrap();
            assert_eq!(got.len(), expected.len(), "{name}");
            for (got, expected) in got.iter().zip(expected) {
                let error = (f64::from(*got) - expected).abs();
                assert!(
                    error < 1e-5,
                    "{name} on {}: {got} for {expected}",
                    device.name()
                );
            }
        }
        let each = outputs.sequences("each").unwrap();
        assert_eq!(each.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
        assert!(matches!(outputs.sequences("y"), Err(Error::Shape { .. })));
        assert!(matches!(outputs.get("z"), Err(Error::Option { .. })));
        // The loss alone needs the target.
        assert!(matches!(predictor.loss(&batch), Err(Error::Shape { .. })));
        let target = numbers(2, 9);
        let with_target = batch.clone().rows("target", target.clone());
        let loss = predictor.loss(&with_target).unwrap();
        let y = outputs.get("y").unwrap().iter().zip(&target);
        let squares = y
            .map(|(y, target)| f64::from(y - target).powi(2))
            .sum::<f64>();
        assert!((loss - 2.0 * squares / 9.0).abs() < 1e-5, "{loss}");
        // A target beside does not change the outputs.
        assert_eq!(predictor.run(&with_target).unwrap(), outputs);
    }
}

/// New parameters are taken up, whichever plan is loaded.
#[test]
fn parameters_can_be_replaced() {
    let model = model();
    let batches = [&[2, 1][..], &[4]].map(|lengths| {
        Batch::new()
            .sequences("x", WIDTH, &ragged(1, lengths, WIDTH))
            .unwrap()
    });
    for device in devices() {
        let fresh = |seed| {
            let parameters = model.initial(seed).unwrap();
            let mut predictor = Predictor::new(device.clone(), &model, &parameters).unwrap();
            batches
                .each_ref()
                .map(|batch| predictor.run(batch).unwrap())
        };
        let mut predictor =
            Predictor::new(device.clone(), &model, &model.initial(1).unwrap()).unwrap();
        for seed in [1, 2, 1] {
            predictor
                .set_parameters(&model.initial(seed).unwrap())
                .unwrap();
            let got = batches
                .each_ref()
                .map(|batch| predictor.run(batch).unwrap());
            assert_eq!(got, fresh(seed), "{}", device.name());
        }
    }
}

#[test]
fn kept_plans_are_bounded() {
    let model = model();
    let device = devices()[0].clone();
    let parameters = model.initial(1).unwrap();
    let run = |most: u64| {
        let predictor = Predictor::new(device.clone(), &model, &parameters).unwrap();
        let mut predictor = predictor.most_bytes(most);
        let mut largest = 0;
        for length in 1..20 {
            let batch = Batch::new()
                .sequences("x", WIDTH, &ragged(1, &[length], WIDTH))
                .unwrap();
            predictor.run(&batch).unwrap();
            largest = largest.max(predictor.bytes());
        }
        largest
    };
    let (none, all) = (run(0), run(u64::MAX));
    assert!(none < all / 8, "{none} {all}");
    let bound = all / 3;
    assert!(run(bound) <= bound);
}

/// Chunks of long sequences, one after the other, are the whole sequences.
#[test]
fn carried_states() {
    let config = RnnConfig::lstm(WIDTH, 3).layers(2).build().unwrap();
    let model = |start| {
        let mut graph = Graph::new();
        let x = graph.sequences("x", WIDTH).unwrap();
        let options = RecurrentOptions {
            start,
            ..RecurrentOptions::default()
        };
        let rnn = graph.rnn_with("rnn", x, &config, options, None).unwrap();
        let y = graph.linear("head", rnn.y, 1).unwrap();
        graph.output("y", y).unwrap();
        graph.build().unwrap()
    };
    let (whole, chunked) = (model(Start::Zeros), model(Start::Carried));
    let sequences = ragged(1, &[7, 5, 6], WIDTH);
    let part = |from: usize, to: usize| -> Vec<Vec<f32>> {
        let cut = |sequence: &Vec<f32>| {
            let end = sequence.len().min(to * WIDTH);
            sequence[end.min(from * WIDTH)..end].to_vec()
        };
        sequences.iter().map(cut).collect()
    };
    for device in devices() {
        let parameters = whole.initial(1).unwrap();
        let mut predictor = Predictor::new(device.clone(), &whole, &parameters).unwrap();
        let batch = |from, to| Batch::new().sequences("x", WIDTH, &part(from, to)).unwrap();
        let expected = predictor.run(&batch(0, 7)).unwrap().sequences("y").unwrap();
        let parameters = chunked.initial(1).unwrap();
        let mut predictor = Predictor::new(device.clone(), &chunked, &parameters).unwrap();
        for again in 0..2 {
            let mut got = vec![Vec::new(); 3];
            for (from, to) in [(0, 2), (2, 3), (3, 7)] {
                let chunk = predictor
                    .run(&batch(from, to))
                    .unwrap()
                    .sequences("y")
                    .unwrap();
                got.iter_mut()
                    .zip(chunk)
                    .for_each(|(got, chunk)| got.extend(chunk));
            }
            for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
                assert!((got - expected).abs() < 1e-6, "{again} {}", device.name());
            }
            predictor.forget();
        }
        // One place begins anew, the others go on.
        predictor.run(&batch(0, 2)).unwrap();
        let kept = predictor.run(&batch(2, 4)).unwrap().sequences("y").unwrap();
        predictor.forget();
        predictor.run(&batch(0, 2)).unwrap();
        let fresh = predictor
            .run(&batch(2, 4).fresh(vec![1]))
            .unwrap()
            .sequences("y")
            .unwrap();
        assert_eq!((&kept[0], &kept[2]), (&fresh[0], &fresh[2]));
        assert_ne!(kept[1], fresh[1]);
        let other = Batch::new()
            .sequences("x", WIDTH, &ragged(1, &[2], WIDTH))
            .unwrap();
        assert!(matches!(predictor.run(&other), Err(Error::Shape { .. })));
    }
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let model = model();
    let device = devices()[0].clone();
    let mut predictor = Predictor::new(device, &model, &model.initial(1).unwrap()).unwrap();
    let x = || {
        Batch::new()
            .sequences("x", WIDTH, &ragged(1, &[3, 2], WIDTH))
            .unwrap()
    };
    let wrong = |batch: Batch| predictor.run(&batch).unwrap_err().to_string();
    let mut wrong = wrong;
    let texts = [
        wrong(Batch::new()),
        wrong(x().rows("y", vec![0.0])),
        wrong(Batch::new().rows("x", vec![0.0; 4])),
        wrong(
            Batch::new()
                .sequences("x", 3, &ragged(1, &[3, 2], 3))
                .unwrap(),
        ),
        wrong(x().rows("target", vec![0.0; 9])),
        wrong(x().rows("target", vec![0.0; 7])),
        wrong(x().rows("target", vec![f32::NAN; 6])),
        wrong(x().packed(
            "target",
            PackedBatch::from_sequences(3, &[vec![0.0; 3], vec![0.0; 3]]).unwrap(),
        )),
        wrong(x().fresh(vec![2])),
    ];
    for text in &texts {
        assert!(
            text.contains("expected") || text.contains("there is no"),
            "{text}"
        );
    }
    let mut unique = texts.to_vec();
    unique.sort();
    unique.dedup();
    assert!(unique.len() >= texts.len() - 1, "{texts:#?}");
    // After a refusal it goes on.
    predictor.run(&x()).unwrap();
    let _: Arc<dyn wgpu_rnn::Device> = predictor.device().clone();
}
