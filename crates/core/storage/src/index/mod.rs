//! The Merkle index: for each entity a trie over the ids of its children.
//!
//! The trie is radix-16 with buckets: a node holds its entries itself up to [`BUCKET`] of them and
//! splits by the next four bits of the id beyond that. Its shape depends only on which children
//! there are, never on the order of their arrival, so equal sets have equal roots. An update
//! touches one bucket and the inner nodes above it: O(log16 n) rows and hashes.
//!
//! Hashes (SHA-256, each with a tag of its own):
//!
//! | what | over |
//! |---|---|
//! | own hash of a record | its id and canonical bytes |
//! | bucket | own hash and children root of each entry, by id |
//! | inner node | the hashes of its sixteen slots, zero for an empty one |
//! | full hash of an entity | its own hash and children root; the own hash alone without children |
//!
//! The root of the state is the full hash of the root entity. Hashes are computed lazily, once per
//! batch, from the deepest entity up.

mod arena;
mod held;
mod kept;
mod node;
mod notes;
mod prefix;
mod trie;

pub use node::{BUCKET, Entry, Node};
pub use notes::redo;
pub use prefix::Prefix;
pub use trie::{Tries, Update};

use syncline_types::Digest;

/// The digest of an entity with all that hangs below it. `kids` is the root of its children's
/// trie, zero without children.
pub fn full_hash(own: Digest, kids: Digest) -> Digest {
    if kids.is_zero() {
        return own;
    }
    let mut input = [0; 64];
    let (left, right) = input.split_at_mut(32);
    left.copy_from_slice(&own.0);
    right.copy_from_slice(&kids.0);
    Digest::of(2, &input)
}
