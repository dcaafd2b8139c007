//! Draws worlds in which several members arrive at once.

use crate::case::{Case, ScenarioSpec};
use crate::swarm::draws::Dice;
use crate::swarm::replica;
use sync_sim_cluster::hostile::HostileFaults;
use sync_sim_engine::network::Topology;
use syncline_types::{Limit, SimDuration};

/// In one run of thirty-three, lets two or three members join one or two others at about the same time, and write at once.
/// The state takes several pages, and those who have it crash: so members without state meet each other.
pub(super) fn draw(dice: &mut Dice, case: &mut Case) {
    if !dice.percent(3) {
        return;
    }
    let ms = SimDuration::from_millis;
    let calm_after = case.calm_after.unwrap_or_default().max(ms(dice.scaled(1_500, 6_000)));
    case.calm_after = Some(calm_after);
    case.chaos_for = calm_after;
    let nodes = dice.between(1, 2) as usize;
    let entities = dice.scaled(16, 64) as usize;
    let name = dice.one_of("synced", &["diverged", "overlap"]);
    case.scenario = Some(ScenarioSpec { name: name.to_owned(), nodes, entities });
    case.topology = Topology::Mesh;
    case.contexts = 1;
    case.protocol = None;
    let faults = &mut case.faults;
    faults.hostile = HostileFaults::none();
    faults.late_joiners = dice.between(2, 3);
    faults.join_ms = 50..50 + dice.scaled(20, 400);
    faults.base_latency_ms = dice.scaled(4, 60);
    faults.latency_jitter_ms = dice.between(0, faults.base_latency_ms);
    faults.crash_probability = dice.rate(1_000, 20_000);
    faults.restart_delay_ms = 100..dice.scaled(200, 4_000);
    replica::fit_to_latency(case);
    let page = dice.scaled(48, 512) as usize;
    let limits = &mut case.replica.limits;
    if page < limits.snapshot_page_bytes()
        && let Ok(smaller) = limits.with(Limit::SnapshotPageBytes, page)
    {
        *limits = smaller;
    }
    let workload = &mut case.workload;
    workload.writes = workload.writes.max(dice.scaled(16, 64) as usize);
    workload.over = ms(calm_after.as_millis() / 2);
    workload.anywhere = true;
}

#[cfg(test)]
mod tests {
    use crate::swarm;

    #[test]
    fn some_members_arrive_together() {
        let cases = (0..2_000).map(swarm::draw);
        let together = cases.filter(|case| {
            let joins = &case.faults.join_ms;
            case.faults.late_joiners > 1
                && joins.start == 50
                && joins.end <= 450
                && case.workload.writes >= 16
        });
        let count = together.count();
        assert!((40..200).contains(&count), "{count} of 2000");
    }
}
