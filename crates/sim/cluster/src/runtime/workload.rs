//! The writes of a workload.

use crate::node::replica_id;
use crate::runtime::history::entity_words;
use crate::runtime::sim_runtime::SimRuntime;
use crate::workload::{Mishap, Planned, Workload, Write};
use sync_sim_engine::event::SimEvent;
use sync_sim_engine::history::{EntryKind, Note};
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::random::{Choices, Stream};
use sync_sim_engine::world::LoggedEvent;
use syncline_types::Choice;

impl SimRuntime {
    /// Has every node's application write what a workload draws: part of it before the run, if that has not
    /// begun, the rest from now on.
    pub fn apply_workload(&mut self, workload: &Workload) {
        self.workload = workload.clone();
        let before = if self.unleashed { 0 } else { workload.writes_before() };
        let (nodes, now) = (self.world.len(), self.world.now());
        let choices = self.world.choices_mut();
        let mut early = workload.draw(before, nodes, now, &self.config.faults, choices);
        let mut planned = workload.draw(workload.writes - before, nodes, now, &self.config.faults, choices);
        spread(&mut early, self.kept.len(), choices);
        spread(&mut planned, self.kept.len(), choices);
        for Planned { node, write, .. } in early {
            self.write_before_start(node, &write);
        }
        for Planned { at, node, write, mishap } in planned {
            match mishap {
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

    /// Has a node's application write before the run: it is acknowledged, and nobody else hears of it.
    pub fn write_before_start(&mut self, node: NodeId, write: &Write) {
        let mut accepted = None;
        // Nothing but this write draws meanwhile.
        let mut chance = std::mem::replace(self.world.choices_mut(), Choices::seeded(0));
        self.world.change(node, |actor| {
            accepted = actor.write_before_start(write, &mut chance.source(Stream::Scenario));
        });
        *self.world.choices_mut() = chance;
        match accepted {
            Some((operations, actions)) => {
                self.protocol.writes_accepted += 1;
                if self.world.is_recording() {
                    let entities = actions.iter().map(|action| entity_words(action.id())).collect();
                    let note = Note::WriteAccepted { entities }.of_context(write.context);
                    self.world.record_early(node, EntryKind::Write, note);
                }
                let op = Write::from(operations.clone()).in_context(write.context);
                self.world.log_event_at(self.now().into(), || LoggedEvent::Early { node, op });
                let now = self.now();
                let oracle = &mut self.kept_mut(write.context).oracle;
                oracle.acknowledge((node, replica_id(node)), now, operations, actions);
            }
            None => self.protocol.writes_refused += 1,
        }
    }
}

/// Draws which of so many contexts each write goes to. Writes of one instant, such as two that clash, go to
/// one.
fn spread(writes: &mut [Planned], contexts: usize, choices: &mut Choices) {
    if contexts == 1 {
        return;
    }
    let mut last = None;
    for Planned { at, write, .. } in writes {
        let context = match last {
            Some((instant, context)) if instant == *at => context,
            _ => choices.below(Stream::Contexts, Choice::WriteContext, contexts as u64) as usize,
        };
        (write.context, last) = (context, Some((*at, context)));
    }
}
