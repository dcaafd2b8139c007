//! What the engine tells a history, if one is kept. Nothing here runs otherwise.

use crate::actor::Actor;
use crate::event::SimEvent;
use crate::history::{Copy, Frame, History, Note, Recorder, What};
use crate::network::{Arrivals, DropCause, Envelope, Fates, PartitionId};
use crate::node_id::NodeId;
use crate::world::{Stepped, World};

impl<A: Actor> World<A> {
    /// Keeps a history from now on, of the last `limit` entries and frames.
    pub fn keep_history(&mut self, limit: usize) {
        self.log = Some(Box::new(Recorder::new(limit)));
    }

    /// Whether a history is kept.
    pub const fn is_recording(&self) -> bool {
        self.log.is_some()
    }

    /// The history, if one is kept.
    pub fn history(&self) -> Option<&History> {
        self.log.as_ref().map(|log| log.history())
    }

    /// The history so far, if the world records one.
    pub fn history_mut(&mut self) -> Option<&mut History> {
        self.log.as_mut().map(|log| log.history_mut())
    }

    /// The last entry of a node has something to say.
    pub fn note_in_history(&mut self, node: NodeId, note: Note) {
        if let Some(log) = &mut self.log {
            log.note(node, note);
        }
    }

    /// The frame that is arriving comes again, as what was scheduled last.
    pub(super) fn put_off(&mut self) {
        if let Some(log) = &mut self.log {
            log.put_off();
        }
    }

    /// A partition was put up, or taken down, from outside.
    pub fn record_outside(&mut self, what: What) {
        self.open_entry(None, what);
        self.close_entry();
    }

    /// A node did something before the run began.
    pub fn record_early(&mut self, node: NodeId, what: What, note: Note) {
        self.open_entry(Some(node), what);
        self.close_entry();
        self.note_in_history(node, note);
    }

    /// Something happens that is no event of the queue.
    pub(super) fn open_entry(&mut self, node: Option<NodeId>, what: What) {
        let now = (self.events(), self.clock.now());
        if let Some(log) = &mut self.log {
            log.open(now, None, node, what);
        }
    }

    pub(super) fn close_entry(&mut self) {
        let Some(History { entries, .. }) = self.history() else { return };
        let node = entries.back().and_then(|entry| entry.node);
        let digest = node.map_or(0, |node| self.digest(node).short());
        if let Some(log) = &mut self.log {
            log.close(digest, false);
        }
    }

    /// Takes an event and writes it down.
    pub(super) fn take_recorded(
        &mut self,
        number: u64,
        event: SimEvent<A::Op>,
        stepped: &mut Stepped<A::Notice>,
    ) {
        let (node, what) = describe(&event);
        let now = (self.events(), self.clock.now());
        let (trace, moves) = (self.trace(), self.moves());
        let fates = self.router.fates.clone();
        let arrives = matches!(event, SimEvent::DeliverMessage(_) | SimEvent::DeliverInTurn(_));
        let digest = node.map_or(0, |node| self.digest(node).short());
        if let Some(log) = &mut self.log {
            log.open(now, Some(number), node, what);
        }
        let splits = matches!(event, SimEvent::PartitionStart | SimEvent::PartitionAt { .. });
        self.take(&mut Some(event), stepped);
        if splits {
            let partition = self.router.partitions.started();
            let cut = self.router.partitions.spec(PartitionId(partition)).cloned();
            if let Some(log) = &mut self.log {
                log.restate(What::PartitionStart { partition, cut });
            }
        }
        if arrives {
            let dropped = stepped.refused.or_else(|| dropped_since(&fates, &self.router.fates));
            if let Some(log) = &mut self.log {
                log.arrived(stepped.accepted, dropped);
            }
        }
        let after = node.map_or(0, |node| self.digest(node).short());
        // A timer that was moved, a restart that was overtaken: the trace does not know of it either.
        let nothing = trace == self.trace() && moves == self.moves();
        let Some(log) = &mut self.log else { return };
        if nothing {
            log.discard();
            return;
        }
        log.close(after, digest != after);
        if let Some(node) = node {
            if stepped.crashed {
                log.note(node, Note::WentDown);
            }
            if stepped.restarted {
                log.note(node, Note::CameBack);
            }
        }
    }

    /// A frame was handed to the network, which had accounted for `before` until then.
    pub(super) fn record_frame(
        &mut self,
        frame: Envelope,
        housekeeping: bool,
        arrivals: &Arrivals,
        before: &Fates,
    ) {
        let Envelope { from, to, kind, bytes } = frame;
        let now = self.clock.now();
        let mut copies: Vec<Copy> =
            arrivals.copies().map(|copy| Copy::on_its_way(copy.at, copy.flipped.is_some())).collect();
        if copies.is_empty() {
            copies.push(Copy::dropped(now, dropped_since(before, &self.router.fates)));
        }
        let at_us = now.as_micros();
        let frame = Frame { number: 0, from, to, kind, bytes, housekeeping, at_us, by: None, copies };
        if let Some(log) = &mut self.log {
            log.sent(frame);
        }
    }
}

/// Why a frame was dropped between two accounts.
pub(super) fn dropped_since(before: &Fates, after: &Fates) -> Option<DropCause> {
    DropCause::ALL.into_iter().find(|cause| after.dropped(*cause) > before.dropped(*cause))
}

fn describe<Op>(event: &SimEvent<Op>) -> (Option<NodeId>, What) {
    match *event {
        SimEvent::DeliverMessage(ref delivery) => {
            // The recorder knows which frame it is.
            (Some(delivery.to), What::Arrival { frame: u64::MAX, copy: 0 })
        }
        SimEvent::DeliverInTurn(ref arriving) => {
            (Some(arriving.1.to), What::Arrival { frame: u64::MAX, copy: 0 })
        }
        SimEvent::LinkChanged { from, to, .. } => (None, What::LinkChanged { from, to }),
        SimEvent::TimerFired { node, timer, .. } => (Some(node), What::Timer { timer }),
        SimEvent::NodeCrash { node, point, .. } => (Some(node), What::Crash { point: Some(point) }),
        SimEvent::ChanceCrash { node } => (Some(node), What::Crash { point: None }),
        SimEvent::NodeRestart { node, .. } => (Some(node), What::Restart),
        SimEvent::PartitionStart | SimEvent::PartitionAt { .. } => {
            (None, What::PartitionStart { partition: 0, cut: None })
        }
        SimEvent::PartitionEnd { partition } => (None, What::PartitionEnd { partition: partition.0 }),
        SimEvent::NodeLeave { node, .. } | SimEvent::ChanceLeave { node } => (Some(node), What::Leave),
        SimEvent::NodeReturn { node, .. } => (Some(node), What::Return),
        SimEvent::NodeRetire { node } => (Some(node), What::Retire),
        SimEvent::NodeJoin { node } => (Some(node), What::Join),
        SimEvent::ReachChanged { node } => (Some(node), What::ReachChanged),
        SimEvent::Host { node, what } => (Some(node), What::Host { what: what.words() }),
        SimEvent::Op { node, .. } => (Some(node), What::Write),
    }
}
