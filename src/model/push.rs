//! From a graph to the operations of a [`Program`]: the forward as it was written, and the backward that is derived from it.
//!
//! Forward, the layers that a loss or an output needs are pushed in the order in which they were added. Backward they are visited
//! in the reverse order: when a layer's turn comes, all layers that read its outputs have left their gradients. The first one
//! writes a node's gradient where the layer wants it, the others are added.

use super::Model;
use super::definition::Entry;
use crate::error::{Error, Result};
use crate::nn::{
    BackwardPlaces, BatchShape, Carried, Collected, ForwardPlaces, Gradient, GradientPlace,
    InputPlace, NodeShape, OutputUse, ParameterPlace, PushedLayer,
};
use crate::ops::{BufferId, Elementwise, ElementwiseKind, Program, Region, Role, Section};
use crate::rnn::NetworkOptions;

/// A named place of a model in a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedBuffer {
    /// The input's or the output's name.
    pub name: String,
    /// The whole buffer is its values, `[rows, width]`.
    pub buffer: BufferId,
    /// What it holds.
    pub shape: NodeShape,
}

/// A model in a program.
#[derive(Debug, Clone)]
pub struct PushedModel {
    /// The inputs that have to be written before a run.
    pub inputs: Vec<NamedBuffer>,
    /// The outputs that were asked for.
    pub outputs: Vec<NamedBuffer>,
    /// The weighted sum of the losses, one element, if that was asked for.
    pub loss: Option<Region>,
    /// States that go from one run to the next: bind each pair to one buffer.
    pub carried: Vec<Carried>,
    /// Bytes of activations that are kept of each layer, in the order of the graph.
    pub activations: Vec<u64>,
}

/// Where a model finds its parameters and leaves their gradients.
#[derive(Debug, Clone, Copy)]
pub struct ModelPlaces {
    /// The flat parameters.
    pub parameters: Region,
    /// Their gradients, likewise, with a backward section. Those of parameters that are frozen, or that the losses do not depend
    /// on, are left alone: let zeros be there.
    pub gradients: Option<Region>,
}

/// What of a model is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted<'a> {
    /// Names of outputs.
    pub outputs: &'a [&'a str],
    /// Whether the weighted sum of the losses is. With a backward section it is in any case.
    pub loss: bool,
}

/// What is known of a layer before anything is pushed.
#[derive(Debug, Clone, Default)]
struct Plan {
    /// Whether something that is wanted depends on it.
    is_needed: bool,
    /// Whether a parameter that is trained has a part in what it makes.
    is_trained: bool,
    /// Whether gradients go through it: it is trained, and a minimised loss depends on it by differentiable inputs.
    flows: bool,
    /// Of each output how many layers read it.
    readers: Vec<usize>,
    /// Of each output whether a gradient will come.
    has_gradient: Vec<bool>,
    /// Of each output whether the host reads it.
    is_result: Vec<bool>,
}

/// A layer that has been pushed.
#[derive(Debug)]
struct Pushed {
    layer: Box<dyn PushedLayer>,
    outputs: Vec<Region>,
    /// Whether its only reader may change an output in place.
    is_disposable: Vec<bool>,
    /// First number of its outputs in the table of gradients.
    first_node: usize,
}

/// A model on its way into a program.
#[derive(Debug)]
struct Pushing<'a> {
    model: &'a Model,
    program: &'a mut Program,
    batch: &'a BatchShape,
    options: &'a NetworkOptions,
    places: ModelPlaces,
    plans: Vec<Plan>,
    pushed: Vec<Option<Pushed>>,
    activations: Vec<u64>,
}

impl Model {
    /// Pushes the forward, and with [`NetworkOptions::gradients`] the backward that leaves the parameters' gradients of the weighted
    /// sum of all minimised losses. The parameters are packed in [`Section::Prepare`].
    ///
    /// # Errors
    /// [`Error::Option`] for the name of no output; [`Error::State`] if a time axis that is needed is missing in `batch`, or the
    /// gradients' region; [`Error::Overflow`].
    pub fn push(
        &self,
        program: &mut Program,
        batch: &BatchShape,
        options: &NetworkOptions,
        places: ModelPlaces,
        wanted: Wanted<'_>,
    ) -> Result<PushedModel> {
        let trains = options.gradients.is_some();
        if trains && (places.gradients.is_none() || self.minimized().is_empty()) {
            return Err(Error::State(
                "a backward section needs a loss that is minimised, and a region for gradients",
            ));
        }
        let mut pushing = Pushing {
            model: self,
            plans: plan(self, wanted, trains)?,
            pushed: Vec::new(),
            activations: Vec::new(),
            program,
            batch,
            options,
            places,
        };
        pushing.push_forward()?;
        let loss = match (trains, wanted.loss) {
            (true, _) => Some(pushing.push_backward()?),
            (false, true) => Some(pushing.push_loss_sum(Section::Forward)?),
            (false, false) => None,
        };
        Ok(PushedModel {
            inputs: pushing.inputs(),
            outputs: pushing.results(wanted)?,
            carried: pushing.carried(),
            activations: pushing.activations,
            loss,
        })
    }
}

/// Finds out what has to be pushed, and where gradients go.
fn plan(model: &Model, wanted: Wanted<'_>, trains: bool) -> Result<Vec<Plan>> {
    let entries = model.entries();
    let mut plans: Vec<Plan> = { entries.iter() }
        .map(|entry| Plan {
            readers: vec![0; entry.outputs.len()],
            has_gradient: vec![false; entry.outputs.len()],
            is_result: vec![false; entry.outputs.len()],
            ..Plan::default()
        })
        .collect();
    for name in wanted.outputs {
        let node = model.result(name)?;
        plans[node.layer].is_needed = true;
        plans[node.layer].is_result[node.output] = true;
    }
    if trains || wanted.loss {
        for (layer, _) in model.minimized() {
            plans[*layer].is_needed = true;
            plans[*layer].flows = trains;
        }
    }
    for (layer, plan) in plans.iter_mut().enumerate() {
        plan.is_trained = trains && model.is_trained(layer);
    }
    for (layer, entry) in entries.iter().enumerate().rev() {
        let (is_needed, flows) = (plans[layer].is_needed, plans[layer].flows);
        // A loss is a loss even where nothing is trained.
        plans[layer].flows = flows && (plans[layer].is_trained || entry.layer.is_loss());
        let flows = plans[layer].flows;
        for (input, &(from, output)) in entry.inputs.iter().enumerate() {
            let plan = &mut plans[from];
            plan.is_needed |= is_needed;
            plan.readers[output] += usize::from(is_needed);
            let passes = flows && plan.is_trained && entry.layer.differentiates(input);
            if passes && !entry.layer.stops_gradients() {
                plan.flows = true;
                plan.has_gradient[output] = true;
            }
        }
        if entry.layer.is_loss() {
            plans[layer].has_gradient[0] = flows;
        }
    }
    Ok(plans)
}

impl Pushing<'_> {
    /// The layers that are needed, in the order of the graph.
    fn push_forward(&mut self) -> Result<()> {
        let mut first_node = 0;
        for (number, entry) in self.model.entries().iter().enumerate() {
            let before = self.program.bytes(Role::Activation);
            if !self.plans[number].is_needed {
                self.pushed.push(None);
                self.activations.push(0);
                continue;
            }
            self.check_input(entry)?;
            let inputs = self.input_places(number, entry)?;
            let parameters = self.parameter_places(number, entry);
            let plan = &self.plans[number];
            let outputs: Vec<OutputUse> = (0..entry.outputs.len())
                .map(|output| OutputUse {
                    is_read: plan.readers[output] > 0 || plan.is_result[output],
                    has_gradient: plan.has_gradient[output],
                    is_result: plan.is_result[output],
                })
                .collect();
            let layer = entry.layer.forward(&mut ForwardPlaces {
                program: self.program,
                batch: self.batch,
                options: self.options,
                parameters: &parameters,
                inputs: &inputs,
                outputs: &outputs,
            })?;
            let is_disposable = (0..outputs.len()).map(|output| match layer.is_alias(output) {
                true => inputs.iter().all(|input| input.is_disposable),
                false => layer.is_disposable(output),
            });
            self.pushed.push(Some(Pushed {
                outputs: layer.outputs(),
                is_disposable: is_disposable.collect(),
                first_node,
                layer,
            }));
            first_node += outputs.len();
            (self.activations).push(self.program.bytes(Role::Activation) - before);
        }
        Ok(())
    }

    /// Refuses a batch that has no timesteps where an input has them.
    fn check_input(&self, entry: &Entry) -> Result<()> {
        match entry.outputs.first() {
            Some(shape) if entry.is_input && self.batch.rows(shape.rows).is_err() => {
                let what = format!("input `{}`", entry.name);
                Err(Error::shape(what, shape, "a batch without it"))
            }
            _ => Ok(()),
        }
    }

    fn pushed(&self, layer: usize) -> Result<&Pushed> {
        let pushed = self.pushed.get(layer).and_then(Option::as_ref);
        pushed.ok_or(Error::State("a layer reads one that was not pushed"))
    }

    fn input_places(&self, number: usize, entry: &Entry) -> Result<Vec<InputPlace>> {
        let flows = self.plans[number].flows;
        let place = |(input, &(from, output)): (usize, &(usize, usize))| {
            let (pushed, plan) = (self.pushed(from)?, &self.plans[from]);
            let differentiates =
                entry.layer.differentiates(input) && !entry.layer.stops_gradients();
            let is_only_reader = plan.readers[output] == 1 && !plan.is_result[output];
            Ok(InputPlace {
                region: pushed.outputs[output],
                shape: self.model.entries()[from].outputs[output],
                wants_gradient: flows && plan.is_trained && differentiates,
                is_disposable: is_only_reader && pushed.is_disposable[output],
            })
        };
        entry.inputs.iter().enumerate().map(place).collect()
    }

    fn parameter_places(&self, number: usize, entry: &Entry) -> Vec<ParameterPlace> {
        let layout = self.model.layout();
        let flows = self.plans[number].flows;
        let place = |&index: &usize| {
            let parameter = &layout.parameters()[index];
            let gradients = self
                .places
                .gradients
                .filter(|_| flows && !parameter.is_frozen);
            ParameterPlace {
                value: self.places.parameters.at(parameter.offset),
                gradient: gradients.map(|gradients| GradientPlace {
                    region: gradients.at(parameter.offset),
                    // The backward comes to the last layer first.
                    accumulate: self.is_used_behind(number, index),
                }),
            }
        };
        entry.parameters.iter().map(place).collect()
    }

    /// Whether gradients go through a later layer that has the same parameter.
    fn is_used_behind(&self, number: usize, parameter: usize) -> bool {
        let behind = self
            .model
            .entries()
            .iter()
            .zip(&self.plans)
            .skip(number + 1);
        { behind }.any(|(entry, plan)| plan.flows && entry.parameters.contains(&parameter))
    }

    /// From the minimised losses to the parameters' gradients; where the sum of the losses is.
    fn push_backward(&mut self) -> Result<Region> {
        let nodes: Vec<NodeShape> = { self.model.entries().iter().zip(&self.pushed) }
            .filter(|(_, pushed)| pushed.is_some())
            .flat_map(|(entry, _)| entry.outputs.iter().copied())
            .collect();
        let mut gradients: Vec<Option<Gradient>> = vec![None; nodes.len()];
        for (number, entry) in self.model.entries().iter().enumerate().rev() {
            let Some(pushed) = self.pushed[number]
                .as_ref()
                .filter(|_| self.plans[number].flows)
            else {
                continue;
            };
            let outputs = pushed.first_node..pushed.first_node + entry.outputs.len();
            let outputs: Vec<Option<Gradient>> = gradients[outputs].to_vec();
            let mut inputs = Vec::with_capacity(entry.inputs.len());
            for (input, place) in self.input_places(number, entry)?.into_iter().enumerate() {
                let (from, output) = entry.inputs[input];
                let source = self.pushed(from)?;
                inputs.push(Collected {
                    node: place.wants_gradient.then_some(source.first_node + output),
                    len: self.batch.elements(place.shape)?,
                    place: source.layer.gradient_place(output),
                });
            }
            let mut places = BackwardPlaces::new(self.program, outputs, inputs, &mut gradients);
            places.set_loss_weight(self.model.loss_weight(number));
            pushed.layer.backward(&mut places)?;
            places.finish(|node| self.batch.elements(nodes[node]))?;
        }
        self.push_loss_sum(Section::Backward)
    }

    /// The weighted sum of the minimised losses.
    fn push_loss_sum(&mut self, section: Section) -> Result<Region> {
        let losses = self.model.minimized();
        let mut regions = Vec::with_capacity(losses.len());
        for &(layer, weight) in losses {
            regions.push((self.pushed(layer)?.outputs[0], weight));
        }
        if let [(loss, 1.0)] = regions[..] {
            return Ok(loss);
        }
        let sum: Region = self.program.buffer("loss sum", 1, Role::Workspace).into();
        for (place, (loss, factor)) in regions.into_iter().enumerate() {
            let kind = match place {
                0 => ElementwiseKind::Scale { factor },
                _ => ElementwiseKind::AccumulateScaled { factor },
            };
            self.push_elementwise(section, kind, [loss, sum], 1);
        }
        Ok(sum)
    }

    fn push_elementwise(
        &mut self,
        section: Section,
        kind: ElementwiseKind,
        [a, target]: [Region; 2],
        len: usize,
    ) {
        let operation = Elementwise {
            kind,
            a,
            b: None,
            target,
            len,
        };
        self.program.push(section, operation);
    }

    fn inputs(&self) -> Vec<NamedBuffer> {
        let entries = self.model.entries().iter().zip(&self.pushed);
        let inputs = entries.filter(|(entry, _)| entry.is_input);
        let named = |(entry, pushed): (&Entry, &Option<Pushed>)| {
            Some(NamedBuffer {
                name: entry.name.clone(),
                buffer: pushed.as_ref()?.outputs[0].buffer,
                shape: entry.outputs[0],
            })
        };
        inputs.filter_map(named).collect()
    }

    /// The outputs in whole buffers that a caller may bind.
    fn results(&mut self, wanted: Wanted<'_>) -> Result<Vec<NamedBuffer>> {
        let mut results: Vec<NamedBuffer> = Vec::with_capacity(wanted.outputs.len());
        for name in wanted.outputs {
            let node = self.model.result(name)?;
            let shape = self.model.entries()[node.layer].outputs[node.output];
            let (region, len) = (
                self.pushed(node.layer)?.outputs[node.output],
                self.batch.elements(shape)?,
            );
            let spec = self.program.spec(region.buffer);
            let is_whole = region.offset == 0 && spec.len == len && spec.role == Role::Output;
            let is_taken = results.iter().any(|result| result.buffer == region.buffer);
            let buffer = match is_whole && !is_taken {
                true => region.buffer,
                false => {
                    let copy = self.program.buffer("output", len, Role::Output);
                    let places = [region, copy.into()];
                    self.push_elementwise(Section::Forward, ElementwiseKind::Copy, places, len);
                    copy
                }
            };
            results.push(NamedBuffer {
                name: (*name).to_owned(),
                buffer,
                shape,
            });
        }
        Ok(results)
    }

    fn carried(&self) -> Vec<Carried> {
        let pushed = self.pushed.iter().flatten();
        pushed.flat_map(|pushed| pushed.layer.carried()).collect()
    }
}
