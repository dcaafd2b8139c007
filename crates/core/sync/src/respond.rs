//! The responder: a function of a state and a request.

use crate::adaptive::select_adaptively;
use crate::delta::{Delta, VersionVector};
use crate::handshake::{HandshakeReply, SYNC_PROTOCOL_VERSION, SyncHandshake, SyncProtocolKind};
use crate::log::{DeltaRefusal, Missing};
use crate::message::{DeltasReply, ExchangeReply, ExchangeRequest, Rejection, Request, Response};
use crate::page::SnapshotPage;
use crate::question::Answer;
use crate::select::{SelectionReason, select_protocol};
use crate::sketch::Sight;
use crate::transaction::Transaction;
use std::collections::VecDeque;
use syncline_storage::{ApplyError, Disposition, Record, StorageError, record_page};
use syncline_store::{Bytes, ReadView};
use syncline_types::{Decode, Digest, Encode, EntityId, Writer, canary, limits};

/// Views kept so that a snapshot in progress is not disturbed by new writes: the only thing a
/// responder remembers. Losing one costs the initiator a fresh start, never correctness.
#[derive(Clone, Debug)]
pub struct ViewCache<V> {
    views: VecDeque<(Digest, V)>,
    capacity: usize,
}

impl<V: Clone> ViewCache<V> {
    /// A cache of up to `capacity` views, and at least one.
    pub const fn new(capacity: usize) -> Self {
        Self { views: VecDeque::new(), capacity: if capacity == 0 { 1 } else { capacity } }
    }

    /// Keeps the view under its root, at the cost of the one used longest ago.
    fn keep(&mut self, root: Digest, view: &V) {
        if self.find(root).is_none() {
            self.views.push_back((root, view.clone()));
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
            // A view that is asked for stays; the present one is only kept to be named instead of one that
            // is gone, or readers of different states would push each other's out.
            if views.find(*boundary).is_none() {
                keep_current(work, views, ours);
            }
            match views.find(*boundary) {
                Some(view) => {
                    page(view, ours.root_hash, *boundary, *after, *compressed).map(Response::SnapshotPage)
                }
                None => Ok(Response::SnapshotGone(Box::new(ours.clone()))),
            }
        }
    }
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
            select_adaptively(theirs, ours, sight.difference, sight.found.is_some())
        }
        _ => table,
    };
    let verdict = selection.protocol.kind();
    if verdict == SyncProtocolKind::Snapshot {
        keep_current(work, views, ours);
    }
    let difference = sight.as_ref().map(|sight| sight.difference);
    let located = match sight.filter(|_| verdict == SyncProtocolKind::RatelessIblt) {
        Some(sight) => Some(sight.located(work)?),
        None => None,
    };
    let theirs = ours.clone();
    Ok(Response::Handshake(Box::new(HandshakeReply { theirs, verdict, difference, located })))
}

/// Keeps the present view, unless this step has changed the state: then the view does not have the
/// root that is being announced.
fn keep_current<V: ReadView>(work: &Transaction<V>, views: &mut ViewCache<V>, ours: &SyncHandshake) {
    if !work.state.is_changed() {
        views.keep(ours.root_hash, work.state.view());
    }
}

fn page<V: ReadView>(
    view: &V,
    root: Digest,
    boundary: Digest,
    after: Option<EntityId>,
    compressed: bool,
) -> Result<SnapshotPage, StorageError> {
    let page = record_page(view, after, limits::SNAPSHOT_PAGE_BYTES)?;
    let (packed, unpacked_len) = SnapshotPage::pack(&page.records, compressed);
    Ok(SnapshotPage { boundary, root, after, packed, unpacked_len, is_last: page.is_last })
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
    let stats = work.state.stats()?;
    let mut reply = ExchangeReply {
        whole: asked.whole,
        root: stats.root,
        horizon: stats.horizon,
        generation_before,
        generation_after: stats.generation,
        answers: Vec::new(),
        records: Vec::new(),
        deferred,
        refused,
    };
    let (mut sized, mut spent) = (Writer::default(), 0);
    for want in &asked.wants {
        if sized.len() >= limits::PAGE_BYTES {
            break;
        }
        let record = work.state.record(*want)?;
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
        let answer = Answer::to(question, asked.whole, work)?;
        answer.encode(&mut sized);
        // A cursor deep in a tree costs more than its answer shows.
        spent += question.cursor_cost();
        reply.answers.push(answer);
    }
    Ok(reply)
}
