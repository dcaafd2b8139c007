//! A type name has one meaning: a name that is used for two types is in `homonyms.txt`, with the reason.

use crate::source::{code, without_tests};
use crate::tree::{UPDATE, crates, files, is_reason, list, read, relative};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The most types, in percent of all, that may share their name with another. In quinn-proto they are 5, in
/// redb 7, in turmoil 10.
const MOST_PERCENT: usize = 8;

const HEADER: &str = "\
# Type names that are used for more than one type, and why that is clearer than another name.
# Checked, and written anew with SYNCLINE_UPDATE_HOUSE=1, by tests/house/homonyms.rs.
";

/// The types of every name, as the files that define them; twice the same if one file does so in two modules.
fn types() -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let is_src = |file: &str| !["/tests/", "/benches/"].iter().any(|part| file.contains(part));
    for path in files(&crates(), ".rs") {
        let file = relative(&path);
        if is_src(&file) {
            let (code, _) = without_tests(&code(&read(&path)));
            for name in code.lines().filter_map(defined) {
                found.entry(name).or_default().push(file.clone());
            }
        }
    }
    found
}

/// The type that this line defines. An indented `type` is that of a trait, and no new name.
fn defined(line: &str) -> Option<String> {
    let mut item = line.trim_start();
    // An attribute may stand on the line of its item.
    while let Some((_, rest)) = item.strip_prefix("#[").and_then(|attribute| attribute.split_once(']')) {
        item = rest.trim_start();
    }
    let item = match item.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => item,
    };
    let item = item.strip_prefix("unsafe ").unwrap_or(item);
    let (kind, rest) = item.split_once(' ')?;
    let is_type =
        matches!(kind, "struct" | "enum" | "union" | "trait") || kind == "type" && !line.starts_with(' ');
    let name: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    (is_type && name.starts_with(|c: char| c.is_ascii_uppercase())).then_some(name)
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parts = lines.map(|line| line.split_once(": ").unwrap_or((line, "")));
    parts.map(|(name, reason)| (name.to_owned(), reason.trim().to_owned())).collect()
}

#[test]
fn no_name_is_used_twice_without_cause() {
    let types = types();
    let homonyms: BTreeMap<&String, &Vec<String>> =
        types.iter().filter(|(_, files)| files.len() > 1).collect();
    let reasons = parse(&list("homonyms.txt", |stored| {
        let old = parse(stored);
        let mut text = format!("{HEADER}\n");
        for name in homonyms.keys() {
            let reason = old.get(*name).map_or("TODO", String::as_str);
            writeln!(text, "{name}: {reason}").expect("a string");
        }
        text
    }));
    let mut wrong = Vec::new();
    for (name, files) in &homonyms {
        if !reasons.get(*name).is_some_and(|reason| is_reason(reason)) {
            wrong.push(format!("{name} is used for {} types: {}", files.len(), files.join(", ")));
        }
    }
    let obsolete: BTreeSet<&String> = reasons.keys().filter(|name| !homonyms.contains_key(*name)).collect();
    wrong.extend(obsolete.iter().map(|name| format!("{name} is the name of at most one type")));
    let all: usize = types.values().map(Vec::len).sum();
    let sharing: usize = homonyms.values().map(|files| files.len()).sum();
    assert!(all > 500, "{all} types were found");
    if sharing * 100 > all * MOST_PERCENT {
        wrong.push(format!("{sharing} of {all} types share their name: more than {MOST_PERCENT} %"));
    }
    assert!(wrong.is_empty(), "{}\n{UPDATE}", wrong.join("\n"));
}

#[test]
fn definitions_are_recognized() {
    assert_eq!(defined("pub(crate) struct Abc<T> {").as_deref(), Some("Abc"));
    assert_eq!(defined("    enum Abc {").as_deref(), Some("Abc"));
    assert_eq!(defined("pub type Abc = u8;").as_deref(), Some("Abc"));
    assert_eq!(defined("#[derive(Debug)] pub struct Abc;").as_deref(), Some("Abc"));
    assert_eq!(defined("pub union Abc {").as_deref(), Some("Abc"));
    assert_eq!(defined("pub unsafe trait Abc {").as_deref(), Some("Abc"));
    assert_eq!(defined("    type Abc = u8;"), None);
    assert_eq!(defined("pub fn abc() {"), None);
}
