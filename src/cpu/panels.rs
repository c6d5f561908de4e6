//! Weights in panels: the layout in which a product with few rows is fastest, and that product.
//!
//! A panel holds the columns that one thread computes at a time, `V` vectors of them, term by term, so that the product reads
//! it from one end to the other. What the vectors of a panel are is the caller's choice: for the forward the gates of a
//! vector of units, so that the gates' sums come out ready for the cell's arithmetic.

use std::ops::Range;
use std::sync::Arc;

use pulp::{Arch, Simd, WithSimd};

use crate::cpu::access::elements;
use crate::cpu::aligned::AlignedFloats;
use crate::cpu::memory_pool::MemoryPool;
use crate::cpu::simd::lanes;
use crate::error::Result;

/// Terms of a panel that stay in a near cache while many rows pass: 64 KiB of four 8-lane vectors each.
pub(super) const TERMS: usize = 512;

/// Elements of the weights, `stride` apart, that become a vector of a panel; the lanes beyond `len` are zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneRun {
    pub(super) start: usize,
    pub(super) stride: usize,
    pub(super) len: usize,
}

/// Several panels of one matrix.
#[derive(Debug)]
pub(super) struct Panels {
    /// The instruction set whose vectors they are made of; nothing else may read them.
    arch: Arch,
    vectors: usize,
    terms: usize,
    values: AlignedFloats,
}

impl Panels {
    /// Room for `panels` panels of `terms` terms and `vectors` vectors, to be filled.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub(super) fn new(
        pool: &Arc<MemoryPool>,
        arch: Arch,
        [panels, terms, vectors]: [usize; 3],
    ) -> Result<Self> {
        let len = elements(&[panels, terms, vectors, lanes(arch)]);
        Ok(Self {
            arch,
            vectors,
            terms,
            values: AlignedFloats::from_pool(pool, "panels of weights", len)?,
        })
    }

    /// Fills every vector from the run of `source` that `run(panel, term, vector)` names.
    pub(super) fn fill(&mut self, source: &[f32], run: impl Fn(usize, usize, usize) -> LaneRun) {
        let (lanes, vectors) = (self.lanes(), self.vectors);
        let panel_len = self.terms * vectors * lanes;
        if panel_len == 0 {
            return;
        }
        for (panel, values) in self.values.chunks_exact_mut(panel_len).enumerate() {
            for (index, vector) in values.chunks_exact_mut(lanes).enumerate() {
                let run = run(panel, index / vectors, index % vectors);
                for (lane, value) in vector.iter_mut().enumerate() {
                    *value = match lane < run.len {
                        true => source[run.start + lane * run.stride],
                        false => 0.0,
                    };
                }
            }
        }
    }

    /// Elements of a vector.
    pub(super) fn lanes(&self) -> usize {
        lanes(self.arch)
    }

    /// Does work that reads the panels, on their instruction set.
    #[inline(always)]
    pub(super) fn dispatch<W: WithSimd>(&self, work: W) -> W::Output {
        self.arch.dispatch(work)
    }

    /// Panel number `panel`, vector by vector.
    #[inline(always)]
    pub(super) fn panel<S: Simd>(&self, panel: usize) -> &[S::f32s] {
        let len = self.terms * self.vectors;
        &S::as_simd_f32s(&self.values).0[panel * len..(panel + 1) * len]
    }

    /// Some terms of a panel, for a walk through all panels before the next terms.
    #[inline(always)]
    pub(super) fn block<S: Simd>(&self, panel: usize, terms: Range<usize>) -> Block<'_, S::f32s> {
        let vectors = self.vectors;
        let next = panel + 1;
        let ahead = match next * self.terms * vectors * S::F32_LANES < self.values.len() {
            true => self.ahead::<S>(next, terms.start * vectors),
            false => self.ahead::<S>(0, terms.end % self.terms * vectors),
        };
        let panel = &self.panel::<S>(panel)[terms.start * vectors..terms.end * vectors];
        Block { panel, ahead }
    }

    /// What to read later: panel number `panel` from a vector on. Of panels that a near cache holds anyway it is always the
    /// first, which costs nothing to ask for.
    #[inline(always)]
    pub(super) fn ahead<S: Simd>(&self, panel: usize, vector: usize) -> Ahead<S::f32s> {
        const NEAR: usize = 1 << 15;
        let panels = &S::as_simd_f32s(&self.values).0;
        match self.values.len() > NEAR {
            true => Ahead::of(panels).skip(panel * self.terms * self.vectors + vector),
            false => Ahead::of(panels),
        }
    }

    /// Vectors of a panel.
    pub(super) fn vectors(&self) -> usize {
        self.vectors
    }

    /// Elements.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }
}

/// Where weights lie that a later product reads. Large ones come from a far cache, which answers too slowly for a few rows'
/// arithmetic; while a product goes through its own terms it asks for a vector of each term of these.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead<T>(*const T);

impl<T> Ahead<T> {
    #[inline(always)]
    fn of(weights: &[T]) -> Self {
        Self(weights.as_ptr())
    }

    /// From some vectors further on.
    #[inline(always)]
    pub(super) fn skip(self, vectors: usize) -> Self {
        Self(self.0.wrapping_add(vectors))
    }

    /// Asks for a vector, to come into the second nearest cache.
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "the intrinsic takes a pointer")]
    #[inline(always)]
    fn prefetch(self, vector: usize) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a hint, without effect on what a program computes; an address that cannot be read is ignored.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(self.0.wrapping_add(vector).cast()) }
    }

    /// Elsewhere there is no stable way to ask.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    fn prefetch(self, _: usize) {}
}

/// Weights of a product, and of a later one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a, T> {
    pub(super) panel: &'a [T],
    pub(super) ahead: Ahead<T>,
}

impl<'a, T> Block<'a, T> {
    /// Without a later product.
    #[inline(always)]
    pub(super) fn alone(panel: &'a [T]) -> Self {
        let ahead = Ahead::of(panel);
        Self { panel, ahead }
    }

    /// For group number `group` of rows: groups share out the later weights, a vector of each term for one.
    #[inline(always)]
    pub(super) fn of_group(self, group: usize) -> Self {
        let ahead = self.ahead.skip(group);
        Self { ahead, ..self }
    }
}

/// `sums[r] + rows[r] * panel` for `R` rows at a time, while the weights of a later product come nearer. Each element's sum goes
/// from the first term to the last, however many rows there are.
#[inline(always)]
pub(super) fn product<S: Simd, const R: usize, const V: usize>(
    simd: S,
    block: Block<'_, S::f32s>,
    rows: [&[f32]; R],
    mut sums: [[S::f32s; V]; R],
) -> [[S::f32s; V]; R] {
    let terms = block.panel.as_chunks::<V>().0;
    // Plain loops: closures over arrays are not always inlined into the vectorised function.
    let mut inputs: [&[f32]; R] = [&[]; R];
    for r in 0..R {
        inputs[r] = &rows[r][..terms.len()];
    }
    for (term, weights) in terms.iter().enumerate() {
        block.ahead.prefetch(term * V);
        let mut input = [simd.splat_f32s(0.0); R];
        for r in 0..R {
            input[r] = simd.splat_f32s(inputs[r][term]);
        }
        // Vector by vector, so that a weight is in a register for as long as all rows need it and no longer.
        for v in 0..V {
            let weight = weights[v];
            for r in 0..R {
                sums[r][v] = simd.mul_add_e_f32s(weight, input[r], sums[r][v]);
            }
        }
    }
    sums
}

/// The product of one row with two panels at a time, whose sums keep twice as many multiplications in flight: a single
/// row's sums of one panel would wait for each other. Each element's sum has the same order as in [`product`].
#[inline(always)]
pub(super) fn product_of_row<S: Simd, const V: usize>(
    simd: S,
    panels: [&[S::f32s]; 2],
    row: &[f32],
    [mut first, mut second]: [[S::f32s; V]; 2],
) -> [[S::f32s; V]; 2] {
    let [a, b] = panels.map(|panel| panel.as_chunks::<V>().0);
    for ((&input, a), b) in row.iter().zip(a).zip(b) {
        let input = simd.splat_f32s(input);
        for v in 0..V {
            first[v] = simd.mul_add_e_f32s(a[v], input, first[v]);
            second[v] = simd.mul_add_e_f32s(b[v], input, second[v]);
        }
    }
    [first, second]
}

/// Calls `$work::<R>(first row)` for all `$rows` rows, a few at a time: as many as the registers hold sums for, and in groups as
/// even as can be, for a small one reads as many weights as a large one.
macro_rules! for_row_groups {
    ($simd:ty, $rows:expr, $first:ident, $size:ident => $work:expr) => {{
        let rows: usize = $rows;
        let mut $first = 0;
        while $first < rows {
            let most = if <$simd as pulp::Simd>::REGISTER_COUNT > 16 {
                6
            } else {
                3
            };
            let left = rows - $first;
            match left.div_ceil(left.div_ceil(most)) {
                1 => {
                    const $size: usize = 1;
                    $work;
                    $first += 1;
                }
                2 => {
                    const $size: usize = 2;
                    $work;
                    $first += 2;
                }
                3 => {
                    const $size: usize = 3;
                    $work;
                    $first += 3;
                }
                4 => {
                    const $size: usize = 4;
                    $work;
                    $first += 4;
                }
                5 => {
                    const $size: usize = 5;
                    $work;
                    $first += 5;
                }
                _ => {
                    const $size: usize = 6;
                    $work;
                    $first += 6;
                }
            }
        }
    }};
}
pub(super) use for_row_groups;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Instructions;

    /// Doubles the first vector of the only panel; says how many elements it has.
    struct Double<'a>(&'a Panels, &'a mut [f32]);

    impl WithSimd for Double<'_> {
        type Output = usize;
        fn with_simd<S: Simd>(self, simd: S) -> usize {
            let Self(panels, result) = self;
            let vector = panels.panel::<S>(0)[0];
            let doubled = simd.add_f32s(vector, vector);
            S::as_mut_simd_f32s(result).0[0] = doubled;
            S::F32_LANES
        }
    }

    #[test]
    fn panels_are_read_by_the_set_that_they_are_packed_for() {
        let source: Vec<f32> = (0..16u8).map(f32::from).collect();
        let mut seen = Vec::new();
        for set in Instructions::available() {
            let arch = set.arch().unwrap();
            let mut panels = Panels::new(&Arc::default(), arch, [1, 3, 2]).unwrap();
            assert_eq!(panels.len(), 3 * 2 * lanes(arch), "{set}");
            panels.fill(&source, |_, _, _| LaneRun {
                start: 0,
                stride: 1,
                len: usize::MAX,
            });
            let mut result = [-1.0; 16];
            let lanes = panels.dispatch(Double(&panels, &mut result));
            assert_eq!(lanes, panels.lanes(), "{set}");
            let doubled = source.iter().map(|value| 2.0 * value);
            assert!(doubled.take(lanes).eq(result[..lanes].iter().copied()));
            assert!(result[lanes..].iter().all(|&value| value == -1.0));
            seen.push(lanes);
        }
        // Each is another set, the widest first.
        assert!(seen.is_sorted_by(|wide, narrow| wide > narrow), "{seen:?}");
        assert_eq!(seen.first(), Some(&lanes(Arch::new())));
    }
}
