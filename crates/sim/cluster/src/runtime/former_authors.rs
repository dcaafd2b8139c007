//! Former authors: replicas that wrote before the run, beside each other, and do not take part in it.

use crate::disk_view::SoundStore;
use crate::node::context_id;
use crate::scenarios::early_register;
use syncline_storage::{Action, ApplyContext, StorageError};
use syncline_store::{MemoryStore, Store};
use syncline_sync::{Authority, Delta, DeltaError, DeltaLog, Dot, Gate, Membership, Transaction};
use syncline_types::{EntityId, Hlc, Moment, ReplicaId, SimTime};

/// The most former authors of a run. A version vector must keep room for the nodes.
pub const MAX_FORMER_AUTHORS: usize = syncline_types::limits::MAX_REPLICAS / 2;

fn former_author(number: u64) -> ReplicaId {
    let mut id = ReplicaId::from_u64(number);
    id.0[15] = 0xfa;
    id
}

/// What former author `number` wrote: a register of its own.
fn write_of(number: u64) -> Action {
    let name = format!("former/{number}");
    let id = EntityId::child_of(EntityId::ROOT, name.as_bytes());
    early_register(id, Vec::new(), former_author(number), name.into_bytes())
}

/// What `count` former authors wrote.
pub(super) fn writes(count: usize) -> Vec<Action> {
    (0..count as u64).map(write_of).collect()
}

/// A disk with one delta of each of `count` authors, none of which knew of another. O(count log count).
pub(super) fn disk(count: usize, authority: Authority) -> Result<MemoryStore, StorageError> {
    let mut disk = SoundStore::default();
    if count == 0 {
        return Ok(disk.0);
    }
    let gate = Gate { context: context_id(0), authority, membership: Membership::Open };
    let context = ApplyContext { moment: Moment::at(SimTime::ZERO), max_drift_ms: u64::MAX };
    let mut work = Transaction::begin(disk.view(), DeltaLog::default(), context)?.with_gate(gate.clone());
    for number in 0..count as u64 {
        let author = former_author(number);
        let delta =
            Delta::new(Dot { author, seq: 1 }, vec![], Hlc::new(1, 0, author), vec![write_of(number)]);
        work.apply_delta(&delta.signed(&gate)).map_err(|error| match error {
            DeltaError::Storage(error) => error,
            DeltaError::Refused(_) => StorageError::Index { what: "a delta of a former author" },
        })?;
    }
    let (batch, ..) = work.finish()?;
    disk.apply(batch)?;
    Ok(disk.0)
}
