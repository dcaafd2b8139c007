//! The invariants of a search: what must hold after every step and in every state.

use crate::Explorable;
use crate::state_hash::StateHasher;
use std::collections::{BTreeMap, BTreeSet};
use sync_sim_cluster::budgets::IdlePauses;
use sync_sim_cluster::checks::{
    self, CheckMemory, CheckedStep, ContextView, Hazards, InspectedReplica, ProgressWatch, Watched,
};
use sync_sim_cluster::hostile::HostileRoles;
use sync_sim_cluster::node::{ContextNotice, SimNode, SimReplica};
use sync_sim_cluster::oracle::{Acknowledgement, Oracle, ReferenceState};
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_cluster::verdict::{Check, SimPart};
use sync_sim_engine::actor::Actor;
use sync_sim_engine::network::{DropCause, Fates};
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::world::{FrameSize, ProgressCount};
use syncline_replica::Notice;
use syncline_sync::{Dot, LocalSyncState, VersionVector};
use syncline_types::{Digest, Encode, Hlc, SimDuration, SimTime};

/// One step of one node, as the invariants see it.
#[derive(Debug)]
pub struct ObservedStep<'a, A: Actor> {
    /// The node that took the step.
    pub node: NodeId,
    /// The notices that the step gave.
    pub notices: &'a [A::Notice],
    /// The sender and the kind of the frame, if the input was one.
    pub frame: Option<(NodeId, u8)>,
    /// Why the frame took no effect, if the input was a frame that the node refused.
    pub refused: Option<DropCause>,
    /// The largest frame that the step sent.
    pub largest_sent: Option<FrameSize>,
    /// Whether the frame took effect although the node had accepted one of a later incarnation of its sender.
    pub stale_accepted: bool,
    /// Whether the node crashed in the step.
    pub went_down: bool,
    /// The digest of the node before the step.
    pub before: Digest,
    /// The digests of all nodes after the step, by node.
    pub digests: &'a [Digest],
    /// All nodes after the step. Of other nodes than that of the step, only their digests may be read, unless
    /// [`Invariants::reads_states`] says otherwise.
    pub actors: &'a [&'a A],
}

/// How far a continuation without faults has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FairRun {
    /// The time.
    pub now: SimTime,
    /// The progress since the continuation began.
    pub progress: ProgressCount,
    /// Whether all nodes are up and linked, and all writes are made.
    pub is_undisturbed: bool,
    /// Whether nothing is pending.
    pub is_quiet: bool,
}

/// What must hold in every state. An implementation may remember earlier steps. Its memory is part of the state
/// of the search, so it should not depend on the order of independent steps: otherwise states that are equal
/// but for that order are not merged.
pub trait Invariants<A: Explorable>: Clone {
    /// Called after a step. Returns the invariant that the step violates, if any. The result may depend only on
    /// the memory and the arguments.
    fn observe(&mut self, step: &ObservedStep<'_, A>) -> Option<Check>;

    /// Whether [`Invariants::observe`] reads the states of other nodes after a step with these notices. Such steps
    /// are observed again in each state of the world.
    fn reads_states(&self, notices: &[A::Notice]) -> bool {
        let _ = notices;
        false
    }

    /// The size of frames in bytes above which [`Invariants::observe`] sees every step that sends one. Steps that
    /// change no digest and report nothing are not observed otherwise.
    fn notable_frame(&self) -> usize {
        usize::MAX
    }

    /// Called after each step of a continuation without faults, in which progress must be made. Returns the
    /// invariant of progress that is violated, if any. `watch` is new at the beginning of a continuation.
    fn observe_fair(
        &self,
        watch: &mut ProgressWatch,
        step: &ObservedStep<'_, A>,
        fair: &FairRun,
    ) -> Option<Check> {
        let _ = (watch, step, fair);
        None
    }

    /// The violation that explains why a continuation without faults does not converge, if there is one.
    fn explain_stuck(&self, actors: &[&A]) -> Option<Check> {
        let _ = actors;
        None
    }

    /// Called when the disk of a node was replaced. Returns the invariant that is violated, if any.
    fn on_disk_replaced(&mut self, node: NodeId, actors: &[&A]) -> Option<Check> {
        let _ = (node, actors);
        None
    }

    /// Writes the whole memory.
    fn write_state(&self, out: &mut StateHasher);

    /// The invariant that a state violates, if any. `settled` states that nothing is pending and all digests are
    /// equal. Called once for each combination of memory, `settled`, and what [`Explorable::write_judged`] writes
    /// of each actor, so the result must depend on nothing else.
    fn judge(&self, actors: &[&A], settled: bool) -> Option<Check>;
}

/// The invariants of the real replica: [all checks](sync_sim_cluster::checks) of the simulator.
#[derive(Clone, Debug)]
pub struct ReplicaInvariants {
    names: Vec<String>,
    seed: u64,
    frame_limit: usize,
    /// The accepted writes, in the order of acceptance. What they imply depends on their set only.
    oracle: Oracle,
    /// The digests of the accepted writes, by node, in the node's order: they identify the set. The join does not,
    /// once tombstones were collected.
    written: BTreeMap<NodeId, Vec<Digest>>,
    /// The join of the accepted writes.
    joined: ReferenceState,
    /// The root hash of that join.
    expected: Digest,
    /// Whether tombstones were collected.
    collected: bool,
    hazards: Hazards,
    /// The sessions in progress, by initiator and responder, with every root that the responder had meanwhile.
    sessions: BTreeMap<(NodeId, NodeId), BTreeSet<Digest>>,
    memory: CheckMemory,
    /// Nobody: only honest nodes take part.
    roles: HostileRoles,
}

/// A step of an exploration, as the checks see it.
struct ExploredWorld<'a> {
    invariants: &'a ReplicaInvariants,
    step: &'a ObservedStep<'a, SimNode>,
    fair: FairRun,
}

impl Watched for ExploredWorld<'_> {
    fn now(&self) -> SimTime {
        self.fair.now
    }

    fn wall_ms(&self, _: NodeId) -> u64 {
        // Clocks are right here: no stamp is ahead of any of them.
        u64::MAX
    }

    fn name(&self, node: NodeId) -> String {
        self.invariants.name(node)
    }

    fn name_in(&self, _: usize, node: NodeId) -> String {
        self.invariants.name(node)
    }

    fn nodes(&self) -> usize {
        self.step.actors.len()
    }

    fn actor(&self, node: NodeId) -> Option<&SimNode> {
        self.step.actors.get(node.index()).copied()
    }

    fn root_in(&self, _: usize, node: NodeId) -> Digest {
        self.step.digests.get(node.index()).copied().unwrap_or_default()
    }

    fn had_root(&self, _: usize, sides: (NodeId, NodeId), root: Digest, _: SimTime) -> bool {
        self.invariants.sessions.get(&sides).is_some_and(|had| had.contains(&root))
    }

    fn roles(&self) -> &HostileRoles {
        &self.invariants.roles
    }

    fn is_catching_up(&self, _: usize, _: NodeId) -> bool {
        // A node whose disk was replaced may have a new name.
        self.invariants.hazards.replaced_disks
    }

    fn has_losses(&self, _: usize) -> bool {
        false
    }

    fn joined_root(&self, _: usize, node: NodeId, covered: &VersionVector, horizon: Hlc) -> Option<Digest> {
        self.invariants.oracle.joined_root(node, covered, horizon).ok()
    }

    fn honest_replicas(&self) -> u64 {
        self.step.actors.len() as u64
    }

    fn records(&self) -> u64 {
        self.step.actors.iter().map(|actor| actor.entity_count()).sum()
    }

    fn progress(&self) -> ProgressCount {
        self.fair.progress
    }

    fn last_arrival(&self) -> SimTime {
        // Delivery takes no time.
        self.fair.now
    }

    fn is_undisturbed(&self) -> bool {
        self.fair.is_undisturbed
    }

    fn is_quiet(&self) -> bool {
        self.fair.is_quiet
    }

    fn frame_limit(&self) -> usize {
        self.invariants.frame_limit
    }

    fn bytes_sent(&self) -> Option<u64> {
        None
    }

    fn bytes_put(&self) -> u64 {
        self.step.actors.iter().flat_map(|actor| actor.replicas()).map(SimReplica::bytes_put).sum()
    }

    fn idle_pauses(&self) -> IdlePauses {
        // Nothing takes time here, pauses neither.
        IdlePauses { heartbeat: SimDuration::ZERO, backoff: SimDuration::ZERO }
    }

    fn fates(&self) -> Option<&Fates> {
        None
    }

    fn hazards(&self) -> Hazards {
        self.invariants.hazards
    }

    fn has_collected(&self, _: usize) -> bool {
        self.invariants.collected
    }

    fn oracle(&self, _: usize) -> Option<&Oracle> {
        Some(&self.invariants.oracle)
    }
}

impl ReplicaInvariants {
    /// The invariants of a run that has not begun.
    pub(crate) fn of(rt: &SimRuntime) -> Self {
        let oracle = rt.oracle(0).clone();
        let joined = oracle.as_state().unwrap_or_default();
        Self {
            names: rt.node_ids().into_iter().map(|node| rt.name(node)).collect(),
            seed: rt.config().seed,
            frame_limit: rt.config().frame_limit(),
            expected: joined.root().unwrap_or_default(),
            oracle,
            written: BTreeMap::new(),
            joined,
            collected: false,
            hazards: Hazards::NONE,
            sessions: BTreeMap::new(),
            memory: CheckMemory::default(),
            roles: HostileRoles::default(),
        }
    }

    fn name(&self, node: NodeId) -> String {
        self.names.get(node.index()).cloned().unwrap_or_else(|| node.to_string())
    }

    /// Takes in a notice, after the checks have seen it. Returns the error of the oracle, if there is one.
    fn on_notice(&mut self, notice: &Notice, step: &ObservedStep<'_, SimNode>) -> Option<Check> {
        let node = step.node;
        let joined = match notice {
            Notice::SessionStarted { peer } => {
                // A session that succeeds must end at a root that its responder had during the session.
                let peer = NodeId::from(*peer);
                let root = step.digests.get(peer.index()).copied();
                self.sessions.insert((node, peer), root.into_iter().collect());
                return None;
            }
            Notice::SessionEnded { peer, .. } => {
                self.sessions.remove(&(node, NodeId::from(*peer)));
                return None;
            }
            Notice::WriteAccepted { operations, actions } => {
                let actor = step.actors[node.index()];
                let author = actor.identity().0;
                let bytes: Vec<u8> = actions.iter().flat_map(Encode::to_bytes).collect();
                self.written.entry(node).or_default().push(Digest::of(0, &bytes));
                // What else the author had seen is not known here. The oracle then judges fewer values.
                let mut seen = VersionVector::default();
                seen.cover(Dot { author, seq: actor.in_context(0).covered().of(author) });
                // A state is reached at several times; the write is the same.
                let acknowledgement = Acknowledgement { node, author, at: SimTime::ZERO, seen };
                self.oracle.acknowledge(acknowledgement, operations.clone(), actions.clone());
                self.joined.apply(actions)
            }
            Notice::WriteReissued { former, former_actions, delta, actions } => {
                let mut bytes = former.to_bytes();
                bytes.extend(delta.to_bytes());
                bytes.extend(former_actions.iter().flat_map(Encode::to_bytes));
                bytes.extend(actions.iter().flatten().flat_map(Encode::to_bytes));
                self.written.entry(node).or_default().push(Digest::of(1, &bytes));
                self.oracle.reissue(*former, former_actions, *delta, actions.clone());
                return None;
            }
            Notice::TombstonesCollected { horizon, .. } => {
                self.collected = true;
                self.joined.raise_horizon(*horizon)
            }
            _ => return None,
        };
        self.expected = self.joined.root().unwrap_or_default();
        joined.err().map(|error| Check::Internal { part: SimPart::Oracle, detail: error.to_string() })
    }

    fn view<'a>(&'a self, actors: &[&'a SimNode]) -> ContextView<'a> {
        let inspect = |(node, actor): (u32, &&'a SimNode)| {
            InspectedReplica::of(self.name(NodeId(node)), actor.in_context(0))
        };
        ContextView {
            context: 0,
            contexts: 1,
            nodes: (0..).zip(actors).map(inspect).collect(),
            seed: self.seed,
            turn: self.written.values().map(|writes| writes.len() as u64).sum(),
            oracle: &self.oracle,
            joined: Some(&self.joined),
            certain: None,
            has_collected: self.collected,
            roles: &self.roles,
            is_complete: true,
            // Only asked after a continuation in which all nodes were up and linked.
            is_undisturbed: true,
            give_ups: &self.memory.give_ups,
            hazards: self.hazards,
        }
    }
}

impl ObservedStep<'_, SimNode> {
    fn checked(&self) -> CheckedStep<'_> {
        CheckedStep {
            node: Some(self.node),
            notices: self.notices,
            frame: self.frame,
            bytes: None,
            accepted: self.frame.is_some() && self.refused.is_none(),
            refused: self.refused,
            corrupt: false,
            stale_accepted: self.stale_accepted,
            went_down: self.went_down,
            undone: false,
            largest_sent: self.largest_sent,
        }
    }
}

impl Invariants<SimNode> for ReplicaInvariants {
    fn observe(&mut self, step: &ObservedStep<'_, SimNode>) -> Option<Check> {
        let node = step.node;
        let mut memory = std::mem::take(&mut self.memory);
        let world = ExploredWorld { invariants: self, step, fair: FairRun::default() };
        let found = checks::after_step(&mut memory, &step.checked(), &world);
        self.memory = memory;
        if found.is_some() {
            return found;
        }
        for ContextNotice { notice, .. } in step.notices {
            let violation = self.on_notice(notice, step);
            if violation.is_some() {
                return violation;
            }
        }
        assert!(node.index() < step.digests.len(), "a step reports the digest of the node that took it");
        let after = step.digests[node.index()];
        if after != step.before {
            for (_, roots) in self.sessions.iter_mut().filter(|((_, peer), _)| *peer == node) {
                roots.insert(after);
            }
        }
        // A crash ends the sessions that the node had begun, without a notice.
        if step.went_down {
            self.sessions.retain(|(initiator, _), _| *initiator != node);
        }
        None
    }

    fn reads_states(&self, notices: &[ContextNotice]) -> bool {
        // The check on walks after DeltaSync remembers what the responder covers. That of horizons reads all clocks.
        let reads = |notice: &Notice| {
            matches!(notice, Notice::SessionStarted { .. } | Notice::TombstonesCollected { .. })
        };
        notices.iter().any(|noticed| reads(&noticed.notice))
    }

    fn notable_frame(&self) -> usize {
        self.frame_limit
    }

    fn observe_fair(
        &self,
        watch: &mut ProgressWatch,
        step: &ObservedStep<'_, SimNode>,
        fair: &FairRun,
    ) -> Option<Check> {
        let world = ExploredWorld { invariants: self, step, fair: *fair };
        checks::after_progress(watch, &step.checked(), &world)
    }

    fn explain_stuck(&self, actors: &[&SimNode]) -> Option<Check> {
        checks::at_stop(&self.view(actors), false)
    }

    fn on_disk_replaced(&mut self, node: NodeId, actors: &[&SimNode]) -> Option<Check> {
        self.hazards.replaced_disks = true;
        let replicas = actors.iter().map(|actor| actor.in_context(0));
        let noted = self.oracle.on_disk_replaced(node, replicas);
        noted.err().map(|error| Check::Internal { part: SimPart::Oracle, detail: error.to_string() })
    }

    fn write_state(&self, out: &mut StateHasher) {
        out.bytes(&self.expected.0);
        out.number(u64::from(self.collected));
        out.number(u64::from(self.hazards.replaced_disks));
        self.oracle.each_uncertain(&mut |bytes| out.bytes(bytes));
        for (node, writes) in &self.written {
            out.number(u64::from(node.0));
            writes.iter().for_each(|digest| out.bytes(&digest.0));
        }
        for ((node, peer), roots) in &self.sessions {
            out.number(u64::from(node.0) << 32 | u64::from(peer.0));
            out.number(roots.len() as u64);
            roots.iter().for_each(|root| out.bytes(&root.0));
        }
        self.memory.sessions.each_bytes(|bytes| out.bytes(bytes));
        self.memory.give_ups.each_number(|number| out.number(number));
        self.memory.horizons.each_bytes(|bytes| out.bytes(bytes));
        self.memory.pasts.each_bytes(|bytes| out.bytes(bytes));
        self.memory.snapshots.each_bytes(|bytes| out.bytes(bytes));
        out.number(u64::from(self.memory.second_walks));
    }

    fn judge(&self, actors: &[&SimNode], settled: bool) -> Option<Check> {
        let is_expected = actors.iter().all(|actor| actor.digest() == self.expected);
        if is_expected && !settled {
            return None;
        }
        let view = self.view(actors);
        let unsettled = checks::of_states(&view);
        if settled { unsettled.or_else(|| checks::at_stop(&view, true)) } else { unsettled }
    }
}
