use super::*;
use syncline_store::{MemoryStore, WriteBatch};
use syncline_types::Hlc;

fn id(author: u64) -> ReplicaId {
    ReplicaId::from_u64(author)
}

fn dot(author: u64, seq: u64) -> Dot {
    Dot { author: id(author), seq }
}

fn delta(author: u64, seq: u64, parents: &[&Delta]) -> Delta {
    let parents = parents.iter().map(|parent| parent.reference()).collect();
    Delta::new(dot(author, seq), parents, Hlc::ZERO, vec![])
}

fn of_deltas(deltas: usize) -> DeltaBuffer {
    DeltaBuffer::new(BufferLimits { deltas, ..BufferLimits::default() })
}

fn added() -> PushOutcome {
    PushOutcome::Added(vec![])
}

#[test]
fn delta_waits_for_horizon_of_its_author() {
    let horizon = Hlc::last_at(7);
    let later = delta(1, 1, &[]).after_collection(horizon);
    let mut log = DeltaLog::default();
    let mut buffer = DeltaBuffer::new(BufferLimits::default());
    buffer.push(&later, &log);
    assert_eq!(buffer.take_ready(&mut log, Hlc::last_at(6)), Ok(None));
    assert!(buffer.missing(9).is_empty(), "no delta is missing");
    assert!(buffer.waits_for_horizon(Hlc::last_at(6)));
    assert!(!buffer.waits_for_horizon(horizon) && !buffer.is_unsatisfiable());
    assert_eq!(buffer.take_ready(&mut log, horizon), Ok(Some(later)));
}

#[test]
fn replays_in_causal_order() {
    let a1 = delta(2, 1, &[]);
    let b1 = delta(1, 1, &[&a1]);
    let a2 = delta(2, 2, &[&b1]);
    let mut buffer = of_deltas(9);
    let mut log = DeltaLog::default();
    for delta in [&a2, &b1, &a1] {
        assert_eq!(buffer.push(delta, &log), added());
    }
    let mut order = Vec::new();
    while let Some(delta) = buffer.take_ready(&mut log, Hlc::ZERO).unwrap() {
        log.append(&delta, &MemoryStore::default(), &mut WriteBatch::default()).unwrap();
        order.push(delta.dot);
    }
    assert_eq!(order, [a1.dot, b1.dot, a2.dot]);
    assert!(buffer.is_balanced());
    assert_eq!((buffer.bytes(), log.heads()), (0, vec![a2.reference()]));
}

#[test]
fn detects_unsatisfiable_cycle() {
    let a1 = delta(1, 1, &[&delta(2, 1, &[])]);
    let mut log = DeltaLog::default();
    let b1 = delta(2, 1, &[&a1]);
    let mut buffer = of_deltas(9);
    assert!(!buffer.is_unsatisfiable());
    buffer.push(&a1, &log);
    assert!(!buffer.is_unsatisfiable(), "the other may come");
    buffer.push(&b1, &log);
    assert!(buffer.is_unsatisfiable());
    assert_eq!((buffer.missing(9), buffer.take_ready(&mut log, Hlc::ZERO)), (vec![], Ok(None)));
    buffer.push(&delta(3, 1, &[]), &log);
    assert!(!buffer.is_unsatisfiable(), "one is ready");
}

#[test]
fn full_buffer_refuses_what_is_farthest() {
    let mut buffer = of_deltas(1);
    let log = DeltaLog::default();
    assert_eq!(buffer.push(&delta(1, 3, &[]), &log), added());
    assert_eq!(buffer.push(&delta(1, 3, &[]), &log), PushOutcome::Duplicate);
    assert_eq!(buffer.push(&delta(1, 4, &[]), &log), PushOutcome::Full(vec![]));
    assert_eq!(buffer.push(&delta(2, 2, &[]), &log), PushOutcome::Full(vec![]), "an equal share loses");
    assert_eq!(buffer.push(&delta(1, 2, &[]), &log), PushOutcome::Added(vec![dot(1, 3)]), "it is nearer");
    assert_eq!((buffer.len(), buffer.ledger().overflowed, buffer.ledger().evicted), (1, 2, 1));
    assert!(buffer.is_balanced());
}

#[test]
fn author_with_most_bytes_makes_room() {
    let signed = |author, seq, bytes| Delta {
        signature: super::super::Signature(vec![7; bytes]),
        ..delta(author, seq, &[])
    };
    let mut buffer =
        DeltaBuffer::new(BufferLimits { bytes: 8_000, author_bytes: 6 << 10, ..BufferLimits::default() });
    let log = DeltaLog::default();
    for seq in 2..7 {
        assert_eq!(buffer.push(&signed(1, seq, 100), &log), added());
    }
    assert_eq!(buffer.push(&signed(1, 9, 100), &log), PushOutcome::Full(vec![]), "its author's bound");
    assert_eq!(buffer.push(&signed(2, 2, 100), &log), added());
    assert_eq!(buffer.push(&signed(3, 2, 100), &log), PushOutcome::Added(vec![dot(1, 6)]));
    assert_eq!(buffer.push(&signed(3, 3, 100), &log), PushOutcome::Added(vec![dot(1, 5)]));
    assert_eq!(buffer.push(&signed(4, 2, 100), &log), PushOutcome::Added(vec![dot(1, 4)]));
    assert!(buffer.bytes() <= 8_000 && buffer.is_balanced());
}

#[test]
fn missing_is_gap_without_waiting_deltas() {
    let mut buffer = of_deltas(9);
    let log = DeltaLog::default();
    buffer.push(&delta(1, 3, &[]), &log);
    buffer.push(&delta(1, 5, &[&delta(2, 1, &[])]), &log);
    assert_eq!(buffer.missing(9), [dot(1, 1), dot(1, 2), dot(1, 4), dot(2, 1)]);
    assert_eq!(buffer.missing(2), [dot(1, 1), dot(1, 2)]);
    assert!(buffer.is_missing(dot(1, 4)) && !buffer.is_missing(dot(1, 3)) && !buffer.is_missing(dot(1, 5)));
}

/// What is missing, by definition: computed from the waiting deltas.
fn missing_by_definition(buffer: &DeltaBuffer, log: &DeltaLog) -> Vec<Dot> {
    let mut needed: BTreeMap<ReplicaId, u64> = BTreeMap::new();
    for bytes in buffer.encoded() {
        for last in log.missing(&decoded(bytes).unwrap()) {
            let seq = needed.entry(last.author).or_default();
            *seq = (*seq).max(last.seq);
        }
    }
    let gaps = needed
        .into_iter()
        .flat_map(|(author, last)| (log.covered().of(author) + 1..=last).map(move |seq| Dot { author, seq }));
    gaps.filter(|dot| !buffer.waiting.contains_key(dot)).collect()
}

/// The index equals its definition after any sequence of arrivals, evictions, coverage and replays.
#[test]
fn index_follows_every_change() {
    for seed in 0..300u64 {
        let mut state = seed;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let mut buffer = of_deltas(4 + below(8) as usize);
        let mut log = DeltaLog::default();
        for _ in 0..60 {
            match below(6) {
                0..4 => {
                    let parents: BTreeMap<u64, u64> =
                        (0..below(3)).map(|_| (below(4), 1 + below(6))).collect();
                    let parents: Vec<Delta> =
                        parents.into_iter().map(|(author, seq)| delta(author, seq, &[])).collect();
                    let made = delta(below(4), 1 + below(8), &parents.iter().collect::<Vec<_>>());
                    let forged = parents.iter().any(|p| p.dot.author == made.dot.author);
                    if !forged && !log.covered().covers(made.dot) {
                        buffer.push(&made, &log);
                    }
                }
                4 => {
                    if let Some(ready) = buffer.take_ready(&mut log, Hlc::ZERO).unwrap() {
                        assert!(log.is_ready(&ready), "seed {seed}");
                        log.append(&ready, &MemoryStore::default(), &mut WriteBatch::default()).unwrap();
                    }
                }
                _ => {
                    let mut theirs = log.covered().clone();
                    theirs.cover(dot(below(4), 1 + below(8)));
                    log.adopt(&theirs, &[], &mut WriteBatch::default());
                }
            }
            buffer.refresh(&mut log);
            assert_eq!(buffer.missing(99), missing_by_definition(&buffer, &log), "seed {seed}");
            let ready =
                buffer.encoded().map(|bytes| decoded(bytes).unwrap()).find(|delta| log.is_ready(delta));
            assert_eq!(buffer.waits.first_ready(Hlc::ZERO), ready.map(|delta| delta.dot), "seed {seed}");
            let bytes: usize = buffer.waiting.values().map(WaitingDelta::cost).sum();
            assert_eq!((buffer.bytes(), buffer.total.deltas), (bytes, buffer.len()), "seed {seed}");
            assert!(buffer.is_balanced());
        }
    }
}

/// A delta costs the same however many wait, and asking for what is missing costs what is asked for.
#[test]
fn cost_does_not_depend_on_what_waits() {
    let cost_of_one = |waiting: u64| {
        let mut buffer = DeltaBuffer::default();
        let log = DeltaLog::default();
        let parents: Vec<Delta> = (100..108).map(|author| delta(author, 9, &[])).collect();
        let parents: Vec<&Delta> = parents.iter().collect();
        for author in 0..waiting {
            buffer.push(&delta(1_000 + author, 2, &parents), &log);
        }
        let before = buffer.lookups();
        buffer.push(&delta(1, 2, &parents), &log);
        assert_eq!(buffer.missing(256).len(), 256.min(9 * 8 + 1 + waiting as usize));
        buffer.lookups() - before
    };
    assert_eq!(cost_of_one(300), cost_of_one(3_000));
}
