//! The parts of a history.

use crate::event::CrashPoint;
use crate::history::History;
use crate::network::{DropCause, PartitionSpec};
use crate::node_id::NodeId;
use serde::{Serialize, Serializer};

/// One event, and its effects.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HistoryEntry {
    /// The number of the entry, from zero.
    pub number: u64,
    /// The number of events of the run so far, this one included. Entries from before the first event have 0.
    pub event: u64,
    /// The time of the event, in microseconds.
    pub at_us: u64,
    /// The node that the event happened to, if it happened to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The kind of event.
    pub what: EntryKind,
    /// The entry that caused this one: it sent the frame, set the timer, or scheduled the event. `None` for
    /// events that the scenario, the workload or a test scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<u64>,
    /// The previous entry of the same node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// The first eight bytes of the node's digest after the event, in hex.
    #[serde(serialize_with = "hex")]
    pub digest: u64,
    /// Whether the event changed the node's digest.
    #[serde(skip_serializing_if = "is_false")]
    pub changed: bool,
    /// The numbers of the frames that the node sent in this event.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<u64>,
    /// The notes about the event.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

fn hex<S: Serializer>(digest: &u64, to: S) -> Result<S::Ok, S::Error> {
    // Digests are displayed in the order of their bytes; the number is little-endian.
    to.collect_str(&format_args!("{:016x}", digest.swap_bytes()))
}

/// The kind of an entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum EntryKind {
    /// A node got the list of members, and started if it had not.
    Peers,
    /// A copy of a frame arrived, or was dropped on arrival.
    Arrival {
        /// The number of the frame.
        frame: u64,
        /// The index of the copy: 0 is the first, 1 its duplicate.
        copy: u8,
    },
    /// A timer of a node fired.
    Timer {
        /// The id that the actor gave to the timer.
        timer: u64,
        /// What the timer is for in words, if the actor tells.
        #[serde(skip_serializing_if = "Option::is_none")]
        what: Option<String>,
    },
    /// The workload asked a node for an operation.
    Write {
        /// What it asked for in words, if the actor tells.
        #[serde(skip_serializing_if = "Option::is_none")]
        what: Option<String>,
    },
    /// A node crashed, or will crash in its next step.
    Crash {
        /// The scripted point of the crash; `None` for a random one.
        point: Option<CrashPoint>,
    },
    /// A node restarted after a crash.
    Restart,
    /// A partition started, random or scripted.
    PartitionStart {
        /// The number of the partition.
        partition: u64,
        /// Its specification, if it is up.
        cut: Option<PartitionSpec>,
    },
    /// A partition ended, or was healed.
    PartitionEnd {
        /// The number of the partition.
        partition: u64,
    },
    /// A node left: it lost its links.
    Leave,
    /// A node that had left returned.
    Return,
    /// A node retired for the rest of the run.
    Retire,
    /// A late node joined.
    Join,
    /// A node learned which nodes it can reach.
    ReachChanged,
    /// A fault of a host, or the end of one.
    Host {
        /// What happened, as a clause about the node.
        what: String,
    },
    /// The properties of one direction of a link changed, or its connection broke.
    #[allow(missing_docs, reason = "the fields' names say what they hold")]
    LinkChanged { from: NodeId, to: NodeId },
}

/// One frame that was sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FrameRecord {
    /// The number of the frame, from zero.
    pub number: u64,
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The kind of message: an index into [`History::kinds`].
    pub kind: u8,
    /// The size in bytes.
    pub bytes: usize,
    /// Whether the run may end while the frame is in flight.
    pub housekeeping: bool,
    /// The time of sending, in microseconds.
    pub at_us: u64,
    /// The number of the entry in which it was sent, if it is known.
    pub by: Option<u64>,
    /// The first copy, and its duplicate if the network made one.
    pub copies: Vec<FrameCopy>,
}

/// One copy of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct FrameCopy {
    /// The time at which it arrives, or was dropped, in microseconds.
    pub at_us: u64,
    /// Whether a bit was flipped in transit.
    pub corrupt: bool,
    /// The fate of the copy.
    pub fate: Fate,
    /// The number of the entry of its arrival, once it has arrived.
    pub arrival: Option<u64>,
}

/// The fate of a copy of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is in flight.
    InFlight,
    /// It took effect on its receiver.
    Delivered,
    /// It was dropped for this cause.
    Dropped(DropCause),
    /// It is gone, and the network did not account for it: a bug of the simulator.
    Unrecorded,
}

/// A note about what a node did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Note {
    /// An actor completed an operation of the workload.
    Done {
        /// The operation, as the actor describes it.
        what: String,
    },
    /// A session with a peer began.
    SessionStarted {
        /// The other end of the session.
        peer: NodeId,
    },
    /// A session with a peer ended.
    SessionEnded {
        /// The other end of the session.
        peer: NodeId,
        /// The time at which it began, in microseconds.
        started_at_us: u64,
        /// The protocol that was negotiated, if the session got so far.
        protocol: Option<String>,
        /// The outcome of the session.
        outcome: SessionEnd,
        /// A description of the reason.
        why: String,
        /// How many requests were answered.
        round_trips: u64,
        /// How many records were transferred, in either direction.
        records: u64,
    },
    /// A delta was applied.
    DeltaApplied {
        /// How many actions it contained.
        actions: u64,
    },
    /// A delta was refused, or could not be applied after its parents were.
    DeltaRefused {
        /// A description of the reason.
        why: String,
    },
    /// The stamps of a replica are further ahead of time than others accept.
    AheadOfTime {
        /// Which replica it is, and until when.
        who: String,
    },
    /// A write was accepted.
    WriteAccepted {
        /// The ids of the entities that it changed, in hex.
        entities: Vec<String>,
        /// What was written in words, to follow the name of the node.
        what: String,
    },
    /// A write was rejected.
    WriteRefused {
        /// A description of the reason.
        why: String,
    },
    /// Tombstones below the horizon were collected.
    Forgot {
        /// How many tombstones were collected.
        records: u64,
    },
    /// The node went down.
    WentDown,
    /// The node restarted after a crash.
    CameBack,
    /// A note about another context of the node than the first.
    InContext {
        /// The number of the context.
        context: usize,
        /// The note itself.
        note: Box<Self>,
    },
}

/// How a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEnd {
    /// Both roots were compared, and they are equal.
    Converged,
    /// Another session is pending, and nothing failed.
    Pending,
    /// The session failed, and will not be continued.
    Failed,
}

impl HistoryEntry {
    /// The number of the frame that arrived, if this is an arrival.
    pub const fn arrived(&self) -> Option<u64> {
        match self.what {
            EntryKind::Arrival { frame, .. } => Some(frame),
            _ => None,
        }
    }

    /// Whether the entry is a fault, or the end of one.
    pub const fn is_fault(&self) -> bool {
        !matches!(
            self.what,
            EntryKind::Peers
                | EntryKind::Arrival { .. }
                | EntryKind::Timer { .. }
                | EntryKind::Write { .. }
                | EntryKind::ReachChanged
        )
    }

    /// A description of the entry, in one line.
    pub(super) fn words(&self, history: &History) -> String {
        let node = self.node.map_or("the network", |node| history.name(node));
        let what = match &self.what {
            EntryKind::Peers => "starts, or hears who takes part".to_owned(),
            EntryKind::Arrival { frame, copy } => self.arrival_words(history, *frame, *copy),
            EntryKind::Timer { what: Some(what), .. } => format!("the timer {what} runs out"),
            EntryKind::Timer { timer, what: None } => format!("timer {timer:x} runs out"),
            // What an accepted write wrote is in its note; it may differ in positions from what was asked for.
            EntryKind::Write { what: Some(what) } if !self.is_accepted() => format!("the application {what}"),
            EntryKind::Write { .. } => "the application writes".to_owned(),
            EntryKind::Crash { point: Some(point) } => format!("crashes {}", point.words()),
            EntryKind::Crash { point: None } => "crashes".to_owned(),
            EntryKind::Restart => "restarts".to_owned(),
            EntryKind::PartitionStart { partition, cut: Some(cut) } => {
                format!("partition {partition} begins: {}", history.cut_words(cut))
            }
            EntryKind::PartitionStart { partition, cut: None } => format!("partition {partition} begins"),
            EntryKind::PartitionEnd { partition } => format!("partition {partition} ends"),
            EntryKind::Leave => "leaves".to_owned(),
            EntryKind::Return => "comes back".to_owned(),
            EntryKind::Retire => "is taken out for good".to_owned(),
            EntryKind::Join => "joins".to_owned(),
            EntryKind::LinkChanged { from, to } => {
                format!("the link from {} to {} changes", history.name(*from), history.name(*to))
            }
            EntryKind::ReachChanged => "hears whom it can reach".to_owned(),
            EntryKind::Host { what } => what.clone(),
        };
        let notes: Vec<String> = self.notes.iter().map(|note| note.words(history)).collect();
        let notes = if notes.is_empty() { String::new() } else { format!("; {}", notes.join(", ")) };
        format!("{}.{:03} ms {node}: {what}{notes}", self.at_us / 1_000, self.at_us % 1_000)
    }

    /// Whether the entry has the note that a write was accepted.
    fn is_accepted(&self) -> bool {
        let mut notes = self.notes.iter().map(|note| note.in_context().1);
        notes.any(|note| matches!(note, Note::WriteAccepted { .. }))
    }

    fn arrival_words(&self, history: &History, number: u64, copy: u8) -> String {
        let Some(frame) = history.frame(number) else { return "a frame arrives".to_owned() };
        let kind = history.kind(frame);
        let again = if copy > 0 { " (a duplicate)" } else { "" };
        let fate = match frame.copies.get(usize::from(copy)).map(|copy| copy.fate) {
            Some(Fate::Dropped(cause)) => format!(" is dropped: {}", cause.words()),
            _ => " arrives".to_owned(),
        };
        format!("{kind} {number} from {}{again}{fate}", history.name(frame.from))
    }
}

impl Note {
    /// This note as one about the context with this number.
    pub fn of_context(self, context: usize) -> Self {
        if context == 0 { self } else { Self::InContext { context, note: Box::new(self) } }
    }

    /// The number of the context that the note is about, and the note without it.
    pub fn in_context(&self) -> (usize, &Self) {
        match self {
            Self::InContext { context, note } => (*context, note),
            note => (0, note),
        }
    }

    fn words(&self, history: &History) -> String {
        match self {
            Self::Done { what } => what.clone(),
            Self::SessionStarted { peer } => format!("begins a session with {}", history.name(*peer)),
            Self::SessionEnded { peer, why, protocol, .. } => {
                let protocol = protocol.as_deref().unwrap_or("no protocol");
                format!("ends its session with {} ({protocol}): {why}", history.name(*peer))
            }
            Self::DeltaApplied { actions } => format!("applies a delta of {actions} actions"),
            Self::DeltaRefused { why } => format!("refuses a delta: {why}"),
            Self::AheadOfTime { who } => format!("notes that {who}"),
            Self::WriteAccepted { what, .. } => format!("accepted: {what}"),
            Self::WriteRefused { why } => format!("refused: {why}"),
            Self::Forgot { records } => format!("forgets {records} records"),
            Self::WentDown => "goes down".to_owned(),
            Self::CameBack => "is back".to_owned(),
            Self::InContext { context, note } => format!("in context {context} {}", note.words(history)),
        }
    }
}
