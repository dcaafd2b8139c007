//! Grouping failures by their cause.

use crate::case::{Case, Class};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// What failures with the same cause have in common: their class, and the reason without what differs between runs,
/// which is names of nodes, numbers and quoted values. Failures of one bug may have several causes in this sense, and
/// two bugs may share one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cause(String);

impl Cause {
    /// The cause of a failure of `case`. O(reason + initial state).
    pub fn of(case: &Case, class: &Class, reason: &str) -> Self {
        let nodes: BTreeSet<String> = case
            .nodes
            .iter()
            .map(|node| node.name.clone())
            .chain((0..=case.faults.late_joiners).map(|joiner| format!("late-{joiner}")))
            .chain(
                case.initial_scenario().into_iter().flat_map(|scenario| scenario.nodes).map(|node| node.name),
            )
            .collect();
        // The first clause says what failed; the others are evidence.
        let first = without_quotes(reason);
        let first = first.split(';').next().unwrap_or_default();
        let first = first.strip_prefix("a promise is broken: ").unwrap_or(first);
        let mut words: Vec<&str> = first.split(' ').map(|word| common(word, &nodes)).collect();
        words.dedup();
        Self(format!("{class}: {}", words.join(" ")))
    }

    /// The text of the cause.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text with `"…"` for each part in quotes.
fn without_quotes(text: &str) -> String {
    text.split('"').enumerate().map(|(part, text)| if part % 2 == 0 { text } else { "\"…\"" }).collect()
}

/// What a word has in common with the words at its place in other runs.
fn common<'a>(word: &'a str, nodes: &BTreeSet<String>) -> &'a str {
    let is_promise = word.len() <= 3 && word.ends_with(':');
    if is_promise {
        return word;
    }
    let bare = word.trim_matches(|letter: char| !letter.is_alphanumeric());
    if nodes.contains(bare) {
        "NODE"
    } else if bare.contains(|letter: char| letter.is_ascii_digit()) {
        "N"
    } else {
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(reason: &str) -> String {
        let case: Case = r#"nodes = [{ name = "alice" }, { name = "bob" }]"#.parse().unwrap();
        Cause::of(&case, &Class::panicked("x"), reason).to_string()
    }

    #[test]
    fn causes_leave_out_what_differs_between_runs() {
        let one = cause(
            r#"a promise is broken: C6: alice shows the text "557 " at text, where "7" must be; lost: x"#,
        );
        let two = cause(
            r#"a promise is broken: C6: bob shows the text "1; 2" at text, where "3 4" must be; lost: y"#,
        );
        assert_eq!(one, r#"panicked: x: C6: NODE shows the text "…" at text, where "…" must be"#);
        assert_eq!(one, two);
        assert_eq!(cause("I6: at 30ms in register 3, 4"), "panicked: x: I6: at N in register N");
        assert_ne!(one, cause(r#"a promise is broken: C6: bob shows the count 4 at likes, where 5 must be"#));
    }
}
