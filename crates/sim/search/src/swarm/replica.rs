//! Draws the settings of replicas. In half of the runs, some families of them are small: rare branches, such as
//! a page that ends in the middle of a collection or a buffer that is full, are then common. In all runs, tombstones are
//! collected in pages of one of four sizes.

use crate::case::Case;
use crate::swarm::draws::Dice;
use crate::swarm::{ROUNDS, round_trip};
use sync_sim_engine::faults::Rate;
use syncline_sync::SyncProtocolKind;
use syncline_types::{Limit, Limits, SimDuration};

/// Draws the settings of the replicas of a case whose nodes and faults are drawn.
pub(super) fn draw(dice: &mut Dice, case: &mut Case) {
    if dice.percent(50) {
        return;
    }
    if dice.percent(20) {
        case.replica.limits = in_proportion(dice.between(1, 6));
    }
    if dice.percent(50) {
        draw_pages(dice, case);
    }
    if dice.percent(40) {
        draw_snapshots(dice, case);
    }
    if dice.percent(25) {
        lower_some(dice, &mut case.replica.limits, &WRITES);
    }
    if dice.percent(60) {
        draw_pace(dice, case);
    }
}

/// Draws how many records a step may visit in order to collect them, in every run: with few, a collection takes many steps,
/// between which writes, frames and crashes come.
pub(super) fn draw_collected(dice: &mut Dice, case: &mut Case) {
    let collected = dice.one_of(1, &[2, 16, Limit::CollectedRecords.most()]);
    if let Ok(limits) = case.replica.limits.with(Limit::CollectedRecords, collected) {
        case.replica.limits = limits;
    }
}

/// The sizes of frames and pages, with bounds within which a small state needs several of them, and how often
/// sessions ask for more.
const PAGES: [(Limit, u64, u64); 12] = [
    (Limit::PageBytes, 32, 8_192),
    (Limit::RecordsPerFrame, 1, 64),
    (Limit::DeltasPerFrame, 1, 16),
    (Limit::QuestionsPerFrame, 2, 64),
    (Limit::ChildrenPerAnswer, 1, 32),
    (Limit::SubtreeChildren, 1, 8),
    (Limit::MissingPerAnswer, 1, 32),
    (Limit::CellsPerFrame, 32, 256),
    (Limit::SubtreePages, 0, 2),
    (Limit::CellPages, 0, 3),
    (Limit::OrphanBytes, 0, 1_024),
    (Limit::ComparedChildren, 0, 16),
];

/// The pages of snapshots, and the bounds of a transfer.
const SNAPSHOTS: [(Limit, u64, u64); 5] = [
    (Limit::SnapshotPageBytes, 32, 512),
    (Limit::Boundaries, 2, 3),
    (Limit::EarlyRecords, 1, 4),
    (Limit::SweepRows, 1, 32),
    (Limit::SkippedPeers, 0, 1),
];

/// The sizes of writes. Most values, labels and deltas of a workload are within even the lowest bounds.
const WRITES: [(Limit, u64, u64); 4] = [
    (Limit::ValueBytes, 32, 4_096),
    (Limit::LabelBytes, 64, 2_048),
    (Limit::DeltaBytes, 512, 16_384),
    (Limit::ActionsPerDelta, 1, 8),
];

/// Lowers about two thirds of these limits.
fn lower_some(dice: &mut Dice, limits: &mut Limits, family: &[(Limit, u64, u64)]) {
    for (limit, low, high) in family {
        // Drawn in every case, so that one limit does not change the draws of the others.
        let value = dice.scaled(low + 1, high + 1) - 1;
        let lowered = (value as usize).min(limits.get(*limit));
        if dice.percent(65)
            && let Ok(lower) = limits.with(*limit, lowered)
        {
            *limits = lower;
        }
    }
}

/// Draws the sizes of pages and, in some of the runs, a protocol that they matter to.
fn draw_pages(dice: &mut Dice, case: &mut Case) {
    lower_some(dice, &mut case.replica.limits, &PAGES);
    if dice.percent(30) {
        let kind = dice.one_of(SyncProtocolKind::SubtreePrefetch, &SyncProtocolKind::EXECUTABLE);
        case.protocol = Some(kind).filter(|kind| *kind != SyncProtocolKind::None);
    }
}

/// Draws the limits of snapshots and, in some of the runs, what makes a transfer long and difficult: replicas that
/// join late, more entities, crashes, and clocks that are further apart than stamps may be.
fn draw_snapshots(dice: &mut Dice, case: &mut Case) {
    /// The most entities of one node in all its contexts: each may need a page of its own.
    const ENTITIES: u64 = 48;
    lower_some(dice, &mut case.replica.limits, &SNAPSHOTS);
    case.replica.snapshot_views = dice.between(1, 3) as usize;
    case.replica.max_sessions = dice.one_of(1, &[1, 1, 2, 4]);
    let joiners = dice.between(1, 3);
    if dice.percent(50) && case.faults.late_joiners == 0 {
        let before = case.faults.clone();
        let calm_ms = case.calm_after.unwrap_or_default().as_millis();
        case.faults.late_joiners = joiners;
        case.faults.join_ms = 50..(calm_ms / 2).max(100);
        if !case.honest_nodes_stay_connected() {
            case.faults = before;
        }
    }
    let entities = dice.scaled(12, ENTITIES) as usize / case.contexts;
    let name = dice.one_of("uneven", &["uneven", "fresh", "random"]);
    if let Some(scenario) = &mut case.scenario
        && dice.percent(25)
    {
        scenario.name = name.to_owned();
        scenario.entities = scenario.entities.max(entities);
    }
    let rate = dice.rate(2_000, 10_000);
    if dice.percent(30) && case.faults.crash_probability == Rate::ZERO {
        case.faults.crash_probability = rate;
        case.faults.restart_delay_ms = 20..200;
    }
    let skew = dice.scaled(200, 4_000);
    if dice.percent(30) {
        let hosts = &mut case.faults.hosts;
        hosts.clock_skew_ms = hosts.clock_skew_ms.max(skew);
        case.replica.max_drift_ms = dice.scaled(20, 500);
    }
}

/// All sizes divided by the same power of two: a world in which values, deltas and frames stand in the usual
/// proportion, so that small values break what large ones would break.
fn in_proportion(halvings: u64) -> Limits {
    const SIZES: [Limit; 9] = [
        Limit::PageBytes,
        Limit::SnapshotPageBytes,
        Limit::ChildrenPerAnswer,
        Limit::MissingPerAnswer,
        Limit::CellsPerFrame,
        Limit::ValueBytes,
        Limit::LabelBytes,
        Limit::DeltaBytes,
        // The frame has to have room for what is lowered before it.
        Limit::FrameBytes,
    ];
    SIZES.into_iter().fold(Limits::default(), |limits, size| {
        limits.with(size, size.most() >> halvings).expect("sizes in proportion fit the frame")
    })
}

/// Draws pauses and timeouts. They stay so long that a calm network can carry a request and its answer, and that
/// no host receives more than it can process.
fn draw_pace(dice: &mut Dice, case: &mut Case) {
    let round_trip = round_trip(case).as_millis();
    let is_fast = case.faults.hosts.processing == SimDuration::ZERO;
    let ms = SimDuration::from_millis;
    let settings = &mut case.replica;
    if dice.percent(70) {
        let least = dice.scaled(50, 1_000);
        settings.backoff_min = ms(least);
        settings.backoff_max = ms((least * dice.scaled(2, 32)).max(500));
    }
    if dice.percent(50) {
        let least = dice.scaled(if is_fast { 400 } else { 500 }, 2_000);
        settings.heartbeat_min = ms(least);
        settings.heartbeat_max = ms(dice.scaled(least.max(1_000), 30_000));
        settings.heartbeat_fanout = dice.between(1, 3) as usize;
    }
    if dice.percent(70) {
        settings.first_timeout = ms(dice.scaled(50, 2_000));
        settings.timeout_max = ms(dice.scaled((4 * round_trip).max(2_000), 60_000));
    }
    if dice.percent(70) {
        settings.session_deadline = ms(dice.scaled((ROUNDS * round_trip).max(1_500), 60_000));
    }
    if dice.percent(50) {
        settings.max_drift_ms = dice.scaled(50, 5_000);
    }
    if dice.percent(50) {
        settings.gossip_fanout = dice.between(1, 8) as usize;
    }
}

/// Raises timeouts and deadlines to what the network of the case needs, after its latency was drawn again.
pub(super) fn fit_to_latency(case: &mut Case) {
    let round_trip = round_trip(case);
    let settings = &mut case.replica;
    settings.timeout_max = settings.timeout_max.max(round_trip.times(4));
    settings.session_deadline = settings.session_deadline.max(round_trip.times(ROUNDS));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm;

    #[test]
    fn every_limit_is_drawn_small() {
        let cases: Vec<Case> = (0..2_000).map(swarm::draw).collect();
        for limit in Limit::ALL {
            let small = cases.iter().filter(|case| case.replica.limits.get(*limit) < limit.most()).count();
            assert!(small > 100, "{limit:?} is small in {small} of 2,000 runs");
            // In a third of the runs a collection takes one step.
            let most = if *limit == Limit::CollectedRecords { 1_500 } else { 1_000 };
            assert!(small < most, "{limit:?} has its default in half of the runs");
        }
    }

    #[test]
    fn proportional_sizes_fit_frames() {
        for halvings in 1..=6 {
            assert_eq!(in_proportion(halvings).frame_bytes(), (4 << 20) >> halvings);
        }
    }
}
