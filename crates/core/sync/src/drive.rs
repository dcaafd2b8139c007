//! The one driver that puts sessions on a wire.

use crate::authority::{Authority, Gate, Membership};
use crate::handshake::{Link, SyncHandshake, SyncProtocolKind, build_handshake};
use crate::log::DeltaLog;
use crate::message::{Message, Rejection, Request, Response, SessionId};
use crate::respond::{ViewCache, respond};
use crate::select::Selection;
use crate::session::{Outcome, Progress, Session, SessionStats};
use crate::sketch::{Cell, Difference, Located, Sight, Sketch, decode};
use crate::transaction::Transaction;
use crate::transport::{StreamMessage, SyncTransport, TransportError};
use std::borrow::Cow;
use std::time::Duration;
use syncline_storage::{ApplyContext, Merges, StorageError};
use syncline_store::{Store, StoreError};
use syncline_types::{ContextId, Moment, ReplicaId};

/// Messages in a row that answer nothing before the peer counts as silent.
const MAX_IGNORED: u32 = 64;

/// Why a session could not be driven to its end. What the peer does wrong is an [`Outcome`].
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

/// One side's state, for sessions that are driven over a transport.
#[derive(Debug)]
pub struct StoreHost<S: Store> {
    /// The state.
    pub store: S,
    /// The context that it holds.
    pub context: ContextId,
    /// Who it is.
    pub replica: ReplicaId,
    /// How often it has started.
    pub incarnation: u64,
    /// What it offers.
    pub protocols: Vec<SyncProtocolKind>,
    /// The merge functions of the application's own types.
    pub merges: Merges,
    /// How its sessions choose their protocol.
    pub selection: Selection,
    /// The link to the peers, as far as it is known: what the choice reckons with.
    pub link: Link,
    /// How deltas are signed.
    pub authority: Authority,
    /// Who may write here and be synced with, from now on.
    pub membership: Membership,
    /// The time that stamps are judged by.
    pub moment: Moment,
    /// How long to wait for the first answer to a request; doubles with each repeat, up to eightfold.
    pub patience: Duration,
    log: DeltaLog,
    /// Lost when a step fails, and made anew.
    sketch: Option<Sketch>,
    views: ViewCache<S::View>,
    sessions: u64,
    /// The session whose handshake was accepted last, and who began it.
    admitted: Option<(SessionId, ReplicaId)>,
}

impl<S: Store> StoreHost<S> {
    /// The state that `store` holds, with everything offered that can be run.
    pub fn open(
        store: S,
        context: ContextId,
        replica: ReplicaId,
        moment: Moment,
    ) -> Result<Self, StorageError> {
        Ok(Self {
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
        })
    }

    fn begin(&mut self) -> Result<Transaction<S::View>, StorageError> {
        let (log, context) = (self.log.clone(), ApplyContext::new(self.moment));
        let gate = Gate {
            context: self.context,
            authority: self.authority.clone(),
            membership: self.membership.clone(),
        };
        let work = Transaction::begin_with(self.store.view(), log, context, self.merges.clone())?;
        work.behind(gate).with_sketch(self.sketch.take())
    }

    fn commit(&mut self, work: Transaction<S::View>) -> Result<(), DriveError> {
        let (batch, log, sketch) = work.finish()?;
        if !batch.is_empty() {
            self.store.apply(batch)?;
        }
        (self.log, self.sketch) = (log, sketch);
        Ok(())
    }

    /// What this side says of itself; with its sketch where that may be of use.
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

    /// What this side says of itself at the start of a session, sketch included.
    pub fn introduce(&mut self) -> Result<SyncHandshake, DriveError> {
        self.describe(true)
    }

    /// Makes the sketch of the state, if it was not made yet. O(n), once; every write keeps it from then on.
    pub fn warm_up(&mut self) -> Result<(), DriveError> {
        let mut work = self.begin()?;
        work.sketch()?;
        self.commit(work)
    }

    /// About how many records differ from those of `theirs`, as their sketch and ours show.
    pub fn estimate(&mut self, theirs: &SyncHandshake) -> Result<u64, DriveError> {
        let mut work = self.begin()?;
        let sight = Sight::of(theirs, &mut work)?;
        self.commit(work)?;
        Ok(sight.map_or(0, |sight| sight.difference))
    }

    /// The cells that this side answers the handshake `theirs` with; none where the handshake tells the
    /// difference.
    pub fn cells_for(&mut self, theirs: &SyncHandshake) -> Result<Option<Vec<Cell>>, DriveError> {
        let mut work = self.begin()?;
        let sight = Sight::of(theirs, &mut work)?.filter(|sight| sight.found.is_none());
        let located = sight.map(|sight| sight.located(&mut work)).transpose()?;
        self.commit(work)?;
        Ok(located.and_then(|located| if let Located::Cells(cells) = located { Some(cells) } else { None }))
    }

    /// What differs from a peer whose first cells these are, if they tell.
    pub fn differs(&mut self, theirs: &[Cell]) -> Result<Option<Difference>, DriveError> {
        let mut work = self.begin()?;
        let ours = work.cells(0, theirs.len())?;
        let found = decode(work.sketch_key(), &ours, theirs, &mut work.state)?;
        self.commit(work)?;
        Ok(found)
    }

    /// Starts a session with whatever the two sides will agree on; gives its first request.
    pub fn start(&mut self) -> Result<(Session, Message), DriveError> {
        let ours = self.describe(self.selection == Selection::Adaptive)?;
        Ok(self.start_as(ours))
    }

    /// Starts a session with this protocol or none; gives its first request.
    pub fn start_with(&mut self, protocol: SyncProtocolKind) -> Result<(Session, Message), DriveError> {
        let ours = self.describe(protocol.uses_sketch())?;
        let mut supported_protocols = vec![SyncProtocolKind::None, protocol];
        if protocol == SyncProtocolKind::DeltaSync {
            // Where deltas do not suffice.
            supported_protocols.push(SyncProtocolKind::HashComparison);
        }
        let ours = SyncHandshake { supported_protocols, wish: Some(protocol), ..ours };
        Ok(self.start_as(ours))
    }

    fn start_as(&mut self, ours: SyncHandshake) -> (Session, Message) {
        self.sessions += 1;
        let id = SessionId(self.incarnation << 32 | self.sessions);
        let (session, request_id, request) = Session::start(id, ours);
        (session, Message::Request { session: id, id: request_id, request })
    }

    /// Gives a session the answer it waits for, and makes what it did durable.
    pub fn on_message(&mut self, session: &mut Session, message: &Message) -> Result<Progress, DriveError> {
        let Message::Response { session: id, id: request, response } = message else {
            return Ok(Progress::Ignored);
        };
        if *id != session.id() {
            return Ok(Progress::Ignored);
        }
        let mut work = self.begin()?;
        let progress = session.on_response(*request, response, &mut work)?;
        if matches!(progress, Progress::Done(Outcome::Converged { .. }))
            && let Some(theirs) = session.peer()
        {
            work.adopt(theirs);
            work.adopt_horizon(theirs)?;
        }
        if matches!(progress, Progress::Done(_)) {
            work.clean_up()?;
        }
        self.commit(work)?;
        Ok(progress)
    }

    /// Answers a request, once what it brought is durable. Anything else has no answer.
    pub fn answer(&mut self, message: &Message) -> Result<Option<Message>, DriveError> {
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

    /// Why a request that comes after the handshake is not served, if only members are.
    fn reject(&self, session: SessionId, request: &Request) -> Option<Rejection> {
        if self.membership == Membership::Open || matches!(request, Request::Handshake(_)) {
            return None;
        }
        match self.admitted {
            Some((admitted, replica)) if admitted == session => {
                (!self.membership.admits(replica)).then_some(Rejection::NotAMember)
            }
            _ => Some(Rejection::NoHandshake),
        }
    }

    /// How long to wait for the answer to the `attempt`-th sending of a request.
    pub fn patience_for(&self, attempt: u32) -> Duration {
        self.patience * (1 << attempt.saturating_sub(1).min(3))
    }

    async fn send<T: SyncTransport>(&self, transport: &mut T, message: &Message) -> Result<(), DriveError> {
        let message = StreamMessage { incarnation: self.incarnation, message: Cow::Borrowed(message) };
        Ok(transport.send(&message).await?)
    }
}

/// Runs one session as its initiator, over any transport, with whatever protocol the two sides
/// agree on.
///
/// The number of rounds is bounded, but not the time they take: this crate has no clock. Whoever has
/// one bounds the whole; what was received until then is kept.
pub async fn drive<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<(Outcome, SessionStats), DriveError> {
    let (session, message) = host.start()?;
    run(host, transport, session, message).await
}

/// As [`drive`], with a walk down the index or nothing.
pub async fn hash_comparison_sync<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<(Outcome, SessionStats), DriveError> {
    drive_with(host, transport, SyncProtocolKind::HashComparison).await
}

/// As [`drive`], with a snapshot or nothing: only a fresh replica can take one.
pub async fn snapshot_sync<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<(Outcome, SessionStats), DriveError> {
    drive_with(host, transport, SyncProtocolKind::Snapshot).await
}

/// As [`drive`], with deltas first, and a walk if they do not suffice.
pub async fn delta_sync<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<(Outcome, SessionStats), DriveError> {
    drive_with(host, transport, SyncProtocolKind::DeltaSync).await
}

/// As [`drive`], level by level or not at all.
pub async fn level_wise_sync<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<(Outcome, SessionStats), DriveError> {
    drive_with(host, transport, SyncProtocolKind::LevelWise).await
}

/// As [`drive`], with filters over all records or not at all.
pub async fn bloom_filter_sync<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<(Outcome, SessionStats), DriveError> {
    drive_with(host, transport, SyncProtocolKind::BloomFilter).await
}

/// As [`drive`], with coded symbols or not at all.
pub async fn rateless_iblt_sync<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<(Outcome, SessionStats), DriveError> {
    drive_with(host, transport, SyncProtocolKind::RatelessIblt).await
}

/// As [`drive`], with whole differing subtrees or not at all.
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
        // A peer that keeps talking past the question is as good as silent.
        ignored = if progress == Progress::Ignored { ignored + 1 } else { 0 };
        let progress = if ignored > MAX_IGNORED { session.on_timeout() } else { progress };
        match progress {
            Progress::Ignored => {}
            Progress::Send(id, request) => {
                message = Message::Request { session: session.id(), id, request };
                host.send(transport, &message).await?;
            }
            Progress::Done(outcome) => return Ok((outcome, session.stats())),
        }
    }
}

/// Answers requests until the other end closes the stream. Gives how many it answered.
pub async fn serve<S: Store, T: SyncTransport>(
    host: &mut StoreHost<S>,
    transport: &mut T,
) -> Result<u64, DriveError> {
    let mut answered = 0;
    // Who was let in before came over another stream.
    host.admitted = None;
    while let Some(request) = transport.recv().await? {
        if let Some(answer) = host.answer(&request.message)? {
            host.send(transport, &answer).await?;
            answered += 1;
        }
    }
    Ok(answered)
}
