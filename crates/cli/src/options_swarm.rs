//! Flags that say something of runs whose cases are drawn from their seeds.

use crate::options::SimArgs;
use crate::options_links::Model;
use crate::spec::Spec;
use clap::{Args, Command};
use sync_sim::case::Case;
use sync_sim::hostile::HostileFaults;
use sync_sim::prelude::{FaultConfig, LinkFaults, LinkModel, Rate, SimTime};
use sync_sim::swarm;

impl SimArgs {
    /// Which flags of a simulation were given, beside `--swarm` itself.
    pub(crate) fn pins(&self) -> Vec<String> {
        let own = Self::augment_args(Command::new("own"));
        let names = own.get_arguments().map(|arg| arg.get_id().as_str().replace('_', "-"));
        names.filter(|name| name != "swarm" && self.given.contains(name)).collect()
    }

    pub(crate) fn swarm_spec(&self) -> Result<Spec, String> {
        // What makes no sense on links without any fault makes sense on none.
        self.faults(FaultConfig::none())?;
        let case = self.pinned(swarm::draw(0))?;
        case.check().map_err(|error| error.to_string())?;
        Ok(Spec { case, flags: self.flags(), swarm: Some(Box::new(self.clone())) })
    }

    /// A drawn case, with everything that flags say as they say it.
    pub(crate) fn pinned(&self, mut case: Case) -> Result<Case, String> {
        self.begin(&mut case)?;
        if self.given.contains("late-joiners") {
            case.faults.late_joiners = 0;
        }
        if self.pins_datagrams() {
            (case.faults.links.model, case.faults.links.reset_rate) = (LinkModel::Datagram, Rate::ZERO);
        }
        // Where what flags say of links does not go with what was drawn, nothing is drawn for links.
        let mut plain = case.faults.clone();
        plain.links = LinkFaults::none();
        case.faults = self.faults(case.faults).or_else(|_| self.faults(plain))?;
        // What flags say of the replicas may leave no room for those that are hostile.
        if !case.honest_nodes_stay_connected() {
            case.faults.hostile = HostileFaults::none();
        }
        if case.calm_after.is_some_and(|calm_after| calm_after < case.workload.over) {
            (case.calm_after, case.chaos_for) = (Some(case.workload.over), case.workload.over);
        }
        if !self.given.contains("max-time") {
            let calm_at = case.calm_after.map_or(SimTime::ZERO, |after| SimTime::ZERO + after);
            case.max_time = calm_at + swarm::liveness_bound(&case);
        }
        Ok(case)
    }

    pub(crate) fn pins_datagrams(&self) -> bool {
        self.swarm && self.given.contains("links") && self.links.links == Model::Datagram
    }
}
