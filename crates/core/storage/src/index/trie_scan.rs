//! Reading the entries of a trie in order.

use super::batch_nodes::{BatchNode, BatchNodes, TrieNodeRef, dangling};
use super::mem_trie::MemNode;
use super::trie_node::{Entry, Node};
use super::tries::{MISSING, NodeSource};
use crate::error::StorageError;
use crate::prefix::Prefix;
use syncline_store::ReadView;
use syncline_types::EntityId;

/// Appends the entries of the subtree `at`, which is at `prefix`, with `from <= id <= to` to `found`, ascending,
/// until it has `limit` of them. Loads the nodes that it needs into the batch. The subtree has ids in the range.
#[expect(clippy::too_many_arguments, reason = "a recursion that passes on all that it works with")]
pub(super) fn collect<V: ReadView>(
    nodes: &mut BatchNodes,
    at: TrieNodeRef,
    base: Option<&MemNode>,
    prefix: Prefix,
    source: &mut NodeSource<'_, '_, V>,
    (from, to): (EntityId, EntityId),
    limit: usize,
    found: &mut Vec<Entry>,
) -> Result<(), StorageError> {
    match at {
        TrieNodeRef::Absent => {}
        TrieNodeRef::Bucket(bucket) => {
            debug_assert!(found.len() <= limit, "no more children than asked for");
            let room = limit - found.len();
            let entries = nodes.entries(bucket).ok_or_else(dangling)?.iter();
            found.extend(entries.filter(|entry| from <= entry.id && entry.id <= to).take(room));
        }
        TrieNodeRef::Inner(inner) => {
            debug_assert!(from <= prefix.last_id() && prefix.first_id() <= to, "the range meets the subtree");
            // A bound that lies in the subtree begins with its prefix, and its next nibble says in which child it is.
            let bound =
                |id, at| if prefix.contains(id) { Prefix::nibble(id, prefix.len()) as u8 } else { at };
            for nibble in bound(from, 0)..=bound(to, 15) {
                if found.len() == limit {
                    break;
                }
                let (child, base) = source.child(nodes, inner, base, (prefix, usize::from(nibble)), 0)?;
                collect(nodes, child, base, prefix.child(nibble), source, (from, to), limit, found)?;
            }
        }
    }
    Ok(())
}

/// Calls `each` with every entry of the subtree `at`, which is at `prefix`, ascending. Nodes that the batch has
/// not loaded are read from memory or from rows and dropped again. Slots must be up to date.
pub(super) fn scan_loaded<V: ReadView>(
    nodes: &BatchNodes,
    at: TrieNodeRef,
    base: Option<&MemNode>,
    prefix: Prefix,
    source: &mut NodeSource<'_, '_, V>,
    each: &mut impl FnMut(&Entry),
) -> Result<(), StorageError> {
    match nodes.get(at) {
        // An empty trie: below an inner node, only children that exist are visited.
        None => {}
        Some(BatchNode::Bucket(entries)) => entries.iter().for_each(|entry| each(&entry)),
        Some(BatchNode::Inner(inner)) => {
            let named = (0u8..).zip(&inner.slots).zip(&inner.below).filter(|((_, hash), _)| !hash.is_zero());
            for ((nibble, _), &child) in named {
                let below = prefix.child(nibble);
                // What the batch has loaded may be newer than what the view has.
                match (child, base.and_then(|base| base.child(nibble))) {
                    (TrieNodeRef::Absent, Some(base)) => scan_mem(base, below, source, each)?,
                    (TrieNodeRef::Absent, None) => scan_rows(below, source, each)?,
                    (child, base) => scan_loaded(nodes, child, base, below, source, each)?,
                }
            }
        }
    }
    Ok(())
}

/// Calls `each` with every entry of the subtree `node`, which is at `prefix`, ascending.
fn scan_mem<V: ReadView>(
    node: &MemNode,
    prefix: Prefix,
    source: &mut NodeSource<'_, '_, V>,
    each: &mut impl FnMut(&Entry),
) -> Result<(), StorageError> {
    *source.reads += 1;
    match node {
        MemNode::Bucket(bucket) => bucket.entries().iter().for_each(|entry| each(&entry)),
        MemNode::Inner(inner) => {
            for ((nibble, hash), child) in (0u8..).zip(&inner.slots).zip(&inner.below) {
                match child {
                    Some(child) => scan_mem(child, prefix.child(nibble), source, each)?,
                    None if hash.is_zero() => {}
                    // A store that also has rows need not have every node in memory.
                    None => scan_rows(prefix.child(nibble), source, each)?,
                }
            }
        }
    }
    Ok(())
}

/// Calls `each` with every entry of the subtree whose topmost node is the row at `prefix`, ascending.
fn scan_rows<V: ReadView>(
    prefix: Prefix,
    source: &mut NodeSource<'_, '_, V>,
    each: &mut impl FnMut(&Entry),
) -> Result<(), StorageError> {
    match source.read(prefix)?.ok_or(MISSING)? {
        Node::Bucket(entries) => entries.iter().for_each(each),
        Node::Inner { slots, .. } => {
            for (nibble, _) in (0u8..).zip(slots.iter()).filter(|(_, hash)| !hash.is_zero()) {
                scan_rows(prefix.child(nibble), source, each)?;
            }
        }
    }
    Ok(())
}
