//! Draws old worlds: years of virtual time in which nodes are away for long, everybody rests, tombstones are collected
//! at different moments, and names are deleted and written again.

use crate::case::{Case, HostLine, Leave, Pause, ScenarioSpec, ScriptAction, ScriptLine};
use crate::swarm::draws::Dice;
use crate::swarm::replica;
use sync_sim_cluster::hostile::HostileFaults;
use sync_sim_cluster::workload::Workload;
use sync_sim_engine::faults::{FaultConfig, Rate};
use sync_sim_engine::network::Topology;
use syncline_types::{SimDuration, SimTime};

const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600 * SECOND_MS;
const YEAR_MS: u64 = 365 * 24 * HOUR_MS;

/// Makes one run of sixteen an old world. It has few nodes, and no faults or those that were drawn, for as long as they
/// were drawn for. Virtual time passes while all nodes pause, which costs no events.
pub(super) fn draw(dice: &mut Dice, case: &mut Case) {
    if !dice.percent(6) {
        return;
    }
    let nodes = dice.one_of(2, &[2, 3, 3, 3, 4]);
    let entities = dice.between(0, 6) as usize;
    let name = dice.one_of("empty", &["empty", "synced", "diverged"]);
    case.scenario = Some(ScenarioSpec { name: name.to_owned(), nodes, entities });
    case.topology = Topology::Mesh;
    case.forget_tombstones = true;
    case.contexts = 1;
    case.faults.hostile = HostileFaults::none();
    if dice.percent(50) {
        case.faults = FaultConfig::none().with_latency(dice.scaled(1, 100), 0);
        replica::fit_to_latency(case);
    }
    // Joiners would come while everybody rests.
    case.faults.late_joiners = 0;
    case.naming_spread = SimDuration::ZERO;
    if dice.percent(50) {
        case.delta_retention = dice.scaled(1, 8);
    }
    case.counters_reset = dice.percent(25);
    case.workload = draw_workload(dice);
    let workload = &case.workload;
    let over = workload.over + workload.break_for.times(workload.breaks);
    let names = names(case);
    // A crash ends a pause, and a node that is awake for years costs millions of events: nobody is down when a break
    // begins.
    const DOWN_AT_MOST: SimDuration = SimDuration::from_secs(3);
    if let Some(first) = case.workload.break_times().next() {
        case.chaos_for = case.chaos_for.min(first - DOWN_AT_MOST.min(first));
    }
    for at in case.workload.break_times() {
        let lasting = case.workload.break_for;
        for node in &names {
            let pause = HostLine::Pause(Pause { node: node.clone(), lasting });
            case.script.push(line(at, ScriptAction::Host(pause)));
        }
    }
    for node in &names {
        if dice.percent(30) {
            let offset = dice.between(0, case.workload.over.as_micros());
            let at = SimDuration::from_micros(offset) + case.workload.paused_before(offset);
            let away_for = SimDuration::from_millis(dice.scaled(SECOND_MS, over.as_millis().max(SECOND_MS)));
            case.script
                .push(line(at, ScriptAction::Leave(Leave { node: node.clone(), away_for: Some(away_for) })));
        }
    }
    case.script.sort_by_key(|line| line.at);
    // What is deleted last has time to be collected, and to be written again.
    let calm_after = over + SimDuration::from_millis(dice.scaled(SECOND_MS, 60 * SECOND_MS));
    case.calm_after = Some(calm_after);
}

/// Draws writes over some minutes, with breaks of hours to years.
fn draw_workload(dice: &mut Dice) -> Workload {
    let over = SimDuration::from_millis(dice.scaled(5 * SECOND_MS, 300 * SECOND_MS));
    let mut workload = Workload::new(dice.scaled(8, 64) as usize, over);
    workload.before = Rate::ZERO;
    workload.clash = if dice.percent(30) { dice.rate(20_000, 300_000) } else { Rate::ZERO };
    workload.operations = dice.between(1, 2);
    workload.reuse = Rate::ppm(dice.between(300_000, 1_000_000) as u32);
    workload.after_collection = Rate::ppm(dice.between(100_000, 900_000) as u32);
    workload.keys = dice.scaled(1, 8);
    workload.breaks = dice.between(0, 3);
    workload.break_for = SimDuration::from_millis(dice.scaled(HOUR_MS, 3 * YEAR_MS));
    workload
}

/// The names of the nodes of a drawn case.
fn names(case: &Case) -> Vec<String> {
    let scenario = case.initial_scenario().expect("a drawn scenario is one of the named ones");
    scenario.nodes.into_iter().map(|node| node.name).collect()
}

const fn line(at: SimDuration, what: ScriptAction) -> ScriptLine {
    ScriptLine { at: SimTime::from_micros(at.as_micros()), after: 0, what }
}
