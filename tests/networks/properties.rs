//! Generated configurations and ragged shapes, other ones in each run: the CPU and the GPU device against the reference.

use crate::common::{DROPOUT, Oracle, Problem, arranged, devices, solve_and_check, variants};
use proptest::prelude::*;
use wgpu_rnn::Mode;
use wgpu_rnn::rnn::GradientMode;

/// Lengths of a batch: mostly short and ragged, with empty sequences among them.
fn lengths() -> impl Strategy<Value = Vec<usize>> {
    let length = prop_oneof![2 => Just(0usize), 6 => 1..6usize, 2 => 6..40usize];
    prop::collection::vec(length, 0..12)
}

/// A variant by number, in sizes around the kernels' tiles.
fn problems() -> impl Strategy<Value = Problem> {
    let size = || prop_oneof![1..5usize, Just(16), Just(17), 30..70usize];
    let case = (0..variants(1, 1).len(), 0..60usize, size(), size());
    let run = (lengths(), any::<u64>(), any::<bool>());
    (case, run).prop_map(
        |((variant, arrangement, input, hidden), (lengths, seed, training))| {
            let (_, builder) = variants(input, hidden).swap_remove(variant);
            let builder = arranged(builder, arrangement);
            let config = match training {
                true => builder.dropout(DROPOUT),
                false => builder,
            };
            let mut problem = Problem::generate(config.build().unwrap(), &lengths, seed);
            problem.mode = [Mode::Evaluation, Mode::Training][usize::from(training)];
            problem
        },
    )
}

fn agree(problem: &Problem, device: usize, mode: GradientMode) -> Result<(), TestCaseError> {
    let (name, device) = &devices()[device];
    solve_and_check(name, &Oracle::new(problem), device, mode)
        .map(|_| ())
        .map_err(TestCaseError::fail)
}

fn modes() -> impl Strategy<Value = GradientMode> {
    prop_oneof![Just(GradientMode::Save), Just(GradientMode::Recompute)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn cpu_agrees_with_the_reference(problem in problems(), mode in modes()) {
        agree(&problem, 0, mode)?;
    }
}

#[cfg(feature = "gpu")]
proptest! {
    // Each new variant compiles pipelines, about a second each on a software adapter.
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn persistent_gpu_agrees_with_the_reference(problem in problems(), mode in modes()) {
        agree(&problem, 1, mode)?;
    }

    #[test]
    fn stepwise_gpu_agrees_with_the_reference(problem in problems(), mode in modes()) {
        agree(&problem, 2, mode)?;
    }
}
