//! Reductions and the optimizer.

use wgpu_rnn::ops::{Adam, ColumnSums, MeanSquaredError, Region, SquaredNorm};

use crate::support::{Case, compare, random, whole};

const EPSILON: f64 = f32::EPSILON as f64;

fn check_columns((rows, columns): (usize, usize), multiply: bool, accumulate: bool, exact: bool) {
    let random = if exact { whole } else { random };
    let mut case = Case::new();
    let (a_stride, b_stride) = (columns + 1, columns + 2);
    let a = case.buffer("a", random(rows * a_stride + 4, 1));
    let b = case.buffer("b", random(rows * b_stride + 5, 2));
    let target = case.buffer("target", random(columns + 6, 3));
    case.push(ColumnSums {
        a: Region::from(a).at(4),
        a_stride,
        b: multiply.then_some(Region::from(b).at(5)),
        b_stride,
        target: Region::from(target).at(6),
        rows,
        columns,
        accumulate,
    });
    let mut expected: Vec<f64> = case.contents[2].1.iter().map(|&v| v.into()).collect();
    let mut tolerance = vec![0.0; expected.len()];
    for column in 0..columns {
        let start = if accumulate {
            expected[6 + column]
        } else {
            0.0
        };
        let (mut sum, mut size) = (start, start.abs());
        for row in 0..rows {
            let mut term = f64::from(case.contents[0].1[4 + row * a_stride + column]);
            if multiply {
                term *= f64::from(case.contents[1].1[5 + row * b_stride + column]);
            }
            sum += term;
            size += term.abs();
        }
        expected[6 + column] = sum;
        // Any order of `rows` terms, each rounded once more if it is a product, and one accumulation.
        tolerance[6 + column] = (rows + 2) as f64 * EPSILON * size;
    }
    if exact {
        tolerance.fill(0.0);
    }
    let what = format!("column_sums {rows} x {columns}");
    case.expect(&what, target, &expected, &tolerance);
}

#[test]
fn column_sums() {
    for shape in [(1, 1), (0, 3), (3, 17), (1_000, 33), (40, 1_100)] {
        for (multiply, accumulate) in [(false, false), (true, true), (true, false)] {
            check_columns(shape, multiply, accumulate, false);
        }
    }
}

/// More rows than one dispatch sums: in one, Mesa's software adapter would silently end the loops after 65,535 iterations
/// of 16 rows each.
#[test]
fn column_sums_of_many_rows() {
    check_columns((1_200_001, 2), false, true, true);
}

#[test]
fn squared_norm() {
    for len in [1, 255, 4_097, 1_000_003] {
        let mut case = Case::new();
        let values = case.buffer("values", random(len + 3, 1));
        let target = case.buffer("target", random(3, 2));
        case.push(SquaredNorm {
            values: Region::from(values).at(3),
            target: Region::from(target).at(1),
            len,
        });
        let sum: f64 = case.contents[0].1[3..]
            .iter()
            .map(|&v| f64::from(v).powi(2))
            .sum();
        let rest = &case.contents[1].1;
        // A sum of squares has no cancellation: len roundings of the sum and one of each square.
        case.expect(
            "squared_norm",
            target,
            &[rest[0].into(), sum, rest[2].into()],
            &[0.0, (len + 1) as f64 * EPSILON * sum, 0.0],
        );
    }
}

#[test]
fn mean_squared_error() {
    for len in [1, 300, 100_001] {
        let mut case = Case::new();
        let prediction = case.buffer("prediction", random(len + 1, 1));
        let target = case.buffer("target", random(len + 2, 2));
        let gradient = case.buffer("gradient", random(len + 3, 3));
        let loss = case.buffer("loss", random(2, 4));
        case.push(MeanSquaredError {
            prediction: Region::from(prediction).at(1),
            target: Region::from(target).at(2),
            gradient: Region::from(gradient).at(3),
            loss: Region::from(loss).at(1),
            len,
        });
        let mut gradients: Vec<f64> = case.contents[2].1.iter().map(|&v| v.into()).collect();
        let mut tolerance = vec![0.0; gradients.len()];
        let mut sum = 0.0;
        for i in 0..len {
            let difference =
                f64::from(case.contents[0].1[1 + i]) - f64::from(case.contents[1].1[2 + i]);
            sum += difference * difference;
            gradients[3 + i] = 2.0 * difference / len as f64;
            // Difference, factor and product round once each.
            tolerance[3 + i] = 3.0 * EPSILON * gradients[3 + i].abs();
        }
        let mean = sum / len as f64;
        let first = f64::from(case.contents[3].1[0]);
        for (device, results) in case.run(0, &[gradient, loss]) {
            let what = format!("mean_squared_error of {len} on {device}");
            compare(&what, &results[0], &gradients, &tolerance);
            // Difference (twice, as it is squared), square, factor, product, and the sum.
            let loss_tolerance = (len + 5) as f64 * EPSILON * mean;
            compare(&what, &results[1], &[first, mean], &[0.0, loss_tolerance]);
        }
    }
}

#[test]
fn adam() {
    for (len, max_norm) in [(1, 0.0), (1_001, 0.5), (70_000, 1e9)] {
        let mut case = Case::new();
        let parameters = case.buffer("parameters", random(len + 1, 1));
        let gradients = case.buffer("gradients", random(len + 2, 2));
        let squares: Vec<f32> = random(2 * len + 3, 3).iter().map(|v| v.abs()).collect();
        let moments = case.buffer("moments", squares);
        let squared_norm = case.buffer("squared norm", vec![0.0, 9.0]);
        let (rate, b1, b2, epsilon) = (0.01f32, 0.9f32, 0.999f32, 1e-8f32);
        let (c1, c2) = (1.0 - b1.powi(3), (1.0 - b2.powi(3)).sqrt());
        let settings = case.buffer(
            "settings",
            vec![7.0, rate, b1, b2, epsilon, c1, c2, max_norm, 0.0],
        );
        case.push(Adam {
            parameters: Region::from(parameters).at(1),
            gradients: Region::from(gradients).at(2),
            moments: Region::from(moments).at(3),
            squared_norm: Region::from(squared_norm).at(1),
            settings: Region::from(settings).at(1),
            len,
        });
        let as_f64 = |index: usize| -> Vec<f64> {
            case.contents[index].1.iter().map(|&v| v.into()).collect()
        };
        let (mut p, g, mut mv) = (as_f64(0), as_f64(1), as_f64(2));
        let (mut p_tolerance, mut mv_tolerance) = (vec![0.0; p.len()], vec![0.0; mv.len()]);
        let [rate, b1, b2, epsilon, c1, c2] = [rate, b1, b2, epsilon, c1, c2].map(f64::from);
        let clip = match max_norm {
            0.0 => 1.0,
            max_norm => (f64::from(max_norm) / (3.0 + 1e-6)).min(1.0),
        };
        for i in 0..len {
            let g = g[2 + i] * clip;
            let (m_old, v_old) = (mv[3 + i], mv[3 + len + i]);
            let (m, v) = (b1 * m_old + (1.0 - b1) * g, b2 * v_old + (1.0 - b2) * g * g);
            (mv[3 + i], mv[3 + len + i]) = (m, v);
            let update = rate / c1 * m / (v.sqrt() / c2 + epsilon);
            p[1 + i] -= update;
            // WGSL grants a division 2.5 ulp, a square root as much as two divisions (it may be 1 / inverseSqrt): up to
            // 20 half-ulp in the clipping factor; the terms of m and v add a few, and (1 - b2) is exact to a half ulp.
            let (m_size, v_size) = (b1 * m_old.abs() + (1.0 - b1) * g.abs(), v);
            mv_tolerance[3 + i] = 16.0 * EPSILON * m_size;
            mv_tolerance[3 + len + i] = 32.0 * EPSILON * v_size;
            let update_size = rate / c1 * m_size / (v.sqrt() / c2 + epsilon);
            p_tolerance[1 + i] = EPSILON * (p[1 + i].abs() + 64.0 * update_size);
        }
        for (device, results) in case.run(0, &[parameters, moments]) {
            let what = format!("adam of {len} on {device}");
            compare(&what, &results[1], &mv, &mv_tolerance);
            compare(&what, &results[0], &p, &p_tolerance);
        }
    }
}
