//! The replicated types: values that can be joined in any order, any number of times, with the
//! same result everywhere (Shapiro, Preguiça, Baquero, Zawirski, "Conflict-free Replicated Data
//! Types", 2011).
//!
//! Each type is a join-semilattice: [`Value::join`] is idempotent, commutative and associative
//! (**L2**). Writes are *delta-state* (Almeida, Shoker, Baquero, 2018): an operation makes a small
//! value which says only what changed, and joining it is applying it. Nothing here knows the bytes
//! of any wire or store.
//!
//! ```
//! use syncline_crdt::{GCounter, Merges, Value};
//! use syncline_types::ReplicaId;
//!
//! let (alice, bob) = (ReplicaId::from_u64(1), ReplicaId::from_u64(2));
//! let mut left = Value::GCounter(GCounter::of(alice, 5));
//! let right = Value::GCounter(GCounter::of(bob, 3));
//! left.join(&right, &Merges::default());
//! left.join(&right, &Merges::default());
//! assert!(matches!(left, Value::GCounter(c) if c.total() == 8));
//! ```
#![warn(clippy::float_arithmetic)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod counter;
mod element;
#[cfg(test)]
mod laws;
mod merges;
pub mod position;
mod register;
mod text;
mod value;

pub use counter::{CounterOverflow, GCounter, PnCounter};
pub use element::{Element, Presence};
pub use merges::{BrokenLaw, Merges};
pub use register::Register;
pub use text::{CharId, OutOfText, Run, RunId, Side, Text};
pub use value::{CrdtType, Custom, Owned, Value};
