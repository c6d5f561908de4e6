//! Optimizers against PyTorch's, and what happens when a gradient is not finite.

use safetensors::SafeTensors;
use wgpu_rnn::ops::{BufferId, Program, Role, Section};
use wgpu_rnn::train::{
    Clipping, NonFinite, Optimizer, OptimizerBuffers, OptimizerOptions, OptimizerRegions,
    OptimizerRule, ParameterGroup, StepReport,
};
use wgpu_rnn::{Device, DeviceBuffer, Error, Plan};

use super::support::{devices, doubles};

const STEPS: usize = 50;
const PARAMETERS: usize = 12;
const FIRST_GROUP: usize = 8;

/// As `scripts/optimizer_goldens.py` has it.
fn start(index: usize) -> f32 {
    ((index * 37 + 11) % 64) as f32 / 32.0 - 1.0
}

/// Likewise.
fn gradient(step: usize, index: usize) -> f32 {
    let whole = (step * 7919 + index * 104_729 + step * step * index * 31) % 2001;
    (whole as f32 - 1000.0) / 512.0 * 2f32.powi(index as i32 % 5 - 3)
}

fn gradients(step: usize) -> Vec<f32> {
    (0..PARAMETERS).map(|index| gradient(step, index)).collect()
}

/// An optimizer whose second group has half the learning rate and another decay.
fn two_groups(options: OptimizerOptions, other_decay: f64) -> Optimizer {
    let group = ParameterGroup {
        ranges: std::iter::once(FIRST_GROUP..PARAMETERS).collect(),
        learning_rate_factor: 0.5,
        weight_decay: other_decay,
    };
    let optimizer = Optimizer::new(PARAMETERS, options).unwrap();
    optimizer.group(group).unwrap()
}

fn decayed(options: OptimizerOptions, weight_decay: f64) -> OptimizerOptions {
    OptimizerOptions {
        weight_decay,
        ..options
    }
}

/// The variants of the script.
fn variants() -> Vec<(&'static str, Optimizer)> {
    let sgd = |momentum, nesterov| {
        let rule = OptimizerRule::Sgd { momentum, nesterov };
        decayed(OptimizerOptions::new(rule, 0.05), 0.01)
    };
    let adam = OptimizerOptions::adam(0.01);
    let adam_w = decayed(OptimizerOptions::adam_w(0.01), 0.1);
    let other_adam = OptimizerRule::Adam {
        beta1: 0.8,
        beta2: 0.99,
        epsilon: 1e-6,
        decoupled: false,
    };
    let rms_prop = |alpha, epsilon, momentum, centered| {
        let rule = OptimizerRule::RmsProp {
            alpha,
            epsilon,
            momentum,
            centered,
        };
        OptimizerOptions::new(rule, 0.01)
    };
    let clipped = |options: OptimizerOptions, clipping| OptimizerOptions {
        clipping: Some(clipping),
        ..options
    };
    let by_norm = Clipping::Norm(1.0);
    let variants = [
        ("sgd", sgd(0.0, false), 0.0),
        ("sgd_momentum", sgd(0.9, false), 0.1),
        ("sgd_nesterov", sgd(0.9, true), 0.0),
        ("adam", adam, 0.0),
        (
            "adam_decay",
            decayed(OptimizerOptions::new(other_adam, 0.01), 0.1),
            0.0,
        ),
        ("adam_w", adam_w, 0.02),
        (
            "rms_prop",
            decayed(OptimizerOptions::rms_prop(0.01), 0.01),
            0.0,
        ),
        ("rms_prop_momentum", rms_prop(0.9, 1e-8, 0.8, false), 0.1),
        (
            "rms_prop_centered",
            decayed(rms_prop(0.99, 1e-8, 0.0, true), 0.01),
            0.0,
        ),
        (
            "rms_prop_centered_momentum",
            rms_prop(0.99, 1e-4, 0.5, true),
            0.0,
        ),
        ("sgd_clip_norm", clipped(sgd(0.9, false), by_norm), 0.0),
        ("adam_w_clip_norm", clipped(adam_w, by_norm), 0.0),
        ("adam_clip_value", clipped(adam, Clipping::Value(0.25)), 0.0),
    ];
    let make = |(name, options, other_decay)| (name, two_groups(options, other_decay));
    variants.map(make).to_vec()
}

/// A plan that does nothing but steps.
struct Run<'a> {
    device: &'a dyn Device,
    optimizer: &'a Optimizer,
    plan: Box<dyn Plan>,
    parameters: BufferId,
    gradients: BufferId,
    buffers: OptimizerBuffers,
    state: DeviceBuffer,
}

impl<'a> Run<'a> {
    fn new(device: &'a dyn Device, optimizer: &'a Optimizer) -> Self {
        let mut program = Program::new();
        let parameters = program.buffer("parameters", PARAMETERS, Role::Input);
        let gradients = program.buffer("gradients", PARAMETERS, Role::Input);
        let place = program.buffer("state", optimizer.state_len(), Role::External);
        let regions = OptimizerRegions {
            parameters: parameters.into(),
            gradients: gradients.into(),
            state: place.into(),
        };
        let buffers = optimizer.push(&mut program, regions);
        let state = optimizer.new_state(device).unwrap();
        let mut plan = device.load(program, &[(place, state.clone())]).unwrap();
        let values: Vec<f32> = (0..PARAMETERS).map(start).collect();
        plan.write(parameters, &values).unwrap();
        plan.write(buffers.settings, &optimizer.settings()).unwrap();
        Self {
            device,
            optimizer,
            plan,
            parameters,
            gradients,
            buffers,
            state,
        }
    }

    fn step(&mut self, gradients: &[f32]) {
        self.plan.write(self.gradients, gradients).unwrap();
        self.plan.run(Section::Update).unwrap();
    }

    fn parameters(&mut self) -> Vec<f32> {
        let mut values = vec![0.0; PARAMETERS];
        self.plan.read(self.parameters, &mut values).unwrap();
        values
    }

    fn report(&mut self) -> StepReport {
        let mut elements = [0.0; StepReport::LEN];
        self.plan.read(self.buffers.control, &mut elements).unwrap();
        StepReport::from_elements(&elements)
    }

    /// Parameters and what the rule keeps, without the counters, bit for bit.
    fn bits(&mut self) -> Vec<u32> {
        let state = self.optimizer.save(self.device, &self.state).unwrap();
        let counters = self.optimizer.state_len() - PARAMETERS * self.optimizer.update().slots();
        let values = self.parameters();
        let all = values.iter().chain(&state.values[counters..]);
        all.map(|value| value.to_bits()).collect()
    }
}

#[test]
fn trajectories_are_those_of_pytorch() {
    let bytes = include_bytes!("optimizers.safetensors");
    let file = SafeTensors::deserialize(bytes).unwrap();
    let variants = variants();
    assert_eq!(file.names().len(), 2 * variants.len());
    for device in devices() {
        for (name, optimizer) in &variants {
            let exact = doubles(&file, name);
            let errors = doubles(&file, &format!("{name}.error"));
            assert_eq!(exact.len(), STEPS * PARAMETERS);
            let mut run = Run::new(&**device, optimizer);
            for step in 0..STEPS {
                run.step(&gradients(step));
                let expected = &exact[step * PARAMETERS..][..PARAMETERS];
                let largest = expected
                    .iter()
                    .fold(0f64, |most, value| most.max(value.abs()));
                // As the goldens of the networks: what single precision does to PyTorch, and what it must be granted.
                let bound = (8.0 * errors[step]).max(64.0 * 2f64.powi(-24) * largest);
                for (index, (got, expected)) in run.parameters().iter().zip(expected).enumerate() {
                    let error = (f64::from(*got) - expected).abs();
                    assert!(
                        error <= bound,
                        "{name} on {}, step {step}, parameter {index}: {got} for {expected}, off by {error:.1e}, \
                         granted {bound:.1e}",
                        device.name()
                    );
                }
            }
            let counts = optimizer.counts(&**device, &run.state).unwrap();
            assert_eq!((counts.steps, counts.left_out), (STEPS as u64, 0));
        }
    }
}

/// Gradients of which one is not finite.
fn bad_gradients(step: usize) -> Vec<f32> {
    let mut values = gradients(step);
    values[step % PARAMETERS] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][step % 3];
    values
}

#[test]
fn a_skipped_step_leaves_no_trace() {
    for device in devices() {
        for (name, optimizer) in &variants() {
            let mut run = Run::new(&**device, optimizer);
            let mut other = Run::new(&**device, optimizer);
            for step in 0..12 {
                if step % 4 == 2 || step == 0 {
                    let before = run.bits();
                    run.step(&bad_gradients(step));
                    assert_eq!(run.bits(), before, "{name} on {}", device.name());
                    let report = run.report();
                    assert_eq!((report.taken, report.non_finite), (false, 1.0));
                }
                run.step(&gradients(step));
                other.step(&gradients(step));
                assert!(run.report().taken);
                // The bias corrections, too, are those of the steps that were taken.
                assert_eq!(run.bits(), other.bits(), "{name} on {}", device.name());
            }
            let counts = optimizer.counts(&**device, &run.state).unwrap();
            assert_eq!(
                (counts.steps, counts.left_out, counts.halted),
                (12, 4, false)
            );
            assert!(counts.check().is_ok());
        }
    }
}

#[test]
fn a_halt_keeps_what_was_before() {
    for device in devices() {
        let options = OptimizerOptions {
            non_finite: NonFinite::Halt,
            ..OptimizerOptions::adam_w(0.01)
        };
        let optimizer = two_groups(options, 0.0);
        let mut run = Run::new(&**device, &optimizer);
        for step in 0..3 {
            run.step(&gradients(step));
        }
        let before = run.bits();
        run.step(&bad_gradients(3));
        for step in 4..8 {
            run.step(&gradients(step));
            assert!(!run.report().taken);
        }
        assert_eq!(run.bits(), before);
        let counts = optimizer.counts(&**device, &run.state).unwrap();
        assert_eq!((counts.steps, counts.left_out, counts.halted), (3, 1, true));
        assert_eq!(counts.check(), Err(Error::NonFinite { step: 4 }));
    }
}

#[test]
fn a_saved_state_goes_on_bit_for_bit() {
    for device in devices() {
        for (name, optimizer) in &variants() {
            let mut run = Run::new(&**device, optimizer);
            for step in 0..5 {
                run.step(&gradients(step));
            }
            let saved = optimizer.save(&**device, &run.state).unwrap();
            let json = serde_json::to_string(&saved).unwrap();
            let saved = serde_json::from_str(&json).unwrap();
            let mut other = Run::new(&**device, optimizer);
            let values = run.parameters();
            other.plan.write(other.parameters, &values).unwrap();
            optimizer.restore(&**device, &other.state, &saved).unwrap();
            for step in 5..9 {
                run.step(&gradients(step));
                other.step(&gradients(step));
            }
            assert_eq!(run.bits(), other.bits(), "{name} on {}", device.name());
        }
    }
}

#[test]
fn norms_are_reported_and_scaled() {
    for device in devices() {
        let options = OptimizerOptions {
            gradient_scale: 0.25,
            clipping: Some(Clipping::Norm(0.5)),
            ..OptimizerOptions::sgd(1.0, 0.0)
        };
        let optimizer = Optimizer::new(PARAMETERS, options).unwrap();
        let mut run = Run::new(&**device, &optimizer);
        let mut values = [0.0; PARAMETERS];
        (values[0], values[11]) = (12.0, -16.0);
        run.step(&values);
        let report = run.report();
        assert!((report.norm - 5.0).abs() < 1e-5, "{report:?}");
        let after = run.parameters();
        // A tenth of a quarter.
        for (index, moved) in [(0, 0.3), (11, -0.4), (5, 0.0)] {
            let error = (start(index) - moved - after[index]).abs();
            assert!(error < 1e-6, "{index}: {}", after[index]);
        }
    }
}

#[test]
fn states_of_others_are_refused() {
    let device = &*devices()[0];
    let adam = Optimizer::new(PARAMETERS, OptimizerOptions::adam(0.01)).unwrap();
    let state = adam.new_state(device).unwrap();
    let saved = adam.save(device, &state).unwrap();
    let longer = Optimizer::new(PARAMETERS + 1, OptimizerOptions::adam(0.01)).unwrap();
    let longer_state = longer.new_state(device).unwrap();
    let sgd = Optimizer::new(PARAMETERS, OptimizerOptions::sgd(0.01, 0.9)).unwrap();
    let refused = |result: Result<(), Error>, words: [&str; 2]| {
        let text = result.unwrap_err().to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    refused(longer.restore(device, &longer_state, &saved), ["13", "12"]);
    refused(sgd.restore(device, &state, &saved), ["Sgd", "Adam"]);
    refused(adam.restore(device, &longer_state, &saved), ["29", "31"]);
    refused(longer.counts(device, &state).map(|_| ()), ["31", "29"]);
    let mut short = saved.clone();
    short.values.pop();
    refused(adam.restore(device, &state, &short), ["29", "28"]);
    let mut broken = saved.clone();
    broken.values[0] = 0.5;
    refused(adam.restore(device, &state, &broken), ["whole", "0.5"]);
    assert!(adam.restore(device, &state, &saved).is_ok());
}

#[test]
fn numbers_out_of_range_are_refused() {
    let good = OptimizerOptions::adam(0.01);
    let rule = |rule| OptimizerOptions { rule, ..good };
    let adam = |beta1, beta2, epsilon| {
        rule(OptimizerRule::Adam {
            beta1,
            beta2,
            epsilon,
            decoupled: false,
        })
    };
    let sgd = |momentum, nesterov| rule(OptimizerRule::Sgd { momentum, nesterov });
    let rms_prop = |alpha, momentum| {
        rule(OptimizerRule::RmsProp {
            alpha,
            epsilon: 1e-8,
            momentum,
            centered: false,
        })
    };
    let clipping = |clipping| OptimizerOptions {
        clipping: Some(clipping),
        ..good
    };
    let bad = [
        (adam(1.0, 0.9, 0.0), "beta1"),
        (adam(0.9, -0.1, 0.0), "beta2"),
        (adam(0.9, 0.9, f64::NAN), "epsilon"),
        (sgd(1.5, false), "momentum"),
        (sgd(0.0, true), "nesterov"),
        (rms_prop(1.0, 0.0), "alpha"),
        (rms_prop(0.9, -0.5), "momentum"),
        (clipping(Clipping::Norm(0.0)), "clipping"),
        (clipping(Clipping::Value(f64::INFINITY)), "clipping"),
        (decayed(good, -1.0), "weight_decay"),
        (
            OptimizerOptions {
                learning_rate: f64::NAN,
                ..good
            },
            "learning_rate",
        ),
        (
            OptimizerOptions {
                gradient_scale: 0.0,
                ..good
            },
            "gradient_scale",
        ),
    ];
    for (options, word) in bad {
        match Optimizer::new(1, options) {
            Err(Error::Option { option, .. }) => assert_eq!(option, word),
            other => panic!("{options:?}: {other:?}"),
        }
    }
    let mut optimizer = Optimizer::new(3, OptimizerOptions::sgd(0.1, 0.0)).unwrap();
    assert!(optimizer.set_learning_rate(-1.0).is_err());
    assert!(optimizer.set_gradient_scale(f64::NAN).is_err());
    // There is no room for what a momentum keeps.
    assert!(optimizer.set_momentum(0.9).is_err());
    assert!(Optimizer::new(usize::MAX / 2, good).is_err());
    let mut optimizer = Optimizer::new(3, OptimizerOptions::sgd(0.1, 0.9)).unwrap();
    assert!(optimizer.set_momentum(0.8).is_ok() && optimizer.set_momentum(0.0).is_err());
    let beyond = ParameterGroup {
        ranges: std::iter::once(2..4).collect(),
        ..ParameterGroup::default()
    };
    assert!(optimizer.group(beyond).is_err());
}
