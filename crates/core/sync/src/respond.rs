//! The responder: a function of a state and a request.

use crate::adaptive::select_adaptively;
use crate::delta::{Delta, VersionVector};
use crate::handshake::{HandshakeReply, SYNC_PROTOCOL_VERSION, SyncHandshake, SyncProtocolKind};
use crate::log::{DeltaRefusal, Missing};
use crate::message::{DeltasReply, ExchangeReply, ExchangeRequest, Rejection, Request, Response};
use crate::page::SnapshotPage;
use crate::question::{Answer, Kept, Question};
use crate::select::{SelectionReason, select_protocol};
use crate::sketch::Sight;
use crate::transaction::Transaction;
use std::collections::VecDeque;
use syncline_storage::{ApplyError, Disposition, Interface, Record, StorageError, tree_page};
use syncline_store::{Bytes, ReadView};
use syncline_types::{Decode, Digest, Encode, Writer, canary, limits};

/// Views kept so that a snapshot in progress is not disturbed by new writes: the only thing a
/// responder remembers. Losing one costs the initiator a look at what has changed, never correctness.
#[derive(Clone, Debug)]
pub struct ViewCache<V> {
    /// By root; the one used last comes last.
    views: VecDeque<(Digest, V)>,
    /// What was said of the view that came last. It is always here: only a later one pushes it out.
    newest: Option<SyncHandshake>,
    capacity: usize,
}

impl<V: Clone> ViewCache<V> {
    /// A cache of up to `capacity` views, and at least one.
    pub const fn new(capacity: usize) -> Self {
        Self { views: VecDeque::new(), newest: None, capacity: if capacity == 0 { 1 } else { capacity } }
    }

    /// The roots of the states that views are kept of, the one used last coming last, and what was said of
    /// the newest.
    pub fn kept(&self) -> (Vec<Digest>, Option<&SyncHandshake>) {
        (self.views.iter().map(|(root, _)| *root).collect(), self.newest.as_ref())
    }

    /// Keeps the view that `said` describes, at the cost of the one used longest ago.
    fn keep(&mut self, said: &SyncHandshake, view: &V) {
        if self.find(said.root_hash).is_none() {
            self.views.push_back((said.root_hash, view.clone()));
            self.newest = Some(said.clone());
            while self.views.len() > self.capacity {
                self.views.pop_front();
            }
        }
    }

    fn find(&mut self, root: Digest) -> Option<&V> {
        let at = self.views.iter().position(|(own, _)| *own == root)?;
        let found = self.views.remove(at)?;
        self.views.push_back(found);
        self.views.back().map(|(_, view)| view)
    }

    /// Another state to go on with for one whose view is gone: the present one or, if there is no room for
    /// one more, the newest that others are receiving; otherwise readers of many states would push each
    /// other's out for ever.
    fn instead<'a>(&'a self, ours: &'a SyncHandshake) -> &'a SyncHandshake {
        let full = self.views.len() >= self.capacity;
        self.newest.as_ref().filter(|newest| full && newest.horizon == ours.horizon).unwrap_or(ours)
    }
}

/// Answers a request. `ours` is what this replica says of itself now. Pushed records are joined
/// into the transaction; the answer speaks of the state after that, so it must be sent only once
/// the transaction is durable.
pub fn respond<V: ReadView>(
    work: &mut Transaction<V>,
    views: &mut ViewCache<V>,
    ours: &SyncHandshake,
    request: &Request,
) -> Result<Response, StorageError> {
    match request {
        Request::Handshake(theirs) => on_handshake(work, views, ours, theirs),
        Request::Exchange(asked) => on_exchange(work, asked).map(Response::Exchange),
        Request::Deltas { covered, pushes } => on_deltas(work, covered, pushes).map(Response::Deltas),
        Request::SnapshotPage { boundary, after, compressed } => {
            let Some(view) = boundary_view(work, views, ours, *boundary) else {
                return Ok(Response::SnapshotGone(Box::new(views.instead(ours).clone())));
            };
            let page = tree_page(view, after, limits::SNAPSHOT_PAGE_BYTES)?;
            let (packed, unpacked_len) = SnapshotPage::pack(&page.records, *compressed);
            let (boundary, root, next) = (*boundary, ours.root_hash, page.next);
            Ok(Response::SnapshotPage(SnapshotPage { boundary, root, packed, unpacked_len, next }))
        }
        Request::SnapshotExchange { boundary, asked } => {
            let Some(view) = boundary_view(work, views, ours, *boundary) else {
                return Ok(Response::SnapshotGone(Box::new(views.instead(ours).clone())));
            };
            let mut state = Interface::open(view.clone())?;
            let mut reply = ExchangeReply::of(asked, &mut state)?;
            reply.root = ours.root_hash;
            let kept = Kept { key: work.sketch_key(), sketch: None };
            answer(asked, &mut state, kept, &mut reply)?;
            Ok(Response::Exchange(reply))
        }
    }
}

/// The view of a state that is being received. If it is gone, that of the one to go on with is kept.
fn boundary_view<'a, V: ReadView>(
    work: &Transaction<V>,
    views: &'a mut ViewCache<V>,
    ours: &SyncHandshake,
    boundary: Digest,
) -> Option<&'a V> {
    let present = boundary == ours.root_hash || views.instead(ours).root_hash == ours.root_hash;
    if views.find(boundary).is_none() && present {
        keep_current(work, views, ours);
    }
    views.find(boundary)
}

fn on_handshake<V: ReadView>(
    work: &mut Transaction<V>,
    views: &mut ViewCache<V>,
    ours: &SyncHandshake,
    theirs: &SyncHandshake,
) -> Result<Response, StorageError> {
    if theirs.version != SYNC_PROTOCOL_VERSION && !canary!(VersionIgnored) {
        return Ok(Response::Rejected(Rejection::Version { theirs: SYNC_PROTOCOL_VERSION }));
    }
    if theirs.context != ours.context {
        return Ok(Response::Rejected(Rejection::Context));
    }
    if let Err(rejection) = work.vet(theirs) {
        return Ok(Response::Rejected(rejection));
    }
    let table = select_protocol(theirs, ours);
    // Records only pass between equal horizons; and where roots are equal, there is nothing to locate.
    let comparable = theirs.has_state
        && ours.has_state
        && theirs.horizon == ours.horizon
        && table.reason != SelectionReason::RootsEqual;
    let sight = if comparable { Sight::of(theirs, work)? } else { None };
    let selection = match &sight {
        Some(sight) if table.reason != SelectionReason::Requested => {
            let cheapest = select_adaptively(theirs, ours, sight.difference, sight.found.is_some());
            if cheapest.reason == SelectionReason::NoCommonProtocol { table } else { cheapest }
        }
        _ => table,
    };
    let verdict = selection.protocol.kind();
    if verdict == SyncProtocolKind::Snapshot {
        keep_current(work, views, ours);
    }
    let difference = sight.as_ref().map(|sight| sight.difference);
    let located = match (sight, verdict) {
        (Some(sight), SyncProtocolKind::RatelessIblt) => Some(sight.located(work)?),
        (Some(sight), SyncProtocolKind::SubtreePrefetch) => Some(sight.sample(work)?),
        _ => None,
    };
    let theirs = ours.clone();
    Ok(Response::Handshake(Box::new(HandshakeReply { theirs, verdict, difference, located })))
}

/// Keeps the present view, unless this step has changed the state: then the view does not have the
/// root that is being announced.
fn keep_current<V: ReadView>(work: &Transaction<V>, views: &mut ViewCache<V>, ours: &SyncHandshake) {
    if !work.state.is_changed() {
        views.keep(ours, work.state.view());
    }
}

fn on_deltas<V: ReadView>(
    work: &mut Transaction<V>,
    theirs: &VersionVector,
    pushes: &[Bytes],
) -> Result<DeltasReply, StorageError> {
    let mut refused = 0;
    for bytes in pushes {
        let applied = match Delta::from_bytes(bytes) {
            Ok(delta) => work.apply_delta(&delta)?,
            Err(_) => Err(DeltaRefusal::Malformed),
        };
        refused += u64::from(!matches!(applied, Ok(()) | Err(DeltaRefusal::Covered)));
    }
    let (deltas, complete) = match work.deltas_since(theirs, limits::PAGE_BYTES)? {
        Missing::Deltas { deltas, complete } => (deltas, complete),
        Missing::BelowFloor => (Vec::new(), false),
    };
    let (root, covered) = (work.state.root_hash()?, work.log.covered().clone());
    Ok(DeltasReply { root, covered, deltas, complete, refused })
}

fn on_exchange<V: ReadView>(
    work: &mut Transaction<V>,
    asked: &ExchangeRequest,
) -> Result<ExchangeReply, StorageError> {
    let generation_before = work.state.stats()?.generation;
    let (mut deferred, mut refused) = (0, 0);
    let comparable = asked.horizon == work.state.horizon();
    if comparable {
        work.state.prefetch(asked.pushes.iter().map(|push| push.id))?;
    }
    for push in &asked.pushes {
        if !comparable {
            deferred += 1;
            continue;
        }
        let merged = match Record::from_bytes(&push.bytes) {
            Ok(record) => work.state.merge_record(push.id, &record, &work.context),
            Err(_) => {
                refused += 1;
                continue;
            }
        };
        match merged {
            Ok(_) => {}
            Err(ApplyError::Storage(error)) => return Err(error),
            Err(error) if error.disposition() == Disposition::RetryLater => deferred += 1,
            Err(_) => refused += 1,
        }
    }
    let mut reply = ExchangeReply::of(asked, &mut work.state)?;
    (reply.generation_before, reply.deferred, reply.refused) = (generation_before, deferred, refused);
    if asked.questions.iter().any(|question| matches!(question, Question::Cells { .. })) {
        work.sketch()?;
    }
    let kept = Kept { key: work.sketch_key(), sketch: work.sketch.as_ref() };
    answer(asked, &mut work.state, kept, &mut reply)?;
    Ok(reply)
}

impl ExchangeReply {
    /// What `state` says of itself, and no answers yet.
    fn of<V: ReadView>(asked: &ExchangeRequest, state: &mut Interface<V>) -> Result<Self, StorageError> {
        let stats = state.stats()?;
        Ok(Self {
            whole: asked.whole,
            root: stats.root,
            horizon: stats.horizon,
            generation_before: stats.generation,
            generation_after: stats.generation,
            answers: Vec::new(),
            records: Vec::new(),
            deferred: 0,
            refused: 0,
        })
    }
}

/// Answers wishes and questions from the front, as many as fit the page.
fn answer<V: ReadView>(
    asked: &ExchangeRequest,
    state: &mut Interface<V>,
    kept: Kept<'_>,
    reply: &mut ExchangeReply,
) -> Result<(), StorageError> {
    let (mut sized, mut spent) = (Writer::default(), 0);
    for want in &asked.wants {
        if sized.len() >= limits::PAGE_BYTES {
            break;
        }
        let record = state.record(*want)?;
        let bytes = record.map(|record| record.to_bytes());
        sized.raw(bytes.as_deref().unwrap_or_default());
        reply.records.push(bytes.map(Into::into));
    }
    for question in &asked.questions {
        // A round always makes progress: the first answer is given whatever its size.
        if sized.len() + spent >= limits::PAGE_BYTES
            && !(reply.answers.is_empty() && reply.records.is_empty())
        {
            break;
        }
        let answer = Answer::to(question, asked.whole, state, kept)?;
        answer.encode(&mut sized);
        // Some answers cost more than they show.
        spent += question.cost(kept);
        reply.answers.push(answer);
    }
    Ok(())
}
