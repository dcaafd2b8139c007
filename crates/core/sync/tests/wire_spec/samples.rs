//! The values that `docs/spec/wire.md` shows the bytes of.

use syncline_crdt::{Register, Value};
use syncline_storage::{
    Action, Change, Cursor, Entry, Label, Metadata, Prefix, Record, RelativeAction, own_hash,
};
use syncline_sync::*;
use syncline_types::{ContextId, Decode, Digest, Encode, EntityId, Hlc, ReplicaId, Writer};

pub(crate) const CONTEXT: ContextId = ContextId([0xc7; 32]);

pub(crate) fn replica(n: u64) -> ReplicaId {
    ReplicaId::from_u64(n)
}

pub(crate) fn stamp(ms: u64, by: u64) -> Hlc {
    Hlc::new(ms, 0, replica(by))
}

pub(crate) const fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

pub(crate) const fn entity(n: u8) -> EntityId {
    EntityId([n; 32])
}

fn dot(by: u64, seq: u64) -> Dot {
    Dot { author: replica(by), seq }
}

fn covering(dots: &[Dot]) -> VersionVector {
    let mut vector = VersionVector::default();
    dots.iter().for_each(|dot| vector.cover(*dot));
    vector
}

pub(crate) fn register_record() -> Record {
    let at = stamp(1_000, 10);
    let value = Value::Lww(Register::new(at, &b"hello"[..]));
    Record { created_at: at, updated_at: at, value, ..Record::placeholder(1, EntityId::ROOT) }
}

fn wire_record() -> WireRecord {
    WireRecord { id: entity(1), bytes: register_record().to_bytes().into() }
}

/// The secret under which the delta of the document is signed.
pub(crate) const SECRET: [u8; 32] = [0x5e; 32];

pub(crate) fn gate() -> Gate {
    Gate { context: CONTEXT, authority: Authority::keyed(SECRET), membership: Membership::Open }
}

fn add(label: &[u8], at: Hlc) -> Action {
    let metadata = Metadata { created_at: at, updated_at: at, label: Label::Named(label.into()) };
    let value = Value::Lww(Register::new(at, &b"hello"[..]));
    Action::Add { id: EntityId::child_of(EntityId::ROOT, label), ancestors: vec![], value, metadata }
}

pub(crate) fn first_delta() -> Delta {
    let at = stamp(1_000, 10);
    Delta::new(dot(10, 1), vec![], at, vec![add(b"greeting", at)])
}

pub(crate) fn second_delta() -> Delta {
    let at = stamp(1_001, 11);
    let id = EntityId::child_of(EntityId::ROOT, b"greeting");
    let actions = vec![Action::DeleteRef { id, ancestors: vec![], deleted_at: at }];
    Delta::new(dot(11, 1), vec![first_delta().reference()], at, actions).signed(&gate())
}

/// A write to the entry of a map whose path begins three levels below the root.
fn anchored_delta() -> Delta {
    let at = stamp(1_002, 10);
    let [anchor, map] = [entity(5), entity(6)];
    let metadata = Metadata { created_at: at, updated_at: at, label: Label::Named(b"greeting"[..].into()) };
    let value = Value::Lww(Register::new(at, &b"hello"[..]));
    let id = EntityId::child_of(map, b"greeting");
    let action = Action::Add { id, ancestors: vec![anchor, map], value, metadata };
    let delta = Delta::new(dot(10, 2), vec![second_delta().reference()], at, vec![]);
    Delta { actions: vec![RelativeAction { above: 2, action }], ..delta }
}

pub(crate) fn deltas() -> Vec<(&'static str, Delta)> {
    vec![("first", first_delta()), ("with-parent", second_delta()), ("below-anchor", anchored_delta())]
}

pub(crate) fn sketch() -> Sketch {
    let mut sketch = Sketch::new(SketchKey::of(CONTEXT), 0);
    let root = Record::placeholder(0, EntityId::ROOT).to_bytes();
    for (id, record) in [(EntityId::ROOT, root), (entity(1), register_record().to_bytes())] {
        sketch.apply(&Change { id, before: None, after: Some(own_hash(id, &record)) });
    }
    sketch
}

/// A replica without state, which asks for nothing in particular.
fn fresh() -> SyncHandshake {
    SyncHandshake {
        version: SYNC_PROTOCOL_VERSION,
        context: CONTEXT,
        replica: replica(11),
        root_hash: Digest::ZERO,
        entity_count: 0,
        max_depth: 0,
        has_state: false,
        dag_heads: vec![],
        covered: VersionVector::default(),
        log_floor: VersionVector::default(),
        supported_protocols: vec![SyncProtocolKind::HashComparison],
        requested_protocol: None,
        sketch: None,
        link: Link::default(),
        clock: 0,
        wall_ms: 0,
        horizon: Hlc::ZERO,
        stable: VersionVector::default(),
        known: None,
    }
}

/// A replica with state, and with all that a handshake can carry.
fn full() -> SyncHandshake {
    SyncHandshake {
        replica: replica(10),
        root_hash: digest(0xab),
        entity_count: 1,
        max_depth: 1,
        has_state: true,
        dag_heads: vec![first_delta().reference()],
        covered: covering(&[dot(10, 1), dot(11, 300)]),
        log_floor: covering(&[dot(11, 299)]),
        supported_protocols: SyncProtocolKind::ALL.to_vec(),
        requested_protocol: Some(SyncProtocolKind::RatelessIblt),
        sketch: Some(sketch().head()),
        clock: 1_000 << 16,
        wall_ms: 1_001,
        horizon: stamp(500, 11),
        stable: covering(&[dot(11, 2)]),
        known: Some(first_delta().reference()),
        ..fresh()
    }
}

pub(crate) fn handshakes() -> Vec<(&'static str, SyncHandshake)> {
    vec![("fresh-replica", fresh()), ("full", full())]
}

pub(crate) fn cursor() -> Cursor {
    let mut out = Writer::default();
    out.list(&[EntityId::ROOT, entity(1)]);
    Cursor::from_bytes(out.as_slice()).unwrap()
}

pub(crate) fn entry() -> Entry {
    Entry { id: entity(1), own: digest(0xa1), kids: digest(0xb1) }
}

pub(crate) fn bloom_filter() -> BloomFilter {
    let mut filter = BloomFilter::for_records(10, 0x0123_4567_89ab_cdef);
    filter.insert(&entry());
    filter
}

pub(crate) fn one_bit_filter() -> SymbolFilter {
    let mut out = Writer::default();
    out.u64_le(0x0123_4567_89ab_cdef);
    out.varint(2);
    out.varint(1);
    out.u64_le(0x8000_0000_0000_0001);
    SymbolFilter::from_bytes(out.as_slice()).unwrap()
}

pub(crate) fn short_ids() -> ShortIds {
    ShortIds::of([0x010_1010, 0x020_2020, 0x020_2021])
}

fn nibbles() -> Prefix {
    Prefix::EMPTY.child(1).child(2).child(3)
}

/// A handshake of a later version, of which only the version is known.
pub(crate) fn foreign() -> Request {
    Request::ForeignHandshake { version: SYNC_PROTOCOL_VERSION + 1, fields: [0xf1, 0xf2, 0xf3].into() }
}

fn requests() -> Vec<(&'static str, Request)> {
    let probe = NodeAddress { entity: EntityId::ROOT, prefix: Prefix::EMPTY };
    let below = NodeAddress { entity: entity(1), prefix: nibbles() };
    let mut ours = Box::<OwnNode>::default();
    ours.slots[1..6].copy_from_slice(&[0x03_02_01, 7, 8, 9, 10]);
    // With few slots, and with the node in one of them.
    let mut branch = Box::new(OwnNode { skipped: nibbles(), ..OwnNode::default() });
    branch.slots[4..6].copy_from_slice(&[0x06_05_04, 11]);
    branch.below.insert(4, OwnNode { skipped: nibbles(), ..*ours.clone() });
    let (none, some) = (None, Some(entity(2)));
    let ask = |questions: Vec<Question>| ExchangeRequest { questions, ..ExchangeRequest::default() };
    let exchange = |question: Question| Request::Exchange(ask(vec![question]));
    let all = ExchangeRequest {
        whole: true,
        horizon: stamp(500, 11),
        questions: vec![Question::Node(below)],
        wants: vec![entity(2)],
        pushes: vec![wire_record()],
    };
    vec![
        ("handshake", Request::Handshake(Box::new(fresh()))),
        ("handshake-of-another-version", foreign()),
        ("exchange", Request::Exchange(all)),
        ("question-index-node", exchange(Question::Node(probe))),
        ("question-children", exchange(Question::Children { entity: entity(1), after: some })),
        (
            "question-subtree",
            exchange(Question::Subtree { entity: entity(1), prefix: nibbles(), after: none }),
        ),
        ("question-bloom-filter", exchange(Question::Missing(bloom_filter()))),
        ("question-cells", exchange(Question::Cells { from: 32, count: 128 })),
        ("question-short-ids", exchange(Question::ByShortId(short_ids()))),
        ("question-comparison", exchange(Question::Compare { address: probe, ours })),
        ("question-comparison-of-branch", exchange(Question::Compare { address: probe, ours: branch })),
        ("question-filtered-iblt", exchange(Question::SymbolFilter(one_bit_filter()))),
        (
            "snapshot-page",
            Request::SnapshotPage { boundary: digest(0xab), after: cursor(), compressed: true },
        ),
        ("delta-exchange", {
            let pushes = vec![first_delta().to_bytes().into()];
            Request::Deltas { covered: covering(&[dot(10, 1)]), pushes }
        }),
        ("snapshot-exchange", {
            let asked = ExchangeRequest { wants: vec![entity(1)], ..ExchangeRequest::default() };
            Request::SnapshotExchange { boundary: digest(0xab), asked }
        }),
    ]
}

fn exchange_reply(whole: bool, answer: Answer) -> Response {
    Response::Exchange(ExchangeReply {
        whole,
        root: digest(0xab),
        horizon: Hlc::ZERO,
        generation_before: 3,
        generation_after: 3,
        answers: vec![answer],
        records: vec![],
        deferred: 0,
        refused: 0,
    })
}

fn answers() -> Vec<(&'static str, Response)> {
    let (whole, short) = (entry(), SketchKey::of(CONTEXT).symbol(entry().id, entry().own));
    let leaf = Entry { id: entity(2), own: digest(0xa2), kids: Digest::ZERO };
    let wire =
        |entries: &[Entry], whole: bool| entries.iter().map(|entry| WireEntry::of(entry, whole)).collect();
    let mut slots = vec![SlotView::Empty; 16];
    slots[1] = SlotView::Hash(WireDigest::of(digest(0xc1), false));
    let brief = BriefEntry { symbol: short, kids: Some(WireDigest::of(whole.kids, false)) };
    slots[2] = SlotView::Node(Box::new(NodeView::Brief(vec![brief])));
    let cells = sketch().cells(0, 3).unwrap().to_vec();
    let sieved =
        FilteredIblt { absent: ShortIds::of([0x010_1010]), passed: one_bit_filter(), cells: cells.clone() };
    let records = vec![wire_record()];
    let reply = exchange_reply;
    vec![
        ("answer-no-node", reply(false, Answer::Node(NodeView::Absent))),
        ("answer-bucket", reply(true, Answer::Node(NodeView::Bucket(wire(&[whole, leaf], true))))),
        (
            "answer-inner-node",
            reply(false, Answer::Node(NodeView::Inner { skipped: Prefix::EMPTY, slots: slots.clone() })),
        ),
        ("answer-branch", reply(false, Answer::Node(NodeView::Inner { skipped: nibbles(), slots }))),
        ("answer-children", reply(false, Answer::Children { entries: wire(&[leaf], false), complete: true })),
        ("answer-subtree", reply(false, Answer::Subtree { records: records.clone(), complete: false })),
        (
            "answer-bloom-filter",
            reply(false, Answer::Missing { ids: vec![entity(2)], filter: bloom_filter() }),
        ),
        ("answer-cells", reply(false, Answer::Cells(cells))),
        ("answer-records", reply(false, Answer::Records { records, complete: true })),
        ("answer-filtered-iblt", reply(false, Answer::FilteredIblt(sieved))),
    ]
}

pub(crate) fn page(compressed: bool) -> SnapshotPage {
    let bytes = register_record().to_bytes();
    let records = [(entity(1), bytes.clone().into()), (entity(2), bytes.into())];
    let (packed, unpacked_len) = SnapshotPage::pack(&records, compressed);
    SnapshotPage {
        boundary: digest(0xab),
        root: digest(0xac),
        packed,
        unpacked_len,
        next: compressed.then(cursor),
    }
}

fn responses() -> Vec<(&'static str, Response)> {
    let cells = sketch().cells(0, 2).unwrap().to_vec();
    let found = LocatedDifference::Found { records: vec![wire_record()], wants: short_ids() };
    let reply = |verdict, difference, located| {
        Response::Handshake(Box::new(HandshakeReply { theirs: fresh(), verdict, difference, located }))
    };
    let deltas = DeltasReply {
        root: digest(0xab),
        covered: covering(&[dot(10, 1), dot(11, 1)]),
        deltas: vec![second_delta().to_bytes().into()],
        complete: true,
        refused: 1,
    };
    let exchange = ExchangeReply {
        whole: true,
        root: digest(0xab),
        horizon: stamp(500, 11),
        generation_before: 300,
        generation_after: 301,
        answers: vec![],
        records: vec![Some(register_record().to_bytes().into()), None],
        deferred: 1,
        refused: 2,
    };
    let mut all = vec![
        ("handshake-reply", reply(SyncProtocolKind::HashComparison, None, None)),
        ("handshake-reply-found", reply(SyncProtocolKind::RatelessIblt, Some(4), Some(found))),
        (
            "handshake-reply-cells",
            reply(SyncProtocolKind::RatelessIblt, Some(90), Some(LocatedDifference::Cells(cells.clone()))),
        ),
        ("handshake-reply-sample", {
            let sample = LocatedDifference::Sample { from: 64, cells };
            reply(SyncProtocolKind::SubtreePrefetch, Some(32), Some(sample))
        }),
        ("exchange-reply", Response::Exchange(exchange)),
        ("delta-exchange-reply", Response::Deltas(deltas)),
        ("snapshot-page-reply", Response::SnapshotPage(page(false))),
        ("snapshot-page-reply-compressed", Response::SnapshotPage(page(true))),
        ("snapshot-gone", Response::SnapshotGone(Box::new(fresh()))),
        ("rejection-version", Response::Rejected(Rejection::Version { theirs: SYNC_PROTOCOL_VERSION })),
        ("rejection-context", Response::Rejected(Rejection::Context)),
        ("rejection-yield", Response::Rejected(Rejection::Yield)),
        ("rejection-not-a-member", Response::Rejected(Rejection::NotAMember)),
        ("rejection-implausible", Response::Rejected(Rejection::Implausible)),
        ("rejection-no-handshake", Response::Rejected(Rejection::NoHandshake)),
        ("rejection-stale-incarnation", Response::Rejected(Rejection::StaleIncarnation { newest: 9 })),
        (
            "rejection-another-history",
            Response::Rejected(Rejection::AnotherHistory { delta: first_delta().reference() }),
        ),
        ("rejection-unproven-history", Response::Rejected(Rejection::UnprovenHistory)),
    ];
    all.extend(answers());
    all
}

pub(crate) fn heartbeat() -> Message {
    let clock = 1_000 << 16;
    let root = digest(0xab);
    Message::Gossip(Gossip::Heartbeat { root, replica: replica(10), seq: 300, clock, wall_ms: 1_001 })
}

pub(crate) fn messages() -> Vec<(&'static str, Message)> {
    let (session, id) = (SessionId(1 << 32 | 1), RequestId(2));
    let mut all = vec![
        ("heartbeat", heartbeat()),
        ("delta", Message::Gossip(Gossip::Delta(first_delta()))),
        ("delta-request", Message::Gossip(Gossip::DeltaRequest { wanted: vec![dot(10, 1), dot(11, 2)] })),
        ("delta-reply", {
            let deltas = vec![first_delta().to_bytes().into()];
            Message::Gossip(Gossip::DeltaReply { deltas, unavailable: vec![dot(11, 2)] })
        }),
    ];
    all.push(("relative", {
        let request = Request::Deltas { covered: VersionVector::default(), pushes: vec![] };
        let message = Message::Request { session, id, request };
        let changes = vec![(replica(10), 301), (replica(11), 0)];
        let vectors = vec![VectorUpdate { base: [0xb1; 8], digest: digest(0xd1), changes }];
        Message::Relative(Box::new(RelativeMessage { known: digest(0xe1), vectors, message }))
    }));
    all.extend(
        requests().into_iter().map(|(name, request)| (name, Message::Request { session, id, request })),
    );
    all.extend(
        responses().into_iter().map(|(name, response)| (name, Message::Response { session, id, response })),
    );
    all
}
