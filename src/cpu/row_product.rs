//! The product of a timestep's rows with weights in panels whose columns lie side by side in the result.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::cpu::panels::{Block, Panels, TERMS, for_row_groups, product};
use crate::cpu::simd::{load_all, store_all};
use crate::cpu::tile::{Contiguous, StepTarget};

/// Vectors of a panel: 1, 2 or 4, as few columns need no more.
pub(super) fn vectors(columns: usize, lanes: usize) -> usize {
    columns.div_ceil(lanes).next_power_of_two().min(4)
}

/// A product of whole, contiguous rows. Unlike [`RowProduct`], it is code of its own, not a part of what asks for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct WholeRows<'a> {
    /// `[count, width]`
    pub(super) rows: &'a [f32],
    pub(super) width: usize,
    pub(super) count: usize,
    pub(super) columns: usize,
    /// Whether the result replaces what is there.
    pub(super) replace: bool,
}

impl WholeRows<'_> {
    /// Computes it into `[count, columns]`, if there are panels.
    pub(super) fn compute(self, panels: Option<&Panels>, target: &mut [f32]) {
        struct Work<'a>(WholeRows<'a>, &'a Panels, &'a mut [f32]);
        impl WithSimd for Work<'_> {
            type Output = ();
            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                let Self(product, panels, target) = self;
                let mut target = Contiguous {
                    values: target,
                    width: product.columns,
                };
                let product = RowProduct {
                    simd,
                    rows: product.rows,
                    width: product.width,
                    terms: 0..product.width,
                    columns: product.columns,
                    count: product.count,
                    replace: product.replace,
                };
                product.compute(panels, &mut target);
            }
        }
        if let Some(panels) = panels {
            panels.dispatch(Work(self, panels, target));
        }
    }
}

/// Some terms of each row, and how many columns the weights have.
#[derive(Debug)]
pub(super) struct RowProduct<'a, S> {
    pub(super) simd: S,
    /// `[count, width]`
    pub(super) rows: &'a [f32],
    pub(super) width: usize,
    pub(super) terms: Range<usize>,
    pub(super) columns: usize,
    pub(super) count: usize,
    /// Whether the result replaces what is there.
    pub(super) replace: bool,
}

impl<S: Simd> RowProduct<'_, S> {
    /// Computes the product.
    #[inline(always)]
    pub(super) fn compute(&self, panels: &Panels, target: &mut impl StepTarget) {
        match panels.vectors() {
            1 => self.sweep::<1>(panels, target),
            2 => self.sweep::<2>(panels, target),
            _ => self.sweep::<4>(panels, target),
        }
    }

    #[inline(always)]
    fn sweep<const N: usize>(&self, panels: &Panels, target: &mut impl StepTarget) {
        // A block of a panel's terms stays in the nearest cache while all rows pass.
        for block in (0..self.terms.len()).step_by(TERMS) {
            let terms = block..self.terms.len().min(block + TERMS);
            for number in 0..self.columns.div_ceil(N * S::F32_LANES) {
                let first = number * N * S::F32_LANES;
                let columns = first..self.columns.min(first + N * S::F32_LANES);
                let block = panels.block::<S>(number, terms.clone());
                for_row_groups!(S, self.count, row, R => {
                    let block = block.of_group(row / R);
                    self.rows::<R, N>((block, terms.clone()), columns.clone(), row, target);
                });
            }
        }
    }

    /// Adds some terms for `R` sequences from `row` on.
    #[inline(always)]
    fn rows<const R: usize, const N: usize>(
        &self,
        (block, terms): (Block<'_, S::f32s>, Range<usize>),
        columns: Range<usize>,
        row: usize,
        target: &mut impl StepTarget,
    ) {
        let simd = self.simd;
        let mut sums = [[simd.splat_f32s(0.0); N]; R];
        let mut inputs: [&[f32]; R] = [&[]; R];
        for r in 0..R {
            let start = (row + r) * self.width + self.terms.start;
            inputs[r] = &self.rows[start..][terms.clone()];
            if terms.start > 0 || !self.replace {
                sums[r] = load_all(simd, &target.row(row + r)[columns.clone()]);
            }
        }
        let sums = product(simd, block, inputs, sums);
        for (r, sums) in sums.into_iter().enumerate() {
            store_all(simd, &mut target.row(row + r)[columns.clone()], sums);
        }
    }
}
