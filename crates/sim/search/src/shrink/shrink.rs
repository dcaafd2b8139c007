//! Making a failing case small: cause after cause is taken away, for as long as what is left still fails in
//! the same way.

use crate::case::operations;
use crate::case::{Case, CaseError, Class, Ended, Entities, Size, What, rounder};
use crate::shrink::reseed::{lighter, thinned};
use sync_sim_cluster::hostile::Lies;
use sync_sim_cluster::workload::Workload;
use sync_sim_engine::faults::FaultConfig;
use sync_sim_engine::network::Topology;
use syncline_sync::Selection;
use syncline_types::{SimDuration, SimTime};
use toml::Table;

/// How far shrinking has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Runs so far.
    pub runs: u64,
    /// What is being tried.
    pub doing: &'static str,
    /// What the smallest case that fails holds.
    pub size: Size,
}

/// What shrinking came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Shrunk {
    /// The smallest case found.
    pub case: Case,
    /// What the case held at first, once every cause was told one by one.
    pub from: Size,
    /// How many runs it took.
    pub runs: u64,
    /// Whether nothing more can be taken away, as opposed to the budget being used up.
    pub finished: bool,
}

/// Makes a failing case small: the result fails in the same [`Class`]. Takes at most `most_runs` runs, and
/// stops when `go_on`, which is asked after each, says no. The same case gives the same result, unless
/// `go_on` stops it.
///
/// Causes are taken away by halves, then by quarters, down to single ones (delta debugging): for n causes
/// of which k matter this takes about k·log n runs, and n² at worst. Where many are left all the same, cases in
/// which less goes wrong are tried under other seeds, and one that fails is made small instead.
///
/// # Errors
///
/// If the case cannot be run, or does not fail.
pub fn shrink(
    case: &Case,
    most_runs: u64,
    go_on: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Shrunk, CaseError> {
    let class = case.run()?.class;
    if class.is_converged() {
        return Err(CaseError::NothingWrong);
    }
    let pinned = case.pinned()?;
    let (from, ended) = (pinned.size(), pinned.run()?.at);
    let mut search = Search { class: &class, runs: 0, most_runs, go_on, halted: false };
    let mut best = search.small(pinned, FIRST)?;
    if !case.has_chance() {
        best = search.thin(best)?;
    } else if is_large(&best) {
        for candidate in lighter(case, ended) {
            if !is_large(&best) || !search.may_run(&best) {
                break;
            }
            if search.fails(&candidate) {
                let found = search.small(candidate.pinned()?, AGAIN)?;
                let found = search.thin(found)?;
                best = if found.case.size().causes() < best.case.size().causes() { found } else { best };
            }
        }
    }
    if !best.finished && !search.halted && search.runs < most_runs {
        best = search.small(best.case, u64::MAX)?;
    }
    Ok(Shrunk { from, runs: search.runs, ..best })
}

/// So many causes left are many.
const MANY: usize = 20;
/// The most runs that go into one case before lighter ones are looked for.
const FIRST: u64 = 800;

/// The most runs that go into one that is to take its place.
const AGAIN: u64 = 400;

fn is_large(best: &Shrunk) -> bool {
    best.case.size().causes() >= MANY
}

/// One search for a small case that fails in a class.
struct Search<'a> {
    class: &'a Class,
    runs: u64,
    most_runs: u64,
    go_on: &'a mut dyn FnMut(&Progress) -> bool,
    halted: bool,
}

impl Search<'_> {
    /// Makes one case small.
    fn small(&mut self, case: Case, most: u64) -> Result<Shrunk, CaseError> {
        let before = self.runs;
        let (halted, go_on) = (&mut self.halted, &mut *self.go_on);
        let mut ask = |progress: &Progress| {
            *halted |= !go_on(&Progress { runs: before + progress.runs, ..*progress });
            !*halted
        };
        let most = most.min(self.most_runs.saturating_sub(before));
        let shrunk = shrink_with(&Case::run, case, self.class.clone(), most, &mut ask)?;
        self.runs += shrunk.runs;
        Ok(shrunk)
    }

    /// Makes parts of one that is large small instead, for as long as any fails.
    fn thin(&mut self, mut best: Shrunk) -> Result<Shrunk, CaseError> {
        let mut parts = thinned(best.case.clone());
        while is_large(&best) && self.may_run(&best) {
            let Some(part) = parts.next() else { break };
            if self.fails(&part) {
                let found = self.small(part, AGAIN)?;
                if found.case.size().causes() < best.case.size().causes() {
                    (parts, best) = (thinned(found.case.clone()), found);
                }
            }
        }
        Ok(best)
    }

    /// Whether one more run may be had.
    fn may_run(&mut self, best: &Shrunk) -> bool {
        let progress = Progress { runs: self.runs, doing: "less, under other seeds", size: best.case.size() };
        self.halted |= !(self.go_on)(&progress);
        !self.halted && self.runs < self.most_runs
    }

    fn fails(&mut self, case: &Case) -> bool {
        self.runs += 1;
        case.run().is_ok_and(|ended| ended.class == *self.class)
    }
}

/// How a case is run.
type Run<'a> = &'a dyn Fn(&Case) -> Result<Ended, CaseError>;

/// Makes a case small that is pinned as far as it gets, and that ends in `class` when it is `run`.
pub(crate) fn shrink_with(
    run: Run<'_>,
    best: Case,
    class: Class,
    most_runs: u64,
    go_on: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Shrunk, CaseError> {
    let from = best.size();
    let ended = run(&best)?;
    let (runs, stopped, doing) = (3, false, "");
    let mut shrinker = Shrinker { run, best, class, ended, runs, most_runs, go_on, stopped, doing };
    loop {
        let before = shrinker.best.clone();
        shrinker.round();
        if shrinker.stopped || shrinker.best == before {
            break;
        }
    }
    let Shrinker { best, runs, stopped, .. } = shrinker;
    Ok(Shrunk { case: best, from, runs, finished: !stopped })
}

struct Shrinker<'a> {
    run: Run<'a>,
    best: Case,
    class: Class,
    ended: Ended,
    runs: u64,
    most_runs: u64,
    go_on: &'a mut dyn FnMut(&Progress) -> bool,
    stopped: bool,
    doing: &'static str,
}

/// Takes something out of a case.
type Cut = fn(&mut Case);

/// Whole families of causes, from the widest.
const FAMILIES: [Cut; 14] = [
    |case| case.frames.clear(),
    |case| case.frames.retain(|frame| frame.takes.is_none()),
    |case| case.frames.retain(|frame| frame.again.is_none() && frame.again_flipped.is_none()),
    |case| case.frames.retain(|frame| frame.flipped.is_none()),
    |case| case.frames.retain(|frame| !frame.lost),
    |case| case.script.clear(),
    |case| case.script.retain(|line| !matches!(line.what, What::Partition(_))),
    |case| case.script.retain(|line| !matches!(line.what, What::Crash(_))),
    |case| case.script.retain(|line| !matches!(line.what, What::Leave(_))),
    |case| case.script.retain(|line| !matches!(line.what, What::Join(_))),
    |case| case.script.retain(|line| !line.asks()),
    |case| case.script.retain(|line| !matches!(line.what, What::Lie(_))),
    |case| case.nodes.iter_mut().for_each(|node| (node.hostile, node.outsider) = (Lies::NONE, false)),
    |case| case.rules.clear(),
];

/// Settings that say nothing if they are as ever.
const PLAINER: [Cut; 10] = [
    |case| case.topology = Topology::default(),
    |case| case.selection = Selection::default(),
    |case| case.protocol = None,
    |case| case.forget_tombstones = true,
    |case| case.buffer_capacity = Case::default().buffer_capacity,
    |case| case.chaos_for = Case::default().chaos_for,
    |case| case.calm_after = None,
    |case| case.delta_retention = Case::default().delta_retention,
    |case| case.seed = 0,
    |case| case.seed = case.seed.min(1),
];

impl Shrinker<'_> {
    fn round(&mut self) {
        self.doing = "whole kinds of faults";
        self.families();
        self.doing = "contexts";
        for context in (0..self.best.contexts).rev() {
            if self.best.contexts > 1 {
                self.change(|case| case.without_context(context));
            }
        }
        self.doing = "nodes";
        self.nodes();
        self.doing = "what happens";
        self.lines(|case| &mut case.script, |line| !line.mends());
        self.doing = "single frames";
        self.lines(|case| &mut case.frames, |_| true);
        self.lines(|case| &mut case.rules, |_| true);
        self.doing = "lies";
        self.lies();
        self.doing = "initial entities";
        self.entities();
        self.doing = "chance";
        self.chance();
        self.doing = "operations and values";
        self.writes();
        self.doing = "times";
        self.times();
        for cut in PLAINER {
            self.change(cut);
        }
    }

    /// Runs a candidate, and keeps it if it fails in the same way. Says whether it did.
    fn attempt(&mut self, candidate: Case) -> bool {
        if self.stopped || candidate == self.best {
            return false;
        }
        let progress = Progress { runs: self.runs, doing: self.doing, size: self.best.size() };
        if self.runs >= self.most_runs || !(self.go_on)(&progress) {
            self.stopped = true;
            return false;
        }
        self.runs += 1;
        let Ok(ended) = (self.run)(&candidate) else { return false };
        let same = ended.class == self.class;
        if same {
            (self.best, self.ended) = (candidate, ended);
        }
        same
    }

    fn change(&mut self, change: impl FnOnce(&mut Case)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate);
        candidate.tidy();
        self.attempt(candidate)
    }

    /// The least number from `least` to `now` with which it fails, if more of it fails wherever less does.
    fn least(&mut self, least: u64, now: u64, set: impl Fn(&mut Case, u64)) {
        let (mut low, mut high) = (least, now);
        if low < high && self.change(|case| set(case, low)) {
            return;
        }
        low += 1;
        while low < high {
            let middle = low + (high - low) / 2;
            if self.change(|case| set(case, middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
    }

    fn families(&mut self) {
        for cut in FAMILIES {
            self.change(cut);
        }
        let quiet = FaultConfig::none().with_latency(self.best.faults.base_latency_ms, 0);
        self.change(|case| case.faults = quiet.clone());
        // Setting by setting, whichever there are.
        let (Ok(now), Ok(quiet)) = (Table::try_from(&self.best.faults), Table::try_from(&quiet)) else {
            return;
        };
        for (key, off) in quiet {
            if now.get(&key) == Some(&off) {
                continue;
            }
            self.change(|case| {
                let Ok(mut faults) = Table::try_from(&case.faults) else { return };
                faults.insert(key, off);
                if let Ok(faults) = faults.try_into() {
                    case.faults = faults;
                }
            });
        }
    }

    fn nodes(&mut self) {
        for at in (0..self.best.nodes.len()).rev() {
            if self.best.nodes.len() > 1 {
                self.change(|case| drop(case.nodes.remove(at)));
            }
        }
        if let Some(beginning) = self.best.scenario.clone() {
            let set = |case: &mut Case, nodes: u64| {
                if let Some(beginning) = &mut case.scenario {
                    beginning.nodes = nodes as usize;
                }
            };
            self.least(1, beginning.nodes as u64, set);
        }
    }

    /// Takes lines out of a list, from the last, by halves down to single ones.
    fn lines<T: Clone>(&mut self, of: impl Fn(&mut Case) -> &mut Vec<T>, may_go: fn(&T) -> bool) {
        let len = |shrinker: &mut Self| of(&mut shrinker.best).iter().filter(|line| may_go(line)).count();
        let mut size = len(self);
        while size > 0 {
            let mut end = len(self);
            while end > 0 {
                let start = end.saturating_sub(size);
                self.change(|case| {
                    let mut at = 0..;
                    of(case).retain(|line| {
                        !may_go(line) || !at.next().is_some_and(|at| (start..end).contains(&at))
                    });
                });
                end = start.min(len(self));
            }
            if self.stopped {
                return;
            }
            size /= 2;
        }
    }

    /// Makes hostile nodes honest, or lets them lie in fewer ways, less often, as members.
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
            let told = |case: &mut Case, frames| match case.script.get_mut(at).map(|line| &mut line.what) {
                Some(What::Lie(lying)) => std::mem::replace(&mut lying.frames, frames),
                _ => 0,
            };
            let now = told(&mut self.best.clone(), 0);
            self.least(1, now, |case, frames| {
                told(case, frames);
            });
        }
    }

    fn entities(&mut self) {
        let contexts = self.best.contexts;
        let places = (0..self.best.nodes.len()).flat_map(|node| (0..contexts).map(move |at| (node, at)));
        let shared = (self.best.nodes.len(), 0);
        for place in places.clone().chain([shared]) {
            self.lines(|case| entities_of(case, place), |_| true);
            for at in 0..entities_of(&mut self.best, place).len() {
                let now = entities_of(&mut self.best, place).get(at).map_or(0, Entities::count);
                self.least(1, now, |case, count| {
                    if let Some(some) = entities_of(case, place).get_mut(at) {
                        *some = some.first(count);
                    }
                });
            }
        }
        for (node, context) in places {
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
        if let Some(beginning) = self.best.scenario.clone() {
            let set = |case: &mut Case, entities: u64| {
                if let Some(beginning) = &mut case.scenario {
                    beginning.entities = entities as usize;
                }
            };
            self.least(0, beginning.entities as u64, set);
        }
    }

    /// Takes operations out of what a node wrote into a context before the run.
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

    fn chance(&mut self) {
        let writes = self.best.workload.writes as u64;
        self.least(0, writes, |case, writes| case.workload.writes = writes as usize);
        if self.best.workload.writes == 0 {
            self.change(|case| case.workload = Workload { writes: 0, ..Workload::default() });
        }
    }

    fn writes(&mut self) {
        for at in 0..self.best.script.len() {
            let ops = |case: &Case| match case.script.get(at).map(|line| &line.what) {
                Some(What::Write(write)) => write.ops.clone(),
                _ => Vec::new(),
            };
            let set = |case: &mut Case, new: Vec<_>| {
                if let Some(What::Write(write)) = case.script.get_mut(at).map(|line| &mut line.what) {
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

    fn times(&mut self) {
        // All together first: what must happen at one time stays together.
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
            let lasting = self.best.script.get_mut(at).and_then(|line| line.lasting().copied());
            self.round_off(lasting.unwrap_or_default(), |case, span| {
                if let Some(lasting) = case.script.get_mut(at).and_then(|line| line.lasting()) {
                    *lasting = span;
                }
            });
        }
        self.change(|case| case.script.sort_by_key(|line| line.at));
        for at in 0..self.best.frames.len() {
            let now = self.best.frames.get(at).and_then(|frame| frame.takes.or(frame.again));
            self.round_off(now.unwrap_or_default(), |case, span| {
                let Some(frame) = case.frames.get_mut(at) else { return };
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
        if !self.class.is_out_of_budget() {
            let enough = SimTime::from_secs(self.ended.at.as_millis() / 1_000 + 1);
            if enough < self.best.max_time {
                self.change(|case| case.max_time = enough);
            }
            self.change(|case| case.max_events = Case::default().max_events);
        }
    }

    fn round_off(&mut self, now: SimDuration, set: impl Fn(&mut Case, SimDuration)) {
        for span in rounder(now) {
            if self.change(|case| set(case, span)) {
                return;
            }
        }
    }
}

/// The entities of a node in a context, or those that all share in the first.
fn entities_of(case: &mut Case, (node, context): (usize, usize)) -> &mut Vec<Entities> {
    match case.nodes.get_mut(node) {
        Some(node) => node.entities_in_mut(context),
        None => &mut case.shared,
    }
}
