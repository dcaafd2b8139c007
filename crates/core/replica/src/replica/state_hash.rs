//! The state hash: what decides the next steps of a replica, apart from its store.

use super::Replica;
use std::fmt;

impl<V: Clone> Replica<V> {
    /// Writes everything in memory that decides what this replica does next: replicas that write the same
    /// text and read the same store take the same steps from here on. Statistics are left out, as is the
    /// sketch, which follows from the records, and all settings but the membership, which alone changes
    /// while a replica lives. Explorers of states hash the text to merge equal states; it is slow to make,
    /// and its form may change.
    pub fn write_state(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        // By name, so that a new field cannot be left out by mistake.
        let Self {
            config,
            incarnation,
            clock,
            log,
            root,
            sketch: _,
            takes_snapshot,
            lookups: _,
            stopped,
            views,
            peers,
            sync_queue,
            sessions,
            delta_fetch,
            anti_entropy,
            horizon,
        } = self;
        write!(out, "{:?} {incarnation} {clock:?}", config.membership)?;
        write!(out, "{:?} {:?} {:?} {:?}", log.covered(), log.floor(), log.stable(), log.heads())?;
        delta_fetch.waiting().try_for_each(|delta| write!(out, "{:?} {:?}", delta.id(), delta.signature))?;
        write!(out, "{} {:?}", delta_fetch.is_balanced(), views.cached())?;
        write!(out, "{:?} {:?}", peers.reachable(), peers.records())?;
        write!(out, "{:?} {}", sessions.active(), sessions.started())?;
        write!(out, "{:?}", sync_queue.entries())?;
        write!(out, "{} {:?}", delta_fetch.attempts(), delta_fetch.exhausted())?;
        write!(out, "{} {:?}", anti_entropy.pause(), horizon.progress())?;
        write!(out, "{root:?} {takes_snapshot} {stopped:?}")
    }
}
