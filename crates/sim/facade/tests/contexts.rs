//! Nodes with several contexts: independent states on one host.

use std::collections::BTreeSet;
use sync_sim::engine::{Actor, Context, Effects, HostEffects, Input, Unfinished, World};
use sync_sim::node::{ContextNotice, context_id, replica_id};
use sync_sim::prelude::*;
use sync_sim::runtime::Choices;
use sync_sim::workload::Write;
use syncline_replica::ReplicaConfig;
use syncline_store::{Bytes, MemoryStore, ReadView};
use syncline_sync::{Authority, Frame, Gossip, Membership, Message, Request, Response};

/// A run of three nodes with so many contexts.
fn run(seed: u64, contexts: usize, faults: FaultConfig) -> SimRuntime {
    let mut rt =
        SimRuntime::with_config(SimConfig::with_seed(seed).with_contexts(contexts).with_faults(faults));
    rt.apply_scenario(Scenario::overlap(3, 6, 6));
    rt
}

fn set(name: &str, value: &str) -> Vec<Operation> {
    vec![Operation::Set { target: Target::named(name.as_bytes()), bytes: value.into() }]
}

/// The record of the named entity in a context, in words.
fn shown(rt: &SimRuntime, node: &str, context: usize, name: &str) -> Option<String> {
    let id = Target::named(name.as_bytes()).id;
    rt.node(node).in_context(context).record(id).unwrap().map(|record| record.to_string())
}

fn rows(store: &MemoryStore) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows = store.range(&[], &[0xff; 64], usize::MAX).unwrap();
    rows.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

/// Each context has its own oracle, which checks that the nodes agree on what was written there.
#[test]
fn each_context_converges_under_heavy_faults() {
    for seed in 0..40 {
        let mut rt = run(seed, 2 + seed as usize % 3, FaultConfig::heavy_chaos());
        rt.apply_workload(&Workload::new(40, SimDuration::from_secs(3)));
        assert_eq!(rt.run(), StopCondition::Converged, "seed {seed}");
        let roots: Vec<Digest> = (0..rt.contexts()).map(|context| rt.root_in(context, "alice")).collect();
        assert!(roots.iter().enumerate().all(|(at, root)| !roots[..at].contains(root)), "seed {seed}");
        for (context, root) in roots.iter().enumerate() {
            assert!(["bob", "carol"].iter().all(|node| rt.root_in(context, *node) == *root));
            assert!(rt.sessions().iter().any(|session| session.context == context), "seed {seed}");
        }
    }
}

#[test]
fn write_is_visible_in_its_context_only() {
    let mut rt = run(1, 3, FaultConfig::none());
    rt.write("alice", Write::from(set("colour", "red")).in_context(1));
    rt.write("bob", Write::from(set("colour", "blue")).in_context(2));
    assert_eq!(rt.run(), StopCondition::Converged);
    for node in ["alice", "bob", "carol"] {
        assert_eq!(shown(&rt, node, 0, "colour"), None);
        assert!(shown(&rt, node, 1, "colour").unwrap().contains("red"));
        assert!(shown(&rt, node, 2, "colour").unwrap().contains("blue"));
    }
}

#[test]
fn runs_with_several_contexts_repeat() {
    let trace = |contexts| {
        let mut rt = run(7, contexts, FaultConfig::heavy_chaos());
        rt.apply_workload(&Workload::new(25, SimDuration::from_secs(2)));
        rt.run();
        rt.trace_digest()
    };
    let elsewhere = std::thread::scope(|scope| scope.spawn(|| trace(3)).join().unwrap());
    assert_eq!((trace(3), trace(3)), (elsewhere, elsewhere));
    assert_ne!(trace(3), trace(1));
    assert_ne!(trace(3), trace(2));
}

#[test]
fn crash_restarts_every_context_from_disk() {
    let mut rt = run(3, 3, FaultConfig::none());
    rt.run();
    let before: Vec<Digest> = (0..3).map(|context| rt.root_in(context, "bob")).collect();
    let at = rt.now() + SimDuration::from_millis(10);
    rt.crash_at(at, "bob", CrashPoint::Now, Some(SimDuration::from_secs(1)));
    rt.write_at(at + SimDuration::from_secs(2), "bob", Write::from(set("last", "word")).in_context(1));
    rt.run_until(|rt| !rt.is_up("bob"));
    assert!(rt.node("bob").replicas().all(|replica| replica.replica().is_none()));
    assert_eq!((0..3).map(|context| rt.root_in(context, "bob")).collect::<Vec<_>>(), before);
    assert_eq!(rt.run(), StopCondition::Converged);
    let starts = rt.node("bob").replicas().map(|replica| replica.replica().unwrap().incarnation());
    assert_eq!(starts.collect::<Vec<_>>(), [2, 2, 2]);
}

/// The disk acknowledges syncs that it does not do while two contexts are written: each loses its
/// unsynced commits.
#[test]
fn lost_commits_cause_fresh_start_everywhere() {
    let mut rt = run(5, 3, FaultConfig::none());
    rt.run();
    let now = rt.now();
    let at = |ms| now + SimDuration::from_millis(ms);
    let lies = at(10);
    let writes = at(20);
    let crash = writes + SimDuration::from_micros(1);
    rt.lie_about_syncs_at(lies, "alice", true);
    for context in [0, 2] {
        rt.write_at(writes, "alice", Write::from(set("late", "lost")).in_context(context));
    }
    rt.crash_at(crash, "alice", CrashPoint::Now, Some(SimDuration::from_millis(50)));
    rt.write_at(at(1_000), "bob", set("last", "word"));
    assert_eq!(rt.run(), StopCondition::Converged);
    let HostEffects { lost_commits, fresh_starts, .. } = rt.metrics().effects.hosts;
    assert!(
        lost_commits >= 2 && fresh_starts == 1,
        "{lost_commits} commits lost, {fresh_starts} fresh starts"
    );
    let names = rt.node("alice").replicas().map(|replica| replica.replica().unwrap().config().replica);
    let names: Vec<_> = names.collect();
    assert!(names.iter().all(|name| *name == names[0] && *name != replica_id(NodeId(0))), "{names:?}");
}

#[test]
fn bit_rot_causes_fresh_start_everywhere() {
    let mut rt = run(6, 3, FaultConfig::none());
    rt.run();
    let at = rt.now() + SimDuration::from_millis(10);
    rt.rot_at(at, "carol");
    rt.write_at(at + SimDuration::from_secs(5), "bob", set("last", "word"));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_eq!(rt.metrics().effects.hosts.fresh_starts, 1);
    let replicas: Vec<_> = rt.node("carol").replicas().collect();
    assert!(
        replicas.iter().all(|replica| replica.replica().unwrap().config().replica != replica_id(NodeId(2)))
    );
}

#[test]
fn contexts_share_a_partition() {
    let mut rt = run(8, 2, FaultConfig::none());
    rt.run();
    rt.partition_bidirectional("alice", "bob", Some(SimDuration::from_secs(2)));
    rt.partition_bidirectional("alice", "carol", Some(SimDuration::from_secs(2)));
    for context in 0..2 {
        rt.write("alice", Write::from(set("apart", "x")).in_context(context));
    }
    let healed = rt.now() + SimDuration::from_secs(2);
    rt.run_until(|rt| rt.now() >= healed);
    assert!((0..2).all(|context| rt.root_in(context, "alice") != rt.root_in(context, "bob")));
    assert_eq!(rt.run(), StopCondition::Converged);
}

/// Pending work is counted for each context.
#[test]
fn blockers_name_the_context_that_differs() {
    let mut rt = run(9, 3, FaultConfig::none());
    rt.run();
    rt.write("alice", Write::from(set("colour", "red")).in_context(2));
    rt.run_until(|rt| rt.differ("alice", "bob") == [2]);
    let blockers = rt.blockers().to_string();
    assert!(blockers.contains("alice in context 2") && !blockers.contains("in context 1"), "{blockers}");
    assert!(rt.explain().contains("bob in context 2"), "{}", rt.explain());
    assert_eq!(rt.run(), StopCondition::Converged);
}

/// The investigation picks the context that differs.
#[test]
fn investigation_names_the_context() {
    let build = || {
        let config = SimConfig::with_seed(10).with_contexts(3).with_max_time(SimTime::from_secs(5));
        let mut rt = SimRuntime::with_config(config);
        rt.apply_scenario(Scenario::n_nodes_synced(2, 4));
        rt.write_at(100.into(), "alice", Write::from(set("colour", "red")).in_context(1));
        rt.partition_bidirectional("alice", "bob", None);
        rt
    };
    let report = sync_sim::forensics::investigate(build);
    let (one, other) = report.sides.clone().expect("two sides");
    assert_eq!((one.as_str(), other.as_str()), ("alice in context 1", "bob in context 1"));
    assert!(report.differences[0].contains("red"), "{:?}", report.differences);
    assert!(report.touches.iter().any(|touch| touch.how == "written here"), "{}", report.details());
    let mut rt = build();
    rt.keep_history(usize::MAX);
    let stop = rt.run();
    let timeline = sync_sim::timeline::Timeline::of_run(&rt, &stop).unwrap().unwrap();
    assert!(
        timeline
            .facts
            .iter()
            .any(|fact| fact.contains("3 contexts on each node; the records are those of context 1"))
    );
    assert!(timeline.records.list[0].differs, "{:?}", timeline.records.list);
}

trait Differ {
    fn differ(&self, one: &str, other: &str) -> Vec<usize>;
}

impl Differ for SimRuntime {
    /// The contexts in which two nodes differ.
    fn differ(&self, one: &str, other: &str) -> Vec<usize> {
        (0..self.contexts()).filter(|at| self.root_in(*at, one) != self.root_in(*at, other)).collect()
    }
}

#[test]
fn honest_agree_in_each_context() {
    for seed in 0..12 {
        let faults = FaultConfig::light_chaos().with_hostile(1).with_lie_rate(0.5);
        let config = SimConfig::with_seed(seed).with_contexts(2).with_faults(faults);
        let mut rt = SimRuntime::with_config(config);
        rt.apply_scenario(Scenario::n_nodes_diverged(4, 5));
        rt.apply_workload(&Workload::new(30, SimDuration::from_secs(3)));
        assert_eq!(rt.run(), StopCondition::Converged, "seed {seed}");
        assert!(rt.metrics().hostile.total_lies() > 0);
    }
}

/// Grace sends the first pages of a snapshot and dave the last. That the snapshot is not the promised one
/// shows only when it is complete. Bob discards it and starts again.
#[test]
fn snapshot_mismatch_blames_no_honest_sender() {
    let case: Case = r#"
        seed = 7
        calm_after = "1314ms"
        contexts = 3
        nodes = [
            { name = "bob" },
            { name = "dave" },
            { name = "grace", writes = [{ delete = { target = "> map" } }], hostile = ["lying_root", "forged_deltas", "forged_parents", "endless_lists", "slow_drip"] },
        ]
        script = [
            { at = "100ms", write = { node = "grace", ops = [{ change = { target = "> stock 1", by = 1 } }], context = 2 } },
            { at = "380ms", write = { node = "dave", ops = [{ set = { target = "> register 0", to = "x" } }], context = 1 } },
        ]

        [faults]
        base_latency_ms = 73
        latency_jitter_ms = 0
        hostile = { rate = 0.808599 }
        links = { bad_link_rate = 0.490009, bad_link_slowdown = 4, bad_link_loss = 0.023825 }
    "#
    .parse()
    .unwrap();
    let mismatch = |session: &EndedSession| {
        matches!(
            session.outcome,
            syncline_sync::Outcome::Failed(syncline_sync::FailureReason::SnapshotMismatch { .. })
        )
    };
    // Whether the bad link delays the right frame is chance.
    let meets = |seed| {
        let mut rt = Case { seed, ..case.clone() }.build().unwrap();
        assert_eq!(rt.run(), StopCondition::Converged, "seed {seed}");
        rt.sessions().iter().any(|ended| mismatch(ended) && ended.peer == NodeId(1))
    };
    assert!((0..500).any(meets), "dave is honest, and in some run a snapshot from him does not match");
}

#[test]
fn rejects_invalid_number_of_contexts() {
    for contexts in [0, 9] {
        let error = SimRuntime::try_with_config(SimConfig::with_seed(1).with_contexts(contexts)).unwrap_err();
        assert!(error.to_string().contains("a node keeps from 1 to 8"), "{error}");
    }
}

#[test]
#[should_panic(expected = "there is no context 2; each node keeps 2, numbered from 0")]
fn rejects_write_to_unknown_context() {
    run(1, 2, FaultConfig::none()).write("alice", Write::from(set("x", "y")).in_context(2));
}

/// A node, and beside it a member of another context under the same replica id, which receives every
/// frame too.
#[derive(Clone)]
struct Beside {
    node: SimNode,
    stranger: SimNode,
    heard: BTreeSet<&'static str>,
}

/// The effects of an input.
fn took(node: &mut SimNode, input: Input<'_, Write>, context: &mut Context<'_>) -> Effects<ContextNotice> {
    let mut effects = Effects::default();
    node.step(input, context, &mut effects);
    effects
}

impl Actor for Beside {
    type Op = Write;
    type Notice = ContextNotice;

    fn step(
        &mut self,
        input: Input<'_, Write>,
        context: &mut Context<'_>,
        effects: &mut Effects<ContextNotice>,
    ) {
        if let Input::Frame { from, bytes } = &input {
            let said = said(bytes);
            self.heard.insert(said);
            let before = (rows(self.stranger.disk()), self.stranger.unfinished());
            let effects = took(&mut self.stranger, Input::Frame { from: *from, bytes }, context);
            assert_eq!(effects.refusal, Some(DropCause::OtherContext), "{said}");
            assert!(effects.messages.is_empty() && effects.timers.is_empty() && effects.notices.is_empty());
            assert_eq!((rows(self.stranger.disk()), self.stranger.unfinished()), before, "{said}");
        }
        self.node.step(input, context, effects);
    }

    fn crash(&mut self) {
        self.node.crash();
    }

    fn restart(&mut self) {
        self.node.restart();
    }

    fn digest(&self) -> Digest {
        self.node.digest()
    }

    fn unfinished(&self) -> Unfinished {
        self.node.unfinished()
    }
}

/// The kind of message in a frame of the first context.
fn said(bytes: &[u8]) -> &'static str {
    match Frame::from_wire(bytes, context_id(0)).unwrap().message {
        Message::Gossip(Gossip::Delta(_)) => "delta",
        Message::Gossip(Gossip::Heartbeat { .. }) => "heartbeat",
        Message::Gossip(Gossip::DeltaRequest { .. }) => "request for deltas that are missing",
        Message::Gossip(Gossip::DeltaReply { .. }) => "missing deltas",
        Message::Relative(_) => "message with many version vectors",
        Message::Request { request, .. } => match request {
            Request::Handshake(_) | Request::ForeignHandshake { .. } => "handshake",
            Request::Exchange(_) => "questions of an exchange",
            Request::Deltas { .. } => "request for deltas",
            Request::SnapshotPage { .. } => "request for a page of a snapshot",
            Request::SnapshotExchange { .. } => "questions about a snapshot",
        },
        Message::Response { response, .. } => match response {
            Response::Handshake(_) => "answer to a handshake",
            Response::Rejected(_) => "rejection",
            Response::Exchange(_) => "answers of an exchange",
            Response::Deltas(_) => "deltas",
            Response::SnapshotPage(_) => "page of a snapshot",
            Response::SnapshotGone(_) => "word that a snapshot is gone",
        },
    }
}

/// Runs two nodes with a stranger beside each until they have converged. Gives the kinds of messages that
/// the strangers received.
fn said_beside(scenario: Scenario, protocol: Option<SyncProtocolKind>, seed: u64) -> BTreeSet<&'static str> {
    let mut rt = SimRuntime::with_seed(1);
    let nodes = rt.apply_scenario(scenario);
    let members = Membership::named(nodes.iter().map(|node| replica_id(*node)));
    let faults = FaultConfig::none().with_latency(5, 0).with_loss(0.2);
    let mut world = World::new(Choices::seeded(seed), faults);
    for &node in &nodes {
        let settings = |context| ReplicaConfig {
            requested_protocol: protocol,
            authority: Authority::keyed([7; 32]),
            membership: members.clone(),
            ..ReplicaConfig::new(context_id(context), replica_id(node))
        };
        let disk = rt.node(node).disk().clone();
        let stranger = SimNode::new(node, settings(1), disk.clone());
        world.add(Beside { node: SimNode::new(node, settings(0), disk), stranger, heard: BTreeSet::new() });
    }
    for (at, ms) in (0..12).map(|at| (at, 500 + 10 * at)) {
        let op = Write::from(set(&format!("key {at}"), "value"));
        let event = sync_sim::engine::SimEvent::Op { node: nodes[at as usize % 2], op };
        world.schedule(SimTime::from_millis(ms), event);
    }
    world.start_added();
    while !world.pending_work().is_converged() && world.step().is_some() {}
    assert!(world.pending_work().is_converged());
    world.actors().flat_map(|(_, actor)| actor.heard.iter().copied()).collect()
}

/// A replica of another context accepts no kind of frame and answers none.
#[test]
fn refuses_every_frame_of_another_context() {
    let mut all = BTreeSet::new();
    let kinds = SyncProtocolKind::EXECUTABLE.into_iter().map(Some).chain([None]);
    for protocol in kinds {
        for seed in 0..4 {
            all.extend(said_beside(Scenario::overlap(2, 10, 10), protocol, seed));
            all.extend(said_beside(Scenario::fresh_joiner(2, 300), protocol, seed));
        }
    }
    assert_eq!(all.len(), 13, "{all:?}");
}

/// A host relabels a frame as one of another context, with a valid checksum.
#[test]
fn refuses_delta_reframed_for_another_context() {
    let mut rt = run(2, 2, FaultConfig::none());
    rt.run();
    let delta = {
        let mut world = rt.node("alice").clone();
        let mut chance = Choices::seeded(1);
        let entropy = &mut chance.source(sync_sim::runtime::Stream::Node(0));
        let moment = syncline_types::Moment::at(rt.now() + SimDuration::from_secs(1));
        let mut context = Context::new(moment, entropy, sync_sim::engine::Commit::Durable);
        let effects = took(&mut world, Input::Op(&Write::from(set("colour", "red"))), &mut context);
        let is_delta = |bytes: &&Bytes| said(&bytes[2..]) == "delta";
        let bytes = effects.messages.iter().map(|message| &message.bytes).find(is_delta).unwrap().clone();
        Frame::from_wire(&bytes[2..], context_id(0)).unwrap()
    };
    let other = delta.to_wire(context_id(1));
    let bytes: Bytes = [&[1, !1][..], &other].concat().into();
    let mut bob = rt.node("bob").clone();
    let before: Vec<Digest> = bob.replicas().map(SimReplica::root).collect();
    let mut chance = Choices::seeded(1);
    let entropy = &mut chance.source(sync_sim::runtime::Stream::Node(1));
    let moment = syncline_types::Moment::at(rt.now() + SimDuration::from_secs(1));
    let mut context = Context::new(moment, entropy, sync_sim::engine::Commit::Durable);
    let effects = took(&mut bob, Input::Frame { from: NodeId(0), bytes: &bytes }, &mut context);
    assert_eq!(effects.refusal, Some(DropCause::BadSignature));
    assert_eq!(bob.replicas().map(SimReplica::root).collect::<Vec<_>>(), before);
    // The same delta is accepted in its own context.
    let own: Bytes = [&[0, !0][..], &delta.to_wire(context_id(0))].concat().into();
    let effects = took(&mut bob, Input::Frame { from: NodeId(0), bytes: &own }, &mut context);
    assert_eq!(effects.refusal, None);
    assert_ne!(bob.in_context(0).root(), before[0]);
}

#[test]
fn refuses_bad_context_headers_with_cause() {
    let rt = run(2, 2, FaultConfig::none());
    let mut bob = rt.node("bob").clone();
    let mut chance = Choices::seeded(1);
    let entropy = &mut chance.source(sync_sim::runtime::Stream::Node(1));
    let moment = syncline_types::Moment::at(SimTime::from_secs(1));
    let mut context = Context::new(moment, entropy, sync_sim::engine::Commit::Durable);
    for (bytes, cause) in [
        (&[][..], DropCause::Corrupt),
        (&[1], DropCause::Corrupt),
        (&[1, 1, 9, 9], DropCause::Corrupt),
        (&[2, !2, 9, 9], DropCause::OtherContext),
        (&[1, !1, 9, 9], DropCause::Corrupt),
    ] {
        let effects = took(&mut bob, Input::Frame { from: NodeId(0), bytes: &bytes.into() }, &mut context);
        assert_eq!(effects.refusal, Some(cause), "{bytes:?}");
    }
}
mod as_cases;

/// Canaries that mix contexts: they show that the tests above can fail.
#[cfg(feature = "canary")]
mod mixed {
    use super::*;
    use sync_sim::canary::{self, Canary};

    fn found(bug: Canary) -> String {
        let run = |seed| {
            let started = || {
                let mut rt = run(seed, 2, FaultConfig::light_chaos());
                rt.apply_workload(&Workload::new(30, SimDuration::from_secs(3)));
                rt
            };
            assert_eq!(started().run(), StopCondition::Converged, "seed {seed} without {bug:?}");
            canary::set(Some(bug));
            let stop = started().run();
            canary::set(None);
            (stop != StopCondition::Converged).then(|| stop.to_string())
        };
        (0..20).find_map(run).unwrap_or_else(|| panic!("{bug:?} survived"))
    }

    #[test]
    fn detects_frames_in_wrong_context() {
        let said = found(Canary::ContextsMixed);
        assert!(said.contains("another context") || said.contains("honest frame"), "{said}");
    }

    #[test]
    fn detects_writes_in_wrong_context() {
        let said = found(Canary::WriteToLatestContext);
        // The write is missed where it belongs, or it is not what the author's next delta there follows.
        let is_named = said.contains("C6") || said.contains("I8");
        assert!(is_named && said.contains("in context"), "{said}");
    }

    /// Mixing needs two contexts. A case in which one check fails with two may fail in another class with three.
    #[test]
    fn mixed_contexts_shrink_to_few() {
        canary::set(Some(Canary::WriteToLatestContext));
        let case = |seed| Case {
            seed,
            contexts: 4,
            faults: FaultConfig::heavy_chaos(),
            scenario: Some(sync_sim::case::ScenarioSpec::default()),
            workload: Workload::new(30, SimDuration::from_secs(3)),
            ..Case::default()
        };
        let failing = (0..20).map(case).find(|case| !case.run().unwrap().class.is_converged());
        let shrunk = sync_sim::shrink::shrink(&failing.expect("a failure"), 5_000, &mut |_| true).unwrap();
        let ended = shrunk.case.run().unwrap();
        canary::set(None);
        assert!(matches!(shrunk.case.contexts, 2 | 3), "{}", shrunk.case);
        assert!(shrunk.case.size().causes() < 20, "{}", shrunk.case);
        assert!(ended.reason.contains("in context"), "{ended}");
        assert!(shrunk.case.run().unwrap().class.is_converged(), "without the bug: {}", shrunk.case);
    }

    #[test]
    #[should_panic(expected = "OtherContext")]
    fn unchecked_replica_accepts_foreign_frames() {
        canary::set(Some(Canary::ContextsMixed));
        said_beside(Scenario::overlap(2, 10, 10), None, 0);
    }
}
