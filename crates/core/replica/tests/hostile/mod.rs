//! Adversaries. Whatever they do, their sessions have a typed end, the state holds nothing but valid
//! records, honest replicas back off from them for longer and longer, and converge with each other.

mod adversary;
mod answers;
mod claims;
mod deltas;
mod membership;
mod mutant;
mod mutations;
mod requests;
mod world;

pub(crate) use world::{Seeded, World, config};
