//! Replicas accept deltas that their authors have signed, and no others.

use syncline_keys::Keypair;
use syncline_replica::{Event, Operation, Refusal, Replica, ReplicaConfig, SyncActions, Target};
use syncline_storage::verify;
use syncline_store::{MemoryStore, Store};
use syncline_sync::{
    Authority, Delta, DeltaRefusal, Dot, Frame, Gossip, Membership, Message, PublicKey, Scheme, Signature,
    Statement,
};
use syncline_types::{Choice, ContextId, DeltaId, Entropy, Hlc, Moment, PeerId, ReplicaId, SimTime};

const CONTEXT: ContextId = ContextId([4; 32]);
const PEER: PeerId = PeerId(9);

struct Fixed;

impl Entropy for Fixed {
    fn below(&mut self, _: Choice, bound: u64) -> u64 {
        bound / 2
    }
}

struct Host {
    replica: Replica<MemoryStore>,
    store: MemoryStore,
    now: u64,
}

fn key(of: u8) -> Keypair {
    Keypair::from_seed(&[of; 32])
}

fn id(of: u8) -> ReplicaId {
    ReplicaId::from_u64(u64::from(of))
}

fn members() -> Membership {
    Membership::of((1..=3).map(|of| (id(of), key(of).public())))
}

impl Host {
    fn new(of: u8, authority: Authority) -> Self {
        let mut store = MemoryStore::default();
        let config =
            ReplicaConfig { authority, membership: members(), ..ReplicaConfig::new(CONTEXT, id(of)) };
        let (replica, actions) = Replica::recover(config, &store).unwrap();
        store.apply(actions.storage).unwrap();
        let mut host = Self { replica, store, now: 1_000 };
        host.step(Event::Peers([PEER].into()));
        host
    }

    fn step(&mut self, event: Event) -> SyncActions {
        self.now += 1;
        let moment = Moment::at(SimTime::from_millis(self.now));
        let mut actions = self.replica.step(self.store.view(), event, moment, &mut Fixed).unwrap();
        self.store.apply(std::mem::take(&mut actions.storage)).unwrap();
        actions
    }

    /// Writes, and gives the delta that the replica sends to its peers.
    fn write(&mut self, name: &str) -> Delta {
        let operation =
            Operation::Set { target: Target::named(name.as_bytes()), bytes: vec![self.now as u8] };
        let actions = self.step(Event::Write(vec![operation]));
        let frame = Frame::from_wire(&actions.messages[0].bytes, CONTEXT).unwrap();
        let Message::Gossip(Gossip::Delta(delta)) = frame.message else { panic!("{frame:?}") };
        delta
    }

    fn receive(&mut self, delta: Delta) -> Option<Refusal> {
        let before = self.replica.digest();
        let message = Message::Gossip(Gossip::Delta(delta));
        let bytes = Frame { incarnation: 1, message }.to_wire(CONTEXT).into();
        let refusal = self.step(Event::Frame { from: PEER, bytes }).refusal;
        assert_eq!(refusal.is_none(), self.replica.digest() != before);
        assert!(verify(&self.store).unwrap().is_sound());
        refusal
    }
}

#[test]
fn members_accept_each_others_deltas() {
    let mut one = Host::new(1, key(1).into_authority());
    let mut two = Host::new(2, key(2).into_authority());
    for name in ["a", "b", "c"] {
        assert_eq!(two.receive(one.write(name)), None);
        assert_eq!(one.receive(two.write(name)), None);
    }
    assert_eq!(one.replica.digest(), two.replica.digest());
}

#[test]
fn member_cannot_forge_another_author() {
    let mut victim = Host::new(1, key(1).into_authority());
    // The forger claims to be replica 2 and signs with the key of replica 3, who is a member too.
    let mut forger = Host::new(2, key(3).into_authority());
    assert_eq!(victim.receive(forger.write("a")), Some(Refusal::Delta(DeltaRefusal::BadSignature)));
    let mut honest = Host::new(2, key(2).into_authority());
    assert_eq!(victim.receive(honest.write("a")), None);
}

#[test]
fn stranger_is_not_a_member() {
    let mut victim = Host::new(1, key(1).into_authority());
    let mut stranger = Host::new(8, key(8).into_authority());
    // The stranger's own replica refuses writes of non-members, so its membership is replaced.
    stranger.replica.set_membership(Membership::of([(id(8), key(8).public())]));
    assert_eq!(victim.receive(stranger.write("a")), Some(Refusal::Delta(DeltaRefusal::NotAMember)));
}

#[test]
fn signature_covers_delta_and_context() {
    let mut victim = Host::new(1, key(1).into_authority());
    let mut author = Host::new(2, key(2).into_authority());
    author.write("first");
    let honest = author.write("second");
    let other = Delta::new(Dot { author: id(3), seq: 1 }, vec![], Hlc::new(900, 0, id(3)), vec![]);
    let changed: [Delta; 6] = [
        Delta { dot: Dot { author: id(3), seq: 1 }, ..honest.clone() },
        Delta { dot: Dot { author: id(2), seq: 3 }, ..honest.clone() },
        Delta { parents: vec![], ..honest.clone() },
        Delta { parents: vec![other.reference()], ..honest.clone() },
        Delta { stamp: Hlc::new(999, 9, id(2)), ..honest.clone() },
        Delta { actions: vec![], ..honest.clone() },
    ];
    for (at, delta) in changed.into_iter().enumerate() {
        assert_eq!(victim.receive(delta), Some(Refusal::Delta(DeltaRefusal::BadSignature)), "change {at}");
    }
    let elsewhere = Statement { context: ContextId([5; 32]), delta: honest.id() };
    let moved = Delta { signature: key(2).sign(&elsewhere), ..honest };
    assert_eq!(victim.receive(moved), Some(Refusal::Delta(DeltaRefusal::BadSignature)));
}

#[test]
fn agrees_with_rfc_8032() {
    // RFC 8032, 7.1, test 1: the public key of this secret.
    let secret: Vec<u8> = (0..32)
        .map(|at| {
            let hex = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
            u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()
        })
        .collect();
    let public = Keypair::from_seed(&secret.try_into().unwrap()).public();
    assert_eq!(public.0[..4], [0xd7, 0x5a, 0x98, 0x01]);
    assert_eq!(public.0[28..], [0xf7, 0x07, 0x51, 0x1a]);
}

#[test]
fn refuses_invalid_keys_and_signatures() {
    let statement = Statement { context: CONTEXT, delta: DeltaId([1; 32]) };
    let own = key(1);
    let good = own.sign(&statement);
    assert!(own.verify(Some(&own.public()), &statement, &good));
    assert!(!own.verify(None, &statement, &good));
    assert!(!own.verify(Some(&PublicKey([0xff; 32])), &statement, &good));
    // The neutral point is a weak key: without the strict rules it would verify any message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert!(!own.verify(Some(&PublicKey(neutral)), &statement, &good));
    for len in [0, 1, 63, 65] {
        let cut = good.0.iter().copied().chain([0]).take(len).collect();
        assert!(!own.verify(Some(&own.public()), &statement, &Signature(cut)));
    }
}
