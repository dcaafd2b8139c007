//! The fate of every frame: delivered, dropped for a cause, or still in flight.

use crate::output::text::{grouped, numbers_from, table};
use comfy_table::Table;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use sync_sim::network::Fates;
use sync_sim::prelude::DropCause;

/// Counts of frames by fate. The JSON keys are stable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FatesReport {
    sent: u64,
    /// Copies that the network made.
    duplicated: u64,
    delivered: u64,
    in_flight: u64,
    /// Whether every sent or duplicated frame has exactly one fate.
    balanced: bool,
    /// By cause; causes that did not occur are absent.
    dropped: BTreeMap<DropCause, u64>,
}

impl Default for FatesReport {
    /// No frames; their account is balanced.
    fn default() -> Self {
        Self::of(&Fates::default())
    }
}

impl FatesReport {
    /// The counts of one run.
    pub(crate) fn of(fates: &Fates) -> Self {
        let dropped = DropCause::ALL.into_iter().map(|cause| (cause, fates.dropped(cause)));
        Self {
            sent: fates.sent,
            duplicated: fates.duplicated,
            delivered: fates.delivered,
            in_flight: fates.in_flight,
            balanced: fates.is_balanced(),
            dropped: dropped.filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// Adds the counts of another run.
    pub(crate) fn add(&mut self, other: &Fates) {
        self.merge(Self::of(other));
    }

    /// Adds the counts of other runs.
    pub(crate) fn merge(&mut self, other: Self) {
        self.sent += other.sent;
        self.duplicated += other.duplicated;
        self.delivered += other.delivered;
        self.in_flight += other.in_flight;
        self.balanced &= other.balanced;
        for (cause, count) in other.dropped {
            *self.dropped.entry(cause).or_default() += count;
        }
    }

    /// The counts as a table.
    pub(crate) fn table(&self) -> Table {
        let mut table = table(&["frames", ""]);
        let mut row = |name: &str, count: u64| {
            table.add_row([name.to_owned(), grouped(count)]);
        };
        row("sent", self.sent);
        row("duplicated by the network", self.duplicated);
        row("delivered", self.delivered);
        for (cause, count) in &self.dropped {
            row(cause.words(), *count);
        }
        row("in flight at the end", self.in_flight);
        numbers_from(&mut table, 1);
        table
    }
}
