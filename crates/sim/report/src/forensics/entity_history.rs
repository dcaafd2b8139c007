//! What happened to one entity.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use sync_sim_cluster::node::SimReplica;
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_engine::history::{EntryKind, Fate, FrameRecord, History, HistoryEntry};
use sync_sim_engine::node_id::NodeId;
use syncline_types::EntityId;

/// Lines of a slice that are shown at most: the last ones.
const MOST: usize = 40;
/// Faults in a slice: the last ones.
const FAULTS: usize = 8;

/// A change to the record of the entity on one node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Touch {
    /// The entry of the history that made it; its number.
    pub entry: u64,
    /// When, in microseconds.
    pub at_us: u64,
    /// Where.
    pub node: NodeId,
    /// By name.
    pub name: String,
    /// How it came: by a write, by a delta, by a session.
    pub how: String,
    /// The record after it, in words; `None` if there was none any more.
    pub record: Option<String>,
}

/// One entry of a history, in words.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Line {
    /// The number of the entry.
    pub entry: u64,
    /// The number of the event.
    pub event: u64,
    /// What happened.
    pub words: String,
    /// Frames that it sent and that were lost, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
}

impl Line {
    /// An entry in words, without what it lost.
    pub fn of(history: &History, entry: &HistoryEntry) -> Self {
        Self { entry: entry.number, event: entry.event, words: history.words(entry), lost: Vec::new() }
    }
}

/// The changes to one entity so far, on all nodes.
pub(super) struct Trail {
    context: usize,
    entity: Option<EntityId>,
    records: BTreeMap<NodeId, Option<String>>,
    touches: Vec<Touch>,
    seen: u64,
}

impl Trail {
    pub(crate) const fn new(context: usize, entity: Option<EntityId>) -> Self {
        Self { context, entity, records: BTreeMap::new(), touches: Vec::new(), seen: 0 }
    }

    /// Looks at what has happened since it last looked: one event at most.
    pub(super) fn look(&mut self, rt: &SimRuntime) {
        let (Some(entity), Some(history)) = (self.entity, rt.history()) else { return };
        if self.records.is_empty() {
            // What nodes begin with came from nowhere.
            let record = |node| (node, record_of(rt.node(node).in_context(self.context), entity));
            self.records.extend(rt.node_ids().into_iter().map(record));
        }
        let next = history.forgotten + history.entries.len() as u64;
        let new = std::mem::replace(&mut self.seen, next)..next;
        for entry in new.filter_map(|number| history.entry(number)) {
            // A crash shows on the disk what memory had hidden, and a start what it had missed.
            let may_change =
                entry.changed || !matches!(entry.what, EntryKind::Arrival { .. } | EntryKind::Timer { .. });
            let Some(node) = entry.node.filter(|_| may_change) else { continue };
            let record = record_of(rt.node(node).in_context(self.context), entity);
            if self.records.get(&node) != Some(&record) {
                self.records.insert(node, record.clone());
                self.touches.push(Touch {
                    entry: entry.number,
                    at_us: entry.at_us,
                    node,
                    name: rt.name(node),
                    how: how(history, entry),
                    record,
                });
            }
        }
    }

    /// The changes on these nodes.
    pub(super) fn into_touches(self, nodes: &[NodeId]) -> Vec<Touch> {
        self.touches.into_iter().filter(|touch| nodes.contains(&touch.node)).collect()
    }
}

fn record_of(replica: &SimReplica, entity: EntityId) -> Option<String> {
    replica.record(entity).ok().flatten().map(|record| record.to_string())
}

fn how(history: &History, entry: &HistoryEntry) -> String {
    let Some(frame) = entry.arrived().and_then(|frame| history.frame(frame)) else {
        return match entry.what {
            EntryKind::Write => "written here".to_owned(),
            _ => "by itself".to_owned(),
        };
    };
    let from = history.name(frame.from);
    match history.kind(frame) {
        "Delta" | "DeltaFetch" => format!("a delta from {from}"),
        kind => format!("a session with {from} ({kind})"),
    }
}

/// The entries that concern the entity and happened before the turn, the turn itself, and the last faults
/// on `nodes` between. Without an entity: the turn, and what led to it directly.
pub(super) fn slice(history: &History, trail: &Trail, turn: Option<u64>, nodes: &[NodeId]) -> Vec<Line> {
    let last = turn.or_else(|| history.entries.back().map(|entry| entry.number));
    let Some(last) = last else { return Vec::new() };
    let mut chosen: BTreeSet<u64> = BTreeSet::from_iter(turn);
    let past = history.past(last);
    // Of the touches, those that could have made a difference; and each node's last, which made it what it is.
    chosen.extend(trail.touches.iter().map(|touch| touch.entry).filter(|entry| past.contains(entry)));
    for node in nodes {
        let own = trail.touches.iter().filter(|touch| touch.node == *node && touch.entry <= last);
        chosen.extend(own.map(|touch| touch.entry).max());
    }
    if trail.touches.is_empty() {
        let direct = turn.and_then(|turn| history.entry(turn)).map(|entry| chain(history, entry));
        chosen.extend(direct.into_iter().flatten());
    }
    let first = chosen.first().copied().unwrap_or(last);
    let here = |entry: &HistoryEntry| entry.node.is_none_or(|node| nodes.is_empty() || nodes.contains(&node));
    let faults = history.entries.iter().filter(|entry| (first..=last).contains(&entry.number));
    let faults: Vec<u64> =
        faults.filter(|entry| entry.is_fault() && here(entry)).map(|entry| entry.number).collect();
    chosen.extend(faults.iter().rev().take(FAULTS));
    let skipped = chosen.len().saturating_sub(MOST);
    let lines = chosen.into_iter().skip(skipped).filter_map(|number| history.entry(number));
    lines.map(|entry| Line { lost: lost(history, entry), ..Line::of(history, entry) }).collect()
}

/// What led to an entry directly: cause by cause.
fn chain(history: &History, entry: &HistoryEntry) -> Vec<u64> {
    let mut chain = vec![entry.number];
    let mut next = entry.cause;
    while let Some(entry) = next.and_then(|number| history.entry(number)).filter(|_| chain.len() < MOST / 2) {
        chain.push(entry.number);
        next = entry.cause;
    }
    chain
}

/// The frames that an entry sent and that nobody took in.
fn lost(history: &History, entry: &HistoryEntry) -> Vec<String> {
    let frames = entry.sent.iter().filter_map(|frame| history.frame(*frame));
    let words = |frame: &FrameRecord| {
        let arrives =
            frame.copies.iter().any(|copy| !matches!(copy.fate, Fate::Dropped(_) | Fate::Unrecorded));
        let cause = frame.copies.iter().find_map(|copy| match copy.fate {
            Fate::Dropped(cause) => Some(cause.words()),
            _ => None,
        });
        let cause = cause.unwrap_or("and nobody knows where");
        (!arrives && !frame.housekeeping).then(|| {
            format!("{} {} to {}: {cause}", history.kind(frame), frame.number, history.name(frame.to))
        })
    };
    frames.filter_map(words).collect()
}
