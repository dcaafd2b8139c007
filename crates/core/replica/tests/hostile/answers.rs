//! Hostile responders: everything an answer can lie about.

use crate::mutant::{Asked, Holdings, Mutant, gate};
use crate::world::{World, config, replica_at, set};
use syncline_crdt::{Register, Value};
use syncline_replica::{Notice, Refusal, Target};
use syncline_storage::{Action, Interface, Metadata, Record};
use syncline_store::Bytes;
use syncline_sync::*;
use syncline_types::{Decode, Digest, Encode, EntityId, Hlc, ReplicaId, SimDuration, SimTime, limits};

const VICTIM: u32 = 0;
const LIAR: u32 = 1;
const FRIEND: u32 = 2;

/// A register that the liar holds, as a member would have written it.
pub(crate) fn register(name: &str, value: &str, by: ReplicaId, at_ms: u64) -> Action {
    let (stamp, target) = (Hlc::new(at_ms, 0, by), Target::named(name.as_bytes()));
    Action::Add {
        id: target.id,
        ancestors: vec![],
        value: Value::Lww(Register::new(stamp, value.into())),
        metadata: Metadata { created_at: stamp, updated_at: stamp, label: target.label },
    }
}

/// What the liar holds before it lies.
fn holdings(records: u64) -> Holdings {
    let mut held = Holdings::new(LIAR);
    for page in 0..records.div_ceil(100) {
        let names = page * 100..((page + 1) * 100).min(records);
        let by = held.replica;
        let actions = names.map(|n| register(&format!("liar {n}"), "held", by, 500 + page)).collect();
        held.write(actions, SimTime::from_millis(600));
    }
    held
}

/// What it says of itself instead, with the verdict that follows from that.
fn claim(asked: &Asked<'_>, honest: Response, lie: impl FnOnce(&mut SyncHandshake)) -> Response {
    let (Request::Handshake(ours), Response::Handshake(mut reply)) = (asked.request, honest.clone()) else {
        return honest;
    };
    lie(&mut reply.theirs);
    reply.verdict = select_protocol(ours, &reply.theirs).protocol.kind();
    Response::Handshake(reply)
}

struct Case {
    what: &'static str,
    mutant: Mutant,
    /// The protocol of the victim's sessions.
    wish: SyncProtocolKind,
    /// Whether the victim has nothing yet when it meets the liar.
    fresh: bool,
    /// How some session with the liar must end.
    ends: fn(&Outcome) -> bool,
    /// Whether no session at all may end as if nothing were wrong.
    alone: bool,
}

fn case(
    what: &'static str,
    wish: SyncProtocolKind,
    ends: fn(&Outcome) -> bool,
    twist: impl FnMut(&Asked<'_>, Response) -> Response + 'static,
) -> Case {
    Case { what, mutant: Mutant::new(holdings(30), twist), wish, fresh: false, ends, alone: true }
}

impl Case {
    fn against_a_fresh_victim(self) -> Self {
        Self { fresh: true, ..self }
    }

    /// The lie is not one that can be told from the truth: it is only harmless.
    fn harmless(self) -> Self {
        Self { alone: false, ..self }
    }

    /// Runs it and looks at what must hold whatever the liar did.
    fn run(self) -> World {
        let (what, fresh) = (self.what, self.fresh);
        let mut world = World::new();
        let mut own = config(VICTIM, 3);
        own.wish = Some(self.wish);
        own.session_deadline = SimDuration::from_secs(10);
        world.add(own);
        world.add_hostile(self.mutant);
        world.add(config(FRIEND, 3));
        if !fresh {
            world.write(VICTIM, vec![set("mine", "precious")]);
        }
        world.link(VICTIM, LIAR);
        world.run_for(SimDuration::from_secs(40));
        world.write(VICTIM, vec![set("mine", "precious")]);
        world.link(VICTIM, FRIEND);
        for round in 0..20 {
            world.write(FRIEND, vec![set(&format!("theirs {round}"), "precious")]);
            world.run_for(SimDuration::from_secs(2));
        }
        world.run_for(SimDuration::from_secs(90));

        let (now, victim) = (world.now, world.honest(VICTIM));
        let root = victim.sound_root();
        assert_eq!(victim.read("mine").as_deref(), Some(&b"precious"[..]), "{what}");
        for round in 0..20 {
            assert!(victim.read(&format!("theirs {round}")).is_some(), "{what}: {round} has arrived");
        }
        let horizon = Interface::open(victim.store.clone()).unwrap().horizon();
        assert!(horizon.physical_ms() <= now.as_millis(), "{what}: {horizon}");
        let outcomes = victim.outcomes(LIAR);
        assert!(outcomes.iter().any(|(outcome, _)| (self.ends)(outcome)), "{what}: {:?}", outcomes.last());
        if self.alone {
            // One at every heartbeat would be some three hundred, and one after each that is owed, more
            // than a thousand. What is new here, twenty times, gives a peer another few chances.
            assert!(outcomes.len() < 80, "{what}: {} sessions, {:?}", outcomes.len(), outcomes.last());
            assert!(!outcomes.iter().any(|(o, _)| matches!(o, Outcome::Converged { .. })), "{what}");
        }
        if !fresh {
            let taken =
                |notice: &Notice| matches!(notice, Notice::SessionEnded { protocol: Some(Snapshot), .. });
            assert!(!victim.notices.iter().any(taken), "{what}: a snapshot on a replica with state");
        }
        assert_eq!(world.honest(FRIEND).sound_root(), root, "{what}: those who are honest are equal");
        world
    }
}

fn is_protocol(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(FailureReason::Protocol(_)))
}

fn is_too_long(outcome: &Outcome) -> bool {
    *outcome == Outcome::Failed(FailureReason::TooLong)
}

fn has_converged(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Converged { .. })
}

use SyncProtocolKind::{DeltaSync, HashComparison, LevelWise, Snapshot};

#[test]
fn a_record_that_does_not_decode_ends_the_session() {
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
fn a_tampered_entity_is_at_worst_another_valid_record() {
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
fn a_tampered_snapshot_is_not_used() {
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

#[test]
fn a_false_root_is_not_adopted_and_not_taken_for_an_end() {
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
            Response::Handshake(HandshakeReply { theirs, verdict: Snapshot })
        }
        other => other,
    })
    .run();
}

#[test]
fn a_peer_that_is_always_being_written_to_is_left_alone() {
    let ends = |outcome: &Outcome| *outcome == Outcome::Owed(OwedReason::NewerWrites);
    let mut turns = 0u8;
    case("a root that always changes", HashComparison, ends, move |asked, honest| {
        turns = turns.wrapping_add(1);
        let root = Digest([turns; 32]);
        match claim(asked, honest, |theirs| theirs.root_hash = root) {
            Response::Exchange(reply) => {
                let (generation_before, generation_after) = (u64::from(turns) * 2, u64::from(turns) * 2 + 1);
                Response::Exchange(ExchangeReply { root, generation_before, generation_after, ..reply })
            }
            other => other,
        }
    })
    .run();
}

/// Answers an exchange of deltas with these.
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
fn changed_deltas_are_refused_and_the_states_are_compared_instead() {
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
    let refused =
        Notice::DeltaRefused { from: syncline_types::PeerId(LIAR), refusal: DeltaRefusal::BadSignature };
    assert!(victim.notices.contains(&refused));
    let (first, _) = &victim.outcomes(LIAR)[0];
    assert!(ends(first), "{first:?}");
}

#[test]
fn a_delta_under_a_strangers_name_is_refused() {
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
fn reordered_deltas_are_not_applied_out_of_order() {
    case("reordered deltas", DeltaSync, has_converged, |_, honest| {
        with_deltas(honest, |deltas| deltas.into_iter().rev().collect())
    })
    .harmless()
    .run();
}

#[test]
fn accounts_of_deltas_that_never_come_do_not_keep_a_session_going() {
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
    for (outcome, stats) in world.honest(VICTIM).outcomes(LIAR) {
        assert!(stats.round_trips < 20, "{outcome:?} after {stats:?}");
    }
}

#[test]
fn frames_replayed_from_an_earlier_session_answer_nothing() {
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
    let refused = |(from, refusal): &(_, Refusal)| {
        *from == syncline_types::PeerId(LIAR) && *refusal == Refusal::Duplicate
    };
    assert!(victim.refusals.iter().any(refused));
}

#[test]
fn a_snapshot_that_brings_more_than_was_promised_is_given_up() {
    let record = |n: u64| {
        let mut id = [0xff; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        (EntityId(id), Bytes::from(Record::placeholder(1, EntityId::ROOT).to_bytes()))
    };
    let mut next = 0;
    let mut world = case("endless pages", Snapshot, is_too_long, move |asked, honest| {
        match (asked.request, claim(asked, honest, |_| {})) {
            (Request::SnapshotPage { boundary, after, .. }, _) => {
                next += 1;
                let (packed, unpacked_len) = SnapshotPage::pack(&[record(next)], false);
                Response::SnapshotPage(SnapshotPage {
                    boundary: *boundary,
                    root: *boundary,
                    after: *after,
                    packed,
                    unpacked_len,
                    is_last: false,
                })
            }
            (_, other) => other,
        }
    })
    .against_a_fresh_victim()
    .harmless()
    .run();
    let outcomes = world.honest(VICTIM).outcomes(LIAR);
    assert!(outcomes.iter().all(|(_, stats)| stats.records_received < 100), "{outcomes:?}");
}

#[test]
fn an_empty_page_ends_a_snapshot() {
    case("empty pages", Snapshot, is_protocol, |_, honest| match honest {
        Response::SnapshotPage(page) => {
            let (packed, unpacked_len) = SnapshotPage::pack(&[], false);
            Response::SnapshotPage(SnapshotPage { packed, unpacked_len, is_last: false, ..page })
        }
        other => other,
    })
    .against_a_fresh_victim()
    .harmless()
    .run();
}

#[test]
fn a_snapshot_that_is_always_gone_is_given_up() {
    case("gone snapshots", Snapshot, is_too_long, |asked, honest| match (asked.request, honest) {
        (Request::SnapshotPage { .. }, _) => {
            Response::SnapshotGone(holdings(30).handshake(SimTime::from_secs(1)))
        }
        (_, other) => other,
    })
    .against_a_fresh_victim()
    .harmless()
    .run();
}

/// A liar whose root always differs, so that there is always something to ask.
fn differing(asked: &Asked<'_>, honest: Response) -> Response {
    let root = Digest([0xfd; 32]);
    match claim(asked, honest, |theirs| theirs.root_hash = root) {
        Response::Exchange(reply) => Response::Exchange(ExchangeReply { root, ..reply }),
        other => other,
    }
}

#[test]
fn empty_answers_end_the_session() {
    case("no answers", HashComparison, is_protocol, |asked, honest| match differing(asked, honest) {
        Response::Exchange(reply) => {
            Response::Exchange(ExchangeReply { answers: vec![], records: vec![], ..reply })
        }
        other => other,
    })
    .run();
}

#[test]
fn more_answers_than_questions_end_the_session() {
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
fn children_without_end_are_given_up() {
    let mut next = 0u64;
    case("endless children", LevelWise, is_too_long, move |asked, honest| match differing(asked, honest) {
        Response::Exchange(mut reply) => {
            for answer in &mut reply.answers {
                let ids = next + 1..=next + 50;
                next += 50;
                let entry = |n: u64| {
                    let mut id = [0; 32];
                    id[..8].copy_from_slice(&n.to_be_bytes());
                    WireEntry { id: EntityId(id), own: Fingerprint::of(Digest(id), reply.whole), kids: None }
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
fn an_answer_to_another_question_ends_the_session() {
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
fn a_capability_that_is_claimed_and_then_refused_fails_the_session() {
    let ends = |outcome: &Outcome| *outcome == Outcome::Failed(FailureReason::Rejected(Rejection::Context));
    case("a refusal in the middle", HashComparison, ends, |asked, honest| match differing(asked, honest) {
        Response::Exchange(_) => Response::Rejected(Rejection::Context),
        other => other,
    })
    .run();
}

#[test]
fn a_horizon_beyond_belief_is_not_adopted() {
    case("the end of time", HashComparison, is_protocol, |asked, honest| {
        claim(asked, honest, |theirs| theirs.horizon = Hlc::MAX)
    })
    .run();
}

#[test]
fn a_horizon_ahead_of_our_clock_is_not_adopted() {
    let ends = |outcome: &Outcome| *outcome == Outcome::Owed(OwedReason::NewerWrites);
    let horizon = Hlc::new(3_600_000, 0, replica_at(LIAR));
    case("an hour ahead", HashComparison, ends, move |asked, honest| {
        match claim(asked, differing(asked, honest), |theirs| theirs.horizon = horizon) {
            Response::Exchange(reply) => Response::Exchange(ExchangeReply { horizon, ..reply }),
            other => other,
        }
    })
    .run();
}

#[test]
fn a_past_that_we_never_saw_leaves_one_of_us_behind() {
    let ends = |outcome: &Outcome| *outcome == Outcome::Failed(FailureReason::LeftBehind);
    case("a past of its own", HashComparison, ends, |asked, honest| {
        claim(asked, differing(asked, honest), |theirs| {
            theirs.horizon = Hlc::new(900, 0, replica_at(LIAR));
            theirs.stable.cover(Dot { author: replica_at(FRIEND), seq: 1_000_000 });
        })
    })
    .run();
}

#[test]
fn a_clock_at_the_end_of_time_moves_no_horizon() {
    let twist = |asked: &Asked<'_>, honest| claim(asked, honest, |theirs| theirs.clock = u64::MAX);
    let mut case = case("a clock at the end of time", HashComparison, has_converged, twist).harmless();
    case.mutant = case.mutant.saying(|held, _| {
        let (root, replica) = (held.root(), held.replica);
        vec![Message::Gossip(Gossip::Heartbeat { root, replica, seq: 1, clock: u64::MAX })]
    });
    case.run();
}

#[test]
fn a_history_beyond_belief_is_not_adopted() {
    case("an endless history", HashComparison, is_protocol, |asked, honest| {
        claim(asked, honest, |theirs| {
            theirs.covered.cover(Dot { author: replica_at(VICTIM), seq: limits::MAX_DELTA_SEQ });
        })
    })
    .run();
}

#[test]
fn a_forged_account_of_others_deltas_does_not_keep_them_away() {
    case("forged coverage", HashComparison, has_converged, |asked, honest| {
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
fn a_peer_that_always_goes_first_and_never_does_keeps_nobody_waiting() {
    let ends = |outcome: &Outcome| *outcome == Outcome::Owed(OwedReason::Yielded);
    case("yields for ever", HashComparison, ends, |_, _| Response::Rejected(Rejection::Yield))
        .harmless()
        .run();
}

#[test]
fn a_peer_that_always_restarts_is_left_alone() {
    let ends = |outcome: &Outcome| *outcome == Outcome::Owed(OwedReason::PeerRestarted);
    case("restarts for ever", HashComparison, ends, |asked, honest| match differing(asked, honest) {
        Response::Handshake(reply) => Response::Handshake(reply),
        _ => Response::Rejected(Rejection::NoHandshake),
    })
    .run();
}

#[test]
fn a_peer_that_drips_does_not_hold_the_only_place() {
    let twist = |asked: &Asked<'_>, honest| {
        let response = match differing(asked, honest) {
            Response::Exchange(mut reply) => {
                let keep = usize::from(reply.records.is_empty());
                reply.answers.truncate(keep);
                reply.records.truncate(1);
                Response::Exchange(reply)
            }
            other => other,
        };
        vec![(SimDuration::from_millis(350), asked.with(response))]
    };
    let mutant = Mutant::with(holdings(3_000), twist);
    let what = "a slow drip";
    let mut world =
        Case { what, mutant, wish: HashComparison, fresh: false, ends: is_too_long, alone: true }.run();
    let outcomes = world.honest(VICTIM).outcomes(LIAR);
    let rounds = outcomes.iter().map(|(_, stats)| stats.round_trips).max();
    assert!(rounds < Some(100), "ten seconds, and a little for what came: {rounds:?}");
}

#[test]
fn a_peer_that_says_it_is_a_stranger_is_not_synced_with() {
    let ends = |outcome: &Outcome| matches!(outcome, Outcome::Failed(FailureReason::NotAMember { replica }) if *replica == replica_at(77));
    // Its heartbeats name a member; its handshakes do not.
    let mut world = case("a stranger's answer", HashComparison, ends, |asked, honest| {
        claim(asked, honest, |theirs| theirs.replica = replica_at(77))
    })
    .run();
    let victim = world.honest(VICTIM);
    assert!(victim.read("liar 1").is_none(), "nothing of what it holds was taken");
}
