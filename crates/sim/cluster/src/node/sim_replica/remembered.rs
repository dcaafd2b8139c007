//! What the checks remember inside a replica: of its last step, and of the steps before.

use super::SimReplica;
use syncline_store::ReadView;
use syncline_types::Encode;

impl SimReplica {
    /// Begins a step: forgets what only the checks after the last one read.
    pub(super) fn forget_last_step(&mut self) {
        self.before_collection = None;
        self.session_notes.forget_ended();
        self.was_fitted = false;
    }

    /// The bytes of all that the checks remember here, for the hash of a state that contains the replica: two replicas
    /// that differ in it alone are judged differently. O(1), and O(rows) after a collection.
    pub fn each_remembered(&self, take: &mut impl FnMut(&[u8])) {
        take(&[u8::from(self.was_fitted), u8::from(self.before_collection.is_some())]);
        if let Some(rows) = &self.before_collection {
            // No key begins with so many 0xff bytes, so the range holds all rows.
            for (key, value) in rows.range(&[], &[0xff; 64], usize::MAX).unwrap_or_default() {
                take(&key);
                take(&value);
            }
        }
        take(&self.lost_from_buffer().map(|dot| dot.to_bytes()).unwrap_or_default());
        self.session_notes.each_bytes(take);
    }

    /// Gives everything, as bytes, that decides under which name and incarnation the replica goes on, and whom it counts
    /// as a member.
    pub fn each_of_identity(&self, take: &mut impl FnMut(&[u8])) {
        take(&self.config.replica.0);
        take(&self.fresh_starts.to_le_bytes());
        take(&self.returns.to_le_bytes());
        take(&self.config.least_incarnation.to_le_bytes());
        self.renamed.iter().for_each(|name| take(&name.0));
    }
}
