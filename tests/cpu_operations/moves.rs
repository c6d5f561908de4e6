//! Operations that move or scale values: compared exactly.

use wgpu_rnn::ops::*;

use super::support::*;

#[test]
fn fill_and_elementwise() {
    let mut values = Values(1);
    for len in [1, 3, 70_001] {
        let (a, b, t) = (
            values.vec(len + 2),
            values.vec(len + 3),
            values.vec(len + 1),
        );
        let mut harness = Harness::new();
        let [ia, ib, it] = [&a, &b, &t].map(|content| harness.buffer(content));
        let fill = Fill {
            target: Region::from(it).at(1),
            len,
            value: 2.5,
        };
        let mut expected = t.clone();
        expected[1..].fill(2.5);
        assert_eq!(harness.run(fill, it), expected);
        for kind in [
            ElementwiseKind::Copy,
            ElementwiseKind::Accumulate,
            ElementwiseKind::Multiply,
        ] {
            let operation = Elementwise {
                kind,
                a: Region::from(ia).at(2),
                b: kind.has_second().then_some(Region::from(ib).at(3)),
                target: it.into(),
                len,
            };
            let mut expected = t.clone();
            for i in 0..len {
                expected[i] = match kind {
                    ElementwiseKind::Copy => a[i + 2],
                    ElementwiseKind::Accumulate => t[i] + a[i + 2],
                    ElementwiseKind::Multiply => a[i + 2] * b[i + 3],
                    other => panic!("no formula for {other:?}"),
                };
            }
            assert_eq!(harness.run(operation, it), expected);
        }
    }
}

#[test]
fn strided_copies_and_gather_rows() {
    let mut values = Values(2);
    let (source, target) = (values.vec(6000), values.vec(6000));
    let mut harness = Harness::new();
    let (from, to) = (harness.buffer(&source), harness.buffer(&target));
    let jobs = vec![
        CopyJob {
            source: 3,
            target: 1,
            size: [5, 7],
            source_strides: [7, 1],
            target_strides: [1, 5],
        },
        CopyJob {
            source: 0,
            target: 100,
            size: [40, 33],
            source_strides: [1, 41],
            target_strides: [132, 4],
        },
        CopyJob {
            source: 9,
            target: 101,
            size: [1, 2],
            source_strides: [9, 3],
            target_strides: [8, 4],
        },
    ];
    for accumulate in [false, true] {
        let mut expected = target.clone();
        for job in &jobs {
            for r in 0..job.size[0] {
                for c in 0..job.size[1] {
                    let value =
                        source[job.source + r * job.source_strides[0] + c * job.source_strides[1]];
                    let at = job.target + r * job.target_strides[0] + c * job.target_strides[1];
                    expected[at] = if accumulate {
                        expected[at] + value
                    } else {
                        value
                    };
                }
            }
        }
        let operation = StridedCopies {
            source: from,
            target: to,
            jobs: jobs.clone(),
            accumulate,
        };
        assert_eq!(harness.run(operation, to), expected);
    }
    let rows = [4, 0, 4, 9];
    let table = harness.program.table(&rows);
    let operation = GatherRows {
        source: Region::from(from).at(5),
        source_stride: 6,
        target: Region::from(to).at(2),
        target_stride: 8,
        table,
        rows: 4,
        width: 5,
    };
    let mut expected = target.clone();
    for (i, &row) in rows.iter().enumerate() {
        for j in 0..5 {
            expected[2 + i * 8 + j] = source[5 + row as usize * 6 + j];
        }
    }
    assert_eq!(harness.run(operation, to), expected);
}

#[test]
fn merge_and_split_directions() {
    let mut values = Values(6);
    let (tokens, width) = (5, 3);
    let reverse_rows = [3, 4, 2, 0, 1];
    let (states, residual) = (
        values.vec(2 * tokens * width + 1),
        values.vec(tokens * 2 * width),
    );
    for (directions, sum, reverse) in [
        (1, false, [false, false]),
        (1, false, [true, false]),
        (2, false, [false, true]),
        (2, true, [false, true]),
    ] {
        let mut harness = Harness::new();
        let table = harness.program.table(&reverse_rows);
        let output_width = if directions == 2 && !sum {
            2 * width
        } else {
            width
        };
        let (istates, iresidual) = (harness.buffer(&states), harness.buffer(&residual));
        let ioutput = harness.buffer(&vec![9.0; tokens * output_width]);
        let regions = [
            Some(Region::from(istates).at(1)),
            (directions == 2).then_some(Region::from(istates).at(1 + tokens * width)),
        ];
        let row = |d: usize, token: usize| {
            if reverse[d] {
                reverse_rows[token] as usize
            } else {
                token
            }
        };
        let state =
            |d: usize, token: usize, j: usize| states[1 + (d * tokens + row(d, token)) * width + j];
        for with_residual in [false, true] {
            let operation = MergeDirections {
                states: regions,
                reverse,
                table,
                output: ioutput.into(),
                residual: with_residual.then_some(iresidual.into()),
                tokens,
                width,
                sum,
            };
            let mut expected = Vec::new();
            for token in 0..tokens {
                for j in 0..output_width {
                    let start = if with_residual {
                        residual[token * output_width + j]
                    } else {
                        0.0
                    };
                    expected.push(match (directions, sum) {
                        (2, true) => start + state(0, token, j) + state(1, token, j),
                        _ => start + state(j / width, token, j % width),
                    });
                }
            }
            assert_eq!(harness.run(Operation::from(operation), ioutput), expected);
        }
        let split = SplitDirections {
            states: regions,
            reverse,
            table,
            output: iresidual.into(),
            tokens,
            width,
            sum,
        };
        let mut expected = states.clone();
        for d in 0..directions {
            for token in 0..tokens {
                for j in 0..width {
                    let column = if sum { j } else { d * width + j };
                    expected[1 + (d * tokens + row(d, token)) * width + j] =
                        residual[token * output_width + column];
                }
            }
        }
        assert_eq!(harness.run(split, istates), expected);
    }
}

#[test]
fn dropout_rows() {
    let mut values = Values(7);
    let (rows, width) = (6, 5);
    let x = values.vec(rows * width);
    let mut harness = Harness::new();
    let (ix, it) = (harness.buffer(&x), harness.buffer(&vec![0.0; rows * width]));
    let (sequence, step) = ([2, 0, 1, 2, 0, 2], [0, 0, 0, 1, 1, 2]);
    let sequences = harness.program.table(&sequence);
    let steps = harness.program.table(&step);
    let site = RandomSite {
        layer: 1,
        direction: 0,
        purpose: RandomPurpose::Between,
    };
    for (source, with_steps) in [
        (Some(ix), true),
        (Some(ix), false),
        (None, true),
        (Some(it), true),
    ] {
        let operation = DropoutRows {
            source: source.map(Region::from),
            target: it.into(),
            rows,
            width,
            sequences,
            steps: with_steps.then_some(steps),
            probability: 0.4,
            site,
        };
        if source == Some(it) {
            harness.content[1].1 = x.clone();
        }
        let mut expected = Vec::new();
        for row in 0..rows {
            for column in 0..width {
                let place = (
                    sequence[row],
                    if with_steps { step[row] } else { 0 },
                    column as u32,
                );
                let mask = wgpu_rnn::random::dropout_factor(7, site, place, 0.4);
                expected.push(if source.is_some() {
                    x[row * width + column] * mask
                } else {
                    mask
                });
            }
        }
        assert!(expected.contains(&0.0));
        assert_eq!(harness.run(operation, it), expected);
    }
}
