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
    /// Records at each depth, from depth one; the last count is never zero.
    pub(crate) by_depth: Vec<u64>,
}

impl Stats {
    /// The counters of the state in `slot`; the default without a row. O(1).
    pub(crate) fn read<V: ReadView>(view: &V, slot: Slot) -> Result<Self, StorageError> {
        let row = view.read(&keys::stats(slot))?;
        let stats = row.map(|row| Self::from_bytes(&row)).transpose();
        Ok(stats.map_err(StorageError::row("the statistics"))?.unwrap_or_default())
    }

    /// The depth of the deepest record; zero when there is only the root.
    pub fn max_depth(&self) -> u32 {
        self.by_depth.len() as u32
    }

    /// Counts a record that was added. The root's record is never counted.
    pub(crate) fn add(&mut self, record: &Record) {
        self.live += u64::from(record.is_live());
        self.opaque += u64::from(is_opaque(record));
        self.records += 1;
        let at = record.depth as usize;
        if self.by_depth.len() < at {
            self.by_depth.resize(at, 0);
        }
        if let Some(count) = at.checked_sub(1).and_then(|at| self.by_depth.get_mut(at)) {
            *count += 1;
        }
    }

    /// Takes a record out of the counts. It was counted before.
    pub(crate) fn remove(&mut self, record: &Record) {
        self.live -= u64::from(record.is_live());
        self.opaque -= u64::from(is_opaque(record));
        self.records -= 1;
        if let Some(count) = (record.depth as usize).checked_sub(1).and_then(|at| self.by_depth.get_mut(at)) {
            *count -= 1;
        }
        // The row of a state must not depend on what was deleted from it: no zeros at the end.
        while self.by_depth.last() == Some(&0) {
            self.by_depth.pop();
        }
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
        out.list(&self.by_depth);
    }
}

impl Decode for Stats {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            root: Digest::decode(input)?,
            records: input.varint()?,
            live: input.varint()?,
            opaque: input.varint()?,
            generation: input.varint()?,
            horizon: Hlc::decode(input)?,
            short_ids: ShortIdKey::decode(input)?,
            by_depth: input.list(limits::MAX_ANCESTORS, "the depths of a state")?,
        })
    }
}
