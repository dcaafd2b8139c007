//! The nodes of tries that one batch has loaded, and may change.

use super::arena::{Arena, ArenaRef};
use super::mem_trie::MemNode;
use super::trie_node::{BUCKET, Entries, Entry, Leaf, Node, encode_inner, inner_hash};
use crate::error::StorageError;
use crate::prefix::Prefix;
use syncline_types::{Digest, Writer};

/// The error of a dangling [`TrieNodeRef`] or index. Only [`BatchNodes`] makes references, and it never
/// removes nodes, so a dangling one is a bug.
#[cold]
#[track_caller]
pub(super) fn dangling() -> StorageError {
    StorageError::internal("a node reference of a batch leads to a node")
}

/// A node in [`BatchNodes`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum TrieNodeRef {
    /// The batch has not loaded the node, or there is none.
    #[default]
    Absent,
    Bucket(u32),
    Inner(u32),
}

/// The nodes that a batch has loaded or made, of all tries, in two flat tables.
///
/// Making and dropping the nodes costs a few allocations, whatever their number. A pass over them in the
/// order of ids reads memory in order.
///
/// Invariants:
/// - Nodes are only ever added, so a [`TrieNodeRef`] stays valid for the whole batch. A node that a trie does not
///   refer to any more stays behind, unreachable.
/// - A node is *dirty* if it differs from the view. A dirty node has dirty ancestors only, all loaded: a
///   change of a node marks the path to it. So a walk over dirty nodes from the top finds all of them.
/// - A node is *stale* if its parent's slot for it is out of date. Stale nodes have stale ancestors only. Slots
///   of an inner node are right for all children that are not stale.
#[derive(Clone, Debug, Default)]
pub(super) struct BatchNodes {
    buckets: Vec<BatchBucket>,
    inners: Vec<BatchInner>,
    /// The leaves of each bucket are one run, with reserved space behind them.
    leaves: Arena<Leaf>,
    /// The roots of the children's own tries, for buckets in which any is not zero.
    kids: Arena<Digest>,
}

#[derive(Clone, Copy, Debug)]
struct BatchBucket {
    leaves: ArenaRef,
    len: usize,
    /// The size of the run of leaves, and of the run of kids if there is one: `len <= room`.
    room: usize,
    /// The run in [`BatchNodes::kids`]; `None` while all kids are zero.
    kids: Option<ArenaRef>,
    flags: Flags,
}

#[derive(Clone, Debug, Default)]
pub(super) struct BatchInner {
    pub(super) count: u64,
    /// The hash of each child; zero exactly where there is no child. [`BatchNodes::refresh`] computes the
    /// hash of a child that the batch has made.
    pub(super) slots: [Digest; 16],
    /// The children that the batch has loaded, by nibble. An absent child with a slot other than zero is as the
    /// view has it.
    pub(super) below: [TrieNodeRef; 16],
    flags: Flags,
}

impl BatchInner {
    /// The nibble of the only child; `None` if there are more. Slots must be up to date.
    pub(super) fn only_child(&self) -> Option<usize> {
        let mut taken = (0..).zip(&self.slots).filter(|(_, hash)| !hash.is_zero());
        let (first, _) = taken.next()?;
        taken.next().is_none().then_some(first)
    }
}

/// What must still be done about a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Flags {
    /// The node differs from the view: its row must be written.
    dirty: bool,
    /// The hash of the node, or of a node below it, is out of date in its parent.
    stale: bool,
}

const CHANGED: Flags = Flags { dirty: true, stale: true };

/// A node of a batch, borrowed.
#[derive(Clone, Copy, Debug)]
pub(super) enum BatchNode<'a> {
    Bucket(Entries<'a>),
    Inner(&'a BatchInner),
}

impl BatchNode<'_> {
    /// The hash of the node. Its slots must be up to date.
    pub(super) fn hash(self) -> Digest {
        match self {
            Self::Bucket(entries) => entries.hash(),
            Self::Inner(inner) => inner_hash(&inner.slots),
        }
    }

    /// Writes the row of the node.
    pub(super) fn encode(self, out: &mut Writer) {
        match self {
            Self::Bucket(entries) => entries.encode(out),
            Self::Inner(inner) => encode_inner(inner.count, &inner.slots, out),
        }
    }

    /// A copy of the node, without the nodes below it.
    pub(super) fn to_node(self) -> Node {
        match self {
            Self::Bucket(entries) => Node::Bucket(entries.iter().collect()),
            Self::Inner(inner) => Node::Inner { count: inner.count, slots: Box::new(inner.slots) },
        }
    }
}

impl BatchNodes {
    /// The node at `at`; `None` for an absent one.
    pub(super) fn get(&self, at: TrieNodeRef) -> Option<BatchNode<'_>> {
        match at {
            TrieNodeRef::Absent => None,
            TrieNodeRef::Bucket(bucket) => self.entries(bucket).map(BatchNode::Bucket),
            TrieNodeRef::Inner(inner) => self.inners.get(inner as usize).map(BatchNode::Inner),
        }
    }

    /// The entries of a bucket; `None` only for a dangling index.
    pub(super) fn entries(&self, bucket: u32) -> Option<Entries<'_>> {
        let BatchBucket { leaves, len, kids, .. } = *self.buckets.get(bucket as usize)?;
        let kids = match kids {
            Some(kids) => self.kids.get(kids, len)?,
            None => &[],
        };
        Some(Entries { leaves: self.leaves.get(leaves, len)?, kids })
    }

    pub(super) fn inner(&self, inner: u32) -> Option<&BatchInner> {
        self.inners.get(inner as usize)
    }

    pub(super) fn inner_mut(&mut self, inner: u32) -> Option<&mut BatchInner> {
        self.inners.get_mut(inner as usize)
    }

    /// Records which node is the child of `inner` under `nibble`.
    pub(super) fn set_child(
        &mut self,
        inner: u32,
        nibble: usize,
        child: TrieNodeRef,
    ) -> Result<(), StorageError> {
        let below = self.inner_mut(inner).and_then(|inner| inner.below.get_mut(nibble));
        *below.ok_or_else(dangling)? = child;
        Ok(())
    }

    fn flags(&mut self, at: TrieNodeRef) -> Option<&mut Flags> {
        match at {
            TrieNodeRef::Absent => None,
            TrieNodeRef::Bucket(bucket) => {
                self.buckets.get_mut(bucket as usize).map(|bucket| &mut bucket.flags)
            }
            TrieNodeRef::Inner(inner) => self.inners.get_mut(inner as usize).map(|inner| &mut inner.flags),
        }
    }

    /// Marks a node as dirty and stale. The caller marks its ancestors as well.
    pub(super) fn mark_changed(&mut self, at: TrieNodeRef) {
        self.flags(at).into_iter().for_each(|flags| *flags = CHANGED);
    }

    /// Whether the node differs from the view. An absent node does not.
    pub(super) fn is_dirty(&self, at: TrieNodeRef) -> bool {
        match at {
            TrieNodeRef::Absent => false,
            TrieNodeRef::Bucket(bucket) => self.buckets.get(bucket as usize).is_some_and(|it| it.flags.dirty),
            TrieNodeRef::Inner(inner) => self.inners.get(inner as usize).is_some_and(|it| it.flags.dirty),
        }
    }

    fn add_inner(&mut self, inner: BatchInner) -> TrieNodeRef {
        self.inners.push(inner);
        TrieNodeRef::Inner((self.inners.len() - 1) as u32)
    }

    fn add_entries(&mut self, entries: &[Entry], spare: usize, flags: Flags) -> TrieNodeRef {
        let leaves: Vec<Leaf> = entries.iter().map(|entry| Leaf { id: entry.id, own: entry.own }).collect();
        // Hashes and rows treat a bucket without kids like one whose kids are all zero, so that this is a matter of
        // memory only.
        let has_kids = entries.iter().any(|entry| !entry.kids.is_zero());
        let kids: Vec<Digest> = entries.iter().filter(|_| has_kids).map(|entry| entry.kids).collect();
        self.add_bucket(Entries { leaves: &leaves, kids: &kids }, spare, flags)
    }

    /// Adds a bucket with these entries and reserved space for `spare` more.
    fn add_bucket(
        &mut self,
        Entries { leaves, kids }: Entries<'_>,
        spare: usize,
        flags: Flags,
    ) -> TrieNodeRef {
        debug_assert!(
            kids.is_empty() || kids.len() == leaves.len(),
            "a bucket has kids for all leaves or none"
        );
        let at = self.leaves.add(leaves, spare, Leaf::NONE);
        let kids = (!kids.is_empty()).then(|| self.kids.add(kids, spare, Digest::ZERO));
        self.buckets.push(BatchBucket {
            leaves: at,
            len: leaves.len(),
            room: leaves.len() + spare,
            kids,
            flags,
        });
        TrieNodeRef::Bucket((self.buckets.len() - 1) as u32)
    }

    /// Loads the node of a row, with reserved space for `spare` entries.
    pub(super) fn load_row(&mut self, node: Node, spare: usize) -> TrieNodeRef {
        match node {
            Node::Bucket(entries) => self.add_entries(&entries, spare, Flags::default()),
            Node::Inner { count, slots } => {
                self.add_inner(BatchInner { count, slots: *slots, ..BatchInner::default() })
            }
        }
    }

    /// Loads a node of a trie in memory, with reserved space for `spare` entries.
    pub(super) fn load_mem(&mut self, node: &MemNode, spare: usize) -> TrieNodeRef {
        match node {
            MemNode::Bucket(bucket) => {
                let entries = bucket.entries();
                // A bucket that would grow beyond this splits into new ones.
                let spare = spare.min(BUCKET.saturating_sub(entries.len()));
                self.add_bucket(entries, spare, Flags::default())
            }
            MemNode::Inner(inner) => {
                self.add_inner(BatchInner { count: inner.count, slots: inner.slots, ..BatchInner::default() })
            }
        }
    }

    /// Adds a new subtree with these entries, which ascend by id and begin with `prefix`. It has as many levels
    /// as it needs, and all its nodes are dirty and stale.
    pub(super) fn add_subtree(&mut self, entries: &[Entry], prefix: Prefix) -> TrieNodeRef {
        if entries.is_empty() {
            return TrieNodeRef::Absent;
        }
        // The same rule as in `update_bucket`: the shape depends on the set of ids alone. At full depth there is one
        // id only, so that the recursion ends whatever the entries are.
        if entries.len() <= BUCKET || prefix.len() == Prefix::MAX_LEN {
            return self.add_entries(entries, 0, CHANGED);
        }
        let mut inner = BatchInner { count: entries.len() as u64, flags: CHANGED, ..BatchInner::default() };
        let mut rest = entries;
        for (nibble, below) in (0u8..).zip(&mut inner.below) {
            let until = rest.partition_point(|entry| prefix.next_nibble(entry.id) <= usize::from(nibble));
            let (group, others) = rest.split_at(until);
            *below = self.add_subtree(group, prefix.child(nibble));
            rest = others;
        }
        debug_assert!(rest.is_empty(), "every entry goes below one of the sixteen nibbles");
        self.add_inner(inner)
    }

    /// Replaces the entry at `index` of a bucket. Returns whether it differed; `None` for a dangling index.
    pub(super) fn set_entry(&mut self, bucket: u32, index: usize, entry: Entry) -> Option<bool> {
        let current = self.entries(bucket)?.at(index)?;
        if current == entry {
            return Some(false);
        }
        debug_assert_eq!(current.id, entry.id, "an entry is replaced by one of the same child");
        // Before the borrow of the bucket: a new run for kids may be added to the arena.
        self.ensure_kids(bucket, entry.kids)?;
        let BatchBucket { leaves, len, kids, flags, .. } = self.buckets.get_mut(bucket as usize)?;
        *flags = CHANGED;
        *self.leaves.get_mut(*leaves, *len)?.get_mut(index)? = Leaf { id: entry.id, own: entry.own };
        if let Some(kids) = kids {
            *self.kids.get_mut(*kids, *len)?.get_mut(index)? = entry.kids;
        }
        Some(true)
    }

    /// Inserts an entry at `index` of a bucket; `None` for a dangling index.
    pub(super) fn insert_entry(&mut self, bucket: u32, index: usize, entry: Entry) -> Option<()> {
        self.ensure_kids(bucket, entry.kids)?;
        self.reserve_one(bucket)?;
        let BatchBucket { leaves, len, room, kids, flags } = self.buckets.get_mut(bucket as usize)?;
        debug_assert!(*len < *room && index <= *len, "the new entry lies within the run of its bucket");
        *flags = CHANGED;
        // The run includes one reserved value behind the last entry, which `rotate_right` brings to the front.
        let leaves = self.leaves.get_mut(*leaves, *len + 1)?;
        leaves.get_mut(index..)?.rotate_right(1);
        *leaves.get_mut(index)? = Leaf { id: entry.id, own: entry.own };
        if let Some(kids) = *kids {
            let kids = self.kids.get_mut(kids, *len + 1)?;
            kids.get_mut(index..)?.rotate_right(1);
            *kids.get_mut(index)? = entry.kids;
        }
        *len += 1;
        Some(())
    }

    /// Removes the entry at `index` of a bucket; `None` for a dangling index.
    pub(super) fn remove_entry(&mut self, bucket: u32, index: usize) -> Option<Entry> {
        let removed = self.entries(bucket)?.at(index)?;
        let BatchBucket { leaves, len, kids, flags, .. } = self.buckets.get_mut(bucket as usize)?;
        *flags = CHANGED;
        // The removed value moves behind the last entry, where it counts as reserved space.
        self.leaves.get_mut(*leaves, *len)?.get_mut(index..)?.rotate_left(1);
        if let Some(kids) = *kids {
            self.kids.get_mut(kids, *len)?.get_mut(index..)?.rotate_left(1);
        }
        *len -= 1;
        Some(removed)
    }

    /// Adds a run for kids to a bucket that is about to receive its first entry whose kids are not zero.
    fn ensure_kids(&mut self, bucket: u32, kids: Digest) -> Option<()> {
        let bucket = self.buckets.get_mut(bucket as usize)?;
        if !kids.is_zero() && bucket.kids.is_none() {
            // As large as the run of leaves, so that `room` holds for both; zero for all present entries.
            bucket.kids = Some(self.kids.add(&[], bucket.room, Digest::ZERO));
        }
        Some(())
    }

    /// Ensures reserved space for one more entry. A bucket without any moves to new runs, since the runs of
    /// other buckets follow the old ones.
    fn reserve_one(&mut self, bucket: u32) -> Option<()> {
        const SPARE: usize = 4;
        let BatchBucket { leaves, len, room, kids, .. } = *self.buckets.get(bucket as usize)?;
        debug_assert!(len <= room, "the entries of a bucket lie within its run");
        if len < room {
            return Some(());
        }
        // Copied first, because the arena cannot be read and extended at once. Rare: buckets are loaded with space
        // for the entries that are about to be added.
        let copy = self.leaves.get(leaves, len)?.to_vec();
        let leaves = self.leaves.add(&copy, SPARE, Leaf::NONE);
        let kids = match kids {
            Some(kids) => {
                let copy = self.kids.get(kids, len)?.to_vec();
                Some(self.kids.add(&copy, SPARE, Digest::ZERO))
            }
            None => None,
        };
        let moved = self.buckets.get_mut(bucket as usize)?;
        moved.leaves = leaves;
        moved.room = len + SPARE;
        moved.kids = kids;
        Some(())
    }

    /// Brings the slots of this node and of every stale node below it up to date. Returns the hash of this node.
    ///
    /// Only stale nodes are visited, so that the cost is the number of nodes that changed since the last call.
    /// A stale child always has a stale parent, hence none is missed.
    pub(super) fn refresh(&mut self, at: TrieNodeRef, hashes: &mut u64) -> Digest {
        let was_stale = self.flags(at).is_some_and(|flags| std::mem::take(&mut flags.stale));
        if let (true, TrieNodeRef::Inner(inner)) = (was_stale, at) {
            let below = self.inner(inner).map_or([TrieNodeRef::Absent; 16], |inner| inner.below);
            for (nibble, child) in below.into_iter().enumerate() {
                if self.flags(child).is_some_and(|flags| flags.stale) {
                    let hash = self.refresh(child, hashes);
                    debug_assert!(!hash.is_zero(), "a child that exists has a hash");
                    let slot = self.inner_mut(inner).and_then(|inner| inner.slots.get_mut(nibble));
                    slot.into_iter().for_each(|slot| *slot = hash);
                }
            }
        }
        *hashes += 1;
        self.get(at).map_or(Digest::ZERO, BatchNode::hash)
    }
}
