//! What must hold, whatever happens.

use crate::explore::Explorable;
use crate::explore::fingerprint::Fingerprint;
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
use syncline_sync::{DeltaRefusal, FailureReason, Outcome};
use syncline_types::Digest;

/// One step of one node, as a watch sees it.
#[derive(Debug)]
pub struct Observed<'a, A: Actor> {
    /// Whose.
    pub node: NodeId,
    /// What it had to say.
    pub notices: &'a [A::Notice],
    /// Why the frame that it was given took no effect.
    pub refused: Option<DropCause>,
    /// The frame took effect although its sender had been heard from in a later life.
    pub stale_accepted: bool,
    /// Whether the node went down in it.
    pub went_down: bool,
    /// The digest of the node before.
    pub before: Digest,
    /// The digests of all nodes after.
    pub digests: &'a [Digest],
}

/// What must hold in every state. It may remember, as long as what it remembers does not depend on the
/// order of steps that do not concern each other: states in which it remembers different things are
/// different.
pub trait Watch<A: Explorable>: Clone {
    /// Sees a step. Gives the promise that it broke, if it broke one.
    fn observe(&mut self, step: &Observed<'_, A>) -> Option<Check>;

    /// Writes all that it remembers.
    fn write_state(&self, out: &mut Fingerprint);

    /// Looks at all nodes. `settled`: nothing is under way and all digests are equal. The answer may depend
    /// on the watch, the digests and `settled` alone: it is asked once for each.
    fn judge(&self, actors: &[&A], settled: bool) -> Option<Check>;
}

/// Watches the real replica as the simulator does, and the disks besides.
#[derive(Clone, Debug)]
pub struct ReplicaWatch {
    names: Vec<String>,
    oracle: ReferenceState,
    /// The root of the oracle.
    expected: Digest,
    /// Something was forgotten.
    forgot: bool,
    /// Sessions under way, by initiator and responder, and the roots that the responder had meanwhile.
    sessions: BTreeMap<(NodeId, NodeId), BTreeSet<Digest>>,
}

impl ReplicaWatch {
    /// One for a run that has not begun.
    pub(crate) fn of(rt: &SimRuntime) -> Self {
        let oracle = rt.oracle(0).as_state().unwrap_or_default();
        let expected = oracle.root().unwrap_or_default();
        let names = rt.node_ids().into_iter().map(|node| rt.name(node)).collect();
        Self { names, oracle, expected, forgot: false, sessions: BTreeMap::new() }
    }

    fn name(&self, node: NodeId) -> String {
        self.names.get(node.index()).cloned().unwrap_or_else(|| node.to_string())
    }

    fn on_notice(&mut self, node: NodeId, notice: &Notice, digests: &[Digest]) -> Option<Check> {
        let oracle_stopped =
            |detail: String| Check::Internal { part: sync_sim_cluster::verdict::SimPart::Oracle, detail };
        match notice {
            Notice::SessionStarted { peer } => {
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
                self.forgot = true;
                if let Err(error) = self.oracle.raise_horizon(*horizon) {
                    return Some(oracle_stopped(error.to_string()));
                }
                self.expected = self.oracle.root().unwrap_or_default();
            }
            Notice::DeltaRefused { .. }
            | Notice::DeltaDiscarded {
                refusal: DeltaRefusal::Malformed | DeltaRefusal::NotAMember | DeltaRefusal::BadSignature,
            } => return Some(Check::HonestFrameRefused { node: self.name(node) }),
            Notice::DeltaApplied { .. }
            | Notice::DeltaDiscarded { .. }
            | Notice::DeltasStranded { .. }
            | Notice::WriteRefused { .. } => {}
        }
        None
    }

    /// The first accepted write, in words, that no disk has, if there is one.
    fn lost(&self, actors: &[&SimNode]) -> Option<Check> {
        let mut union = ReferenceState::new(MemoryStore::default(), self.oracle.merges().clone());
        let merged = actors.iter().try_for_each(|actor| union.merge(actor.disk()));
        if merged.is_ok() && union.root() == Ok(self.expected) {
            return None;
        }
        Some(Check::NotDurable { detail: self.differences(union.state()) })
    }

    /// The first entity that is not what was written, and how.
    fn differences(&self, state: &MemoryStore) -> String {
        let found = differences(self.oracle.state(), state, 1).unwrap_or_default();
        let words = found.first().map_or_else(|| "the roots differ".to_owned(), ToString::to_string);
        format!("expected | found: {words}")
    }
}

impl Watch<SimNode> for ReplicaWatch {
    fn observe(&mut self, step: &Observed<'_, SimNode>) -> Option<Check> {
        let node = step.node;
        if step.stale_accepted {
            return Some(Check::StaleFrameAccepted { node: self.name(node) });
        }
        if step.refused.is_some_and(|cause| SENDER_FAULTS.contains(&cause)) {
            return Some(Check::HonestFrameRefused { node: self.name(node) });
        }
        for noticed in step.notices {
            let broken = self.on_notice(node, &noticed.notice, step.digests);
            if broken.is_some() {
                return broken;
            }
        }
        let after = step.digests.get(node.index()).copied().unwrap_or_default();
        if after != step.before {
            for (_, roots) in self.sessions.iter_mut().filter(|((_, peer), _)| *peer == node) {
                roots.insert(after);
            }
        }
        if step.went_down {
            self.sessions.retain(|(initiator, _), _| *initiator != node);
        }
        None
    }

    fn write_state(&self, out: &mut Fingerprint) {
        out.bytes(&self.expected.0);
        out.number(u64::from(self.forgot));
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
        if self.forgot {
            // What is forgotten here is not yet forgotten there: only where all agree it can be judged.
            let sees = |actor: &&SimNode| self.oracle.shows_the_same_as(actor.disk()) == Ok(true);
            if !settled || actors.iter().all(sees) {
                return None;
            }
        }
        if !settled {
            return self.lost(actors);
        }
        let (at, actor) = actors.iter().enumerate().find(|(_, actor)| actor.digest() != self.expected)?;
        Some(Check::HiddenDifference {
            node: self.name(NodeId(at as u32)),
            detail: self.differences(actor.disk()),
        })
    }
}
