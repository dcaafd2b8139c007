//! A bounded run of the fuzz targets on the seeds below and everything in `fuzz/corpus`, each as it is and
//! with a few hundred small mutations. `cargo fuzz run TARGET` in `fuzz/` continues from there.

mod targets;

use std::fs;
use std::path::Path;
use syncline_replica::{Event, Operation, Replica, ReplicaConfig, Target, Timer, TimerOp};
use syncline_store::{MemoryStore, Store};
use syncline_sync::{Frame, Message};
use syncline_types::{Choice, ContextId, Encode, EntityId, Entropy, Moment, PeerId, ReplicaId, SimTime};

struct Seeded(u64);

impl Seeded {
    /// SplitMix64 (Steele, Lea, Flood, 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Entropy for Seeded {
    fn below(&mut self, _: Choice, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

fn changed(bytes: &[u8], random: &mut Seeded) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.next() % 3 {
        let at = random.next() as usize % bytes.len().max(1);
        match random.next() % 4 {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << (random.next() % 8),
            1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            _ => bytes.insert(at.min(bytes.len()), random.next() as u8),
        }
    }
    bytes
}

/// Frames that two real replicas send each other, so that mutations start from valid messages.
fn conversation() -> Vec<Vec<u8>> {
    let context = ContextId([5; 32]);
    let mut random = Seeded(1);
    let mut sides: Vec<(Replica<MemoryStore>, MemoryStore)> = (1..=2)
        .map(|own| {
            let mut store = MemoryStore::default();
            let config = ReplicaConfig::new(context, ReplicaId::from_u64(own));
            let (replica, actions) = Replica::recover(config, &store).unwrap();
            store.apply(actions.storage).unwrap();
            (replica, store)
        })
        .collect();
    let mut bodies = Vec::new();
    let mut inbox: Vec<(usize, Event)> = Vec::new();
    for own in 0..2 {
        inbox.push((own, Event::Timer(Timer::Heartbeat)));
        for key in 1..40 {
            let target = Target::top(EntityId::from_u64(key * 3 + own as u64));
            inbox.push((own, Event::Write(vec![Operation::Set { target, bytes: vec![key as u8; 9] }])));
        }
        inbox.push((own, Event::Peers([PeerId(1 - own as u32)].into())));
    }
    let mut now = 1_000;
    while let Some((own, event)) = inbox.pop() {
        now += 30;
        if now > 20_000 {
            break;
        }
        let (replica, store) = &mut sides[own];
        let moment = Moment::at(SimTime::from_millis(now));
        let actions = replica.step(store.view(), event, moment, &mut random).unwrap();
        store.apply(actions.storage).unwrap();
        let is_pending = |op: &TimerOp| matches!(op, TimerOp::Set { timer: Timer::PendingSync, .. });
        if actions.timers.iter().any(is_pending) {
            inbox.insert(0, (own, Event::Timer(Timer::PendingSync)));
        }
        for message in actions.messages {
            let Frame { message: said, .. } = Frame::from_wire(&message.bytes, context).unwrap();
            bodies.push(said.to_bytes());
            if !matches!(said, Message::Gossip(syncline_sync::Gossip::Delta(_))) {
                inbox.insert(0, (1 - own, Event::Frame { from: PeerId(own as u32), bytes: message.bytes }));
            }
        }
    }
    bodies
}

fn piece(bytes: &[u8]) -> Vec<u8> {
    let mut piece = (bytes.len() as u16).to_le_bytes().to_vec();
    piece.extend(bytes);
    piece
}

/// One action of every kind, as two replicas would make them.
fn one_of_each() -> Vec<Vec<u8>> {
    use syncline_replica::model::*;
    let text = Text::named("text");
    let list: List<Map<u32, Counter>> = List::named("list");
    let sorted: SortedMap<u32, Register<u32>> = SortedMap::named("sorted");
    let mut actions = Vec::new();
    for replica in 1..3 {
        let mut state = syncline_storage::Interface::open(MemoryStore::default()).unwrap();
        let mut clock = syncline_types::HlcClock::new(ReplicaId::from_u64(replica));
        let moment = Moment::at(SimTime::from_millis(5));
        for operation in [
            text.insert(0, "hello"),
            text.insert(2, "XY"),
            text.remove(1, 3),
            list.create(),
            list.insert(0, ()),
            list.insert(0, ()),
            list.remove(1),
            sorted.entry(&7).set(&3),
            sorted.remove(&7),
            Set::<String>::named("set").insert(&"a".into()),
            Set::<String>::named("set").remove(&"a".into()),
            GrowCounter::named("grow").add(2),
            Counter::named("both").add(-2),
            UserStorage::<u32>::named("own").set(&1),
            FrozenStorage::<u32, u32>::named("frozen").entry(&1).freeze(&2),
            Opaque::<u32>::named("opaque").set(&1),
            Register::<u32>::named("register").delete(),
        ] {
            let action = operation.to_action(&mut state, &mut clock, moment).unwrap();
            state.apply_action(&action, &syncline_storage::ApplyContext::new(moment)).unwrap();
            actions.push(action.to_bytes());
        }
    }
    actions
}

/// The inputs that the mutations for one target start from.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let bodies = conversation();
    let with_incarnation = |body: &Vec<u8>| [&[1], &body[..]].concat();
    let mut seeds = match target {
        "decoders" => {
            let messages = bodies.iter().map(|body| [&[3], &body[..]].concat());
            let actions = one_of_each();
            let actions = actions.iter().map(|action| [&[1], &action[..]].concat());
            // Of a child: both digests, one, none, and that it is gone.
            let note = |what: u8, digests: usize| [&[7; 32][..], &[what], &vec![what; digests * 32]].concat();
            let notes = [vec![9], note(3, 2), note(1, 1), note(2, 1), note(4, 0), note(1, 1)].concat();
            messages.chain(actions).chain([notes]).collect()
        }
        "actions" => {
            let all = one_of_each();
            let each = all.iter().map(|action| piece(action));
            each.chain([all.iter().flat_map(|action| piece(action)).collect()]).collect()
        }
        "frame" => bodies.iter().map(with_incarnation).collect(),
        "replica" => bodies.iter().map(|body| piece(&with_incarnation(body))).collect(),
        "session" => {
            let responses = bodies.iter().filter_map(|body| match syncline_types::Decode::from_bytes(body) {
                Ok(Message::Response { response, .. }) => Some(piece(&response.to_bytes())),
                _ => None,
            });
            let responses: Vec<Vec<u8>> = responses.collect();
            vec![responses.concat()]
        }
        _ => vec![vec![40, 0, 1, 2, 3], vec![0, 0, 0]],
    };
    if target == "replica" {
        seeds.push(seeds.concat());
    }
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../fuzz/corpus").join(target);
    if let Ok(files) = fs::read_dir(corpus) {
        let mut paths: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
        paths.sort();
        // A corpus grows without bound; the duration of this test must not.
        seeds.extend(paths.iter().take(200).filter_map(|path| fs::read(path).ok()));
    }
    seeds
}

#[test]
fn every_target_holds_on_mutated_corpus() {
    for (name, target) in targets::TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has something to begin from");
        let mut random = Seeded(name.len() as u64);
        for seed in &seeds {
            target(seed);
        }
        for turn in 0..600 {
            let seed = &seeds[turn % seeds.len()];
            target(&changed(seed, &mut random));
        }
    }
}

#[test]
fn seed_conversation_reaches_every_message_kind() {
    let bodies = conversation();
    let said: Vec<String> = bodies
        .iter()
        .map(|body| format!("{:?}", <Message as syncline_types::Decode>::from_bytes(body).unwrap()))
        .collect();
    for kind in ["Delta(", "Heartbeat", "Handshake(", "Response"] {
        assert!(said.iter().any(|message| message.contains(kind)), "{kind} was never said");
    }
}
