//! Running: the clock, the queue, the choices, and the runtime that people hold.

mod choices;
mod clock;
mod config;
mod outcome;
mod queue;
mod sim_runtime;

pub use choices::{Choices, Drawn, Source, Stream, Tape};
pub use clock::SimClock;
pub use config::SimConfig;
pub use outcome::{Check, Debt, Owed, Property, StopCondition};
pub use queue::EventQueue;
pub use sim_runtime::SimRuntime;
