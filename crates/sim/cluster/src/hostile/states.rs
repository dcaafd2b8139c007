//! Lies about the state: hashes and records that are others, and far more, or far less, than was asked for.

use crate::hostile::forge::{Craft, claims, each_record, exchange_reply, tampered};
use syncline_storage::{Cursor, Record};
use syncline_store::Bytes;
use syncline_sync::{
    Answer, Cell, LocatedDifference, Message, NodeView, Question, Request, Response, SlotView, SnapshotPage,
    SyncProtocolKind, WireDigest, WireEntry,
};
use syncline_types::{Decode, Encode, EntityId, Writer, limits};

/// Changes the value of records.
pub(super) fn tamper(message: &mut Message, craft: &mut Craft<'_>) -> bool {
    each_record(message, |bytes| match tampered(bytes, craft) {
        Some(other) => {
            *bytes = other;
            true
        }
        None => false,
    })
}

/// Cuts the ends of records off.
pub(super) fn break_records(message: &mut Message) -> bool {
    each_record(message, |bytes| match bytes.split_last() {
        Some((_, rest)) => {
            *bytes = Bytes::from(rest.to_vec());
            true
        }
        None => false,
    })
}

fn other(hash: &mut WireDigest, craft: &mut Craft<'_>) {
    *hash = WireDigest::of(craft.digest(), matches!(hash, WireDigest::Whole(_)));
}

fn entries(entries: &mut [WireEntry], craft: &mut Craft<'_>) -> bool {
    craft.change_one(entries, |entry, craft| {
        match &mut entry.kids {
            Some(kids) if craft.one_in(2) => other(kids, craft),
            _ => other(&mut entry.own, craft),
        }
        true
    })
}

fn node(view: &mut NodeView, craft: &mut Craft<'_>) -> bool {
    match view {
        NodeView::Absent => false,
        NodeView::Bucket(list) => entries(list, craft),
        NodeView::Brief(list) => {
            !list.is_empty() && {
                list.remove(craft.below(list.len()));
                true
            }
        }
        NodeView::Inner(slots) => craft.change_one(slots, |slot, craft| match slot {
            SlotView::Hash(hash) => {
                other(hash, craft);
                true
            }
            SlotView::Node(below) => node(below, craft),
            SlotView::Empty => false,
        }),
    }
}

fn cells(list: &mut [Cell], craft: &mut Craft<'_>) -> bool {
    let at = craft.below(list.len());
    list.get_mut(at).is_some_and(|cell| std::mem::replace(cell, Cell::EMPTY) != Cell::EMPTY)
}

/// Shows other hashes than those of its state.
pub(super) fn hashes(message: &mut Message, craft: &mut Craft<'_>) -> bool {
    match message {
        Message::Request { request: Request::Exchange(asked), .. } => {
            craft.change_one(&mut asked.questions, |question, craft| match question {
                Question::Compare { ours, .. } => {
                    let slot = craft.any() as u32 & 0xff_ffff;
                    craft.change_one(&mut ours[..], |own, _| std::mem::replace(own, slot) != slot)
                }
                _ => false,
            })
        }
        Message::Response { response: Response::Handshake(reply), .. } => match &mut reply.located {
            Some(LocatedDifference::Cells(list) | LocatedDifference::Sample { cells: list, .. }) => {
                cells(list, craft)
            }
            _ => false,
        },
        message => {
            let Some(reply) = exchange_reply(message) else { return false };
            craft.change_one(&mut reply.answers, |answer, craft| match answer {
                Answer::Node(view) => node(view, craft),
                Answer::Children { entries: list, .. } => entries(list, craft),
                Answer::Cells(list) => cells(list, craft),
                Answer::Missing { ids, .. } => craft.shuffle(ids),
                Answer::Subtree { .. } | Answer::Records { .. } | Answer::FilteredIblt(_) => false,
            })
        }
    }
}

/// Fills lists up to their bounds and beyond, and claims pages of any size.
pub(super) fn oversize(message: &mut Message, craft: &mut Craft<'_>) -> bool {
    if let Some(claims) = claims(message) {
        claims.supported_protocols = vec![SyncProtocolKind::HashComparison; limits::MAX_PROTOCOLS + 1];
        return true;
    }
    match message {
        Message::Response { response: Response::Exchange(reply), .. } => {
            if craft.one_in(2) {
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
            page.unpacked_len = (limits::MAX_PAGE_BYTES as u64) << craft.below(24);
        }
        _ => return false,
    }
    true
}

/// An entity that nobody has, another at every turn.
fn nobody(craft: &Craft<'_>, at: u64) -> EntityId {
    let mut id = [0xfe; 32];
    id[..8].copy_from_slice(&(craft.turn << 8 | at).to_be_bytes());
    EntityId(id)
}

/// Says that there is more, and gives something that is new.
pub(super) fn endless(message: &mut Message, craft: &Craft<'_>) -> bool {
    match message {
        Message::Response { response: Response::Deltas(reply), .. } => reply.complete = false,
        Message::Response { response: Response::SnapshotPage(page), .. } => {
            let id = nobody(craft, 0);
            let record = Bytes::from(Record::placeholder(1, EntityId::ROOT).to_bytes());
            (page.packed, page.unpacked_len) = SnapshotPage::pack(&[(id, record)], false);
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
                            let id = nobody(craft, at);
                            let own = WireDigest::of(syncline_types::Digest(id.0), whole);
                            WireEntry { id, own, kids: None }
                        };
                        (*entries, *complete) = ((0..50).map(entry).collect(), false);
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

/// Leaves one item of an answer, if it is an answer.
pub(super) fn drip(message: &mut Message) -> bool {
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
