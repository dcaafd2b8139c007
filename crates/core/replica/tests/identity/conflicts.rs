//! A replica stops, before it writes again, once a delta proves that its id has another life.

use super::world::{World, increment, member, replica_at, set, signing};
use syncline_replica::{Replica, ReplicaConfig, ReplicaError};
use syncline_store::MemoryStore;
use syncline_sync::{
    Authority, Dot, Gossip, HistoryConflict, Message, Request, RequestId, SYNC_PROTOCOL_VERSION, SessionId,
    SyncHandshake, SyncProtocolKind, VersionVector,
};
use syncline_types::{ContextId, Digest, Hlc, SimDuration, limits};

/// Three nodes that agree on what node 0 has written, and its store before its last two writes.
fn with_backup(configs: [ReplicaConfig; 3]) -> (World, MemoryStore) {
    let mut world = World::of(configs);
    world.write(0, vec![increment(10)]).unwrap();
    world.run_for_secs(5);
    let backup = world.nodes[0].store.clone();
    world.write(0, vec![increment(5)]).unwrap();
    world.write(0, vec![set("k", "after the backup")]).unwrap();
    world.run_for_secs(5);
    assert!(world.agree(&[0, 1, 2]));
    (world, backup)
}

fn all_signing() -> [ReplicaConfig; 3] {
    [0, 1, 2].map(signing)
}

/// The store comes back while the others cannot be reached.
fn restore_alone(world: &mut World, backup: MemoryStore) {
    world.unlink(0, 1);
    world.unlink(0, 2);
    world.run_for_secs(60);
    world.restart_with(0, backup);
}

fn meet_again(world: &mut World) {
    world.link(0, 1);
    world.link(0, 2);
    world.run_for_secs(120);
}

/// Promises: A1
#[test]
fn restored_store_stops_before_it_writes() {
    for configs in [all_signing(), [0, 1, 2].map(|number| member(number, 3))] {
        let (mut world, backup) = with_backup(configs);
        world.restart_with(0, backup);
        world.run_for_secs(60);
        let behind = HistoryConflict::Behind { replica: replica_at(0), stored: 1, found: 2 };
        assert_eq!(world.nodes[0].conflict(), Some(behind));
        assert_eq!(world.write(0, vec![increment(7)]), Ok(false));
        assert_eq!(world.nodes[0].error, Some(ReplicaError::History(behind)));
        assert_eq!([1, 2].map(|node| world.nodes[node].likes()), [15, 15]);
        // A restart before any peer is heard does not forget the conflict.
        let config = world.nodes[0].replica.config().clone();
        let restarted = Replica::recover(config, &world.nodes[0].store).map(|_| ());
        assert_eq!(restarted, Err(ReplicaError::History(behind)));
    }
}

#[test]
fn restored_store_that_was_written_to_stops_and_spreads_nothing() {
    for writes in 1..5 {
        let (mut world, backup) = with_backup(all_signing());
        restore_alone(&mut world, backup);
        for _ in 0..writes {
            assert_eq!(world.write(0, vec![increment(7)]), Ok(true), "nobody has told it");
        }
        meet_again(&mut world);
        let conflict = world.nodes[0].conflict();
        let Some(HistoryConflict::Behind { stored, .. } | HistoryConflict::Forked { seq: stored, .. }) =
            conflict
        else {
            panic!("after {writes} writes: {conflict:?}");
        };
        assert!(stored >= 1 && stored <= writes + 1, "{conflict:?}");
        // What it has counted from the backup on must not meet what others count.
        assert_eq!([1, 2].map(|node| world.nodes[node].likes()), [15, 15], "after {writes} writes");
    }
}

/// The others have written since, so that no head names the delta that was lost.
#[test]
fn restored_store_is_found_out_behind_later_writes() {
    for writes in 1..5 {
        let (mut world, backup) = with_backup(all_signing());
        restore_alone(&mut world, backup);
        for _ in 0..writes {
            world.write(0, vec![increment(7)]).unwrap();
        }
        for node in [1, 2] {
            world.write(node, vec![increment(100)]).unwrap();
        }
        world.run_for_secs(10);
        meet_again(&mut world);
        assert!(world.nodes[0].conflict().is_some(), "after {writes} writes");
        assert_eq!([1, 2].map(|node| world.nodes[node].likes()), [215, 215], "after {writes} writes");
    }
}

/// Promises: A1
#[test]
fn lost_store_stops_under_its_old_id() {
    for authority in [Authority::open(), Authority::keyed([0x11; 32])] {
        let configs = all_signing().map(|config| ReplicaConfig { authority: authority.clone(), ..config });
        let (mut world, _) = with_backup(configs);
        restore_alone(&mut world, MemoryStore::default());
        world.write(0, vec![increment(7)]).unwrap();
        meet_again(&mut world);
        assert!(world.nodes[0].conflict().is_some());
        assert_eq!([1, 2].map(|node| world.nodes[node].likes()), [15, 15]);
    }
}

/// Promises: A1
#[test]
fn copied_store_is_found_out_by_the_first_writes() {
    let mut world = World::of([0, 1].map(signing));
    world.write(0, vec![increment(1)]).unwrap();
    world.run_for_secs(5);
    let copy = world.nodes[0].store.clone();
    let twin = world.add(signing(0), copy);
    world.link(twin, 1);
    world.run_for_secs(5);
    assert!([0, twin].iter().all(|node| world.nodes[*node as usize].conflict().is_none()));
    for _ in 0..20 {
        world.write(0, vec![increment(1)]).unwrap();
        world.write(twin, vec![increment(1)]).unwrap();
        world.run_for(SimDuration::from_millis(20));
    }
    world.run_for_secs(120);
    let stopped = [0, twin].map(|node| world.nodes[node as usize].conflict().is_some());
    assert_eq!(stopped, [false, true], "node 1 knows the writes of node 0 under those numbers");
    assert_eq!(world.nodes[1].likes(), 21);
    assert!(world.agree(&[0, 1]));
}

/// Nobody stores the delta itself any more: all have received its effect as states. Without signatures the word of
/// the peers must do, and with signatures it proves nothing.
#[test]
fn claim_without_delta_counts_only_without_signatures() {
    for (authority, stops) in [(Authority::open(), true), (Authority::keyed([0x11; 32]), false)] {
        let config = |number| ReplicaConfig {
            authority: authority.clone(),
            protocols: vec![
                SyncProtocolKind::None,
                SyncProtocolKind::HashComparison,
                SyncProtocolKind::Snapshot,
            ],
            ..signing(number)
        };
        let mut world = World::of([0, 1].map(config));
        world.unlink(0, 1);
        world.write(0, vec![increment(10)]).unwrap();
        world.write(1, vec![set("k", "v")]).unwrap();
        world.link(0, 1);
        world.run_for_secs(60);
        assert!(world.agree(&[0, 1]));
        world.restart_with(0, MemoryStore::default());
        world.run_for_secs(60);
        assert_eq!(world.nodes[0].conflict().is_some(), stops);
        // The claim is not believed, nor is the peer blamed for it, which may have it from someone else.
        assert_eq!(world.nodes[0].likes(), if stops { 0 } else { 10 });
        assert_eq!(world.nodes[0].replica.log().covered().of(replica_at(0)), 0);
    }
}

fn hello(replica: u32, covered: VersionVector) -> SyncHandshake {
    SyncHandshake {
        wall_ms: 0,
        version: SYNC_PROTOCOL_VERSION,
        context: ContextId([6; 32]),
        replica: replica_at(replica),
        root_hash: Digest::ZERO,
        entity_count: 1,
        max_depth: 1,
        has_state: true,
        dag_heads: vec![],
        covered,
        log_floor: VersionVector::default(),
        supported_protocols: SyncProtocolKind::ALL.to_vec(),
        requested_protocol: None,
        sketch: None,
        link: syncline_sync::Link::default(),
        clock: 0,
        horizon: Hlc::ZERO,
        stable: VersionVector::default(),
        known: None,
    }
}

/// A stranger who names a member in a handshake, with the root of the victim, and claims a number that the victim
/// has not reached: the victim must not go on from that number, and must not stop.
#[test]
fn stranger_cannot_stop_a_replica_by_a_claim() {
    let mut world = World::of([0, 1, 2].map(|number| member(number, 3)));
    world.write(0, vec![increment(1)]).unwrap();
    world.run_for_secs(5);
    let stranger = world.add(member(2, 3), MemoryStore::default());
    world.nodes[stranger as usize].error =
        Some(ReplicaError::History(HistoryConflict::Behind { replica: replica_at(2), stored: 0, found: 0 }));
    world.link(0, stranger);
    for (number, claimed) in [2, 9, limits::MAX_DELTA_SEQ / 2].into_iter().enumerate() {
        let mut covered = VersionVector::default();
        covered.cover(Dot { author: replica_at(0), seq: claimed });
        let root_hash = world.nodes[0].replica.digest();
        let handshake = SyncHandshake { root_hash, ..hello(2, covered) };
        let session = SessionId(number as u64 + 1);
        let request = Request::Handshake(Box::new(handshake));
        world.forge(stranger, 0, Message::Request { session, id: RequestId(1), request });
        world.run_for_secs(1);
        let claim = Dot { author: replica_at(0), seq: claimed };
        let nothing = Gossip::DeltaReply { deltas: vec![], unavailable: vec![claim] };
        world.forge(stranger, 0, Message::Gossip(nothing));
        world.run_for_secs(1);
    }
    world.write(0, vec![increment(1)]).unwrap();
    world.run_for_secs(60);
    assert_eq!((world.nodes[0].error.clone(), world.nodes[0].conflict()), (None, None));
    assert_eq!([0, 1, 2].map(|node| world.nodes[node].likes()), [2; 3]);
    assert_eq!(world.nodes[0].replica.log().covered().of(replica_at(0)), 2);
}
