//! From the rows of a ragged batch to one row for each sequence.

use std::sync::Arc;

use super::layer::{
    BackwardPlaces, ForwardPlaces, Layer, NodeShape, PushedLayer, ReferenceInputs, Rows, TimeAxis,
    expect_inputs,
};
use crate::batch::Packing;
use crate::error::{Error, Result, checked_product};
use crate::ops::{
    BufferId, CopyJob, PoolKind, PoolRows, PoolRowsBackward, Program, Region, Role, Section,
    StridedCopies, TableOffset,
};
use crate::rnn::Network;

/// The mean or the maximum over the real steps of each sequence, column by column; zeros for a sequence without steps.
#[derive(Debug, Clone)]
pub struct Pooling {
    kind: PoolKind,
    packing: Arc<Packing>,
    width: usize,
    sorted_of: TableOffset,
    winners: Option<BufferId>,
}

impl Pooling {
    /// Pools rows of `width` columns that are packed as `packing` says; adds its tables and buffers to `program`.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a size does not fit.
    pub fn new(
        program: &mut Program,
        kind: PoolKind,
        packing: &Arc<Packing>,
        width: usize,
    ) -> Result<Self> {
        checked_product("pooled rows", &[packing.tokens(), width])?;
        let len = checked_product("pooled sequences", &[packing.batch(), width])?;
        let is_max = kind == PoolKind::Max;
        Ok(Self {
            kind,
            packing: packing.clone(),
            width,
            sorted_of: program.table(&packing.sorted_of()),
            winners: is_max.then(|| program.buffer("winners", len, Role::Activation)),
        })
    }

    /// Pushes the forward: from `x`, `[tokens, width]`, to `y`, `[batch, width]` in the caller's order, in another buffer.
    pub fn forward(&self, program: &mut Program, (x, y): (Region, Region)) {
        let operation = PoolRows {
            kind: self.kind,
            source: x,
            target: y,
            winners: self.winners.map(Region::from),
            width: self.width,
            packing: self.packing.clone(),
            sorted_of: self.sorted_of,
        };
        program.push(Section::Forward, operation);
    }

    /// Pushes the backward: from the gradient `d_y` to `d_x`, overwritten.
    pub fn backward(&self, program: &mut Program, (d_y, d_x): (Region, Region)) {
        let operation = PoolRowsBackward {
            kind: self.kind,
            gradient: d_y,
            winners: self.winners.map(Region::from),
            target: d_x,
            width: self.width,
            packing: self.packing.clone(),
        };
        program.push(Section::Backward, operation);
    }
}

/// The hidden states that the last layer's directions end with, side by side, one row for each sequence: the state after the
/// last real step of the forward direction, and after the first step of the reverse one. A sequence without steps ends with
/// its initial state.
#[derive(Debug, Clone, Copy)]
pub struct LastStates {
    batch: usize,
    state: usize,
    directions: usize,
    /// The first direction's part of `h_n`; the others follow.
    states: Region,
    gradients: Option<Region>,
}

impl LastStates {
    /// Those of a network.
    pub fn new(network: &Network) -> Self {
        Self {
            batch: network.packing().batch(),
            state: network.config().state_size(),
            directions: network.config().directions(),
            states: network.last_hidden(0),
            gradients: network.last_hidden_gradient(0),
        }
    }

    /// Elements of a row: the state units of all directions.
    pub fn width(&self) -> usize {
        self.directions * self.state
    }

    /// Pushes the forward, behind the network's: `y` becomes `[batch, width]` in the caller's order.
    pub fn forward(&self, program: &mut Program, y: Region) {
        self.push(program, Section::Forward, (self.states, y), |job| job);
    }

    /// Pushes the backward, before the network's: from the gradient `d_y` to the gradient of the network's final states.
    ///
    /// # Errors
    /// [`Error::State`] if the network was made without a backward section.
    pub fn backward(&self, program: &mut Program, d_y: Region) -> Result<()> {
        let gradients = self.gradients.ok_or(Error::State(
            "the gradient of final states needs a network with a backward section",
        ))?;
        self.push(program, Section::Backward, (gradients, d_y), |job| {
            CopyJob {
                source: job.target,
                target: job.source,
                source_strides: job.target_strides,
                target_strides: job.source_strides,
                ..job
            }
        });
        Ok(())
    }

    /// Pushes the copies between `[directions, batch, state]` and `[batch, directions * state]`, turned round by `way`.
    fn push(
        &self,
        program: &mut Program,
        section: Section,
        (states, rows): (Region, Region),
        way: impl Fn(CopyJob) -> CopyJob,
    ) {
        let job = |direction: usize| {
            way(CopyJob {
                source: states.offset + direction * self.batch * self.state,
                target: rows.offset + direction * self.state,
                size: [self.batch, self.state],
                source_strides: [self.state, 1],
                target_strides: [self.width(), 1],
            })
        };
        if self.batch == 0 {
            return;
        }
        let (source, target) = match section {
            Section::Backward => (rows.buffer, states.buffer),
            _ => (states.buffer, rows.buffer),
        };
        let copies = StridedCopies {
            source,
            target,
            jobs: (0..self.directions).map(job).collect(),
            accumulate: false,
        };
        program.push(section, copies);
    }
}

/// [`Pooling`] as a layer of a model: from the rows of timesteps to a row a sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolingLayer(pub(crate) PoolKind);

/// Pooling in a program.
#[derive(Debug)]
struct PushedPooling {
    pooling: Pooling,
    y: Region,
}

impl PoolingLayer {
    fn axis(x: NodeShape) -> Result<TimeAxis> {
        match x.rows {
            Rows::Steps(axis) => Ok(axis),
            _ => Err(Error::shape("input of a pooling", "a row a timestep", x)),
        }
    }
}

impl Layer for PoolingLayer {
    fn kind(&self) -> &'static str {
        match self.0 {
            PoolKind::Mean => "mean",
            PoolKind::Max => "maximum",
        }
    }

    fn settings(&self) -> String {
        "over timesteps".to_owned()
    }

    fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>> {
        let [x] = expect_inputs(self.kind(), inputs)?;
        Self::axis(*x)?;
        Ok(vec![NodeShape::new(Rows::Sequences, x.width)])
    }

    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
        let x = places.inputs[0];
        let packing = places.batch.packing(Self::axis(x.shape)?)?.clone();
        let shape = NodeShape::new(Rows::Sequences, x.shape.width);
        let y = places.output_buffer(0, "pooled", shape)?.into();
        let pooling = Pooling::new(places.program, self.0, &packing, x.shape.width)?;
        pooling.forward(places.program, (x.region, y));
        Ok(Box::new(PushedPooling { pooling, y }))
    }

    fn reference(&self, inputs: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
        let (x, shape) = (inputs.inputs[0], inputs.shapes[0]);
        let packing = inputs.batch.packing(Self::axis(shape)?)?;
        let width = shape.width;
        let mut y = vec![0.0; packing.batch() * width];
        for (sorted, &sequence) in packing.order().iter().enumerate() {
            let length = packing.lengths()[sorted];
            for column in 0..width {
                let values = (0..length).map(|step| x[packing.row(step, sorted) * width + column]);
                y[sequence * width + column] = match self.0 {
                    _ if length == 0 => 0.0,
                    PoolKind::Mean => values.sum::<f64>() / length as f64,
                    PoolKind::Max => values.fold(f64::NEG_INFINITY, f64::max),
                };
            }
        }
        Ok(vec![y])
    }
}

impl PushedLayer for PushedPooling {
    fn outputs(&self) -> Vec<Region> {
        vec![self.y]
    }

    fn is_disposable(&self, _: usize) -> bool {
        true
    }

    fn backward(&self, places: &mut BackwardPlaces<'_>) -> Result<()> {
        let d_y = places.output(0).map(|gradient| gradient.region);
        if let Some((d_y, d_x)) = d_y.and_then(|d_y| Some((d_y, places.target(0)?))) {
            self.pooling.backward(places.program, (d_y, d_x));
        }
        Ok(())
    }
}
