//! Checks the budgets of a run: of each step as it happens, of the traffic while nothing changes, and of the disks in
//! the end.

use crate::budgets::{AFTER_CONVERGENCE, IdleTraffic, OverBudget, check_disk};
use crate::node::{SimNode, SimReplica};
use crate::runtime::SimRuntime;
use crate::verdict::{Check, SimPart};
use sync_sim_engine::node_id::NodeId;
use syncline_types::SimTime;

/// One seed of so many goes on after it has converged, to measure its traffic: it costs about as much as a short run.
const IDLE_SEEDS: u64 = 16;

impl SimRuntime {
    /// Reports the first budget that a step of an honest node has exceeded.
    pub(super) fn check_spending(&mut self, node: NodeId) {
        let over = self.world.actor(node).and_then(|actor| {
            actor.replicas().find_map(|replica| Some((replica.number(), replica.over_budget()?.clone())))
        });
        if let Some((context, over)) = over {
            self.violate(Check::OverBudget { node: self.name_in(context, node), over });
        }
    }

    /// Checks the traffic since the last progress. O(1), or O(nodes) if there was much.
    pub(super) fn watch_traffic(&mut self, has_progressed: bool) {
        let sent = self.world.router().bytes_sent();
        if has_progressed {
            self.traffic.on_progress(self.now(), sent);
            return;
        }
        // Nothing is promised about the traffic that hostile nodes cause.
        if self.traffic.is_heavy(sent) && self.hostility.roles.is_empty() {
            let replicas = self.world.actors().flat_map(|(_, actor)| SimNode::replicas(actor));
            let stored = replicas.map(SimReplica::bytes_put).sum();
            let over = self.traffic.check(self.now(), sent, self.replicas(), stored);
            self.violate_idle(over);
        }
    }

    /// The number of replicas of all nodes.
    fn replicas(&self) -> u64 {
        (self.world.len() * self.contexts()) as u64
    }

    fn violate_idle(&mut self, over: Option<OverBudget>) {
        if let Some(over) = over {
            self.violate(Check::OverBudget { node: "the network".to_owned(), over });
        }
    }

    /// Whether a run that has converged stays silent, for some of the seeds: a clone of the run goes on for a while
    /// without faults. Whatever it finds is a finding of this run.
    pub(super) fn check_afterwards(&self) -> Option<Check> {
        if !self.config.seed.is_multiple_of(IDLE_SEEDS) || !self.hostility.roles.is_empty() {
            return None;
        }
        let mut later = self.clone();
        if later.calm_at < SimTime::MAX {
            // The run may have converged before its faults end, or at the last event before that time.
            later.calm_at = later.now();
            later.calm();
        }
        let end = later.now() + AFTER_CONVERGENCE;
        let mut traffic = IdleTraffic::default();
        traffic.on_progress(later.now(), later.world.router().bytes_sent());
        while later.violation.is_none() && later.world.next_time().is_some_and(|at| at < end) {
            later.advance();
        }
        // What still changes after convergence, such as the collection of tombstones, is not idle traffic but bounded
        // by the same allowance: it happens once.
        let sent = later.world.router().bytes_sent();
        let over = traffic.check_equal(later.now(), sent, later.replicas());
        later.violate_idle(over);
        later.violation
    }

    /// Compares the disk of one node with what it shows. The seed chooses the node. O(rows).
    pub(super) fn check_disk_of(&self, context: usize) -> Option<Check> {
        let honest = self.honest().count() as u64;
        let chosen = ((self.config.seed / 3 + context as u64) % honest.max(1)) as usize;
        let (node, replica) = self.honest_in(context).nth(chosen)?;
        match check_disk(replica.disk()) {
            Ok(over) => Some(Check::OverBudget { node: self.name_in(context, node), over: over? }),
            Err(error) => Some(Check::Internal { part: SimPart::Reader, detail: error.to_string() }),
        }
    }
}
