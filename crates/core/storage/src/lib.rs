//! The replicated state of one context: records under a Merkle index.
//!
//! A context is a map from [`EntityId`](syncline_types::EntityId) to [`Record`]. Each record is a
//! join-semilattice, and so is the map. Everything that reaches a replica (a local write, a gossiped
//! delta, a state sync, a snapshot) is a join of records. Any order, duplication or grouping of the
//! same changes therefore ends in the same records and the same root (**L1**).
//!
//! [`Interface`] is the only way to read and change a state. It buffers changes over a read view, keeps
//! the index in step with the records, and ends as one [`WriteBatch`](syncline_store::WriteBatch). It is
//! a plain value that knows no peers, no sessions and no clock.
//!
//! Modules, from the lowest layer to the highest; no module uses a later one:
//!
//! | module | subject |
//! |---|---|
//! | `error`, `prefix` | error types; prefixes of ids |
//! | [`keys`] | the layout of rows in the store |
//! | `record` | one record: its join, its bytes, and the actions that make it |
//! | `stats` | counters of the whole state |
//! | [`index`] | the Merkle tries |
//! | `interface` | one batch of reads and changes, change feed, tombstone collection |
//! | `traversal` | pages of records in id order and in depth-first order |
//! | `verify` | every stored row compared with the one that the records imply |
//!
//! ```
//! use syncline_crdt::{Register, Value};
//! use syncline_storage::{Action, ApplyContext, Interface, Label, Metadata};
//! use syncline_store::{MemoryStore, Store};
//! use syncline_types::{EntityId, HlcClock, Moment, ReplicaId, SimTime};
//!
//! let moment = Moment::at(SimTime::from_millis(1));
//! let stamp = HlcClock::new(ReplicaId::from_u64(1)).tick(moment);
//! let action = Action::Add {
//!     id: EntityId::from_u64(7),
//!     ancestors: vec![],
//!     value: Value::Lww(Register::new(stamp, b"hello".to_vec())),
//!     metadata: Metadata { created_at: stamp, updated_at: stamp, label: Label::None },
//! };
//! let mut store = MemoryStore::default();
//! let mut state = Interface::open(store.view())?;
//! state.apply_action(&action, &ApplyContext::new(moment))?;
//! let root = state.root_hash()?;
//! store.apply(state.finish()?)?;
//! assert_eq!(Interface::open(store.view())?.root_hash()?, root);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(clippy::float_arithmetic)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod error;
pub mod index;
mod interface;
pub mod keys;
mod prefix;
mod record;
mod stats;
mod traversal;
mod verify;

pub use error::{ApplyError, Disposition, Malformed, StorageError};
pub use index::{Entry, Node};
pub use interface::{ApplyContext, ApplyOutcome, Change, Interface, TombstonePass, WorkCounters, redo};
pub use keys::Slot;
pub use prefix::Prefix;
pub use record::{Action, BytesPreview, Label, Metadata, Record, RelativeAction, own_hash};
pub use stats::Stats;
pub use syncline_crdt::{CrdtType, Merges};
pub use traversal::{Cursor, RecordPage, Subtree, TreePage, record_page, tree_page};
pub use verify::{ImpliedRows, MismatchedRow, RowMismatch, Verification, verify};
