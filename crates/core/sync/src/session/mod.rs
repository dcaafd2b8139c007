//! The initiator's side of a sync session.

mod compare;
mod deltas;
mod exchange;
mod snapshot;

use crate::handshake::{HandshakeReply, SyncHandshake, SyncProtocolKind};
use crate::log::DeltaRefusal;
use crate::message::{Rejection, Request, RequestId, Response, SessionId};
use crate::select::{
    ProtocolSelection, SelectionReason, SyncProtocol, can_run, select_protocol, with_parameters,
};
use crate::sketch::Located;
use crate::staged;
use crate::transaction::Transaction;
use deltas::DeltaExchange;
use exchange::{Exchange, Opening};
use snapshot::SnapshotPull;
use std::fmt;
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_types::{Digest, ReplicaId, canary};

/// How a session ended. There is no other way for one to end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The roots of both sides were compared at the end and are equal.
    Converged {
        /// The root that both had.
        root: Digest,
    },
    /// A next session is owed, and nothing is wrong.
    Owed(OwedReason),
    /// The session could not do its work.
    Failed(FailureReason),
}

/// Why another session is needed after one that went well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwedReason {
    /// One side was written to during the session, or forgot what is dead.
    NewerWrites,
    /// One side's clock does not accept the other's stamps yet.
    ClockDrift,
    /// A value is of an application's own type, and its merge function is not registered here.
    NoMerge,
    /// The peer is syncing with us at the same time and goes first.
    Yielded,
    /// More was received from another peer, which has not given all of it yet, than this one has.
    PeerBehind,
    /// The peer does not know of this session any more: it has restarted since the handshake.
    PeerRestarted,
}

/// Why a session could not do its work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FailureReason {
    /// The peer did not answer, however often asked.
    Timeout,
    /// The peer refused to start.
    Rejected(Rejection),
    /// The two sides have no protocol in common.
    NoCommonProtocol,
    /// The peer's verdict is not what the table says.
    WrongVerdict {
        /// What the peer said.
        theirs: SyncProtocolKind,
        /// What the table says.
        ours: SyncProtocolKind,
    },
    /// The peer sent what no honest peer sends.
    Protocol(&'static str),
    /// A snapshot did not have the root that was promised; nothing of it was used (**I7**).
    SnapshotMismatch {
        /// What was promised.
        promised: Digest,
        /// What came.
        computed: Digest,
    },
    /// Everything was exchanged, nobody wrote, and the roots still differ: a bug, or a lie.
    StillDiverged {
        /// Our root.
        ours: Digest,
        /// Theirs.
        theirs: Digest,
    },
    /// The session grew beyond its bounds, or took longer than what it brought is worth.
    TooLong,
    /// The peer says that it is somebody who is no member, or not any more: nothing it says is taken.
    NotAMember {
        /// Who it says it is.
        replica: ReplicaId,
    },
    /// The peer gave a delta whose author may not write, or did not sign it.
    Unauthorized(DeltaRefusal),
    /// One side has forgotten what is dead, as every member had seen it; the other has not seen it, and
    /// could bring it back. It was away while it was no member, and must start afresh.
    LeftBehind,
}

impl FailureReason {
    /// Whether another session would end alike, until membership or one of the two states is another.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::NotAMember { .. } | Self::LeftBehind | Self::Rejected(Rejection::NotAMember))
    }

    /// Whether the peer did what no honest peer does. One that cannot be heard, speaks another version or is
    /// slow may still have what we lack.
    pub const fn is_breach(&self) -> bool {
        matches!(
            self,
            Self::WrongVerdict { .. }
                | Self::Protocol(_)
                | Self::SnapshotMismatch { .. }
                | Self::StillDiverged { .. }
                | Self::Unauthorized(_)
        )
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => write!(f, "the peer did not answer"),
            Self::Rejected(rejection) => write!(f, "{rejection}"),
            Self::NoCommonProtocol => write!(f, "the two sides have no protocol in common"),
            Self::WrongVerdict { theirs, ours } => {
                write!(f, "the peer chose {theirs} where the table says {ours}")
            }
            Self::Protocol(what) => write!(f, "the peer broke the protocol: {what}"),
            Self::SnapshotMismatch { promised, computed } => {
                write!(f, "a snapshot promised root {promised} and has {computed}")
            }
            Self::StillDiverged { ours, theirs } => {
                write!(f, "all was exchanged and root {ours} still differs from the peer's {theirs}")
            }
            Self::TooLong => write!(f, "the session exceeded its bounds"),
            Self::NotAMember { replica } => write!(f, "the peer is replica {replica}, which is no member"),
            Self::Unauthorized(refusal) => write!(f, "the peer gave a delta that is refused: {refusal:?}"),
            Self::LeftBehind => write!(f, "one side has forgotten what the other has yet to see"),
        }
    }
}

/// What a session wants next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Send this, and give back the answer or say that time ran out.
    Send(RequestId, Request),
    /// The session is over.
    Done(Outcome),
    /// The answer was late or doubled; nothing changed.
    Ignored,
}

/// Figures of one session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SessionStats {
    /// Requests answered.
    pub round_trips: u64,
    /// Requests sent again.
    pub retries: u64,
    /// Entities whose digests were compared.
    pub entities_compared: u64,
    /// Records received and joined.
    pub records_received: u64,
    /// Records sent.
    pub records_pushed: u64,
    /// Deltas received and applied.
    pub deltas_received: u64,
    /// Deltas sent.
    pub deltas_pushed: u64,
    /// Bytes of all these, both ways.
    pub bytes: u64,
    /// Cells of the peer's sketch received.
    pub cells: u64,
    /// Walks begun: one at most, also after another protocol that did not suffice.
    pub walks: u64,
}

#[derive(Clone, PartialEq, Debug)]
enum Phase {
    Handshake { sent: SyncHandshake },
    Deltas(DeltaExchange),
    Exchange(Exchange),
    Snapshot(SnapshotPull),
    Done,
}

/// What one phase wants next.
enum Turn {
    Ask(Request),
    /// This phase has done what it can and the states still differ: walk.
    Walk,
    End(Outcome),
}

/// One session, seen from its initiator. It holds one request at a time; whoever runs it repeats
/// that request until it is answered or has been sent [`Session::MAX_ATTEMPTS`] times.
#[derive(Clone, PartialEq, Debug)]
pub struct Session {
    id: SessionId,
    phase: Phase,
    outstanding: Option<Request>,
    request_id: u64,
    attempts: u32,
    /// What the peer said of itself at the start: what we cover once we are equal.
    peer: Option<SyncHandshake>,
    /// Up to how many records a snapshot may bring of each state of the peer's that it reads from.
    promised: u64,
    stats: SessionStats,
    /// Whether both sides speak HashComparison.
    can_walk: bool,
    selected: Option<(SyncProtocolKind, SelectionReason)>,
}

impl Session {
    /// How often one request is sent before the session gives up.
    pub const MAX_ATTEMPTS: u32 = 6;
    /// How often a handshake is sent before the session gives up.
    pub const MAX_HANDSHAKES: u32 = 3;
    /// Answered requests after which a session gives up, whatever the peer still has to say.
    const MAX_ROUND_TRIPS: u64 = 100_000;

    /// Starts a session with what we say of ourselves; also gives its first request.
    pub fn start(id: SessionId, ours: SyncHandshake) -> (Self, RequestId, Request) {
        let request = Request::Handshake(Box::new(ours.clone()));
        let session = Self {
            id,
            phase: Phase::Handshake { sent: ours },
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

    /// The name of the session.
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// Figures so far.
    pub const fn stats(&self) -> SessionStats {
        self.stats
    }

    /// The protocol that was chosen and why, once it was.
    pub const fn selected(&self) -> Option<(SyncProtocolKind, SelectionReason)> {
        self.selected
    }

    /// Whether the protocol has not been agreed yet.
    pub const fn is_in_handshake(&self) -> bool {
        matches!(self.phase, Phase::Handshake { .. })
    }

    /// Whether it is taking a snapshot.
    pub const fn takes_snapshot(&self) -> bool {
        matches!(self.phase, Phase::Snapshot(_))
    }

    /// What the peer said of itself: all of it is covered by our state once the session has
    /// converged.
    pub const fn peer(&self) -> Option<&SyncHandshake> {
        self.peer.as_ref()
    }

    /// How often the current request has been sent.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Time ran out for the current request: sends it again, or gives up.
    pub fn on_timeout(&mut self) -> Progress {
        let Some(request) = self.outstanding.clone() else { return Progress::Ignored };
        // A peer that does not answer the first request is given up sooner than one that stops in
        // the middle of the work.
        let limit = if self.is_in_handshake() { Self::MAX_HANDSHAKES } else { Self::MAX_ATTEMPTS };
        if self.attempts >= limit {
            return self.end(Outcome::Failed(FailureReason::Timeout));
        }
        self.attempts += 1;
        self.stats.retries += 1;
        Progress::Send(RequestId(self.request_id), request)
    }

    /// Takes an answer. An error means that the local state failed; what the peer did wrong is an
    /// outcome.
    pub fn on_response<V: ReadView>(
        &mut self,
        id: RequestId,
        response: &Response,
        work: &mut Transaction<V>,
    ) -> Result<Progress, StorageError> {
        if id.0 != self.request_id || self.outstanding.take().is_none() {
            return Ok(Progress::Ignored);
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
        let turn = match (&mut self.phase, response) {
            (_, Response::Rejected(Rejection::NoHandshake)) if self.peer.is_some() => {
                Turn::End(Outcome::Owed(OwedReason::PeerRestarted))
            }
            (_, Response::Rejected(Rejection::Yield)) => Turn::End(Outcome::Owed(OwedReason::Yielded)),
            (_, Response::Rejected(rejection)) => {
                Turn::End(Outcome::Failed(FailureReason::Rejected(*rejection)))
            }
            (Phase::Handshake { .. }, Response::Handshake(reply)) => self.on_handshake(reply, work)?,
            (Phase::Deltas(exchange), Response::Deltas(reply)) => {
                exchange.on_reply(reply, work, &mut self.stats)?
            }
            (Phase::Exchange(exchange), Response::Exchange(reply)) => {
                exchange.on_reply(reply, work, &mut self.stats)?
            }
            (Phase::Snapshot(pull), Response::SnapshotPage(page)) => {
                let turn = pull.on_page(page, work, &mut self.stats)?;
                let most = self.promised.saturating_mul(pull.boundaries());
                let endless = matches!(turn, Turn::Ask(_)) && pull.received() > most;
                if endless { Turn::End(Outcome::Failed(FailureReason::TooLong)) } else { turn }
            }
            (Phase::Snapshot(pull), Response::Exchange(reply)) => {
                pull.on_reply(reply, work, &mut self.stats)?
            }
            (Phase::Snapshot(pull), Response::SnapshotGone(theirs)) => match distrust(theirs, work) {
                Some(failure) => Turn::End(Outcome::Failed(failure)),
                None => {
                    self.peer = Some((**theirs).clone());
                    self.promised = self.promised.max(theirs.entity_count.saturating_add(1));
                    pull.on_gone(theirs, work, &mut self.stats)?
                }
            },
            _ => Turn::End(Outcome::Failed(FailureReason::Protocol("an answer to another question"))),
        };
        let turn = match turn {
            // Other protocols end in a walk of their own; deltas are followed by one where both speak it.
            Turn::Walk if self.can_walk => self.begin(Opening::Walk, work)?,
            Turn::Walk => Turn::End(Outcome::Failed(FailureReason::NoCommonProtocol)),
            turn => turn,
        };
        Ok(match turn {
            Turn::Walk => self.end(Outcome::Failed(FailureReason::TooLong)),
            Turn::Ask(request) => {
                self.request_id += 1;
                self.attempts = 1;
                self.outstanding = Some(request.clone());
                Progress::Send(RequestId(self.request_id), request)
            }
            Turn::End(outcome) => self.end(outcome),
        })
    }

    fn end(&mut self, outcome: Outcome) -> Progress {
        self.phase = Phase::Done;
        self.outstanding = None;
        Progress::Done(outcome)
    }

    fn begin<V: ReadView>(
        &mut self,
        opening: Opening,
        work: &mut Transaction<V>,
    ) -> Result<Turn, StorageError> {
        let root = self.peer.as_ref().map_or(Digest::ZERO, |peer| peer.root_hash);
        let (exchange, request) = Exchange::start(opening, root, work, &mut self.stats)?;
        self.phase = Phase::Exchange(exchange);
        Ok(Turn::Ask(request))
    }

    /// Begins with what the answer to the handshake told of the difference, or with `otherwise`: where one
    /// side has forgotten what the other has not, nothing is told.
    fn begin_told<V: ReadView>(
        &mut self,
        reply: &HandshakeReply,
        otherwise: Opening,
        work: &mut Transaction<V>,
    ) -> Result<Turn, StorageError> {
        let (exchange, turn) = match (otherwise, &reply.located) {
            (Opening::Subtrees, Some(Located::Sample { from, cells })) => {
                Exchange::sampled((*from as usize, cells), reply, work, &mut self.stats)?
            }
            (Opening::Walk, Some(located)) => Exchange::located(located, reply, work, &mut self.stats)?,
            _ => return self.begin(otherwise, work),
        };
        self.phase = Phase::Exchange(exchange);
        Ok(turn)
    }

    fn on_handshake<V: ReadView>(
        &mut self,
        reply: &HandshakeReply,
        work: &mut Transaction<V>,
    ) -> Result<Turn, StorageError> {
        let Phase::Handshake { sent } = &self.phase else {
            return Ok(Turn::End(Outcome::Failed(FailureReason::Protocol("a second handshake"))));
        };
        let theirs = &reply.theirs;
        if (theirs.version != sent.version && !canary!(VersionIgnored)) || theirs.context != sent.context {
            return Ok(Turn::End(Outcome::Failed(FailureReason::Protocol("another version or context"))));
        }
        if let Some(failure) = distrust(theirs, work) {
            return Ok(Turn::End(Outcome::Failed(failure)));
        }
        let selection = agreed(sent, reply);
        let kind = selection.protocol.kind();
        if reply.verdict != kind {
            let failure = FailureReason::WrongVerdict { theirs: reply.verdict, ours: kind };
            return Ok(Turn::End(Outcome::Failed(failure)));
        }
        let walks =
            |side: &SyncHandshake| side.supported_protocols.contains(&SyncProtocolKind::HashComparison);
        self.can_walk = walks(sent) && walks(theirs);
        self.selected = Some((kind, selection.reason));
        self.peer = Some(theirs.clone());
        let compares = !matches!(
            kind,
            SyncProtocolKind::None | SyncProtocolKind::DeltaSync | SyncProtocolKind::Snapshot
        );
        if compares && work.is_left_behind(theirs) {
            // An answer that was long on its way may be older than what the peer has told us since, and
            // what we have forgotten upon that: it is the peer's last word only if we forgot nothing.
            let has_forgotten = sent.horizon != work.state.horizon();
            let stale = Outcome::Owed(OwedReason::NewerWrites);
            let outcome = if has_forgotten { stale } else { Outcome::Failed(FailureReason::LeftBehind) };
            return Ok(Turn::End(outcome));
        }
        let elsewise = theirs.has_state
            && kind != SyncProtocolKind::Snapshot
            && selection.reason != SelectionReason::NoCommonProtocol;
        if elsewise && staged::is_under_way(work.state.view(), &work.above)? {
            // State comes another way; what was received of a snapshot is of no use any more.
            staged::end(work.state.view(), work.state.slot().other(), &mut work.above)?;
        }
        match selection.protocol {
            SyncProtocol::None if canary!(NoneTransfers) => self.begin(Opening::Walk, work),
            SyncProtocol::None
                if selection.reason == SelectionReason::RootsEqual || canary!(NoCommonIsSuccess) =>
            {
                compare_roots(work, theirs.root_hash).map(Turn::End)
            }
            SyncProtocol::HashComparison { .. } => self.begin(Opening::Walk, work),
            SyncProtocol::LevelWise { .. } => self.begin(Opening::Levels, work),
            SyncProtocol::SubtreePrefetch { .. } => self.begin_told(reply, Opening::Subtrees, work),
            SyncProtocol::BloomFilter { filter_size } => {
                self.begin(Opening::Filter { bits: filter_size }, work)
            }
            SyncProtocol::RatelessIblt => self.begin_told(reply, Opening::Walk, work),
            SyncProtocol::DeltaSync => {
                let (exchange, request) = DeltaExchange::start(theirs, work, &mut self.stats)?;
                self.phase = Phase::Deltas(exchange);
                Ok(Turn::Ask(request))
            }
            SyncProtocol::Snapshot { compressed, .. } => {
                // One that was interrupted goes on with the state that was promised then.
                let before = staged::Transfer::read(work.state.view())?;
                let count = before.map_or(0, |kept| kept.source.entity_count);
                self.promised = theirs.entity_count.max(count).saturating_add(1);
                let (pull, turn) = SnapshotPull::start(theirs, compressed, work, &mut self.stats)?;
                self.phase = Phase::Snapshot(pull);
                Ok(turn)
            }
            SyncProtocol::None => Ok(Turn::End(Outcome::Failed(FailureReason::NoCommonProtocol))),
        }
    }
}

/// What both sides run: the verdict, wherever the initiator left the choice to the responder and can run
/// it; what the table says otherwise.
fn agreed(sent: &SyncHandshake, reply: &HandshakeReply) -> ProtocolSelection {
    let (theirs, kind) = (&reply.theirs, reply.verdict);
    let table = select_protocol(sent, theirs);
    let free = sent.sketch.is_some()
        && sent.has_state
        && reply.difference.is_some()
        && !matches!(table.reason, SelectionReason::RootsEqual | SelectionReason::Requested);
    let spoken = sent.supported_protocols.contains(&kind) && theirs.supported_protocols.contains(&kind);
    if !(free && spoken && can_run(kind, sent, theirs)) {
        return table;
    }
    let found = matches!(reply.located, Some(Located::Found { .. }));
    let reason = if found { SelectionReason::Located } else { SelectionReason::Cheapest };
    ProtocolSelection { protocol: with_parameters(kind, sent, theirs), reason }
}

/// Why nothing that a peer says may be believed, if what it says of itself may not.
fn distrust<V: ReadView>(theirs: &SyncHandshake, work: &Transaction<V>) -> Option<FailureReason> {
    match work.vet(theirs) {
        Ok(()) => None,
        Err(Rejection::NotAMember) => Some(FailureReason::NotAMember { replica: theirs.replica }),
        Err(_) => Some(FailureReason::Protocol("a history or a horizon beyond belief")),
    }
}

/// The end of every session: what both sides have now, compared.
fn compare_roots<V: ReadView>(work: &mut Transaction<V>, theirs: Digest) -> Result<Outcome, StorageError> {
    let root = work.state.root_hash()?;
    if canary!(SuccessOnPeersWord) {
        return Ok(Outcome::Converged { root: theirs });
    }
    if root == theirs || canary!(SuccessWithoutComparingRoots) {
        return Ok(Outcome::Converged { root });
    }
    Ok(Outcome::Owed(OwedReason::NewerWrites))
}
