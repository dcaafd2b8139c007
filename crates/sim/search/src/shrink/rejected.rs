//! The candidates that were run already and did not fail in the class.

use crate::case::Case;
use std::collections::BTreeSet;
use syncline_types::Digest;

/// Digests of candidates that need no second run. Passes repeat until nothing changes, so that without it the last
/// round would run every candidate of the round before again.
#[derive(Default)]
pub(super) struct RejectedCases(BTreeSet<Digest>);

/// The digests are compared only with each other: any tag will do.
const TAG: u8 = 0;
/// Beyond this many lines, the text of a case takes longer than its run saves.
const MOST_LINES: usize = 1_000;

impl RejectedCases {
    /// The digest of the text of a case, which holds everything that determines the run. `None` if the case is
    /// large or has no text.
    pub(super) fn digest(case: &Case) -> Option<Digest> {
        if case.script.len() + case.frames.len() > MOST_LINES {
            return None;
        }
        case.to_text().ok().map(|text| Digest::of(TAG, text.as_bytes()))
    }

    /// Whether a candidate with this digest was rejected.
    pub(super) fn contains(&self, digest: Option<Digest>) -> bool {
        digest.is_some_and(|digest| self.0.contains(&digest))
    }

    /// Notes that a candidate was rejected.
    pub(super) fn insert(&mut self, digest: Option<Digest>) {
        self.0.extend(digest);
    }
}
