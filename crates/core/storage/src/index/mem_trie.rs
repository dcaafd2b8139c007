//! Tries as a store in memory holds them: nodes that own their children, with nothing encoded.

use super::trie_node::{Entries, Leaf, encode_inner};
use crate::prefix::Prefix;
use std::sync::Arc;
use syncline_store::{Bytes, RowRun};
use syncline_types::{Decode, Digest, Encode, EntityId, Writer};

/// The step in which a growing bucket reserves space for entries.
const GROWTH: usize = 8;

/// A node with its whole subtree. Clones share the inner nodes below them, so that each version of a trie costs
/// only the path that differs. Shared nodes are never changed: `Arc::make_mut` copies them first.
#[derive(Clone, Debug)]
pub(super) enum MemNode {
    Bucket(MemBucket),
    Inner(Arc<MemInner>),
}

/// The entries of a bucket, ascending by id.
#[derive(Clone, Debug, Default)]
pub(super) struct MemBucket {
    leaves: Vec<Leaf>,
    /// The roots of the children's own tries; empty if all of them are zero.
    kids: Box<[Digest]>,
}

impl MemBucket {
    pub(super) fn entries(&self) -> Entries<'_> {
        Entries { leaves: &self.leaves, kids: &self.kids }
    }

    /// Replaces the content by these entries, in place if there is space.
    pub(super) fn assign(&mut self, entries: Entries<'_>) {
        self.leaves.clear();
        if self.leaves.capacity() < entries.len() {
            let is_new = self.leaves.capacity() == 0;
            let room = if is_new { entries.len() } else { entries.len().next_multiple_of(GROWTH) };
            // A new allocation, because `reserve` would copy values that are overwritten next.
            self.leaves = Vec::with_capacity(room);
        }
        self.leaves.extend_from_slice(entries.leaves);
        if self.kids.len() == entries.kids.len() {
            self.kids.copy_from_slice(entries.kids);
        } else {
            self.kids = entries.kids.into();
        }
        debug_assert!(
            self.kids.is_empty() || self.kids.len() == self.leaves.len(),
            "a bucket has kids for all leaves or none"
        );
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct MemInner {
    pub(super) count: u64,
    pub(super) slots: [Digest; 16],
    /// The children by nibble; none where the slot is zero. A store that also has rows may lack a child whose
    /// slot is not zero, because its row has not been loaded yet.
    pub(super) below: [Option<MemNode>; 16],
}

impl MemNode {
    pub(super) fn child(&self, nibble: u8) -> Option<&Self> {
        match self {
            Self::Bucket(_) => None,
            Self::Inner(inner) => inner.below.get(usize::from(nibble))?.as_ref(),
        }
    }

    /// Reads the path to each of `ids` ahead of its use. All paths advance by one level at a time, so that the
    /// cache misses of one level overlap instead of following one another.
    pub(super) fn prefetch(&self, ids: &[EntityId]) {
        let mut nodes: Vec<Option<&Self>> = vec![Some(self); ids.len()];
        let mut prefix_len = 0;
        let mut sum = 0;
        while nodes.iter().any(Option::is_some) && prefix_len < Prefix::MAX_LEN {
            for (node, id) in nodes.iter_mut().zip(ids) {
                *node = node.and_then(|at| at.child(Prefix::nibble(*id, prefix_len) as u8));
                if let Some(Self::Bucket(bucket)) = node {
                    sum ^= bucket.leaves.iter().fold(0, |sum, leaf| sum ^ leaf.own.short());
                }
            }
            prefix_len += 1;
        }
        // The sum means nothing; the compiler must not drop the reads.
        std::hint::black_box(sum);
    }

    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Bucket(bucket) => bucket.entries().encode(out),
            Self::Inner(inner) => encode_inner(inner.count, &inner.slots, out),
        }
    }

    fn children(&self) -> impl Iterator<Item = (u8, &Self)> {
        let below = match self {
            Self::Bucket(_) => &[][..],
            Self::Inner(inner) => &inner.below,
        };
        (0u8..).zip(below).filter_map(|(nibble, child)| Some((nibble, child.as_ref()?)))
    }

    /// The number of nodes of the subtree.
    fn nodes(&self) -> usize {
        1 + self.children().map(|(_, child)| child.nodes()).sum::<usize>()
    }

    /// Passes the rows of all nodes exactly `level` levels below this one, which is at `prefix`, to `each`,
    /// ascending from `from` on, until `each` returns true. Returns whether it did. Sets `found` if there are
    /// nodes at that level at all.
    fn walk_level(
        &self,
        prefix: Prefix,
        level: u8,
        from: Prefix,
        found: &mut bool,
        each: &mut dyn FnMut(&[u8], Bytes) -> bool,
    ) -> bool {
        *found |= level == 0;
        // Everything below this node is before `from`.
        if prefix.last_id() < from.first_id() {
            return false;
        }
        if level > 0 {
            return self
                .children()
                .any(|(nibble, child)| child.walk_level(prefix.child(nibble), level - 1, from, found, each));
        }
        let mut row = Writer::default();
        self.encode(&mut row);
        each(&prefix.to_bytes(), row.into_bytes().into())
    }
}

/// The trie over the children of one entity as a run of rows, one for each node. `None` is the empty trie.
#[derive(Clone, Debug)]
pub(super) struct MemTrie(pub(super) Option<MemNode>);

impl RowRun for MemTrie {
    fn read(&self, suffix: &[u8]) -> Option<Bytes> {
        // A suffix that is no prefix is the key of no row.
        let wanted = Prefix::from_bytes(suffix).ok()?;
        let mut node = self.0.as_ref()?;
        let mut at = Prefix::EMPTY;
        while at != wanted {
            if at.len() >= wanted.len() {
                return None;
            }
            let nibble = at.next_nibble(wanted.first_id()) as u8;
            at = at.child(nibble);
            node = node.child(nibble)?;
        }
        let mut row = Writer::default();
        node.encode(&mut row);
        Some(row.into_bytes().into())
    }

    fn walk(&self, from: &[u8], each: &mut dyn FnMut(&[u8], Bytes) -> bool) {
        // An empty trie has no rows.
        let Some(root) = &self.0 else { return };
        // The encoding of a prefix begins with its length, so rows ascend level by level.
        let first = from.first().copied().unwrap_or(0);
        for level in first..=Prefix::MAX_LEN {
            // A lower bound that skips most of what is before `from`; `each` below compares exactly.
            let begin = if level == first { Prefix::beginning(level, from) } else { Prefix::EMPTY };
            let mut found = false;
            let mut each = |suffix: &[u8], row| *suffix >= *from && each(suffix, row);
            let stopped = root.walk_level(Prefix::EMPTY, level, begin, &mut found, &mut each);
            // If a level has no nodes, neither have the levels below it. On the first level, `found` decides
            // nothing: all nodes may be before `begin`.
            if stopped || !found && level > first {
                return;
            }
        }
    }

    fn touch(&self) -> u8 {
        let first = match &self.0 {
            Some(MemNode::Bucket(bucket)) => bucket.leaves.first().map(|leaf| leaf.id.0),
            Some(MemNode::Inner(inner)) => inner.slots.first().map(|hash| hash.0),
            None => None,
        };
        first.map_or(0, |[byte, ..]| byte)
    }

    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, MemNode::nodes)
    }
}
