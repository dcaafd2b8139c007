//! What `explore` promises: every order, every fault of the budget, and an honest word about what was left
//! out. The sizes of spaces are golden: a change of the replica may move them, a change of the explorer
//! that does is to be looked at.

use sync_sim::engine::{Actor, Context, Effects, Input, Outgoing, Unfinished};
use sync_sim::explore::{
    Cut, Explorable, Explorer, Fingerprint, Found, Kind, Observed, Report, Scope, Watch, Write,
};
use sync_sim::prelude::*;
use sync_sim::runtime::Check;

fn explore(nodes: usize, kind: Kind, writes: usize, scope: Scope) -> Report {
    let mut rt = SimRuntime::with_seed(0);
    rt.apply_scenario(Scenario::n_nodes_synced(nodes, 0));
    let mut explorer = Explorer::of(&rt, scope);
    explorer.write_concurrently(kind, writes);
    explorer.run(&mut |_| true)
}

fn assert_clean(report: &Report, what: &str) {
    let found = report.found.as_ref().map(|found| found.steps.join("\n"));
    assert_eq!(found, None, "{what}");
    assert!(report.is_exhaustive(), "{what}: {:?}", report.cut);
    assert!(report.ends > 0, "{what}");
}

#[test]
fn two_replicas_that_write_at_once_agree_in_every_order() {
    for kind in Kind::ALL {
        let report = explore(2, kind, 2, Scope::default());
        assert_clean(&report, &format!("{kind:?}"));
    }
}

#[test]
fn one_fault_of_each_kind_is_survived_wherever_it_falls() {
    let scopes = [
        Scope { drops: 1, ..Scope::default() },
        Scope { duplicates: 1, ..Scope::default() },
        Scope { crashes: 1, ticks: 0, ..Scope::default() },
        Scope { partitions: 1, ..Scope::default() },
        Scope { early: 1, ..Scope::default() },
    ];
    for scope in scopes {
        assert_clean(&explore(2, Kind::Register, 2, scope.clone()), &format!("{scope:?}"));
    }
}

#[test]
fn a_search_is_the_same_every_time() {
    let scope = Scope { drops: 1, duplicates: 1, ..Scope::default() };
    assert_eq!(explore(2, Kind::Set, 2, scope.clone()), explore(2, Kind::Set, 2, scope));
}

#[test]
fn frames_in_order_reach_no_more_states_than_frames_in_any_order() {
    let any = explore(2, Kind::Register, 4, Scope { ticks: 0, ..Scope::default() });
    let fifo = explore(2, Kind::Register, 4, Scope { ticks: 0, fifo: true, ..Scope::default() });
    assert_clean(&any, "any order");
    assert_clean(&fifo, "in order");
    assert!(fifo.progress.states < any.progress.states);
    assert!(fifo.outcomes <= any.outcomes);
}

/// What a search found: a replica that had crashed while it took a snapshot, and then got the same state by
/// gossip, told its peer to let it go first and never began; the peer asked again for ever.
#[test]
fn one_that_has_all_it_was_taking_a_snapshot_for_does_not_hold_others_up() {
    let report =
        explore(2, Kind::Register, 1, Scope { crashes: 1, early: 1, states: 100_000, ..Scope::default() });
    assert_clean(&report, "a snapshot that came too late");
}

#[test]
fn equal_states_take_equal_steps() {
    for scope in [Scope { drops: 1, ..Scope::default() }, Scope { crashes: 1, ticks: 0, ..Scope::default() }]
    {
        let quick = explore(2, Kind::Map, 2, scope.clone());
        let doubted = explore(2, Kind::Map, 2, Scope { doubt: true, ..scope });
        assert_clean(&doubted, "doubted");
        assert_eq!(doubted, quick);
    }
}

#[test]
fn a_bound_that_cuts_is_told() {
    let full = explore(2, Kind::Register, 2, Scope::default());
    let depth = full.progress.depth;
    let shallow = explore(2, Kind::Register, 2, Scope { depth: depth - 1, ..Scope::default() });
    assert_eq!((shallow.cut, shallow.is_exhaustive()), (Some(Cut::Depth), false));
    let few = explore(2, Kind::Register, 2, Scope { states: 10, ..Scope::default() });
    assert_eq!((few.cut, few.is_exhaustive()), (Some(Cut::States), false));
    let deep = explore(2, Kind::Register, 2, Scope { depth: depth + 1, ..Scope::default() });
    assert_clean(&deep, "a depth that cuts nothing");
    assert_eq!(deep.progress.states, full.progress.states);
}

#[test]
fn one_that_is_told_to_stop_stops_and_says_so() {
    let mut rt = SimRuntime::with_seed(0);
    rt.apply_scenario(Scenario::n_nodes_synced(2, 0));
    let report = Explorer::of(&rt, Scope::default()).run(&mut |_| false);
    assert_eq!(report.cut, Some(Cut::Stopped));
}

/// A replica of a number that forgets to compare: whatever comes last is kept.
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
    fn write_state(&self, out: &mut Fingerprint) {
        out.number(self.value);
    }
}

/// Promises nothing: what is left is that all converge.
#[derive(Clone)]
struct Nothing;

impl Watch<Last> for Nothing {
    fn observe(&mut self, _: &Observed<'_, Last>) -> Option<Check> {
        None
    }

    fn write_state(&self, _: &mut Fingerprint) {}

    fn judge(&self, _: &[&Last], _: bool) -> Option<Check> {
        None
    }
}

/// One that keeps a secret from those who merge its states.
#[derive(Clone, Debug, Default)]
struct Secretive(u64);

impl Actor for Secretive {
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

impl Explorable for Secretive {
    fn write_state(&self, out: &mut Fingerprint) {
        // What is below ten is not told.
        out.number(self.0 / 10);
    }
}

impl Watch<Secretive> for Nothing {
    fn observe(&mut self, _: &Observed<'_, Secretive>) -> Option<Check> {
        None
    }

    fn write_state(&self, _: &mut Fingerprint) {}

    fn judge(&self, _: &[&Secretive], _: bool) -> Option<Check> {
        None
    }
}

#[test]
fn doubt_finds_states_that_are_not_told_apart() {
    let nodes = ["alice", "bob"].map(|name| (name.to_owned(), Secretive::default()));
    let mut explorer = Explorer::new(nodes.into(), Nothing, Scope { doubt: true, ..Scope::default() });
    for node in [NodeId(0), NodeId(1)] {
        for number in 0..4 {
            explorer.write(node, Write { op: 4, words: format!("adds four, {number}") });
        }
    }
    let found = explorer.run(&mut |_| true).found.expect("eight is not four");
    assert!(matches!(found.found, Found::Blurred(_)), "{:?}", found.found);
}

#[test]
fn a_replica_of_ones_own_is_explored_and_its_shortest_counterexample_told() {
    let nodes = ["alice", "bob"].map(|name| (name.to_owned(), Last::default()));
    let mut explorer = Explorer::new(nodes.into(), Nothing, Scope::default());
    explorer.write(NodeId(0), Write { op: 1, words: "writes 1".to_owned() });
    explorer.write(NodeId(1), Write { op: 2, words: "writes 2".to_owned() });
    let report = explorer.run(&mut |_| true);
    let found = report.found.expect("both keep what came last");
    assert!(matches!(found.found, Found::Stuck(_)), "{:?}", found.found);
    // Each sends to itself too, as the engine's actors may. Two writes, and of four frames each arrives.
    assert_eq!(found.steps.len(), 2 + 4 + 1, "{}", found.steps.join("\n"));
    assert!(
        found.steps[0].starts_with("alice writes 1; frame 1 (kind 0) goes to alice"),
        "{}",
        found.steps[0]
    );
    assert_eq!(report.cut, Some(Cut::Found));
}
