//! Draws disks that are restored, copied and lost, clocks that are far ahead, faulty merge functions, and members that
//! are named at different moments.

use crate::case::Case;
use crate::swarm::draws::Dice;
use sync_sim_cluster::hostile::HostileFaults;
use sync_sim_cluster::workload::{MergeFaults, MergeFunction};
use sync_sim_engine::faults::Rate;
use syncline_types::SimDuration;

const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600 * SECOND_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
const YEAR_MS: u64 = 365 * DAY_MS;

/// In one run of thirty-two, lets disks come back from backups, be copied or be lost under a name that stays: one of
/// the three, since each can mask another. Such a run has no other disk that loses what it acknowledged, and no hostile
/// nodes.
pub(super) fn draw_disks(dice: &mut Dice, case: &mut Case) {
    if !dice.percent(3) {
        return;
    }
    let hosts = &mut case.faults.hosts;
    hosts.lying_sync_rate = Rate::ZERO;
    hosts.rot_probability = Rate::ZERO;
    case.faults.hostile = HostileFaults::none();
    let rate = dice.rate(500, 5_000);
    // Only what is written before the next sync reuses a number, and counters show each write that is lost.
    case.workload.after_replacement = dice.rate(200_000, 1_000_000);
    case.workload.mix.increment += dice.scaled(1, 32) as u32;
    match dice.between(0, 4) {
        0 | 1 => hosts.restore_probability = dice.rate(2_000, 10_000),
        2 | 3 => hosts.clone_probability = rate,
        _ => hosts.lost_disk_probability = rate,
    }
}

/// In one run of fifty, puts the clock of a node far ahead for a while: by an hour, a day or years.
pub(super) fn draw_clocks(dice: &mut Dice, case: &mut Case) {
    if !dice.percent(2) {
        return;
    }
    // Peers of a replica that is ahead send frames without end: far fewer events than usual show it.
    case.max_events = 15_000;
    let hosts = &mut case.faults.hosts;
    hosts.clock_ahead_probability = dice.rate(300, 5_000);
    let least = dice.one_of(HOUR_MS, &[DAY_MS, YEAR_MS]);
    hosts.clock_ahead_ms = least..least * dice.between(2, 27);
    hosts.clock_ahead_for_ms = 1..dice.scaled(10, 2 * SECOND_MS);
}

/// In one run of a hundred and twenty, makes the merge function of the writes faulty: missing on some nodes, panicking or no join.
pub(super) fn draw_merges(dice: &mut Dice, case: &mut Case) {
    if dice.between(0, 119) > 0 {
        return;
    }
    case.workload.mix.merge += dice.scaled(2, 16) as u32;
    case.merge_faults = match dice.between(0, 3) {
        0 | 1 => MergeFaults { lacking: dice.between(1, 2) as usize, function: MergeFunction::Union },
        2 => MergeFaults { lacking: 0, function: MergeFunction::Panics },
        _ => MergeFaults { lacking: 0, function: MergeFunction::Appends },
    };
}

/// In a third of the runs with late joiners, has each node learn of them at a moment of its own, and of the rest of the
/// writes many delete.
pub(super) fn draw_namings(dice: &mut Dice, case: &mut Case) {
    if case.faults.late_joiners == 0 || !dice.percent(33) {
        return;
    }
    case.naming_spread = SimDuration::from_millis(dice.scaled(100, 8 * SECOND_MS));
    if dice.percent(50) {
        case.workload.mix.delete += dice.scaled(2, 16) as u32;
    }
}
