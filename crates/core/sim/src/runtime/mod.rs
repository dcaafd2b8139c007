//! Running: the clock, the queue, the choices, and the runtime that people hold.

mod checks;
mod choices;
mod churn;
mod clock;
mod config;
mod contexts;
mod hostile;
mod hosts;
mod links;
mod outcome;
mod phases;
mod queue;
mod reading;
mod recording;
mod rules;
mod sessions;
mod sim_runtime;
mod watching;
mod writing;

pub(crate) use checks::BLAMED;
pub use choices::{Choices, Drawn, Source, Stream, Tape};
pub use clock::SimClock;
pub use config::SimConfig;
pub use links::LinkGuard;
pub use outcome::{Check, Debt, Owed, Property, StopCondition};
pub use phases::Phase;
pub use queue::EventQueue;
pub(crate) use recording::entity_words;
pub use rules::RuleGuard;
pub use sessions::EndedSession;
pub use sim_runtime::SimRuntime;
