//! In-order delivery of frames over connections, and links that change while the run goes on.

use crate::actor::Actor;
use crate::event::{Delivery, LinkChange, SimEvent};
use crate::network::{DeliveryDecision, StreamPosition};
use crate::node_id::NodeId;
use crate::world::trace_digest::TraceEvent;
use crate::world::{StepReport, World};

impl<A: Actor> World<A> {
    /// Delivers a frame if all frames before it on its connection were delivered. Otherwise schedules it
    /// again, or drops it with its connection.
    pub(super) fn deliver_in_turn(
        &mut self,
        position: StreamPosition,
        delivery: Delivery,
    ) -> StepReport<A::Notice> {
        let Delivery { from, to, housekeeping, .. } = delivery;
        let ends = u64::from(from.0) << 32 | u64::from(to.0);
        match self.router.decide_delivery(self.clock.now(), from, to, position) {
            DeliveryDecision::Deliver => {
                if !self.is_up(to) {
                    // The receiver refuses the connection, and everything in flight on it is lost.
                    self.router.break_connection(from, to);
                }
                let mut report = StepReport::at(None);
                self.deliver(&delivery, &mut report);
                report
            }
            DeliveryDecision::WaitUntil(at) | DeliveryDecision::StallUntil(at) => {
                self.note(TraceEvent::FrameDeferred, ends, at.as_micros());
                self.schedule(at, SimEvent::DeliverInTurn(Box::new((position, delivery))));
                // Directly after the scheduling: the record refers to the event that was scheduled last.
                self.record_deferred_arrival();
                StepReport::at(None)
            }
            DeliveryDecision::TimedOut | DeliveryDecision::Broken => {
                self.note(TraceEvent::FrameReset, ends, 0);
                if !housekeeping {
                    self.frame_landed();
                }
                StepReport::at(None)
            }
        }
    }

    pub(super) fn on_link_change(&mut self, from: NodeId, to: NodeId, change: LinkChange) {
        let breaks = matches!(change, LinkChange::Breaks);
        self.note(TraceEvent::LinkChanged, u64::from(from.0) << 32 | u64::from(to.0), u64::from(breaks));
        match change {
            LinkChange::Becomes(properties) => {
                self.set_link(from, to, properties.map(|properties| *properties));
            }
            LinkChange::Breaks => {
                self.router.break_connection(from, to);
            }
        }
    }
}
