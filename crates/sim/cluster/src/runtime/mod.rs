//! Running: the clock, the queue, the choices, and the runtime that people hold.

mod checks;
mod churn;
mod config;
mod context_state;
mod history;
mod hostile;
mod hosts;
mod links;
mod liveness;
mod phases;
mod queries;
mod rules;
mod script;
mod sessions;
mod sim_runtime;
mod workload;

pub use checks::BLAMED;
pub use config::SimConfig;
pub use history::entity_words;
pub use links::LinkGuard;
pub use phases::Phase;
pub use rules::RuleGuard;
pub use script::Script;
pub use sessions::EndedSession;
pub use sim_runtime::SimRuntime;
