//! Lies of an adversary about itself: its root, the deltas it covers, its horizon, its capabilities.

use crate::hostile::forge::{AttackContext, choose_by_claims, claims};
use syncline_store::Bytes;
use syncline_sync::{
    Delta, Dot, Gossip, Message, Rejection, Request, Response, SyncHandshake, SyncProtocolKind, VersionVector,
};
use syncline_types::{Decode, Digest, Hlc, ReplicaId, limits};

/// Replaces the root wherever a message announces one.
pub(crate) fn root(message: &mut Message, lie: Digest, attack: &AttackContext<'_>) -> bool {
    if let Some(claims) = claims(message) {
        claims.root_hash = lie;
        choose_by_claims(message, attack);
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

/// The dot of a delta that may not exist, by a known author or by a stranger.
fn some_dot(known: &[ReplicaId], attack: &mut AttackContext<'_>) -> Dot {
    let at = attack.below(known.len() + 1);
    let author = known.get(at).copied().unwrap_or_else(|| ReplicaId::from_u64(0xbad));
    let bits = 1 + attack.below(48);
    Dot { author, seq: (1 + attack.any() % (1 << bits)).min(limits::MAX_DELTA_SEQ) }
}

/// A random stamp, in three of four cases near the present time.
fn some_stamp(by: ReplicaId, attack: &mut AttackContext<'_>) -> Hlc {
    let now = attack.now.as_millis();
    let at = match attack.below(4) {
        0 => now.saturating_sub(attack.below(20_000) as u64),
        1 => now + attack.below(10_000) as u64,
        2 => now,
        _ => attack.any() >> attack.below(64),
    };
    Hlc::new(at, 0, by)
}

/// A random clock, and the wall clock that it would come from.
fn some_clocks(by: ReplicaId, attack: &mut AttackContext<'_>) -> (u64, u64) {
    let stamp = some_stamp(by, attack);
    (stamp.time(), stamp.physical_ms())
}

/// Changes one of the claims that only the claiming replica can verify.
fn history(claims: &mut SyncHandshake, attack: &mut AttackContext<'_>) {
    let known: Vec<ReplicaId> = claims.covered.entries().map(|dot| dot.author).collect();
    match attack.below(8) {
        0 => claims.entity_count = attack.any() >> attack.below(64),
        1 => claims.max_depth = attack.below(limits::MAX_ANCESTORS) as u32,
        2 => claims.has_state = !claims.has_state,
        3 => claims.covered.cover(some_dot(&known, attack)),
        4 => claims.log_floor.cover(some_dot(&known, attack)),
        5 => claims.stable.cover(some_dot(&known, attack)),
        6 => claims.horizon = some_stamp(claims.replica, attack),
        _ => (claims.clock, claims.wall_ms) = some_clocks(claims.replica, attack),
    }
}

/// Announces versions other than those of its state.
pub(super) fn versions(message: &mut Message, attack: &mut AttackContext<'_>) -> bool {
    let own = attack.own;
    if let Some(claims) = claims(message) {
        history(claims, attack);
        choose_by_claims(message, attack);
        return true;
    }
    match message {
        Message::Gossip(Gossip::Heartbeat { seq, clock, wall_ms, .. }) => {
            *seq = some_dot(&[own], attack).seq;
            (*clock, *wall_ms) = some_clocks(own, attack);
        }
        Message::Request { request: Request::Deltas { covered, pushes }, .. } => {
            other_deltas(covered, pushes, attack);
        }
        Message::Request { request: Request::Exchange(asked), .. } => asked.horizon = some_stamp(own, attack),
        Message::Response { response: Response::Deltas(reply), .. } => {
            other_deltas(&mut reply.covered, &reply.deltas, attack);
        }
        Message::Response { response: Response::Exchange(reply), .. } => {
            if attack.one_in(2) {
                reply.horizon = some_stamp(own, attack);
            } else {
                reply.generation_after = reply.generation_after.wrapping_add(1 + attack.any() % 9);
            }
        }
        _ => return false,
    }
    true
}

/// Claims to cover a delta that may not exist, or not to cover those that the same message contains.
fn other_deltas(covered: &mut VersionVector, sent: &[Bytes], attack: &mut AttackContext<'_>) {
    if !sent.is_empty() && attack.one_in(2) {
        uncover(covered, sent);
        return;
    }
    let known: Vec<ReplicaId> = covered.entries().map(|dot| dot.author).collect();
    covered.cover(some_dot(&known, attack));
}

/// Claims not to cover the deltas that the same message contains, so that the receiver has to send them back.
pub(super) fn uncover(covered: &mut VersionVector, sent: &[Bytes]) {
    let sent: Vec<Dot> = sent.iter().filter_map(|bytes| Some(Delta::from_bytes(bytes).ok()?.dot)).collect();
    let mut fewer = VersionVector::default();
    for Dot { author, seq } in covered.entries() {
        let first = sent.iter().filter(|dot| dot.author == author).map(|dot| dot.seq).min();
        let seq = first.map_or(seq, |first| seq.min(first - 1));
        if seq > 0 {
            fewer.cover(Dot { author, seq });
        }
    }
    *covered = fewer;
}

/// Offers protocols that it cannot run, breaks the selection rule, or rejects what it agreed to.
pub(super) fn capabilities(message: &mut Message, attack: &mut AttackContext<'_>) -> bool {
    let refuses = attack.one_in(2);
    match message {
        Message::Response { response: Response::Handshake(reply), .. } if refuses => {
            let at = attack.below(SyncProtocolKind::ALL.len());
            reply.verdict = SyncProtocolKind::ALL.get(at).copied().unwrap_or(SyncProtocolKind::None);
            true
        }
        Message::Response { response, .. } if refuses => {
            *response = Response::Rejected(rejection(attack));
            true
        }
        message => {
            // Only claims can be false; a message without any is left as it is.
            let Some(claims) = claims(message) else { return false };
            if attack.one_in(2) {
                claims.supported_protocols = SyncProtocolKind::ALL.to_vec();
            }
            attack.shuffle(&mut claims.supported_protocols);
            choose_by_claims(message, attack);
            true
        }
    }
}

fn rejection(attack: &mut AttackContext<'_>) -> Rejection {
    match attack.below(6) {
        0 => Rejection::Version { theirs: attack.below(9) as u32 },
        1 => Rejection::Context,
        2 => Rejection::Yield,
        3 => Rejection::NotAMember,
        4 => Rejection::Implausible,
        _ => Rejection::NoHandshake,
    }
}
