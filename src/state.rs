//! What goes into a network and comes out besides the sequences: states, outputs, gradients.

use crate::config::{Cell, RnnConfig};
use crate::error::{Error, Result, checked_product};

/// Hidden and cell states of all layers and directions, in the caller's order of sequences.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State<T = f32> {
    /// `[layers * directions, batch, state size]`, index `layer * directions + direction`.
    pub h: Vec<T>,
    /// LSTM: `[layers * directions, batch, hidden]`; empty for other cells.
    pub c: Vec<T>,
}

impl<T: Copy + Default> State<T> {
    /// All zeros for `batch` sequences.
    ///
    /// # Errors
    /// [`Error::Overflow`] if it does not fit.
    pub fn zeros(config: &RnnConfig, batch: usize) -> Result<Self> {
        let [h, c] = Self::lens(config, batch)?;
        Ok(Self {
            h: vec![T::default(); h],
            c: vec![T::default(); c],
        })
    }

    /// Checks both sizes.
    ///
    /// # Errors
    /// [`Error::Shape`] if one does not fit `config` and `batch`.
    pub fn check(&self, config: &RnnConfig, batch: usize) -> Result<()> {
        let [h, c] = Self::lens(config, batch)?;
        let rows = config.layer_count() * config.directions();
        for (what, values, len, width) in [
            ("state h", self.h.len(), h, config.state_size()),
            ("state c", self.c.len(), c, config.hidden_size()),
        ] {
            if values != len {
                return Err(Error::shape(
                    what,
                    format!("{rows} layers and directions x {batch} sequences x {width} = {len}"),
                    values,
                ));
            }
        }
        Ok(())
    }

    fn lens(config: &RnnConfig, batch: usize) -> Result<[usize; 2]> {
        let rows = config.layer_count() * config.directions();
        let h = checked_product("state h", &[rows, batch, config.state_size()])?;
        let c = match config.spec().cell {
            Cell::Lstm => checked_product("state c", &[rows, batch, config.hidden_size()])?,
            _ => 0,
        };
        Ok([h, c])
    }
}

/// What a network computes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Output<T = f32> {
    /// Packed rows, `[tokens, output size]`, in the order of the input's [`Packing`](crate::Packing).
    pub y: Vec<T>,
    /// Final states: of each sequence's last real step, for the reverse direction its first.
    pub state: State<T>,
}

/// The gradient of a loss with respect to an [`Output`]; absent parts are zero.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OutputGradient<T = f32> {
    /// `[tokens, output size]`
    pub y: Option<Vec<T>>,
    /// `[layers * directions, batch, state size]`
    pub h: Option<Vec<T>>,
    /// `[layers * directions, batch, hidden]`
    pub c: Option<Vec<T>>,
}

impl<T> OutputGradient<T> {
    /// Checks all sizes.
    ///
    /// # Errors
    /// [`Error::Shape`] if one does not fit.
    pub fn check(&self, config: &RnnConfig, tokens: usize, batch: usize) -> Result<()> {
        let zeros = State::<f32>::lens(config, batch)?;
        let y = checked_product("output", &[tokens, config.output_size()])?;
        for (what, values, len) in [
            ("gradient of y", &self.y, y),
            ("gradient of h_n", &self.h, zeros[0]),
            ("gradient of c_n", &self.c, zeros[1]),
        ] {
            if let Some(values) = values
                && values.len() != len
            {
                return Err(Error::shape(what, len, values.len()));
            }
        }
        Ok(())
    }
}

/// The gradient of a loss with respect to everything that went in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Gradients<T = f32> {
    /// `[tokens, input size]`
    pub x: Vec<T>,
    /// Of the initial states.
    pub state: State<T>,
    /// In the order of the [`ParameterLayout`](crate::ParameterLayout).
    pub parameters: Vec<T>,
}
