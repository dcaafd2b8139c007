//! What a script has happen: each thing at its time, and there in its place among what happens anyway.
//!
//! What chance brings falls between other events of the same instant, and so does what a script says that
//! tells it again. Things of a script are therefore kept beside the queue, and name their place by how many
//! events of their instant come before them. Where there is neither a script nor a chronicle, none of this
//! runs.

use crate::actor::Actor;
use crate::event::SimEvent;
use crate::world::event_log::{Cue, Happened};
use crate::world::{Stepped, World};
use std::collections::{BTreeMap, BTreeSet};
use syncline_types::SimTime;

/// A script, and how far into an instant the run is.
#[derive(Clone, Debug)]
pub(crate) struct Script<Op> {
    /// By place, and by the order of telling where that is the same; with the number of each in the queue.
    cues: BTreeMap<(Cue, u64), SimEvent<Op>>,
    /// How far the run is: events of this instant, but for those that a script could bring.
    now: Cue,
    /// Events in the queue, by number, that a workload planned and a script can tell.
    planned: BTreeSet<u64>,
    /// Whether what is happening is told by the script, or was planned.
    is_told: bool,
}

impl<Op> Default for Script<Op> {
    fn default() -> Self {
        let (cues, planned) = (BTreeMap::new(), BTreeSet::new());
        Self { cues, now: Cue::default(), planned, is_told: false }
    }
}

impl<Op> Script<Op> {
    /// When the next thing happens, at the latest.
    pub(super) fn next_time(&self) -> Option<SimTime> {
        self.cues.keys().next().map(|(cue, _)| cue.at)
    }

    /// Lets go of what `keep` does not want.
    pub(super) fn retain(&mut self, keep: impl Fn(&SimEvent<Op>) -> bool) {
        self.cues.retain(|_, event| keep(event));
    }

    /// Takes the next thing, if it comes before the next event of the queue.
    fn next(&mut self, queued: Option<SimTime>) -> Option<(SimTime, u64, SimEvent<Op>)> {
        let &(cue, number) = self.cues.keys().next()?;
        let is_due =
            queued.is_none_or(|queued| cue.at < queued || (cue.at == queued && cue <= self.at(queued)));
        if !is_due {
            return None;
        }
        Some((cue.at, number, self.cues.remove(&(cue, number))?))
    }

    /// The place of what happens next, at `at`.
    fn at(&self, at: SimTime) -> Cue {
        if at == self.now.at { self.now } else { Cue { at, after: 0 } }
    }
}

/// Whether a script can tell this, or chance brings it: it does not count in the places of others.
const fn is_tellable<Op>(event: &SimEvent<Op>) -> bool {
    matches!(
        event,
        SimEvent::Op { .. }
            | SimEvent::NodeCrash { .. }
            | SimEvent::ChanceCrash { .. }
            | SimEvent::NodeLeave { .. }
            | SimEvent::ChanceLeave { .. }
            | SimEvent::PartitionAt { .. }
            | SimEvent::PartitionStart
    )
}

impl<A: Actor> World<A> {
    /// Has something happen at its place, or now if that is past.
    pub fn cue(&mut self, cue: Cue, event: SimEvent<A::Op>) {
        self.tally.ops += u64::from(matches!(event, SimEvent::Op { .. }));
        let number = self.queue.number();
        let at = cue.at.max(self.clock.now());
        self.script.get_or_insert_default().cues.insert((Cue { at, ..cue }, number), event);
        if let Some(log) = &mut self.log {
            log.scheduled(number);
        }
    }

    /// Schedules something that a workload planned, and a script can tell.
    pub fn schedule_planned(&mut self, at: SimTime, event: SimEvent<A::Op>) {
        let number = self.schedule(at, event);
        if self.chronicle.is_some() {
            self.script.get_or_insert_default().planned.insert(number);
        }
    }

    /// Takes what comes next, from the script or from the queue, and keeps it if that is wanted.
    pub(super) fn step_as_told(&mut self) -> Option<Stepped<A::Notice>> {
        let queued = self.queue.peek_time();
        let cue = self.script.get_or_insert_default().next(queued);
        let is_cue = cue.is_some();
        let (at, number, mut event) = match cue {
            Some((at, number, event)) => (at, number, Some(event)),
            None => {
                let mut event = None;
                let (at, number) = self.queue.pop_into(&mut event)?;
                (at, number, event)
            }
        };
        let script = self.script.get_or_insert_default();
        script.now = script.at(at);
        script.is_told = is_cue || script.planned.remove(&number);
        let (place, is_told) = (script.now, script.is_told);
        let counts = !is_cue && event.as_ref().is_some_and(|event| !is_tellable(event));
        let told = self.chronicle.as_ref().and(event.as_ref()).and_then(|event| Happened::of(event, is_told));
        if is_cue && let Some(SimEvent::NodeCrash { node, .. }) = event {
            // What is told takes the place of what chance had in mind.
            self.disarm_chance(node);
        }
        let mut stepped = Stepped::at(None);
        self.take_at(at, number, &mut event, &mut stepped);
        // A crash that struck in it is kept by now, and comes before it.
        if let (Some(told), Some(kept)) = (told, &mut self.chronicle) {
            kept.push((place, told));
        }
        let script = self.script.get_or_insert_default();
        script.now.after += u32::from(counts);
        script.is_told = false;
        Some(stepped)
    }

    /// When a script next has something happen, if it does.
    pub fn next_told(&self) -> Option<SimTime> {
        self.script.as_ref()?.next_time()
    }

    /// Whether what is happening is told by a script, or was planned by a workload.
    pub(super) fn is_told(&self) -> bool {
        self.script.as_ref().is_some_and(|script| script.is_told)
    }

    /// Keeps what is happening by chance, if that is wanted.
    pub(super) fn keep(&mut self, happened: impl FnOnce() -> Happened<A::Op>) {
        let cue = self.script.as_ref().map_or_else(Cue::default, |script| script.now);
        self.keep_at(Cue { at: self.clock.now(), ..cue }, happened);
    }
}
