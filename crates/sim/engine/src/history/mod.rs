//! The history of a run: everything that happened, and what made it happen.
//!
//! Off unless [`SimConfig::with_history`](sync_sim_cluster::runtime::SimConfig::with_history) asks for it, and then
//! [`SimRuntime::history`](sync_sim_cluster::runtime::SimRuntime::history) has it. A history is plain data: an [`Entry`] for
//! each event, in order, and a [`Frame`] for each frame, in the order of sending. They refer to each other
//! by number, and a number stays the same however much was forgotten before it. Times are microseconds,
//! nodes are numbers, and names stand beside them, so that whoever reads one needs nothing else.
//!
//! *Happened before* is [`Entry::before`] (the entry before on the same node) and [`Entry::cause`] (the
//! entry that sent the frame, set the timer or scheduled the event), over and over:
//! [`History::past`]; [`History::clocks`] gives the same as vector clocks.

mod entry;
mod recorder;

pub use entry::{Copy, Ended, Entry, Fate, Frame, Note, What};
pub(crate) use recorder::Recorder;

use crate::node_id::NodeId;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Everything that happened in a run, or the last part of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct History {
    /// The nodes' names, by number.
    pub nodes: Vec<String>,
    /// What frames carry, by [`Frame::kind`].
    pub kinds: Vec<String>,
    /// Entries that came first and are not kept: the number of the first that is. Not zero means that
    /// the history is truncated.
    pub forgotten: u64,
    /// The number of the first frame that is kept.
    pub forgotten_frames: u64,
    /// What happened, in order.
    pub entries: VecDeque<Entry>,
    /// The frames, in the order of sending.
    pub frames: VecDeque<Frame>,
    /// How many entries, and how many frames, are kept.
    pub limit: usize,
}

impl History {
    /// Whether its beginning is missing.
    pub const fn is_truncated(&self) -> bool {
        self.forgotten > 0
    }

    /// An entry by its number, if it is kept. O(1).
    pub fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(number.checked_sub(self.forgotten)? as usize)
    }

    /// A frame by its number, if it is kept. O(1).
    pub fn frame(&self, number: u64) -> Option<&Frame> {
        self.frames.get(number.checked_sub(self.forgotten_frames)? as usize)
    }

    /// The name of a node.
    pub fn name(&self, node: NodeId) -> &str {
        self.nodes.get(node.index()).map_or("somebody", String::as_str)
    }

    /// What a frame carries, in a word.
    pub fn kind(&self, frame: &Frame) -> &str {
        self.kinds.get(usize::from(frame.kind)).map_or("Frame", String::as_str)
    }

    /// The entries that one follows from directly: the one before it on its node and the one that caused
    /// it, as far as they are kept.
    pub fn parents(&self, entry: &Entry) -> impl Iterator<Item = &Entry> {
        [entry.before, entry.cause].into_iter().flatten().filter_map(|number| self.entry(number))
    }

    /// All that happened before an entry, and the entry itself, as far as that is kept. O(n log n).
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

    /// The vector clock of each entry that is kept, in order: per node how many of its kept entries had
    /// happened, itself included. O(entries · nodes).
    pub fn clocks(&self) -> Vec<BTreeMap<NodeId, u64>> {
        let mut clocks: Vec<BTreeMap<NodeId, u64>> = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let mut clock = BTreeMap::new();
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

    /// An entry in one line.
    pub fn words(&self, entry: &Entry) -> String {
        entry.words(self)
    }
}
