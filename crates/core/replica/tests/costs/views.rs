//! A view that is open for a peer's snapshot is released in time.

use super::{CONTEXT, Node, set};
use syncline_replica::{Event, ReplicaConfig, Timer};
use syncline_storage::ApplyContext;
use syncline_store::MemoryStore;
use syncline_sync::DeltaLog;
use syncline_sync::{
    Message, Request, RequestId, SessionId, SyncHandshake, SyncProtocolKind, Transaction, build_handshake,
};
use syncline_types::{Moment, PeerId, ReplicaId, SimDuration, SimTime};

/// The handshake of a newcomer, which gets a snapshot.
fn newcomer() -> SyncHandshake {
    let context = ApplyContext::new(Moment::at(SimTime::ZERO));
    let mut work = Transaction::begin(MemoryStore::default(), DeltaLog::default(), context).unwrap();
    build_handshake(&work.describe(CONTEXT, ReplicaId::from_u64(9), &SyncProtocolKind::EXECUTABLE).unwrap())
}

/// A replica of which a peer has begun a snapshot, and then never returns.
fn abandoned(config: ReplicaConfig) -> Node {
    let mut node = Node::with(config);
    for n in 0..50 {
        node.step(Event::Write(vec![set(&format!("k{n}"))]));
    }
    let request = Request::Handshake(Box::new(newcomer()));
    node.hear(PeerId(7), Message::Request { session: SessionId(1), id: RequestId(1), request });
    assert_eq!(node.replica.sizes().views, 1, "the view is open");
    node
}

/// Promises: G1
#[test]
fn abandoned_snapshot_releases_its_view_in_time() {
    let config = ReplicaConfig::new(CONTEXT, ReplicaId::from_u64(1));
    let mut node = abandoned(config.clone());
    node.now += config.session_deadline - SimDuration::from_millis(100);
    node.step(Event::Timer(Timer::Heartbeat));
    assert_eq!(node.replica.sizes().views, 1, "the peer may still read on");
    node.now += SimDuration::from_millis(200);
    node.step(Event::Timer(Timer::Heartbeat));
    assert_eq!(node.replica.sizes().views, 0);
}

/// Promises: G1
#[test]
fn writes_release_the_view_of_a_snapshot() {
    let config =
        ReplicaConfig { snapshot_view_bytes: 20_000, ..ReplicaConfig::new(CONTEXT, ReplicaId::from_u64(1)) };
    let mut node = abandoned(config);
    let mut writes = 0;
    while node.replica.sizes().views > 0 {
        node.step(Event::Write(vec![set("same")]));
        writes += 1;
        assert!(node.replica.sizes().view_bytes <= 20_000 && writes < 100, "{:?}", node.replica.sizes());
    }
    assert!(writes > 5, "{writes}");
}
