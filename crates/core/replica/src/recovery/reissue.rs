//! Turns a legacy write into the changes of a new delta.

use super::inherit::count_of;
use super::legacy::{CountBefore, LegacyWrite};
use super::progress::Recovering;
use super::restamp::Restamp;
use syncline_crdt::{GCounter, PnCounter, Value};
use syncline_storage::{Action, ApplyContext, Interface, StorageError};
use syncline_store::ReadView;
use syncline_types::{EntityId, Hlc, HlcClock, ReplicaId};

/// A legacy write that is written again.
pub(crate) struct Reissued<V> {
    /// The state with the changes.
    pub(crate) state: Interface<V>,
    pub(crate) clock: HlcClock,
    /// What each change of the former write became; `None` for one that has no effect any more, because others have
    /// deleted or overwritten its entity since.
    pub(crate) actions: Vec<Option<Action>>,
}

/// Writes a legacy write again, in the name of the clock's replica. `current` has what is known of the former id, and
/// takes the times of this write; `known_until` is the time up to which others have what it did. `context` has the
/// present moment and drift limit.
///
/// A change keeps its time where it can. It takes a new time if it is from before the horizon, up to which tombstones are
/// collected, or ahead of the clock: the next one that is neither. A change that was later than another one stays later.
pub(crate) fn reissue<V: ReadView>(
    write: &LegacyWrite,
    current: &mut Recovering,
    known_until: u64,
    state: &Interface<V>,
    clock: &HlcClock,
    context: &ApplyContext,
) -> Result<Reissued<V>, StorageError> {
    let mut reissued = Reissued { state: state.clone(), clock: clock.clone(), actions: Vec::new() };
    let heir = clock.replica();
    let former = current.former;
    let own = ApplyContext { max_drift_ms: u64::MAX, ..*context };
    let horizon = state.horizon();
    for (change, counted_before) in write.changes() {
        let state = &mut reissued.state;
        let Some(change) = &change else {
            reissued.actions.push(None);
            continue;
        };
        let made_at = made_at(change);
        let is_collected = made_at != Hlc::ZERO && made_at <= horizon;
        let is_ahead = made_at.check_drift(context.moment, context.max_drift_ms).is_err();
        if is_collected && is_superseded(change, made_at, heir, state)? {
            reissued.actions.push(None);
            continue;
        }
        if made_at != Hlc::ZERO {
            let ahead = is_ahead.then(|| reissued.clock.tick(context.moment).time());
            current.take_time(made_at.time(), ahead.unwrap_or_else(|| made_at.time()), horizon);
        }
        let restamp = Restamp { former, heir, known_until, moved: &current.moved };
        let renamed = restamp.action(change);
        let action = match counted(change, counted_before, former, heir, state)? {
            Some(value) => with_value(renamed, value),
            None => renamed,
        };
        // No later stamp of the heir may equal one that the change has taken.
        reissued.clock.observe(made_at_in_time(&action, context));
        let is_possible = action.to_record().is_ok() && state.apply_action(&action, &own).is_ok();
        reissued.actions.push(is_possible.then_some(action));
    }
    Ok(reissued)
}

/// The stamp of a change; zero for one that writes nothing, such as a removal of an element.
const fn made_at(action: &Action) -> Hlc {
    match action {
        Action::Add { metadata, .. } | Action::Update { metadata, .. } => metadata.updated_at,
        Action::DeleteRef { deleted_at, .. } => *deleted_at,
    }
}

fn made_at_in_time(action: &Action, context: &ApplyContext) -> Hlc {
    let made_at = made_at(action);
    if made_at.check_drift(context.moment, context.max_drift_ms).is_ok() { made_at } else { Hlc::ZERO }
}

/// Whether others have deleted or overwritten since what a change from before the horizon was about.
fn is_superseded<V: ReadView>(
    action: &Action,
    made_at: Hlc,
    heir: ReplicaId,
    state: &mut Interface<V>,
) -> Result<bool, StorageError> {
    for ancestor in action.ancestors().iter().chain([&EntityId::ROOT]) {
        if state.record(*ancestor)?.is_some_and(|record| record.deleted_at > made_at) {
            return Ok(true);
        }
    }
    let Some(record) = state.record(action.id())? else { return Ok(false) };
    let is_overwritten = record.updated_at > made_at && record.updated_at.replica() != heir;
    let replaces = match action {
        Action::DeleteRef { .. } => true,
        Action::Add { value, .. } | Action::Update { value, .. } => {
            matches!(value, Value::Lww(_) | Value::Opaque(_))
        }
    };
    Ok(record.deleted_at > made_at || (replaces && is_overwritten))
}

/// For a change of a counter: the count of the heir after the same change.
fn counted<V: ReadView>(
    change: &Action,
    counted_before: CountBefore,
    former: ReplicaId,
    heir: ReplicaId,
    state: &mut Interface<V>,
) -> Result<Option<Value>, StorageError> {
    let (Action::Add { value, .. } | Action::Update { value, .. }) = change else { return Ok(None) };
    let Some(after) = count_of(value, former) else { return Ok(None) };
    let record = state.record(change.id())?;
    let present =
        |replica| record.as_ref().and_then(|record| count_of(&record.value, replica)).unwrap_or((0, 0));
    // Where the old store did not tell the count before the change, others had counted as far as they show.
    let before = counted_before.unwrap_or_else(|| present(former));
    let own = present(heir);
    let added = own.0.saturating_add(after.0.saturating_sub(before.0));
    let taken = own.1.saturating_add(after.1.saturating_sub(before.1));
    Ok(Some(match value {
        Value::GCounter(_) => Value::GCounter(GCounter::of(heir, added)),
        _ => Value::PnCounter(PnCounter::of(heir, added, taken)),
    }))
}

fn with_value(action: Action, value: Value) -> Action {
    match action {
        Action::Add { id, ancestors, metadata, .. } => Action::Add { id, ancestors, value, metadata },
        Action::Update { id, ancestors, metadata, .. } => Action::Update { id, ancestors, value, metadata },
        delete @ Action::DeleteRef { .. } => delete,
    }
}

impl LegacyWrite {
    /// The earliest time at which the write changed something.
    pub(crate) fn earliest(&self) -> u64 {
        let times =
            self.delta.actions.iter().map(|relative| made_at(&relative.action)).filter(|at| *at != Hlc::ZERO);
        times.map(|at| at.time()).min().unwrap_or_else(|| self.delta.stamp.time())
    }
}
