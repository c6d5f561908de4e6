//! Long streams in chunks, trained with the states that each chunk leaves to the next: as one, and interrupted between two chunks.

use std::path::Path;
use std::sync::Arc;

use wgpu_rnn::Result;
use wgpu_rnn::model::{Batch, Graph, Model, Predictor};
use wgpu_rnn::nn::{RecurrentOptions, Start};
use wgpu_rnn::ops::PointwiseLossKind;
use wgpu_rnn::train::{
    End, Interrupt, Observer, OptimizerOptions, Progress, Task, Trainer, TrainerOptions,
};
use wgpu_rnn::{Device, RnnConfig};

use crate::support::devices;

const STREAMS: usize = 3;
const CHUNKS: usize = 4;
const STEPS: usize = 5;

/// The next value of a stream, from all before.
fn model(start: Start) -> Model {
    let config = RnnConfig::lstm(1, 5).layers(2).build().unwrap();
    let options = RecurrentOptions {
        start,
        ..RecurrentOptions::default()
    };
    let mut graph = Graph::new();
    let x = graph.sequences("x", 1).unwrap();
    let rnn = graph.rnn_with("rnn", x, &config, options, None).unwrap();
    let y = graph.linear("head", rnn.y, 1).unwrap();
    let rows = graph.shape(y).unwrap().rows;
    let next = graph.input("next", rows, 1).unwrap();
    let loss = graph.loss(PointwiseLossKind::Squared, y, next).unwrap();
    graph.minimize(loss, 1.0).unwrap();
    graph.build().unwrap()
}

/// The chunks of an epoch in their order; all streams begin anew with the first.
#[derive(Debug)]
struct Streams;

impl Streams {
    fn chunk(&self, chunk: usize) -> Result<Batch> {
        // A delay longer than a chunk: only the state knows what came before it.
        let value = |stream: usize, time: usize| {
            let period = 7 + stream;
            if time % period < period / 2 {
                1.0
            } else {
                -1.0
            }
        };
        let part = |shift: usize| -> Vec<Vec<f32>> {
            let times = (chunk * STEPS..(chunk + 1) * STEPS).map(|time| time + shift);
            let stream = |stream| times.clone().map(|time| value(stream, time)).collect();
            (0..STREAMS).map(stream).collect()
        };
        let fresh = if chunk == 0 {
            (0..STREAMS).collect()
        } else {
            Vec::new()
        };
        let batch = Batch::new().sequences("x", 1, &part(0))?;
        Ok(batch.sequences("next", 1, &part(1))?.fresh(fresh))
    }
}

impl Task for Streams {
    fn batches(&self, _: u64) -> Result<Vec<Vec<usize>>> {
        Ok((0..CHUNKS).map(|chunk| vec![chunk]).collect())
    }

    fn batch(&self, samples: &[usize]) -> Result<Batch> {
        self.chunk(samples[0])
    }

    fn metrics(&self) -> Vec<&str> {
        vec!["loss over all chunks"]
    }

    fn evaluate(&self, predictor: &mut Predictor) -> Result<Vec<f64>> {
        let losses = (0..CHUNKS).map(|chunk| predictor.loss(&self.chunk(chunk)?));
        Ok(vec![losses.sum::<Result<f64>>()? / CHUNKS as f64])
    }
}

fn trainer(device: &Arc<dyn Device>, start: Start, folder: Option<&Path>) -> Trainer<Streams> {
    let options = TrainerOptions {
        epochs: 12,
        patience: 0,
        optimizer: OptimizerOptions::adam(0.02),
        folder: folder.map(Path::to_owned),
        ..TrainerOptions::default()
    };
    Trainer::new(device.clone(), &model(start), Streams, options).unwrap()
}

/// Asks for the end after so many steps.
struct After(u64, Interrupt);

impl Observer for After {
    fn step(&mut self, progress: &Progress, _: Option<f64>) {
        if progress.steps() == self.0 {
            self.1.set();
        }
    }
}

fn bits(trainer: &Trainer<Streams>) -> Vec<u32> {
    let buffer = trainer.parameters();
    let values = trainer.device().read(buffer, 0..buffer.len()).unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

#[test]
fn states_go_from_batch_to_batch_and_through_a_checkpoint() {
    for device in devices() {
        let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let mut straight = trainer(device, Start::Carried, Some(whole.path()));
        assert_eq!(
            straight.run(&Interrupt::default(), &mut ()),
            Ok(End::Finished)
        );
        // In the middle of an epoch's chunks, at an epoch's end, and once more.
        for stop in [2, 4, 7] {
            let mut piece = trainer(device, Start::Carried, Some(parts.path()));
            if stop > 2 {
                piece.resume().unwrap();
            }
            let interrupt = Interrupt::default();
            let mut after = After(stop, interrupt.clone());
            assert_eq!(piece.run(&interrupt, &mut after), Ok(End::Interrupted));
        }
        let mut last = trainer(device, Start::Carried, Some(parts.path()));
        last.resume().unwrap();
        assert_eq!(last.run(&Interrupt::default(), &mut ()), Ok(End::Finished));
        assert_eq!(bits(&last), bits(&straight), "{}", device.name());
        // Without the states it is another training.
        let mut without = trainer(device, Start::Zeros, None);
        without.run(&Interrupt::default(), &mut ()).unwrap();
        assert_ne!(bits(&without), bits(&straight), "{}", device.name());
        let epochs = &straight.standing().epochs;
        assert!(
            epochs[11].metrics[0] < 0.9 * epochs[0].metrics[0],
            "{epochs:?}"
        );
    }
}
