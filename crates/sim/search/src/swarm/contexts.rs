//! Draws how many contexts nodes keep.

use crate::case::Case;
use crate::swarm::draws::Dice;

/// How long a host may need for one frame from each replica of each node. Beyond it there are more questions than
/// it can ever answer, and all are asked again.
const MOST_BUSY_US: u64 = 700_000;

/// Has nodes keep from two to four contexts, in one run of eight, or as many as slow hosts can attend to. Each
/// begins with as much as the one of other runs, where that is little.
pub(super) fn draw(dice: &mut Dice, case: &mut Case) {
    /// Entities of one node in all its contexts: more show nothing that fewer do not.
    const ENTITIES: usize = 96;
    if !dice.percent(12) {
        return;
    }
    case.contexts = (dice.between(2, 4) as usize).min(attended(case));
    if let Some(beginning) = &mut case.scenario {
        beginning.entities = beginning.entities.min(ENTITIES / case.contexts);
    }
}

/// How many contexts the slowest hosts of a case can attend to.
fn attended(case: &Case) -> usize {
    let (hosts, begun) = (&case.faults.hosts, case.scenario.as_ref().map_or(1, |beginning| beginning.nodes));
    let nodes = begun as u64 + case.faults.late_joiners;
    let one = hosts.processing.as_micros() * hosts.slow_host_permille.max(1_000) / 1_000;
    (MOST_BUSY_US / (one * nodes).max(1)).max(1) as usize
}
