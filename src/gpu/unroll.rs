//! Repetition of lines of WGSL. Arrays in a function become registers only where every index is a constant, and WGSL has no
//! way to unroll a loop.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex};

use super::lock::lock;

/// Texts that are made once for each key: every plan that is loaded names the same few again, and unrolling one takes as long
/// as a small network's run on a GPU.
#[derive(Debug)]
pub(crate) struct Texts<K> {
    made: LazyLock<Mutex<HashMap<K, Arc<str>>>>,
}

impl<K: Hash + Eq> Texts<K> {
    /// None.
    pub(crate) const fn new() -> Self {
        Self {
            made: LazyLock::new(Mutex::default),
        }
    }

    /// The text of a key, which determines what `make` gives.
    pub(crate) fn get(&self, key: K, make: impl FnOnce() -> String) -> Arc<str> {
        let mut made = lock(&self.made);
        made.entry(key).or_insert_with(|| make().into()).clone()
    }
}

/// The source with each line that names marks, such as `LANE` in `LANEu`, repeated for all of their values, the first mark
/// varying slowest. The lines between `// repeat LANE` and `// end LANE` are repeated together.
pub(crate) fn unroll(source: &str, marks: &[(&str, usize)]) -> String {
    let mut unrolled = String::with_capacity(4 * source.len());
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.trim_start().strip_prefix("// repeat ") {
            let end = format!("// end {name}");
            let block: Vec<&str> = (lines.by_ref())
                .take_while(|line| line.trim_start() != end)
                .collect();
            unrolled += &unroll(&repeated(&block.join("\n"), marks, name), marks);
            continue;
        }
        let mut copies = vec![line.to_owned()];
        for (mark, count) in marks {
            if line.contains(&format!("{mark}u")) && !line.trim_start().starts_with("//") {
                copies = (copies.iter())
                    .flat_map(|copy| (0..*count).map(|value| with(copy, mark, value)))
                    .collect();
            }
        }
        for copy in copies {
            unrolled += &copy;
            unrolled.push('\n');
        }
    }
    unrolled
}

fn with(text: &str, mark: &str, value: usize) -> String {
    text.replace(&format!("{mark}u"), &format!("{value}u"))
}

fn repeated(block: &str, marks: &[(&str, usize)], name: &str) -> String {
    let count = marks.iter().find(|(mark, _)| *mark == name);
    let copies = (0..count.map_or(0, |(_, count)| *count)).map(|value| with(block, name, value));
    copies.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_repeated_for_every_mark_they_name() {
        let source = "let one = 1u; // LANE\n// LANEu\nx[LANEu] = y[TERMu];\n";
        let marks = [("TERM", 2), ("LANE", 2)];
        assert_eq!(
            unroll(source, &marks),
            "let one = 1u; // LANE\n// LANEu\nx[0u] = y[0u];\nx[1u] = y[0u];\nx[0u] = y[1u];\nx[1u] = y[1u];\n"
        );
    }

    #[test]
    fn blocks_are_repeated_together() {
        let source = "// repeat TERM\nload(TERMu);\nuse(TERMu, LANEu);\n// end TERM\n";
        assert_eq!(
            unroll(source, &[("TERM", 2), ("LANE", 2)]),
            "load(0u);\nuse(0u, 0u);\nuse(0u, 1u);\nload(1u);\nuse(1u, 0u);\nuse(1u, 1u);\n"
        );
    }
}
