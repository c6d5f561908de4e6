//! What is printed: tables, or one JSON object a line and metric.

use serde_json::{Value, json};

use crate::check::Difference;
use crate::definition::Workload;
use crate::measure::Times;

/// Where figures go.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    device: String,
    variant: String,
    threads: usize,
}

impl Report {
    pub(crate) fn new(json: bool, device: &str, threads: usize) -> Self {
        let variant = match device.starts_with("CPU") {
            true => "cpu".to_owned(),
            false => device.to_owned(),
        };
        if !json {
            println!("\n{device}");
        }
        Self {
            json,
            device: device.to_owned(),
            variant,
            threads,
        }
    }

    fn line(
        &self,
        workload: &Workload,
        metric: &str,
        (value, unit): (f64, &str),
        count: Option<usize>,
    ) {
        let mut line = json!({
            "peer": "wgpu-rnn",
            "version": env!("CARGO_PKG_VERSION"),
            "variant": self.variant,
            "threads": self.threads,
            "workload": workload.name,
            "metric": metric,
            "value": value,
            "unit": unit,
        });
        if let (Some(count), Some(object)) = (count, line.as_object_mut()) {
            object.insert("n".to_owned(), Value::from(count));
        }
        println!("{line}");
    }

    /// How far the answers are from the reference's.
    pub(crate) fn checked(&self, workload: &Workload, difference: &Difference) {
        let all = [
            ("check_y_maxabs", Some(difference.y)),
            ("check_dx_maxabs", difference.d_x),
            ("check_dw_maxrel", difference.d_weights),
        ];
        let given = all
            .into_iter()
            .filter_map(|(name, value)| value.map(|value| (name, value)));
        if self.json {
            given.for_each(|(name, value)| self.line(workload, name, (value, ""), None));
            return;
        }
        let texts: Vec<String> = given
            .map(|(name, value)| format!("{name} {value:.1e}"))
            .collect();
        println!(
            "{} {}: {} (tolerance {:.1e})",
            workload.name,
            workload.title,
            texts.join(", "),
            difference.tolerance
        );
    }

    /// The time of a step of a stream.
    pub(crate) fn stream(&self, workload: &Workload, times: &Times) {
        let [p50, p95] = [0.5, 0.95].map(|share| times.quantile(share) * 1e6);
        if self.json {
            let count = Some(times.count());
            self.line(workload, "step_us_p50", (p50, "us"), count);
            self.line(workload, "step_us_p95", (p95, "us"), count);
        } else {
            println!(
                "  step      {p50:10.1} us, 95 % of {} within {p95:.1} us",
                times.count()
            );
        }
    }

    /// The time of a pass: forward, or forward and backward.
    pub(crate) fn pass(&self, workload: &Workload, training: bool, times: &Times) {
        let (median, count) = (times.median(), Some(times.count()));
        let (stem, share) = if training {
            ("fwdbwd", 3.0)
        } else {
            ("fwd", 1.0)
        };
        let rate = share * workload.operations() / median / 1e9;
        let [p50, p95] = [0.5, 0.95].map(|share| times.quantile(share) * 1e3);
        if !self.json {
            let what = if training { "training" } else { "forward" };
            println!(
                "  {what:9} {p50:10.3} ms, 95 % of {} within {p95:.3} ms; {:.0} sequences/s, {:.0} timesteps/s, {rate:.1} GFLOP/s",
                times.count(),
                workload.lengths.len() as f64 / median,
                workload.tokens() as f64 / median,
            );
            return;
        }
        self.line(workload, &format!("{stem}_ms_p50"), (p50, "ms"), count);
        self.line(workload, &format!("{stem}_ms_p95"), (p95, "ms"), count);
        // Of a workload that is timed both ways, the rates are those of training.
        if training || !workload.training {
            let per_second = |number: usize| (number as f64 / median, "1/s");
            self.line(workload, "rows_per_s", per_second(workload.tokens()), count);
            self.line(
                workload,
                "seqs_per_s",
                per_second(workload.lengths.len()),
                count,
            );
        }
        self.line(
            workload,
            &format!("{stem}_gflops"),
            (rate, "GFLOP/s"),
            count,
        );
    }

    /// The time of a ragged batch beside that of its dense twin.
    pub(crate) fn twin(
        &self,
        workload: &Workload,
        twin: &Workload,
        [of_ragged, of_dense]: [&Times; 2],
    ) {
        let (ragged, dense) = (of_ragged.median(), of_dense.median());
        let ratio = (ragged / workload.tokens() as f64) / (dense / twin.tokens() as f64);
        let count = Some(of_ragged.count());
        if self.json {
            self.line(workload, "ragged_ms_p50", (1e3 * ragged, "ms"), count);
            self.line(workload, "dense_twin_ms_p50", (1e3 * dense, "ms"), count);
            self.line(workload, "ragged_over_dense", (ratio, ""), count);
            return;
        }
        println!(
            "{} {}: {:.3} ms for {} sequences of up to {} steps, {} rows;\n  the dense twin {:.3} ms for {} of {}, {} rows; \
             {ratio:.3} times as long a row ({} calls each)",
            workload.name,
            workload.title,
            1e3 * ragged,
            workload.lengths.len(),
            twin.lengths[0],
            workload.tokens(),
            1e3 * dense,
            twin.lengths.len(),
            twin.lengths[0],
            twin.tokens(),
            of_ragged.count(),
        );
    }

    /// Dispatches of a call (on the CPU: operations).
    pub(crate) fn dispatches(&self, workload: &Workload, count: usize) {
        match self.json {
            true => self.line(workload, "dispatches", (count as f64, ""), None),
            false => println!("  dispatches {count:9} a call"),
        }
    }

    /// Figures of memory in MiB, by name.
    pub(crate) fn memory(&self, workload: &Workload, figures: &[(&str, Option<f64>)]) {
        let known = figures
            .iter()
            .filter_map(|&(name, value)| value.map(|value| (name, value)));
        if self.json {
            known.for_each(|(name, value)| self.line(workload, name, (value, "MiB"), None));
            return;
        }
        let texts: Vec<String> = known
            .map(|(name, value)| {
                format!(
                    "{} {value:.1}",
                    name.trim_end_matches("_mb").replace('_', " ")
                )
            })
            .collect();
        println!("  memory    {} MiB", texts.join(", "));
    }

    /// A workload that a device does not serve.
    pub(crate) fn failed(&self, workload: &Workload, why: &str) {
        if self.json {
            let line = json!({
                "peer": "wgpu-rnn",
                "version": env!("CARGO_PKG_VERSION"),
                "variant": self.variant,
                "threads": self.threads,
                "workload": workload.name,
                "metric": "failed",
                "value": Value::Null,
                "unit": "",
                "note": why,
            });
            println!("{line}");
        }
        eprintln!("{} on {}: {why}", workload.name, self.device);
    }
}
