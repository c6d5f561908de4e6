//! Recomputing gates: several times less memory for activations, the same gradients.

use crate::common::{Oracle, Problem, check, devices};
use wgpu_rnn::rnn::GradientMode;
use wgpu_rnn::{Direction, RnnConfig};

/// Saved, a step of an LSTM keeps 4 gates, h and c for each unit, 6 values; recomputed, h and c.
#[test]
fn recomputing_keeps_a_third_of_an_lstms_activations() {
    let builder = RnnConfig::lstm(6, 24).layers(2);
    let config = builder
        .direction(Direction::BidirectionalConcat)
        .build()
        .unwrap();
    let problem = Problem::generate(config, &[60, 17, 0, 60, 41], 3);
    let oracle = Oracle::new(&problem);
    for (name, device) in devices() {
        let mut rnn = problem.rnn(device).unwrap();
        rnn.set_chunk_rows(16);
        let mut run = |mode| {
            rnn.set_gradient_mode(mode);
            let output = rnn.forward(&problem.batch, problem.initial.as_ref(), problem.mode);
            let gradients = rnn.backward(&problem.up).unwrap();
            let answer = (output.unwrap(), gradients);
            check(&oracle, &answer, device).unwrap_or_else(|error| panic!("{name}: {error}"));
            rnn.bytes()
        };
        let (saved, all_saved) = run(GradientMode::Save);
        let (recomputed, all_recomputed) = run(GradientMode::Recompute);
        println!("{name}: {saved} bytes of activations saved, {recomputed} recomputed");
        // Beside the states there is the input of each layer, which both keep.
        assert!(2 * recomputed <= saved, "{name}: {recomputed}, {saved}");
        assert!(
            all_recomputed < all_saved,
            "{name}: {all_recomputed}, {all_saved}"
        );
        // What is reported as activations is at least what the algorithm has to keep.
        let tokens = 60 + 17 + 60 + 41;
        let states = 4 * 2 * 2 * 24 * 2 * tokens;
        assert!(
            recomputed >= states && saved >= 3 * states,
            "{recomputed}, {saved}, {states}"
        );
    }
}
