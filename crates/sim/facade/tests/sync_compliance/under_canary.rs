//! Each case fails when a canary breaks what the case is about. `canaries.rs` shows that a sweep finds
//! each bug; this shows that the case which is named for a promise does.

use super::{Case, buffering, end_to_end, everywhere, invariants, merging, negotiation, safety};
use sync_sim::canary::{self, Canary};

/// A case, and a canary that it must detect.
const NOTICED: [(&str, Case, Canary); 44] = [
    ("N1", negotiation::the_table_decides, Canary::SnapshotOverwrites),
    ("B1", buffering::during_a_snapshot, Canary::BufferEmptiedBeforeReplay),
    ("B2", buffering::out_of_order, Canary::BufferEmptiedBeforeReplay),
    ("B3", buffering::very_many, Canary::BufferEmptiedBeforeReplay),
    ("M1", merging::counters, Canary::CounterByLastWriter),
    ("M2", merging::maps, Canary::PullOnly),
    ("M3", merging::one_key, Canary::LwwTieByArrival),
    ("M4", merging::sets, Canary::PullOnly),
    ("M5", merging::custom_types, Canary::PullOnly),
    ("M6", merging::the_root, Canary::PullOnly),
    ("M7", merging::no_type, Canary::PullOnly),
    ("E1", end_to_end::two_write_at_once, Canary::ChildrenBeyond256Ignored),
    ("E1", end_to_end::two_write_at_once, Canary::SuccessWithoutComparingRoots),
    ("E2", end_to_end::three_in_several_rounds, Canary::PullOnly),
    ("E3", end_to_end::a_fresh_one_joins, Canary::PullOnly),
    ("E4", end_to_end::two_halves_meet, Canary::TombstoneBeforeAddDropped),
    ("E5", end_to_end::a_thousand_behind, Canary::PullOnly),
    ("S3", safety::on_an_initialised_node, Canary::SnapshotOverwrites),
    ("I1", invariants::a_write_arrives, Canary::SuccessWithoutComparingRoots),
    ("I2", invariants::few_rounds, Canary::PullOnly),
    ("I3", invariants::order_of_arrival, Canary::LwwTieByArrival),
    ("I3", invariants::order_of_arrival, Canary::CounterByLastWriter),
    ("I4", invariants::one_end, Canary::PullOnly),
    ("I5", invariants::no_overwriting, Canary::SnapshotOverwrites),
    ("I6", invariants::nothing_dropped, Canary::BufferEmptiedBeforeReplay),
    ("I8", invariants::parents_first, Canary::BufferEmptiedBeforeReplay),
    ("I10", invariants::metadata_travels, Canary::PullOnly),
    ("N2", negotiation::falls_back, Canary::CapabilitiesIgnored),
    ("N3", negotiation::versions_differ, Canary::VersionIgnored),
    ("N4", negotiation::equal_roots, Canary::NoneTransfers),
    ("M4", merging::sets, Canary::RemoveWinsWhole),
    ("M5", merging::custom_types, Canary::CustomByLastWriter),
    ("M6", merging::the_root, Canary::CustomByLastWriter),
    ("M7", merging::no_type, Canary::OpaqueUncounted),
    ("S1", safety::a_forged_entity, Canary::SnapshotUnverified),
    ("S2", safety::a_claimed_root, Canary::SnapshotUnverified),
    ("I7", invariants::verified_first, Canary::SnapshotUnverified),
    ("B2", buffering::out_of_order, Canary::DeltaBeforeParents),
    ("I8", invariants::parents_first, Canary::DeltaBeforeParents),
    ("I9", invariants::the_same_ids, Canary::IdsByReplica),
    ("I10", invariants::metadata_travels, Canary::CreatedLost),
    ("I11", invariants::only_what_is_advertised, Canary::CapabilitiesIgnored),
    ("I12", invariants::none_is_no_failure, Canary::NoCommonIsSuccess),
    ("I12", invariants::none_is_no_failure, Canary::NoneTransfers),
];

#[test]
fn each_case_detects_its_canary() {
    for (id, case, bug) in NOTICED {
        canary::set(Some(bug));
        let found = everywhere(case);
        canary::set(None);
        let Err(words) = found else { panic!("{id} does not notice {bug:?}") };
        println!("{id}, {bug:?}: {}", words.lines().next().unwrap_or_default());
    }
}
