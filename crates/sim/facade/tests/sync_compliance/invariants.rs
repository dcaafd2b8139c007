//! I1 to I12: invariants for all writes and all protocols.

use super::buffering::{SEVERAL_PAGES, converge_in_causal_order};
use super::hostile::{Arena, HONEST, Lies};
use super::negotiation::FALSE_ALARM;
use super::safety::{forge, page_of};
use super::{Net, Verdict, chosen, converge, holds, ran, run_until, set, start};
use SyncProtocolKind as Kind;
use std::collections::BTreeSet;
use sync_sim::node::replica_id;
use sync_sim::prelude::*;
use syncline_crdt::CrdtType;
use syncline_replica::model::{
    Counter, Frozen, GrowCounter, Handle, List, Map, Opaque, Register, Set, SortedMap, Text, UserStorage,
};
use syncline_sync::{FailureReason, LocalSyncState, Outcome};

/// Protocols that a replica with state can be configured to run.
const MERGING: [Kind; 5] =
    [Kind::DeltaSync, Kind::HashComparison, Kind::BloomFilter, Kind::SubtreePrefetch, Kind::LevelWise];

/// A partition drops the gossip, so only a session can transfer the write.
pub(crate) fn a_write_arrives(net: &Net) -> Verdict {
    for protocol in MERGING {
        let config = net.config().with_protocol(protocol);
        let (mut rt, [a, b]) = start(config, Scenario::overlap(2, 20, 5));
        rt.partition_bidirectional(a, b, Some(300.into()));
        rt.write(a, vec![set(1, "on the other side")]);
        let stop = rt.run_until(|rt| {
            rt.sessions().iter().any(|session| matches!(session.outcome, Outcome::Converged { .. }))
        });
        // If the last response of a session was lost, both may agree without a session that says so.
        ensure!(matches!(stop, StopCondition::Manual | StopCondition::Converged), "{stop}\n{}", rt.explain());
        let (found, written) =
            (rt.node(b).record(EntityId::from_u64(1))?, rt.node(a).record(EntityId::from_u64(1))?);
        ensure!(found.is_some() && found == written, "{protocol}: {found:?} arrived of {written:?}");
        converge(&mut rt)?;
    }
    Ok(())
}

#[test]
fn i1_sync_transfers_writes() {
    holds(a_write_arrives);
}

/// A round is one session of every node. With random peers, a multiple of log2(n) rounds must suffice.
pub(crate) fn few_rounds(net: &Net) -> Verdict {
    for log in 1..=if net.is_clean() { 5 } else { 3 } {
        let nodes = 1 << log;
        let mut rt = SimRuntime::with_config(net.config());
        rt.apply_scenario(Scenario::n_nodes_diverged(nodes, 4));
        converge(&mut rt)?;
        let most = rt.node_ids().into_iter().map(|node| rt.node_metrics(node).syncs_initiated).max();
        let most = most.unwrap_or(0);
        let bound = ROUNDS_PER_DOUBLING * log * if net.is_clean() { 1 } else { 3 };
        ensure!(most <= bound, "{nodes} nodes: one of them took {most} sessions, more than {bound}");
    }
    Ok(())
}

const ROUNDS_PER_DOUBLING: u64 = 4;

#[test]
fn i2_nodes_agree_within_log_rounds() {
    holds(few_rounds);
}

/// The writes of three nodes at the same instant, before they hear of each other.
fn at_once(nodes: [NodeId; 3]) -> Vec<(NodeId, Operation)> {
    let title: Register<String> = Register::named("title");
    let likes = GrowCounter::named("likes");
    let stock = Counter::named("stock");
    let ages: Map<u64, Register<u64>> = Map::named("ages");
    let tags: Set<u64> = Set::named("tags");
    let first: Frozen<u64> = Frozen::named("first");
    let notes = Text::named("notes");
    let items: List<Register<u64>> = List::named("items");
    let by = |(at, node): (u64, NodeId)| {
        let operations = [
            title.set(&format!("by {at}")),
            likes.add(at + 1),
            stock.add(-(at as i64)),
            ages.entry(&0).set(&at),
            tags.insert(&at),
            tags.remove(&((at + 1) % 3)),
            first.freeze(&at),
            notes.insert(0, &format!("note {at}")),
            items.insert(0, at),
            if at == 2 { ages.delete() } else { ages.entry(&at).set(&at) },
        ];
        operations.map(|operation| (node, operation))
    };
    (0..).zip(nodes).flat_map(by).collect()
}

/// The root that three nodes agree on after these concurrent writes.
fn agreed_root(config: SimConfig) -> Result<Digest, Box<dyn std::error::Error>> {
    let config = config.keeping_tombstones();
    let (mut rt, nodes) = start(config, Scenario::n_nodes_synced(3, 5));
    for (node, operation) in at_once(nodes) {
        rt.write(node, vec![operation]);
    }
    converge(&mut rt)?;
    Ok(rt.digest(nodes[0]))
}

/// The same writes on networks with other orders of delivery and other protocols.
pub(crate) fn order_of_arrival(net: &Net) -> Verdict {
    // With the same seed, the clocks start with the same phases, so that the writes have the same stamps.
    let clean = Net { seed: net.seed, ..Net::clean() };
    let expected = agreed_root(clean.config())?;
    let config = net.config_without_crashes();
    let found = agreed_root(config.clone())?;
    ensure!(found == expected, "the same writes ended in {found} and in {expected}");
    let by_records = agreed_root(config.with_protocol(Kind::HashComparison))?;
    ensure!(by_records == expected, "merged by records they end in {by_records}, not in {expected}");
    Ok(())
}

#[test]
fn i3_merge_ignores_order_of_arrival() {
    holds(order_of_arrival);
}

pub(crate) fn one_end(net: &Net) -> Verdict {
    let mut ends = BTreeSet::new();
    for protocol in MERGING {
        let config = net.config().with_protocol(protocol);
        let (mut rt, nodes) = start::<2>(config, RandomScenario::heavy_divergence(net.seed, 2));
        converge(&mut rt)?;
        ensure!(ran(&rt, protocol), "{protocol} did not run");
        ends.insert(rt.digest(nodes[0]));
    }
    ensure!(ends.len() == 1, "the protocols ended in {} states", ends.len());
    Ok(())
}

#[test]
fn i4_all_protocols_end_in_the_same_state() {
    holds(one_end);
}

/// A requested snapshot is not granted where state could be lost.
pub(crate) fn no_overwriting(net: &Net) -> Verdict {
    let config = net.config().with_protocol(Kind::Snapshot);
    let (mut rt, nodes) = start::<2>(config, Scenario::overlap(2, 20, 20));
    let likes = GrowCounter::named("likes");
    for node in nodes {
        rt.write(node, vec![likes.add(4)]);
    }
    let mut seen = [0; 2];
    let mut lost = None;
    let stop = rt.run_until(|rt| {
        for (node, seen) in nodes.into_iter().zip(&mut seen) {
            let count = rt.entity_count(node);
            if count < *seen {
                lost = Some((node, *seen, count));
            }
            *seen = count;
        }
        lost.is_some()
    });
    ensure!(lost.is_none(), "entities went away: {lost:?}");
    ensure!(stop == StopCondition::Converged, "{stop}\n{}", rt.explain());
    ensure!(!chosen(&rt).contains(&Kind::Snapshot), "an initialised replica took a snapshot");
    for node in nodes {
        let total = likes.get(&mut rt.node(node).state()?)?;
        ensure!(
            (rt.entity_count(node), total) == (61, 8),
            "{} entities, count {total}",
            rt.entity_count(node)
        );
    }
    Ok(())
}

#[test]
fn i5_state_is_merged_never_overwritten() {
    holds(no_overwriting);
}

/// Writes throughout the syncs, with each protocol. The checkers of the run account for every buffered
/// delta and compare the end with the writes.
pub(crate) fn nothing_dropped(net: &Net) -> Verdict {
    let mut waited = 0;
    for protocol in [Kind::Snapshot].into_iter().chain(MERGING) {
        let config = net.config().with_protocol(protocol);
        let scenario = match protocol {
            Kind::Snapshot => Scenario::fresh_joiner(3, SEVERAL_PAGES),
            _ => Scenario::n_nodes_diverged(3, 100),
        };
        let (mut rt, nodes) = start::<3>(config, scenario);
        // Begins with the first sync: an earlier write would reach a fresh node as its first state.
        run_until(&mut rt, "a sync", |rt| rt.metrics().protocol.sessions_started > 0)?;
        for (key, node) in (1..=80).zip(nodes.iter().take(2).cycle()) {
            rt.write_at(
                rt.now() + SimDuration::from_millis(40 + key * 5),
                *node,
                vec![set(key, "meanwhile")],
            );
        }
        let mut most = [0; 3];
        let stop = rt.run_until(|rt| {
            for (node, most) in nodes.iter().zip(&mut most) {
                let waiting = rt.node(*node).replica().map_or(0, |replica| replica.pending().buffered);
                *most = waiting.max(*most);
            }
            false
        });
        waited += most.iter().sum::<usize>();
        ensure!(stop == StopCondition::Converged, "{protocol}: {stop}\n{}", rt.explain());
        let initial = if protocol == Kind::Snapshot { SEVERAL_PAGES } else { 300 };
        let expected = initial + rt.metrics().protocol.writes_accepted as usize;
        for node in nodes {
            ensure!(rt.entity_count(node) == expected, "{protocol}: {} of {expected}", rt.entity_count(node));
        }
    }
    ensure!(waited > 0, "no delta had to wait");
    Ok(())
}

#[test]
fn i6_deltas_during_a_sync_are_applied() {
    holds(nothing_dropped);
}

/// A peer forges a few pages and then becomes honest: only the promised state is ever visible, and only
/// as a whole.
pub(crate) fn verified_first(net: &Net) -> Verdict {
    let fresh = NodeId(1);
    let lies = Lies { left: 3, ..Lies::always(|_, message| page_of(message).is_some_and(forge)) };
    let scenario = Scenario::fresh_joiner(2, SEVERAL_PAGES);
    let mut arena = Arena::new(net, scenario, &[(lies, |_| {}), HONEST]);
    let promised = arena.world.digest(NodeId(0));
    arena.run(SimTime::from_secs(600), |world| {
        let root = world.digest(fresh);
        ensure!(root.is_zero() || root == promised, "a state was shown that nobody promised: {root}");
        Ok(())
    })?;
    let refused =
        |outcome: &Outcome| matches!(outcome, Outcome::Failed(FailureReason::SnapshotMismatch { .. }));
    ensure!(arena.ended.iter().any(|session| refused(&session.outcome)), "no lie was found out");
    ensure!(arena.world.digest(fresh) == promised, "the truth was not taken either");
    Ok(())
}

#[test]
fn i7_snapshot_is_hidden_until_verified() {
    holds(verified_first);
}

/// Three authors who receive deltas of each other on a network that reorders and drops frames.
pub(crate) fn parents_first(net: &Net) -> Verdict {
    let faults = net.faults.clone().with_reorder_window(100).with_loss(0.1);
    let (mut rt, nodes) = start::<3>(net.config().with_faults(faults), Scenario::n_nodes_synced(3, 5));
    for (key, node) in (1..=45).zip(nodes.iter().cycle()) {
        rt.write_at((key * 20).into(), *node, vec![set(key, "in turn")]);
    }
    converge_in_causal_order(&mut rt)?;
    let waited = rt.node_ids().into_iter().filter_map(|node| rt.node(node).replica());
    let waited: u64 = waited.map(|replica| replica.buffer_ledger().added).sum();
    ensure!(waited > 0 || !net.is_clean(), "no delta came before its parents");
    Ok(())
}

#[test]
fn i8_deltas_apply_after_their_parents() {
    holds(parents_first);
}

/// Two nodes create the same entities independently, in worlds with different seeds.
pub(crate) fn the_same_ids(net: &Net) -> Verdict {
    let mut found = BTreeSet::new();
    for seed in [net.seed, net.seed + 1_000] {
        let config = SimConfig { seed, ..net.config() };
        let (mut rt, nodes) = start::<2>(config, Scenario::n_nodes_synced(2, 0));
        rt.partition_bidirectional(nodes[0], nodes[1], Some(300.into()));
        let boards: Map<String, Map<String, Counter>> = Map::named("boards");
        let scores = boards.entry(&"today".to_owned());
        for node in nodes {
            rt.write(node, vec![boards.create(), scores.create(), scores.entry(&"alice".to_owned()).add(2)]);
        }
        let mut apart = [BTreeSet::new(), BTreeSet::new()];
        run_until(&mut rt, "both have written", |rt| rt.metrics().protocol.writes_accepted == 2)?;
        for (node, ids) in nodes.into_iter().zip(&mut apart) {
            ids.extend(rt.node(node).state()?.visible()?.into_iter().map(|(id, _)| id));
        }
        ensure!(apart[0] == apart[1], "two nodes gave different ids to the same places");
        converge(&mut rt)?;
        for node in nodes {
            ensure!(rt.entity_count(node) == 3, "{} entities were made of three", rt.entity_count(node));
            let total = scores.entry(&"alice".to_owned()).get(&mut rt.node(node).state()?)?;
            ensure!(total == 4, "the counter they share is {total}");
        }
        found.extend(apart);
    }
    ensure!(found.len() == 1, "ids depend on chance");
    Ok(())
}

#[test]
fn i9_names_determine_entity_ids() {
    holds(the_same_ids);
}

/// One value of each type, written on one side.
fn of_every_type() -> Vec<(Target, CrdtType, Operation)> {
    let title: Register<String> = Register::named("title");
    let likes = GrowCounter::named("likes");
    let stock = Counter::named("stock");
    let ages: Map<u64, Register<u64>> = Map::named("ages");
    let index: SortedMap<u64, Register<u64>> = SortedMap::named("index");
    let tags: Set<u64> = Set::named("tags");
    let first: Frozen<u64> = Frozen::named("first");
    let opaque: Opaque<u64> = Opaque::named("opaque");
    let notes = Text::named("notes");
    let items: List<Register<u64>> = List::named("items");
    let homes: UserStorage<u64> = UserStorage::named("homes");
    vec![
        (title.target().clone(), CrdtType::LwwRegister, title.set(&"x".to_owned())),
        (likes.target().clone(), CrdtType::GCounter, likes.add(1)),
        (stock.target().clone(), CrdtType::PnCounter, stock.add(-1)),
        (ages.target().clone(), CrdtType::UnorderedMap, ages.create()),
        (ages.entry(&1).target().clone(), CrdtType::LwwRegister, ages.entry(&1).set(&1)),
        (index.target().clone(), CrdtType::SortedMap, index.create()),
        (index.entry(&1).target().clone(), CrdtType::LwwRegister, index.entry(&1).set(&1)),
        (tags.target().clone(), CrdtType::UnorderedSet, tags.create()),
        (tags.target().child(&1u64.to_be_bytes()), CrdtType::SetElement, tags.insert(&1)),
        (first.target().clone(), CrdtType::FrozenValue, first.freeze(&1)),
        (opaque.target().clone(), CrdtType::Opaque, opaque.set(&1)),
        (notes.target().clone(), CrdtType::Rga, notes.insert(0, "x")),
        (items.target().clone(), CrdtType::Vector, items.create()),
        (homes.target().clone(), CrdtType::UserStorage, homes.create()),
    ]
}

pub(crate) fn metadata_travels(net: &Net) -> Verdict {
    for protocol in [Kind::Snapshot].into_iter().chain(MERGING) {
        let mut scenario = match protocol {
            Kind::Snapshot => Scenario::fresh_joiner(2, 5),
            _ => Scenario::n_nodes_synced(2, 5),
        };
        scenario.nodes[0].writes = of_every_type().into_iter().map(|(.., operation)| operation).collect();
        let (mut rt, [a, b]) = start(net.config().with_protocol(protocol), scenario);
        converge(&mut rt)?;
        ensure!(ran(&rt, protocol), "{protocol} did not run");
        for (target, expected, _) in of_every_type() {
            let sent = rt.node(a).record(target.id)?;
            let came = rt.node(b).record(target.id)?;
            let Some(record) = came.as_deref() else {
                return Err(format!("{protocol}: no {expected}").into());
            };
            ensure!(record.crdt_type() == expected, "{protocol}: {} came for {expected}", record.crdt_type());
            ensure!(came == sent, "{protocol}: the {expected} is {came:?} and was {sent:?}");
            let by_a =
                record.created_at.replica() == replica_id(a) && record.updated_at.replica() == replica_id(a);
            ensure!(by_a && record.label == target.label, "{protocol}: the {expected} is {record:?}");
        }
    }
    Ok(())
}

#[test]
fn i10_metadata_travels_with_data() {
    holds(metadata_travels);
}

/// A scenario in which a protocol alone makes the states equal.
fn scenario_for(kind: Kind) -> Scenario {
    match kind {
        Kind::None => Scenario::force_none(),
        Kind::DeltaSync => Scenario::force_delta_sync(),
        Kind::Snapshot => Scenario::force_snapshot(),
        Kind::HashComparison => Scenario::force_hash_high_divergence(),
        Kind::BloomFilter => Scenario::force_bloom_filter(),
        Kind::SubtreePrefetch => Scenario::force_subtree_prefetch(),
        Kind::LevelWise => Scenario::force_levelwise(),
        Kind::RatelessIblt => Scenario::both_initialized(),
    }
}

pub(crate) fn only_what_is_advertised(net: &Net) -> Verdict {
    let (rt, [node, _]) = net.start(Scenario::force_none());
    for kind in rt.node(node).supported_protocols().into_iter().filter(|kind| *kind != Kind::None) {
        // The only advertised protocol makes both sides agree: what is advertised can be executed.
        let (mut rt, nodes) = net.start::<2>(scenario_for(kind));
        for node in nodes {
            rt.configure(node, |config| config.protocols = vec![kind]);
        }
        converge(&mut rt)?;
        ensure!(ran(&rt, kind), "{kind} was advertised and did not run");
        let others = chosen(&rt).into_iter().find(|other| ![kind, Kind::None].contains(other));
        ensure!(others.is_none(), "{others:?} ran where only {kind} is advertised");
        // A protocol that one side does not advertise is not run, even if the table selects it.
        for silent in [0, 1] {
            let (mut rt, nodes) = net.start::<2>(scenario_for(kind));
            rt.configure(nodes[silent], |config| config.protocols.retain(|own| *own != kind));
            converge(&mut rt)?;
            ensure!(!chosen(&rt).contains(&kind), "{kind} ran although node {silent} does not advertise it");
        }
    }
    Ok(())
}

#[test]
fn i11_advertised_protocols_run_no_others() {
    holds(only_what_is_advertised);
}

/// Two sessions that end without a transfer: between equal states, and between different states without a
/// common protocol. Only the first is a success.
pub(crate) fn none_is_no_failure(net: &Net) -> Verdict {
    let mut equal = Arena::new(net, Scenario::n_nodes_synced(2, 20), &[HONEST, (FALSE_ALARM, |_| {})]);
    let mut apart = Arena::new(
        net,
        Scenario::n_nodes_diverged(2, 20),
        &[
            (Lies::NONE, |config| config.protocols = vec![Kind::HashComparison]),
            (Lies::NONE, |config| config.protocols = vec![Kind::BloomFilter]),
        ],
    );
    for arena in [&mut equal, &mut apart] {
        let before = [0, 1].map(|node| arena.world.digest(NodeId(node)));
        arena.run(SimTime::from_secs(60), |world| {
            ensure!([0, 1].map(|node| world.digest(NodeId(node))) == before, "a state changed");
            Ok(())
        })?;
        ensure!(arena.ended.iter().all(|session| session.moved == 0), "something moved: {:?}", arena.ended);
    }
    let answered = |arena: &Arena| -> Vec<Outcome> {
        let sessions = arena.ended.iter().filter(|session| session.protocol == Some(Kind::None));
        sessions.map(|session| session.outcome.clone()).collect()
    };
    let acknowledged = answered(&equal);
    let failed = answered(&apart);
    let root = equal.world.digest(NodeId(0));
    ensure!(!acknowledged.is_empty() && !failed.is_empty(), "no session was answered");
    ensure!(acknowledged.iter().all(|end| *end == Outcome::Converged { root }), "{acknowledged:?}");
    let nothing_in_common = Outcome::Failed(FailureReason::NoCommonProtocol);
    ensure!(failed.iter().all(|end| *end == nothing_in_common), "{failed:?}");
    Ok(())
}

#[test]
fn i12_none_is_acknowledged_as_success() {
    holds(none_is_no_failure);
}
