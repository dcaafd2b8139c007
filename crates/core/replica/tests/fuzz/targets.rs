//! The fuzz targets. None may panic, and what decodes must encode to the same bytes again.

use std::sync::LazyLock;
use syncline_replica::{Event, Operation, Replica, ReplicaConfig, ReplicaError, SyncActions, Target};
use syncline_storage::ApplyContext;
use syncline_storage::{Action, Entry, Interface, Node, Prefix, Record, Slot, Stats, keys, redo, verify};
use syncline_store::{MemoryStore, Store};
use syncline_sync::{
    Delta, DeltaLog, Frame, Message, Response, Session, SessionId, SessionProgress, SnapshotPage,
    SyncHandshake, SyncProtocolKind, Transaction, VersionVector, build_handshake,
};
use syncline_types::{
    Choice, ContextId, Decode, Digest, Encode, EntityId, Entropy, HlcClock, Moment, PeerId, ReplicaId,
    SimTime,
};

/// A state in which the entity 1 has a child.
static NESTED: LazyLock<MemoryStore> = LazyLock::new(|| {
    let mut store = MemoryStore::default();
    let mut state = Interface::open(store.view()).expect("a state");
    let moment = Moment::at(SimTime::from_millis(9));
    let deleted_at = HlcClock::new(ReplicaId::from_u64(1)).tick(moment);
    let id = EntityId::from_u64(2);
    let ancestors = vec![EntityId::from_u64(1)];
    state
        .apply_action(&Action::DeleteRef { id, ancestors, deleted_at }, &ApplyContext::new(moment))
        .expect("an action");
    store.apply(state.finish().expect("a batch")).expect("memory does not fail");
    store
});

/// The name of a fuzz target, and its function.
pub(crate) type FuzzTarget = (&'static str, fn(&[u8]));

/// All fuzz targets, by name.
pub(crate) const TARGETS: [FuzzTarget; 6] = [
    ("decoders", decoders),
    ("frame", frame),
    ("page", page),
    ("session", session),
    ("replica", replica),
    ("actions", actions),
];

const CONTEXT: ContextId = ContextId([5; 32]);

fn round_trip<T: Decode + Encode>(bytes: &[u8]) {
    if let Ok(value) = T::from_bytes(bytes) {
        assert_eq!(value.to_bytes(), bytes, "a value has one encoding");
    }
}

/// The first byte chooses the decoder; the rest is its input.
pub(crate) fn decoders(bytes: &[u8]) {
    let Some((which, rest)) = bytes.split_first() else { return };
    match which % 11 {
        0 => round_trip::<Record>(rest),
        1 => round_trip::<Action>(rest),
        2 => round_trip::<Delta>(rest),
        3 => round_trip::<Message>(rest),
        4 => round_trip::<SyncHandshake>(rest),
        5 => round_trip::<VersionVector>(rest),
        6 => round_trip::<Prefix>(rest),
        7 => round_trip::<Stats>(rest),
        8 => {
            // The order of a stored bucket is the writer's business, so only decoding is tried.
            if let Ok(Node::Bucket(entries)) = Node::from_bytes(rest) {
                let _hash = Node::Bucket(entries.into_iter().map(|entry| Entry { ..entry }).collect()).hash();
            }
        }
        9 => {
            // A redo log of a trie, replayed on a state of three levels.
            let trie = keys::trie(Slot::First, EntityId::from_u64(1));
            let _refused = redo(&*NESTED, [(&*trie, rest)]);
        }
        _ => round_trip::<EntityId>(rest),
    }
}

/// Bytes behind a valid checksum, version and context.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut rest = vec![1];
    rest.extend(CONTEXT.tag());
    rest.extend(body);
    let mut wire = crc32fast::hash(&rest).to_le_bytes().to_vec();
    wire.extend(rest);
    wire
}

/// A frame, as it is and behind a valid checksum.
pub(crate) fn frame(bytes: &[u8]) {
    let _refused = Frame::from_wire(bytes, CONTEXT);
    let wire = sealed(bytes);
    if let Ok(frame) = Frame::from_wire(&wire, CONTEXT) {
        assert_eq!(frame.to_wire(CONTEXT), wire);
    }
}

/// A snapshot page: two bytes of claimed length, then what is packed.
pub(crate) fn page(bytes: &[u8]) {
    let Some((claimed, packed)) = bytes.split_first_chunk::<2>() else { return };
    let page = SnapshotPage {
        boundary: Digest::ZERO,
        root: Digest::ZERO,
        packed: packed.to_vec(),
        unpacked_len: u64::from(u16::from_le_bytes(*claimed)),
        next: None,
    };
    let _records = page.unpack();
}

struct Fixed;

impl Entropy for Fixed {
    fn below(&mut self, _: Choice, bound: u64) -> u64 {
        bound / 2
    }
}

/// Cuts bytes into pieces, each led by its length.
fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = bytes.split_first_chunk::<2>()?;
        let (piece, rest) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
        bytes = rest;
        Some(piece)
    })
}

/// Whatever decodes as an action, applied in order and the other way round: the state must be the
/// same, its index must follow its records, and everything in it can be shown.
pub(crate) fn actions(bytes: &[u8]) {
    let context = ApplyContext { moment: Moment::at(SimTime::MAX), max_drift_ms: u64::MAX };
    let decoded: Vec<Action> = pieces(bytes).filter_map(|piece| Action::from_bytes(piece).ok()).collect();
    let apply = |actions: &mut dyn Iterator<Item = &Action>| {
        let mut store = MemoryStore::default();
        let mut state = Interface::open(store.view()).expect("a state");
        for action in actions {
            let before = state.root_hash().expect("a root");
            if state.apply_action(action, &context).is_err() {
                assert_eq!(state.root_hash().expect("a root"), before, "L5");
            }
        }
        store.apply(state.finish().expect("a batch")).expect("memory does not fail");
        store
    };
    let one = apply(&mut decoded.iter());
    let two = apply(&mut decoded.iter().rev());
    let verification = verify(&one).expect("a state that can be read");
    assert!(verification.is_sound(), "{verification:?}");
    assert_eq!(verification.stored.root, verify(&two).expect("a state").stored.root, "L1");
    let mut state = Interface::open(one).expect("a state");
    for (_, record) in state.visible().expect("a state that can be read") {
        let _words = record.to_string();
    }
}

/// A session that is given whatever decodes as a response.
pub(crate) fn session(bytes: &[u8]) {
    let moment = Moment::at(SimTime::from_secs(1));
    let mut store = MemoryStore::default();
    let mut log = DeltaLog::default();
    let begin = |store: &MemoryStore, log: &DeltaLog| {
        Transaction::begin(store.view(), log.clone(), ApplyContext::new(moment)).expect("a state")
    };
    let ours = {
        let mut work = begin(&store, &log);
        let described = work.describe(CONTEXT, ReplicaId::from_u64(1), &SyncProtocolKind::EXECUTABLE);
        build_handshake(&described.expect("a description"))
    };
    let (mut session, mut id, _) = Session::start(SessionId(1), ours);
    for piece in pieces(bytes) {
        let Ok(response) = Response::from_bytes(piece) else { continue };
        let mut work = begin(&store, &log);
        let progress = session.on_response(id, &response, &mut work).expect("memory does not fail");
        let (batch, next, _) = work.finish().expect("memory does not fail");
        store.apply(batch).expect("memory does not fail");
        log = next;
        match progress {
            SessionProgress::Send(next, _) => id = next,
            SessionProgress::Ignored => {}
            SessionProgress::Done(_) => break,
        }
    }
    let mut state = Interface::open(store.view()).expect("a state");
    let root = state.root_hash().expect("a root");
    assert_eq!(state.rebuilt_root(), Ok(root), "whatever came, the index follows the records");
}

/// A replica with some state that is given whatever frames the bytes hold.
pub(crate) fn replica(bytes: &[u8]) {
    let peer = PeerId(3);
    let mut store = MemoryStore::default();
    let config = ReplicaConfig::new(CONTEXT, ReplicaId::from_u64(1));
    let (mut replica, SyncActions { storage, .. }) = Replica::recover(config, &store).expect("a replica");
    store.apply(storage).expect("memory does not fail");
    let mut now = 1_000;
    let mut feed = |event| {
        now += 1;
        let moment = Moment::at(SimTime::from_millis(now));
        let actions = match replica.step(store.view(), event, moment, &mut Fixed) {
            Ok(actions) => actions,
            // Without signatures, a piece may pass for a delta of the replica itself.
            Err(ReplicaError::History(_)) => return,
            Err(error) => panic!("memory does not fail: {error}"),
        };
        store.apply(actions.storage).expect("memory does not fail");
    };
    feed(Event::Peers([peer].into()));
    feed(Event::Start);
    let target = Target::top(EntityId::from_u64(5));
    feed(Event::Write(vec![Operation::Set { target, bytes: b"precious".to_vec() }]));
    for piece in pieces(bytes) {
        feed(Event::Frame { from: peer, bytes: sealed(piece).into() });
    }
    assert!(replica.is_buffer_balanced());
    let mut state = Interface::open(store.view()).expect("a state");
    let root = state.root_hash().expect("a root");
    assert_eq!(root, replica.digest());
    assert_eq!(state.rebuilt_root(), Ok(root), "whatever came, the index follows the records");
}
