//! Draws worlds in which tombstones are collected again and again, while their horizons differ: among members at work,
//! while members join of which not all have learned, and while a replica without state receives a long snapshot.

use crate::case::{Case, ScenarioSpec};
use crate::swarm::draws::Dice;
use crate::swarm::replica;
use sync_sim_cluster::hostile::HostileFaults;
use sync_sim_cluster::workload::{Mix, Workload};
use sync_sim_engine::faults::{FaultConfig, Rate};
use sync_sim_engine::network::Topology;
use syncline_sync::SyncProtocolKind;
use syncline_types::{Limit, Limits, SimDuration};

/// Who collects tombstones in a world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Collectors {
    /// Members that write and delete in turns.
    AtWork,
    /// The same, while others join.
    WithJoiners,
    /// Members one of which has no state at first.
    WithFreshMember,
}

/// What is listed more often is drawn more often.
const COLLECTORS: [Collectors; 4] =
    [Collectors::WithJoiners, Collectors::WithJoiners, Collectors::WithJoiners, Collectors::WithFreshMember];

/// Makes one run of nine a world in which tombstones are collected. Members hear of each other often enough for it, and
/// the writing stops now and then.
pub(super) fn draw(dice: &mut Dice, case: &mut Case) {
    if !dice.percent(11) {
        return;
    }
    case.forget_tombstones = true;
    case.contexts = 1;
    case.faults.hostile = HostileFaults::none();
    // The topologies in which news takes long are for other worlds.
    case.topology = Topology::Mesh;
    // A disk that has lost what it acknowledged is a member that has seen nothing: nobody collects any more.
    case.faults.hosts.lying_sync_rate = Rate::ZERO;
    case.faults.hosts.rot_probability = Rate::ZERO;
    if dice.percent(60) {
        draw_network(dice, case);
    }
    case.faults.late_joiners = 0;
    case.naming_spread = SimDuration::ZERO;
    let nodes = dice.one_of(2, &[2, 3, 3, 3, 4]);
    let entities = dice.between(0, 12) as usize;
    let name = dice.one_of("diverged", &["synced", "empty"]);
    case.scenario = Some(ScenarioSpec { name: name.to_owned(), nodes, entities });
    case.workload = draw_workload(dice);
    draw_pace(dice, case);
    let collectors = dice.one_of(Collectors::AtWork, &COLLECTORS);
    if collectors == Collectors::WithJoiners {
        // Before somebody joins, and between two who join, there is time to collect.
        case.workload.breaks = dice.between(2, 4);
        case.workload.break_for = SimDuration::from_millis(dice.scaled(1_500, 4_000));
        case.replica.heartbeat_max = SimDuration::from_millis(dice.between(1_000, 2_000));
    }
    let over = case.workload.over + case.workload.break_for.times(case.workload.breaks);
    match collectors {
        Collectors::AtWork => replica::fit_to_latency(case),
        Collectors::WithJoiners => draw_joiners(dice, case, over),
        Collectors::WithFreshMember => draw_fresh_member(dice, case, nodes),
    }
    let over = case.workload.over + case.workload.break_for.times(case.workload.breaks);
    let calm_after = over + SimDuration::from_millis(dice.scaled(200, 2_000));
    case.calm_after = Some(calm_after);
    case.chaos_for = calm_after;
}

/// A network and hosts with few faults, so that members do hear of each other. Lost deltas let sessions move records.
fn draw_network(dice: &mut Dice, case: &mut Case) {
    let latency = dice.scaled(1, 150);
    case.faults = FaultConfig::none().with_latency(latency, dice.between(0, latency / 2));
    if dice.percent(60) {
        case.faults.message_loss_rate = dice.rate(10_000, 300_000);
    }
    if dice.percent(40) {
        case.faults.hosts.clock_skew_ms = dice.scaled(100, 4_000);
    }
    if dice.percent(30) {
        case.faults.churn_probability = dice.rate(1_000, 8_000);
        case.faults.away_duration_ms = 200..dice.scaled(500, 4_000);
    }
    if dice.percent(20) {
        case.faults.crash_probability = dice.rate(300, 3_000);
        case.faults.restart_delay_ms = 20..dice.scaled(50, 1_000);
    }
}

/// Writes with many deletes, in parts between which there is time to collect, and writes just when that happens.
fn draw_workload(dice: &mut Dice) -> Workload {
    let over = SimDuration::from_millis(dice.scaled(1_000, 8_000));
    let mut workload = Workload::deletes(dice.scaled(12, 48) as usize, over);
    workload.mix = if dice.percent(60) { busy(dice) } else { SWEEPING };
    workload.before = Rate::ZERO;
    workload.clash = if dice.percent(50) { dice.rate(20_000, 500_000) } else { Rate::ZERO };
    workload.burst = if dice.percent(50) { dice.rate(20_000, 300_000) } else { Rate::ZERO };
    workload.operations = dice.between(1, 3);
    workload.keys = dice.scaled(1, 8);
    // Where little is written around collections, what was deleted last is collected before a node joins.
    let (least, most) = if dice.percent(30) { (50_000, 300_000) } else { (300_000, 1_000_000) };
    workload.around_collections = Rate::ppm(dice.between(least, most) as u32);
    workload.breaks = dice.between(1, 4);
    workload.break_for = SimDuration::from_millis(dice.scaled(800, 4_000));
    workload
}

/// Writes of many kinds, a third of them deletes. Whether an element is in its set depends, in known ways, on who has
/// collected what.
fn busy(dice: &mut Dice) -> Mix {
    let delete_collection = dice.between(1, 8) as u32;
    Mix { add: 0, remove: 0, delete: 14, delete_collection, ..Mix::DELETES }
}

/// Mostly deletes, of values that a collection removes without a trace.
const SWEEPING: Mix =
    Mix { set: 8, entry: 4, nested: 3, opaque: 1, delete: 16, delete_collection: 4, ..Mix::NOTHING };

/// Heartbeats that come often, logs that are short, and protocols that take several rounds.
fn draw_pace(dice: &mut Dice, case: &mut Case) {
    let replica = &mut case.replica;
    replica.heartbeat_min = SimDuration::from_millis(dice.scaled(400, 1_000));
    replica.heartbeat_max = SimDuration::from_millis(dice.scaled(1_000, 4_000));
    replica.heartbeat_fanout = dice.between(1, 3) as usize;
    replica.max_sessions = dice.between(1, 3) as usize;
    if dice.percent(50) {
        case.delta_retention = dice.scaled(1, 4);
    }
    if dice.percent(60) {
        let kind = dice.one_of(SyncProtocolKind::HashComparison, &SyncProtocolKind::EXECUTABLE);
        case.protocol = Some(kind).filter(|kind| *kind != SyncProtocolKind::None);
    }
}

/// Members that join while the others collect, each of them named to each node at a moment of its own. In some worlds
/// news is late, in the others the clocks of the joiners may be behind.
fn draw_joiners(dice: &mut Dice, case: &mut Case, over: SimDuration) {
    draw_network(dice, case);
    case.faults.crash_probability = Rate::ZERO;
    case.faults.late_joiners = dice.between(1, 2);
    let over = over.as_millis();
    let from = over / dice.between(3, 6);
    case.faults.join_ms = from..from + (over / 3).max(100);
    if dice.percent(50) {
        case.faults.write_during_sync_rate = dice.rate(50_000, 500_000);
    }
    if dice.percent(50) {
        draw_pages(dice, case);
    }
    if dice.percent(50) {
        // A joiner that is away misses what others collect who do not know of it yet.
        case.naming_spread = SimDuration::from_millis(dice.scaled(1_000, 8_000));
        case.faults.churn_probability = dice.rate(1_000, 8_000);
        case.faults.away_duration_ms = 500..dice.scaled(1_000, 4_000);
        case.faults.message_loss_rate = dice.rate(20_000, 300_000);
    } else {
        case.naming_spread = SimDuration::from_millis(dice.scaled(100, 1_000));
        case.faults.hosts.clock_skew_ms = dice.between(1_000, 4_500);
        case.faults.churn_probability = Rate::ZERO;
        case.faults.message_loss_rate = Rate::ZERO;
    }
    replica::fit_to_latency(case);
}

/// A member that has no state at first, and receives it over a slow network in many small pages and several sessions.
/// Between two of them it applies what has been written meanwhile, and what was deleted can be collected.
fn draw_fresh_member(dice: &mut Dice, case: &mut Case, nodes: usize) {
    let ms = SimDuration::from_millis;
    let entities = dice.between(16, 48) as usize;
    // With a third node, the source of the snapshot does not learn of all progress at once.
    case.scenario = Some(ScenarioSpec { name: "fresh".to_owned(), nodes: nodes.max(3), entities });
    if dice.percent(80) {
        // A member that loses a delta cannot see that the others have it.
        case.faults = FaultConfig::none().with_latency(dice.between(80, 150), dice.between(0, 10));
        case.workload.writes = dice.scaled(6, 24) as usize;
        case.workload.over = ms(dice.scaled(3_000, 8_000));
        case.workload.breaks = dice.between(1, 2);
        case.workload.break_for = ms(dice.scaled(2_000, 6_000));
    }
    draw_pages(dice, case);
    // Enough for a walk down the index, and not for a whole snapshot.
    let round_trip = 2 * (case.faults.base_latency_ms + case.faults.latency_jitter_ms).max(40);
    case.replica.session_deadline = ms(round_trip * dice.between(7, 11));
    case.replica.backoff_min = ms(dice.scaled(50, 250));
    case.replica.backoff_max = ms(dice.scaled(500, 2_000));
}

/// Pages of snapshots that hold few records, and remains that are removed in pieces.
fn draw_pages(dice: &mut Dice, case: &mut Case) {
    let small = [(Limit::SnapshotPageBytes, dice.scaled(32, 96)), (Limit::SweepRows, dice.scaled(1, 64))];
    let lowered = small
        .iter()
        .try_fold(Limits::default(), |limits, (limit, value)| limits.with(*limit, *value as usize));
    if let Ok(limits) = lowered {
        case.replica.limits = limits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm;

    #[test]
    fn one_seed_of_nine_collects() {
        let drawn = (0..4_000).map(swarm::draw);
        let collecting: Vec<Case> =
            drawn.filter(|case| case.workload.around_collections > Rate::ZERO).collect();
        assert!((320..480).contains(&collecting.len()), "{}", collecting.len());
        let joining = collecting.iter().filter(|case| case.faults.late_joiners > 0).count();
        assert!((150..300).contains(&joining), "{joining}");
        let is_fresh = |case: &&Case| case.scenario.as_ref().is_some_and(|scenario| scenario.name == "fresh");
        let fresh = collecting.iter().filter(is_fresh).count();
        assert!((50..140).contains(&fresh), "{fresh}");
    }
}
