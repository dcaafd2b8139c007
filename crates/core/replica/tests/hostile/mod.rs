//! Adversaries. Whatever they do, their sessions have a typed end, the state holds nothing but valid
//! records, honest replicas back off from them for longer and longer, and converge with each other.

pub(crate) mod adversary;
mod answers;
mod claims;
mod deltas;
mod membership;
pub(crate) mod mutant;
mod mutations;
mod requests;
pub(crate) mod world;

pub(crate) use world::{Seeded, World, config};
