//! Lies about oneself: the root, what one covers and has forgotten, what one can do.

use crate::hostile::forge::{Craft, choose_by_claims, claims};
use syncline_sync::{Dot, Gossip, Message, Rejection, Request, Response, SyncHandshake, SyncProtocolKind};
use syncline_types::{Digest, Hlc, ReplicaId, limits};

/// Tells another root wherever a message tells one.
pub(crate) fn root(message: &mut Message, lie: Digest, craft: &Craft<'_>) -> bool {
    if let Some(claims) = claims(message) {
        claims.root_hash = lie;
        choose_by_claims(message, craft);
        return true;
    }
    match message {
        Message::Gossip(Gossip::Heartbeat { root, .. }) => *root = lie,
        Message::Response { response: Response::Exchange(reply), .. } => reply.root = lie,
        Message::Response { response: Response::Deltas(reply), .. } => reply.root = lie,
        Message::Response { response: Response::SnapshotPage(page), .. } => page.root = lie,
        _ => return false,
    }
    true
}

/// A delta that may never have been, of somebody known or of a stranger.
fn some_dot(known: &[ReplicaId], craft: &mut Craft<'_>) -> Dot {
    let at = craft.below(known.len() + 1);
    let author = known.get(at).copied().unwrap_or_else(|| ReplicaId::from_u64(0xbad));
    let bits = 1 + craft.below(48);
    Dot { author, seq: (1 + craft.any() % (1 << bits)).min(limits::MAX_DELTA_SEQ) }
}

/// A stamp near the time, or anywhere.
fn some_stamp(by: ReplicaId, craft: &mut Craft<'_>) -> Hlc {
    let now = craft.now.as_millis();
    let at = match craft.below(4) {
        0 => now.saturating_sub(craft.below(20_000) as u64),
        1 => now + craft.below(10_000) as u64,
        2 => now,
        _ => craft.any() >> craft.below(64),
    };
    Hlc::new(at, 0, by)
}

/// Changes one of the claims that only their own replica can know to be true.
fn history(claims: &mut SyncHandshake, craft: &mut Craft<'_>) {
    let known: Vec<ReplicaId> = claims.covered.entries().map(|dot| dot.author).collect();
    match craft.below(8) {
        0 => claims.entity_count = craft.any() >> craft.below(64),
        1 => claims.max_depth = craft.below(limits::MAX_ANCESTORS) as u32,
        2 => claims.has_state = !claims.has_state,
        3 => claims.covered.cover(some_dot(&known, craft)),
        4 => claims.log_floor.cover(some_dot(&known, craft)),
        5 => claims.stable.cover(some_dot(&known, craft)),
        6 => claims.horizon = some_stamp(claims.replica, craft),
        _ => claims.clock = some_stamp(claims.replica, craft).time(),
    }
}

/// Tells of another history than its own.
pub(super) fn versions(message: &mut Message, craft: &mut Craft<'_>) -> bool {
    let own = craft.own;
    if let Some(claims) = claims(message) {
        history(claims, craft);
        choose_by_claims(message, craft);
        return true;
    }
    match message {
        Message::Gossip(Gossip::Heartbeat { seq, clock, .. }) => {
            *seq = some_dot(&[own], craft).seq;
            *clock = some_stamp(own, craft).time();
        }
        Message::Request { request: Request::Deltas { covered, .. }, .. } => {
            let known: Vec<ReplicaId> = covered.entries().map(|dot| dot.author).collect();
            covered.cover(some_dot(&known, craft));
        }
        Message::Request { request: Request::Exchange(asked), .. } => asked.horizon = some_stamp(own, craft),
        Message::Response { response: Response::Deltas(reply), .. } => {
            let known: Vec<ReplicaId> = reply.covered.entries().map(|dot| dot.author).collect();
            reply.covered.cover(some_dot(&known, craft));
        }
        Message::Response { response: Response::Exchange(reply), .. } => {
            if craft.one_in(2) {
                reply.horizon = some_stamp(own, craft);
            } else {
                reply.generation_after = reply.generation_after.wrapping_add(1 + craft.any() % 9);
            }
        }
        _ => return false,
    }
    true
}

/// Offers what it cannot run, chooses by no rule, or refuses what it agreed to.
pub(super) fn capabilities(message: &mut Message, craft: &mut Craft<'_>) -> bool {
    let refuses = craft.one_in(2);
    match message {
        Message::Response { response: Response::Handshake(reply), .. } if refuses => {
            let at = craft.below(SyncProtocolKind::ALL.len());
            reply.verdict = SyncProtocolKind::ALL.get(at).copied().unwrap_or(SyncProtocolKind::None);
            true
        }
        Message::Response { response, .. } if refuses => {
            *response = Response::Rejected(rejection(craft));
            true
        }
        message => {
            let Some(claims) = claims(message) else { return false };
            if craft.one_in(2) {
                claims.supported_protocols = SyncProtocolKind::ALL.to_vec();
            }
            craft.shuffle(&mut claims.supported_protocols);
            choose_by_claims(message, craft);
            true
        }
    }
}

fn rejection(craft: &mut Craft<'_>) -> Rejection {
    match craft.below(6) {
        0 => Rejection::Version { theirs: craft.below(9) as u32 },
        1 => Rejection::Context,
        2 => Rejection::Yield,
        3 => Rejection::NotAMember,
        4 => Rejection::Implausible,
        _ => Rejection::NoHandshake,
    }
}
