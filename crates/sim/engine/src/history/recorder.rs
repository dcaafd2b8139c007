//! Records a history while the run goes on.

use crate::history::History;
use crate::history::entry::{EntryKind, Fate, FrameCopy, FrameRecord, HistoryEntry, Note};
use crate::network::DropCause;
use crate::node_id::NodeId;
use std::collections::BTreeMap;
use syncline_types::SimTime;

/// The origin of an event in the queue.
#[derive(Clone, Copy, Debug)]
struct Scheduled {
    /// The entry that scheduled the event.
    cause: Option<u64>,
    /// The number of the frame and the index of the copy, if the event is an arrival.
    frame: Option<(u64, u8)>,
}

/// A history that is being recorded.
///
/// Invariant: the number of an entry is its index in the history plus the number of entries dropped before
/// it, and the same holds for frames. References by number stay valid when old entries are dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    history: History,
    /// The number of the current entry.
    open: Option<u64>,
    /// The origins of scheduled events, by their numbers in the queue.
    waiting: BTreeMap<u64, Scheduled>,
    /// Whether the frame of the current entry arrives again later.
    is_deferred: bool,
    /// The number of the last entry of each node.
    last: BTreeMap<NodeId, u64>,
}

impl Recorder {
    /// A recorder that stores the last `limit` entries and frames.
    pub(crate) fn new(limit: usize) -> Self {
        Self { history: History { limit: limit.max(1), ..History::default() }, ..Self::default() }
    }

    pub(crate) const fn history(&self) -> &History {
        &self.history
    }

    pub(crate) const fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    /// Opens an entry. `number` is the event's number in the queue, if it came from there.
    pub(crate) fn open(
        &mut self,
        (event, at): (u64, SimTime),
        number: Option<u64>,
        node: Option<NodeId>,
        what: EntryKind,
    ) {
        assert!(self.open.is_none(), "one entry is recorded at a time");
        let origin = number.and_then(|number| self.waiting.remove(&number));
        let what = match origin.and_then(|origin| origin.frame) {
            Some((frame, copy)) => EntryKind::Arrival { frame, copy },
            None => what,
        };
        let history = &mut self.history;
        let entry = HistoryEntry {
            number: history.forgotten + history.entries.len() as u64,
            event,
            at_us: at.as_micros(),
            node,
            what,
            cause: origin.and_then(|origin| origin.cause),
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

    /// Closes the current entry. `digest` is that of its node after the event.
    pub(crate) fn close(&mut self, digest: u64, changed: bool) {
        self.open = None;
        if let Some(entry) = self.history.entries.back_mut() {
            entry.digest = digest;
            entry.changed = changed;
        }
    }

    /// Removes the current entry: its event did nothing.
    pub(crate) fn discard(&mut self) {
        // The next entry gets the same number. Nothing refers to it: the event scheduled and sent nothing.
        self.open = None;
        let Some(entry) = self.history.entries.pop_back() else { unreachable!("an open entry is stored") };
        if let Some(node) = entry.node {
            match entry.before {
                Some(before) => self.last.insert(node, before),
                None => self.last.remove(&node),
            };
        }
    }

    /// The current entry scheduled an event.
    pub(crate) fn scheduled(&mut self, number: u64) {
        self.waiting.insert(number, Scheduled { cause: self.open, frame: None });
    }

    /// The current entry sent a frame.
    pub(crate) fn sent(&mut self, frame: FrameRecord) {
        let history = &mut self.history;
        let number = history.forgotten_frames + history.frames.len() as u64;
        history.frames.push_back(FrameRecord { number, by: self.open, ..frame });
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

    /// A copy of the frame that was sent last was scheduled.
    pub(crate) fn copy_in_flight(&mut self, number: u64, copy: usize) {
        let history = &self.history;
        let last = (history.forgotten_frames + history.frames.len() as u64).saturating_sub(1);
        self.waiting.insert(number, Scheduled { cause: self.open, frame: Some((last, copy as u8)) });
    }

    /// The frame of the current entry arrives again, by the event that was scheduled last.
    pub(crate) fn defer_arrival(&mut self) {
        let Some(&HistoryEntry { what: EntryKind::Arrival { frame, copy }, .. }) =
            self.history.entries.back()
        else {
            unreachable!("only an arrival is deferred");
        };
        // Numbers ascend, so the last one belongs to the event that was scheduled last.
        let waiting = self.waiting.values_mut().next_back();
        waiting.expect("the later arrival is scheduled before it is recorded").frame = Some((frame, copy));
        self.is_deferred = true;
    }

    /// Records the fate of the frame of the current entry.
    pub(crate) fn arrived(&mut self, accepted: bool, dropped: Option<DropCause>) {
        if std::mem::take(&mut self.is_deferred) {
            return;
        }
        let history = &mut self.history;
        let Some(&HistoryEntry { number, what: EntryKind::Arrival { frame, copy }, .. }) =
            history.entries.back()
        else {
            unreachable!("only an arrival has a fate");
        };
        // A limited history may have forgotten the frame.
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

    /// Records the fate of a frame that was lost while it waited in the inbox of its node.
    pub(crate) fn lost_waiting(&mut self, number: u64, cause: Option<DropCause>) {
        // The sending of a frame that was in flight when the recording began is unknown.
        let origin = self.waiting.remove(&number).and_then(|origin| origin.frame);
        let Some((frame, copy)) = origin else { return };
        let place = frame.checked_sub(self.history.forgotten_frames);
        let frame = place.and_then(|place| self.history.frames.get_mut(place as usize));
        if let Some(copy) = frame.and_then(|frame| frame.copies.get_mut(usize::from(copy))) {
            copy.fate = cause.map_or(Fate::Unrecorded, Fate::Dropped);
        }
    }

    /// Changes the kind of the current entry.
    pub(crate) fn restate(&mut self, what: EntryKind) {
        if let Some(entry) = self.history.entries.back_mut() {
            entry.what = what;
        }
    }

    /// Adds a note to the last entry of a node, if it is still stored.
    pub(crate) fn note(&mut self, node: NodeId, note: Note) {
        let history = &mut self.history;
        let place = self.last.get(&node).and_then(|last| last.checked_sub(history.forgotten));
        if let Some(entry) = place.and_then(|place| history.entries.get_mut(place as usize)) {
            entry.notes.push(note);
        }
    }
}

impl FrameCopy {
    /// A copy that is in flight.
    pub(crate) const fn in_flight(at: SimTime, corrupt: bool) -> Self {
        Self { at_us: at.as_micros(), corrupt, fate: Fate::InFlight, arrival: None }
    }

    /// The only copy of a frame that is dropped when it is sent.
    pub(crate) const fn dropped(at: SimTime, cause: Option<DropCause>) -> Self {
        let fate = match cause {
            Some(cause) => Fate::Dropped(cause),
            None => Fate::Unrecorded,
        };
        Self { at_us: at.as_micros(), corrupt: false, fate, arrival: None }
    }
}
