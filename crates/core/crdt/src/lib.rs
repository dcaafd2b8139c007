//! Conflict-free replicated data types: values that give the same result on all replicas, in whatever
//! order and however often they are joined (Shapiro, Preguiça, Baquero, Zawirski, "Conflict-free
//! Replicated Data Types", 2011).
//!
//! Each type is a join-semilattice: [`Value::join`] computes the least upper bound of two values, and is
//! idempotent, commutative and associative (**L2**). Idempotence makes duplicated delivery harmless,
//! commutativity and associativity make reordered and batched delivery harmless. Writes are *delta-state*
//! (Almeida, Shoker, Baquero, "Delta State Replicated Data Types", 2018): an operation returns a small value
//! with only the change, and a join applies it. This crate defines no encoding for the wire or a store.
//!
//! ```
//! use syncline_crdt::{GCounter, Value};
//! use syncline_types::ReplicaId;
//!
//! let alice = ReplicaId::from_u64(1);
//! let bob = ReplicaId::from_u64(2);
//! let mut left = Value::GCounter(GCounter::of(alice, 5));
//! let right = Value::GCounter(GCounter::of(bob, 3));
//! left.join(&right);
//! left.join(&right); // Idempotent: the second join changes nothing.
//! assert!(matches!(left, Value::GCounter(c) if c.total() == 8));
//! ```
#![warn(clippy::float_arithmetic)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod counter;
mod custom;
mod element;
#[cfg(test)]
mod laws;
mod merge_cache;
mod merge_result;
mod merges;
pub mod position;
mod register;
mod text;
mod value;

pub use counter::{CounterOverflow, GCounter, PnCounter};
pub use custom::{Custom, Operands};
pub use element::{Element, Presence};
pub use merge_result::MergeFailure;
pub use merges::{Law, Merges, RegistrationError, Unmerged};
pub use register::Register;
pub use text::{CharId, OutOfText, RunId, Side, Text, TextRun};
pub use value::{CrdtType, OwnedRegister, Value};
