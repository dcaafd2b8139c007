//! The changes of one batch to one trie, as an edit for the store.

use super::batch_nodes::{BatchInner, BatchNode, BatchNodes, TrieNodeRef};
use super::mem_trie::{MemBucket, MemInner, MemNode, MemTrie};
use super::redo_log::RedoLog;
use crate::prefix::Prefix;
use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;
use syncline_store::{AmendOutcome, Bytes, Edit, RowRun};
use syncline_types::{Encode, Writer};

/// The changes of one batch to one trie. A store that keeps rows asks for [`Edit::rows`], a store that keeps the
/// trie itself asks for [`Edit::amend`]; both must end in the same trie.
#[derive(Debug)]
pub(super) struct TrieEdit {
    /// The nodes of all tries of the batch.
    pub(super) nodes: Arc<BatchNodes>,
    /// The topmost node; absent if the trie is empty now.
    pub(super) top: TrieNodeRef,
    /// The prefixes of nodes that the batch has removed. If the batch has added a new node at such a prefix,
    /// the row of the new node in `nodes` wins.
    pub(super) gone: BTreeSet<Prefix>,
    pub(super) redo_log: RedoLog,
}

impl Edit for TrieEdit {
    fn rows(&self) -> Vec<(Vec<u8>, Option<Bytes>)> {
        let mut rows: Vec<_> = self.gone.iter().map(|prefix| (prefix.to_bytes(), None)).collect();
        let mut buffer = Writer::default();
        each_dirty(&self.nodes, self.top, Prefix::EMPTY, &mut |prefix, node| {
            buffer.clear();
            node.encode(&mut buffer);
            rows.push((prefix.to_bytes(), Some(buffer.as_slice().into())));
        });
        // A removal and a new node may share a key. The sort is stable, so the new node is the later one of the
        // two. Reversed, `dedup_by` drops the removal.
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        rows.reverse();
        rows.dedup_by(|(a, _), (b, _)| a == b);
        rows.reverse();
        debug_assert!(rows.is_sorted_by(|(a, _), (b, _)| a < b), "rows ascend and no key comes twice");
        rows
    }

    fn each_changed(&self, each: &mut dyn FnMut(&[u8])) {
        self.gone.iter().for_each(|prefix| each(&prefix.to_bytes()));
        each_dirty(&self.nodes, self.top, Prefix::EMPTY, &mut |prefix, _| each(&prefix.to_bytes()));
    }

    fn len(&self) -> usize {
        let mut count = self.gone.len();
        each_dirty(&self.nodes, self.top, Prefix::EMPTY, &mut |prefix, _| {
            count += usize::from(self.gone.is_empty() || !self.gone.contains(&prefix));
        });
        count
    }

    fn redo_entry(&self) -> Option<Bytes> {
        self.redo_log.to_bytes()
    }

    fn amend(&self, run: Option<&mut Arc<dyn RowRun>>) -> AmendOutcome {
        if self.top == TrieNodeRef::Absent {
            return AmendOutcome::Gone;
        }
        if let Some(run) = run {
            // No view shares this version: change it in place.
            if let Some(trie) =
                Arc::get_mut(run).and_then(|run| (run as &mut dyn Any).downcast_mut::<MemTrie>())
            {
                write_into(&self.nodes, self.top, &mut trie.0);
                return AmendOutcome::InPlace;
            }
            // A view still reads this version: change a copy, which shares the subtrees that do not differ.
            if let Some(trie) = (&**run as &dyn Any).downcast_ref::<MemTrie>() {
                let mut trie = trie.clone();
                write_into(&self.nodes, self.top, &mut trie.0);
                *run = Arc::new(trie);
                return AmendOutcome::InPlace;
            }
        }
        let mut trie = MemTrie(None);
        write_into(&self.nodes, self.top, &mut trie.0);
        debug_assert!(trie.0.is_some(), "a trie with a topmost node is not empty");
        AmendOutcome::New(Arc::new(trie))
    }
}

/// Calls `each` with every dirty node of the subtree, parents before children.
fn each_dirty(
    nodes: &BatchNodes,
    at: TrieNodeRef,
    prefix: Prefix,
    each: &mut impl FnMut(Prefix, BatchNode<'_>),
) {
    // The ancestors of a dirty node are dirty: below a clean node there is nothing to report.
    let Some(node) = nodes.get(at).filter(|_| nodes.is_dirty(at)) else { return };
    each(prefix, node);
    if let BatchNode::Inner(inner) = node {
        for (nibble, &child) in (0u8..).zip(&inner.below).filter(|(_, child)| **child != TrieNodeRef::Absent)
        {
            each_dirty(nodes, child, prefix.child(nibble), each);
        }
    }
}

/// Makes the subtree `mem` equal to the one that the batch has at `at`.
///
/// A clean node that `mem` has already is skipped with its subtree, since the batch did not change it. A
/// clean node that `mem` does not have is written: until now the store had it only as a row.
fn write_into(nodes: &BatchNodes, at: TrieNodeRef, mem: &mut Option<MemNode>) {
    if !nodes.is_dirty(at) && mem.is_some() {
        return;
    }
    match nodes.get(at) {
        // The callers pass references to loaded nodes only.
        None => debug_assert!(false, "a node reference of an edit leads to a node"),
        Some(BatchNode::Bucket(entries)) => {
            if let Some(MemNode::Bucket(bucket)) = mem {
                bucket.assign(entries);
            } else {
                let mut bucket = MemBucket::default();
                bucket.assign(entries);
                *mem = Some(MemNode::Bucket(bucket));
            }
        }
        Some(BatchNode::Inner(from)) => {
            let mut shared = match mem.take() {
                Some(MemNode::Inner(shared)) => shared,
                // A bucket has split, or the node is new.
                _ => Arc::default(),
            };
            write_inner(nodes, from, Arc::make_mut(&mut shared));
            *mem = Some(MemNode::Inner(shared));
        }
    }
}

fn write_inner(nodes: &BatchNodes, from: &BatchInner, to: &mut MemInner) {
    to.count = from.count;
    to.slots = from.slots;
    for ((hash, &child), mem) in from.slots.iter().zip(&from.below).zip(&mut to.below) {
        match child {
            TrieNodeRef::Absent if hash.is_zero() => *mem = None,
            // The batch has not loaded this child: it is unchanged, here or in its row.
            TrieNodeRef::Absent => {}
            child => write_into(nodes, child, mem),
        }
        debug_assert!(mem.is_none() || !hash.is_zero(), "an inner node names each of its children");
    }
}
