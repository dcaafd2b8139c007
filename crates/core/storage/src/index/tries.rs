//! The tries of one state, read and changed over a view of the store.

use super::batch_nodes::{BatchNode, BatchNodes, TrieNodeRef, dangling};
use super::mem_trie::{MemNode, MemTrie};
use super::redo_log::RedoLog;
use super::trie_edit::TrieEdit;
use super::trie_node::{Entry, Node, bucket_hash};
use super::trie_scan::{collect, scan_loaded};
use super::trie_update::{EntryUpdate, Removal, update_at};
use crate::error::StorageError;
use crate::keys;
use crate::prefix::Prefix;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::sync::Arc;
use syncline_store::{Key, ReadView, WriteBatch};
use syncline_types::{Decode, Digest, EntityId};

/// The number of paths that [`MemNode::prefetch`] reads at once.
const PREFETCH: usize = 16;

/// The error of a node that its parent names and the view does not have: the store is damaged.
pub(super) const MISSING: StorageError =
    StorageError::Index { what: "a node that its parent names is not there" };

/// One trie, with the changes of one batch over the view.
#[derive(Clone, Debug)]
struct TrieRoot {
    /// The topmost node, always loaded; absent for an empty trie.
    top: TrieNodeRef,
    /// The topmost node as the view has it in memory, if it does and if the node has children.
    base: Option<MemNode>,
    /// The prefixes of nodes that the batch has removed.
    gone: BTreeSet<Prefix>,
    redo_log: RedoLog,
}

/// All tries of a state, with the changes of one batch over the view.
#[derive(Clone, Debug, Default)]
pub struct Tries {
    /// The slot in which the rows of the nodes are.
    slot: keys::Slot,
    /// The loaded nodes of all tries together: most tries are small, and an allocation for each would cost more
    /// than its hashes.
    nodes: BatchNodes,
    /// The opened tries, by entity.
    roots: BTreeMap<EntityId, TrieRoot>,
    /// Nodes read from the view.
    reads: u64,
    /// SHA-256 hashes computed.
    hashes: u64,
}

/// Loads nodes of one trie from the view.
pub(super) struct NodeSource<'v, 'r, V> {
    view: &'v V,
    slot: keys::Slot,
    entity: EntityId,
    pub(super) reads: &'r mut u64,
}

impl<V: ReadView> NodeSource<'_, '_, V> {
    /// The node of the row at `prefix`.
    pub(super) fn read(&mut self, prefix: Prefix) -> Result<Option<Node>, StorageError> {
        *self.reads += 1;
        let row = self.view.read(&keys::node(self.slot, self.entity, prefix))?;
        row.map(|row| Node::from_bytes(&row)).transpose().map_err(StorageError::row("an index node"))
    }

    /// Loads the topmost node.
    fn root(&mut self, nodes: &mut BatchNodes) -> Result<TrieRoot, StorageError> {
        let gone = BTreeSet::new();
        let redo_log = RedoLog::new(self.view.wants_redo_entries());
        let run = self.view.run(&keys::trie(self.slot, self.entity));
        // A view that has the trie in memory gives its nodes without decoding them. The clone of the topmost node
        // shares everything below it, and keeps this version alive while the batch changes its own copies.
        if let Some(MemTrie(Some(top))) = run.and_then(|run| (&**run as &dyn Any).downcast_ref()) {
            *self.reads += 1;
            let base = matches!(top, MemNode::Inner(_)).then(|| top.clone());
            return Ok(TrieRoot { top: nodes.load_mem(top, 1), base, gone, redo_log });
        }
        let top = self.read(Prefix::EMPTY)?.map_or(TrieNodeRef::Absent, |node| nodes.load_row(node, 1));
        Ok(TrieRoot { top, base: None, gone, redo_log })
    }

    /// The child under `nibble` of the inner node `inner`, which is at `prefix`. A child that the batch has not
    /// loaded is loaded first, with reserved space for `spare` entries.
    ///
    /// `base` is the same inner node as the view has it in memory. The second result is the child there.
    pub(super) fn child<'b>(
        &mut self,
        nodes: &mut BatchNodes,
        inner: u32,
        base: Option<&'b MemNode>,
        (prefix, nibble): (Prefix, usize),
        spare: usize,
    ) -> Result<(TrieNodeRef, Option<&'b MemNode>), StorageError> {
        let base = base.and_then(|base| base.child(nibble as u8));
        let parent = nodes.inner(inner).ok_or_else(dangling)?;
        let child = parent.below.get(nibble).copied().ok_or_else(dangling)?;
        let is_named = parent.slots.get(nibble).is_some_and(|hash| !hash.is_zero());
        // A slot of zero means that there is no child now. The view may still have one there that the batch has
        // removed, so it must not be asked.
        if child != TrieNodeRef::Absent || !is_named {
            return Ok((child, base));
        }
        let child = match base {
            Some(node) => {
                *self.reads += 1;
                nodes.load_mem(node, spare)
            }
            None => nodes.load_row(self.read(prefix.child(nibble as u8))?.ok_or(MISSING)?, spare),
        };
        nodes.set_child(inner, nibble, child)?;
        Ok((child, base))
    }
}

impl Tries {
    /// The tries of the state in `slot`.
    pub fn of(slot: keys::Slot) -> Self {
        Self { slot, ..Self::default() }
    }

    /// Reads the topmost nodes of these tries, which will be used next, so that their cache misses overlap.
    pub fn prefetch<V: ReadView>(&self, view: &V, entities: impl IntoIterator<Item = EntityId>) {
        let new = entities.into_iter().filter(|entity| !self.roots.contains_key(entity));
        let keys: Vec<Key> = new.map(|entity| keys::trie(self.slot, entity)).collect();
        if keys.len() > 1 {
            view.prefetch_runs(&keys);
        }
    }

    /// Opens the trie over the children of `entity`, with the source of its nodes.
    fn open<'a, 'v, V: ReadView>(
        &'a mut self,
        view: &'v V,
        entity: EntityId,
    ) -> Result<(&'a mut TrieRoot, &'a mut BatchNodes, NodeSource<'v, 'a, V>), StorageError> {
        let mut source = NodeSource { view, slot: self.slot, entity, reads: &mut self.reads };
        let root = match self.roots.entry(entity) {
            btree_map::Entry::Occupied(root) => root.into_mut(),
            btree_map::Entry::Vacant(vacant) => vacant.insert(source.root(&mut self.nodes)?),
        };
        Ok((root, &mut self.nodes, source))
    }

    /// The node at exactly `prefix` in the trie over the children of `entity`. O(log n).
    pub fn node<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        prefix: Prefix,
    ) -> Result<Option<Node>, StorageError> {
        let (at, node) = self.locate(view, entity, prefix.first_id(), prefix.len())?;
        Ok(node.filter(|_| at == prefix).map(BatchNode::to_node))
    }

    /// The node at which the children of `entity` under `prefix` first part, with its position: the first node at or
    /// below `prefix` that is no inner node with a single child. `None` if there is no node at `prefix`: its children
    /// share a bucket with others, or there are none. Hashes must be up to date: see [`Tries::root`]. O(log n) for
    /// hashed ids, and at most the length of an id.
    ///
    /// A trie over ids with a common beginning has a long path without branches. This is the path compression of
    /// Morrison ("PATRICIA", 1968), made when a node is looked for and not in the stored trie, whose hashes cover
    /// every nibble.
    pub fn branch<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        prefix: Prefix,
    ) -> Result<Option<(Prefix, Node)>, StorageError> {
        let (TrieRoot { top, base, .. }, nodes, mut source) = self.open(view, entity)?;
        let mut at = *top;
        let mut base = base.as_ref();
        let mut position = Prefix::EMPTY;
        while let TrieNodeRef::Inner(inner) = at
            && position.len() < Prefix::MAX_LEN
        {
            let nibble = if position.len() < prefix.len() {
                position.next_nibble(prefix.first_id())
            } else if let Some(only) = nodes.inner(inner).ok_or_else(dangling)?.only_child() {
                only
            } else {
                break;
            };
            (at, base) = source.child(nodes, inner, base, (position, nibble), 1)?;
            position = position.child(nibble as u8);
        }
        let node = nodes.get(at).filter(|_| position.len() >= prefix.len());
        Ok(node.map(|node| (position, node.to_node())))
    }

    /// The lowest node on the path to `id`, at most `depth` nibbles down, with its prefix. It is an inner node
    /// only if it is exactly `depth` nibbles down.
    fn locate<'a, V: ReadView>(
        &'a mut self,
        view: &V,
        entity: EntityId,
        id: EntityId,
        depth: u8,
    ) -> Result<(Prefix, Option<BatchNode<'a>>), StorageError> {
        let (TrieRoot { top, base, .. }, nodes, mut source) = self.open(view, entity)?;
        let mut at = *top;
        let mut base = base.as_ref();
        let mut prefix = Prefix::EMPTY;
        while let TrieNodeRef::Inner(inner) = at
            && prefix.len() < depth
        {
            let nibble = prefix.next_nibble(id);
            (at, base) = source.child(nodes, inner, base, (prefix, nibble), 1)?;
            prefix = prefix.child(nibble as u8);
        }
        debug_assert!(prefix.contains(id), "the path to an id consists of its prefixes");
        Ok((prefix, nodes.get(at)))
    }

    /// The entry of the child `id` of `entity`. O(log n).
    pub fn entry<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        id: EntityId,
    ) -> Result<Option<Entry>, StorageError> {
        let (_, node) = self.locate(view, entity, id, Prefix::MAX_LEN)?;
        // The path ends where there is no node, so there is no such child.
        let Some(BatchNode::Bucket(entries)) = node else { return Ok(None) };
        Ok(entries.find(id).ok().and_then(|index| entries.at(index)))
    }

    /// Changes or inserts the entries of these children of `entity`. `updates` ascend by id and contain no child
    /// twice. Returns whether any entry differs now. O(updates · log n).
    pub(crate) fn update<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        updates: &mut [EntryUpdate],
    ) -> Result<bool, StorageError> {
        debug_assert!(updates.is_sorted_by(|a, b| a.id < b.id), "updates ascend and no child comes twice");
        let (TrieRoot { top, base, redo_log, .. }, nodes, mut source) = self.open(view, entity)?;
        // Logged before the change: what the log says does not depend on the entries that it meets.
        redo_log.push_updates(updates);
        if let Some(base) = base.as_ref().filter(|_| updates.len() > 1) {
            let mut ids = [EntityId::ROOT; PREFETCH];
            for some in updates.chunks(PREFETCH) {
                ids.iter_mut().zip(some).for_each(|(to, update)| *to = update.id);
                base.prefetch(ids.get(..some.len()).unwrap_or_default());
            }
        }
        let updated = update_at(nodes, top, base.as_ref(), Prefix::EMPTY, &mut source, updates)?;
        Ok(updated.changed)
    }

    /// Removes the child `id` of `entity`, and merges nodes that have become small enough for one bucket.
    /// Returns the entry that it had. O(log n).
    pub fn remove<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        id: EntityId,
    ) -> Result<Option<Entry>, StorageError> {
        let (TrieRoot { top, base, gone, redo_log }, nodes, mut source) = self.open(view, entity)?;
        redo_log.push_removal(id);
        Removal { nodes, source: &mut source, gone }.remove_at(top, base.as_ref(), Prefix::EMPTY, id)
    }

    /// The root of the trie over the children of `entity`, with all hashes brought up to date; zero without
    /// children. O(nodes changed since the last call).
    pub fn root<V: ReadView>(&mut self, view: &V, entity: EntityId) -> Result<Digest, StorageError> {
        let mut hashes = 0;
        let (TrieRoot { top, .. }, nodes, _) = self.open(view, entity)?;
        let is_empty = *top == TrieNodeRef::Absent;
        let hash = if is_empty { Digest::ZERO } else { nodes.refresh(*top, &mut hashes) };
        self.hashes += hashes;
        Ok(hash)
    }

    /// The hash of the node at `prefix`, or the hash that it would have if its children did not share a bucket
    /// with others; zero without children there. Hashes must be up to date: see [`Tries::root`]. O(log n).
    pub fn hash_at<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        prefix: Prefix,
    ) -> Result<Digest, StorageError> {
        self.hashes += 1;
        let (at, node) = self.locate(view, entity, prefix.first_id(), prefix.len())?;
        Ok(match node {
            // No child begins with `prefix`.
            None => Digest::ZERO,
            Some(node) if at == prefix => node.hash(),
            // A bucket at a shorter prefix: the hash of the part of it that begins with `prefix`. It does not matter
            // to a peer on which level its own bucket is.
            Some(BatchNode::Bucket(entries)) => {
                bucket_hash(entries.iter().filter(|entry| prefix.contains(entry.id)))
            }
            Some(BatchNode::Inner(_)) => {
                return Err(StorageError::internal("a path ends above its depth only in a bucket"));
            }
        })
    }

    /// Up to `limit` children of `entity` with `from <= id <= to`, ascending. O(log n + limit).
    pub fn children<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        (from, to): (EntityId, EntityId),
        limit: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let mut found = Vec::new();
        let (TrieRoot { top, base, .. }, nodes, mut source) = self.open(view, entity)?;
        collect(nodes, *top, base.as_ref(), Prefix::EMPTY, &mut source, (from, to), limit, &mut found)?;
        debug_assert!(found.len() <= limit, "no more children than asked for");
        Ok(found)
    }

    /// Calls `each` with the entry of every child of `entity`, ascending, without loading the nodes into the
    /// batch. Hashes must be up to date: see [`Tries::root`]. O(n).
    pub fn scan<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        each: &mut impl FnMut(&Entry),
    ) -> Result<(), StorageError> {
        let mut source = NodeSource { view, slot: self.slot, entity, reads: &mut self.reads };
        let mut scratch = BatchNodes::default();
        let opened;
        let (TrieRoot { top, base, .. }, nodes) = match self.roots.get(&entity) {
            Some(root) => (root, &self.nodes),
            None => {
                opened = source.root(&mut scratch)?;
                (&opened, &scratch)
            }
        };
        scan_loaded(nodes, *top, base.as_ref(), Prefix::EMPTY, &mut source, each)
    }

    /// Nodes read and hashes computed so far.
    pub(crate) const fn work(&self) -> (u64, u64) {
        (self.reads, self.hashes)
    }

    /// Adds one edit to `batch` for each trie that has changed. Hashes must be up to date: see [`Tries::root`].
    pub fn finish(self, batch: &mut WriteBatch) {
        let nodes = Arc::new(self.nodes);
        for (entity, TrieRoot { top, gone, redo_log, .. }) in self.roots {
            // A trie that has become empty has no dirty node any more, but removed ones.
            if !gone.is_empty() || nodes.is_dirty(top) {
                let nodes = nodes.clone();
                let edit = TrieEdit { nodes, top, gone, redo_log };
                batch.edit(keys::trie(self.slot, entity), Arc::new(edit));
            }
        }
    }
}
