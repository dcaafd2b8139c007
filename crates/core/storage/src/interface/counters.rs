//! The counters of the state: totals in one row, and a row for each depth that has records.
//!
//! A state may be two thousand levels deep. With a row for each depth, a write puts one small row instead of counts of
//! all depths.

use super::Interface;
use crate::error::StorageError;
use crate::keys::{self, Slot};
use crate::record::Record;
use std::collections::BTreeMap;
use syncline_store::{Bytes, Key, ReadView};
use syncline_types::{Decode, DecodeError, Encode, Reader, Writer};

/// The number of records at a depth, as a row has it; never zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct DepthRow(u64);

impl Encode for DepthRow {
    fn encode(&self, out: &mut Writer) {
        out.varint(self.0);
    }
}

impl Decode for DepthRow {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = input.varint()?;
        if count == 0 {
            Err(DecodeError::NotCanonical { what: "the records at a depth" })
        } else {
            Ok(Self(count))
        }
    }
}

/// The numbers of records at the depths that a batch has changed.
#[derive(Clone, Debug, Default)]
pub(super) struct DepthCounts(BTreeMap<u32, DepthCount>);

#[derive(Clone, Copy, Debug)]
struct DepthCount {
    stored: u64,
    now: u64,
}

impl DepthCounts {
    /// The rows that differ from the view.
    pub(super) fn rows(&self, slot: Slot) -> impl Iterator<Item = (Key, Option<Bytes>)> {
        let changed = self.0.iter().filter(|(_, count)| count.now != count.stored);
        changed.map(move |(depth, count)| {
            let row = if count.now == 0 { None } else { Some(DepthRow(count.now).to_bytes().into()) };
            (keys::depth(slot, *depth), row)
        })
    }
}

impl<V: ReadView> Interface<V> {
    /// Updates the counters for a record other than the root's that changes from `before` to `after`. O(1), and
    /// O(log n) where a depth gets its first record or loses its last one.
    pub(super) fn count(
        &mut self,
        before: Option<&Record>,
        after: Option<&Record>,
    ) -> Result<(), StorageError> {
        before.into_iter().for_each(|record| self.stats.remove(record));
        after.into_iter().for_each(|record| self.stats.add(record));
        let depth_of = |record: &Record| record.depth;
        let from = before.map(depth_of);
        let to = after.map(depth_of);
        if from == to {
            return Ok(());
        }
        if let Some(depth) = to {
            self.depth_count(depth)?.now += 1;
            self.stats.depth = self.stats.depth.max(depth);
        }
        if let Some(depth) = from {
            let count = self.depth_count(depth)?;
            let less = count.now.checked_sub(1);
            count.now = less.ok_or(StorageError::Index { what: "the count of the records at a depth" })?;
            if less == Some(0) && depth == self.stats.depth {
                self.stats.depth = self.deepest()?;
            }
        }
        Ok(())
    }

    fn depth_count(&mut self, depth: u32) -> Result<&mut DepthCount, StorageError> {
        if !self.depths.0.contains_key(&depth) {
            self.work.storage_reads += 1;
            let row = self.view.read(&keys::depth(self.slot, depth))?;
            let row = row.map(|row| DepthRow::from_bytes(&row)).transpose();
            let stored = row.map_err(StorageError::row("the records at a depth"))?.map_or(0, |row| row.0);
            self.depths.0.insert(depth, DepthCount { stored, now: stored });
        }
        self.depths
            .0
            .get_mut(&depth)
            .ok_or_else(|| StorageError::internal("a depth that was read is counted"))
    }

    /// The depth of the deepest record; zero when there is only the root.
    fn deepest(&mut self) -> Result<u32, StorageError> {
        let changed = &self.depths.0;
        let deepest_changed = changed.iter().rev().find(|(_, count)| count.now > 0).map(|(depth, _)| *depth);
        // Rows ascend as depths descend, so that the deepest is the first. Those that the batch has changed are
        // known already: one row more than there are of them contains the deepest other one.
        let (first, end) = keys::depths(self.slot);
        self.work.storage_reads += 1;
        let rows = self.view.range(&first, &end, changed.len() + 1)?;
        let mut stored = rows
            .iter()
            .map(|(key, _)| keys::depth_of(key).ok_or(StorageError::Index { what: "the key of a depth" }));
        let other = stored.find(|depth| depth.as_ref().map_or(true, |depth| !changed.contains_key(depth)));
        Ok(other.transpose()?.max(deepest_changed).unwrap_or_default())
    }
}
