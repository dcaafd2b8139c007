//! The state hash: everything that decides the next steps of a replica, apart from its store.

use super::Replica;
use std::fmt;
use syncline_types::Digest;

/// Separates the hashes of buffered deltas from other digests.
const DELTA_TAG: u8 = 0x62;

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
            heeds_stale_answer,
            clock,
            clock_guard,
            log,
            root,
            sketch: _,
            takes_snapshot,
            shared,
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
            collection,
        } = self;
        write!(out, "{:?} {incarnation} {heeds_stale_answer} {clock:?}", config.membership)?;
        write!(out, "{:?} {:?} {:?} {:?}", log.covered(), log.floor(), log.stable(), log.heads())?;
        let hash = |bytes: &[u8]| Digest::of_parts(DELTA_TAG, &[bytes]);
        delta_fetch.encoded().try_for_each(|delta| write!(out, "{:?}", hash(delta)))?;
        write!(out, "{} {:?}", delta_fetch.is_balanced(), views.cached())?;
        write!(out, "{:?} {:?}", peers.reachable(), peers.records())?;
        write!(out, "{:?} {}", sessions.active(), sessions.latest_number())?;
        write!(out, "{:?}", sync_queue.entries())?;
        write!(out, "{} {:?}", delta_fetch.attempts(), delta_fetch.exhausted())?;
        write!(out, "{:?}", delta_fetch.outstanding())?;
        write!(out, "{} {:?}", anti_entropy.pause(), horizon.progress())?;
        clock_guard.write_state(out)?;
        write!(out, "{root:?} {takes_snapshot} {shared} {stopped:?} {claims:?} {recovery:?} {collection:?}")
    }
}
