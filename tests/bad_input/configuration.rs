//! Configurations: each option and combination that cannot be served is refused by name.

use wgpu_rnn::{
    Activation, Activations, Clip, Coupled, Dropout, Error, GruReset, GruUpdate, LayerNormKind,
    Peephole, RnnConfig, RnnConfigBuilder, Zoneout,
};

use crate::{error_of, overflow_error};

/// The configuration is refused; the error names `option` and its text has `parts`.
#[track_caller]
fn refused(builder: RnnConfigBuilder, option: &str, parts: &[&str]) {
    let error = error_of(builder.build(), parts);
    let Error::Option { option: named, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*named, option, "{error}");
    assert!(error.to_string().contains(&format!("`{option}`")));
}

fn elman() -> RnnConfigBuilder {
    RnnConfig::elman(3, 4)
}

fn lstm() -> RnnConfigBuilder {
    RnnConfig::lstm(3, 4)
}

fn gru() -> RnnConfigBuilder {
    RnnConfig::gru(3, 4)
}

const CELLS: [fn(usize, usize) -> RnnConfigBuilder; 3] =
    [RnnConfig::elman, RnnConfig::lstm, RnnConfig::gru];

#[test]
fn zero_sizes() {
    for cell in CELLS {
        refused(cell(0, 4), "input", &["greater than zero", "got 0"]);
        refused(cell(3, 0), "hidden", &["greater than zero", "got 0"]);
        refused(cell(3, 4).layers(0), "layers", &["greater than zero"]);
    }
    refused(
        lstm().projection(0, true),
        "projection",
        &["greater than zero"],
    );
}

#[test]
fn overflowed_sizes() {
    for cell in CELLS {
        for huge in [1 << 16, 1 << 33, usize::MAX / 4, usize::MAX / 2, usize::MAX] {
            let size = huge.to_string();
            overflow_error(cell(3, huge).build(), &["weights of a layer", &size]);
            overflow_error(cell(huge, 1 << 16).build(), &["weights of a layer", &size]);
        }
        for huge in [(1 << 16) + 1, 1 << 33, usize::MAX] {
            refused(
                cell(3, 4).layers(huge),
                "layers",
                &["at most 65536", &huge.to_string()],
            );
        }
    }
    for huge in [1 << 31, 1 << 33, usize::MAX] {
        let projected = lstm().projection(huge, false).build();
        overflow_error(projected, &["weights of a layer"]);
    }
}

#[test]
fn the_largest_sizes_do_not_overflow_later() {
    // 2^30 weights in each of four tensors: the layer fits, all layers together do not.
    let config = RnnConfig::lstm(1 << 14, 1 << 14)
        .layers(64)
        .build()
        .unwrap();
    let layout = wgpu_rnn::ParameterLayout::new(&config);
    overflow_error(layout, &["parameters"]);
    overflow_error(wgpu_rnn::Parameters::zeros(&config), &["parameters"]);
}

#[test]
fn options_of_another_cell() {
    let clip = |clip: Clip| (elman().clip(clip), gru().clip(clip));
    let with = |cell, hidden| Clip {
        cell,
        hidden,
        ..Clip::default()
    };
    let (elman_cell, gru_cell) = clip(with(Some(1.0), None));
    let (elman_hidden, gru_hidden) = clip(with(None, Some(1.0)));
    let zoneout = Zoneout {
        hidden: 0.0,
        cell: 0.1,
    };
    for (builder, option, cell) in [
        (elman().peephole(Peephole::New), "peephole", "Elman"),
        (gru().peephole(Peephole::Old), "peephole", "Gru"),
        (
            elman().coupled(Coupled::ForgetFromInput),
            "coupled",
            "Elman",
        ),
        (gru().coupled(Coupled::InputFromForget), "coupled", "Gru"),
        (elman().projection(2, false), "projection", "Elman"),
        (gru().projection(2, true), "projection", "Gru"),
        (elman_cell, "clip.cell", "Elman"),
        (gru_cell, "clip.cell", "Gru"),
        (elman_hidden, "clip.hidden", "Elman"),
        (gru_hidden, "clip.hidden", "Gru"),
        (elman().zoneout(zoneout), "zoneout.cell", "Elman"),
        (gru().zoneout(zoneout), "zoneout.cell", "Gru"),
    ] {
        refused(builder, option, &["only the LSTM", cell]);
    }
    for (builder, option, cell) in [
        (elman().reset(GruReset::Before), "reset", "Elman"),
        (lstm().reset(GruReset::Before), "reset", "Lstm"),
        (elman().update(GruUpdate::TakeNew), "update", "Elman"),
        (lstm().update(GruUpdate::TakeNew), "update", "Lstm"),
    ] {
        refused(builder, option, &["only the GRU", cell]);
    }
    let clip = Clip {
        projection: Some(1.0),
        ..Clip::default()
    };
    refused(
        lstm().clip(clip),
        "clip.projection",
        &["needs `projection`"],
    );
}

#[test]
fn layer_normalisation_with_what_it_is_not_defined_for() {
    let (whole, per_gate) = (LayerNormKind::WholeThenSum, LayerNormKind::PerGate);
    for (builder, kind, with) in [
        (elman(), whole, "Elman"),
        (elman(), per_gate, "Elman"),
        (gru(), per_gate, "Gru"),
        (gru().reset(GruReset::Before), whole, "`reset`"),
        (lstm().peephole(Peephole::New), whole, "`peephole`"),
        (lstm().projection(2, false), whole, "`projection`"),
        (lstm().coupled(Coupled::ForgetFromInput), whole, "`coupled`"),
    ] {
        let builder = builder.layer_norm(kind, 1e-5);
        refused(builder, "layer_norm", &[&format!("{kind:?}"), with]);
    }
    // The last three are zero, below the normal numbers, and infinite as 32-bit floats.
    for epsilon in [0.0, -1e-5, f64::NAN, f64::INFINITY, 1e-60, 1e-40, 1e60] {
        let builder = lstm().layer_norm(whole, epsilon);
        let got = format!("{epsilon:e}");
        refused(
            builder,
            "layer_norm.epsilon",
            &["positive and finite", &got],
        );
    }
    lstm().layer_norm(whole, 1e-30).build().unwrap();
}

#[test]
fn bounds_that_are_none() {
    for bound in [0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let one = |gates, cell, hidden, projection| Clip {
            gates,
            cell,
            hidden,
            projection,
        };
        let (some, none) = (Some(bound), None);
        for (option, clip) in [
            ("clip.gates", one(some, none, none, none)),
            ("clip.cell", one(none, some, none, none)),
            ("clip.hidden", one(none, none, some, none)),
            ("clip.projection", one(none, none, none, some)),
        ] {
            let builder = lstm().projection(2, false).clip(clip);
            refused(
                builder,
                option,
                &["positive and finite", &bound.to_string()],
            );
        }
        let clip = one(some, none, none, none);
        refused(elman().clip(clip), "clip.gates", &[]);
        refused(gru().clip(clip), "clip.gates", &[]);
    }
}

#[test]
fn probabilities_that_are_none() {
    let whole = Dropout::default();
    for p in [-0.1, 1.0, 1.5, f32::NAN, f32::INFINITY] {
        let got = format!("got {p}");
        for (option, dropout) in [
            (
                "dropout.between",
                Dropout {
                    between: p,
                    ..whole
                },
            ),
            ("dropout.input", Dropout { input: p, ..whole }),
            (
                "dropout.recurrent",
                Dropout {
                    recurrent: p,
                    ..whole
                },
            ),
        ] {
            for builder in [elman(), lstm(), gru()] {
                refused(builder.dropout(dropout), option, &["[0, 1)", &got]);
            }
        }
        for (option, hidden, cell) in [("zoneout.hidden", p, 0.0), ("zoneout.cell", 0.0, p)] {
            let builder = lstm().zoneout(Zoneout { hidden, cell });
            refused(builder, option, &["[0, 1)", &got]);
        }
    }
}

#[test]
fn activations_with_numbers_that_are_none() {
    let default = Activations::default();
    for bad in [f32::NAN, f32::INFINITY] {
        let leaky = Activation::HardSigmoid {
            alpha: bad,
            beta: 0.5,
        };
        let scaled = Activation::ScaledTanh {
            alpha: 1.0,
            beta: bad,
        };
        for activations in [
            Activations {
                gate: leaky,
                ..default
            },
            Activations {
                candidate: scaled,
                ..default
            },
            Activations {
                hidden: leaky,
                ..default
            },
        ] {
            for each in [[activations, default], [default, activations]] {
                let builder = lstm().activations_of_each(each);
                refused(builder, "activations", &["finite", &bad.to_string()]);
            }
        }
    }
}
