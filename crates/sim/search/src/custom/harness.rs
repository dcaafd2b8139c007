//! The harness that runs a subject.

use crate::case::{Case, CaseError, CaseNode, RunResult};
use crate::custom::Subject;
use crate::custom::case_binding::{self, Recording};
use crate::custom::run::LabRun;
use crate::shrink::{ShrinkProgress, Shrunk, shrink_with};
use sync_sim_cluster::workload::Workload;
use sync_sim_engine::faults::FaultConfig;
use sync_sim_engine::network::Topology;
use sync_sim_report::timeline::Timeline;
use syncline_types::{SimDuration, SimTime};

/// Runs a subject. All its runs have the same settings and differ in the seed.
#[derive(Clone, Debug)]
pub struct Lab<S> {
    pub(super) subject: S,
    pub(super) case: Case,
}

impl<S: Subject> Lab<S> {
    /// The default settings: three nodes, twelve operations in three seconds, and heavy chaos for ten seconds,
    /// after which no more faults occur.
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

    /// Sets the number of nodes. Their names are `node-0`, `node-1` and so on.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.case.nodes = (0..nodes).map(|at| CaseNode::empty(format!("node-{at}"))).collect();
        self
    }

    /// Sets the number of operations, and the time over which they are spread.
    pub const fn ops(mut self, ops: usize, over: SimDuration) -> Self {
        self.case.workload.writes = ops;
        self.case.workload.over = over;
        self
    }

    /// Sets the faults.
    pub fn faults(mut self, faults: FaultConfig) -> Self {
        self.case.faults = faults;
        self
    }

    /// Sets which pairs of nodes have a link.
    pub const fn topology(mut self, topology: Topology) -> Self {
        self.case.topology = topology;
        self
    }

    /// Sets the time after which no more faults occur; `None` for no such time.
    pub const fn calm_after(mut self, after: Option<SimDuration>) -> Self {
        self.case.calm_after = after;
        self
    }

    /// Sets the time at which a run stops, converged or not.
    pub const fn max_time(mut self, time: SimTime) -> Self {
        self.case.max_time = time;
        self
    }

    /// The subject that is run.
    pub const fn subject(&self) -> &S {
        &self.subject
    }

    /// The case that a seed stands for.
    pub fn case(&self, seed: u64) -> Case {
        Case { seed, ..self.case.clone() }
    }

    /// Runs the case of a seed.
    ///
    /// # Errors
    ///
    /// If a setting is invalid.
    pub fn run(&self, seed: u64) -> Result<RunResult, CaseError> {
        self.replay(&self.case(seed))
    }

    /// Runs a case to its end.
    ///
    /// # Errors
    ///
    /// If a line of the case is invalid.
    pub fn replay(&self, case: &Case) -> Result<RunResult, CaseError> {
        Ok(case_binding::build(&self.subject, case, Recording::EndOnly)?.run())
    }

    /// Runs a case to its end and returns the run too, with its history.
    ///
    /// # Errors
    ///
    /// If a line of the case is invalid.
    pub fn record(&self, case: &Case) -> Result<(LabRun<'_, S>, RunResult), CaseError> {
        let mut run = case_binding::build(&self.subject, case, Recording::History)?;
        let ended = run.run();
        Ok((run, ended))
    }

    /// Runs a case and returns its timeline; [`Timeline::page`] renders it for the browser.
    ///
    /// # Errors
    ///
    /// If a line of the case is invalid.
    pub fn view(&self, case: &Case) -> Result<Option<Timeline>, CaseError> {
        let (run, ended) = self.record(case)?;
        Ok(run.timeline(&ended))
    }

    /// Shrinks a failing case in at most `most_runs` runs: every write and every fault becomes a line of its
    /// own, and lines are removed for as long as the case fails in the same [`Class`](crate::case::Class). The
    /// result is a function of the case, unless `go_on` returns `false` and stops the search.
    ///
    /// # Errors
    ///
    /// If the case is invalid, or does not fail.
    pub fn shrink(
        &self,
        case: &Case,
        most_runs: u64,
        go_on: &mut dyn FnMut(&ShrinkProgress) -> bool,
    ) -> Result<Shrunk, CaseError> {
        let mut run = case_binding::build(&self.subject, case, Recording::Randomness)?;
        let class = run.run().class;
        if class.is_converged() {
            return Err(CaseError::NothingWrong);
        }
        let again = |case: &Case| self.replay(case);
        let same = |pinned: &Case| again(pinned).is_ok_and(|ended| ended.class == class);
        // The most explicit case that still fails in the same class is the best start: it has the most lines that
        // can be removed one by one.
        let best = case_binding::pinned(&run)?.into_iter().find(same).unwrap_or_else(|| case.clone());
        let mut shrunk = shrink_with(&|case, _| again(case), best, class.clone(), most_runs, go_on)?;
        shrunk.case.found = Some(class);
        Ok(shrunk)
    }
}
