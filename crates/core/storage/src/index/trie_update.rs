//! Changes to the entries of a trie.
//!
//! The shape of a trie is a function of the set of its ids: a node is a bucket exactly if at most [`BUCKET`]
//! ids begin with its prefix, or if the prefix is a whole id. Every change here restores that: an insertion
//! splits a full bucket, and a removal merges an inner node that has become small enough. Otherwise equal sets
//! could have different roots, and replicas with equal records would sync for ever.
//!
//! A change marks every node on its path as dirty and stale ([`BatchNodes`] relies on that), and counts of
//! inner nodes on the path change by as many entries as were added or removed below.

use super::batch_nodes::{BatchNodes, TrieNodeRef, dangling};
use super::mem_trie::MemNode;
use super::trie_node::{BUCKET, Entry};
use super::tries::NodeSource;
use crate::error::StorageError;
use crate::prefix::Prefix;
use std::collections::BTreeSet;
use syncline_store::ReadView;
use syncline_types::{Digest, EntityId};

/// A change to the index entry of one child. A part that is `None` stays as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryUpdate {
    /// The child whose entry changes.
    pub(crate) id: EntityId,
    /// The new digest of its record.
    pub(crate) own: Option<Digest>,
    /// The new root of the trie over its own children.
    pub(crate) kids: Option<Digest>,
    /// The digest of its record before the change. Filled in by the change, unless the caller knows it.
    pub(crate) before: Option<Digest>,
}

impl EntryUpdate {
    /// The entry that the update makes of the `current` one.
    fn apply_to(&mut self, current: Option<Entry>) -> Entry {
        self.before = self.before.or_else(|| current.map(|current| current.own));
        let Entry { own, kids, .. } =
            current.unwrap_or(Entry { id: self.id, own: Digest::ZERO, kids: Digest::ZERO });
        Entry { id: self.id, own: self.own.unwrap_or(own), kids: self.kids.unwrap_or(kids) }
    }
}

/// The effect of [`update_at`].
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct UpdateEffect {
    /// The number of entries that are new.
    added: u64,
    /// Whether any entry differs now.
    pub(super) changed: bool,
}

impl UpdateEffect {
    const fn by_adding(added: u64) -> Self {
        Self { added, changed: true }
    }
}

/// Applies `updates`, which ascend by id and all begin with `prefix`, to the subtree `at`, which is at `prefix`.
/// `at` is replaced if the subtree gets another topmost node. `base` is the same node as the view has it in
/// memory.
pub(super) fn update_at<V: ReadView>(
    nodes: &mut BatchNodes,
    at: &mut TrieNodeRef,
    base: Option<&MemNode>,
    prefix: Prefix,
    source: &mut NodeSource<'_, '_, V>,
    updates: &mut [EntryUpdate],
) -> Result<UpdateEffect, StorageError> {
    debug_assert!(
        updates.iter().all(|update| prefix.contains(update.id)),
        "an update goes below the prefixes of its id"
    );
    match *at {
        TrieNodeRef::Absent => {
            let entries: Vec<Entry> = updates.iter_mut().map(|update| update.apply_to(None)).collect();
            *at = nodes.add_subtree(&entries, prefix);
            Ok(UpdateEffect::by_adding(entries.len() as u64))
        }
        TrieNodeRef::Bucket(bucket) => update_bucket(nodes, at, bucket, prefix, updates),
        TrieNodeRef::Inner(inner) => {
            let mut effect = UpdateEffect::default();
            let mut rest = updates;
            // Updates below the same nibble are next to one another, since updates ascend.
            while let Some(first) = rest.first() {
                let nibble = prefix.next_nibble(first.id);
                let len = rest.iter().take_while(|update| prefix.next_nibble(update.id) == nibble).count();
                let (group, others) = std::mem::take(&mut rest).split_at_mut(len);
                rest = others;
                let (mut child, base) = source.child(nodes, inner, base, (prefix, nibble), group.len())?;
                let below = update_at(nodes, &mut child, base, prefix.child(nibble as u8), source, group)?;
                nodes.set_child(inner, nibble, child)?;
                effect.added += below.added;
                effect.changed |= below.changed;
            }
            debug_assert!(effect.changed || effect.added == 0, "a new entry is a change");
            if effect.changed {
                nodes.mark_changed(*at);
                nodes.inner_mut(inner).ok_or_else(dangling)?.count += effect.added;
            }
            Ok(effect)
        }
    }
}

/// [`update_at`] for a bucket. An update that does not fit splits the bucket, together with all that follow.
fn update_bucket(
    nodes: &mut BatchNodes,
    at: &mut TrieNodeRef,
    bucket: u32,
    prefix: Prefix,
    updates: &mut [EntryUpdate],
) -> Result<UpdateEffect, StorageError> {
    let mut effect = UpdateEffect::default();
    let mut rest = updates;
    while let Some((update, others)) = std::mem::take(&mut rest).split_first_mut() {
        let entries = nodes.entries(bucket).ok_or_else(dangling)?;
        match entries.find(update.id) {
            Ok(index) => {
                let entry = update.apply_to(entries.at(index));
                effect.changed |= nodes.set_entry(bucket, index, entry).ok_or_else(dangling)?;
            }
            Err(index) if entries.len() < BUCKET || prefix.len() == Prefix::MAX_LEN => {
                nodes.insert_entry(bucket, index, update.apply_to(None)).ok_or_else(dangling)?;
                effect = UpdateEffect::by_adding(effect.added + 1);
            }
            Err(_) => {
                // Merge the entries and the remaining updates, both ascending, and build the subtree from the
                // result in one pass. The old bucket stays behind unreachable: its row is overwritten, because
                // the new inner node has the same prefix.
                let mut all = Vec::with_capacity(entries.len() + others.len() + 1);
                let mut current = entries.iter().peekable();
                for update in std::iter::once(update).chain(others) {
                    while let Some(entry) = current.next_if(|entry| entry.id < update.id) {
                        all.push(entry);
                    }
                    let known = current.next_if(|entry| entry.id == update.id);
                    effect.added += u64::from(known.is_none());
                    all.push(update.apply_to(known));
                }
                all.extend(current);
                *at = nodes.add_subtree(&all, prefix);
                return Ok(UpdateEffect::by_adding(effect.added));
            }
        }
        rest = others;
    }
    Ok(effect)
}

/// The removal of one child from a trie.
pub(super) struct Removal<'a, 'v, 'r, V> {
    pub(super) nodes: &'a mut BatchNodes,
    pub(super) source: &'a mut NodeSource<'v, 'r, V>,
    /// Collects the prefixes of removed nodes. A prefix stays in the set if a new node is added there: the
    /// row of the new node wins (`TrieEdit`).
    pub(super) gone: &'a mut BTreeSet<Prefix>,
}

impl<V: ReadView> Removal<'_, '_, '_, V> {
    /// Removes `id` from the subtree `at`, which is at `prefix`. `at` is replaced if the subtree gets another
    /// topmost node. `base` is the same node as the view has it in memory. Returns the entry, if there was one.
    pub(super) fn remove_at(
        &mut self,
        at: &mut TrieNodeRef,
        base: Option<&MemNode>,
        prefix: Prefix,
        id: EntityId,
    ) -> Result<Option<Entry>, StorageError> {
        match *at {
            TrieNodeRef::Absent => Ok(None),
            TrieNodeRef::Bucket(bucket) => {
                let entries = self.nodes.entries(bucket).ok_or_else(dangling)?;
                // There is no such child: nothing changes.
                let Ok(index) = entries.find(id) else { return Ok(None) };
                if entries.len() == 1 {
                    // An empty bucket is no node.
                    self.gone.insert(prefix);
                    *at = TrieNodeRef::Absent;
                }
                Ok(self.nodes.remove_entry(bucket, index))
            }
            TrieNodeRef::Inner(inner) => {
                let nibble = prefix.next_nibble(id);
                let (mut child, below) = self.source.child(self.nodes, inner, base, (prefix, nibble), 0)?;
                let removed = self.remove_at(&mut child, below, prefix.child(nibble as u8), id)?;
                // There is no such child: nothing changes, and no node becomes dirty.
                let Some(removed) = removed else { return Ok(None) };
                self.nodes.set_child(inner, nibble, child)?;
                self.nodes.mark_changed(*at);
                let node = self.nodes.inner_mut(inner).ok_or_else(dangling)?;
                node.count -= 1;
                // `NodeSource::child` asks the view for an absent child whose slot is not zero. The view still has
                // the child that was just removed.
                if let Some(hash) = node.slots.get_mut(nibble).filter(|_| child == TrieNodeRef::Absent) {
                    *hash = Digest::ZERO;
                }
                if node.count <= BUCKET as u64 {
                    // The node itself becomes the bucket, so that its prefix is not gone.
                    let mut entries = Vec::with_capacity(BUCKET);
                    self.drain(inner, base, prefix, &mut entries)?;
                    *at = self.nodes.add_subtree(&entries, prefix);
                }
                Ok(Some(removed))
            }
        }
    }

    /// Moves all entries below the inner node `inner`, which is at `prefix`, into `entries`, ascending by id. All
    /// nodes below it are gone after that.
    fn drain(
        &mut self,
        inner: u32,
        base: Option<&MemNode>,
        prefix: Prefix,
        entries: &mut Vec<Entry>,
    ) -> Result<(), StorageError> {
        for nibble in 0..16u8 {
            let at = prefix.child(nibble);
            let (child, base) =
                self.source.child(self.nodes, inner, base, (prefix, usize::from(nibble)), 0)?;
            if child != TrieNodeRef::Absent {
                self.gone.insert(at);
            }
            match child {
                TrieNodeRef::Absent => {}
                TrieNodeRef::Bucket(bucket) => {
                    entries.extend(self.nodes.entries(bucket).ok_or_else(dangling)?.iter());
                }
                TrieNodeRef::Inner(inner) => self.drain(inner, base, at, entries)?,
            }
        }
        Ok(())
    }
}
