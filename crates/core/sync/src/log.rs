//! The causal delta log: which deltas the state covers, and the deltas themselves for those who
//! lack them.

use crate::delta::{Delta, DeltaRef, Dot, VersionVector};
use std::collections::BTreeMap;
use syncline_storage::{StorageError, keys};
use syncline_store::{Bytes, ReadView, WriteBatch};
use syncline_types::{Decode, DeltaId, Encode, Reader, ReplicaId, limits};

const SUMMARY: &[u8] = &[keys::ABOVE, 1];
const DELTA: u8 = keys::ABOVE + 1;

fn delta_key(dot: Dot) -> Vec<u8> {
    let mut key = Vec::with_capacity(25);
    key.push(DELTA);
    key.extend_from_slice(dot.author.as_bytes());
    key.extend_from_slice(&dot.seq.to_be_bytes());
    key
}

/// What the state covers. The summary is held in memory and written with every batch that changes
/// it, together with the records, so that it never claims what a crash undid.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeltaLog {
    covered: VersionVector,
    /// Deltas that no covered delta names as a parent: at most one an author, since each author's
    /// deltas form a chain.
    heads: BTreeMap<ReplicaId, (u64, DeltaId)>,
}

impl DeltaLog {
    /// The log as the store has it.
    pub fn load<V: ReadView>(view: &V) -> Result<Self, StorageError> {
        let Some(row) = view.read(SUMMARY)? else { return Ok(Self::default()) };
        let mut input = Reader::new(&row);
        let decoded = VersionVector::decode(&mut input)
            .and_then(|covered| Ok((covered, input.list::<DeltaRef>(limits::MAX_HEADS, "heads")?)));
        let (covered, heads) = decoded.map_err(|error| StorageError::Row { what: "the delta log", error })?;
        let heads = heads.into_iter().map(|head| (head.dot.author, (head.dot.seq, head.id))).collect();
        Ok(Self { covered, heads })
    }

    /// Which deltas the state covers.
    pub const fn covered(&self) -> &VersionVector {
        &self.covered
    }

    /// The parents of the next delta made here, ascending by author.
    pub fn heads(&self) -> Vec<DeltaRef> {
        let heads = self.heads.iter();
        heads.map(|(&author, &(seq, id))| DeltaRef { dot: Dot { author, seq }, id }).collect()
    }

    /// Whether the delta may be applied now: its author's previous one and all its parents are
    /// covered.
    pub fn is_ready(&self, delta: &Delta) -> bool {
        self.missing(delta).next().is_none()
    }

    /// The last delta of each author that must be covered before `delta`, where it is not.
    pub fn missing<'a>(&'a self, delta: &'a Delta) -> impl Iterator<Item = Dot> + 'a {
        let previous = Dot { seq: delta.dot.seq - 1, ..delta.dot };
        let parents = delta.parents.iter().map(|parent| parent.dot);
        parents.chain([previous]).filter(|dot| dot.seq > 0 && !self.covered.covers(*dot))
    }

    /// Takes note that `delta` is in the state, and keeps it for those who lack it.
    pub fn append(&mut self, delta: &Delta, batch: &mut WriteBatch) {
        for parent in &delta.parents {
            if self.heads.get(&parent.dot.author).is_some_and(|(seq, _)| *seq <= parent.dot.seq) {
                self.heads.remove(&parent.dot.author);
            }
        }
        self.heads.insert(delta.dot.author, (delta.dot.seq, delta.id()));
        self.covered.cover(delta.dot);
        batch.put(delta_key(delta.dot), delta.to_bytes());
        self.write(batch);
    }

    /// Takes note that the state covers all that a peer's does. Says whether that was anything new.
    pub fn adopt(&mut self, covered: &VersionVector, heads: &[DeltaRef], batch: &mut WriteBatch) -> bool {
        if !self.covered.join(covered) {
            return false;
        }
        // A head that its own sender does not cover could never be anyone's parent.
        for head in heads.iter().filter(|head| covered.covers(head.dot)) {
            let own = self.heads.entry(head.dot.author).or_insert((head.dot.seq, head.id));
            if own.0 < head.dot.seq {
                *own = (head.dot.seq, head.id);
            }
        }
        self.write(batch);
        true
    }

    fn write(&self, batch: &mut WriteBatch) {
        let mut row = self.covered.to_bytes();
        let mut heads = syncline_types::Writer::default();
        heads.list(&self.heads());
        row.extend(heads.into_bytes());
        batch.put(SUMMARY.to_vec(), row);
    }

    /// The bytes of a delta, if it is kept here.
    pub fn read<V: ReadView>(view: &V, dot: Dot) -> Result<Option<Bytes>, StorageError> {
        Ok(view.read(&delta_key(dot))?)
    }
}
