//! The crate's modules import each other in one direction: no file, through others, imports itself, and each room (a file or a
//! folder of `src`) imports only what it stands on.
//!
//! Every file under `src` is a module. It imports another where it names something that is defined there, in a `use` or by a
//! path in its code. What a module hands on from its children by `pub use` is looked up where it is defined: so a `mod.rs`
//! that declares and hands on imports nothing and is imported by nobody, while its own code counts like any file's. Unit tests
//! may import anything. What a file reaches by a value's methods is not seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and what it stands on: it may import these, and what they stand on in turn. A row names rooms of rows above it
/// alone, so nothing stands on itself. Nobody stands on a device: networks know [`wgpu_rnn::Device`]. Nor on the reference, which
/// meets the devices in tests.
const STANDS_ON: [(&str, &[&str]); 23] = [
    ("error", &[]),
    ("fingerprint", &[]),
    ("random", &[]),
    ("config", &["error"]),
    ("batch", &["config"]),
    ("params", &["config"]),
    ("packed", &["config"]),
    ("cell", &["config"]),
    ("state", &["config"]),
    ("initial", &["params"]),
    ("reference", &["batch", "cell", "params", "random", "state"]),
    ("ops", &["batch", "packed", "random"]),
    ("device", &["ops"]),
    ("cpu", &["cell", "device"]),
    ("gpu", &["device"]),
    ("rnn", &["device", "params", "state"]),
    ("nn", &["initial", "reference", "rnn"]),
    ("metrics", &["error"]),
    ("data", &["fingerprint", "metrics", "random"]),
    ("checkpoint", &["data", "params"]),
    ("model", &["checkpoint", "nn"]),
    ("plot", &["checkpoint"]),
    ("train", &["model", "plot"]),
];

/// Rooms whose files may import each other in circles: the methods of one type, told in several files.
const TOLD_IN_PARTS: [&str; 1] = ["rnn"];

/// A file of `src`, read.
struct Module {
    /// Below the crate's root.
    path: Vec<String>,
    uses: Vec<Use>,
    /// Paths and single names of its code, `use` left out.
    names: Vec<Vec<String>>,
}

/// One name that a `use` brings in.
struct Use {
    name: String,
    path: Vec<String>,
    /// Whether it is handed on.
    public: bool,
}

/// The crate's root in a [`Graph`].
const ROOT: &str = "lib";

/// Names that a name stands for in turn, at most.
const MOST_HOPS: usize = 20;

/// For each file those that it imports, and the names.
type Graph = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

struct House {
    modules: BTreeMap<Vec<String>, Module>,
}

/// All Rust files of a folder and those below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Identifiers, `::` and single characters; no comments, strings, characters and lifetimes.
fn tokens(source: &str) -> Vec<String> {
    let chars: Vec<char> = source.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        let rest = &chars[at..];
        let starts = |text: &str| rest.iter().copied().take(text.len()).eq(text.chars());
        let until = |text: &str| {
            let end = rest
                .windows(text.len())
                .position(|part| part.iter().copied().eq(text.chars()));
            end.map_or(rest.len(), |end| end + text.len())
        };
        let is_name = |c: &char| c.is_alphanumeric() || *c == '_';
        let skipped = match rest[0] {
            '/' if starts("//") => until("\n"),
            '/' if starts("/*") => until("*/"),
            '"' => string_len(rest),
            'r' if starts("r\"") => 2 + rest[2..].iter().position(|c| *c == '"').unwrap() + 1,
            'r' if starts("r#\"") => until("\"#"),
            '\'' => character_len(rest),
            c if c.is_whitespace() => 1,
            _ => 0,
        };
        if skipped > 0 {
            at += skipped;
            continue;
        }
        let len = match rest[0] {
            c if is_name(&c) => rest.iter().take_while(|c| is_name(c)).count(),
            ':' if starts("::") => 2,
            _ => 1,
        };
        tokens.push(rest[..len].iter().collect());
        at += len;
    }
    tokens
}

fn string_len(rest: &[char]) -> usize {
    let mut at = 1;
    while rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Of a character, or of a lifetime's mark alone.
fn character_len(rest: &[char]) -> usize {
    match rest {
        [_, '\\', ..] => 4 + rest[3..].iter().position(|c| *c == '\'').unwrap(),
        [_, _, '\'', ..] => 3,
        _ => 1,
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The place behind the bracket that closes the one at `open`.
fn behind(tokens: &[String], open: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

/// The tokens without attributes and without what is compiled for tests alone.
fn without_tests(tokens: &[String]) -> Vec<String> {
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if tokens[at] != "#" {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let inner = usize::from(tokens[at + 1] == "!");
        let end = behind(tokens, at + 1 + inner);
        let attribute = tokens[at..end].join("");
        at = end;
        if attribute.starts_with("#[cfg(test") || attribute.starts_with("#[cfg(all(test") {
            while tokens[at] == "#" {
                at = behind(tokens, at + 1);
            }
            while tokens[at] != ";" && tokens[at] != "{" {
                at = if tokens[at] == "(" {
                    behind(tokens, at)
                } else {
                    at + 1
                };
            }
            at = if tokens[at] == "{" {
                behind(tokens, at)
            } else {
                at + 1
            };
        }
    }
    kept
}

/// The names of a `use` tree, which begins at `at` behind the path `before`; the place behind it.
fn use_tree(
    tokens: &[String],
    mut at: usize,
    before: &[String],
    uses: &mut Vec<Use>,
    public: bool,
) -> usize {
    let mut path = before.to_vec();
    loop {
        match tokens[at].as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens[at] != "}" {
                    at = use_tree(tokens, at, &path, uses, public);
                    at += usize::from(tokens[at] == ",");
                }
                return at + 1;
            }
            "as" => {
                uses.push(Use {
                    name: tokens[at + 1].clone(),
                    path,
                    public,
                });
                return at + 2;
            }
            token if is_name(token) || token == "*" => {
                if token != "self" || path.is_empty() {
                    path.push(token.to_owned());
                }
                at += 1;
            }
            _ => {
                let name = path.last().unwrap().clone();
                uses.push(Use { name, path, public });
                return at;
            }
        }
    }
}

impl Module {
    fn read(path: Vec<String>, source: &str) -> Self {
        let tokens = without_tests(&tokens(source));
        let (mut uses, mut names, mut at) = (Vec::new(), Vec::<Vec<String>>::new(), 0);
        while at < tokens.len() {
            match tokens[at].as_str() {
                "use" => {
                    let public = at > 0 && (tokens[at - 1] == "pub" || tokens[at - 1] == ")");
                    at = use_tree(&tokens, at + 1, &[], &mut uses, public);
                }
                "mod" | "fn" => at += 2,
                token if is_name(token) => {
                    let mut name = vec![token.to_owned()];
                    let member = at > 0 && (tokens[at - 1] == "." || tokens[at - 1] == "::");
                    while tokens.get(at + 1).is_some_and(|token| token == "::")
                        && tokens.get(at + 2).is_some_and(|token| is_name(token))
                    {
                        name.push(tokens[at + 2].clone());
                        at += 2;
                    }
                    if !member {
                        names.push(name);
                    }
                    at += 1;
                }
                _ => at += 1,
            }
        }
        let is_ours = |used: &Use| ["crate", "self", "super"].contains(&used.path[0].as_str());
        let hides = |used: &Use| used.name == "*" && is_ours(used);
        assert!(
            !uses.iter().any(hides),
            "{path:?} imports all names of a module"
        );
        Self { path, uses, names }
    }

    fn title(&self) -> String {
        match self.path.as_slice() {
            [] => ROOT.to_owned(),
            path => path.join("/"),
        }
    }
}

impl House {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let of_file = |file: &PathBuf| {
            let mut path: Vec<String> = { file.strip_prefix(&root).unwrap().iter() }
                .map(|part| part.to_str().unwrap().trim_end_matches(".rs").to_owned())
                .collect();
            let is_root = path.len() == 1;
            path.pop_if(|last| last == "mod" || (is_root && last == "lib"));
            let module = Module::read(path.clone(), &fs::read_to_string(file).unwrap());
            (path, module)
        };
        Self {
            modules: files(&root).iter().map(of_file).collect(),
        }
    }

    /// The module that defines what a path names in `from`, and the name there; `None` for what is not of this crate, or for
    /// a module.
    fn defines(&self, from: &Module, path: &[String], left: usize) -> Option<(&Module, String)> {
        assert!(
            left > 0,
            "{:?} names {path:?} in a circle of names",
            from.path
        );
        let (first, mut rest) = path.split_first()?;
        let mut place = from.path.clone();
        match first.as_str() {
            "crate" => place.clear(),
            "self" => {}
            "super" => {
                place.pop();
                while rest.first().is_some_and(|segment| segment == "super") {
                    place.pop();
                    rest = &rest[1..];
                }
            }
            name => {
                place.push(name.to_owned());
                // A function may have the name of the file that it comes from.
                if rest.is_empty() || !self.modules.contains_key(&place) {
                    let mut uses = from.uses.iter();
                    let used = uses.find(|used| used.name == name && used.path.len() > 1)?;
                    return self.defines(from, &[&used.path, rest].concat(), left - 1);
                }
            }
        }
        while let Some((segment, further)) = rest.split_first() {
            let child = [place.as_slice(), std::slice::from_ref(segment)].concat();
            if !self.modules.contains_key(&child) {
                let module = &self.modules[&place];
                let handed_on = module
                    .uses
                    .iter()
                    .find(|used| used.name == *segment && used.path.len() > 1);
                return match handed_on {
                    Some(used) => {
                        let path = [&used.path, further].concat();
                        self.defines(module, &path, left - 1)
                    }
                    None => Some((module, segment.clone())),
                };
            }
            (place, rest) = (child, further);
        }
        None
    }

    /// Whether what a `use` brings in is only handed on.
    fn is_handed_on(&self, module: &Module, used: &Use) -> bool {
        let child = [module.path.as_slice(), &used.path[..1]].concat();
        used.public && self.modules.contains_key(&child)
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph::new();
        for module in self.modules.values() {
            let imports = graph.entry(module.title()).or_default();
            let uses = module.uses.iter();
            let uses = uses.filter(|used| !self.is_handed_on(module, used));
            for path in uses.map(|used| &used.path).chain(&module.names) {
                if let Some((other, name)) = self.defines(module, path, MOST_HOPS)
                    && other.path != module.path
                {
                    imports.entry(other.title()).or_default().insert(name);
                }
            }
        }
        graph
    }
}

/// The room of a file.
fn room(file: &str) -> &str {
    file.split('/').next().unwrap()
}

/// The shortest way from a file back to itself.
fn circle_of(graph: &Graph, start: &str) -> Option<Vec<String>> {
    let mut ways = VecDeque::from([vec![start.to_owned()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in graph[way.last()?].keys() {
            if next == start {
                return Some(way);
            }
            if seen.insert(next) {
                ways.push_back([way.as_slice(), std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

/// What a room stands on, itself left out.
fn below(room: &str) -> BTreeSet<&'static str> {
    let mut rows = STANDS_ON.iter();
    let (_, direct) = (rows.find(|(name, _)| *name == room))
        .unwrap_or_else(|| panic!("`{room}` is new in src: give it a row in STANDS_ON"));
    let mut all: BTreeSet<_> = direct.iter().copied().collect();
    all.extend(direct.iter().flat_map(|room| below(room)));
    all
}

#[test]
fn files_import_in_no_circle() {
    let graph = House::read().graph();
    let circles = graph.keys().filter_map(|file| circle_of(&graph, file));
    let mut told = BTreeSet::new();
    let mut text = String::new();
    for circle in circles {
        let files: BTreeSet<_> = circle.iter().cloned().collect();
        let in_parts = |part: &&str| circle.iter().all(|file| room(file) == *part);
        if TOLD_IN_PARTS.iter().any(in_parts) || !told.insert(files) {
            continue;
        }
        for (from, to) in circle.iter().zip(circle.iter().cycle().skip(1)) {
            text += &format!("{from} -> {to}: {:?}\n", graph[from][to]);
        }
        text += "\n";
    }
    assert!(
        text.is_empty(),
        "files import each other in circles:\n\n{text}"
    );
}

#[test]
fn rooms_import_what_they_stand_on() {
    let mut text = String::new();
    for (from, imports) in House::read().graph() {
        if from == ROOT {
            continue;
        }
        let allowed = below(room(&from));
        for (to, names) in imports {
            if room(&to) != room(&from) && !allowed.contains(room(&to)) {
                text += &format!("{from} -> {to}: {names:?}\n");
            }
        }
    }
    assert!(
        text.is_empty(),
        "rooms import what they do not stand on:\n{text}"
    );
}

#[test]
fn rows_name_rows_above_them() {
    for (index, (room, on)) in STANDS_ON.iter().enumerate() {
        let is_above = |room: &&str| STANDS_ON[..index].iter().any(|(above, _)| above == room);
        assert!(on.iter().all(is_above), "{room} stands on {on:?}");
    }
}

/// What the two tests above see at all.
#[test]
fn imports_are_found() {
    let house = House::read();
    let graph = house.graph();
    assert!(house.modules.len() > 150);
    for (from, to, name) in [
        // By a `use`, of a list, handed on by the parent.
        ("nn/linear", "ops/products", "Gemm"),
        // By a path through a module, and through the root.
        ("gpu/plan", "device", "bind"),
        ("reference/step", "reference/layer", "Layer"),
        // By a path that begins with a child.
        ("gpu/kernel", "gpu/kernel/fill", "record"),
    ] {
        assert!(graph[from][to].contains(name), "{from} -> {to}: {name}");
    }
    // Handed on by its `mod.rs`, which thereby imports nothing; imported by a unit test alone.
    assert!(graph["gpu"].is_empty());
    assert!(!graph["nn/linear"].contains_key("cpu/device"));
}
