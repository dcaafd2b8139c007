//! The initiator's side of a sync session: a sans-IO state machine.
//!
//! A session runs through phases: the handshake, then the protocol that both sides agree on. Each
//! response of the peer is one step, which ends in the next request or in an [`Outcome`]. At most one
//! request is outstanding. Every protocol ends with a comparison of the roots, and continues with a walk
//! down the index if the roots differ.

mod delta_exchange;
pub(crate) mod exchange;
mod outcome;

pub(crate) use outcome::ReplyError;
pub use outcome::{FailureReason, Outcome, ProtocolBreach, RetryReason, SessionStats};

use crate::messages::{
    HandshakeReply, Rejection, Request, RequestId, Response, SessionId, SyncHandshake, SyncProtocolKind,
};
use crate::selection::{
    ProtocolSelection, SelectionReason, SyncProtocol, can_run, select_protocol, with_parameters,
};
use crate::sketch::LocatedDifference;
use crate::snapshot::{SnapshotPull, staged};
use crate::transaction::Transaction;
use delta_exchange::DeltaExchange;
use exchange::{Exchange, Opening};
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_types::{Digest, Hlc, InternalError, Probe, canary};

/// What a session wants next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SessionProgress {
    /// Send this request. Then call [`Session::on_response`] with its response, or
    /// [`Session::on_timeout`] when none has arrived in time.
    Send(RequestId, Request),
    /// The session is over.
    Done(Outcome),
    /// The response was late or a duplicate; nothing has changed.
    Ignored,
}

#[derive(Clone, PartialEq, Debug)]
enum SessionPhase {
    Handshake { sent: SyncHandshake },
    Deltas(DeltaExchange),
    Exchange(Exchange),
    Snapshot(SnapshotPull),
    Done,
}

/// What a phase wants after one response.
pub(crate) enum PhaseStep {
    Ask(Request),
    /// The phase is complete and the states may still differ: continue with a walk.
    Walk,
    End(Outcome),
}

impl PhaseStep {
    pub(crate) const fn fail(reason: FailureReason) -> Self {
        Self::End(Outcome::Failed(reason))
    }

    pub(crate) const fn pending(reason: RetryReason) -> Self {
        Self::End(Outcome::SyncPending(reason))
    }

    /// A breach of the protocol ends the session; a failure of the local state is passed on.
    pub(crate) fn of(step: Result<Self, ReplyError>) -> Result<Self, StorageError> {
        match step {
            Ok(step) => Ok(step),
            Err(ReplyError::Breach(breach)) => Ok(Self::fail(FailureReason::Protocol(breach))),
            Err(ReplyError::Storage(error)) => Err(error),
        }
    }
}

/// One session, seen from its initiator. It has at most one outstanding request. Its host retransmits
/// that request until it is answered or has been sent [`Session::MAX_ATTEMPTS`] times.
#[derive(Clone, PartialEq, Debug)]
pub struct Session {
    id: SessionId,
    phase: SessionPhase,
    outstanding: Option<Request>,
    request_id: u64,
    attempts: u32,
    /// The peer's handshake. Once the roots are equal, the local state covers everything that the handshake
    /// covers.
    peer: Option<SyncHandshake>,
    /// The horizon that this side has announced in its handshake.
    horizon: Hlc,
    /// How many records a snapshot of one of the peer's states may contain.
    promised: u64,
    stats: SessionStats,
    /// Whether both sides support HashComparison.
    can_walk: bool,
    selected: Option<(SyncProtocolKind, SelectionReason)>,
}

impl Session {
    /// How often one request is sent before the session fails.
    pub const MAX_ATTEMPTS: u32 = 6;
    /// How often a handshake is sent before the session fails.
    pub const MAX_HANDSHAKES: u32 = 3;
    /// The number of answered requests after which a session ends, whatever the peer has yet to send.
    const MAX_ROUND_TRIPS: u64 = 100_000;

    /// Starts a session with the handshake `ours`. Also returns its first request.
    pub fn start(id: SessionId, ours: SyncHandshake) -> (Self, RequestId, Request) {
        let request = Request::Handshake(Box::new(ours.clone()));
        let session = Self {
            id,
            horizon: ours.horizon,
            phase: SessionPhase::Handshake { sent: ours },
            outstanding: Some(request.clone()),
            request_id: 1,
            attempts: 1,
            peer: None,
            promised: 0,
            stats: SessionStats::default(),
            can_walk: false,
            selected: None,
        };
        (session, RequestId(1), request)
    }

    /// The id of the session.
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The figures of the session up to now.
    pub const fn stats(&self) -> SessionStats {
        self.stats
    }

    /// The selected protocol and the reason of its selection; `None` during the handshake.
    pub const fn selected(&self) -> Option<(SyncProtocolKind, SelectionReason)> {
        self.selected
    }

    /// Whether the protocol has not been negotiated yet.
    pub const fn is_in_handshake(&self) -> bool {
        matches!(self.phase, SessionPhase::Handshake { .. })
    }

    /// Whether the session is receiving a snapshot.
    pub const fn takes_snapshot(&self) -> bool {
        matches!(self.phase, SessionPhase::Snapshot(_))
    }

    /// The peer's handshake. Once the session has converged, the local state covers all that it covers.
    pub const fn peer(&self) -> Option<&SyncHandshake> {
        self.peer.as_ref()
    }

    /// How often the current request has been sent.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// About how many bytes the session holds: queues, cells, and records that wait for their parents.
    pub fn held_bytes(&self) -> usize {
        match &self.phase {
            SessionPhase::Exchange(exchange) => exchange.held_bytes(),
            SessionPhase::Snapshot(pull) => pull.held_bytes(),
            SessionPhase::Handshake { .. } | SessionPhase::Deltas(_) | SessionPhase::Done => 0,
        }
    }

    /// The request that is not answered yet.
    pub fn outstanding(&self) -> Option<(RequestId, Request)> {
        self.outstanding.clone().map(|request| (RequestId(self.request_id), request))
    }

    /// The current request has timed out: sends it again, or fails.
    pub fn on_timeout(&mut self) -> SessionProgress {
        // Without an outstanding request the session is over, and a late timer means nothing.
        let Some(request) = self.outstanding.clone() else { return SessionProgress::Ignored };
        // Giving up on a peer that does not answer the handshake loses no work. A peer that stops answering
        // in the middle of a session gets more attempts.
        let limit = if self.is_in_handshake() { Self::MAX_HANDSHAKES } else { Self::MAX_ATTEMPTS };
        debug_assert!(self.attempts <= limit, "a request is sent at most as often as allowed");
        if self.attempts >= limit {
            return self.end(Outcome::Failed(FailureReason::Timeout));
        }
        self.attempts += 1;
        self.stats.retries += 1;
        SessionProgress::Send(RequestId(self.request_id), request)
    }

    /// Handles a response. An error means that the local state failed; a fault of the peer is an outcome.
    pub fn on_response<V: ReadView>(
        &mut self,
        id: RequestId,
        response: &Response,
        work: &mut Transaction<V>,
    ) -> Result<SessionProgress, StorageError> {
        // Responses to earlier requests are late or duplicates. Taking the request makes the first response
        // to the current one the only one that counts.
        if id.0 != self.request_id || self.outstanding.take().is_none() {
            return Ok(SessionProgress::Ignored);
        }
        self.stats.round_trips += 1;
        if self.stats.round_trips > Self::MAX_ROUND_TRIPS {
            return Ok(self.end(Outcome::Failed(FailureReason::TooLong)));
        }
        if let Some(peer) = &self.peer
            && !work.gate.membership.admits(peer.replica)
        {
            let failure = FailureReason::NotAMember { replica: peer.replica };
            return Ok(self.end(Outcome::Failed(failure)));
        }
        let step = match self.step(response, work)? {
            // Other protocols end in a walk of their own. A walk follows DeltaSync if both sides support it.
            PhaseStep::Walk if self.can_walk => self.walk(work)?,
            PhaseStep::Walk => PhaseStep::fail(FailureReason::NoCommonProtocol),
            step => step,
        };
        Ok(match step {
            PhaseStep::Walk => {
                debug_assert!(false, "an exchange opens with a request");
                return Err(InternalError::broken("an exchange opens with a request").into());
            }
            PhaseStep::Ask(request) => {
                self.request_id += 1;
                self.attempts = 1;
                self.outstanding = Some(request.clone());
                SessionProgress::Send(RequestId(self.request_id), request)
            }
            // What the peer has collected by a horizon that is ahead of the clock, this state may not forget yet: equal
            // roots say nothing of what the peer covers.
            PhaseStep::End(Outcome::Converged { .. }) if self.is_peer_ahead(work) => {
                self.end(Outcome::SyncPending(RetryReason::ClockDrift))
            }
            PhaseStep::End(outcome) => self.end(outcome),
        })
    }

    fn is_peer_ahead<V: ReadView>(&self, work: &Transaction<V>) -> bool {
        self.peer.as_ref().is_some_and(|theirs| work.is_ahead(theirs.horizon))
    }

    /// Gives a response to the current phase.
    fn step<V: ReadView>(
        &mut self,
        response: &Response,
        work: &mut Transaction<V>,
    ) -> Result<PhaseStep, StorageError> {
        match (&mut self.phase, response) {
            (_, Response::Rejected(Rejection::NoHandshake)) if self.peer.is_some() => {
                Ok(PhaseStep::pending(RetryReason::PeerRestarted))
            }
            (_, Response::Rejected(Rejection::Yield)) => Ok(PhaseStep::pending(RetryReason::Yielded)),
            (_, Response::Rejected(rejection)) => Ok(PhaseStep::fail(FailureReason::Rejected(*rejection))),
            (SessionPhase::Handshake { .. }, Response::Handshake(reply)) => self.on_handshake(reply, work),
            (SessionPhase::Deltas(exchange), Response::Deltas(reply)) => {
                PhaseStep::of(exchange.on_reply(reply, work, &mut self.stats))
            }
            (SessionPhase::Exchange(exchange), Response::Exchange(reply)) => {
                exchange.on_reply(reply, work, &mut self.stats)
            }
            (SessionPhase::Snapshot(pull), Response::SnapshotPage(page)) => {
                let step = pull.on_page(page, work, &mut self.stats)?;
                // Each boundary has promised how many records it has. A peer that sends many more never ends.
                let most = self.promised.saturating_mul(pull.boundaries());
                let endless = matches!(step, PhaseStep::Ask(_)) && pull.received() > most;
                Ok(if endless { PhaseStep::fail(FailureReason::TooLong) } else { step })
            }
            (SessionPhase::Snapshot(pull), Response::Exchange(reply)) => {
                pull.on_reply(reply, work, &mut self.stats)
            }
            (SessionPhase::Snapshot(pull), Response::SnapshotGone(theirs)) => {
                if let Some(failure) = reject_peer(theirs, work) {
                    return Ok(PhaseStep::fail(failure));
                }
                self.peer = Some((**theirs).clone());
                self.promised = self.promised.max(theirs.entity_count.saturating_add(1));
                pull.on_gone(theirs, work, &mut self.stats)
            }
            _ => Ok(PhaseStep::fail(FailureReason::Protocol(ProtocolBreach::UnexpectedResponse))),
        }
    }

    fn end(&mut self, outcome: Outcome) -> SessionProgress {
        self.phase = SessionPhase::Done;
        self.outstanding = None;
        SessionProgress::Done(outcome)
    }

    fn begin<V: ReadView>(
        &mut self,
        opening: Opening,
        work: &mut Transaction<V>,
    ) -> Result<PhaseStep, StorageError> {
        let root = self.peer.as_ref().map_or(Digest::ZERO, |peer| peer.root_hash);
        let (exchange, request) = Exchange::start(opening, root, work, &mut self.stats)?;
        self.phase = SessionPhase::Exchange(exchange);
        Ok(PhaseStep::Ask(request))
    }

    /// Begins with the difference that the sketches in the handshake have located, or with `fallback`.
    /// Nothing is located where the two horizons differ.
    fn begin_located<V: ReadView>(
        &mut self,
        reply: &HandshakeReply,
        fallback: Opening,
        work: &mut Transaction<V>,
    ) -> Result<PhaseStep, StorageError> {
        let (exchange, step) = match (fallback, &reply.located) {
            (Opening::Subtrees, Some(LocatedDifference::Sample { from, cells })) => {
                Exchange::sampled((*from as usize, cells), reply, work, &mut self.stats)?
            }
            (Opening::Walk, Some(located)) => Exchange::located(located, reply, work, &mut self.stats)?,
            _ => return self.begin(fallback, work),
        };
        self.phase = SessionPhase::Exchange(exchange);
        Ok(step)
    }

    fn on_handshake<V: ReadView>(
        &mut self,
        reply: &HandshakeReply,
        work: &mut Transaction<V>,
    ) -> Result<PhaseStep, StorageError> {
        let SessionPhase::Handshake { sent } = &self.phase else {
            debug_assert!(false, "a handshake reply is handled in the handshake phase");
            return Err(InternalError::broken("a handshake reply is handled in the handshake phase").into());
        };
        let theirs = &reply.theirs;
        let selection = match check_handshake(sent, reply, work) {
            Ok(selection) => selection,
            Err(failure) => return Ok(PhaseStep::fail(failure)),
        };
        if let Some(claim) = work.claim(theirs)? {
            return Ok(PhaseStep::fail(claim.into()));
        }
        let kind = selection.protocol.kind();
        let walks =
            |side: &SyncHandshake| side.supported_protocols.contains(&SyncProtocolKind::HashComparison);
        self.can_walk = walks(sent) && walks(theirs);
        self.selected = Some((kind, selection.reason));
        self.peer = Some(theirs.clone());
        let compares = !matches!(
            kind,
            SyncProtocolKind::None | SyncProtocolKind::DeltaSync | SyncProtocolKind::Snapshot
        );
        let by_state = compares || kind == SyncProtocolKind::Snapshot;
        work.note_if(by_state && work.log.has_pruned_for(&theirs.covered), Probe::BelowFloor);
        if compares && let Some(step) = self.judge_horizons(theirs, work) {
            return Ok(step);
        }
        if compares && theirs.horizon == work.state.horizon() && theirs.root_hash == work.state.root_hash()? {
            // Since it sent its handshake, this side has collected what the peer had collected already. Nothing else
            // differed.
            work.note(Probe::AgreedOnHandshake);
            self.selected = Some((SyncProtocolKind::None, SelectionReason::RootsEqual));
            return Ok(PhaseStep::End(Outcome::Converged { root: theirs.root_hash }));
        }
        let supersedes_transfer = theirs.has_state
            && kind != SyncProtocolKind::Snapshot
            && selection.reason != SelectionReason::NoCommonProtocol;
        if supersedes_transfer && staged::is_under_way(work.state.view(), &work.metadata_batch)? {
            // This replica receives its state by another protocol, so a partly received snapshot is useless.
            work.note(Probe::TransferSuperseded);
            let rows = work.limits.sweep_rows();
            staged::end(work.state.view(), work.state.slot().other(), rows, &mut work.metadata_batch)?;
        }
        self.begin_protocol(selection, reply, work)
    }

    /// How the session ends if one of the two sides is left behind.
    fn judge_horizons<V: ReadView>(
        &self,
        theirs: &SyncHandshake,
        work: &mut Transaction<V>,
    ) -> Option<PhaseStep> {
        // A reply that was in flight for long may be older than later news of the peer, upon which this
        // side may have raised its own horizon. The comparison is final only if this side has not.
        let has_collected = self.horizon != work.state.horizon();
        if has_collected {
            return work.is_left_behind(theirs).then(|| PhaseStep::pending(RetryReason::NewerWrites));
        }
        work.note_if_left_behind(theirs).then(|| PhaseStep::fail(FailureReason::LeftBehind))
    }

    /// Goes on with a walk where deltas have left a difference.
    fn walk<V: ReadView>(&mut self, work: &mut Transaction<V>) -> Result<PhaseStep, StorageError> {
        if let (SessionPhase::Deltas(exchange), Some(theirs)) = (&self.phase, &self.peer) {
            let theirs = SyncHandshake { covered: exchange.theirs().clone(), ..theirs.clone() };
            if let Some(step) = self.judge_horizons(&theirs, work) {
                return Ok(step);
            }
        }
        self.begin(Opening::Walk, work)
    }

    fn begin_protocol<V: ReadView>(
        &mut self,
        ProtocolSelection { protocol, reason }: ProtocolSelection,
        reply: &HandshakeReply,
        work: &mut Transaction<V>,
    ) -> Result<PhaseStep, StorageError> {
        let theirs = &reply.theirs;
        match protocol {
            SyncProtocol::None if canary!(NoneTransfers) => self.begin(Opening::Walk, work),
            SyncProtocol::None if reason == SelectionReason::RootsEqual || canary!(NoCommonIsSuccess) => {
                compare_roots(work, theirs.root_hash).map(PhaseStep::End)
            }
            SyncProtocol::HashComparison { .. } => self.begin(Opening::Walk, work),
            SyncProtocol::LevelWise { .. } => self.begin(Opening::Levels, work),
            SyncProtocol::SubtreePrefetch { .. } => self.begin_located(reply, Opening::Subtrees, work),
            SyncProtocol::BloomFilter { filter_size } => {
                self.begin(Opening::BloomFilter { bits: filter_size }, work)
            }
            SyncProtocol::RatelessIblt => self.begin_located(reply, Opening::Walk, work),
            SyncProtocol::DeltaSync => {
                let (exchange, request) = DeltaExchange::start(theirs, work, &mut self.stats)?;
                self.phase = SessionPhase::Deltas(exchange);
                Ok(PhaseStep::Ask(request))
            }
            SyncProtocol::Snapshot { compressed, .. } => {
                // An interrupted transfer continues with the state that was promised then, which may be
                // larger.
                let interrupted = staged::Transfer::read(work.state.view())?;
                let count = interrupted.map_or(0, |transfer| transfer.source.entity_count);
                self.promised = theirs.entity_count.max(count).saturating_add(1);
                let (pull, step) = SnapshotPull::start(theirs, compressed, work, &mut self.stats)?;
                self.phase = SessionPhase::Snapshot(pull);
                Ok(step)
            }
            SyncProtocol::None => Ok(PhaseStep::fail(FailureReason::NoCommonProtocol)),
        }
    }
}

/// Checks the reply to a handshake. Returns the selected protocol.
fn check_handshake<V: ReadView>(
    sent: &SyncHandshake,
    reply: &HandshakeReply,
    work: &Transaction<V>,
) -> Result<ProtocolSelection, FailureReason> {
    let theirs = &reply.theirs;
    if (theirs.version != sent.version && !canary!(VersionIgnored)) || theirs.context != sent.context {
        return Err(FailureReason::Protocol(ProtocolBreach::AnotherVersionOrContext));
    }
    if let Some(failure) = reject_peer(theirs, work) {
        return Err(failure);
    }
    let selection = agreed_selection(sent, reply);
    let kind = selection.protocol.kind();
    if reply.verdict != kind {
        return Err(FailureReason::WrongVerdict { theirs: reply.verdict, ours: kind });
    }
    Ok(selection)
}

/// The protocol that both sides run. If the initiator left the choice to the responder and can run the
/// responder's choice, it is that one; otherwise it is the decision table's.
fn agreed_selection(sent: &SyncHandshake, reply: &HandshakeReply) -> ProtocolSelection {
    let theirs = &reply.theirs;
    let kind = reply.verdict;
    let table = select_protocol(sent, theirs);
    let delegated = sent.sketch.is_some()
        && sent.has_state
        && reply.difference.is_some()
        && !matches!(table.reason, SelectionReason::RootsEqual | SelectionReason::Requested);
    let supported = sent.supported_protocols.contains(&kind) && theirs.supported_protocols.contains(&kind);
    if !(delegated && supported && can_run(kind, sent, theirs)) {
        return table;
    }
    let found = matches!(reply.located, Some(LocatedDifference::Found { .. }));
    let reason = if found { SelectionReason::Located } else { SelectionReason::Cheapest };
    ProtocolSelection { protocol: with_parameters(kind, sent, theirs), reason }
}

/// The reason to reject a peer with this handshake; `None` if it may be synced with.
fn reject_peer<V: ReadView>(theirs: &SyncHandshake, work: &Transaction<V>) -> Option<FailureReason> {
    match work.vet(theirs) {
        Ok(()) => None,
        Err(Rejection::NotAMember) => Some(FailureReason::NotAMember { replica: theirs.replica }),
        Err(_) => Some(FailureReason::Protocol(ProtocolBreach::ImplausibleHandshake)),
    }
}

/// The end of every session: compares the present root with the peer's. Different roots without any
/// other reason mean that one side has accepted writes.
pub(crate) fn compare_roots<V: ReadView>(
    work: &mut Transaction<V>,
    theirs: Digest,
) -> Result<Outcome, StorageError> {
    let root = work.state.root_hash()?;
    if canary!(SuccessOnPeersWord) {
        return Ok(Outcome::Converged { root: theirs });
    }
    if root == theirs || canary!(SuccessWithoutComparingRoots) {
        return Ok(Outcome::Converged { root });
    }
    Ok(Outcome::SyncPending(RetryReason::NewerWrites))
}
