//! How a run of a case ends, and which ends are of one kind.

use crate::case::Case;
use crate::case::error::CaseError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_cluster::verdict::{Check, StopCondition};
use sync_sim_engine::world::TraceDigest;
use syncline_types::SimTime;

/// The kind of an ending: why the run stopped, and if a check failed, which; of a panic, what it said. A
/// smaller case that ends in the same class shows the same bug, as far as anybody can tell without looking.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Class(String);

impl Class {
    /// The class of a stop.
    pub fn of(stop: &StopCondition) -> Self {
        Self(match stop {
            StopCondition::Violated(Check::Own { name, .. }) => format!("{}: {name}", stop.name()),
            // The name under which case files store it.
            StopCondition::Violated(Check::Internal { .. }) => format!("{}: ReplicaStopped", stop.name()),
            StopCondition::Violated(check) => {
                let said = format!("{check:?}");
                let name = said.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                format!("{}: {name}", stop.name())
            }
            stop => stop.name().to_owned(),
        })
    }

    /// The class of a panic that said this.
    pub fn panicked(message: &str) -> Self {
        Self(format!("panicked: {message}"))
    }

    /// Whether all was well.
    pub fn is_converged(&self) -> bool {
        self.0 == StopCondition::Converged.name()
    }

    /// Whether the run went on until time or events ran out, so that less of them shows nothing.
    pub(crate) fn is_out_of_budget(&self) -> bool {
        self.0.starts_with("max_")
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In letters, digits and hyphens, as names of files and tests are.
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

/// How a run ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Ended {
    /// Why the run stopped; `None` if the code under test panicked.
    pub stop: Option<StopCondition>,
    /// Of what kind it is.
    pub class: Class,
    /// Why, in words.
    pub reason: String,
    /// When.
    pub at: SimTime,
    /// After how many events.
    pub events: u64,
    /// The digest of all that happened.
    pub trace: TraceDigest,
}

impl Ended {
    /// Runs to the end. A panic of the code under test is an end like any other; what is left of the run
    /// after one is good for looking at and no more.
    pub fn of(rt: &mut SimRuntime) -> Self {
        Self::watched(rt, SimRuntime::run)
    }

    /// As [`Ended::of`], run by the caller.
    pub fn watched(rt: &mut SimRuntime, run: impl FnOnce(&mut SimRuntime) -> StopCondition) -> Self {
        let caught = Self::caught(|| run(rt));
        Self { at: rt.now(), events: rt.events_processed(), trace: rt.trace_digest(), ..caught }
    }

    /// What came of running something; when and after how many events is not known yet.
    pub(crate) fn caught(run: impl FnOnce() -> StopCondition) -> Self {
        let (stop, class, reason) = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(stop) => (Some(stop.clone()), Class::of(&stop), stop.to_string()),
            Err(payload) => {
                let said = payload.downcast_ref::<String>().map(String::as_str);
                let said = said.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
                (None, Class::panicked(said), format!("the code under test panicked: {said}"))
            }
        };
        Self { stop, class, reason, at: SimTime::ZERO, events: 0, trace: TraceDigest::default() }
    }

    /// The reason in one word, as reports group by it.
    pub fn name(&self) -> &'static str {
        self.stop.as_ref().map_or("panicked", StopCondition::name)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at {} after {} events", self.reason, self.at, self.events)
    }
}

impl Case {
    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// As [`Case::build`].
    pub fn run(&self) -> Result<Ended, CaseError> {
        Ok(Ended::of(&mut self.build()?))
    }
}
