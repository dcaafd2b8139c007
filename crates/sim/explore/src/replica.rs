//! Exploration of the real replica.

use crate::Explorable;
use crate::invariants::ReplicaInvariants;
use crate::report::{SearchProgress, SearchReport};
use crate::scope::Scope;
use crate::search::Explorer;
use crate::state_hash::StateHasher;
use crate::writes::WriteKind;
use sync_sim_cluster::checks::{self, InspectedReplica, RowScratch};
use sync_sim_cluster::node::{ContextNotice, SimNode, TimerId};
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_cluster::verdict::Check;
use sync_sim_cluster::wording::outcome_words;
use sync_sim_engine::actor::Actor;
use sync_sim_engine::node_id::NodeId;
use syncline_replica::{FrameKind, Notice};
use syncline_store::ReadView;
use syncline_types::Encode;

impl Explorer<SimNode, ReplicaInvariants> {
    /// Prepares the exploration of the nodes of a run, in their initial states. The network, the faults and the
    /// workload of the run take no part.
    ///
    /// # Panics
    ///
    /// If the run has begun, or its nodes have several contexts.
    pub fn of(rt: &SimRuntime, scope: Scope) -> Self {
        assert!(rt.events_processed() == 0, "the run has begun; its frames in flight would be lost");
        assert!(rt.contexts() == 1, "nodes are explored with one context; these have {}", rt.contexts());
        let nodes = rt.node_ids().into_iter().map(|node| (rt.name(node), rt.node(node).clone()));
        Self::new(nodes.collect(), ReplicaInvariants::of(rt), scope)
    }

    /// Plans writes with one target, by the nodes in turn: the first write for the first node, and so on.
    pub fn write_concurrently(&mut self, kind: WriteKind, writes: usize) {
        let nodes = self.names.len().max(1);
        for number in 0..writes {
            self.write(NodeId((number % nodes) as u32), kind.write(number));
        }
    }

    /// [`Explorer::run`] for real replicas. It is not generic, so that the whole search is compiled in this
    /// crate and not once more in every crate that calls it.
    pub fn run_replicas(&mut self, go_on: &mut dyn FnMut(&SearchProgress) -> bool) -> SearchReport {
        self.run(go_on)
    }
}

impl Explorable for SimNode {
    fn write_state(&self, out: &mut StateHasher) {
        // Every row of the disk. No key begins with so many 0xff bytes, so the range holds all of them.
        for (key, value) in self.disk().range(&[], &[0xff; 64], usize::MAX).unwrap_or_default() {
            out.bytes(&key);
            out.bytes(&value);
        }
        out.bytes(self.stopped().unwrap_or_default().as_bytes());
        self.in_context(0).each_of_identity(&mut |bytes| out.bytes(bytes));
        // A state that was reached at too great a cost is none that was reached in another way.
        out.number(u64::from(self.in_context(0).over_budget().is_some()));
        self.in_context(0).each_remembered(&mut |bytes| out.bytes(bytes));
        if let Some(replica) = self.replica() {
            replica.write_state(out).expect("the hasher accepts any text");
        }
    }

    fn write_judged(&self, out: &mut StateHasher) {
        out.bytes(&self.digest().0);
        // Whether a replica has what it covers.
        self.in_context(0).log().covered().entries().for_each(|dot| out.bytes(&dot.to_bytes()));
    }

    fn has_new_name(&self, before: &Self) -> bool {
        self.identity().0 != before.identity().0
    }

    fn learn_name(&mut self, other: &Self) {
        self.add_member(other.identity().0);
    }

    fn violation(&self, name: &str) -> Option<Check> {
        let replica = InspectedReplica::of(name.to_owned(), self.in_context(0));
        checks::of_replica(&replica, &mut RowScratch::default())
    }

    fn describe_frame(kind: u8) -> String {
        let kind = FrameKind::ALL.into_iter().find(|known| *known as u8 == kind);
        let words = match kind {
            Some(FrameKind::Delta) => "delta",
            Some(FrameKind::Heartbeat) => "heartbeat",
            Some(FrameKind::DeltaFetch) => "fetch of deltas",
            Some(FrameKind::Handshake) => "handshake",
            Some(FrameKind::DeltaSync) => "sync of deltas",
            Some(FrameKind::Exchange) => "exchange",
            Some(FrameKind::Snapshot) => "snapshot",
            None => "of unknown kind",
        };
        words.to_owned()
    }

    fn recurs(timer: u64) -> bool {
        // A replica that recovers its former history waits for peers that it has not heard of yet.
        TimerId::from_number(timer) == TimerId::Recovery
    }

    fn describe_timer(timer: u64) -> String {
        TimerId::from_number(timer).words()
    }

    fn describe_notice(ContextNotice { notice, .. }: &ContextNotice) -> Option<String> {
        Some(match notice {
            Notice::SessionEnded { outcome, .. } => format!("its session ends: {}", outcome_words(outcome)),
            Notice::WriteRefused { error } => format!("the write is refused: {error}"),
            Notice::DeltaDiscarded { refusal, .. } => {
                format!("a buffered delta is discarded: {refusal}")
            }
            Notice::TombstonesCollected { records, .. } => format!("{records} tombstones are collected"),
            _ => return None,
        })
    }
}
