//! Scripted links and connections.

use sync_sim::prelude::*;

fn perfect(seed: u64, base_ms: u64) -> SimConfig {
    SimConfig::with_seed(seed).with_faults(FaultConfig::none().with_latency(base_ms, 0))
}

fn streams(base_ms: u64) -> SimConfig {
    let mut config = perfect(1, base_ms);
    config.faults = config.faults.with_stream_links();
    config
}

/// Two converged nodes, and a write on the first that is about to be sent to the second.
fn one_write(config: SimConfig) -> SimRuntime {
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_synced(2, 1));
    rt.write("alice", vec![set(9)]);
    rt
}

fn set(entity: u64) -> Operation {
    Operation::Set { target: Target::top(EntityId::from_u64(entity)), bytes: vec![1] }
}

#[test]
fn a_slow_link_is_slow_in_its_direction_only() {
    for (from, to, arrives) in [("alice", "bob", 70), ("bob", "alice", 10)] {
        let mut rt = one_write(perfect(1, 10));
        rt.set_link(from, to, LinkProperties::slow(7));
        assert_eq!(rt.run(), StopCondition::Converged);
        assert_eq!(rt.now(), arrives.into(), "from {from} to {to}");
    }
}

#[test]
fn a_narrow_link_takes_as_long_as_its_bytes() {
    let mut rt = one_write(perfect(1, 10));
    rt.set_link("alice", "bob", LinkProperties::narrow(10_000, 1_000_000));
    assert_eq!(rt.run(), StopCondition::Converged);
    // Alice sends nothing but the write.
    let sent = rt.node_metrics("alice");
    assert_eq!(sent.messages_sent, 1);
    let on_the_wire = SimDuration::from_micros(sent.bytes_sent * 1_000_000 / 10_000);
    assert_eq!(rt.now(), SimTime::from(10) + on_the_wire);
}

/// Promises: C1
#[test]
fn queued_frames_are_in_flight() {
    let mut rt = one_write(perfect(1, 0));
    rt.set_link("alice", "bob", LinkProperties::narrow(1_000, 1_000_000));
    rt.run_until(|rt| rt.network().fates().sent > 0);
    assert!(rt.metrics().fates.in_flight > 0);
    assert_not_converged!(rt);
    let Convergence::Pending(pending) = rt.check_convergence() else { panic!("it is on its way") };
    assert_eq!(pending.blocking_property, Property::NetworkQuiescent);
}

/// Promises: F1, F2
#[test]
fn a_down_link_blocks_while_guarded() {
    let mut rt = one_write(perfect(1, 10));
    {
        let mut cut = rt.under_link("alice", "bob", LinkProperties::down());
        {
            let mut nested = cut.under_link("alice", "bob", LinkProperties::lossy(Rate::ppm(1_000_000)));
            nested.run_until(|rt| rt.now() > 100.into());
        }
        cut.run_until(|rt| rt.now() > SimTime::from_secs(3));
        assert_not_converged!(cut);
    }
    assert_eq!(rt.run(), StopCondition::Converged);
    let metrics = rt.metrics();
    assert!(metrics.dropped(DropCause::LinkDown) > 0 && metrics.dropped(DropCause::Loss) > 0);
}

#[test]
fn scheduled_link_changes_take_effect() {
    let mut rt = one_write(perfect(1, 10));
    rt.set_link_at(SimTime::ZERO, "alice", "bob", Some(LinkProperties::down()));
    rt.set_link_at(2_000.into(), "alice", "bob", None);
    assert_eq!(rt.run(), StopCondition::Converged);
    assert!(rt.now() >= 2_000.into(), "{}", rt.now());
    assert!(rt.metrics().dropped(DropCause::LinkDown) > 0);
}

#[test]
fn a_handshake_costs_one_round_trip() {
    let mut rt = one_write(streams(10));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_eq!(rt.now(), 30.into(), "there and back, and there");
    rt.write("alice", vec![set(10)]);
    let begun = rt.now();
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_eq!(rt.now(), begun + SimDuration::from_millis(10));
    assert_eq!(rt.metrics().effects.links.connections_opened, 1);
}

/// Promises: F1, F2
#[test]
fn a_broken_connection_loses_and_reopens() {
    let mut rt = one_write(streams(10));
    rt.break_connection_at(15.into(), "bob", "alice");
    assert_eq!(rt.run(), StopCondition::Converged);
    let metrics = rt.metrics();
    assert_eq!(metrics.dropped(DropCause::ConnectionReset), 1);
    assert_eq!(metrics.effects.links.connection_resets, 1);
    assert!(metrics.effects.links.connections_opened >= 2);
    assert!(rt.break_connection("alice", "bob") && !rt.break_connection("alice", "bob"));
}

/// Promises: F1, F2
#[test]
fn reset_rules_break_or_drop() {
    let reset = || Rule::new(Verdict::Reset).at_most(1);
    let mut rt = one_write(streams(10).with_rule(reset().after(1)));
    // The second write breaks the connection while the first is in flight on it.
    rt.write_at(5.into(), "alice", vec![set(10)]);
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_eq!(rt.metrics().dropped(DropCause::ConnectionReset), 2);
    let mut rt = one_write(perfect(1, 10).with_rule(reset()));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_eq!(
        (rt.metrics().dropped(DropCause::Rule), rt.metrics().dropped(DropCause::ConnectionReset)),
        (1, 0)
    );
}

#[test]
fn partitions_stall_then_break_streams() {
    for (lasts, resets) in [(1_000, 0), (3_000, 1)] {
        let mut rt = one_write(streams(10));
        rt.partition_bidirectional("alice", "bob", Some(SimDuration::from_millis(lasts)));
        assert_eq!(rt.run(), StopCondition::Converged);
        let links = rt.metrics().effects.links;
        assert!(links.frames_stalled > 0);
        assert_eq!(links.stall_resets, resets, "a partition of {lasts} ms");
        assert!(rt.now() >= lasts.into());
    }
}

#[test]
fn a_crash_breaks_connections() {
    let mut rt = one_write(streams(10));
    rt.crash_at(15.into(), "bob", CrashPoint::Now, Some(SimDuration::from_millis(100)));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_eq!(rt.metrics().dropped(DropCause::ConnectionReset), 1);
    assert_eq!(rt.metrics().dropped(DropCause::ReceiverCrashed), 0, "it was lost with its connection");
}
