//! The writes of an application: operations, and the delta that they become.

mod list;
mod operation;
mod target;

pub(crate) use list::{items, walk};
pub use operation::{Collection, Item, Operation, OperationError};
pub use target::Target;

use syncline_storage::{Action, ApplyContext, ApplyError, Interface, Malformed, StorageError};
use syncline_store::ReadView;
use syncline_sync::{Delta, Dot, Membership, Transaction};
use syncline_types::{Encode, Hlc, HlcClock, InternalError, ReplicaId, limits};

/// A valid write, with the state and the clock after it.
pub(crate) struct PreparedWrite<V> {
    pub(crate) state: Interface<V>,
    pub(crate) clock: HlcClock,
    pub(crate) delta: Delta,
    /// The actions, one for each operation.
    pub(crate) actions: Vec<Action>,
}

/// Applies the operations of `author` to a copy of the state, so that one invalid operation discards all of
/// them.
pub(crate) fn prepare<V: ReadView>(
    operations: &[Operation],
    author: ReplicaId,
    membership: &Membership,
    work: &Transaction<V>,
    clock: &HlcClock,
) -> Result<PreparedWrite<V>, OperationError> {
    let found = operations.len();
    let limits = &work.limits;
    let limit = limits.actions_per_delta();
    if found > limit {
        return Err(OperationError::TooMany { found, limit });
    }
    if !membership.admits(author) {
        return Err(OperationError::NotAMember);
    }
    let seq = work.log.covered().of(author) + 1;
    if seq > limits::MAX_DELTA_SEQ {
        return Err(OperationError::SequenceExhausted);
    }
    let mut state = work.state.clone();
    let mut clock = clock.clone();
    // Own stamps may be ahead of a wall clock that jumped back; they are never refused here.
    let own = ApplyContext { max_drift_ms: u64::MAX, ..work.context };
    let mut actions = Vec::with_capacity(found);
    let mut relative = Vec::with_capacity(found);
    for operation in operations {
        let action = operation.to_action(&mut state, &mut clock, work.context.moment)?;
        action.check_limits(limits).map_err(OperationError::Malformed)?;
        relative.push(state.relative(action.clone())?);
        apply_own(operation, &action, &mut state, &own, limits.value_bytes())?;
        actions.push(action);
    }
    debug_assert!(actions.len() == found, "each operation becomes one action");
    let stamp = Hlc::new(clock.last() >> 16, clock.last() as u16, author);
    let delta = Delta::new(Dot { author, seq }, work.log.heads(), stamp, Vec::new());
    let delta = Delta { actions: relative, ..delta }.after_collection(state.horizon()).signed(&work.gate);
    let bytes = delta.to_bytes().len();
    let limit = limits.delta_bytes();
    if bytes > limit {
        return Err(OperationError::TooLarge { bytes, limit });
    }
    Ok(PreparedWrite { state, clock, delta, actions })
}

/// Applies the action of an own operation. `limit` bounds the size of the record, if the operation adds to its
/// value.
fn apply_own<V: ReadView>(
    operation: &Operation,
    action: &Action,
    state: &mut Interface<V>,
    context: &ApplyContext,
    limit: usize,
) -> Result<(), OperationError> {
    match state.apply_action(action, context) {
        Ok(_) => {}
        Err(ApplyError::Malformed(error)) => return Err(error.into()),
        Err(ApplyError::Storage(error)) => return Err(error.into()),
        Err(_) => {
            // Drift is unlimited here, and the action contains the path to its entity.
            const APPLIES: &str = "an action made for this state can be applied to it";
            debug_assert!(false, "{APPLIES}");
            return Err(StorageError::from(InternalError::broken(APPLIES)).into());
        }
    }
    // Each write is small, but the accumulated record must still fit into a frame.
    let grows = matches!(operation, Operation::InsertText { .. } | Operation::Merge { .. });
    if grows && let Some(record) = state.record(action.id())? {
        let id = action.id();
        let bytes = record.to_bytes().len();
        if bytes > limit {
            return Err(Malformed::ValueTooLarge { id, bytes, limit }.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Counter, Merged, Register, Text};
    use syncline_storage::RelativeAction;
    use syncline_store::MemoryStore;
    use syncline_sync::DeltaLog;
    use syncline_types::{Moment, SimTime};

    fn me() -> ReplicaId {
        ReplicaId::from_u64(1)
    }

    fn prepared(
        operations: &[Operation],
        membership: &Membership,
    ) -> Result<PreparedWrite<MemoryStore>, OperationError> {
        let context = ApplyContext::new(Moment::at(SimTime::from_secs(1)));
        let work = Transaction::begin(MemoryStore::default(), DeltaLog::default(), context)?;
        prepare(operations, me(), membership, &work, &HlcClock::new(me()))
    }

    #[test]
    fn operations_become_one_delta() {
        let operations = [Counter::named("n").add(2), Text::named("t").insert(0, "hi")];
        let write = prepared(&operations, &Membership::Open).ok().unwrap();
        assert_eq!(write.delta.dot, Dot { author: me(), seq: 1 });
        let relative: Vec<_> = write.actions.iter().cloned().map(RelativeAction::from).collect();
        assert_eq!(write.delta.actions, relative, "short paths are whole");
        assert_eq!(write.actions.len(), 2);
        assert_eq!(write.clock.last() >> 16, 1_000);
    }

    #[test]
    fn rejects_write_of_outsider() {
        let membership = Membership::named([ReplicaId::from_u64(2)]);
        let write = prepared(&[Counter::named("n").add(2)], &membership);
        assert_eq!(write.err(), Some(OperationError::NotAMember));
    }

    #[test]
    fn one_impossible_operation_refuses_all() {
        let operations = [Counter::named("n").add(2), Register::<u32>::named("n").set(&1)];
        let error = prepared(&operations, &Membership::Open).err();
        assert!(matches!(error, Some(OperationError::WrongType { .. })), "{error:?}");
    }

    /// Without a merge function operands are not compacted, and add up.
    #[test]
    fn operands_are_bounded_where_they_are_written() {
        let merge = |byte| Merged::named("m").merge("own", &vec![byte; 400 << 10]);
        assert!(prepared(&[merge(1), merge(2)], &Membership::Open).is_ok());
        let error = prepared(&[merge(1), merge(2), merge(3)], &Membership::Open).err();
        let limit = limits::MAX_VALUE_BYTES;
        let Some(OperationError::Malformed(Malformed::ValueTooLarge { bytes, limit: found, .. })) = error
        else {
            panic!("{error:?}");
        };
        assert!(bytes > limit && found == limit, "{bytes} of {found}");
    }

    #[test]
    fn rejects_too_many_operations() {
        let limit = limits::MAX_ACTIONS_PER_DELTA;
        let operations = vec![Counter::named("n").add(1); limit + 1];
        let found = operations.len();
        assert_eq!(
            prepared(&operations, &Membership::Open).err(),
            Some(OperationError::TooMany { found, limit })
        );
    }
}
