//! Give-ups: what a replica stopped waiting for. It must come in another way.

use super::ContextView;
use crate::verdict::Check;
use std::collections::{BTreeMap, BTreeSet};
use sync_sim_engine::node_id::NodeId;
use syncline_replica::Notice;
use syncline_sync::{Dot, LocalSyncState, Outcome};

/// The most deltas that are remembered for each replica: enough to find a replica that never gets what it dropped.
const MOST_REMEMBERED: usize = 1_024;

/// What replicas gave up and have not been seen to get, by context and node.
#[derive(Clone, Debug, Default)]
pub struct GiveUps {
    /// Deltas that were dropped from a buffer, or had no place in it.
    deltas: BTreeMap<(usize, NodeId), BTreeSet<Dot>>,
    /// Peers with whom a pending sync was dropped.
    syncs: BTreeSet<(usize, NodeId, NodeId)>,
}

impl GiveUps {
    /// The numbers of all entries, for the hash of a state that contains them.
    pub fn each_number(&self, mut take: impl FnMut(u64)) {
        for ((context, node), dots) in &self.deltas {
            take((*context as u64) << 32 | u64::from(node.0));
            for dot in dots {
                for part in dot.author.0.chunks(8) {
                    take(part.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
                }
                take(dot.seq);
            }
        }
        for (context, node, peer) in &self.syncs {
            take(*context as u64);
            take(u64::from(node.0) << 32 | u64::from(peer.0));
        }
    }

    pub(super) fn on_notice(&mut self, node: NodeId, context: usize, notice: &Notice) {
        match notice {
            Notice::PendingDeltasDropped { deltas } => {
                deltas.iter().for_each(|dot| self.add(context, node, *dot));
            }
            Notice::DeltaOverflowed { delta } | Notice::DeltaDiscarded { delta, .. } => {
                self.add(context, node, *delta);
            }
            Notice::SessionEnded { peer, outcome, .. } => {
                let peer = NodeId::from(*peer);
                match outcome {
                    Outcome::Failed(reason) if reason.is_final() => {
                        self.syncs.insert((context, node, peer));
                    }
                    Outcome::Converged { .. } => {
                        self.syncs.remove(&(context, node, peer));
                        self.syncs.remove(&(context, peer, node));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, context: usize, node: NodeId, dot: Dot) {
        let dots = self.deltas.entry((context, node)).or_default();
        if dots.len() < MOST_REMEMBERED {
            dots.insert(dot);
        }
    }
}

/// At the end, nobody has what a replica gave up unless that replica has it too. Says nothing while a fault explains
/// the difference.
pub(super) fn never_taken_back(view: &ContextView<'_>) -> Option<Check> {
    let give_ups = view.give_ups;
    if !view.is_undisturbed || give_ups.deltas.is_empty() && give_ups.syncs.is_empty() {
        return None;
    }
    for own in &view.nodes {
        // Equal roots are equal records: what a peer with the same root has is here, whichever way it came.
        let mut others = view.nodes.iter().filter(|other| other.root != own.root);
        let covered = own.replica.covered();
        let dropped = give_ups.deltas.get(&(view.context, own.node)).into_iter().flatten();
        for dot in dropped.filter(|dot| !covered.covers(**dot)) {
            let holder = others.clone().find(|other| other.replica.covered().covers(*dot));
            if let Some(holder) = holder {
                let detail = format!("delta {dot}, which {} has", holder.name);
                return Some(Check::GaveUp { node: own.name.clone(), detail });
            }
        }
        let lacking = others.find(|other| give_ups.syncs.contains(&(view.context, own.node, other.node)));
        if let Some(other) = lacking {
            let detail = format!("the sync with {}, whose root differs", other.name);
            return Some(Check::GaveUp { node: own.name.clone(), detail });
        }
    }
    None
}
