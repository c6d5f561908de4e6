//! Truncated backpropagation through time: long sequences in chunks, with the state carried from one to the next.
//!
//! The forward is that of the whole sequences; the backward of a chunk takes the state that it started from for a constant,
//! so memory and the way back are bounded by the chunk (Williams and Peng 1990, with the way back as long as the chunk).

use std::sync::Arc;

use crate::batch::{PackedBatch, Packing};
use crate::config::RnnConfig;
use crate::device::{Device, DeviceBuffer};
use crate::error::{Error, Result};
use crate::ops::BufferId;
use crate::rnn::Network;
use crate::state::State;

/// Sequences cut into chunks of the same steps. A sequence that has ended stays in its place with no steps, which cost
/// nothing, so that places and states belong together throughout.
///
/// ```
/// use wgpu_rnn::train::Chunks;
/// // Sequences of 5 steps and of 1, of one feature.
/// let chunks = Chunks::new(1, &[vec![1.0, 2.0, 3.0, 4.0, 5.0], vec![6.0]], 2)?;
/// assert_eq!(chunks.len(), 3);
/// assert_eq!(chunks.batch(0)?.to_sequences(), [vec![1.0, 2.0], vec![6.0]]);
/// assert_eq!(chunks.batch(2)?.to_sequences(), [vec![5.0], vec![]]);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Chunks {
    features: usize,
    steps: usize,
    sequences: Vec<Vec<f32>>,
    packings: Vec<Arc<Packing>>,
}

impl Chunks {
    /// Cuts sequences of rows of `features` elements into chunks of `steps` steps; the last ones of a sequence may be fewer.
    ///
    /// # Errors
    /// [`Error::Option`] if `steps` is zero; [`Error::Shape`] if a sequence is not made of rows.
    pub fn new(features: usize, sequences: &[Vec<f32>], steps: usize) -> Result<Self> {
        if steps == 0 {
            return Err(Error::option("steps", "must be greater than zero"));
        }
        let whole = PackedBatch::from_sequences(features, sequences)?;
        let count = whole.packing().steps().div_ceil(steps);
        let lengths = |chunk: usize| -> Vec<usize> {
            let of = |sequence: &Vec<f32>| sequence.len() / features.max(1);
            let rest = |length: usize| length.saturating_sub(chunk * steps).min(steps);
            sequences
                .iter()
                .map(|sequence| rest(of(sequence)))
                .collect()
        };
        let mut packings: Vec<Arc<Packing>> = Vec::with_capacity(count);
        for chunk in 0..count {
            let packing = Packing::new(&lengths(chunk))?;
            // Chunks of one shape share it, so that whoever keeps plans by packing needs one.
            let same = packings.iter().find(|other| ***other == packing);
            packings.push(same.cloned().unwrap_or_else(|| Arc::new(packing)));
        }
        Ok(Self {
            features,
            steps,
            sequences: sequences.to_vec(),
            packings,
        })
    }

    /// Number of chunks.
    pub fn len(&self) -> usize {
        self.packings.len()
    }

    /// Whether no sequence has a step.
    pub fn is_empty(&self) -> bool {
        self.packings.is_empty()
    }

    /// How the rows of each chunk are laid out; equal ones are one.
    pub fn packings(&self) -> &[Arc<Packing>] {
        &self.packings
    }

    /// The rows of a chunk, with all sequences in their places.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such chunk.
    pub fn batch(&self, chunk: usize) -> Result<PackedBatch> {
        let Some(packing) = self.packings.get(chunk) else {
            let expected = format!("less than {}", self.packings.len());
            return Err(Error::shape("number of a chunk", expected, chunk));
        };
        let mut rows = Vec::with_capacity(packing.tokens() * self.features);
        for step in 0..packing.steps() {
            let running = &packing.order()[..packing.batch_size(step)];
            for &sequence in running {
                let at = (chunk * self.steps + step) * self.features;
                rows.extend_from_slice(&self.sequences[sequence][at..at + self.features]);
            }
        }
        PackedBatch::new(packing.clone(), self.features, rows)
    }
}

/// The states of a batch of streams between chunks, on the device: bound to what a network starts from and to what it ends
/// with, they go from chunk to chunk by themselves.
///
/// Dropout and zoneout draw by the step within a chunk: give each chunk a seed of its own.
#[derive(Debug, Clone)]
pub struct CarriedState {
    config: RnnConfig,
    batch: usize,
    h: DeviceBuffer,
    c: Option<DeviceBuffer>,
}

impl CarriedState {
    /// Zeros for `batch` streams.
    ///
    /// # Errors
    /// [`Error::Option`] if a direction of the network is the reverse one, which begins at the end of a sequence; the device's
    /// errors.
    pub fn new(device: &dyn Device, config: &RnnConfig, batch: usize) -> Result<Self> {
        let direction = config.direction();
        if (0..config.directions()).any(|index| direction.is_reverse(index)) {
            let reason =
                "must be forward for a carried state: the reverse one begins at a sequence's end";
            return Err(Error::option("direction", reason));
        }
        let zeros = State::<f32>::zeros(config, batch)?;
        let c = match zeros.c.is_empty() {
            true => None,
            false => Some(device.buffer("carried c", zeros.c.len())?),
        };
        Ok(Self {
            config: config.clone(),
            batch,
            h: device.buffer("carried h", zeros.h.len())?,
            c,
        })
    }

    /// What to bind when the program of `network` is loaded.
    ///
    /// # Errors
    /// [`Error::State`] if the network was made without initial states; [`Error::Shape`] if it is of another configuration or
    /// batch.
    pub fn bindings(&self, network: &Network) -> Result<Vec<(BufferId, DeviceBuffer)>> {
        let batch = network.packing().batch();
        if batch != self.batch {
            return Err(Error::shape(
                "streams of a carried state",
                self.batch,
                batch,
            ));
        }
        if *network.config() != self.config {
            return Err(Error::State(
                "a carried state was made for another configuration than the network's",
            ));
        }
        let missing = Error::State("a carried state needs a network with initial states");
        let h0 = network.h0.ok_or(missing)?;
        let mut bindings = vec![(h0, self.h.clone()), (network.h_n, self.h.clone())];
        if let Some(c) = &self.c {
            let places = [network.c0, network.c_n].into_iter().flatten();
            bindings.extend(places.map(|place| (place, c.clone())));
        }
        Ok(bindings)
    }

    /// Sets the states of some streams to zero, where other sequences begin in their places.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such stream; the device's errors.
    pub fn reset(&self, device: &dyn Device, streams: &[usize]) -> Result<()> {
        if let Some(stream) = streams.iter().find(|&&stream| stream >= self.batch) {
            let expected = format!("less than {}", self.batch);
            return Err(Error::shape("number of a stream", expected, stream));
        }
        let rows = self.config.layer_count() * self.config.directions();
        for buffer in [Some(&self.h), self.c.as_ref()].into_iter().flatten() {
            let width = buffer.len() / (rows * self.batch).max(1);
            let zeros = vec![0.0; width];
            for (row, stream) in (0..rows).flat_map(|row| streams.iter().map(move |s| (row, s))) {
                device.write(buffer, (row * self.batch + stream) * width, &zeros)?;
            }
        }
        Ok(())
    }

    /// Replaces all states.
    ///
    /// # Errors
    /// [`Error::Shape`] if `state` is of another configuration or batch; the device's errors.
    pub fn write(&self, device: &dyn Device, state: &State) -> Result<()> {
        state.check(&self.config, self.batch)?;
        device.write(&self.h, 0, &state.h)?;
        match &self.c {
            Some(c) => device.write(c, 0, &state.c),
            None => Ok(()),
        }
    }

    /// Reads all states, waiting for what was submitted before.
    ///
    /// # Errors
    /// The device's errors.
    pub fn read(&self, device: &dyn Device) -> Result<State> {
        let all = |buffer: &DeviceBuffer| device.read(buffer, 0..buffer.len());
        Ok(State {
            h: all(&self.h)?,
            c: self.c.as_ref().map(all).transpose()?.unwrap_or_default(),
        })
    }
}
