//! A log of what the workload and random faults did, from which a run can be written down and replayed event
//! by event.

use crate::actor::Actor;
use crate::event::{CrashPoint, SimEvent};
use crate::network::PartitionSpec;
use crate::node_id::NodeId;
use crate::world::World;
use crate::world::host_event::HostEvent;
use syncline_types::{SimDuration, SimTime};

/// A place in a run: an instant, and a place among the events of that instant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct ScriptTime {
    /// The virtual time of the event.
    pub at: SimTime,
    /// How many events of that instant come before. Only those count that a script cannot contain: frames
    /// that arrive, timers and the like.
    pub after: u32,
}

impl From<SimTime> for ScriptTime {
    /// Before all other events of that instant.
    fn from(at: SimTime) -> Self {
        Self { at, after: 0 }
    }
}

/// One event that happened to nodes or links. Durations of `None` mean "for the rest of the run".
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields' names say what they hold")]
pub enum LoggedEvent<Op> {
    /// The workload asked a node for an operation.
    Op { node: NodeId, op: Op },
    /// A node did an operation before the run began.
    Early { node: NodeId, op: Op },
    /// A node crashed, at random or by a script.
    Crash { node: NodeId, point: CrashPoint, down_for: Option<SimDuration> },
    /// A node that was down was restarted.
    Restart { node: NodeId },
    /// A node left, at random or by a script.
    Leave { node: NodeId, away_for: Option<SimDuration> },
    /// A node that had left returned.
    Return { node: NodeId },
    /// A partition started, at random or by a script.
    Partition { spec: PartitionSpec, lasting: Option<SimDuration> },
    /// A node was added that comes up late.
    Join { node: NodeId },
    /// The host of a node had a fault, by a script or at random.
    Host { node: NodeId, what: HostEvent },
}

impl<Op: Clone> LoggedEvent<Op> {
    /// The log entry of an event: of an operation, or of an event that `is_scripted`. Crashes are logged when
    /// they happen, which can be a step later.
    pub fn of(event: &SimEvent<Op>, is_scripted: bool) -> Option<Self> {
        Some(match event {
            SimEvent::Op { node, op } => Self::Op { node: *node, op: op.clone() },
            _ if !is_scripted => return None,
            SimEvent::Host { node, what } => Self::Host { node: *node, what: *what },
            SimEvent::NodeRestart { node, .. } => Self::Restart { node: *node },
            SimEvent::NodeLeave { node, away_for } => Self::Leave { node: *node, away_for: *away_for },
            SimEvent::NodeReturn { node, .. } => Self::Return { node: *node },
            SimEvent::PartitionAt { spec, lasting } => {
                Self::Partition { spec: (**spec).clone(), lasting: *lasting }
            }
            _ => return None,
        })
    }
}

/// The logged events of a run with their places, in the order in which they happened.
pub type EventLog<Op> = Vec<(ScriptTime, LoggedEvent<Op>)>;

impl<A: Actor> World<A> {
    /// Starts, replaces or (with `None`) stops the event log.
    pub fn set_event_log(&mut self, log: Option<EventLog<A::Op>>) {
        self.event_log = log;
    }

    /// Stops the event log and returns it.
    pub const fn take_event_log(&mut self) -> Option<EventLog<A::Op>> {
        self.event_log.take()
    }

    /// The events that were logged so far; empty if there is no log.
    pub fn event_log(&self) -> &[(ScriptTime, LoggedEvent<A::Op>)] {
        self.event_log.as_deref().unwrap_or_default()
    }

    /// Logs an event at a place, if there is a log.
    pub fn log_event_at(&mut self, place: ScriptTime, event: impl FnOnce() -> LoggedEvent<A::Op>) {
        if let Some(log) = &mut self.event_log {
            log.push((place, event()));
        }
    }
}
