//! A world in which nothing goes wrong any more.

use crate::actor::Actor;
use crate::event::SimEvent;
use crate::node_id::NodeId;
use crate::world::World;
use crate::world::host::HostEvent;

impl<A: Actor> World<A> {
    /// Takes every fault away, those that are still to come too: the network is whole and loses nothing,
    /// who is down or away comes back
    /// now, clocks are right, disks honest, and nobody pauses. What is on its way, timers and writes stay.
    pub fn heal(&mut self) {
        self.unleash(self.clock.now());
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
        self.router.heal();
        self.heal_hosts();
        let now = self.clock.now();
        for node in (0..self.len() as u32).map(NodeId) {
            let Some(slot) = self.slot_mut(node) else { continue };
            slot.armed = None;
            let (down, away) = (!slot.up && !slot.late && !slot.retired, slot.away && !slot.retired);
            if down {
                self.schedule(now, SimEvent::NodeRestart { node, crash: None });
            }
            if away {
                self.schedule(now, SimEvent::NodeReturn { node, departure: None });
            }
        }
    }
}
