//! The engine alone, with actors that only send.

use crate::{bare, best, peers, row};
use std::sync::Arc;
use sync_sim::engine::{Actor, Context, Effects, Input, Outgoing, TimerChange, Unfinished, World};
use sync_sim::network::FaultConfig;
use sync_sim::runtime::Choices;
use sync_sim::types::NodeId;
use syncline_types::{Choice, Digest, SimDuration};

/// An actor that sends 64 bytes to a random peer every `pause`, `left` times.
#[derive(Clone)]
struct Chatter {
    own: u32,
    nodes: u32,
    pause: SimDuration,
    left: u64,
    received: u64,
    message: Arc<[u8]>,
}

impl Actor for Chatter {
    type Op = ();
    type Notice = ();

    fn step(&mut self, input: Input<'_, ()>, context: &mut Context<'_>, effects: &mut Effects<()>) {
        match input {
            Input::Frame { bytes, .. } => self.received += u64::from(bytes[0] == 7),
            Input::Start | Input::Timer(_) if self.left > 0 => {
                self.left -= 1;
                let step = 1 + context.entropy.below(Choice::PeerOrder, u64::from(self.nodes - 1)) as u32;
                let to = NodeId((self.own + step) % self.nodes);
                let bytes = self.message.clone();
                effects.messages.push(Outgoing { to, bytes, kind: 0, housekeeping: false });
                let at = context.moment.now + self.pause;
                effects.timers.push(TimerChange::Set { id: 0, at, housekeeping: false });
            }
            _ => {}
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

fn ours(nodes: u32, target: u64, seed: u64, loss: f64) -> (u64, u64) {
    let faults = FaultConfig::none().with_latency(10, 5).with_loss(loss);
    let mut world = World::new(Choices::seeded(seed), faults);
    for own in 0..nodes {
        let pause = SimDuration::from_millis(1);
        let message = Arc::from([7; 64]);
        world.add(Chatter { own, nodes, pause, left: target, received: 0, message });
    }
    world.start_added();
    while world.router().fates().delivered < target {
        world.step();
    }
    (world.router().fates().delivered, world.trace().value())
}

/// Deliveries per second: ten nodes, 64-byte messages to random peers, 10 ± 5 ms latency, 1 % loss.
pub(crate) fn deliveries() {
    const TARGET: u64 = 1_000_000;
    println!(
        "\nengine: 10 nodes, 64-byte messages to random peers, 10 ± 5 ms, 1 % loss, {TARGET} deliveries"
    );
    let (took, _) = best(5, || bare::deliver(10, TARGET));
    let base = row("bare loop: binary heap + slab + ChaCha8, no nodes", TARGET, took, None);
    let (took, (delivered, trace)) = best(5, || ours(10, TARGET, 7, 0.01));
    row(&format!("sync-sim engine, fates, tally and trace ({trace:016x})"), delivered, took, Some(base));
    let (took, delivered) = best(2, || peers::turmoil_deliveries(10, TARGET / 20));
    row("turmoil 0.7 (UdpSocket; a twentieth of the job)", delivered, took, Some(base));
    let (took, delivered) = best(2, || peers::madsim_deliveries(10, TARGET / 10, 0.01));
    row("madsim 0.2 (Endpoint; a tenth of the job)", delivered, took, Some(base));
}

/// Whole simulations per second: three nodes, fifty deliveries, with set-up and tear-down.
pub(crate) fn tiny() {
    println!("\ntiny simulations: 3 nodes, 50 deliveries, set-up included");
    let (took, _) = best(5, || (0..20_000).map(|_| bare::deliver(3, 50)).fold(0, u64::wrapping_add));
    let base = row("bare loop", 20_000, took, None);
    let (took, _) = best(5, || (0..20_000).map(|seed| ours(3, 50, seed, 0.0).1).fold(0, u64::wrapping_add));
    row("sync-sim engine", 20_000, took, Some(base));
    let (took, _) = best(2, || (0..500).map(|_| peers::turmoil_deliveries(3, 50)).sum::<u64>());
    row("turmoil 0.7", 500, took, Some(base));
    let (took, _) = best(2, || (0..500).map(|_| peers::madsim_deliveries(3, 50, 0.0)).sum::<u64>());
    row("madsim 0.2", 500, took, Some(base));
}
