//! The minimizer: removes the causes of a failure from one case, pass by pass.
//!
//! Source: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE TSE 2002 (delta
//! debugging, `ddmin`). A list of lines is cut by halves, then by quarters, down to single lines; a cut is
//! retained if the remaining case still fails in the same class. The passes repeat until none of them changes
//! anything: the result is 1-minimal, which means that no single reduction that is tried keeps the failure.

use crate::case::operations;
use crate::case::{Case, CaseError, Class, Entities, RunResult, ScriptAction, rounded_down};
use crate::shrink::budget::RunBudget;
use sync_sim_cluster::hostile::Lies;
use sync_sim_cluster::runtime::ReplicaSettings;
use sync_sim_cluster::workload::{MergeFaults, Workload};
use sync_sim_engine::faults::FaultConfig;
use sync_sim_engine::network::Topology;
use syncline_sync::Selection;
use syncline_types::{Limit, SimDuration, SimTime};
use toml::Table;

/// How a case is run: built-in and custom replicas have their own runners. A runner may ask its second argument
/// during the run whether the search goes on; once it does not, the result is [`CaseError::Stopped`].
pub(super) type RunCase<'a> = &'a dyn Fn(&Case, &mut dyn FnMut() -> bool) -> Result<RunResult, CaseError>;

/// The result of a minimization.
pub(super) struct Minimized {
    /// The smallest case found.
    pub(super) case: Case,
    /// Whether no reduction applies any more, as opposed to the budget being used up.
    pub(super) finished: bool,
}

/// Minimizes a pinned case that ends in `class` when it is `run`, with at most `most_runs` runs of the budget.
pub(super) fn minimize(
    run: RunCase<'_>,
    case: Case,
    class: &Class,
    budget: &mut RunBudget<'_>,
    most_runs: u64,
) -> Result<Minimized, CaseError> {
    let limit = budget.limit(most_runs);
    budget.spend(PINNING);
    let size = case.size();
    let ended = match run(&case, &mut || budget.ask("the pinned case", size)) {
        // The case is known to fail in the class: it is the result as far as the search came.
        Err(CaseError::Stopped) => return Ok(Minimized { case, finished: false }),
        ended => ended?,
    };
    let mut minimizer = Minimizer { run, class, best: case, ended, budget, limit, stopped: false, pass: "" };
    loop {
        let before = minimizer.best.clone();
        minimizer.all_passes();
        if minimizer.stopped || minimizer.best == before {
            break;
        }
    }
    Ok(Minimized { case: minimizer.best, finished: !minimizer.stopped })
}

/// The runs that were spent to pin the case and to run it once: they count against the budget.
const PINNING: u64 = 3;

/// Owns the smallest case found so far. All passes change it through [`Minimizer::attempt`] alone, which keeps
/// the invariant: `best` fails in `class`, and `ended` is the result of its run.
struct Minimizer<'a, 'b> {
    run: RunCase<'a>,
    class: &'a Class,
    best: Case,
    ended: RunResult,
    budget: &'a mut RunBudget<'b>,
    /// The count of runs at which this minimization stops.
    limit: u64,
    /// Whether the limit was reached or the caller ended the search. Nothing is attempted any more.
    stopped: bool,
    /// The name of the current pass, for progress reports.
    pass: &'static str,
}

/// Removes something from a case.
type Reduction = fn(&mut Case);

/// Whole families of causes, the widest first: most failures need few of them, so that these cuts save many
/// runs of the passes that go line by line.
const FAMILIES: [Reduction; 15] = [
    |case| case.frames.clear(),
    |case| case.frames.retain(|frame| frame.takes.is_none()),
    |case| case.frames.retain(|frame| frame.again.is_none() && frame.again_flipped.is_none()),
    |case| case.frames.retain(|frame| frame.flipped.is_none()),
    |case| case.frames.retain(|frame| !frame.lost),
    |case| case.script.clear(),
    |case| case.script.retain(|line| !matches!(line.what, ScriptAction::Partition(_))),
    |case| case.script.retain(|line| !matches!(line.what, ScriptAction::Crash(_))),
    |case| case.script.retain(|line| !matches!(line.what, ScriptAction::Leave(_))),
    |case| case.script.retain(|line| !matches!(line.what, ScriptAction::Join(_))),
    |case| case.script.retain(|line| !matches!(line.what, ScriptAction::Host(_))),
    |case| case.script.retain(|line| !line.is_operation()),
    |case| case.script.retain(|line| !matches!(line.what, ScriptAction::Lie(_))),
    |case| {
        for node in &mut case.nodes {
            node.hostile = Lies::NONE;
            node.outsider = false;
        }
    },
    |case| case.rules.clear(),
];

/// Settings back to their defaults: a setting with its default value is not written.
const DEFAULTS: [Reduction; 17] = [
    |case| case.splices.clear(),
    |case| case.topology = Topology::default(),
    |case| case.selection = Selection::default(),
    |case| case.protocol = None,
    |case| case.forget_tombstones = true,
    |case| case.replica = ReplicaSettings::default(),
    |case| case.counters_reset = false,
    |case| case.merge_faults.lacking = 0,
    |case| case.merge_faults = MergeFaults::NONE,
    |case| case.naming_spread = SimDuration::ZERO,
    |case| case.buffer_capacity = Case::default().buffer_capacity,
    |case| case.max_frame_bytes = Case::default().max_frame_bytes,
    |case| case.chaos_for = Case::default().chaos_for,
    |case| case.calm_after = None,
    |case| case.delta_retention = Case::default().delta_retention,
    |case| case.seed = 0,
    |case| case.seed = case.seed.min(1),
];

impl Minimizer<'_, '_> {
    /// Runs every pass once, from coarse to fine: whatever an early pass removes, the later passes need not try
    /// line by line, and their runs are shorter.
    fn all_passes(&mut self) {
        self.pass = "whole kinds of faults";
        self.families();
        self.pass = "contexts";
        // A case needs at least one context and one node, even if they do not matter.
        for context in (0..self.best.contexts).rev() {
            if self.best.contexts > 1 {
                self.change(|case| case.without_context(context));
            }
        }
        self.pass = "nodes";
        self.nodes();
        self.pass = "what happens";
        self.lines(|case| &mut case.script, |line| !line.is_recovery());
        self.pass = "single frames";
        self.lines(|case| &mut case.frames, |_| true);
        self.lines(|case| &mut case.rules, |_| true);
        self.pass = "lies";
        self.lies();
        self.pass = "initial entities";
        self.entities();
        self.pass = "chance";
        self.random_writes();
        self.pass = "operations and values";
        self.writes();
        self.pass = "times";
        self.times();
        for cut in DEFAULTS {
            self.change(cut);
        }
        self.replica_settings();
    }

    /// Sets the settings of replicas back to their defaults one by one.
    fn replica_settings(&mut self) {
        fn table(settings: &ReplicaSettings) -> Table {
            Table::try_from(settings).expect("the settings of replicas can be written as TOML")
        }
        for (key, default) in table(&ReplicaSettings::default()) {
            self.change(|case| {
                let mut settings = table(&case.replica);
                settings.insert(key, default);
                if let Ok(settings) = settings.try_into() {
                    case.replica = settings;
                }
            });
        }
        for limit in Limit::ALL {
            self.change(|case| {
                // A page may need a larger frame, which comes first in the list.
                if let Ok(limits) = case.replica.limits.with(*limit, limit.most()) {
                    case.replica.limits = limits;
                }
            });
        }
    }

    /// Runs a candidate, and adopts it if it fails in the same class. Returns whether it did.
    fn attempt(&mut self, candidate: Case) -> bool {
        // Most passes propose values without looking whether they are there already: that costs no run.
        if self.stopped || candidate == self.best {
            return false;
        }
        if self.budget.runs() >= self.limit || !self.budget.ask(self.pass, self.best.size()) {
            self.stopped = true;
            return false;
        }
        self.budget.spend(1);
        // A reduction may leave a case that cannot be built, such as one without an honest node.
        let size = self.best.size();
        let mut go_on = || self.budget.ask(self.pass, size);
        let Ok(ended) = (self.run)(&candidate, &mut go_on) else { return false };
        // Only the class is compared: every reduction changes the trace, the time and the node that fails.
        let same = ended.class == *self.class;
        if same {
            self.best = candidate;
            self.ended = ended;
        }
        same
    }

    /// Attempts a change of the best case. What the change leaves without meaning is removed with it.
    fn change(&mut self, change: impl FnOnce(&mut Case)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate);
        candidate.drop_dangling();
        self.attempt(candidate)
    }

    /// Lowers a number from `now` to the smallest value, `least` or above, with which the case fails. A binary
    /// search, which assumes that a case fails with every value above one with which it fails; where that does
    /// not hold, the result is a local minimum.
    fn least(&mut self, least: u64, now: u64, set: impl Fn(&mut Case, u64)) {
        let mut low = least;
        let mut high = now;
        if low < high && self.change(|case| set(case, low)) {
            return;
        }
        low += 1;
        // Invariant: the case fails with `high`, and does not with any value below `low` that was tried.
        while low < high {
            let middle = low + (high - low) / 2;
            if self.change(|case| set(case, middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
    }

    /// Removes whole families of causes, then fault settings one by one.
    fn families(&mut self) {
        for cut in FAMILIES {
            self.change(cut);
        }
        let off = FaultConfig::none().with_latency(self.best.faults.base_latency_ms, 0);
        self.change(|case| case.faults = off.clone());
        // As a table, so that a new setting is shrunk without a line of code here.
        let now = Table::try_from(&self.best.faults).expect("fault settings can be written as TOML");
        let off = Table::try_from(&off).expect("fault settings can be written as TOML");
        for (key, off) in off {
            if now.get(&key) == Some(&off) {
                continue;
            }
            self.change(|case| {
                let mut faults =
                    Table::try_from(&case.faults).expect("fault settings can be written as TOML");
                faults.insert(key, off);
                // One setting may be invalid without another; the case then stays as it is.
                if let Ok(faults) = faults.try_into() {
                    case.faults = faults;
                }
            });
        }
    }

    /// Removes nodes, the last first: the numbers of those before it stay.
    fn nodes(&mut self) {
        for at in (0..self.best.nodes.len()).rev() {
            if self.best.nodes.len() > 1 {
                self.change(|case| drop(case.nodes.remove(at)));
            }
        }
        if let Some(spec) = self.best.scenario.clone() {
            let set = |case: &mut Case, nodes: u64| {
                if let Some(spec) = &mut case.scenario {
                    spec.nodes = nodes as usize;
                }
            };
            self.least(1, spec.nodes as u64, set);
        }
    }

    /// Removes lines from a list by delta debugging: chunks of half the list, then of a quarter, down to single
    /// lines. From the end of the list, since later events are more often consequences than causes. Lines for
    /// which `may_go` is false stay.
    fn lines<T: Clone>(&mut self, of: impl Fn(&mut Case) -> &mut Vec<T>, may_go: fn(&T) -> bool) {
        let len = |minimizer: &mut Self| of(&mut minimizer.best).iter().filter(|line| may_go(line)).count();
        let mut size = len(self);
        while size > 0 {
            let mut end = len(self);
            while end > 0 {
                let start = end.saturating_sub(size);
                self.change(|case| {
                    // Only lines that may go have an ordinal, so that `start..end` counts no other line.
                    let mut at = 0..;
                    of(case).retain(|line| {
                        !may_go(line) || !at.next().is_some_and(|at| (start..end).contains(&at))
                    });
                });
                // A successful cut may have removed further lines that depended on it.
                end = start.min(len(self));
            }
            if self.stopped {
                return;
            }
            size /= 2;
        }
    }

    /// Makes hostile nodes honest, or lets them tell fewer kinds of lies, in fewer frames, as members.
    fn lies(&mut self) {
        for at in 0..self.best.nodes.len() {
            let of = |case: &Case| case.nodes.get(at).map_or(Lies::NONE, |node| node.hostile);
            let set = |case: &mut Case, lies: Lies| {
                if let Some(node) = case.nodes.get_mut(at) {
                    node.hostile = lies;
                    node.outsider &= !lies.is_none();
                }
            };
            self.change(|case| set(case, Lies::NONE));
            for lie in of(&self.best).iter() {
                let fewer = of(&self.best).without(lie);
                self.change(|case| set(case, fewer));
            }
            self.change(|case| case.nodes.iter_mut().skip(at).take(1).for_each(|node| node.outsider = false));
        }
        let nodes = self.best.faults.hostile.nodes as u64;
        self.least(0, nodes, |case, nodes| case.faults.hostile.nodes = nodes as usize);
        for lie in self.best.faults.hostile.kinds().iter().filter(|_| nodes > 0) {
            let fewer = self.best.faults.hostile.kinds().without(lie);
            if !fewer.is_none() {
                self.change(|case| case.faults.hostile.lies = fewer);
            }
        }
        for at in 0..self.best.script.len() {
            let replace = |case: &mut Case, frames| match case.script.get_mut(at).map(|line| &mut line.what) {
                Some(ScriptAction::Lie(lie)) => std::mem::replace(&mut lie.frames, frames),
                _ => 0,
            };
            let now = replace(&mut self.best.clone(), 0);
            self.least(1, now, |case, frames| {
                replace(case, frames);
            });
        }
    }

    /// Removes initial entities and writes before the run, in every context of every node.
    fn entities(&mut self) {
        let contexts = self.best.contexts;
        let positions = (0..self.best.nodes.len()).flat_map(|node| (0..contexts).map(move |at| (node, at)));
        let shared = (self.best.nodes.len(), 0);
        for position in positions.clone().chain([shared]) {
            self.lines(|case| entities_of(case, position), |_| true);
            for at in 0..entities_of(&mut self.best, position).len() {
                let now = entities_of(&mut self.best, position).get(at).map_or(0, Entities::count);
                self.least(1, now, |case, count| {
                    if let Some(some) = entities_of(case, position).get_mut(at) {
                        *some = some.first(count);
                    }
                });
            }
        }
        for (node, context) in positions {
            self.early_writes(node, context);
            let writes = self.best.nodes.get(node).map_or(0, |node| node.writes_in(context).len());
            for at in (0..writes).rev() {
                self.change(|case| {
                    let writes = case.nodes.get_mut(node).map(|node| node.writes_in_mut(context));
                    if let Some(writes) = writes.filter(|writes| at < writes.len()) {
                        writes.remove(at);
                    }
                });
            }
        }
        if let Some(spec) = self.best.scenario.clone() {
            let set = |case: &mut Case, entities: u64| {
                if let Some(spec) = &mut case.scenario {
                    spec.entities = entities as usize;
                }
            };
            self.least(0, spec.entities as u64, set);
        }
    }

    /// Removes operations from the writes of a node into a context before the run.
    fn early_writes(&mut self, node: usize, context: usize) {
        let lens = |case: &Case| -> Vec<usize> {
            let writes = case.nodes.get(node).map_or(&[][..], |node| node.writes_in(context));
            writes.iter().map(Vec::len).collect()
        };
        for at in 0..lens(&self.best).len() {
            for operation in (0..lens(&self.best).get(at).copied().unwrap_or_default()).rev() {
                self.change(|case| {
                    let writes = case.nodes.get_mut(node).map(|node| node.writes_in_mut(context));
                    if let Some(write) = writes.and_then(|writes| writes.get_mut(at))
                        && write.len() > 1
                    {
                        write.remove(operation);
                    }
                });
            }
        }
    }

    /// Lowers the number of random writes.
    fn random_writes(&mut self) {
        let writes = self.best.workload.writes as u64;
        self.least(0, writes, |case, writes| case.workload.writes = writes as usize);
        if self.best.workload.writes == 0 {
            self.change(|case| case.workload = Workload { writes: 0, ..Workload::default() });
        }
    }

    /// Removes operations from scripted writes, and simplifies those that stay.
    fn writes(&mut self) {
        for at in 0..self.best.script.len() {
            let ops = |case: &Case| match case.script.get(at).map(|line| &line.what) {
                Some(ScriptAction::Write(write)) => write.ops.clone(),
                _ => Vec::new(),
            };
            let set = |case: &mut Case, new: Vec<_>| {
                if let Some(ScriptAction::Write(write)) = case.script.get_mut(at).map(|line| &mut line.what) {
                    write.ops = new;
                }
            };
            for op in (0..ops(&self.best).len()).rev() {
                let mut fewer = ops(&self.best);
                if fewer.len() > 1 {
                    fewer.remove(op);
                    self.change(|case| set(case, fewer));
                }
            }
            for op in 0..ops(&self.best).len() {
                let now = ops(&self.best);
                for simpler in now.get(op).map(operations::simpler).unwrap_or_default() {
                    let mut changed = now.clone();
                    if let Some(place) = changed.get_mut(op) {
                        *place = simpler;
                    }
                    if self.change(|case| set(case, changed)) {
                        break;
                    }
                }
            }
        }
    }

    /// Rounds times, and lowers the limits of the run.
    fn times(&mut self) {
        // All lines together first: events that must happen at one time stay together.
        let first = self.best.script.iter().map(|line| line.at).min().unwrap_or(SimTime::ZERO);
        self.round_off(first.since(SimTime::ZERO), |case, span| {
            for line in &mut case.script {
                line.at = SimTime::ZERO + span + line.at.since(first);
            }
        });
        for at in 0..self.best.script.len() {
            let now = self.best.script.get(at).map_or(SimTime::ZERO, |line| line.at);
            self.round_off(now.since(SimTime::ZERO), |case, span| {
                if let Some(line) = case.script.get_mut(at) {
                    line.at = SimTime::ZERO + span;
                }
            });
            self.change(|case| {
                if let Some(line) = case.script.get_mut(at) {
                    line.after = 0;
                }
            });
            let lasting = self.best.script.get_mut(at).and_then(|line| line.duration_mut().copied());
            self.round_off(lasting.unwrap_or_default(), |case, span| {
                if let Some(lasting) = case.script.get_mut(at).and_then(|line| line.duration_mut()) {
                    *lasting = span;
                }
            });
        }
        // The sort is stable: lines of one instant keep their order, which decides what happens first.
        self.change(|case| case.script.sort_by_key(|line| line.at));
        for at in 0..self.best.frames.len() {
            let now = self.best.frames.get(at).and_then(|frame| frame.takes.or(frame.again));
            self.round_off(now.unwrap_or_default(), |case, span| {
                let frame = &mut case.frames[at];
                if frame.takes.is_some() {
                    frame.takes = Some(span);
                } else {
                    frame.again = Some(span);
                }
            });
        }
        for latency in [0, 1, 10, 100] {
            if latency < self.best.faults.base_latency_ms
                && self.change(|case| case.faults.base_latency_ms = latency)
            {
                break;
            }
        }
        // A run that ended for lack of time ends so with less time, too: that would show nothing.
        if !self.class.is_out_of_budget() {
            let enough = SimTime::from_secs(self.ended.at.as_millis() / 1_000 + 1);
            if enough < self.best.max_time {
                self.change(|case| case.max_time = enough);
            }
            self.change(|case| case.max_events = Case::default().max_events);
        }
    }

    /// Replaces a time by the roundest one with which the case still fails.
    fn round_off(&mut self, now: SimDuration, set: impl Fn(&mut Case, SimDuration)) {
        for span in rounded_down(now) {
            if self.change(|case| set(case, span)) {
                return;
            }
        }
    }
}

/// The entities of a node in a context; the shared entities if the number is beyond the last node.
fn entities_of(case: &mut Case, (node, context): (usize, usize)) -> &mut Vec<Entities> {
    match case.nodes.get_mut(node) {
        Some(node) => node.entities_in_mut(context),
        None => &mut case.shared,
    }
}
