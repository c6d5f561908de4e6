//! Dropout: the very masks that `wgpu_rnn::random` draws on the host.

use wgpu_rnn::ops::{DropoutRows, RandomPurpose, RandomSite, Region};
use wgpu_rnn::random::dropout_factor;

use crate::support::{Case, compare, doubles, random};

#[derive(Clone, Copy, PartialEq)]
enum Source {
    None,
    InPlace,
    Other,
}

fn check(source: Source, with_steps: bool, (rows, width): (usize, usize), seed: u64) {
    let mut case = Case::new();
    let sequences: Vec<u32> = (0..rows as u32).map(|row| row.wrapping_mul(977)).collect();
    let steps: Vec<u32> = (0..rows as u32).map(|row| row * 3).collect();
    let other = case.buffer("source", random(rows * width + 3, 1));
    let target = case.buffer("target", random(rows * width + 2, 2));
    let site = RandomSite {
        layer: 3,
        direction: 1,
        purpose: RandomPurpose::Input,
    };
    let probability = 0.3;
    let dropout = DropoutRows {
        source: match source {
            Source::None => None,
            Source::InPlace => Some(Region::from(target).at(2)),
            Source::Other => Some(Region::from(other).at(3)),
        },
        target: Region::from(target).at(2),
        rows,
        width,
        sequences: case.program.table(&sequences),
        steps: with_steps.then(|| case.program.table(&steps)),
        probability,
        site,
    };
    case.push(dropout);
    let mut expected = case.contents[1].1.clone();
    for row in 0..rows {
        for column in 0..width {
            let step = if with_steps { steps[row] } else { 0 };
            let mask = dropout_factor(
                seed,
                site,
                (sequences[row], step, column as u32),
                probability,
            );
            let index = row * width + column;
            expected[2 + index] = match source {
                Source::None => mask,
                Source::InPlace => mask * expected[2 + index],
                Source::Other => mask * case.contents[0].1[3 + index],
            };
        }
    }
    let exact = vec![0.0; expected.len()];
    for (device, results) in case.run(seed, &[target]) {
        let what = format!("dropout_rows on {device}");
        compare(&what, &results[0], &doubles(&expected), &exact);
    }
}

#[test]
fn dropout_rows() {
    for source in [Source::None, Source::InPlace, Source::Other] {
        for with_steps in [false, true] {
            check(source, with_steps, (1, 1), 0);
            check(source, with_steps, (67, 13), 0x0123_4567_89ab_cdef);
        }
    }
    check(Source::Other, true, (700, 101), u64::MAX);
}
