//! Snapshots that are interrupted, overtaken, forged or torn between peers.

use crate::side::Side;
use crate::side::*;

use proptest::collection::vec;
use proptest::prelude::*;
use syncline_crdt::{Custom, Merges, Value};
use syncline_storage::{Action, ApplyContext, Interface, Label, Metadata, Record, Slot, tree_page};
use syncline_store::{MemoryStore, ReadView, Row, Store};
use syncline_sync::*;
use syncline_types::{Encode, EntityId, Hlc, ReplicaId, limits};

/// A session that is run request by request.
struct Pull {
    session: Session,
    next: (RequestId, Request),
    pages: u64,
}

impl Pull {
    fn start(a: &Side) -> Self {
        let (session, id, request) = Session::start(SessionId(1), a.describe());
        Self { session, next: (id, request), pages: 0 }
    }

    /// Puts the present request to `b` and gives the answer to `a`.
    fn step(&mut self, a: &mut Side, b: &mut Side) -> Option<Outcome> {
        self.pages += u64::from(matches!(self.next.1, Request::SnapshotPage { .. }));
        let response = b.respond(&self.next.1);
        let answer = Message::Response { session: SessionId(1), id: self.next.0, response };
        let Message::Response { response, .. } = through_the_wire(answer) else { panic!() };
        self.give(a, &response)
    }

    fn give(&mut self, a: &mut Side, response: &Response) -> Option<Outcome> {
        let mut work = a.begin();
        let progress = self.session.on_response(self.next.0, response, &mut work).unwrap();
        if let (Progress::Done(Outcome::Converged { .. }), Some(theirs)) = (&progress, self.session.peer()) {
            work.adopt(theirs);
        }
        a.commit(work);
        match progress {
            Progress::Send(id, request) => self.next = (id, request),
            Progress::Ignored => panic!("an answer to the current request was ignored"),
            Progress::Done(outcome) => return Some(outcome),
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

fn restart(b: &mut Side) {
    b.views = ViewCache::new(4);
}

/// A tree: fifty branches, and `leaves` below each.
fn tree(leaves: u64) -> Vec<Action> {
    let branch = |n| set(n, &[], 1, 2, 10);
    let below = |n| (0..leaves).map(move |leaf| set(1_000 * n + leaf, &[n], 1, 2, 100));
    (1..=50).flat_map(|n| std::iter::once(branch(n)).chain(below(n))).collect()
}

/// Changes all over a tree, a move among them.
fn changes() -> Vec<Action> {
    let mut changes: Vec<Action> = (1..=50).map(|n| set(1_000 * n + 3, &[n], 5, 2, 40)).collect();
    changes.extend((1..=50).map(|n| set(1_000 * n + 900, &[n], 5, 2, 40)));
    let delete =
        |n: u64| Action::DeleteRef { id: EntityId::from_u64(n), ancestors: vec![], deleted_at: stamp(6, 2) };
    changes.extend([delete(7), delete(43)]);
    // These hang closer to the root from now on, one with all that is below it.
    changes.extend([
        set(20_005, &[], 6, 2, 9),
        set(600, &[50], 6, 2, 9),
        set(601, &[600], 6, 2, 9),
        set(601, &[], 7, 2, 9),
    ]);
    changes
}

fn straight_pages(b: &Side) -> u64 {
    let (mut a, mut b) = (Side::new(8, &[]), Side { store: b.store.clone(), ..Side::new(9, &[]) });
    let mut pull = Pull::start(&a);
    assert_eq!(pull.finish(&mut a, &mut b), Outcome::Converged { root: b.root() });
    pull.pages
}

/// All rows but those of snapshots and of the state that is not shown.
fn shown(side: &Side) -> Vec<Row> {
    let (first, end) = Slot::active(&side.store).unwrap().other().bounds();
    let rows = side.store.range(&[], &[0xff], usize::MAX).unwrap();
    rows.into_iter().filter(|(key, _)| *key < first || *key >= end).collect()
}

#[test]
fn a_snapshot_goes_on_from_its_cursor_when_the_peer_has_lost_the_view() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &tree(60)));
    let pages = straight_pages(&b);
    assert!(pages > 5, "{pages}");
    for after in [1, pages as u32 / 2, pages as u32 - 1] {
        let (mut a, mut b) = (Side::new(1, &[]), Side { store: b.store.clone(), ..Side::new(2, &[]) });
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
    // Nothing was written: the view is made again, and nothing is compared.
    let mut pull = Pull::start(&a);
    pull.steps(4, &mut a, &mut b);
    restart(&mut b);
    assert_eq!(pull.finish(&mut a, &mut b), Outcome::Converged { root: b.root() });
    assert_eq!((pull.pages, pull.session.stats().walks), (pages, 0));
}

#[test]
fn a_snapshot_ends_although_the_peer_is_written_to_all_the_time() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &tree(60)));
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
    assert_eq!(outcome, Outcome::Owed(OwedReason::NewerWrites));
    assert_eq!(
        (a.root(), pull.session.stats().walks),
        (boundary, 1),
        "what was promised last is what was taken"
    );
    a.is_tidy();
    let (outcome, stats, protocol) = run(&mut a, &mut b, false, quiet);
    assert_eq!(protocol, Some(SyncProtocolKind::DeltaSync), "the snapshot covers the deltas that it holds");
    assert_eq!((outcome, stats.walks), (Outcome::Converged { root: b.root() }, 0));
}

#[test]
fn a_peer_that_loses_every_view_is_left_and_gone_on_with_later() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &tree(60)));
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
fn many_readers_of_many_states_come_to_an_end_with_a_few_views() {
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
                assert_eq!(outcome, Outcome::Owed(OwedReason::NewerWrites));
                a.is_tidy();
                false
            }
        });
    }
}

#[test]
fn a_snapshot_survives_a_crash_of_its_reader_at_any_point() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &tree(60)));
    let pages = straight_pages(&b);
    let (mut pages_in_all, mut received) = (0, 0);
    loop {
        // Each life takes in one page, and answers one more that is lost before it is stored.
        let mut pull = Pull::start(&a);
        pull.steps(1, &mut a, &mut b);
        let outcome = pull.step(&mut a, &mut b);
        (pages_in_all, received) = (pages_in_all + pull.pages, received + pull.received());
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
fn a_snapshot_goes_on_although_its_reader_has_written_and_restarted() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &tree(60)));
    let pages = straight_pages(&b);
    let own = [set(77, &[], 9, 1, 9), set(1_003, &[1], 9, 1, 9)];
    let mut first = Pull::start(&a);
    first.steps(5, &mut a, &mut b);
    a.write(&own);
    let mut pull = Pull::start(&a);
    assert_eq!(pull.finish(&mut a, &mut b), Outcome::Owed(OwedReason::NewerWrites));
    assert_eq!(pull.session.selected().map(|(kind, _)| kind), Some(SyncProtocolKind::Snapshot));
    assert_eq!(first.pages + pull.pages, pages);
    assert_eq!(a.root(), Side::new(9, &[tree(60), own.to_vec()].concat()).root());
    a.is_tidy();
    let (outcome, _, protocol) = run(&mut a, &mut b, false, quiet);
    assert_ne!(protocol, Some(SyncProtocolKind::Snapshot));
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
}

#[test]
fn a_snapshot_goes_on_with_another_peer() {
    let (b, ahead) = (Side::new(2, &tree(60)), Side::new(3, &[tree(60), changes()].concat()));
    let pages = straight_pages(&b);
    // Equal to the first, ahead of it, and behind it: that one lacks what has come already.
    for (other, walks, most) in [(&b, 0, pages), (&ahead, 1, pages + 3)] {
        let (mut a, mut b) = (Side::new(1, &[]), Side { store: b.store.clone(), ..Side::new(2, &[]) });
        let mut other = Side { store: other.store.clone(), ..Side::new(3, &[]) };
        let mut first = Pull::start(&a);
        first.steps(5, &mut a, &mut b);
        let mut pull = Pull::start(&a);
        assert_eq!(pull.finish(&mut a, &mut other), Outcome::Converged { root: other.root() });
        assert_eq!(pull.session.stats().walks, walks);
        assert!(first.pages + pull.pages <= most, "{} + {} of {pages}", first.pages, pull.pages);
        a.is_tidy();
    }
    let (mut a, mut ahead, mut behind) = (Side::new(1, &[]), ahead, b);
    Pull::start(&a).steps(5, &mut a, &mut ahead);
    let (outcome, ..) = run(&mut a, &mut behind, false, quiet);
    assert_eq!(outcome, Outcome::Converged { root: behind.root() }, "nothing unverified is shown");
    a.is_tidy();
}

#[test]
fn two_peers_that_take_turns_bring_a_snapshot_to_its_end() {
    let (mut b, mut c) = (Side::new(2, &tree(60)), Side::new(3, &[tree(60), changes()].concat()));
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
fn a_forged_record_among_many_leaves_the_state_as_it_was() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &tree(60)));
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
    assert_eq!(pull.give(&mut a, &Response::SnapshotPage(page)), None, "nothing shows yet");
    let outcome = pull.finish(&mut a, &mut b);
    let promised = b.root();
    assert!(
        matches!(outcome, Outcome::Failed(FailureReason::SnapshotMismatch { promised: p, .. }) if p == promised)
    );
    assert_eq!(shown(&a), shown(&twin), "byte for byte");
    let mut work = a.begin();
    work.clean_up().unwrap();
    a.commit(work);
    assert_eq!(a.store.range(&[], &[0xff], usize::MAX).unwrap(), shown(&twin), "and nothing beside it");
}

#[test]
fn pages_that_no_honest_peer_sends_are_refused_and_nothing_stays() {
    let b = Side::new(2, &tree(60));
    let orphan =
        vec![(EntityId::from_u64(5), Record::placeholder(2, EntityId::from_u64(404)).to_bytes().into())];
    let damaged = vec![(EntityId::from_u64(5), vec![1, 2, 3].into())];
    for (records, moves, what) in [
        (orphan, true, "a record that breaks a rule"),
        (damaged, true, "a record that does not decode"),
        (vec![], true, "an empty page"),
        (vec![], false, "a page that leads nowhere"),
    ] {
        let (mut a, mut b) = (Side::new(1, &[]), Side { store: b.store.clone(), ..Side::new(2, &[]) });
        let mut pull = Pull::start(&a);
        pull.steps(2, &mut a, &mut b);
        let Request::SnapshotPage { after, .. } = pull.next.1.clone() else { panic!() };
        let Response::SnapshotPage(page) = b.respond(&pull.next.1) else { panic!() };
        let (packed, unpacked_len) = SnapshotPage::pack(&records, false);
        let next = if moves { page.next } else { Some(after) };
        let outcome =
            pull.give(&mut a, &Response::SnapshotPage(SnapshotPage { packed, unpacked_len, next, ..page }));
        assert_eq!(outcome, Some(Outcome::Failed(FailureReason::Protocol(what))));
        assert!(a.store.is_empty(), "{what}");
    }
}

#[test]
fn a_large_part_that_is_given_up_goes_in_pieces() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &many(1, 12_000, 2)));
    let mut pull = Pull::start(&a);
    while !matches!(&pull.next.1, Request::SnapshotPage { .. }) || pull.received() < 11_000 {
        pull.steps(1, &mut a, &mut b);
    }
    let Response::SnapshotPage(page) = b.respond(&pull.next.1) else { panic!() };
    let nonsense = SnapshotPage { packed: vec![9], unpacked_len: 0, ..page };
    assert!(matches!(pull.give(&mut a, &Response::SnapshotPage(nonsense)), Some(Outcome::Failed(_))));
    let left = a.store.len();
    assert!(left > 5_000, "{left} rows are left for later");
    // A new transfer has to wait for the rest.
    let mut pull = Pull::start(&a);
    pull.steps(1, &mut a, &mut b);
    assert!(a.store.len() < left && matches!(pull.next.1, Request::SnapshotExchange { .. }));
    assert_eq!(pull.finish(&mut a, &mut b), Outcome::Converged { root: b.root() });
    a.is_tidy();
    // Without one, it goes by and by.
    let mut a = Side::new(1, &[]);
    let mut pull = Pull::start(&a);
    while pull.received() < 11_000 {
        pull.steps(1, &mut a, &mut b);
    }
    assert_eq!(pull.give(&mut a, &Response::Rejected(Rejection::Context)).map(|_| ()), Some(()));
    a.wish = Some(SyncProtocolKind::HashComparison);
    let (outcome, _, protocol) = run(&mut a, &mut b, false, quiet);
    assert_eq!(protocol, a.wish, "state comes another way");
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    for _ in 0..5 {
        let mut work = a.begin();
        work.clean_up().unwrap();
        a.commit(work);
    }
    a.is_tidy();
}

#[test]
fn a_peer_that_has_forgotten_more_meanwhile_is_read_from_the_beginning() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &tree(60)));
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
    assert_eq!(pull.session.stats().walks, 0, "nothing is compared: it began again");
    a.is_tidy();
}

#[test]
fn what_is_too_early_for_our_clock_is_left_out_and_its_place_is_kept() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &tree(3)));
    let mut work = b.begin();
    let any_time = ApplyContext { max_drift_ms: u64::MAX, ..CONTEXT };
    // A branch with leaves, a leaf of another, and a new branch with a new leaf.
    for action in [set(7, &[], 8_000, 2, 9), set(9_001, &[9], 8_000, 2, 9), set(70_001, &[70], 8_000, 2, 9)] {
        work.state.apply_action(&action, &any_time).unwrap();
    }
    b.commit(work);
    let (outcome, ..) = run(&mut a, &mut b, false, quiet);
    assert_eq!(outcome, Outcome::Owed(OwedReason::ClockDrift));
    a.is_tidy();
    let mut state = Interface::open(a.store.view()).unwrap();
    let record = |state: &mut Interface<MemoryStore>, id| state.record(EntityId::from_u64(id)).unwrap();
    assert_eq!(*record(&mut state, 7).unwrap(), Record::placeholder(1, EntityId::ROOT));
    assert!(record(&mut state, 7_002).is_some(), "what hangs below is here");
    assert_eq!((record(&mut state, 9_001), record(&mut state, 70_001)), (None, None));
    assert_eq!(state.latest_stamp(), Hlc::ZERO);
    let found = state.visible().unwrap();
    assert_eq!(found.len(), 50 * 4 - 2);
}

#[test]
fn a_value_that_cannot_be_merged_here_waits_for_its_merge_function() {
    let merges = || Merges::default().with("max", |a: &[u8], b: &[u8]| a.max(b).to_vec());
    let begin = |side: &Side| {
        Transaction::begin_with(side.store.view(), side.log.clone(), CONTEXT, merges()).unwrap()
    };
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &tree(60)));
    let mut work = begin(&b);
    let at = stamp(3, 2);
    let value = Value::Custom(Custom { name: "max".into(), bytes: vec![7] });
    let metadata = Metadata { created_at: at, updated_at: at, label: Label::None };
    let id = EntityId([0xfe; 32]);
    work.state.apply_action(&Action::Update { id, ancestors: vec![], value, metadata }, &CONTEXT).unwrap();
    b.commit(work);
    let pages = straight_pages_with(&b, begin);
    let mut pull = Pull::start(&a);
    assert_eq!(pull.finish(&mut a, &mut b), Outcome::Owed(OwedReason::NoMerge));
    assert!(a.root().is_zero());
    let mut again = Pull::start(&a);
    let outcome = loop {
        again.pages += u64::from(matches!(again.next.1, Request::SnapshotPage { .. }));
        let response = b.respond(&again.next.1);
        let mut work = begin(&a);
        let progress = again.session.on_response(again.next.0, &response, &mut work).unwrap();
        a.commit(work);
        match progress {
            Progress::Send(id, request) => again.next = (id, request),
            Progress::Done(outcome) => break outcome,
            Progress::Ignored => panic!(),
        }
    };
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert_eq!(pull.pages + again.pages, pages + 1, "only the page that was refused comes again");
}

fn straight_pages_with(b: &Side, begin: impl Fn(&Side) -> Transaction<MemoryStore>) -> u64 {
    let (mut pages, mut after) = (0, syncline_storage::Cursor::default());
    let view = begin(b).state.view().clone();
    loop {
        pages += 1;
        match tree_page(&view, &after, limits::SNAPSHOT_PAGE_BYTES).unwrap().next {
            Some(next) => after = next,
            None => return pages,
        }
    }
}

/// What may happen while a snapshot is taken.
#[derive(Clone, Debug)]
enum Event {
    /// So many requests are answered.
    Steps(u8),
    /// The reader restarts; the answer to its last request is lost before it is stored.
    CrashReader,
    /// The peer restarts.
    CrashPeer,
    /// From now on the other peer is read from.
    OtherPeer,
    WriteReader(Action),
    WritePeer(Vec<Action>),
    WriteOther(Vec<Action>),
    /// The two peers sync with each other.
    PeersAgree,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1u8..6).prop_map(Event::Steps),
        1 => Just(Event::CrashReader),
        1 => Just(Event::CrashPeer),
        1 => Just(Event::OtherPeer),
        1 => action().prop_map(Event::WriteReader),
        2 => vec(action(), 1..5).prop_map(Event::WritePeer),
        1 => vec(action(), 1..5).prop_map(Event::WriteOther),
        1 => Just(Event::PeersAgree),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever happens meanwhile, what is shown is what was written here until a whole state is shown
    /// with it; and in the end nothing is lost.
    #[test]
    fn a_snapshot_under_any_interleaving_ends_in_the_join_of_all(
        first in vec(action(), 1..80),
        bulk in 500u64..2_500,
        events in vec(event(), 0..30),
    ) {
        let begun = [many(10_000, 10_000 + bulk, 2), first].concat();
        let mut whole = Side::new(9, &begun);
        let (mut b, mut c) = (Side::new(2, &begun), Side::new(3, &begun));
        let (mut a, mut own) = (Side::new(1, &[]), Side::new(1, &[]));
        let mut pull = Some(Pull::start(&a));
        for event in events {
            match event {
                Event::Steps(count) => {
                    for _ in 0..count {
                        let mut running = pull.take().unwrap_or_else(|| Pull::start(&a));
                        match running.step(&mut a, &mut b) {
                            None => pull = Some(running),
                            Some(Outcome::Failed(FailureReason::TooLong)) => {}
                            Some(Outcome::Failed(reason)) => prop_assert!(false, "{}", reason),
                            Some(_) => {}
                        }
                    }
                }
                Event::CrashReader => {
                    if let Some(mut running) = pull.take() {
                        let response = b.respond(&running.next.1);
                        running.session.on_response(running.next.0, &response, &mut a.begin()).unwrap();
                    }
                }
                Event::CrashPeer => restart(&mut b),
                Event::OtherPeer => {
                    pull = None;
                    std::mem::swap(&mut b, &mut c);
                }
                Event::WriteReader(action) => {
                    for side in [&mut a, &mut own, &mut whole] {
                        side.write(std::slice::from_ref(&action));
                    }
                }
                Event::WritePeer(actions) => {
                    b.write(&actions);
                    whole.write(&actions);
                }
                Event::WriteOther(actions) => {
                    c.write(&actions);
                    whole.write(&actions);
                }
                Event::PeersAgree => drop(run(&mut b, &mut c, false, quiet)),
            }
            let mut state = Interface::open(a.store.view()).unwrap();
            if pull.as_ref().is_some_and(|pull| pull.session.takes_snapshot()) {
                prop_assert_eq!(a.root(), own.root(), "nothing is shown in part");
            }
            prop_assert_eq!(state.rebuilt_root().unwrap(), state.root_hash().unwrap());
        }
        drop(pull);
        for _ in 0..3 {
            let (outcome, ..) = run(&mut a, &mut b, false, quiet);
            let well = matches!(outcome, Outcome::Converged { .. } | Outcome::Owed(OwedReason::NewerWrites));
            prop_assert!(well, "{:?}", outcome);
            run(&mut a, &mut c, false, quiet);
        }
        prop_assert_eq!((a.root(), b.root(), c.root()), (whole.root(), whole.root(), whole.root()));
        for _ in 0..3 {
            let mut work = a.begin();
            work.clean_up().unwrap();
            a.commit(work);
        }
        a.is_tidy();
    }
}
