//! Layer normalisation of rows and its backward.

use wgpu_rnn::ops::{LayerNormRows, LayerNormRowsBackward, Region};

use crate::support::{Case, compare, doubles, random};

const EPSILON: f64 = f32::EPSILON as f64;

struct Shape {
    rows: usize,
    hidden: usize,
    slots: usize,
    slot_mask: u32,
}

const SHAPES: [Shape; 5] = [
    Shape {
        rows: 1,
        hidden: 1,
        slots: 1,
        slot_mask: 1,
    },
    Shape {
        rows: 5,
        hidden: 7,
        slots: 4,
        slot_mask: 0b1111,
    },
    Shape {
        rows: 3,
        hidden: 65,
        slots: 4,
        slot_mask: 0b1011,
    },
    Shape {
        rows: 40,
        hidden: 100,
        slots: 4,
        slot_mask: 0b0111,
    },
    Shape {
        rows: 66_000,
        hidden: 3,
        slots: 1,
        slot_mask: 1,
    },
];

fn check_forward(shape: &Shape, scaled: bool, biased: bool) {
    let Shape {
        rows,
        hidden,
        slots,
        slot_mask,
    } = *shape;
    let width = hidden * slots;
    let mut case = Case::new();
    // A mean far from zero: a variance computed as a difference of squares would fail here.
    let raw: Vec<f32> = random(rows * width + 1, 1)
        .iter()
        .map(|v| v + 30.0)
        .collect();
    let values = case.buffer("values", raw);
    let deviation = case.buffer("deviation", random(rows + 2, 2));
    let vectors = case.buffer("vectors", random(2 * width + 3, 3));
    let epsilon = 1e-3f32;
    case.push(LayerNormRows {
        values: Region::from(values).at(1),
        deviation: Region::from(deviation).at(2),
        scale: scaled.then_some(Region::from(vectors).at(3)),
        bias: biased.then_some(Region::from(vectors).at(3 + width)),
        rows,
        hidden,
        slots,
        slot_mask,
        epsilon,
    });
    let (mut v, mut d) = (doubles(&case.contents[0].1), doubles(&case.contents[1].1));
    let (mut v_tolerance, mut d_tolerance) = (vec![0.0; v.len()], vec![0.0; d.len()]);
    let vector = |index: usize| f64::from(case.contents[2].1[3 + index]);
    let counts = |element: usize| slot_mask >> (element % slots) & 1 != 0;
    let terms = (0..width).filter(|&e| counts(e)).count() as f64;
    for row in 0..rows {
        let part = &mut v[1 + row * width..1 + (row + 1) * width];
        let members = || (0..width).filter(|&e| counts(e));
        let mean = members().map(|e| part[e]).sum::<f64>() / terms;
        let variance = members().map(|e| (part[e] - mean).powi(2)).sum::<f64>() / terms;
        let inverse = 1.0 / (variance + f64::from(epsilon)).sqrt();
        d[2 + row] = inverse;
        // The mean is off by terms roundings of numbers up to 31; relative to the deviation that is `shift`, which enters
        // the variance twice. Root, division and products add a few ulp.
        let shift = (terms + 2.0) * EPSILON * 31.0 * inverse;
        let relative = 2.0 * shift + shift * shift + (terms + 8.0) * EPSILON;
        d_tolerance[2 + row] = relative * inverse;
        for (e, value) in part.iter_mut().enumerate() {
            let scale = if scaled { vector(e) } else { 1.0 };
            let normalised = (*value - mean) * inverse;
            let product = if counts(e) { normalised * scale } else { 0.0 };
            *value = product + if biased { vector(width + e) } else { 0.0 };
            v_tolerance[1 + row * width + e] = (shift + relative * normalised.abs()) * scale.abs()
                + 4.0 * EPSILON * (product.abs() + value.abs());
        }
    }
    for (device, results) in case.run(0, &[values, deviation]) {
        let what = format!("layer_norm_rows {rows} x {hidden} x {slots} on {device}");
        compare(&what, &results[1], &d, &d_tolerance);
        compare(&what, &results[0], &v, &v_tolerance);
    }
}

#[test]
fn layer_norm_rows() {
    for shape in &SHAPES {
        for (scaled, biased) in [(true, true), (false, false), (true, false), (false, true)] {
            // Many rows are slow on software adapters; once is enough.
            if shape.rows < 1_000 || (scaled && biased) {
                check_forward(shape, scaled, biased);
            }
        }
    }
}

#[test]
fn layer_norm_rows_backward() {
    for &Shape {
        rows,
        hidden,
        slots,
        slot_mask,
    } in &SHAPES
    {
        let width = hidden * slots;
        let mut case = Case::new();
        let normalised = case.buffer("normalised", random(rows * width + 1, 1));
        let deviation = case.buffer("deviation", random(rows + 2, 2));
        let scale = case.buffer("scale", random(width + 3, 3));
        let gradient = case.buffer("gradient", random(rows * width + 4, 4));
        case.push(LayerNormRowsBackward {
            normalised: Region::from(normalised).at(1),
            deviation: Region::from(deviation).at(2),
            scale: Region::from(scale).at(3),
            gradient: Region::from(gradient).at(4),
            rows,
            hidden,
            slots,
            slot_mask,
        });
        let mut x = doubles(&case.contents[0].1);
        let mut tolerance = vec![0.0; x.len()];
        let input = |index: usize, at: usize| f64::from(case.contents[index].1[at]);
        let members: Vec<usize> = (0..width)
            .filter(|e| slot_mask >> (e % slots) & 1 != 0)
            .collect();
        let terms = members.len() as f64;
        for row in 0..rows {
            let start = 1 + row * width;
            let d = |e: usize| input(2, 3 + e) * input(3, 4 + row * width + e);
            let mean = members.iter().map(|&e| d(e)).sum::<f64>() / terms;
            let weighted = members.iter().map(|&e| d(e) * x[start + e]).sum::<f64>() / terms;
            let inverse = input(1, 2 + row);
            for e in 0..width {
                let old = x[start + e];
                let inside = members.contains(&e);
                x[start + e] = match inside {
                    true => inverse * (d(e) - mean - old * weighted),
                    false => 0.0,
                };
                // All factors are at most 1: the means are off by terms + 2 roundings, the rest by a few.
                if inside {
                    tolerance[start + e] = (2.0 * terms + 12.0) * EPSILON * inverse.abs();
                }
            }
        }
        case.expect("layer_norm_rows_backward", normalised, &x, &tolerance);
    }
}
