//! What can happen.

use crate::actor::Bytes;
use crate::network::{LinkProperties, PartitionId, PartitionSpec, Ticket};
use crate::node_id::NodeId;
use crate::world::HostEvent;
use serde::Serialize;
use syncline_types::SimDuration;

/// Where in its work a node crashes. The moments between the effects of one step are where promises
/// are broken, so they are chosen on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CrashPoint {
    /// At once, between two steps.
    Now,
    /// In its next step, before anything is durable.
    BeforeCommit,
    /// In its next step, after its writes are durable and before any frame is sent.
    AfterCommit,
    /// In its next step, after its first frame is sent.
    AfterFirstSend,
    /// In its next step, after all its frames are sent, before its timers are set.
    AfterAllSends,
    /// In its next step, in the middle of making its writes durable: none of them is, since a store takes
    /// all of a batch or nothing.
    MidCommit,
}

/// A frame that arrives.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// From whom.
    pub from: NodeId,
    /// At whom.
    pub to: NodeId,
    /// What it carries.
    pub kind: u8,
    /// Whether nobody waits for it.
    pub housekeeping: bool,
    /// Its bytes.
    pub bytes: Bytes,
    /// Whether they are not what was sent.
    pub corrupt: bool,
    /// How often its sender had gone down when it sent this.
    pub life: u64,
}

/// What becomes of a link.
#[derive(Clone, Debug)]
pub enum LinkChange {
    /// One direction is like this from now on, or is left to chance again.
    Becomes(Option<Box<LinkProperties>>),
    /// The connection between its ends breaks.
    Breaks,
}

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub enum SimEvent<Op> {
    /// A frame arrives.
    DeliverMessage(Delivery),
    /// A frame arrives on a connection, and is handed over when it is its turn.
    DeliverInTurn(Box<(Ticket, Delivery)>),
    /// A link is changed.
    LinkChanged {
        /// From whom.
        from: NodeId,
        /// To whom.
        to: NodeId,
        /// How.
        change: LinkChange,
    },
    /// A timer runs out, unless it was moved.
    TimerFired {
        /// Whose.
        node: NodeId,
        /// Which.
        timer: u64,
        /// Which setting of it.
        setting: u64,
    },
    /// A node goes down.
    NodeCrash {
        /// Which.
        node: NodeId,
        /// Where in its work.
        point: CrashPoint,
        /// For how long; for ever if `None`.
        down_for: Option<SimDuration>,
    },
    /// A node comes back.
    NodeRestart {
        /// Which.
        node: NodeId,
        /// From which of its crashes; from any if `None`.
        crash: Option<u64>,
    },
    /// The network splits by chance.
    PartitionStart,
    /// The network splits as told.
    PartitionAt {
        /// How.
        spec: Box<PartitionSpec>,
        /// For how long; for ever if `None`.
        lasting: Option<SimDuration>,
    },
    /// A partition ends.
    PartitionEnd {
        /// Which.
        partition: PartitionId,
    },
    /// A node crashes by chance.
    ChanceCrash {
        /// Which.
        node: NodeId,
    },
    /// A node leaves: it stays up, and loses its links.
    NodeLeave {
        /// Which.
        node: NodeId,
        /// For how long; for ever if `None`.
        away_for: Option<SimDuration>,
    },
    /// A node that left comes back.
    NodeReturn {
        /// Which.
        node: NodeId,
        /// From which of its departures; from any if `None`.
        departure: Option<u64>,
    },
    /// A node leaves by chance.
    ChanceLeave {
        /// Which.
        node: NodeId,
    },
    /// A node goes down for good, and nobody waits for it any more.
    NodeRetire {
        /// Which.
        node: NodeId,
    },
    /// A node that was added for later comes up.
    NodeJoin {
        /// Which.
        node: NodeId,
    },
    /// A node hears whom it can reach now.
    ReachChanged {
        /// Which.
        node: NodeId,
    },
    /// Something happens within a node.
    Host {
        /// Which.
        node: NodeId,
        /// What.
        what: HostEvent,
    },
    /// The workload asks a node for something.
    Op {
        /// Whom.
        node: NodeId,
        /// For what.
        op: Op,
    },
}
