//! The passes over settings: back to their defaults, one by one.

use crate::case::Case;
use crate::shrink::minimizer::Minimizer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_sim_cluster::runtime::ReplicaSettings;
use sync_sim_cluster::workload::{MergeFaults, Workload};
use sync_sim_engine::faults::FaultConfig;
use sync_sim_engine::network::Topology;
use syncline_sync::Selection;
use syncline_types::{Limit, SimDuration};
use toml::{Table, Value};

/// Settings back to their defaults: a setting with its default value is not written.
const DEFAULTS: [fn(&mut Case); 17] = [
    |case| case.splices.clear(),
    |case| case.topology = Topology::default(),
    |case| case.selection = Selection::default(),
    |case| case.protocol = None,
    |case| case.forget_tombstones = true,
    |case| case.replica = ReplicaSettings::default(),
    |case| case.counters_reset = false,
    |case| case.merge_faults.lacking = 0,
    |case| case.merge_faults = MergeFaults::NONE,
    |case| case.naming_spread = SimDuration::ZERO,
    |case| case.buffer_capacity = Case::default().buffer_capacity,
    |case| case.max_frame_bytes = Case::default().max_frame_bytes,
    |case| case.chaos_for = Case::default().chaos_for,
    |case| case.calm_after = None,
    |case| case.delta_retention = Case::default().delta_retention,
    |case| case.seed = 0,
    |case| case.seed = case.seed.min(1),
];

impl Minimizer<'_, '_> {
    /// Sets all settings back to their defaults, one by one.
    pub(super) fn settings(&mut self) {
        for cut in DEFAULTS {
            self.change(cut);
        }
        self.replica_settings();
    }

    /// Sets the settings of replicas back to their defaults one by one.
    fn replica_settings(&mut self) {
        for (key, default) in table_of(&ReplicaSettings::default()) {
            self.change(|case| set_in(&mut case.replica, &key, default));
        }
        for limit in Limit::ALL {
            self.change(|case| {
                // A page may need a larger frame, which comes first in the list.
                if let Ok(limits) = case.replica.limits.with(*limit, limit.most()) {
                    case.replica.limits = limits;
                }
            });
        }
    }

    /// Lowers what says how much happens: counts and spans of the random writes and of the random faults.
    pub(super) fn sizes(&mut self) {
        for (key, default) in table_of(&Workload::default()) {
            // The number of writes is a cause of its own; see the pass over chance. The span is rounded below.
            if !["writes", "over"].contains(&key.as_str()) {
                self.change(|case| set_in(&mut case.workload, &key, default));
            }
        }
        let spans: [fn(&mut Case) -> &mut SimDuration; 3] =
            [|case| &mut case.workload.over, |case| &mut case.chaos_for, |case| &mut case.naming_spread];
        for span in spans {
            let now = *span(&mut self.best().clone());
            // A span goes back to its default, or down, but never to and fro.
            if now != *span(&mut Case::default()) {
                self.round_off(now, |case, to| *span(case) = to);
            }
        }
        let off = table_of(&FaultConfig::none());
        for (key, now) in table_of(&self.best().faults) {
            if let (Value::Integer(now), Some(Value::Integer(off))) = (now, off.get(&key)) {
                let whole = |number: i64| u64::try_from(number).unwrap_or_default();
                self.least(whole(*off), whole(now), |case, to| {
                    set_in(&mut case.faults, &key, Value::Integer(i64::try_from(to).unwrap_or(i64::MAX)));
                });
            }
        }
        self.change(|case| {
            let lists = case.nodes.iter_mut().map(|node| &mut node.entities);
            for some in lists.chain([&mut case.shared]).flatten() {
                *some = some.counted_from_zero();
            }
        });
    }
}

/// Settings as a table, so that a new setting is shrunk without a line of code here.
fn table_of(settings: &impl Serialize) -> Table {
    Table::try_from(settings).expect("settings can be written as TOML")
}

/// Sets one of the settings. One may be invalid without another: the settings then stay as they are.
fn set_in<T: Serialize + DeserializeOwned>(settings: &mut T, key: &str, value: Value) {
    let mut table = table_of(settings);
    table.insert(key.to_owned(), value);
    if let Ok(changed) = table.try_into() {
        *settings = changed;
    }
}
