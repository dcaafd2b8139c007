//! Records, values and actions, field by field.
#![allow(dead_code, reason = "each test that includes this file uses a part of it")]

use crate::doc::{Walk, kinds};
use syncline_crdt::{CharId, Operands, Register, RunId, Side, Text, Value};
use syncline_storage::{Action, Label, Metadata, Prefix, Record};
use syncline_types::{EntityId, Hlc, ReplicaId};

kinds! { VALUES;
    Value, "type" {
        Empty "0" "placeholder",
        Lww "1" "register",
        GCounter "2" "grow-only counter",
        PnCounter "3" "counter",
        Map "4" "map",
        Set "5" "set",
        Element "6" "set element",
        SortedMap "7" "sorted map",
        SortedSet "8" "sorted set",
        Vector "9" "list",
        Rga "10" "text",
        UserStorage "11" "user storage",
        User "12" "user value",
        FrozenStorage "13" "frozen storage",
        Frozen "14" "frozen value",
        Custom "15" "custom value",
        Opaque "16" "opaque value",
    }
    Label, "label" {
        None "0x00" "no label",
        Named "0x40" "label",
        Ordered "0xc0" "label that orders",
    }
}

kinds! { ACTIONS;
    Action, "action" {
        Add "0" "add",
        DeleteRef "2" "delete",
        Update "3" "update",
    }
}

pub(crate) fn id(name: &str, walk: &mut Walk<'_>, id: EntityId) {
    walk.fixed(name, id.as_bytes());
}

/// The flags of a record, by the rules of the document.
fn flags(record: &Record) -> u8 {
    let updated = record.updated_at != Hlc::ZERO;
    let created = record.created_at != Hlc::MAX;
    let together = created && updated && record.created_at == record.updated_at;
    let value_stamp = match &record.value {
        Value::Lww(register) | Value::Opaque(register) if register.stamp() != Hlc::ZERO => {
            Some(register.stamp())
        }
        _ => None,
    };
    let bits = [
        created && !together,
        together,
        updated,
        record.deleted_at != Hlc::ZERO,
        value_stamp.is_some_and(|stamp| stamp != record.updated_at),
        value_stamp.is_some_and(|stamp| stamp == record.updated_at),
        record.label != Label::None,
        matches!(record.label, Label::Ordered(_)),
    ];
    bits.iter().rev().fold(0, |flags, bit| flags << 1 | u8::from(*bit))
}

pub(crate) fn record(record: &Record, walk: &mut Walk<'_>) {
    let Record { depth, parent, created_at, updated_at, deleted_at, label, value } = record;
    walk.number("depth", u64::from(*depth));
    if *depth > 1 {
        id("parent", walk, *parent);
    }
    walk.kind(value);
    let flags = flags(record);
    walk.exact(&format!("flags = {flags:#010b}"), &[flags]);
    for (bit, name, stamp) in
        [(0, "created_at", created_at), (2, "updated_at", updated_at), (3, "deleted_at", deleted_at)]
    {
        if flags >> bit & 1 == 1 {
            walk.hlc(name, *stamp);
        }
    }
    walk.saw(label);
    match label {
        Label::None => {}
        Label::Named(bytes) | Label::Ordered(bytes) => walk.bytes("label", bytes),
    }
    payload(value, flags, walk);
}

fn payload(value: &Value, flags: u8, walk: &mut Walk<'_>) {
    match value {
        Value::Empty
        | Value::Map
        | Value::Set
        | Value::SortedMap
        | Value::SortedSet
        | Value::Vector
        | Value::UserStorage
        | Value::FrozenStorage => {}
        Value::Lww(register) | Value::Opaque(register) => {
            if flags & 16 != 0 {
                walk.hlc("written_at", register.stamp());
            }
            walk.bytes("value", register.bytes());
        }
        Value::GCounter(counter) => {
            walk.list("replicas", &counter.entries().collect::<Vec<_>>(), |walk, (replica, count)| {
                walk.fixed("replica", replica.as_bytes());
                walk.number("count", *count);
            });
        }
        Value::PnCounter(counter) => {
            walk.list(
                "replicas",
                &counter.entries().collect::<Vec<_>>(),
                |walk, (replica, (added, taken))| {
                    walk.fixed("replica", replica.as_bytes());
                    walk.number("added", *added);
                    walk.number("subtracted", *taken);
                },
            );
        }
        Value::Element(element) => {
            walk.list("replicas", &element.entries().collect::<Vec<_>>(), |walk, (replica, presence)| {
                walk.fixed("replica", replica.as_bytes());
                walk.number("time of the last add", presence.added);
                walk.number("time of the last add removed", presence.removed);
            });
        }
        Value::Rga(text) => self::text(text, walk),
        Value::User(owned) => {
            walk.fixed("owner", owned.owner.as_bytes());
            stamped(&owned.register, walk);
        }
        Value::Frozen(register) => stamped(register, walk),
        Value::Custom(custom) => {
            walk.bytes("type name", custom.name().as_bytes());
            walk.list("writers", &custom.writers().collect::<Vec<_>>(), |walk, (writer, operands)| {
                let Operands { covered, live } = operands;
                walk.fixed("replica", writer.as_bytes());
                walk.number("time of the last operand covered", *covered);
                walk.list("operands", &live.iter().collect::<Vec<_>>(), |walk, (time, bytes)| {
                    walk.number("time of the operand", **time);
                    walk.bytes("operand", bytes);
                });
            });
        }
    }
}

fn stamped(register: &Register, walk: &mut Walk<'_>) {
    walk.hlc("written_at", register.stamp());
    walk.bytes("value", register.bytes());
}

fn text(text: &Text, walk: &mut Walk<'_>) {
    let anchors = text.runs().filter_map(|(_, run)| run.anchor.map(|anchor| anchor.run));
    let named = text.runs().map(|(run, _)| *run).chain(text.deleted().map(|(run, _)| *run)).chain(anchors);
    let mut table: Vec<ReplicaId> = named.map(|run| run.stamp.replica()).collect();
    table.sort();
    table.dedup();
    walk.list("replicas", &table, |walk, replica| walk.fixed("replica", replica.as_bytes()));
    let run_id = |walk: &mut Walk<'_>, what: &str, run: &RunId| {
        let place = table.iter().position(|replica| *replica == run.stamp.replica()).unwrap();
        walk.number(&format!("{what}: time"), run.stamp.time());
        walk.number(&format!("{what}: place of the replica in the table"), place as u64);
        walk.number(&format!("{what}: number"), u64::from(run.number));
    };
    walk.list("runs", &text.runs().collect::<Vec<_>>(), |walk, (run, body)| {
        run_id(walk, "run", run);
        let side = match (body.anchor, body.side) {
            (None, Side::Right) => 0,
            (Some(_), Side::Left) => 1,
            (Some(_), Side::Right) => 2,
            (None, Side::Left) => 3,
        };
        walk.u8("anchor and side", side);
        if let Some(CharId { run, at }) = &body.anchor {
            run_id(walk, "anchor", run);
            walk.number("anchor: character", u64::from(*at));
        }
        walk.bytes("characters", body.chars.as_bytes());
    });
    walk.list("runs with deletions", &text.deleted().collect::<Vec<_>>(), |walk, (run, ranges)| {
        run_id(walk, "run", run);
        let mut at = 0;
        walk.list("ranges", ranges, |walk, (start, end)| {
            walk.number("characters between", u64::from(start - at));
            walk.number("characters deleted", u64::from(end - start));
            at = *end;
        });
    });
}

pub(crate) fn action(action: &Action, walk: &mut Walk<'_>) {
    walk.kind(action);
    id("entity", walk, action.id());
    walk.list("ancestors", action.ancestors(), |walk, ancestor| id("ancestor", walk, *ancestor));
    match action {
        Action::Add { value, metadata, .. } | Action::Update { value, metadata, .. } => {
            let Metadata { created_at, updated_at, label } = metadata.clone();
            let as_record = Record {
                created_at,
                updated_at,
                label,
                value: value.clone(),
                ..Record::placeholder(1, EntityId::ROOT)
            };
            walk.title("a record of depth one");
            walk.inside(|walk| record(&as_record, walk));
        }
        Action::DeleteRef { deleted_at, .. } => walk.hlc("deleted_at", *deleted_at),
    }
}

/// A prefix; the nibbles that it does not have are zero.
pub(crate) fn prefix(prefix: &Prefix, walk: &mut Walk<'_>) {
    let nibbles = prefix.len();
    walk.u8("nibbles", nibbles);
    let packed = usize::from(nibbles.div_ceil(2));
    if packed > 0 {
        walk.fixed("packed nibbles", &prefix.first_id().as_bytes()[..packed]);
    }
}

/// The locator of an id: the upper half of SipHash-1-3 as the paper states it, big endian.
pub(crate) fn locator(key: &[u8], id: &[u8]) -> [u8; 4] {
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let k0 = word(&key[..8]);
    let k1 = word(&key[8..]);
    let constant = |text: &[u8]| u64::from_be_bytes(text.try_into().unwrap());
    let mut v = [
        k0 ^ constant(b"somepseu"),
        k1 ^ constant(b"dorandom"),
        k0 ^ constant(b"lygenera"),
        k1 ^ constant(b"tedbytes"),
    ];
    let round = |v: &mut [u64; 4]| {
        let half = |v: &mut [u64; 4], (a, b, s): (usize, usize, u32), (c, d, t): (usize, usize, u32)| {
            v[a] = v[a].wrapping_add(v[b]);
            v[c] = v[c].wrapping_add(v[d]);
            v[b] = v[b].rotate_left(s) ^ v[a];
            v[d] = v[d].rotate_left(t) ^ v[c];
            v[a] = v[a].rotate_left(32);
        };
        half(v, (0, 1, 13), (2, 3, 16));
        half(v, (2, 1, 17), (0, 3, 21));
    };
    let words = id.chunks(8).map(word).chain([(id.len() as u64) << 56]);
    for word in words {
        v[3] ^= word;
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..3).for_each(|_| round(&mut v));
    ((v[0] ^ v[1] ^ v[2] ^ v[3]) >> 32).to_be_bytes()[4..].try_into().unwrap()
}
