//! The redo log of one trie: its changes in compact form, for stores that write nodes late.
//!
//! A changed record takes 65 bytes in the log, and the nodes that it changes take some two thousand: one for each
//! ancestor, or more. Such a store writes the log with each batch (write-ahead), keeps the changed nodes in memory,
//! and writes them only now and then. After a crash it has the nodes of the last flush and the logs since. A replay
//! ([`redo`](crate::redo)) applies the logs to the tries of that flush, which gives the nodes that were lost.
//!
//! A log has the hashes of records only. The roots of the children's tries, which a change alters all the way up,
//! follow from them: the replay computes them once for all logs. A log is therefore as long as what changed, however
//! deep it is. One exception: an entity that moves to another parent takes the root of its trie along, since its trie
//! need not change.
//!
//! This works because a change says what an entry becomes, not how it differs, and because the shape of a trie
//! depends on its entries alone: the same changes in the same order give the same nodes. The replay compares
//! the result with the root that was acknowledged.
//!
//! A log is written only if the view asks for it ([`ReadView::wants_redo_entries`]).

use super::trie_update::EntryUpdate;
use super::tries::Tries;
use crate::error::StorageError;
use syncline_store::{Bytes, ReadView};
use syncline_types::{Decode, DecodeError, Digest, Encode, EntityId, Reader, Writer};

/// Kinds of changes, which follow the id: the digest of the record changed or is new; so it is, and the entity came
/// from another parent with the root of its trie; the entry was removed.
const CHANGED: u8 = 1;
const MOVED: u8 = 3;
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
        for EntryUpdate { id, own, kids, before } in updates {
            // Without it nothing but the children changed, which the replay derives from their logs.
            let Some(own) = own else { continue };
            // Only an entity that has moved here brings `before` along.
            let kids = kids.as_ref().filter(|_| before.is_some());
            id.encode(out);
            out.u8(if kids.is_some() { MOVED } else { CHANGED });
            own.encode(out);
            kids.into_iter().for_each(|kids| kids.encode(out));
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
        let kind = input.u8()?;
        match kind {
            CHANGED | MOVED => {
                let own = Some(Digest::decode(input)?);
                let kids = if kind == MOVED { Some(Digest::decode(input)?) } else { None };
                Ok(Self::Update(EntryUpdate { id, own, kids, before: None }))
            }
            REMOVED => Ok(Self::Removal(id)),
            _ => Err(DecodeError::UnknownTag { what: "kind of change", found: u64::from(kind) }),
        }
    }
}

/// Applies a redo log to the trie over the children of `entity`. Children roots of entries that did not move stay
/// as they are. O(changes · log n).
///
/// # Errors
/// [`StorageError::Row`] and [`StorageError::Index`] if the log is damaged or does not belong to this trie.
pub(crate) fn apply_log<V: ReadView>(
    tries: &mut Tries,
    view: &V,
    entity: EntityId,
    log: &[u8],
) -> Result<(), StorageError> {
    let mut input = Reader::new(log);
    // Updates between two removals are made together: one pass over the trie instead of one for each.
    let mut updates = Vec::new();
    while input.remaining() > 0 {
        match LoggedChange::decode(&mut input).map_err(StorageError::row("notes of changes"))? {
            LoggedChange::Update(update) => updates.push(update),
            LoggedChange::Removal(id) => {
                apply_updates(tries, view, entity, &mut updates)?;
                tries.remove(view, entity, id)?;
            }
        }
    }
    apply_updates(tries, view, entity, &mut updates)
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
