//! Reads the legacy of a former id from its old store.

use super::legacy::{self, ChangeContext, CountBefore, FormerId, LegacyWrite, damaged};
use std::collections::BTreeMap;
use syncline_crdt::Value;
use syncline_storage::{Action, Interface, StorageError};
use syncline_store::{ReadView, Store, WriteBatch};
use syncline_sync::{Delta, DeltaLog, Dot};
use syncline_types::{Decode, EntityId, ReplicaId};

/// The number of rows that are copied in one batch.
const ROWS: usize = 256;
/// The bytes after which a batch is applied.
const BATCH_BYTES: usize = 1 << 20;

/// Copies the legacy of `former` from its `old` store into `store`, and the legacies that the old store has of even
/// earlier ids. Idempotent: the row that makes the legacy count is written last. O(own deltas in the old log), in
/// batches of about a megabyte.
pub(crate) fn inherit<O: ReadView, S: Store>(
    former: ReplicaId,
    old: &O,
    store: &mut S,
) -> Result<(), StorageError> {
    if FormerId::read(&store.view(), former)?.is_some() {
        return Ok(());
    }
    let mut after = None;
    loop {
        let mut batch = WriteBatch::default();
        after = legacy::copy_page(old, after.as_ref(), ROWS, &mut batch)?;
        if after.is_none() {
            break;
        }
        store.apply(batch)?;
    }
    let log = DeltaLog::load(old, u64::MAX)?;
    let first = log.floor().of(former) + 1;
    let last = log.covered().of(former);
    // Where the log is whole, the former id had counted nothing before its first delta.
    let mut counted = Counts { known: BTreeMap::new(), is_whole: first == 1, former };
    let mut state = Interface::open(old.clone())?;
    let mut batch = WriteBatch::default();
    let mut bytes = 0;
    for seq in first..=last {
        let dot = Dot { author: former, seq };
        let row = DeltaLog::read(old, dot)?.ok_or(StorageError::Index { what: "an own delta" })?;
        let delta = Delta::from_bytes(&row).map_err(damaged("a delta"))?;
        let mut contexts = Vec::new();
        for action in &delta.actions {
            let counted_before = counted.before(&action.action);
            contexts.push(ChangeContext { counted_before, above: state.path_above(action)? });
        }
        bytes += LegacyWrite { delta, contexts }.write(dot, &mut batch);
        if bytes >= BATCH_BYTES {
            store.apply(std::mem::take(&mut batch))?;
            bytes = 0;
            // The state caches what it reads.
            state = Interface::open(old.clone())?;
        }
    }
    FormerId { first, last, known_until: None }.write(former, &mut batch);
    store.apply(batch)?;
    Ok(())
}

/// The counts of the former id, as its deltas tell them.
struct Counts {
    former: ReplicaId,
    known: BTreeMap<EntityId, (u64, u64)>,
    /// Whether a counter without a known count was never changed before.
    is_whole: bool,
}

impl Counts {
    /// Takes in a change. Returns what had been counted before it.
    fn before(&mut self, action: &Action) -> CountBefore {
        let (Action::Add { value, .. } | Action::Update { value, .. }) = action else { return None };
        let now = count_of(value, self.former)?;
        self.known.insert(action.id(), now).or_else(|| self.is_whole.then_some((0, 0)))
    }
}

/// The increments and decrements of one replica in a counter.
pub(super) fn count_of(value: &Value, replica: ReplicaId) -> Option<(u64, u64)> {
    match value {
        Value::GCounter(counter) => {
            let own = counter.entries().find(|(author, _)| *author == replica);
            Some((own.map_or(0, |(_, count)| count), 0))
        }
        Value::PnCounter(counter) => {
            let own = counter.entries().find(|(author, _)| *author == replica);
            Some(own.map_or((0, 0), |(_, counts)| counts))
        }
        _ => None,
    }
}
