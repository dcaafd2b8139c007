//! Nodes as a batch sees and changes them.

use super::kept::Kept;
use super::node::{BUCKET, Entry, Node, bucket_hash, inner_hash};
use super::prefix::Prefix;
use syncline_types::Digest;

/// A node as this batch sees it, with those nodes below it that the batch has touched.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) node: HeldNode,
    /// Differs from the view.
    pub(super) dirty: bool,
    /// Its hash, or that of a node below it, is out of date in its parent.
    pub(super) stale: bool,
}

#[derive(Clone, Debug)]
pub(super) enum HeldNode {
    Bucket(Vec<Entry>),
    Inner(Box<Inner>),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inner {
    pub(super) count: u64,
    pub(super) slots: [Digest; 16],
    /// By nibble. What is not here is as the view has it, if a slot names it.
    pub(super) below: [Option<Held>; 16],
}

impl Held {
    pub(super) const fn new(node: HeldNode, changed: bool) -> Self {
        Self { node, dirty: changed, stale: changed }
    }

    /// The node of a row.
    pub(super) fn of_row(node: Node) -> Self {
        let node = match node {
            Node::Bucket(entries) => HeldNode::Bucket(entries),
            Node::Inner { count, slots } => {
                HeldNode::Inner(Box::new(Inner { count, slots: *slots, ..Inner::default() }))
            }
        };
        Self::new(node, false)
    }

    /// A node that the store keeps.
    pub(super) fn of_kept(kept: &Kept) -> Self {
        let node = match kept {
            Kept::Bucket(own) => {
                // With room for one more.
                let mut entries = Vec::with_capacity(own.len() + 1);
                entries.extend_from_slice(own);
                HeldNode::Bucket(entries)
            }
            Kept::Inner(inner) => HeldNode::Inner(Box::new(Inner {
                count: inner.count,
                slots: inner.slots,
                ..Inner::default()
            })),
        };
        Self::new(node, false)
    }

    /// A subtree of these entries under `prefix`, split over as many levels as they need.
    pub(super) fn of(entries: Vec<Entry>, prefix: Prefix) -> Self {
        if entries.len() <= BUCKET || prefix.len() == Prefix::MAX_LEN {
            return Self::new(HeldNode::Bucket(entries), true);
        }
        let mut inner = Box::new(Inner { count: entries.len() as u64, ..Inner::default() });
        let mut groups: [Vec<Entry>; 16] = Default::default();
        for entry in entries {
            if let Some(group) = groups.get_mut(prefix.next_nibble(entry.id)) {
                group.push(entry);
            }
        }
        for ((nibble, group), slot) in (0u8..).zip(groups).zip(&mut inner.below) {
            *slot = (!group.is_empty()).then(|| Self::of(group, prefix.child(nibble)));
        }
        Self::new(HeldNode::Inner(inner), true)
    }

    /// Brings the slots of every stale node here and below up to date, and gives the hash of this one.
    pub(super) fn refresh(&mut self, hashes: &mut u64) -> Digest {
        if std::mem::take(&mut self.stale)
            && let HeldNode::Inner(inner) = &mut self.node
        {
            for (hash, child) in inner.slots.iter_mut().zip(&mut inner.below) {
                if let Some(child) = child.as_mut().filter(|child| child.stale) {
                    *hash = child.refresh(hashes);
                }
            }
        }
        *hashes += 1;
        self.hash()
    }

    /// Its hash, if the slots are up to date.
    pub(super) fn hash(&self) -> Digest {
        match &self.node {
            HeldNode::Bucket(entries) => bucket_hash(entries),
            HeldNode::Inner(inner) => inner_hash(&inner.slots),
        }
    }

    /// A copy of the node without what is below it.
    pub(super) fn to_node(&self) -> Node {
        match &self.node {
            HeldNode::Bucket(entries) => Node::Bucket(entries.clone()),
            HeldNode::Inner(inner) => Node::Inner { count: inner.count, slots: Box::new(inner.slots) },
        }
    }
}
