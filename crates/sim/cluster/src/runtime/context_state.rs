//! The contexts of a run: what is known of each.

use crate::node::SimReplica;
use crate::oracle::{Joined, Oracle};
use crate::runtime::sim_runtime::SimRuntime;
use std::collections::BTreeSet;
use sync_sim_engine::node_id::{NodeId, NodeRef};
use syncline_replica::Merges;
use syncline_types::{Digest, SimTime};

/// What a run knows of one of its contexts.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) oracle: Oracle,
    /// What cannot be lost any more, once a disk has lost something.
    pub(super) certain: Option<Joined>,
    /// Nodes that have begun afresh and not yet come to one state with any other.
    pub(super) catching_up: BTreeSet<NodeId>,
    /// Records that were forgotten.
    pub(super) forgotten: u64,
    /// Every root that each node had, and from when, if there are several contexts: of one, the engine knows.
    roots: Vec<Vec<(SimTime, Digest)>>,
}

impl Kept {
    pub(crate) fn new(merges: Merges) -> Self {
        Self {
            oracle: Oracle::new(merges),
            certain: None,
            catching_up: BTreeSet::new(),
            forgotten: 0,
            roots: Vec::new(),
        }
    }
}

impl SimRuntime {
    /// How many contexts each node keeps.
    pub const fn contexts(&self) -> usize {
        self.kept.len()
    }

    /// What is known of a context.
    pub(super) fn kept(&self, context: usize) -> &Kept {
        &self.kept[context]
    }

    pub(super) fn kept_mut(&mut self, context: usize) -> &mut Kept {
        &mut self.kept[context]
    }

    /// The root of what a node has in a context.
    ///
    /// # Panics
    ///
    /// If there is no such node or context.
    pub fn root_in(&self, context: usize, node: impl NodeRef) -> Digest {
        let node = self.resolve(node);
        // The engine keeps the one root of a node with one context at hand.
        if self.contexts() == 1 { self.digest(node) } else { self.node(node).in_context(context).root() }
    }

    /// A node's name, and which of its contexts is meant if it has several.
    pub fn name_in(&self, context: usize, node: NodeId) -> String {
        let name = self.name(node);
        if self.contexts() == 1 { name } else { format!("{name} in context {context}") }
    }

    /// What the honest nodes keep of a context.
    pub(crate) fn honest_in(&self, context: usize) -> impl Iterator<Item = (NodeId, &SimReplica)> {
        self.honest().filter_map(move |(node, actor)| Some((node, actor.replica_of(context)?)))
    }

    /// Whether the honest nodes have different roots in a context.
    pub(crate) fn differ_in(&self, context: usize) -> bool {
        let mut roots = self.honest().map(|(node, _)| self.root_in(context, node));
        let first = roots.next();
        roots.any(|root| Some(root) != first)
    }

    /// The context to look at when something is wrong: the first in which nodes differ, or else the first in
    /// which they agree on something wrong; the first of all if there is none.
    pub fn context_in_question(&self) -> usize {
        let all = 0..self.contexts();
        let differs = all.clone().find(|context| self.differ_in(*context));
        differs.or_else(|| all.clone().find(|context| self.final_check_of(*context).is_some())).unwrap_or(0)
    }

    /// Whether a node had this root in a context at some time in `since..=now`.
    pub(super) fn had_root(&self, context: usize, node: NodeId, root: Digest, since: SimTime) -> bool {
        if self.contexts() == 1 {
            return self.world.had_digest(node, root, since);
        }
        let had = self.kept(context).roots.get(node.index()).map_or(&[][..], Vec::as_slice);
        for (from, own) in had.iter().rev() {
            if *own == root {
                return true;
            }
            if *from < since {
                break;
            }
        }
        false
    }

    /// Takes note of the roots of nodes of which nothing is known yet.
    pub(super) fn note_first_roots(&mut self) {
        if self.contexts() > 1 {
            let known = self.kept(0).roots.len() as u32;
            (known..self.world.len() as u32).for_each(|node| self.note_roots(NodeId(node), false));
        }
    }

    /// Takes note of the roots that a node has after an event. A crash may have `undone` those that it had told
    /// others of just before.
    pub(super) fn note_roots(&mut self, node: NodeId, undone: bool) {
        let now = self.world.now();
        let Some(actor) = self.world.actor(node).filter(|_| self.kept.len() > 1) else { return };
        for (replica, kept) in actor.replicas().zip(&mut self.kept) {
            if kept.roots.len() <= node.index() {
                kept.roots.resize_with(node.index() + 1, Vec::new);
            }
            let Some(roots) = kept.roots.get_mut(node.index()) else { continue };
            let told = undone.then(|| replica.root_before_crash());
            for root in told.into_iter().chain([replica.root()]) {
                if roots.last().is_none_or(|(_, last)| *last != root) {
                    roots.push((now, root));
                }
            }
        }
    }
}
