//! B1 to B3: writes that arrive while a replica syncs. A crash may lose the buffer; a sync finds its
//! deltas again. Crashes are part of I6.

use super::{Net, Verdict, converge, holds, run_until, set, start};
use sync_sim::node::replica_id;
use sync_sim::prelude::*;
use syncline_sync::{Delta, DeltaLog, Dot, LocalSyncState, staged};
use syncline_types::Decode;

/// Enough entities that a snapshot of them takes several pages.
pub(crate) const SEVERAL_PAGES: usize = 1_500;

/// Whether a node is taking a snapshot.
pub(crate) fn takes_a_snapshot(rt: &SimRuntime, node: NodeId) -> bool {
    let busy = rt.node(node).replica().is_some_and(|replica| replica.syncing_with().next().is_some());
    busy && matches!(staged::Transfer::read(rt.node(node).disk()), Ok(Some(_)))
}

fn waiting(rt: &SimRuntime, node: NodeId) -> usize {
    rt.node(node).replica().map_or(0, |replica| replica.pending().buffered)
}

/// Makes the writers write in turn, every few milliseconds from the middle of a snapshot on, until
/// `done`, which must become true during the writes.
fn write_during_snapshot(
    rt: &mut SimRuntime,
    fresh: NodeId,
    writers: &[NodeId],
    pause_ms: u64,
    done: impl Fn(&SimRuntime) -> bool,
) -> Verdict {
    run_until(rt, "a snapshot under way", |rt| takes_a_snapshot(rt, fresh))?;
    for (key, writer) in (1..1_000).zip(writers.iter().cycle()) {
        let next = rt.now() + SimDuration::from_millis(pause_ms);
        rt.write_at(next, *writer, vec![set(key, "meanwhile")]);
        run_until(rt, "a write", |rt| rt.now() >= next || done(rt))?;
        if done(rt) {
            return Ok(());
        }
    }
    Err("a thousand writes, and it never came to this".into())
}

pub(crate) fn during_a_snapshot(net: &Net) -> Verdict {
    let config = net.config_without_crashes();
    let (mut rt, [full, fresh]) = start(config, Scenario::fresh_joiner(2, SEVERAL_PAGES));
    write_during_snapshot(&mut rt, fresh, &[full], 5, |rt| waiting(rt, fresh) > 0)?;
    ensure!(rt.digest(fresh).is_zero(), "a delta was applied to half a snapshot");
    converge(&mut rt)?;
    let Some(replica) = rt.node(fresh).replica() else { return Err("it is down".into()) };
    let ledger = replica.buffer_ledger();
    ensure!(replica.pending().buffered == 0, "deltas still wait");
    ensure!(ledger.added > 0 && ledger.added == ledger.replayed + ledger.superseded, "{ledger:?}");
    // If a later sync brought the same writes first, nothing is left to replay.
    ensure!(ledger.replayed > 0 || !net.is_clean(), "nothing was replayed: {ledger:?}");
    let expected = SEVERAL_PAGES + rt.metrics().protocol.writes_accepted as usize;
    ensure!(rt.entity_count(fresh) == expected, "{} entities of {expected}", rt.entity_count(fresh));
    Ok(())
}

#[test]
fn b1_deltas_during_a_snapshot_are_replayed() {
    holds(during_a_snapshot);
}

/// Whether the log of a node is causally closed: every retained delta has its parents covered.
pub(crate) fn is_causally_closed(rt: &SimRuntime, node: NodeId) -> Verdict {
    let covered = rt.node(node).covered();
    for author in rt.node_ids().into_iter().map(replica_id) {
        for seq in 1..=covered.of(author) {
            let Some(bytes) = DeltaLog::read(rt.node(node).disk(), Dot { author, seq })? else { continue };
            let delta = Delta::from_bytes(&bytes)?;
            for parent in &delta.parents {
                ensure!(covered.covers(parent.dot), "{:?} was applied before {:?}", delta.dot, parent.dot);
            }
        }
    }
    Ok(())
}

/// As [`converge`], and checks after each event that all logs are causally closed.
pub(crate) fn converge_in_causal_order(rt: &mut SimRuntime) -> Verdict {
    let nodes = rt.node_ids();
    let mut broken = None;
    let mut logs = vec![Default::default(); nodes.len()];
    let stop = rt.run_until(|rt| {
        for (node, known) in nodes.iter().zip(&mut logs) {
            let covered = rt.node(*node).covered();
            if *known != covered {
                *known = covered;
                broken = is_causally_closed(rt, *node).err();
            }
            if broken.is_some() {
                return true;
            }
        }
        false
    });
    match broken {
        Some(error) => Err(error),
        None => {
            ensure!(stop == StopCondition::Converged, "{stop}\n{}", rt.explain());
            Ok(())
        }
    }
}

/// Two authors, so that deltas have parents of the other author, on a network that reorders frames.
pub(crate) fn out_of_order(net: &Net) -> Verdict {
    let mut config = net.config_without_crashes();
    config.faults = config.faults.with_reorder_window(100);
    let (mut rt, [a, b, fresh]) = start(config, Scenario::fresh_joiner(3, SEVERAL_PAGES));
    write_during_snapshot(&mut rt, fresh, &[a, b], 10, |rt| waiting(rt, fresh) > 2)?;
    converge_in_causal_order(&mut rt)?;
    ensure!(rt.metrics().effects.messages_reordered > 0, "all came in order");
    let expected = SEVERAL_PAGES + rt.metrics().protocol.writes_accepted as usize;
    ensure!(rt.entity_count(fresh) == expected, "{} entities of {expected}", rt.entity_count(fresh));
    Ok(())
}

#[test]
fn b2_buffered_deltas_apply_in_causal_order() {
    holds(out_of_order);
}

pub(crate) fn very_many(net: &Net) -> Verdict {
    let config = net.config_without_crashes().with_buffer_capacity(8);
    let (mut rt, [full, fresh]) = start(config, Scenario::fresh_joiner(2, SEVERAL_PAGES));
    write_during_snapshot(&mut rt, fresh, &[full], 2, |rt| rt.metrics().effects.buffer_drops > 0)?;
    let is_pending = rt.node(fresh).replica().is_some_and(|replica| replica.pending().pending_syncs > 0);
    ensure!(is_pending, "a delta found no room and no sync is pending for it");
    for key in 1_000..1_300 {
        rt.write_at(rt.now() + SimDuration::from_millis(key - 1_000), full, vec![set(key, "and more")]);
    }
    converge(&mut rt)?;
    let expected = SEVERAL_PAGES + rt.metrics().protocol.writes_accepted as usize;
    ensure!(expected > SEVERAL_PAGES + 300, "only {expected} entities were written");
    ensure!(rt.entity_count(fresh) == expected, "{} entities of {expected}", rt.entity_count(fresh));
    Ok(())
}

#[test]
fn b3_buffer_overflow_loses_no_delta() {
    holds(very_many);
}
