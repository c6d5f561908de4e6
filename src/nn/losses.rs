//! Losses as layers of a model.

use crate::error::{Error, Result};
use crate::ops::{
    Elementwise, ElementwiseKind, Operation, PointwiseLoss, PointwiseLossKind, Program, Region,
    Role, Section, SoftmaxCrossEntropy, check_targets,
};

use super::layer::{
    BackwardPlaces, ForwardPlaces, Layer, NodeShape, ParameterSpec, PushedLayer, ReferenceInputs,
    Rows,
};

/// Inputs of a loss.
const PREDICTION: usize = 0;
const TARGET: usize = 1;
const WEIGHTS: usize = 2;

/// What [`SoftmaxCrossEntropy`] is told beside its predictions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CrossEntropyOptions {
    /// Share of the target that all classes get alike, from 0 to 1.
    pub smoothing: f32,
    /// A weight for each class, none negative; without them each weighs 1.
    pub class_weights: Option<Vec<f32>>,
}

/// A loss of each element: see [`PointwiseLoss`]. Its inputs are prediction, target and perhaps a weight a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PointwiseLossLayer(pub(crate) PointwiseLossKind);

/// A loss of rows of logits with one class each: see [`SoftmaxCrossEntropy`]. Its inputs are logits, classes and perhaps a weight
/// a row.
#[derive(Debug, Clone)]
pub(crate) struct CrossEntropyLayer {
    pub(crate) classes: usize,
    pub(crate) options: CrossEntropyOptions,
}

/// Refuses targets and weights that do not belong to the predictions.
fn check_inputs(inputs: &[NodeShape], target_width: usize) -> Result<Vec<NodeShape>> {
    if !(2..=3).contains(&inputs.len()) {
        let expected = "a prediction, a target and perhaps weights";
        return Err(Error::shape("inputs of a loss", expected, inputs.len()));
    }
    let rows = inputs[PREDICTION].rows;
    let expected = [
        ("target", NodeShape::new(rows, target_width)),
        ("weights", NodeShape::new(rows, 1)),
    ];
    for ((name, expected), got) in expected.iter().zip(&inputs[TARGET..]) {
        if expected != got {
            return Err(Error::shape(format!("{name} of a loss"), expected, got));
        }
    }
    Ok(vec![NodeShape::new(Rows::One, 1)])
}

/// What a loss is pushed as, whichever it is.
#[derive(Debug, Clone, Copy)]
struct Regions {
    prediction: Region,
    target: Region,
    weights: Option<Region>,
    loss: Region,
}

impl Regions {
    fn new(places: &mut ForwardPlaces<'_>) -> Result<Self> {
        let region = |input: usize| places.inputs.get(input).map(|input| input.region);
        let missing = || Error::State("a loss without its inputs");
        let (prediction, target) = (region(PREDICTION), region(TARGET));
        Ok(Self {
            prediction: prediction.ok_or_else(missing)?,
            target: target.ok_or_else(missing)?,
            weights: region(WEIGHTS),
            loss: match places.outputs[0].is_result {
                true => places.program.buffer("loss", 1, Role::Output),
                false => places.program.buffer("loss", 1, Role::Workspace),
            }
            .into(),
        })
    }
}

/// A loss in a program. With a backward section it is computed there: one pass gives loss and gradient.
#[derive(Debug)]
struct PushedLoss<T> {
    operation: T,
    loss: Region,
    len: usize,
}

/// What a loss operation is made anew with.
trait LossOperation: Clone + Into<Operation> + std::fmt::Debug + 'static {
    /// The same with its gradient there.
    fn with_gradient(self, gradient: Region) -> Self;
}

impl LossOperation for PointwiseLoss {
    fn with_gradient(self, gradient: Region) -> Self {
        Self { gradient, ..self }
    }
}

impl LossOperation for SoftmaxCrossEntropy {
    fn with_gradient(self, gradient: Region) -> Self {
        Self { gradient, ..self }
    }
}

/// Pushes a loss, where no backward will, and says what it is.
fn pushed<T: LossOperation>(
    places: &mut ForwardPlaces<'_>,
    operation: T,
    loss: Region,
) -> Result<Box<dyn PushedLayer>> {
    let len = places.batch.elements(places.inputs[PREDICTION].shape)?;
    if !places.outputs[0].has_gradient {
        let gradient = places.program.buffer("d_prediction", len, Role::Workspace);
        let operation = operation.clone().with_gradient(gradient.into());
        places.program.push(Section::Forward, operation.into());
    }
    Ok(Box::new(PushedLoss {
        operation,
        loss,
        len,
    }))
}

impl<T: LossOperation> PushedLayer for PushedLoss<T> {
    fn outputs(&self) -> Vec<Region> {
        vec![self.loss]
    }

    fn backward(&self, places: &mut BackwardPlaces<'_>) -> Result<()> {
        let weight = places.loss_weight();
        let gradient = match places.target(PREDICTION) {
            Some(gradient) => gradient,
            None => places.new_buffer("d_prediction", self.len),
        };
        let operation = self.operation.clone().with_gradient(gradient);
        places.program.push(Section::Backward, operation.into());
        if weight != 1.0 {
            push_scaled(places.program, gradient, weight, self.len);
        }
        Ok(())
    }
}

/// Scales a gradient where it is.
fn push_scaled(program: &mut Program, gradient: Region, factor: f32, len: usize) {
    let scale = Elementwise {
        kind: ElementwiseKind::Scale { factor },
        a: gradient,
        b: None,
        target: gradient,
        len,
    };
    program.push(Section::Backward, scale);
}

/// The weight of each row, 1 without any.
fn weights_of(inputs: &ReferenceInputs<'_>, rows: usize) -> Vec<f64> {
    match inputs.inputs.get(WEIGHTS) {
        Some(weights) => weights.to_vec(),
        None => vec![1.0; rows],
    }
}

/// `sum / total`, 0 where no weight is left.
fn mean(sum: f64, total: f64) -> Vec<Vec<f64>> {
    vec![vec![if total > 0.0 { sum / total } else { 0.0 }]]
}

impl Layer for PointwiseLossLayer {
    fn kind(&self) -> &'static str {
        match self.0 {
            PointwiseLossKind::Squared => "squared error",
            PointwiseLossKind::Absolute => "absolute error",
            PointwiseLossKind::Huber { .. } => "huber loss",
            PointwiseLossKind::BinaryCrossEntropy { .. } => "binary cross-entropy",
        }
    }

    fn settings(&self) -> String {
        match self.0 {
            PointwiseLossKind::Huber { delta } => format!("delta {delta}"),
            PointwiseLossKind::BinaryCrossEntropy { positive_weight } => {
                format!("positive weight {positive_weight}")
            }
            _ => String::new(),
        }
    }

    fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>> {
        self.0.validate()?;
        let width = inputs.first().map_or(0, |prediction| prediction.width);
        check_inputs(inputs, width)
    }

    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
        let regions = Regions::new(places)?;
        let shape = places.inputs[PREDICTION].shape;
        let operation = PointwiseLoss {
            kind: self.0,
            prediction: regions.prediction,
            target: regions.target,
            weights: regions.weights,
            gradient: regions.loss,
            loss: regions.loss,
            rows: places.rows(shape.rows)?,
            width: shape.width,
        };
        pushed(places, operation, regions.loss)
    }

    fn reference(&self, inputs: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
        let (prediction, target) = (inputs.inputs[PREDICTION], inputs.inputs[TARGET]);
        let width = inputs.shapes[PREDICTION].width.max(1);
        let weights = weights_of(inputs, prediction.len() / width);
        let (mut sum, mut total) = (0.0, 0.0);
        for (index, (x, y)) in prediction.iter().zip(target).enumerate() {
            let weight = weights[index / width];
            if weight > 0.0 {
                sum += weight * self.0.value(*x, *y);
                total += weight;
            }
        }
        Ok(mean(sum, total))
    }

    fn is_loss(&self) -> bool {
        true
    }

    fn differentiates(&self, input: usize) -> bool {
        input == PREDICTION
    }

    fn check_values(&self, given: &[Option<&[f32]>]) -> Result<()> {
        let of = |input: usize| given.get(input).copied().flatten();
        match of(TARGET) {
            Some(targets) => check_targets(self.0, targets, of(WEIGHTS)),
            None => check_weights(of(WEIGHTS)),
        }
    }
}

/// Refuses weights that are none.
fn check_weights(weights: Option<&[f32]>) -> Result<()> {
    check_targets(PointwiseLossKind::Squared, &[], weights)
}

impl Layer for CrossEntropyLayer {
    fn kind(&self) -> &'static str {
        "cross-entropy"
    }

    fn settings(&self) -> String {
        match self.options.smoothing {
            0.0 => format!("{} classes", self.classes),
            smoothing => format!("{} classes, smoothing {smoothing}", self.classes),
        }
    }

    fn fingerprint(&self) -> String {
        format!("{} {:?}", self.classes, self.options)
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let weights = self.options.class_weights.iter();
        weights
            .map(|weights| ParameterSpec::constant("class_weights", weights))
            .collect()
    }

    fn outputs(&self, inputs: &[NodeShape]) -> Result<Vec<NodeShape>> {
        let width = inputs.first().map_or(0, |logits| logits.width);
        if width != self.classes {
            return Err(Error::shape("logits of a loss", self.classes, width));
        }
        if let Some(weights) = &self.options.class_weights {
            if weights.len() != self.classes {
                return Err(Error::shape("class weights", self.classes, weights.len()));
            }
            if let Some(weight) = weights.iter().find(|w| !(**w >= 0.0 && w.is_finite())) {
                let expected = "numbers of at least zero";
                return Err(Error::data("class weights", expected, weight));
            }
        }
        check_inputs(inputs, 1)
    }

    fn forward(&self, places: &mut ForwardPlaces<'_>) -> Result<Box<dyn PushedLayer>> {
        let regions = Regions::new(places)?;
        let shape = places.inputs[PREDICTION].shape;
        let operation = SoftmaxCrossEntropy {
            logits: regions.prediction,
            target: regions.target,
            weights: regions.weights,
            class_weights: places.parameters.first().map(|place| place.value),
            smoothing: self.options.smoothing,
            gradient: regions.loss,
            loss: regions.loss,
            rows: places.rows(shape.rows)?,
            classes: self.classes,
        };
        operation.validate()?;
        pushed(places, operation, regions.loss)
    }

    fn reference(&self, inputs: &ReferenceInputs<'_>) -> Result<Vec<Vec<f64>>> {
        let (logits, target) = (inputs.inputs[PREDICTION], inputs.inputs[TARGET]);
        let weights = weights_of(inputs, target.len());
        let classes = inputs.parameters.first();
        let class_weight = |class: usize| classes.map_or(1.0, |weights| weights[class]);
        let smoothing = f64::from(self.options.smoothing);
        let share = smoothing / self.classes as f64;
        let (mut sum, mut total) = (0.0, 0.0);
        for ((row, &class), weight) in logits.chunks_exact(self.classes).zip(target).zip(weights) {
            let is_class = class >= 0.0 && class < self.classes as f64 && class.fract() == 0.0;
            if weight == 0.0 || !is_class {
                continue;
            }
            let class = class as usize;
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let powers = row.iter().map(|x| (x - largest).exp());
            let logarithm = largest + powers.sum::<f64>().ln();
            for (k, x) in row.iter().enumerate() {
                let own = if k == class { 1.0 - smoothing } else { 0.0 };
                sum += weight * class_weight(k) * (own + share) * (logarithm - x);
            }
            total += weight * class_weight(class);
        }
        Ok(mean(sum, total))
    }

    fn is_loss(&self) -> bool {
        true
    }

    fn differentiates(&self, input: usize) -> bool {
        input == PREDICTION
    }

    /// A class of -1 masks its row, as a weight of 0 does; all others have to be classes.
    fn check_values(&self, given: &[Option<&[f32]>]) -> Result<()> {
        let of = |input: usize| given.get(input).copied().flatten();
        let weights = of(WEIGHTS);
        check_weights(weights)?;
        let is_masked = |row: usize| weights.is_some_and(|weights| weights.get(row) == Some(&0.0));
        let is_class = |value: f32| {
            value == -1.0 || (value >= 0.0 && value < self.classes as f32 && value.fract() == 0.0)
        };
        let classes = of(TARGET).unwrap_or_default();
        let bad = |&(row, value): &(usize, &f32)| !is_class(*value) && !is_masked(row);
        match classes.iter().enumerate().find(bad) {
            Some((row, value)) => Err(Error::data(
                format!("class of row {row}"),
                format!("a whole number below {}, or -1 for none", self.classes),
                value,
            )),
            None => Ok(()),
        }
    }
}
