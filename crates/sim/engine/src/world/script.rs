//! Scripted events: each happens at its time, and there at its place among the other events of the instant.
//!
//! A random fault happens between other events of the same instant, and a script that replays it must put it
//! into the same place. Scripted events are therefore stored beside the queue, and their place is the number
//! of events of their instant that come before. Without a script and an event log none of this code runs.

use crate::actor::Actor;
use crate::event::SimEvent;
use crate::world::event_log::{LoggedEvent, ScriptTime};
use crate::world::host_event::HostEvent;
use crate::world::{StepReport, World};
use std::collections::{BTreeMap, BTreeSet};
use syncline_types::SimTime;

/// The scripted events still to come, and the place of the run within the current instant.
#[derive(Clone, Debug)]
pub(crate) struct ScriptQueue<Op> {
    /// By place, then by number: events of one place come in the order of scheduling.
    events: BTreeMap<(ScriptTime, u64), SimEvent<Op>>,
    /// The place of the run: how many events of this instant were taken, without those that a script can
    /// contain.
    now: ScriptTime,
    /// The numbers of queued events that a workload planned and a script can contain.
    planned: BTreeSet<u64>,
    /// Whether the current event is scripted or planned.
    is_scripted: bool,
}

impl<Op> Default for ScriptQueue<Op> {
    fn default() -> Self {
        Self {
            events: BTreeMap::new(),
            now: ScriptTime::default(),
            planned: BTreeSet::new(),
            is_scripted: false,
        }
    }
}

impl<Op> ScriptQueue<Op> {
    /// When the next scripted event is due.
    pub(super) fn next_time(&self) -> Option<SimTime> {
        self.events.keys().next().map(|(place, _)| place.at)
    }

    /// Removes the events that `keep` rejects.
    pub(super) fn retain(&mut self, keep: impl Fn(&SimEvent<Op>) -> bool) {
        self.events.retain(|_, event| keep(event));
    }

    /// Takes the next scripted event, if it comes before the next event of the queue, which is due at
    /// `queued`.
    fn next(&mut self, queued: Option<SimTime>) -> Option<(SimTime, u64, SimEvent<Op>)> {
        let &(place, number) = self.events.keys().next()?;
        // An event whose place lies beyond the last event of its instant comes at the end of that instant.
        let is_due =
            queued.is_none_or(|queued| place.at < queued || (place.at == queued && place <= self.at(queued)));
        if !is_due {
            return None;
        }
        Some((place.at, number, self.events.remove(&(place, number))?))
    }

    /// The place of the next event, which is due at `at`.
    fn at(&self, at: SimTime) -> ScriptTime {
        if at == self.now.at { self.now } else { ScriptTime { at, after: 0 } }
    }
}

/// Whether a script can contain this event, or chance brings it about. Such events do not count in the places
/// of others: otherwise removing a line from a script would move all lines after it.
const fn is_scriptable<Op>(event: &SimEvent<Op>) -> bool {
    matches!(
        event,
        SimEvent::Op { .. }
            | SimEvent::NodeCrash { .. }
            | SimEvent::ChanceCrash { .. }
            | SimEvent::NodeLeave { .. }
            | SimEvent::ChanceLeave { .. }
            | SimEvent::PartitionAt { .. }
            | SimEvent::PartitionStart
    ) || matches!(event, SimEvent::Host { what: HostEvent::Chance(fault), .. } if fault.is_logged())
}

impl<A: Actor> World<A> {
    /// Schedules a scripted event for its place, or for now if that is past.
    pub fn schedule_scripted(&mut self, place: ScriptTime, event: SimEvent<A::Op>) {
        self.pending_work.ops += u64::from(matches!(event, SimEvent::Op { .. }));
        // Numbered by the queue, since the history identifies scripted and queued events by one number.
        let number = self.queue.number();
        let at = place.at.max(self.clock.now());
        let replaced =
            self.script.get_or_insert_default().events.insert((ScriptTime { at, ..place }, number), event);
        assert!(replaced.is_none(), "numbers of scheduled events are unique");
        if let Some(log) = &mut self.log {
            log.scheduled(number);
        }
    }

    /// Schedules an event that a workload planned and a script can contain.
    pub fn schedule_planned(&mut self, at: SimTime, event: SimEvent<A::Op>) {
        let number = self.schedule(at, event);
        if self.event_log.is_some() {
            self.script.get_or_insert_default().planned.insert(number);
        }
    }

    /// Takes the next event, from the script or from the queue, and logs it if there is a log.
    pub(super) fn step_scripted(&mut self) -> Option<StepReport<A::Notice>> {
        let queued = self.queue.peek_time();
        let scripted = self.script.get_or_insert_default().next(queued);
        let is_from_script = scripted.is_some();
        let (at, number, mut event) = match scripted {
            Some((at, number, event)) => (at, number, Some(event)),
            None => {
                let mut event = None;
                let (at, number) = self.queue.pop_into(&mut event)?;
                (at, number, event)
            }
        };
        let script = self.script.get_or_insert_default();
        script.now = script.at(at);
        script.is_scripted = is_from_script || script.planned.remove(&number);
        let place = script.now;
        let is_scripted = script.is_scripted;
        let counts = !is_from_script && event.as_ref().is_some_and(|event| !is_scriptable(event));
        let logged =
            self.event_log.as_ref().and(event.as_ref()).and_then(|event| LoggedEvent::of(event, is_scripted));
        if is_from_script && let Some(SimEvent::NodeCrash { node, .. }) = event {
            // A scripted crash replaces a random one that is armed: the script replays what happened, and
            // a node crashes once.
            self.disarm_random_crash(node);
        }
        let mut report = StepReport::at(None);
        self.take_at(at, number, &mut event, &mut report);
        // A crash within the event has logged itself by now, and has to stand before the event.
        if let Some(logged) = logged
            && let Some(log) = &mut self.event_log
        {
            log.push((place, logged));
        }
        let script = self.script.get_or_insert_default();
        script.now.after += u32::from(counts);
        script.is_scripted = false;
        Some(report)
    }

    /// When the next scripted event is due.
    pub fn next_scripted(&self) -> Option<SimTime> {
        self.script.as_ref()?.next_time()
    }

    /// Whether a scripted event is due before `time`.
    pub fn has_scripted_before(&self, time: SimTime) -> bool {
        self.next_scripted().is_some_and(|at| at < time)
    }

    /// Whether the current event is scripted, or planned by a workload.
    pub(super) fn is_scripted(&self) -> bool {
        self.script.as_ref().is_some_and(|script| script.is_scripted)
    }

    /// Logs what is happening at the current place, if there is a log.
    pub(super) fn log_event(&mut self, event: impl FnOnce() -> LoggedEvent<A::Op>) {
        let place = self.script.as_ref().map_or_else(ScriptTime::default, |script| script.now);
        self.log_event_at(ScriptTime { at: self.clock.now(), ..place }, event);
    }
}
