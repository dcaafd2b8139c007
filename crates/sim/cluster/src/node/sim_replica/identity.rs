//! Crashes and restarts, replicas whose disk was replaced, and members of which a replica learns late.

use crate::disk_view::CheckedDiskView;
use crate::hostile;
use crate::node::sim_replica::SimReplica;
use sync_sim_engine::node_id::NodeId;
use syncline_replica::Replica;
use syncline_storage::Interface;
use syncline_store::MemoryStore;
use syncline_sync::Gate;
use syncline_types::{Digest, ReplicaId};

impl SimReplica {
    /// Takes the node down: memory and unsynced commits are lost.
    pub(in crate::node) fn crash(&mut self) {
        if let Some(adversary) = &mut self.adversary {
            adversary.crash();
        }
        self.root_before_crash = self.root();
        self.disk.crash();
        // The replica in memory may be ahead of the disk; while the node is down, the disk counts.
        if let Ok(mut state) = Interface::open(CheckedDiskView::from(self.disk()))
            && let Ok(root) = state.root_hash()
        {
            self.resting_root = root;
        }
        self.replica = None;
    }

    /// Restarts from the durable rows, or makes a `fresh` start.
    pub(in crate::node) fn restart(&mut self, fresh: bool, returns: bool) {
        if fresh || self.disk.has_lost_commits() {
            // The disk may have lost the incarnation. The host knows it too, but a sound disk must not need that.
            self.config.least_incarnation = self.starts + 1;
        }
        if fresh {
            self.start_fresh();
        } else if returns {
            self.bring_back();
        }
        self.disk.clear_loss();
        self.recover();
    }

    /// As [`SimNode::set_unnamed`](crate::node::SimNode::set_unnamed).
    pub(in crate::node) fn set_unnamed(&mut self, node: NodeId) {
        self.unnamed.insert(node);
        self.update_membership();
    }

    /// Whether the replica counts every member of the run as one. It never forgets a member.
    pub(crate) fn knows_all_members(&self) -> bool {
        self.unnamed.is_empty()
    }

    /// As [`SimNode::name_member`](crate::node::SimNode::name_member).
    pub(in crate::node) fn name_member(&mut self, node: NodeId) {
        self.unnamed.remove(&node);
        self.update_membership();
    }

    /// The node is down: its disk becomes a copy of the durable rows of `from`, and the replica goes on under the name
    /// that belongs to them. Nobody tells it that the rows are not its latest ones.
    pub(in crate::node) fn restore_disk(&mut self, from: &Self) {
        self.disk = self.disk.with_rows_of(from.durable());
        self.config.replica = from.config.replica;
        self.config.authority = from.config.authority.clone();
        self.config.least_incarnation = 1;
        self.disk_was_replaced();
    }

    /// The node is down: its disk is erased, and the replica goes on under its name. `counted` says whether the host
    /// knows how often it has started.
    pub(in crate::node) fn lose_disk(&mut self, counted: bool) {
        self.disk = self.disk.erased();
        self.config.least_incarnation = if counted { self.starts + 1 } else { 1 };
        self.disk_was_replaced();
    }

    /// Whether the id of the replica on this disk has another life, so that the next restart brings it back under a new
    /// one.
    pub(in crate::node) fn must_return(&self) -> bool {
        matches!(Replica::conflict_in(&CheckedDiskView::from(self.disk())), Ok(Some(_)))
    }

    /// Brings the replica back under a new id, with all that it has written under the present one, as the host of a
    /// stopped replica does.
    pub(in crate::node) fn bring_back(&mut self) {
        let former = self.config.replica;
        self.change_id();
        self.returns += 1;
        let mut rows = MemoryStore::default();
        let back =
            Replica::<MemoryStore>::bring_back(self.config.clone(), former, &self.disk.view(), &mut rows);
        match back {
            Ok(_) => self.disk = self.disk.with_rows_of(&rows),
            Err(error) => self.stopped = Some(error.to_string()),
        }
    }

    /// The replica that a restart would make of the rows on disk; `None` if it would fail.
    pub(crate) fn after_restart(&self) -> Option<Replica<CheckedDiskView>> {
        let recovered = Replica::recover(self.config.clone(), &CheckedDiskView::from(self.disk()));
        recovered.ok().map(|(replica, _)| replica)
    }

    /// Imitates a replica whose memory does not belong to its disk.
    #[cfg(test)]
    pub(crate) fn replace_rows(&mut self, rows: MemoryStore) {
        self.disk = crate::node::SimDisk::with_rows(rows);
    }

    /// The replica does not know the key that all others share.
    pub(in crate::node) fn forget_group_key(&mut self) {
        let authority = hostile::eavesdropper();
        self.configure(&mut |config| config.authority = authority.clone());
    }

    /// Whether the run has hostile nodes.
    pub(crate) const fn is_beside_hostile(&self) -> bool {
        self.roles.is_some()
    }

    /// The gate with which an author signs its deltas: its own key, or that of the group.
    pub(crate) fn gate_of(&self, author: ReplicaId) -> Gate {
        let authority =
            if self.has_own_key { hostile::authority(author) } else { self.config.authority.clone() };
        Gate { context: self.config.context, authority, ..Gate::default() }
    }

    fn disk_was_replaced(&mut self) {
        assert!(self.replica.is_none(), "a disk is replaced while its node is down");
        self.is_damaged = false;
        let root = self.state().and_then(|mut state| state.root_hash());
        self.resting_root = root.unwrap_or(Digest::ZERO);
    }
}
