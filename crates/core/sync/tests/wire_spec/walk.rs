//! Messages, field by field.

use super::doc::{Walk, kinds};
use super::values::{action, id, prefix};
use syncline_storage::{Prefix, RelativeAction};
use syncline_sync::*;
use syncline_types::{Encode, EntityId};

kinds! { KINDS;
    Message, "message" {
        Gossip "0" "gossip",
        Request "1" "request",
        Response "2" "response",
        Relative "3" "relative message",
    }
    Gossip, "gossip" {
        Delta "0" "delta",
        Heartbeat "1" "heartbeat",
        DeltaRequest "2" "delta request",
        DeltaReply "3" "delta reply",
    }
    Request, "request" {
        Handshake "0" "handshake",
        ForeignHandshake "0" "handshake of another version",
        Exchange "1" "exchange",
        SnapshotPage "2" "snapshot page",
        Deltas "3" "delta exchange",
        SnapshotExchange "4" "snapshot exchange",
    }
    Response, "response" {
        Handshake "0" "handshake reply",
        Rejected "1" "rejection",
        Exchange "2" "exchange reply",
        SnapshotPage "3" "snapshot page",
        SnapshotGone "4" "snapshot gone",
        Deltas "5" "delta exchange reply",
    }
    Rejection, "rejection" {
        Version "0" "other version",
        Context "1" "other context",
        Yield "2" "yield",
        NotAMember "3" "not a member",
        Implausible "4" "implausible",
        NoHandshake "5" "no handshake",
        StaleIncarnation "6" "stale incarnation",
        AnotherHistory "7" "another history",
        UnprovenHistory "8" "unproven history",
    }
    Question, "question" {
        Node "0" "index node",
        Children "1" "children",
        Subtree "2" "subtree",
        Missing "3" "missing from a Bloom filter",
        Cells "4" "sketch cells",
        ByShortId "5" "records by short id",
        Compare "6" "comparison of an index node",
        SymbolFilter "7" "filtered IBLT",
    }
    Answer, "answer" {
        Node "0" "index node",
        Children "1" "children",
        Subtree "2" "subtree",
        Missing "3" "missing from a Bloom filter",
        Cells "4" "sketch cells",
        Records "5" "records by short id",
        FilteredIblt "6" "filtered IBLT",
    }
    NodeView, "node" {
        Absent "0" "no node",
        Bucket "1" "bucket",
        Inner "2" "inner node",
        Brief "3" "bucket of short entries",
    }
    SlotView, "slot" {
        Empty "0, 0" "empty slot",
        Hash "1, 0" "hash of a node",
        Node "1, 1" "a node",
    }
    WireDigest, "hash" {
        Short "false" "three bytes",
        Whole "true" "32 bytes",
    }
    LocatedDifference, "located" {
        Cells "0" "sketch cells",
        Found "1" "difference found",
        Sample "2" "sample of cells",
    }
    SyncProtocolKind, "protocol" {
        None "0" "None",
        DeltaSync "1" "DeltaSync",
        HashComparison "2" "HashComparison",
        Snapshot "3" "Snapshot",
        BloomFilter "4" "BloomFilter",
        SubtreePrefetch "5" "SubtreePrefetch",
        LevelWise "6" "LevelWise",
        RatelessIblt "7" "RatelessIblt",
    }
}

pub(crate) fn message(message: &Message, walk: &mut Walk<'_>) {
    walk.kind(message);
    match message {
        Message::Gossip(body) => gossip(body, walk),
        Message::Request { session, id, request: body } => {
            walk.number("session", session.0);
            walk.number("request id", id.0);
            request(body, walk);
        }
        Message::Response { session, id, response: body } => {
            walk.number("session", session.0);
            walk.number("request id", id.0);
            response(body, walk);
        }
        Message::Relative(relative) => {
            let RelativeMessage { known, vectors, message: body } = &**relative;
            walk.fixed("known vectors", &known.0);
            walk.list("vectors", vectors, |walk, VectorUpdate { base, digest, changes }| {
                walk.fixed("base", base);
                walk.fixed("digest", &digest.0);
                walk.list("changes", changes, |walk, (author, seq)| {
                    walk.fixed("author", author.as_bytes());
                    walk.number("sequence number", *seq);
                });
            });
            self::message(body, walk);
        }
    }
}

fn gossip(gossip: &Gossip, walk: &mut Walk<'_>) {
    walk.kind(gossip);
    match gossip {
        Gossip::Delta(body) => delta(body, walk),
        Gossip::Heartbeat { root, replica, seq, clock, wall_ms } => {
            walk.fixed("root hash", &root.0);
            walk.fixed("replica", replica.as_bytes());
            walk.number("sequence number", *seq);
            walk.number("clock", *clock);
            walk.number("wall clock in milliseconds", *wall_ms);
        }
        Gossip::DeltaRequest { wanted } => walk.list("deltas", wanted, dot),
        Gossip::DeltaReply { deltas, unavailable } => {
            walk.list("deltas", deltas, |walk, bytes| walk.bytes("a delta", bytes));
            walk.list("deltas not stored", unavailable, dot);
        }
    }
}

fn request(request: &Request, walk: &mut Walk<'_>) {
    walk.kind(request);
    match request {
        Request::Handshake(body) => handshake(body, walk),
        Request::ForeignHandshake { version, fields } => {
            walk.u32_le("version", *version);
            walk.opaque("fields of that version", fields.len());
        }
        Request::Exchange(body) => exchange(body, walk),
        Request::SnapshotPage { boundary, after, compressed } => {
            walk.fixed("boundary", &boundary.0);
            walk.title("cursor");
            walk.inside(|walk| cursor(&after.to_bytes(), walk));
            walk.flag("compress", *compressed);
        }
        Request::Deltas { covered, pushes } => {
            version_vector("covered", covered, walk);
            walk.list("pushed deltas", pushes, |walk, bytes| walk.bytes("a delta", bytes));
        }
        Request::SnapshotExchange { boundary, asked } => {
            walk.fixed("boundary", &boundary.0);
            exchange(asked, walk);
        }
    }
}

fn exchange(request: &ExchangeRequest, walk: &mut Walk<'_>) {
    let ExchangeRequest { whole, horizon, questions, wants, pushes } = request;
    walk.flag("whole hashes", *whole);
    walk.hlc("horizon", *horizon);
    walk.list("questions", questions, |walk, body| question(body, walk));
    walk.list("record requests", wants, |walk, entity| id("entity", walk, *entity));
    walk.list("pushed records", pushes, |walk, body| record(body, walk));
}

/// The nibbles between an address and a node.
fn skipped(nibbles: Prefix, walk: &mut Walk<'_>) {
    walk.number("skipped nibbles", u64::from(nibbles.len()));
    if !nibbles.is_empty() {
        walk.fixed("packed skipped nibbles", nibbles.to_bytes().split_at(1).1);
    }
}

fn own_node(OwnNode { skipped: nibbles, slots, below }: &OwnNode, depth: u8, walk: &mut Walk<'_>) {
    skipped(*nibbles, walk);
    for (nibble, hash) in slots.iter().enumerate() {
        walk.fixed(&format!("hash of our slot {nibble:x}"), &hash.to_le_bytes()[..3]);
    }
    if slots.iter().filter(|slot| **slot != 0).count() <= OwnNode::NARROW && depth < OwnNode::DEPTH {
        let mask = below.keys().fold(0u16, |mask, nibble| mask | 1 << nibble);
        walk.exact(&format!("slots whose node follows: {mask:#018b}"), &mask.to_le_bytes());
        walk.inside(|walk| below.values().for_each(|node| own_node(node, depth + 1, walk)));
    }
}

fn question(question: &Question, walk: &mut Walk<'_>) {
    walk.kind(question);
    match question {
        Question::Node(body) => probe(body, walk),
        Question::Compare { address: body, ours } => {
            probe(body, walk);
            own_node(ours, 0, walk);
        }
        Question::Children { entity, after } => {
            id("entity", walk, *entity);
            walk.option("last child received", after.as_ref(), |walk, after| id("child", walk, *after));
        }
        Question::Subtree { entity, prefix: under, after } => {
            id("entity", walk, *entity);
            prefix(under, walk);
            walk.option("last record received", after.as_ref(), |walk, after| id("entity", walk, *after));
        }
        Question::Missing(body) => bloom_filter(body, walk),
        Question::Cells { from, count } => {
            walk.number("first cell", u64::from(*from));
            walk.number("number of cells", u64::from(*count));
        }
        Question::ByShortId(body) => short_ids(body, walk),
        Question::SymbolFilter(body) => one_bit_filter(body, walk),
    }
}

fn probe(probe: &NodeAddress, walk: &mut Walk<'_>) {
    let NodeAddress { entity, prefix: under } = probe;
    let other = Some(entity).filter(|entity| **entity != EntityId::ROOT);
    walk.option("another entity than the root", other, |walk, entity| id("entity", walk, *entity));
    prefix(under, walk);
}

fn response(response: &Response, walk: &mut Walk<'_>) {
    walk.kind(response);
    match response {
        Response::Handshake(reply) => {
            let HandshakeReply { theirs, verdict, difference, located: found } = &**reply;
            handshake(theirs, walk);
            walk.kind(verdict);
            walk.option("difference", difference.as_ref(), |walk, difference| {
                walk.number("records", *difference);
            });
            walk.option("located difference", found.as_ref(), |walk, found| located(found, walk));
        }
        Response::Rejected(rejection) => {
            walk.kind(rejection);
            match rejection {
                Rejection::Version { theirs } => walk.u32_le("version of the responder", *theirs),
                Rejection::Context
                | Rejection::Yield
                | Rejection::NotAMember
                | Rejection::Implausible
                | Rejection::NoHandshake
                | Rejection::UnprovenHistory => {}
                Rejection::StaleIncarnation { newest } => walk.number("newest incarnation", *newest),
                Rejection::AnotherHistory { delta } => reference(walk, delta),
            }
        }
        Response::Exchange(reply) => exchange_reply(reply, walk),
        Response::SnapshotPage(page) => {
            let SnapshotPage { boundary, root, packed, unpacked_len, next } = page;
            walk.fixed("boundary", &boundary.0);
            walk.fixed("root hash", &root.0);
            walk.bytes("page", packed);
            walk.number("unpacked length", *unpacked_len);
            walk.option("next page", next.as_ref(), |walk, next| cursor(&next.to_bytes(), walk));
        }
        Response::SnapshotGone(body) => handshake(body, walk),
        Response::Deltas(reply) => {
            let DeltasReply { root, covered, deltas, complete, refused } = reply;
            walk.fixed("root hash", &root.0);
            version_vector("covered", covered, walk);
            walk.list("deltas", deltas, |walk, bytes| walk.bytes("a delta", bytes));
            walk.flag("complete", *complete);
            walk.number("refused", *refused);
        }
    }
}

fn exchange_reply(reply: &ExchangeReply, walk: &mut Walk<'_>) {
    let ExchangeReply {
        whole,
        root,
        horizon,
        generation_before,
        generation_after,
        answers,
        records,
        deferred,
        refused,
    } = reply;
    walk.flag("whole hashes", *whole);
    walk.fixed("root hash", &root.0);
    walk.hlc("horizon", *horizon);
    walk.number("generation before the pushes", *generation_before);
    walk.number("generation after the pushes", *generation_after);
    walk.list("answers", answers, |walk, body| answer(body, *whole, walk));
    walk.list("records", records, |walk, body| {
        walk.option("record", body.as_ref(), |walk, bytes| walk.bytes("record", bytes));
    });
    walk.number("deferred", *deferred);
    walk.number("refused", *refused);
}

fn answer(answer: &Answer, whole: bool, walk: &mut Walk<'_>) {
    walk.kind(answer);
    match answer {
        Answer::Node(view) => node(view, whole, walk),
        Answer::Children { entries: children, complete } => {
            entries(children, whole, walk);
            walk.flag("complete", *complete);
        }
        Answer::Subtree { records, complete } | Answer::Records { records, complete } => {
            walk.list("records", records, |walk, body| record(body, walk));
            walk.flag("complete", *complete);
        }
        Answer::Missing { ids, filter } => {
            walk.list("entities", ids, |walk, entity| id("entity", walk, *entity));
            bloom_filter(filter, walk);
        }
        Answer::Cells(body) => cells(body, walk),
        Answer::FilteredIblt(FilteredIblt { absent, passed, cells: table }) => {
            short_ids(absent, walk);
            one_bit_filter(passed, walk);
            cells(table, walk);
        }
    }
}

fn node(view: &NodeView, whole: bool, walk: &mut Walk<'_>) {
    walk.kind(view);
    match view {
        NodeView::Absent => {}
        NodeView::Bucket(children) => entries(children, whole, walk),
        NodeView::Brief(children) => {
            walk.number("number of entries", children.len() as u64);
            let mask =
                children.iter().rev().fold(0u32, |mask, entry| mask << 1 | u32::from(entry.kids.is_some()));
            walk.u32_le("entries with children", mask);
            walk.inside(|walk| {
                for BriefEntry { symbol, kids } in children {
                    let bytes = symbol.to_bytes();
                    let bits = u64::from_le_bytes([&bytes[..], &[0, 0]].concat().try_into().unwrap());
                    assert_eq!(
                        bits >> 16,
                        u64::from(symbol.short_id()),
                        "the upper 28 bits are the short id"
                    );
                    walk.exact("symbol", &bytes);
                    if let Some(kids) = kids {
                        hash("children root", kids, whole, walk);
                    }
                }
            });
        }
        NodeView::Inner { skipped: nibbles, slots } => {
            skipped(*nibbles, walk);
            let mask = |is: fn(&SlotView) -> bool| {
                let bits = slots.iter().rev().map(|slot| u16::from(is(slot)));
                bits.fold(0, |mask, bit| mask << 1 | bit)
            };
            let taken = mask(|slot| *slot != SlotView::Empty);
            let shown = mask(|slot| matches!(slot, SlotView::Node(_)));
            walk.exact(&format!("slots that are not empty: {taken:#018b}"), &taken.to_le_bytes());
            walk.exact(&format!("slots whose node is shown: {shown:#018b}"), &shown.to_le_bytes());
            walk.inside(|walk| {
                for (nibble, slot) in slots.iter().enumerate() {
                    walk.saw(slot);
                    match slot {
                        SlotView::Empty => {}
                        SlotView::Hash(body) => hash(&format!("hash of slot {nibble:x}"), body, whole, walk),
                        SlotView::Node(body) => node(body, whole, walk),
                    }
                }
            });
        }
    }
}

fn entries(children: &[WireEntry], whole: bool, walk: &mut Walk<'_>) {
    walk.list("entries", children, |walk, WireEntry { id: child, own, kids }| {
        id("child", walk, *child);
        hash("record hash", own, whole, walk);
        walk.option("children", kids.as_ref(), |walk, kids| hash("children root", kids, whole, walk));
    });
}

fn hash(name: &str, hash: &WireDigest, whole: bool, walk: &mut Walk<'_>) {
    walk.saw(hash);
    match hash {
        WireDigest::Short(short) => walk.exact(name, &short.to_le_bytes()[..3]),
        WireDigest::Whole(digest) => walk.fixed(name, &digest.0),
    }
    assert_eq!(whole, matches!(hash, WireDigest::Whole(_)), "all hashes of a reply have one form");
}

fn record(record: &WireRecord, walk: &mut Walk<'_>) {
    let WireRecord { id: entity, bytes } = record;
    id("entity", walk, *entity);
    walk.bytes("record", bytes);
}

fn located(located: &LocatedDifference, walk: &mut Walk<'_>) {
    walk.kind(located);
    match located {
        LocatedDifference::Cells(body) => cells(body, walk),
        LocatedDifference::Found { records, wants } => {
            walk.list("records", records, |walk, body| record(body, walk));
            short_ids(wants, walk);
        }
        LocatedDifference::Sample { from, cells: sample } => {
            walk.u32_le("first cell", *from);
            cells(sample, walk);
        }
    }
}

fn cells(cells: &[Cell], walk: &mut Walk<'_>) {
    walk.list("cells", cells, |walk, _| walk.opaque("cell", 7));
}

pub(crate) fn handshake(handshake: &SyncHandshake, walk: &mut Walk<'_>) {
    let SyncHandshake {
        version,
        context,
        replica,
        root_hash,
        entity_count,
        max_depth,
        has_state,
        dag_heads,
        covered,
        log_floor,
        supported_protocols,
        requested_protocol,
        sketch,
        link: Link { round_trip_us, bytes_per_second },
        clock,
        wall_ms,
        horizon,
        stable,
        known,
    } = handshake;
    walk.u32_le("version", *version);
    walk.fixed("context", context.as_bytes());
    walk.fixed("replica", replica.as_bytes());
    walk.fixed("root hash", &root_hash.0);
    walk.number("records", *entity_count);
    walk.number("depth", u64::from(*max_depth));
    walk.flag("has state", *has_state);
    walk.list("heads", dag_heads, reference);
    version_vector("covered", covered, walk);
    version_vector("log floor", log_floor, walk);
    walk.list("supported protocols", supported_protocols, |walk, protocol| walk.kind(protocol));
    walk.option("requested protocol", requested_protocol.as_ref(), |walk, protocol| walk.kind(protocol));
    walk.option("sketch", sketch.as_ref(), |walk, sketch| {
        let len = sketch.to_bytes().len();
        assert_eq!(len, 1 + 32 * 7 + 24 * 2 + 96);
        walk.number("number of cells", 32);
        walk.opaque("cells", 32 * 7);
        walk.opaque("counts of the cells 8 to 31, two bytes each", 24 * 2);
        walk.opaque("counts of the cells 32 to 127, one byte each", 96);
    });
    walk.number("round trip in microseconds", *round_trip_us);
    walk.number("bytes per second", *bytes_per_second);
    walk.number("clock", *clock);
    walk.number("wall clock in milliseconds", *wall_ms);
    walk.hlc("horizon", *horizon);
    version_vector("stable", stable, walk);
    walk.option("known delta of the recipient", known.as_ref(), |walk, known| reference(walk, known));
}

fn dot(walk: &mut Walk<'_>, dot: &Dot) {
    let Dot { author, seq } = dot;
    walk.fixed("author", author.as_bytes());
    walk.number("sequence number", *seq);
}

pub(crate) fn reference(walk: &mut Walk<'_>, reference: &DeltaRef) {
    let DeltaRef { dot: place, id } = reference;
    dot(walk, place);
    walk.fixed("delta id", &id.0);
}

pub(crate) fn version_vector(name: &str, vector: &VersionVector, walk: &mut Walk<'_>) {
    walk.list(&format!("authors in {name}"), &vector.entries().collect::<Vec<_>>(), dot);
}

pub(crate) fn delta(delta: &Delta, walk: &mut Walk<'_>) {
    let Delta { dot: place, parents, stamp, horizon, actions, signature } = delta;
    dot(walk, place);
    walk.list("parents", parents, reference);
    walk.hlc("timestamp", *stamp);
    walk.number("time of the horizon", horizon.time());
    walk.list("actions", actions, |walk, RelativeAction { above, action: body }| {
        walk.number("ancestors above the named ones", u64::from(*above));
        action(body, walk);
    });
    walk.bytes("signature", &signature.0);
}

pub(crate) fn cursor(bytes: &[u8], walk: &mut Walk<'_>) {
    let depth = walk.any_number("number of entities on the path");
    walk.inside(|walk| (0..depth).for_each(|_| walk.opaque("entity", 32)));
    assert_eq!(bytes.len() as u64, 1 + 32 * depth);
}

pub(crate) fn bloom_filter(filter: &BloomFilter, walk: &mut Walk<'_>) {
    walk.u64_le("salt", filter.salt());
    let words = walk.any_number("number of words");
    walk.opaque("words", 8 * words as usize);
}

pub(crate) fn one_bit_filter(filter: &SymbolFilter, walk: &mut Walk<'_>) {
    let before = walk.rest();
    walk.opaque("salt", 8);
    walk.any_number("records in the filter");
    let words = walk.any_number("number of words");
    walk.opaque("words", 8 * words as usize);
    let len = before.len() - walk.rest().len();
    assert_eq!(before[..len], filter.to_bytes());
}

/// Short ids: the first as it is, the gaps between the others as Golomb-Rice codes.
pub(crate) fn short_ids(ids: &ShortIds, walk: &mut Walk<'_>) {
    walk.number("number of short ids", ids.len() as u64);
    let mut expected = ids.iter();
    let Some(first) = expected.next() else { return };
    walk.u32_le("first short id", first);
    if ids.len() == 1 {
        return;
    }
    let shift = walk.rest()[0];
    walk.u8("bits of a remainder", shift);
    let bits: Vec<bool> =
        walk.rest().iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
    let (mut at, mut last) = (0, first);
    for id in expected {
        let ones = bits[at..].iter().take_while(|bit| **bit).count();
        at += ones + 1;
        let remainder =
            bits[at..at + usize::from(shift)].iter().fold(0, |all, bit| all << 1 | u32::from(*bit));
        at += usize::from(shift);
        last += 1 + ((ones as u32) << shift) + remainder;
        assert_eq!(last, id, "a short id");
    }
    walk.opaque("gaps", at.div_ceil(8));
}
