//! Draws how many contexts nodes keep.

use super::dice::Dice;
use crate::case::Case;

/// Has nodes keep from two to four contexts, in one run of eight. Each begins with as much as the one of other
/// runs, where that is little.
pub(super) fn draw(dice: &mut Dice, case: &mut Case) {
    /// Entities of one node in all its contexts: more show nothing that fewer do not.
    const ENTITIES: usize = 96;
    if !dice.percent(12) {
        return;
    }
    case.contexts = dice.between(2, 4) as usize;
    if let Some(beginning) = &mut case.scenario {
        beginning.entities = beginning.entities.min(ENTITIES / case.contexts);
    }
}
