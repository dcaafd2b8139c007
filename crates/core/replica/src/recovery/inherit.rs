//! Copies the legacy of a former id from its old store.

use super::legacy::{self, FormerId, LegacyPart, LegacyWrite, damaged};
use crate::persisted;
use syncline_storage::{Interface, Record, StorageError, record_page};
use syncline_store::{ReadView, Store, WriteBatch};
use syncline_sync::{Delta, DeltaLog, Dot, HistoryConflict};
use syncline_types::{Decode, ReplicaId, Writer};

/// The number of small rows that are copied in one batch.
const ROWS: usize = 256;
/// The number of rows of earlier legacies that are copied in one batch: each may have the size of a delta.
const EARLIER_ROWS: usize = 4;
/// The bytes after which a batch is applied.
const BATCH_BYTES: usize = 1 << 20;

/// Copies the legacy of `former` from its `old` store into `store`, and the legacies that the old store has of even
/// earlier ids. Idempotent: the row that makes the legacy count is written last. O(old store), in batches of about a
/// megabyte.
pub(crate) fn inherit<O: ReadView, S: Store>(
    former: ReplicaId,
    old: &O,
    store: &mut S,
) -> Result<(), StorageError> {
    if FormerId::read(&store.view(), former)?.is_some() {
        return Ok(());
    }
    copy_earlier(old, store)?;
    let horizon = Interface::open(old.clone())?.horizon();
    copy_records(former, old, store)?;
    let log = DeltaLog::load(old, u64::MAX)?;
    copy_covered(former, &log, store)?;
    let (first, last) = copy_writes(former, old, &log, store)?;
    let (other_from, has_one_life) = match persisted::conflict(old)? {
        Some(HistoryConflict::Forked { seq, .. }) => (seq, false),
        Some(HistoryConflict::LeftBehind { .. } | HistoryConflict::Ahead { .. }) => (u64::MAX, true),
        // Others have more, and the id may have written since.
        Some(HistoryConflict::Behind { .. }) | None => (u64::MAX, false),
    };
    let mut batch = WriteBatch::default();
    let shared = persisted::shared(old)?;
    FormerId { first, last, other_from, horizon, has_one_life, shared, branch: None }
        .write(former, &mut batch);
    store.apply(batch)?;
    Ok(())
}

/// Copies the rows of earlier legacies.
fn copy_earlier<O: ReadView, S: Store>(old: &O, store: &mut S) -> Result<(), StorageError> {
    let mut after = None;
    loop {
        let mut batch = WriteBatch::default();
        after = legacy::copy_page(old, after.as_ref(), EARLIER_ROWS, &mut batch)?;
        if after.is_none() {
            return Ok(());
        }
        store.apply(batch)?;
    }
}

fn copy_records<O: ReadView, S: Store>(
    former: ReplicaId,
    old: &O,
    store: &mut S,
) -> Result<(), StorageError> {
    let mut after = None;
    loop {
        let page = record_page(old, after, BATCH_BYTES)?;
        let mut batch = WriteBatch::default();
        after = page.records.last().map(|(id, _)| *id);
        for (id, bytes) in page.records {
            let depth = Record::depth_of(&bytes).map_err(damaged("a record"))?;
            batch.put(LegacyPart::record_key(former, depth, id), bytes);
        }
        store.apply(batch)?;
        if page.is_last {
            return Ok(());
        }
    }
}

fn copy_covered<S: Store>(former: ReplicaId, log: &DeltaLog, store: &mut S) -> Result<(), StorageError> {
    let mut batch = WriteBatch::default();
    for Dot { author, seq } in log.covered().entries() {
        let mut row = Writer::default();
        row.varint(seq);
        batch.put(LegacyPart::Covered.key(former, author.as_bytes()), row.into_bytes());
        if batch.len() >= ROWS {
            store.apply(std::mem::take(&mut batch))?;
        }
    }
    store.apply(batch)?;
    Ok(())
}

/// Copies the deltas of the former id that the old log stores. Returns the numbers of the first and the last one.
fn copy_writes<O: ReadView, S: Store>(
    former: ReplicaId,
    old: &O,
    log: &DeltaLog,
    store: &mut S,
) -> Result<(u64, u64), StorageError> {
    let first = log.floor().of(former) + 1;
    let last = log.covered().of(former);
    let mut state = Interface::open(old.clone())?;
    let mut batch = WriteBatch::default();
    let mut bytes = 0;
    for seq in first..=last {
        let dot = Dot { author: former, seq };
        let row = DeltaLog::read(old, dot)?.ok_or(StorageError::Index { what: "an own delta" })?;
        let delta = Delta::from_bytes(&row).map_err(damaged("a delta"))?;
        let above = delta.actions.iter().map(|action| state.path_above(action));
        let above = above.collect::<Result<_, _>>()?;
        bytes += LegacyWrite { delta, above }.write(dot, &mut batch);
        if bytes >= BATCH_BYTES {
            store.apply(std::mem::take(&mut batch))?;
            bytes = 0;
            // The state caches what it reads.
            state = Interface::open(old.clone())?;
        }
    }
    store.apply(batch)?;
    Ok((first, last))
}
