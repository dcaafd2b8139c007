//! Where a subject is run.

use crate::case::{Case, CaseError, CaseNode, RunResult};
use crate::custom::Subject;
use crate::custom::case_binding::{self, Keeping};
use crate::custom::run::Run;
use crate::shrink::{ShrinkProgress, Shrunk, shrink_with};
use sync_sim_cluster::workload::Workload;
use sync_sim_engine::faults::FaultConfig;
use sync_sim_engine::network::Topology;
use sync_sim_report::timeline::Timeline;
use syncline_types::{SimDuration, SimTime};

/// Where a subject is run: its settings are those of every run, but for the seed.
#[derive(Clone, Debug)]
pub struct Lab<S> {
    pub(super) subject: S,
    pub(super) case: Case,
}

impl<S: Subject> Lab<S> {
    /// Three nodes, twelve operations in three seconds, heavy chaos for ten seconds, then calm.
    pub fn new(subject: S) -> Self {
        let case = Case {
            faults: FaultConfig::heavy_chaos(),
            workload: Workload::new(12, SimDuration::from_secs(3)),
            calm_after: Some(SimDuration::from_secs(10)),
            max_events: 1_000_000,
            ..Case::default()
        };
        Self { subject, case }.nodes(3)
    }

    /// Sets how many nodes there are, called `node-0` and so on.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.case.nodes = (0..nodes).map(|at| CaseNode::empty(format!("node-{at}"))).collect();
        self
    }

    /// Sets how many operations there are, and over which time.
    pub const fn ops(mut self, ops: usize, over: SimDuration) -> Self {
        (self.case.workload.writes, self.case.workload.over) = (ops, over);
        self
    }

    /// Sets what goes wrong.
    pub fn faults(mut self, faults: FaultConfig) -> Self {
        self.case.faults = faults;
        self
    }

    /// Sets which nodes have links to each other.
    pub const fn topology(mut self, topology: Topology) -> Self {
        self.case.topology = topology;
        self
    }

    /// Sets when everything stops going wrong; never, if `None`.
    pub const fn calm_after(mut self, after: Option<SimDuration>) -> Self {
        self.case.calm_after = after;
        self
    }

    /// Sets when a run stops, converged or not.
    pub const fn max_time(mut self, time: SimTime) -> Self {
        self.case.max_time = time;
        self
    }

    /// What is run.
    pub const fn subject(&self) -> &S {
        &self.subject
    }

    /// The case of a seed.
    pub fn case(&self, seed: u64) -> Case {
        Case { seed, ..self.case.clone() }
    }

    /// Runs a seed.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense.
    pub fn run(&self, seed: u64) -> Result<RunResult, CaseError> {
        self.replay(&self.case(seed))
    }

    /// Runs a case.
    ///
    /// # Errors
    ///
    /// What makes no sense in it.
    pub fn replay(&self, case: &Case) -> Result<RunResult, CaseError> {
        Ok(case_binding::build(&self.subject, case, Keeping::Nothing)?.run())
    }

    /// Runs a case to its end and gives the run too, with its history.
    ///
    /// # Errors
    ///
    /// What makes no sense in it.
    pub fn watch(&self, case: &Case) -> Result<(Run<'_, S>, RunResult), CaseError> {
        let mut run = case_binding::build(&self.subject, case, Keeping::History)?;
        let ended = run.run();
        Ok((run, ended))
    }

    /// Runs a case and gives it as a picture; [`Timeline::page`] makes a page of it.
    ///
    /// # Errors
    ///
    /// What makes no sense in it.
    pub fn view(&self, case: &Case) -> Result<Option<Timeline>, CaseError> {
        let (run, ended) = self.watch(case)?;
        Ok(run.timeline(&ended))
    }

    /// Makes a failing case small, in at most `most_runs` runs: every cause becomes a line of its own, and
    /// lines are taken away for as long as it fails in the same [`Class`](crate::case::Class). The same case
    /// gives the same result, unless `go_on` stops it.
    ///
    /// # Errors
    ///
    /// If the case cannot be run, or does not fail.
    pub fn shrink(
        &self,
        case: &Case,
        most_runs: u64,
        go_on: &mut dyn FnMut(&ShrinkProgress) -> bool,
    ) -> Result<Shrunk, CaseError> {
        let mut run = case_binding::build(&self.subject, case, Keeping::Chance)?;
        let class = run.run().class;
        if class.is_converged() {
            return Err(CaseError::NothingWrong);
        }
        let again = |case: &Case| self.replay(case);
        let same = |pinned: &Case| again(pinned).is_ok_and(|ended| ended.class == class);
        let best = case_binding::pinned(&run)?.into_iter().find(same).unwrap_or_else(|| case.clone());
        let mut shrunk = shrink_with(&again, best, class.clone(), most_runs, go_on)?;
        shrunk.case.found = Some(class);
        Ok(shrunk)
    }
}
