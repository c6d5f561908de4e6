//! Operations that move elements: exact, but for the sums of two terms, which round once on either side.

use wgpu_rnn::Packing;
use wgpu_rnn::ops::{
    CopyJob, Elementwise, ElementwiseKind, GatherRows, MergeDirections, Region, SplitDirections,
    StridedCopies,
};

use crate::support::{Case, doubles, random};

fn exactly(case: &Case, what: &str, result: wgpu_rnn::ops::BufferId, expected: &[f32]) {
    case.expect(what, result, &doubles(expected), &vec![0.0; expected.len()]);
}

#[test]
fn elementwise() {
    for len in [1, 256, 1_003, 70_000] {
        for kind in [
            ElementwiseKind::Copy,
            ElementwiseKind::Accumulate,
            ElementwiseKind::Multiply,
        ] {
            for same in [false, true] {
                let mut case = Case::new();
                let a = case.buffer("a", random(len + 9, 1));
                let b = case.buffer("b", random(len + 9, 2));
                let target = case.buffer("target", random(len + 9, 3));
                let (a, b) = (
                    Region::from(a).at(4),
                    Region::from(if same { a } else { b }).at(2),
                );
                case.push(Elementwise {
                    kind,
                    a,
                    b: kind.has_second().then_some(b),
                    target: Region::from(target).at(1),
                    len,
                });
                let mut expected = case.contents[2].1.clone();
                for i in 0..len {
                    let x = case.contents[0].1[4 + i];
                    let y = case.contents[if same { 0 } else { 1 }].1[2 + i];
                    match kind {
                        ElementwiseKind::Copy => expected[1 + i] = x,
                        ElementwiseKind::Accumulate => expected[1 + i] += x,
                        ElementwiseKind::Multiply => expected[1 + i] = x * y,
                        other => panic!("no formula for {other:?}"),
                    }
                }
                exactly(&case, &format!("elementwise {kind:?}"), target, &expected);
            }
        }
    }
}

#[test]
fn strided_copies() {
    for accumulate in [false, true] {
        let mut case = Case::new();
        let source = case.buffer("source", random(4_000, 1));
        let target = case.buffer("target", random(5_000, 2));
        let job = |source, target, size, source_strides, target_strides| CopyJob {
            source,
            target,
            size,
            source_strides,
            target_strides,
        };
        let jobs = vec![
            job(7, 11, [1, 1], [1, 1], [1, 1]),
            job(10, 20, [30, 20], [20, 1], [1, 30]),
            job(0, 0, [0, 5], [5, 1], [5, 1]),
            // Every fourth element, as gates are interleaved.
            job(700, 700, [17, 31], [1, 17], [31 * 4, 4]),
            job(2_000, 2_809, [40, 50], [50, 1], [50, 1]),
        ];
        let mut expected = case.contents[1].1.clone();
        for job in &jobs {
            for r in 0..job.size[0] {
                for c in 0..job.size[1] {
                    let at = |start, strides: [usize; 2]| start + r * strides[0] + c * strides[1];
                    let value = case.contents[0].1[at(job.source, job.source_strides)];
                    let slot = &mut expected[at(job.target, job.target_strides)];
                    *slot = if accumulate { *slot + value } else { value };
                }
            }
        }
        case.push(StridedCopies {
            source,
            target,
            jobs,
            accumulate,
        });
        exactly(&case, "strided_copies", target, &expected);
    }
}

#[test]
fn gather_rows() {
    for (rows, width) in [(1, 1), (5, 3), (333, 70), (70_000, 1)] {
        let mut case = Case::new();
        let table: Vec<u32> = (0..rows).map(|i| (i * 7 % (rows + 2)) as u32).collect();
        let (source_stride, target_stride) = (width + 2, width + 1);
        let source = case.buffer("source", random((rows + 2) * source_stride + 3, 1));
        let target = case.buffer("target", random(rows * target_stride + 5, 2));
        let gather = GatherRows {
            source: Region::from(source).at(3),
            source_stride,
            target: Region::from(target).at(5),
            target_stride,
            table: case.program.table(&table),
            rows,
            width,
        };
        case.push(gather);
        let mut expected = case.contents[1].1.clone();
        for i in 0..rows {
            for j in 0..width {
                expected[5 + i * target_stride + j] =
                    case.contents[0].1[3 + table[i] as usize * source_stride + j];
            }
        }
        exactly(&case, "gather_rows", target, &expected);
    }
}

const LENGTHS: [usize; 6] = [5, 1, 0, 9, 9, 300];

/// Which directions run backwards, units of a direction, and offsets: odd ones, and multiples of 4, which kernels take by fours.
fn arrangements() -> impl Iterator<Item = ([bool; 2], usize, [usize; 3])> {
    let reversed = [[false, true], [true, false]].into_iter();
    reversed.flat_map(|reverse| {
        let sizes = [(7, [3, 2, 1]), (8, [4, 12, 8]), (8, [4, 8, 2])];
        sizes.map(|(width, at)| (reverse, width, at))
    })
}

#[test]
fn merge_directions() {
    let packing = Packing::new(&LENGTHS).unwrap();
    let (tokens, reverse_rows) = (packing.tokens(), packing.reverse_rows());
    for (directions, sum, residual) in [
        (1, false, false),
        (1, false, true),
        (2, false, true),
        (2, false, false),
        (2, true, true),
        (2, true, false),
    ] {
        for (reverse, width, at) in arrangements() {
            let [at, residual_at, output_at] = at;
            let mut case = Case::new();
            let table = case.program.table(&reverse_rows);
            let states = case.buffer("states", random(2 * tokens * width + at, 1));
            let output_width = if directions == 2 && !sum {
                2 * width
            } else {
                width
            };
            let below = case.buffer("residual", random(tokens * output_width + residual_at, 2));
            let output = case.buffer("output", random(tokens * output_width + output_at, 3));
            let first = Region::from(states).at(at);
            let merge = MergeDirections {
                states: [
                    Some(first),
                    (directions == 2).then_some(first.at(tokens * width)),
                ],
                reverse,
                table,
                output: Region::from(output).at(output_at),
                residual: residual.then_some(Region::from(below).at(residual_at)),
                tokens,
                width,
                sum,
            };
            assert_eq!(merge.output_width(), output_width);
            case.push(merge);
            let mut expected = case.contents[2].1.clone();
            for token in 0..tokens {
                let row = |d: usize| match reverse[d] {
                    true => reverse_rows[token] as usize,
                    false => token,
                };
                let state = |d: usize, unit: usize| {
                    case.contents[0].1[at + (d * tokens + row(d)) * width + unit]
                };
                for column in 0..output_width {
                    let unit = column % width;
                    let mut value = match (directions, sum) {
                        (2, true) => state(0, unit) + state(1, unit),
                        _ => state(column / width, unit),
                    };
                    if residual {
                        value += case.contents[1].1[residual_at + token * output_width + column];
                    }
                    expected[output_at + token * output_width + column] = value;
                }
            }
            exactly(&case, "merge_directions", output, &expected);
        }
    }
}

#[test]
fn split_directions() {
    let packing = Packing::new(&LENGTHS).unwrap();
    let (tokens, reverse_rows) = (packing.tokens(), packing.reverse_rows());
    for (directions, sum) in [(1, false), (2, false), (2, true)] {
        for (reverse, width, at) in arrangements() {
            let [at, output_at, _] = at;
            let mut case = Case::new();
            let table = case.program.table(&reverse_rows);
            let output_width = if directions == 2 && !sum {
                2 * width
            } else {
                width
            };
            let output = case.buffer("output", random(tokens * output_width + output_at, 1));
            let states = case.buffer("states", random(2 * tokens * width + at, 2));
            let first = Region::from(states).at(at);
            case.push(SplitDirections {
                states: [
                    Some(first),
                    (directions == 2).then_some(first.at(tokens * width)),
                ],
                reverse,
                table,
                output: Region::from(output).at(output_at),
                tokens,
                width,
                sum,
            });
            let mut expected = case.contents[1].1.clone();
            for d in 0..directions {
                for (token, &reverse_row) in reverse_rows.iter().enumerate() {
                    let row = match reverse[d] {
                        true => reverse_row as usize,
                        false => token,
                    };
                    for unit in 0..width {
                        let column = if output_width > width {
                            d * width + unit
                        } else {
                            unit
                        };
                        expected[at + (d * tokens + row) * width + unit] =
                            case.contents[0].1[output_at + token * output_width + column];
                    }
                }
            }
            exactly(&case, "split_directions", states, &expected);
        }
    }
}
