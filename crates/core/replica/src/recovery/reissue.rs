//! Turns a legacy write into the changes of a new delta.

use super::legacy::{self, Branch, Counts, LegacyWrite};
use super::progress::Recovering;
use super::restamp::Restamp;
use syncline_crdt::{GCounter, PnCounter, Value};
use syncline_storage::{Action, ApplyContext, Interface, StorageError};
use syncline_store::{ReadView, WriteBatch};
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

/// Writes a legacy write again, in the name of its branch: repeating that changes nothing. `current` has what is known of
/// the former id, and takes the times of this write. `context` has the present moment and drift limit.
///
/// A change from before the horizon that a peer's state has had is not made again: it was deleted and collected where it is
/// absent, even if no peer has its delta, since a state can reach a peer before the peer knows what it covers.
///
/// A change keeps its time where it can. It takes a new time if it is from before the horizon, up to which tombstones are
/// collected, or ahead of the clock: the next one that is neither. A change that was later than another one stays later.
pub(crate) fn reissue<V: ReadView>(
    write: &LegacyWrite,
    current: &mut Recovering,
    branch: &Branch,
    state: &Interface<V>,
    clock: &HlcClock,
    context: &ApplyContext,
) -> Result<Reissued<V>, StorageError> {
    let mut reissued = Reissued { state: state.clone(), clock: clock.clone(), actions: Vec::new() };
    let name = branch.name;
    let former = current.former;
    let own = ApplyContext { max_drift_ms: u64::MAX, ..*context };
    let horizon = state.horizon();
    let has_one_life = current.known.has_one_life;
    let is_shared = write.delta.dot.seq <= current.known.shared;
    let is_shown = write.delta.dot.seq <= branch.shown;
    for change in write.changes() {
        let state = &mut reissued.state;
        let counted = match &change {
            Some(change) if !has_one_life => counted(change, former, name, state)?,
            _ => None,
        };
        // Of a write that the state shows, only counts may be lacking.
        let is_lacking = !is_shown || counted.as_ref().is_some_and(|value| !is_base(value, name));
        let Some(change) = change.as_ref().filter(|_| is_lacking) else {
            reissued.actions.push(None);
            continue;
        };
        let made_at = made_at(change);
        let is_collected = made_at != Hlc::ZERO && made_at <= horizon;
        let is_ahead = made_at.check_drift(context.moment, context.max_drift_ms).is_err();
        // Counters are not collected, and another life's counts may have hidden those of this one.
        let is_known_dead = is_shared && counted.is_none();
        if is_collected && (is_known_dead || is_superseded(change, made_at, name, state)?) {
            reissued.actions.push(None);
            continue;
        }
        // A stamp of an earlier branch keeps its time, unless nobody would take it: the state may have it under that name.
        let keeps_time = made_at.replica() != former && !is_ahead;
        if made_at != Hlc::ZERO && !keeps_time {
            let ahead = is_ahead.then(|| reissued.clock.tick(context.moment).time());
            current.take_time(made_at, ahead.unwrap_or_else(|| made_at.time()), horizon);
        }
        let known_until = branch.until;
        let restamp = Restamp {
            former,
            maker: made_at.replica(),
            heir: name,
            known_until,
            has_one_life,
            moved: &current.moved,
        };
        let renamed = restamp.action(change);
        let action = match counted {
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
    name: ReplicaId,
    state: &mut Interface<V>,
) -> Result<bool, StorageError> {
    if let Some(value) = value_of(action)
        && state.is_visible(action.id())?
    {
        // Of two types under one name the greater one is shown. Written anew, the smaller one would look like a write of
        // somebody who has seen and collected the other.
        if state.record(action.id())?.is_some_and(|record| record.crdt_type() > value.crdt_type()) {
            return Ok(true);
        }
        // A delete hides what accumulates, and takes nothing from it: what others have made visible again shows all of it.
        if matches!(value, Value::GCounter(_) | Value::PnCounter(_) | Value::Rga(_) | Value::Custom(_)) {
            return Ok(false);
        }
    }
    for ancestor in action.ancestors().iter().chain([&EntityId::ROOT]) {
        if state.record(*ancestor)?.is_some_and(|record| record.deleted_at > made_at) {
            return Ok(true);
        }
    }
    // No record: nothing overwrites the change.
    let Some(record) = state.record(action.id())? else { return Ok(false) };
    let is_overwritten = record.updated_at > made_at && record.updated_at.replica() != name;
    let replaces = match action {
        Action::DeleteRef { .. } => true,
        Action::Add { value, .. } | Action::Update { value, .. } => {
            matches!(value, Value::Lww(_) | Value::Opaque(_))
        }
    };
    Ok(record.deleted_at > made_at || (replaces && is_overwritten))
}

/// For a change of a counter by the former id: the count of its branch after the change.
fn counted<V: ReadView>(
    change: &Action,
    former: ReplicaId,
    name: ReplicaId,
    state: &Interface<V>,
) -> Result<Option<Value>, StorageError> {
    // A delete, or a value of another kind, counts nothing.
    let Some(value) = value_of(change) else { return Ok(None) };
    let Some(after) = count_of(value, former) else { return Ok(None) };
    let base = legacy::base(state.view(), former, change.id())?;
    let base = base.ok_or(StorageError::Index { what: "the counts at a fork" })?;
    let added = after.0.saturating_sub(base.0);
    let taken = after.1.saturating_sub(base.1);
    Ok(Some(match value {
        Value::GCounter(_) => Value::GCounter(GCounter::of(name, added)),
        _ => Value::PnCounter(PnCounter::of(name, added, taken)),
    }))
}

/// Whether a counter has nothing of a replica.
fn is_base(value: &Value, replica: ReplicaId) -> bool {
    count_of(value, replica).is_none_or(|counts| counts == (0, 0))
}

/// Whether the state has something of a write under the stamp that the `former` id gave it. No other life of the id has
/// given that stamp: each start of a replica draws the phase of its clock.
pub(crate) fn is_in_state<V: ReadView>(
    write: &LegacyWrite,
    former: ReplicaId,
    state: &mut Interface<V>,
) -> Result<bool, StorageError> {
    for relative in &write.delta.actions {
        let stamp = made_at(&relative.action);
        if stamp.replica() != former || stamp == Hlc::ZERO {
            continue;
        }
        let Some(record) = state.record(relative.action.id())? else { continue };
        let is_in_value = match &record.value {
            Value::Lww(register) | Value::Opaque(register) => register.stamp() == stamp,
            Value::Element(element) => element
                .entries()
                .any(|(replica, presence)| replica == former && presence.added == stamp.time()),
            Value::Rga(text) => text.runs().any(|(run, _)| run.stamp == stamp),
            _ => false,
        };
        if is_in_value || [record.created_at, record.updated_at, record.deleted_at].contains(&stamp) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the state certainly lacks a write of the `former` id: stamps join by maximum, and what is later than the
/// horizon was not collected.
pub(crate) fn is_lacking<V: ReadView>(
    write: &LegacyWrite,
    former: ReplicaId,
    state: &mut Interface<V>,
) -> Result<bool, StorageError> {
    let horizon = state.horizon();
    for relative in &write.delta.actions {
        let stamp = made_at(&relative.action);
        if stamp.replica() != former || stamp <= horizon {
            continue;
        }
        let record = state.record(relative.action.id())?;
        let latest = record.map_or(Hlc::ZERO, |record| match &relative.action {
            Action::Add { .. } | Action::Update { .. } => record.updated_at,
            Action::DeleteRef { .. } => record.deleted_at,
        });
        if latest < stamp {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Notes what the `former` id had counted at the fork in the counters that a write of its changes, which is in the branch
/// or before it. Writes are noted in their order, each in the batch of its own step or of the same `batch`. In a log that
/// `is_whole`, the former id had counted nothing before its first write. Otherwise others are believed, as far as they show.
pub(crate) fn note_bases<V: ReadView>(
    write: &LegacyWrite,
    former: ReplicaId,
    branch: &Branch,
    is_whole: bool,
    state: &mut Interface<V>,
    batch: &mut WriteBatch,
) -> Result<(), StorageError> {
    for change in &write.delta.actions {
        let Some(after) = value_of(&change.action).and_then(|value| count_of(value, former)) else {
            continue;
        };
        let counter = change.action.id();
        let seq = write.delta.dot.seq;
        if seq <= branch.fork || (seq <= branch.shown && is_shown(after, former, counter, state)?) {
            legacy::write_base(former, counter, after, batch);
        } else if !legacy::has_base(state.view(), former, counter, batch)? {
            let record = state.record(counter)?.filter(|_| !is_whole);
            let present = record.and_then(|record| count_of(&record.value, former)).unwrap_or((0, 0));
            legacy::write_base(former, counter, (present.0.min(after.0), present.1.min(after.1)), batch);
        }
    }
    Ok(())
}

/// Whether the state shows just these counts of the former id. Where two lives have counted in one name, it shows the
/// larger counts.
fn is_shown<V: ReadView>(
    counts: Counts,
    former: ReplicaId,
    counter: EntityId,
    state: &mut Interface<V>,
) -> Result<bool, StorageError> {
    let record = state.record(counter)?;
    Ok(record.and_then(|record| count_of(&record.value, former)) == Some(counts))
}

const fn value_of(action: &Action) -> Option<&Value> {
    match action {
        Action::Add { value, .. } | Action::Update { value, .. } => Some(value),
        Action::DeleteRef { .. } => None,
    }
}

/// The increments and decrements of one replica in a counter; `None` if it has counted nothing there.
pub(super) fn count_of(value: &Value, replica: ReplicaId) -> Option<Counts> {
    match value {
        Value::GCounter(counter) => {
            counter.entries().find(|(author, _)| *author == replica).map(|(_, count)| (count, 0))
        }
        Value::PnCounter(counter) => {
            counter.entries().find(|(author, _)| *author == replica).map(|(_, counts)| counts)
        }
        _ => None,
    }
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
