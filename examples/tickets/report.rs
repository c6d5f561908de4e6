//! What the trained model is worth: printed, plotted, and written into its card.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use example_support::memory;
use wgpu_rnn::checkpoint::{Checkpoint, ModelCard};
use wgpu_rnn::cpu::CpuDevice;
use wgpu_rnn::data::{BatchOptions, LengthBatches};
use wgpu_rnn::metrics::{BinaryScores, Binning, Calibration, Latency};
use wgpu_rnn::model::{Model, ModelParameters, Predictor};
use wgpu_rnn::plot::{Curve, Panel, draw};
use wgpu_rnn::train::Standing;
use wgpu_rnn::{Device, Result};

use crate::dataset::{Dataset, labels};
use crate::generator::Ticket;
use crate::measure;
use crate::task::{forecast, probability};
use crate::trees::Trees;

/// The length of a ticket that latency is measured at: the 95th percentile.
const LATENCY_LENGTH: usize = 112;
/// Tickets that the reference forecasts: it is written to be read, not to be fast.
const REFERENCE_TICKETS: usize = 32;
/// Batches of each kind that are timed.
const TIMED_BATCHES: usize = 20;
/// Bins of the calibration plot.
const BINS: usize = 10;

/// The bars that this example holds itself to.
const SHARE_BAR: f64 = 0.97;
const LEAD_BAR: f64 = 0.05;
const LATENCY_BAR: Duration = Duration::from_millis(3);

/// A trained model and what it is judged on.
#[derive(Debug)]
pub(crate) struct Judged<'a> {
    pub(crate) data: &'a Dataset,
    pub(crate) model: &'a Model,
    /// Units of a layer in each direction.
    pub(crate) hidden: usize,
    pub(crate) positive_weight: f32,
    /// Of the best epoch.
    pub(crate) parameters: &'a ModelParameters,
    pub(crate) devices: &'a [Arc<dyn Device>],
    /// The one that trained.
    pub(crate) device: &'a Arc<dyn Device>,
}

impl Judged<'_> {
    /// The model on a device.
    pub(crate) fn predictor(&self, device: &Arc<dyn Device>) -> Result<Predictor> {
        Predictor::new(device.clone(), self.model, self.parameters)
    }
}

/// The hold-out's scores.
#[derive(Debug)]
pub(crate) struct Scores {
    network: BinaryScores,
    trees: BinaryScores,
    truth: BinaryScores,
    calibration: Calibration,
    metrics: Vec<(&'static str, f64)>,
}

/// Scores the hold-out and prints the table.
pub(crate) fn score(judged: &Judged<'_>, trees: &Trees) -> Result<Scores> {
    let hold_out = judged.data.part(judged.data.split.hold_out());
    let labels = labels(&hold_out);
    let mut predictor = judged.predictor(judged.device)?;
    let logits = forecast(&mut predictor, &judged.data.encoder, &hold_out)?;
    let probability = |&logit| probability(logit, judged.positive_weight);
    let probabilities: Vec<f32> = logits.iter().map(probability).collect();
    let true_ones: Vec<f32> = { hold_out.iter() }
        .map(|ticket| ticket.probability as f32)
        .collect();
    let network = BinaryScores::new(&labels, &probabilities)?;
    let trees = BinaryScores::new(&labels, &trees.scores)?;
    let truth = BinaryScores::new(&labels, &true_ones)?;
    println!(
        "\n{:<34} {:>8} {:>18}",
        "hold-out", "AUC", "average precision"
    );
    let lines = [
        ("network", &network),
        ("boosted trees on aggregates", &trees),
        ("true probability: best reachable", &truth),
    ];
    for (name, scores) in lines {
        let (auc, precision) = (scores.auc()?, scores.average_precision()?);
        println!("{name:<34} {auc:>8.4} {precision:>18.4}");
    }
    let share = (network.auc()? - 0.5) / (truth.auc()? - 0.5);
    let lead = network.auc()? - trees.auc()?;
    println!(
        "of the way from 0.5 to the best reachable AUC: {share:.4} ({})",
        bar(share >= SHARE_BAR, "0.97")
    );
    println!(
        "AUC ahead of the trees by {lead:.4} ({})",
        bar(lead >= LEAD_BAR, "0.05")
    );
    let calibration = network.calibration(BINS, Binning::Quantile)?;
    println!(
        "log loss {:.4} (true probability: {:.4}), expected calibration error {:.4}",
        network.log_loss()?,
        truth.log_loss()?,
        calibration.expected_error()
    );
    let metrics = vec![
        ("AUC", network.auc()?),
        ("AUC, best reachable", truth.auc()?),
        ("AUC, boosted trees on aggregates", trees.auc()?),
        (
            "AUC, share of the way from 0.5 to the best reachable",
            share,
        ),
        ("average precision", network.average_precision()?),
        (
            "average precision, best reachable",
            truth.average_precision()?,
        ),
        (
            "average precision, boosted trees on aggregates",
            trees.average_precision()?,
        ),
        ("log loss", network.log_loss()?),
        ("expected calibration error", calibration.expected_error()),
    ];
    Ok(Scores {
        network,
        trees,
        truth,
        calibration,
        metrics,
    })
}

fn bar(held: bool, least: &str) -> String {
    let verb = if held { "holds" } else { "does NOT hold" };
    format!("the bar of {least} {verb}")
}

/// Latency on one CPU thread and on each GPU there is, and how far each device is from the reference; prints them.
pub(crate) fn costs(judged: &Judged<'_>) -> Result<Vec<(String, Latency)>> {
    let hold_out = judged.data.part(judged.data.split.hold_out());
    let distance = |ticket: &&&Ticket| ticket.steps.len().abs_diff(LATENCY_LENGTH);
    let Some(ticket) = hold_out.iter().min_by_key(distance) else {
        return Ok(Vec::new());
    };
    let encoder = &judged.data.encoder;
    let one: Arc<dyn Device> = Arc::new(CpuDevice::with_threads(1)?);
    let latency = |device: &Arc<dyn Device>| {
        measure::latency(&mut judged.predictor(device)?, encoder, ticket)
    };
    println!(
        "\none ticket of {} events, encoding included:",
        ticket.steps.len()
    );
    let on_one = latency(&one)?;
    let held = on_one.p95 < LATENCY_BAR;
    println!("  one CPU thread: {on_one} ({})", bar(held, "3 ms at p95"));
    let mut all = vec![("one CPU thread".to_owned(), on_one)];
    for device in judged.devices {
        let latency = latency(device)?;
        println!("  {}: {latency}", device.name());
        all.push((device.name(), latency));
    }
    let few = &hold_out[..REFERENCE_TICKETS.min(hold_out.len())];
    let exact = measure::reference_logits(judged.model, judged.parameters, encoder, few)?;
    println!(
        "largest difference of a logit from the reference in 64 bits, {} tickets:",
        few.len()
    );
    for device in judged.devices {
        let logits = forecast(&mut judged.predictor(device)?, encoder, few)?;
        let pairs = logits.iter().zip(&exact);
        let distances = pairs.map(|(&logit, exact)| (f64::from(logit) - exact).abs());
        // Not `f64::max`, which would drop a NaN.
        let largest = distances.fold(0.0, |largest, next| match next <= largest {
            true => largest,
            false => next,
        });
        println!("  {}: {largest:.1e}", device.name());
    }
    Ok(all)
}

/// Draws ROC and calibration into `folder`.
pub(crate) fn plot(scores: &Scores, folder: &Path) -> Result<()> {
    let roc = |label, scores: &BinaryScores| -> Result<Curve> {
        let points = scores.roc()?.into_iter();
        let points = points.map(|p| (p.false_positive_rate, p.true_positive_rate));
        Ok(Curve::new(label, points))
    };
    let curves = vec![
        roc("network", &scores.network)?,
        roc("boosted trees", &scores.trees)?,
        roc("true probability", &scores.truth)?,
    ];
    let axes = ["false positive rate", "true positive rate"];
    let panel = Panel::new("ROC, hold-out", axes, curves);
    draw(&folder.join("roc.svg"), &[panel])?;
    let bins = scores.calibration.bins.iter();
    let points: Vec<(f64, f64)> = bins.map(|bin| (bin.predicted, bin.observed)).collect();
    let end = points.iter().fold(0.0, |end: f64, p| end.max(p.0).max(p.1));
    let curves = vec![
        Curve::new("network", points),
        Curve::new("perfect", [(0.0, 0.0), (end, end)]),
    ];
    let axes = ["forecast probability", "share that escalated"];
    let panel = Panel::new("Calibration, hold-out", axes, curves);
    draw(&folder.join("calibration.svg"), &[panel])?;
    println!("plots   {}", folder.join("{roc,calibration}.svg").display());
    Ok(())
}

/// Writes the checkpoint of the best epoch anew, with its card.
pub(crate) fn write_card(
    judged: &Judged<'_>,
    scores: &Scores,
    latency: &[(String, Latency)],
    path: &Path,
) -> Result<()> {
    let mut checkpoint = Checkpoint::load(path)?;
    let own = |(name, value): &(&str, f64)| ((*name).to_owned(), *value);
    checkpoint.card = ModelCard {
        name: "ticket escalation forecaster".to_owned(),
        task: "The probability that a support ticket escalates within the next 4 hours, after any of its events.".to_owned(),
        sequence_pattern: format!(
            "Many to one: a ticket's events in their order (12 types, embedded), with hours since opening, hours since the event \
             before, and priority; median 18 events, 95th percentile 112. GRU, 2 layers, both directions, {} units each, final \
             states into a linear head.",
            judged.hidden
        ),
        why_recurrence: "Whether pressure adds to the tension or takes from it depends on who spoke last when it came, and older \
             pressure counts less. Counts, totals and last events do not hold that: see the boosted trees' AUC."
            .to_owned(),
        data: format!(
            "{} synthetic tickets over three years; not measured anywhere. The true probability of each is known.",
            judged.data.tickets.len()
        ),
        time_unit: "hours since the first day".to_owned(),
        hold_out: Some(judged.data.split.hold_out_report().clone()),
        metrics: scores.metrics.iter().map(own).collect(),
        latency: latency.iter().cloned().collect(),
        notes: vec![
            "Not for real tickets: it has only seen made-up ones.".to_owned(),
            "Retrain if more than 1 % of a month's events are unknown or a population stability index exceeds 0.25 (`--drift`)."
                .to_owned(),
        ],
    };
    checkpoint.save(path)?;
    println!("model   {}, card beside it", path.display());
    Ok(())
}

/// Training's throughput and memory on each device, and what batches of like lengths save against random ones.
pub(crate) fn batching(judged: &Judged<'_>, token_budget: usize) -> Result<()> {
    let tickets = judged.data.part(judged.data.split.training());
    let lengths: Vec<usize> = tickets.iter().map(|ticket| ticket.steps.len()).collect();
    let options = BatchOptions {
        token_budget,
        ..BatchOptions::default()
    };
    let batches = LengthBatches::new(&lengths, options)?;
    let (alike, random) = (batches.epoch(0), batches.random_epoch(0));
    let [padding, padding_of_random] = [&alike, &random].map(|epoch| batches.padding(epoch));
    println!(
        "\nbatches of like lengths: {:.1} % padding if padded, random ones {:.1} %: {:.1} % of it saved",
        100.0 * padding.share(),
        100.0 * padding_of_random.share(),
        100.0 * padding.saved_against(&padding_of_random),
    );
    println!("forward and backward of {TIMED_BATCHES} batches, packed:");
    for device in judged.devices {
        let cost = |epoch: &[Vec<usize>]| {
            let some = epoch.iter().take(TIMED_BATCHES + 1);
            let some: Vec<Vec<&Ticket>> = some
                .map(|batch| batch.iter().map(|&at| tickets[at]).collect())
                .collect();
            let what = (&judged.data.encoder, some.as_slice());
            measure::training(judged.model, device, judged.parameters, what)
        };
        let (alike, random) = (cost(&alike)?, cost(&random)?);
        println!(
            "  {}: {:.0} events/s, {:.0} in random batches; largest plan {:.0} MiB",
            device.name(),
            alike.rate,
            random.rate,
            mib(alike.bytes),
        );
    }
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Throughput and memory of training.
pub(crate) fn training(standing: &Standing, device: &dyn Device) {
    println!(
        "trained {:.0} s on {}: {:.0} events/s forward, backward and update; largest plan {:.0} MiB, process at most {}",
        standing.seconds,
        device.name(),
        standing.tokens_per_second().unwrap_or(f64::NAN),
        mib(standing.plan_bytes),
        memory::peak_bytes().map_or("-".to_owned(), |bytes| format!("{:.0} MiB", mib(bytes))),
    );
}
