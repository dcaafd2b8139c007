//! What an event did to a node.

use crate::actor::FrameBytes;
use crate::network::DropCause;
use crate::node_id::NodeId;

/// What one event did.
#[derive(Clone, Debug)]
pub struct StepReport<N> {
    /// The node that the event happened to, if it happened to one.
    pub node: Option<NodeId>,
    /// The notices of that node.
    pub notices: Vec<N>,
    /// Whether an operation was not done because its node was down.
    pub op_refused: bool,
    /// Whether a node went down.
    pub crashed: bool,
    /// Whether a node restarted.
    pub restarted: bool,
    /// Whether a frame took effect.
    pub accepted: bool,
    /// Why a frame that was delivered took no effect.
    pub refused: Option<DropCause>,
    /// Whether the bytes of the frame that was delivered differ from those that were sent.
    pub corrupt: bool,
    /// The sender and the kind of the frame that arrived, with or without effect.
    pub frame: Option<(NodeId, u8)>,
    /// The bytes of that frame.
    pub frame_bytes: Option<FrameBytes>,
    /// Whether a frame took effect although its receiver had accepted one from a later incarnation of its
    /// sender.
    pub stale_accepted: bool,
    /// Whether a crash has undone what the node reports: its disk had lied about a sync.
    pub undone: bool,
    /// Whether the disk of the node was replaced by another one.
    pub disk_replaced: bool,
    /// The largest frame that the node sent.
    pub largest_sent: Option<FrameSize>,
}

/// A frame as its sender handed it to the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameSize {
    /// The receiver.
    pub to: NodeId,
    /// The kind of message: a number whose meaning the actor defines.
    pub kind: u8,
    /// The size in bytes.
    pub bytes: usize,
}

impl FrameSize {
    /// The largest of some frames, the first one of equals.
    pub fn largest(frames: impl Iterator<Item = Self>) -> Option<Self> {
        frames.reduce(|largest, next| if next.bytes > largest.bytes { next } else { largest })
    }
}

impl<N> StepReport<N> {
    pub(crate) const fn at(node: Option<NodeId>) -> Self {
        Self {
            node,
            notices: Vec::new(),
            op_refused: false,
            crashed: false,
            restarted: false,
            accepted: false,
            refused: None,
            corrupt: false,
            frame: None,
            frame_bytes: None,
            stale_accepted: false,
            undone: false,
            disk_replaced: false,
            largest_sent: None,
        }
    }
}
