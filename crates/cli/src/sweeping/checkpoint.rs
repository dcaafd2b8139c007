//! Files that outlive the process: the progress of a sweep that can be resumed, and the report of a shard.

use crate::files;
use crate::output::totals::SweepTotals;
use crate::sweeping::shard::Shard;
use serde::{Deserialize, Serialize};
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
        if matches!(path.try_exists(), Ok(false)) {
            return Ok(None);
        }
        let text = files::read(path, "the state")?;
        let state = serde_json::from_str(&text);
        state.map(Some).map_err(|error| format!("{} is no state of a sweep: {error}", path.display()))
    }

    /// Replaces the file atomically, so that a sweep killed at any time leaves a whole checkpoint.
    pub(super) fn save(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        files::write(path, "the state", text.as_bytes())
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
        let text = files::read(path, "the report")?;
        let report = serde_json::from_str(&text).map_err(|error| error.to_string());
        report.and_then(Self::checked).map_err(|problem| {
            format!("{} is no report of a sweep, as `sweep --report` writes it: {problem}", path.display())
        })
    }

    /// The report, if there can be such a shard and no sum over all shards overflows.
    fn checked(self) -> Result<Self, String> {
        let Shard { index, of } = self.shard;
        if !(1..=of).contains(&index) {
            return Err(format!("there is no shard {}", self.shard));
        }
        // The sums of a shard may be added up, too.
        let most = (u64::MAX >> 4) / of;
        match self.totals.largest_count()? {
            found if found > most => {
                Err(format!("it counts {found}; one of {of} shards counts {most} at most"))
            }
            _ if !self.totals.is_consistent() => {
                Err("its seeds are not as many as the runs that it says have ended".to_owned())
            }
            _ => Ok(self),
        }
    }

    /// Writes the report atomically, and the folders above it if they do not exist.
    pub(super) fn save(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        files::write(path, "the report", text.as_bytes())
    }
}
