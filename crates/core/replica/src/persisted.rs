//! The state that survives a crash besides records and deltas: the incarnation of the replica and the last
//! time of its clock.

use crate::config::ReplicaConfig;
use syncline_storage::{Interface, StorageError, keys};
use syncline_store::{ReadView, WriteBatch};
use syncline_sync::{DeltaLog, staged};
use syncline_types::{Digest, HlcClock, Reader, Writer, canary};

const KEY: &[u8] = &[keys::METADATA, 3];

/// The state that a replica starts from.
pub(crate) struct PersistedState {
    pub(crate) incarnation: u64,
    pub(crate) clock: HlcClock,
    pub(crate) log: DeltaLog,
    pub(crate) root: Digest,
    pub(crate) takes_snapshot: bool,
}

/// Reads the persisted state from the store, and increments the incarnation.
pub(crate) fn load<V: ReadView>(config: &ReplicaConfig, view: &V) -> Result<PersistedState, StorageError> {
    let mut incarnation = 0;
    let mut last = 0;
    if let Some(row) = view.read(KEY)? {
        let mut input = Reader::new(&row);
        let decoded = input.varint().and_then(|incarnation| Ok((incarnation, input.varint()?)));
        (incarnation, last) = decoded.map_err(|error| StorageError::Row { what: "the clock", error })?;
    }
    if canary!(IncarnationForgotten) {
        incarnation = 0;
    }
    Ok(PersistedState {
        incarnation: (incarnation + 1).max(config.least_incarnation),
        clock: HlcClock::resume(config.replica, last),
        log: DeltaLog::load(view, config.delta_retention)?,
        root: Interface::open(view.clone())?.root_hash()?,
        takes_snapshot: staged::is_under_way(view, &WriteBatch::default())?,
    })
}

/// Writes the row of the incarnation and the clock.
pub(crate) fn write(incarnation: u64, clock: &HlcClock, batch: &mut WriteBatch) {
    let mut out = Writer::default();
    out.varint(incarnation);
    out.varint(clock.last());
    batch.put(KEY.into(), out.into_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_store::{MemoryStore, Store};
    use syncline_types::{ContextId, Hlc, ReplicaId};

    #[test]
    fn restart_counts_incarnation_and_keeps_clock() {
        let mut config = ReplicaConfig::new(ContextId::default(), ReplicaId::from_u64(1));
        let mut store = MemoryStore::default();
        let mut state = load(&config, &store).unwrap();
        assert_eq!((state.incarnation, state.clock.last()), (1, 0));
        state.clock.observe(Hlc::new(70, 3, config.replica));
        let mut batch = WriteBatch::default();
        write(state.incarnation, &state.clock, &mut batch);
        store.apply(batch).unwrap();
        let restarted = load(&config, &store).unwrap();
        assert_eq!((restarted.incarnation, restarted.clock.last()), (2, state.clock.last()));
        config.least_incarnation = 9;
        assert_eq!(load(&config, &store).unwrap().incarnation, 9);
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
