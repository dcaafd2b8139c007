//! Answers changed at random, in their fields and in their bytes.

use crate::hostile::claims;
use crate::hostile::forge::Craft;
use syncline_sync::{Message, Response, SyncProtocolKind};
use syncline_types::{Decode, Encode, EntityId, Writer};

/// Changes a field of an answer, or some of its bytes so that it still is one.
pub(super) fn at_random(message: &mut Message, craft: &mut Craft<'_>) -> bool {
    if craft.one_in(3) {
        return in_bytes(message, craft);
    }
    in_fields(message, craft)
}

fn in_bytes(message: &mut Message, craft: &mut Craft<'_>) -> bool {
    let Message::Response { response, .. } = message else { return false };
    let mut bytes = response.to_bytes();
    for _ in 0..=craft.below(3) {
        let at = craft.below(bytes.len());
        match (craft.below(4), bytes.get_mut(at)) {
            (0, Some(byte)) => *byte ^= 1 << craft.below(8),
            (1, Some(byte)) => *byte = craft.byte(),
            (2, _) => bytes.truncate(at + 1),
            _ => bytes.insert(at, craft.byte()),
        }
    }
    match Response::from_bytes(&bytes) {
        Ok(other) if other != *response => {
            *response = other;
            true
        }
        _ => false,
    }
}

fn in_fields(message: &mut Message, craft: &mut Craft<'_>) -> bool {
    if craft.one_in(4) {
        return claims::versions(message, craft);
    }
    let Message::Response { response, .. } = message else { return false };
    match response {
        Response::Handshake(reply) => match craft.below(3) {
            0 => {
                let at = craft.below(SyncProtocolKind::ALL.len());
                reply.verdict = SyncProtocolKind::ALL.get(at).copied().unwrap_or(reply.verdict);
            }
            1 => reply.difference = Some(craft.any() >> craft.below(64)),
            _ => reply.located = None,
        },
        Response::SnapshotGone(theirs) => theirs.root_hash = craft.digest(),
        Response::Exchange(reply) => match craft.below(6) {
            0 => reply.root = craft.digest(),
            1 => reply.whole = !reply.whole,
            2 => return craft.shuffle(&mut reply.answers),
            3 => return craft.shuffle(&mut reply.records),
            4 => reply.refused = craft.any() % 2,
            _ => reply.deferred = craft.any() % 3,
        },
        Response::Deltas(reply) => match craft.below(4) {
            0 => reply.root = craft.digest(),
            1 => return craft.shuffle(&mut reply.deltas),
            2 => reply.complete = !reply.complete,
            _ => reply.refused = craft.any() % 3,
        },
        Response::SnapshotPage(page) => match craft.below(5) {
            0 => page.root = craft.digest(),
            1 => page.boundary = craft.digest(),
            2 => {
                let mut path = Writer::default();
                path.list(&[EntityId::ROOT, EntityId::LAST]);
                let last = syncline_storage::Cursor::from_bytes(&path.into_bytes()).ok();
                page.next = if page.next.is_some() { None } else { last };
            }
            3 => page.unpacked_len = craft.any() % 100_000,
            _ => return craft.shuffle(&mut page.packed),
        },
        Response::Rejected(rejection) => *rejection = syncline_sync::Rejection::Yield,
    }
    true
}
