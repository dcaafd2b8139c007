//! What a case says of hostile nodes.

use crate::case::Case;
use crate::case::build::Names;
use crate::case::error::CaseError;
use crate::case::script_line::{Lying, What};
use sync_sim_cluster::hostile::{HostileFaults, HostileRoles, Lies};
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_cluster::scenarios::Scenario;
use sync_sim_engine::faults::ConfigError;
use sync_sim_engine::node_id::NodeId;

impl Case {
    /// Whether it names hostile nodes one by one.
    pub(super) fn tells_of_hostile(&self) -> bool {
        self.nodes.iter().any(|node| !node.hostile.is_none()) || self.lying().next().is_some()
    }

    fn lying(&self) -> impl Iterator<Item = (syncline_types::SimTime, &Lying)> {
        self.script.iter().filter_map(|line| match &line.what {
            What::Lie(lying) => Some((line.at, lying)),
            _ => None,
        })
    }

    /// Whether honest nodes can be promised anything beside those that are hostile.
    ///
    /// # Errors
    ///
    /// Why they cannot.
    pub(super) fn check_hostile(&self, scenario: &Scenario) -> Result<(), CaseError> {
        let impossible =
            |place: &str, problem: String| Err(CaseError::Impossible { place: place.into(), problem });
        if let Some(node) = self.nodes.iter().find(|node| node.outsider && node.hostile.is_none()) {
            return impossible(
                &format!("node {}", node.name),
                "`outsider` goes with `hostile = [...]`".into(),
            );
        }
        let by_chance = self.faults.hostile.nodes;
        if by_chance == 0 && !self.tells_of_hostile() {
            return Ok(());
        }
        if !self.config().knows_members() {
            return Err(ConfigError::HostileWithoutMembers.into());
        }
        let (early, Names(names)) = (scenario.nodes.len(), self.names(scenario)?);
        let mut cast = HostileRoles::default();
        for (at, name) in names.iter().enumerate() {
            let scripted = self.lying().any(|(_, lying)| lying.node == *name);
            let told = self.nodes.get(at).is_some_and(|node| !node.hostile.is_none());
            if told || scripted || (at < early && at + by_chance >= early) {
                cast.add(NodeId(at as u32), false, false);
            }
        }
        if cast.leaves_honest_joined(self.topology, names.len()) {
            return Ok(());
        }
        impossible(
            "hostile nodes",
            "there must be an honest node, and a way between any two that leads past the hostile ones".into(),
        )
    }

    /// Whether its hostile nodes, if it has any, leave something to promise: an honest node, and a way between any
    /// two that leads past them.
    pub fn hostile_fit(&self) -> bool {
        let small = |beginning: crate::case::Beginning| crate::case::Beginning { entities: 0, ..beginning };
        let small = Self { scenario: self.scenario.clone().map(small), ..self.clone() };
        small.beginning().is_ok_and(|scenario| self.check_hostile(&scenario).is_ok())
    }

    /// Makes those nodes hostile that are said to be.
    pub(super) fn make_hostile(&self, rt: &mut SimRuntime) {
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| !node.hostile.is_none()) {
            let at = NodeId(at as u32);
            if node.outsider {
                rt.make_outsider(at, node.hostile.iter());
            } else {
                rt.make_hostile(at, node.hostile.iter());
            }
        }
    }

    /// Has nodes lie as the script says.
    pub(super) fn script_lies(&self, rt: &mut SimRuntime, names: &Names) -> Result<(), CaseError> {
        for (at, Lying { node, kind, frames }) in self.lying() {
            let node = names.resolve(&format!("script, at {at}"), node)?;
            rt.lie_at(at, node, *kind, *frames);
        }
        Ok(())
    }

    /// The same, with those nodes named that are hostile by their number.
    pub(crate) fn with_hostile_by_name(mut self) -> Self {
        let faults = self.faults.hostile;
        for (from_last, node) in self.nodes.iter_mut().rev().take(faults.nodes).enumerate() {
            node.hostile = faults.kinds();
            node.outsider = from_last < faults.outsiders;
        }
        self.faults.hostile = HostileFaults { nodes: 0, outsiders: 0, lies: Lies::NONE, ..faults };
        self
    }
}
