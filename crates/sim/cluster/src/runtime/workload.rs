//! Schedules the writes of a workload.

use crate::runtime::history::entity_hex;
use crate::runtime::phases::Phase;
use crate::runtime::sim_runtime::SimRuntime;
use crate::wording::operations_words;
use crate::workload::{Mishap, PlannedWrite, Workload, Write};
use sync_sim_engine::event::SimEvent;
use sync_sim_engine::faults::Rate;
use sync_sim_engine::history::{EntryKind, Note};
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::random::{Choices, Stream};
use sync_sim_engine::world::LoggedEvent;
use syncline_replica::Operation;
use syncline_storage::Action;
use syncline_types::{Choice, SimDuration};

impl SimRuntime {
    /// Schedules the writes that a workload draws. If the run has not begun, a part of them is written before it.
    pub fn apply_workload(&mut self, workload: &Workload) {
        self.workload = workload.clone();
        let before = if self.has_begun { 0 } else { workload.writes_before() };
        let nodes = self.world.len();
        let now = self.world.now();
        let choices = self.world.choices_mut();
        // Writes before the run are drawn first: the order of the draws is part of the trace.
        let mut early = workload.draw(before, nodes, now, &self.config.faults, choices);
        let mut planned = workload.draw(workload.writes - before, nodes, now, &self.config.faults, choices);
        spread(&mut early, self.context_states.len(), choices);
        spread(&mut planned, self.context_states.len(), choices);
        for PlannedWrite { node, write, .. } in early {
            self.write_before_start(node, &write);
        }
        for PlannedWrite { at, node, write, mishap } in planned {
            match mishap {
                // The crash is scheduled before the write and hits the step of the write itself.
                Some(Mishap::Crash(point, down_for)) => {
                    let down_for = Some(down_for);
                    self.world.schedule_planned(at, SimEvent::NodeCrash { node, point, down_for });
                }
                Some(Mishap::Away(away_for)) => {
                    let away_for = Some(away_for);
                    self.world.schedule_planned(at, SimEvent::NodeLeave { node, away_for });
                }
                None => {}
            }
            self.world.schedule(at, SimEvent::Op { node, op: write });
        }
    }

    /// Has the application of a node write before the run: the write is acknowledged, and no other node knows
    /// it.
    pub fn write_before_start(&mut self, node: NodeId, write: &Write) {
        match self.accept_before_start(node, write) {
            Some((operations, actions)) => {
                self.counts.protocol.writes_accepted += 1;
                if self.world.is_recording() {
                    let entities = actions.iter().map(|action| entity_hex(action.id())).collect();
                    let what = operations_words(&operations);
                    let note = Note::WriteAccepted { entities, what }.of_context(write.context);
                    self.world.record_early(node, EntryKind::Write { what: None }, note);
                }
                let op = Write::from(operations.clone()).in_context(write.context);
                self.world.log_event_at(self.now().into(), || LoggedEvent::Early { node, op });
                self.acknowledge(node, write.context, operations, actions);
            }
            None => self.counts.protocol.writes_refused += 1,
        }
    }

    /// Has a node that has not started accept a write. Returns the operations and actions if it does.
    pub(super) fn accept_before_start(
        &mut self,
        node: NodeId,
        write: &Write,
    ) -> Option<(Vec<Operation>, Vec<Action>)> {
        let mut accepted = None;
        let wall_ms = self.world.wall_ms(node);
        // The choices are moved out for the duration of the write; nothing else draws meanwhile.
        let mut choices = std::mem::replace(self.world.choices_mut(), Choices::seeded(0));
        self.world.change(node, |actor| {
            accepted = actor.write_before_start(write, wall_ms, &mut choices.source(Stream::Scenario));
        });
        *self.world.choices_mut() = choices;
        accepted
    }
}

/// How long after a collection the last of the writes that it causes comes, in microseconds.
const AFTER_COLLECTION_US: u64 = 500_000;

impl SimRuntime {
    /// A node has collected tombstones: its application may write to one of the reused names just then, while other
    /// nodes still hold the tombstones.
    pub(super) fn maybe_write_after_collection(&mut self, node: NodeId, context: usize) {
        if !self.may_write_after_collection() {
            return;
        }
        let rate = self.workload.after_collection;
        let written = self.maybe_write_within(AFTER_COLLECTION_US, rate, node, context, |_, choices| {
            Write::from(vec![Workload::reused(choices)])
        });
        self.counts.writes_after_collection += written;
    }

    /// A node has raised its horizon: some application may write just then, while the horizons of nodes differ. One time
    /// of two it is the one of this node, and always if the node `is_new`: it has adopted the horizon of others and had
    /// nothing to collect.
    pub(super) fn maybe_write_around_collection(&mut self, node: NodeId, context: usize, is_new: bool) {
        let rate = self.workload.around_collections;
        if rate == Rate::ZERO || !self.may_write_after_collection() {
            return;
        }
        let up: Vec<NodeId> = self.honest_in(context).map(|(node, _)| node).collect();
        let up: Vec<NodeId> = up.into_iter().filter(|node| self.is_up(*node)).collect();
        let drawn = self.world.choices_mut().below(Stream::Workload, Choice::WriteNode, 2 * up.len() as u64);
        let writer = up.get(drawn as usize).copied().filter(|_| !is_new).unwrap_or(node);
        let written = self.maybe_write_within(AFTER_COLLECTION_US, rate, writer, context, Workload::write);
        self.counts.writes_after_collection += written;
    }

    /// Such a write may delete, and be followed by another collection: the number of writes must end somewhere.
    fn may_write_after_collection(&self) -> bool {
        self.phase() != Some(Phase::Liveness)
            && self.counts.writes_after_collection < self.workload.writes as u64
    }

    /// A node has come back with another disk: its application may write before the node has synced.
    pub(super) fn maybe_write_after_replacement(&mut self, node: NodeId) {
        const WITHIN_US: u64 = 50_000;
        let rate = self.workload.after_replacement;
        self.maybe_write_within(WITHIN_US, rate, node, 0, Workload::write);
    }

    /// Schedules one to three writes of a node within some microseconds, with a probability of `rate`. Gives their
    /// number.
    fn maybe_write_within(
        &mut self,
        within_us: u64,
        rate: Rate,
        node: NodeId,
        context: usize,
        draw: impl Fn(&Workload, &mut Choices) -> Write,
    ) -> u64 {
        const STREAM: Stream = Stream::Workload;
        let choices = self.world.choices_mut();
        if !choices.chance(STREAM, Choice::WriteAfterFault, rate.as_ppm()) {
            return 0;
        }
        let writes = choices.between(STREAM, Choice::WriteAfterFault, 1, 3);
        for _ in 0..writes {
            let choices = self.world.choices_mut();
            let after = choices.below(STREAM, Choice::WriteAfterFault, within_us);
            let op = draw(&self.workload, choices).in_context(context);
            let at = self.world.now() + SimDuration::from_micros(after);
            self.world.schedule(at, SimEvent::Op { node, op });
        }
        writes
    }
}

/// Draws the context of each write. Writes of the same instant, such as two that clash, go to the same context.
fn spread(writes: &mut [PlannedWrite], contexts: usize, choices: &mut Choices) {
    if contexts == 1 {
        return;
    }
    let mut last = None;
    for PlannedWrite { at, write, .. } in writes {
        let context = match last {
            Some((instant, context)) if instant == *at => context,
            _ => choices.below(Stream::Contexts, Choice::WriteContext, contexts as u64) as usize,
        };
        write.context = context;
        last = Some((*at, context));
    }
}
