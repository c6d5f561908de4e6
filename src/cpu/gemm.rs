//! [`Gemm`] on the CPU. Rows that go through the table are copied block by block into the plan's scratch space.

use crate::cpu::access::{Accesses, elements, matrix};
use crate::cpu::matrix_product::{View, matrix_product};
use crate::cpu::packed_gemm::{MatrixSource, Operands};
use crate::cpu::panel_cache::PanelSource;
use crate::cpu::run::{Context, Run};
use crate::error::{Error, Result};
use crate::ops::{Gemm, RowMap};

/// Rows (or terms) that are gathered or scattered at a time. Part of the fixed order of summation.
const BLOCK: usize = 256;

impl Run for Gemm {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        let (mut a_size, mut c_rows) = ([self.m, self.k], self.m);
        match self.map {
            None => {}
            Some(RowMap::GatherM(table)) => a_size[0] = accesses.rows_reached(table, self.m)?,
            Some(RowMap::GatherK(table)) => a_size[1] = accesses.rows_reached(table, self.k)?,
            Some(RowMap::ScatterM(table)) => c_rows = accesses.rows_reached(table, self.m)?,
        }
        let [row, column] = self.c.strides;
        let rows_apart = column > 0 && row > column * (self.n - 1);
        let columns_apart = row > 0 && column > row * (self.m - 1);
        if !(rows_apart || columns_apart || (self.m == 1 && column > 0) || (self.n == 1 && row > 0))
        {
            return Err(Error::State("elements of a matrix product overlap"));
        }
        accesses.read(self.a.region, matrix(&self.a, a_size[0], a_size[1]))?;
        accesses.read(self.b.region, matrix(&self.b, self.k, self.n))?;
        accesses.read_optional(self.bias, self.n)?;
        let scatters = matches!(self.map, Some(RowMap::ScatterM(_)));
        let contiguous = column == 1 && (row == self.n || self.m == 1);
        if contiguous && !scatters && !self.accumulate {
            return accesses.replace(self.c.region, elements(&[self.m, self.n]));
        }
        accesses.write(self.c.region, matrix(&self.c, c_rows, self.n))
    }

    fn scratch(&self) -> usize {
        let block = |size: usize, width: usize| size.min(BLOCK).saturating_mul(width);
        match self.map {
            None => 0,
            Some(RowMap::GatherM(_)) => block(self.m, self.k),
            Some(RowMap::GatherK(_)) => block(self.k, self.m),
            Some(RowMap::ScatterM(_)) => block(self.m, self.n),
        }
    }

    fn multiplications(&self) -> usize {
        elements(&[self.m, self.n, self.k])
    }

    fn panels(&self) -> Option<PanelSource> {
        MatrixSource::new(self).map(PanelSource::Matrix)
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let a = context.memory.part(self.a.region)?;
        let b = context.memory.part(self.b.region)?;
        let bias = context.memory.optional(self.bias)?;
        let mut c = context.memory.write(self.c.region.buffer)?;
        if let Some(panels) = context.matrix_panels() {
            let rows = match self.map {
                Some(RowMap::GatherM(table)) => Some(context.words(table, self.m)),
                _ => None,
            };
            let operands = Operands {
                op: self,
                a: &a,
                rows,
                panels,
                bias: bias.as_ref().map(|bias| &bias[..self.n]),
            };
            operands.multiply(&mut c[self.c.region.offset..]);
            return Ok(());
        }
        let mut product = Product {
            op: self,
            a: &a,
            b: View {
                values: &b,
                strides: self.b.strides,
            },
            bias: bias.as_ref().map(|bias| &bias[..self.n]),
            c: &mut c[self.c.region.offset..],
        };
        match self.map {
            None => product.plain(),
            Some(RowMap::GatherM(table)) => {
                product.gather_m(context.words(table, self.m), context.scratch);
            }
            Some(RowMap::GatherK(table)) => {
                product.gather_k(context.words(table, self.k), context.scratch);
            }
            Some(RowMap::ScatterM(table)) => {
                product.scatter_m(context.words(table, self.m), context.scratch);
            }
        }
        Ok(())
    }
}

/// The operation with its tensors.
struct Product<'a> {
    op: &'a Gemm,
    a: &'a [f32],
    b: View<'a>,
    bias: Option<&'a [f32]>,
    c: &'a mut [f32],
}

impl Product<'_> {
    /// Puts the bias into `c`; says whether the product is to be added to what `c` holds now.
    fn start(&mut self) -> bool {
        let op = self.op;
        let Some(bias) = self.bias else {
            return op.accumulate;
        };
        for row in 0..op.m {
            for (column, bias) in bias.iter().enumerate() {
                let c = &mut self.c[row * op.c.strides[0] + column * op.c.strides[1]];
                *c = if op.accumulate { *c + bias } else { *bias };
            }
        }
        true
    }

    fn plain(&mut self) {
        let (op, accumulate) = (self.op, self.start());
        let a = View {
            values: self.a,
            strides: op.a.strides,
        };
        let sizes = [op.m, op.n, op.k];
        matrix_product(sizes, a, self.b, self.c, op.c.strides, accumulate);
    }

    fn gather_m(&mut self, rows: &[u32], scratch: &mut [f32]) {
        let (op, accumulate) = (self.op, self.start());
        for (block, rows) in rows.chunks(BLOCK).enumerate() {
            gather(self.a, op.a.strides, rows, op.k, scratch);
            matrix_product(
                [rows.len(), op.n, op.k],
                View::rows(scratch, op.k),
                self.b,
                &mut self.c[block * BLOCK * op.c.strides[0]..],
                op.c.strides,
                accumulate,
            );
        }
    }

    fn gather_k(&mut self, terms: &[u32], scratch: &mut [f32]) {
        let (op, mut accumulate) = (self.op, self.start());
        if terms.is_empty() {
            return self.plain_over_nothing(accumulate);
        }
        let [row, column] = op.a.strides;
        for (block, terms) in terms.chunks(BLOCK).enumerate() {
            gather(self.a, [column, row], terms, op.m, scratch);
            let b = View {
                values: &self.b.values[block * BLOCK * op.b.strides[0]..],
                strides: op.b.strides,
            };
            let a = View::columns(scratch, op.m);
            let sizes = [op.m, op.n, terms.len()];
            matrix_product(sizes, a, b, self.c, op.c.strides, accumulate);
            accumulate = true;
        }
    }

    fn plain_over_nothing(&mut self, accumulate: bool) {
        let nothing = View::rows(&[], 0);
        let sizes = [self.op.m, self.op.n, 0];
        matrix_product(
            sizes,
            nothing,
            nothing,
            self.c,
            self.op.c.strides,
            accumulate,
        );
    }

    fn scatter_m(&mut self, rows: &[u32], scratch: &mut [f32]) {
        let op = self.op;
        for (block, rows) in rows.chunks(BLOCK).enumerate() {
            let a = View {
                values: self.a.get(block * BLOCK * op.a.strides[0]..).unwrap_or(&[]),
                strides: op.a.strides,
            };
            let sizes = [rows.len(), op.n, op.k];
            matrix_product(sizes, a, self.b, scratch, [op.n, 1], false);
            for (&row, values) in rows.iter().zip(scratch.chunks(op.n)) {
                for (column, value) in values.iter().enumerate() {
                    let to = row as usize * op.c.strides[0] + column * op.c.strides[1];
                    let value = value + self.bias.map_or(0.0, |bias| bias[column]);
                    let c = &mut self.c[to];
                    *c = if op.accumulate { *c + value } else { value };
                }
            }
        }
    }
}

/// Copies the chosen rows of a strided matrix of `width` columns side by side.
fn gather(from: &[f32], strides: [usize; 2], rows: &[u32], width: usize, to: &mut [f32]) {
    if width == 0 {
        return;
    }
    for (&row, to) in rows.iter().zip(to.chunks_mut(width)) {
        let start = row as usize * strides[0];
        if strides[1] == 1 {
            to.copy_from_slice(&from[start..start + width]);
        } else {
            for (column, to) in to.iter_mut().enumerate() {
                *to = from[start + column * strides[1]];
            }
        }
    }
}
