//! Hostile responders: everything that a response can lie about.

use super::adversary::{
    ADVERSARY, Case, FRIEND, VICTIM, case, claim, differing, has_converged, holdings, is_protocol,
    is_too_long, register,
};
use super::mutant::{Asked, Mutant, gate};
use super::world::{World, config, replica_at, set};
use syncline_crdt::{Register, Value};
use syncline_replica::{Notice, Refusal};
use syncline_storage::Record;
use syncline_store::Bytes;
use syncline_sync::SyncProtocolKind::{DeltaSync, HashComparison, LevelWise, Snapshot};
use syncline_sync::*;
use syncline_types::{Decode, Digest, Encode, EntityId, Hlc, PeerId, SimDuration, SimTime, limits};

#[test]
fn undecodable_record_ends_session() {
    case("cut records", HashComparison, is_protocol, |_, honest| match honest {
        Response::Exchange(mut reply) => {
            for bytes in reply.records.iter_mut().flatten() {
                *bytes = Bytes::from(bytes[..bytes.len() - 1].to_vec());
            }
            // Something is always missing here, so that there is always something to ask for.
            Response::Exchange(ExchangeReply { root: Digest([5; 32]), ..reply })
        }
        other => other,
    })
    .run();
}

#[test]
fn tampered_record_is_still_valid_record() {
    case(
        "tampered records",
        HashComparison,
        |_| true,
        |_, honest| match honest {
            Response::Exchange(mut reply) => {
                for bytes in reply.records.iter_mut().flatten() {
                    let mut record = Record::from_bytes(bytes).unwrap();
                    if let Value::Lww(register) = &record.value {
                        record.value = Value::Lww(Register::new(register.stamp(), b"tampered".to_vec()));
                    }
                    *bytes = record.to_bytes().into();
                }
                Response::Exchange(reply)
            }
            other => other,
        },
    )
    .harmless()
    .run();
}

#[test]
fn tampered_snapshot_is_not_used() {
    let ends = |outcome: &Outcome| matches!(outcome, Outcome::Failed(FailureReason::SnapshotMismatch { .. }));
    case("tampered pages", Snapshot, ends, |_, honest| match honest {
        Response::SnapshotPage(page) => {
            let mut records = page.unpack().unwrap();
            records.pop();
            let (packed, unpacked_len) = SnapshotPage::pack(&records, false);
            Response::SnapshotPage(SnapshotPage { packed, unpacked_len, ..page })
        }
        other => other,
    })
    .against_a_fresh_victim()
    .harmless()
    .run();
}

/// Changes the deltas of a response.
fn with_deltas(honest: Response, change: impl FnOnce(Vec<Delta>) -> Vec<Delta>) -> Response {
    match honest {
        Response::Deltas(mut reply) => {
            let deltas = reply.deltas.iter().map(|bytes| Delta::from_bytes(bytes).unwrap()).collect();
            reply.deltas = change(deltas).iter().map(|delta| delta.to_bytes().into()).collect();
            Response::Deltas(reply)
        }
        other => other,
    }
}

#[test]
fn refused_deltas_fall_back_to_states() {
    let ends = |outcome: &Outcome| {
        *outcome == Outcome::Failed(FailureReason::Unauthorized(DeltaRefusal::BadSignature))
    };
    let mut world = case("changed deltas", DeltaSync, ends, |_, honest| {
        with_deltas(honest, |deltas| {
            deltas.into_iter().map(|delta| Delta { actions: vec![], ..delta }).collect()
        })
    })
    .harmless()
    .run();
    let victim = world.honest(VICTIM);
    let refused = Notice::DeltaRefused { from: PeerId(ADVERSARY), refusal: DeltaRefusal::BadSignature };
    assert!(victim.read("hostile 1").is_some(), "what it holds came with its state");
    assert!(victim.notices.contains(&refused));
    let (first, _) = &victim.outcomes(ADVERSARY)[0];
    assert!(ends(first), "{first:?}");
}

#[test]
fn refuses_delta_in_outsiders_name() {
    let ends = |outcome: &Outcome| {
        *outcome == Outcome::Failed(FailureReason::Unauthorized(DeltaRefusal::NotAMember))
    };
    case("a stranger's delta", DeltaSync, ends, |_, honest| {
        with_deltas(honest, |_| {
            let author = replica_at(77);
            let action = register("stranger", "was here", author, 700);
            let delta = Delta::new(Dot { author, seq: 1 }, vec![], Hlc::new(700, 0, author), vec![action]);
            vec![delta.signed(&gate(0))]
        })
    })
    .harmless()
    .run();
}

#[test]
fn reordered_deltas_apply_in_causal_order() {
    case("reordered deltas", DeltaSync, has_converged, |_, honest| {
        with_deltas(honest, |deltas| deltas.into_iter().rev().collect())
    })
    .harmless()
    .run();
}

#[test]
fn empty_delta_pages_end_session() {
    let mut turns = 0;
    let mut world = case("empty pages of deltas", DeltaSync, has_converged, move |_, honest| match honest {
        Response::Deltas(mut reply) => {
            turns += 1;
            reply.covered.cover(Dot { author: replica_at(50), seq: turns });
            Response::Deltas(DeltasReply { deltas: vec![], complete: false, ..reply })
        }
        other => other,
    })
    .harmless()
    .run();
    for (outcome, stats) in world.honest(VICTIM).outcomes(ADVERSARY) {
        assert!(stats.round_trips < 20, "{outcome:?} after {stats:?}");
    }
}

#[test]
fn replayed_frames_answer_nothing() {
    let mut first = Vec::new();
    let mut session = None;
    let held = holdings(30);
    let mutant = Mutant::with(held, move |asked, honest| {
        let message = asked.with(honest);
        if *session.get_or_insert(asked.session) == asked.session {
            first.push(message.clone());
            return vec![(SimDuration::ZERO, message)];
        }
        first.iter().map(|message| (SimDuration::ZERO, message.clone())).collect()
    });
    let ends = |outcome: &Outcome| *outcome == Outcome::Failed(FailureReason::Timeout);
    let what = "replayed frames";
    let case = Case { what, mutant, wish: HashComparison, fresh: false, ends, alone: false };
    let mut world = case.run();
    let victim = world.honest(VICTIM);
    let refused =
        |(from, refusal): &(_, Refusal)| *from == PeerId(ADVERSARY) && *refusal == Refusal::Duplicate;
    assert!(victim.refusals.iter().any(refused));
}

#[test]
fn endless_snapshot_runs_out_of_time() {
    let record = |n: u64| {
        let mut id = [0xff; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        (EntityId(id), Bytes::from(Record::placeholder(1, EntityId::ROOT).to_bytes()))
    };
    let mut next = 0;
    let mut world = case("endless pages", Snapshot, is_too_long, move |asked, honest| {
        match (asked.request, claim(asked, honest, |_| {})) {
            (Request::SnapshotPage { boundary, .. }, _) => {
                next += 1;
                let (packed, unpacked_len) = SnapshotPage::pack(&[record(next)], false);
                let place = Some(super::mutant::cursor(record(next).0));
                Response::SnapshotPage(SnapshotPage {
                    boundary: *boundary,
                    root: *boundary,
                    packed,
                    unpacked_len,
                    next: place,
                })
            }
            (_, other) => other,
        }
    })
    .against_a_fresh_victim()
    .harmless()
    .run();
    let outcomes = world.honest(VICTIM).outcomes(ADVERSARY);
    assert!(outcomes.iter().all(|(_, stats)| stats.records_received < 100), "{outcomes:?}");
}

#[test]
fn empty_page_ends_snapshot() {
    case("empty pages", Snapshot, is_protocol, |_, honest| match honest {
        Response::SnapshotPage(page) => {
            let (packed, unpacked_len) = SnapshotPage::pack(&[], false);
            let place = super::mutant::cursor(EntityId::LAST);
            Response::SnapshotPage(SnapshotPage { packed, unpacked_len, next: Some(place), ..page })
        }
        other => other,
    })
    .against_a_fresh_victim()
    .harmless()
    .run();
}

#[test]
fn ever_gone_snapshot_is_abandoned() {
    case("gone snapshots", Snapshot, is_too_long, |asked, honest| match (asked.request, honest) {
        (Request::SnapshotPage { .. }, _) => {
            Response::SnapshotGone(Box::new(holdings(30).handshake(SimTime::from_secs(1))))
        }
        (_, other) => other,
    })
    .against_a_fresh_victim()
    .harmless()
    .run();
}

#[test]
fn empty_answers_end_session() {
    case("no answers", HashComparison, is_protocol, |asked, honest| match differing(asked, honest) {
        Response::Exchange(reply) => {
            Response::Exchange(ExchangeReply { answers: vec![], records: vec![], ..reply })
        }
        other => other,
    })
    .run();
}

#[test]
fn too_many_answers_end_session() {
    case("too many answers", HashComparison, is_protocol, |asked, honest| match differing(asked, honest) {
        Response::Exchange(mut reply) => {
            let full = limits::MAX_RECORDS_PER_FRAME;
            reply.records.resize(full, None);
            Response::Exchange(reply)
        }
        other => other,
    })
    .run();
}

#[test]
fn endless_children_run_out_of_time() {
    let mut next = 0u64;
    case("endless children", LevelWise, is_too_long, move |asked, honest| match differing(asked, honest) {
        Response::Exchange(mut reply) => {
            for answer in &mut reply.answers {
                let ids = next + 1..=next + 50;
                next += 50;
                let entry = |n: u64| {
                    let mut id = [0; 32];
                    id[..8].copy_from_slice(&n.to_be_bytes());
                    WireEntry { id: EntityId(id), own: WireDigest::of(Digest(id), reply.whole), kids: None }
                };
                *answer = Answer::Children { entries: ids.map(entry).collect(), complete: false };
            }
            Response::Exchange(reply)
        }
        other => other,
    })
    .run();
}

#[test]
fn answer_of_other_kind_ends_session() {
    case("other answers", HashComparison, is_protocol, |asked, honest| match differing(asked, honest) {
        Response::Exchange(reply) => Response::Deltas(DeltasReply {
            root: reply.root,
            covered: VersionVector::default(),
            deltas: vec![],
            complete: true,
            refused: 0,
        }),
        other => other,
    })
    .run();
}

#[test]
fn rejection_in_session_fails_it() {
    let ends = |outcome: &Outcome| *outcome == Outcome::Failed(FailureReason::Rejected(Rejection::Context));
    case("a refusal in the middle", HashComparison, ends, |asked, honest| match differing(asked, honest) {
        Response::Exchange(_) => Response::Rejected(Rejection::Context),
        other => other,
    })
    .run();
}

#[test]
fn ever_yielding_peer_blocks_nobody() {
    let ends = |outcome: &Outcome| *outcome == Outcome::SyncPending(RetryReason::Yielded);
    case("yields for ever", HashComparison, ends, |_, _| Response::Rejected(Rejection::Yield))
        .harmless()
        .run();
}

#[test]
fn backs_off_from_ever_restarting_peer() {
    let ends = |outcome: &Outcome| *outcome == Outcome::SyncPending(RetryReason::PeerRestarted);
    case("restarts for ever", HashComparison, ends, |asked, honest| match differing(asked, honest) {
        Response::Handshake(reply) => Response::Handshake(reply),
        _ => Response::Rejected(Rejection::NoHandshake),
    })
    .run();
}

/// An adversary that answers with next to nothing, and takes its time.
fn dripping() -> Mutant {
    let twist = |asked: &Asked<'_>, honest| {
        let response = match differing(asked, honest) {
            Response::Exchange(mut reply) => {
                let keep = usize::from(reply.records.is_empty());
                reply.answers.truncate(keep);
                reply.records.truncate(1);
                for answer in &mut reply.answers {
                    if let Answer::Subtree { records, complete } = answer {
                        *complete &= records.len() <= 1;
                        records.truncate(1);
                    }
                }
                Response::Exchange(reply)
            }
            other => other,
        };
        vec![(SimDuration::from_millis(350), asked.with(response))]
    };
    Mutant::with(holdings(3_000), twist)
}

#[test]
fn dripping_peer_cannot_hold_only_place() {
    let mut world = World::new();
    let mut own = config(VICTIM, 3);
    own.requested_protocol = Some(HashComparison);
    own.session_deadline = SimDuration::from_secs(10);
    world.add(own);
    world.add_hostile(dripping());
    world.add(config(FRIEND, 3));
    world.write(VICTIM, vec![set("mine", "precious")]);
    world.write(FRIEND, vec![set("theirs", "precious")]);
    world.link(VICTIM, ADVERSARY);
    world.run_for(SimDuration::from_secs(30));
    world.link(VICTIM, FRIEND);
    world.run_for(SimDuration::from_secs(5));
    let victim = world.honest(VICTIM);
    assert_eq!(victim.read("theirs").as_deref(), Some(&b"precious"[..]));
    let drips = |peer| peer == PeerId(ADVERSARY);
    assert!(victim.replica.syncing_with().any(drips), "the drip goes on beside it");
    // Whoever waits for its end is served, and what is written spreads at once.
    world.write(FRIEND, vec![set("later", "precious")]);
    world.run_for(SimDuration::from_secs(2));
    assert_eq!(world.honest(VICTIM).read("later").as_deref(), Some(&b"precious"[..]));
}
