//! [`EmbeddingRows`] on the CPU.

use crate::cpu::access::{Accesses, elements, strided};
use crate::cpu::number::whole_below;
use crate::cpu::parallel::for_rows;
use crate::cpu::run::{Context, Run};
use crate::error::Result;
use crate::ops::EmbeddingRows;

impl Run for EmbeddingRows {
    fn accesses(&self, accesses: &mut Accesses<'_>) -> Result<()> {
        self.validate()?;
        accesses.read(self.table, elements(&[self.entries, self.width]))?;
        accesses.read(self.ids, strided(self.rows, self.ids_stride, 1))?;
        if let Some(features) = self.features {
            let len = strided(self.rows, features.stride, features.width);
            accesses.read(features.region, len)?;
        }
        let written = strided(self.rows, self.target_stride, self.written());
        match self.target_stride == self.written() {
            true => accesses.replace(self.target, written),
            false => accesses.write(self.target, written),
        }
    }

    fn run(&self, context: Context<'_>) -> Result<()> {
        let table = context.memory.part(self.table)?;
        let ids = context.memory.part(self.ids)?;
        let columns = self.features.map(|features| features.region);
        let columns = context.memory.optional(columns)?;
        let mut target = context.memory.write(self.target.buffer)?;
        let len = strided(self.rows, self.target_stride, self.written());
        let target = &mut target[self.target.offset..][..len];
        for_rows(target, self.target_stride, 1, |row, target| {
            let (embedding, rest) = target.split_at_mut(self.width);
            match whole_below(ids[row * self.ids_stride], self.entries) {
                Some(id) => embedding.copy_from_slice(&table[id * self.width..][..self.width]),
                None => embedding.fill(0.0),
            }
            if let (Some(features), Some(columns)) = (self.features, columns.as_deref()) {
                let columns = &columns[row * features.stride..][..features.width];
                rest[..features.width].copy_from_slice(columns);
            }
        });
        Ok(())
    }
}
