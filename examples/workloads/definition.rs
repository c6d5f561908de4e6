//! The standard workloads: shapes that users have, the same for every library that is measured beside this one.

use wgpu_rnn::{Direction, Result, RnnConfig};

/// A network and a batch.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    /// `W1` to `W7`, or `custom`.
    pub(crate) name: String,
    pub(crate) title: &'static str,
    pub(crate) cell: Cell,
    pub(crate) layers: usize,
    pub(crate) both_directions: bool,
    pub(crate) input: usize,
    pub(crate) hidden: usize,
    pub(crate) lengths: Vec<usize>,
    /// One timestep a call, state carried by the caller.
    pub(crate) streams: bool,
    /// Whether the forward is timed, alone.
    pub(crate) forward: bool,
    /// Whether forward and backward are timed together.
    pub(crate) training: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Cell {
    Elman,
    Lstm,
    Gru,
}

/// Lengths of a ragged batch: the quantiles of a lognormal distribution with median 18 and 95th percentile 112, in a fixed
/// shuffled order.
const LENGTHS: [usize; 256] = [
    1, 16, 9, 8, 18, 37, 27, 26, 28, 187, 2, 5, 20, 3, 25, 13, 8, 18, 58, 86, 8, 6, 4, 15, 14, 46,
    51, 33, 18, 6, 4, 5, 28, 4, 18, 7, 7, 61, 10, 8, 3, 13, 29, 3, 35, 13, 19, 9, 12, 5, 32, 15, 2,
    39, 19, 19, 25, 53, 71, 4, 94, 4, 21, 47, 158, 30, 45, 16, 5, 7, 26, 52, 11, 8, 5, 41, 6, 30,
    6, 36, 171, 11, 131, 10, 16, 1, 17, 241, 7, 20, 29, 9, 21, 41, 209, 49, 23, 27, 12, 12, 11, 59,
    38, 9, 14, 32, 3, 77, 11, 10, 16, 11, 88, 36, 17, 8, 16, 7, 15, 16, 46, 7, 109, 6, 56, 31, 24,
    6, 9, 10, 31, 7, 2, 5, 4, 1, 10, 38, 8, 44, 57, 11, 13, 22, 3, 5, 14, 43, 10, 2, 64, 14, 3, 12,
    4, 25, 17, 55, 5, 10, 48, 28, 65, 7, 4, 22, 33, 81, 11, 6, 119, 9, 49, 11, 67, 32, 14, 23, 20,
    12, 22, 13, 18, 14, 50, 138, 15, 30, 97, 8, 18, 40, 2, 4, 12, 5, 15, 22, 35, 73, 15, 44, 34,
    70, 34, 24, 75, 9, 2, 42, 10, 3, 296, 39, 6, 124, 42, 29, 113, 37, 13, 19, 63, 68, 26, 91, 6,
    60, 27, 13, 147, 21, 105, 20, 101, 34, 7, 8, 21, 9, 17, 54, 79, 2, 24, 3, 23, 26, 445, 24, 83,
    12, 5, 20, 23, 17,
];

impl Workload {
    /// All standard workloads.
    pub(crate) fn all() -> Vec<Self> {
        let gru = |name: &str, title, lengths: Vec<usize>| Self {
            name: name.to_owned(),
            title,
            cell: Cell::Gru,
            layers: 2,
            both_directions: true,
            input: 64,
            hidden: 128,
            lengths,
            streams: false,
            forward: true,
            training: false,
        };
        vec![
            Self {
                both_directions: false,
                streams: true,
                ..gru("W1", "stream, one step a call", vec![1])
            },
            gru("W2", "one sequence", vec![112]),
            gru("W3", "ragged batch", LENGTHS.to_vec()),
            Self {
                cell: Cell::Lstm,
                layers: 1,
                both_directions: false,
                input: 128,
                forward: false,
                training: true,
                ..gru("W4", "LSTM training step", vec![128; 64])
            },
            Self {
                forward: false,
                training: true,
                ..gru("W5", "ragged GRU training step", LENGTHS.to_vec())
            },
            Self {
                cell: Cell::Lstm,
                layers: 1,
                both_directions: false,
                input: 512,
                hidden: 512,
                training: true,
                ..gru("W6", "wide LSTM", vec![64; 64])
            },
            Self {
                layers: 1,
                both_directions: false,
                input: 16,
                hidden: 32,
                training: true,
                ..gru("W7", "many tiny sequences", vec![64; 1024])
            },
        ]
    }

    /// The network.
    pub(crate) fn config(&self) -> Result<RnnConfig> {
        let builder = match self.cell {
            Cell::Elman => RnnConfig::elman(self.input, self.hidden),
            Cell::Lstm => RnnConfig::lstm(self.input, self.hidden),
            Cell::Gru => RnnConfig::gru(self.input, self.hidden),
        };
        let direction = match self.both_directions {
            true => Direction::BidirectionalConcat,
            false => Direction::Forward,
        };
        builder.layers(self.layers).direction(direction).build()
    }

    /// Timesteps of all sequences.
    pub(crate) fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Operations of the forward's matrix products, a multiplication and an addition counted as two. A backward takes twice
    /// as many.
    pub(crate) fn operations(&self) -> f64 {
        let gates = match self.cell {
            Cell::Elman => 1,
            Cell::Lstm => 4,
            Cell::Gru => 3,
        };
        let directions = 1 + usize::from(self.both_directions);
        let of_layer = |layer: usize| {
            let input = match layer {
                0 => self.input,
                _ => self.hidden * directions,
            };
            2 * self.tokens() * directions * gates * self.hidden * (input + self.hidden)
        };
        (0..self.layers).map(of_layer).sum::<usize>() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_other_libraries() {
        let mut sorted = LENGTHS;
        sorted.sort_unstable();
        assert_eq!(LENGTHS.iter().sum::<usize>(), 8_466);
        assert_eq!(
            (sorted[0], sorted[127], sorted[243], sorted[255]),
            (1, 18, 113, 445)
        );
    }

    #[test]
    fn operations_are_counted() {
        let all = Workload::all();
        let wide = all.iter().find(|workload| workload.name == "W6");
        let expected = 2.0 * 4096.0 * 2048.0 * 1024.0;
        assert_eq!(wide.map(Workload::operations), Some(expected));
        assert!(all.iter().all(|workload| workload.config().is_ok()));
    }
}
