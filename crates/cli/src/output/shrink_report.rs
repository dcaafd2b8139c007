//! The report of a search for a small case, for machines.

use serde::Serialize;
use sync_sim::case::{Class, Size};
use sync_sim::shrink::Shrunk;

/// The result of shrinking. The JSON keys are stable.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ShrinkReport {
    /// The file of the minimized case.
    pub(crate) case: String,
    pub(crate) class: Class,
    pub(crate) from: Size,
    pub(crate) to: Size,
    /// The length of the text of the case before.
    pub(crate) from_bytes: usize,
    /// The length of the text of the minimized case.
    pub(crate) to_bytes: usize,
    /// How many writes, faults and other causes the minimized case contains.
    pub(crate) causes: usize,
    pub(crate) runs: u64,
    /// Whether nothing more can be removed; if not, the limit of runs or of time was reached.
    pub(crate) finished: bool,
    /// The kinds of reductions that the limit has cut off.
    pub(crate) unfinished: Vec<&'static str>,
    pub(crate) rust: String,
}

impl ShrinkReport {
    /// The report of a search whose result was written to the file at `path`.
    pub(crate) fn of(shrunk: &Shrunk, path: &str) -> Result<Self, String> {
        let Shrunk { case, from, from_bytes, runs, finished, unfinished } = shrunk;
        let to = case.size();
        Ok(Self {
            case: path.to_owned(),
            class: case.found.clone().ok_or("a shrunk case records how it fails")?,
            from: *from,
            to,
            from_bytes: *from_bytes,
            to_bytes: case.to_text().map_err(|error| error.to_string())?.len(),
            causes: to.causes(),
            runs: *runs,
            finished: *finished,
            unfinished: unfinished.clone(),
            rust: case.to_rust().map_err(|error| error.to_string())?,
        })
    }
}
