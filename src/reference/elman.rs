//! The Elman cell of a step.

use super::float::Float;
use super::layer::{CellGradient, Layer, Sides, Values};
use crate::cell::{elman_unit, pullback};

/// What the backward needs.
#[derive(Debug, Clone)]
pub(super) struct ElmanStep<T> {
    pre: Vec<T>,
}

impl<T: Float> Layer<'_, T> {
    pub(super) fn elman(&self, sides: &Sides<T>) -> (ElmanStep<T>, Values<T>) {
        let pairs = sides.input.iter().zip(&sides.recurrent);
        let pre: Vec<T> = pairs.map(|(&x, &u)| x + u).collect();
        let unit = |&pre| elman_unit(self.spec(), self.activations(), pre);
        let h = pre.iter().map(unit).collect();
        let pre = pre.into_iter().map(T::stored).collect();
        (ElmanStep { pre }, Values { h, c: Vec::new() })
    }

    pub(super) fn elman_backward(&self, step: &ElmanStep<T>, d_new: &Values<T>) -> CellGradient<T> {
        let unit = |(&pre, &d): (&T, &T)| {
            let elman = |[pre]: [_; 1]| [elman_unit(self.spec(), self.activations(), pre)];
            let (_, [d_pre]) = pullback(elman, [pre], [d]);
            d_pre.stored()
        };
        let d_pre: Vec<T> = step.pre.iter().zip(&d_new.h).map(unit).collect();
        CellGradient {
            sides: Sides {
                input: d_pre.clone(),
                recurrent: d_pre,
            },
            before: Values {
                h: Vec::new(),
                c: Vec::new(),
            },
            u: Vec::new(),
        }
    }
}
