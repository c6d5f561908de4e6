//! Dropout around a network.

use wgpu_rnn::nn::Dropout;
use wgpu_rnn::ops::{RandomPurpose, RandomSite};
use wgpu_rnn::random::dropout_factor;
use wgpu_rnn::{Mode, Packing};

use super::support::*;

const WIDTH: usize = 9;

fn factor(number: u32, (sequence, step, column): (u32, u32, usize)) -> f32 {
    let site = RandomSite {
        layer: number,
        direction: 0,
        purpose: RandomPurpose::Head,
    };
    dropout_factor(7, site, (sequence, step, column as u32), 0.4)
}

/// The backward multiplies by the forward's mask, in place or not; two layers draw different ones.
#[test]
fn rows_of_sequences() {
    let mut values = Values(1);
    let (x, d_y) = (values.vec(5 * WIDTH, 1.0), values.vec(5 * WIDTH, 1.0));
    let mut case = Case::new();
    let [first, second] = [0, 1].map(|number| {
        let chance = (0.4, Mode::Training);
        Dropout::of_sequences(&mut case.program, chance, number, 5).unwrap()
    });
    let [ix, d] = [&x, &d_y].map(|content| case.buffer(content));
    let y = case.result(x.len());
    first.forward(&mut case.program, WIDTH, (ix.into(), y.into()));
    second.backward(&mut case.program, WIDTH, (d.into(), d.into()));
    let masked = |number: u32, values: &[f32]| -> Vec<f32> {
        let place = |i: usize| ((i / WIDTH) as u32, 0, i % WIDTH);
        let pairs = values.iter().enumerate();
        pairs.map(|(i, v)| v * factor(number, place(i))).collect()
    };
    let zeros = |values: &[f32]| values.iter().map(|v| *v == 0.0).collect::<Vec<_>>();
    assert_ne!(zeros(&masked(0, &x)), zeros(&masked(1, &x)));
    case.each([y, d], |device, [y, d]| {
        assert_eq!(y, masked(0, &x), "{device}");
        assert_eq!(d, masked(1, &d_y), "{device}");
    });
}

#[test]
fn rows_of_tokens() {
    let packing = Packing::new(&[2, 0, 4]).unwrap();
    let x = Values(2).vec(packing.tokens() * WIDTH, 1.0);
    let mut case = Case::new();
    let dropout =
        Dropout::of_tokens(&mut case.program, (0.4, Mode::Training), 3, &packing).unwrap();
    let ix = case.buffer(&x);
    let y = case.result(x.len());
    dropout.forward(&mut case.program, WIDTH, (ix.into(), y.into()));
    let (sequences, steps) = (packing.sequence_of_rows(), packing.step_of_rows());
    let expected: Vec<f32> = (x.iter().enumerate())
        .map(|(i, v)| v * factor(3, (sequences[i / WIDTH], steps[i / WIDTH], i % WIDTH)))
        .collect();
    case.each([y], |device, [y]| assert_eq!(y, expected, "{device}"));
}

#[test]
fn nothing_is_dropped_in_evaluation() {
    for chance in [(0.4, Mode::Evaluation), (0.0, Mode::Training)] {
        let mut case = Case::new();
        let dropout = Dropout::of_sequences(&mut case.program, chance, 0, 2).unwrap();
        let x = case.buffer(&[1.0, -2.0]);
        let y = case.result(2);
        dropout.forward(&mut case.program, 1, (x.into(), y.into()));
        dropout.backward(&mut case.program, 1, (x.into(), x.into()));
        case.each([x, y], |device, [x, y]| {
            assert!(x == [1.0, -2.0] && y == x, "{device}");
        });
    }
}
