//! One replica: the machine that keeps one copy of a context equal to its peers' copies.
//!
//! A [`Replica`] is a state machine without I/O. [`Replica::step`] takes a view of the store, an
//! [`Event`], the time and a source of chance, and returns [`SyncActions`]. Whoever runs it honours
//! them in this order: **the batch, atomically; then the messages; then the timers**. A message
//! therefore never promises what a crash can undo, and a crash between any two of them loses
//! nothing that was acknowledged.
//!
//! What a crash keeps and loses:
//!
//! | kept, in the store | lost, with the replica |
//! |---|---|
//! | records and index | sessions and their timers |
//! | deltas and what they cover | the delta buffer |
//! | clock and incarnation | what is known of peers, and owed syncs |
//! | the part of a snapshot already received | views kept for peers' snapshots |
//!
//! All that is lost is found again: a restart announces its root, and any difference is synced.
#![warn(clippy::float_arithmetic)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod config;
mod deadline;
mod event;
mod fingerprint;
mod gossip;
mod list;
mod members;
pub mod model;
mod operation;
mod peer;
mod recovery;
mod replica;
mod scheduler;
mod syncing;
mod target;
mod vetting;

pub use config::ReplicaConfig;
pub use event::{
    Cost, Event, FrameKind, Notice, OutgoingMessage, Refusal, ReplicaError, SyncActions, Timer, TimerKind,
    TimerOp,
};
pub use operation::{Collection, Item, Operation, OperationError};
pub use replica::{Pending, Replica};
pub use syncline_storage::Merges;
pub use target::Target;
