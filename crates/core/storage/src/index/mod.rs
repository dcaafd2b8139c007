//! The Merkle index: for each entity a trie over the ids of its children.
//!
//! The trie is radix-16 with buckets: a node stores up to [`BUCKET`] entries itself, and with more it
//! splits by the next four bits of the id. The shape depends only on the set of children, never on the
//! order of arrival, so equal sets have equal roots. An update touches one bucket and the inner nodes
//! above it: O(log16 n) rows and hashes.
//!
//! Hashes are SHA-256 with a domain tag:
//!
//! | tag | hash of | over |
//! |---|---|---|
//! | 1 | record ("own hash") | its id and canonical bytes |
//! | 2 | entity ("full hash") | its own hash and children root; without children the own hash itself |
//! | 3 | bucket | own hash and children root of each entry, by id |
//! | 4 | inner node | the hashes of its sixteen slots, zero for an empty one |
//!
//! The root of the state is the full hash of the root entity. Hashes are computed lazily, once per
//! batch, from the deepest entity up.
//!
//! A node exists in up to three forms:
//!
//! - as a *row* of the store ([`Node`]);
//! - as a *node in memory* (`mem_trie`), if the store keeps whole tries as runs; versions share subtrees;
//! - as a *batch node* (`batch_nodes`): a private copy that one batch has loaded and may change.
//!
//! A batch loads nodes from the store (`tries`), changes them (`trie_update`), and hands the store one
//! edit for each changed trie (`trie_edit`). A store that writes nodes late also gets a redo log
//! (`redo_log`).

mod arena;
mod batch_nodes;
mod mem_trie;
mod redo_log;
mod trie_edit;
mod trie_node;
mod trie_scan;
mod trie_update;
mod tries;

pub(crate) use redo_log::apply_log;
pub use trie_node::{BUCKET, Entry, Node};
pub(crate) use trie_update::EntryUpdate;
pub use tries::Tries;

use syncline_types::Digest;

/// The digest of an entity with all its descendants. `kids` is the root of the trie over its children, zero
/// without children.
pub(crate) fn full_hash(own: Digest, kids: Digest) -> Digest {
    if kids.is_zero() {
        return own;
    }
    let mut input = [0; 64];
    let (left, right) = input.split_at_mut(32);
    left.copy_from_slice(&own.0);
    right.copy_from_slice(&kids.0);
    Digest::of(2, &input)
}
