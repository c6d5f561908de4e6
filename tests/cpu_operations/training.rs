//! Losses, norms and the optimizer.

use wgpu_rnn::ops::*;

use super::support::*;

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
