//! The checkers. They observe every event and never steer the run.

use crate::node::{ContextNotice, SimNode, SimReplica, replica_id};
use crate::oracle::Oracle;
use crate::runtime::sessions::EndedSession;
use crate::runtime::sim_runtime::SimRuntime;
use crate::verdict::{Check, SimPart};
use std::borrow::Cow;
use sync_sim_engine::event::SimEvent;
use sync_sim_engine::network::DropCause;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::random::Stream;
use sync_sim_engine::world::StepReport;
use syncline_replica::{Notice, Operation};
use syncline_storage::{Action, ApplyError, StorageError};
use syncline_sync::{FailureReason, Outcome};
use syncline_types::{Choice, SimDuration, SimTime};

/// The causes of refusal that are faults of the sender. No frame of an honest member is refused for one of them.
pub const SENDER_FAULTS: [DropCause; 6] = [
    DropCause::Corrupt,
    DropCause::Malformed,
    DropCause::NotAMember,
    DropCause::BadSignature,
    DropCause::LeftBehind,
    DropCause::OtherContext,
];

impl SimRuntime {
    /// Passes the result of an event to the checkers.
    pub(super) fn observe(&mut self, stepped: StepReport<ContextNotice>) {
        if let Some(node) = stepped.node {
            self.record_roots(node, stepped.undone);
        }
        // Roots are recorded first: the checks on session endings ask for the roots within this instant.
        self.observe_progress(&stepped);
        if self.world.is_recording() {
            self.record_notices(&stepped);
        }
        self.counts.on_step(&stepped);
        // The other checks are about what a node did; network events have none.
        let Some(node) = stepped.node else { return };
        if stepped.restarted {
            self.on_restarted(node);
        }
        // From here on a check counts only if no hostile node caused the event.
        let hostile = self.count_hostile_effects(&stepped);
        if stepped.stale_accepted && !hostile {
            self.violate(Check::StaleFrameAccepted { node: self.name(node) });
        }
        let on_hostile = self.hostility.roles.is_hostile(node);
        if !on_hostile {
            self.check_spending(node);
        }
        for ContextNotice { context, notice } in stepped.notices {
            let context = usize::from(context);
            if on_hostile {
                self.on_hostile_notice(node, context, notice);
            } else {
                self.on_notice(node, context, notice);
            }
        }
        if let Some((context, detail)) = self.world.actor(node).and_then(stopped) {
            self.violate(Check::ReplicaStopped { node: self.name_in(context, node), detail });
        }
        match (stepped.corrupt, stepped.refused) {
            // A corrupt frame must be refused as corrupt, whatever its sender.
            (true, Some(DropCause::Corrupt)) => {}
            (true, _) => self.violate(Check::CorruptFrameAccepted { node: self.name(node) }),
            (false, Some(cause))
                if SENDER_FAULTS.contains(&cause) && !hostile && !self.may_follow_from_trust(cause) =>
            {
                self.violate(Check::HonestFrameRefused { node: self.name(node) });
            }
            (false, _) => {}
        }
    }

    /// Handles a notice of a hostile node. Only the writes of its application count; the rest may be false.
    fn on_hostile_notice(&mut self, node: NodeId, context: usize, notice: Notice) {
        if let Notice::WriteAccepted { operations, actions } = notice {
            self.counts.protocol.writes_accepted += 1;
            self.acknowledge(node, context, operations, actions);
        }
    }

    fn acknowledge(
        &mut self,
        node: NodeId,
        context: usize,
        operations: Vec<Operation>,
        actions: Vec<Action>,
    ) {
        let author = self.world.actor(node).map_or_else(|| replica_id(node), |actor| actor.identity().0);
        let now = self.now();
        self.context_state_mut(context).oracle.acknowledge((node, author), now, operations, actions);
    }

    fn on_notice(&mut self, node: NodeId, context: usize, notice: Notice) {
        match notice {
            Notice::SessionStarted { peer } => {
                // A write may be scheduled into the session, from either side.
                self.counts.on_session_started(node);
                self.maybe_write_during_sync(node, context, peer.into());
            }
            Notice::SessionEnded { peer, started_at, outcome, protocol, stats } => {
                let peer = NodeId::from(peer);
                self.counts.on_session_ended(EndedSession {
                    node,
                    context,
                    peer,
                    started_at,
                    ended_at: self.now(),
                    protocol,
                    outcome: outcome.clone(),
                    stats,
                });
                self.on_outcome(node, context, peer, started_at, outcome);
            }
            Notice::DeltaApplied { actions } => {
                self.counts.protocol.deltas_applied += 1;
                self.counts.protocol.merges_performed += actions;
            }
            Notice::WriteAccepted { operations, actions } => {
                self.counts.protocol.writes_accepted += 1;
                // From the first loss of a disk on, every acknowledged write must survive.
                let certain = self.context_state_mut(context).certain.as_mut();
                if let Some(Err(error)) = certain.map(|certain| certain.apply(&actions)) {
                    self.report_oracle_error(&error.to_string());
                }
                self.acknowledge(node, context, operations, actions);
            }
            Notice::DeltaDiscarded { refusal } => {
                // A hostile member may have signed the delta, and the sender is not known any more.
                if refusal.is_fault_of_author() && self.hostility.roles.is_empty() {
                    self.violate(Check::HonestFrameRefused { node: self.name_in(context, node) });
                }
            }
            Notice::PendingDeltasDropped { deltas } => self.counts.protocol.deltas_dropped += deltas,
            Notice::DeltaRefused { from, .. } => {
                self.counts.protocol.deltas_refused += 1;
                if !self.hostility.roles.is_hostile(from.into()) {
                    self.violate(Check::HonestFrameRefused { node: self.name_in(context, node) });
                }
            }
            Notice::TombstonesCollected { horizon, records } => {
                self.counts.protocol.records_collected += records;
                let state = self.context_state_mut(context);
                state.collected += records;
                if let Some(Err(error)) = state.certain.as_mut().map(|certain| certain.raise_horizon(horizon))
                {
                    self.report_oracle_error(&error.to_string());
                }
            }
            Notice::WriteRefused { .. } => self.counts.protocol.writes_refused += 1,
        }
    }

    fn on_outcome(
        &mut self,
        node: NodeId,
        context: usize,
        peer: NodeId,
        started_at: SimTime,
        outcome: Outcome,
    ) {
        match outcome {
            Outcome::Converged { root } => {
                self.counts.on_session_converged(node);
                self.context_state_mut(context).catching_up.remove(&node);
                let is_adversary = self.hostility.roles.is_hostile(peer);
                if !is_adversary && !self.had_root(context, peer, root, started_at) {
                    let node = self.name_in(context, node);
                    let peer = self.name(peer);
                    self.violate(Check::FalseSuccess { node, peer });
                }
            }
            Outcome::SyncPending(_) => self.counts.protocol.sessions_pending += 1,
            Outcome::Failed(reason) => {
                self.counts.protocol.sessions_failed += 1;
                // A node that made a fresh start and has not caught up looks like one that was left behind.
                let is_catching_up = reason == FailureReason::LeftBehind
                    && [node, peer].iter().any(|side| self.context_state(context).catching_up.contains(side));
                if reason == FailureReason::Timeout {
                    self.counts.effects.timeouts_triggered += 1;
                } else if !is_catching_up && !self.may_end_so(peer, &reason) {
                    let node = self.name_in(context, node);
                    self.violate(Check::ImpossibleOutcome { node, detail: reason.to_string() });
                }
            }
        }
    }

    /// Whether hostile nodes explain a failure that never ends a session between honest members alone.
    fn may_end_so(&self, peer: NodeId, reason: &FailureReason) -> bool {
        let believed = *reason == FailureReason::LeftBehind && !self.hostility.roles.is_value_promised();
        // The pages of a snapshot come from several peers. The lie of one shows only when the snapshot is complete,
        // whichever peer sent the last page.
        let is_mixed_snapshot =
            matches!(reason, FailureReason::SnapshotMismatch { .. }) && !self.hostility.roles.is_empty();
        believed || is_mixed_snapshot || self.hostility.roles.is_hostile(peer)
    }

    fn maybe_write_during_sync(&mut self, node: NodeId, context: usize, peer: NodeId) {
        let rate = self.config.faults.write_during_sync_rate.as_ppm();
        if self.now() >= self.world.chaos_until() {
            // Each write causes syncs and each sync may cause a write: without this end the run would not stop.
            return;
        }
        let choices = self.world.choices_mut();
        if choices.chance(Stream::Workload, Choice::WriteDuringSync, rate) {
            let writer = if choices.below(Stream::Workload, Choice::WriteNode, 2) == 0 { node } else { peer };
            let pause = choices.below(Stream::Workload, Choice::WriteTime, 200_000);
            let op = self.workload.write(choices).in_context(context);
            let at = self.world.now() + SimDuration::from_micros(pause);
            self.world.schedule(at, SimEvent::Op { node: writer, op });
            self.counts.writes_during_sync += 1;
        }
    }

    /// Reports a failed check. The first one ends the run and is the one that counts.
    pub(super) fn violate(&mut self, check: Check) {
        self.violation.get_or_insert(check);
    }

    /// Checks that must pass whenever a run stops: all frames and all buffered deltas are accounted for.
    pub(super) fn check_accounting(&self) -> Option<Check> {
        let fates = self.world.router().fates();
        if !fates.is_balanced() {
            let out = fates.delivered + fates.dropped_total() + fates.in_flight;
            return Some(Check::FatesUnbalanced { in_: fates.sent + fates.duplicated, out });
        }
        let unbalanced =
            |replica: &&SimReplica| replica.replica().is_some_and(|replica| !replica.is_buffer_balanced());
        let found =
            self.world.actors().find_map(|(node, actor)| Some((node, actor.replicas().find(unbalanced)?)));
        let (node, replica) = found?;
        Some(Check::BufferUnbalanced { node: self.name_in(replica.number(), node) })
    }

    /// Checks that must pass when all nodes agree: they show what was written (C6) and their indexes follow from
    /// their records (L4).
    pub(super) fn final_checks(&self) -> Option<Check> {
        (0..self.contexts()).find_map(|context| self.final_check_of(context))
    }

    /// [`final_checks`](Self::final_checks) of one context.
    pub(super) fn final_check_of(&self, context: usize) -> Option<Check> {
        // An insider may make the honest nodes agree on false values, so only the index is checked.
        if !self.hostility.roles.is_value_promised() {
            return self.check_index(context);
        }
        if let Some(certain) = &self.context_state(context).certain {
            return self.check_with_losses(context, certain).or_else(|| self.check_index(context));
        }
        let values = self.check_values_of(context);
        values
            .or_else(|| self.check_hidden(context))
            .or_else(|| self.check_index(context))
            .or_else(|| self.check_disk_of(context))
    }

    /// **C6**: compares what every replica shows with what all acknowledged writes imply, and reports the first
    /// entity that is shown wrong. May be called at any time; a write that has not arrived yet is reported too.
    /// O(writes log writes + records of all nodes).
    pub fn check_values(&self) -> Option<Check> {
        (0..self.contexts()).find_map(|context| self.check_values_of(context))
    }

    fn check_values_of(&self, context: usize) -> Option<Check> {
        let named = |(node, replica)| (node, self.name_in(context, node), replica);
        let nodes: Vec<_> = self.honest_in(context).map(named).collect();
        // The seed chooses the node that is read first; division decorrelates it from the choice in
        // `check_index`.
        let first = (self.config.seed / 7 % (nodes.len() as u64).max(1)) as usize;
        let found = self.oracle_of_arrived(context).and_then(|oracle| oracle.find_mismatch(&nodes, first));
        found.unwrap_or_else(|error| {
            Some(Check::Internal { part: SimPart::Reader, detail: error.to_string() })
        })
    }

    /// The oracle of the writes that must be visible: all, except for writes of hostile nodes that have not arrived.
    fn oracle_of_arrived(&self, context: usize) -> Result<Cow<'_, Oracle>, StorageError> {
        let roles = &self.hostility.roles;
        let oracle = self.oracle(context);
        let Some((_, replica)) = self.honest_in(context).next().filter(|_| !roles.is_empty()) else {
            return Ok(Cow::Borrowed(oracle));
        };
        oracle.arrived(roles, replica.state()?, &self.covered_by_honest(context)).map(Cow::Owned)
    }

    /// Invisible records must be the join of what was written too. Once tombstones were collected, the records
    /// depend on when that happened and are not compared.
    fn check_hidden(&self, context: usize) -> Option<Check> {
        if self.context_state(context).collected > 0 {
            return None;
        }
        let (first, replica) = self.honest_in(context).next()?;
        let beside_adversaries = !self.hostility.roles.is_empty();
        let compared = self.oracle_of_arrived(context).map_err(ApplyError::from);
        let compared = compared.and_then(|oracle| {
            oracle.hidden_difference(self.root_in(context, first), replica.disk(), beside_adversaries)
        });
        let detail = match compared {
            Ok(difference) => difference?,
            Err(error) => error.to_string(),
        };
        Some(Check::HiddenDifference { node: self.name_in(context, first), detail })
    }

    /// **L4**: rebuilds the index of one node from its records and compares the roots. O(n log n).
    fn check_index(&self, context: usize) -> Option<Check> {
        // The seed chooses the node: rebuilding all indexes would cost more than the run itself.
        let honest = self.honest().count() as u64;
        let chosen = (self.config.seed + context as u64) % honest.max(1);
        let (node, replica) = self.honest_in(context).nth(chosen as usize)?;
        let rebuilt = replica.state().and_then(|state| state.rebuilt_root());
        let drifted = rebuilt != Ok(self.root_in(context, node));
        drifted.then(|| Check::IndexDrifted { node: self.name_in(context, node) })
    }
}

/// The first context whose replica stopped by itself, and its error.
fn stopped(actor: &SimNode) -> Option<(usize, String)> {
    actor.replicas().find_map(|replica| Some((replica.number(), replica.stopped()?.to_owned())))
}
