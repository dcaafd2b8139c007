//! How two replicas become equal: causal deltas, negotiation, and sync sessions.
//!
//! Sessions are sans-IO. The initiator is a [`Session`]: its host gives it responses and asks it for
//! the next request. The responder is the function [`respond`] of a state and a request, and stores
//! nothing between requests but a bounded cache of views. Every request is idempotent. Loss,
//! duplication and reordering therefore need no code of their own: the initiator retransmits a request
//! until it is answered, and retransmission happens nowhere else.
//!
//! This crate knows records and bytes. It knows no addresses of peers, no timers and no clock.
//!
//! | module | subject |
//! |---|---|
//! | `messages` | frames, messages, handshakes, questions about a state and their answers |
//! | `deltas` | deltas, version vectors, the delta log and buffer, signatures and membership |
//! | `selection` | the decision table and the cost model that choose a protocol |
//! | `session` | the initiator: phases of a session, the exchange of records, the exchange of deltas |
//! | `sketch` | coded symbols (rateless IBLT), estimates of a difference, filtered IBLTs, short ids |
//! | `snapshot` | snapshot pages, the staged transfer, the initiator of a transfer, cached views |
//! | `respond` | the responder |
//! | `transaction` | what one step reads and writes |
//! | `transport` | the stream trait, its encryption, and the driver of sessions |
#![warn(clippy::float_arithmetic)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod collection;
mod deltas;
mod messages;
mod respond;
mod selection;
mod session;
mod sketch;
mod snapshot;
mod transaction;
mod transport;

pub use collection::{CollectionInProgress, RaisedHorizon};
pub use deltas::{
    Authority, BufferLedger, BufferLimits, Delta, DeltaBuffer, DeltaError, DeltaLog, DeltaRef, DeltaRefusal,
    Dot, Gate, HistoryClaim, HistoryConflict, KeyedHash, Membership, MissingDeltas, PublicKey, PushOutcome,
    Scheme, Signature, Statement, VersionVector,
};
pub use messages::{
    Answer, BloomFilter, BriefEntry, DeltasReply, ExchangeReply, ExchangeRequest, Frame, FrameError, Gossip,
    HandshakeReply, KnownVectors, Link, LocalSyncState, Message, NodeAddress, NodeView, OwnNode, Question,
    Rejection, RelativeMessage, ReplicaVectors, Request, RequestId, Response, SYNC_PROTOCOL_VERSION,
    SessionId, SlotView, SyncHandshake, SyncProtocolKind, VectorUpdate, WireDigest, WireEntry, WireRecord,
    build_handshake,
};
pub use respond::respond;
pub use selection::{
    ProtocolCost, ProtocolSelection, Selection, SelectionReason, SyncProtocol, costs, select_adaptively,
    select_protocol,
};
pub use session::{
    FailureReason, Outcome, ProtocolBreach, RetryReason, Session, SessionProgress, SessionStats,
};
pub use sketch::{
    Cell, FilteredIblt, LocatedDifference, SetDifference, ShortIds, Sketch, SketchHead, SketchKey, Symbol,
    SymbolFilter,
};
pub use snapshot::{SnapshotPage, ViewBounds, ViewCache, staged};
pub use transaction::Transaction;
pub use transport::{
    DriveError, EncryptionError, EncryptionState, Nonce, Served, SharedKey, StoreHost, StreamEnd,
    StreamMessage, StreamSide, SyncTransport, TransportError, bloom_filter_sync, delta_sync, drive,
    hash_comparison_sync, level_wise_sync, rateless_iblt_sync, serve, snapshot_sync, subtree_prefetch_sync,
};
