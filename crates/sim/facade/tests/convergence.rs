//! The convergence properties: each one alone keeps a run from being converged.

use sync_sim::engine::{Actor, Context, Effects, Input, Outgoing, SimEvent, TimerChange, Unfinished, World};
use sync_sim::network::FaultConfig;
use sync_sim::prelude::*;
use sync_sim::runtime::Choices;
use syncline_replica::Merges;
use syncline_replica::model::Merged;

/// An actor that obeys its operations and does nothing else.
#[derive(Clone, Debug, Default)]
struct Puppet {
    unfinished: Unfinished,
    state: u8,
}

#[derive(Clone, Copy, Debug)]
enum Do {
    Send { housekeeping: bool },
    SetTimer { housekeeping: bool },
    Exchange(u32),
    Wait(u32),
    Become(u8),
}

impl Actor for Puppet {
    type Op = Do;
    type Notice = ();

    fn step(&mut self, input: Input<'_, Do>, context: &mut Context<'_>, effects: &mut Effects<()>) {
        let Input::Op(op) = input else { return };
        match *op {
            Do::Send { housekeeping } => effects.messages.push(Outgoing {
                to: NodeId(1),
                bytes: vec![1].into(),
                kind: 0,
                housekeeping,
            }),
            Do::SetTimer { housekeeping } => {
                let at = context.moment.now + SimDuration::from_millis(100);
                effects.timers.push(TimerChange::Set { id: 1, at, housekeeping });
            }
            Do::Exchange(sessions) => self.unfinished.sessions = sessions,
            Do::Wait(waiting) => self.unfinished.waiting = waiting,
            Do::Become(state) => self.state = state,
        }
    }

    fn crash(&mut self) {}

    fn restart(&mut self) {}

    fn digest(&self) -> Digest {
        Digest([self.state; 32])
    }

    fn unfinished(&self) -> Unfinished {
        self.unfinished
    }
}

/// Two puppets on a network where a frame takes ten milliseconds.
fn world() -> World<Puppet> {
    let mut world = World::new(Choices::seeded(1), FaultConfig::none().with_latency(10, 0));
    world.add(Puppet::default());
    world.add(Puppet::default());
    world.start_added();
    assert!(world.pending_work().is_converged());
    world
}

/// Whether an operation of the first puppet keeps the world from being converged.
fn hinders(world: &mut World<Puppet>, op: Do) -> bool {
    world.schedule(world.now(), SimEvent::Op { node: NodeId(0), op });
    assert!(!world.pending_work().is_converged(), "what is still to be written counts");
    world.step();
    !world.pending_work().is_converged()
}

/// Promises: C1
#[test]
fn frame_in_flight_blocks_convergence() {
    let mut world = world();
    assert!(!hinders(&mut world, Do::Send { housekeeping: true }), "nobody waits for a heartbeat");
    assert!(hinders(&mut world, Do::Send { housekeeping: false }));
    while !world.pending_work().is_converged() {
        assert!(world.pending_work().frames > 0 && world.step().is_some());
    }
    assert_eq!(world.now(), 10.into(), "it has arrived");
}

/// Promises: C2
#[test]
fn session_and_downtime_block_convergence() {
    let mut world = world();
    assert!(hinders(&mut world, Do::Exchange(1)));
    assert!(!hinders(&mut world, Do::Exchange(0)));
    let down_for = Some(SimDuration::from_millis(50));
    world.schedule(SimTime::ZERO, SimEvent::NodeCrash { node: NodeId(1), point: CrashPoint::Now, down_for });
    world.step();
    assert!(!world.pending_work().is_converged());
    world.step();
    assert!(world.is_up(NodeId(1)) && world.pending_work().is_converged());
}

/// Promises: C3
#[test]
fn pending_work_blocks_convergence() {
    let mut world = world();
    assert!(hinders(&mut world, Do::Wait(2)));
    assert!(hinders(&mut world, Do::Wait(1)));
    assert!(!hinders(&mut world, Do::Wait(0)));
}

/// Promises: C4
#[test]
fn sync_timer_blocks_convergence() {
    let mut world = world();
    assert!(!hinders(&mut world, Do::SetTimer { housekeeping: true }), "nobody waits for a heartbeat");
    assert!(hinders(&mut world, Do::SetTimer { housekeeping: false }));
    while !world.pending_work().is_converged() {
        assert!(world.step().is_some());
    }
    assert_eq!(world.now(), 100.into(), "it has fired");
}

/// Promises: C5
#[test]
fn different_states_block_convergence() {
    let mut world = world();
    assert!(hinders(&mut world, Do::Become(7)));
    assert_eq!((world.pending_work().distinct_digests(), world.pending_work().is_quiet()), (2, true));
    assert!(!hinders(&mut world, Do::Become(0)));
}

/// The nodes merge by another rule than the oracle: they agree on values that nobody wrote.
///
/// Promises: C6
#[test]
fn agreement_on_wrong_values_is_a_violation() {
    let rule = |greater: bool| {
        let pick = move |a: &[u8], b: &[u8]| if greater { a.max(b).to_vec() } else { a.min(b).to_vec() };
        Merges::default().with("extreme", &[&[1], &[2]], pick).unwrap()
    };
    let stop_with = |nodes_take_greater: bool| {
        let mut rt = SimRuntime::with_config(SimConfig::with_seed(1).with_merges(rule(true)));
        let nodes: [NodeId; 2] = rt.apply_scenario_n(Scenario::n_nodes_synced(2, 3));
        for (node, bytes) in nodes.into_iter().zip([[1], [2]]) {
            rt.configure(node, |config| config.merges = rule(nodes_take_greater));
            rt.write(node, vec![Merged::named("value").merge("extreme", &bytes)]);
        }
        let stop = rt.run();
        assert_eq!(rt.digest(nodes[0]), rt.digest(nodes[1]), "they agree");
        stop
    };
    assert_eq!(stop_with(true), StopCondition::Converged);
    let stop = stop_with(false);
    assert!(matches!(stop, StopCondition::Violated(Check::Lost { .. })), "{stop}");
}
