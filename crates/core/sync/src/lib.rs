//! How two replicas become equal: causal deltas, negotiation, and sync sessions.
//!
//! Sessions are sans-IO. An initiator is a [`Session`] that is given responses and asked what to
//! send next; a responder is the function [`respond`] of a state and a request, and keeps nothing.
//! Every request is idempotent, so loss, duplication and reordering need no code of their own: the
//! initiator repeats what was not answered, and that is the one place where anything is repeated.
//!
//! This crate knows records and bytes. It knows no peers' addresses, no timers and no clock.
#![warn(clippy::float_arithmetic)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod adaptive;
mod authority;
mod buffer;
mod delta;
mod drive;
mod encryption;
mod filter;
mod frame;
mod handshake;
mod log;
mod message;
mod node_view;
mod page;
mod question;
mod rejection;
mod respond;
mod select;
mod session;
mod sketch;
pub mod staged;
mod transaction;
mod transport;

pub use adaptive::{Cost, costs, select_adaptively};
pub use authority::{Authority, Gate, KeyedHash, Membership, PublicKey, Scheme, Signature, Statement};
pub use buffer::{BufferLedger, DeltaBuffer, Pushed};
pub use delta::{Delta, DeltaRef, Dot, VersionVector};
pub use drive::{
    DriveError, StoreHost, bloom_filter_sync, delta_sync, drive, hash_comparison_sync, level_wise_sync,
    rateless_iblt_sync, serve, snapshot_sync, subtree_prefetch_sync,
};
pub use encryption::{EncryptionError, EncryptionState, Nonce, SharedKey, Side};
pub use filter::Filter;
pub use frame::{Frame, FrameError};
pub use handshake::{
    HandshakeReply, Link, LocalSyncState, SYNC_PROTOCOL_VERSION, SyncHandshake, SyncProtocolKind,
    build_handshake,
};
pub use log::{DeltaLog, DeltaRefusal, Missing};
pub use message::{
    DeltasReply, ExchangeReply, ExchangeRequest, Gossip, Message, Rejection, Request, RequestId, Response,
    SessionId, WireRecord,
};
pub use node_view::{BriefEntry, Fingerprint, NodeView, Probe, SlotView, WireEntry};
pub use page::SnapshotPage;
pub use question::{Answer, Question};
pub use respond::{ViewCache, respond};
pub use select::{ProtocolSelection, Selection, SelectionReason, SyncProtocol, select_protocol};
pub use session::{FailureReason, Outcome, OwedReason, Progress, Session, SessionStats};
pub use sketch::{Cell, Difference, Located, Names, Sieve, Sieved, Sketch, SketchHead, SketchKey, Symbol};
pub use transaction::Transaction;
pub use transport::{StreamMessage, SyncTransport, TransportError};
