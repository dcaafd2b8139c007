//! Forged deltas.

use super::mutant::gate;
use super::world::{CONTEXT, SECRET, Seeded, World, config, replica_at, set};
use syncline_replica::{Event, Notice, Refusal, Replica, SyncActions, Timer, TimerOp};
use syncline_storage::verify;
use syncline_store::{MemoryStore, Store};
use syncline_sync::{
    Authority, Delta, DeltaLog, DeltaRefusal, Dot, Frame, Gate, Gossip, Membership, Message, Request,
    RequestId, Response, SessionId, Signature, SyncProtocolKind, VersionVector,
};
use syncline_types::{ContextId, Decode, Digest, Encode, Hlc, Moment, PeerId, SimDuration, SimTime};

const PEER: PeerId = PeerId(1);

/// One replica, and a peer that sends it what the test wants.
pub(crate) struct Host {
    pub(crate) replica: Replica<MemoryStore>,
    pub(crate) store: MemoryStore,
    pub(crate) now: u64,
}

impl Host {
    pub(crate) fn new(peer: u32) -> Self {
        let mut store = MemoryStore::default();
        let (replica, actions) = Replica::recover(config(peer, 3), &store).unwrap();
        store.apply(actions.storage).unwrap();
        let mut host = Self { replica, store, now: 1_000 };
        host.step(Event::Peers([PEER].into()));
        host
    }

    pub(crate) fn step(&mut self, event: Event) -> SyncActions {
        self.now += 1;
        let moment = Moment::at(SimTime::from_millis(self.now));
        let stepped = self.replica.step(self.store.view(), event, moment, &mut Seeded(3));
        let mut actions = stepped.unwrap();
        self.store.apply(std::mem::take(&mut actions.storage)).unwrap();
        actions
    }

    pub(crate) fn say(&mut self, message: Message) -> SyncActions {
        let bytes = Frame { incarnation: 1, message }.to_wire(CONTEXT).into();
        self.step(Event::Frame { from: PEER, bytes })
    }

    /// Announces another root of the peer, and gives how many milliseconds from now a sync is due.
    pub(crate) fn hear_of_a_difference(&mut self) -> Option<u64> {
        let root = Digest([0xab; 32]);
        let replica = replica_at(1);
        let actions =
            self.say(Message::Gossip(Gossip::Heartbeat { root, replica, seq: 0, clock: 0, wall_ms: 0 }));
        let due = actions.timers.iter().find_map(|op| match op {
            TimerOp::Set { timer: Timer::PendingSync, at } => Some(*at),
            _ => None,
        });
        due.map(|at| at.since(SimTime::from_millis(self.now)).as_millis())
    }

    /// Writes, and gives the delta that is sent to others.
    pub(crate) fn write(&mut self, name: &str) -> Delta {
        let actions = self.step(Event::Write(vec![set(name, "honest")]));
        let frame = Frame::from_wire(&actions.messages[0].bytes, CONTEXT).unwrap();
        let Message::Gossip(Gossip::Delta(delta)) = frame.message else { panic!("{frame:?}") };
        delta
    }

    /// Sends it a delta in every way in which one can come. Each time the delta must be refused for this
    /// reason, be counted, and change nothing; the replica must back off from the sender.
    fn refuses(&mut self, delta: &Delta, reason: DeltaRefusal) {
        let before = self.replica.digest();
        let log = self.store.clone();
        let refusal = Refusal::Delta(reason);
        let bytes = vec![delta.to_bytes().into()];
        let noted = |actions: &SyncActions| {
            actions.notices.contains(&Notice::DeltaRefused { from: PEER, refusal: reason })
        };
        let actions = self.say(Message::Gossip(Gossip::Delta(delta.clone())));
        assert_eq!(actions.refusal, Some(refusal.clone()));
        assert!(noted(&actions) && actions.messages.is_empty(), "{actions:?}");
        // Nobody has asked for it.
        let reply = Gossip::DeltaReply { deltas: bytes.clone(), unavailable: vec![] };
        assert_eq!(self.say(Message::Gossip(reply)).refusal, Some(Refusal::Duplicate));
        // As the push of somebody whose handshake was good.
        let session = SessionId(1);
        let id = RequestId(1);
        let request =
            Request::Handshake(Box::new(super::mutant::Holdings::new(1).handshake(SimTime::from_secs(1))));
        self.say(Message::Request { session, id, request });
        let request = Request::Deltas { covered: VersionVector::default(), pushes: bytes };
        let actions = self.say(Message::Request { session, id: RequestId(2), request });
        let frame = Frame::from_wire(&actions.messages[0].bytes, CONTEXT).unwrap();
        let Message::Response { response: Response::Deltas(reply), .. } = frame.message else {
            panic!("{frame:?}")
        };
        assert_eq!((reply.refused, actions.refusal.clone(), noted(&actions)), (1, Some(refusal), true));
        assert_eq!((self.replica.digest(), self.replica.pending().buffered), (before, 0));
        assert!(verify(&self.store).unwrap().is_sound());
        let rows = |store: &MemoryStore| DeltaLog::read(store, delta.dot).unwrap();
        assert_eq!(rows(&self.store), rows(&log), "it is not stored for others either");
    }
}

#[test]
fn honest_delta_passes_both_gates_and_mutates_state() {
    let mut victim = Host::new(0);
    let mut author = Host::new(2);
    let delta = author.write("a");
    let actions = victim.say(Message::Gossip(Gossip::Delta(delta.clone())));
    assert_eq!((actions.refusal, victim.replica.digest()), (None, author.replica.digest()));
    let kept = DeltaLog::read(&victim.store, delta.dot).unwrap().unwrap();
    assert_eq!(kept.to_vec(), delta.to_bytes(), "it is stored, and forwarded, with its author's signature");
}

#[test]
fn forged_author_delta_rejected_no_state_mutation() {
    let mut victim = Host::new(0);
    let mut author = Host::new(2);
    let honest = author.write("a");
    // Signed by somebody who does not know the members' secret.
    let forger = Gate { authority: Authority::keyed([0x66; 32]), ..gate(3) };
    let stamp = Hlc::new(900, 0, replica_at(2));
    let forged = Delta::new(Dot { author: replica_at(2), seq: 1 }, vec![], stamp, vec![]);
    let forged = Delta { actions: honest.actions.clone(), ..forged };
    victim.refuses(&forged.signed(&forger), DeltaRefusal::BadSignature);
    // The refused delta has not taken the place of the honest one.
    let actions = victim.say(Message::Gossip(Gossip::Delta(honest)));
    assert_eq!((actions.refusal, victim.replica.digest()), (None, author.replica.digest()));
}

#[test]
fn copied_signature_on_new_delta_id_rejected_no_state_mutation() {
    let mut victim = Host::new(0);
    let mut author = Host::new(2);
    let first = author.write("a");
    let second = author.write("b");
    victim.refuses(&Delta { signature: first.signature, ..second }, DeltaRefusal::BadSignature);
}

#[test]
fn missing_signature_rejected_no_state_mutation() {
    let mut victim = Host::new(0);
    let mut author = Host::new(2);
    let bare = Delta { signature: Signature::default(), ..author.write("a") };
    victim.refuses(&bare, DeltaRefusal::BadSignature);
}

#[test]
fn republished_delta_with_emptied_parents_rejected_no_state_mutation() {
    let mut victim = Host::new(0);
    let mut author = Host::new(2);
    let first = author.write("a");
    assert_eq!(victim.say(Message::Gossip(Gossip::Delta(first))).refusal, None);
    let second = author.write("b");
    assert_eq!(second.parents.len(), 1);
    victim.refuses(&Delta { parents: vec![], ..second }, DeltaRefusal::BadSignature);
}

#[test]
fn republished_delta_with_swapped_parents_rejected_no_state_mutation() {
    let mut victim = Host::new(0);
    let mut author = Host::new(2);
    let mut other = Host::new(1);
    let first = author.write("a");
    let elsewhere = other.write("c");
    for delta in [&first, &elsewhere] {
        assert_eq!(victim.say(Message::Gossip(Gossip::Delta(delta.clone()))).refusal, None);
    }
    let second = author.write("b");
    victim.refuses(&Delta { parents: vec![elsewhere.reference()], ..second }, DeltaRefusal::BadSignature);
}

/// A peer that was asked for a delta sends another one under its number.
#[test]
fn requested_delta_is_checked_too() {
    let mut victim = Host::new(0);
    let mut author = Host::new(2);
    // A replica without state asks for a snapshot instead.
    let other = Host::new(1).write("other");
    assert_eq!(victim.say(Message::Gossip(Gossip::Delta(other))).refusal, None);
    let first = author.write("a");
    let second = author.write("b");
    let asked = victim.say(Message::Gossip(Gossip::Delta(second)));
    assert_eq!(asked.messages.len(), 1, "{asked:?}");
    let forged = Delta { actions: vec![], ..first };
    let reply = Gossip::DeltaReply { deltas: vec![forged.to_bytes().into()], unavailable: vec![] };
    let actions = victim.say(Message::Gossip(reply));
    let reason = DeltaRefusal::BadSignature;
    assert_eq!(actions.refusal, Some(Refusal::Delta(reason)));
    assert!(actions.notices.contains(&Notice::DeltaRefused { from: PEER, refusal: reason }));
    assert_eq!(victim.replica.log().covered().of(replica_at(2)), 0);
}

#[test]
fn refuses_delta_of_another_context() {
    let mut victim = Host::new(0);
    let mut author = Host::new(2);
    let moved = author.write("a").signed(&Gate { context: ContextId([7; 32]), ..gate(3) });
    victim.refuses(&moved, DeltaRefusal::BadSignature);
}

#[test]
fn refuses_signed_delta_of_outsider() {
    let mut victim = Host::new(0);
    let mut stranger = Host::new(9);
    stranger.replica.set_membership(Membership::Open);
    victim.refuses(&stranger.write("a"), DeltaRefusal::NotAMember);
}

#[test]
fn forged_deltas_take_no_buffer_room() {
    let mut victim = Host::new(0);
    let mut author = Host::new(2);
    let first = author.write("a");
    let second = author.write("b");
    let forged = Delta { actions: vec![], ..second.clone() };
    let actions = victim.say(Message::Gossip(Gossip::Delta(forged)));
    assert_eq!(
        (actions.refusal, victim.replica.pending().buffered),
        (Some(Refusal::Delta(DeltaRefusal::BadSignature)), 0)
    );
    for delta in [second, first] {
        assert_eq!(victim.say(Message::Gossip(Gossip::Delta(delta))).refusal, None);
    }
    assert_eq!(victim.replica.digest(), author.replica.digest());
}

#[test]
fn backs_off_longer_after_each_forgery() {
    let mut victim = Host::new(0);
    let mut author = Host::new(2);
    assert!(victim.hear_of_a_difference() < Some(100));
    let mut victim_again = Host::new(0);
    let mut pauses = Vec::new();
    for round in 0..4 {
        let forged = Delta { actions: vec![], ..author.write(&round.to_string()) };
        victim_again.say(Message::Gossip(Gossip::Delta(forged)));
        pauses.push(victim_again.hear_of_a_difference().unwrap());
        victim_again.now += 5_000;
    }
    assert!(pauses[0] >= 250 && pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
}

#[test]
fn open_context_accepts_unsigned_deltas() {
    let mut victim = Host::new(0);
    let mut author = Host::new(2);
    victim = Host { replica: open(0, &mut victim.store), ..victim };
    author = Host { replica: open(2, &mut author.store), ..author };
    author.step(Event::Peers([PEER].into()));
    let delta = author.write("a");
    assert_eq!(delta.signature, Signature::default());
    assert_eq!(victim.say(Message::Gossip(Gossip::Delta(delta))).refusal, None);
    assert_eq!(victim.replica.digest(), author.replica.digest());
}

fn open(peer: u32, store: &mut MemoryStore) -> Replica<MemoryStore> {
    let config = syncline_replica::ReplicaConfig::new(CONTEXT, replica_at(peer));
    let (replica, actions) = Replica::recover(config, store).unwrap();
    store.apply(actions.storage).unwrap();
    replica
}

#[test]
fn gates_of_different_secrets_differ() {
    assert_ne!(Authority::keyed(SECRET), Authority::keyed(SECRET), "equal only if one is the other's clone");
    let one = gate(3);
    let two = Gate { authority: Authority::keyed([1; 32]), ..gate(3) };
    let delta = Delta::new(Dot { author: replica_at(2), seq: 1 }, vec![], Hlc::ZERO, vec![]);
    assert_eq!(one.lets_in(&delta.clone().signed(&one)), Ok(()));
    assert_eq!(one.lets_in(&delta.signed(&two)), Err(DeltaRefusal::BadSignature));
}

#[test]
fn forwarded_delta_keeps_its_signature() {
    for by_gossip in [true, false] {
        let mut world = World::new();
        for node in 0..3 {
            let mut config = config(node, 3);
            config.requested_protocol = Some(SyncProtocolKind::DeltaSync);
            config.gossip_fanout = if by_gossip { 1 } else { 8 };
            world.add(config);
        }
        // Everything between the first and the last node passes through the middle one.
        for (a, b) in [(0, 1), (1, 2)] {
            world.link(a, b);
        }
        // A node without state would take a snapshot, which brings no deltas.
        world.write(0, vec![set("first", "value")]);
        world.run_for(SimDuration::from_secs(15));
        for round in 0..5 {
            world.write(2, vec![set(&format!("key {round}"), "value")]);
            world.run_for(SimDuration::from_secs(2));
        }
        world.run_for(SimDuration::from_secs(20));
        for seq in 1..=5 {
            let dot = Dot { author: replica_at(2), seq };
            let kept = [0, 1, 2].map(|node| DeltaLog::read(&world.honest(node).store, dot).unwrap());
            let delta = Delta::from_bytes(kept[2].as_deref().unwrap()).unwrap();
            assert_eq!(gate(3).lets_in(&delta), Ok(()));
            assert!(kept.iter().all(|bytes| *bytes == kept[2]), "by gossip: {by_gossip}, delta {seq}");
        }
        assert!(
            (0..3).all(|node| world.honest(node).refusals.iter().all(|(_, why)| *why == Refusal::Duplicate))
        );
    }
}

#[test]
fn requested_delta_comes_with_its_signature() {
    let mut author = Host::new(2);
    let mut other = Host::new(1);
    let delta = author.write("a");
    assert_eq!(other.say(Message::Gossip(Gossip::Delta(delta.clone()))).refusal, None);
    let actions = other.say(Message::Gossip(Gossip::DeltaRequest { wanted: vec![delta.dot] }));
    let frame = Frame::from_wire(&actions.messages[0].bytes, CONTEXT).unwrap();
    let Message::Gossip(Gossip::DeltaReply { deltas, .. }) = frame.message else { panic!("{frame:?}") };
    assert_eq!(Delta::from_bytes(&deltas[0]).unwrap(), delta);
}
