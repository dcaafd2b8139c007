//! Draws hostile nodes.

use crate::case::Case;
use crate::swarm::draws::Dice;
use sync_sim_cluster::hostile::{HostileFaults, Lie, Lies};

/// Makes some nodes hostile, in one run of six where the topology allows it. In half of those, no lie is of
/// a kind that members take on trust, so that the values of records stay checkable too.
pub(super) fn draw(dice: &mut Dice, case: &mut Case) {
    if !dice.percent(16) {
        return;
    }
    let nodes = dice.between(1, 2) as usize;
    let outsiders = if dice.percent(30) { dice.between(1, 2) as usize } else { 0 };
    let rate = dice.rate(20_000, 1_000_000);
    let trusted = dice.percent(50);
    let every = dice.percent(40);
    let lies = Lie::ALL.into_iter().filter(|lie| trusted || !lie.is_taken_on_trust());
    let mut lies: Lies = lies.filter(|_| every || dice.percent(30)).collect();
    if lies.is_none() {
        lies = [Lie::LyingRoot].into_iter().collect();
    }
    case.faults.hostile = HostileFaults { nodes, outsiders: outsiders.min(nodes), rate, lies };
    if !case.honest_nodes_stay_connected() {
        case.faults.hostile = HostileFaults::none();
    }
}
