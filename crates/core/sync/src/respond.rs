//! The responder: a function of a state and a request.
//!
//! A responder stores nothing about its sessions. Each answer depends on the request, the state and the
//! cache of views only, and each request is idempotent. A request that arrives twice, late or after a
//! restart therefore needs no special treatment.

use crate::deltas::{Delta, DeltaError, DeltaRefusal, HistoryClaim, MissingDeltas, VersionVector};
use crate::messages::{
    Answer, DeltasReply, ExchangeReply, ExchangeRequest, HandshakeReply, Question, Rejection, Request,
    ResponderState, Response, SYNC_PROTOCOL_VERSION, SyncHandshake, SyncProtocolKind, WireRecord,
};
use crate::selection::{SelectionReason, select_adaptively, select_protocol};
use crate::sketch::SketchComparison;
use crate::snapshot::{SnapshotPage, ViewCache};
use crate::transaction::Transaction;
use syncline_storage::{ApplyError, Disposition, Interface, Record, StorageError, tree_page};
use syncline_store::{Bytes, ReadView};
use syncline_types::{Decode, Digest, Encode, Probe, Writer, canary};

/// Answers a request. `ours` is the present handshake of this replica. Pushed records are joined in the
/// transaction, and the answer describes the state after that. The caller must therefore commit the
/// transaction before it sends the answer.
pub fn respond<V: ReadView>(
    work: &mut Transaction<V>,
    views: &mut ViewCache<V>,
    ours: &SyncHandshake,
    request: &Request,
) -> Result<Response, StorageError> {
    views.expire(work.context.moment.now);
    match request {
        Request::Handshake(theirs) => on_handshake(work, views, ours, theirs),
        Request::ForeignHandshake { .. } => {
            Ok(Response::Rejected(Rejection::Version { theirs: SYNC_PROTOCOL_VERSION }))
        }
        Request::Exchange(asked) => on_exchange(work, asked).map(Response::Exchange),
        Request::Deltas { covered, pushes } => on_deltas(work, covered, pushes).map(Response::Deltas),
        Request::SnapshotPage { boundary, after, compressed } => {
            let Some(view) = boundary_view(work, views, ours, *boundary) else {
                work.note(Probe::ViewGone);
                return Ok(Response::SnapshotGone(Box::new(views.replacement(ours).clone())));
            };
            let page = tree_page(view, after, work.limits.snapshot_page_bytes())?;
            let (packed, unpacked_len) = SnapshotPage::pack(&page.records, *compressed);
            Ok(Response::SnapshotPage(SnapshotPage {
                boundary: *boundary,
                root: ours.root_hash,
                packed,
                unpacked_len,
                next: page.next,
            }))
        }
        Request::SnapshotExchange { boundary, asked } => {
            let Some(view) = boundary_view(work, views, ours, *boundary) else {
                work.note(Probe::ViewGone);
                return Ok(Response::SnapshotGone(Box::new(views.replacement(ours).clone())));
            };
            let mut state = Interface::open(view.clone())?;
            let mut reply = ExchangeReply::of(asked, &mut state)?;
            reply.root = ours.root_hash;
            let responder = ResponderState { key: work.sketch_key(), sketch: None, limits: &work.limits };
            answer(asked, &mut state, responder, &mut reply)?;
            note_cuts(work, asked, &reply);
            Ok(Response::Exchange(reply))
        }
    }
}

/// The cached view of the state with root `boundary`. If it has been evicted and the transfer will
/// continue with the present state, the present view is cached.
fn boundary_view<'a, V: ReadView>(
    work: &mut Transaction<V>,
    views: &'a mut ViewCache<V>,
    ours: &SyncHandshake,
    boundary: Digest,
) -> Option<&'a V> {
    let present = boundary == ours.root_hash || views.replacement(ours).root_hash == ours.root_hash;
    let now = work.context.moment.now;
    if views.find(boundary, now).is_none() && present {
        cache_present(work, views, ours);
    }
    views.find(boundary, now)
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
    match work.claim(theirs)? {
        Some(HistoryClaim::Own(_)) => return Ok(Response::Rejected(Rejection::UnprovenHistory)),
        Some(HistoryClaim::Peers(delta)) => {
            return Ok(Response::Rejected(Rejection::AnotherHistory { delta }));
        }
        None => {}
    }
    let table = select_protocol(theirs, ours);
    // Records are exchanged between equal horizons only. Where the roots are equal, there is no difference to
    // locate.
    let comparable = theirs.has_state
        && ours.has_state
        && theirs.horizon == ours.horizon
        && table.reason != SelectionReason::RootsEqual;
    let comparison = if comparable { SketchComparison::of(theirs, work)? } else { None };
    let selection = match &comparison {
        Some(comparison) if table.reason != SelectionReason::Requested => {
            let found = comparison.found.is_some();
            let cheapest = select_adaptively(theirs, ours, comparison.difference, found);
            if cheapest.reason == SelectionReason::NoCommonProtocol { table } else { cheapest }
        }
        _ => table,
    };
    let verdict = selection.protocol.kind();
    let by_state = !matches!(verdict, SyncProtocolKind::None | SyncProtocolKind::DeltaSync);
    if by_state && verdict != SyncProtocolKind::Snapshot {
        work.note_if_left_behind(theirs);
    }
    work.note_if(by_state && work.log.has_pruned_for(&theirs.covered), Probe::BelowFloor);
    if verdict == SyncProtocolKind::Snapshot {
        cache_present(work, views, ours);
    }
    let difference = comparison.as_ref().map(|comparison| comparison.difference);
    let located = match (comparison, verdict) {
        (Some(comparison), SyncProtocolKind::RatelessIblt) => Some(comparison.located(work)?),
        (Some(comparison), SyncProtocolKind::SubtreePrefetch) => Some(comparison.sample(work)?),
        _ => None,
    };
    let theirs = ours.clone();
    Ok(Response::Handshake(Box::new(HandshakeReply { theirs, verdict, difference, located })))
}

/// Caches the present view, unless this step has changed the state: the view is the one from before the
/// step and would not have the root of `ours`.
fn cache_present<V: ReadView>(work: &mut Transaction<V>, views: &mut ViewCache<V>, ours: &SyncHandshake) {
    if !work.state.is_changed() {
        let evicted = views.insert(ours, work.state.view(), work.context.moment.now);
        work.note_if(evicted, Probe::ViewEvicted);
    }
}

fn on_deltas<V: ReadView>(
    work: &mut Transaction<V>,
    theirs: &VersionVector,
    pushes: &[Bytes],
) -> Result<DeltasReply, StorageError> {
    let mut refused = 0;
    for bytes in pushes {
        // A covered delta has arrived another way meanwhile, and one ahead of the horizon is due after the next
        // handshake: neither is a refusal.
        let is_refused = match Delta::from_bytes(bytes) {
            Err(_) => true,
            Ok(delta) => match work.apply_delta(&delta) {
                Ok(()) | Err(DeltaError::Refused(DeltaRefusal::Covered | DeltaRefusal::HorizonAhead)) => {
                    false
                }
                Err(DeltaError::Refused(_)) => true,
                Err(DeltaError::Storage(error)) => return Err(error),
            },
        };
        refused += u64::from(is_refused);
    }
    let (deltas, complete) = match work.deltas_since(theirs)? {
        MissingDeltas::Deltas { deltas, complete } => (deltas, complete),
        MissingDeltas::BelowFloor => (Vec::new(), false),
    };
    let root = work.state.root_hash()?;
    let covered = work.log.covered().clone();
    Ok(DeltasReply { root, covered, deltas, complete, refused })
}

fn on_exchange<V: ReadView>(
    work: &mut Transaction<V>,
    asked: &ExchangeRequest,
) -> Result<ExchangeReply, StorageError> {
    let generation_before = work.state.stats()?.generation;
    let (deferred, refused) = join_pushes(work, asked)?;
    let mut reply = ExchangeReply::of(asked, &mut work.state)?;
    reply.generation_before = generation_before;
    reply.deferred = deferred;
    reply.refused = refused;
    debug_assert!(reply.generation_before <= reply.generation_after, "joining never undoes a change");
    if asked.questions.iter().any(|question| matches!(question, Question::Cells { .. })) {
        work.sketch()?;
    }
    let responder =
        ResponderState { key: work.sketch_key(), sketch: work.sketch.as_ref(), limits: &work.limits };
    answer(asked, &mut work.state, responder, &mut reply)?;
    note_cuts(work, asked, &reply);
    Ok(reply)
}

/// Reports where the limits of this replica have cut the reply.
fn note_cuts<V: ReadView>(work: &mut Transaction<V>, asked: &ExchangeRequest, reply: &ExchangeReply) {
    let is_cut = reply.answers.len() < asked.questions.len() || reply.records.len() < asked.wants.len();
    work.note_if(is_cut, Probe::ReplyCut);
    for (question, answer) in asked.questions.iter().zip(&reply.answers) {
        match (question, answer) {
            (_, Answer::Children { complete: false, .. }) => work.note(Probe::ChildrenCut),
            (_, Answer::Subtree { complete: false, .. }) => work.note(Probe::SubtreeCut),
            (Question::Subtree { .. }, Answer::Node(_)) => work.note(Probe::SubtreeTooWide),
            (_, Answer::Records { complete: false, .. }) => work.note(Probe::ShortIdsCut),
            (_, Answer::Missing { ids, .. }) => {
                work.note_if(ids.len() >= work.limits.missing_per_answer(), Probe::MissingCut);
            }
            (Question::Cells { from, count }, Answer::Cells(_)) => {
                let stored = work.sketch.as_ref().map_or(0, |sketch| sketch.first(usize::MAX).len());
                work.note_if(stored < *from as usize + *count as usize, Probe::CellsComputed);
            }
            (_, Answer::FilteredIblt(_)) => work.note(Probe::Filtered),
            _ => {}
        }
    }
}

/// Joins the pushed records. Returns how many may be accepted later, and how many break a rule.
fn join_pushes<V: ReadView>(
    work: &mut Transaction<V>,
    asked: &ExchangeRequest,
) -> Result<(u64, u64), StorageError> {
    if asked.horizon != work.state.horizon() {
        // The pushes may contain entities that this side has collected. The reply shows that the horizons
        // differ.
        return Ok((asked.pushes.len() as u64, 0));
    }
    work.state.prefetch(asked.pushes.iter().map(|push| push.id))?;
    let mut deferred = 0;
    let mut refused = 0;
    for WireRecord { id, bytes } in &asked.pushes {
        let Ok(record) = Record::from_bytes(bytes) else {
            refused += 1;
            continue;
        };
        if deferred > 0 && record.may_be_collected(asked.horizon) {
            // What hides it may be the record before it, which was not joined.
            deferred += 1;
            continue;
        }
        match work.state.merge_record(*id, &record, &work.context) {
            Ok(_) => {}
            Err(ApplyError::Storage(error)) => return Err(error),
            Err(error) if error.disposition() == Disposition::RetryLater => deferred += 1,
            Err(_) => refused += 1,
        }
    }
    Ok((deferred, refused))
}

impl ExchangeReply {
    /// A reply with the figures of `state`, and without answers.
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

/// Answers record requests and questions from the front, as many as fit a page.
fn answer<V: ReadView>(
    asked: &ExchangeRequest,
    state: &mut Interface<V>,
    responder: ResponderState<'_>,
    reply: &mut ExchangeReply,
) -> Result<(), StorageError> {
    let mut encoded = Writer::default();
    for want in &asked.wants {
        if encoded.len() >= responder.limits.page_bytes() {
            break;
        }
        let record = state.record(*want)?;
        let bytes = record.map(|record| record.to_bytes());
        encoded.raw(bytes.as_deref().unwrap_or_default());
        reply.records.push(bytes.map(Into::into));
    }
    // The cost of answers beyond their size; see `Question::cost`.
    let mut cost = 0;
    for question in &asked.questions {
        // Every reply contains at least one answer, whatever its size, so that every round makes progress.
        let is_empty = reply.answers.is_empty() && reply.records.is_empty();
        if encoded.len() + cost >= responder.limits.page_bytes() && !is_empty {
            break;
        }
        let answer = Answer::to(question, asked.whole, state, responder)?;
        answer.encode(&mut encoded);
        cost += question.cost(responder) + answer.cost();
        reply.answers.push(answer);
    }
    debug_assert!(
        reply.answers.len() <= asked.questions.len() && reply.records.len() <= asked.wants.len(),
        "answers pair up with questions"
    );
    Ok(())
}
