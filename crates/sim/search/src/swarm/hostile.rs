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
    case.faults.hostile =
        HostileFaults { nodes, outsiders: outsiders.min(nodes), rate, lies, group_key: false };
    if !case.honest_nodes_stay_connected() {
        case.faults.hostile = HostileFaults::none();
    }
}

/// In a fifth of the runs with hostile nodes, makes all of them outsiders of a group that shares one key. They overhear
/// what its members write and pass it on altered; only the signature gives them away.
pub(super) fn draw_keys(dice: &mut Dice, hostile: &mut HostileFaults) {
    if hostile.nodes == 0 || !dice.percent(20) {
        return;
    }
    hostile.outsiders = hostile.nodes;
    hostile.group_key = true;
    hostile.lies = hostile.lies.iter().chain([Lie::ForgedDeltas]).collect();
}

#[cfg(test)]
mod tests {
    use crate::swarm;

    #[test]
    fn some_hostile_nodes_lack_the_key_of_the_group() {
        let drawn: Vec<_> = (0..2_000).map(|seed| swarm::draw(seed).faults.hostile).collect();
        let hostile = drawn.iter().filter(|hostile| hostile.nodes > 0).count();
        let keyless: Vec<_> = drawn.iter().filter(|hostile| hostile.group_key).collect();
        assert!((hostile / 8..hostile / 3).contains(&keyless.len()), "{} of {hostile}", keyless.len());
        assert!(keyless.iter().all(|hostile| hostile.outsiders == hostile.nodes));
    }
}
