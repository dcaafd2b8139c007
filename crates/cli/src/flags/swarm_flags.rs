//! Flags over cases that are drawn from their seeds (`--swarm`): what is given is fixed, the rest is drawn.

use crate::flags::SimArgs;
use crate::flags::link_flags::LinkModelArg;
use crate::simulation::Simulation;
use sync_sim::case::Case;
use sync_sim::hostile::HostileFaults;
use sync_sim::prelude::{FaultConfig, LinkFaults, LinkModel, Rate, SimTime};
use sync_sim::swarm;

impl SimArgs {
    /// Whether a flag other than `--swarm` itself and its `--profile` narrows what is drawn.
    pub(crate) fn narrows_swarm(&self) -> bool {
        self.given.names().any(|name| name != "swarm" && name != "profile")
    }

    /// The simulation whose cases are drawn, after a check of the flags on one of them.
    pub(super) fn swarm_simulation(&self) -> Result<Simulation, String> {
        // A flag that has no effect on a network without faults is as wrong on a drawn one; checked here, the
        // error does not depend on what a seed draws.
        self.faults(FaultConfig::none())?;
        let case = self.fixed(self.drawn(0))?;
        case.check().map_err(|error| error.to_string())?;
        Ok(Simulation { case, flags: self.command_line(), swarm: Some(Box::new(self.clone())) })
    }

    /// The case of a seed, in the profile of the flags.
    pub(crate) fn drawn(&self, seed: u64) -> Case {
        swarm::draw_in(seed, self.profile.profile())
    }

    /// A drawn case in which every given flag has its value.
    pub(crate) fn fixed(&self, mut case: Case) -> Result<Case, String> {
        self.change_case(&mut case)?;
        if self.given.contains("late-joiners") {
            case.faults.late_joiners = 0;
        }
        // Only connections can be reset: a case of datagrams has no rate for that.
        if self.given.contains("links") && self.links.links == LinkModelArg::Datagram {
            case.faults.links.model = LinkModel::Datagram;
            case.faults.links.reset_rate = Rate::ZERO;
        }
        // If the flags for links contradict the drawn link faults, the case has none but those of the flags.
        let mut plain = case.faults.clone();
        plain.links = LinkFaults::none();
        case.faults = self.faults(case.faults).or_else(|_| self.faults(plain))?;
        // A fixed number of hostile nodes may leave members among them, which would have the group key.
        if case.faults.hostile.outsiders < case.faults.hostile.nodes {
            case.faults.hostile.group_key = false;
        }
        // A fixed number of nodes or a fixed topology may leave no room for the hostile ones that were drawn.
        if !case.honest_nodes_stay_connected() {
            case.faults.hostile = HostileFaults::none();
        }
        // Writes end before the network calms; a longer --write-for moves the end of chaos.
        if case.calm_after.is_some_and(|calm_after| calm_after < case.workload.over) {
            case.calm_after = Some(case.workload.over);
            case.chaos_for = case.workload.over;
        }
        if !self.given.contains("max-time") {
            let calm_at = case.calm_after.map_or(SimTime::ZERO, |after| SimTime::ZERO + after);
            case.max_time = calm_at + swarm::liveness_bound(&case);
        }
        Ok(case)
    }
}
