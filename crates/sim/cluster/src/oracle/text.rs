//! A naive model of texts (Fugue): a linked list into which runs are inserted in the order of their ids.

use std::collections::{BTreeMap, BTreeSet};
use syncline_crdt::{CharId, RunId, Side, Text};

/// One character of the list, deleted or not.
struct CharNode {
    id: CharId,
    shown: char,
    next: Option<usize>,
}

/// The characters in the order of insertion, linked in the order of the text.
#[derive(Default)]
struct CharList {
    nodes: Vec<CharNode>,
    first: Option<usize>,
    last: Option<usize>,
    /// For each node the one before it in the text.
    before: Vec<Option<usize>>,
    /// For each run the index of its first character in `nodes`, its anchor, and the side of the anchor.
    runs: BTreeMap<RunId, (usize, Option<CharId>, Side)>,
}

impl CharList {
    /// The index of a character, if its run was inserted.
    fn index_of(&self, id: CharId) -> Option<usize> {
        let (begin, ..) = self.runs.get(&id.run)?;
        let at = begin + id.at as usize;
        (self.nodes.get(at)?.id == id).then_some(at)
    }

    /// Whether a character is a right descendant of `anchor`, at any depth.
    fn hangs_right_of(&self, character: CharId, anchor: CharId) -> bool {
        let mut run = character.run;
        loop {
            match self.runs.get(&run) {
                // The run hangs directly on the anchor: its side decides.
                Some((_, Some(above), side)) if *above == anchor => return *side == Side::Right,
                // The run hangs on another character: go up to the run of that one.
                Some((_, Some(above), _)) => run = above.run,
                _ => return false,
            }
        }
    }

    /// Links characters after the node `after`, or at the beginning.
    fn link(&mut self, run: RunId, mut after: Option<usize>, chars: &str) {
        for (at, shown) in (0u32..).zip(chars.chars()) {
            let new = self.nodes.len();
            let next = after.map_or(self.first, |place| self.nodes[place].next);
            self.nodes.push(CharNode { id: CharId { run, at }, shown, next });
            self.before.push(after);
            match after {
                Some(place) => self.nodes[place].next = Some(new),
                None => self.first = Some(new),
            }
            match next {
                Some(next) => self.before[next] = Some(new),
                None => self.last = Some(new),
            }
            after = Some(new);
        }
    }

    /// Inserts a run among runs of smaller ids. Runs on the same side of the same anchor are ordered by id, each
    /// followed by its descendants, so the new run comes last among its siblings.
    fn insert(&mut self, run: RunId, anchor: Option<CharId>, side: Side, chars: &str) {
        assert!(!self.runs.contains_key(&run), "each run is inserted once");
        let begin = self.nodes.len();
        let place = anchor.and_then(|anchor| Some((self.index_of(anchor)?, anchor)));
        let after = match (place, side) {
            // A run without an anchor, or whose anchor no edit has, hangs on the end of the text.
            (None, _) => self.last,
            (Some((place, _)), Side::Left) => self.before[place],
            (Some((place, anchor)), Side::Right) => {
                // All right descendants of the anchor belong to siblings with smaller ids, so the run
                // goes after the last of them.
                let mut after = place;
                while let Some(next) = self.nodes[after].next {
                    if !self.hangs_right_of(self.nodes[next].id, anchor) {
                        break;
                    }
                    after = next;
                }
                Some(after)
            }
        };
        self.runs.insert(run, (begin, anchor, side));
        self.link(run, after, chars);
    }
}

/// The visible text after these edits, of which the runs in `cleared` are gone. Each edit comes with the text that the
/// application inserted, if it is known.
pub(super) fn after<'a>(
    edits: impl Iterator<Item = (&'a Text, Option<&'a str>)>,
    cleared: &BTreeSet<RunId>,
) -> String {
    let mut runs = BTreeMap::new();
    let mut deleted: BTreeMap<RunId, Vec<(u32, u32)>> = BTreeMap::new();
    for (edit, inserted) in edits {
        // An operation inserts one run. Only then is the text that the application asked for that of the
        // run.
        let asked = inserted.filter(|_| edit.runs().len() == 1);
        for (id, run) in edit.runs() {
            runs.insert(*id, (run.anchor, run.side, asked.unwrap_or(&run.chars)));
        }
        for (run, ranges) in edit.deleted() {
            deleted.entry(*run).or_default().extend(ranges);
        }
    }
    let mut list = CharList::default();
    // Ascending by id, so that each run is inserted after its anchor and its smaller siblings.
    for (id, (anchor, side, chars)) in runs {
        list.insert(id, anchor, side, chars);
    }
    let mut shown = String::new();
    let mut at = list.first;
    while let Some(place) = at.and_then(|at| list.nodes.get(at)) {
        if !is_in(deleted.get(&place.id.run), place.id.at) && !cleared.contains(&place.id.run) {
            shown.push(place.shown);
        }
        at = place.next;
    }
    shown
}

fn is_in(ranges: Option<&Vec<(u32, u32)>>, at: u32) -> bool {
    ranges.is_some_and(|ranges| ranges.iter().any(|(from, to)| (*from..*to).contains(&at)))
}

/// A text with more runs is not checked character by character.
const MOST_RUNS: usize = 256;

impl CharList {
    /// All characters of a text in their order; `None` if it has very many runs, or one whose anchor has not arrived: a
    /// writer may have got the anchor in a record, and name no delta that has it. O(characters · depth).
    fn of(text: &Text) -> Option<Self> {
        let mut list = Self::default();
        for (id, run) in text.runs().take(MOST_RUNS) {
            if run.anchor.is_some_and(|anchor| list.index_of(anchor).is_none()) {
                return None;
            }
            list.insert(*id, run.anchor, run.side, &run.chars);
        }
        (text.runs().len() <= MOST_RUNS).then_some(list)
    }
}

/// The deleted characters of a text.
struct Deleted<'a>(BTreeMap<RunId, &'a [(u32, u32)]>);

impl<'a> Deleted<'a> {
    fn of(text: &'a Text) -> Self {
        Self(text.deleted().map(|(run, ranges)| (*run, ranges)).collect())
    }

    fn contains(&self, id: CharId) -> bool {
        let ranges = self.0.get(&id.run).copied().unwrap_or_default();
        ranges.iter().any(|(from, to)| (*from..*to).contains(&id.at))
    }
}

/// Whether a deleted character lies between the run that `edit` has inserted into `text` and the visible character
/// before it. `None` if the edit inserts nothing, or the text is long. O(characters · depth).
pub(crate) fn is_behind_deleted(text: &Text, edit: &Text) -> Option<bool> {
    let (inserted, _) = edit.runs().next()?;
    if text.deleted().len() == 0 {
        return Some(false);
    }
    let list = CharList::of(text)?;
    let (begin, ..) = *list.runs.get(inserted)?;
    let before = list.before.get(begin).copied().flatten().and_then(|place| list.nodes.get(place));
    Some(before.is_some_and(|before| Deleted::of(text).contains(before.id)))
}

/// Whether `edit` has deleted the `count` characters of `text` that were visible from the `at`-th on. `None` if the text
/// is long. O(characters · depth).
pub(crate) fn has_deleted_range(text: &Text, edit: &Text, at: usize, count: usize) -> Option<bool> {
    let list = CharList::of(text)?;
    let gone = Deleted::of(text);
    let now = Deleted::of(edit);
    let mut before = 0;
    let mut deleted = 0;
    let mut inside = false;
    let mut next = list.first;
    while let Some(node) = next.and_then(|place| list.nodes.get(place)) {
        if now.contains(node.id) {
            deleted += 1;
        } else if !gone.contains(node.id) {
            // What is still visible is before all that was deleted, or behind.
            before += usize::from(deleted == 0);
            inside |= deleted > 0 && deleted < count;
        }
        next = node.next;
    }
    Some(before == at && deleted == count && !inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_types::{Hlc, ReplicaId};

    fn stamp(ms: u64) -> Hlc {
        Hlc::new(ms, 0, ReplicaId::from_u64(1))
    }

    fn with(text: &Text, delta: &Text) -> Text {
        let mut result = text.clone();
        result.join(delta);
        result
    }

    #[test]
    fn insertion_stands_before_deleted_characters() {
        let text = Text::default().insert(0, "axc", stamp(1)).unwrap();
        let text = with(&text, &text.delete(1, 1).unwrap());
        let edit = text.insert(1, "new", stamp(2)).unwrap();
        assert_eq!(is_behind_deleted(&with(&text, &edit), &edit), Some(false));
        // The same insertion as a left child of the next visible character.
        let run = RunId { stamp: stamp(2), number: 0 };
        let (_, inserted) = edit.runs().next().unwrap();
        let (first, _) = text.runs().next().unwrap();
        let mut behind = inserted.clone();
        behind.anchor = Some(CharId { run: *first, at: 2 });
        behind.side = Side::Left;
        let edit = Text::from_parts([(run, behind)], []);
        let shown = with(&text, &edit);
        assert_eq!(shown.to_string(), "anewc");
        assert_eq!(is_behind_deleted(&shown, &edit), Some(true));
    }

    #[test]
    fn deleted_range_is_found_in_its_order() {
        let text = Text::default().insert(0, "abcd", stamp(1)).unwrap();
        let text = with(&text, &text.insert(2, "new", stamp(2)).unwrap());
        let edit = text.delete(1, 3).unwrap();
        let after = with(&text, &edit);
        assert_eq!(has_deleted_range(&after, &edit, 1, 3), Some(true));
        assert_eq!(has_deleted_range(&after, &edit, 2, 3), Some(false));
        assert_eq!(has_deleted_range(&after, &edit, 1, 2), Some(false));
        // Its run is not shown before the run that it hangs on.
        let orphan = Text::default().insert(0, "a", stamp(1)).unwrap().insert(1, "b", stamp(2)).unwrap();
        assert_eq!(has_deleted_range(&orphan, &edit, 1, 3), None);
        // Two characters with a visible one between.
        let edit = with(&text.delete(1, 1).unwrap(), &text.delete(3, 1).unwrap());
        assert_eq!(has_deleted_range(&with(&text, &edit), &edit, 1, 2), Some(false));
    }

    #[test]
    fn cleared_runs_are_gone() {
        let first = Text::default().insert(0, "old", stamp(1)).unwrap();
        let second = first.insert(0, "new", stamp(2)).unwrap();
        let edits = || [&first, &second].into_iter().map(|edit| (edit, None));
        assert_eq!(after(edits(), &BTreeSet::new()), "newold");
        let cleared = BTreeSet::from([RunId { stamp: stamp(1), number: 0 }]);
        assert_eq!(after(edits(), &cleared), "new");
    }
}
