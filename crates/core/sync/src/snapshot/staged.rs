//! The rows of a snapshot transfer in the store: the staged state, and the progress of the transfer.
//!
//! A store has two slots for a state: the active one, which readers see, and another one, into which a
//! snapshot is staged. A transfer has three kinds of rows. The *source* row identifies the promised
//! state, the *progress* row contains the cursor, and *early* rows name the records whose stamps are
//! ahead of the local clock.
//!
//! Invariant: rows in the inactive slot mean something only while a [`Transfer`] is stored. Every step
//! writes the records of a page and the cursor after them in one batch. After a crash the slot therefore
//! contains exactly what the cursor says, and the transfer continues there. Without a transfer the
//! inactive slot contains garbage: an abandoned transfer, or the state that a published one replaced.
//! [`sweep`] removes it in pieces of bounded size, so that no step takes much longer than others.

use crate::messages::SyncHandshake;
use syncline_storage::{Cursor, Slot, StorageError, keys};
use syncline_store::{Key, ReadView, WriteBatch};
use syncline_types::{Decode, DecodeError, Encode, EntityId, Hlc, Reader, Writer};

const SOURCE: &[u8] = keys::metadata::SNAPSHOT;
const PROGRESS: &[u8] = &[keys::METADATA, 2, 1];
const EARLY: u8 = keys::METADATA + 2;

/// A snapshot transfer in progress.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// The handshake of the state that is being received, as a peer promised it: the *boundary*.
    pub source: SyncHandshake,
    /// Whether some of the staged records are from an earlier boundary. The staged state then need not
    /// have the boundary's root when all pages have arrived, and a walk completes it.
    pub mixed: bool,
    /// The cursor of the next page; `None` when all pages have arrived.
    pub cursor: Option<Cursor>,
    /// The latest staged stamp that passed the drift check.
    pub latest: Hlc,
    /// How many peers in a row were skipped because they have much less than the promised state.
    pub peers_skipped: u8,
}

impl Transfer {
    /// A transfer that has received nothing yet.
    pub fn new(source: SyncHandshake) -> Self {
        Self { source, mixed: false, cursor: Some(Cursor::default()), latest: Hlc::ZERO, peers_skipped: 0 }
    }

    /// Reads the stored transfer, if there is one.
    pub fn read<V: ReadView>(view: &V) -> Result<Option<Self>, StorageError> {
        let damaged = |error| StorageError::Row { what: "the snapshot under way", error };
        let Some(row) = view.read(SOURCE)? else { return Ok(None) };
        let mut input = Reader::new(&row);
        let mixed = input.bool("a snapshot under way").map_err(damaged)?;
        let source = SyncHandshake::decode(&mut input).map_err(damaged)?;
        // Rows of earlier versions end before this field.
        let peers_skipped = if input.remaining() > 0 { input.u8().map_err(damaged)? } else { 0 };
        let row = view.read(PROGRESS)?.ok_or(DecodeError::NotCanonical { what: "its progress" });
        let row = row.map_err(damaged)?;
        let mut input = Reader::new(&row);
        let latest = Hlc::decode(&mut input).map_err(damaged)?;
        let cursor = input.bool("its cursor").map_err(damaged)?.then(|| Cursor::decode(&mut input));
        Ok(Some(Self { source, mixed, cursor: cursor.transpose().map_err(damaged)?, latest, peers_skipped }))
    }

    /// Writes the fields that do not change with each page.
    pub fn write_source(&self, batch: &mut WriteBatch) {
        let mut out = Writer::default();
        out.bool(self.mixed);
        self.source.encode(&mut out);
        out.u8(self.peers_skipped);
        batch.put(SOURCE.into(), out.into_bytes());
    }

    /// Writes the fields that each page changes. It belongs into the same batch as the records of the
    /// page.
    pub fn write_progress(&self, batch: &mut WriteBatch) {
        let mut out = Writer::default();
        self.latest.encode(&mut out);
        out.bool(self.cursor.is_some());
        if let Some(cursor) = &self.cursor {
            cursor.encode(&mut out);
        }
        batch.put(PROGRESS.into(), out.into_bytes());
    }
}

/// Whether a transfer is stored. `metadata_batch` contains the rows that this step has written over the
/// view.
pub fn is_under_way<V: ReadView>(view: &V, metadata_batch: &WriteBatch) -> Result<bool, StorageError> {
    match metadata_batch.get(SOURCE) {
        Some(written) => Ok(written.is_some()),
        None => Ok(view.read(SOURCE)?.is_some()),
    }
}

/// Marks a staged record as ahead of the local clock: it must not be published yet.
pub fn record_early(id: EntityId, batch: &mut WriteBatch) {
    batch.put(Key::of(&[&[EARLY], id.as_bytes()]), []);
}

/// Up to `limit` of the records that were marked as ahead of the local clock, ascending, after the given
/// one.
pub fn early_records<V: ReadView>(
    view: &V,
    after: Option<EntityId>,
    limit: usize,
) -> Result<Vec<EntityId>, StorageError> {
    let from = match after.map(EntityId::successor) {
        None => Key::of(&[&[EARLY]]),
        Some(Some(next)) => Key::of(&[&[EARLY], next.as_bytes()]),
        Some(None) => return Ok(Vec::new()),
    };
    let rows = view.range(&from, &[EARLY + 1], limit)?;
    let id = |key: &[u8]| key.split_first().and_then(|(_, id)| id.try_into().ok()).map(EntityId);
    let ids = rows.iter().map(|(key, _)| id(key));
    ids.collect::<Option<_>>().ok_or(StorageError::Index { what: "the key of an early record" })
}

/// Deletes the transfer and up to about `most` of the rows in `slot`. Returns whether more rows are left.
pub fn end<V: ReadView>(
    view: &V,
    slot: Slot,
    most: usize,
    batch: &mut WriteBatch,
) -> Result<bool, StorageError> {
    batch.delete(SOURCE.into());
    batch.delete(PROGRESS.into());
    sweep(view, slot, most, batch)
}

/// Removes up to about `most` of the rows in `slot`, which must be inactive and without a transfer. Returns
/// whether more rows are left.
pub fn sweep<V: ReadView>(
    view: &V,
    slot: Slot,
    most: usize,
    batch: &mut WriteBatch,
) -> Result<bool, StorageError> {
    let (first, end) = slot.bounds();
    debug_assert!(first < end, "a slot is a range of keys");
    view.runs(&first, &end, most).into_iter().for_each(|run| batch.delete_run(run));
    let mut rows = view.range(&first, &end, most)?;
    if rows.len() < most {
        rows.extend(view.range(&[EARLY], &[EARLY + 1], most - rows.len())?);
    }
    debug_assert!(rows.len() <= most, "a sweep has a bounded size");
    let more = rows.len() == most;
    rows.into_iter().for_each(|(key, _)| batch.delete(key));
    Ok(more)
}
