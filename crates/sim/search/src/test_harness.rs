//! Simulations in a project's own tests: a body is run with seed after seed, and the first that fails is made
//! small and written down.
//!
//! This file is the edge to `cargo test`: it alone reads the environment and writes files.

use crate::case::{Case, CaseError, Class, Ended};
use crate::shrink::shrink_with;
use std::cell::RefCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_cluster::scenarios::Scenario;
use sync_sim_cluster::verdict::StopCondition;
use sync_sim_engine::faults::FaultConfig;

/// Runs that making a failure small may take.
const RUNS: u64 = 1_000;

/// Which seeds: so many from 0, or a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seeds(Range<u64>);

impl From<u64> for Seeds {
    fn from(count: u64) -> Self {
        Self(0..count)
    }
}

impl From<Range<u64>> for Seeds {
    fn from(range: Range<u64>) -> Self {
        Self(range)
    }
}

/// Runs `body` with each of the seeds, on a network with distance and no faults. It is
/// [`#[sync_sim::test]`](macro@crate::test) for a test that is a test already:
///
/// ```
/// use sync_sim::prelude::*;
///
/// sync_sim::check(20, |rt| {
///     rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
///     rt.run();
///     assert_converged!(rt);
/// });
/// ```
///
/// # Panics
///
/// As [`Trial::run`].
#[track_caller]
pub fn check(seeds: impl Into<Seeds>, body: impl Fn(&mut SimRuntime)) {
    // Tests run on threads that are called as they are; one that runs alone does not.
    let path =
        std::thread::current().name().filter(|name| *name != "main").map(|name| format!("test::{name}"));
    let place = Location::caller();
    let by_place = || format!("{}:{}", place.file(), place.line());
    let package = environment("CARGO_PKG_NAME").unwrap_or_default();
    Trial::new(&package, &path.unwrap_or_else(by_place)).seeds(seeds).run(body);
}

/// A body that is to be run with many seeds. What [`#[sync_sim::test]`](macro@crate::test) makes.
#[derive(Clone, Debug)]
pub struct Trial {
    package: String,
    name: String,
    seeds: Range<u64>,
    faults: FaultConfig,
    nodes: usize,
}

impl Trial {
    /// A trial in a package, called by the path of its test.
    pub fn new(package: &str, path: &str) -> Self {
        let name = path.split_once("::").map_or(path, |(_, name)| name).to_owned();
        Self { package: package.to_owned(), name, seeds: 0..100, faults: FaultConfig::default(), nodes: 0 }
    }

    /// Sets which seeds.
    pub fn seeds(mut self, seeds: impl Into<Seeds>) -> Self {
        self.seeds = seeds.into().0;
        self
    }

    /// Sets what goes wrong.
    pub fn faults(mut self, faults: FaultConfig) -> Self {
        self.faults = faults;
        self
    }

    /// Sets what goes wrong, by the name of a preset.
    ///
    /// # Panics
    ///
    /// If there is no preset of that name.
    pub fn preset(self, name: &str) -> Self {
        self.faults(match name {
            "none" => FaultConfig::none(),
            "light" => FaultConfig::light_chaos(),
            "heavy" => FaultConfig::heavy_chaos(),
            "partitions" => FaultConfig::partition_heavy(),
            _ => panic!("there are no faults {name:?}; there are none, light, heavy and partitions"),
        })
    }

    /// Sets how many empty nodes there are when the body begins.
    pub const fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Runs `body` with each of the seeds, until one fails: the body panics, or a promise that the simulator
    /// checks was broken in the last run, whether the body looked or not. That seed is run again and again
    /// with less and less going wrong, for as long as it fails at the same place; what is left goes to
    /// `target/syncline-cases/NAME-SEED.toml`.
    ///
    /// The environment has the last word: with `SYNC_SIM_SEED` only that seed is run, and with
    /// `SYNC_SIM_CASE` only what such a file says.
    ///
    /// # Panics
    ///
    /// If a seed fails; it says how to run that alone, and where the file is.
    pub fn run(&self, body: impl Fn(&mut SimRuntime)) {
        if let Some(path) = environment("SYNC_SIM_CASE") {
            let case = std::fs::read_to_string(&path).map_err(|error| error.to_string());
            let case = case.and_then(|text| Case::read_external(&text).map_err(|error| error.to_string()));
            let case = case.unwrap_or_else(|error| panic!("SYNC_SIM_CASE={path}: {error}"));
            self.must_pass(&case, &body, |ended| format!("{path} fails: {}", ended.reason));
            return;
        }
        let only = environment("SYNC_SIM_SEED").map(|text| match text.parse() {
            Ok(seed) if seed < u64::MAX => seed..seed + 1,
            _ => panic!("SYNC_SIM_SEED={text} is no seed"),
        });
        for seed in only.unwrap_or_else(|| self.seeds.clone()) {
            let case = Case { seed, faults: self.faults.clone(), ..Case::default() };
            self.must_pass(&case, &body, |ended| self.report(&case, ended, &body));
        }
    }

    fn must_pass(&self, case: &Case, body: &dyn Fn(&mut SimRuntime), said: impl FnOnce(&Ended) -> String) {
        match self.attempt(case, false, body) {
            Ok((_, ended)) if ended.class.is_converged() => {}
            Ok((_, ended)) => panic!("{}", said(&ended)),
            Err(error) => panic!("the simulation cannot run: {error}"),
        }
    }

    /// Runs the body once. Who passes counts as converged.
    fn attempt(
        &self,
        case: &Case,
        keeping: bool,
        body: &dyn Fn(&mut SimRuntime),
    ) -> Result<(SimRuntime, Ended), CaseError> {
        let mut rt = case.with_external_nodes(keeping)?;
        if self.nodes > 0 {
            rt.apply_scenario(Scenario::n_nodes_synced(self.nodes, 0));
        }
        let panicked = watched(|| body(&mut rt));
        let stop = rt.broken_promise().cloned().map_or(StopCondition::Converged, StopCondition::Violated);
        let (stop, class, reason) = match panicked {
            None => (Some(stop.clone()), Class::of(&stop), stop.to_string()),
            // Not by what it said, which holds times and counts.
            Some((place, said)) => (None, Class::panicked(&place), format!("{said}\n  at {place}")),
        };
        let (at, events, trace) = (rt.now(), rt.events_processed(), rt.trace_digest());
        Ok((rt, Ended { stop, class, reason, at, events, trace }))
    }

    /// What is said of a seed that fails, once its case is small and written down.
    fn report(&self, case: &Case, ended: &Ended, body: &dyn Fn(&mut SimRuntime)) -> String {
        let package = if self.package.is_empty() { String::new() } else { format!(" -p {}", self.package) };
        let command = format!("cargo test{package} {}", self.name);
        let seed = case.seed;
        let mut report = format!("seed {seed} fails: {}\n", ended.reason);
        report += &format!("  run it alone: SYNC_SIM_SEED={seed} {command}\n");
        match self.keep(case, ended, body, &command) {
            Ok((small, path)) => {
                let path = path.display();
                let size = small.size().to_string();
                let size = if size.is_empty() { "no faults" } else { &size };
                report += &format!("  made small ({size}): {path}\n");
                report += &format!("  run that: SYNC_SIM_CASE={path} {command}");
            }
            Err(error) => report += &format!("  it could not be made small: {error}"),
        }
        report
    }

    /// Makes the case of a failure small, and writes it down.
    fn keep(
        &self,
        case: &Case,
        ended: &Ended,
        body: &dyn Fn(&mut SimRuntime),
        command: &str,
    ) -> Result<(Case, PathBuf), String> {
        let run = |case: &Case| self.attempt(case, false, body).map(|(_, ended)| ended);
        let (rt, _) = self.attempt(case, true, body).map_err(|error| error.to_string())?;
        let same = |pinned: &Case| run(pinned).is_ok_and(|again| again.class == ended.class);
        let pinned = case.pinned_external(&rt).into_iter().find(same).unwrap_or_else(|| case.clone());
        let small = shrink_with(&run, pinned, ended.class.clone(), RUNS, &mut |_| true);
        let small = small.map_err(|error| error.to_string())?.case;
        let small = Case { found: Some(ended.class.clone()), ..small };
        let text = small.to_text().map_err(|error| error.to_string())?;
        let name: String =
            self.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
        let folder = target().join("syncline-cases");
        let path = folder.join(format!("{name}-{}.toml", case.seed));
        let text = format!("# Goes with a test: SYNC_SIM_CASE={} {command}\n{text}", path.display());
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok((small, path))
    }
}

/// A variable of the environment that is set.
#[allow(clippy::disallowed_methods, reason = "the edge to `cargo test`; no run depends on it")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Cargo's target folder: that in which this program is.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let deps = program.ancestors().find(|folder| folder.ends_with("deps"));
    deps.and_then(Path::parent)
        .and_then(Path::parent)
        .map_or_else(|| PathBuf::from("target"), Path::to_path_buf)
}

thread_local! {
    /// Where the body that this thread is running has panicked; `None` if it is running none.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs a body in silence. Where it panicked and what it said, if it did.
fn watched(body: impl FnOnce()) -> Option<(String, String)> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let ours = PLACE.with_borrow_mut(|place| {
                let Some(place) = place else { return false };
                *place =
                    panic.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
                true
            });
            if !ours {
                before(panic);
            }
        }));
    });
    PLACE.set(Some(String::new()));
    let result = catch_unwind(AssertUnwindSafe(body));
    let place = PLACE.take().unwrap_or_default();
    let payload = result.err()?;
    let said = payload.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Some((place, said.to_owned()))
}
