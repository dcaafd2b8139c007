//! Files that outlive the process: the progress of a sweep that can be resumed, and the report of a shard.

use crate::output::totals::SweepTotals;
use crate::sweeping::shard::Shard;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// The progress of a sweep.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct SweepCheckpoint {
    /// Identifies the sweep: two sweeps with equal plans have equal totals.
    pub(super) plan: String,
    /// The index of the next seed to run, among all seeds of the sweep.
    pub(super) done: u64,
    pub(super) totals: SweepTotals,
}

impl SweepCheckpoint {
    /// Reads a checkpoint; `None` if there is no such file.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, String> {
        match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| format!("{} is no state of a sweep: {error}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read the state {}: {error}", path.display())),
        }
    }

    /// Replaces the file atomically, so that a sweep killed at any time leaves a whole checkpoint.
    pub(super) fn save(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        replace(path, &text).map_err(|error| format!("cannot write the state {}: {error}", path.display()))
    }
}

/// The results of a shard, for `syncline merge`.
#[derive(Serialize, Deserialize)]
pub(crate) struct ShardReport {
    /// Identifies the sweep; equal for all of its shards.
    pub(crate) plan: String,
    pub(crate) shard: Shard,
    /// The text of the case that every seed runs.
    pub(crate) case: String,
    /// Whether every seed draws its own case instead.
    #[serde(default)]
    pub(crate) drawn: bool,
    /// Whether the merged report shows coverage, and if so, whether it demands all of it.
    #[serde(default)]
    pub(crate) demanded: Option<bool>,
    pub(crate) protocol: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) totals: SweepTotals,
}

impl ShardReport {
    /// Reads the report of a shard.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read the report {shown}: {error}"))?;
        serde_json::from_str(&text).map_err(|error| {
            format!("{shown} is no report of a sweep, as `sweep --report` writes it: {error}")
        })
    }

    /// Writes the report atomically, and the folders above it if they do not exist.
    pub(super) fn save(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        path.parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| replace(path, &text))
            .map_err(|error| format!("cannot write the report {}: {error}", path.display()))
    }
}

/// Writes a new file beside the old one and renames it over that, which is atomic.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path)
}
