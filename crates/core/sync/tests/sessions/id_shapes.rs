//! Ids with common beginnings: what a session costs must not depend on how ids are made.

use super::side::Side;
use super::side::*;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use syncline_crdt::Value;
use syncline_storage::{Action, Interface, Prefix};
use syncline_store::{MemoryStore, Store};
use syncline_sync::*;
use syncline_types::{ContextId, Digest, EntityId, Limits};

/// Shared entities have the numbers that are multiples of this. The others are left for those that differ.
const STRIDE: u64 = 16;

/// How an application makes its ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    /// Digests.
    Random,
    /// UUIDs of version 7, one a millisecond: 48 bits of time, the version, 12 random bits, the variant, 62
    /// random bits.
    UuidV7,
    /// UUIDs of version 7 of imports: a thousand in each millisecond, and a minute from one import to the next.
    UuidV7Bursts,
    /// ULIDs, one every twenty milliseconds: 48 bits of time and 80 random bits.
    Ulid,
    /// Microseconds in eight bytes, big endian, and a counter.
    Timestamp,
    /// A counter in eight bytes, big endian.
    Counter,
    /// A path: all ids share their first 28 bytes.
    Path,
}

impl Shape {
    const PREFIXED: [Self; 6] =
        [Self::UuidV7, Self::UuidV7Bursts, Self::Ulid, Self::Timestamp, Self::Counter, Self::Path];

    /// The id of the entity `n` of a world. Except for [`Shape::Random`], ids ascend with `n`, apart from those of one
    /// millisecond.
    fn id(self, world: u64, n: u64) -> EntityId {
        // Where the time and the counters of a world begin.
        let start = 1_760_000_000_000 + world * 77_777_777;
        let random = Digest::of(99, &[world.to_le_bytes(), n.to_le_bytes()].concat()).0;
        // 48 bits of time, and random bits up to the sixteenth byte.
        let timed = |ms: u64| [&(start + ms).to_be_bytes()[2..], &random[..10]].concat();
        let uuid = |ms: u64| {
            let mut id = timed(ms);
            id[6] = id[6] & 0x0f | 0x70;
            id[8] = id[8] & 0x3f | 0x80;
            id
        };
        let mut bytes = match self {
            Self::Random => random.to_vec(),
            Self::UuidV7 => uuid(n / STRIDE),
            Self::UuidV7Bursts => uuid(n / STRIDE / 1_000 * 60_000),
            Self::Ulid => timed(20 * n / STRIDE),
            Self::Timestamp => [(start * 1_000 + n * 61).to_be_bytes(), n.to_be_bytes()].concat(),
            Self::Counter => (start + n).to_be_bytes().to_vec(),
            Self::Path => {
                [&b"tenant/0001/documents/notes/"[..], &((start + n) as u32).to_be_bytes()].concat()
            }
        };
        bytes.resize(32, 0);
        EntityId(bytes.try_into().unwrap())
    }
}

/// Where the differing entities are, in the order in which entities were made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Where {
    /// The newest: both sides have written since they last met.
    Newest,
    /// The newest, and only the peer has written.
    NewestOfPeer,
    /// Spread over all of them.
    Spread,
}

/// What a session took, in both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Cost {
    messages: u64,
    bytes: u64,
    walks: u64,
}

impl Where {
    /// The number of the `k`-th of `difference` entities that one side of a world of `size` entities lacks.
    fn number(self, size: u64, k: u64, difference: u64) -> u64 {
        match self {
            Self::Newest | Self::NewestOfPeer => (size + k) * STRIDE,
            Self::Spread => {
                let gaps = size * (STRIDE - 1);
                assert!(difference <= gaps, "each number is taken once");
                let gap = k * gaps / difference;
                gap / (STRIDE - 1) * STRIDE + 1 + gap % (STRIDE - 1)
            }
        }
    }
}

impl Cost {
    const fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.walks += other.walks;
    }
}

/// A world of entities with ids of one shape.
struct World {
    number: u64,
    shape: Shape,
    size: u64,
    shared: MemoryStore,
}

impl World {
    fn new(number: u64, shape: Shape, size: u64) -> Self {
        let mut world = Self { number, shape, size, shared: MemoryStore::default() };
        world.shared = world.with((0..size).map(|n| n * STRIDE));
        world
    }

    /// The shared state with these entities, without the checks of [`Side::write`], which would take longer than the
    /// session.
    fn with(&self, numbers: impl Iterator<Item = u64>) -> MemoryStore {
        let mut side = Side::new(9, &[]);
        side.store = self.shared.clone();
        let mut work = side.begin();
        for n in numbers {
            let Action::Add { value, metadata, .. } = set(n, &[], 1, 9, 20) else { panic!() };
            let id = self.shape.id(self.number, n);
            work.state
                .apply_action(&Action::Add { id, ancestors: vec![], value, metadata }, &CONTEXT)
                .unwrap();
        }
        side.store.apply(work.finish().unwrap().0).unwrap();
        side.store
    }

    /// Two sides that differ in `difference` entities, every second of which each side has, or the peer has all.
    fn sides(&self, difference: u64, place: Where) -> [MemoryStore; 2] {
        let is_ours = |k: u64| place != Where::NewestOfPeer && k % 2 == 1;
        [true, false].map(|ours| {
            let some = (0..difference).filter(|k| is_ours(*k) == ours);
            self.with(some.map(|k| place.number(self.size, k, difference)))
        })
    }
}

/// Runs a session and counts what it takes.
fn measure(a: &mut Side, b: &mut Side) -> Cost {
    let mut cost = Cost::default();
    let mut count = |message: Message| {
        cost.messages += 1;
        cost.bytes += Frame { incarnation: 1, message }.to_wire(ContextId::default()).len() as u64;
    };
    let (mut session, mut id, mut request) = Session::start(SessionId(1), a.describe());
    loop {
        let ours = b.describe();
        let mut work = b.begin();
        let response = respond(&mut work, &mut b.views, &ours, &request).unwrap();
        commit(b, work);
        count(Message::Request { session: SessionId(1), id, request });
        count(Message::Response { session: SessionId(1), id, response: response.clone() });
        let mut work = a.begin();
        let progress = session.on_response(id, &response, &mut work).unwrap();
        commit(a, work);
        match progress {
            SessionProgress::Send(next_id, next) => (id, request) = (next_id, next),
            SessionProgress::Ignored => panic!("an answer to the current request was ignored"),
            SessionProgress::Done(outcome) => {
                assert_eq!(outcome, Outcome::Converged { root: b.root() });
                cost.walks = session.stats().walks;
                return cost;
            }
        }
    }
}

/// Like [`Side::commit`], without its checks, which are O(n).
fn commit(side: &mut Side, work: Transaction<MemoryStore>) {
    let (batch, log, sketch) = work.finish().unwrap();
    side.store.apply(batch).unwrap();
    side.log = log;
    side.sketch = sketch.into();
}

/// The costs of sessions over worlds of this shape: for each of [`SESSIONS`] and each protocol, the sum of some worlds.
/// `None` as protocol leaves the choice to the cost model.
fn costs(shape: Shape, size: u64, worlds: u64, protocols: &[Option<SyncProtocolKind>]) -> Vec<Cost> {
    let mut costs = vec![Cost::default(); SESSIONS.len() * protocols.len()];
    for number in 0..worlds {
        let world = World::new(number, shape, size);
        let mut costs = costs.iter_mut();
        for (difference, place) in SESSIONS {
            let stores = world.sides(difference, place);
            for protocol in protocols {
                let side = |replica, store: &MemoryStore| Side {
                    store: store.clone(),
                    requested_protocol: *protocol,
                    selection: Selection::Adaptive,
                    ..Side::new(replica, &[])
                };
                costs.next().unwrap().add(measure(&mut side(1, &stores[0]), &mut side(2, &stores[1])));
            }
        }
    }
    costs
}

const SESSIONS: [(u64, Where); 12] = {
    use Where::*;
    [
        (1, Newest),
        (10, Newest),
        (100, Newest),
        (1_000, Newest),
        (1, NewestOfPeer),
        (10, NewestOfPeer),
        (100, NewestOfPeer),
        (1_000, NewestOfPeer),
        (1, Spread),
        (10, Spread),
        (100, Spread),
        (1_000, Spread),
    ]
};

/// Compares the cost of sessions over ids of each shape with their cost over random ids.
///
/// How many cells decode, which records a Bloom filter hides and what a sample shows is chance, with any ids, and
/// costs a round trip or a walk. So the messages of these protocols are compared in sum, and those of the others for
/// each session. In a single small world it is chance, too, which buckets split and where a page ends: there, everything
/// is compared in sum.
fn compare(size: u64, worlds: u64, protocols: &[Option<SyncProtocolKind>]) {
    use SyncProtocolKind::{HashComparison, LevelWise};
    let mut beyond = Vec::new();
    let mut note = |name: String, cost: Cost, random: Cost, by_messages: bool| {
        let line = format!("{size} {name}: {cost:?}, with random ids {random:?}");
        if std::env::var_os("SHOW_COSTS").is_some() {
            println!("COST {line}");
        }
        let exceeds = |cost: u64, random: u64| cost * 10 > random * 13;
        if by_messages && exceeds(cost.messages, random.messages) || exceeds(cost.bytes, random.bytes) {
            beyond.push(line);
        }
    };
    let random = costs(Shape::Random, size, worlds, protocols);
    for shape in Shape::PREFIXED {
        let costs = costs(shape, size, worlds, protocols);
        for (at, protocol) in protocols.iter().enumerate() {
            let is_certain = protocol.is_some_and(|protocol| matches!(protocol, HashComparison | LevelWise));
            let mut sums = (Cost::default(), Cost::default());
            let of_protocol =
                |costs: &[Cost]| costs.iter().skip(at).step_by(protocols.len()).copied().collect::<Vec<_>>();
            let both = of_protocol(&costs).into_iter().zip(of_protocol(&random));
            for (session, (cost, random)) in SESSIONS.iter().zip(both) {
                if size * worlds >= 10_000 || size <= 100 {
                    note(format!("{session:?} {shape:?} {protocol:?}"), cost, random, is_certain);
                }
                sums.0.add(cost);
                sums.1.add(random);
            }
            note(format!("all {shape:?} {protocol:?}"), sums.0, sums.1, true);
        }
    }
    assert!(beyond.is_empty(), "{} cost more than 1.3 times:\n{}", beyond.len(), beyond.join("\n"));
}

const COMPARING: [Option<SyncProtocolKind>; 6] = [
    None,
    Some(SyncProtocolKind::HashComparison),
    Some(SyncProtocolKind::BloomFilter),
    Some(SyncProtocolKind::SubtreePrefetch),
    Some(SyncProtocolKind::LevelWise),
    Some(SyncProtocolKind::RatelessIblt),
];

/// Fewer and smaller worlds without optimization; `.ci/run release-tests` runs them all.
const fn either(whole: u64, without_optimization: u64) -> u64 {
    if cfg!(debug_assertions) { without_optimization } else { whole }
}

#[test]
fn small_state_costs_the_same_for_any_ids() {
    compare(100, 4, &COMPARING);
}

#[test]
fn state_of_thousands_costs_the_same_for_any_ids() {
    compare(either(5_000, 2_000), either(3, 1), &COMPARING);
}

#[test]
fn large_state_costs_the_same_for_any_ids() {
    // The other protocols read or send all of it, whatever its ids are.
    let [adaptive, walk, _, prefetch, ..] = COMPARING;
    compare(either(100_000, 9_000), 1, &[adaptive, walk, prefetch]);
}

/// A state of registers, some with others below them, as numbers: which entities there are, and which of them another
/// replica has written anew.
fn population() -> impl Strategy<Value = Vec<(u64, bool)>> {
    vec((0u64..400, any::<bool>()), 0..120)
}

/// The records of a population under ids of one shape.
fn actions(shape: Shape, population: &[(u64, bool)], replica: u64) -> Vec<Action> {
    let one = |(n, updated): &(u64, bool)| {
        let ms = if *updated { 1 + replica } else { 1 };
        let Action::Add { value, metadata, .. } = set(*n, &[], ms, if *updated { replica } else { 9 }, 5)
        else {
            panic!()
        };
        // Every third is below one of ten others.
        let ancestors = if n % 3 == 0 { vec![shape.id(0, 1_000_000 + n % 10)] } else { vec![] };
        Action::Add { id: shape.id(0, *n), ancestors, value, metadata }
    };
    population.iter().map(one).collect()
}

/// The values of a state by the numbers of their entities.
fn values(side: &Side, shape: Shape) -> Vec<(u64, Value)> {
    let mut state = Interface::open(side.store.view()).unwrap();
    let mut value = |n| Some((n, state.record(shape.id(0, n)).unwrap()?.value.clone()));
    (0..400).chain(1_000_000..1_000_010).filter_map(&mut value).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 60 } else { 400 }))]

    /// Every protocol leads to the same entities and values, and to one root, whatever ids the entities have.
    #[test]
    fn any_ids_are_reconciled_alike(
        shared in population(),
        ours in population(),
        theirs in population(),
        // Sometimes enough entities of one side that the index has several levels there.
        crowd in prop_oneof![4 => Just(0u64), 1 => Just(1_500u64)],
        crowd_is_ours: bool,
        protocol in select(SyncProtocolKind::EXECUTABLE.to_vec()),
    ) {
        let mut reached = None;
        for shape in Shape::PREFIXED.into_iter().chain([Shape::Random]) {
            let all = |replica, own: &[(u64, bool)], crowd: u64| {
                let crowd: Vec<_> = (0..crowd).map(|n| (2_000 + n * 7, false)).collect();
                [actions(shape, &shared, 9), actions(shape, own, replica), actions(shape, &crowd, 9)].concat()
            };
            let mut a = Side::new(1, &all(1, &ours, if crowd_is_ours { crowd } else { 0 }));
            let mut b = Side::new(2, &all(2, &theirs, if crowd_is_ours { 0 } else { crowd }));
            let whole = Side::new(9, &[all(1, &ours, crowd), all(2, &theirs, 0)].concat());
            a.requested_protocol = Some(protocol);
            let (outcome, stats, _) = run(&mut a, &mut b, false, undisturbed);
            prop_assert_eq!(outcome, Outcome::Converged { root: whole.root() }, "{:?}", shape);
            prop_assert_eq!((a.root(), b.root()), (whole.root(), whole.root()));
            prop_assert!(stats.walks <= 1, "one walk finds everything: {:?} {:?}", shape, stats);
            let found = (values(&a, shape), values(&b, shape));
            prop_assert_eq!(&found.0, &found.1);
            prop_assert_eq!(reached.get_or_insert_with(|| found.clone()), &found, "{:?}", shape);
        }
    }
}

/// Children of `entity` whose ids differ in their last byte only: their trie has a path of 62 nodes without a branch.
fn chain(entity: EntityId) -> Vec<Action> {
    let child = |n: u8| {
        let Action::Add { value, metadata, .. } = set(1, &[], 1, 9, 1) else { panic!() };
        let mut id = entity.0;
        id[28..].copy_from_slice(&[7, 7, 7, n]);
        Action::Add { id: EntityId(id), ancestors: vec![entity], value, metadata }
    };
    (0..33).map(child).collect()
}

#[test]
fn one_frame_passes_a_bounded_number_of_nodes() {
    let entities: Vec<EntityId> = (0..1_024).map(|n| Shape::Random.id(0, n)).collect();
    let mut b = Side::new(2, &entities.iter().flat_map(|entity| chain(*entity)).collect::<Vec<_>>());
    let ask = |entity: &EntityId| {
        let address = NodeAddress { entity: *entity, prefix: Prefix::EMPTY };
        Question::Compare { address, ours: Box::default() }
    };
    let asked =
        ExchangeRequest { questions: entities.iter().map(ask).collect(), ..ExchangeRequest::default() };
    let Response::Exchange(reply) = b.respond(&Request::Exchange(asked)) else { panic!() };
    let skipped = |answer: &Answer| match answer {
        Answer::Node(NodeView::Inner { skipped, .. }) => usize::from(skipped.len()),
        other => panic!("{other:?}"),
    };
    assert!(reply.answers.iter().all(|answer| skipped(answer) == 62));
    let passed: usize = reply.answers.iter().map(skipped).sum();
    let page = Limits::default().page_bytes();
    assert!(passed <= page / 8 + 62, "{passed} nodes for a page of {page} bytes");
    assert!((100..1_000).contains(&reply.answers.len()), "{} answers", reply.answers.len());
}

#[test]
fn a_node_below_the_length_of_ids_ends_the_session() {
    let nibbles = |len: u8| (0..len).fold(Prefix::EMPTY, |prefix, _| prefix.child(1));
    let node = |skipped: u8, slot: SlotView| {
        let mut slots = vec![SlotView::Empty; 16];
        slots[1] = slot;
        NodeView::Inner { skipped: nibbles(skipped), slots }
    };
    let hash = || SlotView::Hash(WireDigest::Short(5));
    for (above, below, is_breach) in
        [(0, 63, false), (1, 62, false), (1, 63, true), (62, 1, false), (62, 2, true)]
    {
        let mut a = Side::new(1, &many(0, 100, 1));
        let mut b = Side::new(2, &many(50, 200, 2));
        a.requested_protocol = Some(SyncProtocolKind::HashComparison);
        let (mut session, id, request) = Session::start(SessionId(1), a.describe());
        let mut work = a.begin();
        let SessionProgress::Send(id, request) =
            session.on_response(id, &b.respond(&request), &mut work).unwrap()
        else {
            panic!()
        };
        let Response::Exchange(mut reply) = b.respond(&request) else { panic!() };
        let nested = SlotView::Node(Box::new(node(below, hash())));
        reply.answers[0] = Answer::Node(node(above, nested));
        let progress = session.on_response(id, &Response::Exchange(reply), &mut work).unwrap();
        let breach = FailureReason::Protocol(ProtocolBreach::NodeBelowIds);
        assert_eq!(
            progress == SessionProgress::Done(Outcome::Failed(breach)),
            is_breach,
            "{above} and {below}"
        );
    }
}
