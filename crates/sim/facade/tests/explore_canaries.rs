//! Deliberate bugs that a search finds, each with a shortest counterexample. Without the bug, the same search
//! finds nothing. `cargo test -p sync-sim --features canary --test explore_canaries -- --nocapture` prints the
//! counterexamples.

use sync_sim::canary::{self, Canary};
use sync_sim::explore::{Explorer, Scope, SearchReport, WriteKind};
use sync_sim::prelude::*;

struct CanaryCase {
    bug: Canary,
    nodes: usize,
    kind: WriteKind,
    writes: usize,
    scope: Scope,
    /// A part of the text of the violated check.
    says: &'static str,
}

fn explore(case: &CanaryCase) -> SearchReport {
    let mut rt = SimRuntime::with_seed(0);
    rt.apply_scenario(Scenario::n_nodes_synced(case.nodes, 0));
    let mut explorer = Explorer::of(&rt, case.scope.clone());
    explorer.write_concurrently(case.kind, case.writes);
    explorer.run_replicas(&mut |_| true)
}

fn cases() -> Vec<CanaryCase> {
    let none = Scope::default();
    let case = |bug, kind, writes, scope, says| CanaryCase { bug, nodes: 2, kind, writes, scope, says };
    vec![
        case(Canary::LwwTieByArrival, WriteKind::Register, 2, none.clone(), "C6"),
        case(Canary::CounterByLastWriter, WriteKind::Counter, 2, none.clone(), "C6"),
        case(Canary::TombstoneBeforeAddDropped, WriteKind::Delete, 2, none.clone(), "C6"),
        case(Canary::SuccessWithoutComparingRoots, WriteKind::Register, 2, none.clone(), "never had"),
        case(Canary::PullOnly, WriteKind::Register, 2, Scope { drops: 1, ..none.clone() }, "still differs"),
        case(
            Canary::StaleFrameAccepted,
            WriteKind::Register,
            2,
            Scope { crashes: 1, ..none.clone() },
            "before a restart",
        ),
        case(Canary::RemoveWinsWhole, WriteKind::Set, 3, none.clone(), "C6"),
        case(Canary::DeltaBeforeParents, WriteKind::Counter, 3, none.clone(), "I8"),
        case(Canary::BufferEmptiedBeforeReplay, WriteKind::Counter, 3, none, "I6"),
    ]
}

#[test]
fn search_finds_each_canary() {
    for case in cases() {
        canary::set(Some(case.bug));
        let broken = explore(&case);
        canary::set(None);
        let Some(found) = broken.counterexample else {
            panic!("{:?} survived {} states: {:?}", case.bug, broken.progress.states, broken.stop_cause)
        };
        let CanaryCase { bug, says, .. } = case;
        println!("{bug:?}: {} states, {} moves", broken.progress.states, found.steps.len() - 1);
        for (number, step) in (1..).zip(&found.steps) {
            println!("  {number}. {step}");
        }
        assert!(found.defect.to_string().contains(says), "{bug:?}: {}", found.defect);
        let clean = explore(&case);
        assert!(
            clean.counterexample.is_none() && clean.is_exhaustive(),
            "{bug:?}: without it there is nothing to find"
        );
    }
}
