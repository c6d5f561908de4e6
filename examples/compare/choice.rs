//! The networks that are compared.

use wgpu_rnn::config::{Cell, LayerNormKind};
use wgpu_rnn::{Direction, Result, RnnConfig};

/// Share of elements that dropout zeroes.
const DROPOUT: f32 = 0.2;
/// Added to a variance before its root is taken.
const EPSILON: f64 = 1e-5;

/// All cells, from the simplest on.
pub(crate) const CELLS: [Cell; 3] = [Cell::Elman, Cell::Gru, Cell::Lstm];

/// What a network has besides its cell and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extra {
    None,
    /// Between layers and before the head.
    Dropout,
    /// Inside the cell (Ba et al. 2016). The library has it for LSTM and GRU: an Elman cell with it is refused.
    LayerNorm,
}

/// One network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Choice {
    pub(crate) cell: Cell,
    pub(crate) directions: usize,
    /// Of a layer, in each direction.
    pub(crate) units: usize,
    pub(crate) layers: usize,
    pub(crate) extra: Extra,
}

impl Choice {
    /// Its configuration for rows of `inputs`.
    pub(crate) fn config(&self, inputs: usize) -> Result<RnnConfig> {
        let builder = match self.cell {
            Cell::Lstm => RnnConfig::lstm(inputs, self.units),
            Cell::Gru => RnnConfig::gru(inputs, self.units),
            _ => RnnConfig::elman(inputs, self.units),
        };
        let direction = match self.directions {
            2 => Direction::BidirectionalConcat,
            _ => Direction::Forward,
        };
        let builder = builder.layers(self.layers).direction(direction);
        match self.extra {
            Extra::None => builder.build(),
            Extra::LayerNorm => {
                let kind = LayerNormKind::WholeThenSum;
                builder.layer_norm(kind, EPSILON).build()
            }
            Extra::Dropout => {
                let dropout = wgpu_rnn::Dropout {
                    // The last layer's is the head's, which this program has of its own.
                    between: if self.layers > 1 { DROPOUT } else { 0.0 },
                    ..wgpu_rnn::Dropout::default()
                };
                builder.dropout(dropout).build()
            }
        }
    }

    /// Before the head.
    pub(crate) fn head_dropout(&self) -> f32 {
        match self.extra {
            Extra::Dropout => DROPOUT,
            _ => 0.0,
        }
    }

    pub(crate) fn cell_name(&self) -> &'static str {
        cell_name(self.cell)
    }

    pub(crate) fn extra_name(&self) -> &'static str {
        match self.extra {
            Extra::None => "",
            Extra::Dropout => "dropout",
            Extra::LayerNorm => "layer norm",
        }
    }
}

/// What people call a cell.
pub(crate) fn cell_name(cell: Cell) -> &'static str {
    match cell {
        Cell::Lstm => "LSTM",
        Cell::Gru => "GRU",
        _ => "Elman",
    }
}

/// Each cell in one and two directions with each of the widths; and with the middle one, in one direction, one change at a
/// time: dropout, and layer norm where the library has it.
pub(crate) fn design(widths: &[usize], layers: usize) -> Vec<Choice> {
    let mut choices = Vec::new();
    for cell in CELLS {
        let plain = |directions, units| Choice {
            cell,
            directions,
            units,
            layers,
            extra: Extra::None,
        };
        for directions in [1, 2] {
            choices.extend(widths.iter().map(|&units| plain(directions, units)));
        }
        let extras = [Extra::Dropout, Extra::LayerNorm].into_iter();
        let extras = extras.filter(|&extra| extra != Extra::LayerNorm || cell != Cell::Elman);
        if let Some(&units) = widths.get(widths.len() / 2) {
            choices.extend(extras.map(|extra| Choice {
                extra,
                ..plain(1, units)
            }));
        }
    }
    choices
}
