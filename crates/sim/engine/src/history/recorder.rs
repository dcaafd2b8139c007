//! Writing a history down, while the run goes on.

use crate::history::History;
use crate::history::entry::{Copy, Entry, Fate, Frame, Note, What};
use crate::network::DropCause;
use crate::node_id::NodeId;
use std::collections::BTreeMap;
use syncline_types::SimTime;

/// What waits in the queue, and why.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    cause: Option<u64>,
    /// The frame and its copy, if it is an arrival.
    frame: Option<(u64, u8)>,
}

/// A history that is being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    history: History,
    /// The entry that is going on.
    open: Option<u64>,
    /// By the number in the queue.
    waiting: BTreeMap<u64, Waiting>,
    /// Whether the frame that is arriving has to wait.
    put_off: bool,
    /// The last entry of each node.
    last: BTreeMap<NodeId, u64>,
}

impl Recorder {
    /// One that keeps the last `limit` entries and frames.
    pub(crate) fn new(limit: usize) -> Self {
        Self { history: History { limit: limit.max(1), ..History::default() }, ..Self::default() }
    }

    pub(crate) const fn history(&self) -> &History {
        &self.history
    }

    pub(crate) const fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    /// An event begins: `number` is its place in the queue, if it came from there.
    pub(crate) fn open(
        &mut self,
        (event, at): (u64, SimTime),
        number: Option<u64>,
        node: Option<NodeId>,
        what: What,
    ) {
        let waited = number.and_then(|number| self.waiting.remove(&number));
        let what = match waited.and_then(|waited| waited.frame) {
            Some((frame, copy)) => What::Arrival { frame, copy },
            None => what,
        };
        let history = &mut self.history;
        let entry = Entry {
            number: history.forgotten + history.entries.len() as u64,
            event,
            at_us: at.as_micros(),
            node,
            what,
            cause: waited.and_then(|waited| waited.cause),
            before: node.and_then(|node| self.last.get(&node).copied()),
            digest: 0,
            changed: false,
            sent: Vec::new(),
            notes: Vec::new(),
        };
        self.open = Some(entry.number);
        if let Some(node) = node {
            self.last.insert(node, entry.number);
        }
        history.entries.push_back(entry);
        if history.entries.len() > history.limit {
            history.entries.pop_front();
            history.forgotten += 1;
        }
    }

    /// The event that was going on is over.
    pub(crate) fn close(&mut self, digest: u64, changed: bool) {
        self.open = None;
        if let Some(entry) = self.history.entries.back_mut() {
            (entry.digest, entry.changed) = (digest, changed);
        }
    }

    /// The event that was going on came to nothing: it is as if it had not been.
    pub(crate) fn discard(&mut self) {
        self.open = None;
        let Some(entry) = self.history.entries.pop_back() else { return };
        if let Some(node) = entry.node {
            match entry.before {
                Some(before) => self.last.insert(node, before),
                None => self.last.remove(&node),
            };
        }
    }

    /// What is going on scheduled something.
    pub(crate) fn scheduled(&mut self, number: u64) {
        self.waiting.insert(number, Waiting { cause: self.open, frame: None });
    }

    /// What is going on sent a frame.
    pub(crate) fn sent(&mut self, frame: Frame) {
        let history = &mut self.history;
        let number = history.forgotten_frames + history.frames.len() as u64;
        history.frames.push_back(Frame { number, by: self.open, ..frame });
        if let Some(entry) = self.open.and_then(|open| open.checked_sub(history.forgotten))
            && let Some(entry) = history.entries.get_mut(entry as usize)
        {
            entry.sent.push(number);
        }
        if history.frames.len() > history.limit {
            history.frames.pop_front();
            history.forgotten_frames += 1;
        }
    }

    /// A copy of the frame that was sent last is on its way.
    pub(crate) fn on_its_way(&mut self, number: u64, copy: usize) {
        let history = &self.history;
        let last = (history.forgotten_frames + history.frames.len() as u64).saturating_sub(1);
        self.waiting.insert(number, Waiting { cause: self.open, frame: Some((last, copy as u8)) });
    }

    /// What is arriving comes again later, as what was scheduled last.
    pub(crate) fn put_off(&mut self) {
        let Some(&Entry { what: What::Arrival { frame, copy }, .. }) = self.history.entries.back() else {
            return;
        };
        if let Some((_, waiting)) = self.waiting.iter_mut().next_back() {
            waiting.frame = Some((frame, copy));
        }
        self.put_off = true;
    }

    /// What became of the frame that is arriving.
    pub(crate) fn arrived(&mut self, accepted: bool, dropped: Option<DropCause>) {
        if std::mem::take(&mut self.put_off) {
            return;
        }
        let history = &mut self.history;
        let Some(&Entry { number, what: What::Arrival { frame, copy }, .. }) = history.entries.back() else {
            return;
        };
        let place = frame.checked_sub(history.forgotten_frames);
        let frame = place.and_then(|place| history.frames.get_mut(place as usize));
        if let Some(copy) = frame.and_then(|frame| frame.copies.get_mut(usize::from(copy))) {
            copy.arrival = Some(number);
            copy.fate = match (accepted, dropped) {
                (true, _) => Fate::Delivered,
                (false, Some(cause)) => Fate::Dropped(cause),
                (false, None) => Fate::Unrecorded,
            };
        }
    }

    /// A frame that had arrived, and waited for its node to attend to it, is lost.
    pub(crate) fn lost_waiting(&mut self, number: u64, cause: Option<DropCause>) {
        let waited = self.waiting.remove(&number).and_then(|waited| waited.frame);
        let Some((frame, copy)) = waited else { return };
        let place = frame.checked_sub(self.history.forgotten_frames);
        let frame = place.and_then(|place| self.history.frames.get_mut(place as usize));
        if let Some(copy) = frame.and_then(|frame| frame.copies.get_mut(usize::from(copy))) {
            copy.fate = cause.map_or(Fate::Unrecorded, Fate::Dropped);
        }
    }

    /// Changes what the entry that is going on is.
    pub(crate) fn restate(&mut self, what: What) {
        if let Some(entry) = self.history.entries.back_mut() {
            entry.what = what;
        }
    }

    /// The last entry of a node has something to say.
    pub(crate) fn note(&mut self, node: NodeId, note: Note) {
        let history = &mut self.history;
        let place = self.last.get(&node).and_then(|last| last.checked_sub(history.forgotten));
        if let Some(entry) = place.and_then(|place| history.entries.get_mut(place as usize)) {
            entry.notes.push(note);
        }
    }
}

impl Copy {
    /// A copy that is on its way.
    pub(crate) const fn on_its_way(at: SimTime, corrupt: bool) -> Self {
        Self { at_us: at.as_micros(), corrupt, fate: Fate::InFlight, arrival: None }
    }

    /// A frame that is dropped as it is sent.
    pub(crate) const fn dropped(at: SimTime, cause: Option<DropCause>) -> Self {
        let fate = match cause {
            Some(cause) => Fate::Dropped(cause),
            None => Fate::Unrecorded,
        };
        Self { at_us: at.as_micros(), corrupt: false, fate, arrival: None }
    }
}
