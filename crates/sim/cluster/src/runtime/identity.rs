//! What a run knows of nodes whose disks were replaced, and of other [hazards](crate::checks::Hazards).

use crate::checks::{self, Hazards, UnfinishedRun};
use crate::runtime::sim_runtime::SimRuntime;
use crate::verdict::StopCondition;
use sync_sim_engine::node_id::NodeId;
use syncline_sync::LocalSyncState;
use syncline_types::SimTime;

impl SimRuntime {
    /// The disk of a node was replaced: writes that no disk holds now need not be visible in the end.
    pub(super) fn on_disk_replaced(&mut self, node: NodeId) {
        self.replaced_disks.insert(node);
        for context in 0..self.contexts() {
            let mut oracle = self.oracle(context).clone();
            let noted = oracle.on_disk_replaced(node, self.honest_in(context).map(|(_, replica)| replica));
            self.context_state_mut(context).oracle = oracle;
            if let Err(error) = noted {
                self.report_oracle_error(&error.to_string());
            }
        }
    }

    /// What is wrong in the run so far beside the network, crashes and hostile nodes.
    pub(super) fn hazards(&self) -> Hazards {
        let effects = self.world.host_effects();
        Hazards {
            replaced_disks: effects.replaced_disks() > 0,
            clocks_ahead: effects.clocks_ahead > 0,
            names_late: !self.namings().is_empty(),
            returns: self.has_returns(),
        }
    }

    /// Names the promise that a run has broken, if a hazard explains how it stopped.
    pub(super) fn explained(&self, stop: StopCondition) -> StopCondition {
        let hazards = self.hazards();
        let is_open = match &stop {
            StopCondition::Converged | StopCondition::Manual => false,
            StopCondition::Violated(check) => checks::may_be_explained(check),
            StopCondition::Diverged(_)
            | StopCondition::Deadlock(_)
            | StopCondition::MaxTime(_)
            | StopCondition::MaxEvents(_) => true,
        };
        if !is_open || hazards == Hazards::NONE {
            return stop;
        }
        let unheard = self.first_unheard().map(|(context, writer, at, reader)| {
            let node = self.name_in(context, writer);
            format!("{} does not have what {node} acknowledged at {at}", self.name(reader))
        });
        let unfinished = UnfinishedRun { hazards, unheard, pending: stop.to_string() };
        checks::of_unfinished(&unfinished).map_or(stop, StopCondition::Violated)
    }

    /// The first write, by context and time, that some honest node does not have: the context, the writer, the time and
    /// that node.
    fn first_unheard(&self) -> Option<(usize, NodeId, SimTime, NodeId)> {
        (0..self.contexts()).find_map(|context| {
            self.honest_in(context).find_map(|(reader, replica)| {
                let (writer, at) = self.oracle(context).first_missing(&replica.covered())?;
                Some((context, writer, at, reader))
            })
        })
    }
}
