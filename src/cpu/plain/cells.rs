//! The arithmetic of a vector of units. The same formulas as in [`crate::cell`], with derivatives written out from the
//! activations that the forward keeps; the tests compare both with the reference.

use pulp::Simd;

use crate::cpu::simd::{SLOTS, sigmoid, tanh};

/// A cell with `V` recurrent products a unit, and as many of the input.
pub(super) trait PlainCell<const V: usize>: Copy + Send + Sync {
    /// Slots of a unit in the rows of gates.
    const UNIT: usize;
    /// The slot of each recurrent product.
    const PRODUCTS: [usize; V];
    /// The slot of each product of the input.
    const INPUTS: [usize; V];
    /// The order of a unit's slots in rows of gradients: the input's `V` first, the recurrent products' `V` last.
    const ORDER: [usize; SLOTS];

    /// A step, from the sums of biases, input's and recurrent products.
    fn forward<S: Simd>(self, simd: S, slots: [S::f32s; SLOTS], old: State<S>) -> Forward<S>;

    /// What the forward keeps, from the sums of projections and recurrent products.
    fn activate<S: Simd>(self, simd: S, slots: [S::f32s; SLOTS]) -> [S::f32s; SLOTS];

    /// The gradients, from what the forward has kept.
    fn backward<S: Simd>(
        self,
        simd: S,
        kept: [S::f32s; SLOTS],
        states: [State<S>; 2],
        d: State<S>,
    ) -> Backward<S>;
}

/// The state of a vector of units, or its gradient; cells without a cell state do not look at `c`.
#[derive(Debug, Clone, Copy)]
pub(super) struct State<S: Simd> {
    pub(super) h: S::f32s,
    pub(super) c: S::f32s,
}

/// The result of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forward<S: Simd> {
    /// What the backward wants to know.
    pub(super) kept: [S::f32s; SLOTS],
    pub(super) new: State<S>,
}

/// The gradients of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backward<S: Simd> {
    /// Of the slots' sums.
    pub(super) slots: [S::f32s; SLOTS],
    /// Of the old state, but for what comes through the recurrent products.
    pub(super) old: State<S>,
}

/// `y (1 - y) d`: back through a sigmoid.
#[inline(always)]
fn through_sigmoid<S: Simd>(simd: S, y: S::f32s, d: S::f32s) -> S::f32s {
    simd.mul_f32s(d, simd.mul_f32s(y, simd.sub_f32s(simd.splat_f32s(1.0), y)))
}

/// `(1 - y^2) d`: back through a hyperbolic tangent.
#[inline(always)]
fn through_tanh<S: Simd>(simd: S, y: S::f32s, d: S::f32s) -> S::f32s {
    let slope = simd.negate_mul_add_e_f32s(y, y, simd.splat_f32s(1.0));
    simd.mul_f32s(d, slope)
}

/// `h' = tanh(s)`, or the positive part of `s`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elman {
    pub(super) relu: bool,
}

impl PlainCell<1> for Elman {
    const UNIT: usize = 1;
    const PRODUCTS: [usize; 1] = [0];
    const INPUTS: [usize; 1] = [0];
    const ORDER: [usize; SLOTS] = [0; SLOTS];

    #[inline(always)]
    fn forward<S: Simd>(self, simd: S, [sum, ..]: [S::f32s; SLOTS], old: State<S>) -> Forward<S> {
        let zero = simd.splat_f32s(0.0);
        let h = if self.relu {
            // NaN is not at most zero and stays.
            simd.select_f32s(simd.less_than_or_equal_f32s(sum, zero), zero, sum)
        } else {
            tanh(simd, sum)
        };
        Forward {
            kept: [h, zero, zero, zero],
            new: State { h, c: old.c },
        }
    }

    #[inline(always)]
    fn activate<S: Simd>(self, simd: S, slots: [S::f32s; SLOTS]) -> [S::f32s; SLOTS] {
        let zero = simd.splat_f32s(0.0);
        let old = State { h: zero, c: zero };
        self.forward(simd, slots, old).kept
    }

    #[inline(always)]
    fn backward<S: Simd>(
        self,
        simd: S,
        kept: [S::f32s; SLOTS],
        _: [State<S>; 2],
        d: State<S>,
    ) -> Backward<S> {
        let (zero, h) = (simd.splat_f32s(0.0), kept[0]);
        let d_sum = if self.relu {
            simd.select_f32s(simd.greater_than_f32s(h, zero), d.h, zero)
        } else {
            through_tanh(simd, h, d.h)
        };
        Backward {
            slots: [d_sum, zero, zero, zero],
            old: State { h: zero, c: zero },
        }
    }
}

/// `c' = f c + i g`, `h' = o tanh(c')`; keeps `i f g o`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lstm;

impl PlainCell<4> for Lstm {
    const UNIT: usize = SLOTS;
    const PRODUCTS: [usize; 4] = [0, 1, 2, 3];
    const INPUTS: [usize; 4] = [0, 1, 2, 3];
    const ORDER: [usize; SLOTS] = [0, 1, 2, 3];

    #[inline(always)]
    fn forward<S: Simd>(self, simd: S, slots: [S::f32s; SLOTS], old: State<S>) -> Forward<S> {
        let kept = self.activate(simd, slots);
        let [i, f, g, o] = kept;
        let c = simd.mul_add_e_f32s(f, old.c, simd.mul_f32s(i, g));
        let h = simd.mul_f32s(o, tanh(simd, c));
        Forward {
            kept,
            new: State { h, c },
        }
    }

    #[inline(always)]
    fn activate<S: Simd>(self, simd: S, slots: [S::f32s; SLOTS]) -> [S::f32s; SLOTS] {
        let [i, f, g, o] = slots;
        [
            sigmoid(simd, i),
            sigmoid(simd, f),
            tanh(simd, g),
            sigmoid(simd, o),
        ]
    }

    #[inline(always)]
    fn backward<S: Simd>(
        self,
        simd: S,
        kept: [S::f32s; SLOTS],
        [old, new]: [State<S>; 2],
        d: State<S>,
    ) -> Backward<S> {
        let [i, f, g, o] = kept;
        let t = tanh(simd, new.c);
        let d_o = simd.mul_f32s(d.h, t);
        let d_c = simd.add_f32s(d.c, through_tanh(simd, t, simd.mul_f32s(d.h, o)));
        let slots = [
            through_sigmoid(simd, i, simd.mul_f32s(d_c, g)),
            through_sigmoid(simd, f, simd.mul_f32s(d_c, old.c)),
            through_tanh(simd, g, simd.mul_f32s(d_c, i)),
            through_sigmoid(simd, o, d_o),
        ];
        Backward {
            slots,
            old: State {
                h: simd.splat_f32s(0.0),
                c: simd.mul_f32s(d_c, f),
            },
        }
    }
}

/// `n = tanh(n + r q)`, `h' = n + z (h - n)`, or with `take_new` `h + z (n - h)`; keeps `r z n` and the sum `q`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gru {
    pub(super) take_new: bool,
}

impl PlainCell<3> for Gru {
    const UNIT: usize = SLOTS;
    const PRODUCTS: [usize; 3] = [0, 1, 3];
    const INPUTS: [usize; 3] = [0, 1, 2];
    const ORDER: [usize; SLOTS] = [2, 0, 1, 3];

    #[inline(always)]
    fn forward<S: Simd>(self, simd: S, slots: [S::f32s; SLOTS], old: State<S>) -> Forward<S> {
        let kept = self.activate(simd, slots);
        let [_, z, n, _] = kept;
        let (from, to) = if self.take_new {
            (old.h, n)
        } else {
            (n, old.h)
        };
        let h = simd.mul_add_e_f32s(z, simd.sub_f32s(to, from), from);
        Forward {
            kept,
            new: State { h, c: old.c },
        }
    }

    #[inline(always)]
    fn activate<S: Simd>(self, simd: S, slots: [S::f32s; SLOTS]) -> [S::f32s; SLOTS] {
        let [r, z, n, q] = slots;
        let (r, z) = (sigmoid(simd, r), sigmoid(simd, z));
        [r, z, tanh(simd, simd.mul_add_e_f32s(r, q, n)), q]
    }

    #[inline(always)]
    fn backward<S: Simd>(
        self,
        simd: S,
        kept: [S::f32s; SLOTS],
        [old, _]: [State<S>; 2],
        d: State<S>,
    ) -> Backward<S> {
        let [r, z, n, q] = kept;
        let zd = simd.mul_f32s(z, d.h);
        let rest = simd.sub_f32s(d.h, zd);
        let (d_n, d_old, towards) = if self.take_new {
            (zd, rest, simd.sub_f32s(n, old.h))
        } else {
            (rest, zd, simd.sub_f32s(old.h, n))
        };
        let d_n = through_tanh(simd, n, d_n);
        let slots = [
            through_sigmoid(simd, r, simd.mul_f32s(d_n, q)),
            through_sigmoid(simd, z, simd.mul_f32s(d.h, towards)),
            d_n,
            simd.mul_f32s(d_n, r),
        ];
        Backward {
            slots,
            old: State {
                h: d_old,
                c: simd.splat_f32s(0.0),
            },
        }
    }
}
