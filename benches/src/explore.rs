//! Exhaustive exploration of the real replica: states, moves and steps per second.

use crate::row;
use std::time::Instant;
use sync_sim::explore::{Explorer, Scope, WriteKind};
use sync_sim::prelude::*;

/// Explores two and three replicas with concurrent writes.
pub(crate) fn exhaustively() {
    println!("\nexploration: every order of events of replicas that write one register at once");
    let faults = Scope { drops: 1, duplicates: 1, crashes: 1, ..Scope::default() };
    for (name, nodes, scope) in [
        ("2 replicas; one drop, one duplicate, one crash", 2, faults),
        ("3 replicas, no faults", 3, Scope::default()),
    ] {
        let mut rt = SimRuntime::with_seed(0);
        rt.apply_scenario(Scenario::n_nodes_synced(nodes, 0));
        let mut explorer = Explorer::of(&rt, scope);
        explorer.write_concurrently(WriteKind::Register, 2);
        let started = Instant::now();
        let report = explorer.run_replicas(&mut |_| true);
        let took = started.elapsed();
        assert!(report.is_exhaustive(), "{name}: {:?}", report.counterexample);
        row(&format!("{name}: {} states", report.progress.states), report.progress.states, took, None);
        row("… moves between them", report.progress.moves, took, None);
        row("… steps of the real code", report.progress.steps, took, None);
    }
}
