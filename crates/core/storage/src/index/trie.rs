//! Reading and changing tries over a read view.

use super::held::{Nodes, Place, Seen};
use super::kept::{Kept, Trie, TrieEdit};
use super::node::{BUCKET, Entry, Node, bucket_hash};
use super::notes::Notes;
use super::prefix::Prefix;
use crate::error::StorageError;
use crate::keys;
use std::any::Any;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::btree_map;
use std::sync::Arc;
use syncline_store::{Key, ReadView, WriteBatch};
use syncline_types::{Decode, Digest, EntityId};

/// How many entries are looked at side by side.
const AT_ONCE: usize = 16;

/// One trie, with the changes of one batch held over the view.
#[derive(Clone, Debug)]
struct Root {
    /// The topmost node.
    top: Place,
    /// What the store keeps of the trie besides its topmost node, if it keeps tries as they are.
    base: Option<Kept>,
    /// Nodes that were there and are not any more.
    gone: BTreeSet<Prefix>,
    notes: Notes,
}

/// Every trie of a state, with the changes of one batch held over the view.
#[derive(Clone, Debug, Default)]
pub struct Tries {
    /// Where the rows of the nodes are.
    slot: keys::Slot,
    /// Those of all tries: most are small, and to make and drop memory for each would cost more than its hashes.
    nodes: Nodes,
    /// By entity.
    roots: BTreeMap<EntityId, Root>,
    reads: u64,
    hashes: u64,
}

/// A change to one entry: what is not told stays as it is.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// The child.
    pub id: EntityId,
    /// The digest of its record.
    pub own: Option<Digest>,
    /// The root of its own children's trie.
    pub kids: Option<Digest>,
    /// The digest of its record before, if that is known already; else it is filled in.
    pub before: Option<Digest>,
}

impl Update {
    /// The entry that it makes of `known`.
    fn entry(&mut self, known: Option<Entry>) -> Entry {
        self.before = self.before.or_else(|| known.map(|known| known.own));
        let Entry { own, kids, .. } =
            known.unwrap_or(Entry { id: self.id, own: Digest::ZERO, kids: Digest::ZERO });
        Entry { id: self.id, own: self.own.unwrap_or(own), kids: self.kids.unwrap_or(kids) }
    }
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

    fn root(&mut self, nodes: &mut Nodes) -> Result<Root, StorageError> {
        let gone = BTreeSet::new();
        let notes = Notes::new(self.view.wants_redo_entries());
        let run = self.view.run(&keys::trie(self.slot, self.entity));
        if let Some(Trie(Some(kept))) = run.and_then(|run| (&**run as &dyn Any).downcast_ref()) {
            *self.reads += 1;
            let base = matches!(kept, Kept::Inner(_)).then(|| kept.clone());
            return Ok(Root { top: nodes.add_kept(kept, 1), base, gone, notes });
        }
        let top = self.read(Prefix::EMPTY)?.map_or(Place::Nowhere, |node| nodes.add_row(node, 1));
        Ok(Root { top, base: None, gone, notes })
    }

    /// The place of the child of `inner` under `nibble`, read from the view if the batch has not come to it,
    /// then with room for `more` entries; and what the store keeps there.
    fn child<'b>(
        &mut self,
        nodes: &mut Nodes,
        inner: u32,
        base: Option<&'b Kept>,
        (prefix, nibble): (Prefix, usize),
        more: usize,
    ) -> Result<(Place, Option<&'b Kept>), StorageError> {
        let base = base.and_then(|base| base.child(nibble as u8));
        let above = nodes.inner(inner).ok_or(MISSING)?;
        let place = above.below.get(nibble).copied().ok_or(MISSING)?;
        let named = above.slots.get(nibble).is_some_and(|hash| !hash.is_zero());
        if place != Place::Nowhere || !named {
            return Ok((place, base));
        }
        let place = match base {
            Some(kept) => {
                *self.reads += 1;
                nodes.add_kept(kept, more)
            }
            None => nodes.add_row(self.read(prefix.child(nibble as u8))?.ok_or(MISSING)?, more),
        };
        set_below(nodes, inner, nibble, place)?;
        Ok((place, base))
    }
}

fn set_below(nodes: &mut Nodes, inner: u32, nibble: usize, place: Place) -> Result<(), StorageError> {
    let below = nodes.inner_mut(inner).and_then(|inner| inner.below.get_mut(nibble));
    *below.ok_or(MISSING)? = place;
    Ok(())
}

impl Tries {
    /// The tries of the state in `slot`.
    pub fn of(slot: keys::Slot) -> Self {
        Self { slot, ..Self::default() }
    }

    /// Looks at the tries of the children of these, which are to be read or changed next, side by side.
    pub fn prefetch<V: ReadView>(&self, view: &V, entities: impl IntoIterator<Item = EntityId>) {
        let new = entities.into_iter().filter(|entity| !self.roots.contains_key(entity));
        let keys: Vec<Key> = new.map(|entity| keys::trie(self.slot, entity)).collect();
        if keys.len() > 1 {
            view.prefetch_runs(&keys);
        }
    }

    /// The trie of `entity`'s children, and where nodes of it come from.
    fn open<'a, 'v, V: ReadView>(
        &'a mut self,
        view: &'v V,
        entity: EntityId,
    ) -> Result<(&'a mut Root, &'a mut Nodes, Source<'v, 'a, V>), StorageError> {
        let mut source = Source { view, slot: self.slot, entity, reads: &mut self.reads };
        let root = match self.roots.entry(entity) {
            btree_map::Entry::Occupied(root) => root.into_mut(),
            btree_map::Entry::Vacant(place) => place.insert(source.root(&mut self.nodes)?),
        };
        Ok((root, &mut self.nodes, source))
    }

    /// The node at exactly `prefix` in the trie of `entity`'s children.
    pub fn node<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        prefix: Prefix,
    ) -> Result<Option<Node>, StorageError> {
        let (at, seen) = self.locate(view, entity, prefix.first_id(), prefix.len())?;
        Ok(seen.filter(|_| at == prefix).map(Seen::to_node))
    }

    /// The lowest node on the way to `id`, at most `depth` nibbles down, and its prefix.
    fn locate<'a, V: ReadView>(
        &'a mut self,
        view: &V,
        entity: EntityId,
        id: EntityId,
        depth: u8,
    ) -> Result<(Prefix, Option<Seen<'a>>), StorageError> {
        let (Root { top, base, .. }, nodes, mut source) = self.open(view, entity)?;
        let (mut place, mut base) = (*top, base.as_ref());
        let mut prefix = Prefix::EMPTY;
        while let Place::Inner(at) = place
            && prefix.len() < depth
        {
            let nibble = prefix.next_nibble(id);
            (place, base) = source.child(nodes, at, base, (prefix, nibble), 1)?;
            prefix = prefix.child(nibble as u8);
        }
        Ok((prefix, nodes.see(place)))
    }

    /// The entry of child `id`.
    pub fn entry<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        id: EntityId,
    ) -> Result<Option<Entry>, StorageError> {
        let (_, seen) = self.locate(view, entity, id, Prefix::MAX_LEN)?;
        let Some(Seen::Bucket(entries)) = seen else { return Ok(None) };
        Ok(entries.find(id).ok().and_then(|at| entries.at(at)))
    }

    /// Changes the entries of children of `entity`; there is one for each of them from then on. `updates`
    /// ascend by id and name no child twice. Says whether that made a difference.
    pub fn update<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        updates: &mut [Update],
    ) -> Result<bool, StorageError> {
        let (Root { top, base, notes, .. }, nodes, mut source) = self.open(view, entity)?;
        notes.updated(updates);
        if let Some(base) = base.as_ref().filter(|_| updates.len() > 1) {
            // Coming to one after the other would wait for each.
            let mut ids = [EntityId::ROOT; AT_ONCE];
            for some in updates.chunks(AT_ONCE) {
                ids.iter_mut().zip(some).for_each(|(to, update)| *to = update.id);
                base.visit(ids.get(..some.len()).unwrap_or_default());
            }
        }
        let updated = update_at(nodes, top, base.as_ref(), Prefix::EMPTY, &mut source, updates)?;
        Ok(updated.changed)
    }

    /// Takes child `id` out, merging nodes that have become small enough.
    pub fn remove<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        id: EntityId,
    ) -> Result<Option<Entry>, StorageError> {
        let (Root { top, base, gone, notes }, nodes, mut source) = self.open(view, entity)?;
        notes.removed(id);
        remove_at(nodes, top, base.as_ref(), Prefix::EMPTY, &mut source, id, gone)
    }

    /// The root of the trie of `entity`'s children, all hashes brought up to date; zero without
    /// children.
    pub fn root<V: ReadView>(&mut self, view: &V, entity: EntityId) -> Result<Digest, StorageError> {
        let mut hashes = 0;
        let (Root { top, .. }, nodes, _) = self.open(view, entity)?;
        let is_there = *top != Place::Nowhere;
        let hash = if is_there { nodes.refresh(*top, &mut hashes) } else { Digest::ZERO };
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
        let (at, seen) = self.locate(view, entity, prefix.first_id(), prefix.len())?;
        Ok(match seen {
            None => Digest::ZERO,
            Some(seen) if at == prefix => seen.hash(),
            Some(Seen::Bucket(entries)) => {
                bucket_hash(entries.iter().filter(|entry| prefix.contains(entry.id)))
            }
            Some(Seen::Inner(_)) => return Err(MISSING),
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
        let (Root { top, base, .. }, nodes, mut source) = self.open(view, entity)?;
        collect(nodes, *top, base.as_ref(), Prefix::EMPTY, &mut source, (from, to), limit, &mut found)?;
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
        let mut read = Nodes::default();
        let fresh;
        let (Root { top, base, .. }, nodes) = match self.roots.get(&entity) {
            Some(root) => (root, &self.nodes),
            None => {
                fresh = source.root(&mut read)?;
                (&fresh, &read)
            }
        };
        scan_held(nodes, *top, base.as_ref(), Prefix::EMPTY, &mut source, each)
    }

    /// Rows read and hashes computed so far.
    pub(crate) const fn work(&self) -> (u64, u64) {
        (self.reads, self.hashes)
    }

    /// Adds every changed node to `batch`.
    pub fn finish(self, batch: &mut WriteBatch) {
        let nodes = Arc::new(self.nodes);
        for (entity, Root { top, gone, notes, .. }) in self.roots {
            if !gone.is_empty() || nodes.is_dirty(top) {
                let nodes = nodes.clone();
                batch.edit(keys::trie(self.slot, entity), Arc::new(TrieEdit { nodes, top, gone, notes }));
            }
        }
    }
}

/// What [`update_at`] did.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Updated {
    added: u64,
    changed: bool,
}

impl Updated {
    const fn by_adding(added: u64) -> Self {
        Self { added, changed: true }
    }
}

fn update_at<V: ReadView>(
    nodes: &mut Nodes,
    place: &mut Place,
    base: Option<&Kept>,
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    updates: &mut [Update],
) -> Result<Updated, StorageError> {
    match *place {
        Place::Nowhere => {
            let entries: Vec<Entry> = updates.iter_mut().map(|update| update.entry(None)).collect();
            *place = nodes.plant(&entries, prefix);
            Ok(Updated::by_adding(entries.len() as u64))
        }
        Place::Bucket(bucket) => update_bucket(nodes, place, bucket, prefix, updates),
        Place::Inner(at) => {
            let mut updated = Updated::default();
            let mut rest = updates;
            while let Some(first) = rest.first() {
                let nibble = prefix.next_nibble(first.id);
                let len = rest.iter().take_while(|update| prefix.next_nibble(update.id) == nibble).count();
                let (group, others) = std::mem::take(&mut rest).split_at_mut(len);
                rest = others;
                let (mut child, base) = source.child(nodes, at, base, (prefix, nibble), group.len())?;
                let below = update_at(nodes, &mut child, base, prefix.child(nibble as u8), source, group)?;
                set_below(nodes, at, nibble, child)?;
                updated.added += below.added;
                updated.changed |= below.changed;
            }
            if updated.changed {
                nodes.mark_changed(*place);
                nodes.inner_mut(at).ok_or(MISSING)?.count += updated.added;
            }
            Ok(updated)
        }
    }
}

fn update_bucket(
    nodes: &mut Nodes,
    place: &mut Place,
    bucket: u32,
    prefix: Prefix,
    updates: &mut [Update],
) -> Result<Updated, StorageError> {
    let mut updated = Updated::default();
    let mut rest = updates;
    while let Some((update, others)) = std::mem::take(&mut rest).split_first_mut() {
        let entries = nodes.entries(bucket).ok_or(MISSING)?;
        match entries.find(update.id) {
            Ok(at) => {
                let entry = update.entry(entries.at(at));
                updated.changed |= nodes.set_entry(bucket, at, entry).ok_or(MISSING)?;
            }
            Err(at) if entries.len() < BUCKET || prefix.len() == Prefix::MAX_LEN => {
                nodes.insert_entry(bucket, at, update.entry(None)).ok_or(MISSING)?;
                updated = Updated::by_adding(updated.added + 1);
            }
            Err(_) => {
                let mut all = Vec::with_capacity(entries.len() + others.len() + 1);
                let mut own = entries.iter().peekable();
                for update in std::iter::once(update).chain(others) {
                    while let Some(entry) = own.next_if(|entry| entry.id < update.id) {
                        all.push(entry);
                    }
                    let known = own.next_if(|entry| entry.id == update.id);
                    updated.added += u64::from(known.is_none());
                    all.push(update.entry(known));
                }
                all.extend(own);
                *place = nodes.plant(&all, prefix);
                return Ok(Updated::by_adding(updated.added));
            }
        }
        rest = others;
    }
    Ok(updated)
}

/// Takes `id` out below `place`; the prefixes of nodes that are not there any more go to `gone`.
fn remove_at<V: ReadView>(
    nodes: &mut Nodes,
    place: &mut Place,
    base: Option<&Kept>,
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    id: EntityId,
    gone: &mut BTreeSet<Prefix>,
) -> Result<Option<Entry>, StorageError> {
    match *place {
        Place::Nowhere => Ok(None),
        Place::Bucket(bucket) => {
            let entries = nodes.entries(bucket).ok_or(MISSING)?;
            let Ok(at) = entries.find(id) else { return Ok(None) };
            if entries.len() == 1 {
                gone.insert(prefix);
                *place = Place::Nowhere;
            }
            Ok(nodes.remove_entry(bucket, at))
        }
        Place::Inner(at) => {
            let nibble = prefix.next_nibble(id);
            let (mut child, below) = source.child(nodes, at, base, (prefix, nibble), 0)?;
            let removed = remove_at(nodes, &mut child, below, prefix.child(nibble as u8), source, id, gone)?;
            let Some(removed) = removed else { return Ok(None) };
            set_below(nodes, at, nibble, child)?;
            nodes.mark_changed(*place);
            let inner = nodes.inner_mut(at).ok_or(MISSING)?;
            inner.count -= 1;
            // What is zero is never looked for in the view.
            if let Some(hash) = inner.slots.get_mut(nibble).filter(|_| child == Place::Nowhere) {
                *hash = Digest::ZERO;
            }
            if inner.count <= BUCKET as u64 {
                let mut entries = Vec::with_capacity(BUCKET);
                drain(nodes, at, base, prefix, source, gone, &mut entries)?;
                *place = nodes.plant(&entries, prefix);
            }
            Ok(Some(removed))
        }
    }
}

/// Takes everything below an inner node into `entries`, in id order.
fn drain<V: ReadView>(
    nodes: &mut Nodes,
    inner: u32,
    base: Option<&Kept>,
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    gone: &mut BTreeSet<Prefix>,
    entries: &mut Vec<Entry>,
) -> Result<(), StorageError> {
    for nibble in 0..16u8 {
        let at = prefix.child(nibble);
        let (child, base) = source.child(nodes, inner, base, (prefix, usize::from(nibble)), 0)?;
        if child != Place::Nowhere {
            gone.insert(at);
        }
        match child {
            Place::Nowhere => {}
            Place::Bucket(bucket) => entries.extend(nodes.entries(bucket).ok_or(MISSING)?.iter()),
            Place::Inner(inner) => drain(nodes, inner, base, at, source, gone, entries)?,
        }
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "a recursion that passes on all that it works with")]
fn collect<V: ReadView>(
    nodes: &mut Nodes,
    place: Place,
    base: Option<&Kept>,
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    (from, to): (EntityId, EntityId),
    limit: usize,
    found: &mut Vec<Entry>,
) -> Result<(), StorageError> {
    match place {
        Place::Nowhere => {}
        Place::Bucket(bucket) => {
            let room = limit - found.len();
            let entries = nodes.entries(bucket).ok_or(MISSING)?.iter();
            found.extend(entries.filter(|entry| from <= entry.id && entry.id <= to).take(room));
        }
        Place::Inner(inner) => {
            for nibble in 0..16u8 {
                let at = prefix.child(nibble);
                if found.len() < limit && from <= at.last_id() && at.first_id() <= to {
                    let (child, base) = source.child(nodes, inner, base, (prefix, usize::from(nibble)), 0)?;
                    collect(nodes, child, base, at, source, (from, to), limit, found)?;
                }
            }
        }
    }
    Ok(())
}

fn scan_held<V: ReadView>(
    nodes: &Nodes,
    place: Place,
    base: Option<&Kept>,
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    each: &mut impl FnMut(&Entry),
) -> Result<(), StorageError> {
    match nodes.see(place) {
        None => {}
        Some(Seen::Bucket(entries)) => entries.iter().for_each(|entry| each(&entry)),
        Some(Seen::Inner(inner)) => {
            let named = (0u8..).zip(&inner.slots).zip(&inner.below).filter(|((_, hash), _)| !hash.is_zero());
            for ((nibble, _), &child) in named {
                let (at, base) = (prefix.child(nibble), base.and_then(|base| base.child(nibble)));
                match (child, base) {
                    (Place::Nowhere, Some(base)) => base.scan(source.reads, each),
                    (Place::Nowhere, None) => scan_rows(at, source, each)?,
                    (child, base) => scan_held(nodes, child, base, at, source, each)?,
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
