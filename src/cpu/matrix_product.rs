//! The `gemm` crate behind bounds checks.

use gemm::Parallelism;

use crate::cpu::parallel::{join, threads};

/// A matrix to read: element (row, column) is `values[row * strides[0] + column * strides[1]]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) values: &'a [f32],
    pub(super) strides: [usize; 2],
}

impl<'a> View<'a> {
    /// Rows of `width` contiguous elements.
    pub(super) fn rows(values: &'a [f32], width: usize) -> Self {
        let strides = [width, 1];
        Self { values, strides }
    }

    /// Columns of `height` contiguous elements.
    pub(super) fn columns(values: &'a [f32], height: usize) -> Self {
        let strides = [1, height];
        Self { values, strides }
    }
}

/// Panics if an element of an `m` by `n` matrix lies outside of `len` elements.
fn assert_inside(len: usize, strides: [usize; 2], [m, n]: [usize; 2]) {
    let last = strides[0]
        .checked_mul(m - 1)
        .zip(strides[1].checked_mul(n - 1))
        .and_then(|(row, column)| row.checked_add(column));
    assert!(
        last.is_some_and(|last| last < len),
        "matrix of {m} x {n} elements with strides {strides:?} in {len} elements"
    );
}

/// Products of at least this many multiplications are computed in two halves.
const WORTH_HALVING: usize = 1 << 22;

/// `c[m, n] = (accumulate ? c : 0) + a[m, k] b[k, n]`, on the current thread pool. Each element's sum has an order that
/// depends on the sizes and strides alone: threads share out elements of `c`, never the terms of one.
///
/// Large products are computed in two halves at a time: the crate's own threads wait for each other after every block of
/// terms, which with two threads and many terms costs a quarter of the time.
///
/// # Panics
/// As [`whole_product`].
pub(super) fn matrix_product(
    [m, n, k]: [usize; 3],
    a: View<'_>,
    b: View<'_>,
    c: &mut [f32],
    c_strides: [usize; 2],
    accumulate: bool,
) {
    let threads = threads();
    let rows_contiguous = c_strides[1] == 1 && c_strides[0] >= n;
    let large = m >= 32 && m.saturating_mul(n).saturating_mul(k) >= WORTH_HALVING;
    if !(large && rows_contiguous) {
        let parallelism = match threads {
            1 => Parallelism::None,
            _ => Parallelism::Rayon(0),
        };
        return whole_product([m, n, k], a, b, (c, c_strides), accumulate, parallelism);
    }
    // Halved with any number of threads, so that the order of the sums is always the same.
    let parallelism = match threads {
        0..=3 => Parallelism::None,
        _ => Parallelism::Rayon(threads / 2),
    };
    let upper = m / 2;
    let (first, second) = c.split_at_mut(upper * c_strides[0]);
    let rest = View {
        values: a.values.get(upper * a.strides[0]..).unwrap_or_default(),
        strides: a.strides,
    };
    join(
        || {
            whole_product(
                [upper, n, k],
                a,
                b,
                (first, c_strides),
                accumulate,
                parallelism,
            )
        },
        || {
            whole_product(
                [m - upper, n, k],
                rest,
                b,
                (second, c_strides),
                accumulate,
                parallelism,
            )
        },
    );
}

/// A product by the crate itself.
///
/// # Panics
/// If a matrix leaves its slice, or two elements of `c` are the same: the callers' sizes are checked when a program is
/// loaded.
#[expect(
    unsafe_code,
    reason = "the gemm crate takes pointers; every element it touches is checked to lie in a slice"
)]
fn whole_product(
    [m, n, k]: [usize; 3],
    a: View<'_>,
    b: View<'_>,
    (c, c_strides): (&mut [f32], [usize; 2]),
    accumulate: bool,
    parallelism: Parallelism,
) {
    if m == 0 || n == 0 || (k == 0 && accumulate) {
        return;
    }
    assert_inside(c.len(), c_strides, [m, n]);
    let [outer, inner] = c_strides;
    let distinct = |sizes: [usize; 2], strides: [usize; 2]| {
        (sizes[1] == 1 || strides[1] > 0)
            && (sizes[0] == 1 || strides[0] > strides[1] * (sizes[1] - 1))
    };
    assert!(
        distinct([m, n], [outer, inner]) || distinct([n, m], [inner, outer]),
        "elements of the product overlap: strides {c_strides:?}"
    );
    if k > 0 {
        assert_inside(a.values.len(), a.strides, [m, k]);
        assert_inside(b.values.len(), b.strides, [k, n]);
    }
    let stride = |stride: usize| stride as isize;
    // SAFETY: all m * n, m * k and k * n elements lie within the three slices and the elements of `c` are distinct, as
    // asserted above; `c` is borrowed mutably, so it aliases neither `a` nor `b`. Slices are no longer than isize::MAX
    // bytes, so a stride that is used fits an isize; one that is not used (a size of 1) is only multiplied by 0.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            stride(c_strides[1]),
            stride(c_strides[0]),
            accumulate,
            a.values.as_ptr(),
            stride(a.strides[1]),
            stride(a.strides[0]),
            b.values.as_ptr(),
            stride(b.strides[1]),
            stride(b.strides[0]),
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
