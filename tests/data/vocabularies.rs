use proptest::prelude::*;
use wgpu_rnn::data::Vocabulary;

use crate::refused;

fn built(names: &str, minimum_count: u64) -> Vocabulary {
    Vocabulary::build(names.split_whitespace(), minimum_count).unwrap()
}

#[test]
fn frequent_names_first() {
    let vocabulary = built("b a c c b d <unknown>", 1);
    assert_eq!(vocabulary.names(), ["<unknown>", "b", "c", "a", "d"]);
    assert_eq!(vocabulary.len(), 5);
    assert_eq!(vocabulary.encode("c"), 2);
    assert_eq!(vocabulary.encode("<unknown>"), Vocabulary::UNKNOWN);
    assert_eq!(vocabulary.decode(5), None);
    let common = built("b a c c b d", 2);
    assert_eq!(common.names(), ["<unknown>", "b", "c"]);
    assert_eq!(common.unknown_rate(["a", "b", "d", "x"]), Ok(0.75));
    assert_eq!(built("a b", 3).len(), 1);
}

proptest! {
    #[test]
    fn names_come_back(names in prop::collection::vec("[a-e]{0,2}|\\PC{1,3}", 1..60), minimum in 1..4u64) {
        let vocabulary = Vocabulary::build(&names, minimum).unwrap();
        for name in &names {
            let times = names.iter().filter(|other| *other == name).count() as u64;
            let number = vocabulary.encode(name);
            prop_assert_eq!(number != Vocabulary::UNKNOWN, times >= minimum);
            let expected = if times >= minimum { name } else { Vocabulary::UNKNOWN_NAME };
            prop_assert_eq!(vocabulary.decode(number), Some(expected));
        }
        let text = serde_json::to_string(&vocabulary).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Vocabulary>(&text).unwrap(), &vocabulary);
        let mut backwards = names.clone();
        backwards.reverse();
        prop_assert_eq!(Vocabulary::build(&backwards, minimum).unwrap(), vocabulary);
    }
}

#[test]
fn fingerprints_tell_vocabularies_apart() {
    // FNV-1a's published value for these bytes: the length 9 in eight bytes, then the name.
    assert_eq!(
        built("x", 2).fingerprint(),
        fnv(b"\x09\0\0\0\0\0\0\0<unknown>")
    );
    let base = built("a a b", 1);
    for other in ["a b b", "a a", "a a ab", "a a b c", "ab"] {
        let other = built(other, 1);
        assert_ne!(base.fingerprint(), other.fingerprint());
        base.check_same(&other).unwrap_err();
    }
    assert_eq!(base.check_same(&built("b a a", 1)), Ok(()));
    let other = built("a a c", 1);
    refused(
        base.check_same(&other),
        &format!(
            "vocabulary: expected {}, where number 2 is `b`, got {}, where number 2 is `c`",
            base.fingerprint(),
            other.fingerprint()
        ),
    );
}

fn fnv(bytes: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(1_099_511_628_211);
    format!(
        "{:016x}",
        bytes.iter().fold(14_695_981_039_346_656_037, step)
    )
}

#[test]
fn bad_input() {
    refused(
        Vocabulary::build(["a"], 0),
        "option `minimum_count`: must be at least 1, got 0",
    );
    let none: [&str; 0] = [];
    refused(
        Vocabulary::build(none, 1),
        "training part: expected at least one name, got none",
    );
    refused(
        built("a", 1).unknown_rate(none),
        "unknown rate: expected at least one name, got none",
    );
}

#[test]
fn bad_files() {
    let text = serde_json::to_string(&built("a a b", 1)).unwrap();
    let read = |text: &str| serde_json::from_str::<Vocabulary>(text).map_err(|e| e.to_string());
    let twice = read(&text.replace("\"b\"", "\"a\"")).unwrap_err();
    assert!(
        twice.contains("expected each name once, got `a` again"),
        "{twice}"
    );
    let other = read(&text.replace("\"b\"", "\"c\"")).unwrap_err();
    assert!(other.contains("names of fingerprint"), "{other}");
    read(&text.replace("\"b\"", "\"<unknown>\"")).unwrap_err();
    read("{}").unwrap_err();
}
