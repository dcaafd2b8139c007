//! Random changes of responses, in their fields and in their bytes.

use crate::hostile::claims;
use crate::hostile::forge::AttackContext;
use syncline_sync::{Message, Response, SyncProtocolKind};
use syncline_types::{Decode, Encode, EntityId, Writer};

/// Changes a random field of a response, or random bytes such that the response still decodes.
pub(super) fn at_random(message: &mut Message, attack: &mut AttackContext<'_>) -> bool {
    if attack.one_in(3) {
        return in_bytes(message, attack);
    }
    in_fields(message, attack)
}

fn in_bytes(message: &mut Message, attack: &mut AttackContext<'_>) -> bool {
    // Only responses are altered at random.
    let Message::Response { response, .. } = message else { return false };
    let mut bytes = response.to_bytes();
    for _ in 0..=attack.below(3) {
        let at = attack.below(bytes.len());
        match (attack.below(4), bytes.get_mut(at)) {
            (0, Some(byte)) => *byte ^= 1 << attack.below(8),
            (1, Some(byte)) => *byte = attack.byte(),
            (2, _) => bytes.truncate(at + 1),
            _ => bytes.insert(at, attack.byte()),
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

fn in_fields(message: &mut Message, attack: &mut AttackContext<'_>) -> bool {
    if attack.one_in(4) {
        return claims::versions(message, attack);
    }
    // Only responses are altered at random.
    let Message::Response { response, .. } = message else { return false };
    match response {
        Response::Handshake(reply) => match attack.below(3) {
            0 => {
                let at = attack.below(SyncProtocolKind::ALL.len());
                reply.verdict = SyncProtocolKind::ALL.get(at).copied().unwrap_or(reply.verdict);
            }
            1 => reply.difference = Some(attack.any() >> attack.below(64)),
            _ => reply.located = None,
        },
        Response::SnapshotGone(theirs) => theirs.root_hash = attack.digest(),
        Response::Exchange(reply) => match attack.below(6) {
            0 => reply.root = attack.digest(),
            1 => reply.whole = !reply.whole,
            2 => return attack.shuffle(&mut reply.answers),
            3 => return attack.shuffle(&mut reply.records),
            4 => reply.refused = attack.any() % 2,
            _ => reply.deferred = attack.any() % 3,
        },
        Response::Deltas(reply) => match attack.below(4) {
            0 => reply.root = attack.digest(),
            1 => return attack.shuffle(&mut reply.deltas),
            2 => reply.complete = !reply.complete,
            _ => reply.refused = attack.any() % 3,
        },
        Response::SnapshotPage(page) => match attack.below(5) {
            0 => page.root = attack.digest(),
            1 => page.boundary = attack.digest(),
            2 => {
                // A cursor at the end of the key space: the snapshot seems to go on and has nothing left.
                let mut path = Writer::default();
                path.list(&[EntityId::ROOT, EntityId::LAST]);
                let last = syncline_storage::Cursor::from_bytes(&path.into_bytes()).ok();
                page.next = if page.next.is_some() { None } else { last };
            }
            3 => page.unpacked_len = attack.any() % 100_000,
            _ => return attack.shuffle(&mut page.packed),
        },
        Response::Rejected(rejection) => *rejection = syncline_sync::Rejection::Yield,
    }
    true
}
