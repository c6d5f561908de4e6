//! Reductions.

use wgpu_rnn::ops::{ColumnSums, MeanSquaredError, Region};

use crate::support::{Case, compare, random, whole};

const EPSILON: f64 = f32::EPSILON as f64;

fn check_columns((rows, columns): (usize, usize), multiply: bool, accumulate: bool, exact: bool) {
    let random = if exact { whole } else { random };
    let mut case = Case::new();
    // Odd ones, or multiples of 4, which the kernel takes by fours.
    let (beside, b_at, at) = match columns % 4 {
        0 => (4, 8, 4),
        _ => (1, 5, 6),
    };
    let (a_stride, b_stride) = (columns + beside, columns + 2 * beside);
    let a = case.buffer("a", random(rows * a_stride + 4, 1));
    let b = case.buffer("b", random(rows * b_stride + b_at, 2));
    let target = case.buffer("target", random(columns + at, 3));
    case.push(ColumnSums {
        a: Region::from(a).at(4),
        a_stride,
        b: multiply.then_some(Region::from(b).at(b_at)),
        b_stride,
        target: Region::from(target).at(at),
        rows,
        columns,
        accumulate,
    });
    let mut expected: Vec<f64> = case.contents[2].1.iter().map(|&v| v.into()).collect();
    let mut tolerance = vec![0.0; expected.len()];
    for column in 0..columns {
        let start = if accumulate {
            expected[at + column]
        } else {
            0.0
        };
        let (mut sum, mut size) = (start, start.abs());
        for row in 0..rows {
            let mut term = f64::from(case.contents[0].1[4 + row * a_stride + column]);
            if multiply {
                term *= f64::from(case.contents[1].1[b_at + row * b_stride + column]);
            }
            sum += term;
            size += term.abs();
        }
        expected[at + column] = sum;
        // Any order of `rows` terms, each rounded once more if it is a product, and one accumulation.
        tolerance[at + column] = (rows + 2) as f64 * EPSILON * size;
    }
    if exact {
        tolerance.fill(0.0);
    }
    let what = format!("column_sums {rows} x {columns}");
    case.expect(&what, target, &expected, &tolerance);
}

#[test]
fn column_sums() {
    for shape in [
        (1, 1),
        (0, 3),
        (3, 17),
        (1_000, 33),
        (1, 4),
        (0, 8),
        (63, 20),
        (40, 1_100),
    ] {
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
    check_columns((1_200_001, 4), false, true, true);
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
