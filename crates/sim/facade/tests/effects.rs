//! The engine reuses the allocations of effects from step to step.

use std::sync::Arc;
use sync_sim::engine::{Actor, Context, Effects, Input, Outgoing, TimerChange, Unfinished, World};
use sync_sim::network::{DropCause, FaultConfig};
use sync_sim::runtime::Choices;
use sync_sim::types::NodeId;
use syncline_types::{Digest, SimDuration};

/// Sends to the other of two nodes every millisecond, answers each frame once, and fills every field of its effects.
#[derive(Clone)]
struct Echo {
    own: u32,
    left: u32,
    reuses: bool,
}

impl Actor for Echo {
    type Op = ();
    type Notice = u32;

    fn step(&mut self, input: Input<'_, ()>, context: &mut Context<'_>, effects: &mut Effects<u32>) {
        let Effects { messages, timers, refusal, notices, failed } = &*effects;
        assert!(messages.is_empty() && timers.is_empty() && notices.is_empty(), "those of an earlier step");
        assert!(refusal.is_none() && !failed, "what became of an earlier step");
        if !self.reuses {
            *effects = Effects::default();
        }
        let kind = match input {
            Input::Frame { bytes, .. } if bytes[0] == 0 => 1,
            Input::Frame { .. } => {
                effects.refusal = Some(DropCause::Corrupt);
                return;
            }
            Input::Start | Input::Timer(_) if self.left > 0 => 0,
            _ => return,
        };
        effects.failed = kind == 0 && self.left == 7;
        effects.notices.push(self.left);
        let bytes = Arc::from([kind; 16]);
        effects.messages.push(Outgoing { to: NodeId(1 - self.own), bytes, kind, housekeeping: false });
        if kind == 0 {
            self.left -= 1;
            let at = context.moment.now + SimDuration::from_millis(1);
            effects.timers.push(TimerChange::Set { id: 0, at, housekeeping: false });
        }
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
    let mut crashes = 0;
    let mut notices = 0;
    let _ = (0..5_000).try_for_each(|_| {
        world.step().map(|stepped| {
            crashes += usize::from(stepped.crashed);
            notices += stepped.notices.len();
        })
    });
    let fates = world.router().fates();
    assert!(fates.delivered > 50 && fates.dropped(DropCause::Corrupt) > 0, "{fates:?}");
    assert!(crashes > 1 && notices > 50, "{crashes} crashes, {notices} notices");
    world.trace().value()
}

#[test]
fn reused_effects_change_nothing() {
    for seed in 0..10 {
        assert_eq!(trace(seed, true), trace(seed, false), "seed {seed}");
    }
}
