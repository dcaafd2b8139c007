//! Snapshot transfers under any interleaving of answers, crashes and writes.

use super::side::Side;
use super::side::*;
use super::snapshots::{Pull, restart};

use proptest::collection::vec;
use proptest::prelude::*;
use syncline_storage::{Action, Interface};
use syncline_store::Store;
use syncline_sync::*;

/// What may happen during a snapshot transfer.
#[derive(Clone, Debug)]
enum Event {
    /// This number of requests is answered.
    Steps(u8),
    /// The reader restarts; the answer to its last request is lost before it is stored.
    CrashReader,
    /// The peer restarts.
    CrashPeer,
    /// The transfer continues with the other peer.
    OtherPeer,
    WriteReader(Action),
    WritePeer(Vec<Action>),
    WriteOther(Vec<Action>),
    /// The two peers sync with each other.
    PeersAgree,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1u8..6).prop_map(Event::Steps),
        1 => Just(Event::CrashReader),
        1 => Just(Event::CrashPeer),
        1 => Just(Event::OtherPeer),
        1 => action().prop_map(Event::WriteReader),
        2 => vec(action(), 1..5).prop_map(Event::WritePeer),
        1 => vec(action(), 1..5).prop_map(Event::WriteOther),
        1 => Just(Event::PeersAgree),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Readers see the local writes only, until a whole state is published together with them. In the end
    /// nothing is lost.
    #[test]
    fn snapshot_survives_any_interleaving(
        first in vec(action(), 1..80),
        bulk in 500u64..2_500,
        events in vec(event(), 0..30),
    ) {
        let begun = [many(10_000, 10_000 + bulk, 2), first].concat();
        let mut whole = Side::new(9, &begun);
        let mut b = Side::new(2, &begun);
        let mut c = Side::new(3, &begun);
        let mut a = Side::new(1, &[]);
        let mut own = Side::new(1, &[]);
        let mut pull = Some(Pull::start(&a));
        for event in events {
            match event {
                Event::Steps(count) => {
                    for _ in 0..count {
                        let mut running = pull.take().unwrap_or_else(|| Pull::start(&a));
                        match running.step(&mut a, &mut b) {
                            None => pull = Some(running),
                            Some(Outcome::Failed(FailureReason::TooLong)) => {}
                            Some(Outcome::Failed(reason)) => prop_assert!(false, "{}", reason),
                            Some(_) => {}
                        }
                    }
                }
                Event::CrashReader => {
                    if let Some(mut running) = pull.take() {
                        let response = b.respond(&running.next.1);
                        running.session.on_response(running.next.0, &response, &mut a.begin()).unwrap();
                    }
                }
                Event::CrashPeer => restart(&mut b),
                Event::OtherPeer => {
                    pull = None;
                    std::mem::swap(&mut b, &mut c);
                }
                Event::WriteReader(action) => {
                    for side in [&mut a, &mut own, &mut whole] {
                        side.write(std::slice::from_ref(&action));
                    }
                }
                Event::WritePeer(actions) => {
                    b.write(&actions);
                    whole.write(&actions);
                }
                Event::WriteOther(actions) => {
                    c.write(&actions);
                    whole.write(&actions);
                }
                Event::PeersAgree => drop(run(&mut b, &mut c, false, undisturbed)),
            }
            let mut state = Interface::open(a.store.view()).unwrap();
            if pull.as_ref().is_some_and(|pull| pull.session.takes_snapshot()) {
                prop_assert_eq!(a.root(), own.root(), "no partial state is published");
            }
            prop_assert_eq!(state.rebuilt_root().unwrap(), state.root_hash().unwrap());
        }
        drop(pull);
        for _ in 0..3 {
            let (outcome, ..) = run(&mut a, &mut b, false, undisturbed);
            let well = matches!(outcome, Outcome::Converged { .. } | Outcome::SyncPending(RetryReason::NewerWrites));
            prop_assert!(well, "{:?}", outcome);
            run(&mut a, &mut c, false, undisturbed);
        }
        prop_assert_eq!((a.root(), b.root(), c.root()), (whole.root(), whole.root(), whole.root()));
        for _ in 0..3 {
            let mut work = a.begin();
            work.clean_up().unwrap();
            a.commit(work);
        }
        a.is_tidy();
    }
}
