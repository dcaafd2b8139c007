//! The state that survives a crash besides records and deltas: the incarnation of the replica, the last time of its
//! clock, the wall clock at its last write, how many of its writes a peer has had, and the conflict that has stopped it for
//! good.

use crate::config::ReplicaConfig;
use syncline_storage::{Interface, StorageError, keys};
use syncline_store::{ReadView, Store, WriteBatch};
use syncline_sync::{DeltaLog, HistoryConflict, staged};
use syncline_types::{Decode, Digest, Encode, HlcClock, Reader, Writer, canary};

const KEY: &[u8] = keys::metadata::CLOCK;
/// A row that exists only after a conflict.
const CONFLICT: &[u8] = keys::metadata::CONFLICT;
/// A row that exists only once a peer has had writes of this replica in its state.
const SHARED: &[u8] = keys::metadata::SHARED;

/// The state that a replica starts from.
pub(crate) struct PersistedState {
    pub(crate) incarnation: u64,
    pub(crate) clock: HlcClock,
    /// The wall clock at the last write, in milliseconds; zero if there was none.
    pub(crate) wall_ms: u64,
    pub(crate) log: DeltaLog,
    pub(crate) root: Digest,
    pub(crate) takes_snapshot: bool,
    pub(crate) shared: u64,
}

/// Reads the persisted state from the store, and increments the incarnation.
pub(crate) fn load<V: ReadView>(config: &ReplicaConfig, view: &V) -> Result<PersistedState, StorageError> {
    let ClockRow { mut incarnation, last, wall_ms } = ClockRow::read(view)?;
    if canary!(IncarnationForgotten) {
        incarnation = 0;
    }
    Ok(PersistedState {
        incarnation: (incarnation + 1).max(config.least_incarnation),
        clock: HlcClock::resume(config.replica, last),
        wall_ms,
        log: DeltaLog::load(view, config.delta_retention)?
            .with_capacity(config.delta_log_bytes)
            .written_by(config.replica),
        root: Interface::open(view.clone())?.root_hash()?,
        takes_snapshot: staged::is_under_way(view, &WriteBatch::default())?,
        shared: shared(view)?,
    })
}

/// The row of the incarnation and the clocks; zeros without one.
struct ClockRow {
    incarnation: u64,
    last: u64,
    wall_ms: u64,
}

impl ClockRow {
    fn read<V: ReadView>(view: &V) -> Result<Self, StorageError> {
        let Some(row) = view.read(KEY)? else { return Ok(Self { incarnation: 0, last: 0, wall_ms: 0 }) };
        let mut input = Reader::new(&row);
        let decoded = input.varint().and_then(|incarnation| {
            let last = input.varint()?;
            // Earlier versions stored no wall clock.
            let wall_ms = if input.remaining() == 0 { 0 } else { input.varint()? };
            Ok(Self { incarnation, last, wall_ms })
        });
        decoded.map_err(|error| StorageError::Row { what: "the clock", error })
    }
}

/// Lets a replica that has never started on `store` go on with the incarnations of the `old` store, and not with its
/// clocks.
pub(crate) fn carry_over<O: ReadView, S: Store>(
    config: &ReplicaConfig,
    old: &O,
    store: &mut S,
) -> Result<(), StorageError> {
    if ClockRow::read(&store.view())?.incarnation == 0 {
        let mut batch = WriteBatch::default();
        let clock = HlcClock::resume(config.replica, 0);
        write(ClockRow::read(old)?.incarnation, &clock, 0, &mut batch);
        store.apply(batch)?;
    }
    Ok(())
}

/// The conflict that has stopped the replica of this store, if one has.
pub(crate) fn conflict<V: ReadView>(view: &V) -> Result<Option<HistoryConflict>, StorageError> {
    let row = view.read(CONFLICT)?;
    let conflict = row.map(|row| HistoryConflict::from_bytes(&row)).transpose();
    conflict.map_err(|error| StorageError::Row { what: "the conflict of histories", error })
}

/// Writes the row of the conflict that stops the replica of this store for good.
pub(crate) fn write_conflict(conflict: &HistoryConflict, batch: &mut WriteBatch) {
    batch.put(CONFLICT.into(), conflict.to_bytes());
}

/// The number of the last write of this replica that the state of some peer is known to have had; zero without one.
pub(crate) fn shared<V: ReadView>(view: &V) -> Result<u64, StorageError> {
    let Some(row) = view.read(SHARED)? else { return Ok(0) };
    let mut input = Reader::new(&row);
    let seq = input.varint().and_then(|seq| input.finish().map(|()| seq));
    seq.map_err(|error| StorageError::Row { what: "the last shared write", error })
}

/// Writes the row of the last write that the state of some peer is known to have had.
pub(crate) fn write_shared(seq: u64, batch: &mut WriteBatch) {
    let mut out = Writer::default();
    out.varint(seq);
    batch.put(SHARED.into(), out.into_bytes());
}

/// Writes the row of the incarnation and the clocks.
pub(crate) fn write(incarnation: u64, clock: &HlcClock, wall_ms: u64, batch: &mut WriteBatch) {
    let mut out = Writer::default();
    out.varint(incarnation);
    out.varint(clock.last());
    out.varint(wall_ms);
    batch.put(KEY.into(), out.into_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_store::MemoryStore;
    use syncline_types::{ContextId, Hlc, ReplicaId};

    #[test]
    fn restart_counts_incarnation_and_keeps_clock() {
        let mut config = ReplicaConfig::new(ContextId::default(), ReplicaId::from_u64(1));
        let mut store = MemoryStore::default();
        let mut state = load(&config, &store).unwrap();
        assert_eq!((state.incarnation, state.clock.last()), (1, 0));
        state.clock.observe(Hlc::new(70, 3, config.replica));
        let mut batch = WriteBatch::default();
        write(state.incarnation, &state.clock, 70, &mut batch);
        store.apply(batch).unwrap();
        let restarted = load(&config, &store).unwrap();
        assert_eq!((restarted.incarnation, restarted.clock.last()), (2, state.clock.last()));
        assert_eq!(restarted.wall_ms, 70);
        config.least_incarnation = 9;
        assert_eq!(load(&config, &store).unwrap().incarnation, 9);
    }

    #[test]
    fn row_without_wall_clock_is_read() {
        let config = ReplicaConfig::new(ContextId::default(), ReplicaId::from_u64(1));
        let mut store = MemoryStore::default();
        let mut batch = WriteBatch::default();
        batch.put(KEY.into(), vec![4, 7]);
        store.apply(batch).unwrap();
        let state = load(&config, &store).unwrap();
        assert_eq!((state.incarnation, state.clock.last(), state.wall_ms), (5, 7, 0));
    }

    #[test]
    fn damaged_row_is_an_error() {
        let config = ReplicaConfig::new(ContextId::default(), ReplicaId::from_u64(1));
        let mut store = MemoryStore::default();
        let mut batch = WriteBatch::default();
        batch.put(KEY.into(), vec![0xff; 3]);
        store.apply(batch).unwrap();
        assert!(matches!(load(&config, &store), Err(StorageError::Row { what: "the clock", .. })));
    }
}
