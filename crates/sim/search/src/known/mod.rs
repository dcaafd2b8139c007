//! Known findings: faults of the replicas that searches have found and nobody has repaired yet.
//!
//! Each has a signature and at least one pinned case, which fails. A sweep counts the runs that match a signature by the
//! name of the finding and does not fail for them; any other failure is new. A finding is taken off the list together
//! with its repair: a pinned case that converges fails a test.
//!
//! A signature is as narrow as the evidence allows: the class of the failure, the words of its reason, and what the case
//! contains. Two faults with one signature are indistinguishable, so a new fault may hide behind a known finding until
//! that is repaired.

mod feature;
mod list;

pub use feature::CaseFeature;
pub use list::KNOWN_FINDINGS;

use crate::case::{Case, Class};

/// A fault that is not repaired yet, and the signature of its runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownFinding {
    /// The name, in lower-case words with hyphens.
    pub name: &'static str,
    /// What is wrong, in one sentence.
    pub about: &'static str,
    /// The number of the issue that repairs it.
    pub issue: u32,
    /// The beginning of the class of the failure.
    pub class: &'static str,
    /// Words that all occur in the reason of the failure.
    pub says: &'static [&'static str],
    /// What the case contains.
    pub features: &'static [CaseFeature],
    /// The first seed whose drawn case shows it: `syncline sweep` finds it there. `None` if no seed is known.
    pub drawn_seed: Option<u64>,
    /// The programs of the collection of known faults that show it, too; empty if there is none.
    pub programs: &'static str,
    /// The pinned cases: the names of files in `crates/sim/search/known`, without the ending.
    pub cases: &'static [&'static str],
}

impl KnownFinding {
    /// The known finding that explains how a run of `case` ended, if there is one. O(findings + script), or four runs
    /// if random writes decide it.
    pub fn of(case: &Case, class: &Class, reason: &str) -> Option<&'static Self> {
        KNOWN_FINDINGS.iter().find(|finding| finding.explains(case, class, reason))
    }

    /// The known finding of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KNOWN_FINDINGS.iter().find(|finding| finding.name == name)
    }

    fn explains(&self, case: &Case, class: &Class, reason: &str) -> bool {
        class.as_str().starts_with(self.class)
            && self.says.iter().all(|words| reason.contains(words))
            && self.features.iter().all(|feature| feature.holds(case))
    }
}
