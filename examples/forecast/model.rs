//! The network: stacked recurrent layers over a window, and a linear head on what the last one ends with.

use example_support::series::Series;
use wgpu_rnn::model::{Graph, Model};
use wgpu_rnn::nn::Rows;
use wgpu_rnn::ops::PointwiseLossKind;
use wgpu_rnn::{Result, RnnConfig};

use crate::options::{CellChoice, Options};

/// Inputs: what a forecast is made from, and what came then.
pub(crate) const WINDOW: &str = "window";
pub(crate) const FUTURE: &str = "future";
/// The output.
pub(crate) const FORECAST: &str = "forecast";

/// A network for windows of this series, which learns by the squared error.
pub(crate) fn model(options: &Options, series: &Series) -> Result<Model> {
    let builder = match options.cell {
        CellChoice::Lstm => RnnConfig::lstm(series.inputs(), options.hidden),
        CellChoice::Gru => RnnConfig::gru(series.inputs(), options.hidden),
    };
    let config = builder.layers(options.layers).build()?;

    let mut graph = Graph::new();
    let window = graph.sequences(WINDOW, series.inputs())?;
    let rnn = graph.rnn("rnn", window, &config)?;
    let forecast = graph.linear("head", rnn.last, series.horizon)?;
    graph.output(FORECAST, forecast)?;

    let future = graph.input(FUTURE, Rows::Sequences, series.horizon)?;
    let loss = graph.loss(PointwiseLossKind::Squared, forecast, future)?;
    graph.minimize(loss, 1.0)?;
    graph.build()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use wgpu_rnn::cpu::CpuDevice;
    use wgpu_rnn::model::GradientCheckOptions;

    use super::*;

    /// The gradients of both cells on windows of the series against finite differences.
    #[test]
    fn gradients_are_right() {
        for cell in ["lstm", "gru"] {
            let sizes = ["--hidden", "4", "--window", "8", "--horizon", "3"];
            let arguments = ["forecast", "--cell", cell].into_iter().chain(sizes);
            let options = Options::parse_from(arguments);
            let series = Series::load(&options.source()).unwrap();
            let model = model(&options, &series).unwrap();
            let starts: Vec<usize> = series.starts(0).take(5).collect();
            let batch = crate::train::batch(&series, &starts).unwrap();
            let parameters = model.initial(1).unwrap();
            let check = GradientCheckOptions::default();
            let device = CpuDevice::new().unwrap();
            let report = model
                .check_gradients(&device, &parameters, &batch, &check)
                .unwrap();
            assert!(report.passes(), "{cell}:\n{report}");
        }
    }
}
