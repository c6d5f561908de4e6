//! What the tests of whole networks share: every variant of every cell, generated problems, and the comparison with the
//! reference.

mod noisy;

use std::sync::Arc;

use noisy::{Accuracy, Noisy};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::reference;
use wgpu_rnn::rnn::{GradientMode, Rnn};
use wgpu_rnn::{
    Activation, Activations, Bias, Clip, Coupled, Device, Direction, Dropout, Gradients, GruReset,
    GruUpdate, LayerNormKind, Mode, Output, OutputGradient, PackedBatch, Packing, ParameterKind,
    Parameters, Peephole, Precision, RnnConfig, RnnConfigBuilder, State, Zoneout,
};

const CLIP: Clip = Clip {
    gates: Some(0.8),
    cell: None,
    hidden: None,
    projection: None,
};

/// Every variant of every cell, by name; `input` and `hidden` as given, one layer, forward.
pub(crate) fn variants(input: usize, hidden: usize) -> Vec<(&'static str, RnnConfigBuilder)> {
    let elman = || RnnConfig::elman(input, hidden);
    let lstm = || RnnConfig::lstm(input, hidden);
    let gru = || RnnConfig::gru(input, hidden);
    let relu = Activations {
        candidate: Activation::Relu,
        ..Activations::default()
    };
    let odd = Activations {
        gate: Activation::HardSigmoid {
            alpha: 0.3,
            beta: 0.5,
        },
        candidate: Activation::Softsign,
        hidden: Activation::ScaledTanh {
            alpha: 1.2,
            beta: 0.7,
        },
    };
    let half = hidden.div_ceil(2);
    let zoneout = |cell| Zoneout { hidden: 0.2, cell };
    let all_clips = Clip {
        cell: Some(0.9),
        hidden: Some(0.7),
        ..CLIP
    };
    let projection_clips = Clip {
        projection: Some(0.2),
        ..all_clips
    };
    let whole = LayerNormKind::WholeThenSum;
    let per_gate = LayerNormKind::PerGate;
    vec![
        ("elman", elman()),
        (
            "elman_relu_one_bias",
            elman().activations(relu).bias(Bias::One),
        ),
        (
            "elman_clip_zoneout",
            elman().clip(CLIP).zoneout(zoneout(0.0)),
        ),
        ("lstm", lstm()),
        ("lstm_no_bias", lstm().bias(Bias::None)),
        ("lstm_peephole_new", lstm().peephole(Peephole::New)),
        (
            "lstm_peephole_old",
            lstm().peephole(Peephole::Old).bias(Bias::One),
        ),
        (
            "lstm_forget_from_input",
            lstm()
                .coupled(Coupled::ForgetFromInput)
                .peephole(Peephole::New),
        ),
        (
            "lstm_input_from_forget",
            lstm().coupled(Coupled::InputFromForget),
        ),
        ("lstm_projection", lstm().projection(half, false)),
        (
            "lstm_projection_bias_clip",
            lstm()
                .projection(half, true)
                .clip(projection_clips)
                .peephole(Peephole::New),
        ),
        ("lstm_clip", lstm().clip(all_clips)),
        ("lstm_zoneout", lstm().zoneout(zoneout(0.3))),
        (
            "lstm_odd_activations",
            lstm().activations_of_each([odd, Activations::default()]),
        ),
        ("lstm_whole_norm", lstm().layer_norm(whole, 1e-3)),
        (
            "lstm_whole_norm_clip_zoneout",
            lstm()
                .layer_norm(whole, 1e-3)
                .clip(all_clips)
                .zoneout(zoneout(0.2)),
        ),
        ("lstm_gate_norm", lstm().layer_norm(per_gate, 1e-3)),
        (
            "lstm_gate_norm_peephole_projection",
            lstm()
                .layer_norm(per_gate, 1e-3)
                .peephole(Peephole::New)
                .projection(half, true),
        ),
        (
            "lstm_gate_norm_peephole_old_coupled",
            lstm()
                .layer_norm(per_gate, 1e-3)
                .peephole(Peephole::Old)
                .coupled(Coupled::InputFromForget)
                .zoneout(zoneout(0.1)),
        ),
        ("gru", gru()),
        (
            "gru_take_new_one_bias",
            gru().update(GruUpdate::TakeNew).bias(Bias::One),
        ),
        ("gru_clip_zoneout", gru().clip(CLIP).zoneout(zoneout(0.0))),
        (
            "gru_odd_activations",
            gru().activations_of_each([Activations::default(), odd]),
        ),
        ("gru_reset_before", gru().reset(GruReset::Before)),
        (
            "gru_reset_before_take_new",
            gru()
                .reset(GruReset::Before)
                .update(GruUpdate::TakeNew)
                .clip(CLIP)
                .bias(Bias::None),
        ),
        ("gru_whole_norm", gru().layer_norm(whole, 1e-3)),
        (
            "gru_whole_norm_zoneout",
            gru()
                .layer_norm(whole, 1e-3)
                .zoneout(zoneout(0.0))
                .update(GruUpdate::TakeNew),
        ),
    ]
}

/// A network, a ragged batch, and a loss `sum(up * output)`.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) config: RnnConfig,
    pub(crate) batch: PackedBatch,
    pub(crate) initial: Option<State>,
    pub(crate) parameters: Parameters,
    pub(crate) up: OutputGradient,
    pub(crate) mode: Mode,
    pub(crate) seed: u64,
    pub(crate) storage: Precision,
    /// See [`wgpu_rnn::NetworkOptions::wavefront`].
    pub(crate) wavefront: Option<usize>,
}

impl Problem {
    /// Random inputs, states, weights (of PyTorch's size) and loss from a seed.
    pub(crate) fn generate(config: RnnConfig, lengths: &[usize], seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut values =
            |len: usize| -> Vec<f32> { (0..len).map(|_| random.random_range(-1.0..1.0)).collect() };
        let packing = Arc::new(Packing::new(lengths).unwrap());
        let (tokens, batch) = (packing.tokens(), packing.batch());
        let mut initial = State::zeros(&config, batch).unwrap();
        initial.h = values(initial.h.len());
        initial.c = values(initial.c.len());
        let up = OutputGradient {
            y: Some(values(tokens * config.output_size())),
            h: Some(values(initial.h.len())),
            c: Some(values(initial.c.len())),
        };
        let x = values(tokens * config.input_size());
        let mut parameters = Parameters::uniform(&config, seed).unwrap();
        for entry in parameters.layout().clone().entries() {
            use ParameterKind as Kind;
            let range = entry.offset..entry.offset + entry.len();
            let noise = values(entry.len());
            for (value, noise) in parameters.data_mut()[range].iter_mut().zip(noise) {
                match entry.kind {
                    Kind::NormInput
                    | Kind::NormRecurrent
                    | Kind::NormCellWeight
                    | Kind::NormGates => {
                        *value = 1.0 + 0.3 * noise;
                    }
                    Kind::NormCellBias => *value = 0.3 * noise,
                    _ => {}
                }
            }
        }
        Self {
            batch: PackedBatch::new(packing, config.input_size(), x).unwrap(),
            config,
            initial: Some(initial),
            parameters,
            up,
            mode: Mode::Evaluation,
            seed,
            storage: Precision::F32,
            wavefront: None,
        }
    }

    /// The reference's answer, computed in `T`.
    pub(crate) fn expected<T: reference::Float + From<f32>>(&self) -> Answer<T> {
        let to = |values: &[f32]| -> Vec<T> { values.iter().map(|&v| T::from(v)).collect() };
        let state = self.initial.as_ref().map(|state| State {
            h: to(&state.h),
            c: to(&state.c),
        });
        let (output, tape) = reference::forward(
            &self.config,
            &to(self.parameters.data())
                .into_iter()
                .map(T::stored)
                .collect::<Vec<_>>(),
            self.batch.packing(),
            &to(self.batch.data()),
            state.as_ref(),
            self.mode,
            self.seed,
        )
        .unwrap();
        let up = OutputGradient {
            y: self.up.y.as_deref().map(to),
            h: self.up.h.as_deref().map(to),
            c: self.up.c.as_deref().map(to),
        };
        let gradients = reference::backward(&tape, &up).unwrap();
        (output, gradients)
    }

    /// A device's answer.
    pub(crate) fn solve(
        &self,
        device: &Arc<dyn Device>,
        gradient_mode: GradientMode,
    ) -> wgpu_rnn::Result<Answer<f32>> {
        let mut rnn = self.rnn(device)?;
        rnn.set_gradient_mode(gradient_mode);
        // Small chunks, so that chunk borders are crossed.
        rnn.set_chunk_rows(7);
        let output = rnn.forward(&self.batch, self.initial.as_ref(), self.mode)?;
        let gradients = rnn.backward(&self.up)?;
        Ok((output, gradients))
    }

    /// A device's output, without a way back.
    pub(crate) fn infer(&self, device: &Arc<dyn Device>) -> wgpu_rnn::Result<Output> {
        let mut rnn = self.rnn(device)?;
        rnn.set_chunk_rows(7);
        rnn.infer(&self.batch, self.initial.as_ref())
    }

    pub(crate) fn rnn(&self, device: &Arc<dyn Device>) -> wgpu_rnn::Result<Rnn> {
        let mut rnn = Rnn::new(device.clone(), self.config.clone(), &self.parameters)?;
        rnn.set_seed(self.seed);
        rnn.set_storage(self.storage);
        rnn.set_wavefront(self.wavefront);
        Ok(rnn)
    }
}

pub(crate) type Answer<T> = (Output<T>, Gradients<T>);

/// Name and values of every tensor of an answer; parameters one by one.
fn tensors<'a, T>(problem: &Problem, (output, gradients): &'a Answer<T>) -> Vec<(String, &'a [T])> {
    let mut tensors: Vec<(String, &[T])> = vec![
        ("y".into(), &output.y),
        ("h_n".into(), &output.state.h),
        ("c_n".into(), &output.state.c),
        ("d_x".into(), &gradients.x),
        ("d_h0".into(), &gradients.state.h),
        ("d_c0".into(), &gradients.state.c),
    ];
    for entry in problem.parameters.layout().entries() {
        let range = entry.offset..entry.offset + entry.len();
        tensors.push((format!("d_{}", entry.name), &gradients.parameters[range]));
    }
    tensors
}

/// How exact a device's functions are.
fn accuracy(device: &Arc<dyn Device>) -> Accuracy {
    if device.name().starts_with("CPU") {
        Accuracy::Libm
    } else {
        Accuracy::Wgsl
    }
}

/// The reference's exact answer to a problem and its error in `f32`, computed once for all devices.
#[derive(Debug)]
pub(crate) struct Oracle<'a> {
    problem: &'a Problem,
    exact: Answer<f64>,
    rounding: Vec<f64>,
}

impl<'a> Oracle<'a> {
    pub(crate) fn new(problem: &'a Problem) -> Self {
        let exact = problem.expected::<f64>();
        let rounding = errors(problem, &exact, &problem.expected::<f32>());
        Self {
            problem,
            exact,
            rounding,
        }
    }

    /// Each tensor's noise: how far roundings of this accuracy may carry it, from samples of [Monte Carlo arithmetic](noisy).
    fn noise(&self, accuracy: Accuracy) -> Vec<f64> {
        let mut noise = self.rounding.clone();
        let samples = match self.problem.storage {
            Precision::F32 => SAMPLES,
            Precision::F16 => HALF_SAMPLES,
        };
        for sample in 0..samples {
            noisy::start((accuracy, self.problem.storage), sample);
            let errors = errors(self.problem, &self.exact, &self.problem.expected::<Noisy>());
            for (noise, error) in noise.iter_mut().zip(errors) {
                *noise = noise.max(error);
            }
        }
        noise
    }
}

/// Samples of the noise; tensors of a single element need several, since one error may be small by luck.
const SAMPLES: u64 = 6;

/// The same where values are stored in half precision: an argument is then not that rarely rounded across the bound of a clip,
/// where the derivative jumps, and a few samples may all miss what one device meets.
const HALF_SAMPLES: u64 = 64;

/// How many times the noise a device may show, as in the public conformance suites.
const SLACK: f64 = 8.0;

/// Compares a device's answer with the reference's in f64; returns the largest error relative to a tensor's largest element.
///
/// Each tensor may differ by `SLACK` times the problem's own noise, which grows with its depth, length and steepness, and by a
/// rounding of the largest element. The noise is the error of the reference in f32 or, where that one sample happens to be
/// small, the largest of it and of some samples of Monte Carlo arithmetic with the device's accuracy, in which what is stored in
/// half precision is rounded where it is stored.
pub(crate) fn check(
    oracle: &Oracle<'_>,
    answer: &Answer<f32>,
    device: &Arc<dyn Device>,
) -> Result<f64, String> {
    let Oracle {
        problem,
        exact,
        rounding,
    } = oracle;
    let error = errors(problem, exact, answer);
    let first = judge(problem, exact, (&error, rounding));
    if first.is_ok() {
        return first;
    }
    judge(problem, exact, (&error, &oracle.noise(accuracy(device))))
}

/// The largest error of each tensor; infinite for a NaN or for another number of elements.
fn errors<T: reference::Float>(
    problem: &Problem,
    exact: &Answer<f64>,
    answer: &Answer<T>,
) -> Vec<f64> {
    let pairs = tensors(problem, exact)
        .into_iter()
        .zip(tensors(problem, answer));
    pairs
        .map(|((_, exact), (_, got))| {
            let differences = exact.iter().zip(got).map(|(&e, &v)| (e - v.to_f64()).abs());
            let finite = |d: f64| if d.is_nan() { f64::INFINITY } else { d };
            let most = differences.map(finite).fold(0.0, f64::max);
            if exact.len() == got.len() {
                most
            } else {
                f64::INFINITY
            }
        })
        .collect()
}

fn judge(
    problem: &Problem,
    exact: &Answer<f64>,
    (errors, noise): (&[f64], &[f64]),
) -> Result<f64, String> {
    let mut worst: f64 = 0.0;
    for (((name, exact), error), noise) in
        tensors(problem, exact).into_iter().zip(errors).zip(noise)
    {
        let largest = exact.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        let tolerance = SLACK * noise + f64::from(f32::EPSILON) / 2.0 * largest;
        if *error > tolerance {
            return Err(format!(
                "{name}: differs by {error:.3e}, tolerance {tolerance:.3e}, largest {largest:.3e}"
            ));
        }
        if largest > 0.0 {
            worst = worst.max(error / largest);
        }
    }
    Ok(worst)
}

/// Layers, directions and dropout on top of a variant, chosen by `index` so that all combinations with all variants occur.
pub(crate) fn arranged(builder: RnnConfigBuilder, index: usize) -> RnnConfigBuilder {
    let direction = [
        Direction::Forward,
        Direction::BidirectionalConcat,
        Direction::Reverse,
        Direction::BidirectionalSum,
    ][index % 4];
    builder
        .layers(1 + index % 3)
        .direction(direction)
        .residual(index % 5 == 1)
}

pub(crate) const DROPOUT: Dropout = Dropout {
    between: 0.3,
    input: 0.2,
    recurrent: 0.25,
};

/// A GPU device on `backend`, or a failure that says what to install.
#[cfg(feature = "gpu")]
pub(crate) fn gpu(
    backend: wgpu_rnn::wgpu::Backends,
    limits: wgpu_rnn::gpu::LimitsChoice,
    strategy: wgpu_rnn::gpu::Strategy,
) -> Arc<dyn Device> {
    let options = wgpu_rnn::gpu::GpuOptions::new()
        .backends(backend)
        .limits(limits)
        .strategy(strategy);
    match wgpu_rnn::gpu::GpuDevice::request_blocking(&options) {
        Ok(device) => Arc::new(device),
        Err(error) => panic!("these tests need an adapter on {backend:?}; {error}"),
    }
}

/// The CPU device and, where the crate has it, both strategies of the GPU device; made once, so that tests share compiled
/// pipelines.
pub(crate) fn devices() -> &'static [(&'static str, Arc<dyn Device>)] {
    static DEVICES: std::sync::OnceLock<Vec<(&'static str, Arc<dyn Device>)>> =
        std::sync::OnceLock::new();
    DEVICES.get_or_init(|| {
        let cpu: Arc<dyn Device> = Arc::new(wgpu_rnn::cpu::CpuDevice::new().unwrap());
        let mut devices = vec![("cpu", cpu)];
        devices.extend(gpus());
        devices
    })
}

#[cfg(feature = "gpu")]
fn gpus() -> [(&'static str, Arc<dyn Device>); 2] {
    use wgpu_rnn::gpu::{LimitsChoice, Strategy};
    let by = |strategy| {
        let vulkan = wgpu_rnn::wgpu::Backends::VULKAN;
        gpu(vulkan, LimitsChoice::Adapter, strategy)
    };
    [
        ("gpu, persistent", by(Strategy::Persistent)),
        ("gpu, by steps", by(Strategy::Step)),
    ]
}

#[cfg(not(feature = "gpu"))]
fn gpus() -> [(&'static str, Arc<dyn Device>); 0] {
    []
}

/// Solves a problem and compares it with the reference, naming what failed. With [`GradientMode::Recompute`], whose kernels
/// are inference's, the output of an inference too.
pub(crate) fn solve_and_check(
    name: &str,
    oracle: &Oracle<'_>,
    device: &Arc<dyn Device>,
    mode: GradientMode,
) -> Result<f64, String> {
    let problem = oracle.problem;
    let solve = || {
        let answer = problem
            .solve(device, mode)
            .map_err(|error| error.to_string())?;
        let worst = check(oracle, &answer, device)?;
        if problem.mode == Mode::Training || mode == GradientMode::Save {
            return Ok(worst);
        }
        let output = problem.infer(device).map_err(|error| error.to_string())?;
        check(oracle, &(output, answer.1), device).map_err(|error| format!("inference, {error}"))
    };
    solve().map_err(|error: String| format!("{name}, {mode:?}: {error}"))
}
