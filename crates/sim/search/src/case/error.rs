//! What is wrong with a case, said so that it can be put right.

use sync_sim_engine::faults::ConfigError;

/// Why a case cannot be read or run.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum CaseError {
    /// The text is no case; says where in it, why, and what may have been meant.
    #[error("{0}")]
    Text(String),
    /// The case cannot be written, since TOML holds no such value.
    #[error("the case cannot be written: {0}")]
    Unwritable(String),
    /// The text is of another format than this build reads.
    #[error("the case is of format {found}; this build reads format {}", crate::case::FORMAT)]
    Version {
        /// Which.
        found: u32,
    },
    /// A setting makes no sense.
    #[error(transparent)]
    Setting(#[from] ConfigError),
    /// There is no scenario of that name.
    #[error("scenario: there is no {name:?}{}", meant(.name, sync_sim_cluster::scenarios::NAMED.map(|named| named.name)))]
    NoScenario {
        /// The name.
        name: String,
    },
    /// Something names a node that takes no part.
    #[error("{place}: there is no node {name:?}; the nodes are {}{}", .nodes.join(", "), meant(.name, .nodes))]
    NoNode {
        /// What names it.
        place: String,
        /// The name.
        name: String,
        /// The nodes there are.
        nodes: Vec<String>,
    },
    /// Two nodes have one name.
    #[error("two nodes are called {name:?}")]
    TwoOfOneName {
        /// The name.
        name: String,
    },
    /// It is not told, or told twice, where the run begins.
    #[error("a case begins either with a `scenario` or with `nodes`; this one has {found}")]
    Beginning {
        /// What it has.
        found: &'static str,
    },
    /// The case is to be shrunk, and nothing is wrong with it.
    #[error("the case converges: there is nothing to shrink")]
    NothingWrong,
    /// A list is empty that must not be, a number zero, or the like.
    #[error("{place}: {problem}")]
    Impossible {
        /// Where.
        place: String,
        /// What is impossible.
        problem: String,
    },
}

/// `; did you mean "…"?` if one of `names` is close to `found`, and nothing else.
pub(super) fn meant<S: AsRef<str>>(found: &str, names: impl IntoIterator<Item = S>) -> String {
    let near = names.into_iter().map(|name| (distance(found, name.as_ref()), name));
    let near = near.filter(|(apart, _)| *apart <= (found.chars().count() / 3).max(1));
    near.min_by_key(|(apart, _)| *apart)
        .map_or_else(String::new, |(_, name)| format!("; did you mean {:?}?", name.as_ref()))
}

/// How many letters must be changed, added, left out or swapped with their neighbour. O(n·m).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
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

/// What the parser says, with what may have been meant by a name it does not know.
pub(super) fn unreadable(error: &toml::de::Error) -> CaseError {
    let said = error.message();
    let mut quoted = said.split('`').skip(1).step_by(2);
    let unknown = said.starts_with("unknown ").then(|| quoted.next()).flatten();
    let hint = unknown.map_or_else(String::new, |found| meant(found, quoted));
    CaseError::Text(format!("{}{hint}", error.to_string().trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_close_and_another_word_is_not() {
        let names = ["seed", "scenario", "script"];
        for slip in ["sed", "seeed", "sede", "seet"] {
            assert_eq!(meant(slip, names), "; did you mean \"seed\"?", "{slip}");
        }
        assert_eq!(meant("scenraio", names), "; did you mean \"scenario\"?");
        assert_eq!(meant("topology", names), "");
        assert_eq!(meant("", names), "");
    }
}
