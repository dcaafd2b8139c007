//! Hostile nodes of a case: which nodes lie, and when.

use crate::case::Case;
use crate::case::build::NodeNames;
use crate::case::error::CaseError;
use crate::case::script_line::{ScriptAction, ScriptedLie};
use sync_sim_cluster::hostile::{HostileFaults, HostileRoles, Lies};
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_cluster::scenarios::Scenario;
use sync_sim_engine::faults::ConfigError;
use sync_sim_engine::node_id::NodeId;

impl Case {
    /// Whether the case marks any node as hostile, by its `hostile` list or by a scripted lie.
    pub(super) fn names_hostile_nodes(&self) -> bool {
        self.nodes.iter().any(|node| !node.hostile.is_none()) || self.scripted_lies().next().is_some()
    }

    /// The lies of the script, with their times.
    fn scripted_lies(&self) -> impl Iterator<Item = (syncline_types::SimTime, &ScriptedLie)> {
        self.script.iter().filter_map(|line| match &line.what {
            ScriptAction::Lie(lie) => Some((line.at, lie)),
            _ => None,
        })
    }

    /// Checks that the invariants for honest nodes can hold beside the hostile ones: at least one node is
    /// honest, and honest nodes are connected without a hostile one between them.
    ///
    /// # Errors
    ///
    /// If the hostile nodes leave no honest node, or separate honest nodes.
    pub(super) fn check_hostile(&self, scenario: &Scenario) -> Result<(), CaseError> {
        let impossible =
            |place: &str, problem: String| Err(CaseError::Impossible { place: place.into(), problem });
        if let Some(node) = self.nodes.iter().find(|node| node.outsider && node.hostile.is_none()) {
            return impossible(
                &format!("node {}", node.name),
                "`outsider` goes with `hostile = [...]`".into(),
            );
        }
        let by_number = self.faults.hostile.nodes;
        if by_number == 0 && !self.names_hostile_nodes() {
            return Ok(());
        }
        if !self.config().knows_members() {
            return Err(ConfigError::HostileWithoutMembers.into());
        }
        // The last nodes that do not join late are those that are hostile by number.
        let early = scenario.nodes.len();
        let NodeNames(names) = self.names(scenario)?;
        let mut cast = HostileRoles::default();
        for (at, name) in names.iter().enumerate() {
            let scripted = self.scripted_lies().any(|(_, lie)| lie.node == *name);
            let marked = self.nodes.get(at).is_some_and(|node| !node.hostile.is_none());
            if marked || scripted || (at < early && at + by_number >= early) {
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

    /// Whether the honest nodes of the case stay connected without the hostile ones; true if the case has
    /// no hostile nodes.
    pub fn honest_nodes_stay_connected(&self) -> bool {
        // A scenario may create many entities, and which nodes it has does not depend on them.
        let small = |spec: crate::case::ScenarioSpec| crate::case::ScenarioSpec { entities: 0, ..spec };
        let small = Self { scenario: self.scenario.clone().map(small), ..self.clone() };
        small.initial_scenario().is_ok_and(|scenario| self.check_hostile(&scenario).is_ok())
    }

    /// Gives the nodes that the case marks as hostile their lies.
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

    /// Schedules the lies of the script.
    pub(super) fn script_lies(&self, rt: &mut SimRuntime, names: &NodeNames) -> Result<(), CaseError> {
        for (at, ScriptedLie { node, kind, frames }) in self.scripted_lies() {
            let node = names.resolve(&format!("script, at {at}"), node)?;
            rt.lie_at(at, node, *kind, *frames);
        }
        Ok(())
    }

    /// The same case with explicit hostile nodes: `faults.hostile.nodes` counts from the last node, which
    /// would shift when shrinking removes nodes.
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
