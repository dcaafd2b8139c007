//! M1 to M7: concurrent writes of two replicas, merged by gossip, by the deltas of a session and by
//! records.

use super::{Net, Verdict, converge, holds, start};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use sync_sim::node::CheckedDiskView;
use sync_sim::prelude::*;
use syncline_crdt::CrdtType;
use syncline_replica::Merges;
use syncline_replica::model::{Counter, GrowCounter, Handle, Map, Merged, Opaque, Register, Set};
use syncline_storage::Interface;

type State = Interface<CheckedDiskView>;

/// The way by which writes reach the other side.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// By gossip, at once.
    Gossip,
    /// By the deltas of a session, after a partition.
    Deltas,
    /// By the records of a session that compares states, after a partition.
    Records,
}

/// Concurrent writes of two replicas: at node 0 or 1, after so many milliseconds, less than the latency
/// of a frame.
fn merge_with(
    net: &Net,
    way: Way,
    merges: &Merges,
    writes: &[(usize, u64, Operation)],
) -> Result<(SimRuntime, [NodeId; 2]), Box<dyn std::error::Error>> {
    let mut config = net.config().with_merges(bytewise_max_of_all());
    if let Way::Records = way {
        config = config.with_protocol(SyncProtocolKind::HashComparison);
    }
    let (mut rt, nodes) = start(config, Scenario::n_nodes_synced(2, 3));
    for node in nodes {
        rt.configure(node, |config| config.merges = merges.clone());
    }
    if !matches!(way, Way::Gossip) {
        rt.partition_bidirectional(nodes[0], nodes[1], Some(200.into()));
    }
    for (at, ms, operation) in writes {
        rt.write_at((*ms).into(), nodes[*at], vec![operation.clone()]);
    }
    converge(&mut rt)?;
    let accepted = rt.metrics().protocol.writes_accepted;
    ensure!(accepted == writes.len() as u64, "only {accepted} writes were accepted");
    Ok((rt, nodes))
}

/// Makes two replicas write and merge in every way, and checks both.
fn merged(
    net: &Net,
    writes: &[(usize, u64, Operation)],
    look: impl Fn(&mut State) -> Result<(), Box<dyn std::error::Error>>,
) -> Verdict {
    for way in [Way::Gossip, Way::Deltas, Way::Records] {
        let (rt, nodes) = merge_with(net, way, &bytewise_max_of_all(), writes)?;
        for node in nodes {
            look(&mut rt.node(node).state()?)
                .map_err(|error| format!("{way:?}, {}: {error}", rt.name(node)))?;
        }
    }
    Ok(())
}

pub(crate) fn counters(net: &Net) -> Verdict {
    let likes = GrowCounter::named("likes");
    let stock = Counter::named("stock");
    let writes = [
        (0, 0, likes.add(5)),
        (1, 0, likes.add(3)),
        (0, 0, stock.add(5)),
        (1, 0, stock.add(-3)),
        (1, 2, likes.add(100)),
    ];
    merged(net, &writes, |state| {
        let found = (likes.get(state)?, stock.get(state)?);
        ensure!(found == (108, 2), "the counters are {found:?}, not (108, 2)");
        Ok(())
    })
}

#[test]
fn m1_concurrent_increments_add_up() {
    holds(counters);
}

pub(crate) fn maps(net: &Net) -> Verdict {
    let ages: Map<String, Register<u64>> = Map::named("ages");
    let [a, b] = ["a", "b"].map(str::to_owned);
    let writes = [(0, 0, ages.entry(&a).set(&1)), (1, 0, ages.entry(&b).set(&2))];
    merged(net, &writes, |state| {
        let found = (ages.entry(&a).get(state)?, ages.entry(&b).get(state)?);
        ensure!(found == (Some(1), Some(2)), "the entries are {found:?}");
        let keys = ages.keys(state)?;
        ensure!(keys.len() == 2 && keys.contains(&a) && keys.contains(&b), "the keys are {keys:?}");
        Ok(())
    })
}

#[test]
fn m2_entries_of_different_keys_merge() {
    holds(maps);
}

/// Each side is the later writer of one key, so neither the order of arrival nor the replica id explains
/// the winner.
pub(crate) fn one_key(net: &Net) -> Verdict {
    let titles: Map<u64, Register<String>> = Map::named("titles");
    let put = |key: u64, text: &str| titles.entry(&key).set(&text.to_owned());
    let writes = [
        (0, 0, put(1, "earlier")),
        (1, 3, put(1, "later")),
        (1, 0, put(2, "earlier")),
        (0, 3, put(2, "later")),
    ];
    merged(net, &writes, |state| {
        for (key, expected) in [(1, "later"), (2, "later")] {
            let found = titles.entry(&key).get(state)?;
            ensure!(found.as_deref() == Some(expected), "key {key} holds {found:?}");
        }
        Ok(())
    })
}

#[test]
fn m3_later_write_wins_everywhere() {
    holds(one_key);
}

pub(crate) fn sets(net: &Net) -> Verdict {
    let tags: Set<u64> = Set::named("tags");
    let writes =
        [(0, 0, tags.insert(&1)), (0, 0, tags.insert(&2)), (1, 0, tags.insert(&2)), (1, 0, tags.insert(&3))];
    merged(net, &writes, |state| {
        let mut found = tags.elements(state)?;
        found.sort_unstable();
        ensure!(found == [1, 2, 3], "the set is {found:?}");
        Ok(())
    })
}

#[test]
fn m4_concurrent_adds_form_the_union() {
    holds(sets);
}

const TYPE: &str = "test.bytewise-max";

/// A merge function that takes the greater of each byte: the result is neither of the two values.
fn bytewise_max(a: &[u8], b: &[u8]) -> Vec<u8> {
    (0..a.len().max(b.len())).map(|at| a.get(at).max(b.get(at)).copied().unwrap_or(0)).collect()
}

fn bytewise_max_of_all() -> Merges {
    Merges::default().with(TYPE, &[&[9, 1, 5], &[1, 9], &[]], bytewise_max).unwrap()
}

/// Makes both sides write a value of an application type at `place`, and counts the calls of the merge
/// function of the nodes. The oracle has its own, which is not counted.
fn merged_by_function(net: &Net, place: &Merged) -> Verdict {
    let writes = [(0, 0, place.merge(TYPE, &[9, 1, 5])), (1, 1, place.merge(TYPE, &[1, 9]))];
    for way in [Way::Gossip, Way::Deltas, Way::Records] {
        let calls = Arc::new(AtomicU64::new(0));
        let counted = calls.clone();
        let merges = Merges::default().with(TYPE, &[&[]], move |a: &[u8], b: &[u8]| {
            counted.fetch_add(1, Ordering::Relaxed);
            bytewise_max(a, b)
        })?;
        let tried = calls.load(Ordering::Relaxed);
        let (rt, nodes) = merge_with(net, way, &merges, &writes)?;
        for node in nodes {
            let found = place.get(&mut rt.node(node).state()?)?;
            ensure!(found.as_deref() == Some(&[9, 9, 5]), "{way:?}, {}: {found:?}", rt.name(node));
        }
        let calls = calls.load(Ordering::Relaxed) - tried;
        ensure!(
            calls == 1,
            "{way:?}: {calls} calls of the application's function, whose result both nodes share"
        );
    }
    Ok(())
}

pub(crate) fn custom_types(net: &Net) -> Verdict {
    merged_by_function(net, &Merged::named("shape"))
}

#[test]
fn m5_custom_types_use_their_merge_function() {
    holds(custom_types);
}

pub(crate) fn the_root(net: &Net) -> Verdict {
    merged_by_function(net, &Merged::at(Target::top(EntityId::ROOT)))
}

#[test]
fn m6_root_value_uses_the_merge_function() {
    holds(the_root);
}

pub(crate) fn no_type(net: &Net) -> Verdict {
    let [first, second] = ["first", "second"].map(Opaque::<Vec<u8>>::named);
    let writes = [
        (0, 0, first.set(&vec![9])),
        (1, 3, first.set(&vec![1])),
        (1, 0, second.set(&vec![9])),
        (0, 3, second.set(&vec![1])),
    ];
    merged(net, &writes, |state| {
        for place in [&first, &second] {
            let found = place.get(state)?;
            ensure!(found == Some(vec![1]), "the later write lost: {found:?}");
            let record = state.record(place.target().id)?;
            ensure!(
                record.is_some_and(|record| record.crdt_type() == CrdtType::Opaque),
                "it was given a type"
            );
        }
        let opaque = state.stats()?.opaque;
        ensure!(opaque == 2, "{opaque} values are counted as of unknown type");
        Ok(())
    })
}

#[test]
fn m7_opaque_values_are_last_writer_wins() {
    holds(no_type);
}
