//! Reading and changing tries over a read view.

use super::node::{BUCKET, Entry, Node, bucket_hash};
use super::prefix::Prefix;
use crate::error::StorageError;
use crate::keys;
use std::collections::{BTreeMap, BTreeSet};
use syncline_store::{Bytes, Key, ReadView};
use syncline_types::{Decode, Digest, Encode, EntityId, Writer};

/// A node as this batch sees it, with those nodes below it that the batch has touched.
#[derive(Clone, Debug)]
struct Held {
    node: Node,
    /// By nibble, below an inner node. What is not here is as the view has it.
    below: Below,
    /// Differs from the view.
    dirty: bool,
    /// Its hash, or that of a node below it, is out of date in its parent.
    stale: bool,
}

type Slot = Option<Box<Held>>;
type Below = Option<Box<[Slot; 16]>>;

/// Every trie of a state, with the changes of one batch held over the view.
#[derive(Clone, Debug, Default)]
pub struct Tries {
    /// Where the rows of the nodes are.
    slot: keys::Slot,
    /// By entity; `None`: it has no children.
    roots: BTreeMap<EntityId, Slot>,
    /// Nodes that were there and are not any more.
    gone: BTreeSet<(EntityId, Prefix)>,
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
}

impl Held {
    fn new(node: Node, changed: bool) -> Box<Self> {
        Box::new(Self { node, below: None, dirty: changed, stale: changed })
    }

    /// A subtree of these entries under `prefix`, split over as many levels as they need.
    fn of(entries: Vec<Entry>, prefix: Prefix) -> Box<Self> {
        if entries.len() <= BUCKET || prefix.len() == Prefix::MAX_LEN {
            return Self::new(Node::Bucket(entries), true);
        }
        let count = entries.len() as u64;
        let mut groups: [Vec<Entry>; 16] = Default::default();
        for entry in entries {
            if let Some(group) = groups.get_mut(prefix.next_nibble(entry.id)) {
                group.push(entry);
            }
        }
        let mut below: Box<[Slot; 16]> = Box::default();
        for ((nibble, group), slot) in (0u8..).zip(groups).zip(below.iter_mut()) {
            *slot = (!group.is_empty()).then(|| Self::of(group, prefix.child(nibble)));
        }
        let mut inner = Self::new(Node::Inner { count, slots: Box::new([Digest::ZERO; 16]) }, true);
        inner.below = Some(below);
        inner
    }

    /// The place of the child under `nibble`, read from the view if the batch has not touched it.
    /// Only for inner nodes.
    fn child<V: ReadView>(
        &mut self,
        nibble: usize,
        prefix: Prefix,
        source: &mut Source<'_, '_, V>,
    ) -> Result<&mut Slot, StorageError> {
        let Node::Inner { slots, .. } = &self.node else { return Err(MISSING) };
        let named = slots.get(nibble).is_some_and(|hash| !hash.is_zero());
        let below = self.below.get_or_insert_default();
        let slot = below.get_mut(nibble).ok_or(MISSING)?;
        if slot.is_none() && named {
            let node = source.read(prefix.child(nibble as u8))?.ok_or(MISSING)?;
            *slot = Some(Self::new(node, false));
        }
        Ok(slot)
    }

    /// Brings the slots of every stale node here and below up to date, and gives the hash of this one.
    fn refresh(&mut self, hashes: &mut u64) -> Digest {
        if std::mem::take(&mut self.stale)
            && let Node::Inner { slots, .. } = &mut self.node
            && let Some(below) = &mut self.below
        {
            for (hash, child) in slots.iter_mut().zip(below.iter_mut()) {
                if let Some(child) = child.as_mut().filter(|child| child.stale) {
                    *hash = child.refresh(hashes);
                }
            }
        }
        *hashes += 1;
        self.node.hash()
    }
}

impl Tries {
    /// The tries of the state in `slot`.
    pub fn of(slot: keys::Slot) -> Self {
        Self { slot, ..Self::default() }
    }

    /// The place of the topmost node of `entity`'s trie, and where its other nodes come from.
    fn open<'a, 'v, V: ReadView>(
        &'a mut self,
        view: &'v V,
        entity: EntityId,
    ) -> Result<(&'a mut Slot, Source<'v, 'a, V>), StorageError> {
        let mut source = Source { view, slot: self.slot, entity, reads: &mut self.reads };
        let root = match self.roots.entry(entity) {
            std::collections::btree_map::Entry::Occupied(held) => held.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let node = source.read(Prefix::EMPTY)?;
                place.insert(node.map(|node| Held::new(node, false)))
            }
        };
        Ok((root, source))
    }

    /// The node at exactly `prefix` in the trie of `entity`'s children.
    pub fn node<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        prefix: Prefix,
    ) -> Result<Option<&Node>, StorageError> {
        let (at, held) = self.locate(view, entity, prefix.first_id(), prefix.len())?;
        Ok(held.filter(|_| at == prefix).map(|held| &held.node))
    }

    /// The lowest node on the way to `id`, at most `depth` nibbles down, and its prefix.
    fn locate<'a, V: ReadView>(
        &'a mut self,
        view: &V,
        entity: EntityId,
        id: EntityId,
        depth: u8,
    ) -> Result<(Prefix, Option<&'a Held>), StorageError> {
        let (mut slot, mut source) = self.open(view, entity)?;
        let mut prefix = Prefix::EMPTY;
        loop {
            let goes_on = slot.as_ref().is_some_and(|held| matches!(held.node, Node::Inner { .. }));
            if !goes_on || prefix.len() >= depth {
                return Ok((prefix, slot.as_deref()));
            }
            let nibble = prefix.next_nibble(id);
            slot = slot.as_mut().ok_or(MISSING)?.child(nibble, prefix, &mut source)?;
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
        let Some(Held { node: Node::Bucket(entries), .. }) = held else { return Ok(None) };
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
        Ok(update_at(root, Prefix::EMPTY, &mut source, id, entry)? != Updated::Same)
    }

    /// Takes child `id` out, merging nodes that have become small enough.
    pub fn remove<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        id: EntityId,
    ) -> Result<Option<Entry>, StorageError> {
        let mut gone = Vec::new();
        let (root, mut source) = self.open(view, entity)?;
        let removed = remove_at(root, Prefix::EMPTY, &mut source, id, &mut gone)?;
        self.gone.extend(gone.into_iter().map(|prefix| (entity, prefix)));
        Ok(removed)
    }

    /// The root of the trie of `entity`'s children, all hashes brought up to date; zero without
    /// children.
    pub fn root<V: ReadView>(&mut self, view: &V, entity: EntityId) -> Result<Digest, StorageError> {
        let mut hashes = 0;
        let (root, _) = self.open(view, entity)?;
        let hash = root.as_mut().map_or(Digest::ZERO, |root| root.refresh(&mut hashes));
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
        Ok(match held.map(|held| &held.node) {
            None => Digest::ZERO,
            Some(node) if at == prefix => node.hash(),
            Some(Node::Bucket(entries)) => {
                bucket_hash(entries.iter().filter(|entry| prefix.contains(entry.id)))
            }
            Some(Node::Inner { .. }) => return Err(MISSING),
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
        collect(root, Prefix::EMPTY, &mut source, (from, to), limit, &mut found)?;
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
        match self.roots.get(&entity) {
            Some(held) => scan_held(held.as_deref(), Prefix::EMPTY, &mut source, each),
            None => scan_view(Prefix::EMPTY, &mut source, each),
        }
    }

    /// Rows read and hashes computed so far.
    pub(crate) const fn work(&self) -> (u64, u64) {
        (self.reads, self.hashes)
    }

    /// The rows of every changed node; of two for one key the later counts.
    pub fn rows(&self) -> impl Iterator<Item = (Key, Option<Bytes>)> {
        let mut rows: Vec<_> = self
            .gone
            .iter()
            .map(|(entity, prefix)| (keys::node(self.slot, *entity, *prefix), None))
            .collect();
        let mut levels: Vec<Vec<(Key, Option<Bytes>)>> = Vec::new();
        let mut buffer = Writer::default();
        for (&entity, root) in &self.roots {
            write(root.as_deref(), (self.slot, entity), Prefix::EMPTY, &mut buffer, &mut levels);
            // Keys order by the length of their prefix first.
            levels.iter_mut().for_each(|level| rows.append(level));
        }
        rows.into_iter()
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
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    id: EntityId,
    entry: impl FnOnce(Option<Entry>) -> Entry,
) -> Result<Updated, StorageError> {
    let Some(held) = slot else {
        *slot = Some(Held::new(Node::Bucket(vec![entry(None)]), true));
        return Ok(Updated::Added);
    };
    let mut split = None;
    let updated = match &mut held.node {
        Node::Bucket(entries) => match entries.binary_search_by(|own| own.id.cmp(&id)) {
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
        Node::Inner { .. } => {
            let nibble = prefix.next_nibble(id);
            let child = held.child(nibble, prefix, source)?;
            let updated = update_at(child, prefix.child(nibble as u8), source, id, entry)?;
            if let (Updated::Added, Node::Inner { count, .. }) = (updated, &mut held.node) {
                *count += 1;
            }
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
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    id: EntityId,
    gone: &mut Vec<Prefix>,
) -> Result<Option<Entry>, StorageError> {
    let Some(held) = slot else { return Ok(None) };
    let removed = match &mut held.node {
        Node::Bucket(entries) => {
            let Ok(at) = entries.binary_search_by(|entry| entry.id.cmp(&id)) else { return Ok(None) };
            entries.remove(at)
        }
        Node::Inner { .. } => {
            let nibble = prefix.next_nibble(id);
            let child = held.child(nibble, prefix, source)?;
            let Some(removed) = remove_at(child, prefix.child(nibble as u8), source, id, gone)? else {
                return Ok(None);
            };
            let emptied = child.is_none();
            if let Node::Inner { count, slots } = &mut held.node {
                *count -= 1;
                // What is zero is never looked for in the view.
                if let Some(hash) = slots.get_mut(nibble).filter(|_| emptied) {
                    *hash = Digest::ZERO;
                }
            }
            removed
        }
    };
    (held.dirty, held.stale) = (true, true);
    match &held.node {
        Node::Bucket(entries) if entries.is_empty() => {
            gone.push(prefix);
            *slot = None;
        }
        Node::Inner { count, .. } if *count <= BUCKET as u64 => {
            let mut entries = Vec::with_capacity(BUCKET);
            drain(held, prefix, source, gone, &mut entries)?;
            *held = Held::of(entries, prefix);
        }
        _ => {}
    }
    Ok(Some(removed))
}

/// Empties everything below an inner node into `entries`, in id order.
fn drain<V: ReadView>(
    held: &mut Held,
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    gone: &mut Vec<Prefix>,
    entries: &mut Vec<Entry>,
) -> Result<(), StorageError> {
    for nibble in 0..16u8 {
        let at = prefix.child(nibble);
        let Some(mut child) = held.child(usize::from(nibble), prefix, source)?.take() else { continue };
        gone.push(at);
        match &mut child.node {
            Node::Bucket(own) => entries.append(own),
            Node::Inner { .. } => drain(&mut child, at, source, gone, entries)?,
        }
    }
    Ok(())
}

fn collect<V: ReadView>(
    slot: &mut Slot,
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    (from, to): (EntityId, EntityId),
    limit: usize,
    found: &mut Vec<Entry>,
) -> Result<(), StorageError> {
    let Some(held) = slot else { return Ok(()) };
    if let Node::Bucket(entries) = &held.node {
        let room = limit - found.len();
        let wanted = entries.iter().filter(|entry| from <= entry.id && entry.id <= to);
        found.extend(wanted.take(room));
        return Ok(());
    }
    for nibble in 0..16u8 {
        let at = prefix.child(nibble);
        if found.len() < limit && from <= at.last_id() && at.first_id() <= to {
            let child = held.child(usize::from(nibble), prefix, source)?;
            collect(child, at, source, (from, to), limit, found)?;
        }
    }
    Ok(())
}

fn scan_held<V: ReadView>(
    held: Option<&Held>,
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    each: &mut impl FnMut(&Entry),
) -> Result<(), StorageError> {
    match held.map(|held| (&held.node, &held.below)) {
        None => {}
        Some((Node::Bucket(entries), _)) => entries.iter().for_each(each),
        Some((Node::Inner { slots, .. }, below)) => {
            for (nibble, _) in (0u8..).zip(slots.iter()).filter(|(_, hash)| !hash.is_zero()) {
                match below.as_ref().and_then(|below| below.get(usize::from(nibble))?.as_deref()) {
                    Some(child) => scan_held(Some(child), prefix.child(nibble), source, each)?,
                    None => scan_view(prefix.child(nibble), source, each)?,
                }
            }
        }
    }
    Ok(())
}

fn scan_view<V: ReadView>(
    prefix: Prefix,
    source: &mut Source<'_, '_, V>,
    each: &mut impl FnMut(&Entry),
) -> Result<(), StorageError> {
    match source.read(prefix)? {
        None if prefix.is_empty() => Ok(()),
        None => Err(MISSING),
        Some(Node::Bucket(entries)) => {
            entries.iter().for_each(each);
            Ok(())
        }
        Some(Node::Inner { slots, .. }) => {
            for (nibble, _) in (0u8..).zip(slots.iter()).filter(|(_, hash)| !hash.is_zero()) {
                scan_view(prefix.child(nibble), source, each)?;
            }
            Ok(())
        }
    }
}

fn write(
    held: Option<&Held>,
    (slot, entity): (keys::Slot, EntityId),
    prefix: Prefix,
    buffer: &mut Writer,
    levels: &mut Vec<Vec<(Key, Option<Bytes>)>>,
) {
    let Some(held) = held.filter(|held| held.dirty) else { return };
    let at = usize::from(prefix.len());
    if levels.len() <= at {
        levels.resize_with(at + 1, Vec::new);
    }
    buffer.clear();
    held.node.encode(buffer);
    if let Some(level) = levels.get_mut(at) {
        level.push((keys::node(slot, entity, prefix), Some(buffer.as_slice().into())));
    }
    for (nibble, child) in (0u8..).zip(held.below.iter().flat_map(|below| below.iter())) {
        write(child.as_deref(), (slot, entity), prefix.child(nibble), buffer, levels);
    }
}
