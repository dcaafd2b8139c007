//! The lower bound for an event loop: a binary heap of keys over a slab, and ChaCha8, without nodes, effects or
//! accounts.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

enum Event {
    Tick(u32),
    Deliver { to: u32, payload: [u8; 64] },
}

/// Delivers `target` messages between `nodes` nodes. Each node sends every millisecond, with a latency of
/// 10 ± 5 ms and 1 % loss. Returns a checksum, so that no work is optimized away.
pub(crate) fn deliver(nodes: u32, target: u64) -> u64 {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut heap: BinaryHeap<Reverse<(u64, u64, u32)>> = BinaryHeap::new();
    let mut slab: Vec<Option<Event>> = Vec::new();
    let mut free: Vec<u32> = Vec::new();
    let mut scheduled = 0;
    let mut schedule =
        |heap: &mut BinaryHeap<_>, slab: &mut Vec<Option<Event>>, free: &mut Vec<u32>, at, event| {
            let slot = free.pop().unwrap_or_else(|| {
                slab.push(None);
                slab.len() as u32 - 1
            });
            slab[slot as usize] = Some(event);
            heap.push(Reverse((at, scheduled, slot)));
            scheduled += 1;
        };
    for node in 0..nodes {
        schedule(&mut heap, &mut slab, &mut free, u64::from(node), Event::Tick(node));
    }
    let mut delivered = 0;
    let mut checksum = 0u64;
    while delivered < target {
        let Reverse((now, _, slot)) = heap.pop().expect("ticks recur");
        free.push(slot);
        match slab[slot as usize].take().expect("an event") {
            Event::Tick(node) => {
                schedule(&mut heap, &mut slab, &mut free, now + 1_000, Event::Tick(node));
                let to = (node + 1 + (rng.next_u64() % u64::from(nodes - 1)) as u32) % nodes;
                if rng.next_u64() % 100 > 0 {
                    let at = now + 5_000 + rng.next_u64() % 10_001;
                    schedule(
                        &mut heap,
                        &mut slab,
                        &mut free,
                        at,
                        Event::Deliver { to, payload: [node as u8; 64] },
                    );
                }
            }
            Event::Deliver { to, payload } => {
                delivered += 1;
                checksum = checksum.wrapping_mul(31).wrapping_add(u64::from(to) + u64::from(payload[0]));
            }
        }
    }
    checksum
}
