//! Reading and changing tries over a read view.

use super::held::{Held, HeldNode, Inner};
use super::kept::{Kept, Trie, TrieEdit};
use super::node::{BUCKET, Entry, Node, bucket_hash};
use super::prefix::Prefix;
use crate::error::StorageError;
use crate::keys;
use std::any::Any;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::btree_map::Entry as Place;
use std::sync::Arc;
use syncline_store::{ReadView, WriteBatch};
use syncline_types::{Decode, Digest, EntityId};

type Slot = Option<Held>;

/// One trie, with the changes of one batch held over the view.
#[derive(Clone, Debug)]
struct Root {
    held: Slot,
    /// What the store keeps of the trie besides its topmost node, if it keeps tries as they are.
    base: Option<Kept>,
    /// Nodes that were there and are not any more.
    gone: BTreeSet<Prefix>,
}

/// Every trie of a state, with the changes of one batch held over the view.
#[derive(Clone, Debug, Default)]
pub struct Tries {
    /// Where the rows of the nodes are.
    slot: keys::Slot,
    /// By entity.
    roots: BTreeMap<EntityId, Root>,
    reads: u64,
    hashes: u64,
}

const MISSING: StorageError = StorageError::Index { what: "a node that its parent names is not there" };

/// Where nodes come from that are not held yet, for one trie.
struct Source<'v, 'r, V> {
    view: &'v V,
    slot: keys::Slot,
    entity: EntityId,
    reads: &'r mut u64,
}

impl<V: ReadView> Source<'_, '_, V> {
    fn read(&mut self, prefix: Prefix) -> Result<Option<Node>, StorageError> {
        *self.reads += 1;
        let row = self.view.read(&keys::node(self.slot, self.entity, prefix))?;
        row.map(|row| Node::from_bytes(&row)).transpose().map_err(StorageError::row("an index node"))
    }

    fn root(&mut self) -> Result<Root, StorageError> {
        let gone = BTreeSet::new();
        let run = self.view.run(&keys::trie(self.slot, self.entity));
        if let Some(Trie(Some(kept))) = run.and_then(|run| (&**run as &dyn Any).downcast_ref()) {
            *self.reads += 1;
            let base = matches!(kept, Kept::Inner(_)).then(|| kept.clone());
            return Ok(Root { held: Some(Held::of_kept(kept)), base, gone });
        }
        let held = self.read(Prefix::EMPTY)?.map(Held::of_row);
        Ok(Root { held, base: None, gone })
    }

    /// The place of the child of `inner` under `nibble`, read from the view if the batch has not touched
    /// it, and what the store keeps there.
    fn child<'h, 'b>(
        &mut self,
        inner: &'h mut Inner,
        base: Option<&'b Kept>,
        (prefix, nibble): (Prefix, usize),
    ) -> Result<(&'h mut Slot, Option<&'b Kept>), StorageError> {
        let base = base.and_then(|base| base.child(nibble as u8));
        let named = inner.slots.get(nibble).is_some_and(|hash| !hash.is_zero());
        let slot = inner.below.get_mut(nibble).ok_or(MISSING)?;
        if slot.is_none() && named {
            *slot = Some(match base {
                Some(kept) => {
                    *self.reads += 1;
                    Held::of_kept(kept)
                }
                None => Held::of_row(self.read(prefix.child(nibble as u8))?.ok_or(MISSING)?),
            });
        }
        Ok((slot, base))
    }
}

impl Tries {
    /// The tries of the state in `slot`.
    pub fn of(slot: keys::Slot) -> Self {
        Self { slot, ..Self::default() }
    }

    /// The trie of `entity`'s children, and where nodes of it come from.
    fn open<'a, 'v, V: ReadView>(
        &'a mut self,
        view: &'v V,
        entity: EntityId,
    ) -> Result<(&'a mut Root, Source<'v, 'a, V>), StorageError> {
        let mut source = Source { view, slot: self.slot, entity, reads: &mut self.reads };
        let root = match self.roots.entry(entity) {
            Place::Occupied(root) => root.into_mut(),
            Place::Vacant(place) => place.insert(source.root()?),
        };
        Ok((root, source))
    }

    /// The node at exactly `prefix` in the trie of `entity`'s children.
    pub fn node<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        prefix: Prefix,
    ) -> Result<Option<Node>, StorageError> {
        let (at, held) = self.locate(view, entity, prefix.first_id(), prefix.len())?;
        Ok(held.filter(|_| at == prefix).map(Held::to_node))
    }

    /// The lowest node on the way to `id`, at most `depth` nibbles down, and its prefix.
    fn locate<'a, V: ReadView>(
        &'a mut self,
        view: &V,
        entity: EntityId,
        id: EntityId,
        depth: u8,
    ) -> Result<(Prefix, Option<&'a Held>), StorageError> {
        let (root, mut source) = self.open(view, entity)?;
        let (mut slot, mut base) = (&mut root.held, root.base.as_ref());
        let mut prefix = Prefix::EMPTY;
        loop {
            let is_inner = matches!(slot, Some(Held { node: HeldNode::Inner(_), .. }));
            if !is_inner || prefix.len() >= depth {
                return Ok((prefix, slot.as_ref()));
            }
            let Some(Held { node: HeldNode::Inner(inner), .. }) = slot else { return Err(MISSING) };
            let nibble = prefix.next_nibble(id);
            (slot, base) = source.child(inner, base, (prefix, nibble))?;
            prefix = prefix.child(nibble as u8);
        }
    }

    /// The entry of child `id`.
    pub fn entry<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        id: EntityId,
    ) -> Result<Option<Entry>, StorageError> {
        let (_, held) = self.locate(view, entity, id, Prefix::MAX_LEN)?;
        let Some(Held { node: HeldNode::Bucket(entries), .. }) = held else { return Ok(None) };
        let found = entries.binary_search_by(|entry| entry.id.cmp(&id));
        Ok(found.ok().and_then(|at| entries.get(at)).copied())
    }

    /// Puts an entry for `id` among the children of `entity`: what `entry` makes of the one that is
    /// there. Says whether that changed anything.
    pub fn update<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        id: EntityId,
        entry: impl FnOnce(Option<Entry>) -> Entry,
    ) -> Result<bool, StorageError> {
        let (root, mut source) = self.open(view, entity)?;
        let updated = update_at(&mut root.held, root.base.as_ref(), Prefix::EMPTY, &mut source, id, entry)?;
        Ok(updated != Updated::Same)
    }

    /// Takes child `id` out, merging nodes that have become small enough.
    pub fn remove<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        id: EntityId,
    ) -> Result<Option<Entry>, StorageError> {
        let (Root { held, base, gone, .. }, mut source) = self.open(view, entity)?;
        remove_at(held, base.as_ref(), Prefix::EMPTY, &mut source, id, gone)
    }

    /// The root of the trie of `entity`'s children, all hashes brought up to date; zero without
    /// children.
    pub fn root<V: ReadView>(&mut self, view: &V, entity: EntityId) -> Result<Digest, StorageError> {
        let mut hashes = 0;
        let (root, _) = self.open(view, entity)?;
        let hash = root.held.as_mut().map_or(Digest::ZERO, |held| held.refresh(&mut hashes));
        self.hashes += hashes;
        Ok(hash)
    }

    /// The hash that a node at `prefix` has, or would have if its children did not share a bucket
    /// with others; zero when there are none. Hashes must be up to date.
    pub fn hash_at<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        prefix: Prefix,
    ) -> Result<Digest, StorageError> {
        self.hashes += 1;
        let (at, held) = self.locate(view, entity, prefix.first_id(), prefix.len())?;
        Ok(match held {
            None => Digest::ZERO,
            Some(held) if at == prefix => held.hash(),
            Some(Held { node: HeldNode::Bucket(entries), .. }) => {
                bucket_hash(entries.iter().filter(|entry| prefix.contains(entry.id)))
            }
            Some(_) => return Err(MISSING),
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
        let (root, mut source) = self.open(view, entity)?;
        collect(
            &mut root.held,
            root.base.as_ref(),
            Prefix::EMPTY,
            &mut source,
            (from, to),
            limit,
            &mut found,
        )?;
        Ok(found)
    }

    /// Calls `each` with every child of `entity`, ascending, without keeping what is read. Hashes must
    /// be up to date. O(n).
    pub fn scan<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        each: &mut impl FnMut(&Entry),
    ) -> Result<(), StorageError> {
        let mut source = Source { view, slot: self.slot, entity, reads: &mut self.reads };
        let opened;
        let root = match self.roots.get(&entity) {
            Some(root) => root,
            None => {
                opened = source.root()?;
                &opened
            }
        };
        scan_held(root.held.as_ref(), root.base.as_ref(), Prefix::EMPTY, &mut source, each)
    }

    /// Rows read and hashes computed so far.
    pub(crate) const fn work(&self) -> (u64, u64) {
        (self.reads, self.hashes)
    }

    /// Adds every changed node to `batch`.
    pub fn finish(self, batch: &mut WriteBatch) {
        for (entity, Root { held, gone, .. }) in self.roots {
            if !gone.is_empty() || held.as_ref().is_some_and(|held| held.dirty) {
                batch.edit(keys::trie(self.slot, entity), Arc::new(TrieEdit { held, gone }));
            }
        }
    }

    /// Has the nodes on the way to these children at hand, and what is there of them: looks at them all
    /// at once, where coming to one after the other would wait for each.
    pub fn visit<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        ids: &[EntityId],
    ) -> Result<(), StorageError> {
        let (root, _) = self.open(view, entity)?;
        if let Some(base) = &root.base {
            base.visit(ids);
        }
        Ok(())
    }
}

/// What [`update_at`] did.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Updated {
    Same,
    Changed,
    Added,
}

fn update_at<V: ReadView>(
    slot: &mut Slot,
    base: Option<&Kept>,
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    id: EntityId,
    entry: impl FnOnce(Option<Entry>) -> Entry,
) -> Result<Updated, StorageError> {
    let Some(held) = slot else {
        *slot = Some(Held::new(HeldNode::Bucket(vec![entry(None)]), true));
        return Ok(Updated::Added);
    };
    let mut split = None;
    let updated = match &mut held.node {
        HeldNode::Bucket(entries) => match entries.binary_search_by(|own| own.id.cmp(&id)) {
            Ok(at) => entries.get_mut(at).map_or(Updated::Same, |own| {
                let new = entry(Some(*own));
                let changed = *own != new;
                *own = new;
                if changed { Updated::Changed } else { Updated::Same }
            }),
            Err(at) => {
                entries.insert(at, entry(None));
                if entries.len() > BUCKET && prefix.len() < Prefix::MAX_LEN {
                    split = Some(std::mem::take(entries));
                }
                Updated::Added
            }
        },
        HeldNode::Inner(inner) => {
            let nibble = prefix.next_nibble(id);
            let (child, base) = source.child(inner, base, (prefix, nibble))?;
            let updated = update_at(child, base, prefix.child(nibble as u8), source, id, entry)?;
            inner.count += u64::from(updated == Updated::Added);
            updated
        }
    };
    if let Some(entries) = split {
        *held = Held::of(entries, prefix);
    } else if updated != Updated::Same {
        (held.dirty, held.stale) = (true, true);
    }
    Ok(updated)
}

/// Takes `id` out below `slot`; the prefixes of nodes that are not there any more go to `gone`.
fn remove_at<V: ReadView>(
    slot: &mut Slot,
    base: Option<&Kept>,
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    id: EntityId,
    gone: &mut BTreeSet<Prefix>,
) -> Result<Option<Entry>, StorageError> {
    let Some(held) = slot else { return Ok(None) };
    let removed = match &mut held.node {
        HeldNode::Bucket(entries) => {
            let Ok(at) = entries.binary_search_by(|entry| entry.id.cmp(&id)) else { return Ok(None) };
            entries.remove(at)
        }
        HeldNode::Inner(inner) => {
            let nibble = prefix.next_nibble(id);
            let (child, base) = source.child(inner, base, (prefix, nibble))?;
            let removed = remove_at(child, base, prefix.child(nibble as u8), source, id, gone)?;
            let Some(removed) = removed else { return Ok(None) };
            let emptied = child.is_none();
            inner.count -= 1;
            // What is zero is never looked for in the view.
            if let Some(hash) = inner.slots.get_mut(nibble).filter(|_| emptied) {
                *hash = Digest::ZERO;
            }
            removed
        }
    };
    (held.dirty, held.stale) = (true, true);
    match &mut held.node {
        HeldNode::Bucket(entries) if entries.is_empty() => {
            gone.insert(prefix);
            *slot = None;
        }
        HeldNode::Inner(inner) if inner.count <= BUCKET as u64 => {
            let mut entries = Vec::with_capacity(BUCKET);
            drain(inner, base, prefix, source, gone, &mut entries)?;
            *held = Held::of(entries, prefix);
        }
        _ => {}
    }
    Ok(Some(removed))
}

/// Empties everything below an inner node into `entries`, in id order.
fn drain<V: ReadView>(
    inner: &mut Inner,
    base: Option<&Kept>,
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    gone: &mut BTreeSet<Prefix>,
    entries: &mut Vec<Entry>,
) -> Result<(), StorageError> {
    for nibble in 0..16u8 {
        let at = prefix.child(nibble);
        let (child, base) = source.child(inner, base, (prefix, usize::from(nibble)))?;
        let Some(child) = child.take() else { continue };
        gone.insert(at);
        match child.node {
            HeldNode::Bucket(mut own) => entries.append(&mut own),
            HeldNode::Inner(mut inner) => drain(&mut inner, base, at, source, gone, entries)?,
        }
    }
    Ok(())
}

fn collect<V: ReadView>(
    slot: &mut Slot,
    base: Option<&Kept>,
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    (from, to): (EntityId, EntityId),
    limit: usize,
    found: &mut Vec<Entry>,
) -> Result<(), StorageError> {
    match slot.as_mut().map(|held| &mut held.node) {
        None => {}
        Some(HeldNode::Bucket(entries)) => {
            let room = limit - found.len();
            let wanted = entries.iter().filter(|entry| from <= entry.id && entry.id <= to);
            found.extend(wanted.take(room));
        }
        Some(HeldNode::Inner(inner)) => {
            for nibble in 0..16u8 {
                let at = prefix.child(nibble);
                if found.len() < limit && from <= at.last_id() && at.first_id() <= to {
                    let (child, base) = source.child(inner, base, (prefix, usize::from(nibble)))?;
                    collect(child, base, at, source, (from, to), limit, found)?;
                }
            }
        }
    }
    Ok(())
}

fn scan_held<V: ReadView>(
    held: Option<&Held>,
    base: Option<&Kept>,
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    each: &mut impl FnMut(&Entry),
) -> Result<(), StorageError> {
    match held.map(|held| &held.node) {
        None => {}
        Some(HeldNode::Bucket(entries)) => entries.iter().for_each(each),
        Some(HeldNode::Inner(inner)) => {
            let named = (0u8..).zip(&inner.slots).zip(&inner.below).filter(|((_, hash), _)| !hash.is_zero());
            for ((nibble, _), child) in named {
                let (at, base) = (prefix.child(nibble), base.and_then(|base| base.child(nibble)));
                match (child, base) {
                    (Some(child), base) => scan_held(Some(child), base, at, source, each)?,
                    (None, Some(base)) => base.scan(source.reads, each),
                    (None, None) => scan_rows(at, source, each)?,
                }
            }
        }
    }
    Ok(())
}

fn scan_rows<V: ReadView>(
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
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
