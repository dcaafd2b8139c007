//! Draws the number of contexts of each node.

use crate::case::Case;
use crate::swarm::draws::Dice;

/// The most processing time, in microseconds, for one frame from every replica of every node. Beyond it, a
/// host receives requests faster than it can answer, and each timeout adds retransmissions.
const MAX_BUSY_US: u64 = 700_000;

/// In one run of eight, gives nodes two to four contexts, or as many as their slowest host can serve. Each
/// context gets fewer entities than a single one would, so that runs take about as long.
pub(super) fn draw(dice: &mut Dice, case: &mut Case) {
    /// The most entities of one node in all its contexts; more reveal nothing further.
    const ENTITIES: usize = 96;
    if !dice.percent(12) {
        return;
    }
    case.contexts = (dice.between(2, 4) as usize).min(served_contexts(case));
    if let Some(scenario) = &mut case.scenario {
        scenario.entities = scenario.entities.min(ENTITIES / case.contexts);
    }
}

/// The number of contexts that the slowest host of a case can serve.
fn served_contexts(case: &Case) -> usize {
    let hosts = &case.faults.hosts;
    let begun = case.scenario.as_ref().map_or(1, |scenario| scenario.nodes);
    let nodes = begun as u64 + case.faults.late_joiners;
    let per_frame = hosts.processing.as_micros() * hosts.slow_host_permille.max(1_000) / 1_000;
    (MAX_BUSY_US / (per_frame * nodes).max(1)).max(1) as usize
}
