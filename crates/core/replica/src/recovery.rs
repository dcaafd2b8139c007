//! What survives a crash besides records and deltas: how often the replica started, and how far
//! its clock had come.

use crate::config::ReplicaConfig;
use syncline_storage::{Interface, StorageError, keys};
use syncline_store::{ReadView, WriteBatch};
use syncline_sync::{DeltaLog, staged};
use syncline_types::{Digest, HlcClock, Reader, Writer, canary};

const KEY: &[u8] = &[keys::METADATA, 3];

pub(crate) struct Kept {
    pub(crate) incarnation: u64,
    pub(crate) clock: HlcClock,
    pub(crate) log: DeltaLog,
    pub(crate) root: Digest,
    pub(crate) takes_snapshot: bool,
}

/// Reads what the store kept, one incarnation later.
pub(crate) fn load<V: ReadView>(config: &ReplicaConfig, view: &V) -> Result<Kept, StorageError> {
    let (mut incarnation, mut last) = (0, 0);
    if let Some(row) = view.read(KEY)? {
        let mut input = Reader::new(&row);
        let decoded = input.varint().and_then(|incarnation| Ok((incarnation, input.varint()?)));
        (incarnation, last) = decoded.map_err(|error| StorageError::Row { what: "the clock", error })?;
    }
    if canary!(IncarnationForgotten) {
        incarnation = 0;
    }
    Ok(Kept {
        incarnation: (incarnation + 1).max(config.least_incarnation),
        clock: HlcClock::resume(config.replica, last),
        log: DeltaLog::load(view, config.delta_retention)?,
        root: Interface::open(view.clone())?.root_hash()?,
        takes_snapshot: staged::is_under_way(view, &WriteBatch::default())?,
    })
}

pub(crate) fn write(incarnation: u64, clock: &HlcClock, batch: &mut WriteBatch) {
    let mut out = Writer::default();
    out.varint(incarnation);
    out.varint(clock.last());
    batch.put(KEY.into(), out.into_bytes());
}
