//! The events of a run.

use crate::actor::FrameBytes;
use crate::network::{LinkProperties, PartitionId, PartitionSpec, StreamPosition};
use crate::node_id::NodeId;
use crate::world::HostEvent;
use serde::Serialize;
use syncline_types::SimDuration;

/// Where in its work a node crashes. The points between the effects of one step are those at which
/// durability promises break, so tests choose them explicitly.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CrashPoint {
    /// Immediately, between two steps.
    Now,
    /// In the next step, before its writes are durable.
    BeforeCommit,
    /// In the next step, after its writes are durable and before it sends a frame.
    AfterCommit,
    /// In the next step, after its first frame is sent.
    AfterFirstSend,
    /// In the next step, after all its frames are sent, before its timers are set.
    AfterAllSends,
    /// In the next step, in the middle of its commit. None of its writes is durable, since a store applies
    /// all of a batch or nothing.
    MidCommit,
}

impl CrashPoint {
    /// The point in words, to follow "crashes".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Now => "between two steps",
            Self::BeforeCommit => "in its next step, before its writes are durable",
            Self::AfterCommit => "in its next step, after its writes are durable and before it sends",
            Self::AfterFirstSend => "in its next step, after its first frame is sent",
            Self::AfterAllSends => "in its next step, after all its frames are sent",
            Self::MidCommit => "in its next step, in the middle of its commit",
        }
    }
}

/// A frame that arrives.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The kind of message, as its actor numbers it.
    pub kind: u8,
    /// Whether the run may end without it.
    pub housekeeping: bool,
    /// The bytes as they arrive.
    pub bytes: FrameBytes,
    /// Whether the bytes differ from those that were sent.
    pub corrupt: bool,
    /// The incarnation of the sender: how often it had crashed when it sent the frame.
    pub life: u64,
}

/// A change of a link.
#[derive(Clone, Debug)]
pub enum LinkChange {
    /// One direction has these properties from now on; with `None`, the seed decides again.
    Becomes(Option<Box<LinkProperties>>),
    /// The connection between the two nodes breaks.
    Breaks,
}

/// An event that is scheduled. Durations of `None` mean "for the rest of the run".
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields' names say what they hold")]
pub enum SimEvent<Op> {
    /// A frame arrives as a datagram.
    DeliverMessage(Delivery),
    /// A frame arrives on a connection. It is delivered when all frames before it have been.
    DeliverInTurn(Box<(StreamPosition, Delivery)>),
    /// One direction of a link changes, or its connection breaks.
    LinkChanged { from: NodeId, to: NodeId, change: LinkChange },
    /// A timer fires, unless it was moved or cancelled: then `setting` is not its latest setting.
    TimerFired { node: NodeId, timer: u64, setting: u64 },
    /// A node goes down.
    NodeCrash { node: NodeId, point: CrashPoint, down_for: Option<SimDuration> },
    /// A node restarts after a crash.
    NodeRestart {
        node: NodeId,
        /// The crash that the restart belongs to. `None` restarts the node after any crash.
        crash: Option<u64>,
    },
    /// A random partition starts.
    PartitionStart,
    /// A scripted partition starts.
    PartitionAt { spec: Box<PartitionSpec>, lasting: Option<SimDuration> },
    /// A partition ends, unless it was healed before.
    PartitionEnd { partition: PartitionId },
    /// A node crashes at random.
    ChanceCrash { node: NodeId },
    /// A node leaves: it stays up and loses its links.
    NodeLeave { node: NodeId, away_for: Option<SimDuration> },
    /// A node that left returns.
    NodeReturn {
        node: NodeId,
        /// The departure that the return belongs to. `None` ends any departure.
        departure: Option<u64>,
    },
    /// A node leaves at random.
    ChanceLeave { node: NodeId },
    /// A node goes down for the rest of the run, and nothing waits for it any more.
    NodeRetire { node: NodeId },
    /// A node that was added for later comes up.
    NodeJoin { node: NodeId },
    /// A node learns which nodes it can reach now.
    ReachChanged { node: NodeId },
    /// A fault of a host, or the end of one.
    Host { node: NodeId, what: HostEvent },
    /// The workload asks a node for an operation.
    Op { node: NodeId, op: Op },
}
