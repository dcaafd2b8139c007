//! Peers that lie. Whatever they do, there is a typed end to it, the state holds nothing but valid
//! records, they are left alone for longer and longer, and those who are honest become equal.

mod answers;
mod claims;
mod deltas;
mod liar;
mod membership;
mod mutant;
mod mutations;
mod requests;
mod world;
