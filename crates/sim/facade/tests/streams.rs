//! The async protocol functions over streams, and the promise that they run the same sessions as the event queue,
//! frame for frame.

use std::cell::RefCell;
use std::time::Duration;
use sync_sim::prelude::*;
use sync_sim::stream::SentFrame;
use syncline_storage::Interface;
use syncline_store::{MemoryStore, Store};
use syncline_sync::{
    DriveError, FailureReason, Frame, Nonce, Outcome, SessionProgress, SessionStats, SharedKey, StoreHost,
    StreamMessage, SyncTransport, TransportError, bloom_filter_sync, delta_sync, drive, hash_comparison_sync,
    level_wise_sync, serve, snapshot_sync, subtree_prefetch_sync,
};
use syncline_types::{ContextId, Digest, Moment, ReplicaId};

const CONTEXT: ContextId = ContextId([3; 32]);

type Host = StoreHost<MemoryStore>;

/// Hosts with the states of a scenario's nodes.
fn hosts(scenario: Scenario) -> (Host, Host) {
    let mut rt = SimRuntime::with_seed(0);
    let [a, b] = rt.apply_scenario_n(scenario);
    let host = |node, replica| {
        let moment = Moment::at(SimTime::from_secs(1));
        let store = rt.node(node).disk().clone();
        StoreHost::open(store, CONTEXT, ReplicaId::from_u64(replica), moment).unwrap()
    };
    (host(a, 1), host(b, 2))
}

fn root(host: &Host) -> Digest {
    Interface::open(host.store.view()).unwrap().root_hash().unwrap()
}

type Driven = Result<(Outcome, SessionStats), DriveError>;

/// Runs one session over the two ends of a stream until both sides are done.
fn run_over(
    net: &SimNet,
    mut ends: (SimStream, SimStream),
    a: &mut Host,
    b: &mut Host,
    which: &str,
) -> Driven {
    let result = RefCell::new(None);
    let initiator = async {
        let outcome = match which {
            "walk" => hash_comparison_sync(a, &mut ends.0).await,
            "filter" => bloom_filter_sync(a, &mut ends.0).await,
            "subtrees" => subtree_prefetch_sync(a, &mut ends.0).await,
            "levels" => level_wise_sync(a, &mut ends.0).await,
            "snapshot" => snapshot_sync(a, &mut ends.0).await,
            "deltas" => delta_sync(a, &mut ends.0).await,
            _ => drive(a, &mut ends.0).await,
        };
        ends.0.close().await.unwrap();
        *result.borrow_mut() = Some(outcome);
    };
    let responder = async {
        serve(b, &mut ends.1).await.unwrap();
    };
    assert!(net.run(vec![Box::pin(initiator), Box::pin(responder)]), "both ends finish");
    result.into_inner().expect("the initiator has finished")
}

fn hostile() -> FaultConfig {
    FaultConfig::none().with_latency(20, 10).with_loss(0.2).with_duplicates(0.2).with_reorder_window(60)
}

#[test]
fn each_protocol_converges_over_a_perfect_pair() {
    for (which, scenario) in [
        ("walk", Scenario::overlap(2, 300, 50)),
        ("filter", Scenario::overlap(2, 300, 50)),
        ("subtrees", Scenario::deep_tree(2, 300, |_| 50)),
        ("levels", Scenario::deep_tree(2, 300, |_| 50)),
        ("any", Scenario::n_nodes_diverged(2, 20)),
        ("any", Scenario::n_nodes_synced(2, 20)),
    ] {
        let (mut a, mut b) = hosts(scenario);
        let (net, one, two) = SimStream::pair(CONTEXT);
        let (outcome, _) = run_over(&net, (one, two), &mut a, &mut b, which).unwrap();
        assert_eq!(outcome, Outcome::Converged { root: root(&b) }, "{which}");
        assert_eq!(root(&a), root(&b));
        assert_eq!(net.now(), SimTime::ZERO, "a perfect stream takes no time");
    }
    let (mut full, mut fresh) = hosts(Scenario::fresh_joiner(2, 2_000));
    let (net, one, two) = SimStream::pair(CONTEXT);
    let (outcome, stats) = run_over(&net, (one, two), &mut fresh, &mut full, "snapshot").unwrap();
    assert_eq!(outcome, Outcome::Converged { root: root(&full) });
    assert!(stats.walks == 0 && stats.round_trips > 2, "{stats:?}");
    let (mut a, mut b) = hosts(Scenario::n_nodes_diverged(2, 5));
    let (net, one, two) = SimStream::pair(CONTEXT);
    let (outcome, stats) = run_over(&net, (one, two), &mut a, &mut b, "deltas").unwrap();
    assert_eq!(outcome, Outcome::Converged { root: root(&b) });
    assert_eq!(stats.walks, 1, "without deltas to send, the session goes on with a walk");
}

#[test]
fn corruption_never_reaches_a_session() {
    let (mut corrupted, mut converged) = (0, 0);
    for seed in 0..40 {
        let (mut a, mut b) = hosts(Scenario::overlap(2, 50, 30));
        let net = SimNet::new(seed, hostile().with_corruption(0.1)).unwrap();
        let ends = SimStream::open(&net, CONTEXT);
        match run_over(&net, ends, &mut a, &mut b, "any").unwrap() {
            (Outcome::Failed(FailureReason::Timeout), _) => {}
            (outcome, _) => {
                assert_eq!(outcome, Outcome::Converged { root: root(&b) }, "seed {seed}");
                assert_eq!(root(&a), root(&b));
                converged += 1;
            }
        }
        assert!(net.fates().is_balanced(), "seed {seed}: {:?}", net.fates());
        corrupted += net.fates().dropped(DropCause::Corrupt);
    }
    assert!(corrupted > 10 && converged > 20, "{corrupted} corrupted, {converged} converged");
}

#[test]
fn encrypted_sessions_converge_over_hostile_streams() {
    let mut suppressed = 0;
    for seed in 0..40 {
        let (mut a, mut b) = hosts(Scenario::overlap(2, 50, 30));
        let net = SimNet::new(seed, hostile()).unwrap();
        let (mut one, mut two) = SimStream::open(&net, CONTEXT);
        let key = || Some((SharedKey([seed as u8; 32]), Nonce([1; 12])));
        one.set_encryption(key());
        two.set_encryption(key());
        assert!(one.encryption().is_on());
        let (outcome, _) = run_over(&net, (one, two), &mut a, &mut b, "any").unwrap();
        match outcome {
            Outcome::Converged { root: agreed } => {
                assert!(agreed == root(&a) && agreed == root(&b), "seed {seed}");
            }
            Outcome::Failed(_) => assert_ne!(root(&a), root(&b), "seed {seed}"),
            Outcome::SyncPending(reason) => panic!("seed {seed}: {reason:?}"),
        }
        assert!(net.fates().is_balanced(), "seed {seed}: {:?}", net.fates());
        suppressed += net.fates().dropped(DropCause::DuplicateSuppressed);
    }
    assert!(suppressed > 0, "replayed frames are refused by the seal itself");
}

#[test]
fn different_keys_never_communicate() {
    let (mut a, mut b) = hosts(Scenario::n_nodes_diverged(2, 5));
    let before = (root(&a), root(&b));
    let (net, mut one, mut two) = SimStream::pair(CONTEXT);
    one.set_encryption(Some((SharedKey([1; 32]), Nonce([1; 12]))));
    two.set_encryption(Some((SharedKey([2; 32]), Nonce([1; 12]))));
    let (outcome, stats) = run_over(&net, (one, two), &mut a, &mut b, "any").unwrap();
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    assert_eq!((stats.round_trips, (root(&a), root(&b))), (0, before));
    assert!(net.fates().dropped(DropCause::Corrupt) > 0);
}

#[test]
fn receivers_learn_of_close_and_timeout() {
    let (net, mut one, mut two) = SimStream::pair(CONTEXT);
    let task = async {
        assert_eq!(two.recv_timeout(Duration::from_millis(250)).await, Ok(None));
        one.close().await.unwrap();
        assert_eq!(two.recv().await, Ok(None));
        assert_eq!(two.recv_timeout(Duration::from_secs(1)).await, Err(TransportError::Closed));
        let message = StreamMessage {
            incarnation: 1,
            message: std::borrow::Cow::Owned(syncline_sync::Message::Gossip(
                syncline_sync::Gossip::Heartbeat {
                    root: Digest::ZERO,
                    replica: ReplicaId::default(),
                    seq: 0,
                    clock: 0,
                    wall_ms: 0,
                },
            )),
        };
        assert_eq!(one.send(&message).await, Err(TransportError::Closed));
    };
    assert!(net.run(vec![Box::pin(task)]));
    assert_eq!(net.now(), 250.into());
}

/// The reference host: a loop without futures that gives each arrival to a session or to the responder, and each
/// deadline to the session. It must send the same frames as the driver.
fn run_by_hand(seed: u64, faults: FaultConfig, a: &mut Host, b: &mut Host) -> (Outcome, Vec<SentFrame>) {
    let net = SimNet::new(seed, faults).unwrap();
    let (mut one, mut two) = SimStream::open(&net, CONTEXT);
    let frame = |host: &Host, message| StreamMessage {
        incarnation: host.incarnation,
        message: std::borrow::Cow::Owned(message),
    };
    let (mut session, first) = a.start().unwrap();
    let outcome = RefCell::new(None);
    // One task runs both sides: it polls the two inboxes in turn and never waits for one alone.
    let task = async {
        one.send(&frame(a, first)).await.unwrap();
        let mut patience = a.patience_for(session.attempts());
        let mut deadline = net.now() + SimDuration::from_micros(patience.as_micros() as u64);
        net_wake(&mut one, deadline);
        loop {
            let mut progress = None;
            if let Some(answer) = one.try_recv() {
                progress = Some(a.on_message(&mut session, &answer.message).unwrap());
            } else if net.now() >= deadline {
                progress = Some(session.on_timeout());
            }
            match progress {
                Some(SessionProgress::Done(end)) => {
                    *outcome.borrow_mut() = Some(end);
                    return;
                }
                Some(SessionProgress::Send(id, request)) => {
                    let message = syncline_sync::Message::Request { session: session.id(), id, request };
                    one.send(&frame(a, message)).await.unwrap();
                }
                Some(SessionProgress::Ignored) => {}
                None => {
                    while let Some(request) = two.try_recv() {
                        if let Some(answer) = b.answer(&request.message).unwrap() {
                            two.send(&frame(b, answer)).await.unwrap();
                        }
                    }
                    one.pause().await;
                    continue;
                }
            }
            patience = a.patience_for(session.attempts());
            deadline = net.now() + SimDuration::from_micros(patience.as_micros() as u64);
            net_wake(&mut one, deadline);
        }
    };
    assert!(net.run(vec![Box::pin(task)]));
    (outcome.into_inner().expect("an end"), net.sent())
}

fn net_wake(stream: &mut SimStream, at: SimTime) {
    stream.wake_at(at);
}

#[test]
fn both_hosts_agree_frame_for_frame() {
    let mut frames = 0;
    for seed in 0..1_000 {
        let scenario = || match seed % 3 {
            0 => Scenario::n_nodes_diverged(2, 8),
            1 => Scenario::overlap(2, 40, 5),
            _ => Scenario::fresh_joiner(2, 30),
        };
        let (mut b, mut a) = hosts(scenario());
        let net = SimNet::new(seed, hostile()).unwrap();
        let ends = SimStream::open(&net, CONTEXT);
        let (driven, _) = run_over(&net, ends, &mut a, &mut b, "any").unwrap();
        let (mut d, mut c) = hosts(scenario());
        let (by_hand, sent) = run_by_hand(seed, hostile(), &mut c, &mut d);
        assert_eq!(driven, by_hand, "seed {seed}");
        let by_driver = net.sent();
        for (at, (left, right)) in by_driver.iter().zip(&sent).enumerate() {
            assert_eq!(left, right, "seed {seed}, frame {at}: {:?}", Frame::from_wire(&left.bytes, CONTEXT));
        }
        let extra = by_driver.len().abs_diff(sent.len());
        assert!(extra == 0, "seed {seed}: {} frames against {}", by_driver.len(), sent.len());
        assert_eq!((root(&a), root(&b)), (root(&c), root(&d)), "seed {seed}");
        frames += sent.len();
    }
    assert!(frames > 5_000, "{frames} frames were compared");
}
