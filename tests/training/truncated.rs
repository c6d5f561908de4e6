//! Truncated backpropagation against the whole, on the part that both define; and gradients of a batch in parts.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::ops::{Program, Role, Section};
use wgpu_rnn::rnn::{Network, NetworkOptions, Rnn};
use wgpu_rnn::train::{CarriedState, Chunks, Optimizer, OptimizerOptions, OptimizerRegions};
use wgpu_rnn::{
    Device, DeviceBuffer, Direction, Error, GradientMode, Mode, OutputGradient, PackedBatch,
    Packing, Parameters, Plan, RnnConfig, State, reference,
};

use super::support::devices;

const FEATURES: usize = 3;

/// Sequences with a loss `sum(up * y)`.
struct Problem {
    config: RnnConfig,
    parameters: Parameters,
    x: Vec<Vec<f32>>,
    up: Vec<Vec<f32>>,
}

impl Problem {
    fn new(config: RnnConfig, lengths: &[usize]) -> Self {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let mut rows = |width: usize| -> Vec<Vec<f32>> {
            let sequence = |&length: &usize| {
                let elements = 0..length * width;
                elements.map(|_| random.random_range(-1.0..1.0)).collect()
            };
            lengths.iter().map(sequence).collect()
        };
        Self {
            x: rows(FEATURES),
            up: rows(config.output_size()),
            parameters: Parameters::uniform(&config, 3).unwrap(),
            config,
        }
    }

    fn chunks(&self, steps: usize) -> [Chunks; 2] {
        let up = self.config.output_size();
        [(FEATURES, &self.x), (up, &self.up)]
            .map(|(features, rows)| Chunks::new(features, rows, steps).unwrap())
    }

    /// Rows `steps` of all sequences.
    fn cut(rows: &[Vec<f32>], width: usize, steps: std::ops::Range<usize>) -> Vec<Vec<f32>> {
        let cut = |row: &Vec<f32>| {
            let [start, end] = [steps.start, steps.end].map(|at| (at * width).min(row.len()));
            row[start..end].to_vec()
        };
        rows.iter().map(cut).collect()
    }
}

fn problems() -> Vec<Problem> {
    let configs = [
        RnnConfig::elman(FEATURES, 4),
        RnnConfig::gru(FEATURES, 6).layers(2),
        RnnConfig::lstm(FEATURES, 5).layers(2),
        RnnConfig::lstm(FEATURES, 5).projection(3, true),
    ];
    let configs = configs.map(|builder| builder.build().unwrap());
    let problem = |config| Problem::new(config, &[11, 0, 7, 4, 11]);
    configs.map(problem).into_iter().collect()
}

/// Parameters and their gradients on a device.
struct Weights {
    parameters: DeviceBuffer,
    gradients: DeviceBuffer,
}

impl Weights {
    fn new(device: &dyn Device, problem: &Problem) -> Self {
        let values = problem.parameters.data();
        let [parameters, gradients] =
            ["parameters", "gradients"].map(|label| device.buffer(label, values.len()).unwrap());
        device.write(&parameters, 0, values).unwrap();
        Self {
            parameters,
            gradients,
        }
    }
}

/// A loaded plan for one packing.
struct Loaded {
    network: Network,
    plan: Box<dyn Plan>,
}

impl Loaded {
    fn new(
        device: &dyn Device,
        problem: &Problem,
        (weights, state): (&Weights, &CarriedState),
        (packing, accumulate): (&Arc<Packing>, bool),
    ) -> Self {
        let mut program = Program::new();
        let len = problem.parameters.data().len();
        let parameters = program.buffer("parameters", len, Role::External);
        let gradients = program.buffer("gradients", len, Role::External);
        let options = NetworkOptions {
            gradients: Some(GradientMode::Save),
            initial_state: true,
            accumulate,
            ..NetworkOptions::default()
        };
        let network = Network::new(
            &mut program,
            &problem.config,
            packing,
            &options,
            parameters.into(),
            Some(gradients.into()),
        )
        .unwrap();
        network.forward(&mut program).unwrap();
        network.backward(&mut program).unwrap();
        let mut external = state.bindings(&network).unwrap();
        external.push((parameters, weights.parameters.clone()));
        external.push((gradients, weights.gradients.clone()));
        let plan = device.load(program, &external).unwrap();
        Self { network, plan }
    }

    /// Outputs and the input's gradient, sequence by sequence.
    fn run(&mut self, x: &PackedBatch, up: &PackedBatch) -> [Vec<Vec<f32>>; 2] {
        let gradients = self.network.gradients.unwrap();
        self.plan.write(self.network.x, x.data()).unwrap();
        self.plan.write(gradients.y, up.data()).unwrap();
        let sections = [Section::Prepare, Section::Forward, Section::Backward];
        self.plan.run_all(&sections).unwrap();
        let places = [
            (self.network.y, up.features()),
            (gradients.x.unwrap(), x.features()),
        ];
        places.map(|(buffer, width)| {
            let mut rows = vec![f32::NAN; x.packing().tokens() * width];
            self.plan.read(buffer, &mut rows).unwrap();
            let batch = PackedBatch::new(x.packing().clone(), width, rows);
            batch.unwrap().to_sequences()
        })
    }
}

/// What chunks come to.
struct Chunked {
    /// Outputs of each sequence.
    y: Vec<Vec<f32>>,
    /// Gradients of the input, of the last chunk.
    d_x: Vec<Vec<f32>>,
    /// The gradients' buffer after each chunk.
    gradients: Vec<Vec<f32>>,
}

/// Runs all chunks; before chunk `resets[i].0` stream `resets[i].1` is reset.
fn run_chunks(
    device: &dyn Device,
    problem: &Problem,
    steps: usize,
    (accumulate, resets): (bool, &[(usize, usize)]),
) -> Chunked {
    let [x, up] = problem.chunks(steps);
    let weights = Weights::new(device, problem);
    let state = CarriedState::new(device, &problem.config, problem.x.len()).unwrap();
    let mut plans: Vec<(Arc<Packing>, Loaded)> = Vec::new();
    let mut chunked = Chunked {
        y: vec![Vec::new(); problem.x.len()],
        d_x: Vec::new(),
        gradients: Vec::new(),
    };
    for chunk in 0..x.len() {
        let streams = resets.iter().filter(|reset| reset.0 == chunk);
        let streams: Vec<usize> = streams.map(|reset| reset.1).collect();
        state.reset(device, &streams).unwrap();
        let packing = &x.packings()[chunk];
        let place = plans.iter().position(|(other, _)| other == packing);
        let place = place.unwrap_or_else(|| {
            let owned = (&weights, &state);
            let loaded = Loaded::new(device, problem, owned, (packing, accumulate));
            plans.push((packing.clone(), loaded));
            plans.len() - 1
        });
        let batches = [&x, &up].map(|chunks| chunks.batch(chunk).unwrap());
        let [y, d_x] = plans[place].1.run(&batches[0], &batches[1]);
        for (all, rows) in chunked.y.iter_mut().zip(y) {
            all.extend(rows);
        }
        chunked.d_x = d_x;
        let len = problem.parameters.data().len();
        let gradients = device.read(&weights.gradients, 0..len).unwrap();
        chunked.gradients.push(gradients);
    }
    chunked
}

/// Parameters' and input's gradients by the reference, from a state on, in one precision.
macro_rules! reference_gradients {
    ($number:ty, $problem:expr, $x:expr, $up:expr, $prefix:expr) => {{
        let problem: &Problem = $problem;
        let convert = |values: &[f32]| -> Vec<$number> {
            values.iter().map(|&value| <$number>::from(value)).collect()
        };
        let parameters = convert(problem.parameters.data());
        let run = |rows: &[Vec<f32>], state: Option<&State<$number>>| {
            let batch = PackedBatch::from_sequences(FEATURES, rows).unwrap();
            let x = convert(batch.data());
            let mode = Mode::Evaluation;
            reference::forward(
                &problem.config,
                &parameters,
                batch.packing(),
                &x,
                state,
                mode,
                0,
            )
            .unwrap()
        };
        let state = $prefix.map(|rows: &[Vec<f32>]| run(rows, None).0.state);
        let (_, tape) = run($x, state.as_ref());
        let up = PackedBatch::from_sequences(problem.config.output_size(), $up).unwrap();
        let loss = OutputGradient {
            y: Some(convert(up.data())),
            ..Default::default()
        };
        let gradients = reference::backward(&tape, &loss).unwrap();
        let wide =
            |values: Vec<$number>| -> Vec<f64> { values.into_iter().map(f64::from).collect() };
        [wide(gradients.parameters), wide(gradients.x)]
    }};
}

/// Expected gradients with what the reference loses in single precision.
struct Expected {
    exact: Vec<f64>,
    noise: f64,
}

/// Of parameters and input, for `x` and `up` behind `prefix`.
fn expected(
    problem: &Problem,
    (x, up): (&[Vec<f32>], &[Vec<f32>]),
    prefix: Option<&[Vec<f32>]>,
) -> [Expected; 2] {
    let exact = reference_gradients!(f64, problem, x, up, prefix);
    let single = reference_gradients!(f32, problem, x, up, prefix);
    let mut single = single.into_iter();
    exact.map(|exact| {
        let single = single.next().unwrap();
        let errors = exact.iter().zip(single).map(|(a, b)| (a - b).abs());
        let largest = exact.iter().fold(0f64, |most, value| most.max(value.abs()));
        let noise = errors.fold(f64::from(f32::EPSILON) * largest, f64::max);
        Expected { exact, noise }
    })
}

impl Expected {
    #[track_caller]
    fn check(&self, got: &[f32], what: &str) {
        assert_eq!(got.len(), self.exact.len(), "{what}");
        for (index, (got, exact)) in got.iter().zip(&self.exact).enumerate() {
            let error = (f64::from(*got) - exact).abs();
            let bound = 16.0 * self.noise;
            assert!(
                error <= bound,
                "{what}, {index}: {got} for {exact}, off by {error:.1e}, granted {bound:.1e}"
            );
        }
    }
}

fn packed(rows: &[Vec<f32>], width: usize) -> Vec<f32> {
    let batch = PackedBatch::from_sequences(width, rows).unwrap();
    batch.data().to_vec()
}

#[test]
fn outputs_are_those_of_the_whole() {
    for device in devices() {
        for problem in problems() {
            let whole = run_chunks(&**device, &problem, 11, (false, &[])).y;
            for steps in [1, 2, 3, 5, 7, 100] {
                let chunked = run_chunks(&**device, &problem, steps, (false, &[])).y;
                assert_eq!(chunked, whole, "{steps} steps on {}", device.name());
            }
        }
    }
}

#[test]
fn one_chunk_is_the_whole_way_back() {
    for device in devices() {
        for problem in problems() {
            let chunked = run_chunks(&**device, &problem, 64, (false, &[]));
            let mut rnn =
                Rnn::new(device.clone(), problem.config.clone(), &problem.parameters).unwrap();
            let batch = PackedBatch::from_sequences(FEATURES, &problem.x).unwrap();
            rnn.forward(&batch, None, Mode::Evaluation).unwrap();
            let up = OutputGradient {
                y: Some(packed(&problem.up, problem.config.output_size())),
                ..Default::default()
            };
            let gradients = rnn.backward(&up).unwrap();
            assert_eq!(
                chunked.gradients,
                [gradients.parameters],
                "{}",
                device.name()
            );
            assert_eq!(packed(&chunked.d_x, FEATURES), gradients.x);
        }
    }
}

/// The first chunk's gradient is that of the whole way back for a loss on the first chunk alone.
#[test]
fn the_first_chunk_against_the_whole() {
    for device in devices() {
        for problem in problems() {
            for steps in [2, 5] {
                let width = problem.config.output_size();
                let mut up = problem.up.clone();
                for sequence in &mut up {
                    let from = (steps * width).min(sequence.len());
                    sequence[from..].fill(0.0);
                }
                let [expected, _] = expected(&problem, (&problem.x, &up), None);
                let chunked = run_chunks(&**device, &problem, steps, (false, &[]));
                let what = format!("{steps} steps on {}", device.name());
                expected.check(&chunked.gradients[0], &what);
            }
        }
    }
}

/// The last chunk's gradient is that of its loss with the state before it held constant; and the gradient of its input is the
/// whole way back's, on whose part before the chunk it does not depend.
#[test]
fn the_last_chunk_against_the_whole() {
    for device in devices() {
        for problem in problems() {
            for steps in [2, 5] {
                let width = problem.config.output_size();
                let start = 10 / steps * steps;
                let tail = |rows, width| Problem::cut(rows, width, start..11);
                let (x, up) = (tail(&problem.x, FEATURES), tail(&problem.up, width));
                let prefix = Problem::cut(&problem.x, FEATURES, 0..start);
                let [of_parameters, _] = expected(&problem, (&x, &up), Some(&prefix));
                let chunked = run_chunks(&**device, &problem, steps, (false, &[]));
                let what = format!("{steps} steps on {}", device.name());
                of_parameters.check(chunked.gradients.last().unwrap(), &what);

                let mut late_up = problem.up.clone();
                for sequence in &mut late_up {
                    let to = (start * width).min(sequence.len());
                    sequence[..to].fill(0.0);
                }
                let [_, of_x] = expected(&problem, (&problem.x, &late_up), None);
                // Two sequences reach the last chunk, side by side to the end: their rows are the last ones.
                let last = packed(&chunked.d_x, FEATURES);
                let from = of_x.exact.len() - last.len();
                let of_tail = Expected {
                    exact: of_x.exact[from..].to_vec(),
                    noise: of_x.noise,
                };
                of_tail.check(&last, &format!("input, {what}"));
            }
        }
    }
}

#[test]
fn a_reset_stream_begins_anew() {
    for device in devices() {
        for problem in problems() {
            let reset = run_chunks(&**device, &problem, 3, (false, &[(2, 0), (1, 2)]));
            let kept = run_chunks(&**device, &problem, 3, (false, &[]));
            let width = problem.config.output_size();
            for (stream, start) in [(0, 6), (2, 3)] {
                let alone = Problem {
                    config: problem.config.clone(),
                    parameters: problem.parameters.clone(),
                    x: vec![problem.x[stream][start * FEATURES..].to_vec()],
                    up: vec![problem.up[stream][start * width..].to_vec()],
                };
                let alone = run_chunks(&**device, &alone, 100, (false, &[])).y;
                // In a batch of another size the sums of a step's dozen terms, of size 1 at most, may be grouped otherwise, in
                // each of up to eight steps.
                let bound = 8.0 * 12.0 * f32::EPSILON;
                for (got, alone) in reset.y[stream][start * width..].iter().zip(&alone[0]) {
                    assert!((got - alone).abs() <= bound, "{got} for {alone}");
                }
                assert_ne!(reset.y[stream], kept.y[stream]);
            }
            // The others take no notice.
            for stream in [1, 3, 4] {
                assert_eq!(reset.y[stream], kept.y[stream]);
            }
        }
    }
}

#[test]
fn chunks_add_up_where_gradients_accumulate() {
    for device in devices() {
        for problem in problems() {
            let single = run_chunks(&**device, &problem, 4, (false, &[])).gradients;
            let sums = run_chunks(&**device, &problem, 4, (true, &[])).gradients;
            let last = sums.last().unwrap();
            for (index, sum) in last.iter().enumerate() {
                let parts = single.iter().map(|chunk| f64::from(chunk[index]));
                let size: f64 = parts.clone().map(f64::abs).sum();
                let error = (f64::from(*sum) - parts.sum::<f64>()).abs();
                // Each chunk's parts are added one by one instead of together: the rounding of some 60 terms.
                assert!(error <= 64.0 * f64::from(f32::EPSILON) * size.max(1.0));
            }
        }
    }
}

/// Gradients of parameters and input of the whole, cut after so many steps, for a loss on outputs and final states.
fn cut_gradients(
    device: &dyn Device,
    problem: &Problem,
    how: (Option<usize>, GradientMode),
    final_weight: f32,
) -> [Vec<f32>; 2] {
    let options = NetworkOptions::default();
    gradients_with(device, problem, options, how, final_weight)
}

/// The same with options of other kinds.
fn gradients_with(
    device: &dyn Device,
    problem: &Problem,
    options: NetworkOptions,
    (truncation, mode): (Option<usize>, GradientMode),
    final_weight: f32,
) -> [Vec<f32>; 2] {
    let batch = PackedBatch::from_sequences(FEATURES, &problem.x).unwrap();
    let weights = Weights::new(device, problem);
    let mut program = Program::new();
    let len = problem.parameters.data().len();
    let [parameters, gradients] =
        ["parameters", "gradients"].map(|label| program.buffer(label, len, Role::External));
    let options = NetworkOptions {
        gradients: Some(mode),
        truncation,
        ..options
    };
    let network = Network::new(
        &mut program,
        &problem.config,
        batch.packing(),
        &options,
        parameters.into(),
        Some(gradients.into()),
    )
    .unwrap();
    network.forward(&mut program).unwrap();
    network.backward(&mut program).unwrap();
    let external = [
        (parameters, weights.parameters.clone()),
        (gradients, weights.gradients.clone()),
    ];
    let mut plan = device.load(program, &external).unwrap();
    let buffers = network.gradients.unwrap();
    plan.write(network.x, batch.data()).unwrap();
    let up = packed(&problem.up, problem.config.output_size());
    plan.write(buffers.y, &up).unwrap();
    let finals = [Some(buffers.h_n), buffers.c_n];
    for (nth, buffer) in finals.into_iter().flatten().enumerate() {
        let len = plan.program().spec(buffer).len;
        let each = |at: usize| final_weight * ((at * 7 + nth * 3) % 11) as f32 / 11.0;
        plan.write(buffer, &(0..len).map(each).collect::<Vec<_>>())
            .unwrap();
    }
    let sections = [Section::Prepare, Section::Forward, Section::Backward];
    plan.run_all(&sections).unwrap();
    let mut d_x = vec![f32::NAN; batch.data().len()];
    plan.read(buffers.x.unwrap(), &mut d_x).unwrap();
    [device.read(&weights.gradients, 0..len).unwrap(), d_x]
}

#[track_caller]
fn check_close(got: &[f32], expected: &[f32], what: &str) {
    // Sums of some hundred terms in another order.
    let largest = expected
        .iter()
        .fold(0f32, |most, value| most.max(value.abs()));
    for (got, expected) in got.iter().zip(expected) {
        let error = (got - expected).abs();
        let bound = 128.0 * f32::EPSILON * largest;
        assert!(error <= bound, "{what}: {got} for {expected}");
    }
}

#[track_caller]
fn check_cut(device: &dyn Device, problem: &Problem, steps: usize) {
    let chunked = run_chunks(device, problem, steps, (true, &[]));
    let expected = chunked.gradients.last().unwrap();
    for mode in [GradientMode::Save, GradientMode::Recompute] {
        let what = format!("{steps} steps, {mode:?}, {}", device.name());
        let how = (Some(steps), mode);
        let [got, _] = cut_gradients(device, problem, how, 0.0);
        check_close(&got, expected, &what);
    }
}

/// So many sequences that the CPU takes tiles of them through a layer's whole backward, up to a cut.
#[test]
fn many_sequences_are_cut_as_few_are() {
    let lengths: Vec<usize> = (0..150).map(|i| 30 + i % 31).collect();
    let device = CpuDevice::with_threads(2).unwrap();
    for builder in [
        RnnConfig::lstm(FEATURES, 16).layers(2),
        RnnConfig::gru(FEATURES, 17),
    ] {
        let problem = Problem::new(builder.build().unwrap(), &lengths);
        for steps in [2, 30] {
            check_cut(&device, &problem, steps);
        }
    }
}

/// A stack that goes by its wavefront is cut at the same steps, whatever its chunks.
#[test]
fn wavefronts_are_cut_as_well() {
    let config = RnnConfig::lstm(FEATURES, 6).layers(3).build().unwrap();
    let problem = Problem::new(config, &[11, 0, 7, 4, 11, 3]);
    for device in devices() {
        for cut in [1, 3, 4] {
            for mode in [GradientMode::Save, GradientMode::Recompute] {
                let how = (Some(cut), mode);
                let [expected, d_x] = cut_gradients(&**device, &problem, how, 1.0);
                for chunk in [1, 2, 5, 8] {
                    let options = NetworkOptions {
                        wavefront: Some(chunk),
                        ..NetworkOptions::default()
                    };
                    let [got, got_x] = gradients_with(&**device, &problem, options, how, 1.0);
                    let what = format!("cut {cut}, chunk {chunk}, {mode:?}, {}", device.name());
                    check_close(&got, &expected, &what);
                    check_close(&got_x, &d_x, &what);
                }
            }
        }
    }
}

/// A whole forward whose gradients are cut comes to what chunks with carried states come to, with gates saved or rebuilt.
#[test]
fn cut_gradients_are_those_of_chunks() {
    for device in devices() {
        for problem in problems() {
            for steps in [1, 3, 4, 100] {
                check_cut(&**device, &problem, steps);
            }
            let whole = cut_gradients(&**device, &problem, (None, GradientMode::Save), 0.0);
            let cut = cut_gradients(&**device, &problem, (Some(3), GradientMode::Save), 0.0);
            assert_ne!(whole, cut, "a cut that changes nothing is none");
        }
    }
}

/// Cut after one step, a direction's gradient of the input comes from that step alone; final states' gradients reach the last
/// step of each sequence whatever its length. Both directions are the two of them apart.
#[test]
fn both_directions_are_cut() {
    let gru = |direction| {
        let config = RnnConfig::gru(FEATURES, 6).direction(direction);
        config.build().unwrap()
    };
    let lengths = [11, 0, 7, 4, 11, 3];
    for device in devices() {
        for steps in [1, 3, 4] {
            let both = Problem::new(gru(Direction::BidirectionalConcat), &lengths);
            let how = (Some(steps), GradientMode::Save);
            let [d_both, d_x] = cut_gradients(&**device, &both, how, 0.0);
            let half = both.parameters.data().len() / 2;
            let mut sum = vec![0.0; d_x.len()];
            for (nth, direction) in [Direction::Forward, Direction::Reverse]
                .into_iter()
                .enumerate()
            {
                let part = nth * half..(nth + 1) * half;
                let mut one = Problem::new(gru(direction), &lengths);
                let layout = one.parameters.layout().clone();
                let values = both.parameters.data()[part.clone()].to_vec();
                one.parameters = Parameters::from_flat(layout, values).unwrap();
                one.x = both.x.clone();
                let own = |row: &Vec<f32>| -> Vec<f32> {
                    let steps = row.chunks_exact(12);
                    steps
                        .flat_map(|step| step[6 * nth..6 * nth + 6].to_vec())
                        .collect()
                };
                one.up = both.up.iter().map(own).collect();
                let [d_one, d_x] = cut_gradients(&**device, &one, how, 0.0);
                check_close(&d_both[part], &d_one, "parameters of a direction");
                sum.iter_mut().zip(d_x).for_each(|(sum, d_x)| *sum += d_x);
                // What is behind the last cut gets nothing from the final states, what is before it does.
                one.up.iter_mut().flatten().for_each(|value| *value = 0.0);
                let [_, d_x] = cut_gradients(&**device, &one, how, 1.0);
                let packing = Arc::new(Packing::new(&lengths).unwrap());
                let d_x = PackedBatch::new(packing, FEATURES, d_x)
                    .unwrap()
                    .to_sequences();
                for (row, &length) in d_x.iter().zip(&lengths) {
                    for (time, step) in row.chunks_exact(FEATURES).enumerate() {
                        let visited = if nth == 0 { time } else { length - 1 - time };
                        let last = (length - 1) / steps;
                        let reached = step.iter().any(|value| *value != 0.0);
                        assert_eq!(
                            reached,
                            visited / steps == last,
                            "{direction:?} {length} {time}"
                        );
                    }
                }
            }
            check_close(&d_x, &sum, "input");
        }
    }
}

#[test]
fn a_cut_after_no_step_is_refused() {
    let problem = &problems()[0];
    let packing = Arc::new(Packing::new(&[3]).unwrap());
    let mut program = Program::new();
    let parameters = program.buffer(
        "parameters",
        problem.parameters.data().len(),
        Role::External,
    );
    let options = NetworkOptions {
        truncation: Some(0),
        ..NetworkOptions::default()
    };
    let network = Network::new(
        &mut program,
        &problem.config,
        &packing,
        &options,
        parameters.into(),
        None,
    );
    let text = "option `truncation`: must be at least 1, is 0";
    assert_eq!(network.unwrap_err().to_string(), text);
}

/// A batch in two halves, whose gradients accumulate, takes the step of the whole batch; then they start from zero.
#[test]
fn halves_of_a_batch_take_the_step_of_the_whole() {
    for device in devices() {
        for problem in problems() {
            let [exact, _] = expected(&problem, (&problem.x, &problem.up), None);
            let weights = Weights::new(&**device, &problem);
            let len = problem.parameters.data().len();
            for (first, last) in [(0, 2), (2, 5)] {
                let half = Problem {
                    config: problem.config.clone(),
                    parameters: problem.parameters.clone(),
                    x: problem.x[first..last].to_vec(),
                    up: problem.up[first..last].to_vec(),
                };
                let [x, up] = half.chunks(100).map(|chunks| chunks.batch(0).unwrap());
                let state = CarriedState::new(&**device, &half.config, last - first).unwrap();
                let owned = (&weights, &state);
                Loaded::new(&**device, &half, owned, (x.packing(), true)).run(&x, &up);
            }
            let sums = device.read(&weights.gradients, 0..len).unwrap();
            exact.check(&sums, &device.name());

            let options = OptimizerOptions {
                gradient_scale: 0.5,
                ..OptimizerOptions::sgd(1.0, 0.0)
            };
            let optimizer = Optimizer::new(len, options).unwrap();
            let mut program = Program::new();
            let mut external = |label, len| program.buffer(label, len, Role::External);
            let parameters = external("parameters", len);
            let gradients = external("gradients", len);
            let state = external("state", optimizer.state_len());
            let regions = OptimizerRegions {
                parameters: parameters.into(),
                gradients: gradients.into(),
                state: state.into(),
            };
            let buffers = optimizer.push(&mut program, regions);
            optimizer.push_clearing(&mut program, regions);
            let external = [
                (parameters, weights.parameters.clone()),
                (gradients, weights.gradients.clone()),
                (state, optimizer.new_state(&**device).unwrap()),
            ];
            let mut plan = device.load(program, &external).unwrap();
            plan.write(buffers.settings, &optimizer.settings()).unwrap();
            plan.run(Section::Update).unwrap();
            let after = device.read(&weights.parameters, 0..len).unwrap();
            for (index, after) in after.iter().enumerate() {
                assert_eq!(*after, problem.parameters.data()[index] - 0.5 * sums[index]);
            }
            let cleared = device.read(&weights.gradients, 0..len).unwrap();
            assert!(cleared.iter().all(|value| *value == 0.0));
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = &*devices()[0];
    for direction in [Direction::Reverse, Direction::BidirectionalConcat] {
        let config = RnnConfig::gru(FEATURES, 4)
            .direction(direction)
            .build()
            .unwrap();
        let refused = CarriedState::new(device, &config, 2);
        assert!(matches!(
            refused,
            Err(Error::Option {
                option: "direction",
                ..
            })
        ));
    }
    let config = RnnConfig::gru(FEATURES, 4).build().unwrap();
    let state = CarriedState::new(device, &config, 2).unwrap();
    assert!(matches!(
        state.reset(device, &[2]),
        Err(Error::Shape { .. })
    ));
    let other = State {
        h: vec![0.0; 3 * 4],
        c: vec![],
    };
    assert!(matches!(
        state.write(device, &other),
        Err(Error::Shape { .. })
    ));
    let good = State {
        h: vec![0.5; 2 * 4],
        c: vec![],
    };
    state.write(device, &good).unwrap();
    assert_eq!(state.read(device).unwrap(), good);

    let network = |config: &RnnConfig, batch, initial_state| {
        let mut program = Program::new();
        let parameters = program.buffer("parameters", 1_000, Role::External);
        let packing = Arc::new(Packing::dense(2, batch).unwrap());
        let options = NetworkOptions {
            initial_state,
            ..NetworkOptions::default()
        };
        let place = parameters.into();
        Network::new(&mut program, config, &packing, &options, place, None).unwrap()
    };
    let refused = |network: &Network| state.bindings(network).unwrap_err();
    assert!(matches!(
        refused(&network(&config, 3, true)),
        Error::Shape { .. }
    ));
    assert!(matches!(
        refused(&network(&config, 2, false)),
        Error::State(_)
    ));
    let wider = RnnConfig::gru(FEATURES, 5).build().unwrap();
    assert!(matches!(
        refused(&network(&wider, 2, true)),
        Error::State(_)
    ));
    assert!(state.bindings(&network(&config, 2, true)).is_ok());

    assert!(Chunks::new(2, &[vec![0.0; 4]], 0).is_err());
    assert!(Chunks::new(2, &[vec![0.0; 3]], 1).is_err());
    let chunks = Chunks::new(2, &[vec![0.0; 4]], 1).unwrap();
    assert!(matches!(chunks.batch(2), Err(Error::Shape { .. })));
    assert!(Chunks::new(2, &[vec![], vec![]], 3).unwrap().is_empty());
}
