//! Lies about the state: altered hashes and records, and far more or far less data than was requested.

use crate::hostile::claims::uncover;
use crate::hostile::forge::{AttackContext, claims, each_record, exchange_reply, tampered};
use syncline_storage::{Cursor, Record};
use syncline_store::Bytes;
use syncline_sync::{
    Answer, Cell, LocatedDifference, Message, NodeView, Question, Request, Response, SlotView, SnapshotPage,
    SyncProtocolKind, WireDigest, WireEntry,
};
use syncline_types::{Decode, Encode, EntityId, Writer, limits};

/// Changes the values of records.
pub(super) fn tamper(message: &mut Message, attack: &mut AttackContext<'_>) -> bool {
    each_record(message, |bytes| match tampered(bytes, attack) {
        Some(other) => {
            *bytes = other;
            true
        }
        None => false,
    })
}

/// Truncates records by one byte each.
pub(super) fn break_records(message: &mut Message) -> bool {
    each_record(message, |bytes| match bytes.split_last() {
        Some((_, rest)) => {
            *bytes = Bytes::from(rest.to_vec());
            true
        }
        None => false,
    })
}

fn other(hash: &mut WireDigest, attack: &mut AttackContext<'_>) {
    *hash = WireDigest::of(attack.digest(), matches!(hash, WireDigest::Whole(_)));
}

fn entries(entries: &mut [WireEntry], attack: &mut AttackContext<'_>) -> bool {
    attack.change_one(entries, |entry, attack| {
        match &mut entry.kids {
            Some(kids) if attack.one_in(2) => other(kids, attack),
            _ => other(&mut entry.own, attack),
        }
        true
    })
}

fn node(view: &mut NodeView, attack: &mut AttackContext<'_>) -> bool {
    match view {
        NodeView::Absent => false,
        NodeView::Bucket(list) => entries(list, attack),
        NodeView::Brief(list) => {
            !list.is_empty() && {
                list.remove(attack.below(list.len()));
                true
            }
        }
        NodeView::Inner { slots, .. } => attack.change_one(slots, |slot, attack| match slot {
            SlotView::Hash(hash) => {
                other(hash, attack);
                true
            }
            SlotView::Node(below) => node(below, attack),
            SlotView::Empty => false,
        }),
    }
}

fn cells(list: &mut [Cell], attack: &mut AttackContext<'_>) -> bool {
    let at = attack.below(list.len());
    list.get_mut(at).is_some_and(|cell| std::mem::replace(cell, Cell::EMPTY) != Cell::EMPTY)
}

/// Answers with hashes that are not those of its state.
pub(super) fn hashes(message: &mut Message, attack: &mut AttackContext<'_>) -> bool {
    match message {
        Message::Request { request: Request::Exchange(asked), .. } => {
            attack.change_one(&mut asked.questions, |question, attack| match question {
                Question::Compare { ours, .. } => {
                    let slot = attack.any() as u32 & 0xff_ffff;
                    attack.change_one(&mut ours.slots, |own, _| std::mem::replace(own, slot) != slot)
                }
                _ => false,
            })
        }
        Message::Response { response: Response::Handshake(reply), .. } => match &mut reply.located {
            Some(LocatedDifference::Cells(list) | LocatedDifference::Sample { cells: list, .. }) => {
                cells(list, attack)
            }
            _ => false,
        },
        message => {
            // Other messages carry no hashes of the state.
            let Some(reply) = exchange_reply(message) else { return false };
            attack.change_one(&mut reply.answers, |answer, attack| match answer {
                Answer::Node(view) => node(view, attack),
                Answer::Children { entries: list, .. } => entries(list, attack),
                Answer::Cells(list) => cells(list, attack),
                Answer::Missing { ids, .. } => attack.shuffle(ids),
                Answer::Subtree { .. } | Answer::Records { .. } | Answer::FilteredIblt(_) => false,
            })
        }
    }
}

/// Fills lists up to their bounds and beyond, and claims pages of any size.
pub(super) fn oversize(message: &mut Message, attack: &mut AttackContext<'_>) -> bool {
    if let Some(claims) = claims(message) {
        claims.supported_protocols = vec![SyncProtocolKind::HashComparison; limits::MAX_PROTOCOLS + 1];
        return true;
    }
    match message {
        Message::Response { response: Response::Exchange(reply), .. } => {
            if attack.one_in(2) {
                reply.records.resize(limits::MAX_RECORDS_PER_FRAME, None);
            } else {
                let more = reply.answers.clone();
                reply.answers.extend(more.into_iter().cycle().take(64));
            }
        }
        Message::Response { response: Response::Deltas(reply), .. } if !reply.deltas.is_empty() => {
            let all = reply.deltas.clone();
            reply.deltas = all.into_iter().cycle().take(limits::MAX_DELTAS_PER_FRAME + 1).collect();
        }
        Message::Response { response: Response::SnapshotPage(page), .. } => {
            page.unpacked_len = (limits::MAX_PAGE_BYTES as u64) << attack.below(24);
        }
        _ => return false,
    }
    true
}

/// The id of an entity that does not exist, different on every turn.
fn nonexistent(attack: &AttackContext<'_>, at: u64) -> EntityId {
    assert!(at < 256, "an id has one byte for its place in a list");
    let mut id = [0xfe; 32];
    id[..8].copy_from_slice(&(attack.turn << 8 | at).to_be_bytes());
    EntityId(id)
}

/// Claims that more follows, adds items that are always new, and asks for what it has just sent.
pub(super) fn endless(message: &mut Message, attack: &AttackContext<'_>) -> bool {
    match message {
        Message::Request { request: Request::Deltas { covered, pushes }, .. } if !pushes.is_empty() => {
            uncover(covered, pushes);
        }
        Message::Response { response: Response::Deltas(reply), .. } => {
            reply.complete = false;
            uncover(&mut reply.covered, &reply.deltas);
        }
        Message::Response { response: Response::SnapshotPage(page), .. } => {
            let id = nonexistent(attack, 0);
            let record = Bytes::from(Record::placeholder(1, EntityId::ROOT).to_bytes());
            let (packed, unpacked_len) = SnapshotPage::pack(&[(id, record)], false);
            page.packed = packed;
            page.unpacked_len = unpacked_len;
            let mut path = Writer::default();
            path.list(&[EntityId::ROOT, id]);
            page.next = Cursor::from_bytes(&path.into_bytes()).ok();
        }
        Message::Response { response: Response::Exchange(reply), .. } => {
            let whole = reply.whole;
            let mut any = false;
            for answer in &mut reply.answers {
                any = true;
                match answer {
                    Answer::Children { entries, complete } => {
                        let entry = |at| {
                            let id = nonexistent(attack, at);
                            let own = WireDigest::of(syncline_types::Digest(id.0), whole);
                            WireEntry { id, own, kids: None }
                        };
                        *entries = (0..50).map(entry).collect();
                        *complete = false;
                    }
                    Answer::Subtree { complete, .. } | Answer::Records { complete, .. } => *complete = false,
                    _ => any = false,
                }
            }
            return any;
        }
        _ => return false,
    }
    true
}

/// Truncates a response to one item. Returns whether the message is a response.
pub(super) fn drip(message: &mut Message) -> bool {
    // Requests are not delayed: the session of the adversary itself would time out.
    let Message::Response { response, .. } = message else { return false };
    match response {
        Response::Exchange(reply) => {
            reply.records.truncate(1);
            let keep = usize::from(reply.records.is_empty());
            reply.answers.truncate(keep);
        }
        Response::Deltas(reply) => {
            reply.complete &= reply.deltas.len() <= 1;
            reply.deltas.truncate(1);
        }
        _ => {}
    }
    true
}
