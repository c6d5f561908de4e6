//! A network within a host's own work: its device, its buffers, its encoder.

use std::sync::Arc;

use wgpu_rnn::gpu::{GpuDevice, GpuOptions, Strategy};
use wgpu_rnn::ops::{BufferId, Program, Region, Role, Section};
use wgpu_rnn::rnn::{GradientMode, Network, NetworkOptions, Rnn};
use wgpu_rnn::{
    Device, Direction, Error, Gradients, GruReset, Mode, Output, OutputGradient, PackedBatch,
    Packing, Parameters, Plan, RnnConfig, wgpu,
};

use crate::host::{self, Combine};

/// A network with what the host wants of it.
struct Problem {
    config: RnnConfig,
    packing: Arc<Packing>,
    parameters: Parameters,
    /// Half of the network's input: the host computes the input from it.
    half: Vec<f32>,
}

impl Problem {
    fn new(config: RnnConfig) -> Self {
        let packing = Arc::new(Packing::new(&[4, 0, 9, 1, 9]).unwrap());
        let len = packing.tokens() * config.input_size();
        Self {
            parameters: Parameters::uniform(&config, 5).unwrap(),
            half: (0..len).map(|index| (index as f32 * 0.37).sin()).collect(),
            config,
            packing,
        }
    }

    /// The plain way: from the host's memory and back.
    fn plain(&self, device: &GpuDevice) -> (Output, Gradients) {
        let device: Arc<dyn Device> = Arc::new(device.clone());
        let mut rnn = Rnn::new(device, self.config.clone(), &self.parameters).unwrap();
        let x = self.half.iter().map(|value| 2.0 * value).collect();
        let batch = PackedBatch::new(self.packing.clone(), self.config.input_size(), x).unwrap();
        let output = rnn.forward(&batch, None, Mode::Evaluation).unwrap();
        let up = OutputGradient {
            y: Some(output.y.clone()),
            ..OutputGradient::default()
        };
        let gradients = rnn.backward(&up).unwrap();
        (output, gradients)
    }
}

/// A program whose inputs, outputs, parameters and gradients lie in one buffer of the host's.
struct Embedded {
    program: Program,
    network: Network,
    /// Each bound buffer, and its first element in the host's.
    places: Vec<(BufferId, usize)>,
    len: usize,
}

impl Embedded {
    fn new(problem: &Problem) -> Self {
        let mut program = Program::new();
        let len = problem.parameters.data().len();
        let parameters = program.buffer("parameters", len, Role::External);
        let gradients = program.buffer("gradients", len, Role::External);
        let options = NetworkOptions {
            gradients: Some(GradientMode::Save),
            ..NetworkOptions::default()
        };
        let network = Network::new(
            &mut program,
            &problem.config,
            &problem.packing,
            &options,
            parameters.into(),
            Some(Region::from(gradients)),
        )
        .unwrap();
        network.forward(&mut program).unwrap();
        network.backward(&mut program).unwrap();
        let edge = network.gradients.as_ref().unwrap();
        let bound = [
            parameters,
            gradients,
            network.x,
            network.y,
            edge.y,
            edge.x.unwrap(),
        ];
        // Everything behind the host's own half of the input, from 1 KiB on.
        let mut at = 256 + problem.half.len().next_multiple_of(64);
        let places = bound
            .into_iter()
            .map(|id| {
                let start = at;
                at += program.spec(id).len.next_multiple_of(64);
                (id, start)
            })
            .collect();
        Self {
            program,
            network,
            places,
            len: at,
        }
    }

    fn place(&self, id: BufferId) -> usize {
        self.places
            .iter()
            .find(|(bound, _)| *bound == id)
            .unwrap()
            .1
    }
}

/// The host computes the input, the network runs, the host computes the loss's gradient, the network goes back, the host
/// changes the weights: one encoder, one submission.
fn one_submission(problem: &Problem, strategy: Strategy) {
    let (raw, queue) = host::device();
    let options = GpuOptions::new().strategy(strategy);
    let device = GpuDevice::from_device(raw.clone(), queue.clone(), &options);
    let (output, gradients) = problem.plain(&device);

    let embedded = Embedded::new(problem);
    let arena = host::buffer(&raw, 4 * embedded.len as u64);
    let import = |&(id, start): &(BufferId, usize)| {
        let len = embedded.program.spec(id).len;
        (id, device.import(&arena, 4 * start as u64, len).unwrap())
    };
    let external: Vec<_> = embedded.places.iter().map(import).collect();
    let [parameters, d_parameters] = [external[0].clone(), external[1].clone()];
    let mut plan = device
        .load_plan(embedded.program.clone(), &external)
        .unwrap();
    queue.write_buffer(&arena, 4 * 256, &bytes_of(&problem.half));
    device
        .write(&parameters.1, 0, problem.parameters.data())
        .unwrap();

    let edge = embedded.network.gradients.as_ref().unwrap();
    let part = |from: usize, to: BufferId, factor, added| Combine {
        from,
        to: embedded.place(to),
        len: embedded.program.spec(to).len,
        factor,
        added,
    };
    let (x, y) = (embedded.network.x, embedded.network.y);
    let mut encoder = raw.create_command_encoder(&Default::default());
    host::combine(&raw, &mut encoder, &arena, part(256, x, 2.0, 0.0));
    plan.record(Section::Prepare, &mut encoder).unwrap();
    plan.record(Section::Forward, &mut encoder).unwrap();
    host::combine(
        &raw,
        &mut encoder,
        &arena,
        part(embedded.place(y), edge.y, 1.0, 0.0),
    );
    plan.record(Section::Backward, &mut encoder).unwrap();
    let descend = part(embedded.place(d_parameters.0), parameters.0, -0.5, 1.0);
    host::combine(&raw, &mut encoder, &arena, descend);
    assert_eq!(
        device.read(&d_parameters.1, 0..4).unwrap(),
        [0.0; 4],
        "nothing ran yet"
    );
    queue.submit([encoder.finish()]);

    let mut read = |id: BufferId| {
        let mut values = vec![0.0; embedded.program.spec(id).len];
        plan.read(id, &mut values).unwrap();
        values
    };
    assert!(
        gradients
            .parameters
            .iter()
            .any(|gradient| gradient.abs() > 0.1)
    );
    assert_eq!(read(y), output.y);
    assert_eq!(read(embedded.network.h_n), output.state.h);
    assert_eq!(read(edge.x.unwrap()), gradients.x);
    assert_eq!(read(d_parameters.0), gradients.parameters);
    assert_eq!(read(edge.y), output.y, "an input is left as it was");
    // Half a gradient is exact, so a fused multiply-add rounds the same.
    let pairs = problem.parameters.data().iter().zip(&gradients.parameters);
    let descended: Vec<f32> = pairs
        .map(|(value, gradient)| value - 0.5 * gradient)
        .collect();
    assert_eq!(read(parameters.0), descended);
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

#[test]
fn recorded_between_the_hosts_own_passes() {
    let both = Direction::BidirectionalConcat;
    let lstm = RnnConfig::lstm(3, 5).layers(2).direction(both);
    let gru = RnnConfig::gru(4, 6)
        .reset(GruReset::Before)
        .direction(Direction::Reverse);
    for builder in [lstm, gru] {
        let problem = Problem::new(builder.build().unwrap());
        for strategy in [Strategy::Persistent, Strategy::Step] {
            one_submission(&problem, strategy);
        }
    }
}

/// A residual network's merge reads the input and writes the output: those may not be parts of one buffer.
#[test]
fn ranges_of_one_buffer_that_would_conflict_are_refused() {
    let config = RnnConfig::gru(4, 4).residual(true).build().unwrap();
    let embedded = Embedded::new(&Problem::new(config));
    let (raw, queue) = host::device();
    let device = GpuDevice::from_device(raw.clone(), queue, &GpuOptions::new());
    let [arena, other] = [(); 2].map(|()| host::buffer(&raw, 4 * embedded.len as u64));
    let load = |y: &wgpu::Buffer| {
        let import = |&(id, start): &(BufferId, usize)| {
            // The backward's split and sum of directions read `d_y` and write `d_x`.
            let gradient = embedded.network.gradients.as_ref().map(|edge| edge.y);
            let moved = id == embedded.network.y || Some(id) == gradient;
            let buffer = if moved { y } else { &arena };
            let len = embedded.program.spec(id).len;
            (id, device.import(buffer, 4 * start as u64, len).unwrap())
        };
        let external: Vec<_> = embedded.places.iter().map(import).collect();
        device.load(embedded.program.clone(), &external)
    };
    let error = load(&arena).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error:?}");
    assert!(error.to_string().contains("`x` and `output`"), "{error}");
    load(&other).unwrap();
}

/// Two devices of two instances, each on a thread of its own, at the same time.
#[test]
fn two_devices_at_once() {
    let config = RnnConfig::lstm(3, 8).layers(2).build().unwrap();
    let problem = Problem::new(config);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let run = || {
            let (raw, queue) = host::device();
            let device = GpuDevice::from_device(raw, queue, &GpuOptions::new());
            let first = problem.plain(&device);
            for _ in 0..5 {
                assert_eq!(problem.plain(&device), first);
            }
            first
        };
        let threads = [scope.spawn(run), scope.spawn(run)];
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(answers[0], answers[1]);
}

/// An async read hands the thread back until the work is done, and gives what a blocking one gives.
#[test]
fn async_reads() {
    let problem = Problem::new(RnnConfig::lstm(3, 32).layers(3).build().unwrap());
    let (raw, queue) = host::device();
    let device = GpuDevice::from_device(raw, queue, &GpuOptions::new());
    let (output, _) = problem.plain(&device);
    let embedded = Embedded::new(&problem);
    let [parameters, gradients] = [0, 1].map(|index| {
        let id = embedded.places[index].0;
        (
            id,
            device.buffer("own", embedded.program.spec(id).len).unwrap(),
        )
    });
    device
        .write(&parameters.1, 0, problem.parameters.data())
        .unwrap();
    let external = [parameters, gradients.clone()];
    let mut plan = device
        .load_plan(embedded.program.clone(), &external)
        .unwrap();
    let x: Vec<f32> = problem.half.iter().map(|value| 2.0 * value).collect();
    plan.write(embedded.network.x, &x).unwrap();
    for section in [Section::Prepare, Section::Forward, Section::Backward] {
        plan.run(section).unwrap();
    }
    let mut y = vec![0.0; output.y.len()];
    pollster::block_on(async {
        plan.read_async(embedded.network.y, &mut y).await.unwrap();
        let len = gradients.1.len();
        let later = device.read_async(&gradients.1, 0..len).await.unwrap();
        assert_eq!(later, device.read(&gradients.1, 0..len).unwrap());
    });
    assert_eq!(y, output.y);
    // Dropped half-way, a read leaves the plan usable.
    let mut dropped = vec![0.0; y.len()];
    {
        let mut reading = std::pin::pin!(plan.read_async(embedded.network.y, &mut dropped));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = reading.as_mut().poll(&mut context);
    }
    let mut again = vec![0.0; y.len()];
    plan.read(embedded.network.y, &mut again).unwrap();
    assert_eq!(again, y);
}
