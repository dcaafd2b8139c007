//! Checks of horizons: stamps up to which a replica has seen everything.
//!
//! A horizon never goes back, no member may write before it any more, and no delta from before it is applied.

use super::{CheckedStep, Noticed, Watched};
use crate::node::SimReplica;
use crate::verdict::Check;
use std::collections::BTreeMap;
use sync_sim_engine::node_id::NodeId;
use syncline_replica::Notice;
use syncline_sync::{Delta, DeltaLog, Dot, LocalSyncState, VersionVector};
use syncline_types::{Decode, Encode, Hlc};

/// A replica that has a horizon, after its last step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Known {
    node: NodeId,
    context: usize,
    horizon: Hlc,
    covered: VersionVector,
    floor: VersionVector,
}

impl Known {
    fn of(node: NodeId, context: usize, world: &dyn Watched) -> Option<Self> {
        // A log with a corrupt row cannot be read, and shows nothing.
        let replica = world.replica(context, node).filter(|replica| !replica.is_corrupt())?;
        let log = replica.log();
        let (covered, floor) = (log.covered().clone(), log.floor().clone());
        Some(Self { node, context, horizon: replica.state().ok()?.horizon(), covered, floor })
    }
}

/// The horizons of replicas that have raised theirs since their last start.
#[derive(Clone, Debug, Default)]
pub struct Horizons(BTreeMap<(usize, NodeId), Known>);

impl Horizons {
    /// The bytes of all entries, for the hash of a state that contains them.
    pub fn each_bytes(&self, mut take: impl FnMut(&[u8])) {
        for Known { node, context, horizon, covered, floor } in self.0.values() {
            take(&(*context as u64).to_le_bytes());
            take(&node.0.to_le_bytes());
            take(&horizon.to_bytes());
            take(&covered.to_bytes());
            take(&floor.to_bytes());
        }
    }

    /// What is known of each context of a node.
    pub(super) fn of(&self, node: NodeId) -> impl Iterator<Item = &Known> {
        self.0.values().filter(move |known| known.node == node)
    }

    /// Takes in a step, after the checks have seen it.
    pub(super) fn on_step(&mut self, node: NodeId, step: &CheckedStep<'_>, world: &dyn Watched) {
        if step.went_down || step.undone {
            // The disk may have lost what the step reported.
            self.0.retain(|(_, own), _| *own != node);
            return;
        }
        // Whatever covers a delta or raises a horizon reports something.
        if step.notices.is_empty() {
            return;
        }
        let raised = |context| {
            step.notices.iter().any(|noticed| {
                usize::from(noticed.context) == context
                    && matches!(noticed.notice, Notice::TombstonesCollected { .. })
            })
        };
        for noticed in step.notices {
            let context = usize::from(noticed.context);
            if raised(context)
                && let Some(known) = Known::of(node, context, world)
            {
                self.0.insert((context, node), known);
            }
        }
        for ((context, own), known) in &mut self.0 {
            if *own == node
                && let Some(now) = Known::of(node, *context, world)
            {
                *known = now;
            }
        }
    }
}

/// A horizon is monotonic, and no delta from before it is applied: no member may have made one.
pub(super) fn monotonic(known: &Known, step: &CheckedStep<'_>, world: &dyn Watched) -> Option<Check> {
    let Known { node, context, .. } = *known;
    if step.went_down || step.undone {
        return None;
    }
    let replica = world.replica(context, node).filter(|replica| !replica.is_corrupt())?;
    let now = Known::of(node, context, world)?;
    let wrong = |detail| Some(Check::HorizonWrong { node: world.name_in(context, node), detail });
    if now.horizon < known.horizon {
        return wrong(format!("it went back from {} to {}", known.horizon, now.horizon));
    }
    let old = first_before(replica, known, &now)?;
    wrong(format!("{} of {} was applied, and is from before {}", old.dot, old.stamp, known.horizon))
}

/// The first delta that a step has applied although its stamp is not later than the horizon was. O(new deltas).
fn first_before(replica: &SimReplica, known: &Known, now: &Known) -> Option<Delta> {
    if now.covered == known.covered {
        return None;
    }
    let new = now.covered.entries().flat_map(|Dot { author, seq: last }| {
        // A hostile author may claim any number, and what is below the floor is not stored.
        let from = known.covered.of(author).max(now.floor.of(author));
        (from + 1..=last).map(move |seq| Dot { author, seq })
    });
    // Deltas that were covered without being applied are not stored.
    let stored = new.filter_map(|dot| Delta::from_bytes(&DeltaLog::read(replica.disk(), dot).ok()??).ok());
    stored.into_iter().find(|delta| delta.stamp <= known.horizon)
}

/// A horizon is raised only over what every member has seen, and not beyond the clock of any of them: otherwise a member
/// could still write before it. O(nodes).
pub(super) fn raised(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::TombstonesCollected { horizon, .. } = noticed.notice else { return None };
    // A hostile member may announce any progress.
    if !world.roles().is_empty() || noticed.step.went_down || noticed.step.undone {
        return None;
    }
    let replica = world.replica(noticed.context, noticed.node)?;
    let wrong =
        |detail| Some(Check::HorizonWrong { node: world.name_in(noticed.context, noticed.node), detail });
    let log = replica.log();
    if !log.covered().includes(log.stable()) {
        return wrong(format!("{horizon} is over deltas that it lacks"));
    }
    // Who does not count a member yet does not ask for its clock, and a member whose disk was lost, or that was brought
    // back, starts with a clock that stands at zero until it writes.
    if world.names_late() || world.has_losses(noticed.context) || world.hazards().may_differ_unseen() {
        return None;
    }
    let members = &replica.replica()?.config().membership;
    let behind = (0..world.nodes()).map(|node| NodeId(node as u32)).find(|node| {
        let member = world.replica(noticed.context, *node);
        let member = member.filter(|member| members.names(LocalSyncState::replica(*member)));
        member.and_then(SimReplica::clock).is_some_and(|clock| clock < horizon.time())
    })?;
    wrong(format!("{horizon} is ahead of the clock of {}, which may write before it", world.name(behind)))
}
