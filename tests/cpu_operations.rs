//! Every operation of the CPU device but the recurrent ones, as a program of one operation, against naive loops.
//!
//! Operations that only move or scale values are compared exactly. Sums are compared with `f64` loops to within
//! (terms + 2) roundings of the sum of magnitudes, which bounds any order of summation.

use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::ops::*;
use wgpu_rnn::{Device, Error, Plan};

const EPSILON: f64 = f32::EPSILON as f64;

/// A generator of values in [-1, 1) that are multiples of 2^-12.
struct Values(u64);

impl Values {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 51) as f32 - 4096.0) / 4096.0
    }

    fn vec(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }
}

/// A program of one operation over given buffers.
struct Harness {
    program: Program,
    content: Vec<(BufferId, Vec<f32>)>,
}

impl Harness {
    fn new() -> Self {
        Self {
            program: Program::new(),
            content: Vec::new(),
        }
    }

    fn buffer(&mut self, content: &[f32]) -> BufferId {
        let id = self.program.buffer("test", content.len(), Role::Input);
        self.content.push((id, content.to_vec()));
        id
    }

    fn load(
        &self,
        operation: impl Into<Operation>,
        threads: usize,
    ) -> Result<Box<dyn Plan>, Error> {
        let mut program = self.program.clone();
        program.push(Section::Forward, operation);
        CpuDevice::with_threads(threads)?.load(program, &[])
    }

    /// The content of `result` after the operation, which must not depend on the number of threads.
    fn run(&self, operation: impl Into<Operation>, result: BufferId) -> Vec<f32> {
        let operation = operation.into();
        let run = |threads| {
            let mut plan = self.load(operation.clone(), threads).unwrap();
            for (id, content) in &self.content {
                plan.write(*id, content).unwrap();
            }
            plan.set_seed(7).unwrap();
            plan.run(Section::Forward).unwrap();
            let mut values = vec![0.0; self.program.spec(result).len];
            plan.read(result, &mut values).unwrap();
            values
        };
        let values = run(1);
        let again = run(3);
        assert!(
            values
                .iter()
                .zip(&again)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
        values
    }
}

#[track_caller]
fn assert_close(got: &[f32], expected: &[f64], tolerance: impl Fn(usize) -> f64) {
    assert_eq!(got.len(), expected.len());
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let difference = (f64::from(got) - expected).abs();
        let tolerance = tolerance(i);
        assert!(
            difference <= tolerance,
            "[{i}] {got} for {expected}, tolerance {tolerance}"
        );
    }
}

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
                b: Region::from(ib).at(3),
                target: it.into(),
                len,
            };
            let mut expected = t.clone();
            for i in 0..len {
                expected[i] = match kind {
                    ElementwiseKind::Copy => a[i + 2],
                    ElementwiseKind::Accumulate => t[i] + a[i + 2],
                    ElementwiseKind::Multiply => a[i + 2] * b[i + 3],
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

/// How a case of `gemm` uses the table.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Map {
    None,
    GatherM,
    GatherK,
    ScatterM,
}

fn gemm_case(values: &mut Values, [m, n, k]: [usize; 3], map: Map, flags: [bool; 3]) {
    let [transposed, with_bias, accumulate] = flags;
    // The table is a permutation over a few rows more than it has.
    let mapped = if map == Map::GatherK { k } else { m };
    let all = mapped + 3;
    let table: Vec<u32> = (0..mapped).map(|i| ((i * 7 + 2) % all) as u32).collect();
    let distinct: std::collections::HashSet<_> = table.iter().collect();
    let table = if distinct.len() == mapped {
        table
    } else {
        (1..=mapped as u32).rev().collect()
    };
    let (a_rows, a_columns) = match map {
        Map::GatherM => (all, k),
        Map::GatherK => (m, all),
        _ => (m, k),
    };
    let c_rows = if map == Map::ScatterM { all } else { m };
    let (a, b) = (values.vec(3 + a_rows * a_columns), values.vec(k * n + 1));
    let (bias, c) = (values.vec(n), values.vec(2 + c_rows * (n + 1)));
    let mut harness = Harness::new();
    let [ia, ib, ibias, ic] = [&a, &b, &bias, &c].map(|content| harness.buffer(content));
    let offset = harness.program.table(&table);
    let a_matrix = match transposed {
        false => Matrix::rows(Region::from(ia).at(3), a_columns),
        true => Matrix::rows(Region::from(ia).at(3), a_rows).transposed(),
    };
    let operation = Gemm {
        a: a_matrix,
        b: Matrix::rows(Region::from(ib).at(1), n),
        c: Matrix::rows(Region::from(ic).at(2), n + 1),
        m,
        n,
        k,
        map: match map {
            Map::None => None,
            Map::GatherM => Some(RowMap::GatherM(offset)),
            Map::GatherK => Some(RowMap::GatherK(offset)),
            Map::ScatterM => Some(RowMap::ScatterM(offset)),
        },
        bias: with_bias.then_some(ibias.into()),
        accumulate,
    };
    let mut expected: Vec<f64> = c.iter().map(|&c| f64::from(c)).collect();
    let row_of = |i: usize, used: bool| if used { table[i] as usize } else { i };
    for i in 0..m {
        for j in 0..n {
            let mut sum = if with_bias { f64::from(bias[j]) } else { 0.0 };
            for p in 0..k {
                let at = row_of(i, map == Map::GatherM) * a_matrix.strides[0]
                    + row_of(p, map == Map::GatherK) * a_matrix.strides[1];
                sum += f64::from(a[3 + at]) * f64::from(b[1 + p * n + j]);
            }
            let c = &mut expected[2 + row_of(i, map == Map::ScatterM) * (n + 1) + j];
            *c = if accumulate { *c + sum } else { sum };
        }
    }
    // All values are at most 1, so that is the sum of magnitudes.
    let terms = k as f64 + 2.0;
    let got = harness.run(operation, ic);
    assert_close(&got, &expected, |_| (terms + 2.0) * terms * EPSILON / 2.0);
}

#[test]
fn gemm_of_every_kind_and_shape() {
    let mut values = Values(3);
    let shapes = [
        [1, 1, 1],
        [1, 5, 3],
        [5, 1, 9],
        [3, 4, 0],
        [17, 9, 2],
        [65, 33, 70],
        [300, 12, 7],
        [9, 12, 600],
    ];
    for shape in shapes {
        for map in [Map::None, Map::GatherM, Map::GatherK, Map::ScatterM] {
            for flags in 0..8 {
                let flags = [flags & 1 > 0, flags & 2 > 0, flags & 4 > 0];
                if shape[2] > 0 || !flags[2] {
                    gemm_case(&mut values, shape, map, flags);
                }
            }
        }
    }
    // Large enough for several threads.
    gemm_case(&mut values, [400, 160, 130], Map::None, [true, true, false]);
}

#[test]
fn column_sums() {
    let mut values = Values(4);
    for [rows, columns] in [[1, 1], [0, 3], [7, 130], [1000, 65]] {
        let (a, b) = (
            values.vec(rows * (columns + 2) + 1),
            values.vec(rows * columns + 1),
        );
        let before = values.vec(columns);
        for (with_b, accumulate) in [(false, false), (true, true), (true, false)] {
            let mut harness = Harness::new();
            let [ia, ib, it] = [&a, &b, &before].map(|content| harness.buffer(content));
            let operation = ColumnSums {
                a: ia.into(),
                a_stride: columns + 2,
                b: with_b.then_some(ib.into()),
                b_stride: columns,
                target: it.into(),
                rows,
                columns,
                accumulate,
            };
            let expected: Vec<f64> = (0..columns)
                .map(|c| {
                    let terms = (0..rows).map(|r| {
                        let factor = if with_b { b[r * columns + c] } else { 1.0 };
                        f64::from(a[r * (columns + 2) + c]) * f64::from(factor)
                    });
                    terms.sum::<f64>()
                        + if accumulate {
                            f64::from(before[c])
                        } else {
                            0.0
                        }
                })
                .collect();
            if rows == 0 && accumulate {
                continue;
            }
            // Blocks of 64 rows are rounded at each of their terms, and the total once.
            let tolerance =
                |c: usize| (rows as f64 * 66.0 / 2.0 + expected[c].abs() + 1.0) * EPSILON;
            assert_close(&harness.run(operation, it), &expected, tolerance);
        }
    }
}

/// `(normalised, deviation)` of one row in f64.
fn normalise(row: &[f64], slots: usize, mask: u32, epsilon: f64) -> (Vec<f64>, f64) {
    let chosen: Vec<f64> = (0..row.len())
        .filter(|i| mask >> (i % slots) & 1 == 1)
        .map(|i| row[i])
        .collect();
    let mean = chosen.iter().sum::<f64>() / chosen.len() as f64;
    let variance = chosen.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / chosen.len() as f64;
    let deviation = 1.0 / (variance + epsilon).sqrt();
    let normalised = |i: usize| match mask >> (i % slots) & 1 {
        1 => (row[i] - mean) * deviation,
        _ => 0.0,
    };
    ((0..row.len()).map(normalised).collect(), deviation)
}

#[test]
fn layer_norm_rows_and_its_backward() {
    let mut values = Values(5);
    for (rows, hidden, slots, mask) in [(1, 1, 1, 1), (3, 5, 4, 0b1011), (200, 17, 4, 0b1111)] {
        let units = hidden * slots;
        let (x, scale, bias) = (
            values.vec(rows * units),
            values.vec(units),
            values.vec(units),
        );
        let gradient = values.vec(rows * units);
        let epsilon = 1e-3f32;
        let forward: Vec<(Vec<f64>, f64)> = x
            .chunks(units)
            .map(|row| {
                let row: Vec<f64> = row.iter().map(|&v| f64::from(v)).collect();
                normalise(&row, slots, mask, f64::from(epsilon))
            })
            .collect();
        let mut harness = Harness::new();
        let [ix, iscale, ibias, igradient] =
            [&x, &scale, &bias, &gradient].map(|content| harness.buffer(content));
        let deviations: Vec<f32> = forward.iter().map(|f| f.1 as f32).collect();
        let ideviation = harness.buffer(&deviations);
        let normalised: Vec<f32> = forward
            .iter()
            .flat_map(|f| f.0.iter().map(|&v| v as f32))
            .collect();
        let inormalised = harness.buffer(&normalised);
        let operation = LayerNormRows {
            values: ix.into(),
            deviation: ideviation.into(),
            scale: Some(iscale.into()),
            bias: Some(ibias.into()),
            rows,
            hidden,
            slots,
            slot_mask: mask,
            epsilon,
        };
        let in_mask = |i: usize| mask >> (i % slots) & 1 == 1;
        let expected: Vec<f64> = forward
            .iter()
            .flat_map(|f| (0..units).map(|i| f.0[i] * f64::from(scale[i]) + f64::from(bias[i])))
            .collect();
        // Three roundings of a value of at most sqrt(units), and the mean's rounding times the deviation.
        let size = (units as f64).sqrt() + 1.0;
        assert_close(&harness.run(operation, ix), &expected, |i| {
            (4.0 * size + forward[i / units].1) * EPSILON
        });
        let expected_deviation: Vec<f64> = forward.iter().map(|f| f.1).collect();
        let got = harness.run(operation, ideviation);
        assert_close(&got, &expected_deviation, |i| {
            2.0 * expected_deviation[i] * EPSILON
        });

        let backward = LayerNormRowsBackward {
            normalised: inormalised.into(),
            deviation: ideviation.into(),
            scale: iscale.into(),
            gradient: igradient.into(),
            rows,
            hidden,
            slots,
            slot_mask: mask,
        };
        // By finite differences of the f64 forward, whose error is far below f32's.
        let loss = |row: usize, x: &[f64]| -> f64 {
            let (n, _) = normalise(x, slots, mask, f64::from(epsilon));
            let d = |i: usize| f64::from(gradient[row * units + i]) * f64::from(scale[i]);
            (0..units).map(|i| n[i] * d(i)).sum()
        };
        let mut expected = Vec::new();
        for row in 0..rows {
            let base: Vec<f64> = x[row * units..][..units]
                .iter()
                .map(|&v| f64::from(v))
                .collect();
            for i in 0..units {
                let mut moved = [base.clone(), base.clone()];
                let step = 1e-5;
                moved[0][i] += step;
                moved[1][i] -= step;
                let slope = (loss(row, &moved[0]) - loss(row, &moved[1])) / (2.0 * step);
                expected.push(if in_mask(i) { slope } else { 0.0 });
            }
        }
        // Roundings of the three terms times the deviation; 1e-7 is the finite differences'.
        assert_close(&harness.run(backward, inormalised), &expected, |i| {
            8.0 * size * forward[i / units].1 * EPSILON + 1e-7
        });
    }
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

#[test]
fn losses_norms_and_adam() {
    let mut values = Values(8);
    for len in [1, 5, 50_000] {
        let (p, t) = (values.vec(len), values.vec(len));
        let mut harness = Harness::new();
        let (ip, it) = (harness.buffer(&p), harness.buffer(&t));
        let iout = harness.buffer(&vec![0.0; len + 1]);
        let error = |i: usize| f64::from(p[i]) - f64::from(t[i]);
        // Gradient and loss in one buffer, as a program may have them.
        let operation = MeanSquaredError {
            prediction: ip.into(),
            target: it.into(),
            gradient: Region::from(iout).at(1),
            loss: iout.into(),
            len,
        };
        let loss = (0..len).map(|i| error(i).powi(2)).sum::<f64>() / len as f64;
        let mut expected = vec![loss];
        expected.extend((0..len).map(|i| 2.0 * error(i) / len as f64));
        assert_close(&harness.run(operation, iout), &expected, |i| {
            2.0 * expected[i].abs() * EPSILON
        });

        let operation = SquaredNorm {
            values: ip.into(),
            target: iout.into(),
            len,
        };
        let norm = p.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
        assert_close(&harness.run(operation, iout)[..1], &[norm], |_| {
            norm * EPSILON
        });
    }
    adam(0.0);
    adam(0.5);
}

fn adam(largest_norm: f32) {
    let mut values = Values(9);
    let len = 20_001;
    let (p, g, m) = (values.vec(len), values.vec(len), values.vec(len));
    let v: Vec<f32> = values.vec(len).iter().map(|v| v.abs()).collect();
    let squared_norm = g.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>() as f32;
    let (rate, b1, b2, epsilon, t) = (1e-2f64, 0.9f64, 0.99f64, 1e-8f64, 3);
    let settings = [
        rate,
        b1,
        b2,
        epsilon,
        1.0 - b1.powi(t),
        (1.0 - b2.powi(t)).sqrt(),
        f64::from(largest_norm),
        0.0,
    ];
    let settings = settings.map(|v| v as f32);
    let mut harness = Harness::new();
    let [ip, ig, im] =
        [&p, &g, &[m.clone(), v.clone()].concat()].map(|content| harness.buffer(content));
    let inorm = harness.buffer(&[squared_norm]);
    let isettings = harness.buffer(&settings);
    let operation = Adam {
        parameters: ip.into(),
        gradients: ig.into(),
        moments: im.into(),
        squared_norm: inorm.into(),
        settings: isettings.into(),
        len,
    };
    let norm = f64::from(squared_norm).sqrt() + 1e-6;
    let factor = if largest_norm > 0.0 {
        (f64::from(largest_norm) / norm).min(1.0)
    } else {
        1.0
    };
    let [mut parameters, mut first, mut second] = [vec![], vec![], vec![]];
    for i in 0..len {
        let g = f64::from(g[i]) * factor;
        let m = b1 * f64::from(m[i]) + (1.0 - b1) * g;
        let v = b2 * f64::from(v[i]) + (1.0 - b2) * g * g;
        let change = rate / (1.0 - b1.powi(t)) * m / ((v / (1.0 - b2.powi(t))).sqrt() + epsilon);
        parameters.push(f64::from(p[i]) - change);
        first.push(m);
        second.push(v);
    }
    // The settings are rounded to f32, 1 - b2 loses two digits, and the change has ten roundings in all.
    let changes: Vec<f64> = (0..len)
        .map(|i| (parameters[i] - f64::from(p[i])).abs())
        .collect();
    let got = harness.run(operation, ip);
    assert_close(&got, &parameters, |i| (1.0 + 110.0 * changes[i]) * EPSILON);
    let moments = [first, second].concat();
    assert_close(&harness.run(operation, im), &moments, |_| 8.0 * EPSILON);
}

#[test]
fn programs_that_leave_their_buffers_are_refused() {
    let mut harness = Harness::new();
    let (a, b) = (harness.buffer(&[0.0; 10]), harness.buffer(&[0.0; 10]));
    let table = harness.program.table(&[0, 5]);
    let copy = |from: Region, to: Region, len| Elementwise {
        kind: ElementwiseKind::Copy,
        a: from,
        b: from,
        target: to,
        len,
    };
    let refused = |operation: Operation| harness.load(operation, 1).unwrap_err();
    let out = refused(copy(a.into(), Region::from(b).at(1), 10).into());
    assert!(matches!(out, Error::Shape { .. }), "{out}");
    let huge = refused(copy(Region::from(a).at(usize::MAX), b.into(), 2).into());
    assert!(matches!(huge, Error::Shape { .. }), "{huge}");
    let shared = refused(copy(a.into(), Region::from(a).at(5), 5).into());
    assert!(matches!(shared, Error::State(_)), "{shared}");
    let gather = GatherRows {
        source: a.into(),
        source_stride: 2,
        target: b.into(),
        target_stride: 2,
        table,
        rows: 2,
        width: 2,
    };
    assert!(matches!(refused(gather.into()), Error::Shape { .. }));
    let beyond = GatherRows {
        table: table.at(1),
        ..gather
    };
    assert!(matches!(refused(beyond.into()), Error::Shape { .. }));
    let overlap = MeanSquaredError {
        prediction: a.into(),
        target: a.into(),
        gradient: b.into(),
        loss: Region::from(b).at(3),
        len: 4,
    };
    assert!(matches!(refused(overlap.into()), Error::State(_)));
    let overflow = SquaredNorm {
        values: a.into(),
        target: b.into(),
        len: usize::MAX,
    };
    assert!(matches!(refused(overflow.into()), Error::Shape { .. }));
}

#[test]
fn external_buffers_are_shared_and_checked() {
    let device = CpuDevice::with_threads(1).unwrap();
    let mut program = Program::new();
    let values = program.buffer("values", 3, Role::External);
    let own = program.buffer("own", 3, Role::Output);
    program.push(
        Section::Forward,
        Fill {
            target: values.into(),
            len: 3,
            value: 4.0,
        },
    );
    let load = |external: &[(BufferId, wgpu_rnn::DeviceBuffer)]| {
        device
            .load(program.clone(), external)
            .map(|_| ())
            .unwrap_err()
    };
    assert!(matches!(load(&[]), Error::Shape { .. }));
    let (short, right) = (
        device.buffer("short", 2).unwrap(),
        device.buffer("right", 3).unwrap(),
    );
    assert!(matches!(load(&[(values, short)]), Error::Shape { .. }));
    assert!(matches!(
        load(&[(values, right.clone()), (own, right.clone())]),
        Error::Shape { .. }
    ));
    let mut plan = device
        .load(program.clone(), &[(values, right.clone())])
        .unwrap();
    plan.run(Section::Forward).unwrap();
    assert_eq!(device.read(&right, 1..3).unwrap(), [4.0, 4.0]);
    assert_eq!(plan.bytes(), 12);
    assert!(plan.write(own, &[0.0; 4]).is_err());
    assert!(plan.read(own, &mut [0.0; 2]).is_err());
    assert!(device.read(&right, 2..4).is_err());
    assert!(device.write(&right, usize::MAX, &[0.0; 2]).is_err());
    assert!(CpuDevice::with_threads(0).is_err());
}
