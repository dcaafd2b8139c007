//! The budgets of one step: what it puts, reads and sends.

use crate::budgets::{Budget, OverBudget, content};
use std::collections::BTreeSet;
use syncline_replica::{Notice, Operation, OutgoingMessage};
use syncline_storage::{Action, Label, Record, keys};
use syncline_store::{Bytes, Key, WriteBatch};
use syncline_types::Decode;

/// What an application hands over with one write.
#[derive(Clone, Debug)]
pub(crate) struct WrittenContent {
    bytes: u64,
    /// The kinds of the operations, each once, ordered by name. A signature of a known finding names a kind, so none
    /// may be left out.
    kinds: BTreeSet<&'static str>,
}

impl WrittenContent {
    /// The content of these operations. O(operations).
    pub(crate) fn of(operations: &[Operation]) -> Self {
        let bytes = operations.iter().map(content::of_operation).sum();
        Self { bytes, kinds: operations.iter().map(content::kind_of).collect() }
    }

    fn words(&self) -> String {
        let kinds: Vec<_> = self.kinds.iter().copied().collect();
        format!("a write of {}, with {} bytes of paths and content", kinds.join(" and "), self.bytes)
    }
}

/// What one step has done, before its batch is committed.
pub(crate) struct StepUse<'a> {
    /// The write, if the step is one.
    pub(crate) write: Option<&'a WrittenContent>,
    /// The bytes of the frame that the step has received.
    pub(crate) received: usize,
    pub(crate) batch: &'a WriteBatch,
    pub(crate) messages: &'a [OutgoingMessage],
    pub(crate) notices: &'a [Notice],
    /// The bytes that the step has read.
    pub(crate) read: u64,
    /// The bytes of all batches of the replica so far: the most that its state can hold.
    pub(crate) state: u64,
}

impl StepUse<'_> {
    /// The bytes of the rows that the step puts or deletes. The nodes of the index are not among them: their number
    /// follows from the records. O(rows).
    pub(crate) fn put(&self) -> u64 {
        self.batch.iter().map(|(key, row)| row_bytes(key, row)).sum()
    }

    /// The first budget that the step exceeds. `put` is [`StepUse::put`]. O(rows).
    pub(crate) fn check(&self, put: u64) -> Option<OverBudget> {
        let of_work = match self.write {
            Some(write) => self.check_write(write, put),
            None => self.check_reads(put),
        };
        of_work.or_else(|| self.check_records())
    }

    fn check_write(&self, write: &WrittenContent, put: u64) -> Option<OverBudget> {
        Budget::WriteBytes
            .check(put, write.bytes, || write.words())
            .or_else(|| Budget::WriteReads.check(self.read, write.bytes, || write.words()))
            .or_else(|| self.check_positions())
    }

    /// The positions that the write has made for the items of lists.
    fn check_positions(&self) -> Option<OverBudget> {
        let accepted = self.notices.iter().find_map(|notice| match notice {
            Notice::WriteAccepted { operations, actions } => Some(operations.iter().zip(actions)),
            _ => None,
        });
        accepted?.find_map(|(operation, action)| {
            let inserted = matches!(operation, Operation::InsertItem { .. });
            let (Action::Add { metadata, .. } | Action::Update { metadata, .. }) = action else {
                return None;
            };
            let Label::Ordered(position) = &metadata.label else { return None };
            let of = || format!("the item {}", action.id());
            Budget::PositionBytes.check(position.len() as u64, 0, of).filter(|_| inserted)
        })
    }

    fn check_reads(&self, put: u64) -> Option<OverBudget> {
        let sent: usize = self.messages.iter().map(|message| message.bytes.len()).sum();
        let moved = (self.received + sent) as u64 + put;
        let of = || {
            let state = self.state;
            format!("a step that moves {moved} bytes, on a state of up to {state}")
        };
        Budget::StepReads.check(self.read, moved + self.state, of)
    }

    fn check_records(&self) -> Option<OverBudget> {
        let base = Budget::RecordBytes.proportion().base;
        self.batch.iter().find_map(|(key, row)| {
            let row = row.filter(|row| row.len() as u64 > base)?;
            let id = keys::record_id(key)?;
            // A row that cannot be read is a failure of its own, which the replica finds when it reads it.
            let record = Record::from_bytes(row).ok()?;
            let shown = content::of_record(&record);
            let of = || format!("{id}, a {} that shows {shown} bytes", record.crdt_type());
            Budget::RecordBytes.check(row.len() as u64, shown, of)
        })
    }
}

fn row_bytes(key: &Key, row: Option<&Bytes>) -> u64 {
    (key.len() + row.map_or(0, |row| row.len())) as u64
}
