//! The history of a run: every event, and what caused it.
//!
//! [`World::record_history`](crate::world::World::record_history) starts it, and
//! [`World::history`](crate::world::World::history) returns it. A history is plain data: a [`HistoryEntry`]
//! for each event, in order, and a [`FrameRecord`] for each frame, in the order of sending. They refer to
//! each other by number, and a number stays the same when earlier entries are dropped. Times are in
//! microseconds and nodes are numbers; the names of nodes and of kinds of frames are stored beside them, so
//! that a history can be read without anything else.
//!
//! The causal order (*happened before*, Lamport 1978) is the transitive closure of [`HistoryEntry::before`]
//! (the previous entry of the same node) and [`HistoryEntry::cause`] (the entry that sent the frame, set the
//! timer or scheduled the event). [`History::past`] computes it for one entry, [`History::clocks`] as vector
//! clocks.

mod entry;
mod recorder;

pub use entry::{EntryKind, Fate, FrameCopy, FrameRecord, HistoryEntry, Note, SessionEnd};
pub(crate) use recorder::Recorder;

use crate::network::PartitionSpec;
use crate::node_id::NodeId;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// All events of a run, or the last part of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct History {
    /// The nodes' names, by number.
    pub nodes: Vec<String>,
    /// The names of the kinds of messages, by [`FrameRecord::kind`].
    pub kinds: Vec<String>,
    /// How many entries were dropped, which is the number of the first stored one. If it is not zero, the
    /// history is truncated.
    pub forgotten: u64,
    /// How many frames were dropped, which is the number of the first stored one.
    pub forgotten_frames: u64,
    /// The stored entries, in the order of events.
    pub entries: VecDeque<HistoryEntry>,
    /// The stored frames, in the order of sending.
    pub frames: VecDeque<FrameRecord>,
    /// The maximum number of stored entries, and of stored frames.
    pub limit: usize,
}

impl History {
    /// Whether its beginning is missing.
    pub const fn is_truncated(&self) -> bool {
        self.forgotten > 0
    }

    /// The entry with a number, if it is stored. O(1).
    pub fn entry(&self, number: u64) -> Option<&HistoryEntry> {
        self.entries.get(number.checked_sub(self.forgotten)? as usize)
    }

    /// The frame with a number, if it is stored. O(1).
    pub fn frame(&self, number: u64) -> Option<&FrameRecord> {
        self.frames.get(number.checked_sub(self.forgotten_frames)? as usize)
    }

    /// The name of a node.
    pub fn name(&self, node: NodeId) -> &str {
        self.nodes.get(node.index()).map_or("somebody", String::as_str)
    }

    /// The name of the kind of message that a frame carries.
    pub fn kind(&self, frame: &FrameRecord) -> &str {
        self.kinds.get(usize::from(frame.kind)).map_or("Frame", String::as_str)
    }

    /// The direct predecessors of an entry in causal order, as far as they are stored: the previous one of
    /// its node, and its cause.
    pub fn parents(&self, entry: &HistoryEntry) -> impl Iterator<Item = &HistoryEntry> {
        [entry.before, entry.cause].into_iter().flatten().filter_map(|number| self.entry(number))
    }

    /// The numbers of all stored entries that happened before an entry, and its own. O(n log n).
    pub fn past(&self, number: u64) -> BTreeSet<u64> {
        let mut past = BTreeSet::new();
        let mut next: Vec<u64> = self.entry(number).map(|entry| entry.number).into_iter().collect();
        while let Some(number) = next.pop() {
            if past.insert(number)
                && let Some(entry) = self.entry(number)
            {
                next.extend(self.parents(entry).map(|parent| parent.number));
            }
        }
        past
    }

    /// The vector clock of each stored entry, in order: per node the number of its stored entries that
    /// happened before, the entry itself included. O(entries · nodes).
    pub fn clocks(&self) -> Vec<BTreeMap<NodeId, u64>> {
        let mut clocks: Vec<BTreeMap<NodeId, u64>> = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let mut clock = BTreeMap::new();
            // A parent has a smaller number, so that its clock is complete.
            for parent in self.parents(entry) {
                let at = (parent.number - self.forgotten) as usize;
                for (&node, &count) in clocks.get(at).into_iter().flatten() {
                    let own = clock.entry(node).or_insert(0);
                    *own = count.max(*own);
                }
            }
            if let Some(node) = entry.node {
                *clock.entry(node).or_insert(0) += 1;
            }
            clocks.push(clock);
        }
        clocks
    }

    /// Who is separated by a partition, in words.
    pub fn cut_words(&self, cut: &PartitionSpec) -> String {
        cut.words(&|node| self.name(node).to_owned())
    }

    /// A description of an entry, in one line.
    pub fn words(&self, entry: &HistoryEntry) -> String {
        entry.words(self)
    }
}
