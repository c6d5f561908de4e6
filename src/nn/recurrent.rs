//! A recurrent network as a layer of a model.

use crate::config::{Cell, RnnConfig};
use crate::error::{Error, Result};
use crate::initial::{Initial, pytorch};
use crate::ops::{
    BufferId, CopyJob, Elementwise, ElementwiseKind, Program, Region, Section, StridedCopies,
};
use crate::params::ParameterLayout;
use crate::reference;
use crate::rnn::{GradientMode, Network, NetworkOptions, NetworkPlaces};
use crate::state::State;

use super::layer::{
    BackwardPlaces, Carried, ForwardPlaces, InputPlace, Layer, NodeShape, ParameterPlace,
    ParameterSpec, PushedLayer, ReferenceInputs, Rows, TimeAxis,
};

/// Outputs of a [`Recurrent`] layer, in this order.
pub(crate) const Y: usize = 0;
pub(crate) const LAST: usize = 1;
pub(crate) const H_N: usize = 2;
pub(crate) const C_N: usize = 3;

/// Where the states of a recurrent layer come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Start {
    /// They are zeros.
    #[default]
    Zeros,
    /// They are inputs of the layer: h, and for an LSTM c.
    Given,
    /// They are those that the run before ended with, of the sequences in the same places: long sequences in chunks.
    Carried,
}

/// What a recurrent layer does beside its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RecurrentOptions {
    /// Where states come from.
    pub start: Start,
    /// Steps after which gradients are cut: see [`NetworkOptions::truncation`].
    pub truncation: Option<usize>,
    /// What the backward starts from.
    pub gradients: GradientMode,
    /// How the parameters begin; `None`: as PyTorch's do.
    pub initial: Option<Initial>,
}

/// A recurrent network as a layer. Its parameters are the network's, in [`ParameterLayout`] order and under PyTorch's names; its
/// outputs are the last layer's rows, the last layer's final states side by side, and all final states.
#[derive(Debug, Clone)]
pub(crate) struct Recurrent {
    pub(crate) config: RnnConfig,
    pub(crate) options: RecurrentOptions,
    /// See [`NetworkOptions::first_site`].
    pub(crate) first_site: usize,
}

impl Recurrent {
    fn is_lstm(&self) -> bool {
        self.config.spec().cell == Cell::Lstm
    }

    /// Rows of a state for each sequence.
    fn blocks(&self) -> usize {
        self.config.layer_count() * self.config.directions()
    }

    fn hidden_states(&self) -> NodeShape {
        NodeShape::new(Rows::States(self.blocks()), self.config.state_size())
    }

    fn cell_states(&self) -> NodeShape {
        NodeShape::new(Rows::States(self.blocks()), self.config.hidden_size())
    }

    fn axis(inputs: &[NodeShape]) -> Result<TimeAxis> {
        match inputs.first() {
            Some(NodeShape {
                rows: Rows::Steps(axis),
                ..
            }) => Ok(*axis),
            Some(other) => Err(Error::shape(
                "input of a recurrent layer",
                "a row a timestep",
                other,
            )),
            None => Err(Error::shape(
                "inputs of a recurrent layer",
                "at least one",
                0,
            )),
        }
    }

    /// The parameters in one flat place, and their gradients.
    fn flat(&self, places: &ForwardPlaces<'_>) -> (Region, Option<Region>) {
        let parameters = places.parameters;
        let first = parameters[0].value;
        let gradients = parameters.iter().find_map(|place| {
            let region = place.gradient?.region;
            let before = place.value.offset - first.offset;
            Some(Region {
                buffer: region.buffer,
                offset: region.offset - before,
            })
        });
        (first, gradients)
    }

    fn network_options(&self, places: &ForwardPlaces<'_>) -> NetworkOptions {
        let outputs = places.outputs;
        let trains = places.has_backward() && outputs.iter().any(|output| output.has_gradient);
        let parameters = places.parameters.iter();
        let gradients = || parameters.clone().filter_map(|place| place.gradient);
        NetworkOptions {
            gradients: trains.then_some(self.options.gradients),
            input_gradient: places.inputs[0].wants_gradient,
            output_gradient: outputs[Y].has_gradient,
            parameter_gradients: gradients().next().is_some(),
            first_site: self.first_site,
            accumulate: gradients().any(|gradient| gradient.accumulate),
            initial_state: self.options.start != Start::Zeros,
            truncation: self.options.truncation,
            ..*places.options
        }
    }
}

impl Layer for Recurrent {
    fn kind(&self) -> &'static str {
        match self.config.spec().cell {
            Cell::Elman => "elman",
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
        }
    }

    fn settings(&self) -> String {
        let config = &self.config;
        let (input, hidden) = (config.input_size(), config.hidden_size());
        let mut text = format!("{input} -> {hidden}");
        if config.layer_count() > 1 {
            text += &format!(", {} layers", config.layer_count());
        }
        if config.directions() > 1 {
            text += ", both directions";
        }
        text
    }

    fn fingerprint(&self) -> String {
        let RecurrentOptions {
            start, truncation, ..
        } = self.options;
        format!(
            "{:?}, start {start:?}, truncation {truncation:?}",
            self.config
        )
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let Ok(layout) = ParameterLayout::new(&self.config) else {
            return Vec::new();
        };
        let entries = layout.entries().iter();
        entries
            .map(|entry| {
                let initial = match &self.options.initial {
                    Some(initial) => initial.of(&self.config, entry),
                    None => pytorch(&self.config, entry.kind),
                };
                ParameterSpec::new(entry.name.clone(), &entry.shape, initial)
            })
            .collect()
    }

    fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>> {
        let axis = Self::axis(inputs)?;
        let mut expected = vec![NodeShape::new(Rows::Steps(axis), self.config.input_size())];
        if self.options.start == Start::Given {
            expected.push(self.hidden_states());
            expected.extend(self.is_lstm().then(|| self.cell_states()));
        }
        if inputs.len() != expected.len() {
            return Err(Error::shape(
                "inputs of a recurrent layer",
                expected.len(),
                inputs.len(),
            ));
        }
        let names = ["input", "initial hidden states", "initial cell states"];
        for ((name, expected), got) in names.iter().zip(&expected).zip(inputs) {
            if expected != got {
                let what = format!("{name} of a recurrent layer");
                return Err(Error::shape(what, expected, got));
            }
        }
        if let Some(initial) = &self.options.initial {
            initial.check(&self.config)?;
        }
        if self.options.truncation == Some(0) {
            return Err(Error::option("truncation", "must be at least 1, is 0"));
        }
        let direction = self.config.direction();
        let reverse = (0..self.config.directions()).any(|index| direction.is_reverse(index));
        if self.options.start == Start::Carried && reverse {
            let reason =
                "must be forward for carried states: the reverse one begins at a sequence's end";
            return Err(Error::option("direction", reason));
        }
        let last = self.config.directions() * self.config.state_size();
        let mut outputs = vec![
            NodeShape::new(Rows::Steps(axis), self.config.output_size()),
            NodeShape::new(Rows::Sequences, last),
            self.hidden_states(),
        ];
        outputs.extend(self.is_lstm().then(|| self.cell_states()));
        Ok(outputs)
    }

    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
        let shapes: Vec<NodeShape> = places.inputs.iter().map(|input| input.shape).collect();
        let axis = Self::axis(&shapes)?;
        let packing = places.batch.packing(axis)?.clone();
        let options = self.network_options(places);
        let mut inputs = Vec::with_capacity(places.inputs.len());
        for input in places.inputs {
            inputs.push(whole_buffer(places, *input)?);
        }
        let (parameters, gradients) = self.flat(places);
        let network = Network::with_places(
            places.program,
            &self.config,
            &packing,
            &options,
            NetworkPlaces {
                parameters,
                gradients,
                x: inputs.first().copied(),
                h0: inputs.get(1).copied(),
                c0: inputs.get(2).copied(),
            },
        )?;
        network.forward(places.program)?;
        let last = match self.config.directions() {
            1 => network.last_hidden(0),
            _ if !places.outputs[LAST].is_read => network.h_n.into(),
            directions => {
                let shape = NodeShape::new(Rows::Sequences, directions * self.config.state_size());
                places.output_buffer(LAST, "last_states", shape)?.into()
            }
        };
        let pushed = PushedRecurrent {
            start: self.options.start,
            parameters: places.parameters.to_vec(),
            last,
            d_last: self.place_of_last_gradient(places, &network),
            has_gradient: places
                .outputs
                .iter()
                .map(|output| output.has_gradient)
                .collect(),
            network,
        };
        if self.config.directions() > 1 && places.outputs[LAST].is_read {
            let states = pushed.network.last_hidden(0);
            pushed.push_last(places.program, Section::Forward, (states, last));
        }
        Ok(Box::new(pushed))
    }

    fn reference(&self, inputs: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
        let axis = Self::axis(&inputs.shapes)?;
        let packing = inputs.batch.packing(axis)?;
        let parameters = inputs.parameters.concat();
        let values = |input: usize| inputs.inputs.get(input).map_or(Vec::new(), |x| x.to_vec());
        let initial = (self.options.start == Start::Given).then(|| State {
            h: values(1),
            c: values(2),
        });
        let (output, _) = reference::forward_drawing(
            &self.config,
            &parameters,
            packing,
            inputs.inputs[0],
            initial.as_ref(),
            reference::Drawing {
                mode: inputs.mode,
                seed: inputs.seed,
                first_site: self.first_site,
            },
        )?;
        let (h, state) = (&output.state.h, self.config.state_size());
        let (batch, directions) = (packing.batch(), self.config.directions());
        let last_blocks = &h[h.len() - directions * batch * state..];
        let mut last = Vec::with_capacity(last_blocks.len());
        for sequence in 0..batch {
            for direction in 0..directions {
                let at = (direction * batch + sequence) * state;
                last.extend_from_slice(&last_blocks[at..at + state]);
            }
        }
        let mut outputs = vec![output.y, last, output.state.h];
        outputs.extend(self.is_lstm().then_some(output.state.c));
        Ok(outputs)
    }

    fn network(&self) -> Option<&RnnConfig> {
        Some(&self.config)
    }

    fn carries(&self) -> bool {
        self.options.start == Start::Carried
    }
}

impl Recurrent {
    /// Where the gradient of the last states is collected: at once where a network of one direction wants it, if nothing else adds
    /// to it there.
    fn place_of_last_gradient(
        &self,
        places: &mut ForwardPlaces<'_>,
        network: &Network,
    ) -> Option<Region> {
        let outputs = places.outputs;
        let direct = self.config.directions() == 1 && !outputs[H_N].has_gradient;
        network.last_hidden_gradient(0).filter(|_| direct)
    }
}

/// The node's values as a buffer of their own, which a network wants.
fn whole_buffer(places: &mut ForwardPlaces<'_>, input: InputPlace) -> Result<BufferId> {
    let len = places.batch.elements(input.shape)?;
    let buffer = input.region.buffer;
    if input.region.offset == 0 && places.program.spec(buffer).len == len {
        return Ok(buffer);
    }
    let own = places.buffer("rows", input.shape)?;
    let copy = Elementwise {
        kind: ElementwiseKind::Copy,
        a: input.region,
        b: None,
        target: own.into(),
        len,
    };
    places.program.push(Section::Forward, copy);
    Ok(own)
}

/// A recurrent layer in a program.
#[derive(Debug)]
struct PushedRecurrent {
    network: Network,
    start: Start,
    parameters: Vec<ParameterPlace>,
    /// The last states, `[sequences, directions * state size]`.
    last: Region,
    /// Where their gradient is wanted.
    d_last: Option<Region>,
    has_gradient: Vec<bool>,
}

impl PushedLayer for PushedRecurrent {
    fn outputs(&self) -> Vec<Region> {
        let network = &self.network;
        let mut outputs = vec![network.y.into(), self.last, network.h_n.into()];
        outputs.extend(network.c_n.map(Region::from));
        outputs
    }

    fn is_disposable(&self, output: usize) -> bool {
        // With one direction they lie among all final states.
        output == LAST && self.network.config().directions() > 1
    }

    fn gradient_place(&self, output: usize) -> Option<Region> {
        let gradients = self.network.gradients?;
        match output {
            Y if self.has_gradient[Y] => Some(gradients.y.into()),
            LAST => self.d_last,
            H_N => Some(gradients.h_n.into()),
            C_N => gradients.c_n.map(Region::from),
            _ => None,
        }
    }

    fn backward(&self, places: &mut BackwardPlaces<'_>) -> Result<()> {
        let Some(gradients) = self.network.gradients else {
            return Ok(());
        };
        if let Some(d_last) = places.output(LAST).filter(|_| self.d_last.is_none()) {
            let states = self.network.last_hidden_gradient(0);
            let states = states.ok_or(Error::State("the network has no backward section"))?;
            self.push_last(places.program, Section::Backward, (states, d_last.region));
        }
        self.network.backward(places.program)?;
        self.clear_frozen(places.program);
        if let Some(x) = gradients.x {
            places.give(0, x.into());
        }
        if self.start == Start::Given {
            places.give(1, gradients.h0.into());
            if let Some(c0) = gradients.c0 {
                places.give(2, c0.into());
            }
        }
        Ok(())
    }

    fn carried(&self) -> Vec<Carried> {
        if self.start != Start::Carried {
            return Vec::new();
        }
        let (network, config) = (&self.network, self.network.config());
        let blocks = config.layer_count() * config.directions();
        let state = |from: Option<BufferId>, to: Option<BufferId>, width| {
            Some(Carried {
                from: from?,
                to: to?,
                blocks,
                width,
            })
        };
        let h = state(network.h0, Some(network.h_n), config.state_size());
        let c = state(network.c0, network.c_n, config.hidden_size());
        [h, c].into_iter().flatten().collect()
    }
}

impl PushedRecurrent {
    /// Pushes the copies between `[directions, sequences, state]` and `[sequences, directions * state]`: forward to the latter,
    /// backward to the former, added where all final states have a gradient already.
    fn push_last(&self, program: &mut Program, section: Section, (states, rows): (Region, Region)) {
        let config = self.network.config();
        let (directions, state) = (config.directions(), config.state_size());
        let batch = self.network.packing().batch();
        let is_forward = section == Section::Forward;
        let job = |direction: usize| {
            let blocks = states.offset + direction * batch * state;
            let columns = rows.offset + direction * state;
            let (block_strides, column_strides) = ([state, 1], [directions * state, 1]);
            match is_forward {
                true => CopyJob {
                    source: blocks,
                    target: columns,
                    size: [batch, state],
                    source_strides: block_strides,
                    target_strides: column_strides,
                },
                false => CopyJob {
                    source: columns,
                    target: blocks,
                    size: [batch, state],
                    source_strides: column_strides,
                    target_strides: block_strides,
                },
            }
        };
        if batch == 0 {
            return;
        }
        let (source, target) = match is_forward {
            true => (states.buffer, rows.buffer),
            false => (rows.buffer, states.buffer),
        };
        let copies = StridedCopies {
            source,
            target,
            jobs: (0..directions).map(job).collect(),
            accumulate: !is_forward && self.has_gradient[H_N],
        };
        program.push(section, copies);
    }

    /// Zeros for the gradients of frozen parameters among others, which the network computes together.
    fn clear_frozen(&self, program: &mut Program) {
        let Some(flat) = self.network.gradients.map(|gradients| gradients.parameters) else {
            return;
        };
        if self.parameters.iter().all(|place| place.gradient.is_none()) {
            return;
        }
        let Ok(layout) = ParameterLayout::new(self.network.config()) else {
            return;
        };
        for (entry, place) in layout.entries().iter().zip(&self.parameters) {
            if place.gradient.is_none() {
                let zero = crate::ops::Fill {
                    target: flat.at(entry.offset),
                    len: entry.len(),
                    value: 0.0,
                };
                program.push(Section::Backward, zero);
            }
        }
    }
}
