//! States that go from one run of a model to the next, on the device.

use crate::device::{Device, DeviceBuffer};
use crate::error::{Error, Result, zeros};
use crate::nn::Carried;
use crate::ops::BufferId;

/// The carried states of a model for some sequences, one buffer for each of its [`Carried`] states.
#[derive(Debug, Clone, Default)]
pub(crate) struct CarriedStates {
    sequences: usize,
    buffers: Vec<DeviceBuffer>,
    /// Rows a sequence and elements of a row.
    sizes: Vec<[usize; 2]>,
    /// What they begin with; zeros without.
    first: Option<Vec<Vec<f32>>>,
}

impl CarriedStates {
    /// States that begin with these values.
    pub(crate) fn saved(values: Vec<Vec<f32>>) -> Self {
        Self {
            first: Some(values).filter(|values| !values.is_empty()),
            ..Self::default()
        }
    }

    /// What to bind to a program, whose `sequences` go on from here; at first all states are zeros.
    pub(crate) fn bindings(
        &mut self,
        device: &dyn Device,
        carried: &[Carried],
        sequences: usize,
    ) -> Result<Vec<(BufferId, DeviceBuffer)>> {
        if self.buffers.is_empty() {
            for state in carried {
                let len = state.blocks * sequences * state.width;
                self.buffers.push(device.buffer("carried states", len)?);
                self.sizes.push([state.blocks, state.width]);
            }
            self.sequences = sequences;
            self.write_first(device)?;
        }
        if !carried.is_empty() && sequences != self.sequences {
            let what = "sequences of a batch that goes on from carried states";
            return Err(Error::shape(what, self.sequences, sequences));
        }
        let pairs = carried.iter().zip(&self.buffers);
        let pairs = pairs
            .flat_map(|(state, buffer)| [(state.from, buffer.clone()), (state.to, buffer.clone())]);
        Ok(pairs.collect())
    }

    fn write_first(&mut self, device: &dyn Device) -> Result<()> {
        let Some(first) = self.first.take() else {
            return Ok(());
        };
        let lengths = first.iter().map(Vec::len);
        if !lengths
            .clone()
            .eq(self.buffers.iter().map(DeviceBuffer::len))
        {
            let expected = self
                .buffers
                .iter()
                .map(DeviceBuffer::len)
                .collect::<Vec<_>>();
            let got = lengths.collect::<Vec<_>>();
            let what = "elements of saved states";
            return Err(Error::shape(
                what,
                format!("{expected:?}"),
                format!("{got:?}"),
            ));
        }
        let mut pairs = self.buffers.iter().zip(&first);
        pairs.try_for_each(|(buffer, values)| device.write(buffer, 0, values))
    }

    /// Zeros in some places, where other sequences begin.
    pub(crate) fn clear(&self, device: &dyn Device, places: &[usize]) -> Result<()> {
        for (buffer, [blocks, width]) in self.buffers.iter().zip(&self.sizes) {
            let zeros = zeros("carried states", *width)?;
            for block in 0..*blocks {
                for place in places {
                    let row = block * self.sequences + place;
                    device.write(buffer, row * width, &zeros)?;
                }
            }
        }
        Ok(())
    }

    /// The values of each state, waiting for what was submitted before.
    pub(crate) fn read(&self, device: &dyn Device) -> Result<Vec<Vec<f32>>> {
        let buffers = self.buffers.iter();
        buffers
            .map(|buffer| device.read(buffer, 0..buffer.len()))
            .collect()
    }
}
