//! A fresh replica takes a snapshot while faults happen around it.

use sync_sim::case::Case;
use sync_sim::prelude::*;

fn set(key: u64) -> Vec<Operation> {
    vec![Operation::Set { target: Target::named(&key.to_le_bytes()), bytes: b"meanwhile".to_vec() }]
}

/// A run in which a joiner has staged some pages and none is visible.
fn joining(seed: u64, nodes: usize) -> (SimRuntime, Vec<NodeId>, NodeId) {
    let mut rt = SimRuntime::with_seed(seed);
    let all = rt.apply_scenario(Scenario::fresh_joiner(nodes, 6_000));
    let (fresh, others) = all.split_last().expect("nodes");
    let stop = rt.run_until(|rt| rt.metrics().fates.delivered > 10);
    assert_eq!(stop, StopCondition::Manual);
    assert_entity_count!(rt, *fresh, 0);
    (rt, others.to_vec(), *fresh)
}

/// The peer from which the joiner reads.
fn giver(rt: &SimRuntime, fresh: NodeId) -> NodeId {
    let replica = rt.node(fresh).replica().expect("it is up");
    replica.syncing_with().next().expect("a session").into()
}

#[test]
fn snapshot_survives_crash_of_sender() {
    let (mut rt, _, fresh) = joining(21, 2);
    let giver = giver(&rt, fresh);
    rt.crash_at(rt.now(), giver, CrashPoint::Now, Some(SimDuration::from_millis(200)));
    for key in 0..5 {
        rt.write_at(rt.now() + SimDuration::from_millis(201 + key), giver, set(key));
    }
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_entity_count!(rt, fresh, 6_005);
    assert!(rt.metrics().protocol.entities_transferred < 7_000, "{:?}", rt.metrics().protocol);
}

#[test]
fn snapshot_continues_from_another_peer() {
    let (mut rt, others, fresh) = joining(22, 3);
    let giver = giver(&rt, fresh);
    let other = *others.iter().find(|node| **node != giver).expect("another");
    rt.crash_at(rt.now(), giver, CrashPoint::Now, Some(SimDuration::from_secs(20)));
    rt.write_at(rt.now() + SimDuration::from_millis(5), other, set(1));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_entity_count!(rt, fresh, 6_001);
    assert!(rt.metrics().protocol.entities_transferred < 7_000, "{:?}", rt.metrics().protocol);
}

#[test]
fn snapshot_survives_repeated_crashes() {
    let (mut rt, _, fresh) = joining(23, 2);
    let giver = giver(&rt, fresh);
    for round in 0..6u64 {
        let node = if round % 2 == 0 { giver } else { fresh };
        let at = rt.now() + SimDuration::from_millis(300 * round);
        rt.crash_at(at, node, CrashPoint::AfterCommit, Some(SimDuration::from_millis(100)));
        rt.write_at(at + SimDuration::from_millis(150), giver, set(round));
    }
    assert_eq!(rt.run(), StopCondition::Converged);
    // A node that is down refuses the write.
    let accepted = rt.metrics().protocol.writes_accepted as usize;
    assert!(accepted >= 4, "{accepted} writes");
    assert_entity_count!(rt, fresh, 6_000 + accepted);
}

#[test]
fn writes_during_snapshot_are_visible() {
    let (mut rt, others, fresh) = joining(24, 3);
    for key in 0..20 {
        rt.write_at(rt.now() + SimDuration::from_millis(key), fresh, set(key));
        rt.write_at(rt.now() + SimDuration::from_millis(key), others[key as usize % 2], set(100 + key));
    }
    let until = rt.now() + SimDuration::from_millis(25);
    rt.run_until(|rt| rt.now() >= until);
    assert_entity_count!(rt, fresh, 20);
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_entity_count!(rt, fresh, 6_040);
}

#[test]
fn joiners_converge_under_heavy_chaos() {
    for seed in 0..60 {
        let faults = FaultConfig::heavy_chaos().with_crashes(0.02, 20..2_000);
        let mut rt = SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(faults));
        rt.apply_scenario(Scenario::fresh_joiner(3, 2_000));
        rt.apply_workload(&Workload::new(40, SimDuration::from_secs(4)));
        let stop = rt.run();
        assert_eq!(stop, StopCondition::Converged, "seed {seed}: {stop}");
    }
}

/// Two joiners that are in the middle of a snapshot write, and end a session with each other with equal states. Neither has
/// what the snapshot would bring, so both still take it: whoever gave it up would be left behind by those who have collected.
#[test]
fn joiners_that_agree_still_take_the_snapshot() {
    let case = r#"
version = 1
max_time = "600s"
shared = ["shared/0..400"]
nodes = [{ name = "alice" }, { name = "bob" }]
script = [
    { at = "0ms", write = { node = "alice", ops = [{ set = { target = "> reg 9", to = "x" } }] } },
    { at = "3s", write = { node = "bob", ops = [{ delete = { target = "> reg 9" } }] } },
    { at = "59s", name = { joiner = "late-1", by = ["alice", "bob", "late-2"] } },
    { at = "59s", name = { joiner = "late-2", by = ["alice", "bob", "late-1"] } },
    { at = "60s", join = "late-1" },
    { at = "60s", join = "late-2" },
    { at = "60500ms", partition = { groups = [["alice", "bob"], ["late-1"], ["late-2"]], lasting = "10s" } },
    { at = "65s", write = { node = "late-1", ops = [{ set = { target = "> register 0", to = "x" } }] } },
    { at = "65s", write = { node = "late-2", ops = [{ set = { target = "> register 1", to = "y" } }] } },
    { at = "70s", partition = { groups = [["alice", "bob"], ["late-1", "late-2"]], lasting = "60s" } },
]
[faults]
base_latency_ms = 10
latency_jitter_ms = 0
[replica]
limits = { snapshot_page_bytes = 92 }
"#;
    let mut rt = case.parse::<Case>().expect("a case").build().expect("a run");
    assert_eq!(rt.run(), StopCondition::Converged);
    for node in rt.node_ids() {
        let starts = rt.node(node).replica().map(|replica| replica.incarnation());
        assert_eq!(starts, Some(1), "{node} is not brought back");
    }
}
