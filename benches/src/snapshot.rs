//! A fresh replica receives the whole state of another by snapshot, without a network in between.

use crate::row;
use crate::storage::{InsertCost, grow, grow_deep};
use std::time::{Duration, Instant};
use syncline_store::MemoryStore;
use syncline_sync::{Outcome, SessionProgress, StoreHost};
use syncline_types::{ContextId, Moment, ReplicaId, SimTime};

fn host(store: MemoryStore, replica: u64) -> StoreHost<MemoryStore> {
    let moment = Moment::at(SimTime::from_millis(1));
    StoreHost::open(store, ContextId::default(), ReplicaId::from_u64(replica), moment).expect("a state")
}

/// Transfers a snapshot of `store`. Returns the time of the reader and that of the giver.
fn take(store: MemoryStore) -> (Duration, Duration) {
    let mut reader = host(MemoryStore::default(), 1);
    let mut giver = host(store, 2);
    let mut reading = Duration::ZERO;
    let mut giving = Duration::ZERO;
    let (mut session, mut message) = reader.start().expect("a session");
    loop {
        let started = Instant::now();
        let answer = giver.answer(&message).expect("an answer").expect("a request");
        giving += started.elapsed();
        let started = Instant::now();
        let progress = reader.on_message(&mut session, &answer).expect("a step");
        reading += started.elapsed();
        message = match progress {
            SessionProgress::Send(id, request) => {
                syncline_sync::Message::Request { session: session.id(), id, request }
            }
            SessionProgress::Done(Outcome::Converged { .. }) => return (reading, giving),
            other => panic!("{other:?}"),
        };
    }
}

/// Snapshots of 100-byte entities, flat and in a tree six deep.
pub(crate) fn whole_states() {
    println!(
        "\nsnapshot: entities of 100 bytes, compressed pages of 64 KiB, verified by the reader's own index"
    );
    for size in [10_000u64, 100_000, 1_000_000] {
        for (shape, grow) in
            [("flat", grow as fn(&mut MemoryStore, u64, u64, u64) -> InsertCost), ("six deep", grow_deep)]
        {
            let mut store = MemoryStore::default();
            grow(&mut store, 0, size, 100_000);
            let (reading, giving) = take(store);
            row(&format!("{size} {shape}: read, joined, verified and stored"), size, reading, None);
            row(&format!("{size} {shape}: given, in pages"), size, giving, None);
        }
    }
}
