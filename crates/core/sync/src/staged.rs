//! What is kept of a snapshot that is being received: the state so far, in the slot that is not shown,
//! and how far that is.
//!
//! Rows in that slot mean something only while a [`Transfer`] is kept. Without one they are what a
//! transfer that was given up, or the state that was shown before, has left behind; [`sweep`] removes
//! them piece by piece, so that no step is larger for it than another.

use crate::handshake::SyncHandshake;
use syncline_storage::{Cursor, Slot, StorageError, keys};
use syncline_store::{Key, ReadView, WriteBatch};
use syncline_types::{Decode, DecodeError, Encode, EntityId, Hlc, Reader, Writer};

const SOURCE: &[u8] = &[keys::METADATA, 2];
const PROGRESS: &[u8] = &[keys::METADATA, 2, 1];
const EARLY: u8 = keys::METADATA + 2;
/// Rows that one sweep removes.
const PIECE: usize = 4_096;

/// A snapshot under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// The state that is being received, as a peer promised it: the *boundary*.
    pub source: SyncHandshake,
    /// Whether some of what came is of another boundary than this one.
    pub mixed: bool,
    /// Where the next page begins; `None` when all have come.
    pub cursor: Option<Cursor>,
    /// The latest stamp received that our clock accepted.
    pub latest: Hlc,
    /// How many peers in a row were passed over, since they have much less than what was promised.
    pub passed_over: u8,
}

impl Transfer {
    /// One of which nothing has come yet.
    pub fn new(source: SyncHandshake) -> Self {
        Self { source, mixed: false, cursor: Some(Cursor::default()), latest: Hlc::ZERO, passed_over: 0 }
    }

    /// The one that is kept, if any is.
    pub fn read<V: ReadView>(view: &V) -> Result<Option<Self>, StorageError> {
        let damaged = |error| StorageError::Row { what: "the snapshot under way", error };
        let Some(row) = view.read(SOURCE)? else { return Ok(None) };
        let mut input = Reader::new(&row);
        let mixed = input.bool("a snapshot under way").map_err(damaged)?;
        let source = SyncHandshake::decode(&mut input).map_err(damaged)?;
        // Rows of before do not have it.
        let passed_over = if input.remaining() > 0 { input.u8().map_err(damaged)? } else { 0 };
        let row = view.read(PROGRESS)?.ok_or(DecodeError::NotCanonical { what: "its progress" });
        let row = row.map_err(damaged)?;
        let mut input = Reader::new(&row);
        let latest = Hlc::decode(&mut input).map_err(damaged)?;
        let cursor = input.bool("its cursor").map_err(damaged)?.then(|| Cursor::decode(&mut input));
        Ok(Some(Self { source, mixed, cursor: cursor.transpose().map_err(damaged)?, latest, passed_over }))
    }

    /// Keeps what a page does not change.
    pub fn write_source(&self, batch: &mut WriteBatch) {
        let mut out = Writer::default();
        out.bool(self.mixed);
        self.source.encode(&mut out);
        out.u8(self.passed_over);
        batch.put(SOURCE.into(), out.into_bytes());
    }

    /// Keeps how far it has come.
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

/// Whether a transfer is kept. `above` holds what this step has written over the view.
pub fn is_under_way<V: ReadView>(view: &V, above: &WriteBatch) -> Result<bool, StorageError> {
    match above.get(SOURCE) {
        Some(written) => Ok(written.is_some()),
        None => Ok(view.read(SOURCE)?.is_some()),
    }
}

/// Takes note of a record that is ahead of our clock: it must not be shown yet.
pub fn note_early(id: EntityId, batch: &mut WriteBatch) {
    batch.put(Key::of(&[&[EARLY], id.as_bytes()]), []);
}

/// Up to `limit` of the records that were noted as ahead of our clock, ascending, after one of them.
pub fn early<V: ReadView>(
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

/// Forgets the transfer and begins to remove the rows in `slot`. Says whether more are left.
pub fn end<V: ReadView>(view: &V, slot: Slot, batch: &mut WriteBatch) -> Result<bool, StorageError> {
    batch.delete(SOURCE.into());
    batch.delete(PROGRESS.into());
    sweep(view, slot, batch)
}

/// Removes some of the rows in `slot`, which is not shown and into which nothing is being received. Says
/// whether more are left.
pub fn sweep<V: ReadView>(view: &V, slot: Slot, batch: &mut WriteBatch) -> Result<bool, StorageError> {
    let (first, end) = slot.bounds();
    view.runs(&first, &end, PIECE).into_iter().for_each(|run| batch.delete_run(run));
    let mut rows = view.range(&first, &end, PIECE)?;
    if rows.len() < PIECE {
        rows.extend(view.range(&[EARLY], &[EARLY + 1], PIECE - rows.len())?);
    }
    let more = rows.len() == PIECE;
    rows.into_iter().for_each(|(key, _)| batch.delete(key));
    Ok(more)
}
