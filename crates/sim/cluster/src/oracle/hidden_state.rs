//! One state that joins every write without a network: what nobody sees is compared with it.

use crate::node::differences;
use crate::oracle::Oracle;
use crate::oracle::reference_state::Joined;
use syncline_storage::{ApplyContext, ApplyError, Interface};
use syncline_store::{MemoryStore, Store};
use syncline_types::{Digest, Moment, SimTime};

/// Whatever a replica accepted is accepted here: there is no clock.
const ANY_TIME: ApplyContext = ApplyContext { moment: Moment::at(SimTime::MAX), max_drift_ms: u64::MAX };

impl Oracle {
    /// The join of all that was written.
    pub(crate) fn joined(&self) -> Result<MemoryStore, ApplyError> {
        let mut joined = MemoryStore::default();
        let mut state = Interface::open_with(joined.view(), self.merges.clone())?;
        let begun = self.begun.iter().flat_map(|(_, actions)| actions.iter());
        for action in begun.chain(self.writes.iter().flat_map(|write| &write.actions)) {
            state.apply_action(action, &ANY_TIME)?;
        }
        joined.apply(state.finish()?)?;
        Ok(joined)
    }

    /// The same, to be compared with states.
    pub fn as_state(&self) -> Result<Joined, ApplyError> {
        Ok(Joined::new(self.joined()?, self.merges.clone()))
    }

    /// The first record on `disk`, whose root is `root`, that is not the join of all that was written, in
    /// words. Only what is the same in every order is compared, so nothing may have been forgotten. `beside_liars`
    /// leaves out records that no write left: nobody sees them, and a member is believed them. One batch:
    /// O(writes log n).
    pub(crate) fn hidden_difference(
        &self,
        root: Digest,
        disk: &MemoryStore,
        beside_liars: bool,
    ) -> Result<Option<String>, ApplyError> {
        let joined = self.joined()?;
        if Interface::open_with(joined.view(), self.merges.clone())?.root_hash()? == root {
            return Ok(None);
        }
        let found = differences(&joined, disk, if beside_liars { usize::MAX } else { 1 })?;
        if beside_liars {
            let written = found.iter().find(|difference| difference.left.is_some());
            return Ok(written.map(ToString::to_string));
        }
        Ok(Some(found.first().map_or_else(|| "the roots differ".to_owned(), ToString::to_string)))
    }
}
