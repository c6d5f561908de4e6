//! Recurrences that do not fit their buffers or contradict themselves.

use std::sync::Arc;

use wgpu_rnn::ops::{
    Operation, Program, Recurrence, RecurrentBackward, Region, Role, Section, StateRegions,
};
use wgpu_rnn::packed::PackedLayout;
use wgpu_rnn::{Cell, Device, Error, GruReset, LayerNormKind, Mode, Packing, RnnConfig};

/// A recurrence of two sequences of 3 and 2 steps in a program with its buffers.
pub(crate) fn recurrence(config: &RnnConfig) -> (Program, Recurrence) {
    let packing = Packing::new(&[3, 2]).unwrap();
    let layout = PackedLayout::new(config, 0).unwrap();
    let (spec, hidden, state) = (*config.spec(), config.hidden_size(), config.state_size());
    let (batch, tokens) = (2, 5);
    let mut program = Program::new();
    let mut buffer = |label, len| program.buffer(label, len, Role::Input);
    let gates = buffer("gates", tokens * hidden * layout.slots);
    let sums = (spec.is_whole_norm()).then(|| buffer("sums", tokens * hidden * layout.slots));
    let (h, c) = ((batch + tokens) * state, (batch + tokens) * hidden);
    let states = Region::from(buffer("states", h + c + tokens * hidden));
    let weights = buffer("weights", layout.len());
    let words: Vec<u32> = packing.offsets().iter().map(|&row| row as u32).collect();
    let operation = Recurrence {
        spec,
        layer: 0,
        hidden,
        state,
        directions: 1,
        batch,
        tokens,
        offsets_table: program.table(&words),
        order_table: program.table(&[0, 1]),
        offsets: Arc::new(packing),
        steps: 0..3,
        gates: gates.into(),
        gate_rows: tokens,
        first_row: 0,
        recurrent_sums: sums.map(Region::from),
        states: StateRegions {
            h: states,
            recurrent_input: states,
            mask: None,
            c: (spec.cell == Cell::Lstm).then_some(states.at(h)),
            second: spec.has_second_product().then_some(states.at(h + c)),
        },
        running: None,
        weights: weights.into(),
        layout,
        mode: Mode::Evaluation,
        keeps_gates: true,
    };
    (program, operation)
}

/// What goes wrong when a program of one operation is loaded.
pub(crate) fn load(
    device: &dyn Device,
    program: &Program,
    operation: impl Into<Operation>,
) -> Result<(), Error> {
    let mut program = program.clone();
    program.push(Section::Forward, operation);
    device.load(program, &[]).map(|_| ())
}

/// A cell of each kind.
pub(crate) fn cells() -> Vec<RnnConfig> {
    let builders = [
        RnnConfig::elman(3, 4),
        RnnConfig::lstm(3, 4),
        RnnConfig::lstm(3, 4).projection(2, true),
        RnnConfig::lstm(3, 4).layer_norm(LayerNormKind::WholeThenSum, 1e-5),
        RnnConfig::gru(3, 4).reset(GruReset::Before),
    ];
    { builders.into_iter() }
        .map(|builder| builder.build().unwrap())
        .collect()
}

/// Changes after which a recurrence fits no longer.
const CHANGES: [fn(&mut Recurrence); 18] = [
    |op| op.hidden += 1,
    |op| op.state += 1,
    |op| op.directions = 2,
    |op| op.directions = 0,
    |op| op.batch = 3,
    |op| op.batch = usize::MAX,
    |op| op.tokens = 4,
    |op| op.steps = 0..4,
    |op| op.gate_rows = 4,
    |op| op.gate_rows = usize::MAX / 8,
    |op| op.first_row = 1,
    |op| op.gates.offset = 1,
    |op| op.states.h.offset = usize::MAX / 2,
    |op| op.layout.recurrent = op.layout.len(),
    |op| op.layout.recurrent_transposed = op.layout.len(),
    |op| op.layout.vectors = op.layout.len() + 1,
    |op| op.recurrent_sums = op.recurrent_sums.xor(Some(op.gates)),
    |op| op.states.c = op.states.c.xor(Some(op.states.h)),
];

/// Every one of them, and gradients that are too short or missing.
pub(crate) fn are_refused_by(device: &dyn Device) {
    for config in cells() {
        let (program, right) = recurrence(&config);
        let name = format!("{:?}", right.spec.cell);
        load(device, &program, right.clone()).unwrap();
        for (index, change) in CHANGES.into_iter().enumerate() {
            let mut wrong = right.clone();
            change(&mut wrong);
            let loaded = load(device, &program, wrong);
            assert!(loaded.is_err(), "{name}, change {index}");
        }
        let mut wrong = right.clone();
        wrong.states.second = wrong.states.second.xor(Some(right.states.h));
        assert!(load(device, &program, wrong).is_err(), "{name}: second");
        let mut wrong = right.clone();
        wrong.states.mask = Some(right.states.h);
        assert!(load(device, &program, wrong).is_err(), "{name}: mask");
        gradients_are_refused_by(device, program, right);
    }
}

fn gradients_are_refused_by(device: &dyn Device, mut program: Program, forward: Recurrence) {
    let (hidden, sequences) = (forward.hidden, forward.batch);
    let vectors = forward.layout.vectors_len();
    let output = program.buffer("output", forward.tokens * forward.state, Role::Input);
    let carry = sequences * (forward.state + 3 * hidden + vectors);
    let carry = Region::from(program.buffer("carry", carry, Role::Input));
    let d_c = sequences * forward.state;
    let scratch = d_c + sequences * hidden;
    let right = RecurrentBackward {
        rebuilt: false,
        output_gradient: output.into(),
        h_gradient: carry,
        c_gradient: forward.states.c.map(|_| carry.at(d_c)),
        scratch: Some(carry.at(scratch)),
        mask: None,
        vector_sums: (vectors > 0).then_some(carry.at(scratch + 2 * sequences * hidden)),
        forward,
    };
    let name = format!("{:?}", right.forward.spec.cell);
    load(device, &program, right.clone()).unwrap();
    let changes: [fn(&mut RecurrentBackward); 5] = [
        |op| op.output_gradient.offset = 1,
        |op| op.h_gradient.offset = usize::MAX,
        |op| op.c_gradient = op.c_gradient.xor(Some(op.h_gradient)),
        |op| op.forward.steps = 0..4,
        |op| op.forward.layout.vectors = op.forward.layout.len() + 1,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut wrong = right.clone();
        change(&mut wrong);
        let loaded = load(device, &program, wrong);
        assert!(loaded.is_err(), "{name}, change {index} of the backward");
    }
    if vectors > 0 {
        let mut wrong = right;
        wrong.vector_sums = None;
        assert!(load(device, &program, wrong).is_err(), "{name}: vectors");
    }
}
