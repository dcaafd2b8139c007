//! Draws hostile nodes.

use crate::case::Case;
use crate::swarm::draws::Dice;
use sync_sim_cluster::hostile::{HostileFaults, Lie, Lies};
use syncline_sync::SyncProtocolKind;

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
    hostile.rate = hostile.rate.max(dice.rate(100_000, 1_000_000));
    let others = if dice.percent(50) { Lies::NONE } else { hostile.lies };
    hostile.lies = others.iter().chain([Lie::ForgedDeltas]).collect();
}

/// In a third of the other runs with hostile nodes, has gossip get lost, so that sessions have deltas to exchange, and most
/// of them do so as deltas. The lies about what a message contains and covers are then told in both directions.
pub(super) fn draw_sessions(dice: &mut Dice, case: &mut Case) {
    if case.faults.hostile.nodes == 0 || case.faults.hostile.group_key || !dice.percent(33) {
        return;
    }
    case.faults.message_loss_rate = case.faults.message_loss_rate.max(dice.rate(50_000, 400_000));
    if dice.percent(75) {
        case.protocol = Some(SyncProtocolKind::DeltaSync);
    }
    case.faults.hostile.rate = case.faults.hostile.rate.max(dice.rate(50_000, 500_000));
    let lies = case.faults.hostile.lies;
    case.faults.hostile.lies = lies.iter().chain([Lie::EndlessLists]).collect();
}

#[cfg(test)]
mod tests {
    use crate::swarm;
    use syncline_sync::SyncProtocolKind;

    #[test]
    fn some_hostile_nodes_lack_the_key_of_the_group() {
        let drawn: Vec<_> = (0..2_000).map(|seed| swarm::draw(seed).faults.hostile).collect();
        let hostile = drawn.iter().filter(|hostile| hostile.nodes > 0).count();
        let keyless: Vec<_> = drawn.iter().filter(|hostile| hostile.group_key).collect();
        assert!((hostile / 8..hostile / 3).contains(&keyless.len()), "{} of {hostile}", keyless.len());
        assert!(keyless.iter().all(|hostile| hostile.outsiders == hostile.nodes));
    }

    #[test]
    fn some_hostile_nodes_exchange_deltas() {
        let hostile = (0..2_000).map(swarm::draw).filter(|case| case.faults.hostile.nodes > 0);
        let deltas = hostile.filter(|case| case.protocol == Some(SyncProtocolKind::DeltaSync)).count();
        assert!((40..160).contains(&deltas), "{deltas}");
    }
}
