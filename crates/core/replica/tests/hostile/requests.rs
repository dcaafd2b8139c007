//! Hostile initiators: everything that a request can lie about.

use super::adversary::register;
use super::deltas::Host;
use super::mutant::{Holdings, Mutant};
use super::world::{CONTEXT, Seeded, World, config, replica_at, set};
use proptest::prelude::*;
use syncline_replica::{Refusal, SyncActions};
use syncline_storage::{Cursor, verify};
use syncline_store::{Bytes, MemoryStore, Store};
use syncline_sync::*;
use syncline_types::{Decode, Digest, Encode, EntityId, Hlc, ReplicaId, SimDuration, SimTime, limits};

fn ask(host: &mut Host, session: u64, id: u64, request: Request) -> (Response, SyncActions) {
    let session = SessionId(session);
    let id = RequestId(id);
    let actions = host.say(Message::Request { session, id, request });
    let frame = Frame::from_wire(&actions.messages[0].bytes, CONTEXT).unwrap();
    let Message::Response { response, .. } = frame.message else { panic!("{frame:?}") };
    (response, actions)
}

fn handshake() -> SyncHandshake {
    let mut held = Holdings::new(1);
    let by = held.replica;
    held.write(vec![register("theirs", "held", by, 500)], SimTime::from_millis(600));
    held.handshake(SimTime::from_secs(1))
}

/// A pushed record, such as any member might send.
fn push() -> Request {
    let mut held = Holdings::new(1);
    let action = register("pushed record", "of a peer", held.replica, 500);
    let id = action.id();
    held.write(vec![action], SimTime::from_millis(600));
    let record = held.begin(SimTime::from_secs(1)).state.record(id).unwrap().unwrap();
    let pushes = vec![WireRecord { id, bytes: Bytes::from(record.to_bytes()) }];
    Request::Exchange(ExchangeRequest { pushes, ..ExchangeRequest::default() })
}

#[test]
fn serves_nobody_without_handshake() {
    let mut host = Host::new(0);
    host.write("mine");
    let before = host.replica.digest();
    for request in [
        push(),
        Request::Deltas { covered: VersionVector::default(), pushes: vec![] },
        Request::SnapshotPage { boundary: before, after: Cursor::default(), compressed: false },
    ] {
        let (response, _) = ask(&mut host, 1, 2, request);
        assert_eq!(response, Response::Rejected(Rejection::NoHandshake));
    }
    assert_eq!(host.replica.digest(), before);
    ask(&mut host, 1, 1, Request::Handshake(Box::new(handshake())));
    let (response, _) = ask(&mut host, 1, 2, push());
    assert!(matches!(response, Response::Exchange(_)), "{response:?}");
    assert_ne!(host.replica.digest(), before);
}

#[test]
fn rejects_outsider_unchanged() {
    let mut host = Host::new(0);
    host.write("mine");
    let before = host.replica.digest();
    let theirs = SyncHandshake { replica: replica_at(77), ..handshake() };
    let (response, actions) = ask(&mut host, 1, 1, Request::Handshake(Box::new(theirs)));
    assert_eq!(response, Response::Rejected(Rejection::NotAMember));
    assert_eq!(actions.refusal, Some(Refusal::NotAMember));
    let (response, actions) = ask(&mut host, 1, 2, push());
    assert_eq!(response, Response::Rejected(Rejection::NotAMember));
    assert_eq!(actions.refusal, Some(Refusal::NotAMember));
    let replica = replica_at(77);
    let root = Digest([1; 32]);
    let heartbeat = Gossip::Heartbeat { root, replica, seq: 9, clock: 9, wall_ms: 9 };
    assert_eq!(host.say(Message::Gossip(heartbeat)).refusal, Some(Refusal::NotAMember));
    assert_eq!((host.replica.digest(), host.replica.pending().pending_syncs), (before, 0));
}

#[test]
fn rejects_implausible_claims_and_what_follows() {
    let mut endless = handshake();
    endless.covered.cover(Dot { author: replica_at(0), seq: limits::MAX_DELTA_SEQ });
    for theirs in [SyncHandshake { horizon: Hlc::MAX, ..handshake() }, endless] {
        let mut host = Host::new(0);
        host.write("mine");
        let before = host.replica.digest();
        let (response, actions) = ask(&mut host, 1, 1, Request::Handshake(Box::new(theirs)));
        assert_eq!(response, Response::Rejected(Rejection::Implausible));
        assert_eq!(actions.refusal, Some(Refusal::Malformed));
        let (response, _) = ask(&mut host, 1, 2, push());
        assert_eq!(response, Response::Rejected(Rejection::NoHandshake));
        assert_eq!(host.replica.digest(), before);
        host.write("still mine");
        assert_ne!(host.replica.digest(), before, "and further writes are possible");
    }
}

/// Beside an equal root, a peer is believed to cover deltas that did not come here. However many authors it invents,
/// there is room for a member that has not written yet.
#[test]
fn claimed_authors_leave_room_for_members() {
    let mut host = Host::new(0);
    host.write("mine");
    let mut covered = VersionVector::default();
    for n in 0..limits::MAX_REPLICAS as u64 {
        covered.cover(Dot { author: ReplicaId::from_u64(1_000_000 + n), seq: 1 });
    }
    let root_hash = host.replica.digest();
    let theirs = SyncHandshake { root_hash, covered, dag_heads: vec![], ..handshake() };
    let request = Request::Handshake(Box::new(theirs));
    host.say(Message::Request { session: SessionId(1), id: RequestId(1), request });
    assert!(host.replica.log().covered().len() > limits::MAX_REPLICAS / 2, "the claim was believed");
    let delta = Host::new(2).write("the first of a member");
    let author = delta.dot.author;
    assert_eq!(host.say(Message::Gossip(Gossip::Delta(delta))).refusal, None);
    assert_eq!(host.replica.log().covered().of(author), 1);
}

#[test]
fn unknown_snapshot_pages_are_gone() {
    let mut host = Host::new(0);
    host.write("mine");
    ask(&mut host, u64::MAX, 1, Request::Handshake(Box::new(handshake())));
    for round in 0..20 {
        let boundary = Digest([round; 32]);
        let request = Request::SnapshotPage {
            boundary,
            after: super::mutant::cursor(EntityId::LAST),
            compressed: true,
        };
        let (response, _) = ask(&mut host, u64::MAX, u64::from(round), request);
        assert!(matches!(response, Response::SnapshotGone(_)), "{response:?}");
    }
}

#[test]
fn handshake_flood_keeps_nobody_away() {
    let adversary = 0;
    let victim = 1;
    let friend = 2;
    let mut world = World::new();
    let mut sessions = 0;
    let held = Holdings::new(adversary);
    let mutant = Mutant::new(held, |_, _| Response::Rejected(Rejection::Yield)).saying(move |held, now| {
        let flood = (0..50).map(|_| {
            sessions += 1;
            let request =
                Request::Handshake(Box::new(SyncHandshake { has_state: true, ..held.handshake(now) }));
            Message::Request { session: SessionId(sessions), id: RequestId(1), request }
        });
        flood.collect()
    });
    world.add_hostile(mutant);
    world.add(config(victim, 3));
    world.add(config(friend, 3));
    world.write(victim, vec![set("mine", "precious")]);
    world.link(adversary, victim);
    world.link(victim, friend);
    for round in 0..20 {
        world.write(friend, vec![set(&format!("theirs {round}"), "precious")]);
        world.run_for(SimDuration::from_secs(1));
    }
    world.run_for(SimDuration::from_secs(30));
    let root = world.honest(victim).sound_root();
    assert_eq!(world.honest(friend).sound_root(), root);
    assert!(world.honest(friend).read("mine").is_some() && world.honest(victim).read("theirs 19").is_some());
}

/// Requests of a real session, to mutate.
fn real_requests() -> Vec<Request> {
    let mut requests = vec![Request::Handshake(Box::new(handshake())), push()];
    let mut held = Holdings::new(1);
    let by = held.replica;
    let delta = held.write(vec![register("pushed", "delta", by, 500)], SimTime::from_millis(600));
    let pushes = vec![delta.to_bytes().into()];
    requests.push(Request::Deltas { covered: VersionVector::default(), pushes });
    let questions = vec![
        Question::Children { entity: EntityId::ROOT, after: None },
        Question::Missing(BloomFilter::new(512, 7)),
        Question::SymbolFilter(SymbolFilter::new(512, 100, 7)),
        Question::ByShortId(ShortIds::of([7, 1 << 30])),
    ];
    let wants = vec![EntityId::ROOT, EntityId::LAST];
    requests.push(Request::Exchange(ExchangeRequest { questions, wants, ..ExchangeRequest::default() }));
    requests.push(Request::SnapshotPage {
        boundary: held.root(),
        after: Cursor::default(),
        compressed: true,
    });
    requests
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn state_survives_mutated_requests(seed in any::<u64>()) {
        let mut random = Seeded(seed);
        let mut host = Host::new(0);
        host.write("mine");
        let requests = real_requests();
        ask(&mut host, 1, 1, requests[0].clone());
        for id in 2..40 {
            let mut bytes = requests[random.below(requests.len())].to_bytes();
            for _ in 0..random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] = random.next() as u8;
            }
            let Ok(request) = Request::from_bytes(&bytes) else { continue };
            host.say(Message::Request { session: SessionId(1), id: RequestId(id), request });
        }
        let found = verify(&host.store).unwrap();
        prop_assert!(found.is_sound(), "{:?}", found);
        prop_assert_eq!(found.rebuilt_root, host.replica.digest());
        let before = host.replica.digest();
        host.write("still mine");
        prop_assert_ne!(host.replica.digest(), before);
    }
}

#[test]
fn stream_host_requires_handshake_too() {
    let moment = syncline_types::Moment::at(SimTime::from_secs(1));
    let mut store = StoreHost::open(MemoryStore::default(), CONTEXT, replica_at(0), moment).unwrap();
    store.membership = Membership::named((0..3).map(replica_at));
    let asked =
        |session, request| Message::Request { session: SessionId(session), id: RequestId(1), request };
    let serve = |host: &mut StoreHost<MemoryStore>, session, request| {
        let Some(Message::Response { response, .. }) = host.answer(&asked(session, request)).unwrap() else {
            panic!("a request has an answer")
        };
        response
    };
    assert_eq!(serve(&mut store, 1, push()), Response::Rejected(Rejection::NoHandshake));
    let stranger = SyncHandshake { replica: replica_at(77), ..handshake() };
    let refused = serve(&mut store, 1, Request::Handshake(Box::new(stranger)));
    assert_eq!(refused, Response::Rejected(Rejection::NotAMember));
    assert_eq!(serve(&mut store, 1, push()), Response::Rejected(Rejection::NoHandshake));
    assert!(store.store.view().is_empty(), "nothing was taken");
    let welcome = serve(&mut store, 2, Request::Handshake(Box::new(handshake())));
    assert!(matches!(welcome, Response::Handshake(_)));
    assert!(matches!(serve(&mut store, 2, push()), Response::Exchange(_)));
    store.membership = Membership::named([replica_at(0)]);
    assert_eq!(serve(&mut store, 2, push()), Response::Rejected(Rejection::NotAMember));
}
