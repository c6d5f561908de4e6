//! One case from its files to its differences.

use std::path::Path;

use wgpu_rnn::{
    Cell, CellSpec, Gradients, Output, OutputGradient, ParameterLayout, Result, RnnConfig, State,
};

use crate::Stop;
use crate::compare::{Difference, compare};
use crate::convert::Converter;
use crate::device::{Engine, Network};
use crate::manifest::Case;
use crate::tensor::read_file;

/// Runs `case` of the suite in `folder`; the tensors that are too far from what is expected.
pub(crate) fn run(
    case: &Case<'_>,
    folder: &Path,
    engine: &Engine,
) -> Result<Vec<Difference>, Stop> {
    let tensors = read_file(&folder.join(case.file()?))?;
    case.check_shapes(&tensors)?;
    let meaning = case.meaning(&tensors)?;
    let converter = Converter::new(&meaning, &tensors)?;
    let network = converter.network()?;
    let loss = converter.loss()?;
    let stacked = meaning.processing_order && network.config.layer_count() > 1;
    let (output, gradients) = match stacked {
        true => run_layer_by_layer(engine, &network, loss.as_ref())?,
        false => engine.run(&network, loss.as_ref())?,
    };
    let results = converter.results(&output, gradients.as_ref())?;
    compare(
        case,
        &tensors,
        &results,
        engine.is_double() && meaning.exact,
    )
}

/// A stack whose layers hand on the reverse direction's outputs in the order in which they are computed, as stacked
/// layers do that know nothing of each other: each layer is a network of its own, with a permutation between.
fn run_layer_by_layer(
    engine: &Engine,
    network: &Network,
    loss: Option<&OutputGradient<f64>>,
) -> Result<(Output<f64>, Option<Gradients<f64>>)> {
    let mut layers = split(network)?;
    let mut state = State::default();
    let mut y = Vec::new();
    for (index, layer) in layers.iter_mut().enumerate() {
        if index > 0 {
            layer.x = exchange(network, &y);
        }
        let (output, _) = engine.run(layer, None)?;
        state.h.extend(output.state.h);
        state.c.extend(output.state.c);
        y = output.y;
    }
    let output = Output { y, state };
    let Some(loss) = loss else {
        return Ok((output, None));
    };
    let mut gradients = Gradients::default();
    let mut d_y = loss.y.clone();
    for (index, layer) in layers.iter().enumerate().rev() {
        let part = |all: &Option<Vec<f64>>, len: usize| {
            let range = index * len..(index + 1) * len;
            all.as_ref().map(|all| all[range].to_vec())
        };
        let loss = OutputGradient {
            y: d_y.take(),
            h: part(&loss.h, layer.initial.h.len()),
            c: part(&loss.c, layer.initial.c.len()),
        };
        let found = engine.run(layer, Some(&loss))?.1.unwrap_or_default();
        gradients.parameters.splice(0..0, found.parameters);
        gradients.state.h.splice(0..0, found.state.h);
        gradients.state.c.splice(0..0, found.state.c);
        if index > 0 {
            d_y = Some(exchange(network, &found.x));
        } else {
            gradients.x = found.x;
        }
    }
    Ok((output, Some(gradients)))
}

/// A network for each layer; those above the first have no input yet.
fn split(network: &Network) -> Result<Vec<Network>> {
    let config = &network.config;
    let layout = ParameterLayout::new(config)?;
    let states = config.directions() * network.packing.batch();
    let [h, c] = [config.state_size(), config.hidden_size()].map(|width| states * width);
    let mut layers = Vec::new();
    for layer in 0..config.layer_count() {
        let entries = layout.entries().iter();
        let parameters = entries
            .filter(|entry| entry.layer == layer)
            .flat_map(|entry| &network.parameters[entry.offset..entry.offset + entry.len()])
            .copied()
            .collect();
        let initial = &network.initial;
        layers.push(Network {
            config: single_layer(config, config.layer_input_size(layer))?,
            parameters,
            packing: network.packing.clone(),
            x: if layer == 0 {
                network.x.clone()
            } else {
                Vec::new()
            },
            initial: State {
                h: initial.h[layer * h..(layer + 1) * h].to_vec(),
                c: match config.spec().cell {
                    Cell::Lstm => initial.c[layer * c..(layer + 1) * c].to_vec(),
                    _ => Vec::new(),
                },
            },
        });
    }
    Ok(layers)
}

/// `config` with one layer of `input` features.
fn single_layer(config: &RnnConfig, input: usize) -> Result<RnnConfig> {
    let spec: &CellSpec = config.spec();
    let hidden = config.hidden_size();
    let mut builder = match spec.cell {
        Cell::Lstm => RnnConfig::lstm(input, hidden),
        Cell::Gru => RnnConfig::gru(input, hidden),
        _ => RnnConfig::elman(input, hidden),
    };
    builder = builder
        .direction(config.direction())
        .reset(spec.reset)
        .update(spec.update)
        .bias(spec.bias)
        .clip(spec.clip)
        .zoneout(spec.zoneout)
        .activations_of_each(spec.activations);
    if let Some(peephole) = spec.peephole {
        builder = builder.peephole(peephole);
    }
    if let Some(coupled) = spec.coupled {
        builder = builder.coupled(coupled);
    }
    if let Some(projection) = spec.projection {
        builder = builder.projection(projection.size, projection.bias);
    }
    if let Some(norm) = spec.layer_norm {
        builder = builder.layer_norm(norm.kind, norm.epsilon);
    }
    builder.build()
}

/// Output rows with the reverse directions' columns between input time and processing order; its own inverse.
fn exchange(network: &Network, rows: &[f64]) -> Vec<f64> {
    let config = &network.config;
    let (width, state) = (config.output_size(), config.state_size());
    let mut exchanged = rows.to_vec();
    for (row, other) in network.packing.reverse_rows().into_iter().enumerate() {
        for direction in 0..config.directions() {
            if config.direction().is_reverse(direction) {
                let place = |row: usize| row * width + direction * state;
                let (to, from) = (place(row), place(other as usize));
                exchanged[to..to + state].copy_from_slice(&rows[from..from + state]);
            }
        }
    }
    exchanged
}
