//! E1 to E5: whole runs, from the writes to the common state.

use super::{Net, Verdict, chosen, converge, holds, set};
use std::collections::BTreeSet;
use sync_sim::prelude::*;

/// Asserts that all nodes have one root, see the same entities and are idle.
fn all_equal(rt: &SimRuntime) -> Verdict {
    let nodes = rt.node_ids();
    let roots: BTreeSet<Digest> = nodes.iter().map(|node| rt.digest(node)).collect();
    ensure!(roots.len() == 1, "{} different roots", roots.len());
    let counts: BTreeSet<usize> = nodes.iter().map(|node| rt.entity_count(node)).collect();
    ensure!(counts.len() == 1 && !counts.contains(&0), "the nodes see {counts:?} entities");
    for node in nodes {
        let pending = rt.node(node).replica().map(|replica| replica.pending());
        ensure!(
            pending.is_some_and(|pending| pending.is_none()),
            "{} is not idle: {pending:?}",
            rt.name(node)
        );
    }
    Ok(())
}

/// Each node sees the state and the writes of the other, with more children than one page of the index
/// has.
pub(crate) fn two_write_at_once(net: &Net) -> Verdict {
    let (mut rt, [a, b]) = net.start(Scenario::overlap(2, 20, 150));
    rt.write(a, vec![set(1, "of alice")]);
    rt.write(b, vec![set(2, "of bob")]);
    rt.apply_workload(&Workload::new(40, SimDuration::from_secs(2)));
    converge(&mut rt)?;
    all_equal(&rt)?;
    ensure!(rt.metrics().protocol.writes_accepted >= 10, "hardly anything was written");
    for node in [a, b] {
        ensure!(rt.has_entity(node, EntityId::from_u64(1)), "{} lacks what alice wrote", rt.name(node));
        ensure!(rt.has_entity(node, EntityId::from_u64(2)), "{} lacks what bob wrote", rt.name(node));
        ensure!(rt.entity_count(node) >= 322, "{} entities", rt.entity_count(node));
    }
    Ok(())
}

#[test]
fn e1_concurrent_writers_converge() {
    holds(two_write_at_once);
}

pub(crate) fn three_in_several_rounds(net: &Net) -> Verdict {
    let (mut rt, nodes) = net.start::<3>(Scenario::overlap(3, 10, 10));
    for round in 0..3 {
        for (node, key) in nodes.iter().zip(1..) {
            rt.write(node, vec![set(round * 10 + key, "of this round")]);
        }
        rt.apply_workload(&Workload::new(15, SimDuration::from_millis(500)));
        converge(&mut rt)?;
        all_equal(&rt)?;
    }
    Ok(())
}

#[test]
fn e2_three_nodes_agree_after_each_round() {
    holds(three_in_several_rounds);
}

pub(crate) fn a_fresh_one_joins(net: &Net) -> Verdict {
    let mut scenario = Scenario::overlap(3, 30, 10);
    scenario.nodes[2].has_shared = false;
    scenario.nodes[2].own.clear();
    let (mut rt, [a, _, c]) = net.start(scenario);
    ensure!(rt.digest(c).is_zero() && !rt.digest(a).is_zero(), "carol is not fresh");
    converge(&mut rt)?;
    all_equal(&rt)?;
    ensure!(rt.digest(c) == rt.digest(a), "carol's root is not alice's");
    ensure!(rt.entity_count(c) == 50, "carol sees {} entities", rt.entity_count(c));
    ensure!(chosen(&rt).contains(&SyncProtocolKind::Snapshot), "carol took no snapshot");
    Ok(())
}

#[test]
fn e3_fresh_node_reaches_the_common_root() {
    holds(a_fresh_one_joins);
}

pub(crate) fn two_halves_meet(net: &Net) -> Verdict {
    let (mut rt, [a, b, c, d]) = net.start(Scenario::overlap(4, 20, 5));
    let apart = SimDuration::from_secs(3);
    rt.partition_groups(&[vec![a, b], vec![c, d]], Some(apart));
    rt.write(a, vec![set(1, "left")]);
    rt.write(d, vec![set(2, "right")]);
    rt.apply_workload(&Workload::new(30, SimDuration::from_secs(2)));
    let mut crossed = false;
    let stop = rt.run_until(|rt| {
        let left = EntityId::from_u64(1);
        let right = EntityId::from_u64(2);
        let during = rt.now() < SimTime::ZERO + apart;
        crossed |= during && (rt.has_entity(a, right) || rt.has_entity(c, left));
        false
    });
    ensure!(stop == StopCondition::Converged, "{stop}\n{}", rt.explain());
    ensure!(!crossed, "the partition let something through");
    all_equal(&rt)?;
    for node in [a, b, c, d] {
        for key in [1, 2] {
            ensure!(rt.has_entity(node, EntityId::from_u64(key)), "{} lacks {key}", rt.name(node));
        }
    }
    Ok(())
}

#[test]
fn e4_partitioned_halves_converge_after_heal() {
    holds(two_halves_meet);
}

/// The peer of bob has written a thousand deltas that bob lacks, on top of a common state.
pub(crate) fn a_thousand_behind(net: &Net) -> Verdict {
    let mut scenario = Scenario::n_nodes_synced(2, 20);
    scenario.nodes[0].writes = (1..=1_000).map(|key| set(key, "behind")).collect();
    let (mut rt, [a, b]) = net.start(scenario);
    ensure!((rt.entity_count(a), rt.entity_count(b)) == (1_020, 20), "bob is not behind");
    converge(&mut rt)?;
    all_equal(&rt)?;
    ensure!(rt.entity_count(b) == 1_020, "bob sees {} entities", rt.entity_count(b));
    Ok(())
}

#[test]
fn e5_replica_catches_up_thousand_deltas() {
    holds(a_thousand_behind);
}
