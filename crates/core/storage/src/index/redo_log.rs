//! The redo log of one trie: its changes in compact form, for stores that write nodes late.
//!
//! A changed entry takes 65 bytes in the log, and the nodes that it changes take some two thousand. Such a
//! store writes the log with each batch (write-ahead), keeps the changed nodes in memory, and writes them only
//! now and then. After a crash it has the nodes of the last flush and the logs since. [`redo`] applies a log to
//! the trie of that flush, which gives the nodes that were lost.
//!
//! This works because a change says what an entry becomes, not how it differs, and because the shape of a trie
//! depends on its entries alone: the same changes in the same order give the same nodes. The store must compare
//! the result with the root that was acknowledged (`trie_roots_match`).
//!
//! A log is written only if the view asks for it ([`ReadView::wants_redo_entries`]).

use super::trie_update::EntryUpdate;
use super::tries::Tries;
use crate::error::StorageError;
use crate::keys;
use syncline_store::{Bytes, ReadView, WriteBatch};
use syncline_types::{Decode, DecodeError, Digest, Encode, EntityId, Reader, Writer};

/// Flags of a change, which follow the id. With [`REMOVED`] there are no others.
const OWN: u8 = 1;
const KIDS: u8 = 2;
const REMOVED: u8 = 4;

/// The changes to one trie in the order in which they were made; `None` if the view wants no log.
#[derive(Clone, Debug)]
pub(super) struct RedoLog(Option<Writer>);

impl RedoLog {
    pub(super) fn new(wanted: bool) -> Self {
        Self(wanted.then(Writer::default))
    }

    pub(super) fn push_updates(&mut self, updates: &[EntryUpdate]) {
        // The view wants no log.
        let Some(out) = &mut self.0 else { return };
        for EntryUpdate { id, own, kids, .. } in updates {
            id.encode(out);
            out.u8(own.map_or(0, |_| OWN) | kids.map_or(0, |_| KIDS));
            own.iter().chain(kids).for_each(|digest| digest.encode(out));
        }
    }

    pub(super) fn push_removal(&mut self, id: EntityId) {
        // The view wants no log.
        let Some(out) = &mut self.0 else { return };
        id.encode(out);
        out.u8(REMOVED);
    }

    pub(super) fn to_bytes(&self) -> Option<Bytes> {
        self.0.as_ref().map(|out| out.as_slice().into())
    }
}

/// One change of a log.
enum LoggedChange {
    Update(EntryUpdate),
    Removal(EntityId),
}

impl Decode for LoggedChange {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = EntityId::decode(input)?;
        let flags = input.u8()?;
        if flags == REMOVED {
            return Ok(Self::Removal(id));
        }
        if flags > KIDS | OWN {
            return Err(DecodeError::UnknownTag { what: "kind of change", found: u64::from(flags) });
        }
        let mut digest = |flag| (flags & flag > 0).then(|| Digest::decode(input)).transpose();
        let own = digest(OWN)?;
        let kids = digest(KIDS)?;
        Ok(Self::Update(EntryUpdate { id, own, kids, before: None }))
    }
}

/// Applies a redo log to the trie whose rows begin with `trie`, as it is in `view`. Returns a batch with one
/// edit, or with none for an empty log. O(changes · log n).
///
/// # Errors
/// [`StorageError::Row`] and [`StorageError::Index`] if the log is damaged or does not belong to this trie.
pub fn redo<V: ReadView>(view: &V, trie: &[u8], log: &[u8]) -> Result<WriteBatch, StorageError> {
    let (slot, entity) = keys::trie_of(trie).ok_or(StorageError::Index { what: "the key of a trie" })?;
    let mut tries = Tries::of(slot);
    let mut input = Reader::new(log);
    // Updates between two removals are made together: one pass over the trie instead of one for each.
    let mut updates = Vec::new();
    while input.remaining() > 0 {
        match LoggedChange::decode(&mut input).map_err(StorageError::row("notes of changes"))? {
            LoggedChange::Update(update) => updates.push(update),
            LoggedChange::Removal(id) => {
                apply_updates(&mut tries, view, entity, &mut updates)?;
                tries.remove(view, entity, id)?;
            }
        }
    }
    apply_updates(&mut tries, view, entity, &mut updates)?;
    tries.root(view, entity)?;
    let mut batch = WriteBatch::default();
    tries.finish(&mut batch);
    Ok(batch)
}

/// Applies `updates`, in which a child may occur several times, and clears them.
fn apply_updates<V: ReadView>(
    tries: &mut Tries,
    view: &V,
    entity: EntityId,
    updates: &mut Vec<EntryUpdate>,
) -> Result<(), StorageError> {
    // The sort is stable: of two updates of one child the later one in the log wins, part by part.
    updates.sort_by_key(|update| update.id);
    updates.dedup_by(|later, update| {
        let same = later.id == update.id;
        if same {
            update.own = later.own.or(update.own);
            update.kids = later.kids.or(update.kids);
        }
        same
    });
    if !updates.is_empty() {
        tries.update(view, entity, updates)?;
        updates.clear();
    }
    Ok(())
}
