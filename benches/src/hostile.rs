//! Hostile frames: the processor time of one frame, with little and with ten times as much waiting, and with few and
//! with many authors. `docs/spec/limits.md` states the costs, and tests in `crates/core/replica` count them.

use std::time::{Duration, Instant};
use syncline_replica::{Event, Replica, ReplicaConfig};
use syncline_store::{MemoryStore, Store};
use syncline_sync::{Delta, DeltaRef, Dot, Frame, Gossip, Message};
use syncline_types::{
    Choice, ContextId, DeltaId, Encode, Entropy, Hlc, Moment, PeerId, ReplicaId, SimDuration, SimTime, limits,
};

const CONTEXT: ContextId = ContextId([6; 32]);

struct Lowest;

impl Entropy for Lowest {
    fn below(&mut self, _: Choice, _: u64) -> u64 {
        0
    }
}

fn author(n: u64) -> ReplicaId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(n + 1_000).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    ReplicaId(id)
}

fn delta(author: ReplicaId, seq: u64, parents: Vec<DeltaRef>) -> Delta {
    Delta::new(Dot { author, seq }, parents, Hlc::new(900 + seq, 0, author), vec![])
}

fn unknown_parents(from: u64) -> Vec<DeltaRef> {
    let mut parents: Vec<DeltaRef> = (0..limits::MAX_PARENTS as u64)
        .map(|n| DeltaRef {
            dot: Dot { author: author(1 << 40 | (from + n)), seq: 1 << 40 },
            id: DeltaId([0; 32]),
        })
        .collect();
    parents.sort_unstable();
    parents
}

struct Victim {
    replica: Replica<MemoryStore>,
    store: MemoryStore,
    now: SimTime,
}

impl Victim {
    fn new() -> Self {
        let mut store = MemoryStore::default();
        let config = ReplicaConfig::new(CONTEXT, ReplicaId::from_u64(1));
        let (replica, actions) = Replica::recover(config, &store).expect("an empty store");
        store.apply(actions.storage).expect("memory takes any batch");
        Self { replica, store, now: SimTime::from_secs(1) }
    }

    fn hear(&mut self, message: &Message) {
        self.now += SimDuration::from_millis(1);
        let bytes = Frame { incarnation: 1, message: message.clone() }.to_wire(CONTEXT).into();
        let event = Event::Frame { from: PeerId(1), bytes };
        let stepped = self.replica.step(self.store.view(), event, Moment::at(self.now), &mut Lowest);
        self.store.apply(stepped.expect("the store is sound").storage).expect("memory takes any batch");
    }

    fn with(authors: u64, waiting: u64) -> Self {
        let mut victim = Self::new();
        for n in 0..authors {
            victim.hear(&Message::Gossip(Gossip::Delta(delta(author(n), 1, vec![]))));
        }
        for n in 0..waiting {
            let made = delta(author(1 << 50 | n), 2, unknown_parents(n * 8));
            victim.hear(&Message::Gossip(Gossip::Delta(made)));
        }
        victim
    }
}

fn frames() -> Vec<(&'static str, Message)> {
    let dots = |from: u64| (0..256).map(|n| Dot { author: author(from + n), seq: 7 }).collect::<Vec<_>>();
    let deltas = vec![delta(author(1 << 50), 1, vec![]).to_bytes().into(); 256];
    let replica = ReplicaId::from_u64(9);
    vec![
        ("reply, empty", Message::Gossip(Gossip::DeltaReply { deltas: vec![], unavailable: vec![] })),
        ("reply of 256 deltas", Message::Gossip(Gossip::DeltaReply { deltas, unavailable: dots(1 << 40) })),
        ("request of 256 deltas", Message::Gossip(Gossip::DeltaRequest { wanted: dots(1 << 41) })),
        (
            "heartbeat",
            Message::Gossip(Gossip::Heartbeat {
                root: Default::default(),
                replica,
                seq: 9,
                clock: 9,
                wall_ms: 9,
            }),
        ),
        ("covered delta", Message::Gossip(Gossip::Delta(delta(author(0), 1, unknown_parents(0))))),
    ]
}

/// The time of one frame, the best of several runs.
fn time_of(victim: &mut Victim, message: &Message) -> Duration {
    let runs = 200;
    let run = |victim: &mut Victim| {
        let begun = Instant::now();
        (0..runs).for_each(|_| victim.hear(message));
        begun.elapsed() / runs
    };
    (0..5).map(|_| run(victim)).min().expect("several runs")
}

/// Prints the time of each hostile frame.
pub(crate) fn frames_and_their_times() {
    println!("hostile frames: time of one frame");
    println!("  {:<24} {:>14} {:>14} {:>14}", "frame", "nothing waits", "900 wait", "9,000 wait");
    for (name, message) in frames() {
        let times = [0, 900, 9_000].map(|waiting| time_of(&mut Victim::with(10, waiting), &message));
        println!("  {name:<24} {:>14?} {:>14?} {:>14?}", times[0], times[1], times[2]);
    }
    println!("  {:<24} {:>14} {:>14} {:>14}", "frame", "100 authors", "1,000", "10,000");
    for (name, message) in frames() {
        let times = [100, 1_000, 10_000].map(|authors| time_of(&mut Victim::with(authors, 0), &message));
        println!("  {name:<24} {:>14?} {:>14?} {:>14?}", times[0], times[1], times[2]);
    }
}
