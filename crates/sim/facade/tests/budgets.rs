//! Budgets: the workloads that make something large find the costs that grow with what is there.
//!
//! Each test states what is wrong today. When the cause is repaired, the run converges and the test fails: then the
//! expectation goes, and the case stays.

use sync_sim::budgets::{Budget, OverBudget};
use sync_sim::prelude::*;
use sync_sim::swarm;
use sync_sim::workload::Growth;
use syncline_types::limits::MAX_FRAME_BYTES;

/// The budget that a run exceeds.
fn over(rt: &mut SimRuntime) -> Option<OverBudget> {
    match rt.run() {
        StopCondition::Violated(Check::OverBudget { over, .. }) => Some(over),
        StopCondition::Converged => None,
        stop => panic!("{stop}\n{}", rt.explain()),
    }
}

/// Two nodes on a network without faults, and a workload.
fn growing(workload: Workload) -> SimRuntime {
    let faults = FaultConfig::none().with_latency(2, 0);
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(1).with_faults(faults));
    rt.apply_scenario(Scenario::n_nodes_synced(2, 1));
    rt.apply_workload(&workload);
    rt
}

#[test]
fn keystroke_rewrites_long_text() {
    let over_five_seconds = |growth, writes| Workload::growing(growth, writes, SimDuration::from_secs(5));
    let document = |size| Workload { size, ..over_five_seconds(Growth::Document, 40) };
    assert_eq!(over(&mut growing(document(500))), None);
    let found = over(&mut growing(document(20_000))).unwrap();
    assert_eq!(found.budget, Budget::WriteBytes);
    assert!(found.found > 20_000 && found.allowed < 10_000, "{found}");
}

#[test]
fn inserts_in_turn_lengthen_positions() {
    let list = |writes| Workload::growing(Growth::ListInTurn, writes, SimDuration::from_secs(5));
    assert_eq!(over(&mut growing(list(20))), None);
    let found = over(&mut growing(list(100))).unwrap();
    assert_eq!(found.budget, Budget::PositionBytes);
}

#[test]
fn authors_do_not_weigh_on_writes() {
    let case = |authors| -> Case {
        let text = format!(
            r#"
            former_authors = {authors}
            forget_tombstones = false
            nodes = [{{ name = "alice" }}, {{ name = "bob" }}]
            script = [{{ at = "1s", write = {{ node = "alice", ops = [{{ set = {{ target = "x", to = "y" }} }}] }} }}]
            "#
        );
        text.parse().unwrap()
    };
    for authors in [20, 500, 10_000] {
        assert_eq!(over(&mut case(authors).build().unwrap()), None, "{authors}");
    }
}

#[test]
fn authors_need_open_membership() {
    let refused = Case { former_authors: 1, nodes: vec![], ..swarm::draw(1) };
    let refused = Case { forget_tombstones: true, ..refused }.check().unwrap_err();
    assert!(refused.to_string().contains("forget_tombstones = false"), "{refused}");
}

/// Five people paste a megabyte each into one text while apart.
#[test]
#[cfg_attr(debug_assertions, ignore = "five megabytes of text; `.ci/run release-tests` runs it")]
fn joined_pastes_exceed_a_frame() {
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(1).with_faults(FaultConfig::none()));
    let nodes = rt.apply_scenario(Scenario::n_nodes_synced(5, 1));
    let apart: Vec<Vec<NodeId>> = nodes.iter().map(|node| vec![*node]).collect();
    rt.partition_groups(&apart, Some(SimDuration::from_secs(5)));
    for (node, letter) in nodes.iter().zip('a'..) {
        let text = letter.to_string().repeat(1_000 << 10);
        let paste = Operation::InsertText { target: Target::named(b"document"), at: 0, text };
        rt.write_at(1_000.into(), *node, vec![paste]);
    }
    let stop = rt.run();
    let StopCondition::Violated(Check::FrameTooLarge { bytes, limit, .. }) = stop else { panic!("{stop}") };
    assert!(bytes > limit && limit == MAX_FRAME_BYTES as u64, "{stop}");
}

/// Drawn seeds, and the budgets that their runs exceed.
#[test]
fn drawn_seeds_find_growing_costs() {
    for (seed, budget) in FOUND {
        let found = over(&mut swarm::draw(seed).build().unwrap()).unwrap_or_else(|| panic!("seed {seed}"));
        assert_eq!(found.budget, budget, "seed {seed}: {found}");
    }
}

/// A document, a list into which two insert in turn, the same list as it is read, and a large value that
/// is replaced.
const FOUND: [(u64, Budget); 4] = [
    (305, Budget::WriteBytes),
    (1_695, Budget::PositionBytes),
    (205, Budget::WriteReads),
    (2_179, Budget::WriteReads),
];
