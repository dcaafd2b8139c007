//! A peer that holds a real state, makes the response of an honest one, and then mutates it.

use super::world::{CONTEXT, Hostile, SECRET, replica_at};
use syncline_storage::{Action, ApplyContext, Cursor, Interface};
use syncline_store::{MemoryStore, Store};
use syncline_sync::{
    Authority, Delta, DeltaLog, Dot, Gate, Gossip, Membership, Message, Request, RequestId, Response,
    SessionId, SyncHandshake, SyncProtocolKind, Transaction, ViewCache, build_handshake, respond,
};
use syncline_types::{Decode, Digest, EntityId, Hlc, Moment, ReplicaId, SimDuration, SimTime, Writer};

/// The state that a mutant responds from.
pub(crate) struct Holdings {
    pub(crate) store: MemoryStore,
    pub(crate) log: DeltaLog,
    views: ViewCache<MemoryStore>,
    /// The replica that it claims to be.
    pub(crate) replica: ReplicaId,
}

/// Maps one honest response to the messages that are sent instead, each after a pause.
pub(crate) type Twist = Box<dyn FnMut(&Asked<'_>, Response) -> Vec<(SimDuration, Message)>>;

/// A request that arrived.
pub(crate) struct Asked<'a> {
    pub(crate) session: SessionId,
    pub(crate) id: RequestId,
    pub(crate) request: &'a Request,
}

impl Asked<'_> {
    /// The message that answers the request with `response`.
    pub(crate) fn with(&self, response: Response) -> Message {
        Message::Response { session: self.session, id: self.id, response }
    }

    /// The same, sent alone and without a pause.
    pub(crate) fn answer(&self, response: Response) -> Vec<(SimDuration, Message)> {
        vec![(SimDuration::ZERO, self.with(response))]
    }
}

/// Makes the messages that are sent without a request.
type Gossiping = Box<dyn FnMut(&Holdings, SimTime) -> Vec<Message>>;

pub(crate) struct Mutant {
    pub(crate) held: Holdings,
    twist: Twist,
    gossip: Gossiping,
}

/// The gate of a context with this many members.
pub(crate) fn gate(members: u32) -> Gate {
    let membership = Membership::named((0..members).map(replica_at));
    Gate { context: CONTEXT, authority: Authority::keyed(SECRET), membership }
}

impl Holdings {
    /// An empty state of the replica at `peer`.
    pub(crate) fn new(peer: u32) -> Self {
        let store = MemoryStore::default();
        Self { store, log: DeltaLog::default(), views: ViewCache::new(2), replica: replica_at(peer) }
    }

    pub(crate) fn begin(&self, now: SimTime) -> Transaction<MemoryStore> {
        let context = ApplyContext::new(Moment::at(now));
        Transaction::begin(self.store.view(), self.log.clone(), context).unwrap()
    }

    pub(crate) fn commit(&mut self, work: Transaction<MemoryStore>) {
        let (batch, log, _) = work.finish().unwrap();
        self.store.apply(batch).unwrap();
        self.log = log;
    }

    /// Writes as its replica would, and signs as a member would.
    pub(crate) fn write(&mut self, actions: Vec<Action>, now: SimTime) -> Delta {
        let mut work = self.begin(now);
        let dot = Dot { author: self.replica, seq: work.log.covered().of(self.replica) + 1 };
        let stamp = Hlc::new(now.as_millis(), 9, self.replica);
        let delta = Delta::new(dot, work.log.heads(), stamp, actions).signed(&gate(0));
        assert_eq!(work.apply_delta(&delta), Ok(()));
        self.commit(work);
        delta
    }

    pub(crate) fn root(&self) -> Digest {
        Interface::open(self.store.view()).unwrap().root_hash().unwrap()
    }

    pub(crate) fn handshake(&self, now: SimTime) -> SyncHandshake {
        let mut work = self.begin(now);
        let described = work.describe(CONTEXT, self.replica, &SyncProtocolKind::EXECUTABLE);
        build_handshake(&described.unwrap())
    }

    /// The response of an honest peer with this state.
    pub(crate) fn respond(&mut self, request: &Request, now: SimTime) -> Response {
        let ours = self.handshake(now);
        let mut work = self.begin(now);
        let response = respond(&mut work, &mut self.views, &ours, request).unwrap();
        self.commit(work);
        response
    }
}

impl Mutant {
    /// A peer that holds this state and mutates its responses. It keeps announcing a new root, so that the
    /// others keep sending requests.
    pub(crate) fn new(
        held: Holdings,
        mut twist: impl FnMut(&Asked<'_>, Response) -> Response + 'static,
    ) -> Self {
        Self::with(held, move |asked, honest| asked.answer(twist(asked, honest)))
    }

    /// As [`Mutant::new`], with any number of messages for each request, each after a pause.
    pub(crate) fn with(
        held: Holdings,
        twist: impl FnMut(&Asked<'_>, Response) -> Vec<(SimDuration, Message)> + 'static,
    ) -> Self {
        let gossip = |held: &Holdings, now: SimTime| {
            let mut root = [0xbb; 32];
            root[..8].copy_from_slice(&now.as_micros().to_le_bytes());
            let root = Digest(root);
            let replica = held.replica;
            vec![Message::Gossip(Gossip::Heartbeat { root, replica, seq: 0, clock: 0, wall_ms: 0 })]
        };
        Self { held, twist: Box::new(twist), gossip: Box::new(gossip) }
    }

    /// Sets the messages that it sends without a request, twice a second.
    pub(crate) fn saying(self, gossip: impl FnMut(&Holdings, SimTime) -> Vec<Message> + 'static) -> Self {
        Self { gossip: Box::new(gossip), ..self }
    }
}

impl Hostile for Mutant {
    fn on_message(&mut self, message: &Message, now: SimTime) -> Vec<(SimDuration, Message)> {
        let Message::Request { session, id, request } = message else { return Vec::new() };
        let honest = self.held.respond(request, now);
        (self.twist)(&Asked { session: *session, id: *id, request }, honest)
    }

    fn on_tick(&mut self, now: SimTime) -> Vec<Message> {
        (self.gossip)(&self.held, now)
    }
}

/// The cursor of a walk that stands at a child of the root.
pub(crate) fn cursor(child: EntityId) -> Cursor {
    let mut out = Writer::default();
    out.list(&[EntityId::ROOT, child]);
    Cursor::from_bytes(&out.into_bytes()).unwrap()
}
