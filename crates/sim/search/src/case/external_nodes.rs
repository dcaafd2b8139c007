//! What a case says of a run whose nodes and writes are a test's own: settings, what chance did to nodes, and
//! what it did to frames.

use crate::case::build::Names;
use crate::case::error::CaseError;
use crate::case::script_line::{Happening, What};
use crate::case::{Case, FORMAT, error};
use std::sync::Arc;
use sync_sim_cluster::runtime::{Script, SimRuntime};
use sync_sim_engine::network::FrameFaultScript;
use sync_sim_engine::world::LoggedEvent;
use syncline_types::SimDuration;

impl Case {
    /// Reads a case that has no nodes of its own.
    pub(crate) fn read_external(text: &str) -> Result<Self, CaseError> {
        let case: Self = toml::from_str(text).map_err(|error| error::unreadable(&error))?;
        if case.version != FORMAT {
            return Err(CaseError::Version { found: case.version });
        }
        case.faults.validate()?;
        Ok(case)
    }

    /// A run without nodes; it may keep what chance does. What the case says of nodes and frames is done
    /// once the run begins, when the nodes are known.
    pub(crate) fn with_external_nodes(&self, keeping: bool) -> Result<SimRuntime, CaseError> {
        let mut rt = SimRuntime::try_with_config(self.config())?;
        if keeping {
            let usual = SimDuration::from_millis(self.faults.base_latency_ms);
            rt.world.set_event_log(Some(Vec::new()));
            rt.world.set_frame_script(Some(Box::new(FrameFaultScript::default().recording(usual))));
        }
        let told = !(self.script.is_empty() && self.frames.is_empty() && self.rules.is_empty());
        if told {
            rt.set_script(Arc::new(self.clone()));
        }
        Ok(rt)
    }

    /// Schedules in a run that is about to begin what the case scripts for nodes and frames.
    fn apply_to_nodes_of(&self, rt: &mut SimRuntime) -> Result<(), CaseError> {
        let mut names: Vec<String> = rt.node_ids().into_iter().map(|node| rt.name(node)).collect();
        names.extend(self.joiners().map(|(_, name)| name.clone()));
        names.extend((1..=self.faults.late_joiners).map(|late| format!("late-{late}")));
        let names = Names(names);
        for (at, name) in self.joiners() {
            rt.join_at(at, name.as_str());
        }
        for (cue, event) in self.events(&names, Self::written)? {
            rt.world.schedule_scripted(cue, event);
        }
        for line in &self.rules {
            rt.add_rule(line.rule(|place, name| names.resolve(place, name))?);
        }
        let mut told = Vec::new();
        for frame in &self.frames {
            told.extend(frame.faults(|place, name| names.resolve(place, name))?);
        }
        if !told.is_empty() {
            rt.world.set_frame_script(Some(Box::new(FrameFaultScript::new(told))));
        }
        Ok(())
    }

    /// The same with what chance did in a run of it told line by line, from the most to the least that can
    /// be told so. Writes that fall into syncs by chance stay with the seed.
    pub(crate) fn pinned_external(&self, rt: &SimRuntime) -> [Self; 3] {
        let mut nodes = self.clone().without_script_chance();
        nodes.script.retain(|line| matches!(line.what, What::Join(_)));
        for (cue, happened) in rt.world.event_log() {
            if !matches!(happened, LoggedEvent::Op { .. } | LoggedEvent::Early { .. })
                && let Some(what) = What::of_run(happened, rt)
            {
                nodes.script.push(Happening { at: cue.at, after: cue.after, what });
            }
        }
        nodes.faults.write_during_sync_rate = self.faults.write_during_sync_rate;
        [nodes.clone().frames_of(rt), nodes, self.clone().frames_of(rt)]
    }
}

impl Script for Case {
    fn apply(&self, rt: &mut SimRuntime) -> Result<(), String> {
        self.apply_to_nodes_of(rt).map_err(|error| error.to_string())
    }
}
