//! Records as a batch sees and changes them.

use crate::error::StorageError;
use crate::index::Entry;
use crate::record::Record;
use crate::record_codec::own_hash;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use syncline_store::Bytes;
use syncline_types::{Digest, Encode, EntityId, Writer};

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) id: EntityId,
    pub(super) record: Option<Arc<Record>>,
    pub(super) dirty: bool,
    /// The canonical bytes of a dirty record, once they were needed.
    pub(super) bytes: Option<Bytes>,
    /// What of its index entry must be brought up to date.
    pub(super) touched: Option<Touched>,
}

impl Held {
    pub(super) const fn new(id: EntityId, record: Option<Arc<Record>>) -> Self {
        Self { id, record, dirty: false, bytes: None, touched: None }
    }

    /// The digest of a record that has changed; its bytes are kept for the batch.
    pub(super) fn own_hash(&mut self, buffer: &mut Writer) -> Digest {
        if let Some(bytes) = &self.bytes {
            return own_hash(self.id, bytes);
        }
        buffer.clear();
        self.record.iter().for_each(|record| record.encode(buffer));
        self.bytes = Some(buffer.as_slice().into());
        own_hash(self.id, buffer.as_slice())
    }
}

/// What of an entity's index entry must be brought up to date.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    pub(super) own: bool,
    pub(super) kids: bool,
    /// The entry that the entity had where it used to hang.
    pub(super) moved_from: Option<Box<Entry>>,
}

/// What of one depth must be brought up to date.
#[derive(Default)]
pub(super) struct Level {
    /// Touched by the batch itself, with their places.
    pub(super) touched: Vec<(EntityId, usize)>,
    /// Parents of what has changed a level below.
    pub(super) parents: BTreeSet<EntityId>,
}

/// All records that a batch has looked at, each in a place that it keeps.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    places: BTreeMap<EntityId, usize>,
    held: Vec<Held>,
}

impl Records {
    pub(super) fn place(&self, id: EntityId) -> Option<usize> {
        self.places.get(&id).copied()
    }

    /// Gives a place to a record that has none.
    pub(super) fn push(&mut self, held: Held) -> usize {
        self.places.insert(held.id, self.held.len());
        self.held.push(held);
        self.held.len() - 1
    }

    pub(super) fn at(&mut self, place: usize) -> Result<&mut Held, StorageError> {
        self.held.get_mut(place).ok_or(StorageError::Index { what: "a record that is held" })
    }

    /// Those from `from` to `to`, ascending.
    pub(super) fn range(&self, from: EntityId, to: EntityId) -> impl Iterator<Item = &Held> {
        self.places.range(from..=to).filter_map(|(_, place)| self.held.get(*place))
    }
}
