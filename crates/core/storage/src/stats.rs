//! What is known of the whole state without reading it.

use crate::record::Record;
use syncline_crdt::CrdtType;
use syncline_types::{Decode, DecodeError, Digest, Encode, Hlc, Reader, Writer, limits};

/// Figures of the whole state, kept up to date by every write. O(1) to read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// The Merkle root; zero when there are no records.
    pub root: Digest,
    /// Records other than the root's, tombstones and placeholders included.
    pub records: u64,
    /// Records other than the root's that are live.
    pub live: u64,
    /// Live records of which nobody has told the type; they are kept as registers.
    pub opaque: u64,
    /// How often the state changed: grows by one with each batch that changed a record.
    pub generation: u64,
    /// Up to which stamp everything is stable: what died before may have been forgotten. Not part of
    /// what the root says.
    pub horizon: Hlc,
    /// Records at each depth, from depth one.
    pub(crate) by_depth: Vec<u64>,
}

impl Stats {
    /// The depth of the deepest record; zero when there is only the root.
    pub fn max_depth(&self) -> u32 {
        self.by_depth.len() as u32
    }

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

    pub(crate) fn remove(&mut self, record: &Record) {
        self.live -= u64::from(record.is_live());
        self.opaque -= u64::from(is_opaque(record));
        self.records -= 1;
        if let Some(count) = (record.depth as usize).checked_sub(1).and_then(|at| self.by_depth.get_mut(at)) {
            *count -= 1;
        }
        while self.by_depth.last() == Some(&0) {
            self.by_depth.pop();
        }
    }
}

fn is_opaque(record: &Record) -> bool {
    record.is_live() && record.crdt_type() == CrdtType::Opaque && !syncline_types::canary!(OpaqueUncounted)
}

impl Encode for Stats {
    fn encode(&self, out: &mut Writer) {
        self.root.encode(out);
        out.varint(self.records);
        out.varint(self.live);
        out.varint(self.opaque);
        out.varint(self.generation);
        self.horizon.encode(out);
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
            by_depth: input.list(limits::MAX_ANCESTORS, "the depths of a state")?,
        })
    }
}
