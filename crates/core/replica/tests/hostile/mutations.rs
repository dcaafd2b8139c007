//! Responses mutated at random, in their fields and in their bytes.

use super::mutant::{Asked, Holdings, Mutant};
use super::world::{Seeded, World, config, replica_at, set};
use proptest::prelude::*;
use syncline_sync::*;
use syncline_types::{Decode, Digest, Encode, EntityId, Hlc, SimDuration, SimTime};

/// A response with a few bytes changed, if that still decodes.
fn in_bytes(response: &Response, random: &mut Seeded) -> Option<Response> {
    let mut bytes = response.to_bytes();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at + 1),
            _ => bytes.insert(at, random.next() as u8),
        }
    }
    Response::from_bytes(&bytes).ok()
}

/// Drops, duplicates or swaps elements of a list.
fn shuffle<T: Clone>(list: &mut Vec<T>, random: &mut Seeded) {
    if list.is_empty() {
        return;
    }
    let at = random.below(list.len());
    let other = random.below(list.len());
    match random.below(4) {
        0 => drop(list.remove(at)),
        1 => list.insert(at, list[other].clone()),
        2 => list.truncate(at),
        _ => list.swap(at, other),
    }
}

fn some_digest(random: &mut Seeded) -> Digest {
    Digest(std::array::from_fn(|_| random.next() as u8))
}

fn in_claims(theirs: &mut SyncHandshake, random: &mut Seeded) {
    let dot = |random: &mut Seeded| Dot {
        author: replica_at(random.below(5) as u32),
        seq: 1 + random.next() % (1 << random.below(48)),
    };
    match random.below(11) {
        0 => theirs.root_hash = some_digest(random),
        1 => theirs.entity_count = random.next(),
        2 => theirs.max_depth = random.below(2_000) as u32,
        3 => theirs.has_state = !theirs.has_state,
        4 => theirs.covered.cover(dot(random)),
        5 => theirs.log_floor.cover(dot(random)),
        6 => theirs.stable.cover(dot(random)),
        7 => theirs.horizon = Hlc::new(random.next() >> random.below(64), 0, theirs.replica),
        8 => theirs.clock = random.next(),
        9 => shuffle(&mut theirs.supported_protocols, random),
        _ => theirs.replica = replica_at(random.below(5) as u32),
    }
}

/// A response with one of its fields changed.
fn in_fields(response: &Response, random: &mut Seeded) -> Response {
    let mut response = response.clone();
    match &mut response {
        Response::Handshake(reply) => {
            if random.below(4) == 0 {
                reply.verdict = SyncProtocolKind::ALL[random.below(7)];
            } else {
                in_claims(&mut reply.theirs, random);
            }
        }
        Response::SnapshotGone(theirs) => in_claims(theirs, random),
        Response::Exchange(reply) => match random.below(8) {
            0 => reply.root = some_digest(random),
            1 => reply.whole = !reply.whole,
            2 => reply.horizon = Hlc::new(random.next() >> random.below(64), 0, replica_at(1)),
            3 => reply.generation_after = random.next(),
            4 => shuffle(&mut reply.answers, random),
            5 => shuffle(&mut reply.records, random),
            6 => reply.refused = random.next() % 2,
            _ => reply.deferred = random.next() % 3,
        },
        Response::Deltas(reply) => match random.below(5) {
            0 => reply.root = some_digest(random),
            1 => reply
                .covered
                .cover(Dot { author: replica_at(random.below(5) as u32), seq: 1 + random.next() % 9 }),
            2 => shuffle(&mut reply.deltas, random),
            3 => reply.complete = !reply.complete,
            _ => reply.refused = random.next() % 3,
        },
        Response::SnapshotPage(page) => match random.below(5) {
            0 => page.root = some_digest(random),
            1 => page.boundary = some_digest(random),
            2 => {
                let last = super::mutant::cursor(EntityId::LAST);
                page.next = if page.next.is_some() { None } else { Some(last) };
            }
            3 => page.unpacked_len = random.next() % 100_000,
            _ => shuffle(&mut page.packed, random),
        },
        Response::Rejected(rejection) => *rejection = Rejection::Yield,
    }
    response
}

/// A member that changes some of its responses, and sometimes repeats an earlier one.
fn mutant(held: Holdings, seed: u64) -> Mutant {
    let mut random = Seeded(seed);
    let mut before: Option<Response> = None;
    Mutant::new(held, move |_: &Asked<'_>, honest| {
        let answer = match random.below(6) {
            0 => in_bytes(&honest, &mut random).unwrap_or_else(|| honest.clone()),
            1 | 2 => in_fields(&honest, &mut random),
            3 => before.clone().unwrap_or_else(|| honest.clone()),
            _ => honest.clone(),
        };
        before = Some(honest);
        answer
    })
}

fn holdings(random: &mut Seeded) -> Holdings {
    let mut held = Holdings::new(1);
    for round in 0..random.below(12) as u64 {
        let by = held.replica;
        let name = |random: &mut Seeded| format!("name {}", random.below(30));
        let actions = (0..1 + random.below(4))
            .map(|_| super::adversary::register(&name(random), "held", by, 500 + round))
            .collect();
        held.write(actions, SimTime::from_millis(600 + round));
    }
    held
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn honest_replicas_converge_despite_mutated_responses(seed in any::<u64>()) {
        let mut random = Seeded(seed);
        let mut world = World::new();
        let mut own = config(0, 3);
        own.requested_protocol = Some(SyncProtocolKind::ALL[random.below(7)]);
        own.session_deadline = SimDuration::from_secs(10);
        world.add(own);
        let held = holdings(&mut random);
        world.add_hostile(mutant(held, seed));
        world.add(config(2, 3));
        let names = random.below(20);
        for name in 0..names {
            world.write(0, vec![set(&format!("name {name}"), "mine")]);
        }
        world.link(0, 1);
        world.run_for(SimDuration::from_secs(10));
        world.honest(0).sound_root();
        world.link(0, 2);
        for round in 0..5 {
            world.write(2, vec![set(&format!("theirs {round}"), "precious")]);
            world.run_for(SimDuration::from_secs(2));
        }
        // Without the adversary, the honest replicas converge.
        world.unlink(0, 1);
        world.run_for(SimDuration::from_secs(60));
        let root = world.honest(0).sound_root();
        prop_assert_eq!(world.honest(2).sound_root(), root);
        for round in 0..5 {
            let name = format!("theirs {round}");
            prop_assert!(world.honest(0).read(&name).is_some(), "{} has arrived", name);
        }
        for name in 0..names {
            let name = format!("name {name}");
            prop_assert!(world.honest(2).read(&name).is_some(), "{} has arrived", name);
        }
    }
}
