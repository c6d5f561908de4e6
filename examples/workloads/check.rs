//! The answers against the reference in 64 bits, at full size: outputs and input gradients of a few sequences, and the
//! parameters' gradients of a loss on these sequences alone.

use std::sync::Arc;

use wgpu_rnn::rnn::GradientMode;
use wgpu_rnn::{Device, Mode, OutputGradient, PackedBatch, Packing, Precision, Result, reference};

use crate::definition::Workload;
use crate::planned::{Data, Planned};

/// The largest differences.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Difference {
    pub(crate) y: f64,
    pub(crate) d_x: Option<f64>,
    /// Relative to the largest element of all.
    pub(crate) d_weights: Option<f64>,
    /// What the differences may be.
    pub(crate) tolerance: f64,
}

impl Difference {
    pub(crate) fn is_fine(&self) -> bool {
        let all = [Some(self.y), self.d_x, self.d_weights];
        all.into_iter().flatten().all(|d| d <= self.tolerance)
    }
}

/// Compares a stream with the reference: the output after some steps, the state carried by the caller.
pub(crate) fn check_stream(data: &Data, device: &Arc<dyn Device>) -> Result<Difference> {
    const STEPS: usize = 64;
    let features = data.config.input_size();
    let x: Vec<f32> = (0..STEPS * features)
        .map(|i| (i as f32 * 0.37).sin())
        .collect();
    let exact = Exact::new(data, std::slice::from_ref(&x), &[], false)?;
    let mut planned = Planned::new(device, data, &[1], None)?;
    for x in x.chunks(features) {
        planned.step(x)?;
    }
    let width = data.config.output_size();
    let last = |len: usize| len - width..len;
    let (got, y) = (planned.last_states(), &exact.y[0]);
    let difference = largest_difference(
        &[got[last(got.len())].to_vec()],
        &[y[last(y.len())].to_vec()],
    );
    Ok(Difference {
        y: difference,
        d_x: None,
        d_weights: None,
        tolerance: tolerance(data),
    })
}

/// The roundings of a step's sums add up like a random walk in each layer, while those of earlier steps fade, as gates
/// forget; a factor of 8 for the largest of many elements and for the gradients, which grow beyond 1.
///
/// In half precision a weight, below `1 / sqrt(hidden)`, is rounded by `2^-11` of itself, and so is each argument of about 1:
/// these roundings are much larger than those of the sums, but their terms are as small as the weights are.
fn tolerance(data: &Data) -> f64 {
    let config = &data.config;
    let terms = (config.input_size() + config.hidden_size()) as f64;
    let of_layer = match data.storage {
        Precision::F32 => f64::from(f32::EPSILON) * terms.sqrt(),
        Precision::F16 => ((terms / config.hidden_size() as f64).sqrt() + 1.0) / 2048.0,
    };
    8.0 * of_layer * config.layer_count() as f64
}

/// Compares a workload on a device with the reference.
pub(crate) fn check(
    workload: &Workload,
    data: &Data,
    device: &Arc<dyn Device>,
    mode: Option<GradientMode>,
) -> Result<Difference> {
    let chosen = chosen(&workload.lengths);
    let of =
        |all: &[Vec<f32>]| -> Vec<Vec<f32>> { chosen.iter().map(|&s| all[s].clone()).collect() };
    let exact = Exact::new(data, &of(&data.x), &of(&data.d_y), mode.is_some())?;

    let mut planned = Planned::new(device, data, &workload.lengths, mode)?;
    planned.write(&data.x)?;
    if mode.is_some() {
        // The loss does not see the other sequences.
        let mut d_y: Vec<Vec<f32>> = data.d_y.iter().map(|d| vec![0.0; d.len()]).collect();
        chosen.iter().for_each(|&s| d_y[s].clone_from(&data.d_y[s]));
        planned.write_gradient(&d_y)?;
    }
    planned.run(mode.is_some())?;
    let packing = Arc::new(Packing::new(&workload.lengths)?);
    let sequences = |width: usize, packed: Vec<f32>| -> Result<Vec<Vec<f32>>> {
        Ok(of(
            &PackedBatch::new(packing.clone(), width, packed)?.to_sequences()
        ))
    };
    let y = planned.read(planned.network.y)?;
    let y = largest_difference(&sequences(data.config.output_size(), y)?, &exact.y);
    let (mut d_x, mut d_weights) = (None, None);
    if let (Some(edge), Some((exact_x, exact_weights))) =
        (planned.network.gradients, &exact.gradients)
    {
        if let Some(buffer) = edge.x {
            let got = planned.read(buffer)?;
            d_x = Some(largest_difference(
                &sequences(data.config.input_size(), got)?,
                exact_x,
            ));
        }
        let got = planned.parameter_gradients()?;
        let largest = exact_weights
            .iter()
            .fold(0.0, |most: f64, v| most.max(v.abs()));
        let difference = largest_difference(&[got], std::slice::from_ref(exact_weights));
        d_weights = Some(difference / largest);
    }
    Ok(Difference {
        y,
        d_x,
        d_weights,
        tolerance: tolerance(data),
    })
}

/// A few sequences: the longest, the shortest and one between.
fn chosen(lengths: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&sequence| lengths[sequence]);
    let mut chosen = vec![order[0], order[order.len() / 2], order[order.len() - 1]];
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// The reference's answer, sequence by sequence.
struct Exact {
    y: Vec<Vec<f64>>,
    gradients: Option<(Vec<Vec<f64>>, Vec<f64>)>,
}

impl Exact {
    fn new(data: &Data, x: &[Vec<f32>], d_y: &[Vec<f32>], backward: bool) -> Result<Self> {
        let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|&v| v.into()).collect() };
        let config = &data.config;
        let batch = PackedBatch::from_sequences(config.input_size(), x)?;
        let packing = batch.packing();
        let weights = wide(data.parameters.data());
        let (output, tape) = reference::forward(
            config,
            &weights,
            packing,
            &wide(batch.data()),
            None,
            Mode::Evaluation,
            0,
        )?;
        let mut exact = Self {
            y: unpack(packing, config.output_size(), &output.y),
            gradients: None,
        };
        if backward {
            let d_y = PackedBatch::from_sequences(config.output_size(), d_y)?;
            let up = OutputGradient {
                y: Some(wide(d_y.data())),
                ..OutputGradient::default()
            };
            let gradients = reference::backward(&tape, &up)?;
            let d_x = unpack(packing, config.input_size(), &gradients.x);
            exact.gradients = Some((d_x, gradients.parameters));
        }
        Ok(exact)
    }
}

/// Rows of a packed batch, sequence by sequence.
fn unpack(packing: &Packing, width: usize, rows: &[f64]) -> Vec<Vec<f64>> {
    let mut sequences = vec![Vec::new(); packing.batch()];
    for (row, &sequence) in packing.sequence_of_rows().iter().enumerate() {
        sequences[sequence as usize].extend_from_slice(&rows[row * width..(row + 1) * width]);
    }
    sequences
}

/// Infinite for a NaN or another number of elements.
fn largest_difference(got: &[Vec<f32>], exact: &[Vec<f64>]) -> f64 {
    let pairs = got.iter().zip(exact);
    let sizes = got.len() == exact.len() && pairs.clone().all(|(g, e)| g.len() == e.len());
    if !sizes {
        return f64::INFINITY;
    }
    let difference = |(&got, &exact): (&f32, &f64)| {
        let difference = (f64::from(got) - exact).abs();
        if difference.is_nan() {
            f64::INFINITY
        } else {
            difference
        }
    };
    pairs
        .flat_map(|(got, exact)| got.iter().zip(exact).map(difference))
        .fold(0.0, f64::max)
}
