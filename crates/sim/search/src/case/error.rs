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
    #[error("scenario: there is no {:?}{}", brief(.name), meant(.name, sync_sim_cluster::scenarios::NAMED.map(|named| named.name)))]
    NoScenario {
        /// The name that is unknown.
        name: String,
    },
    /// The case refers to a node that it does not have.
    #[error(
        "{place}: there is no node {:?}; the nodes are {}{}",
        brief(.name), window(&.nodes.join(", "), 0, MOST_OF_MESSAGE).0, meant(.name, .nodes)
    )]
    NoNode {
        /// The part of the case that contains the reference.
        place: String,
        /// The name that is unknown.
        name: String,
        /// The names of all nodes of the case.
        nodes: Vec<String>,
    },
    /// Two nodes have the same name.
    #[error("two nodes are called {:?}", brief(.name))]
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
    /// The code under test panicked while it made a write of the initial state. Where the write is a line of the
    /// script, the run ends with this panic instead.
    #[error("{node}: a write before the run panicked: {said}; write it in the script to see the run")]
    InitialWrite {
        /// The name of the node that writes.
        node: String,
        /// The message of the panic.
        said: String,
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

impl CaseError {
    /// The error of a part of the case that contradicts itself or another part, or is out of range.
    pub(crate) fn impossible(place: &str, problem: impl Into<String>) -> Self {
        Self::Impossible { place: place.to_owned(), problem: problem.into() }
    }
}

/// A text with so many characters is shown whole in an error.
const MOST_SHOWN: usize = 200;
/// A message of the parser may list all names that it expects.
const MOST_OF_MESSAGE: usize = 2_000;

/// The part of a text with about `most` characters around the one with the index `at`, and by how much the indices
/// of that part are lower.
fn window(text: &str, at: usize, most: usize) -> (String, usize) {
    let len = text.chars().count();
    if len <= most {
        return (text.to_owned(), 0);
    }
    let start = at.saturating_sub(most / 2).min(len - most);
    let shown: String = text.chars().skip(start).take(most).collect();
    let end = if start + most < len { "…" } else { "" };
    // The mark of a cut at the front takes one place.
    if start > 0 { (format!("…{shown}{end}"), start - 1) } else { (format!("{shown}{end}"), 0) }
}

/// A name for an error: one that is too long to be a name is cut.
fn brief(name: &str) -> String {
    window(name, 0, MOST_SHOWN).0
}

/// A hint `; did you mean "…"?` with the closest of `names`; empty if none is close to `found`.
pub(super) fn meant<S: AsRef<str>>(found: &str, names: impl IntoIterator<Item = S>) -> String {
    // The distance takes time and memory in proportion to the length, and nothing is close to such a name.
    if found.len() > MOST_SHOWN {
        return String::new();
    }
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
    CaseError::Text(format!("{}{hint}", with_short_lines(error.to_string().trim_end())))
}

/// The text of an error of the parser with short lines. The parser repeats the line of the file in which the error is,
/// with marks below the place. That line may have megabytes: only the part around the place is shown.
fn with_short_lines(error: &str) -> String {
    let mut lines: Vec<String> = error.lines().map(str::to_owned).collect();
    let echo =
        (1..lines.len()).find(|at| lines[*at].trim_start().trim_start_matches(['|', ' ']).starts_with('^'));
    if let Some(marks) = echo
        && let Some((number, source)) = lines[marks - 1].split_once(" | ")
    {
        let gutter = number.len() + " | ".len();
        let column = lines[marks].chars().take_while(|c| *c != '^').count().saturating_sub(gutter);
        let (shown, shift) = window(source, column, MOST_SHOWN);
        let marked = lines[marks].matches('^').count();
        let left = shown.chars().count().saturating_sub(column - shift).max(1);
        let (before, below) = (" ".repeat(number.len()), " ".repeat(column - shift));
        lines[marks - 1] = format!("{number} | {shown}");
        lines[marks] = format!("{before} | {below}{}", "^".repeat(marked.min(left)));
    }
    let short = lines.iter().map(|line| window(line, 0, MOST_OF_MESSAGE).0);
    short.collect::<Vec<_>>().join("\n")
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

    #[test]
    fn echoes_only_the_place_of_an_error() {
        let long = "x".repeat(1_000_000);
        let message = |text: &str| text.parse::<crate::case::Case>().unwrap_err().to_string();
        let short = message("[scenario]\nnods = 3");
        assert!(short.contains("\n2 | nods = 3\n  | ^^^^\nunknown field `nods`"), "{short}");
        for text in [
            format!("[scenario]\nname = \"{long}\" nodes = 3"),
            format!("nodes = [{{ name = \"{long}\" }}, {{ nam = \"bob\" }}, {{ name = \"{long}\" }}]"),
            format!("[scenario]\n{long} = 3"),
            format!("[scenario]\nname = \"{long}\""),
            format!("nodes = [{{ name = \"{long}\" }}, {{ name = \"{long}\" }}]"),
            format!("script = [{{ at = \"1s\", restart = \"{long}\" }}]\n[scenario]"),
            format!("topology = \"{long}\""),
        ] {
            let said = message(&text);
            assert!(
                said.len() < 3_000,
                "{} bytes: {}",
                said.len(),
                said.chars().take(3_000).collect::<String>()
            );
        }
        let inner = message(&format!("nodes = [{{ nam = \"bob\" }}, {{ name = \"{long}\" }}]"));
        let lines: Vec<&str> = inner.lines().collect();
        let [_, _, source, marks, ..] = lines.as_slice() else { panic!("{inner}") };
        assert!(source.ends_with("x…") && source.chars().count() < 220, "{inner}");
        let at = marks.find('^').unwrap();
        assert_eq!(&source[at..at + 3], "nam", "the marks are still below the place:\n{inner}");
    }
}
