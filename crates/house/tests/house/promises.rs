//! `docs/promises.md` is generated from the tests: it lists the tests of each promise. A promise without a test
//! fails, and so does a tag that names no promise.
//!
//! A test names its promises in a line of its doc comment, `Promises: I4, L1`. A test of the compliance suite
//! names one in its own name, which begins with the promise. `SYNCLINE_UPDATE_DOCS=1 cargo test -p
//! syncline-house` writes the table anew.

use crate::tree::{crates, files, read, relative, root};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

/// A family of promises: its heading, and each promise with its meaning.
type Family = (&'static str, &'static [(&'static str, &'static str)]);

const FAMILIES: [Family; 12] = [
    (
        "Convergence",
        &[
            ("C1", "No message that a node waits for is in flight."),
            ("C2", "Every node is up and runs no session."),
            ("C3", "No delta is buffered and no sync is pending."),
            ("C4", "No timer of a pending action is set; heartbeats do not count."),
            ("C5", "All state digests are equal."),
            ("C6", "No write is lost: the common state is the one that the acknowledged writes imply."),
        ],
    ),
    (
        "Invariants",
        &[
            ("I1", "A write on one replica is present on the other after they sync."),
            ("I2", "Without new writes, connected nodes converge within O(log n) rounds."),
            ("I3", "A merge depends on values and their timestamps alone, not on the order of arrival."),
            ("I4", "All protocols end in the same state."),
            ("I5", "A replica with state merges what it receives in a sync; a sync never overwrites it."),
            ("I6", "Deltas that arrive during a sync are buffered and applied after it."),
            ("I7", "A snapshot is verified against the promised root before any of it is visible."),
            (
                "I8",
                "A delta is applied after its author's previous delta and after its parents: the newest heads that its \
                 author had seen. No value depends on the order of the others.",
            ),
            ("I9", "The same names give the same ids on every node."),
            ("I10", "Types, timestamps and labels are stored and transferred with the data."),
            (
                "I11",
                "An advertised protocol can run end to end, and only protocols that both sides advertise are chosen. A \
                 walk that completes another protocol's work is not a choice of its own.",
            ),
            ("I12", "None is an acknowledgement: no data moves, and the result is distinct from a failure."),
        ],
    ),
    (
        "Laws of the state",
        &[
            ("L1", "Any order, duplication or grouping of the same changes gives the same records and root."),
            ("L2", "Joining is idempotent, commutative and associative, for each type."),
            ("L3", "Two states have equal roots if and only if they have equal records."),
            ("L4", "An index rebuilt from the records has the same root."),
            ("L5", "An input that is refused changes nothing."),
        ],
    ),
    (
        "Growth",
        &[
            ("G1", "Every buffer, view, cache and table has a bound, and what waits has a deadline."),
            (
                "G2",
                "What replicas accept and join can be sent: no honest node sends a frame above the limit.",
            ),
            ("G3", "A write, a frame and a handshake cost what changes, not what is there."),
            (
                "G4",
                "What cannot be repaired now costs less and less, and equal replicas send heartbeats alone.",
            ),
            ("G5", "What is dead and stable is forgotten: a disk is about as large as what it shows."),
        ],
    ),
    (
        "Identity and clocks",
        &[
            (
                "A1",
                "One number names one delta for ever: a replica that has lost a part of its history, or shares its id, \
                 stops before it writes again.",
            ),
            (
                "A2",
                "Such a replica comes back under a new id, and nothing that was acknowledged and stored is lost.",
            ),
            (
                "A3",
                "The clock of one replica holds up no other, and its writes are heard once the clock is right.",
            ),
        ],
    ),
    (
        "Fates",
        &[
            ("F1", "Every frame ends in exactly one recorded way."),
            ("F2", "Sent and duplicated frames add up to those delivered, dropped and in flight."),
        ],
    ),
    (
        "Determinism",
        &[
            ("D1", "The same seed and settings give the same run again."),
            ("D2", "The same seed and settings give the same run for every number of threads."),
            (
                "D3",
                "The same seed and settings give the same run in every build profile and on every machine.",
            ),
        ],
    ),
    (
        "Negotiation",
        &[
            ("N1", "If both sides support every protocol, the decision table's choice runs."),
            ("N2", "A fresh replica falls back to another protocol if the peer has no snapshot."),
            (
                "N3",
                "A peer of another version is refused with an error that names both versions, and none of its data is accepted.",
            ),
            ("N4", "Equal roots select None, and no data moves."),
        ],
    ),
    (
        "Buffering",
        &[
            ("B1", "A delta that arrives during a snapshot is buffered and replayed."),
            ("B2", "Deltas that arrive during a sync are applied in causal order."),
            ("B3", "No delta is lost when the buffer is full: a sync is pending for the rest."),
        ],
    ),
    (
        "Merging",
        &[
            ("M1", "Concurrent increments add up."),
            ("M2", "Map entries of different keys are all present."),
            ("M3", "Of two writes to one key the later wins on both sides."),
            ("M4", "Concurrent adds to a set give the union."),
            (
                "M5",
                "An application's own type is merged by its function; here a registered native closure, since \
                 there is no WASM runtime yet.",
            ),
            (
                "M6",
                "The value of the root is merged by the application's function: the root is an entity like any \
                 other, so this is its record with a value of the application's own type, and no function of \
                 its own kind.",
            ),
            ("M7", "A value without a type is merged by last writer wins, and a metric counts such merges."),
        ],
    ),
    (
        "End to end",
        &[
            ("E1", "Two nodes that write at the same time end with equal roots."),
            ("E2", "Three nodes are identical after each of several rounds."),
            ("E3", "A fresh node ends with the root of those that have state."),
            ("E4", "The two sides of a partition converge after it heals."),
            ("E5", "A replica a thousand deltas behind catches up."),
        ],
    ),
    (
        "Safety",
        &[
            ("S1", "A snapshot with a tampered entity is refused and changes nothing."),
            ("S2", "A snapshot without the claimed root is refused and changes nothing."),
            ("S3", "A snapshot that arrives at a replica with state is merged into it."),
        ],
    ),
];

/// The families whose every promise needs a test in the compliance suite, whatever other tests there are.
const OF_THE_SUITE: [char; 6] = ['B', 'E', 'I', 'M', 'N', 'S'];

const SUITE: &str = "tests/sync_compliance/";
const TAG: &str = "/// Promises:";

/// The tests of each promise, each as `file::name`.
type Tests = BTreeMap<String, BTreeSet<String>>;

fn promises() -> impl Iterator<Item = (&'static str, &'static str)> {
    FAMILIES.iter().flat_map(|(_, promises)| promises.iter().copied())
}

/// The name of the function that begins in this line; `*` if a macro gives it, for any test of the file.
fn function(line: &str) -> Option<String> {
    let (head, tail) = line.split_once("fn ")?;
    if !head.is_empty() && !head.starts_with("pub") {
        return None;
    }
    let name: String = tail.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    Some(if tail.starts_with('$') { "*".to_owned() } else { name })
}

/// The promise that the name of a test of the suite begins with: `i4_...` tests I4.
fn named(test: &str) -> Option<String> {
    let first = test.split('_').next()?;
    let number = first.strip_prefix(|c: char| c.is_ascii_lowercase())?;
    (!number.is_empty() && number.chars().all(|c| c.is_ascii_digit())).then(|| first.to_uppercase())
}

/// Adds the tests of one file to `tests`, and what is wrong with its tags to `wrong`.
fn read_tags(file: &str, text: &str, tests: &mut Tests, wrong: &mut Vec<String>) {
    let mut tagged = Vec::new();
    let mut is_test = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(ids) = line.strip_prefix(TAG) {
            tagged.extend(ids.split(',').map(|id| id.trim().to_owned()));
        } else if line == "#[test]" {
            is_test = true;
        } else if let Some(name) = function(line) {
            let mut ids = std::mem::take(&mut tagged);
            if std::mem::take(&mut is_test) {
                ids.extend(named(&name).filter(|_| file.contains(SUITE)));
                for id in ids {
                    tests.entry(id).or_default().insert(format!("{file}::{name}"));
                }
            } else if !ids.is_empty() {
                wrong.push(format!("{file}:{number}: {name} is tagged and is no test"));
            }
        } else if !line.starts_with("//") && !line.starts_with("#[") && !tagged.is_empty() {
            wrong.push(format!("{file}:{number}: this is tagged and is no test"));
            tagged.clear();
        }
    }
}

/// The tests of the workspace by promise, and what is wrong with their tags.
fn tests() -> (Tests, Vec<String>) {
    let mut tests = Tests::new();
    let mut wrong = Vec::new();
    let found = files(&crates(), ".rs");
    assert!(found.len() > 100, "{} source files", found.len());
    for path in found {
        read_tags(&relative(&path), &read(&path), &mut tests, &mut wrong);
    }
    (tests, wrong)
}

fn table(tests: &Tests) -> String {
    let mut text = String::from(
        "# Promises and their tests\n\n\
         Generated from the tests by `crates/house/tests/house/promises.rs`; do not edit. After a change of tests or tags:\n\
         `SYNCLINE_UPDATE_DOCS=1 cargo test -p syncline-house`.\n\n\
         Each case of the compliance suite (N, B, M, E, S and I) runs real replicas through the simulator, on a\n\
         clean network and under heavy chaos with many seeds. `*` is any test that a macro defines in that file.\n",
    );
    for (heading, promises) in FAMILIES {
        write!(text, "\n## {heading}\n\n| promise | what it says | tests |\n|---|---|---|\n")
            .expect("a string");
        for (id, says) in promises {
            let named = tests.get(*id).into_iter().flatten().map(|test| format!("`{test}`"));
            let named: Vec<String> = named.collect();
            writeln!(text, "| {id} | {says} | {} |", named.join("<br>")).expect("a string");
        }
    }
    text
}

#[test]
fn promises_and_tags_match() {
    let (tests, wrong) = tests();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (id, says) in promises() {
        let named = tests.get(id).into_iter().flatten();
        let needs_suite = OF_THE_SUITE.iter().any(|family| id.starts_with(*family));
        let count = named.filter(|test| !needs_suite || test.contains(SUITE)).count();
        let missing = if needs_suite { "test in the compliance suite" } else { "test" };
        assert!(count > 0, "{id} has no {missing}: {says}");
    }
    let known: BTreeSet<&str> = promises().map(|(id, _)| id).collect();
    for (id, tests) in &tests {
        assert!(known.contains(id.as_str()), "there is no promise {id}; it is named by {tests:?}");
    }
}

/// The code that begins a text, as in `I5: …`.
fn code_of(text: &str) -> Option<&str> {
    let code = text.split([':', ',']).next()?;
    let number = code.strip_prefix(|c: char| c.is_ascii_uppercase())?;
    (!number.is_empty() && number.chars().all(|c| c.is_ascii_digit())).then_some(code)
}

/// The checks and the findings that they print begin with the code of a promise, which a reader looks up here.
#[test]
fn codes_of_checks_are_promises() {
    let known: BTreeSet<&str> = promises().map(|(id, _)| id).collect();
    for file in ["checks/list.rs", "verdict.rs"] {
        let source = read(&root().join("crates/sim/cluster/src").join(file));
        let codes: BTreeSet<&str> = source.split('"').skip(1).step_by(2).filter_map(code_of).collect();
        assert!(codes.len() > 5, "{file}: {codes:?}");
        let unknown: Vec<_> = codes.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}, which are no promises");
    }
}

#[test]
fn docs_table_is_current() {
    let path = root().join("docs/promises.md");
    let generated = table(&tests().0);
    if std::env::var_os("SYNCLINE_UPDATE_DOCS").is_some() {
        fs::write(&path, &generated).expect("docs/promises.md");
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    let differs = stored.lines().zip(generated.lines()).find(|(stored, generated)| stored != generated);
    assert!(
        stored == generated,
        "docs/promises.md is out of date ({differs:?}); write it anew with\n  \
         SYNCLINE_UPDATE_DOCS=1 cargo test -p syncline-house"
    );
}

#[test]
fn tags_and_names_are_recognized() {
    let tag = |ids: &str| format!("{TAG} {ids}");
    let text = format!(
        "{}\n/// Words.\n#[test]\nfn one() {{}}\n#[test]\nfn n2_two() {{}}\n{}\nfn three() {{}}\n{}\nstruct Four;\n",
        tag("L1, X9"),
        tag("L2"),
        tag("L3"),
    );
    let mut found = Tests::new();
    let mut wrong = Vec::new();
    read_tags("crates/a/tests/b.rs", &text, &mut found, &mut wrong);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["L1", "X9"]);
    assert_eq!(found["L1"].first().map(String::as_str), Some("crates/a/tests/b.rs::one"));
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    read_tags("crates/a/tests/sync_compliance/b.rs", &text, &mut found, &mut wrong);
    assert!(found.contains_key("N2"), "the suite is known by its names");
}
