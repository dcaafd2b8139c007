//! What explains that a run has not converged, in words: links, outages, clocks.
//!
//! A cause is a fact about the end of the run that is enough to keep nodes apart. The first one is the first thing
//! that a reader of the verdict sees.

use crate::node::SimReplica;
use crate::runtime::SimRuntime;
use std::collections::BTreeSet;
use sync_sim_engine::node_id::NodeId;
use syncline_replica::PendingReason;
use syncline_types::{Moment, SimDuration, SimTime};

/// In larger runs no cuts are looked for: it takes O(nodes²).
const MOST_NODES: usize = 500;

/// How many causes of each kind are listed.
const MOST_CAUSES: usize = 4;

/// The direction of a cut between two groups of nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CutDirection {
    /// Frames of the group do not reach the others.
    Out,
    /// Frames of the others do not reach the group.
    In,
    /// Both.
    Both,
}

impl SimRuntime {
    /// What explains that the run has not converged, the most important first; nothing if no fact of the moment
    /// does. O(nodes²), up to a limit.
    pub(super) fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = self.losses().into_iter().collect();
        causes.extend(self.cuts());
        causes.extend(self.outages());
        causes.extend(self.clock_gaps());
        causes
    }

    /// A loss or corruption of so many frames that hardly a request and its answer both arrive.
    fn losses(&self) -> Option<String> {
        const HARDLY_ANY: u32 = 800_000;
        let faults = self.world.faults();
        let rates = [(faults.message_loss_rate, "lost"), (faults.corruption_rate, "corrupted")];
        let (rate, what) = rates.into_iter().max_by_key(|(rate, _)| *rate)?;
        match rate.as_ppm() {
            1_000_000 => Some(format!("every frame is {what}")),
            HARDLY_ANY.. => Some(format!("{rate} of all frames are {what}")),
            _ => None,
        }
    }

    /// The groups of nodes that no frame leaves or enters.
    fn cuts(&self) -> Vec<String> {
        let up: Vec<NodeId> =
            self.honest().map(|(node, _)| node).filter(|node| self.world.is_up(*node)).collect();
        if up.len() > MOST_NODES || up.len() < 2 {
            return Vec::new();
        }
        let mut groups = self.groups(&up);
        // All but the largest group are cut off from the rest; of equally large ones, the first is the rest.
        let largest = (0..groups.len()).max_by_key(|at| (groups[*at].len(), usize::MAX - at)).unwrap_or(0);
        groups.remove(largest);
        groups.iter().take(MOST_CAUSES).map(|group| self.cut_words(group, &up)).collect()
    }

    /// The groups of nodes that reach each other in both directions, over any number of hops.
    fn groups(&self, nodes: &[NodeId]) -> Vec<BTreeSet<NodeId>> {
        let mut left: BTreeSet<NodeId> = nodes.iter().copied().collect();
        let mut groups = Vec::new();
        while let Some(first) = left.pop_first() {
            let mut group = BTreeSet::from([first]);
            let mut next = vec![first];
            while let Some(node) = next.pop() {
                let open = |other: &NodeId| {
                    self.blocked_since(node, *other).is_none() && self.blocked_since(*other, node).is_none()
                };
                let reached: Vec<NodeId> = left.iter().copied().filter(open).collect();
                for other in reached {
                    left.remove(&other);
                    group.insert(other);
                    next.push(other);
                }
            }
            groups.push(group);
        }
        assert!(groups.iter().map(BTreeSet::len).sum::<usize>() == nodes.len(), "every node is in one group");
        groups
    }

    fn cut_words(&self, group: &BTreeSet<NodeId>, nodes: &[NodeId]) -> String {
        let others: Vec<NodeId> = nodes.iter().copied().filter(|node| !group.contains(node)).collect();
        let mut out = Some(SimTime::ZERO);
        let mut inward = Some(SimTime::ZERO);
        let mut both = SimTime::ZERO;
        // A cut exists since the last of its links was blocked. Pairs without a link between them do not count.
        for node in group {
            for other in &others {
                let there = self.blocked_since(*node, *other);
                let back = self.blocked_since(*other, *node);
                out = out.zip(there).map(|(since, own)| since.max(own));
                inward = inward.zip(back).map(|(since, own)| since.max(own));
                both = match (there, back) {
                    (Some(there), Some(back)) => both.max(there.min(back)),
                    (one, two) => both.max(one.or(two).unwrap_or_default()),
                };
            }
        }
        let (direction, since) = match (out, inward) {
            (Some(there), Some(back)) => (CutDirection::Both, there.min(back)),
            (Some(since), None) => (CutDirection::Out, since),
            (None, Some(since)) => (CutDirection::In, since),
            (None, None) => (CutDirection::Both, both),
        };
        let since = if since == SimTime::ZERO { "the start".to_owned() } else { since.to_string() };
        let own: Vec<NodeId> = group.iter().copied().collect();
        let has = if own.len() == 1 { "has" } else { "have" };
        let names = |nodes: &[NodeId]| self.names_of(nodes);
        match direction {
            CutDirection::Both => {
                format!("{} {has} been cut off from {} since {since}", names(&own), names(&others))
            }
            CutDirection::Out => {
                format!("frames of {} have not reached {} since {since}", names(&own), names(&others))
            }
            CutDirection::In => {
                format!("frames of {} have not reached {} since {since}", names(&others), names(&own))
            }
        }
    }

    /// Since when no frame gets from one node to another, if none does: the topology has no such link, it is down, a
    /// partition or a rule is in the way, or one of them is away.
    fn blocked_since(&self, from: NodeId, to: NodeId) -> Option<SimTime> {
        let router = self.world.router();
        let now = self.now();
        if !router.is_linked(from, to) {
            let away = [from, to].into_iter().filter_map(|node| self.world.away_since(node)).min();
            return Some(away.unwrap_or_default());
        }
        [
            router.partitions().blocked_since(from, to, now),
            router.rules().dropped_since(from, to, now),
            router.is_taken_down(from, to).then_some(SimTime::ZERO),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The nodes that are down. Those that are away are cut off.
    fn outages(&self) -> Vec<String> {
        let down = self.honest().filter_map(|(node, _)| Some((node, self.world.down_since(node)?)));
        let words = |(node, since): (NodeId, SimTime)| {
            format!("{} has been down since it crashed at {since}", self.name(node))
        };
        down.take(MOST_CAUSES).map(words).collect()
    }

    /// The pairs of nodes of which one does not accept the other's stamps.
    fn clock_gaps(&self) -> Vec<String> {
        let mut pairs = BTreeSet::new();
        for (node, peer) in self.pending_for(&[PendingReason::ClockDrift, PendingReason::StampAhead]) {
            pairs.insert((node.min(peer), node.max(peer)));
        }
        pairs.into_iter().take(MOST_CAUSES).map(|(one, two)| self.clock_words(one, two)).collect()
    }

    fn clock_words(&self, one: NodeId, two: NodeId) -> String {
        const NOTICEABLE_US: u64 = 1_000_000;
        let gap = self.world.clock_offset_us(one).saturating_sub(self.world.clock_offset_us(two));
        let (ahead, behind) = if gap > 0 { (one, two) } else { (two, one) };
        let ahead = self.name(ahead);
        let behind = self.name(behind);
        if gap.unsigned_abs() < NOTICEABLE_US {
            let history = self.history_ahead(one, two).or_else(|| self.history_ahead(two, one));
            return history.unwrap_or_else(|| {
                format!("one of {ahead} and {behind} has stamps from a clock that was far ahead")
            });
        }
        let gap = SimDuration::from_micros(gap.unsigned_abs());
        format!(
            "the clock of {ahead} is {gap} ahead of that of {behind}, which does not accept its stamps yet"
        )
    }

    /// Which of two nodes is ahead of time, as `node` sees it, and for how long still.
    fn history_ahead(&self, node: NodeId, peer: NodeId) -> Option<String> {
        let moment = Moment { now: self.now(), wall_ms: self.world.wall_ms(node) };
        let replicas = self.world.actor(node)?.replicas();
        let mut found = replicas.filter_map(SimReplica::replica).flat_map(|own| own.ahead_of_time(moment));
        let ahead = found.find(|ahead| ahead.peer.is_none_or(|other| NodeId::from(other) == peer))?;
        let who = self.name(ahead.peer.map_or(node, NodeId::from));
        let by = SimDuration::from_millis(ahead.ahead_ms);
        let left = SimDuration::from_millis(ahead.until_ms.saturating_sub(moment.wall_ms));
        Some(format!("the stamps of {who} are {by} ahead of time; they are accepted in {left}"))
    }

    /// The syncs that are pending for one of these reasons: the node, and the peer.
    fn pending_for(&self, reasons: &[PendingReason]) -> Vec<(NodeId, NodeId)> {
        let mut found = Vec::new();
        for (node, actor) in self.honest() {
            for replica in actor.replicas().filter_map(|replica| replica.replica()) {
                let fits = replica.pending_syncs().filter(|(_, reason)| reasons.contains(reason));
                found.extend(fits.map(|(peer, _)| (node, NodeId::from(peer))));
            }
        }
        found
    }

    /// The names of nodes as an enumeration. Of many, the first are named.
    pub(super) fn names_of(&self, nodes: &[NodeId]) -> String {
        const NAMED: usize = 5;
        let mut names: Vec<String> = nodes.iter().take(NAMED).map(|node| self.name(*node)).collect();
        if nodes.len() > NAMED {
            names.push(format!("{} others", nodes.len() - NAMED));
        }
        match names.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, before)) => format!("{} and {last}", before.join(", ")),
            None => "nobody".to_owned(),
        }
    }
}
