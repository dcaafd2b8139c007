//! The engine: a world of actors, a queue of events, a network, and the account of what is still
//! unfinished. It knows nothing of replicas; see [`Actor`].

mod actor;
mod chaos;
mod chronicle;
mod churn;
mod crash;
mod event;
mod heal;
mod host;
mod in_turn;
mod record;
mod slot;
mod stepping;
mod tally;
mod timers;
mod trace;
mod wall_clock;
mod world;

pub use actor::{Actor, Commit, Context, Effects, Input, Outgoing, TimerChange, Unfinished};
pub use chronicle::Happened;
pub use churn::Churn;
pub use event::{CrashPoint, Delivery, LinkChange, SimEvent};
pub use host::{HostEffects, HostEvent, Trouble};
pub use slot::Traffic;
pub use tally::Tally;
pub use trace::TraceDigest;
pub use world::{Stepped, World};
