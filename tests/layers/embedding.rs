//! Embeddings and their scatter-add.

use wgpu_rnn::ops::{Columns, EmbeddingRows, EmbeddingRowsBackward, Region, Section};

use wgpu_rnn::nn::Embedding;

use super::support::*;

struct Shape {
    entries: usize,
    width: usize,
    features: usize,
    rows: usize,
}

const SHAPES: [Shape; 7] = [
    Shape {
        entries: 1,
        width: 1,
        features: 0,
        rows: 1,
    },
    Shape {
        entries: 3,
        width: 5,
        features: 2,
        rows: 4,
    },
    Shape {
        entries: 12,
        width: 16,
        features: 2,
        rows: 0,
    },
    // Rows in splits.
    Shape {
        entries: 12,
        width: 16,
        features: 3,
        rows: 5_003,
    },
    Shape {
        entries: 2,
        width: 3,
        features: 0,
        rows: 30_001,
    },
    // A table of more elements than are summed together.
    Shape {
        entries: 3_001,
        width: 7,
        features: 1,
        rows: 700,
    },
    Shape {
        entries: 40,
        width: 300,
        features: 0,
        rows: 90,
    },
];

/// Numbers that are no ids of a table.
fn bad_ids(entries: usize) -> [f32; 8] {
    [
        -1.0,
        -0.0,
        0.5,
        entries as f32,
        3e9,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ]
}

/// Ids of which some are bad, and for each whether and what it is.
fn ids(values: &mut Values, shape: &Shape) -> Vec<(f32, Option<usize>)> {
    let bad = bad_ids(shape.entries);
    let id = |row: usize| match row % 5 {
        3 => (bad[row / 5 % bad.len()], None),
        _ => {
            let id = values.below(shape.entries);
            (id as f32, Some(id))
        }
    };
    (0..shape.rows).map(id).collect()
}

fn check_forward(shape: &Shape) {
    let Shape {
        entries,
        width,
        features,
        rows,
    } = *shape;
    let mut values = Values(entries as u64);
    let ids = ids(&mut values, shape);
    let stride = 1 + features;
    let mut records = values.vec(1 + rows * stride, 1.0);
    for (row, (id, _)) in ids.iter().enumerate() {
        records[1 + row * stride] = *id;
    }
    let table = values.vec(2 + entries * width, 1.0);
    let target_stride = width + features + 2;
    let mut expected = vec![-7.0; 3 + rows * target_stride];
    for (row, (_, id)) in ids.iter().enumerate() {
        let target = &mut expected[3 + row * target_stride..];
        for column in 0..width {
            target[column] = id.map_or(0.0, |id| table[2 + id * width + column]);
        }
        let scalars = &records[2 + row * stride..][..features];
        target[width..][..features].copy_from_slice(scalars);
    }
    let mut case = Case::new();
    let [records, table] = [records, table].map(|content| case.buffer(&content));
    let target = case.buffer(&vec![-7.0; expected.len()]);
    case.push(EmbeddingRows {
        table: Region::from(table).at(2),
        entries,
        width,
        ids: Region::from(records).at(1),
        ids_stride: stride,
        features: (features > 0).then(|| Columns {
            region: Region::from(records).at(2),
            stride,
            width: features,
        }),
        target: Region::from(target).at(3),
        target_stride,
        rows,
    });
    case.each([target], |device, [got]| {
        assert_eq!(
            got, expected,
            "{device}: {rows} rows of {entries} x {width}"
        );
    });
}

fn check_backward(shape: &Shape, accumulate: bool) {
    let Shape {
        entries,
        width,
        rows,
        ..
    } = *shape;
    let mut values = Values(rows as u64 + 1);
    let ids = ids(&mut values, shape);
    let stride = width + 3;
    let gradient = values.vec(1 + rows * stride, 1.0);
    let before = values.vec(2 + entries * width, 1.0);
    let mut expected: Vec<f64> = before.iter().map(|&v| v.into()).collect();
    let mut sizes = vec![0.0; expected.len()];
    if !accumulate {
        expected[2..].fill(0.0);
    }
    for (row, (_, id)) in ids.iter().enumerate() {
        let Some(id) = id else { continue };
        for column in 0..width {
            let d = f64::from(gradient[1 + row * stride + column]);
            expected[2 + id * width + column] += d;
            sizes[2 + id * width + column] += d.abs() + 1.0;
        }
    }
    let numbers: Vec<f32> = ids.iter().map(|(id, _)| *id).collect();
    let mut case = Case::new();
    let [numbers, gradient] = [numbers, gradient].map(|content| case.buffer(&content));
    let target = case.buffer(&before);
    case.push(EmbeddingRowsBackward {
        gradient: Columns {
            region: Region::from(gradient).at(1),
            stride,
            width,
        },
        ids: numbers.into(),
        ids_stride: 1,
        target: Region::from(target).at(2),
        entries,
        rows,
        accumulate,
    });
    let what = format!("{rows} rows of {entries} x {width}");
    case.each([target], |device, [got]| {
        // Any order of at most `rows` terms; the sum's size bounds their number.
        let tolerance = |i: usize| (sizes[i] + 2.0) * EPSILON * (sizes[i] + 1.0);
        assert_close(&format!("{what} on {device}"), &got, &expected, tolerance);
    });
}

#[test]
fn embedding_rows() {
    SHAPES.iter().for_each(check_forward);
}

#[test]
fn embedding_rows_backward() {
    for shape in &SHAPES {
        check_backward(shape, false);
        check_backward(shape, true);
    }
}

/// Two tables and features by the layer; the gradient by differences of the forward, which is linear, so that any step is
/// exact.
#[test]
fn a_layer_of_two_tables() {
    let embedding = Embedding::new(4, 3)
        .unwrap()
        .table(3, 2)
        .unwrap()
        .features(2);
    let records = [
        1.0, 2.0, 0.5, -0.5, 3.0, 2.0, 0.25, 4.0, 1.0, 0.0, -1.0, 2.0,
    ];
    embedding.check(&records).unwrap();
    let (rows, outputs) = (3, embedding.outputs());
    let mut values = Values(3);
    let parameters = values.vec(embedding.parameter_len(), 1.0);
    let d_y = values.vec(rows * outputs, 1.0);
    let forward = |parameters: &[f32]| -> Vec<f32> {
        let row = |record: &[f32]| {
            let [a, b] = [record[0] as usize, record[1] as usize];
            [
                &parameters[3 * a..][..3],
                &parameters[12 + 2 * b..][..2],
                &record[2..],
            ]
            .concat()
        };
        records.chunks(4).flat_map(row).collect()
    };
    let loss = |parameters: &[f32]| -> f64 {
        let pairs = forward(parameters).into_iter().zip(&d_y);
        pairs.map(|(y, d)| f64::from(y) * f64::from(*d)).sum()
    };
    let change = |index: usize| {
        let [mut more, mut less] = [parameters.clone(), parameters.clone()];
        (more[index], less[index]) = (1.0, 0.0);
        loss(&more) - loss(&less)
    };
    let expected: Vec<f64> = (0..parameters.len()).map(change).collect();
    let mut case = Case::new();
    let [p, x, d] = [&parameters[..], &records, &d_y].map(|content| case.buffer(content));
    let (y, gradients) = (case.result(rows * outputs), case.result(parameters.len()));
    embedding.forward(&mut case.program, rows, p.into(), (x.into(), y.into()));
    embedding.backward(
        &mut case.program,
        rows,
        gradients.into(),
        (x.into(), d.into()),
    );
    assert_eq!(case.program.section(Section::Backward).len(), 2);
    case.each([y, gradients], |device, [y, gradients]| {
        assert_eq!(y, forward(&parameters), "{device}");
        assert_close(device, &gradients, &expected, |_| 6.0 * EPSILON);
    });
}
