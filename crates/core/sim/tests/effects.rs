//! What actors make their effects in.

use std::sync::Arc;
use sync_sim::engine::{Actor, Context, Effects, Input, Outgoing, TimerChange, Unfinished, World};
use sync_sim::network::FaultConfig;
use sync_sim::runtime::Choices;
use sync_sim::types::NodeId;
use syncline_types::{Digest, SimDuration};

/// Sends to the other of two every millisecond, and answers each frame once.
#[derive(Clone)]
struct Echo {
    own: u32,
    left: u32,
    reuses: bool,
}

impl Actor for Echo {
    type Op = ();
    type Notice = ();

    fn step(&mut self, input: Input<'_, ()>, context: &mut Context<'_>) -> Effects<()> {
        let mut effects = if self.reuses { context.effects() } else { Effects::default() };
        assert!(effects.messages.is_empty() && effects.timers.is_empty(), "effects of an earlier step");
        let kind = match input {
            Input::Frame { bytes, .. } if bytes[0] == 0 => 1,
            Input::Start | Input::Timer(_) if self.left > 0 => 0,
            _ => return effects,
        };
        let bytes = Arc::from([kind; 16]);
        effects.messages.push(Outgoing { to: NodeId(1 - self.own), bytes, kind, housekeeping: false });
        if kind == 0 {
            self.left -= 1;
            let at = context.moment.now + SimDuration::from_millis(1);
            effects.timers.push(TimerChange::Set { id: 0, at, housekeeping: false });
        }
        effects
    }

    fn crash(&mut self) {}
    fn restart(&mut self) {}
    fn digest(&self) -> Digest {
        Digest::ZERO
    }
    fn unfinished(&self) -> Unfinished {
        Unfinished::default()
    }
}

fn trace(seed: u64, reuses: bool) -> u64 {
    let mut world = World::new(Choices::seeded(seed), FaultConfig::heavy_chaos());
    for own in 0..2 {
        world.add(Echo { own, left: 200, reuses });
    }
    world.start_added();
    let _ = (0..5_000).try_for_each(|_| world.step().map(drop));
    assert!(world.router.fates().delivered > 100);
    world.trace().value()
}

#[test]
fn effects_in_vectors_of_earlier_steps_are_as_any_others() {
    for seed in 0..10 {
        assert_eq!(trace(seed, true), trace(seed, false), "seed {seed}");
    }
}
