//! Cases for runs whose nodes and writes come from the code of a test: the case holds the settings, and
//! what randomness did to nodes and frames.

use crate::case::build::NodeNames;
use crate::case::error::CaseError;
use crate::case::script_line::{ScriptAction, ScriptLine};
use crate::case::{Case, FORMAT, error};
use std::sync::Arc;
use sync_sim_cluster::runtime::{RunScript, SimRuntime};
use sync_sim_engine::network::FrameFaultScript;
use sync_sim_engine::world::LoggedEvent;
use syncline_types::SimDuration;

impl Case {
    /// Parses a case without nodes.
    pub(crate) fn read_external(text: &str) -> Result<Self, CaseError> {
        let case: Self = toml::from_str(text).map_err(|error| error::unreadable(&error))?;
        if case.version != FORMAT {
            return Err(CaseError::Version { found: case.version });
        }
        case.faults.validate()?;
        case.check_counts()?;
        Ok(case)
    }

    /// Builds a run without nodes. If `recording`, the run records what randomness decides. The script and
    /// the frame faults are applied when the run begins, since only then are the names of the nodes known.
    pub(crate) fn with_external_nodes(&self, recording: bool) -> Result<SimRuntime, CaseError> {
        let mut rt = SimRuntime::try_with_config(self.config())?;
        if recording {
            let usual = SimDuration::from_millis(self.faults.base_latency_ms);
            rt.world_mut().set_event_log(Some(Vec::new()));
            rt.world_mut().set_frame_script(Some(Box::new(FrameFaultScript::default().recording(usual))));
        }
        let scripted = !(self.script.is_empty() && self.frames.is_empty() && self.rules.is_empty());
        if scripted {
            rt.set_script(Arc::new(self.clone()));
        }
        Ok(rt)
    }

    /// Schedules the script, the rules and the frame faults in a run that is about to begin.
    fn apply_to_nodes_of(&self, rt: &mut SimRuntime) -> Result<(), CaseError> {
        // Collected before the joins below, which would otherwise be listed twice.
        let mut names: Vec<String> = rt.node_ids().into_iter().map(|node| rt.name(node)).collect();
        names.extend(self.joiners().map(|(_, name)| name.clone()));
        names.extend((1..=self.faults.late_joiners).map(|late| format!("late-{late}")));
        let names = NodeNames(names);
        for (at, name) in self.joiners() {
            rt.join_at(at, name.as_str());
        }
        for (time, event) in self.events(&names, Self::write_of)? {
            rt.world_mut().schedule_scripted(time, event);
        }
        for line in &self.rules {
            rt.add_rule(line.rule(|place, name| names.resolve(place, name))?);
        }
        let mut faults = Vec::new();
        for frame in &self.frames {
            faults.extend(frame.faults(|place, name| names.resolve(place, name))?);
        }
        if !faults.is_empty() {
            rt.world_mut().set_frame_script(Some(Box::new(FrameFaultScript::new(faults))));
        }
        Ok(())
    }

    /// Cases that replay a run of this case, with what randomness decided as explicit lines: nodes and
    /// frames, nodes alone, frames alone. The caller takes the first that reproduces the failure. Random
    /// writes during syncs stay with the seed, since the operations of the test are not lines of the case.
    pub(crate) fn pinned_external(&self, rt: &SimRuntime) -> [Self; 3] {
        let mut nodes = self.clone().without_random_events();
        nodes.script.retain(|line| matches!(line.what, ScriptAction::Join(_)));
        for (time, happened) in rt.world().event_log() {
            if !matches!(happened, LoggedEvent::Op { .. } | LoggedEvent::Early { .. })
                && let Some(what) = ScriptAction::of_run(happened, rt)
            {
                nodes.script.push(ScriptLine { at: time.at, after: time.after, what });
            }
        }
        nodes.faults.write_during_sync_rate = self.faults.write_during_sync_rate;
        [nodes.clone().frames_of(rt), nodes, self.clone().frames_of(rt)]
    }
}

impl RunScript for Case {
    fn apply(&self, rt: &mut SimRuntime) -> Result<(), String> {
        self.apply_to_nodes_of(rt).map_err(|error| error.to_string())
    }
}
