//! The driver: runs sessions over a [`SyncTransport`].

use super::{StreamMessage, SyncTransport, TransportError};
use crate::collection::CollectionInProgress;
use crate::deltas::{Authority, DeltaLog, Gate, Membership};
use crate::messages::{
    Link, Message, Rejection, Request, Response, SessionId, SyncHandshake, SyncProtocolKind, build_handshake,
};
use crate::respond::respond;
use crate::selection::Selection;
use crate::session::{Outcome, Session, SessionProgress, SessionStats};
use crate::sketch::{Cell, LocatedDifference, SetDifference, Sketch, SketchComparison, decode};
use crate::snapshot::ViewCache;
use crate::transaction::Transaction;
use std::borrow::Cow;
use std::time::Duration;
use syncline_storage::{ApplyContext, Merges, StorageError};
use syncline_store::{ReadView, Store, StoreError};
use syncline_types::{ContextId, Moment, ReplicaId};

/// How many irrelevant messages in a row count as silence of the peer.
const MAX_IGNORED: u32 = 64;

/// Why a session could not be driven to its end. A fault of the peer is an [`Outcome`] instead.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriveError {
    /// The stream failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The local state failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<StoreError> for DriveError {
    fn from(error: StoreError) -> Self {
        Self::Storage(error.into())
    }
}

/// One side of sessions that are driven over a transport: a store and the settings of a replica.
#[derive(Debug)]
pub struct StoreHost<S: Store> {
    /// The store of the state.
    pub store: S,
    /// The context of the state.
    pub context: ContextId,
    /// The id of this replica.
    pub replica: ReplicaId,
    /// How many times this replica has started.
    pub incarnation: u64,
    /// The protocols that this side offers.
    pub protocols: Vec<SyncProtocolKind>,
    /// The merge functions of the application's own types.
    pub merges: Merges,
    /// How sessions that this side initiates select their protocol.
    pub selection: Selection,
    /// The estimated link to the peers, an input of the cost model.
    pub link: Link,
    /// The signature scheme of deltas.
    pub authority: Authority,
    /// The replicas that may write and be synced with.
    pub membership: Membership,
    /// The local time, against which the drift of stamps is checked.
    pub moment: Moment,
    /// How long to wait for the answer to a request before it is retransmitted. The wait doubles with
    /// each retransmission, up to eight times.
    pub patience: Duration,
    /// How long [`serve`] waits for the next request before it closes the stream. One minute by default: an
    /// initiator retransmits after eight times its `patience` at the latest, three seconds by default.
    pub idle_limit: Duration,
    log: DeltaLog,
    /// The sketch of the state. A step that fails loses it; the next use computes it again.
    sketch: Option<Sketch>,
    views: ViewCache<S::View>,
    /// How many sessions this side has initiated since it started.
    sessions: u64,
    /// The session whose handshake was accepted last, and its initiator.
    admitted: Option<(SessionId, ReplicaId)>,
}

/// Ends a collection in one step. O(tombstones up to the horizon, with their descendants).
fn collect_all<V: ReadView>(
    mut begun: CollectionInProgress,
    work: &mut Transaction<V>,
) -> Result<(), StorageError> {
    while !begun.is_done() {
        work.go_on_collecting(&mut begun)?;
    }
    Ok(())
}

impl<S: Store> StoreHost<S> {
    /// Opens the state in `store`. The host offers every protocol that can run.
    pub fn open(
        store: S,
        context: ContextId,
        replica: ReplicaId,
        moment: Moment,
    ) -> Result<Self, StorageError> {
        let mut host = Self {
            log: DeltaLog::load(&store.view(), DeltaLog::DEFAULT_RETENTION)?,
            views: ViewCache::new(4),
            sketch: None,
            sessions: 0,
            admitted: None,
            store,
            context,
            replica,
            incarnation: 1,
            protocols: SyncProtocolKind::EXECUTABLE.to_vec(),
            merges: Merges::default(),
            selection: Selection::default(),
            link: Link::default(),
            authority: Authority::open(),
            membership: Membership::Open,
            moment,
            patience: Duration::from_millis(400),
            idle_limit: Duration::from_secs(60),
        };
        // Its former host may have been interrupted in the middle: a state that is collected in part is compared with nobody.
        if let Some(begun) = CollectionInProgress::load(&host.store.view())? {
            let mut work = host.begin()?;
            collect_all(begun, &mut work)?;
            let (batch, log, sketch) = work.finish()?;
            host.store.apply(batch)?;
            host.log = log;
            host.sketch = sketch;
        }
        Ok(host)
    }

    fn begin(&mut self) -> Result<Transaction<S::View>, StorageError> {
        let log = self.log.clone();
        let context = ApplyContext::new(self.moment);
        let gate = Gate {
            context: self.context,
            authority: self.authority.clone(),
            membership: self.membership.clone(),
        };
        let work = Transaction::begin_with(self.store.view(), log, context, self.merges.clone())?;
        work.with_gate(gate).with_sketch(self.sketch.take())
    }

    fn commit(&mut self, work: Transaction<S::View>) -> Result<(), DriveError> {
        let (batch, log, sketch) = work.finish()?;
        if !batch.is_empty() {
            if !self.views.is_empty() {
                self.views.on_commit(batch.approximate_bytes());
            }
            self.store.apply(batch)?;
        }
        self.log = log;
        self.sketch = sketch;
        Ok(())
    }

    /// The handshake of this side, with the head of its sketch if the initiator wants it and has state.
    fn describe(&mut self, with_sketch: bool) -> Result<SyncHandshake, DriveError> {
        let mut work = self.begin()?;
        let mut ours = build_handshake(&work.describe(self.context, self.replica, &self.protocols)?);
        ours.link = self.link;
        if with_sketch && ours.has_state {
            ours.sketch = Some(work.sketch()?.head());
        }
        self.commit(work)?;
        Ok(ours)
    }

    /// The handshake of this side at the start of a session, with the head of its sketch.
    pub fn introduce(&mut self) -> Result<SyncHandshake, DriveError> {
        self.describe(true)
    }

    /// Computes the sketch of the state, if there is none yet. O(n), once; every write updates it from
    /// then on.
    pub fn warm_up(&mut self) -> Result<(), DriveError> {
        let mut work = self.begin()?;
        work.sketch()?;
        self.commit(work)
    }

    /// The estimated number of records that differ, from the sketches of `theirs` and of this side.
    pub fn estimate(&mut self, theirs: &SyncHandshake) -> Result<u64, DriveError> {
        let mut work = self.begin()?;
        let comparison = SketchComparison::of(theirs, &mut work)?;
        self.commit(work)?;
        Ok(comparison.map_or(0, |comparison| comparison.difference))
    }

    /// The cells in this side's answer to the handshake `theirs`. `None` if the handshake alone shows the
    /// difference.
    pub fn cells_for(&mut self, theirs: &SyncHandshake) -> Result<Option<Vec<Cell>>, DriveError> {
        let mut work = self.begin()?;
        let comparison = SketchComparison::of(theirs, &mut work)?;
        let undecided = comparison.filter(|comparison| comparison.found.is_none());
        let located = undecided.map(|comparison| comparison.located(&mut work)).transpose()?;
        self.commit(work)?;
        Ok(match located {
            Some(LocatedDifference::Cells(cells)) => Some(cells),
            _ => None,
        })
    }

    /// The difference from a peer whose first cells are `theirs`, if they decode.
    pub fn differs(&mut self, theirs: &[Cell]) -> Result<Option<SetDifference>, DriveError> {
        let mut work = self.begin()?;
        let ours = work.cells(0, theirs.len())?;
        let found = decode(work.sketch_key(), &ours, theirs, &mut work.state)?;
        self.commit(work)?;
        Ok(found)
    }

    /// Starts a session with the protocol that the two sides will agree on. Returns its first request.
    pub fn start(&mut self) -> Result<(Session, Message), DriveError> {
        let ours = self.describe(self.selection == Selection::Adaptive)?;
        Ok(self.start_as(ours))
    }

    /// Starts a session that runs this protocol or none. Returns its first request.
    pub fn start_with(&mut self, protocol: SyncProtocolKind) -> Result<(Session, Message), DriveError> {
        let ours = self.describe(protocol.uses_sketch())?;
        let mut supported_protocols = vec![SyncProtocolKind::None, protocol];
        if protocol == SyncProtocolKind::DeltaSync {
            // Deltas alone may leave a difference, which a walk finds.
            supported_protocols.push(SyncProtocolKind::HashComparison);
        }
        let ours = SyncHandshake { supported_protocols, requested_protocol: Some(protocol), ..ours };
        Ok(self.start_as(ours))
    }

    fn start_as(&mut self, ours: SyncHandshake) -> (Session, Message) {
        self.sessions += 1;
        // The incarnation in the upper half makes ids unique across restarts.
        debug_assert!(self.sessions < 1 << 32, "an incarnation starts fewer than 2^32 sessions");
        let id = SessionId(self.incarnation << 32 | self.sessions);
        let (session, request_id, request) = Session::start(id, ours);
        (session, Message::Request { session: id, id: request_id, request })
    }

    /// Gives a message to a session, and commits the changes that it causes. A message that is not the
    /// response to the session's current request is ignored.
    pub fn on_message(
        &mut self,
        session: &mut Session,
        message: &Message,
    ) -> Result<SessionProgress, DriveError> {
        let Message::Response { session: id, id: request, response } = message else {
            return Ok(SessionProgress::Ignored);
        };
        if *id != session.id() {
            return Ok(SessionProgress::Ignored);
        }
        let mut work = self.begin()?;
        let progress = session.on_response(*request, response, &mut work)?;
        if matches!(progress, SessionProgress::Done(Outcome::Converged { .. }))
            && let Some(theirs) = session.peer()
        {
            work.adopt(theirs);
            if let Some(begun) = work.adopt_horizon(theirs)?.rest {
                collect_all(begun, &mut work)?;
            }
        }
        if matches!(progress, SessionProgress::Done(_)) {
            work.clean_up()?;
        }
        self.commit(work)?;
        Ok(progress)
    }

    /// Answers a request. The records it pushed are committed before the answer is returned, so that an
    /// answer never promises what a crash can undo. Other messages have no answer.
    pub fn answer(&mut self, message: &Message) -> Result<Option<Message>, DriveError> {
        // Responses go to the session, and gossip is no part of a transport.
        let Message::Request { session, id, request } = message else { return Ok(None) };
        if let Some(rejection) = self.reject(*session, request) {
            let response = Response::Rejected(rejection);
            return Ok(Some(Message::Response { session: *session, id: *id, response }));
        }
        let ours = self.describe(false)?;
        let mut work = self.begin()?;
        let response = respond(&mut work, &mut self.views, &ours, request)?;
        self.commit(work)?;
        if let (Request::Handshake(theirs), Response::Handshake(_)) = (request, &response) {
            self.admitted = Some((*session, theirs.replica));
        }
        Ok(Some(Message::Response { session: *session, id: *id, response }))
    }

    /// Why a request after the handshake is not served. Where membership is restricted, the handshake
    /// identifies the initiator; later requests of the same session must come from a current member.
    fn reject(&self, session: SessionId, request: &Request) -> Option<Rejection> {
        let begins = matches!(request, Request::Handshake(_) | Request::ForeignHandshake { .. });
        if self.membership == Membership::Open || begins {
            return None;
        }
        match self.admitted {
            Some((admitted, replica)) if admitted == session => {
                (!self.membership.admits(replica)).then_some(Rejection::NotAMember)
            }
            _ => Some(Rejection::NoHandshake),
        }
    }

    /// How long to wait for the answer to a request that has been sent `attempt` times.
    pub fn patience_for(&self, attempt: u32) -> Duration {
        self.patience * (1 << attempt.saturating_sub(1).min(3))
    }

    async fn send<T: SyncTransport>(&self, transport: &mut T, message: &Message) -> Result<(), DriveError> {
        let message = StreamMessage { incarnation: self.incarnation, message: Cow::Borrowed(message) };
        Ok(transport.send(&message).await?)
    }
}

/// Runs one session as its initiator, with the protocol that the two sides agree on.
///
/// The number of rounds is bounded, but not their duration, because this crate has no clock. The caller
/// bounds the duration by dropping the future; everything received until then is committed.
pub async fn drive<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<(Outcome, SessionStats), DriveError> {
    let (session, message) = host.start()?;
    run(host, transport, session, message).await
}

/// Like [`drive`], with [`SyncProtocolKind::HashComparison`] only: a walk down the index.
pub async fn hash_comparison_sync<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<(Outcome, SessionStats), DriveError> {
    drive_with(host, transport, SyncProtocolKind::HashComparison).await
}

/// Like [`drive`], with [`SyncProtocolKind::Snapshot`] only, which requires a fresh replica.
pub async fn snapshot_sync<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<(Outcome, SessionStats), DriveError> {
    drive_with(host, transport, SyncProtocolKind::Snapshot).await
}

/// Like [`drive`], with [`SyncProtocolKind::DeltaSync`], and a walk if deltas leave a difference.
pub async fn delta_sync<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<(Outcome, SessionStats), DriveError> {
    drive_with(host, transport, SyncProtocolKind::DeltaSync).await
}

/// Like [`drive`], with [`SyncProtocolKind::LevelWise`] only: a comparison level by level.
pub async fn level_wise_sync<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<(Outcome, SessionStats), DriveError> {
    drive_with(host, transport, SyncProtocolKind::LevelWise).await
}

/// Like [`drive`], with [`SyncProtocolKind::BloomFilter`] only: filters over all records.
pub async fn bloom_filter_sync<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<(Outcome, SessionStats), DriveError> {
    drive_with(host, transport, SyncProtocolKind::BloomFilter).await
}

/// Like [`drive`], with [`SyncProtocolKind::RatelessIblt`] only: coded symbols.
pub async fn rateless_iblt_sync<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<(Outcome, SessionStats), DriveError> {
    drive_with(host, transport, SyncProtocolKind::RatelessIblt).await
}

/// Like [`drive`], with [`SyncProtocolKind::SubtreePrefetch`] only: whole subtrees that differ.
pub async fn subtree_prefetch_sync<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<(Outcome, SessionStats), DriveError> {
    drive_with(host, transport, SyncProtocolKind::SubtreePrefetch).await
}

async fn drive_with<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
    protocol: SyncProtocolKind,
) -> Result<(Outcome, SessionStats), DriveError> {
    let (session, message) = host.start_with(protocol)?;
    run(host, transport, session, message).await
}

async fn run<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
    mut session: Session,
    mut message: Message,
) -> Result<(Outcome, SessionStats), DriveError> {
    host.send(transport, &message).await?;
    let mut ignored = 0;
    loop {
        let patience = host.patience_for(session.attempts());
        let progress = match transport.recv_timeout(patience).await? {
            Some(answer) => host.on_message(&mut session, &answer.message)?,
            None => session.on_timeout(),
        };
        // A peer that keeps sending irrelevant messages must not keep the session alive for ever: after many
        // in a row the request counts as timed out. Every answer or timeout resets the count.
        ignored = if progress == SessionProgress::Ignored { ignored + 1 } else { 0 };
        let progress = if ignored > MAX_IGNORED { session.on_timeout() } else { progress };
        match progress {
            SessionProgress::Ignored => {}
            SessionProgress::Send(id, request) => {
                message = Message::Request { session: session.id(), id, request };
                host.send(transport, &message).await?;
            }
            SessionProgress::Done(outcome) => return Ok((outcome, session.stats())),
        }
    }
}

/// How serving a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamEnd {
    /// The other end closed the stream.
    Closed,
    /// The other end sent no request for [`StoreHost::idle_limit`]: this end closed the stream.
    Idle,
}

/// What [`serve`] did on one stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Served {
    /// The number of requests answered.
    pub answered: u64,
    /// How it ended.
    pub end: StreamEnd,
}

/// Answers requests until the other end closes the stream, or sends none for [`StoreHost::idle_limit`]. So a peer that
/// is silent, sends part of a request, or sends what is no request cannot hold the stream.
pub async fn serve<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<Served, DriveError> {
    let mut answered = 0;
    let mut ignored = 0;
    // The admitted initiator belongs to an earlier stream; this one has to begin with a handshake.
    host.admitted = None;
    loop {
        let request = match transport.recv_timeout(host.idle_limit).await {
            Ok(Some(request)) if ignored < MAX_IGNORED => request,
            Ok(_) => {
                transport.close().await?;
                return Ok(Served { answered, end: StreamEnd::Idle });
            }
            Err(TransportError::Closed) => return Ok(Served { answered, end: StreamEnd::Closed }),
            Err(error) => return Err(error.into()),
        };
        match host.answer(&request.message)? {
            Some(answer) => {
                host.send(transport, &answer).await?;
                answered += 1;
                ignored = 0;
            }
            // No initiator sends such messages: many in a row are as good as none.
            None => ignored += 1,
        }
    }
}
