//! Deliberate bugs that a search finds, each with a shortest counterexample, and nothing where there is
//! none. `cargo test -p sync-sim --features canary --test explore_canaries -- --nocapture` prints them.

use sync_sim::canary::{self, Canary};
use sync_sim::explore::{Explorer, Kind, Report, Scope};
use sync_sim::prelude::*;

struct Case {
    bug: Canary,
    nodes: usize,
    kind: Kind,
    writes: usize,
    scope: Scope,
    /// What the counterexample says is wrong.
    says: &'static str,
}

fn explore(case: &Case) -> Report {
    let mut rt = SimRuntime::with_seed(0);
    rt.apply_scenario(Scenario::n_nodes_synced(case.nodes, 0));
    let mut explorer = Explorer::of(&rt, case.scope.clone());
    explorer.write_concurrently(case.kind, case.writes);
    explorer.run(&mut |_| true)
}

fn cases() -> Vec<Case> {
    let none = Scope::default();
    let case = |bug, kind, writes, scope, says| Case { bug, nodes: 2, kind, writes, scope, says };
    vec![
        case(Canary::LwwTieByArrival, Kind::Register, 2, none.clone(), "C6"),
        case(Canary::CounterByLastWriter, Kind::Counter, 2, none.clone(), "C6"),
        case(Canary::TombstoneBeforeAddDropped, Kind::Delete, 2, none.clone(), "C6"),
        case(Canary::SuccessWithoutComparingRoots, Kind::Register, 2, none.clone(), "never had"),
        case(Canary::PullOnly, Kind::Register, 2, Scope { drops: 1, ..none.clone() }, "still differs"),
        case(
            Canary::StaleFrameAccepted,
            Kind::Register,
            2,
            Scope { crashes: 1, ..none.clone() },
            "before a restart",
        ),
        case(Canary::RemoveWinsWhole, Kind::Set, 3, none.clone(), "C6"),
        case(Canary::DeltaBeforeParents, Kind::Counter, 3, none.clone(), "I8"),
        case(Canary::BufferEmptiedBeforeReplay, Kind::Counter, 3, none, "I6"),
    ]
}

#[test]
fn a_search_finds_each_bug_and_tells_a_shortest_way_to_it() {
    for case in cases() {
        canary::set(Some(case.bug));
        let broken = explore(&case);
        canary::set(None);
        let Some(found) = broken.found else {
            panic!("{:?} survived {} states: {:?}", case.bug, broken.progress.states, broken.cut)
        };
        let Case { bug, says, .. } = case;
        println!("{bug:?}: {} states, {} moves", broken.progress.states, found.steps.len() - 1);
        for (number, step) in (1..).zip(&found.steps) {
            println!("  {number}. {step}");
        }
        assert!(found.found.to_string().contains(says), "{bug:?}: {}", found.found);
        let clean = explore(&case);
        assert!(
            clean.found.is_none() && clean.is_exhaustive(),
            "{bug:?}: without it there is nothing to find"
        );
    }
}
