//! A naive model of texts (Fugue): a linked list into which runs are inserted in the order of their ids.

use std::collections::BTreeMap;
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

/// The visible text after these edits. Each edit comes with the text that the application inserted, if it is known.
pub(super) fn after<'a>(edits: impl Iterator<Item = (&'a Text, Option<&'a str>)>) -> String {
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
        let gone = deleted
            .get(&place.id.run)
            .is_some_and(|ranges| ranges.iter().any(|(from, to)| (*from..*to).contains(&place.id.at)));
        if !gone {
            shown.push(place.shown);
        }
        at = place.next;
    }
    shown
}
