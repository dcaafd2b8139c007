//! A history contains every event and its cause, and recording it changes nothing.

use sync_sim::history::{EntryKind, Fate, History, Note};
use sync_sim::prelude::*;

fn run(limit: Option<usize>) -> SimRuntime {
    let faults = FaultConfig::heavy_chaos().with_crashes(0.01, 50..300).with_churn(0.005, 50..500);
    let config = SimConfig { history: limit, ..SimConfig::with_seed(11).with_faults(faults) };
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
    rt.apply_workload(&Workload::new(30, SimDuration::from_secs(3)));
    rt.partition_bidirectional("alice", "bob", Some(200.into()));
    assert_eq!(rt.run(), StopCondition::Converged);
    rt
}

fn whole() -> (SimRuntime, History) {
    let rt = run(Some(usize::MAX));
    let history = rt.history().unwrap().clone();
    (rt, history)
}

#[test]
fn recording_a_history_changes_nothing() {
    let (with, _) = whole();
    let without = run(None);
    assert_eq!(with.trace_digest(), without.trace_digest());
    assert!(without.history().is_none());
}

/// Promises: F1
#[test]
fn history_agrees_with_the_fates() {
    let (rt, history) = whole();
    let copies = || history.frames.iter().flat_map(|frame| &frame.copies);
    let count = |fate| copies().filter(|copy| copy.fate == fate).count() as u64;
    let fates = rt.metrics().fates;
    assert_eq!(history.frames.len() as u64, fates.sent);
    assert_eq!(count(Fate::Delivered), fates.delivered);
    assert_eq!(count(Fate::InFlight), fates.in_flight);
    for cause in DropCause::ALL {
        assert_eq!(count(Fate::Dropped(cause)), fates.dropped(cause), "{cause:?}");
    }
    for copy in copies() {
        let arrived = copy.arrival.map(|arrival| history.entry(arrival).unwrap());
        assert!(arrived.is_none_or(|entry| entry.at_us == copy.at_us && entry.arrived().is_some()));
    }
}

#[test]
fn causes_come_before_effects() {
    let (_, history) = whole();
    assert!(!history.is_truncated());
    let clocks = history.clocks();
    let mut caused = 0;
    for entry in &history.entries {
        for parent in history.parents(entry) {
            assert!(parent.number < entry.number && parent.at_us <= entry.at_us);
        }
        if let EntryKind::Arrival { frame, .. } = entry.what {
            let frame = history.frame(frame).unwrap();
            assert_eq!((Some(frame.to), frame.by), (entry.node, entry.cause));
            caused += 1;
        }
    }
    assert!(caused > 100);
    // Both forms of the causal order agree: the set of past entries and the vector clocks.
    let last = history.entries.back().unwrap().number;
    let past = history.past(last);
    let own = |number: u64| {
        let node = history.entry(number).unwrap().node?;
        Some((node, clocks[number as usize][&node]))
    };
    for entry in history.entries.iter().filter(|entry| entry.node.is_some()) {
        let (node, count) = own(entry.number).unwrap();
        let known = clocks[last as usize].get(&node).is_some_and(|known| *known >= count);
        assert_eq!(past.contains(&entry.number), known, "{}", history.words(entry));
    }
}

#[test]
fn writes_sessions_and_faults_are_recorded() {
    let (rt, history) = whole();
    let metrics = rt.metrics();
    let notes = |of: fn(&Note) -> bool| {
        history.entries.iter().flat_map(|entry| &entry.notes).filter(|note| of(note)).count() as u64
    };
    let happened =
        |of: fn(&EntryKind) -> bool| history.entries.iter().filter(|entry| of(&entry.what)).count() as u64;
    assert_eq!(notes(|note| matches!(note, Note::WriteAccepted { .. })), metrics.protocol.writes_accepted);
    assert_eq!(notes(|note| matches!(note, Note::SessionStarted { .. })), metrics.protocol.sessions_started);
    assert_eq!(notes(|note| matches!(note, Note::SessionEnded { .. })), rt.sessions().len() as u64);
    assert_eq!(notes(|note| matches!(note, Note::WentDown)), metrics.effects.node_crashes);
    assert_eq!(notes(|note| matches!(note, Note::CameBack)), metrics.effects.node_restarts);
    assert_eq!(
        happened(|what| matches!(what, EntryKind::PartitionStart { cut: Some(_), .. })),
        metrics.effects.partitions
    );
    assert!(metrics.effects.node_crashes > 0 && metrics.effects.partitions > 1);
}

#[test]
fn a_limited_history_is_truncated() {
    let (_, whole) = whole();
    let rt = run(Some(50));
    let part = rt.history().unwrap();
    assert!(part.is_truncated());
    assert_eq!((part.entries.len(), part.frames.len()), (50, 50));
    let kept = whole.entries.iter().skip(whole.entries.len() - 50);
    assert!(part.entries.iter().eq(kept));
    assert!(part.entry(0).is_none() && part.entry(part.forgotten).is_some());
}
