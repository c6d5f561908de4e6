//! The metrics log that stands beside checkpoints.

use std::fs;

use wgpu_rnn::Error;
use wgpu_rnn::train::MetricsLog;

use crate::refused;

const COLUMNS: [&str; 2] = ["loss", "AUC"];

#[test]
fn rows_in_both_files() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("run.log");
    let mut log = MetricsLog::open(&name, &COLUMNS, 0).unwrap();
    log.append(0, &[0.1 + 0.2, 1.0]).unwrap();
    log.append(2, &[f64::NAN, f64::INFINITY]).unwrap();
    let json = fs::read_to_string(name.with_extension("jsonl")).unwrap();
    let expected = "{\"epoch\":0,\"loss\":0.30000000000000004,\"AUC\":1.0}\n{\"epoch\":2,\"loss\":null,\"AUC\":null}\n";
    assert_eq!(json, expected);
    let csv = fs::read_to_string(name.with_extension("csv")).unwrap();
    assert_eq!(csv, "epoch,loss,AUC\n0,0.30000000000000004,1\n2,NaN,NaN\n");
}

/// Wherever a process was killed while it wrote a row, the whole rows come back and both files agree again.
#[test]
fn a_row_that_was_cut_off_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("run");
    let mut log = MetricsLog::open(&name, &COLUMNS, 0).unwrap();
    log.append(0, &[0.5, 0.6]).unwrap();
    let (json, csv) = (name.with_extension("jsonl"), name.with_extension("csv"));
    let one = [fs::read(&json).unwrap(), fs::read(&csv).unwrap()];
    log.append(1, &[0.25, 0.75]).unwrap();
    let two = [fs::read(&json).unwrap(), fs::read(&csv).unwrap()];
    for length in one[0].len()..two[0].len() {
        fs::write(&json, &two[0][..length]).unwrap();
        fs::write(&csv, &two[1][..two[1].len() - 2]).unwrap();
        let mut log = MetricsLog::open(&name, &COLUMNS, 9).unwrap();
        assert_eq!(log.rows().len(), 1, "{length}");
        assert_eq!([fs::read(&json).unwrap(), fs::read(&csv).unwrap()], one);
        log.append(1, &[0.25, 0.75]).unwrap();
        assert_eq!([fs::read(&json).unwrap(), fs::read(&csv).unwrap()], two);
    }
    let log = MetricsLog::open(&name, &COLUMNS, 1).unwrap();
    assert_eq!(log.rows().len(), 1);
    assert!(
        MetricsLog::open(&name, &COLUMNS, 0)
            .unwrap()
            .rows()
            .is_empty()
    );
}

#[test]
fn bad_rows_and_columns() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("run");
    for columns in [
        &["epoch"][..],
        &["a", "a"],
        &[""],
        &["a,b"],
        &["a\"b"],
        &["a\nb"],
    ] {
        let error = MetricsLog::open(&name, columns, 0).unwrap_err();
        assert!(error.to_string().contains("a name of its own"), "{error}");
    }
    let mut log = MetricsLog::open(&name, &COLUMNS, 0).unwrap();
    log.append(3, &[0.0, 0.0]).unwrap();
    refused(
        log.append(3, &[0.0, 0.0]),
        "row of the metrics log: expected an epoch after 3, got 3",
    );
    refused(
        log.append(4, &[0.0]),
        "row of the metrics log: expected 2 values, got 1",
    );
    let error = MetricsLog::open(&name, &["loss"], 9)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("line 1 of `"), "{error}");
    let json = name.with_extension("jsonl");
    for line in [
        "{\"epoch\":0,\"loss\":1,\"AUC\":\"x\"}\n",
        "[]\n",
        "\n",
        "\u{0}\n",
    ] {
        fs::write(&json, line).unwrap();
        MetricsLog::open(&name, &COLUMNS, 9).expect_err(line);
        // What could not be read is not thrown away.
        assert_eq!(fs::read_to_string(&json).unwrap(), line);
    }
    fs::remove_file(&json).unwrap();
    let error = log.append(5, &[0.0, 0.0]).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    assert_eq!(log.rows().len(), 1);
}
