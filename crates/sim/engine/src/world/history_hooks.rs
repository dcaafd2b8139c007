//! What the engine reports to a history, if the run records one. Otherwise none of this code runs.

use crate::actor::Actor;
use crate::event::SimEvent;
use crate::history::{EntryKind, FrameCopy, FrameRecord, History, Note, Recorder};
use crate::network::{Arrivals, DropCause, Envelope, Fates, PartitionId};
use crate::node_id::NodeId;
use crate::world::{StepReport, World};

impl<A: Actor> World<A> {
    /// Records a history from now on, of the last `limit` entries and frames.
    pub fn record_history(&mut self, limit: usize) {
        self.log = Some(Box::new(Recorder::new(limit)));
    }

    /// Whether the run records a history.
    pub const fn is_recording(&self) -> bool {
        self.log.is_some()
    }

    /// The history so far, if the run records one.
    pub fn history(&self) -> Option<&History> {
        self.log.as_ref().map(|log| log.history())
    }

    /// The history so far, if the run records one, to name its nodes and kinds of frames.
    pub fn history_mut(&mut self) -> Option<&mut History> {
        self.log.as_mut().map(|log| log.history_mut())
    }

    /// Adds a note to the last entry of a node.
    pub fn note_in_history(&mut self, node: NodeId, note: Note) {
        if let Some(log) = &mut self.log {
            log.note(node, note);
        }
    }

    /// The frame of the current entry was not delivered: it arrives again, by the event that was scheduled
    /// last.
    pub(super) fn record_deferred_arrival(&mut self) {
        if let Some(log) = &mut self.log {
            log.defer_arrival();
        }
    }

    /// Records a change from outside that is no event of the queue.
    pub(super) fn record_outside(&mut self, what: EntryKind) {
        self.open_entry(None, what);
        self.close_entry();
    }

    /// Records what a node did before the run began.
    pub fn record_early(&mut self, node: NodeId, what: EntryKind, note: Note) {
        self.open_entry(Some(node), what);
        self.close_entry();
        self.note_in_history(node, note);
    }

    /// Opens an entry for something that is no event of the queue.
    pub(super) fn open_entry(&mut self, node: Option<NodeId>, what: EntryKind) {
        let now = (self.events(), self.clock.now());
        if let Some(log) = &mut self.log {
            log.open(now, None, node, what);
        }
    }

    pub(super) fn close_entry(&mut self) {
        // Without a history there is no entry to close.
        let Some(History { entries, .. }) = self.history() else { return };
        let node = entries.back().and_then(|entry| entry.node);
        let digest = node.map_or(0, |node| self.digest(node).short());
        if let Some(log) = &mut self.log {
            log.close(digest, false);
        }
    }

    /// Takes an event and records it.
    pub(super) fn take_recorded(
        &mut self,
        number: u64,
        event: SimEvent<A::Op>,
        report: &mut StepReport<A::Notice>,
    ) {
        let (node, what) = describe::<A>(&event);
        let now = (self.events(), self.clock.now());
        let trace = self.trace();
        let progress = self.progress();
        let fates = self.router.fates().clone();
        let arrives = matches!(event, SimEvent::DeliverMessage(_) | SimEvent::DeliverInTurn(_));
        let digest = node.map_or(0, |node| self.digest(node).short());
        if let Some(log) = &mut self.log {
            log.open(now, Some(number), node, what);
        }
        let splits = matches!(event, SimEvent::PartitionStart | SimEvent::PartitionAt { .. });
        self.take(&mut Some(event), report);
        if splits {
            let partition = self.router.partitions().started();
            let cut = self.router.partitions().spec(PartitionId(partition)).cloned();
            if let Some(log) = &mut self.log {
                log.restate(EntryKind::PartitionStart { partition, cut });
            }
        }
        if arrives {
            let dropped = report.refused.or_else(|| dropped_since(&fates, self.router.fates()));
            if let Some(log) = &mut self.log {
                log.arrived(report.accepted, dropped);
            }
        }
        let after = node.map_or(0, |node| self.digest(node).short());
        // An obsolete timer does nothing: neither the trace digest nor the history contains it. All other
        // events are noted in the trace.
        let did_nothing = trace == self.trace() && progress == self.progress();
        let Some(log) = &mut self.log else { unreachable!("the history of a run is never removed") };
        if did_nothing {
            log.discard();
            return;
        }
        log.close(after, digest != after);
        if let Some(node) = node {
            if report.crashed {
                log.note(node, Note::WentDown);
            }
            if report.restarted {
                log.note(node, Note::CameBack);
            }
        }
    }

    /// Records a frame that was handed to the network. `before` are the fates before that.
    pub(super) fn record_frame(
        &mut self,
        frame: Envelope,
        housekeeping: bool,
        arrivals: &Arrivals,
        before: &Fates,
    ) {
        let Envelope { from, to, kind, bytes } = frame;
        let now = self.clock.now();
        let mut copies: Vec<FrameCopy> =
            arrivals.copies().map(|copy| FrameCopy::in_flight(copy.at, copy.flipped.is_some())).collect();
        if copies.is_empty() {
            copies.push(FrameCopy::dropped(now, dropped_since(before, self.router.fates())));
        }
        let at_us = now.as_micros();
        let frame = FrameRecord { number: 0, from, to, kind, bytes, housekeeping, at_us, by: None, copies };
        if let Some(log) = &mut self.log {
            log.sent(frame);
        }
    }
}

/// The cause for which a frame was dropped between two accounts.
pub(super) fn dropped_since(before: &Fates, after: &Fates) -> Option<DropCause> {
    DropCause::ALL.into_iter().find(|cause| after.dropped(*cause) > before.dropped(*cause))
}

fn describe<A: Actor>(event: &SimEvent<A::Op>) -> (Option<NodeId>, EntryKind) {
    match *event {
        SimEvent::DeliverMessage(ref delivery) => {
            // The recorder fills in which frame it is.
            (Some(delivery.to), EntryKind::Arrival { frame: u64::MAX, copy: 0 })
        }
        SimEvent::DeliverInTurn(ref arriving) => {
            (Some(arriving.1.to), EntryKind::Arrival { frame: u64::MAX, copy: 0 })
        }
        SimEvent::LinkChanged { from, to, .. } => (None, EntryKind::LinkChanged { from, to }),
        SimEvent::TimerFired { node, timer, .. } => {
            (Some(node), EntryKind::Timer { timer, what: A::timer_in_words(timer) })
        }
        SimEvent::NodeCrash { node, point, .. } => (Some(node), EntryKind::Crash { point: Some(point) }),
        SimEvent::ChanceCrash { node } => (Some(node), EntryKind::Crash { point: None }),
        SimEvent::NodeRestart { node, .. } => (Some(node), EntryKind::Restart),
        SimEvent::PartitionStart | SimEvent::PartitionAt { .. } => {
            (None, EntryKind::PartitionStart { partition: 0, cut: None })
        }
        SimEvent::PartitionEnd { partition } => (None, EntryKind::PartitionEnd { partition: partition.0 }),
        SimEvent::NodeLeave { node, .. } | SimEvent::ChanceLeave { node } => (Some(node), EntryKind::Leave),
        SimEvent::NodeReturn { node, .. } => (Some(node), EntryKind::Return),
        SimEvent::NodeRetire { node } => (Some(node), EntryKind::Retire),
        SimEvent::NodeJoin { node } => (Some(node), EntryKind::Join),
        SimEvent::ReachChanged { node } => (Some(node), EntryKind::ReachChanged),
        SimEvent::Host { node, what } => (Some(node), EntryKind::Host { what: what.words() }),
        SimEvent::Op { node, ref op } => (Some(node), EntryKind::Write { what: A::op_in_words(op) }),
    }
}
