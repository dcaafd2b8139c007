//! The runtime: a simulated cluster with its settings, its checks and its queries.
//!
//! [`SimRuntime`] is one value. Each module implements one aspect of it: faults that tests script
//! (`churn`, `hosts`, `links`, `rules`, `hostile`), what is observed at every event (`checks`,
//! `silence`, `history`, `counts`), and what can be asked (`queries`, `causes`, `ran_out`).

mod causes;
mod checks;
mod churn;
mod config;
mod context_state;
mod counts;
mod former_authors;
mod history;
mod hostile;
mod hosts;
mod identity;
mod links;
mod naming;
mod phases;
mod queries;
mod ran_out;
mod replica_settings;
mod rules;
mod run;
mod script;
mod sessions;
mod silence;
mod sim_runtime;
mod workload;

pub use config::SimConfig;
pub use former_authors::MAX_FORMER_AUTHORS;
pub use history::entity_hex;
pub use links::LinkGuard;
pub use naming::Naming;
pub use phases::Phase;
pub use replica_settings::ReplicaSettings;
pub use rules::RuleGuard;
pub use script::RunScript;
pub use sessions::EndedSession;
pub use sim_runtime::SimRuntime;
