//! The replicated state of one context: records under a Merkle index.
//!
//! A context is a map from [`EntityId`](syncline_types::EntityId) to [`Record`], and it is a
//! join-semilattice record by record: everything that reaches a replica (a local write, a gossiped
//! delta, a state sync, a snapshot) is a join of records. So any order, duplication or grouping of
//! the same changes ends in the same records and the same root (**L1**).
//!
//! [`Interface`] is the door: it holds changes over a read view, keeps the index in step with the
//! records, and ends as one [`WriteBatch`](syncline_store::WriteBatch). It is a value; it knows no
//! peers, no sessions and no clock.
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

mod action;
mod changes;
mod collect;
mod error;
pub mod index;
mod interface;
pub mod keys;
mod label;
mod record;
mod record_codec;
mod scan;
mod stats;
mod text_codec;
mod verify;
mod walk;
mod words;

pub use action::{Action, Metadata};
pub use changes::Change;
pub use error::{ApplyError, Disposition, Malformed, StorageError};
pub use index::{Entry, Node, Prefix};
pub use interface::{Applied, ApplyContext, Interface, Work};
pub use keys::Slot;
pub use label::Label;
pub use record::Record;
pub use record_codec::own_hash;
pub use scan::{RecordPage, Subtree, record_page};
pub use stats::Stats;
pub use syncline_crdt::{CrdtType, Merges};
pub use verify::{Verification, tries_are_told, verify};
pub use walk::{Cursor, TreePage, tree_page};
pub use words::Shown;
