//! The initiator's side of a sync session.

mod compare;
mod deltas;
mod exchange;
mod snapshot;

use crate::handshake::{SyncHandshake, SyncProtocolKind};
use crate::message::{HandshakeReply, Rejection, Request, RequestId, Response, SessionId};
use crate::select::{SelectionReason, SyncProtocol, select_protocol};
use crate::staged;
use crate::transaction::Transaction;
use deltas::DeltaExchange;
use exchange::{Exchange, Opening};
use snapshot::SnapshotPull;
use std::fmt;
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_types::{Digest, canary};

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
    /// One side was written to during the session.
    NewerWrites,
    /// One side's clock does not accept the other's stamps yet.
    ClockDrift,
    /// A value is of an application's own type, and its merge function is not registered here.
    NoMerge,
    /// The peer is syncing with us at the same time and goes first.
    Yielded,
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
    /// The session grew beyond its bounds.
    TooLong,
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
    stats: SessionStats,
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
        let request = Request::Handshake(ours.clone());
        let session = Self {
            id,
            phase: Phase::Handshake { sent: ours },
            outstanding: Some(request.clone()),
            request_id: 1,
            attempts: 1,
            peer: None,
            stats: SessionStats::default(),
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
        let turn = match (&mut self.phase, response) {
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
                pull.on_page(page, work, &mut self.stats)?
            }
            (Phase::Snapshot(pull), Response::Exchange(reply)) => {
                pull.on_reply(reply, work, &mut self.stats)?
            }
            (Phase::Snapshot(pull), Response::SnapshotGone(theirs)) => {
                let before = self.peer.replace(theirs.clone());
                match before.and_then(|before| check_peer(theirs, &before)) {
                    Some(broken) => Turn::End(Outcome::Failed(FailureReason::Protocol(broken))),
                    None => pull.on_gone(theirs, work, &mut self.stats)?,
                }
            }
            _ => Turn::End(Outcome::Failed(FailureReason::Protocol("an answer to another question"))),
        };
        let turn = if matches!(turn, Turn::Walk) { self.begin(Opening::Walk, work)? } else { turn };
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
        let (count, root) =
            self.peer.as_ref().map_or((0, Digest::ZERO), |peer| (peer.entity_count, peer.root_hash));
        let (exchange, request) = Exchange::start(opening, count, root, work, &mut self.stats)?;
        self.phase = Phase::Exchange(exchange);
        Ok(Turn::Ask(request))
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
        if let Some(broken) = check_peer(theirs, sent) {
            return Ok(Turn::End(Outcome::Failed(FailureReason::Protocol(broken))));
        }
        let selection = select_protocol(sent, theirs);
        let kind = selection.protocol.kind();
        if reply.verdict != kind {
            let failure = FailureReason::WrongVerdict { theirs: reply.verdict, ours: kind };
            return Ok(Turn::End(Outcome::Failed(failure)));
        }
        self.selected = Some((kind, selection.reason));
        self.peer = Some(theirs.clone());
        let elsewise = theirs.has_state && kind != SyncProtocolKind::Snapshot;
        if elsewise && staged::is_under_way(work.state.view(), &work.above)? {
            // State comes another way; what was received of a snapshot is of no use any more.
            staged::end(work.state.view(), work.state.slot().other(), &mut work.above)?;
        }
        match selection.protocol {
            SyncProtocol::None if selection.reason == SelectionReason::RootsEqual => {
                compare_roots(work, theirs.root_hash).map(Turn::End)
            }
            SyncProtocol::HashComparison { .. } => self.begin(Opening::Walk, work),
            SyncProtocol::LevelWise { .. } => self.begin(Opening::Levels, work),
            SyncProtocol::SubtreePrefetch { .. } => self.begin(Opening::Subtrees, work),
            SyncProtocol::BloomFilter { filter_size } => {
                self.begin(Opening::Filter { bits: filter_size }, work)
            }
            SyncProtocol::DeltaSync => {
                let (exchange, request) = DeltaExchange::start(theirs, work, &mut self.stats)?;
                self.phase = Phase::Deltas(exchange);
                Ok(Turn::Ask(request))
            }
            SyncProtocol::Snapshot { compressed, .. } => {
                let (pull, turn) = SnapshotPull::start(theirs, compressed, work, &mut self.stats)?;
                self.phase = Phase::Snapshot(pull);
                Ok(turn)
            }
            SyncProtocol::None => Ok(Turn::End(Outcome::Failed(FailureReason::NoCommonProtocol))),
        }
    }
}

/// What is wrong with what a peer says of itself, `other` being of the same context.
fn check_peer(theirs: &SyncHandshake, other: &SyncHandshake) -> Option<&'static str> {
    if theirs.version != other.version || theirs.context != other.context {
        return Some("another version or context");
    }
    (!theirs.covered.is_plausible()).then_some("a history beyond belief")
}

/// The end of every session: what both sides have now, compared.
fn compare_roots<V: ReadView>(work: &mut Transaction<V>, theirs: Digest) -> Result<Outcome, StorageError> {
    let root = work.state.root_hash()?;
    if root == theirs || canary!(SuccessWithoutComparingRoots) {
        return Ok(Outcome::Converged { root });
    }
    Ok(Outcome::Owed(OwedReason::NewerWrites))
}
