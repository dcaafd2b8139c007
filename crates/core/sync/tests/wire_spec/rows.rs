//! The rows that the sync layer stores, as `docs/spec/storage.md` shows them.

use super::doc::{Example, Walk, kinds, name_of, read_with};
use super::samples::{entity, first_delta, handshakes, second_delta};
use super::walk;
use syncline_storage::{ApplyContext, Cursor, StorageError};
use syncline_store::{MemoryStore, ReadView, Store, WriteBatch};
use syncline_sync::staged::{self, Transfer};
use syncline_sync::*;
use syncline_types::{DeltaId, Digest, Encode, Hlc, Moment, ReplicaId, SimTime, Writer};

kinds! { KINDS;
    HistoryConflict, "kind" {
        Behind "0" "behind",
        Forked "1" "forked",
        LeftBehind "2" "left behind",
        Ahead "3" "ahead",
    }
}

const DELTA_LOG: &[u8] = &[0x10, 1];
const SNAPSHOT_SOURCE: &[u8] = &[0x10, 2];
const SNAPSHOT_PROGRESS: &[u8] = &[0x10, 2, 1];

fn store_of(rows: &[(&[u8], &[u8])]) -> MemoryStore {
    let mut batch = WriteBatch::default();
    rows.iter().for_each(|(key, value)| batch.put((*key).into(), *value));
    let mut store = MemoryStore::default();
    store.apply(batch).unwrap();
    store
}

fn error(error: StorageError) -> String {
    match error {
        StorageError::Row { error, .. } => name_of(error),
        other => other.to_string(),
    }
}

/// What a replica stores that has applied two deltas, the second with the first as its parent.
fn with_deltas() -> MemoryStore {
    let mut store = MemoryStore::default();
    let context = ApplyContext::new(Moment::at(SimTime::from_millis(10_000)));
    let mut work = Transaction::begin(store.view(), DeltaLog::default(), context).unwrap();
    for delta in [first_delta(), second_delta()] {
        assert_eq!(work.apply_delta(&delta), Ok(()));
    }
    store.apply(work.finish().unwrap().0).unwrap();
    store
}

/// The rows of the log but the one at `without`, and `row` in its place.
fn log_rows(without: &[u8], row: &[u8]) -> MemoryStore {
    let whole = with_deltas();
    let rows = whole.range(&[0x10], &[0x11], 99).unwrap();
    let mut store: Vec<(&[u8], &[u8])> = rows.iter().map(|(key, value)| (&**key, &**value)).collect();
    store.retain(|(key, _)| *key != without);
    store.push((without, row));
    store_of(&store)
}

fn delta_log() -> Example {
    let decode = |bytes: &[u8]| DeltaLog::load(&log_rows(DELTA_LOG, bytes), DeltaLog::DEFAULT_RETENTION);
    let digest_of = |log: &DeltaLog| {
        let parts = [log.covered(), log.floor(), log.stable()].map(|vector| vector.digest().0);
        Digest::of(0x58, &parts.concat())
    };
    let encode = move |log: &DeltaLog| {
        let mut out = Writer::default();
        out.list(&log.heads());
        out.varint(log.covered().len() as u64);
        digest_of(log).encode(&mut out);
        out.into_bytes()
    };
    let fields = move |log: &DeltaLog, walk: &mut Walk<'_>| {
        walk.list("heads", &log.heads(), walk::reference);
        walk.number("number of authors", log.covered().len() as u64);
        walk.fixed("digest of the authors' rows", &digest_of(log).0);
    };
    let bytes = with_deltas().read(DELTA_LOG).unwrap().unwrap().to_vec();
    let read = move |bytes: &[u8]| read_with(bytes, decode, error, encode, fields);
    Example::new("delta-log/two-authors", bytes, read)
}

fn author() -> Example {
    let author = first_delta().dot.author;
    let key = [&[0x10, 4], &author.0[..]].concat();
    let bytes = with_deltas().read(&key).unwrap().unwrap().to_vec();
    let decode = move |bytes: &[u8]| DeltaLog::load(&log_rows(&key, bytes), DeltaLog::DEFAULT_RETENTION);
    let numbers =
        move |log: &DeltaLog| [log.covered(), log.floor(), log.stable()].map(|vector| vector.of(author));
    let encode = move |log: &DeltaLog| {
        let mut out = Writer::default();
        numbers(log).into_iter().chain([log.bytes_of(author)]).for_each(|number| out.varint(number));
        out.into_bytes()
    };
    let fields = move |log: &DeltaLog, walk: &mut Walk<'_>| {
        let names = ["covered", "floor", "stable"];
        names.into_iter().zip(numbers(log)).for_each(|(name, number)| walk.number(name, number));
        if !walk.rest().is_empty() {
            walk.number("bytes", log.bytes_of(author));
        }
    };
    let read = move |bytes: &[u8]| read_with(bytes, &decode, error, encode, fields);
    // Any other numbers than the last one have another digest.
    Example { flipped: None, optional: 2, ..Example::new("author/first", bytes, read) }
}

fn deltas() -> Example {
    let bytes =
        with_deltas().read(&[&[0x11], &first_delta().dot.author.0[..], &[0, 0, 0, 0, 0, 0, 0, 1]].concat());
    let example = Example::of("delta/first", &first_delta(), walk::delta);
    assert_eq!(&*bytes.unwrap().unwrap(), example.bytes);
    example
}

fn transfer() -> Transfer {
    let (_, source) = handshakes().into_iter().find(|(name, _)| *name == "fresh-replica").unwrap();
    Transfer::new(source)
}

fn rows_of(transfer: &Transfer) -> WriteBatch {
    let mut batch = WriteBatch::default();
    transfer.write_source(&mut batch);
    transfer.write_progress(&mut batch);
    batch
}

fn row(transfer: &Transfer, key: &[u8]) -> Vec<u8> {
    rows_of(transfer).get(key).unwrap().as_ref().unwrap().to_vec()
}

fn snapshot_source() -> Example {
    let progress = row(&transfer(), SNAPSHOT_PROGRESS);
    let decode = move |bytes: &[u8]| {
        let store = store_of(&[(SNAPSHOT_SOURCE, bytes), (SNAPSHOT_PROGRESS, &progress)]);
        Transfer::read(&store).map(Option::unwrap)
    };
    let fields = |transfer: &Transfer, walk: &mut Walk<'_>| {
        walk.flag("mixed", transfer.mixed);
        walk::handshake(&transfer.source, walk);
        if !walk.rest().is_empty() {
            walk.u8("passed over", transfer.peers_skipped);
        }
        walk.ignore_rest();
    };
    let bytes = row(&transfer(), SNAPSHOT_SOURCE);
    let read =
        move |bytes: &[u8]| read_with(bytes, &decode, error, |value| row(value, SNAPSHOT_SOURCE), fields);
    Example { longer: None, optional: 1, ..Example::new("snapshot-source/begun", bytes, read) }
}

fn snapshot_progress() -> Example {
    let source = row(&transfer(), SNAPSHOT_SOURCE);
    let decode = move |bytes: &[u8]| {
        let store = store_of(&[(SNAPSHOT_SOURCE, &source), (SNAPSHOT_PROGRESS, bytes)]);
        Transfer::read(&store).map(Option::unwrap)
    };
    let fields = |transfer: &Transfer, walk: &mut Walk<'_>| {
        walk.hlc("latest", transfer.latest);
        walk.option("cursor", transfer.cursor.as_ref(), |walk, cursor| {
            walk::cursor(&cursor.to_bytes(), walk);
        });
        walk.ignore_rest();
    };
    let begun = Transfer { latest: Hlc::ZERO, cursor: Some(Cursor::default()), ..transfer() };
    let bytes = row(&begun, SNAPSHOT_PROGRESS);
    let read =
        move |bytes: &[u8]| read_with(bytes, &decode, error, |value| row(value, SNAPSHOT_PROGRESS), fields);
    Example { longer: None, ..Example::new("snapshot-progress/begun", bytes, read) }
}

fn history_conflict(conflict: &HistoryConflict, walk: &mut Walk<'_>) {
    walk.kind(conflict);
    walk.fixed("replica", conflict.replica().as_bytes());
    match conflict {
        HistoryConflict::Behind { replica: _, stored, found } => {
            walk.number("stored", *stored);
            walk.number("found", *found);
        }
        HistoryConflict::Forked { replica: _, seq, stored, found } => {
            walk.number("number", *seq);
            walk.fixed("stored", &stored.0);
            walk.fixed("found", &found.0);
        }
        HistoryConflict::LeftBehind { replica: _, own, theirs } => {
            walk.hlc("own", *own);
            walk.hlc("theirs", *theirs);
        }
        HistoryConflict::Ahead { replica: _, latest_ms, others_ms } => {
            walk.number("latest", *latest_ms);
            walk.number("others", *others_ms);
        }
    }
}

fn history_conflicts() -> impl Iterator<Item = Example> {
    let replica = ReplicaId::from_u64(3);
    let stored = DeltaId([0xd1; 32]);
    let found = DeltaId([0xd2; 32]);
    let at = |ms: u64| Hlc::new(ms, 0, replica);
    let conflicts = [
        ("behind", HistoryConflict::Behind { replica, stored: 4, found: 9 }),
        ("forked", HistoryConflict::Forked { replica, seq: 5, stored, found }),
        ("left-behind", HistoryConflict::LeftBehind { replica, own: at(1_000), theirs: at(2_000) }),
        ("ahead", HistoryConflict::Ahead { replica, latest_ms: 90_000, others_ms: 5_000 }),
    ];
    let example =
        |(name, conflict)| Example::of(&format!("history-conflict/{name}"), &conflict, history_conflict);
    conflicts.into_iter().map(example)
}

/// The row of a record that must not be shown yet is its key alone.
#[test]
fn early_records_are_keys() {
    let mut batch = WriteBatch::default();
    staged::record_early(entity(1), &mut batch);
    let rows: Vec<_> =
        batch.iter().map(|(key, value)| (key.to_vec(), value.map(|value| value.to_vec()))).collect();
    assert_eq!(rows, [([&[0x12], &entity(1).0[..]].concat(), Some(vec![]))]);
}

pub(crate) fn examples() -> Vec<Example> {
    let mut all = vec![delta_log(), author(), deltas(), snapshot_source(), snapshot_progress()];
    all.extend(history_conflicts());
    all
}
