//! Fill and the matrix product.

use wgpu_rnn::Plan as _;
use wgpu_rnn::ops::{Fill, Gemm, Matrix, Program, Region, Role, RowMap, Section};

use crate::support::{Case, all_devices, devices, random, whole};

#[test]
fn fill() {
    for (len, offset) in [(1, 0), (255, 3), (257, 1), (70_000, 5)] {
        let mut case = Case::new();
        let target = case.buffer("target", random(len + offset + 2, 1));
        let mut expected: Vec<f64> = case.contents[0].1.iter().map(|&v| v.into()).collect();
        expected[offset..offset + len].fill(-2.5);
        case.push(Fill {
            target: Region::from(target).at(offset),
            len,
            value: -2.5,
        });
        case.expect("fill", target, &expected, &vec![0.0; expected.len()]);
    }
}

/// A product with its operands, to be multiplied naively too.
struct Product {
    m: usize,
    n: usize,
    k: usize,
    a_transposed: bool,
    b_transposed: bool,
    c_transposed: bool,
    map: char,
    bias: bool,
    accumulate: bool,
    /// Whole numbers, and no tolerance.
    exact: bool,
    /// All rows (of transposed matrices: columns) begin at multiples of four elements.
    aligned: bool,
}

const PLAIN: Product = Product {
    m: 5,
    n: 7,
    k: 3,
    a_transposed: false,
    b_transposed: false,
    c_transposed: false,
    map: ' ',
    bias: false,
    accumulate: false,
    exact: false,
    aligned: false,
};

/// A matrix of the given size in a buffer with a margin: rows are one element further apart than they need be, or, if
/// `aligned`, one to four.
fn matrix(region: Region, [rows, columns]: [usize; 2], transposed: bool, aligned: bool) -> Matrix {
    let apart = |width: usize| match aligned {
        false => width + 1,
        true => (width + 1).next_multiple_of(4),
    };
    match transposed {
        false => Matrix::rows(region, apart(columns)),
        true => Matrix::rows(region, apart(rows)).transposed(),
    }
}

fn at(matrix: &Matrix, row: usize, column: usize) -> usize {
    matrix.region.offset + row * matrix.strides[0] + column * matrix.strides[1]
}

fn check(product: &Product) -> Case {
    let Product { m, n, k, .. } = *product;
    let mut case = Case::new();
    // The mapped dimension is larger than the product needs, and visited out of order.
    let permutation = |len: usize| -> Vec<u32> {
        let step = (1..)
            .find(|s| (len + 3) / 2 < *s && gcd(*s, len + 3) == 1)
            .unwrap();
        (0..len).map(|i| (i * step % (len + 3)) as u32).collect()
    };
    let (a_rows, a_columns, c_rows) = match product.map {
        'm' => (m + 3, k, m),
        'k' => (m, k + 3, m),
        's' => (m, k, m + 3),
        _ => (m, k, m),
    };
    let words = permutation(if product.map == 'k' { k } else { m });
    let table = case.program.table(&words);
    let margin = if product.aligned { 8 } else { 6 };
    let random = if product.exact { whole } else { random };
    let size = |rows: usize, columns: usize| (rows + 4) * (columns + 4) + margin;
    let a = case.buffer("a", random(size(a_rows, a_columns), 1));
    let b = case.buffer("b", random(size(k, n), 2));
    let c = case.buffer("c", random(size(c_rows, n), 3));
    let bias = case.buffer("bias", random(n + margin, 4));
    let region = |buffer| Region::from(buffer).at(margin);
    let gemm = Gemm {
        a: matrix(
            region(a),
            [a_rows, a_columns],
            product.a_transposed,
            product.aligned,
        ),
        b: matrix(region(b), [k, n], product.b_transposed, product.aligned),
        c: matrix(
            region(c),
            [c_rows, n],
            product.c_transposed,
            product.aligned,
        ),
        m,
        n,
        k,
        map: match product.map {
            'm' => Some(RowMap::GatherM(table)),
            'k' => Some(RowMap::GatherK(table)),
            's' => Some(RowMap::ScatterM(table)),
            _ => None,
        },
        bias: product.bias.then_some(region(bias)),
        accumulate: product.accumulate,
    };
    case.push(gemm);
    let (av, bv, cv) = (
        &case.contents[0].1,
        &case.contents[1].1,
        &case.contents[2].1,
    );
    let mut expected: Vec<f64> = cv.iter().map(|&v| v.into()).collect();
    let mut tolerance = vec![0.0; expected.len()];
    for i in 0..m {
        for j in 0..n {
            // Every sum of k terms, in any order, is off by at most k epsilon times the sum of absolute terms; bias and
            // accumulation add two roundings.
            let (mut sum, mut size) = (0.0, 0.0);
            for p in 0..k {
                let row = if product.map == 'm' {
                    words[i] as usize
                } else {
                    i
                };
                let column = if product.map == 'k' {
                    words[p] as usize
                } else {
                    p
                };
                let term =
                    f64::from(av[at(&gemm.a, row, column)]) * f64::from(bv[at(&gemm.b, p, j)]);
                sum += term;
                size += term.abs();
            }
            if product.bias {
                let value = f64::from(case.contents[3].1[margin + j]);
                sum += value;
                size += value.abs();
            }
            let row = if product.map == 's' {
                words[i] as usize
            } else {
                i
            };
            let index = at(&gemm.c, row, j);
            if product.accumulate {
                sum += expected[index];
                size += expected[index].abs();
            }
            expected[index] = sum;
            tolerance[index] = (k + 2) as f64 * f64::from(f32::EPSILON) * size;
        }
    }
    let what = format!("gemm {m} x {n} x {k} map `{}`", product.map);
    if product.exact {
        tolerance.fill(0.0);
    }
    case.expect(&what, c, &expected, &tolerance);
    case
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[test]
fn gemm_sizes() {
    for (m, n, k) in [
        (1, 1, 1),
        (1, 130, 16),
        (3, 5, 0),
        (64, 64, 16),
        (65, 63, 17),
        (129, 70, 33),
        (200, 3, 100),
    ] {
        check(&Product { m, n, k, ..PLAIN });
    }
}

#[test]
fn gemm_strides_and_maps() {
    for bits in 0..8 {
        for map in [' ', 'm', 'k', 's'] {
            check(&Product {
                m: 67,
                n: 35,
                k: 21,
                a_transposed: bits & 1 != 0,
                b_transposed: bits & 2 != 0,
                c_transposed: bits & 4 != 0,
                map,
                bias: bits % 3 == 0,
                accumulate: bits % 2 == 1,
                exact: false,
                aligned: false,
            });
        }
    }
}

/// What the kernel with broadcasts takes: every number of rows of an invocation, every layout and map; matrices that are whole
/// vec4s, those whose rows begin at vec4s but do not end there, and those that lie anywhere.
#[test]
fn gemm_by_broadcasts() {
    for (aligned, n, whole_k, odd_k) in
        [(true, 36, 24, 21), (true, 35, 23, 24), (false, 33, 24, 22)]
    {
        for m in [4, 16, 20, 135, 136] {
            for (a_transposed, b_transposed) in [(false, false), (false, true), (true, false)] {
                for map in [' ', 's', if a_transposed { 'k' } else { 'm' }] {
                    check(&Product {
                        m,
                        n,
                        k: if a_transposed { odd_k } else { whole_k },
                        a_transposed,
                        b_transposed,
                        map,
                        bias: m != 4,
                        accumulate: map == ' ' || m == 16,
                        aligned,
                        ..PLAIN
                    });
                }
            }
        }
    }
}

/// Of large products with `b` in a buffer an invocation takes twice as many rows; whole and split sums.
#[test]
fn gemm_of_large_products() {
    for (a_transposed, map, bias) in [
        (true, ' ', false),
        (true, 'k', false),
        (true, 's', true),
        (false, 'm', true),
    ] {
        check(&Product {
            m: 204,
            n: 132,
            k: 5_120,
            a_transposed,
            map,
            bias,
            accumulate: !bias,
            exact: true,
            aligned: true,
            ..PLAIN
        });
    }
}

/// Few results of many terms: the sum is split, by either kernel.
#[test]
fn gemm_split_sums() {
    for aligned in [false, true] {
        for (map, accumulate) in [(' ', false), ('k', true)] {
            let case = check(&Product {
                m: 20,
                n: 24,
                k: 10_001,
                a_transposed: true,
                map,
                accumulate,
                exact: true,
                aligned,
                ..PLAIN
            });
            for device in devices() {
                let plan = device.load_plan(case.program.clone(), &[]).unwrap();
                // The splits in one dispatch, and their sum.
                assert_eq!(plan.dispatches(Section::Forward), 2);
            }
        }
    }
}

/// Long sums go through several dispatches, each within what Mesa's software adapter lets a loop run (65,535 iterations,
/// 17 of them for 16 terms unless its compiler unrolls). Results column by column are the kernel's with tiles alone.
#[test]
fn gemm_long_sums() {
    for map in [' ', 'k'] {
        let case = check(&Product {
            m: 9,
            n: 11,
            k: 70_001,
            a_transposed: true,
            c_transposed: true,
            map,
            bias: true,
            exact: true,
            ..PLAIN
        });
        let plan = devices()[0].load_plan(case.program, &[]).unwrap();
        assert_eq!(plan.dispatches(Section::Forward), 3);
    }
}

/// As much for the kernel with broadcasts, which takes four terms in an iteration.
#[test]
fn gemm_long_sums_by_broadcasts() {
    for aligned in [false, true] {
        check(&Product {
            m: 5,
            n: 6,
            k: 200_003,
            a_transposed: true,
            bias: true,
            exact: true,
            aligned,
            ..PLAIN
        });
    }
}

#[test]
fn gemm_many_rows() {
    check(&Product {
        m: 70_001,
        n: 2,
        k: 3,
        bias: true,
        ..PLAIN
    });
}

/// Packed weights, which may be read through a copy (of two rows, the second partly filled): whoever writes them, products see
/// what was written last, also where one section writes and multiplies.
#[test]
fn gemm_with_packed_weights() {
    let [m, k, n] = [8, 72, 256];
    let a_values = whole(m * k, 1);
    let row_sums: Vec<f32> = a_values.chunks(k).map(|row| row.iter().sum()).collect();
    for section in [None, Some(Section::Prepare), Some(Section::Forward)] {
        let mut program = Program::new();
        let a = program.buffer("a", m * k, Role::Input);
        let b = program.buffer("b", k * n, Role::Packed);
        let c = program.buffer("c", m * n, Role::Output);
        let fill = Fill {
            target: b.into(),
            len: k * n,
            value: 2.0,
        };
        if let Some(section) = section {
            program.push(section, fill);
        }
        let product = Gemm {
            a: Matrix::rows(a, k),
            b: Matrix::rows(b, n),
            c: Matrix::rows(c, n),
            m,
            n,
            k,
            map: None,
            bias: None,
            accumulate: false,
        };
        program.push(Section::Forward, product);
        for device in all_devices() {
            let mut plan = device.load(program.clone(), &[]).unwrap();
            plan.write(a, &a_values).unwrap();
            // The section's weights count, not these.
            plan.write(b, &vec![3.0; k * n]).unwrap();
            plan.run_all(&[Section::Prepare, Section::Forward]).unwrap();
            let value = if section.is_some() { 2.0 } else { 3.0 };
            let mut result = vec![0.0; m * n];
            plan.read(c, &mut result).unwrap();
            for (row, sum) in result.chunks(n).zip(&row_sums) {
                assert_eq!(
                    row,
                    vec![value * sum; n],
                    "{section:?} on {}",
                    device.name()
                );
            }
        }
    }
}
