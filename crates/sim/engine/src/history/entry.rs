//! What a history consists of.

use crate::event::CrashPoint;
use crate::history::History;
use crate::network::{DropCause, PartitionSpec};
use crate::node_id::NodeId;
use serde::{Serialize, Serializer};

/// One event, and what it did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Entry {
    /// Its number, from zero.
    pub number: u64,
    /// How many events of the run there had been with it; those before the first event have none.
    pub event: u64,
    /// When, in microseconds.
    pub at_us: u64,
    /// To which node, if to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// What.
    pub what: What,
    /// The entry that made it happen: it sent the frame, set the timer, or scheduled this. `None` for
    /// what the scenario, the workload or a test scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<u64>,
    /// The entry before it on the same node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// The first eight bytes of the node's digest after it, as hex digits.
    #[serde(serialize_with = "hex")]
    pub digest: u64,
    /// Whether the node's digest was another before.
    #[serde(skip_serializing_if = "is_false")]
    pub changed: bool,
    /// The frames that it sent, by number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<u64>,
    /// What the node had to say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

fn hex<S: Serializer>(digest: &u64, to: S) -> Result<S::Ok, S::Error> {
    // As digests are shown elsewhere: by their bytes.
    to.collect_str(&format_args!("{:016x}", digest.swap_bytes()))
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum What {
    /// A node was told who takes part, and started if it had not.
    Peers,
    /// A copy of a frame arrived, or would have.
    Arrival {
        /// Which frame.
        frame: u64,
        /// Which copy: zero is the first, one is its duplicate.
        copy: u8,
    },
    /// A timer ran out.
    Timer {
        /// Which, by the number that the actor gave it.
        timer: u64,
    },
    /// An application wrote.
    Write,
    /// A node was told to crash: at once, or somewhere in its next step.
    Crash {
        /// Where.
        point: Option<CrashPoint>,
    },
    /// A node came back.
    Restart,
    /// The network split.
    PartitionStart {
        /// Which partition.
        partition: u64,
        /// Who cannot reach whom.
        cut: Option<PartitionSpec>,
    },
    /// A partition ended.
    PartitionEnd {
        /// Which.
        partition: u64,
    },
    /// A node left.
    Leave,
    /// A node that had left came back.
    Return,
    /// A node went for good.
    Retire,
    /// A late node joined.
    Join,
    /// A node heard whom it can reach now.
    ReachChanged,
    /// Something happened to the host that a node runs on.
    Host {
        /// What, in words.
        what: String,
    },
    /// One direction of a link became another, or its connection was broken.
    LinkChanged {
        /// From whom it leads.
        from: NodeId,
        /// To whom.
        to: NodeId,
    },
}

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Frame {
    /// Its number, from zero.
    pub number: u64,
    /// By whom it was sent.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// What it carries: a place in [`History::kinds`].
    pub kind: u8,
    /// Its size in bytes.
    pub bytes: usize,
    /// Whether nobody waits for it.
    pub housekeeping: bool,
    /// When it was sent, in microseconds.
    pub at_us: u64,
    /// The entry that sent it, if it is known.
    pub by: Option<u64>,
    /// What became of it, and of its duplicate if the network made one.
    pub copies: Vec<Copy>,
}

/// One copy of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Copy {
    /// When it arrives, or was dropped, in microseconds.
    pub at_us: u64,
    /// Whether a bit was flipped on its way.
    pub corrupt: bool,
    /// What became of it.
    pub fate: Fate,
    /// The entry of its arrival, once it has arrived.
    pub arrival: Option<u64>,
}

/// What became of a copy of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is on its way.
    InFlight,
    /// It took effect.
    Delivered,
    /// It did not, for this cause.
    Dropped(DropCause),
    /// It is gone, and the network did not account for it.
    Unrecorded,
}

/// What a node had to say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Note {
    /// A replica of one's own did what it was asked for.
    Done {
        /// What, in its own words.
        what: String,
    },
    /// A session began.
    SessionStarted {
        /// With whom.
        peer: NodeId,
    },
    /// A session ended.
    SessionEnded {
        /// With whom.
        peer: NodeId,
        /// When it had begun, in microseconds.
        started_at_us: u64,
        /// The protocol that was chosen, if it came to that.
        protocol: Option<String>,
        /// How it ended.
        outcome: Ended,
        /// Why it ended so, in words.
        why: String,
        /// Requests answered.
        round_trips: u64,
        /// Records moved, either way.
        records: u64,
    },
    /// A delta was applied.
    DeltaApplied {
        /// How many actions it held.
        actions: u64,
    },
    /// A delta was refused, or could not be applied when its turn came.
    DeltaRefused {
        /// Why.
        why: String,
    },
    /// A write was accepted.
    WriteAccepted {
        /// The entities that it wrote to, in hex.
        entities: Vec<String>,
    },
    /// A write could not be done.
    WriteRefused {
        /// Why.
        why: String,
    },
    /// Records were forgotten that are dead for all.
    Forgot {
        /// How many.
        records: u64,
    },
    /// The node went down.
    WentDown,
    /// The node came back.
    CameBack,
    /// The node has something to say of another of its contexts than the first.
    InContext {
        /// The number of the context.
        context: usize,
        /// What.
        note: Box<Self>,
    },
}

/// How a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Both roots were compared and are equal.
    Converged,
    /// Another is owed, and nothing is wrong.
    Owed,
    /// It could not do its work.
    Failed,
}

impl Entry {
    /// The frame that arrived, if one did.
    pub const fn arrived(&self) -> Option<u64> {
        match self.what {
            What::Arrival { frame, .. } => Some(frame),
            _ => None,
        }
    }

    /// Whether it is a fault, or the end of one.
    pub const fn is_fault(&self) -> bool {
        !matches!(
            self.what,
            What::Peers | What::Arrival { .. } | What::Timer { .. } | What::Write | What::ReachChanged
        )
    }

    /// The entry in one line.
    pub(super) fn words(&self, history: &History) -> String {
        let node = self.node.map_or("the network", |node| history.name(node));
        let what = match &self.what {
            What::Peers => "starts, or hears who takes part".to_owned(),
            What::Arrival { frame, copy } => self.arrival_words(history, *frame, *copy),
            What::Timer { timer } => format!("timer {timer:x} runs out"),
            What::Write => "the application writes".to_owned(),
            What::Crash { point: Some(point) } => format!("crashes ({point:?})"),
            What::Crash { point: None } => "crashes".to_owned(),
            What::Restart => "restarts".to_owned(),
            What::PartitionStart { partition, cut: Some(cut) } => format!("partition {partition}: {cut:?}"),
            What::PartitionStart { partition, cut: None } => format!("partition {partition} begins"),
            What::PartitionEnd { partition } => format!("partition {partition} ends"),
            What::Leave => "leaves".to_owned(),
            What::Return => "comes back".to_owned(),
            What::Retire => "is taken out for good".to_owned(),
            What::Join => "joins".to_owned(),
            What::LinkChanged { from, to } => {
                format!("the link from {} to {} changes", history.name(*from), history.name(*to))
            }
            What::ReachChanged => "hears whom it can reach".to_owned(),
            What::Host { what } => what.clone(),
        };
        let notes: Vec<String> = self.notes.iter().map(|note| note.words(history)).collect();
        let notes = if notes.is_empty() { String::new() } else { format!("; {}", notes.join(", ")) };
        format!("{}.{:03} ms {node}: {what}{notes}", self.at_us / 1_000, self.at_us % 1_000)
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
    /// The same, said of the context of this number.
    pub fn of_context(self, context: usize) -> Self {
        if context == 0 { self } else { Self::InContext { context, note: Box::new(self) } }
    }

    /// Which context it is of, and what it says of that.
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
            Self::DeltaApplied { actions } => format!("applies a delta of {actions}"),
            Self::DeltaRefused { why } => format!("refuses a delta: {why}"),
            Self::WriteAccepted { entities } => {
                let short = entities.iter().map(|entity| entity.get(..16).unwrap_or(entity));
                format!("accepted: {}", short.collect::<Vec<_>>().join(" "))
            }
            Self::WriteRefused { why } => format!("refused: {why}"),
            Self::Forgot { records } => format!("forgets {records} records"),
            Self::WentDown => "goes down".to_owned(),
            Self::CameBack => "is back".to_owned(),
            Self::InContext { context, note } => format!("in context {context} {}", note.words(history)),
        }
    }
}
