//! Rules that interfere with chosen frames.

use sync_sim::network::RuleUse;
use sync_sim::prelude::*;

fn set(key: u64) -> Vec<Operation> {
    vec![Operation::Set { target: Target::top(EntityId::from_u64(key)), bytes: vec![key as u8] }]
}

fn steady(seed: u64) -> SimRuntime {
    SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(FaultConfig::none().with_latency(5, 0)))
}

fn drop() -> Rule {
    Rule::new(Verdict::Drop)
}

#[test]
fn dropped_handshake_is_retransmitted() {
    let mut rt = steady(1);
    let [a, b] = rt.apply_scenario_n(Scenario::n_nodes_diverged(2, 5));
    let rule = rt.add_rule(drop().of(FrameKind::Handshake).at_most(3));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_eq!(rt.rule_use(rule).map(|used| used.applied), Some(3));
    let metrics = rt.metrics();
    assert_eq!((metrics.dropped(DropCause::Rule), metrics.dropped(DropCause::Loss)), (3, 0));
    assert!(metrics.effects.retries_performed > 0 && metrics.fates.is_balanced());
    assert_eq!(rt.digest(a), rt.digest(b));
}

#[test]
fn lost_delta_arrives_another_way() {
    let mut rt = steady(2);
    let [a, b, _] = rt.apply_scenario_n(Scenario::n_nodes_synced(3, 3));
    rt.add_rule(drop().from(a).to(b).of(FrameKind::Delta));
    rt.write(a, set(1));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_has_entity!(rt, b, EntityId::from_u64(1));
    assert_eq!(rt.metrics().dropped(DropCause::Rule), 1);
}

#[test]
fn rule_holds_while_guard_lives() {
    let mut rt = steady(3);
    let [a, b] = rt.apply_scenario_n(Scenario::n_nodes_synced(2, 3));
    rt.write(a, set(1));
    {
        let mut mute = rt.under_rule(drop());
        let mut slow = mute.under_rule(Rule::new(Verdict::Delay(SimDuration::from_secs(9))));
        assert_eq!(slow.run_until(|rt| rt.now() > SimTime::from_secs(5)), StopCondition::Manual);
        assert!(!slow.has_entity(b, EntityId::from_u64(1)));
        assert_eq!(slow.used(), RuleUse::default(), "what one rule drops no later one sees");
        std::mem::drop(slow);
        assert!(mute.used().applied > 0);
    }
    assert_eq!(rt.network().rules().iter().count(), 0);
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_has_entity!(rt, b, EntityId::from_u64(1));
}

#[test]
fn rule_holds_within_its_time_range() {
    let mut rt = steady(4);
    let [a, b] = rt.apply_scenario_n(Scenario::n_nodes_synced(2, 3));
    rt.add_rule(drop().during(100.into()..200.into()));
    for (key, at) in [(1, 99), (2, 100), (3, 199), (4, 200)] {
        rt.write_at(at.into(), a, set(key));
    }
    assert_eq!(rt.run_until(|rt| rt.has_entity(b, EntityId::from_u64(1))), StopCondition::Manual);
    assert_eq!(rt.now(), 104.into());
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_eq!(rt.metrics().dropped(DropCause::Rule), 2, "the writes at 100 ms and at 199 ms");
}

#[test]
fn delayed_and_duplicated_frames_arrive() {
    let mut rt = steady(5);
    let [a, b] = rt.apply_scenario_n(Scenario::n_nodes_synced(2, 3));
    rt.add_rule(Rule::new(Verdict::Delay(SimDuration::from_millis(70))).from(a).of(FrameKind::Delta));
    rt.add_rule(Rule::new(Verdict::Duplicate).from(a).of(FrameKind::Delta));
    rt.write(a, set(1));
    assert_eq!(rt.run_until(|rt| rt.has_entity(b, EntityId::from_u64(1))), StopCondition::Manual);
    assert_eq!(rt.now(), 75.into());
    assert_eq!(rt.run(), StopCondition::Converged);
    let metrics = rt.metrics();
    assert_eq!((metrics.fates.duplicated, metrics.dropped(DropCause::DuplicateSuppressed)), (1, 1));
}

#[test]
fn corrupted_frame_is_refused_on_arrival() {
    for seed in 0..50 {
        let mut rt = steady(seed);
        let [a, b] = rt.apply_scenario_n(Scenario::n_nodes_diverged(2, 5));
        rt.add_rule(Rule::new(Verdict::Corrupt).at_most(4));
        rt.write(a, set(1));
        let stop = rt.run();
        assert_eq!(stop, StopCondition::Converged, "seed {seed}: {stop}");
        let metrics = rt.metrics();
        assert_eq!((metrics.effects.messages_corrupted, metrics.dropped(DropCause::Corrupt)), (4, 4));
        assert!(metrics.fates.is_balanced());
        assert_has_entity!(rt, b, EntityId::from_u64(1));
    }
}

#[test]
fn a_reset_drops_a_datagram() {
    let mut rt = steady(6);
    rt.apply_scenario(Scenario::n_nodes_diverged(2, 5));
    rt.add_rule(Rule::new(Verdict::Reset).at_most(2));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_eq!(rt.metrics().dropped(DropCause::Rule), 2);
}

#[test]
fn rule_affects_matching_frames_only() {
    let run = |rules: &[Rule]| {
        let mut config = SimConfig::with_seed(7).with_faults(FaultConfig::heavy_chaos());
        for rule in rules {
            config = config.with_rule(rule.clone());
        }
        let mut rt = SimRuntime::with_config(config);
        rt.apply_scenario(Scenario::n_nodes_diverged(3, 5));
        assert_eq!(rt.run(), StopCondition::Converged);
        rt.trace_digest()
    };
    let none = run(&[]);
    assert_eq!(run(&[Rule::new(Verdict::Pass)]), none);
    let heartbeats = Rule::new(Verdict::Corrupt).of(FrameKind::Heartbeat).at_most(3);
    let struck = run(std::slice::from_ref(&heartbeats));
    assert_ne!(struck, none);
    assert_eq!(
        run(std::slice::from_ref(&heartbeats)),
        struck,
        "rules are data: given again, they do the same"
    );
    assert_eq!(run(&[Rule::new(Verdict::Pass), heartbeats]), none, "whom a rule passes no later one strikes");
}

#[test]
fn fork_inherits_rules() {
    let mut rt = steady(8);
    let [a, b] = rt.apply_scenario_n(Scenario::n_nodes_synced(2, 3));
    let mute = rt.add_rule(drop());
    rt.write(a, set(1));
    let mut fork = rt.clone();
    fork.remove_rule(mute);
    assert_eq!(fork.run(), StopCondition::Converged);
    assert_has_entity!(fork, b, EntityId::from_u64(1));
    assert!(matches!(rt.run(), StopCondition::MaxTime(_)));
}
