//! What was changed in a trie, in short, for stores that write its nodes only now and then.
//!
//! A changed entry takes 65 bytes here and the nodes that it changes some two thousand. The notes are made
//! if the view asks for them ([`ReadView::wants_redo_entries`]), in the order of the changes, and [`redo`] makes
//! the changes again on what the trie was before.

use super::trie::{Tries, Update};
use crate::error::StorageError;
use crate::keys;
use syncline_store::{Bytes, ReadView, WriteBatch};
use syncline_types::{Decode, DecodeError, Digest, Encode, EntityId, Reader, Writer};

/// What follows an id.
const OWN: u8 = 1;
const KIDS: u8 = 2;
const GONE: u8 = 4;

/// The changes to one trie so far; nothing if nobody wants to know.
#[derive(Clone, Debug)]
pub(super) struct Notes(Option<Writer>);

impl Notes {
    pub(super) fn new(wanted: bool) -> Self {
        Self(wanted.then(Writer::default))
    }

    pub(super) fn updated(&mut self, updates: &[Update]) {
        let Some(out) = &mut self.0 else { return };
        for Update { id, own, kids, .. } in updates {
            id.encode(out);
            out.u8(own.map_or(0, |_| OWN) | kids.map_or(0, |_| KIDS));
            own.iter().chain(kids).for_each(|digest| digest.encode(out));
        }
    }

    pub(super) fn removed(&mut self, id: EntityId) {
        let Some(out) = &mut self.0 else { return };
        id.encode(out);
        out.u8(GONE);
    }

    pub(super) fn to_bytes(&self) -> Option<Bytes> {
        self.0.as_ref().map(|out| out.as_slice().into())
    }
}

/// One change: an update, or else a removal.
fn change(input: &mut Reader<'_>) -> Result<(Update, bool), DecodeError> {
    let (id, what) = (EntityId::decode(input)?, input.u8()?);
    if what > KIDS | OWN && what != GONE {
        return Err(DecodeError::UnknownTag { what: "kind of change", found: u64::from(what) });
    }
    let mut digest = |bit| (what & bit > 0).then(|| Digest::decode(input)).transpose();
    let (own, kids) = (digest(OWN)?, digest(KIDS)?);
    Ok((Update { id, own, kids, before: None }, what == GONE))
}

/// Makes the changes of `notes` to the trie whose rows begin with `trie` again, on what it is in `view`: a
/// batch with one edit, or none. O(changes · log n).
///
/// # Errors
/// [`StorageError::Row`] and [`StorageError::Index`] if the notes do not belong there or are damaged.
pub fn redo<V: ReadView>(view: &V, trie: &[u8], notes: &[u8]) -> Result<WriteBatch, StorageError> {
    let (slot, entity) = keys::trie_of(trie).ok_or(StorageError::Index { what: "the key of a trie" })?;
    let mut tries = Tries::of(slot);
    let (mut input, mut updates) = (Reader::new(notes), Vec::new());
    while input.remaining() > 0 {
        let (update, gone) = change(&mut input).map_err(StorageError::row("notes of changes"))?;
        if gone {
            update_all(&mut tries, view, entity, &mut updates)?;
            tries.remove(view, entity, update.id)?;
        } else {
            updates.push(update);
        }
    }
    update_all(&mut tries, view, entity, &mut updates)?;
    tries.root(view, entity)?;
    let mut batch = WriteBatch::default();
    tries.finish(&mut batch);
    Ok(batch)
}

/// Makes these updates, of which there may be several to one child, and forgets them.
fn update_all<V: ReadView>(
    tries: &mut Tries,
    view: &V,
    entity: EntityId,
    updates: &mut Vec<Update>,
) -> Result<(), StorageError> {
    updates.sort_by_key(|update| update.id);
    updates.dedup_by(|later, update| {
        let same = later.id == update.id;
        if same {
            (update.own, update.kids) = (later.own.or(update.own), later.kids.or(update.kids));
        }
        same
    });
    if !updates.is_empty() {
        tries.update(view, entity, updates)?;
        updates.clear();
    }
    Ok(())
}
