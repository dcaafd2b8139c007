//! The errors of cases, worded so that the author of the file can correct it.

use sync_sim_engine::faults::ConfigError;

/// Why a case cannot be read, written, run or shrunk.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum CaseError {
    /// The text does not parse. The message contains the position, the reason, and the name that was probably
    /// meant.
    #[error("{0}")]
    Text(String),
    /// The case holds a value that TOML cannot represent.
    #[error("the case cannot be written: {0}")]
    Unwritable(String),
    /// The version of the format is not the one that this build reads. Formats are not converted: a build
    /// reads exactly one version, and refuses an older or newer one rather than misread it.
    #[error("the case is of format {found}; this build reads format {}", crate::case::FORMAT)]
    Version {
        /// The version in the text.
        found: u32,
    },
    /// A setting is out of range.
    #[error(transparent)]
    Setting(#[from] ConfigError),
    /// There is no scenario with that name.
    #[error("scenario: there is no {name:?}{}", meant(.name, sync_sim_cluster::scenarios::NAMED.map(|named| named.name)))]
    NoScenario {
        /// The name that is unknown.
        name: String,
    },
    /// The case refers to a node that it does not have.
    #[error("{place}: there is no node {name:?}; the nodes are {}{}", .nodes.join(", "), meant(.name, .nodes))]
    NoNode {
        /// The part of the case that contains the reference.
        place: String,
        /// The name that is unknown.
        name: String,
        /// The names of all nodes of the case.
        nodes: Vec<String>,
    },
    /// Two nodes have the same name.
    #[error("two nodes are called {name:?}")]
    TwoOfOneName {
        /// The name that both nodes have.
        name: String,
    },
    /// The case gives no initial state, or two of them.
    #[error("a case begins either with a `scenario` or with `nodes`; this one has {found}")]
    InitialState {
        /// What the case gives: "neither", "both", or a contradiction.
        found: &'static str,
    },
    /// Only a failing case can be shrunk, and this one converges.
    #[error("the case converges: there is nothing to shrink")]
    NothingWrong,
    /// The caller ended a search before it had run the case to its end.
    #[error("the run was stopped before its end")]
    Stopped,
    /// A part of the case contradicts another part, or is out of range.
    #[error("{place}: {problem}")]
    Impossible {
        /// The part of the case.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A hint `; did you mean "…"?` with the closest of `names`; empty if none is close to `found`.
pub(super) fn meant<S: AsRef<str>>(found: &str, names: impl IntoIterator<Item = S>) -> String {
    let near = names.into_iter().map(|name| (distance(found, name.as_ref()), name));
    let near = near.filter(|(apart, _)| *apart <= (found.chars().count() / 3).max(1));
    near.min_by_key(|(apart, _)| *apart)
        .map_or_else(String::new, |(_, name)| format!("; did you mean {:?}?", name.as_ref()))
}

/// The edit distance with transpositions (optimal string alignment): insertions, deletions, substitutions
/// and swaps of neighbours. O(n·m).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    let at = |rows: &[Vec<usize>], i: usize, j: usize| {
        rows.get(i).and_then(|row| row.get(j)).copied().unwrap_or(usize::MAX / 2)
    };
    for i in 1..=a.len() {
        rows.push(vec![i]);
        for j in 1..=b.len() {
            let differ = usize::from(a.get(i - 1) != b.get(j - 1));
            let mut least = at(&rows, i - 1, j - 1) + differ;
            least = least.min(at(&rows, i - 1, j) + 1).min(at(&rows, i, j - 1) + 1);
            let swapped = i > 1 && j > 1 && a.get(i - 1) == b.get(j - 2) && a.get(i - 2) == b.get(j - 1);
            if swapped {
                least = least.min(at(&rows, i - 2, j - 2) + 1);
            }
            if let Some(row) = rows.get_mut(i) {
                row.push(least);
            }
        }
    }
    at(&rows, a.len(), b.len())
}

/// Converts an error of the parser, and adds a hint for an unknown name.
pub(super) fn unreadable(error: &toml::de::Error) -> CaseError {
    let said = error.message();
    // The parser quotes the unknown name first, and after it the names that it expects.
    let mut quoted = said.split('`').skip(1).step_by(2);
    let unknown = said.starts_with("unknown ").then(|| quoted.next()).flatten();
    let hint = unknown.map_or_else(String::new, |found| meant(found, quoted));
    CaseError::Text(format!("{}{hint}", error.to_string().trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_close_names() {
        let names = ["seed", "scenario", "script"];
        for slip in ["sed", "seeed", "sede", "seet"] {
            assert_eq!(meant(slip, names), "; did you mean \"seed\"?", "{slip}");
        }
        assert_eq!(meant("scenraio", names), "; did you mean \"scenario\"?");
        assert_eq!(meant("topology", names), "");
        assert_eq!(meant("", names), "");
    }
}
