//! A text, told edit by edit: a list into which each run is put in the order of the stamps.

use std::collections::BTreeMap;
use syncline_crdt::{CharId, RunId, Side, Text};

/// One character of the list, deleted or not.
struct Place {
    id: CharId,
    shown: char,
    next: Option<usize>,
}

/// The list: places in the order of insertion, linked in the order of the text.
#[derive(Default)]
struct List {
    places: Vec<Place>,
    first: Option<usize>,
    last: Option<usize>,
    /// For each place the one before it.
    before: Vec<Option<usize>>,
    /// Where the characters of each run begin in `places`, and what the run hangs on.
    runs: BTreeMap<RunId, (usize, Option<CharId>, Side)>,
}

impl List {
    fn place(&self, id: CharId) -> Option<usize> {
        let (begin, ..) = self.runs.get(&id.run)?;
        let at = begin + id.at as usize;
        (self.places.get(at)?.id == id).then_some(at)
    }

    /// Whether a character hangs, at whatever depth, to the right of `anchor`.
    fn hangs_right_of(&self, character: CharId, anchor: CharId) -> bool {
        let mut run = character.run;
        loop {
            match self.runs.get(&run) {
                Some((_, Some(above), side)) if *above == anchor => return *side == Side::Right,
                Some((_, Some(above), _)) => run = above.run,
                _ => return false,
            }
        }
    }

    /// Puts characters after the place `after`, or first of all.
    fn link(&mut self, run: RunId, mut after: Option<usize>, chars: &str) {
        for (at, shown) in (0u32..).zip(chars.chars()) {
            let new = self.places.len();
            let next = after.map_or(self.first, |place| self.places[place].next);
            self.places.push(Place { id: CharId { run, at }, shown, next });
            self.before.push(after);
            match after {
                Some(place) => self.places[place].next = Some(new),
                None => self.first = Some(new),
            }
            match next {
                Some(next) => self.before[next] = Some(new),
                None => self.last = Some(new),
            }
            after = Some(new);
        }
    }

    /// Puts a run where it belongs among runs of smaller ids. Runs that hang on the same side of the same
    /// character come in the order of their ids, each with all that hangs on it: so this one comes last.
    fn insert(&mut self, run: RunId, anchor: Option<CharId>, side: Side, chars: &str) {
        let begin = self.places.len();
        let place = anchor.and_then(|anchor| Some((self.place(anchor)?, anchor)));
        let after = match (place, side) {
            (None, _) => self.last,
            (Some((place, _)), Side::Left) => self.before[place],
            (Some((place, anchor)), Side::Right) => {
                let mut after = place;
                while let Some(next) = self.places[after].next {
                    if !self.hangs_right_of(self.places[next].id, anchor) {
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

/// What a text shows after these edits; with each, what the application inserted, where that is known.
pub(super) fn after<'a>(edits: impl Iterator<Item = (&'a Text, Option<&'a str>)>) -> String {
    let mut runs = BTreeMap::new();
    let mut deleted: BTreeMap<RunId, Vec<(u32, u32)>> = BTreeMap::new();
    for (edit, inserted) in edits {
        let asked = inserted.filter(|_| edit.runs().len() == 1);
        for (id, run) in edit.runs() {
            runs.insert(*id, (run.anchor, run.side, asked.unwrap_or(&run.chars)));
        }
        for (run, ranges) in edit.deleted() {
            deleted.entry(*run).or_default().extend(ranges);
        }
    }
    let mut list = List::default();
    for (id, (anchor, side, chars)) in runs {
        list.insert(id, anchor, side, chars);
    }
    let mut shown = String::new();
    let mut at = list.first;
    while let Some(place) = at.and_then(|at| list.places.get(at)) {
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
