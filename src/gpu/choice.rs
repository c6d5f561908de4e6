//! How recurrences are dispatched on an adapter, as it was measured there: see [`GpuDevice::tune`](super::GpuDevice::tune).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Mutex;

use super::cache::CacheDirectory;
use super::lock::lock;

/// Sizes of a tile that there are kernels for.
pub(crate) const TILES: [usize; 4] = [1, 4, 8, 16];

/// The cache's file, and what its first line says.
const FILE: &str = "tuning.txt";
const HEADER: &str = concat!("wgpu-rnn ", env!("CARGO_PKG_VERSION"), " tuning");
/// The largest file that is looked at.
const MOST_BYTES: u64 = 1 << 20;

/// How a recurrence is dispatched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) persistent: bool,
    /// Sequences of a workgroup.
    pub(crate) tile: usize,
    /// Inputs by subgroup broadcast, else through workgroup memory.
    pub(crate) broadcast: bool,
    /// Weights by a texture.
    pub(crate) texture: bool,
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pick = |on: bool, yes, no| if on { yes } else { no };
        let strategy = pick(self.persistent, "persistent", "step");
        let inputs = pick(self.broadcast, "broadcast", "staged");
        let weights = pick(self.texture, "texture", "buffer");
        write!(f, "{strategy} {} {inputs} {weights}", self.tile)
    }
}

impl FromStr for Choice {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let either = |word: &str, yes: &str, no: &str| match word {
            word if word == yes => Ok(true),
            word if word == no => Ok(false),
            _ => Err(()),
        };
        let words: Vec<&str> = text.split(' ').collect();
        let &[strategy, tile, inputs, weights] = words.as_slice() else {
            return Err(());
        };
        let tile = tile.parse().map_err(|_| ())?;
        Ok(Self {
            persistent: either(strategy, "persistent", "step")?,
            tile: TILES.contains(&tile).then_some(tile).ok_or(())?,
            broadcast: either(inputs, "broadcast", "staged")?,
            texture: either(weights, "texture", "buffer")?,
        })
    }
}

/// What was found for a device, by operation: see [`tuning_key`](super::kernel::tuning_key).
#[derive(Debug)]
pub(crate) struct Choices {
    known: Mutex<BTreeMap<String, Choice>>,
    /// Where they outlive the program.
    cache: Option<CacheDirectory>,
}

impl Choices {
    /// Reads what was found earlier; lines that make no sense are left out.
    pub(crate) fn load(cache: Option<CacheDirectory>) -> Self {
        let bytes = (cache.as_ref()).and_then(|cache| cache.load(FILE, MOST_BYTES));
        let text = String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default();
        let mut lines = text.lines();
        let known = match lines.next() {
            Some(HEADER) => { lines }
                .filter_map(|line| {
                    let (key, choice) = line.split_once(": ")?;
                    Some((key.to_owned(), choice.parse().ok()?))
                })
                .collect(),
            _ => BTreeMap::new(),
        };
        Self {
            known: Mutex::new(known),
            cache,
        }
    }

    /// Writes them to the cache, if there is one.
    pub(crate) fn store(&self) {
        let Some(cache) = &self.cache else { return };
        let mut text = format!("{HEADER}\n");
        for (key, choice) in lock(&self.known).iter() {
            let _ = writeln!(text, "{key}: {choice}");
        }
        cache.store(FILE, text.as_bytes());
    }

    /// What suits an operation, if that was measured.
    pub(crate) fn get(&self, key: &str) -> Option<Choice> {
        lock(&self.known).get(key).copied()
    }

    pub(crate) fn insert(&self, key: &str, choice: Choice) {
        lock(&self.known).insert(key.to_owned(), choice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_written_as_they_are_read() {
        for index in 0..16 {
            let choice = Choice {
                persistent: index & 1 > 0,
                tile: TILES[index >> 1 & 3],
                broadcast: index & 8 > 0,
                texture: index & 4 > 0,
            };
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        for text in [
            "",
            "step 4 staged",
            "step 5 staged buffer",
            "step -4 staged buffer",
            "step 4 staged buffer buffer",
            "walk 4 staged buffer",
        ] {
            assert_eq!(text.parse::<Choice>(), Err(()), "{text}");
        }
    }
}
