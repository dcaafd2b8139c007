//! Which session takes precedence when two peers start sessions with each other.

use std::cmp::Ordering;
use syncline_sync::{SYNC_PROTOCOL_VERSION, SyncHandshake, SyncProtocolKind};
use syncline_types::{ContextId, Digest, ReplicaId};

/// The session that takes precedence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Precedence {
    Ours,
    Theirs,
    /// Both go on: neither brings anything, and nothing tells the sides apart.
    Both,
}

/// The facts about this side that decide.
pub(crate) struct OwnSide<'a> {
    pub(crate) context: ContextId,
    pub(crate) replica: ReplicaId,
    pub(crate) root: Digest,
    pub(crate) protocols: &'a [SyncProtocolKind],
    /// Whether this replica has no state of its own yet.
    pub(crate) is_fresh: bool,
    /// Whether this side's session with the peer is still in its handshake; `None` if there is no such
    /// session.
    pub(crate) is_in_handshake: Option<bool>,
}

/// Which session takes precedence when a peer starts one with the handshake `theirs`. From the same facts both sides
/// compute the same result. If a root changes while a handshake is under way, both may yield, and try again after a pause:
///
/// 1. A session that is past its handshake takes precedence.
/// 2. Between a fresh side and a side with state, the session of the fresh side takes precedence: it receives
///    a snapshot, which is verified before it is visible, instead of having its first state pushed to it.
///    With equal roots there is nothing to receive, and the fresh side would not start a session, so the
///    initiator is answered.
/// 3. If both sides have started a session, the session of the lower replica id takes precedence. Copies of one
///    disk have one id; of them, the session of the lower root takes precedence, and with equal roots both go on.
pub(crate) fn precedence(own: &OwnSide<'_>, theirs: &SyncHandshake) -> Precedence {
    if own.is_in_handshake == Some(false) {
        return Precedence::Ours;
    }
    let speaks = |protocols: &[SyncProtocolKind]| protocols.contains(&SyncProtocolKind::Snapshot);
    let comparable = theirs.version == SYNC_PROTOCOL_VERSION
        && theirs.context == own.context
        && theirs.root_hash != own.root
        && speaks(own.protocols)
        && speaks(&theirs.supported_protocols);
    match (own.is_fresh, theirs.has_state) {
        (true, true) if comparable => Precedence::Ours,
        (false, false) if comparable => Precedence::Theirs,
        _ if own.is_in_handshake.is_none() => Precedence::Theirs,
        _ => match (own.replica, own.root).cmp(&(theirs.replica, theirs.root_hash)) {
            Ordering::Less => Precedence::Ours,
            Ordering::Equal => Precedence::Both,
            Ordering::Greater => Precedence::Theirs,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Precedence::{Both, Ours, Theirs};
    use syncline_sync::{Link, VersionVector};
    use syncline_types::Hlc;

    const SNAPSHOT: &[SyncProtocolKind] = &[SyncProtocolKind::Snapshot];

    fn own(replica: u64, is_fresh: bool, is_in_handshake: Option<bool>) -> OwnSide<'static> {
        let root = Digest([replica as u8; 32]);
        let context = ContextId::default();
        let replica = ReplicaId::from_u64(replica);
        OwnSide { context, replica, root, protocols: SNAPSHOT, is_fresh, is_in_handshake }
    }

    /// The handshake of the replica whose own side this is.
    fn handshake(side: &OwnSide<'_>) -> SyncHandshake {
        SyncHandshake {
            version: SYNC_PROTOCOL_VERSION,
            context: side.context,
            replica: side.replica,
            root_hash: side.root,
            entity_count: 0,
            max_depth: 0,
            has_state: !side.is_fresh,
            dag_heads: vec![],
            covered: VersionVector::default(),
            log_floor: VersionVector::default(),
            supported_protocols: side.protocols.to_vec(),
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

    #[test]
    fn both_sides_agree_on_crossing_handshakes() {
        for (one_is_fresh, two_is_fresh) in [(false, false), (false, true), (true, false), (true, true)] {
            let one = own(1, one_is_fresh, Some(true));
            let two = own(2, two_is_fresh, Some(true));
            let answers = (precedence(&one, &handshake(&two)), precedence(&two, &handshake(&one)));
            let expected = if one_is_fresh || !two_is_fresh { (Ours, Theirs) } else { (Theirs, Ours) };
            assert_eq!(answers, expected, "{one_is_fresh} {two_is_fresh}");
        }
    }

    #[test]
    fn copies_of_one_disk_do_not_both_yield() {
        let one = own(1, false, Some(true));
        let copy = OwnSide { root: Digest([9; 32]), ..own(1, false, Some(true)) };
        let answers = (precedence(&one, &handshake(&copy)), precedence(&copy, &handshake(&one)));
        assert_eq!(answers, (Ours, Theirs));
        assert_eq!(precedence(&one, &handshake(&one)), Both, "with one root, too");
    }

    #[test]
    fn session_past_handshake_goes_on() {
        assert_eq!(precedence(&own(2, false, Some(false)), &handshake(&own(1, true, None))), Ours);
    }

    #[test]
    fn answers_if_it_has_no_session() {
        assert_eq!(precedence(&own(1, false, None), &handshake(&own(2, false, None))), Theirs);
        let same_root = OwnSide { root: own(2, true, None).root, ..own(1, true, None) };
        assert_eq!(precedence(&same_root, &handshake(&own(2, false, None))), Theirs, "nothing to take");
    }
}
