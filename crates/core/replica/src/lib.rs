//! One replica: the machine that keeps one copy of a context equal to its peers' copies.
//!
//! A [`Replica`] is a state machine without I/O. [`Replica::step`] takes a view of the store, an
//! [`Event`], the time and a source of randomness, and returns [`SyncActions`]. The host honours these in
//! this order: **the batch, atomically; then the messages; then the timers**. A message therefore never
//! promises what a crash can undo, and a crash between any two of them loses nothing that was acknowledged.
//!
//! What a crash keeps and loses:
//!
//! | survives, in the store | lost, with the replica |
//! |---|---|
//! | records and index | sessions and their timers |
//! | deltas and what they cover | the delta buffer |
//! | clock and incarnation | what is known of peers, and pending syncs |
//! | the part of a snapshot already received | views stored for peers' snapshots |
//!
//! Everything that is lost is found again: a restart announces its root, and any difference is synced.
//!
//! A replica is made of machines that each own their state and do not know each other; a step asks them in
//! turn:
//!
//! | module | owns |
//! |---|---|
//! | `sync_queue` | the pending syncs, and the timer of the earliest |
//! | `sessions` | the sessions under way and their deadlines |
//! | `delta_fetch` | the delta buffer and the requests for missing deltas |
//! | `anti_entropy` | the pace of the heartbeats |
//! | `horizon` | the progress of the members, and what follows for tombstones |
//! | `peers` | the record of each peer: speed, backoff, identity |
//! | `writes` | nothing: it turns operations into a delta |
//! | `replica` | the machines, and the step that asks them |
#![warn(clippy::float_arithmetic)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod anti_entropy;
mod config;
mod delta_fetch;
mod effects;
mod event;
mod horizon;
pub mod model;
mod peers;
mod persisted;
mod refusal;
mod replica;
mod sessions;
mod sync_queue;
mod writes;

pub use config::ReplicaConfig;
pub use effects::{FrameKind, Notice, OutgoingMessage, ReplicaError, StepCost, SyncActions};
pub use event::{Event, Timer, TimerKind, TimerOp};
pub use refusal::Refusal;
pub use replica::{Pending, Replica};
pub use sync_queue::PendingReason;
pub use syncline_storage::Merges;
pub use writes::{Collection, Item, Operation, OperationError, Target};
