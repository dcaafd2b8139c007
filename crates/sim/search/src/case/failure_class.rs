//! The result of a run, and the class of its failure.

use crate::case::Case;
use crate::case::error::CaseError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_cluster::verdict::StopCondition;
use sync_sim_engine::world::TraceDigest;
use syncline_types::SimTime;

/// The class of a result: why the run stopped, and which check failed or what a panic said. Shrinking keeps
/// the class: a smaller case of the same class is taken for the same bug. Two bugs of one class are
/// indistinguishable, so a case may change from one bug to the other while it shrinks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Class(String);

impl Class {
    /// The class of a reason to stop.
    pub fn of(stop: &StopCondition) -> Self {
        Self(match stop {
            StopCondition::Violated(check) => format!("{}: {}", stop.name(), check.name()),
            stop => stop.name().to_owned(),
        })
    }

    /// The class of a panic with this message.
    pub fn panicked(message: &str) -> Self {
        Self(format!("panicked: {message}"))
    }

    /// The class of a run that ended the process that it ran in.
    pub fn abnormal(end: AbnormalEnd) -> Self {
        Self(end.to_string())
    }

    /// Whether the run ended the process that it ran in. Such a case is run in a process of its own.
    pub fn is_abnormal(&self) -> bool {
        [ABORTED, KILLED, HUNG].iter().any(|kind| self.0.starts_with(kind))
    }

    /// Whether the run converged.
    pub fn is_converged(&self) -> bool {
        self.0 == StopCondition::Converged.name()
    }

    /// Whether the run stopped because virtual time or events ran out. Such a failure cannot be shrunk by
    /// lowering these limits: a run with lower limits proves nothing.
    pub(crate) fn is_out_of_budget(&self) -> bool {
        self.0.starts_with("max_")
    }

    /// The text of the class, as in case files.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The class in lower-case letters, digits and hyphens, for names of files and tests.
    pub fn slug(&self) -> String {
        let mut words = String::new();
        for letter in self.0.chars().take(60) {
            if letter.is_ascii_uppercase() {
                words.push('-');
            }
            words.push(if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' });
        }
        words.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const ABORTED: &str = "aborted: ";
const KILLED: &str = "killed: ";
const HUNG: &str = "hung";

/// How a run ended the process that it ran in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AbnormalEnd {
    /// The run needed more stack than a thread has.
    StackOverflow,
    /// The run needed more memory than its process may have.
    Memory,
    /// The run took more time than it may.
    Hung,
    /// The process was ended by this signal, or ended with this code.
    Signal(i32),
}

impl fmt::Display for AbnormalEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StackOverflow => write!(f, "{ABORTED}stack overflow"),
            Self::Memory => write!(f, "{KILLED}memory"),
            Self::Hung => f.write_str(HUNG),
            Self::Signal(signal) => write!(f, "{ABORTED}signal {signal}"),
        }
    }
}

/// The result of a run.
#[derive(Clone, PartialEq, Debug)]
pub struct RunResult {
    /// The reason to stop; `None` if the code under test panicked.
    pub stop: Option<StopCondition>,
    /// The class of the result.
    pub class: Class,
    /// The reason as a sentence.
    pub reason: String,
    /// The virtual time at the end.
    pub at: SimTime,
    /// The number of events that the run processed.
    pub events: u64,
    /// The digest of the trace: equal digests mean equal runs.
    pub trace: TraceDigest,
}

impl RunResult {
    /// Runs the simulation to its end. A panic of the code under test ends the run like a failed check; the
    /// world is then in an unspecified state that is only good for inspection.
    pub fn of(rt: &mut SimRuntime) -> Self {
        Self::with_runner(rt, SimRuntime::run)
    }

    /// Like [`RunResult::of`], with a runner of the caller.
    pub fn with_runner(rt: &mut SimRuntime, run: impl FnOnce(&mut SimRuntime) -> StopCondition) -> Self {
        let caught = Self::catching(|| run(rt));
        Self { at: rt.now(), events: rt.events_processed(), trace: rt.trace_digest(), ..caught }
    }

    /// The result of a closure that runs something. The time, the number of events and the trace are not
    /// known here and stay zero.
    pub(crate) fn catching(run: impl FnOnce() -> StopCondition) -> Self {
        let (stop, class, reason) = match catching(run) {
            Ok(stop) => (Some(stop.clone()), Class::of(&stop), stop.to_string()),
            Err(said) => (None, Class::panicked(&said), format!("the code under test panicked: {said}")),
        };
        // Only the caller knows the world that ran.
        Self { stop, class, reason, at: SimTime::ZERO, events: 0, trace: TraceDigest::default() }
    }

    /// The result of a run in another process, as that reports it. The trace is not known here and stays zero.
    pub fn reported(class: Class, reason: String, at: SimTime, events: u64) -> Self {
        Self { stop: None, class, reason, at, events, trace: TraceDigest::default() }
    }

    /// The reason in one word, by which reports group results.
    pub fn name(&self) -> &'static str {
        let without_stop = if self.class.is_abnormal() { "ended_process" } else { "panicked" };
        self.stop.as_ref().map_or(without_stop, StopCondition::name)
    }
}

/// Runs code under test. The error is the message of its panic.
pub(super) fn catching<R>(run: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let said = payload.downcast_ref::<String>().map(String::as_str);
        said.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
    })
}

impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at {} after {} events", self.reason, self.at, self.events)
    }
}

/// The number of events between two questions whether a run goes on. Asking may cost more than an event.
const EVENTS_BETWEEN_QUESTIONS: u64 = 64;

/// Runs a simulation to its end, as long as `go_on` returns true.
pub(crate) fn run_while(
    rt: &mut SimRuntime,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<RunResult, CaseError> {
    let mut stopped = false;
    let ended = RunResult::with_runner(rt, |rt| {
        rt.run_until(|rt| {
            stopped = stopped || rt.events_processed().is_multiple_of(EVENTS_BETWEEN_QUESTIONS) && !go_on();
            stopped
        })
    });
    if stopped { Err(CaseError::Stopped) } else { Ok(ended) }
}

impl Case {
    /// Builds and runs the case.
    ///
    /// # Errors
    ///
    /// As [`Case::build_to_run`].
    pub fn run(&self) -> Result<RunResult, CaseError> {
        Ok(RunResult::of(&mut self.build_to_run()?))
    }

    /// As [`Case::run`], as long as `go_on` returns true. It is called regularly during the run.
    ///
    /// # Errors
    ///
    /// As [`Case::build_to_run`], and [`CaseError::Stopped`] if `go_on` returned false.
    pub fn run_while(&self, go_on: &mut dyn FnMut() -> bool) -> Result<RunResult, CaseError> {
        run_while(&mut self.build_to_run()?, go_on)
    }
}
