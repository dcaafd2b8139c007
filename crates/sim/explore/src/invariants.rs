//! The invariants of a search: what must hold after every step and in every state.

use crate::Explorable;
use crate::state_hash::StateHasher;
use std::collections::{BTreeMap, BTreeSet};
use sync_sim_cluster::node::{SimNode, differences};
use sync_sim_cluster::oracle::ReferenceState;
use sync_sim_cluster::runtime::{SENDER_FAULTS, SimRuntime};
use sync_sim_cluster::verdict::Check;
use sync_sim_engine::actor::Actor;
use sync_sim_engine::network::DropCause;
use sync_sim_engine::node_id::NodeId;
use syncline_replica::Notice;
use syncline_store::MemoryStore;
use syncline_sync::{FailureReason, Outcome};
use syncline_types::Digest;

/// One step of one node, as the invariants see it.
#[derive(Debug)]
pub struct ObservedStep<'a, A: Actor> {
    /// The node that took the step.
    pub node: NodeId,
    /// The notices that the step gave.
    pub notices: &'a [A::Notice],
    /// Why the frame took no effect, if the input was a frame that the node refused.
    pub refused: Option<DropCause>,
    /// Whether the frame took effect although the node had accepted one of a later incarnation of its sender.
    pub stale_accepted: bool,
    /// Whether the node crashed in the step.
    pub went_down: bool,
    /// The digest of the node before the step.
    pub before: Digest,
    /// The digests of all nodes after the step, by node.
    pub digests: &'a [Digest],
}

/// What must hold in every state. An implementation may remember earlier steps. Its memory is part of the state
/// of the search, so it should not depend on the order of independent steps: otherwise states that are equal
/// but for that order are not merged.
pub trait Invariants<A: Explorable>: Clone {
    /// Called after a step. Returns the invariant that the step violates, if any. The result may depend only on
    /// the memory and the arguments.
    fn observe(&mut self, step: &ObservedStep<'_, A>) -> Option<Check>;

    /// Writes the whole memory.
    fn write_state(&self, out: &mut StateHasher);

    /// The invariant that a state violates, if any. `settled` states that nothing is pending and all digests are
    /// equal. Called once for each combination of memory, digests and `settled`, so the result must depend on
    /// nothing else.
    fn judge(&self, actors: &[&A], settled: bool) -> Option<Check>;
}

/// The invariants of the real replica: those that the simulator checks, and the durability of accepted writes.
#[derive(Clone, Debug)]
pub struct ReplicaInvariants {
    names: Vec<String>,
    oracle: ReferenceState,
    /// The root hash of the oracle: the state that all accepted writes add up to.
    expected: Digest,
    /// Whether tombstones were collected.
    collected: bool,
    /// The sessions in progress, by initiator and responder, with every root that the responder had meanwhile.
    sessions: BTreeMap<(NodeId, NodeId), BTreeSet<Digest>>,
}

impl ReplicaInvariants {
    /// The invariants of a run that has not begun.
    pub(crate) fn of(rt: &SimRuntime) -> Self {
        let oracle = rt.oracle(0).as_state().unwrap_or_default();
        let expected = oracle.root().unwrap_or_default();
        let names = rt.node_ids().into_iter().map(|node| rt.name(node)).collect();
        Self { names, oracle, expected, collected: false, sessions: BTreeMap::new() }
    }

    fn name(&self, node: NodeId) -> String {
        self.names.get(node.index()).cloned().unwrap_or_else(|| node.to_string())
    }

    fn on_notice(&mut self, node: NodeId, notice: &Notice, digests: &[Digest]) -> Option<Check> {
        let oracle_stopped =
            |detail: String| Check::Internal { part: sync_sim_cluster::verdict::SimPart::Oracle, detail };
        match notice {
            Notice::SessionStarted { peer } => {
                // A session that succeeds must end at a root that its responder had during the session.
                let peer = NodeId::from(*peer);
                let root = digests.get(peer.index()).copied();
                self.sessions.insert((node, peer), root.into_iter().collect());
            }
            Notice::SessionEnded { peer, outcome, .. } => {
                let peer = NodeId::from(*peer);
                let had = self.sessions.remove(&(node, peer)).unwrap_or_default();
                return match outcome {
                    Outcome::Converged { root } if !had.contains(root) => {
                        Some(Check::FalseSuccess { node: self.name(node), peer: self.name(peer) })
                    }
                    // Only honest nodes take part here, so the one thing that may fail a session is silence.
                    Outcome::Failed(reason) if *reason != FailureReason::Timeout => {
                        Some(Check::ImpossibleOutcome { node: self.name(node), detail: reason.to_string() })
                    }
                    _ => None,
                };
            }
            Notice::WriteAccepted { actions, .. } => {
                if let Err(error) = self.oracle.apply(actions) {
                    return Some(oracle_stopped(error.to_string()));
                }
                self.expected = self.oracle.root().unwrap_or_default();
            }
            Notice::TombstonesCollected { horizon, .. } => {
                self.collected = true;
                if let Err(error) = self.oracle.raise_horizon(*horizon) {
                    return Some(oracle_stopped(error.to_string()));
                }
                self.expected = self.oracle.root().unwrap_or_default();
            }
            Notice::DeltaRefused { .. } => return Some(Check::HonestFrameRefused { node: self.name(node) }),
            Notice::DeltaDiscarded { refusal } if refusal.is_fault_of_author() => {
                return Some(Check::HonestFrameRefused { node: self.name(node) });
            }
            Notice::DeltaApplied { .. }
            | Notice::DeltaDiscarded { .. }
            | Notice::PendingDeltasDropped { .. }
            | Notice::WriteRefused { .. } => {}
        }
        None
    }

    /// The violation if the union of all disks lacks an accepted write. O(entities).
    fn lost_write(&self, actors: &[&SimNode]) -> Option<Check> {
        let mut union = ReferenceState::new(MemoryStore::default(), self.oracle.merges().clone());
        let merged = actors.iter().try_for_each(|actor| union.merge(actor.disk()));
        if merged.is_ok() && union.root() == Ok(self.expected) {
            return None;
        }
        Some(Check::NotDurable { detail: self.differences(union.state()) })
    }

    /// The first entity that differs from the oracle, and both of its values.
    fn differences(&self, state: &MemoryStore) -> String {
        let found = differences(self.oracle.state(), state, 1).unwrap_or_default();
        let words = found.first().map_or_else(|| "the roots differ".to_owned(), ToString::to_string);
        format!("expected | found: {words}")
    }
}

impl Invariants<SimNode> for ReplicaInvariants {
    fn observe(&mut self, step: &ObservedStep<'_, SimNode>) -> Option<Check> {
        let node = step.node;
        if step.stale_accepted {
            return Some(Check::StaleFrameAccepted { node: self.name(node) });
        }
        if step.refused.is_some_and(|cause| SENDER_FAULTS.contains(&cause)) {
            return Some(Check::HonestFrameRefused { node: self.name(node) });
        }
        for noticed in step.notices {
            let violation = self.on_notice(node, &noticed.notice, step.digests);
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

    fn write_state(&self, out: &mut StateHasher) {
        out.bytes(&self.expected.0);
        out.number(u64::from(self.collected));
        for ((node, peer), roots) in &self.sessions {
            out.number(u64::from(node.0) << 32 | u64::from(peer.0));
            out.number(roots.len() as u64);
            roots.iter().for_each(|root| out.bytes(&root.0));
        }
    }

    fn judge(&self, actors: &[&SimNode], settled: bool) -> Option<Check> {
        if actors.iter().all(|actor| actor.digest() == self.expected) {
            return None;
        }
        if self.collected {
            // Replicas collect the same tombstone at different times, so their roots may differ from that of the
            // oracle although no write is lost. Only agreement on what is visible can be checked, and only once
            // the state is settled.
            let sees = |actor: &&SimNode| self.oracle.shows_the_same_as(actor.disk()) == Ok(true);
            if !settled || actors.iter().all(sees) {
                return None;
            }
        }
        if !settled {
            return self.lost_write(actors);
        }
        let (at, actor) = actors.iter().enumerate().find(|(_, actor)| actor.digest() != self.expected)?;
        Some(Check::HiddenDifference {
            node: self.name(NodeId(at as u32)),
            detail: self.differences(actor.disk()),
        })
    }
}
