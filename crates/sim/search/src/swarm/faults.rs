//! Draws the faults of a run. Whole families of faults are off in many runs (swarm testing): a fault that
//! is always on can mask another.

use crate::swarm::draws::Dice;
use sync_sim_engine::faults::{FaultConfig, HostFaults, LinkFaults, LinkModel, Rate};
use syncline_types::SimDuration;

/// Draws the faults of a run whose safety phase lasts `calm_ms` milliseconds.
pub(super) fn draw(dice: &mut Dice, links: &mut Dice, hosts: &mut Dice, calm_ms: u64) -> FaultConfig {
    let mut faults = FaultConfig::none();
    if dice.percent(90) {
        faults.base_latency_ms = dice.scaled(1, 150);
    }
    if dice.percent(60) {
        faults.latency_jitter_ms = dice.between(0, faults.base_latency_ms);
    }
    if dice.percent(50) {
        faults.message_loss_rate = dice.rate(1_000, 300_000);
    }
    if dice.percent(40) {
        faults.reorder_window_ms = dice.scaled(1, 200);
    }
    if dice.percent(40) {
        faults.duplicate_rate = dice.rate(1_000, 300_000);
    }
    if dice.percent(25) {
        faults.corruption_rate = dice.rate(1_000, 100_000);
    }
    if dice.percent(35) {
        faults.partition_probability = dice.rate(1_000, 40_000);
        let least = dice.scaled(50, 500);
        faults.partition_duration_ms = least..least * dice.between(2, 4);
    }
    if dice.percent(35) {
        faults.crash_probability = dice.rate(300, 8_000);
        let least = dice.scaled(20, 500);
        faults.restart_delay_ms = least..least * dice.between(2, 4);
    }
    if dice.percent(15) {
        faults.slow_node_permille = dice.between(1_500, 8_000);
    }
    if dice.percent(30) {
        faults.write_during_sync_rate = dice.rate(10_000, 500_000);
    }
    if dice.percent(25) {
        faults.churn_probability = dice.rate(300, 8_000);
        let least = dice.scaled(50, 1_000);
        faults.away_duration_ms = least..least * dice.between(2, 4);
    }
    if dice.percent(15) {
        faults.late_joiners = dice.between(1, 3);
        faults.join_ms = 50..(calm_ms / 2).max(100);
    }
    let splits = faults.partition_probability > Rate::ZERO;
    faults.links = draw_links(links, splits);
    faults.hosts = draw_hosts(hosts);
    faults
}

/// Draws the faults of hosts, except lying and rotting disks. Half of the runs have none.
fn draw_hosts(dice: &mut Dice) -> HostFaults {
    let mut hosts = HostFaults::none();
    if dice.percent(50) {
        return hosts;
    }
    if dice.percent(35) {
        hosts.clock_skew_ms = dice.scaled(10, 4_000);
    }
    if dice.percent(25) {
        hosts.clock_drift_ppm = dice.scaled(100, 50_000);
    }
    if dice.percent(25) {
        hosts.clock_jump_probability = dice.rate(300, 5_000);
        hosts.clock_jump_ms = 1..dice.scaled(100, 4_000);
    }
    if dice.percent(25) {
        hosts.clock_freeze_probability = dice.rate(300, 5_000);
        hosts.clock_freeze_ms = 50..dice.scaled(100, 2_000);
    }
    if dice.percent(25) {
        hosts.timer_drift_ppm = dice.scaled(1_000, 100_000);
    }
    if dice.percent(25) {
        hosts.pause_probability = dice.rate(300, 5_000);
        hosts.pause_ms = 20..dice.scaled(50, 1_000);
    }
    if dice.percent(30) {
        hosts.processing = SimDuration::from_micros(dice.scaled(50, 5_000));
        if dice.percent(40) {
            hosts.slow_host_permille = dice.between(1_500, 9_000);
        }
    }
    if dice.percent(25) {
        hosts.failed_write_rate = dice.rate(1_000, 20_000);
    }
    if dice.percent(25) {
        hosts.torn_write_probability = dice.rate(300, 3_000);
    }
    hosts
}

/// Draws lying and rotting disks, in one run of eight.
pub(super) fn draw_disks(dice: &mut Dice, hosts: &mut HostFaults) {
    if !dice.percent(13) {
        return;
    }
    if dice.percent(60) {
        hosts.lying_sync_rate = dice.rate(1_000, 50_000);
    }
    if dice.percent(60) {
        hosts.rot_probability = dice.rate(50, 1_000);
    }
}

/// Draws the faults of links. Half of the runs have none. `splits` says whether the run has partitions,
/// which some of these faults shape.
fn draw_links(dice: &mut Dice, splits: bool) -> LinkFaults {
    let mut links = LinkFaults::none();
    if splits && dice.percent(40) {
        links.one_way_share = dice.rate(50_000, 500_000);
    }
    if splits && dice.percent(40) {
        links.group_share = dice.rate(50_000, 500_000);
    }
    if dice.percent(50) {
        return links;
    }
    if dice.percent(40) {
        links.model = LinkModel::Stream;
        links.retransmit_after = SimDuration::from_millis(dice.scaled(20, 400));
        links.reset_after = links.retransmit_after + SimDuration::from_millis(dice.scaled(50, 2_000));
        if dice.percent(60) {
            links.reset_rate = dice.rate(500, 20_000);
        }
    }
    if dice.percent(25) {
        links.bandwidth = dice.scaled(4_000, 1_000_000);
        links.queue_bytes = dice.scaled(1_000, 64_000);
        links.shared_uplink = dice.percent(50);
    }
    if dice.percent(25) {
        links.tail_rate = dice.rate(1_000, 50_000);
        links.tail_most = SimDuration::from_millis(dice.scaled(200, 4_000));
    }
    if dice.percent(25) {
        links.bad_link_rate = dice.rate(50_000, 500_000);
        links.bad_link_slowdown = dice.scaled(2, 16);
        links.bad_link_loss = if dice.percent(60) { dice.rate(10_000, 400_000) } else { Rate::ZERO };
    }
    if dice.percent(25) {
        links.burst_rate = dice.rate(2_000, 50_000);
        links.burst_end_rate = dice.rate(20_000, 500_000);
        links.burst_loss = dice.rate(300_000, 1_000_000);
        links.burst_most = SimDuration::from_millis(dice.scaled(50, 2_000));
    }
    if dice.percent(25) {
        links.flap_rate = dice.rate(50_000, 600_000);
        let up = dice.scaled(100, 1_500);
        let down = dice.scaled(50, 600);
        links.flap_up_ms = up..2 * up;
        links.flap_down_ms = down..2 * down;
    }
    links
}
