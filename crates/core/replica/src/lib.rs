//! One replica: the state machine that keeps one copy of a context equal to the copies of its peers.
//!
//! A [`Replica`] is a state machine without I/O. [`Replica::step`] takes a view of the store, an [`Event`],
//! the time and a source of randomness, and returns [`SyncActions`]. The host executes these effects in this
//! order: **the batch, atomically; then the messages; then the timers**. A message therefore never announces
//! state that a crash can undo, and a crash between any two effects loses nothing that was acknowledged.
//!
//! The effect of a crash:
//!
//! | survives, in the store | lost, with the replica |
//! |---|---|
//! | records and index | sessions and their timers |
//! | deltas and the version vector of covered deltas | the delta buffer |
//! | clock, incarnation and the time of the last write | the records of peers, and pending syncs |
//! | the received part of a snapshot | views cached for peers' snapshots |
//!
//! The lost state is recovered after a restart: the replica announces its root, and any difference is synced.
//!
//! A replica consists of sub-machines. Each owns its state and does not depend on the others; a step calls
//! them in turn:
//!
//! | module | owns |
//! |---|---|
//! | `sync_queue` | the pending syncs, and the timer of the earliest |
//! | `sessions` | the sessions in progress and their deadlines |
//! | `delta_fetch` | the delta buffer and the requests for missing deltas |
//! | `anti_entropy` | the pace of the heartbeats |
//! | `clock_guard` | the evidence about the wall clock, which decides whether stamps are made from it |
//! | `horizon` | the progress of the members, from which the tombstone horizon follows |
//! | `peers` | the record of each peer: speed, backoff, identity |
//! | `recovery` | the claims of peers about this replica's own deltas |
//! | `writes` | nothing: it turns operations into a delta |
//! | `replica` | the sub-machines, and the step that calls them |
#![warn(clippy::float_arithmetic)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod anti_entropy;
mod clock_guard;
mod config;
mod delta_fetch;
mod effects;
mod event;
mod horizon;
pub mod model;
mod peers;
mod persisted;
mod recovery;
mod refusal;
mod replica;
mod sessions;
mod sync_queue;
mod writes;

pub use clock_guard::{AheadOfTime, ClockEvidence, ImplausibleClock};
pub use config::ReplicaConfig;
pub use effects::{FrameKind, Notice, OutgoingMessage, ReplicaError, StepCost, SyncActions};
pub use event::{Event, Timer, TimerKind, TimerOp};
pub use refusal::Refusal;
pub use replica::{Pending, Replica, ReplicaSizes};
pub use sync_queue::PendingReason;
pub use syncline_crdt::{MergeFailure, Merges, RegistrationError, Unmerged};
pub use writes::{Collection, Item, Operation, OperationError, Target};
