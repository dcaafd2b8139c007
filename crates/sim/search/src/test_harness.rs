//! Simulations in a project's own tests: a test body runs with many seeds. The first seed that fails is shrunk
//! to a small case and stored as a file.
//!
//! This file is the edge to `cargo test`: it reads the environment and writes files, which no other part of the
//! simulator does.

use crate::case::{Case, CaseError, Class, RunResult};
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

/// The most runs that shrinking a failure may take.
const RUNS: u64 = 1_000;

/// A range of seeds. It converts from a number, which counts from 0, and from a range.
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

/// Runs `body` with each of the seeds, on a network with latency and without faults. It does what
/// `#[sync_sim::test]` does, from inside an ordinary test:
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
/// If a seed fails: see [`SeedTest::run`].
#[track_caller]
pub fn check(seeds: impl Into<Seeds>, body: impl Fn(&mut SimRuntime)) {
    // The test runner names each thread after its test. With one thread, a test runs on the main thread, and the
    // place of the call has to serve as its name.
    let test =
        std::thread::current().name().filter(|name| *name != "main").map(|name| format!("test::{name}"));
    let place = Location::caller();
    let by_place = || format!("{}:{}", place.file(), place.line());
    let package = environment("CARGO_PKG_NAME").unwrap_or_default();
    SeedTest::new(&package, &test.unwrap_or_else(by_place)).seeds(seeds).run(body);
}

/// A test that runs its body with many seeds. `#[sync_sim::test]` expands to one.
#[derive(Clone, Debug)]
pub struct SeedTest {
    package: String,
    name: String,
    seeds: Range<u64>,
    faults: FaultConfig,
    nodes: usize,
}

impl SeedTest {
    /// A trial of the test at this path in this package, with 100 seeds. Its name leaves out the crate.
    pub fn new(package: &str, path: &str) -> Self {
        let name = path.split_once("::").map_or(path, |(_, name)| name).to_owned();
        Self { package: package.to_owned(), name, seeds: 0..100, faults: FaultConfig::default(), nodes: 0 }
    }

    /// Sets the seeds.
    pub fn seeds(mut self, seeds: impl Into<Seeds>) -> Self {
        self.seeds = seeds.into().0;
        self
    }

    /// Sets the faults.
    pub fn faults(mut self, faults: FaultConfig) -> Self {
        self.faults = faults;
        self
    }

    /// Sets the faults by the name of a preset: `none`, `light`, `heavy` or `partitions`.
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
            _ => panic!("there is no preset {name:?}; there are none, light, heavy and partitions"),
        })
    }

    /// Sets the number of empty nodes that exist when the body begins.
    pub const fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Runs `body` with each of the seeds until one fails. A seed fails if the body panics, or if the run
    /// violated an invariant that the simulator checks. The failing case is then shrunk: it runs again with
    /// fewer faults for as long as it fails at the same place. The smallest case is stored as
    /// `target/syncline-cases/NAME-SEED.toml`.
    ///
    /// The environment takes precedence: with `SYNC_SIM_SEED` only that seed runs, and with `SYNC_SIM_CASE`
    /// only the case in that file.
    ///
    /// # Panics
    ///
    /// If a seed fails. The message states how to run the seed alone, and where the file is. Also if one of the
    /// two variables is set to something that cannot be read.
    pub fn run(&self, body: impl Fn(&mut SimRuntime)) {
        if let Some(path) = environment("SYNC_SIM_CASE") {
            let case = std::fs::read_to_string(&path).map_err(|error| error.to_string());
            let case = case.and_then(|text| Case::read_external(&text).map_err(|error| error.to_string()));
            let case = case.unwrap_or_else(|error| panic!("SYNC_SIM_CASE={path}: {error}"));
            self.must_pass(&case, &body, |ended| format!("{path} fails: {}", ended.reason));
            return;
        }
        // The largest number is no seed: the range that holds only it cannot be written.
        let only = environment("SYNC_SIM_SEED").map(|text| match text.parse() {
            Ok(seed) if seed < u64::MAX => seed..seed + 1,
            _ => panic!("SYNC_SIM_SEED={text} is not a seed"),
        });
        for seed in only.unwrap_or_else(|| self.seeds.clone()) {
            let case = Case { seed, faults: self.faults.clone(), ..Case::default() };
            self.must_pass(&case, &body, |ended| self.report(&case, ended, &body));
        }
    }

    fn must_pass(
        &self,
        case: &Case,
        body: &dyn Fn(&mut SimRuntime),
        report: impl FnOnce(&RunResult) -> String,
    ) {
        match self.attempt(case, false, body) {
            Ok((_, ended)) if ended.class.is_converged() => {}
            Ok((_, ended)) => panic!("{}", report(&ended)),
            Err(error) => panic!("the simulation cannot run: {error}"),
        }
    }

    /// Runs the body once. A body that passes counts as converged. With `record`, the run records the outcome of
    /// its random draws, so that they can be pinned.
    fn attempt(
        &self,
        case: &Case,
        record: bool,
        body: &dyn Fn(&mut SimRuntime),
    ) -> Result<(SimRuntime, RunResult), CaseError> {
        let mut rt = case.with_external_nodes(record)?;
        if self.nodes > 0 {
            rt.apply_scenario(Scenario::n_nodes_synced(self.nodes, 0));
        }
        let panicked = catch_silently(|| body(&mut rt));
        let stop = rt.broken_promise().cloned().map_or(StopCondition::Converged, StopCondition::Violated);
        let (stop, class, reason) = match panicked {
            None => (Some(stop.clone()), Class::of(&stop), stop.to_string()),
            // The class of a panic is its place. Its message may contain times and counts, which shrinking changes.
            Some((place, message)) => (None, Class::panicked(&place), format!("{message}\n  at {place}")),
        };
        let ended = RunResult {
            stop,
            class,
            reason,
            at: rt.now(),
            events: rt.events_processed(),
            trace: rt.trace_digest(),
        };
        Ok((rt, ended))
    }

    /// Shrinks and stores the case of a seed that failed, and describes both.
    fn report(&self, case: &Case, ended: &RunResult, body: &dyn Fn(&mut SimRuntime)) -> String {
        let package = if self.package.is_empty() { String::new() } else { format!(" -p {}", self.package) };
        let command = format!("cargo test{package} {}", self.name);
        let seed = case.seed;
        let mut report = format!("seed {seed} fails: {}\n", ended.reason);
        report += &format!("  run it alone: SYNC_SIM_SEED={seed} {command}\n");
        match self.store_small_case(case, ended, body, &command) {
            Ok((small, path)) => {
                let path = path.display();
                let size = small.size().to_string();
                let size = if size.is_empty() { "no faults" } else { &size };
                report += &format!("  shrunk ({size}): {path}\n");
                report += &format!("  run that: SYNC_SIM_CASE={path} {command}");
            }
            Err(error) => report += &format!("  it could not be shrunk: {error}"),
        }
        report
    }

    /// Shrinks a failing case and writes the result to a file.
    fn store_small_case(
        &self,
        case: &Case,
        ended: &RunResult,
        body: &dyn Fn(&mut SimRuntime),
        command: &str,
    ) -> Result<(Case, PathBuf), String> {
        let run = |case: &Case| self.attempt(case, false, body).map(|(_, ended)| ended);
        let (rt, _) = self.attempt(case, true, body).map_err(|error| error.to_string())?;
        // The pinned case states every random draw explicitly. If it fails in another way than the seed, only the
        // seed itself reproduces the failure, and shrinking starts from that.
        let same = |pinned: &Case| run(pinned).is_ok_and(|again| again.class == ended.class);
        let pinned = case.pinned_external(&rt).into_iter().find(same).unwrap_or_else(|| case.clone());
        let small = shrink_with(&|case, _| run(case), pinned, ended.class.clone(), RUNS, &mut |_| true);
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

/// The value of an environment variable, if it is set and is UTF-8.
#[allow(clippy::disallowed_methods, reason = "the edge to `cargo test`; no run depends on it")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Cargo's target folder: the one that contains this program.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let deps = program.ancestors().find(|folder| folder.ends_with("deps"));
    deps.and_then(Path::parent)
        .and_then(Path::parent)
        .map_or_else(|| PathBuf::from("target"), Path::to_path_buf)
}

thread_local! {
    /// The place where the body on this thread panicked: empty before it does, `None` while no body runs.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs a body without printing its panic. Returns the place and the message of the panic, if there is one.
fn catch_silently(body: impl FnOnce()) -> Option<(String, String)> {
    // The hook belongs to the whole process. It is set once, and passes on every panic of a thread that runs no
    // body.
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
    let message = payload.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Some((place, message.to_owned()))
}
