//! Memory of plans that were dropped, for those that are loaded next.
//!
//! A training loop over ragged batches loads a plan for each of them. Fresh memory costs a page fault for every page of it, a
//! third of a step; memory that a plan has used costs nothing. The pool is bounded by what it is for: with what plans
//! hold it is never more than they once held together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::cpu::huge_pages;

/// Where dropped plans' memory goes. The memory knows its pool without keeping it.
#[derive(Debug, Default)]
pub(crate) struct MemoryPool {
    state: Mutex<State>,
}

/// All counts are of elements.
#[derive(Debug, Default)]
struct State {
    /// By capacity.
    free: BTreeMap<usize, Vec<Vec<f32>>>,
    /// Of all that is free.
    free_len: usize,
    /// Of all that plans hold.
    lent: usize,
    /// The most that plans held since the pool was last released.
    most_lent: usize,
}

/// Memory that goes back where it came from.
#[derive(Debug, Default)]
pub(crate) struct Pooled {
    pub(crate) values: Vec<f32>,
    /// Elements at the front that may be anything; all others are zeros.
    pub(crate) stale: usize,
    home: Weak<MemoryPool>,
}

/// Capacities have this many leading binary digits, so that buffers of batches of about the same size fit each other.
const DIGITS: u32 = 5;

/// The smallest capacity.
const LEAST: usize = 64;

/// The next larger capacity that there is, at most a 16th more.
fn capacity(len: usize) -> usize {
    let len = len.max(LEAST);
    let unit = 1usize << (usize::BITS - len.leading_zeros()).saturating_sub(DIGITS);
    len.checked_next_multiple_of(unit).unwrap_or(usize::MAX)
}

impl MemoryPool {
    /// Memory for `len` elements: some that is free, or new.
    ///
    /// # Errors
    /// The allocator's words, once even giving up all free memory did not help.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Result<Pooled, String> {
        let wanted = capacity(len);
        let (mut values, stale) = match self.lend(wanted) {
            Some(values) => (values, true),
            None => (self.allocate(wanted)?, false),
        };
        let stale = if stale { values.len().min(len) } else { 0 };
        values.resize(len, 0.0);
        if stale == 0 {
            huge_pages::collapse(&mut values);
        }
        Ok(Pooled {
            values,
            stale,
            home: Arc::downgrade(self),
        })
    }

    /// Free memory of about this capacity.
    fn lend(&self, wanted: usize) -> Option<Vec<f32>> {
        let mut state = self.lock();
        // A quarter of it may lie idle.
        let most = wanted.saturating_add(wanted / 3);
        let (&found, pieces) = state.free.range_mut(wanted..=most).next()?;
        let values = pieces.pop();
        if pieces.is_empty() {
            state.free.remove(&found);
        }
        state.free_len -= found;
        state.lend(found);
        values
    }

    fn allocate(&self, capacity: usize) -> Result<Vec<f32>, String> {
        let mut values = Vec::new();
        if values.try_reserve_exact(capacity).is_err() {
            self.release();
            (values.try_reserve_exact(capacity)).map_err(|error| error.to_string())?;
        }
        huge_pages::wish(values.spare_capacity_mut());
        // The allocator may have given more.
        self.lock().lend(values.capacity());
        Ok(values)
    }

    /// Elements that are free.
    pub(crate) fn free_len(&self) -> usize {
        self.lock().free_len
    }

    /// Gives all free memory back to the system.
    pub(crate) fn release(&self) {
        let mut state = self.lock();
        let free = std::mem::take(&mut state.free);
        (state.free_len, state.most_lent) = (0, state.lent);
        drop(state);
        drop(free);
    }

    fn give_back(&self, values: Vec<f32>) {
        let mut state = self.lock();
        let capacity = values.capacity();
        state.lent -= capacity;
        state.free_len += capacity;
        state.free.entry(capacity).or_default().push(values);
        let excess = state.take_excess();
        drop(state);
        drop(excess);
    }

    /// Nothing is left half-changed by a panic elsewhere.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lend(&mut self, capacity: usize) {
        self.lent += capacity;
        self.most_lent = self.most_lent.max(self.lent);
        // Dropped under the lock: this happens while sizes still change.
        drop(self.take_excess());
    }

    /// Free memory beyond the bound, the smallest pieces first: the larger ones cost more to get anew.
    fn take_excess(&mut self) -> Vec<Vec<f32>> {
        let mut excess = Vec::new();
        while self.lent + self.free_len > self.most_lent {
            let Some(mut entry) = self.free.first_entry() else {
                break;
            };
            self.free_len -= *entry.key();
            excess.extend(entry.get_mut().pop());
            if entry.get().is_empty() {
                entry.remove();
            }
        }
        excess
    }
}

impl From<Vec<f32>> for Pooled {
    /// Memory of no pool.
    fn from(values: Vec<f32>) -> Self {
        Self {
            values,
            stale: 0,
            home: Weak::new(),
        }
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            home.give_back(std::mem::take(&mut self.values));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most of all held at once, and what is held now, in elements.
    fn held(pool: &MemoryPool) -> (usize, usize) {
        let state = pool.lock();
        let free: usize = { state.free.iter() }
            .map(|(capacity, pieces)| capacity * pieces.len())
            .sum();
        assert_eq!(free, state.free_len);
        (state.most_lent, state.lent + state.free_len)
    }

    #[test]
    fn capacities_are_near_what_is_asked() {
        for len in (0..5_000).chain([1 << 40, (1 << 40) + 1]) {
            let capacity = capacity(len);
            assert!(
                capacity >= len && capacity <= (len + len / 16).max(LEAST),
                "{len}"
            );
            assert_eq!(super::capacity(capacity), capacity);
        }
        assert_eq!(capacity(usize::MAX), usize::MAX);
    }

    #[test]
    fn memory_comes_back_and_is_lent_again() {
        let pool = Arc::<MemoryPool>::default();
        let mut first = pool.take(1_000).unwrap();
        assert_eq!((first.stale, first.values.len()), (0, 1_000));
        first.values.fill(f32::NAN);
        let place = first.values.as_ptr();
        drop(first);
        assert_eq!(pool.free_len(), capacity(1_000));
        // Another length of about the same size; what was not used before is zeros.
        let second = pool.take(1_010).unwrap();
        assert_eq!((second.values.as_ptr(), second.stale), (place, 1_000));
        assert!(second.values[1_000..].iter().all(|value| *value == 0.0));
        assert_eq!(pool.free_len(), 0);
        drop(second);
        // Much smaller ones get memory of their own.
        let small = pool.take(100).unwrap();
        assert_eq!(small.stale, 0);
        drop(small);
        pool.release();
        assert_eq!((pool.free_len(), held(&pool)), (0, (0, 0)));
    }

    #[test]
    fn no_more_is_kept_than_was_held_at_once() {
        let pool = Arc::<MemoryPool>::default();
        for round in 1..20 {
            let plans: Vec<_> = { 0..round % 5 }
                .map(|part| pool.take(100 * round + 1_000 * part).unwrap())
                .collect();
            let (most, held) = held(&pool);
            assert!(held <= most, "{held} {most}");
            drop(plans);
        }
        let (most, all) = held(&pool);
        assert!(all <= most && most == pool.lock().most_lent);
        // What lives counts as well.
        let living = pool.take(most).unwrap();
        assert!(pool.free_len() <= capacity(most));
        pool.release();
        assert_eq!(
            held(&pool),
            (living.values.capacity(), living.values.capacity())
        );
    }

    #[test]
    fn what_cannot_be_had_leaves_the_pool_usable() {
        let pool = Arc::<MemoryPool>::default();
        drop(pool.take(1_000).unwrap());
        for len in [usize::MAX, usize::MAX / 4, isize::MAX as usize / 4 + 1] {
            assert!(pool.take(len).is_err());
        }
        let (most, all) = held(&pool);
        assert!(all <= most);
        drop(pool.take(1_000).unwrap());
        assert_eq!(pool.free_len(), capacity(1_000));
    }

    #[test]
    fn memory_outlives_its_pool() {
        let pool = Arc::<MemoryPool>::default();
        let mut memory = pool.take(10).unwrap();
        drop(pool);
        memory.values.fill(1.0);
        drop(memory);
    }
}
