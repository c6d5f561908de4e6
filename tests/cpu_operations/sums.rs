//! Operations that sum: compared with `f64` loops to within (terms + 2) roundings of the sum of magnitudes, which bounds any
//! order of summation.

use wgpu_rnn::Device;
use wgpu_rnn::cpu::{CpuDevice, CpuOptions, Instructions};
use wgpu_rnn::ops::*;

use super::support::*;

/// How a case of `gemm` uses the table.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Map {
    None,
    GatherM,
    GatherK,
    ScatterM,
}

/// One product; `flags` are whether `a` is transposed, whether there is a bias, whether it is added to `c`, and whether `b`
/// is a matrix of weights, which the device may keep in a layout of its own.
fn gemm_case(values: &mut Values, [m, n, k]: [usize; 3], map: Map, flags: [bool; 4]) {
    let [transposed, with_bias, accumulate, weights] = flags;
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
    let [ia, ibias, ic] = [&a, &bias, &c].map(|content| harness.buffer(content));
    let role = if weights { Role::Packed } else { Role::Input };
    let ib = harness.buffer_of(&b, role);
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
    for set in Instructions::available() {
        let got = harness.run_on(set, &operation.into(), ic);
        assert_close(&got, &expected, |_| (terms + 2.0) * terms * EPSILON / 2.0);
    }
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
        [50, 40, 300],
    ];
    for shape in shapes {
        for map in [Map::None, Map::GatherM, Map::GatherK, Map::ScatterM] {
            for flags in 0..16 {
                let flags = [1, 2, 4, 8].map(|bit| flags & bit > 0);
                if shape[2] > 0 || !flags[2] {
                    gemm_case(&mut values, shape, map, flags);
                }
            }
        }
    }
    // Large enough for several threads.
    for weights in [false, true] {
        let flags = [!weights, true, false, weights];
        gemm_case(&mut values, [400, 160, 130], Map::None, flags);
    }
}

/// Weights that the device keeps in a layout of its own are packed again after they were written.
#[test]
fn new_weights_are_used_at_once() {
    let (m, n, k) = (4, 16, 3);
    let mut harness = Harness::new();
    let a = harness.buffer(&vec![1.0; m * k]);
    let source = harness.buffer(&vec![2.0; k * n]);
    let b = harness.buffer_of(&vec![0.0; k * n], Role::Packed);
    let c = harness.buffer(&vec![0.0; m * n]);
    let mut program = harness.program.clone();
    let copy = CopyJob {
        source: 0,
        target: 0,
        size: [k, n],
        source_strides: [n, 1],
        target_strides: [n, 1],
    };
    let copies = StridedCopies {
        source,
        target: b,
        jobs: vec![copy],
        accumulate: false,
    };
    let product = Gemm {
        a: Matrix::rows(Region::from(a), k),
        b: Matrix::rows(Region::from(b), n),
        c: Matrix::rows(Region::from(c), n),
        m,
        n,
        k,
        map: None,
        bias: None,
        accumulate: false,
    };
    program.push(Section::Prepare, copies);
    program.push(Section::Forward, product);
    let mut plan = CpuDevice::with_threads(1)
        .unwrap()
        .load(program, &[])
        .unwrap();
    plan.write(a, &vec![1.0; m * k]).unwrap();
    let mut result = |write: Option<(BufferId, f32)>, prepare: bool| {
        if let Some((buffer, value)) = write {
            plan.write(buffer, &vec![value; k * n]).unwrap();
        }
        if prepare {
            plan.run(Section::Prepare).unwrap();
        }
        plan.run(Section::Forward).unwrap();
        let mut values = vec![0.0; m * n];
        plan.read(c, &mut values).unwrap();
        assert!(values.iter().all(|value| *value == values[0]));
        values[0]
    };
    assert_eq!(result(None, false), 0.0);
    assert_eq!(result(Some((source, 2.0)), true), 6.0);
    assert_eq!(result(Some((source, 5.0)), false), 6.0, "not packed yet");
    assert_eq!(result(None, true), 15.0);
    assert_eq!(result(Some((b, 1.0)), false), 3.0, "written by the host");
}

/// A device packs weights for the set that it was asked for: of few columns, a panel of wide vectors holds more.
#[test]
fn each_set_packs_weights_for_its_own_vectors() {
    let mut harness = Harness::new();
    let [m, n, k] = [2, 8, 5];
    let [a, c] = [m * k, m * n].map(|len| harness.buffer(&vec![0.0; len]));
    let b = harness.buffer_of(&vec![0.0; k * n], Role::Packed);
    let product = Gemm {
        a: Matrix::rows(a, k),
        b: Matrix::rows(b, n),
        c: Matrix::rows(c, n),
        m,
        n,
        k,
        map: None,
        bias: None,
        accumulate: false,
    };
    let bytes = |set| {
        let options = CpuOptions::new().instructions(set);
        harness.load(product, &options).unwrap().bytes()
    };
    let of_sets: Vec<u64> = Instructions::available().into_iter().map(bytes).collect();
    assert!(
        of_sets.is_sorted_by(|wide, narrow| wide > narrow),
        "{of_sets:?}"
    );
    assert_eq!(of_sets[0], bytes(Instructions::Widest));
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
    for (rows, hidden, slots, mask) in [
        (1, 1, 1, 1),
        (3, 5, 4, 0b1011),
        (200, 17, 4, 0b1111),
        (7, 300, 1, 1),
        (2, 700, 4, 0b0111),
        (5, 9, 3, 0b101),
    ] {
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
        let expected_deviation: Vec<f64> = forward.iter().map(|f| f.1).collect();
        for set in Instructions::available() {
            let forward_operation = Operation::from(operation);
            let got = harness.run_on(set, &forward_operation, ix);
            assert_close(&got, &expected, |i| {
                (4.0 * size + forward[i / units].1) * EPSILON
            });
            let got = harness.run_on(set, &forward_operation, ideviation);
            assert_close(&got, &expected_deviation, |i| {
                2.0 * expected_deviation[i] * EPSILON
            });
        }

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
        for set in Instructions::available() {
            let got = harness.run_on(set, &Operation::from(backward), inormalised);
            assert_close(&got, &expected, |i| {
                8.0 * size * forward[i / units].1 * EPSILON + 1e-7
            });
        }
    }
}
