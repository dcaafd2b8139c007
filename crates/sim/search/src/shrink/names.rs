//! The pass over names: long names and keys become short ones, everywhere in the case.

use crate::case::Case;
use crate::shrink::minimizer::Minimizer;

impl Minimizer<'_, '_> {
    /// Gives entities and nodes with long names short ones.
    pub(super) fn names(&mut self) {
        self.shorten_names(1);
    }

    /// As [`Minimizer::names`], in groups of at least so many entities.
    pub(super) fn shorten_names(&mut self, smallest: usize) {
        let long = |case: &mut Case| case.long_named_entities().len();
        self.chunks(smallest, long, |case, cut| {
            let ids = case.long_named_entities();
            // An earlier cut has shortened these names, too.
            let Some(ids) = ids.get(cut) else { return };
            shortened(case, |case| case.rename_entities(&case.short_names_for(ids)));
        });
        self.change(|case| shortened(case, Case::rename_runs));
        for node in self.best().long_named_nodes() {
            self.change(|case| case.rename_node(&node));
        }
    }
}

/// Applies a change if it makes the names shorter in all: the digest of an entity without a known name is longer
/// than the name was.
fn shortened(case: &mut Case, change: impl FnOnce(&mut Case)) {
    let before = case.clone();
    change(case);
    if case.long_name_bytes() >= before.long_name_bytes() {
        *case = before;
    }
}
