//! Partitions: which nodes cannot reach each other, and until when.

use crate::node_id::NodeId;
use serde::Serialize;
use syncline_types::SimTime;

/// A kind of partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionSpec {
    /// Two nodes cannot reach each other.
    Bidirectional(NodeId, NodeId),
    /// Frames from one node do not reach another; the other direction is open.
    #[allow(missing_docs, reason = "the fields' names say what they hold")]
    OneWay { from: NodeId, to: NodeId },
    /// Frames from the nodes in `from` do not reach those in `to`; the other direction is open.
    #[allow(missing_docs, reason = "the fields' names say what they hold")]
    OneWayGroups { from: Vec<NodeId>, to: Vec<NodeId> },
    /// Nodes of different groups cannot reach each other. A node in no group reaches all.
    Groups(Vec<Vec<NodeId>>),
}

impl PartitionSpec {
    /// Whether the partition blocks frames from `from` to `to`.
    pub fn blocks(&self, from: NodeId, to: NodeId) -> bool {
        match self {
            Self::Bidirectional(a, b) => (*a, *b) == (from, to) || (*b, *a) == (from, to),
            Self::OneWay { from: a, to: b } => (*a, *b) == (from, to),
            Self::OneWayGroups { from: senders, to: receivers } => {
                senders.contains(&from) && receivers.contains(&to)
            }
            Self::Groups(groups) => {
                let group = |node| groups.iter().position(|group| group.contains(&node));
                matches!((group(from), group(to)), (Some(a), Some(b)) if a != b)
            }
        }
    }
}

impl PartitionSpec {
    /// Who is separated, in words. `name` gives the names of nodes.
    pub fn words(&self, name: &dyn Fn(NodeId) -> String) -> String {
        let names = |nodes: &[NodeId]| nodes.iter().map(|node| name(*node)).collect::<Vec<_>>().join(", ");
        match self {
            Self::Bidirectional(a, b) => format!("{} | {}", name(*a), name(*b)),
            Self::OneWay { from, to } => format!("{} does not reach {}", name(*from), name(*to)),
            Self::OneWayGroups { from, to } => format!("{} do not reach {}", names(from), names(to)),
            Self::Groups(groups) => groups.iter().map(|group| names(group)).collect::<Vec<_>>().join(" | "),
        }
    }
}

/// Identifies a partition, so that it can be ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PartitionId(pub u64);

/// A partition that was started and has not been healed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActivePartition {
    id: PartitionId,
    /// Who is separated.
    pub spec: PartitionSpec,
    /// When it started.
    pub since: SimTime,
    /// When it ends, if it is not healed before.
    pub end: Option<SimTime>,
}

impl ActivePartition {
    /// Whether it has not ended at `now`. The end is exclusive: at that instant frames pass, even before the event of the
    /// end is taken.
    fn is_up(&self, now: SimTime) -> bool {
        self.end.is_none_or(|end| now < end)
    }
}

/// The partitions of a run. A query costs O(partitions that are up).
#[derive(Clone, Debug, Default)]
pub struct PartitionManager {
    up: Vec<ActivePartition>,
    started: u64,
    one_way: u64,
    groups: u64,
}

impl PartitionManager {
    /// Starts a partition at `since` that lasts until `end`, or until it is healed.
    pub fn add(&mut self, spec: PartitionSpec, since: SimTime, end: Option<SimTime>) -> PartitionId {
        self.started += 1;
        match &spec {
            PartitionSpec::OneWay { .. } | PartitionSpec::OneWayGroups { .. } => self.one_way += 1,
            PartitionSpec::Groups(groups) => self.groups += u64::from(groups.len() > 2),
            PartitionSpec::Bidirectional(..) => {}
        }
        let id = PartitionId(self.started);
        self.up.push(ActivePartition { id, spec, since, end });
        id
    }

    /// Ends one partition. Returns whether it was still up.
    pub fn heal(&mut self, id: PartitionId) -> bool {
        let before = self.up.len();
        self.up.retain(|own| own.id != id);
        self.up.len() < before
    }

    /// Ends every partition between exactly these two nodes, in either direction.
    pub fn heal_between(&mut self, a: NodeId, b: NodeId) {
        self.up.retain(|own| match &own.spec {
            PartitionSpec::Bidirectional(..) | PartitionSpec::OneWay { .. } => {
                !(own.spec.blocks(a, b) || own.spec.blocks(b, a))
            }
            // A partition of groups may separate other nodes too: ending it could heal more than these two.
            PartitionSpec::OneWayGroups { .. } | PartitionSpec::Groups(_) => true,
        });
    }

    /// Ends all partitions that are up.
    pub fn heal_all(&mut self) {
        self.up.clear();
    }

    /// Whether frames from `from` to `to` are blocked at `now`.
    pub fn is_partitioned(&self, from: NodeId, to: NodeId, now: SimTime) -> bool {
        self.up.iter().any(|own| own.is_up(now) && own.spec.blocks(from, to))
    }

    /// Since when frames from `from` to `to` are blocked, if they are at `now`.
    pub fn blocked_since(&self, from: NodeId, to: NodeId, now: SimTime) -> Option<SimTime> {
        let blocking = self.active(now).filter(|own| own.spec.blocks(from, to));
        blocking.map(|own| own.since).min()
    }

    /// The partitions that are up at `now`, in the order in which they started.
    pub fn active(&self, now: SimTime) -> impl Iterator<Item = &ActivePartition> {
        self.up.iter().filter(move |own| own.is_up(now))
    }

    /// The specification of a partition that is up.
    pub fn spec(&self, id: PartitionId) -> Option<&PartitionSpec> {
        self.up.iter().find(|own| own.id == id).map(|own| &own.spec)
    }

    /// How many partitions were started so far.
    pub const fn started(&self) -> u64 {
        self.started
    }

    /// How many partitions in one direction were started so far.
    pub const fn one_way(&self) -> u64 {
        self.one_way
    }

    /// How many partitions into more than two groups were started so far.
    pub const fn into_groups(&self) -> u64 {
        self.groups
    }

    /// Whether any partition is up at `now`.
    pub fn any_up(&self, now: SimTime) -> bool {
        self.active(now).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);
    const C: NodeId = NodeId(2);

    #[test]
    fn each_kind_blocks_its_frames() {
        let both = PartitionSpec::Bidirectional(A, B);
        assert!(both.blocks(A, B) && both.blocks(B, A) && !both.blocks(A, C));
        let one = PartitionSpec::OneWay { from: A, to: B };
        assert!(one.blocks(A, B) && !one.blocks(B, A));
        let sides = PartitionSpec::OneWayGroups { from: vec![A, C], to: vec![B] };
        assert!(sides.blocks(A, B) && sides.blocks(C, B) && !sides.blocks(B, A) && !sides.blocks(A, C));
        let groups = PartitionSpec::Groups(vec![vec![A], vec![B]]);
        assert!(groups.blocks(A, B) && !groups.blocks(A, C) && !groups.blocks(C, B));
    }

    #[test]
    fn partitions_end_in_time_or_healed() {
        let mut partitions = PartitionManager::default();
        partitions.add(PartitionSpec::Bidirectional(A, B), 2.into(), Some(5.into()));
        assert_eq!(partitions.blocked_since(B, A, 4.into()), Some(2.into()));
        let lasting = partitions.add(PartitionSpec::OneWay { from: A, to: C }, 3.into(), None);
        assert!(partitions.is_partitioned(B, A, 4.into()) && !partitions.is_partitioned(B, A, 5.into()));
        assert!(partitions.is_partitioned(A, C, 9.into()));
        assert!(partitions.heal(lasting) && !partitions.heal(lasting));
        assert!(!partitions.any_up(5.into()));
        partitions.add(PartitionSpec::OneWay { from: A, to: B }, 6.into(), None);
        partitions.heal_between(B, A);
        assert!(!partitions.is_partitioned(A, B, 6.into()));
    }
}
