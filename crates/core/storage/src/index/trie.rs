//! Reading and changing tries over a read view.

use super::node::{BUCKET, Entry, Node, bucket_hash};
use super::prefix::Prefix;
use crate::error::StorageError;
use crate::keys;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use syncline_store::{ReadView, WriteBatch};
use syncline_types::{Decode, Digest, Encode, EntityId};

type Key = (EntityId, Prefix);

/// A node as this batch sees it.
#[derive(Clone, Debug)]
struct Held {
    /// `None`: there is no such node.
    node: Option<Node>,
    /// Differs from the view.
    dirty: bool,
    /// Its hash, or that of a node below it, is out of date in its parent.
    stale: bool,
}

/// Every trie of a state, with the changes of one batch held over the view.
#[derive(Clone, Debug, Default)]
pub struct Tries {
    held: BTreeMap<Key, Held>,
    reads: u64,
    hashes: u64,
}

const MISSING: StorageError = StorageError::Index { what: "a node that its parent names is not there" };

impl Tries {
    fn held<V: ReadView>(&mut self, view: &V, key: Key) -> Result<&mut Held, StorageError> {
        match self.held.entry(key) {
            Place::Occupied(held) => Ok(held.into_mut()),
            Place::Vacant(place) => {
                self.reads += 1;
                let row = view.read(&keys::node(key.0, key.1))?;
                let node = row.map(|row| Node::from_bytes(&row)).transpose();
                let node = node.map_err(StorageError::row("an index node"))?;
                Ok(place.insert(Held { node, dirty: false, stale: false }))
            }
        }
    }

    /// The node at exactly `prefix` in the trie of `entity`'s children.
    pub fn node<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        prefix: Prefix,
    ) -> Result<Option<&Node>, StorageError> {
        Ok(self.held(view, (entity, prefix))?.node.as_ref())
    }

    /// The prefix of the node that holds `id`, or would: a bucket, or the empty prefix of an empty
    /// trie, or the empty slot of an inner node.
    fn locate<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        id: EntityId,
    ) -> Result<(Prefix, Vec<Prefix>), StorageError> {
        let (mut prefix, mut above) = (Prefix::EMPTY, Vec::new());
        while let Some(Node::Inner { .. }) = self.held(view, (entity, prefix))?.node {
            above.push(prefix);
            prefix = prefix.child(prefix.next_nibble(id) as u8);
        }
        Ok((prefix, above))
    }

    /// The entry of child `id`.
    pub fn entry<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        id: EntityId,
    ) -> Result<Option<Entry>, StorageError> {
        let (at, _) = self.locate(view, entity, id)?;
        let Some(Node::Bucket(entries)) = &self.held(view, (entity, at))?.node else { return Ok(None) };
        let found = entries.binary_search_by(|entry| entry.id.cmp(&id));
        Ok(found.ok().and_then(|at| entries.get(at)).copied())
    }

    /// Puts `entry` among the children of `entity`, in place of an older one with its id.
    pub fn put<V: ReadView>(&mut self, view: &V, entity: EntityId, entry: Entry) -> Result<(), StorageError> {
        let (at, above) = self.locate(view, entity, entry.id)?;
        let held = self.held(view, (entity, at))?;
        let mut entries = match held.node.take() {
            Some(Node::Bucket(entries)) => entries,
            None => Vec::new(),
            Some(Node::Inner { .. }) => return Err(MISSING),
        };
        let is_new = match entries.binary_search_by(|own| own.id.cmp(&entry.id)) {
            Ok(at) => {
                entries.splice(at..=at, [entry]);
                false
            }
            Err(at) => {
                entries.insert(at, entry);
                true
            }
        };
        self.set_bucket(entity, at, entries);
        for prefix in above {
            let held = self.held(view, (entity, prefix))?;
            (held.dirty, held.stale) = (true, true);
            if let Some(Node::Inner { count, .. }) = &mut held.node {
                *count += u64::from(is_new);
            }
        }
        Ok(())
    }

    /// Stores entries at `prefix`, splitting them over as many levels as they need.
    fn set_bucket(&mut self, entity: EntityId, prefix: Prefix, entries: Vec<Entry>) {
        let node = if entries.len() <= BUCKET || prefix.len() == Prefix::MAX_LEN {
            Some(Node::Bucket(entries)).filter(|node| node.count() > 0)
        } else {
            let count = entries.len() as u64;
            let mut groups: [Vec<Entry>; 16] = Default::default();
            for entry in entries {
                if let Some(group) = groups.get_mut(prefix.next_nibble(entry.id)) {
                    group.push(entry);
                }
            }
            for (nibble, group) in (0u8..).zip(groups) {
                if !group.is_empty() {
                    self.set_bucket(entity, prefix.child(nibble), group);
                }
            }
            Some(Node::Inner { count, slots: Box::new([Digest::ZERO; 16]) })
        };
        self.held.insert((entity, prefix), Held { node, dirty: true, stale: true });
    }

    /// Takes child `id` out, merging nodes that have become small enough.
    pub fn remove<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        id: EntityId,
    ) -> Result<Option<Entry>, StorageError> {
        let (at, above) = self.locate(view, entity, id)?;
        let held = self.held(view, (entity, at))?;
        let Some(Node::Bucket(entries)) = &mut held.node else { return Ok(None) };
        let Ok(found) = entries.binary_search_by(|entry| entry.id.cmp(&id)) else { return Ok(None) };
        let removed = entries.remove(found);
        (held.dirty, held.stale) = (true, true);
        if entries.is_empty() {
            held.node = None;
        }
        let mut collapse = None;
        for prefix in above {
            let held = self.held(view, (entity, prefix))?;
            (held.dirty, held.stale) = (true, true);
            if let Some(Node::Inner { count, .. }) = &mut held.node {
                *count -= 1;
                if *count <= BUCKET as u64 && collapse.is_none() {
                    collapse = Some(prefix);
                }
            }
        }
        if let Some(prefix) = collapse {
            let mut entries = Vec::with_capacity(BUCKET);
            self.drain(view, (entity, prefix), &mut entries)?;
            self.set_bucket(entity, prefix, entries);
        }
        Ok(Some(removed))
    }

    /// Empties the subtree at `key` into `entries`, in id order.
    fn drain<V: ReadView>(
        &mut self,
        view: &V,
        key: Key,
        entries: &mut Vec<Entry>,
    ) -> Result<(), StorageError> {
        let held = self.held(view, key)?;
        (held.dirty, held.stale) = (true, true);
        match held.node.take() {
            None => {}
            Some(Node::Bucket(own)) => entries.extend(own),
            Some(Node::Inner { .. }) => {
                for nibble in 0..16 {
                    self.drain(view, (key.0, key.1.child(nibble)), entries)?;
                }
            }
        }
        Ok(())
    }

    /// The root of the trie of `entity`'s children, all hashes brought up to date; zero without
    /// children.
    pub fn root<V: ReadView>(&mut self, view: &V, entity: EntityId) -> Result<Digest, StorageError> {
        self.refresh(view, (entity, Prefix::EMPTY))?;
        self.hashes += 1;
        let held = self.held(view, (entity, Prefix::EMPTY))?;
        Ok(held.node.as_ref().map_or(Digest::ZERO, Node::hash))
    }

    /// Brings the slots of every stale node at or below `key` up to date.
    fn refresh<V: ReadView>(&mut self, view: &V, key: Key) -> Result<(), StorageError> {
        let held = self.held(view, key)?;
        if !std::mem::take(&mut held.stale) {
            return Ok(());
        }
        let Some(Node::Inner { slots, .. }) = &held.node else { return Ok(()) };
        let mut slots = slots.clone();
        for (nibble, slot) in (0u8..).zip(slots.iter_mut()) {
            let child = (key.0, key.1.child(nibble));
            if self.held.get(&child).is_some_and(|child| child.stale) {
                self.refresh(view, child)?;
                self.hashes += 1;
                *slot = match self.held.get(&child) {
                    Some(Held { node: Some(node), .. }) => node.hash(),
                    _ => Digest::ZERO,
                };
            }
        }
        if let Some(Node::Inner { slots: own, .. }) = &mut self.held(view, key)?.node {
            *own = slots;
        }
        Ok(())
    }

    /// The hash that a node at `prefix` has, or would have if its children did not share a bucket
    /// with others; zero when there are none. Hashes must be up to date.
    pub fn hash_at<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        prefix: Prefix,
    ) -> Result<Digest, StorageError> {
        if let Some(node) = self.node(view, entity, prefix)? {
            return Ok(node.hash());
        }
        let (at, _) = self.locate(view, entity, prefix.first_id())?;
        let Some(Node::Bucket(entries)) = self.node(view, entity, at)? else { return Ok(Digest::ZERO) };
        Ok(bucket_hash(entries.iter().filter(|entry| prefix.contains(entry.id))))
    }

    /// Up to `limit` children of `entity` with `from <= id <= to`, ascending. O(log n + limit).
    pub fn children<V: ReadView>(
        &mut self,
        view: &V,
        entity: EntityId,
        from: EntityId,
        to: EntityId,
        limit: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let mut found = Vec::new();
        self.collect(view, (entity, Prefix::EMPTY), (from, to), limit, &mut found)?;
        Ok(found)
    }

    fn collect<V: ReadView>(
        &mut self,
        view: &V,
        key: Key,
        (from, to): (EntityId, EntityId),
        limit: usize,
        found: &mut Vec<Entry>,
    ) -> Result<(), StorageError> {
        if found.len() >= limit || key.1.last_id() < from || key.1.first_id() > to {
            return Ok(());
        }
        match &self.held(view, key)?.node {
            None => {}
            Some(Node::Bucket(entries)) => {
                let room = limit - found.len();
                let wanted = entries.iter().filter(|entry| from <= entry.id && entry.id <= to);
                found.extend(wanted.take(room));
            }
            Some(Node::Inner { .. }) => {
                for nibble in 0..16 {
                    self.collect(view, (key.0, key.1.child(nibble)), (from, to), limit, found)?;
                }
            }
        }
        Ok(())
    }

    /// Rows read and hashes computed so far.
    pub(crate) const fn work(&self) -> (u64, u64) {
        (self.reads, self.hashes)
    }

    /// Writes every changed node.
    pub fn write(&self, batch: &mut WriteBatch) {
        for (&(entity, prefix), held) in self.held.iter().filter(|(_, held)| held.dirty) {
            let key = keys::node(entity, prefix);
            match &held.node {
                Some(node) => batch.put(key, node.to_bytes()),
                None => batch.delete(key),
            }
        }
    }
}
