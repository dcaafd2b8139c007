//! The contract of `explore`: it covers every order and every fault of the budget, and reports what it left out.

use sync_sim::engine::{Actor, Context, Effects, Input, Outgoing, Unfinished};
use sync_sim::explore::{
    Defect, Explorable, ExploredWrite, Explorer, Invariants, ObservedStep, Scope, SearchReport, StateHasher,
    StopCause, WriteKind,
};
use sync_sim::prelude::*;
use sync_sim::runtime::Check;

fn explore(nodes: usize, kind: WriteKind, writes: usize, scope: Scope) -> SearchReport {
    let mut rt = SimRuntime::with_seed(0);
    rt.apply_scenario(Scenario::n_nodes_synced(nodes, 0));
    let mut explorer = Explorer::of(&rt, scope);
    explorer.write_concurrently(kind, writes);
    explorer.run_replicas(&mut |_| true)
}

fn assert_clean(report: &SearchReport, what: &str) {
    let found = report.counterexample.as_ref().map(|found| found.steps.join("\n"));
    assert_eq!(found, None, "{what}");
    assert!(report.is_exhaustive(), "{what}: {:?}", report.stop_cause);
    assert!(report.ends > 0, "{what}");
}

#[test]
fn concurrent_writes_converge_in_every_order() {
    for kind in WriteKind::ALL {
        let report = explore(2, kind, 2, Scope::default());
        assert_clean(&report, &format!("{kind:?}"));
    }
}

#[test]
fn survives_one_fault_of_each_kind() {
    let scopes = [
        Scope { drops: 1, ..Scope::default() },
        Scope { duplicates: 1, ..Scope::default() },
        Scope { crashes: 1, ticks: 0, ..Scope::default() },
        Scope { partitions: 1, ..Scope::default() },
        Scope { early: 1, ..Scope::default() },
    ];
    for scope in scopes {
        assert_clean(&explore(2, WriteKind::Register, 2, scope.clone()), &format!("{scope:?}"));
    }
}

/// A disk is restored from a backup, is a copy of another one, or is empty. Whoever hears of another life of its name comes
/// back under a new one, and every acknowledged write counts once.
#[test]
fn replaced_disk_loses_nothing() {
    let scope = Scope { disks: 1, ticks: 0, ..Scope::default() };
    for kind in WriteKind::ALL {
        assert_clean(&explore(2, kind, 2, scope.clone()), &format!("{kind:?}"));
    }
    // Two replicas that wait for each other try again for ever, less and less often: this scope has no end.
    let deep = Scope { depth: 40, ..scope };
    for kind in WriteKind::ALL.into_iter().filter(|kind| *kind != WriteKind::Counter) {
        let report = explore(2, kind, 3, deep.clone());
        let found = report.counterexample.map(|found| found.steps.join("\n"));
        assert_eq!((found, report.stop_cause), (None, Some(StopCause::Depth)), "{kind:?}");
    }
}

#[test]
fn search_is_deterministic() {
    let scope = Scope { drops: 1, duplicates: 1, ..Scope::default() };
    assert_eq!(explore(2, WriteKind::Set, 2, scope.clone()), explore(2, WriteKind::Set, 2, scope));
}

#[test]
fn in_order_delivery_reaches_fewer_states() {
    let any = explore(2, WriteKind::Register, 4, Scope { ticks: 0, ..Scope::default() });
    let fifo = explore(2, WriteKind::Register, 4, Scope { ticks: 0, fifo: true, ..Scope::default() });
    assert_clean(&any, "any order");
    assert_clean(&fifo, "in order");
    assert!(fifo.progress.states < any.progress.states);
    assert!(fifo.outcomes <= any.outcomes);
}

/// One list of checks: what fails a run fails a search.
#[test]
fn searches_check_what_runs_check() {
    let config = SimConfig { max_frame_bytes: 60, ..SimConfig::with_seed(0) };
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_synced(2, 0));
    let mut explorer = Explorer::of(&rt, Scope::default());
    explorer.write_concurrently(WriteKind::Register, 2);
    let found = explorer.run_replicas(&mut |_| true).counterexample.expect("some frame is larger");
    let is_found = matches!(found.defect, Defect::Violation(Check::FrameTooLarge { limit: 60, .. }));
    assert!(is_found, "{}", found.defect);
    rt.write("alice", vec![Operation::Set { target: Target::named(b"title"), bytes: vec![0; 60] }]);
    let stop = rt.run();
    assert!(matches!(stop, StopCondition::Violated(Check::FrameTooLarge { limit: 60, .. })), "{stop}");
}

/// A search found this: a replica crashed while it received a snapshot, and then got the same state by gossip. It
/// asked its peer to let it go first, and never began; the peer asked again for ever.
#[test]
fn finished_snapshot_does_not_block_peers() {
    let report = explore(
        2,
        WriteKind::Register,
        1,
        Scope { crashes: 1, early: 1, states: 100_000, ..Scope::default() },
    );
    assert_clean(&report, "a late snapshot");
}

#[test]
fn equal_states_take_equal_steps() {
    for scope in [
        Scope { drops: 1, ..Scope::default() },
        Scope { crashes: 1, ticks: 0, ..Scope::default() },
        Scope { disks: 1, ticks: 0, ..Scope::default() },
    ] {
        let quick = explore(2, WriteKind::Map, 2, scope.clone());
        let rechecked = explore(2, WriteKind::Map, 2, Scope { verify_determinism: true, ..scope });
        assert_clean(&rechecked, "rechecked");
        assert_eq!(rechecked, quick);
    }
}

#[test]
fn reports_bound_that_stopped_it() {
    let full = explore(2, WriteKind::Register, 2, Scope::default());
    let depth = full.progress.depth;
    let shallow = explore(2, WriteKind::Register, 2, Scope { depth: depth - 1, ..Scope::default() });
    assert_eq!((shallow.stop_cause, shallow.is_exhaustive()), (Some(StopCause::Depth), false));
    let few = explore(2, WriteKind::Register, 2, Scope { states: 10, ..Scope::default() });
    assert_eq!((few.stop_cause, few.is_exhaustive()), (Some(StopCause::States), false));
    let deep = explore(2, WriteKind::Register, 2, Scope { depth: depth + 1, ..Scope::default() });
    assert_clean(&deep, "a depth that cuts nothing");
    assert_eq!(deep.progress.states, full.progress.states);
}

#[test]
fn stops_when_caller_says_so() {
    let mut rt = SimRuntime::with_seed(0);
    rt.apply_scenario(Scenario::n_nodes_synced(2, 0));
    let report = Explorer::of(&rt, Scope::default()).run_replicas(&mut |_| false);
    assert_eq!(report.stop_cause, Some(StopCause::Stopped));
}

/// A replicated number without conflict resolution: the value that arrives last overwrites the other.
#[derive(Clone, Debug, Default)]
struct Last {
    value: u64,
    others: Vec<NodeId>,
}

impl Actor for Last {
    type Op = u64;
    type Notice = ();

    fn step(&mut self, input: Input<'_, u64>, _: &mut Context<'_>, effects: &mut Effects<()>) {
        match input {
            Input::Start => {}
            Input::Peers { members, .. } => self.others = members.to_vec(),
            Input::Frame { bytes, .. } => {
                self.value = u64::from_le_bytes(bytes.as_ref().try_into().expect("eight bytes"));
            }
            Input::Timer(_) => {}
            Input::Op(value) => {
                self.value = *value;
                let bytes = value.to_le_bytes();
                effects.messages = self
                    .others
                    .iter()
                    .map(|to| Outgoing { to: *to, bytes: bytes.into(), kind: 0, housekeeping: false })
                    .collect();
            }
        }
    }

    fn crash(&mut self) {}

    fn restart(&mut self) {}

    fn digest(&self) -> Digest {
        Digest::of(0, &self.value.to_le_bytes())
    }

    fn unfinished(&self) -> Unfinished {
        Unfinished::default()
    }
}

impl Explorable for Last {
    fn write_state(&self, out: &mut StateHasher) {
        out.number(self.value);
    }
}

/// No invariants: only the liveness check remains.
#[derive(Clone)]
struct Nothing;

impl Invariants<Last> for Nothing {
    fn observe(&mut self, _: &ObservedStep<'_, Last>) -> Option<Check> {
        None
    }

    fn write_state(&self, _: &mut StateHasher) {}

    fn judge(&self, _: &[&Last], _: bool) -> Option<Check> {
        None
    }
}

/// An actor that omits something from its state hash.
#[derive(Clone, Debug, Default)]
struct HiddenState(u64);

impl Actor for HiddenState {
    type Op = u64;
    type Notice = ();

    fn step(&mut self, input: Input<'_, u64>, _: &mut Context<'_>, _: &mut Effects<()>) {
        if let Input::Op(value) = input {
            self.0 = if self.0 > 5 { 100 } else { self.0 + value };
        }
    }

    fn crash(&mut self) {}

    fn restart(&mut self) {}

    fn digest(&self) -> Digest {
        Digest::ZERO
    }

    fn unfinished(&self) -> Unfinished {
        Unfinished::default()
    }
}

impl Explorable for HiddenState {
    fn write_state(&self, out: &mut StateHasher) {
        // The last digit is omitted.
        out.number(self.0 / 10);
    }
}

impl Invariants<HiddenState> for Nothing {
    fn observe(&mut self, _: &ObservedStep<'_, HiddenState>) -> Option<Check> {
        None
    }

    fn write_state(&self, _: &mut StateHasher) {}

    fn judge(&self, _: &[&HiddenState], _: bool) -> Option<Check> {
        None
    }
}

#[test]
fn recheck_finds_incomplete_state_hash() {
    let nodes = ["alice", "bob"].map(|name| (name.to_owned(), HiddenState::default()));
    let mut explorer =
        Explorer::new(nodes.into(), Nothing, Scope { verify_determinism: true, ..Scope::default() });
    for node in [NodeId(0), NodeId(1)] {
        for number in 0..4 {
            explorer.write(node, ExploredWrite { op: 4, words: format!("adds four, {number}") });
        }
    }
    let found = explorer.run(&mut |_| true).counterexample.expect("eight is not four");
    assert!(matches!(found.defect, Defect::Nondeterminism(_)), "{:?}", found.defect);
}

#[test]
fn finds_shortest_counterexample_of_custom_actor() {
    let nodes = ["alice", "bob"].map(|name| (name.to_owned(), Last::default()));
    let mut explorer = Explorer::new(nodes.into(), Nothing, Scope::default());
    explorer.write(NodeId(0), ExploredWrite { op: 1, words: "writes 1".to_owned() });
    explorer.write(NodeId(1), ExploredWrite { op: 2, words: "writes 2".to_owned() });
    let report = explorer.run(&mut |_| true);
    let found = report.counterexample.expect("both keep what came last");
    assert!(matches!(found.defect, Defect::NotConverging(_)), "{:?}", found.defect);
    // Each sends to itself too, as the engine's actors may. Two writes, and of four frames each arrives.
    assert_eq!(found.steps.len(), 2 + 4 + 1, "{}", found.steps.join("\n"));
    assert!(
        found.steps[0].starts_with("alice writes 1; frame 1 (kind 0) goes to alice"),
        "{}",
        found.steps[0]
    );
    assert_eq!(report.stop_cause, Some(StopCause::Found));
}
