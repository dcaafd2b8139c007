//! Figures of the source: length of files, tuple-packed statements, assertions.

use crate::source::{block, code, without_tests};
use crate::tree::{crates, files, packages, read, relative};
use std::path::PathBuf;

/// The most lines of a file.
const FILE_LINES: usize = 600;
/// The most statements in the whole tree that pack two statements into a tuple: `(a, b) = (x, y);`.
const TUPLE_STATEMENTS: usize = 20;
/// The least assertions per hundred functions below the simulator. quinn-proto has 9, redb 21.
const ASSERTIONS_PER_100: usize = 5;
/// The crates whose assertions are counted.
const BELOW_THE_SIMULATOR: [&str; 6] = [
    "syncline-types",
    "syncline-crdt",
    "syncline-store",
    "syncline-storage",
    "syncline-sync",
    "syncline-replica",
];

fn sources() -> Vec<PathBuf> {
    let found = files(&crates(), ".rs");
    assert!(found.len() > 200, "{} source files", found.len());
    found
}

#[test]
fn files_stay_short() {
    for path in sources() {
        let lines = read(&path).lines().count();
        assert!(lines <= FILE_LINES, "{} has {lines} lines, more than {FILE_LINES}", path.display());
    }
}

/// The lines of statements that assign a tuple to a tuple, so that a reader has to match them by position.
fn tuple_statements(code: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(" = (") {
        let start = code[..at].rfind(['\n', ';']).map_or(0, |end| end + 1);
        let left = code[start..at].trim_start();
        let left = left.strip_prefix("let ").unwrap_or(left);
        let right = &code[at + " = ".len()..];
        let packs = left.starts_with('(') && right[block(right)..].starts_with(';');
        if packs && right[..block(right)].contains(',') {
            found.push(code[..at].matches('\n').count() + 1);
        }
    }
    found
}

#[test]
fn statements_are_not_packed_into_tuples() {
    let mut found = Vec::new();
    for path in sources() {
        let lines = tuple_statements(&code(&read(&path)));
        found.extend(lines.iter().map(|line| format!("{}:{line}", relative(&path))));
    }
    let count = found.len();
    assert!(
        count <= TUPLE_STATEMENTS,
        "{count} of {TUPLE_STATEMENTS}: one statement each\n{}",
        found.join("\n")
    );
}

/// How often one of the `words` occurs where a word begins.
fn count(code: &str, words: &[&str]) -> usize {
    let begins = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    words.iter().map(|word| code.match_indices(word).filter(|(at, _)| begins(*at)).count()).sum()
}

#[test]
fn core_states_its_invariants() {
    const ASSERTIONS: [&str; 7] = [
        "assert!(",
        "assert_eq!(",
        "assert_ne!(",
        "debug_assert!(",
        "debug_assert_eq!(",
        "debug_assert_ne!(",
        "unreachable!(",
    ];
    let mut total = [0; 2];
    let mut rows = Vec::new();
    for (name, package) in packages().iter().filter(|(name, _)| BELOW_THE_SIMULATOR.contains(&name.as_str()))
    {
        let mut own = [0; 2];
        for path in
            files(&package.folder.join("src"), ".rs").iter().filter(|path| !path.ends_with("tests.rs"))
        {
            let (code, _) = without_tests(&code(&read(path)));
            own[0] += count(&code, &ASSERTIONS);
            own[1] += count(&code, &["fn "]);
        }
        rows.push(format!("{name}: {} in {} functions", own[0], own[1]));
        total[0] += own[0];
        total[1] += own[1];
    }
    let [assertions, functions] = total;
    assert_eq!(rows.len(), BELOW_THE_SIMULATOR.len());
    assert!(functions > 500, "{functions} functions");
    assert!(
        assertions * 100 >= functions * ASSERTIONS_PER_100,
        "{assertions} assertions in {functions} functions, fewer than {ASSERTIONS_PER_100} in 100\n{}",
        rows.join("\n")
    );
}

#[test]
fn tuple_statements_are_recognized() {
    let text = "let (a, mut b) = (c, d);\n(self.a, b) = (\n    c,\n    d\n);\nlet (a, b) = (c..d).e();\nlet a = (b, c);\n(a, b) = c();";
    assert_eq!(tuple_statements(text), [1, 2]);
}
