//! `docs/spec/storage.md` says what the code does: its examples are decoded by the code, compared field by
//! field with what the document states, encoded again, cut and damaged.

pub(crate) mod doc;
mod state;
mod values;

use doc::{Doc, Example, KindOf, Walk, check, kinds, read_with};
use syncline_crdt::{
    CharId, Custom, Element, GCounter, Operands, OwnedRegister, PnCounter, Presence, Register, RunId, Side,
    Text, TextRun, Value, position,
};
use syncline_storage::{Action, Entry, Label, Metadata, Node, Prefix, Record, Slot, Stats};
use syncline_types::{Digest, Encode, EntityId, Hlc, ReplicaId};

kinds! { NODES;
    Node, "node" {
        Bucket "0" "bucket",
        Inner "1" "inner node",
    }
    Slot, "slot" {
        First "0" "first slot",
        Second "1" "second slot",
    }
}

pub(crate) fn replica(n: u64) -> ReplicaId {
    ReplicaId::from_u64(n)
}

pub(crate) fn stamp(ms: u64, by: u64) -> Hlc {
    Hlc::new(ms, 0, replica(by))
}

fn entity(n: u64) -> EntityId {
    EntityId::from_u64(n)
}

/// A record that one write made.
fn written(value: Value) -> Record {
    let at = stamp(1_000, 10);
    let root = EntityId::ROOT;
    Record { created_at: at, updated_at: at, value, ..Record::placeholder(1, root) }
}

/// Two people type into a text, and one deletes what the other typed.
fn text() -> Text {
    let first = RunId { stamp: stamp(1_000, 10), number: 0 };
    let second = RunId { stamp: stamp(1_001, 11), number: 0 };
    let anchor = Some(CharId { run: first, at: 1 });
    let runs = [
        (first, TextRun { chars: "Hello".into(), anchor: None, side: Side::Right }),
        (second, TextRun { chars: "é".into(), anchor, side: Side::Left }),
    ];
    Text::from_parts(runs, [(first, vec![(0, 1), (3, 5)])])
}

/// Sides of an anchor that the other example does not show.
fn rare_text() -> Text {
    let first = RunId { stamp: stamp(1_000, 10), number: 0 };
    let second = RunId { stamp: stamp(1_000, 10), number: 1 };
    let anchor = Some(CharId { run: first, at: 0 });
    let runs = [
        (first, TextRun { chars: "a".into(), anchor: None, side: Side::Left }),
        (second, TextRun { chars: "b".into(), anchor, side: Side::Right }),
    ];
    Text::from_parts(runs, [])
}

fn records() -> Vec<(&'static str, Record)> {
    let at = stamp(1_000, 10);
    let register = |bytes: &[u8]| Register::new(at, bytes);
    let presence = |added: u64, removed: u64| Presence { added: added << 16, removed: removed << 16 };
    let element =
        Element::from_entries([(replica(10), presence(1_000, 1_000)), (replica(11), presence(1_001, 0))]);
    let custom = Custom::written("app/votes", at, [1, 2, 3]);
    let two = |operands: [(u64, u64); 2], live: &[(u64, &[u8])]| {
        let writers = operands.map(|(writer, covered)| {
            let live = live.iter().filter(|(by, _)| *by == writer);
            let live = live.map(|(_, bytes)| (1_000 << 16, (*bytes).into())).collect();
            (replica(writer), Operands { covered: covered << 16, live })
        });
        Custom::from_writers("app/votes", writers).unwrap()
    };
    let compacted = two([(10, 0), (11, 999)], &[(10, &[1, 2, 3])]);
    vec![
        ("root", Record::placeholder(0, EntityId::ROOT)),
        ("placeholder", Record::placeholder(2, entity(7))),
        ("register", written(Value::Lww(register(b"hello")))),
        ("register-written-earlier", {
            let later = stamp(2_000, 11);
            Record { updated_at: later, ..written(Value::Lww(register(b"hello"))) }
        }),
        (
            "grow-only-counter",
            written(Value::GCounter(GCounter::from_entries([(replica(10), 3), (replica(11), 300)]))),
        ),
        ("counter", written(Value::PnCounter(PnCounter::of(replica(10), 5, 2)))),
        ("map", Record { label: Label::Named(b"notes"[..].into()), ..written(Value::Map) }),
        ("set", written(Value::Set)),
        (
            "set-element",
            Record { label: Label::Named(b"red"[..].into()), ..written(Value::Element(element)) },
        ),
        ("sorted-map", written(Value::SortedMap)),
        ("sorted-set", written(Value::SortedSet)),
        ("list", written(Value::Vector)),
        ("list-item", {
            let place = position::between(None, None, at, |_| false).unwrap();
            let label = Label::Ordered(place.into());
            Record { depth: 2, parent: entity(7), label, ..written(Value::Lww(register(b"milk"))) }
        }),
        ("text", written(Value::Rga(text()))),
        ("text-with-rare-anchors", written(Value::Rga(rare_text()))),
        ("user-storage", written(Value::UserStorage)),
        (
            "user-value",
            written(Value::User(OwnedRegister { owner: replica(10), register: register(b"mine") })),
        ),
        ("frozen-storage", written(Value::FrozenStorage)),
        ("frozen-value", written(Value::Frozen(register(b"once")))),
        ("custom-value", written(Value::Custom(custom))),
        ("custom-value-compacted", written(Value::Custom(compacted))),
        ("opaque-value", written(Value::Opaque(register(&[0xde, 0xad])))),
        ("tombstone", {
            let deleted_at = stamp(2_000, 11);
            Record { deleted_at, ..written(Value::Lww(Register::default())) }
        }),
    ]
}

fn actions() -> Vec<(&'static str, Action)> {
    let id = entity(7);
    let ancestors = vec![entity(5)];
    let at = stamp(1_000, 10);
    let value = Value::Lww(Register::new(at, b"hello"[..].to_vec()));
    let label = Label::Named(b"greeting"[..].into());
    let metadata = Metadata { created_at: at, updated_at: at, label };
    let unknown_age = Metadata { created_at: Hlc::MAX, updated_at: at, label: Label::None };
    vec![
        ("add", Action::Add { id, ancestors: ancestors.clone(), value: value.clone(), metadata }),
        ("update", Action::Update { id, ancestors: vec![], value, metadata: unknown_age }),
        ("delete", Action::DeleteRef { id, ancestors, deleted_at: at }),
    ]
}

pub(crate) fn node(node: &Node, walk: &mut Walk<'_>) {
    walk.kind(node);
    match node {
        Node::Bucket(entries) => walk.list("entries", entries, |walk, Entry { id, own, kids }| {
            values::id("entity", walk, *id);
            walk.fixed("record hash", &own.0);
            walk.option("children", Some(kids).filter(|kids| !kids.is_zero()), |walk, kids| {
                walk.fixed("children root", &kids.0);
            });
        }),
        Node::Inner { count, slots } => {
            walk.number("children below", *count);
            for (nibble, slot) in slots.iter().enumerate() {
                walk.fixed(&format!("hash of slot {nibble:x}"), &slot.0);
            }
        }
    }
}

fn nodes() -> Vec<(&'static str, Node)> {
    let digest = |n: u8| Digest([n; 32]);
    let entry = |n: u8, kids: Digest| Entry { id: EntityId([n; 32]), own: digest(0xa0 + n), kids };
    let mut slots = Box::new([Digest::ZERO; 16]);
    slots[0] = digest(0xc0);
    slots[15] = digest(0xcf);
    let bucket = Node::Bucket(vec![entry(1, Digest::ZERO), entry(2, digest(0xb2))]);
    vec![("bucket", bucket), ("inner", Node::Inner { count: 40, slots })]
}

pub(crate) fn statistics(stats: &Stats, walk: &mut Walk<'_>) {
    walk.fixed("root", &stats.root.0);
    walk.number("records", stats.records);
    walk.number("live records", stats.live);
    walk.number("live opaque values", stats.opaque);
    walk.number("generation", stats.generation);
    walk.hlc("horizon", stats.horizon);
    walk.fixed("key of short ids", &stats.short_ids.to_bytes());
    walk.number("depth", u64::from(stats.max_depth()));
}

fn slot(slot: &Slot, walk: &mut Walk<'_>) {
    walk.kind(slot);
}

fn positions() -> Vec<Example> {
    let first = stamp(1_000, 10);
    let second = stamp(2_000, 11);
    let free = |_: &[u8]| false;
    let start = position::between(None, None, first, free).unwrap();
    let next = position::between(Some(&start), None, stamp(1_001, 10), free).unwrap();
    let between = position::between(Some(&start), Some(&next), second, free).unwrap();
    let read = |bytes: &[u8]| {
        let decode =
            |bytes: &[u8]| position::is_position(bytes).then(|| bytes.to_vec()).ok_or("NotAPosition");
        read_with(bytes, decode, str::to_owned, Vec::clone, |bytes, walk| path(bytes, walk))
    };
    let example = |tag: &str, bytes: Vec<u8>| Example {
        cut: &["NotAPosition"],
        longer: Some("NotAPosition"),
        ..Example::new(tag, bytes, read)
    };
    vec![
        example("position/first", start),
        example("position/next", next),
        example("position/between", between),
    ]
}

/// A position is a path: of each step the run, the number of the item in the run, and the direction.
fn path(bytes: &[u8], walk: &mut Walk<'_>) {
    let mut at = 0;
    while at < bytes.len() {
        let time = u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        walk.u64_be("run: time", time);
        walk.opaque("run: replica", 16);
        let digits = (i64::from(bytes[at + 24]) - 128).unsigned_abs().saturating_sub(60) as usize;
        let note =
            if digits == 0 { format!("number {}", i64::from(bytes[at + 24]) - 128) } else { "number".into() };
        walk.opaque(&note, 1 + digits);
        at += 24 + 1 + digits;
        walk.u8("direction", bytes[at]);
        at += 1;
    }
}

fn examples() -> Vec<Example> {
    let mut all = Vec::new();
    all.extend(
        records().iter().map(|(name, value)| Example::of(&format!("record/{name}"), value, values::record)),
    );
    all.extend(
        actions().iter().map(|(name, value)| Example::of(&format!("action/{name}"), value, values::action)),
    );
    all.extend(nodes().iter().map(|(name, value)| Example::of(&format!("node/{name}"), value, node)));
    all.extend(positions());
    all.push(Example::of("statistics/small-state", &state::small().1, statistics));
    all.push(Example::of("slot/first", &Slot::First, slot));
    all.push(Example::of("slot/second", &Slot::Second, slot));
    let three = Prefix::EMPTY.child(1).child(2).child(3);
    all.push(Example::of("prefix/empty", &Prefix::EMPTY, values::prefix));
    all.push(Example::of("prefix/three-nibbles", &three, values::prefix));
    all
}

#[test]
fn examples_of_values_are_the_code() {
    let mut doc = Doc::open("storage.md");
    let kinds: Vec<KindOf> = [values::VALUES, values::ACTIONS, NODES].concat();
    check(&mut doc, "storage", &examples(), &kinds);
    doc.has_rows_of(&kinds);
}

#[test]
fn examples_of_a_store_are_the_code() {
    state::check_rows(&mut Doc::open("storage.md"));
}

#[test]
fn a_damaged_row_is_found() {
    state::check_damage(&Doc::open("storage.md"));
}

#[test]
fn examples_of_index_changes_are_the_code() {
    state::check_changes(&mut Doc::open("storage.md"));
}

/// Every constant that the document states is the one of the code.
#[test]
fn limits_are_those_of_the_code() {
    use syncline_types::limits::*;
    let doc = Doc::open("storage.md");
    let stated = [
        ("MAX_VALUE_BYTES", MAX_VALUE_BYTES as u64),
        ("MAX_REPLICAS", MAX_REPLICAS as u64),
        ("MAX_ANCESTORS", MAX_ANCESTORS as u64),
        ("MAX_LABEL_BYTES", MAX_LABEL_BYTES as u64),
        ("MAX_TYPE_NAME_BYTES", MAX_TYPE_NAME_BYTES as u64),
        ("entries of a bucket", syncline_storage::index::BUCKET as u64),
        ("nibbles of a prefix", u64::from(Prefix::MAX_LEN)),
    ];
    for (name, value) in stated {
        assert!(doc.text.contains(&format!("| `{name}` | {value} |")), "{name} is {value}");
    }
}
