//! Snapshots that are interrupted, outdated, forged, or received from several peers.

use super::side::Side;
use super::side::*;

use syncline_crdt::{Custom, MergeFailure, Merges, Value};
use syncline_storage::{Action, ApplyContext, Interface, Label, Metadata, Record, Slot};
use syncline_store::{MemoryStore, ReadView, Row, Store};
use syncline_sync::*;
use syncline_types::{Encode, EntityId, Hlc, ReplicaId};

/// A session that is run one request at a time.
pub(crate) struct Pull {
    pub(crate) session: Session,
    pub(crate) next: (RequestId, Request),
    pages: u64,
}

impl Pull {
    pub(crate) fn start(a: &Side) -> Self {
        let (session, id, request) = Session::start(SessionId(1), a.describe());
        Self { session, next: (id, request), pages: 0 }
    }

    /// Sends the present request to `b` and the answer to `a`.
    pub(crate) fn step(&mut self, a: &mut Side, b: &mut Side) -> Option<Outcome> {
        self.pages += u64::from(matches!(self.next.1, Request::SnapshotPage { .. }));
        let response = b.respond(&self.next.1);
        let answer = Message::Response { session: SessionId(1), id: self.next.0, response };
        let Message::Response { response, .. } = through_the_wire(answer) else { panic!() };
        self.give(a, &response)
    }

    fn give(&mut self, a: &mut Side, response: &Response) -> Option<Outcome> {
        let mut work = a.begin();
        let progress = self.session.on_response(self.next.0, response, &mut work).unwrap();
        if let (SessionProgress::Done(Outcome::Converged { .. }), Some(theirs)) =
            (&progress, self.session.peer())
        {
            work.adopt(theirs);
        }
        a.commit(work);
        match progress {
            SessionProgress::Send(id, request) => self.next = (id, request),
            SessionProgress::Ignored => panic!("an answer to the current request was ignored"),
            SessionProgress::Done(outcome) => return Some(outcome),
        }
        None
    }

    fn steps(&mut self, count: u32, a: &mut Side, b: &mut Side) {
        for _ in 0..count {
            assert_eq!(self.step(a, b), None);
        }
    }

    fn finish(&mut self, a: &mut Side, b: &mut Side) -> Outcome {
        loop {
            if let Some(outcome) = self.step(a, b) {
                return outcome;
            }
        }
    }

    fn received(&self) -> u64 {
        self.session.stats().records_received
    }
}

pub(crate) fn restart(b: &mut Side) {
    b.views = ViewCache::new(4);
}

/// A tree: fifty branches, and `leaves` below each.
fn tree(leaves: u64) -> Vec<Action> {
    let branch = |n| set(n, &[], 1, 2, 10);
    let below = |n| (0..leaves).map(move |leaf| set(1_000 * n + leaf, &[n], 1, 2, 100));
    (1..=50).flat_map(|n| std::iter::once(branch(n)).chain(below(n))).collect()
}

/// Changes all over a tree, moves included.
fn changes() -> Vec<Action> {
    let mut changes: Vec<Action> = (1..=50).map(|n| set(1_000 * n + 3, &[n], 5, 2, 40)).collect();
    changes.extend((1..=50).map(|n| set(1_000 * n + 900, &[n], 5, 2, 40)));
    let delete =
        |n: u64| Action::DeleteRef { id: EntityId::from_u64(n), ancestors: vec![], deleted_at: stamp(6, 2) };
    changes.extend([delete(7), delete(43)]);
    // These move closer to the root, one with everything below it.
    changes.extend([
        set(20_005, &[], 6, 2, 9),
        set(600, &[50], 6, 2, 9),
        set(601, &[600], 6, 2, 9),
        set(601, &[], 7, 2, 9),
    ]);
    changes
}

fn straight_pages(b: &Side) -> u64 {
    let mut a = Side::new(8, &[]);
    let mut b = Side { store: b.store.clone(), ..Side::new(9, &[]) };
    let mut pull = Pull::start(&a);
    assert_eq!(pull.finish(&mut a, &mut b), Outcome::Converged { root: b.root() });
    pull.pages
}

/// All rows except those of snapshot transfers and of the inactive slot.
fn shown(side: &Side) -> Vec<Row> {
    let (first, end) = Slot::active(&side.store).unwrap().other().bounds();
    let rows = side.store.range(&[], &[0xff], usize::MAX).unwrap();
    rows.into_iter().filter(|(key, _)| *key < first || *key >= end).collect()
}

#[test]
fn snapshot_resumes_after_lost_view() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &tree(60));
    let pages = straight_pages(&b);
    assert!(pages > 5, "{pages}");
    for after in [1, pages as u32 / 2, pages as u32 - 1] {
        let mut a = Side::new(1, &[]);
        let mut b = Side { store: b.store.clone(), ..Side::new(2, &[]) };
        let mut pull = Pull::start(&a);
        pull.steps(1 + after, &mut a, &mut b);
        let before = pull.received();
        restart(&mut b);
        b.write(&changes());
        assert_eq!(pull.finish(&mut a, &mut b), Outcome::Converged { root: b.root() }, "after {after}");
        assert_eq!(a.root(), b.root());
        assert!(pull.pages <= pages + 3, "{} pages instead of {pages}", pull.pages);
        assert!(before > 0 && pull.received() < 3_050 + 250, "{}", pull.received());
        assert_eq!(pull.session.stats().walks, 1);
        a.is_tidy();
    }
    // Without writes the same view is cached again, and nothing is compared.
    let mut pull = Pull::start(&a);
    pull.steps(4, &mut a, &mut b);
    restart(&mut b);
    assert_eq!(pull.finish(&mut a, &mut b), Outcome::Converged { root: b.root() });
    assert_eq!((pull.pages, pull.session.stats().walks), (pages, 0));
}

#[test]
fn snapshot_ends_under_constant_writes() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &tree(60));
    let mut pull = Pull::start(&a);
    let mut boundary = b.root();
    let mut rounds = 0;
    let outcome = loop {
        if rounds == 4 {
            restart(&mut b);
        }
        if let Some(outcome) = pull.step(&mut a, &mut b) {
            break outcome;
        }
        rounds += 1;
        if rounds == 5 {
            boundary = b.root();
        }
        b.write_delta(&[set(90_000 + rounds, &[3], 10 + rounds, 2, 9)], 10 + rounds);
    };
    assert_eq!(outcome, Outcome::SyncPending(RetryReason::NewerWrites));
    assert_eq!(
        (a.root(), pull.session.stats().walks),
        (boundary, 1),
        "the state that was promised last was received"
    );
    a.is_tidy();
    let (outcome, stats, protocol) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!(protocol, Some(SyncProtocolKind::DeltaSync), "the snapshot covers its deltas");
    assert_eq!((outcome, stats.walks), (Outcome::Converged { root: b.root() }, 0));
}

#[test]
fn resumes_later_after_losing_every_view() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &tree(60));
    let pages = straight_pages(&b);
    let mut pull = Pull::start(&a);
    pull.steps(4, &mut a, &mut b);
    let outcome = (0..50).find_map(|n| {
        restart(&mut b);
        b.write(&[set(90_000 + n, &[], 2, 2, 9)]);
        pull.step(&mut a, &mut b)
    });
    assert_eq!(outcome, Some(Outcome::Failed(FailureReason::TooLong)));
    assert!(a.root().is_zero());
    let mut pull = Pull::start(&a);
    assert_eq!(pull.finish(&mut a, &mut b), Outcome::Converged { root: b.root() });
    assert!(pull.pages < pages, "{} of {pages}", pull.pages);
    a.is_tidy();
}

#[test]
fn many_readers_share_few_views() {
    let mut b = Side::new(2, &tree(20));
    let mut readers: Vec<(Side, Pull)> = Vec::new();
    for n in 0..10 {
        b.write(&[set(90_000 + n, &[], 2, 2, 9)]);
        let mut a = Side::new(100 + n, &[]);
        let mut pull = Pull::start(&a);
        pull.steps(1, &mut a, &mut b);
        readers.push((a, pull));
    }
    let mut at = 0;
    while !readers.is_empty() {
        at += 1;
        b.write(&[set(95_000 + at, &[], 2, 2, 9)]);
        readers.retain_mut(|(a, pull)| match pull.step(a, &mut b) {
            None => true,
            Some(outcome) => {
                assert_eq!(outcome, Outcome::SyncPending(RetryReason::NewerWrites));
                a.is_tidy();
                false
            }
        });
    }
}

#[test]
fn snapshot_survives_reader_crashes() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &tree(60));
    let pages = straight_pages(&b);
    let mut pages_in_all = 0;
    let mut received = 0;
    loop {
        // Each incarnation stages one page; the next one is lost in a crash before it is committed.
        let mut pull = Pull::start(&a);
        pull.steps(1, &mut a, &mut b);
        let outcome = pull.step(&mut a, &mut b);
        pages_in_all += pull.pages;
        received += pull.received();
        if let Some(outcome) = outcome {
            assert_eq!(outcome, Outcome::Converged { root: b.root() });
            break;
        }
        let response = b.respond(&pull.next.1);
        let mut work = a.begin();
        pull.session.on_response(pull.next.0, &response, &mut work).unwrap();
    }
    assert_eq!((pages_in_all, received), (pages, 3_051));
    a.is_tidy();
}

#[test]
fn snapshot_resumes_after_local_writes_and_restart() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &tree(60));
    let pages = straight_pages(&b);
    let own = [set(77, &[], 9, 1, 9), set(1_003, &[1], 9, 1, 9)];
    let mut first = Pull::start(&a);
    first.steps(5, &mut a, &mut b);
    a.write(&own);
    let mut pull = Pull::start(&a);
    assert_eq!(pull.finish(&mut a, &mut b), Outcome::SyncPending(RetryReason::NewerWrites));
    assert_eq!(pull.session.selected().map(|(kind, _)| kind), Some(SyncProtocolKind::Snapshot));
    assert_eq!(first.pages + pull.pages, pages);
    assert_eq!(a.root(), Side::new(9, &[tree(60), own.to_vec()].concat()).root());
    a.is_tidy();
    let (outcome, _, protocol) = run(&mut a, &mut b, false, undisturbed);
    assert_ne!(protocol, Some(SyncProtocolKind::Snapshot));
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
}

#[test]
fn snapshot_resumes_with_another_peer() {
    let b = Side::new(2, &tree(60));
    let ahead = Side::new(3, &[tree(60), changes()].concat());
    let pages = straight_pages(&b);
    // A peer with the same state as the first, one ahead of it, and one behind it.
    for (other, walks, most) in [(&b, 0, pages), (&ahead, 1, pages + 3)] {
        let mut a = Side::new(1, &[]);
        let mut b = Side { store: b.store.clone(), ..Side::new(2, &[]) };
        let mut other = Side { store: other.store.clone(), ..Side::new(3, &[]) };
        let mut first = Pull::start(&a);
        first.steps(5, &mut a, &mut b);
        let mut pull = Pull::start(&a);
        assert_eq!(pull.finish(&mut a, &mut other), Outcome::Converged { root: other.root() });
        assert_eq!(pull.session.stats().walks, walks);
        assert!(first.pages + pull.pages <= most, "{} + {} of {pages}", first.pages, pull.pages);
        a.is_tidy();
    }
    let mut a = Side::new(1, &[]);
    let mut ahead = ahead;
    let mut behind = b;
    Pull::start(&a).steps(5, &mut a, &mut ahead);
    let (outcome, ..) = run(&mut a, &mut behind, false, undisturbed);
    assert_eq!(outcome, Outcome::Converged { root: behind.root() }, "nothing unverified is published");
    a.is_tidy();
}

#[test]
fn alternating_peers_complete_snapshot() {
    let mut b = Side::new(2, &tree(60));
    let mut c = Side::new(3, &[tree(60), changes()].concat());
    let mut a = Side::new(1, &[]);
    let mut received = 0;
    let ended = (0..40).find_map(|turn| {
        let peer = if turn % 2 == 0 { &mut b } else { &mut c };
        let mut pull = Pull::start(&a);
        let outcome = (0..5 + turn).find_map(|_| pull.step(&mut a, peer));
        received += pull.received();
        outcome.map(|outcome| (outcome, peer.root()))
    });
    let (outcome, root) = ended.expect("an end");
    assert_eq!((outcome, a.root()), (Outcome::Converged { root }, root));
    assert!(received < 3 * 3_100, "{received} records");
    a.is_tidy();
}

#[test]
fn forged_record_changes_nothing() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &tree(60));
    let mut twin = Side::new(1, &[]);
    let own = [set(77, &[], 9, 1, 9), set(1_003, &[77], 9, 1, 9)];
    let mut pull = Pull::start(&a);
    pull.steps(3, &mut a, &mut b);
    a.write(&own);
    twin.write(&own);
    let Response::SnapshotPage(page) = b.respond(&pull.next.1) else { panic!() };
    let mut records = page.unpack().unwrap();
    let forged = Record { updated_at: stamp(3, 2), ..Record::placeholder(1, EntityId::ROOT) };
    records.push((EntityId::from_u64(123_456), forged.to_bytes().into()));
    let (packed, unpacked_len) = SnapshotPage::pack(&records, true);
    let page = SnapshotPage { packed, unpacked_len, ..page };
    assert_eq!(pull.give(&mut a, &Response::SnapshotPage(page)), None, "nothing is published yet");
    let outcome = pull.finish(&mut a, &mut b);
    let promised = b.root();
    assert!(
        matches!(outcome, Outcome::Failed(FailureReason::SnapshotMismatch { promised: p, .. }) if p == promised)
    );
    assert_eq!(shown(&a), shown(&twin), "the rows are the same");
    let mut work = a.begin();
    work.clean_up().unwrap();
    a.commit(work);
    assert_eq!(a.store.range(&[], &[0xff], usize::MAX).unwrap(), shown(&twin), "there are no other rows");
}

#[test]
fn dishonest_pages_leave_no_rows() {
    let b = Side::new(2, &tree(60));
    let orphan =
        vec![(EntityId::from_u64(5), Record::placeholder(2, EntityId::from_u64(404)).to_bytes().into())];
    let damaged = vec![(EntityId::from_u64(5), vec![1, 2, 3].into())];
    for (records, moves, breach) in [
        (orphan, true, ProtocolBreach::RecordBreaksRule),
        (damaged, true, ProtocolBreach::RecordNotDecoded),
        (vec![], true, ProtocolBreach::EmptyPage),
        (vec![], false, ProtocolBreach::PageLeadsNowhere),
    ] {
        let mut a = Side::new(1, &[]);
        let mut b = Side { store: b.store.clone(), ..Side::new(2, &[]) };
        let mut pull = Pull::start(&a);
        pull.steps(2, &mut a, &mut b);
        let Request::SnapshotPage { after, .. } = pull.next.1.clone() else { panic!() };
        let Response::SnapshotPage(page) = b.respond(&pull.next.1) else { panic!() };
        let (packed, unpacked_len) = SnapshotPage::pack(&records, false);
        let next = if moves { page.next } else { Some(after) };
        let outcome =
            pull.give(&mut a, &Response::SnapshotPage(SnapshotPage { packed, unpacked_len, next, ..page }));
        assert_eq!(outcome, Some(Outcome::Failed(FailureReason::Protocol(breach))));
        assert!(a.store.is_empty(), "{breach}");
    }
}

#[test]
fn abandoned_transfer_is_swept_in_pieces() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &many(1, 12_000, 2));
    let mut pull = Pull::start(&a);
    while !matches!(&pull.next.1, Request::SnapshotPage { .. }) || pull.received() < 11_000 {
        pull.steps(1, &mut a, &mut b);
    }
    let Response::SnapshotPage(page) = b.respond(&pull.next.1) else { panic!() };
    let nonsense = SnapshotPage { packed: vec![9], unpacked_len: 0, ..page };
    assert!(matches!(pull.give(&mut a, &Response::SnapshotPage(nonsense)), Some(Outcome::Failed(_))));
    let left = a.store.len();
    assert!(left > 5_000, "{left} rows are left");
    // A new transfer waits until they are removed.
    let mut pull = Pull::start(&a);
    pull.steps(1, &mut a, &mut b);
    assert!(a.store.len() < left && matches!(pull.next.1, Request::SnapshotExchange { .. }));
    assert_eq!(pull.finish(&mut a, &mut b), Outcome::Converged { root: b.root() });
    a.is_tidy();
    // Without a new transfer, the host removes them in pieces.
    let mut a = Side::new(1, &[]);
    let mut pull = Pull::start(&a);
    while pull.received() < 11_000 {
        pull.steps(1, &mut a, &mut b);
    }
    assert_eq!(pull.give(&mut a, &Response::Rejected(Rejection::Context)).map(|_| ()), Some(()));
    a.requested_protocol = Some(SyncProtocolKind::HashComparison);
    let (outcome, _, protocol) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!(protocol, a.requested_protocol, "another protocol transfers the state");
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    for _ in 0..5 {
        let mut work = a.begin();
        work.clean_up().unwrap();
        a.commit(work);
    }
    a.is_tidy();
}

#[test]
fn raised_horizon_restarts_transfer() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &tree(60));
    b.write(&changes());
    let mut pull = Pull::start(&a);
    pull.steps(4, &mut a, &mut b);
    let mut work = b.begin();
    let horizon = Hlc::new(6, 0, ReplicaId([0xff; 16]));
    assert!(work.state.raise_horizon(horizon).unwrap() > 60);
    b.commit(work);
    restart(&mut b);
    let outcome = pull.finish(&mut a, &mut b);
    assert_eq!((outcome, a.root()), (Outcome::Converged { root: b.root() }, b.root()));
    assert_eq!(pull.session.stats().walks, 0, "nothing is compared: the transfer starts over");
    a.is_tidy();
}

/// The receiver forgets a tombstone whose entity the staged state still contains: published, that state would bring the
/// entity back.
#[test]
fn state_from_before_own_collection_is_not_published() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &tree(60));
    let mut pull = Pull::start(&a);
    pull.steps(4, &mut a, &mut b);
    a.write(&[set(7, &[], 1, 2, 10)]);
    let delete = Action::DeleteRef { id: EntityId::from_u64(7), ancestors: vec![], deleted_at: stamp(6, 1) };
    a.write(&[delete]);
    let mut work = a.begin();
    assert_eq!(work.state.raise_horizon(Hlc::new(7, 0, ReplicaId([0xff; 16]))), Ok(1));
    a.commit(work);
    assert_eq!(pull.finish(&mut a, &mut b), Outcome::SyncPending(RetryReason::NewerWrites));
    let mut state = Interface::open(a.store.view()).unwrap();
    assert_eq!(state.record(EntityId::from_u64(7)), Ok(None), "what was deleted and collected stays so");
    a.is_tidy();
}

#[test]
fn early_records_are_withheld() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &tree(3));
    let mut work = b.begin();
    let any_time = ApplyContext { max_drift_ms: u64::MAX, ..CONTEXT };
    // A branch with leaves, a leaf of another, and a new branch with a new leaf.
    for action in [set(7, &[], 8_000, 2, 9), set(9_001, &[9], 8_000, 2, 9), set(70_001, &[70], 8_000, 2, 9)] {
        work.state.apply_action(&action, &any_time).unwrap();
    }
    b.commit(work);
    let (outcome, ..) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!(outcome, Outcome::SyncPending(RetryReason::ClockDrift));
    a.is_tidy();
    let mut state = Interface::open(a.store.view()).unwrap();
    let record = |state: &mut Interface<MemoryStore>, id| state.record(EntityId::from_u64(id)).unwrap();
    assert_eq!(*record(&mut state, 7).unwrap(), Record::placeholder(1, EntityId::ROOT));
    assert!(record(&mut state, 7_002).is_some(), "its children are here");
    assert_eq!((record(&mut state, 9_001), record(&mut state, 70_001)), (None, None));
    assert_eq!(state.latest_stamp(), Hlc::ZERO);
    let found = state.visible().unwrap();
    assert_eq!(found.len(), 50 * 4 - 2);
}

/// A merge function decides what is shown, not what is taken in: a replica without it receives everything.
#[test]
fn snapshot_brings_values_without_their_merge_function() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &tree(60));
    let id = EntityId([0xfe; 32]);
    let mut work = b.begin();
    for replica in [2, 3] {
        let at = stamp(3, replica);
        let value = Value::Custom(Custom::written("own", at, [replica as u8]));
        let metadata = Metadata { created_at: at, updated_at: at, label: Label::None };
        work.state
            .apply_action(&Action::Update { id, ancestors: vec![], value, metadata }, &CONTEXT)
            .unwrap();
    }
    b.commit(work);
    let mut pull = Pull::start(&a);
    assert_eq!(pull.finish(&mut a, &mut b), Outcome::Converged { root: b.root() });
    let record = a.begin().state.record(id).unwrap().unwrap();
    let Value::Custom(custom) = &record.value else { panic!("{record}") };
    let unmerged = Merges::default().shown(custom).unwrap_err();
    assert_eq!((unmerged.operands, unmerged.reason), (2, MergeFailure::Missing));
}
