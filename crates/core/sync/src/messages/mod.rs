//! What replicas send to each other, and its encoding on the wire.

mod bloom_filter;
mod frame;
mod handshake;
mod message;
mod node_view;
mod own_node;
mod question;
mod rejection;

pub use bloom_filter::BloomFilter;
pub use frame::{Frame, FrameError};
pub use handshake::{
    HandshakeReply, Link, LocalSyncState, SYNC_PROTOCOL_VERSION, SyncHandshake, SyncProtocolKind,
    build_handshake,
};
pub use message::{
    DeltasReply, ExchangeReply, ExchangeRequest, Gossip, Message, Request, RequestId, Response, SessionId,
    WireRecord,
};
pub use node_view::{BriefEntry, NodeAddress, NodeView, SlotView, WireDigest, WireEntry};
pub use own_node::OwnNode;
pub(crate) use question::ResponderState;
pub use question::{Answer, Question};
pub use rejection::Rejection;
