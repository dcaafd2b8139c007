//! Counters of the whole state, readable without a scan.

use crate::error::StorageError;
use crate::keys::{self, Slot};
use crate::record::Record;
use syncline_crdt::CrdtType;
use syncline_store::ReadView;
use syncline_types::{Decode, DecodeError, Digest, Encode, Hlc, Reader, ShortIdKey, Writer, canary, limits};

/// Counters of the whole state, updated by every write and stored as one row. O(1) to read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// The Merkle root; zero when there are no records.
    pub root: Digest,
    /// Records other than the root's, tombstones and placeholders included.
    pub records: u64,
    /// Records other than the root's that are live.
    pub live: u64,
    /// Live records whose type is unknown; they merge as registers.
    pub opaque: u64,
    /// How often the state changed: grows by one with each batch that changed a record.
    pub generation: u64,
    /// The stamp up to which every change is causally stable: tombstones up to it may have been collected.
    /// The root does not commit to it.
    pub horizon: Hlc,
    /// The key of the short ids, by which the rows of records are ordered. It never changes while there are records.
    pub short_ids: ShortIdKey,
    /// The depth of the deepest record.
    pub(crate) depth: u32,
}

impl Stats {
    /// The counters of the state in `slot`; the default without a row. O(1).
    pub(crate) fn read<V: ReadView>(view: &V, slot: Slot) -> Result<Self, StorageError> {
        let row = view.read(&keys::stats(slot))?;
        let stats = row.map(|row| Self::from_bytes(&row)).transpose();
        Ok(stats.map_err(StorageError::row("the statistics"))?.unwrap_or_default())
    }

    /// The depth of the deepest record; zero when there is only the root.
    pub const fn max_depth(&self) -> u32 {
        self.depth
    }

    /// Counts a record that was added, but for its depth. The root's record is never counted.
    pub(crate) fn add(&mut self, record: &Record) {
        self.live += u64::from(record.is_live());
        self.opaque += u64::from(is_opaque(record));
        self.records += 1;
    }

    /// Takes a record out of the counts, but for its depth. It was counted before.
    pub(crate) fn remove(&mut self, record: &Record) {
        self.live -= u64::from(record.is_live());
        self.opaque -= u64::from(is_opaque(record));
        self.records -= 1;
    }
}

fn is_opaque(record: &Record) -> bool {
    record.is_live() && record.crdt_type() == CrdtType::Opaque && !canary!(OpaqueUncounted)
}

impl Encode for Stats {
    fn encode(&self, out: &mut Writer) {
        self.root.encode(out);
        out.varint(self.records);
        out.varint(self.live);
        out.varint(self.opaque);
        out.varint(self.generation);
        self.horizon.encode(out);
        self.short_ids.encode(out);
        out.varint(u64::from(self.depth));
    }
}

impl Decode for Stats {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let stats = Self {
            root: Digest::decode(input)?,
            records: input.varint()?,
            live: input.varint()?,
            opaque: input.varint()?,
            generation: input.varint()?,
            horizon: Hlc::decode(input)?,
            short_ids: ShortIdKey::decode(input)?,
            depth: 0,
        };
        let found = input.varint()?;
        let limit = limits::MAX_ANCESTORS as u64;
        let depth = u32::try_from(found).ok().filter(|depth| u64::from(*depth) <= limit);
        Ok(Self {
            depth: depth.ok_or(DecodeError::TooLarge { what: "the depth of a state", found, limit })?,
            ..stats
        })
    }
}
