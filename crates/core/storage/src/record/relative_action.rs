//! Actions as deltas carry them: with the end of a long path only.

use super::{Action, Record};
use crate::error::Malformed;
use syncline_types::{Decode, DecodeError, Encode, EntityId, Reader, Writer, limits};

/// An action whose path may begin at an *anchor* below the root.
///
/// The path of an action places ancestors that a state lacks. A state to which a delta is applied has all that the
/// author's state had, so the delta need not repeat the path down to an entity that was there. Without this, a write of
/// a few bytes at depth 2,000 would take 64 kB in every log and on every link.
///
/// The state must have the anchor, at its depth here or a smaller one; [`Interface::has_anchors`] tells. The last
/// [`RelativeAction::NAMED`] ancestors are always named, so that a path of that length has no anchor and can be applied
/// anywhere.
///
/// [`Interface::has_anchors`]: crate::Interface::has_anchors
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelativeAction {
    /// The number of ancestors above the first one that `action` names, which is the anchor. Zero if `action` has the
    /// whole path.
    pub above: u32,
    /// The action, with the end of its path.
    pub action: Action,
}

impl RelativeAction {
    /// How many ancestors an author names at least, if there are as many: half a kilobyte.
    pub const NAMED: usize = 16;

    /// The named ancestors and the entity itself, from the top down, each with its depth.
    pub(crate) fn places(&self) -> impl Iterator<Item = (EntityId, u32)> {
        self.action.entities().zip(self.above.saturating_add(1)..)
    }

    /// The anchor, and its depth; `None` if the action has the whole path.
    pub(crate) fn anchor(&self) -> Option<(EntityId, u32)> {
        let anchor = self.action.ancestors().first().filter(|_| self.above > 0);
        anchor.map(|id| (*id, self.above.saturating_add(1)))
    }

    /// The action with these ancestors above the ones that it names.
    pub fn below(&self, above: &[EntityId]) -> Action {
        self.action.clone().below(above)
    }

    /// The record whose join applies the action.
    ///
    /// # Errors
    /// The rule that the action breaks.
    pub fn to_record(&self) -> Result<Record, Malformed> {
        let mut record = self.action.to_record()?;
        let id = self.action.id();
        if self.above == 0 {
            return Ok(record);
        }
        let depth = u64::from(self.above) + u64::from(record.depth);
        if depth > limits::MAX_ANCESTORS as u64 {
            return Err(Malformed::TooDeep { id, depth });
        }
        // Nothing is above the root, and an action without a named ancestor has no anchor.
        if record.depth < 2 {
            return Err(Malformed::Path { id });
        }
        record.depth += self.above;
        Ok(record)
    }
}

/// An action with its whole path.
impl From<Action> for RelativeAction {
    fn from(action: Action) -> Self {
        Self { above: 0, action }
    }
}

impl Encode for RelativeAction {
    fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.above));
        self.action.encode(out);
    }
}

impl Decode for RelativeAction {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let found = input.varint()?;
        let limit = limits::MAX_ANCESTORS as u64;
        let above = u32::try_from(found).ok().filter(|above| u64::from(*above) <= limit);
        let what = "the ancestors above an anchor";
        let above = above.ok_or(DecodeError::TooLarge { what, found, limit })?;
        Ok(Self { above, action: Action::decode(input)? })
    }
}
