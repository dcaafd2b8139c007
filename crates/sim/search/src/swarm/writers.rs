//! Draws what writers do besides single operations: writes about one thing, names whose type they disagree on, entities
//! that they put at different places, and keys that are any bytes.

use crate::swarm::draws::Dice;
use sync_sim_cluster::workload::Workload;
use sync_sim_engine::faults::Rate;

/// In a quarter of the runs, makes some writes about one thing each.
pub(super) fn draw_together(dice: &mut Dice, workload: &mut Workload) {
    if dice.percent(25) {
        workload.together = dice.rate(50_000, 600_000);
    }
}

/// In one run of ten, lets writers give new names different types. They disagree if they write at the same instant.
pub(super) fn draw_disputed(dice: &mut Dice, workload: &mut Workload) {
    if dice.percent(10) {
        workload.disputed = dice.rate(50_000, 600_000);
        workload.clash = workload.clash.max(Rate::ppm(200_000));
    }
}

/// In one run of ten, lets writers put entities with ids of their own at different places of the tree.
pub(super) fn draw_moves(dice: &mut Dice, workload: &mut Workload) {
    if dice.percent(10) {
        workload.moves = dice.rate(50_000, 600_000);
    }
}

/// In one run of twenty, lets writers use keys that are any bytes.
pub(super) fn draw_odd_keys(dice: &mut Dice, workload: &mut Workload) {
    if dice.percent(5) {
        workload.odd_keys = dice.rate(50_000, 600_000);
    }
}

#[cfg(test)]
mod tests {
    use crate::swarm;
    use sync_sim_engine::faults::Rate;

    #[test]
    fn writers_are_drawn_at_their_rates() {
        let cases: Vec<_> = (0..2_000).map(swarm::draw).collect();
        let rates = |of: fn(&sync_sim_cluster::workload::Workload) -> Rate| {
            // Worlds that grow have workloads of their own.
            cases.iter().filter(|case| of(&case.workload) > Rate::ZERO).count()
        };
        assert!((350..550).contains(&rates(|workload| workload.together)));
        assert!((120..240).contains(&rates(|workload| workload.disputed)));
        assert!((120..240).contains(&rates(|workload| workload.moves)));
        assert!((50..130).contains(&rates(|workload| workload.odd_keys)));
    }
}
