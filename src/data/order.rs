//! Random orders that depend on nothing but a seed, an epoch and what they are for.

use crate::random::philox;

/// What an order is for: different uses of one seed draw different numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Sequences = 1,
    Batches = 2,
    Baseline = 3,
    Samples = 4,
    /// A class of its own beginning here.
    Class = 16,
}

/// The `epoch`-th order for a purpose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) seed: u64,
    pub(super) epoch: u64,
    pub(super) purpose: u32,
}

impl Order {
    pub(super) fn new(seed: u64, epoch: u64, purpose: Purpose) -> Self {
        Self {
            seed,
            epoch,
            purpose: purpose as u32,
        }
    }

    /// 64 random bits for place `index`.
    fn draw(&self, index: usize) -> u64 {
        // Places above 2^32 repeat others' numbers; the sort stays well defined.
        let counter = [
            index as u32,
            self.epoch as u32,
            (self.epoch >> 32) as u32,
            self.purpose,
        ];
        let words = philox(counter, [self.seed as u32, (self.seed >> 32) as u32]);
        u64::from(words[0]) << 32 | u64::from(words[1])
    }

    /// Shuffles by sorting by a random key for each place: unlike a generator's shuffle, it will be the same in any later
    /// version of a library, so that a checkpoint's order of the data stays what it was.
    pub(super) fn shuffle<T>(&self, items: &mut Vec<T>) {
        let mut keyed: Vec<(u64, usize, T)> = std::mem::take(items)
            .into_iter()
            .enumerate()
            .map(|(index, item)| (self.draw(index), index, item))
            .collect();
        keyed.sort_unstable_by_key(|&(key, index, _)| (key, index));
        items.extend(keyed.into_iter().map(|(_, _, item)| item));
    }
}

/// A uniform number in `[0, 1)` for `id`, the same whatever other ids there are.
pub(super) fn uniform_of(seed: u64, id: u64) -> f64 {
    let counter = [id as u32, (id >> 32) as u32, 0, 0];
    let words = philox(counter, [seed as u32, (seed >> 32) as u32]);
    f64::from(words[0]) / 4_294_967_296.0
}
