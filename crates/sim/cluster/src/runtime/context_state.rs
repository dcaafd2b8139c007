//! The state that a run tracks for each of its contexts.

use crate::node::SimReplica;
use crate::oracle::{Oracle, ReferenceState};
use crate::runtime::config::SimConfig;
use crate::runtime::sim_runtime::SimRuntime;
use std::collections::BTreeSet;
use sync_sim_engine::node_id::{NodeId, NodeRef};
use syncline_types::{Digest, SimTime};

/// The state that a run tracks for one of its contexts.
#[derive(Clone, Debug)]
pub(super) struct ContextState {
    /// All writes that were acknowledged.
    pub(super) oracle: Oracle,
    /// The state that must survive, from the first time on that a disk has lost commits.
    pub(super) certain: Option<ReferenceState>,
    /// Nodes that made a fresh start and have not ended a session with equal roots since.
    pub(super) catching_up: BTreeSet<NodeId>,
    /// Records that nodes collected, tombstones and what they hid, and raises of the horizon that collected nothing.
    pub(super) collected: u64,
    /// Every root that each node had, with the time from which it had it, ascending. Empty if nodes have one context
    /// only: then the engine records their digests.
    roots: Vec<Vec<(SimTime, Digest)>>,
}

impl ContextState {
    pub(super) fn new(config: &SimConfig) -> Self {
        let oracle = Oracle::new(config.merges.clone())
            .with_counter_resets(config.counters_reset)
            .with_merge_faults(config.merge_faults);
        Self { oracle, certain: None, catching_up: BTreeSet::new(), collected: 0, roots: Vec::new() }
    }
}

impl SimRuntime {
    /// The number of contexts on each node.
    pub const fn contexts(&self) -> usize {
        self.context_states.len()
    }

    /// The state that the run tracks for a context.
    pub(super) fn context_state(&self, context: usize) -> &ContextState {
        &self.context_states[context]
    }

    pub(super) fn context_state_mut(&mut self, context: usize) -> &mut ContextState {
        &mut self.context_states[context]
    }

    /// The root of what a node has in a context.
    ///
    /// # Panics
    ///
    /// If there is no such node or context.
    pub fn root_in(&self, context: usize, node: impl NodeRef) -> Digest {
        let node = self.resolve(node);
        // The engine caches the digest of a node, which is the root if it has one context.
        if self.contexts() == 1 { self.digest(node) } else { self.node(node).in_context(context).root() }
    }

    /// The name of a node, with the context if nodes have several.
    pub fn name_in(&self, context: usize, node: NodeId) -> String {
        let name = self.name(node);
        if self.contexts() == 1 { name } else { format!("{name} in context {context}") }
    }

    /// The replicas of a context on the honest nodes.
    pub(crate) fn honest_in(&self, context: usize) -> impl Iterator<Item = (NodeId, &SimReplica)> {
        self.honest().filter_map(move |(node, actor)| Some((node, actor.replica_of(context)?)))
    }

    /// Whether the roots of the honest nodes differ in a context.
    pub(crate) fn differ_in(&self, context: usize) -> bool {
        let mut roots = self.honest().map(|(node, _)| self.root_in(context, node));
        let first = roots.next();
        roots.any(|root| Some(root) != first)
    }

    /// The context to investigate after a failure: the first in which nodes differ, or else the first that fails a
    /// final check, or else context 0.
    pub fn context_in_question(&self) -> usize {
        let all = 0..self.contexts();
        let differs = all.clone().find(|context| self.differ_in(*context));
        differs
            .or_else(|| all.clone().find(|context| self.check_stop_of(*context, true).is_some()))
            .unwrap_or(0)
    }

    /// Whether a node had this root in a context at some time in `since..=now`. O(roots since then).
    pub(super) fn had_root(&self, context: usize, node: NodeId, root: Digest, since: SimTime) -> bool {
        if self.contexts() == 1 {
            return self.world.had_digest(node, root, since);
        }
        let had = self.context_state(context).roots.get(node.index()).map_or(&[][..], Vec::as_slice);
        for (from, own) in had.iter().rev() {
            if *own == root {
                return true;
            }
            // This root was the one at `since`; roots before it had ended by then.
            if *from < since {
                break;
            }
        }
        false
    }

    /// Records the roots of nodes that were added since the last call.
    pub(super) fn record_first_roots(&mut self) {
        if self.contexts() > 1 {
            let known = self.context_state(0).roots.len() as u32;
            (known..self.world.len() as u32).for_each(|node| self.record_roots(NodeId(node), false));
        }
    }

    /// Records the roots of a node after an event. `undone` says that a crash within the event rolled back a root
    /// that the node may have reported to a peer already.
    pub(super) fn record_roots(&mut self, node: NodeId, undone: bool) {
        let now = self.world.now();
        // A retired node is gone, and with one context the engine records the digests itself.
        let Some(actor) = self.world.actor(node).filter(|_| self.context_states.len() > 1) else { return };
        for (replica, state) in actor.replicas().zip(&mut self.context_states) {
            if state.roots.len() <= node.index() {
                state.roots.resize_with(node.index() + 1, Vec::new);
            }
            let roots = &mut state.roots[node.index()];
            let rolled_back = undone.then(|| replica.root_before_crash());
            for root in rolled_back.into_iter().chain([replica.root()]) {
                assert!(roots.last().is_none_or(|(at, _)| *at <= now), "roots are recorded in order of time");
                if roots.last().is_none_or(|(_, last)| *last != root) {
                    roots.push((now, root));
                }
            }
        }
    }
}
