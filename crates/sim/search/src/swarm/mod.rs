//! Whole cases drawn from a seed: how many nodes, in which shape, with what state; what goes wrong, whole
//! families of it off at times; what is written; how little room there is.
//!
//! A drawn run has two phases. In the first everything goes wrong and every check holds at every event; then
//! all is healed, and it must converge within a time that follows from the case ([`liveness_bound`]). One
//! that needs longer is a finding.
//!
//! ```
//! use sync_sim::swarm;
//!
//! let case = swarm::draw(7);
//! assert!(case.run()?.class.is_converged());
//! # Ok::<(), sync_sim::case::CaseError>(())
//! ```

mod contexts;
mod draws;
mod faults;
mod hostile;

use crate::case::{Beginning, Case};
use crate::swarm::draws::Dice;
use sync_sim_cluster::scenarios::NAMED;
use sync_sim_cluster::workload::{Mix, Workload};
use sync_sim_engine::faults::{LinkModel, Rate};
use sync_sim_engine::network::Topology;
use syncline_sync::{Selection, SyncProtocolKind};
use syncline_types::{SimDuration, SimTime};

/// Which part of a case is drawn. Each has a stream of its own, so that one more draw in one leaves the
/// others as they were.
#[repr(u64)]
enum Part {
    Shape = 1,
    Room = 2,
    Faults = 3,
    Links = 4,
    Workload = 5,
    Hosts = 6,
    Hostile = 7,
    Disks = 8,
    Contexts = 9,
}

/// The case of a seed.
pub fn draw(seed: u64) -> Case {
    let dice = |part: Part| Dice::new(seed, part as u64);
    let mut shape = dice(Part::Shape);
    let calm_after = SimDuration::from_millis(shape.scaled(500, 8_000));
    let mut case = Case { seed, calm_after: Some(calm_after), chaos_for: calm_after, ..Case::default() };
    draw_shape(&mut shape, &mut case);
    draw_room(&mut dice(Part::Room), &mut case);
    case.faults = faults::draw(
        &mut dice(Part::Faults),
        &mut dice(Part::Links),
        &mut dice(Part::Hosts),
        calm_after.as_millis(),
    );
    faults::draw_disks(&mut dice(Part::Disks), &mut case.faults.hosts);
    hostile::draw(&mut dice(Part::Hostile), &mut case);
    contexts::draw(&mut dice(Part::Contexts), &mut case);
    case.workload = draw_workload(&mut dice(Part::Workload), calm_after);
    case.max_time = SimTime::ZERO + calm_after + liveness_bound(&case);
    case
}

fn draw_shape(dice: &mut Dice, case: &mut Case) {
    const NODES: [usize; 19] = [1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7, 9];
    let nodes = dice.one_of(8, &NODES);
    let most = if dice.percent(3) { 400 } else { 48 };
    let entities = (dice.scaled(1, most) - 1) as usize;
    let name = dice.one_of("diverged", &NAMED.map(|scenario| scenario.name));
    case.scenario = Some(Beginning { name: name.to_owned(), nodes, entities });
    if dice.percent(50) {
        case.topology = dice.one_of(Topology::Mesh, &Topology::ALL);
    }
    case.selection = dice.one_of(Selection::Adaptive, &[Selection::Adaptive, Selection::Table]);
    if dice.percent(50) {
        let kind = dice.one_of(SyncProtocolKind::HashComparison, &SyncProtocolKind::EXECUTABLE);
        case.protocol = (kind != SyncProtocolKind::None).then_some(kind);
    }
}

fn draw_room(dice: &mut Dice, case: &mut Case) {
    if dice.percent(20) {
        case.buffer_capacity = dice.scaled(1, 32) as usize;
    }
    if dice.percent(25) {
        case.delta_retention = dice.scaled(1, 64);
    }
    case.forget_tombstones = dice.percent(85);
}

fn draw_workload(dice: &mut Dice, calm_after: SimDuration) -> Workload {
    let writes = if dice.percent(8) { 0 } else { dice.scaled(1, 64) as usize };
    let over = SimDuration::from_millis(dice.between(1, calm_after.as_millis() * 3 / 4));
    let (_, preset) = dice.one_of(Workload::PRESETS[0], &Workload::PRESETS);
    let mut workload = preset(writes, over);
    if dice.percent(50) {
        workload.mix = Mix::drawn(&mut || if dice.percent(50) { dice.scaled(1, 16) as u32 } else { 0 });
    }
    let mut sometimes = |percent, low, high| match dice.percent(percent) {
        true => dice.rate(low, high),
        false => Rate::ZERO,
    };
    workload.before = sometimes(50, 10_000, 500_000);
    workload.clash = sometimes(70, 20_000, 500_000);
    workload.burst = sometimes(60, 20_000, 500_000);
    workload.crash = sometimes(60, 10_000, 300_000);
    workload.away = sometimes(60, 10_000, 300_000);
    workload.keys = dice.scaled(1, 32);
    workload.skew = dice.between(0, 4) as u32;
    workload.operations = dice.between(1, 4);
    workload.burst_writes = dice.scaled(1, 16);
    workload.anywhere = dice.percent(80);
    workload
}

/// How long after the network has calmed a run of this case may take to converge. What is on its way has
/// to arrive first, sessions and pauses that began before have to end; then every node hears of a difference
/// within one heartbeat, and what differs passes from node to node along the longest way there is.
pub fn liveness_bound(case: &Case) -> SimDuration {
    const LONGEST_TIMEOUT: SimDuration = SimDuration::from_secs(60);
    // The pause after failures and between heartbeats, half a minute and up to a quarter more.
    const LONGEST_PAUSE: SimDuration = SimDuration::from_millis(37_500);
    const ROUNDS: u64 = 40;
    let (faults, links) = (&case.faults, &case.faults.links);
    let calm = SimDuration::from_millis(faults.base_latency_ms + faults.latency_jitter_ms);
    let mut flight = calm + SimDuration::from_millis(faults.reorder_window_ms);
    flight = flight.times(faults.slow_node_permille.div_ceil(1_000));
    if links.bad_link_rate > Rate::ZERO {
        flight = flight.times(links.bad_link_slowdown);
    }
    if links.tail_rate > Rate::ZERO {
        flight = flight + links.tail_most;
    }
    if let Some(wait) = links.queue_bytes.saturating_mul(1_000_000).checked_div(links.bandwidth) {
        flight = flight + SimDuration::from_micros(wait);
    }
    if links.model == LinkModel::Stream {
        flight = flight.times(3) + links.retransmit_after.times(10) + links.reset_after;
    }
    let nodes = case.scenario.as_ref().map_or(case.nodes.len(), |beginning| beginning.nodes) as u64;
    let hop = SimDuration::from_secs(2) + calm.times(2 * ROUNDS);
    flight + LONGEST_TIMEOUT + LONGEST_PAUSE.times(2) + hop.times(nodes + faults.late_joiners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drawn_case_can_be_written_read_and_built() {
        for seed in 0..300 {
            let case = draw(seed);
            case.check().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let again: Case = case.to_text().unwrap().parse().unwrap();
            assert_eq!(again, case, "seed {seed}");
            assert_eq!(draw(seed), case);
        }
    }

    #[test]
    fn writes_end_before_the_network_calms() {
        for case in (0..300).map(draw) {
            assert!(case.calm_after.unwrap() > case.workload.over);
            assert!(case.max_time > SimTime::ZERO + case.calm_after.unwrap());
        }
    }
}
