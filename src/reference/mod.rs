//! The oracle: plain loops over PyTorch's weight layout, sequence by sequence, step by step.
//!
//! It is the readable one. It allocates freely, knows no packed weights, no kernels and no device, and computes in `f64`
//! or `f32`. The forward is written from the formulas; the backward transposes the matrix products and the normalisations
//! by hand and takes the derivative of everything pointwise from dual numbers ([`crate::cell`]).
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the stack: dropout on a layer's input, directions, residual connections |
//! | `float.rs` | the numbers it computes in |
//! | `layer.rs` | one direction of a layer, and what goes through its steps |
//! | `step.rs` | a step: the two products, their norms and biases, the cell, zoneout |
//! | `lstm.rs`, `gru.rs`, `elman.rs` | between the sums and the new state |
//! | `norm.rs`, `linear.rs` | rows and matrices |
//!
//! ```
//! use wgpu_rnn::{Mode, OutputGradient, Packing, ParameterLayout, RnnConfig, reference};
//!
//! let config = RnnConfig::lstm(2, 3).build()?;
//! let weights = vec![0.1_f64; ParameterLayout::new(&config)?.len()];
//! // Two sequences, of 1 and 2 steps: three rows of two features.
//! let packing = Packing::new(&[1, 2])?;
//! let x = [1.0; 6];
//! let (output, tape) =
//!     reference::forward(&config, &weights, &packing, &x, None, Mode::Evaluation, 0)?;
//! let loss = OutputGradient { y: Some(vec![1.0; output.y.len()]), ..Default::default() };
//! assert_eq!(reference::backward(&tape, &loss)?.x.len(), x.len());
//! # Ok::<(), wgpu_rnn::Error>(())
//! ```

mod elman;
mod float;
mod gru;
mod layer;
mod linear;
mod lstm;
mod norm;
mod step;

use crate::batch::Packing;
use crate::config::{Direction, Mode, RnnConfig};
use crate::error::{Error, Result};
use crate::params::ParameterLayout;
use crate::random::{RandomPurpose, RandomSite, dropout_factor};
use crate::state::{Gradients, Output, OutputGradient, State};
use float::{store, stored};
use layer::{Layer, Position, Values};
use linear::{add, scale};
use step::Step;

pub use float::Float;
pub use layer::Drawing;

/// Everything that [`backward`] needs from [`forward`].
#[derive(Debug, Clone)]
pub struct Tape<T> {
    run: Run<T>,
    layers: Vec<LayerTape<T>>,
}

/// What stays the same for a whole run.
#[derive(Debug, Clone)]
struct Run<T> {
    config: RnnConfig,
    layout: ParameterLayout,
    parameters: Vec<T>,
    packing: Packing,
    drawing: Drawing,
}

#[derive(Debug, Clone)]
struct LayerTape<T> {
    /// `[tokens, inputs]`, what entered the layer, after dropout.
    input: Vec<T>,
    /// Dropout's factors, shaped like `input`; absent without dropout.
    factors: Option<Vec<T>>,
    /// For each direction the sorted sequences.
    directions: Vec<Vec<SequenceTape<T>>>,
}

#[derive(Debug, Clone)]
struct SequenceTape<T> {
    /// Recurrent dropout's factors, `[state size]`; absent without it.
    mask: Option<Vec<T>>,
    steps: Vec<Step<T>>,
}

/// Runs the network of `config` over packed rows `x` (`[tokens, input size]`).
///
/// `parameters` are flat in the order of the [`ParameterLayout`]. Without `initial` the states start at zero. `seed` draws
/// the masks of dropout and zoneout in [`Mode::Training`].
///
/// # Errors
/// [`Error::Shape`] if a size does not fit `config` or `packing`.
pub fn forward<T: Float>(
    config: &RnnConfig,
    parameters: &[T],
    packing: &Packing,
    x: &[T],
    initial: Option<&State<T>>,
    mode: Mode,
    seed: u64,
) -> Result<(Output<T>, Tape<T>)> {
    let drawing = Drawing {
        mode,
        seed,
        first_site: 0,
    };
    forward_drawing(config, parameters, packing, x, initial, drawing)
}

/// [`forward`] of a network that is one of several in a model.
///
/// # Errors
/// As [`forward`].
pub fn forward_drawing<T: Float>(
    config: &RnnConfig,
    parameters: &[T],
    packing: &Packing,
    x: &[T],
    initial: Option<&State<T>>,
    drawing: Drawing,
) -> Result<(Output<T>, Tape<T>)> {
    let layout = ParameterLayout::new(config)?;
    let inputs = packing.tokens() * config.input_size();
    for (what, len, expected) in [
        ("parameters", parameters.len(), layout.len()),
        ("packed rows", x.len(), inputs),
    ] {
        if len != expected {
            return Err(Error::shape(what, format!("{expected} values"), len));
        }
    }
    let zeros = State::zeros(config, packing.batch())?;
    let initial = initial.unwrap_or(&zeros);
    initial.check(config, packing.batch())?;

    let run = Run {
        config: config.clone(),
        layout,
        parameters: parameters.to_vec(),
        packing: packing.clone(),
        drawing,
    };
    let mut state = initial.clone();
    let mut layers = Vec::new();
    let mut rows = x.to_vec();
    for layer in 0..config.layer_count() {
        let (output, tape) = run.layer_forward(layer, rows, &mut state);
        layers.push(tape);
        rows = output;
        // Side by side the states are stored already.
        let sums = config.direction() == Direction::BidirectionalSum || config.is_residual(layer);
        if layer + 1 < config.layer_count() && sums {
            store(&mut rows);
        }
    }
    Ok((Output { y: rows, state }, Tape { run, layers }))
}

/// The gradients of a loss whose gradient with respect to the forward's output is `output`.
///
/// # Errors
/// [`Error::Shape`] if a size does not fit the forward.
pub fn backward<T: Float>(tape: &Tape<T>, output: &OutputGradient<T>) -> Result<Gradients<T>> {
    let run = &tape.run;
    let (tokens, batch) = (run.packing.tokens(), run.packing.batch());
    output.check(&run.config, tokens, batch)?;
    let mut d_state = State::zeros(&run.config, batch)?;
    for (target, given) in [(&mut d_state.h, &output.h), (&mut d_state.c, &output.c)] {
        if let Some(given) = given {
            target.clone_from(given);
        }
    }
    let mut d_rows = match &output.y {
        Some(y) => y.clone(),
        None => vec![T::zero(); tokens * run.config.output_size()],
    };
    let mut d_parameters = vec![T::zero(); run.layout.len()];
    for layer in (0..run.config.layer_count()).rev() {
        let tape = &tape.layers[layer];
        d_rows = run.layer_backward(layer, tape, d_rows, (&mut d_state, &mut d_parameters));
    }
    Ok(Gradients {
        x: d_rows,
        state: d_state,
        parameters: d_parameters,
    })
}

impl<T: Float> Run<T> {
    /// A layer from its input rows to its output rows; its part of `state` goes from initial to final.
    fn layer_forward(
        &self,
        layer: usize,
        mut input: Vec<T>,
        state: &mut State<T>,
    ) -> (Vec<T>, LayerTape<T>) {
        let config = &self.config;
        let factors = self.input_factors(layer);
        if let Some(factors) = &factors {
            scale(&mut input, factors);
            store(&mut input);
        }
        let mut output = match config.is_residual(layer) {
            true => input.clone(),
            false => vec![T::zero(); self.packing.tokens() * config.output_size()],
        };
        let mut directions = Vec::new();
        for direction in 0..config.directions() {
            let network = self.direction(layer, direction);
            let mut sequences = Vec::new();
            for sequence in 0..self.packing.batch() {
                let places = self.state_places(layer, direction, sequence);
                let mut values = places.read(state);
                let mask = self.recurrent_mask(layer, direction, sequence);
                let mut steps = Vec::new();
                for position in self.positions(direction, sequence) {
                    let x = self.row(position.token, config.layer_input_size(layer));
                    let (step, next) = network.step(&input[x], values, mask.as_deref(), position);
                    let row = self.output_row(&step, direction);
                    add(&mut output[row], &stored(&next.h));
                    steps.push(step);
                    values = next;
                }
                places.write(state, &values);
                sequences.push(SequenceTape { mask, steps });
            }
            directions.push(sequences);
        }
        let tape = LayerTape {
            input,
            factors,
            directions,
        };
        (output, tape)
    }

    /// The gradient of a layer's input rows from that of its output rows; its part of `d_state` goes from the final
    /// state's gradient to the initial state's.
    fn layer_backward(
        &self,
        layer: usize,
        tape: &LayerTape<T>,
        d_output: Vec<T>,
        (d_state, d_parameters): (&mut State<T>, &mut [T]),
    ) -> Vec<T> {
        let mut d_input = match self.config.is_residual(layer) {
            true => d_output.clone(),
            false => vec![T::zero(); tape.input.len()],
        };
        for (direction, sequences) in tape.directions.iter().enumerate() {
            let network = self.direction(layer, direction);
            for (sequence, recorded) in sequences.iter().enumerate() {
                let places = self.state_places(layer, direction, sequence);
                let mut d_values = places.read(d_state);
                for step in recorded.steps.iter().rev() {
                    add(&mut d_values.h, &d_output[self.output_row(step, direction)]);
                    let x = self.row(step.position.token, self.config.layer_input_size(layer));
                    let (d_x, d_before) = network.step_backward(
                        (step, &tape.input[x.clone()], recorded.mask.as_deref()),
                        d_values,
                        d_parameters,
                    );
                    add(&mut d_input[x], &d_x);
                    d_values = d_before;
                }
                places.write(d_state, &d_values);
            }
        }
        if let Some(factors) = &tape.factors {
            scale(&mut d_input, factors);
        }
        d_input
    }

    fn direction(&self, layer: usize, direction: usize) -> Layer<'_, T> {
        Layer {
            config: &self.config,
            layout: &self.layout,
            parameters: &self.parameters,
            drawing: self.drawing,
            layer,
            direction,
        }
    }

    /// The steps of a sorted sequence in the order in which a direction takes them.
    fn positions(&self, direction: usize, sequence: usize) -> impl Iterator<Item = Position> {
        let length = self.packing.lengths()[sequence];
        let reverse = self.config.direction().is_reverse(direction);
        (0..length).map(move |step| {
            let time = if reverse { length - 1 - step } else { step };
            Position {
                token: self.packing.row(time, sequence),
                sequence: self.packing.order()[sequence] as u32,
                step: step as u32,
            }
        })
    }

    fn row(&self, token: usize, width: usize) -> std::ops::Range<usize> {
        token * width..(token + 1) * width
    }

    /// Where a direction's state goes in the output rows.
    fn output_row(&self, step: &Step<T>, direction: usize) -> std::ops::Range<usize> {
        let (width, state) = (self.config.output_size(), self.config.state_size());
        let column = match self.config.direction() {
            Direction::BidirectionalConcat => direction * state,
            _ => 0,
        };
        let start = step.position.token * width + column;
        start..start + state
    }

    /// Where the states of a sorted sequence lie in a [`State`].
    fn state_places(&self, layer: usize, direction: usize, sequence: usize) -> Places {
        let row = layer * self.config.directions() + direction;
        let row = row * self.packing.batch() + self.packing.order()[sequence];
        Places {
            row,
            state: self.config.state_size(),
            hidden: self.config.hidden_size(),
        }
    }

    /// Dropout on what enters `layer`: between layers a factor for each row, and variational factors for all rows of a
    /// sequence.
    fn input_factors(&self, layer: usize) -> Option<Vec<T>> {
        let dropout = self.config.dropout();
        let between = if layer == 0 { 0.0 } else { dropout.between };
        if self.drawing.mode == Mode::Evaluation || (between == 0.0 && dropout.input == 0.0) {
            return None;
        }
        let site = |purpose| RandomSite {
            layer: self.drawing.site(layer),
            direction: 0,
            purpose,
        };
        let rows = self.packing.sequence_of_rows();
        let rows = rows.into_iter().zip(self.packing.step_of_rows());
        let mut factors = Vec::new();
        for (sequence, step) in rows {
            for feature in 0..self.config.layer_input_size(layer) as u32 {
                let factor = |probability, purpose, step| {
                    let index = (sequence, step, feature);
                    let factor =
                        dropout_factor(self.drawing.seed, site(purpose), index, probability);
                    T::from_f64(f64::from(factor))
                };
                let mut product = T::one();
                if between > 0.0 {
                    product = factor(between, RandomPurpose::Between, step);
                }
                if dropout.input > 0.0 {
                    product = product * factor(dropout.input, RandomPurpose::Input, 0);
                }
                factors.push(product);
            }
        }
        Some(factors)
    }

    /// Variational dropout on what enters the recurrent products of a sorted sequence.
    fn recurrent_mask(&self, layer: usize, direction: usize, sequence: usize) -> Option<Vec<T>> {
        let probability = self.config.dropout().recurrent;
        if self.drawing.mode == Mode::Evaluation || probability == 0.0 {
            return None;
        }
        let site = RandomSite {
            layer: self.drawing.site(layer),
            direction: direction as u32,
            purpose: RandomPurpose::Recurrent,
        };
        let sequence = self.packing.order()[sequence] as u32;
        let factor =
            |unit| dropout_factor(self.drawing.seed, site, (sequence, 0, unit), probability);
        let units = 0..self.config.state_size() as u32;
        Some(
            units
                .map(|unit| T::from_f64(f64::from(factor(unit))))
                .collect(),
        )
    }
}

/// The row of one sequence, layer and direction in a [`State`].
#[derive(Debug, Clone, Copy)]
struct Places {
    row: usize,
    state: usize,
    hidden: usize,
}

impl Places {
    fn read<T: Float>(self, state: &State<T>) -> Values<T> {
        let row = |values: &[T], width: usize| match values {
            [] => Vec::new(),
            _ => values[self.row * width..(self.row + 1) * width].to_vec(),
        };
        Values {
            h: row(&state.h, self.state),
            c: row(&state.c, self.hidden),
        }
    }

    fn write<T: Float>(self, state: &mut State<T>, values: &Values<T>) {
        for (target, row) in [(&mut state.h, &values.h), (&mut state.c, &values.c)] {
            let start = self.row * row.len();
            target[start..start + row.len()].copy_from_slice(row);
        }
    }
}
