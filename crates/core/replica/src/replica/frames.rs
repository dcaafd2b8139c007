//! Incoming and outgoing frames, and the handshakes of this replica.

use super::{Replica, StepContext};
use crate::effects::{FrameKind, OutgoingMessage};
use crate::refusal::Refusal;
use syncline_storage::StorageError;
use syncline_store::{Bytes, ReadView};
use syncline_sync::{
    Dot, Frame, FrameError, Gossip, Message, Rejection, RelativeMessage, ReplicaVectors, Request, Response,
    Selection, SyncHandshake, SyncProtocolKind, build_handshake,
};
use syncline_types::{PeerId, Probe};

impl<V: ReadView> Replica<V> {
    pub(super) fn on_frame(
        &mut self,
        from: PeerId,
        bytes: &[u8],
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        self.sessions.count_received(from, bytes.len());
        let limit = self.config.limits.frame_bytes();
        if bytes.len() > limit {
            step.work.note(Probe::FrameTooLarge);
            self.sessions.count_refused(from, bytes.len());
            step.refuse(Refusal::Frame(FrameError::TooLarge { found: bytes.len(), limit }));
            return Ok(());
        }
        let frame = match Frame::from_wire(bytes, self.config.context) {
            Ok(frame) => frame,
            Err(error) => {
                self.sessions.count_refused(from, bytes.len());
                step.refuse(Refusal::Frame(error));
                return Ok(());
            }
        };
        let peer = self.peers.record(from);
        if let Err(newest) = peer.accept_incarnation(frame.incarnation) {
            step.refuse(Refusal::StaleIncarnation);
            self.on_stale_frame(from, newest, &frame.message, step);
            return Ok(());
        }
        peer.on_heard();
        if let Message::Request { request: Request::Handshake(_), .. } = &frame.message {
            peer.vectors_mut().on_whole();
        }
        self.on_message(from, frame.message, step)?;
        self.blame_for_unauthorized(from, step);
        Ok(())
    }

    /// Tells the sender of a frame from before a restart so, unless the frame says the same of this replica. Of two
    /// replicas whose stores are old ones, each may take the other's frames for late ones.
    fn on_stale_frame(
        &mut self,
        from: PeerId,
        newest: u64,
        message: &Message,
        step: &mut StepContext<'_, V>,
    ) {
        match message {
            Message::Response {
                response: Response::Rejected(Rejection::StaleIncarnation { newest }),
                ..
            } => {
                self.on_stale_answer(*newest, step);
            }
            // The sender of a late copy knows better, or has forgotten the session.
            Message::Request { session, id, .. } | Message::Response { session, id, .. } => {
                let response = Response::Rejected(Rejection::StaleIncarnation { newest });
                self.send(from, Message::Response { session: *session, id: *id, response }, step);
            }
            Message::Gossip(_) | Message::Relative(_) => {}
        }
    }

    fn on_message(
        &mut self,
        from: PeerId,
        message: Message,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        match message {
            Message::Relative(relative) => self.on_relative(from, *relative, step),
            Message::Gossip(Gossip::Delta(delta)) => self.on_gossiped_delta(from, delta, step),
            Message::Gossip(Gossip::Heartbeat { replica, .. }) if !self.config.membership.admits(replica) => {
                self.reject_peer(from, Refusal::NotAMember, step);
                Ok(())
            }
            Message::Gossip(Gossip::Heartbeat { root, replica, seq, clock, wall_ms }) => {
                self.peers.record(from).suggest_replica(replica);
                self.on_clock_heard(from, replica, (clock, wall_ms), step);
                self.on_heartbeat(from, root, step);
                self.on_clock_announced(from, root, Dot { author: replica, seq }, clock, step)
            }
            Message::Gossip(Gossip::DeltaRequest { wanted }) => self.on_delta_request(from, &wanted, step),
            Message::Gossip(Gossip::DeltaReply { deltas, unavailable }) => {
                self.on_delta_reply(from, &deltas, &unavailable, step)
            }
            Message::Request { session, id, request } => self.on_request(from, session, id, &request, step),
            Message::Response { session, id, response } => {
                self.on_response(from, session, id, &response, step)
            }
        }
    }

    /// Handles a message whose vectors are relative to others. If these are not known here, because this replica has
    /// restarted, the peer learns that its handshake must be sent again.
    fn on_relative(
        &mut self,
        from: PeerId,
        relative: RelativeMessage,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        let unanswered = match &relative.message {
            Message::Request { session, id, .. } => Some((*session, *id)),
            _ => None,
        };
        let own = Self::own_vectors(step);
        let resolved = self.peers.with_vectors(from, |vectors| vectors.resolve(relative, &own));
        if let Some(message) = resolved {
            return self.on_message(from, message, step);
        }
        step.refuse(Refusal::Duplicate);
        if let Some((session, id)) = unanswered {
            let response = Response::Rejected(Rejection::NoHandshake);
            self.send(from, Message::Response { session, id, response }, step);
        }
        Ok(())
    }

    /// The present version vectors of this replica. O(1).
    pub(super) fn own_vectors(step: &StepContext<'_, V>) -> ReplicaVectors {
        let log = &step.work.log;
        ReplicaVectors {
            covered: log.covered().clone(),
            floor: log.floor().clone(),
            stable: log.stable().clone(),
        }
    }

    /// The present handshake of this replica for a peer.
    pub(super) fn describe(
        &self,
        to: PeerId,
        step: &mut StepContext<'_, V>,
    ) -> Result<SyncHandshake, StorageError> {
        let protocols = self.peers.offered(to, &self.config.protocols);
        let described = step.work.describe(self.config.context, self.config.replica, &protocols)?;
        let mut ours = build_handshake(&described);
        ours.clock = self.announced_clock();
        ours.wall_ms = step.wall_ms;
        if let Some(peer) = self.peers.replica_of(to) {
            ours.known = step.work.last_known(peer)?;
        }
        // If tombstones are collected, a replica without state must receive a whole state or none. With a
        // part of a state from before a collection, it would be left behind permanently.
        let collects = self.config.membership.members().is_some();
        ours.requested_protocol = self.config.requested_protocol.filter(|_| ours.has_state || !collects);
        Ok(ours)
    }

    /// Like [`Replica::describe`], for the start of a session with `peer`: includes the sketch if the
    /// selection of a protocol can use it.
    pub(super) fn introduce(
        &self,
        peer: PeerId,
        step: &mut StepContext<'_, V>,
    ) -> Result<SyncHandshake, StorageError> {
        let mut ours = self.describe(peer, step)?;
        let adaptive = ours.requested_protocol.is_none() && self.config.selection == Selection::Adaptive;
        if ours.has_state && (adaptive || ours.requested_protocol.is_some_and(SyncProtocolKind::uses_sketch))
        {
            ours.sketch = Some(step.work.sketch()?.head());
        }
        ours.link.round_trip_us = self.peers.round_trip_us(peer).unwrap_or(ours.link.round_trip_us);
        ours.link.bytes_per_second = self.config.bytes_per_second;
        Ok(ours)
    }

    pub(super) fn send(&mut self, to: PeerId, message: Message, step: &mut StepContext<'_, V>) {
        self.send_again(to, message, 1, step);
    }

    /// Sends a message for the `attempt`-th time, from one.
    pub(super) fn send_again(
        &mut self,
        to: PeerId,
        message: Message,
        attempt: u32,
        step: &mut StepContext<'_, V>,
    ) {
        let kind = kind_of(&message);
        let message = self.peers.with_vectors(to, |vectors| vectors.relative(message, attempt));
        let bytes: Bytes =
            Frame { incarnation: self.incarnation, message }.to_wire(self.config.context).into();
        step.out.messages.push(OutgoingMessage { to, bytes, kind });
    }

    /// Sends the same frame to several peers. It is encoded once.
    pub(super) fn broadcast(&self, to: &[PeerId], message: Message, step: &mut StepContext<'_, V>) {
        let kind = kind_of(&message);
        let bytes: Bytes =
            Frame { incarnation: self.incarnation, message }.to_wire(self.config.context).into();
        let copies = to.iter().map(|&to| OutgoingMessage { to, bytes: bytes.clone(), kind });
        step.out.messages.extend(copies);
    }
}

const fn kind_of(message: &Message) -> FrameKind {
    match message {
        Message::Gossip(Gossip::Delta(_)) => FrameKind::Delta,
        Message::Gossip(Gossip::Heartbeat { .. }) => FrameKind::Heartbeat,
        Message::Gossip(_) => FrameKind::DeltaFetch,
        Message::Request { request: Request::Handshake(_) | Request::ForeignHandshake { .. }, .. }
        | Message::Response { response: Response::Handshake(_) | Response::Rejected(_), .. } => {
            FrameKind::Handshake
        }
        Message::Request { request: Request::Deltas { .. }, .. }
        | Message::Response { response: Response::Deltas(_), .. } => FrameKind::DeltaSync,
        Message::Request { request: Request::Exchange(_), .. }
        | Message::Response { response: Response::Exchange(_), .. } => FrameKind::Exchange,
        Message::Request { .. } | Message::Response { .. } => FrameKind::Snapshot,
        // Messages become relative after this.
        Message::Relative(_) => FrameKind::Handshake,
    }
}
