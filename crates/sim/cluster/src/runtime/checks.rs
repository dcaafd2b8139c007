//! The checkers: they see every event, and steer none.

/// Why no frame of a member's is ever refused.
pub const BLAMED: [DropCause; 6] = [
    DropCause::Corrupt,
    DropCause::Malformed,
    DropCause::NotAMember,
    DropCause::BadSignature,
    DropCause::LeftBehind,
    DropCause::OtherContext,
];

use crate::node::{Noticed, SimNode, SimReplica, replica_id};
use crate::oracle::Oracle;
use crate::runtime::sessions::EndedSession;
use crate::runtime::sim_runtime::SimRuntime;
use crate::verdict::Check;
use std::borrow::Cow;
use sync_sim_engine::event::SimEvent;
use sync_sim_engine::network::DropCause;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::random::Stream;
use sync_sim_engine::world::StepReport;
use syncline_replica::{Notice, Operation};
use syncline_storage::{Action, ApplyError, StorageError};
use syncline_sync::{DeltaRefusal, FailureReason, Outcome, SessionStats, SyncProtocolKind};
use syncline_types::{Choice, SimDuration, SimTime};

/// Whether only who made a delta can be to blame for this.
const fn is_blamed(refusal: DeltaRefusal) -> bool {
    matches!(refusal, DeltaRefusal::Malformed | DeltaRefusal::NotAMember | DeltaRefusal::BadSignature)
}

impl SimRuntime {
    /// Lets the checkers see what an event did.
    pub(super) fn observe(&mut self, stepped: StepReport<Noticed>) {
        if let Some(node) = stepped.node {
            self.note_roots(node, stepped.undone);
        }
        self.attend(&stepped);
        if self.world.is_recording() {
            self.note_in_history(&stepped);
        }
        self.effects.node_crashes += u64::from(stepped.crashed);
        self.effects.node_restarts += u64::from(stepped.restarted);
        self.protocol.writes_refused += u64::from(stepped.op_refused);
        let Some(node) = stepped.node else { return };
        if stepped.restarted {
            self.on_restarted(node);
        }
        let hostile = self.note_hostility(&stepped);
        if stepped.stale_accepted && !hostile {
            self.violate(Check::StaleFrameAccepted { node: self.name(node) });
        }
        let on_hostile = self.hostility.cast.is_hostile(node);
        for Noticed { context, notice } in stepped.notices {
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
            (true, Some(DropCause::Corrupt)) => {}
            (true, _) => self.violate(Check::CorruptFrameAccepted { node: self.name(node) }),
            (false, Some(cause))
                if BLAMED.contains(&cause) && !hostile && !self.may_follow_from_trust(cause) =>
            {
                self.violate(Check::HonestFrameRefused { node: self.name(node) });
            }
            (false, _) => {}
        }
    }

    /// What a hostile node says of itself: only what its application wrote counts.
    fn on_hostile_notice(&mut self, node: NodeId, context: usize, notice: Notice) {
        if let Notice::WriteAccepted { operations, actions } = notice {
            self.protocol.writes_accepted += 1;
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
        self.kept_mut(context).oracle.acknowledge((node, author), now, operations, actions);
    }

    fn on_notice(&mut self, node: NodeId, context: usize, notice: Notice) {
        match notice {
            Notice::SessionStarted { peer } => {
                self.protocol.sessions_started += 1;
                self.syncs.entry(node).or_default().0 += 1;
                self.maybe_write_during_sync(node, context, peer.into());
            }
            Notice::SessionEnded { peer, started_at, outcome, protocol, stats } => {
                self.count_session(protocol, &stats);
                let (peer, ended_at) = (peer.into(), self.now());
                self.sessions.push(EndedSession {
                    node,
                    context,
                    peer,
                    started_at,
                    ended_at,
                    protocol,
                    outcome: outcome.clone(),
                    stats,
                });
                self.on_outcome(node, context, peer, started_at, outcome);
            }
            Notice::DeltaApplied { actions } => {
                self.protocol.deltas_applied += 1;
                self.protocol.merges_performed += actions;
            }
            Notice::WriteAccepted { operations, actions } => {
                self.protocol.writes_accepted += 1;
                let certain = self.kept_mut(context).certain.as_mut();
                if let Some(Err(error)) = certain.map(|certain| certain.apply(&actions)) {
                    self.violate_oracle(&error.to_string());
                }
                self.acknowledge(node, context, operations, actions);
            }
            Notice::DeltaDiscarded { refusal } => {
                // One that a hostile member signed may have waited and be against the rules.
                let blamed = is_blamed(refusal);
                if blamed && self.hostility.cast.is_empty() {
                    self.violate(Check::HonestFrameRefused { node: self.name_in(context, node) });
                }
            }
            Notice::DeltasStranded { deltas } => self.protocol.deltas_stranded += deltas,
            Notice::DeltaRefused { from, .. } => {
                self.protocol.deltas_refused += 1;
                if !self.hostility.cast.is_hostile(from.into()) {
                    self.violate(Check::HonestFrameRefused { node: self.name_in(context, node) });
                }
            }
            Notice::TombstonesCollected { horizon, records } => {
                self.protocol.records_forgotten += records;
                let kept = self.kept_mut(context);
                kept.forgotten += records;
                if let Some(Err(error)) = kept.certain.as_mut().map(|certain| certain.raise_horizon(horizon))
                {
                    self.violate_oracle(&error.to_string());
                }
            }
            Notice::WriteRefused { .. } => self.protocol.writes_refused += 1,
        }
    }

    fn count_session(&mut self, protocol: Option<SyncProtocolKind>, stats: &SessionStats) {
        self.protocol.round_trips += stats.round_trips;
        self.protocol.entities_compared += stats.entities_compared;
        self.protocol.hash_comparisons += stats.walks;
        self.protocol.entities_transferred += stats.records_received + stats.records_pushed;
        self.protocol.deltas_applied += stats.deltas_received;
        self.protocol.merges_performed += stats.records_received + stats.records_pushed;
        self.effects.retries_performed += stats.retries;
        self.effects.timeouts_triggered += stats.retries;
        match protocol {
            Some(SyncProtocolKind::DeltaSync) => self.protocol.delta_syncs += 1,
            Some(SyncProtocolKind::Snapshot) => self.protocol.snapshots += 1,
            Some(SyncProtocolKind::BloomFilter) => self.protocol.bloom_filters += 1,
            Some(SyncProtocolKind::SubtreePrefetch) => self.protocol.subtree_prefetches += 1,
            Some(SyncProtocolKind::LevelWise) => self.protocol.level_walks += 1,
            Some(SyncProtocolKind::RatelessIblt) => self.protocol.sketches += 1,
            // Walks are counted as such, since other protocols may end in one.
            Some(SyncProtocolKind::None | SyncProtocolKind::HashComparison) | None => {}
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
                self.protocol.sessions_converged += 1;
                self.syncs.entry(node).or_default().1 += 1;
                self.kept_mut(context).catching_up.remove(&node);
                let liar = self.hostility.cast.is_hostile(peer);
                if !liar && !self.had_root(context, peer, root, started_at) {
                    let (node, peer) = (self.name_in(context, node), self.name(peer));
                    self.violate(Check::FalseSuccess { node, peer });
                }
            }
            Outcome::Owed(_) => self.protocol.sessions_owed += 1,
            Outcome::Failed(reason) => {
                self.protocol.sessions_failed += 1;
                // What one knows by half that has begun afresh cannot be told from what it never saw.
                let by_half = reason == FailureReason::LeftBehind
                    && [node, peer].iter().any(|side| self.kept(context).catching_up.contains(side));
                if reason == FailureReason::Timeout {
                    self.effects.timeouts_triggered += 1;
                } else if !by_half && !self.may_end_so(peer, &reason) {
                    let node = self.name_in(context, node);
                    self.violate(Check::ImpossibleOutcome { node, detail: reason.to_string() });
                }
            }
        }
    }

    /// Whether a session with this peer may end so, as one between honest members may not.
    fn may_end_so(&self, peer: NodeId, reason: &FailureReason) -> bool {
        let believed = *reason == FailureReason::LeftBehind && !self.hostility.cast.is_value_promised();
        // A snapshot comes from several peers. That one of them lied shows when it is whole, whoever gave the end.
        let patched =
            matches!(reason, FailureReason::SnapshotMismatch { .. }) && !self.hostility.cast.is_empty();
        believed || patched || self.hostility.cast.is_hostile(peer)
    }

    fn maybe_write_during_sync(&mut self, node: NodeId, context: usize, peer: NodeId) {
        let rate = self.config.faults.write_during_sync_rate.as_ppm();
        if self.now() >= self.world.chaos_until() {
            // Each write makes syncs, and each sync may make a write: without an end there is none.
            return;
        }
        let choices = self.world.choices_mut();
        if choices.chance(Stream::Workload, Choice::WriteDuringSync, rate) {
            let whom = if choices.below(Stream::Workload, Choice::WriteNode, 2) == 0 { node } else { peer };
            let pause = choices.below(Stream::Workload, Choice::WriteTime, 200_000);
            let op = self.workload.write(choices).in_context(context);
            let at = self.world.now() + SimDuration::from_micros(pause);
            self.world.schedule(at, SimEvent::Op { node: whom, op });
            self.writes_into_syncs += 1;
        }
    }

    pub(super) fn violate(&mut self, check: Check) {
        self.violation.get_or_insert(check);
    }

    /// What must hold whenever a run stops.
    pub(super) fn accounts(&self) -> Option<Check> {
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

    /// What must hold when all nodes agree: that it is what was written, and that the index says so.
    pub(super) fn final_checks(&self) -> Option<Check> {
        (0..self.contexts()).find_map(|context| self.final_check_of(context))
    }

    /// The same, of one context.
    pub(super) fn final_check_of(&self, context: usize) -> Option<Check> {
        if !self.hostility.cast.is_value_promised() {
            return self.check_index(context);
        }
        if let Some(certain) = &self.kept(context).certain {
            return self.check_with_losses(context, certain).or_else(|| self.check_index(context));
        }
        let values = self.check_values_of(context);
        values.or_else(|| self.check_hidden(context)).or_else(|| self.check_index(context))
    }

    /// **C6**: compares what every replica shows with what all acknowledged writes imply, and names the first
    /// entity that is shown wrong. May be asked at any time; what has not arrived yet is wrong too.
    /// O(writes log writes + records of all nodes).
    pub fn check_values(&self) -> Option<Check> {
        (0..self.contexts()).find_map(|context| self.check_values_of(context))
    }

    fn check_values_of(&self, context: usize) -> Option<Check> {
        let named = |(node, replica)| (node, self.name_in(context, node), replica);
        let nodes: Vec<_> = self.honest_in(context).map(named).collect();
        let first = (self.config.seed / 7 % (nodes.len() as u64).max(1)) as usize;
        let wrong = self.oracle_of_arrived(context).and_then(|oracle| oracle.wrong_value(&nodes, first));
        wrong.unwrap_or_else(|error| {
            Some(Check::ReplicaStopped { node: "a replica that was read".into(), detail: error.to_string() })
        })
    }

    /// The writes that must be seen: all, but for those of hostile nodes that have not arrived.
    fn oracle_of_arrived(&self, context: usize) -> Result<Cow<'_, Oracle>, StorageError> {
        let (cast, oracle) = (&self.hostility.cast, self.oracle(context));
        let Some((_, replica)) = self.honest_in(context).next().filter(|_| !cast.is_empty()) else {
            return Ok(Cow::Borrowed(oracle));
        };
        oracle.arrived(cast, replica.state()?, &self.covered_by_honest(context)).map(Cow::Owned)
    }

    /// What nobody sees must be the join of what was written as well. Once something was forgotten it
    /// depends on when that was, so it is not compared.
    fn check_hidden(&self, context: usize) -> Option<Check> {
        if self.kept(context).forgotten > 0 {
            return None;
        }
        let (first, replica) = self.honest_in(context).next()?;
        let beside_liars = !self.hostility.cast.is_empty();
        let compared = self.oracle_of_arrived(context).map_err(ApplyError::from);
        let compared = compared.and_then(|oracle| {
            oracle.hidden_difference(self.root_in(context, first), replica.disk(), beside_liars)
        });
        let detail = match compared {
            Ok(difference) => difference?,
            Err(error) => error.to_string(),
        };
        Some(Check::HiddenDifference { node: self.name_in(context, first), detail })
    }

    fn check_index(&self, context: usize) -> Option<Check> {
        // One node's index is rebuilt, another in every run: rebuilding all would cost more than the run.
        let honest = self.honest().count() as u64;
        let chosen = (self.config.seed + context as u64) % honest.max(1);
        let (node, replica) = self.honest_in(context).nth(chosen as usize)?;
        let rebuilt = replica.state().and_then(|state| state.rebuilt_root());
        let drifted = rebuilt != Ok(self.root_in(context, node));
        drifted.then(|| Check::IndexDrifted { node: self.name_in(context, node) })
    }
}

/// The context whose replica stopped by itself, if one did, and why.
fn stopped(actor: &SimNode) -> Option<(usize, String)> {
    actor.replicas().find_map(|replica| Some((replica.number(), replica.stopped()?.to_owned())))
}
