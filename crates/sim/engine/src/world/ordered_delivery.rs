//! Frames that connections carry, and links that are changed while the run goes on.

use crate::actor::Actor;
use crate::event::{Delivery, LinkChange, SimEvent};
use crate::network::{LinkProperties, Ticket, Turn};
use crate::node_id::NodeId;
use crate::world::{Stepped, World};

impl<A: Actor> World<A> {
    /// Hands a frame over if it is its turn; else it comes again, or ends with its connection.
    pub(super) fn deliver_in_turn(&mut self, ticket: Ticket, delivery: Delivery) -> Stepped<A::Notice> {
        let (from, to, now) = (delivery.from, delivery.to, self.clock.now());
        match self.router.turn(now, from, to, ticket) {
            Turn::Now => {
                if !self.is_up(to) {
                    // Nobody listens: the connection is refused, with all that is on its way.
                    self.router.break_connection(from, to);
                }
                let mut stepped = Stepped::at(None);
                self.deliver(&delivery, &mut stepped);
                stepped
            }
            Turn::Waits(at) | Turn::Stalls(at) => {
                self.note(20, u64::from(from.0) << 32 | u64::from(to.0), at.as_micros());
                self.schedule(at, SimEvent::DeliverInTurn(Box::new((ticket, delivery))));
                self.put_off();
                Stepped::at(None)
            }
            Turn::GivesUp | Turn::Broken => {
                self.note(21, u64::from(from.0) << 32 | u64::from(to.0), 0);
                if !delivery.housekeeping {
                    self.landed();
                }
                Stepped::at(None)
            }
        }
    }

    pub(super) fn on_link_change(&mut self, from: NodeId, to: NodeId, change: LinkChange) {
        let breaks = matches!(change, LinkChange::Breaks);
        self.note(22, u64::from(from.0) << 32 | u64::from(to.0), u64::from(breaks));
        match change {
            LinkChange::Becomes(properties) => {
                self.set_link(from, to, properties.map(|properties| *properties));
            }
            LinkChange::Breaks => {
                self.router.break_connection(from, to);
            }
        }
    }

    /// Says what one direction of a link is like from now on, or leaves it to chance again. Gives what
    /// was said before.
    pub fn set_link(
        &mut self,
        from: NodeId,
        to: NodeId,
        properties: Option<LinkProperties>,
    ) -> Option<LinkProperties> {
        self.router.set_link(from, to, properties, &mut self.choices)
    }
}
