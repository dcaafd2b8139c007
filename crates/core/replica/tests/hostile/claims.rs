//! Hostile responders: everything that a handshake can lie about.

use super::adversary::{
    ADVERSARY, FRIEND, VICTIM, case, claim, differing, has_converged, holdings, is_protocol,
};
use super::deltas::Host;
use super::mutant::{Asked, Mutant};
use super::world::{CONTEXT, World, config, replica_at, set};
use syncline_replica::{Event, Timer};
use syncline_sync::SyncProtocolKind::{HashComparison, Snapshot};
use syncline_sync::*;
use syncline_types::{Digest, Hlc, SimDuration, limits};

#[test]
fn false_root_is_no_convergence() {
    let ends = |outcome: &Outcome| matches!(outcome, Outcome::Failed(FailureReason::StillDiverged { .. }));
    let lie = Digest([0xfa; 32]);
    let mut world = case("false roots", HashComparison, ends, move |asked, honest| {
        match claim(asked, honest, |theirs| theirs.root_hash = lie) {
            Response::Exchange(reply) => Response::Exchange(ExchangeReply { root: lie, ..reply }),
            other => other,
        }
    })
    .run();
    assert_ne!(world.honest(VICTIM).replica.digest(), lie);
}

#[test]
fn byzantine_root_hash_not_adopted_only_recomputed_root_stored() {
    let lie = Digest([0xfb; 32]);
    let mut world =
        case("a false root in the handshake", HashComparison, has_converged, move |asked, honest| {
            claim(asked, honest, |theirs| theirs.root_hash = lie)
        })
        .harmless()
        .run();
    let victim = world.honest(VICTIM);
    assert_ne!(victim.sound_root(), lie);
}

#[test]
fn byzantine_handshake_never_escalates_initialized_node_to_snapshot() {
    let ends = |outcome: &Outcome| matches!(outcome, Outcome::Failed(FailureReason::WrongVerdict { .. }));
    case("a verdict of its own", HashComparison, ends, |_, honest| match honest {
        Response::Handshake(reply) => {
            let theirs = SyncHandshake {
                root_hash: Digest([0xfc; 32]),
                entity_count: u64::MAX,
                has_state: true,
                supported_protocols: vec![SyncProtocolKind::None, Snapshot],
                ..reply.theirs
            };
            Response::Handshake(Box::new(HandshakeReply {
                theirs,
                verdict: Snapshot,
                difference: None,
                located: None,
            }))
        }
        other => other,
    })
    .run();
}

#[test]
fn backs_off_from_ever_changing_root() {
    let ends = |outcome: &Outcome| *outcome == Outcome::SyncPending(RetryReason::NewerWrites);
    let mut turns = 0u8;
    case("a root that always changes", HashComparison, ends, move |asked, honest| {
        turns = turns.wrapping_add(1);
        let root = Digest([turns; 32]);
        match claim(asked, honest, |theirs| theirs.root_hash = root) {
            Response::Exchange(reply) => {
                let generation_before = u64::from(turns) * 2;
                let generation_after = u64::from(turns) * 2 + 1;
                Response::Exchange(ExchangeReply { root, generation_before, generation_after, ..reply })
            }
            other => other,
        }
    })
    .run();
}

#[test]
fn maximal_horizon_is_not_adopted() {
    case("the end of time", HashComparison, is_protocol, |asked, honest| {
        claim(asked, honest, |theirs| theirs.horizon = Hlc::MAX)
    })
    .run();
}

#[test]
fn horizon_ahead_of_clock_not_adopted() {
    let ends = |outcome: &Outcome| *outcome == Outcome::SyncPending(RetryReason::NewerWrites);
    let horizon = Hlc::last_at(3_600_000 << 16);
    case("an hour ahead", HashComparison, ends, move |asked, honest| {
        match claim(asked, differing(asked, honest), |theirs| theirs.horizon = horizon) {
            Response::Exchange(reply) => Response::Exchange(ExchangeReply { horizon, ..reply }),
            other => other,
        }
    })
    .run();
}

#[test]
fn claimed_horizon_cannot_block_fresh_replica() {
    let mut world = World::new();
    world.add(config(VICTIM, 3));
    world.add_hostile(Mutant::new(holdings(3), |asked, honest| {
        let horizon = Hlc::last_at(900 << 16);
        match claim(asked, honest, |theirs| theirs.horizon = horizon) {
            Response::Handshake(reply) => Response::Handshake(reply),
            _ => Response::Rejected(Rejection::Context),
        }
    }));
    world.add(config(FRIEND, 3));
    world.write(FRIEND, vec![set("theirs", "precious")]);
    world.link(VICTIM, ADVERSARY);
    world.run_for(SimDuration::from_secs(10));
    assert!(!world.honest(VICTIM).outcomes(ADVERSARY).is_empty());
    world.link(VICTIM, FRIEND);
    world.run_for(SimDuration::from_secs(30));
    let root = world.honest(FRIEND).sound_root();
    assert_eq!(world.honest(VICTIM).sound_root(), root);
    let outcomes = world.honest(VICTIM).outcomes(FRIEND);
    assert!(has_converged(&outcomes[0].0), "the first snapshot is taken: {outcomes:?}");
}

#[test]
fn unseen_past_leaves_one_side_behind() {
    let ends = |outcome: &Outcome| *outcome == Outcome::Failed(FailureReason::LeftBehind);
    case("a past of its own", HashComparison, ends, |asked, honest| {
        claim(asked, differing(asked, honest), |theirs| {
            theirs.horizon = Hlc::last_at(900 << 16);
            theirs.stable.cover(Dot { author: replica_at(FRIEND), seq: 1_000_000 });
        })
    })
    .run();
}

#[test]
fn maximal_clock_moves_no_horizon() {
    let twist = |asked: &Asked<'_>, honest| claim(asked, honest, |theirs| theirs.clock = u64::MAX);
    let mut case = case("a clock at the end of time", HashComparison, has_converged, twist).harmless();
    case.mutant = case.mutant.saying(|held, _| {
        let root = held.root();
        let replica = held.replica;
        vec![Message::Gossip(Gossip::Heartbeat { root, replica, seq: 1, clock: u64::MAX, wall_ms: u64::MAX })]
    });
    case.run();
}

#[test]
fn endless_history_is_not_adopted() {
    case("an endless history", HashComparison, is_protocol, |asked, honest| {
        claim(asked, honest, |theirs| {
            theirs.covered.cover(Dot { author: replica_at(VICTIM), seq: limits::MAX_DELTA_SEQ });
        })
    })
    .run();
}

#[test]
fn forged_coverage_does_not_block_deltas() {
    let unproven = |outcome: &Outcome| matches!(outcome, Outcome::Failed(FailureReason::UnprovenHistory { claimed }) if claimed.seq == 1_000);
    case("forged coverage", HashComparison, unproven, |asked, honest| {
        let Request::Handshake(ours) = asked.request else { return honest };
        claim(asked, honest, |theirs| {
            theirs.root_hash = ours.root_hash;
            theirs.covered.cover(Dot { author: replica_at(FRIEND), seq: 1_000 });
            theirs.covered.cover(Dot { author: replica_at(VICTIM), seq: 1_000 });
        })
    })
    .harmless()
    .run();
}

#[test]
fn does_not_sync_with_claimed_outsider() {
    let ends = |outcome: &Outcome| matches!(outcome, Outcome::Failed(FailureReason::NotAMember { replica }) if *replica == replica_at(77));
    // Its heartbeats name a member; its handshakes do not.
    let mut world = case("a stranger's answer", HashComparison, ends, |asked, honest| {
        claim(asked, honest, |theirs| theirs.replica = replica_at(77))
    })
    .run();
    let victim = world.honest(VICTIM);
    assert!(victim.read("hostile 1").is_none(), "nothing of what it holds was taken");
}

/// A claim that a session of its own has met is settled by the answer, even if nothing waits in the delta buffer.
#[test]
fn claim_met_in_own_session_is_settled() {
    let mut host = Host::new(0);
    host.write("mine");
    host.hear_of_a_difference();
    host.now += 1_000;
    let actions = host.step(Event::Timer(Timer::PendingSync));
    let frame = Frame::from_wire(&actions.messages[0].bytes, CONTEXT).unwrap();
    let Message::Request { session, id, request: Request::Handshake(ours) } = frame.message else {
        panic!("{frame:?}")
    };
    let claimed = Dot { author: replica_at(0), seq: 9 };
    let mut theirs = SyncHandshake { replica: replica_at(1), ..(*ours).clone() };
    theirs.dag_heads.clear();
    theirs.known = None;
    theirs.covered.cover(claimed);
    let theirs = Box::new(theirs);
    let reply = HandshakeReply {
        theirs: (*theirs).clone(),
        verdict: SyncProtocolKind::None,
        difference: None,
        located: None,
    };
    let actions = host.say(Message::Response { session, id, response: Response::Handshake(Box::new(reply)) });
    let asked = actions.messages.iter().find_map(|sent| {
        match Frame::from_wire(&sent.bytes, CONTEXT).unwrap().message {
            Message::Gossip(Gossip::DeltaRequest { wanted }) => Some(wanted),
            _ => None,
        }
    });
    let wanted =
        asked.unwrap_or_else(|| panic!("a proof is requested: {:?} {:?}", actions.notices, actions.refusal));
    assert!(wanted.contains(&claimed));
    host.say(Message::Gossip(Gossip::DeltaReply { deltas: vec![], unavailable: wanted }));
    let request = Request::Handshake(theirs);
    let actions = host.say(Message::Request { session: SessionId(1), id: RequestId(1), request });
    let refused = actions.messages.iter().any(|sent| {
        let message = Frame::from_wire(&sent.bytes, CONTEXT).unwrap().message;
        matches!(message, Message::Response { response: Response::Rejected(Rejection::UnprovenHistory), .. })
    });
    assert!(!refused, "the peer could not prove its claim, which counts no more");
}
