//! The end of all faults: what a run needs to show that it converges once nothing goes wrong.

use crate::actor::Actor;
use crate::event::SimEvent;
use crate::faults::FaultConfig;
use crate::node_id::NodeId;
use crate::world::World;
use crate::world::host_event::HostEvent;
use syncline_types::SimTime;

impl<A: Actor> World<A> {
    /// Advances the clock to `at` and [heals](World::heal) the world then.
    ///
    /// # Panics
    ///
    /// If `at` is past.
    pub fn heal_at(&mut self, at: SimTime) {
        self.clock.advance_to(at);
        self.heal();
    }

    /// Ends every fault, including those that are scheduled: the network is whole and loses nothing, nodes
    /// that are down or away come back now, clocks are right, disks sync, and no node pauses. Frames in
    /// flight, timers and writes stay.
    pub fn heal(&mut self) {
        self.set_chaos_until(self.clock.now());
        self.retain_events(|event| match event {
            SimEvent::DeliverMessage(_)
            | SimEvent::DeliverInTurn(_)
            | SimEvent::TimerFired { .. }
            | SimEvent::Op { .. }
            | SimEvent::NodeRestart { .. }
            | SimEvent::NodeReturn { .. }
            | SimEvent::NodeJoin { .. }
            | SimEvent::NodeRetire { .. }
            | SimEvent::ReachChanged { .. }
            | SimEvent::Host { what: HostEvent::Wake(_) | HostEvent::Scrub, .. } => true,
            SimEvent::NodeCrash { .. }
            | SimEvent::ChanceCrash { .. }
            | SimEvent::PartitionStart
            | SimEvent::PartitionAt { .. }
            | SimEvent::PartitionEnd { .. }
            | SimEvent::LinkChanged { .. }
            | SimEvent::NodeLeave { .. }
            | SimEvent::ChanceLeave { .. }
            | SimEvent::Host { .. } => false,
        });
        // Latency is no fault and stays. Host faults are over because chaos is; their rates stay, since a
        // node that joins later draws its host from them.
        self.faults = FaultConfig { hosts: self.faults.hosts.clone(), ..FaultConfig::none() }
            .with_latency(self.faults.base_latency_ms, self.faults.latency_jitter_ms);
        self.router.heal();
        self.heal_hosts();
        let now = self.clock.now();
        for node in (0..self.len() as u32).map(NodeId) {
            let slot = &mut self.nodes[node.index()];
            slot.armed = None;
            let down = !slot.up && slot.takes_part();
            let away = slot.away && !slot.retired;
            // A restart or a return that is scheduled for later finds the node back and does nothing.
            if down {
                self.schedule(now, SimEvent::NodeRestart { node, crash: None });
            }
            if away {
                self.schedule(now, SimEvent::NodeReturn { node, departure: None });
            }
        }
    }
}
