//! Two states and one session between them, without a network. Every request is answered at once,
//! sometimes twice or late.

use proptest::collection::vec;
use proptest::prelude::*;
use syncline_crdt::{GCounter, Register, Value};
use syncline_storage::{Action, ApplyContext, Interface, Label, Metadata, Slot, verify};
use syncline_store::{MemoryStore, ReadView, Store, WriteBatch};
use syncline_sync::*;
use syncline_types::{ContextId, Digest, EntityId, Hlc, Moment, ReplicaId, SimTime, limits};

pub(crate) const CONTEXT: ApplyContext = ApplyContext::new(Moment::at(SimTime::from_millis(1_000)));

pub(crate) struct Side {
    pub(crate) store: MemoryStore,
    pub(crate) log: DeltaLog,
    pub(crate) views: ViewCache<MemoryStore>,
    pub(crate) replica: ReplicaId,
    pub(crate) supported: Vec<SyncProtocolKind>,
    pub(crate) requested_protocol: Option<SyncProtocolKind>,
    pub(crate) selection: Selection,
    pub(crate) sketch: std::cell::RefCell<Option<Sketch>>,
}

impl Side {
    pub(crate) fn new(replica: u64, actions: &[Action]) -> Self {
        let mut side = Self {
            store: MemoryStore::default(),
            log: DeltaLog::default(),
            views: ViewCache::new(4),
            replica: ReplicaId::from_u64(replica),
            supported: SyncProtocolKind::EXECUTABLE.to_vec(),
            requested_protocol: None,
            selection: Selection::Table,
            sketch: std::cell::RefCell::default(),
        };
        side.write(actions);
        side
    }

    pub(crate) fn begin(&self) -> Transaction<MemoryStore> {
        let work = Transaction::begin(self.store.view(), self.log.clone(), CONTEXT).unwrap();
        work.with_gate(Gate::default()).with_sketch(self.sketch.borrow().clone()).unwrap()
    }

    pub(crate) fn commit(&mut self, work: Transaction<MemoryStore>) {
        let (batch, log, sketch) = work.finish().unwrap();
        self.store.apply(batch).unwrap();
        self.log = log;
        if let Some(updated) = &sketch {
            let mut state = Interface::open(self.store.view()).unwrap();
            let computed = Sketch::of(updated.key(), &mut state).unwrap();
            assert!(updated.head() == computed.head(), "an updated sketch equals a new one");
        }
        self.sketch = sketch.into();
        assert_eq!(
            DeltaLog::load(&self.store, DeltaLog::DEFAULT_RETENTION).unwrap().covered(),
            self.log.covered()
        );
    }

    pub(crate) fn write(&mut self, actions: &[Action]) {
        let mut work = self.begin();
        for action in actions {
            work.state.apply_action(action, &CONTEXT).unwrap();
        }
        self.commit(work);
    }

    /// Writes actions as a delta of its own.
    pub(crate) fn write_delta(&mut self, actions: &[Action], at: u64) {
        let mut work = self.begin();
        let dot = Dot { author: self.replica, seq: work.log.covered().of(self.replica) + 1 };
        let stamp = Hlc::new(at, 0, self.replica);
        let delta = Delta::new(dot, work.log.heads(), stamp, actions.to_vec());
        assert_eq!(work.apply_delta(&delta), Ok(()));
        self.commit(work);
    }

    pub(crate) fn describe(&self) -> SyncHandshake {
        let mut work = self.begin();
        let described = work.describe(ContextId::default(), self.replica, &self.supported);
        let mut ours = SyncHandshake {
            requested_protocol: self.requested_protocol,
            ..build_handshake(&described.unwrap())
        };
        let adaptive = self.requested_protocol.is_none() && self.selection == Selection::Adaptive;
        if adaptive || self.requested_protocol.is_some_and(SyncProtocolKind::uses_sketch) {
            ours.sketch = Some(work.sketch().unwrap().head());
            *self.sketch.borrow_mut() = work.finish().unwrap().2;
        }
        ours
    }

    pub(crate) fn respond(&mut self, request: &Request) -> Response {
        let ours = self.describe();
        let mut work = self.begin();
        let response = respond(&mut work, &mut self.views, &ours, request).unwrap();
        self.commit(work);
        response
    }

    /// Checks that no rows of a snapshot transfer are left, and that the state is sound.
    pub(crate) fn is_tidy(&self) {
        let (first, end) = Slot::active(&self.store).unwrap().other().bounds();
        assert_eq!(self.store.range(&first, &end, 9).unwrap(), []);
        assert_eq!(self.store.range(&[0x12], &[0x13], 9).unwrap(), []);
        assert!(!staged::is_under_way(&self.store, &WriteBatch::default()).unwrap());
        let found = verify(&self.store).unwrap();
        assert!(found.is_sound(), "{found:?}");
    }

    pub(crate) fn root(&self) -> Digest {
        Interface::open(self.store.view()).unwrap().root_hash().unwrap()
    }
}

/// Encodes and decodes a message, as a link does.
pub(crate) fn through_the_wire(message: Message) -> Message {
    let context = ContextId::default();
    let wire = Frame { incarnation: 3, message }.to_wire(context);
    assert!(wire.len() <= limits::MAX_FRAME_BYTES);
    Frame::from_wire(&wire, context).unwrap().message
}

/// Runs a session to its end. `disturb` may write to either side between rounds. With `duplicated`, every
/// request is answered twice and the first answer is lost.
pub(crate) fn run(
    a: &mut Side,
    b: &mut Side,
    duplicated: bool,
    mut disturb: impl FnMut(u64, &mut Side, &mut Side),
) -> (Outcome, SessionStats, Option<SyncProtocolKind>) {
    let (mut session, mut id, mut request) = Session::start(SessionId(1), a.describe());
    loop {
        let asked = Message::Request { session: SessionId(1), id, request: request.clone() };
        let Message::Request { request: asked, .. } = through_the_wire(asked) else { panic!() };
        let mut response = b.respond(&asked);
        disturb(session.stats().round_trips, a, b);
        if duplicated {
            assert!(matches!(session.on_timeout(), SessionProgress::Send(..)));
            response = b.respond(&asked);
        }
        let answer = Message::Response { session: SessionId(1), id, response };
        let Message::Response { response, .. } = through_the_wire(answer) else { panic!() };
        let mut work = a.begin();
        let progress = session.on_response(id, &response, &mut work).unwrap();
        assert_eq!(session.on_response(id, &response, &mut a.begin()).unwrap(), SessionProgress::Ignored);
        match progress {
            SessionProgress::Send(next_id, next) => (id, request) = (next_id, next),
            SessionProgress::Ignored => panic!("an answer to the current request was ignored"),
            SessionProgress::Done(outcome) => {
                // A snapshot that fails verification must leave no trace in the state.
                a.commit(work);
                return (outcome, session.stats(), session.selected().map(|(kind, _)| kind));
            }
        }
        a.commit(work);
    }
}

pub(crate) fn undisturbed(_: u64, _: &mut Side, _: &mut Side) {}

pub(crate) fn stamp(ms: u64, replica: u64) -> Hlc {
    Hlc::new(ms, 0, ReplicaId::from_u64(replica))
}

pub(crate) fn set(id: u64, ancestors: &[u64], ms: u64, replica: u64, bytes: usize) -> Action {
    let stamp = stamp(ms, replica);
    Action::Add {
        id: EntityId::from_u64(id),
        ancestors: ancestors.iter().map(|id| EntityId::from_u64(*id)).collect(),
        value: Value::Lww(Register::new(stamp, vec![replica as u8; bytes])),
        metadata: Metadata { created_at: stamp, updated_at: stamp, label: Label::None },
    }
}

pub(crate) fn action() -> impl Strategy<Value = Action> {
    let path = prop_oneof![3 => Just(vec![]), 1 => vec(1u64..6, 1..4)];
    (1u64..200, path, 1u64..5, 0u64..3, 0u8..6).prop_map(|(id, path, ms, replica, kind)| {
        let path: Vec<u64> = path.into_iter().filter(|p| *p != id).collect();
        let mut unique = path;
        unique.dedup();
        unique.sort_unstable();
        unique.dedup();
        let Action::Add { id, ancestors, value, metadata } = set(id, &unique, ms, replica, 3) else {
            panic!()
        };
        match kind {
            0 => Action::DeleteRef { id, ancestors, deleted_at: stamp(ms, replica) },
            1 => {
                let value = Value::GCounter(GCounter::of(ReplicaId::from_u64(replica), ms));
                Action::Update { id, ancestors, value, metadata }
            }
            _ => Action::Add { id, ancestors, value, metadata },
        }
    })
}

pub(crate) fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

pub(crate) fn many(from: u64, to: u64, replica: u64) -> Vec<Action> {
    (from..to).map(|id| set(id, &[], 1, replica, 100)).collect()
}
