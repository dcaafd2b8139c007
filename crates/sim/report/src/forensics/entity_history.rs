//! The history of one entity: each change of its record on each node, and the causal slice of the run that
//! explains these changes.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use sync_sim_cluster::node::SimReplica;
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_engine::history::{EntryKind, Fate, FrameRecord, History, HistoryEntry};
use sync_sim_engine::node_id::NodeId;
use syncline_types::EntityId;

/// The most lines of a slice; the last ones are shown.
const MAX_LINES: usize = 40;
/// The most faults in a slice; the last ones are shown.
const MAX_FAULTS: usize = 8;

/// A change of the record of the entity on one node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RecordChange {
    /// The number of the history entry that made the change.
    pub entry: u64,
    /// The virtual time of the change, in microseconds.
    pub at_us: u64,
    /// The node whose record changed.
    pub node: NodeId,
    /// The name of that node.
    pub name: String,
    /// What caused the change: a local write, a delta or a sync session.
    pub how: String,
    /// The record after the change as text; `None` if the node has no such record any more.
    pub record: Option<String>,
}

/// One entry of a history as text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HistoryLine {
    /// The number of the entry in the history.
    pub entry: u64,
    /// The number of the simulator event that the entry belongs to.
    pub event: u64,
    /// A sentence that says what happened.
    pub words: String,
    /// The frames that this entry sent and no receiver accepted, as text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
}

impl HistoryLine {
    /// The text of an entry, without the frames that were lost.
    pub fn of(history: &History, entry: &HistoryEntry) -> Self {
        Self { entry: entry.number, event: entry.event, words: history.words(entry), lost: Vec::new() }
    }
}

/// Observes a run event by event and records each change of one entity on any node.
pub(super) struct ChangeTracker {
    context: usize,
    entity: Option<EntityId>,
    records: BTreeMap<NodeId, Option<String>>,
    changes: Vec<RecordChange>,
    seen: u64,
}

impl ChangeTracker {
    pub(crate) const fn new(context: usize, entity: Option<EntityId>) -> Self {
        Self { context, entity, records: BTreeMap::new(), changes: Vec::new(), seen: 0 }
    }

    /// Processes the history entries since the last call. The caller observes after every event: the
    /// tracker attributes a change to the entry that it sees first, so observing less often would blame the
    /// wrong entry.
    pub(super) fn observe(&mut self, rt: &SimRuntime) {
        // Without a differing entity, the report explains the turn alone.
        let Some(entity) = self.entity else { return };
        let history = rt.history().expect("the run that the tracker observes keeps a history");
        if self.records.is_empty() {
            // The initial records were there before the first event: they are the baseline, not changes.
            let record = |node| (node, record_of(rt.node(node).in_context(self.context), entity));
            self.records.extend(rt.node_ids().into_iter().map(record));
        }
        let next = history.forgotten + history.entries.len() as u64;
        assert!(self.seen <= next, "a history only grows: {} entries were seen, {next} are there", self.seen);
        let new = std::mem::replace(&mut self.seen, next)..next;
        for entry in new.filter_map(|number| history.entry(number)) {
            // Only entries that can change a record are worth a read. Besides entries that say so, a crash
            // reveals the durable state behind the memory, and a restart loads it.
            let may_change =
                entry.changed || !matches!(entry.what, EntryKind::Arrival { .. } | EntryKind::Timer { .. });
            let Some(node) = entry.node.filter(|_| may_change) else { continue };
            let record = record_of(rt.node(node).in_context(self.context), entity);
            if self.records.get(&node) != Some(&record) {
                self.records.insert(node, record.clone());
                self.changes.push(RecordChange {
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

    /// The recorded changes on the given nodes, in the order in which they happened.
    pub(super) fn into_changes(self, nodes: &[NodeId]) -> Vec<RecordChange> {
        self.changes.into_iter().filter(|change| nodes.contains(&change.node)).collect()
    }
}

/// The record of the entity as text; a record that cannot be read counts as missing, since a damaged disk
/// may be the very subject of the report.
fn record_of(replica: &SimReplica, entity: EntityId) -> Option<String> {
    replica.record(entity).ok().flatten().map(|record| record.to_string())
}

/// The cause of an entry in words: a frame with its sender, or the node itself.
fn how(history: &History, entry: &HistoryEntry) -> String {
    let Some(frame) = entry.arrived().and_then(|frame| history.frame(frame)) else {
        return match entry.what {
            EntryKind::Write { .. } => "written here".to_owned(),
            _ => "by itself".to_owned(),
        };
    };
    let from = history.name(frame.from);
    match history.kind(frame) {
        "Delta" | "DeltaFetch" => format!("a delta from {from}"),
        kind => format!("a session with {from} ({kind})"),
    }
}

/// The causal slice of a run: the entries that changed the entity and are in the causal past of the turn,
/// the turn itself, and the last faults on `nodes` between them. If the entity never changed: the turn and
/// the chain of its direct causes.
pub(super) fn slice(
    history: &History,
    tracker: &ChangeTracker,
    turn: Option<u64>,
    nodes: &[NodeId],
) -> Vec<HistoryLine> {
    let last = turn.or_else(|| history.entries.back().map(|entry| entry.number));
    let Some(last) = last else { return Vec::new() };
    let mut chosen: BTreeSet<u64> = BTreeSet::from_iter(turn);
    let past = history.past(last);
    // Only changes in the causal past of the turn can have influenced it. The last change on each node is
    // included as well, since it explains the state that the node ended with.
    chosen.extend(tracker.changes.iter().map(|change| change.entry).filter(|entry| past.contains(entry)));
    for node in nodes {
        let own = tracker.changes.iter().filter(|change| change.node == *node && change.entry <= last);
        chosen.extend(own.map(|change| change.entry).max());
    }
    if tracker.changes.is_empty() {
        let direct = turn.and_then(|turn| history.entry(turn)).map(|entry| chain(history, entry));
        chosen.extend(direct.into_iter().flatten());
    }
    let first = chosen.first().copied().unwrap_or(last);
    let here = |entry: &HistoryEntry| entry.node.is_none_or(|node| nodes.is_empty() || nodes.contains(&node));
    let faults = history.entries.iter().filter(|entry| (first..=last).contains(&entry.number));
    let faults: Vec<u64> =
        faults.filter(|entry| entry.is_fault() && here(entry)).map(|entry| entry.number).collect();
    chosen.extend(faults.iter().rev().take(MAX_FAULTS));
    let skipped = chosen.len().saturating_sub(MAX_LINES);
    let lines = chosen.into_iter().skip(skipped).filter_map(|number| history.entry(number));
    lines.map(|entry| HistoryLine { lost: lost(history, entry), ..HistoryLine::of(history, entry) }).collect()
}

/// The entry and its chain of direct causes, nearest first, at most `MAX_LINES / 2` of them.
fn chain(history: &History, entry: &HistoryEntry) -> Vec<u64> {
    let mut chain = vec![entry.number];
    let mut next = entry.cause;
    while let Some(entry) =
        next.and_then(|number| history.entry(number)).filter(|_| chain.len() < MAX_LINES / 2)
    {
        chain.push(entry.number);
        next = entry.cause;
    }
    chain
}

/// The frames that an entry sent and that no receiver accepted, as text.
fn lost(history: &History, entry: &HistoryEntry) -> Vec<String> {
    let frames = entry.sent.iter().filter_map(|frame| history.frame(*frame));
    let words = |frame: &FrameRecord| {
        let arrives =
            frame.copies.iter().any(|copy| !matches!(copy.fate, Fate::Dropped(_) | Fate::Unrecorded));
        let cause = frame.copies.iter().find_map(|copy| match copy.fate {
            Fate::Dropped(cause) => Some(cause.words()),
            _ => None,
        });
        let cause = cause.unwrap_or("at an unknown place");
        (!arrives && !frame.housekeeping).then(|| {
            format!("{} {} to {}: {cause}", history.kind(frame), frame.number, history.name(frame.to))
        })
    };
    frames.filter_map(words).collect()
}
