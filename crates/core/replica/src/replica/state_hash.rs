//! The state hash: everything that decides the next steps of a replica, apart from its store.

use super::Replica;
use std::fmt;

impl<V: Clone> Replica<V> {
    /// Writes everything in memory that decides the next steps of this replica: replicas that write the same
    /// text and read the same store take the same steps from here on. The text omits statistics, the sketch,
    /// which follows from the records, and all settings except the membership, which is the only one that
    /// changes while a replica runs. State-space explorers hash the text to merge equal states. The text is
    /// slow to produce, and its form may change.
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
            claims,
            recovery,
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
        write!(out, "{root:?} {takes_snapshot} {stopped:?} {claims:?} {recovery:?}")
    }
}
