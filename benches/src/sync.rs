//! Reconciliation of two states: every sync protocol, and negentropy on the same ids.

use crate::best;
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use std::time::Instant;
use sync_sim::compare_protocols::{
    Comparison, Link, Measurement, Outcome, Selection, Shape, Spread, StatePair, SyncProtocolKind as Kind,
};
use syncline_storage::Change;
use syncline_sync::{Sketch, SketchKey};
use syncline_types::{ContextId, Digest, EntityId};

const ENTITIES: u64 = 1_000_000;

fn stopwatch() -> impl FnMut() -> u64 {
    let begun = Instant::now();
    move || begun.elapsed().as_nanos() as u64
}

/// The session with the least processor time among `runs`.
fn run(states: &StatePair, protocol: Option<Kind>, runs: usize) -> Measurement {
    let one = || states.run(protocol, Selection::Adaptive, &mut stopwatch()).expect("memory does not fail");
    let best = (0..runs).map(|_| one()).min_by_key(|measured| measured.cpu.iter().sum::<u64>());
    let measured = best.expect("at least one run");
    assert!(matches!(measured.outcome, Outcome::Converged { .. }), "{:?}", measured.outcome);
    measured
}

fn show(name: &str, difference: u64, round_trips: u64, control: u64, cpu: [u64; 2]) {
    let each = control as f64 / difference.max(1) as f64;
    let [ours, theirs] = cpu.map(|nanos| nanos as f64 / 1e3);
    println!(
        "  {difference:>7}  {name:<18} {round_trips:>4} trips {control:>12} B {each:>9.1} B each {ours:>12.0} + {theirs:>9.0} us"
    );
}

fn measured(states: &StatePair, protocol: Kind, runs: usize) {
    let found = run(states, Some(protocol), runs);
    let control = (found.bytes_out + found.bytes_in).saturating_sub(found.payload_bytes);
    let name = match found.stats.walks {
        0 => protocol.to_string(),
        _ if protocol == Kind::HashComparison => protocol.to_string(),
        _ => format!("{protocol}, walk"),
    };
    show(&name, states.parameters().difference, found.stats.round_trips, control, found.cpu);
}

/// Reconciles the ids by negentropy, until the initiator knows both halves of the difference. The transfer of the
/// records would follow and is not measured.
fn negentropy(states: &StatePair) {
    let sides = states.ids().expect("memory does not fail");
    let stores = sides.map(|ids| {
        let mut store = NegentropyStorageVector::with_capacity(ids.len());
        for id in ids {
            // Negentropy sorts by timestamp. Entity ids have none, so a hash takes its place.
            let digest = Digest::of(97, id.as_bytes());
            store.insert(digest.short() >> 1, Id::from_byte_array(id.0)).expect("a fresh store");
        }
        store.seal().expect("a fresh store");
        store
    });
    let [mut a, mut b] = stores.map(|store| Negentropy::owned(store, 0).expect("no frame limit"));
    let mut trips = 0;
    let mut bytes = 0;
    let mut cpu = [0, 0];
    let mut have = Vec::new();
    let mut need = Vec::new();
    let mut at = Instant::now();
    let lap = |at: &mut Instant| std::mem::replace(at, Instant::now()).elapsed().as_nanos() as u64;
    let mut message = Some(a.initiate().expect("once"));
    cpu[0] += lap(&mut at);
    while let Some(asked) = message {
        bytes += asked.len() as u64;
        let answer = b.reconcile(&asked).expect("honest");
        cpu[1] += lap(&mut at);
        bytes += answer.len() as u64;
        trips += 1;
        message = a.reconcile_with_ids(&answer, &mut have, &mut need).expect("honest");
        cpu[0] += lap(&mut at);
    }
    assert_eq!((have.len() + need.len()) as u64, states.parameters().difference);
    show("negentropy", states.parameters().difference, trips, bytes, cpu);
}

/// Prints the table of reconciliation.
pub(crate) fn reconcile() {
    println!("\nreconciliation of {ENTITIES} flat entities; control bytes, records not counted");
    let case = Comparison {
        entities: ENTITIES,
        difference: 0,
        shape: Shape::Flat,
        spread: Spread::Random,
        value_bytes: 100,
        history: false,
        link: Link::default(),
    };
    let states = StatePair::new(case).expect("memory does not fail");
    for difference in [1, 10, 100, 1_000] {
        let states = states.differing(difference, Spread::Random).expect("memory does not fail");
        measured(&states, Kind::RatelessIblt, 5);
        measured(&states, Kind::HashComparison, 5);
        measured(&states, Kind::BloomFilter, 1);
        negentropy(&states);
    }
    let large = states.differing(ENTITIES / 10, Spread::Random).expect("memory does not fail");
    measured(&large, Kind::RatelessIblt, 1);
    measured(&large, Kind::BloomFilter, 1);
    measured(&large, Kind::HashComparison, 1);
    negentropy(&large);
    println!("all in one subtree");
    let clustered = states.differing(1_000, Spread::Clustered).expect("memory does not fail");
    measured(&clustered, Kind::SubtreePrefetch, 3);
    measured(&clustered, Kind::HashComparison, 3);
    measured(&clustered, Kind::RatelessIblt, 3);
    println!("locating alone: the initiator's processor and the responder's");
    for entities in [10_000, ENTITIES] {
        let case = Comparison { entities, ..states.parameters().clone() };
        let bare = if entities == ENTITIES { states.clone() } else { StatePair::new(case).expect("memory") };
        for difference in [1, 10, 100, 1_000] {
            locating(&bare.differing(difference, Spread::Random).expect("memory does not fail"));
        }
    }
    println!("deltas");
    let logged = Comparison { entities: 10_000, history: true, ..states.parameters().clone() };
    let logged = StatePair::new(logged).expect("memory does not fail");
    for gap in [100, 10_000] {
        let states = logged.differing(gap, Spread::Random).expect("memory does not fail");
        let found = run(&states, Some(Kind::DeltaSync), 3);
        let all = found.bytes_out + found.bytes_in;
        let times = all as f64 / found.payload_bytes as f64;
        println!("  a gap of {gap}: {} trips, {all} B, {times:.2} times the deltas", found.stats.round_trips);
    }
    upkeep();
}

/// Prints the processor time to locate a difference, without transfer and joining of records: first with the records
/// out of the processor's caches, then in them. Each figure is the minimum of ten runs.
fn locating(states: &StatePair) {
    let Comparison { entities, difference, .. } = *states.parameters();
    let runs = (0..10).map(|_| states.locate(&mut stopwatch()).expect("memory does not fail"));
    let found: Vec<_> = runs.collect();
    let least = |time: usize, side: usize| {
        found.iter().map(|run| run[time].cpu[side]).min().unwrap_or_default() as f64 / 1e3
    };
    let by_cells = found.first().and_then(|[run, _]| run.by_cells);
    assert!(by_cells.is_none_or(|by_cells| by_cells == difference), "cells tell {by_cells:?}");
    let how = if by_cells.is_some() { "the responder's cells tell" } else { "the handshake tells" };
    println!(
        "  {difference:>4} of {entities:<7}: {:>7.1} + {:>4.1} us cold, {:>6.1} + {:>4.1} us warm, {how}",
        least(0, 0),
        least(0, 1),
        least(1, 0),
        least(1, 1),
    );
}

/// Prints the cost of a write to the sketch.
fn upkeep() {
    const WRITES: u64 = 200_000;
    let change = |n: u64| {
        let digest = Digest::of(96, &n.to_le_bytes());
        Change { id: EntityId(digest.0), before: None, after: Some(digest) }
    };
    let changes: Vec<Change> = (0..WRITES).map(change).collect();
    let key = SketchKey::of(ContextId::default());
    let (took, _) = best(5, || {
        let mut sketch = Sketch::new(key, ENTITIES);
        changes.iter().for_each(|change| sketch.apply(change));
        sketch
    });
    println!(
        "upkeep of the sketch: {:.0} ns an insert, twice that an update",
        took.as_nanos() as f64 / WRITES as f64
    );
}
