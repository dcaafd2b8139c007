//! The state machine itself.

use crate::config::ReplicaConfig;
use crate::event::{
    Cost, Event, FrameKind, OutgoingMessage, Refusal, ReplicaError, SyncActions, Timer, TimerOp,
};
use crate::members::Reached;
use crate::peer::Peer;
use crate::recovery;
use crate::syncing::{ActiveSession, Debt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use syncline_storage::{ApplyContext, StorageError};
use syncline_store::{Bytes, ReadView};
use syncline_sync::{
    BufferLedger, DeltaBuffer, DeltaLog, Dot, Frame, Gossip, Message, Request, Response, Selection, Sketch,
    SyncHandshake, SyncProtocolKind, Transaction, ViewCache, build_handshake, staged,
};
use syncline_types::{Digest, Entropy, HlcClock, Moment, PeerId, ReplicaId, SimDuration, SimTime, canary};

/// One copy of a context and the machine that keeps it. See the crate's documentation for what it
/// keeps in the store and what only here.
#[derive(Clone, Debug)]
pub struct Replica<V> {
    pub(crate) config: ReplicaConfig,
    pub(crate) incarnation: u64,
    pub(crate) clock: HlcClock,
    pub(crate) log: DeltaLog,
    pub(crate) buffer: DeltaBuffer,
    pub(crate) views: ViewCache<V>,
    pub(crate) reachable: Arc<[PeerId]>,
    pub(crate) peers: BTreeMap<PeerId, Peer>,
    pub(crate) sessions: BTreeMap<PeerId, ActiveSession>,
    pub(crate) sessions_started: u64,
    pub(crate) owed: BTreeMap<PeerId, Debt>,
    pub(crate) fetches: u32,
    /// Peers that gave all they had, or broke a rule in a session, since a delta last began to wait.
    pub(crate) exhausted: BTreeSet<PeerId>,
    pub(crate) heartbeat_pause: SimDuration,
    pub(crate) root: Digest,
    pub(crate) sketch: Option<Sketch>,
    /// Whether a snapshot is under way, with a session or between two.
    pub(crate) takes_snapshot: bool,
    pub(crate) reached: BTreeMap<ReplicaId, Reached>,
    pub(crate) stopped: Option<ReplicaError>,
    pub(crate) lookups: u64,
}

/// What a replica has not finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pending {
    /// Sessions under way (**C2**).
    pub sessions: usize,
    /// Deltas that wait (**C3**).
    pub buffered: usize,
    /// Peers that a sync is owed with (**C3**).
    pub owed: usize,
}

impl Pending {
    /// Whether nothing is.
    pub const fn is_none(&self) -> bool {
        self.sessions == 0 && self.buffered == 0 && self.owed == 0
    }
}

/// One step under way: the work on the store, and what it will ask of the world.
pub(crate) struct Step<'a, V> {
    pub(crate) work: Transaction<V>,
    pub(crate) moment: Moment,
    pub(crate) entropy: &'a mut dyn Entropy,
    pub(crate) out: SyncActions,
}

impl<V> Step<'_, V> {
    pub(crate) const fn now(&self) -> SimTime {
        self.moment.now
    }

    pub(crate) fn set(&mut self, timer: Timer, at: SimTime) {
        self.out.timers.push(TimerOp::Set { timer, at });
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        self.out.timers.push(TimerOp::Cancel { timer });
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.out.refusal = Some(refusal);
    }
}

impl<V: ReadView> Replica<V> {
    /// Starts a replica on what the store holds: a first start, or one after a crash. The actions
    /// must be honoured before the first step.
    pub fn recover(config: ReplicaConfig, view: &V) -> Result<(Self, SyncActions), ReplicaError> {
        let kept = recovery::load(&config, view)?;
        let mut out = SyncActions::default();
        recovery::write(kept.incarnation, &kept.clock, &mut out.storage);
        let replica = Self {
            incarnation: kept.incarnation,
            clock: kept.clock,
            log: kept.log,
            root: kept.root,
            sketch: None,
            takes_snapshot: kept.takes_snapshot,
            stopped: None,
            lookups: 0,
            buffer: DeltaBuffer::new(config.buffer_capacity),
            views: ViewCache::new(config.snapshot_views),
            reachable: Arc::from([]),
            peers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            sessions_started: 0,
            owed: BTreeMap::new(),
            fetches: 0,
            exhausted: BTreeSet::new(),
            heartbeat_pause: config.heartbeat_min,
            reached: BTreeMap::new(),
            config,
        };
        Ok((replica, out))
    }

    /// Takes in what happened and says what to do about it. `view` must show the store with every
    /// earlier step's batch applied. An error means that the store failed: the replica must stop.
    pub fn step(
        &mut self,
        view: V,
        event: Event,
        moment: Moment,
        entropy: &mut dyn Entropy,
    ) -> Result<SyncActions, ReplicaError> {
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        let stepped = self.try_step(view, event, moment, entropy);
        if let Err(error) = &stepped {
            // What is held in memory may not agree with the store any more.
            self.stopped = Some(error.clone());
        }
        stepped
    }

    fn try_step(
        &mut self,
        view: V,
        event: Event,
        moment: Moment,
        entropy: &mut dyn Entropy,
    ) -> Result<SyncActions, ReplicaError> {
        let context = ApplyContext { moment, max_drift_ms: self.config.max_drift_ms };
        let (log, merges) = (std::mem::take(&mut self.log), self.config.merges.clone());
        let work = Transaction::begin_with(view, log, context, merges)?
            .with_gate(self.gate())
            .with_sketch(self.sketch.take())?;
        let mut step = Step { work, moment, entropy, out: SyncActions::default() };
        match event {
            Event::Start => self.on_start(&mut step),
            Event::Peers(peers) => self.on_peers(peers, &mut step),
            Event::Write(operations) => self.on_write(operations, &mut step)?,
            Event::Frame { from, bytes } => self.on_frame(from, &bytes, &mut step)?,
            Event::Timer(Timer::Heartbeat) => {
                self.on_heartbeat_due(&mut step);
                step.work.clean_up()?;
            }
            Event::Timer(Timer::Session(peer)) => self.on_session_timeout(peer, &mut step)?,
            Event::Timer(Timer::Owed) => self.start_due_session(&mut step)?,
            Event::Timer(Timer::Fetch) => self.on_fetch_timeout(&mut step)?,
        }
        self.finish(step)
    }

    /// Ends a step: the root, the clock and the batch.
    fn finish(&mut self, mut step: Step<'_, V>) -> Result<SyncActions, ReplicaError> {
        self.clock.observe(step.work.latest_stamp());
        let horizon = step.work.state.horizon();
        if horizon.check_drift(step.moment, self.config.max_drift_ms).is_ok() {
            // One that came later than the others has adopted theirs, which its own clock may be behind: what
            // it stamped before that nobody would take.
            self.clock.observe(horizon);
        }
        let root = step.work.state.root_hash()?;
        if root != self.root {
            self.root = root;
            if canary!(RootForced) {
                self.root = self.peers.values().find_map(|peer| peer.root).unwrap_or(root);
            }
            self.on_news(&mut step);
        }
        if !step.work.metadata_batch.is_empty() {
            self.takes_snapshot = staged::is_under_way(step.work.state.view(), &step.work.metadata_batch)?;
        }
        if step.work.state.is_changed() || step.work.log.is_changed() || !step.work.metadata_batch.is_empty()
        {
            recovery::write(self.incarnation, &self.clock, &mut step.work.metadata_batch);
        }
        let mut out = step.out;
        let work = step.work.state.work();
        let lookups = self.lookups;
        (out.storage, self.log, self.sketch) = step.work.finish()?;
        self.lookups = self.log.lookups();
        out.cost = Cost {
            storage_reads: work.storage_reads,
            storage_writes: out.storage.len() as u64,
            hash_computations: work.hash_computations,
            dag_lookups: self.lookups - lookups,
        };
        Ok(out)
    }

    fn on_frame(&mut self, from: PeerId, bytes: &[u8], step: &mut Step<'_, V>) -> Result<(), StorageError> {
        let frame = match Frame::from_wire(bytes, self.config.context) {
            Ok(frame) => frame,
            Err(error) => {
                step.refuse(Refusal::Frame(error));
                return Ok(());
            }
        };
        let peer = self.peers.entry(from).or_default();
        if frame.incarnation < peer.incarnation && !canary!(StaleFrameAccepted) {
            step.refuse(Refusal::StaleIncarnation);
            return Ok(());
        }
        peer.incarnation = frame.incarnation;
        peer.on_heard();
        self.on_message(from, frame.message, step)?;
        self.on_unauthorized(from, step);
        Ok(())
    }

    fn on_message(
        &mut self,
        from: PeerId,
        message: Message,
        step: &mut Step<'_, V>,
    ) -> Result<(), StorageError> {
        match message {
            Message::Gossip(Gossip::Delta(delta)) => {
                if let Err(refusal) = self.on_delta(from, delta, step)? {
                    step.refuse(refusal);
                }
                self.fetch_missing(from, step);
                Ok(())
            }
            Message::Gossip(Gossip::Heartbeat { replica, .. }) if !self.config.membership.admits(replica) => {
                self.turn_away(from, Refusal::NotAMember, step);
                Ok(())
            }
            Message::Gossip(Gossip::Heartbeat { root, replica, seq, clock }) => {
                self.on_heartbeat(from, root, step);
                self.on_told_time(from, root, Dot { author: replica, seq }, clock, step)
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

    /// What this replica says of itself to a peer now.
    pub(crate) fn describe(&self, to: PeerId, step: &mut Step<'_, V>) -> Result<SyncHandshake, StorageError> {
        let (context, replica) = (self.config.context, self.config.replica);
        let protocols = self.protocols_for(to);
        let described = step.work.describe(context, replica, &protocols)?;
        let mut ours = SyncHandshake { clock: self.clock.last(), ..build_handshake(&described) };
        // Where what is dead is forgotten, one without state wishes for nothing but a whole one: half of one of
        // before the others forgot something would leave it behind them for good.
        let forgets = self.config.membership.members().is_some();
        ours.requested_protocol = self.config.wish.filter(|_| ours.has_state || !forgets);
        Ok(ours)
    }

    /// As [`Replica::describe`], to begin a session with `peer`: with the sketch, where that is of use.
    pub(crate) fn introduce(
        &self,
        peer: PeerId,
        step: &mut Step<'_, V>,
    ) -> Result<SyncHandshake, StorageError> {
        let mut ours = self.describe(peer, step)?;
        let adaptive = ours.requested_protocol.is_none() && self.config.selection == Selection::Adaptive;
        if ours.has_state && (adaptive || ours.requested_protocol.is_some_and(SyncProtocolKind::uses_sketch))
        {
            ours.sketch = Some(step.work.sketch()?.head());
        }
        let measured = self.peers.get(&peer).and_then(Peer::round_trip_us);
        ours.link.round_trip_us = measured.unwrap_or(ours.link.round_trip_us);
        ours.link.bytes_per_second = self.config.bytes_per_second;
        Ok(ours)
    }

    pub(crate) fn send(&self, to: PeerId, message: Message, step: &mut Step<'_, V>) {
        let kind = kind_of(&message);
        let bytes: Bytes =
            Frame { incarnation: self.incarnation, message }.to_wire(self.config.context).into();
        step.out.messages.push(OutgoingMessage { to, bytes, kind });
    }

    /// The same frame to several peers, encoded once.
    pub(crate) fn broadcast(&self, to: &[PeerId], message: Message, step: &mut Step<'_, V>) {
        let kind = kind_of(&message);
        let bytes: Bytes =
            Frame { incarnation: self.incarnation, message }.to_wire(self.config.context).into();
        let copies = to.iter().map(|&to| OutgoingMessage { to, bytes: bytes.clone(), kind });
        step.out.messages.extend(copies);
    }

    /// Its settings.
    pub const fn config(&self) -> &ReplicaConfig {
        &self.config
    }

    /// The Merkle root of its state.
    pub const fn digest(&self) -> Digest {
        self.root
    }

    /// How often it has started.
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// What it has not finished.
    pub fn pending(&self) -> Pending {
        Pending { sessions: self.sessions.len(), buffered: self.buffer.len(), owed: self.owed.len() }
    }

    /// What it has not finished, but for what has to do with some peers: sessions with them, debts to them, and
    /// deltas of theirs that wait, perhaps for what never was. O(what is pending).
    pub fn pending_but_for(
        &self,
        left_out: impl Fn(PeerId) -> bool,
        by_them: impl Fn(ReplicaId) -> bool,
    ) -> Pending {
        let counted = |peer: &&PeerId| !left_out(**peer);
        Pending {
            sessions: self.sessions.keys().filter(counted).count(),
            buffered: self.buffer.waiting().filter(|delta| !by_them(delta.dot.author)).count(),
            owed: self.owed.keys().filter(counted).count(),
        }
    }

    /// The peers that a sync is owed with, and why, in words.
    pub fn owed(&self) -> impl Iterator<Item = (PeerId, &'static str)> {
        self.owed.iter().map(|(&peer, debt)| (peer, debt.reason))
    }

    /// The peers with which it has a session under way.
    pub fn syncing_with(&self) -> impl Iterator<Item = PeerId> {
        self.sessions.keys().copied()
    }

    /// Where the deltas that had to wait went.
    pub const fn buffer_ledger(&self) -> BufferLedger {
        self.buffer.ledger()
    }

    /// Whether every delta that had to wait is accounted for.
    pub fn is_buffer_balanced(&self) -> bool {
        self.buffer.is_balanced()
    }
}

const fn kind_of(message: &Message) -> FrameKind {
    match message {
        Message::Gossip(Gossip::Delta(_)) => FrameKind::Delta,
        Message::Gossip(Gossip::Heartbeat { .. }) => FrameKind::Heartbeat,
        Message::Gossip(_) => FrameKind::DeltaFetch,
        Message::Request { request: Request::Handshake(_), .. }
        | Message::Response { response: Response::Handshake(_) | Response::Rejected(_), .. } => {
            FrameKind::Handshake
        }
        Message::Request { request: Request::Deltas { .. }, .. }
        | Message::Response { response: Response::Deltas(_), .. } => FrameKind::DeltaSync,
        Message::Request { request: Request::Exchange(_), .. }
        | Message::Response { response: Response::Exchange(_), .. } => FrameKind::Exchange,
        Message::Request { .. } | Message::Response { .. } => FrameKind::Snapshot,
    }
}
