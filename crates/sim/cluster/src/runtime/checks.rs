//! Shows the [checks](crate::checks) what a run does. They observe every event and never steer the run.

use crate::budgets::IdlePauses;
use crate::checks::{
    self, CheckMemory, CheckedStep, ContextView, Hazards, InspectedReplica, RowScratch, Watched,
};
use crate::hostile::HostileRoles;
use crate::node::{ContextNotice, SimNode, SimReplica, TimerId, replica_id};
use crate::oracle::{Acknowledgement, Oracle};
use crate::runtime::sessions::EndedSession;
use crate::runtime::sim_runtime::SimRuntime;
use crate::verdict::Check;
use sync_sim_engine::event::SimEvent;
use sync_sim_engine::network::Fates;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::random::Stream;
use sync_sim_engine::world::{ProgressCount, StepReport};
use syncline_replica::{Notice, Operation, Timer};
use syncline_storage::Action;
use syncline_sync::{FailureReason, LocalSyncState, Outcome, VersionVector};
use syncline_types::{Choice, Digest, Hlc, SimDuration, SimTime};

impl Watched for SimRuntime {
    fn now(&self) -> SimTime {
        self.world.now()
    }

    fn wall_ms(&self, node: NodeId) -> u64 {
        self.world.wall_ms(node)
    }

    fn name(&self, node: NodeId) -> String {
        Self::name(self, node)
    }

    fn name_in(&self, context: usize, node: NodeId) -> String {
        Self::name_in(self, context, node)
    }

    fn nodes(&self) -> usize {
        self.world.len()
    }

    fn actor(&self, node: NodeId) -> Option<&SimNode> {
        self.world.actor(node)
    }

    fn root_in(&self, context: usize, node: NodeId) -> Digest {
        // The engine caches the digest of a node, which is the root if it has one context.
        if self.contexts() == 1 {
            return self.world.digest(node);
        }
        self.replica(context, node).map_or(Digest::ZERO, SimReplica::root)
    }

    fn had_root(&self, context: usize, (_, peer): (NodeId, NodeId), root: Digest, since: SimTime) -> bool {
        Self::had_root(self, context, peer, root, since)
    }

    fn is_sampled(&self, context: usize, node: NodeId, of: u8) -> bool {
        // The root chooses: an equal state is equally right.
        self.root_in(context, node).0[0].is_multiple_of(of)
    }

    fn roles(&self) -> &HostileRoles {
        &self.hostility.roles
    }

    fn is_catching_up(&self, context: usize, node: NodeId) -> bool {
        self.context_state(context).catching_up.contains(&node)
    }

    fn shortens_sessions(&self) -> bool {
        self.config.replica.shortens_sessions()
    }

    fn is_naming(&self) -> bool {
        Self::is_naming(self)
    }

    fn names_late(&self) -> bool {
        !self.namings().is_empty()
    }

    fn longest_pause(&self) -> SimDuration {
        self.world.longest_pause()
    }

    fn has_losses(&self, context: usize) -> bool {
        self.context_state(context).certain.is_some()
    }

    fn joined_root(
        &self,
        context: usize,
        node: NodeId,
        covered: &VersionVector,
        horizon: Hlc,
    ) -> Option<Digest> {
        self.oracle(context).joined_root(node, covered, horizon).ok()
    }

    fn honest_replicas(&self) -> u64 {
        let hostile = self.hostility.roles.hostile().count();
        assert!(hostile <= self.world.len(), "every hostile node is a node of the run");
        ((self.world.len() - hostile) * self.contexts()) as u64
    }

    fn records(&self) -> u64 {
        let replicas = self.world.actors().flat_map(|(_, actor)| SimNode::replicas(actor));
        replicas.map(LocalSyncState::entity_count).sum()
    }

    fn progress(&self) -> ProgressCount {
        self.world.progress()
    }

    fn last_arrival(&self) -> SimTime {
        self.world.last_arrival()
    }

    fn is_undisturbed(&self) -> bool {
        let tally = self.world.pending_work();
        tally.down == 0
            && tally.away == 0
            && tally.ops == 0
            && !self.has_pending_script()
            && !self.world.router().partitions().any_up(self.now())
    }

    fn is_quiet(&self) -> bool {
        self.world.pending_work().is_quiet()
    }

    fn frame_limit(&self) -> usize {
        self.config.frame_limit()
    }

    fn bytes_sent(&self) -> Option<u64> {
        Some(self.world.router().bytes_sent())
    }

    fn bytes_put(&self) -> u64 {
        let replicas = self.world.actors().flat_map(|(_, actor)| SimNode::replicas(actor));
        replicas.map(SimReplica::bytes_put).sum()
    }

    fn idle_pauses(&self) -> IdlePauses {
        IdlePauses { heartbeat: self.config.replica.heartbeat_max, backoff: self.config.replica.backoff_max }
    }

    fn fates(&self) -> Option<&Fates> {
        Some(self.world.router().fates())
    }

    fn hazards(&self) -> Hazards {
        Self::hazards(self)
    }

    fn has_collected(&self, context: usize) -> bool {
        self.context_state(context).collected > 0
    }

    fn oracle(&self, context: usize) -> Option<&Oracle> {
        Some(&self.context_state(context).oracle)
    }

    fn has_timer(&self, replica: &SimReplica, timer: Timer) -> Option<bool> {
        let id = TimerId::from(timer).number_in(replica.number() as u8);
        Some(self.world.has_timer(replica.node(), id))
    }
}

impl SimRuntime {
    /// Shows the checks what an event did, and counts it.
    pub(super) fn observe(&mut self, stepped: StepReport<ContextNotice>) {
        if let Some(node) = stepped.node {
            self.record_roots(node, stepped.undone);
        }
        if stepped.restarted
            && let Some(node) = stepped.node
        {
            self.on_restarted(node);
            if self.replaced_disks.remove(&node) {
                self.maybe_write_after_replacement(node);
            }
        }
        if stepped.disk_replaced
            && let Some(node) = stepped.node
        {
            self.on_disk_replaced(node);
        }
        // Roots are recorded first: the checks on session endings ask for the roots within this instant.
        self.run_checks(&stepped);
        if self.world.is_recording() {
            self.record_notices(&stepped);
        }
        self.counts.on_step(&stepped);
        let Some(node) = stepped.node else { return };
        self.count_hostile_effects(&stepped);
        self.take_notices(node, stepped.notices);
        self.check_moment();
    }

    fn take_notices(&mut self, node: NodeId, notices: Vec<ContextNotice>) {
        let on_hostile = self.hostility.roles.is_hostile(node);
        for ContextNotice { context, notice } in notices {
            let context = usize::from(context);
            if on_hostile {
                self.on_hostile_notice(node, context, notice);
            } else {
                self.on_notice(node, context, notice);
            }
        }
    }

    fn run_checks(&mut self, stepped: &StepReport<ContextNotice>) {
        let step = CheckedStep::of(stepped);
        // The checks remember what they need apart from the run, which they only read.
        let Some(mut watch) = self.watch.take() else { unreachable!("the checks are there between events") };
        let stuck = checks::after_progress(&mut watch.progress, &step, self);
        let broken = checks::after_step(&mut watch.memory, &step, self);
        let stopped = stepped.node.and_then(|node| self.check_node(node));
        self.watch = Some(watch);
        for check in [stuck, broken, stopped].into_iter().flatten() {
            self.violate(check);
        }
    }

    /// A replica that stops by itself, hostile or not, ends the run; so does an honest one that exceeds a budget.
    fn check_node(&self, node: NodeId) -> Option<Check> {
        let actor = self.world.actor(node)?;
        let is_honest = !self.hostility.roles.is_hostile(node);
        let fails = |replica: &&SimReplica| {
            replica.stopped().is_some() || is_honest && replica.over_budget().is_some()
        };
        let failed = actor.replicas().find(fails)?;
        checks::of_replica(&self.inspected(node, failed), &mut RowScratch::default())
    }

    /// If a moment for it has come, checks one honest replica, and the states of its context together.
    fn check_moment(&mut self) {
        let events = self.events_processed();
        let Some(choice) = self.watch.as_mut().and_then(|watch| watch.moments.after(events)) else { return };
        let contexts = self.contexts() as u64;
        let view = self.context_view((choice % contexts) as usize, self.check_memory());
        let view = ContextView { turn: choice, ..view };
        let replicas = view.nodes.len() as u64;
        // Without an honest replica there is nothing to check.
        let Some(chosen) = view.nodes.get((choice / contexts % replicas.max(1)) as usize) else { return };
        let found =
            checks::of_replica(chosen, &mut RowScratch::default()).or_else(|| checks::of_states(&view));
        found.into_iter().for_each(|check| self.violate(check));
    }

    fn inspected<'a>(&self, node: NodeId, replica: &'a SimReplica) -> InspectedReplica<'a> {
        InspectedReplica {
            node,
            name: self.name_in(replica.number(), node),
            replica,
            root: self.root_in(replica.number(), node),
        }
    }

    fn context_view<'a>(&'a self, context: usize, memory: &'a CheckMemory) -> ContextView<'a> {
        let state = self.context_state(context);
        let nodes = self.honest_in(context).map(|(node, replica)| self.inspected(node, replica)).collect();
        ContextView {
            context,
            contexts: self.contexts(),
            nodes,
            seed: self.config.seed,
            turn: 0,
            oracle: &state.oracle,
            joined: None,
            certain: state.certain.as_ref(),
            has_collected: state.collected > 0,
            roles: &self.hostility.roles,
            is_complete: self.world.actors().count() == self.world.len(),
            is_undisturbed: Watched::is_undisturbed(self),
            give_ups: &memory.give_ups,
            hazards: self.hazards(),
        }
    }

    fn check_memory(&self) -> &CheckMemory {
        let Some(watch) = &self.watch else { unreachable!("the checks are there between events") };
        &watch.memory
    }

    /// Handles a notice of a hostile node. The writes of its application count, and what a member has collected; the rest may
    /// be false.
    fn on_hostile_notice(&mut self, node: NodeId, context: usize, notice: Notice) {
        match notice {
            Notice::WriteAccepted { operations, actions } => {
                self.counts.protocol.writes_accepted += 1;
                self.acknowledge(node, context, operations, actions);
            }
            // A member's state without these records may be all that the others receive.
            Notice::TombstonesCollected { records, .. } if !self.hostility.roles.is_outsider(node) => {
                self.context_state_mut(context).collected += records;
            }
            _ => {}
        }
    }

    pub(super) fn acknowledge(
        &mut self,
        node: NodeId,
        context: usize,
        operations: Vec<Operation>,
        actions: Vec<Action>,
    ) {
        let at = self.now();
        let actor = self.world.actor(node);
        let author = actor.map_or_else(|| replica_id(node), |actor| actor.identity().0);
        let seen = actor.and_then(|actor| actor.replica_of(context)).map(LocalSyncState::covered);
        let acknowledgement = Acknowledgement { node, author, at, seen: seen.unwrap_or_default() };
        self.context_state_mut(context).oracle.acknowledge(acknowledgement, operations, actions);
    }

    fn on_notice(&mut self, node: NodeId, context: usize, notice: Notice) {
        match notice {
            Notice::SessionStarted { peer } => {
                // A write may be scheduled into the session, from either side.
                self.counts.on_session_started(node);
                self.maybe_write_during_sync(node, context, peer.into());
            }
            Notice::SessionEnded { peer, started_at, outcome, protocol, stats } => {
                self.count_outcome(node, context, &outcome);
                self.counts.on_session_ended(EndedSession {
                    node,
                    context,
                    peer: peer.into(),
                    started_at,
                    ended_at: self.now(),
                    protocol,
                    outcome,
                    stats,
                });
            }
            Notice::DeltaApplied { actions, .. } => {
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
            Notice::WriteReissued { former, former_actions, delta, actions } => {
                let oracle = &mut self.context_state_mut(context).oracle;
                oracle.reissue(former, &former_actions, delta, actions);
            }
            Notice::PendingDeltasDropped { deltas } => {
                self.counts.protocol.deltas_dropped += deltas.len() as u64;
            }
            Notice::DeltaRefused { .. } => self.counts.protocol.deltas_refused += 1,
            Notice::TombstonesCollected { horizon, records } => {
                self.counts.protocol.records_collected += records;
                let state = self.context_state_mut(context);
                // A raise of the horizon counts, too, if nothing below it could be removed: a joiner with a clock that is behind
                // claims what all had seen by then, and withholds records that have something newer as well.
                state.collected += records.max(1);
                if let Some(Err(error)) = state.certain.as_mut().map(|certain| certain.raise_horizon(horizon))
                {
                    self.report_oracle_error(&error.to_string());
                }
                if records > 0 {
                    self.maybe_write_after_collection(node, context);
                }
                self.maybe_write_around_collection(node, context, records == 0);
            }
            Notice::WriteRefused { .. } => self.counts.protocol.writes_refused += 1,
            // Only the checks ask which deltas these are.
            // The explanation of a run names who is ahead at its end. Only the checks ask which deltas were left.
            Notice::AheadOfTime(_)
            | Notice::DeltaDiscarded { .. }
            | Notice::DeltaOverflowed { .. }
            | Notice::HistoryConflict { .. }
            | Notice::LegacyRecovered { .. } => {}
        }
    }

    fn count_outcome(&mut self, node: NodeId, context: usize, outcome: &Outcome) {
        match outcome {
            Outcome::Converged { .. } => {
                self.counts.on_session_converged(node);
                self.context_state_mut(context).catching_up.remove(&node);
            }
            Outcome::SyncPending(_) => self.counts.protocol.sessions_pending += 1,
            Outcome::Failed(reason) => {
                self.counts.protocol.sessions_failed += 1;
                let timed_out = *reason == FailureReason::Timeout;
                self.counts.effects.timeouts_triggered += u64::from(timed_out);
            }
        }
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
        let all = self.world.actors().flat_map(|(node, actor)| {
            SimNode::replicas(actor).map(move |replica| self.inspected(node, replica))
        });
        checks::of_accounts(self, &all.collect::<Vec<_>>())
    }

    /// The checks of a run that has stopped by itself; those of final states too if all nodes have `converged`.
    pub(super) fn check_stop(&self, converged: bool) -> Option<Check> {
        (0..self.contexts()).find_map(|context| self.check_stop_of(context, converged))
    }

    /// [`check_stop`](Self::check_stop) of one context.
    pub(super) fn check_stop_of(&self, context: usize, converged: bool) -> Option<Check> {
        checks::at_stop(&self.context_view(context, self.check_memory()), converged)
    }

    /// **C6**: compares what every replica shows with what all acknowledged writes imply, and reports the first
    /// entity that is shown wrong. May be called at any time; a write that has not arrived yet is reported too.
    /// O(writes log writes + records of all nodes).
    pub fn check_values(&self) -> Option<Check> {
        let view = |context| self.context_view(context, self.check_memory());
        (0..self.contexts()).find_map(|context| view(context).wrong_value())
    }

    /// Whether no node has work to do although all have heard that their roots differ.
    pub(super) fn is_stuck(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.progress.is_idle(self.honest_replicas()))
    }

    /// Counts as progress what happened since the last event: a test may have changed anything.
    pub(super) fn restart_progress(&mut self) {
        let progress = self.world.progress();
        let now = self.now();
        let arrived_by = self.world.last_arrival();
        if let Some(watch) = &mut self.watch {
            watch.progress.restart(progress, now, arrived_by);
        }
    }
}
