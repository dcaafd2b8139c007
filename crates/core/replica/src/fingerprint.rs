//! What tells two replicas apart that read the same store.

use crate::replica::Replica;
use std::fmt;

impl<V: Clone> Replica<V> {
    /// Writes everything in memory that decides what this replica does next: replicas that write the same
    /// and read the same store take the same steps from here on. Figures that nothing depends on are left
    /// out, as is the sketch, which follows from the records, and of the settings all but the membership,
    /// which alone changes while a replica lives. What explorers of states merge them by; it is slow, and
    /// its form says nothing.
    pub fn write_state(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        // By name, so that a new field must be thought about here.
        let Self {
            config,
            incarnation,
            clock,
            log,
            buffer,
            views,
            reachable,
            peers,
            sessions,
            sessions_started,
            owed,
            fetches,
            exhausted,
            heartbeat_pause,
            root,
            sketch: _,
            takes_snapshot,
            reached,
            stopped,
            lookups: _,
        } = self;
        write!(out, "{:?} {incarnation} {clock:?}", config.membership)?;
        write!(out, "{:?} {:?} {:?} {:?}", log.covered(), log.floor(), log.stable(), log.heads())?;
        buffer.waiting().try_for_each(|delta| write!(out, "{:?} {:?}", delta.id(), delta.signature))?;
        write!(out, "{} {:?}", buffer.is_balanced(), views.cached())?;
        write!(out, "{reachable:?} {peers:?} {sessions:?} {sessions_started} {owed:?} {fetches}")?;
        write!(out, "{exhausted:?}")?;
        write!(out, "{heartbeat_pause} {root:?} {takes_snapshot} {reached:?} {stopped:?}")
    }
}
