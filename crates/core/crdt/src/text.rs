//! Text that several people edit at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use syncline_types::Hlc;

/// Names one run of characters: the stamp of the edit that inserted it, and a number among the runs
/// of that edit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RunId {
    /// When it was inserted, and by whom.
    pub stamp: Hlc,
    /// Which of the runs inserted then.
    pub number: u32,
}

/// Names one character: its run, and how far into it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CharId {
    /// The run.
    pub run: RunId,
    /// How many characters of the run come before it.
    pub at: u32,
}

/// On which side of its anchor a run hangs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// Before it.
    Left,
    /// After it.
    Right,
}

/// Characters inserted by one edit. They never change; deletions are kept apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Run {
    /// The characters; never empty.
    pub chars: Arc<str>,
    /// The character it was inserted next to; `None` in an empty text.
    pub anchor: Option<CharId>,
    /// On which side of it.
    pub side: Side,
}

/// Half-open ranges, ascending, neither touching nor overlapping.
type Ranges = Vec<(u32, u32)>;

/// A text as a replicated growable array: every inserted character is kept, a deleted one is marked
/// (CP-13: no insert is lost).
///
/// The order of characters is that of Fugue (Weidner, Kleppmann, "The Art of the Fugue: Minimizing
/// Interleaving in Collaborative Text Editing", 2023): each run is a node of a tree, to the left or
/// the right of the character it was inserted next to. Words that two people type at one place at
/// the same time stay whole. The join is the union of runs and of deletions.
///
/// Cost: a join takes O(log n) for each run of the incoming side; reading, and finding a position
/// for an edit, O(n log n) in all runs ever inserted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Text {
    runs: BTreeMap<RunId, Run>,
    deleted: BTreeMap<RunId, Ranges>,
}

/// An edit beyond the end of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an edit at {at} of a text of {len} characters")]
pub struct OutOfText {
    /// Where.
    pub at: usize,
    /// How long the text is.
    pub len: usize,
}

impl Text {
    /// Rebuilds a text from its parts; the caller vouches that ids ascend, runs are not empty and
    /// ranges are as [`Text::deleted`] gives them.
    pub fn from_parts(
        runs: impl IntoIterator<Item = (RunId, Run)>,
        deleted: impl IntoIterator<Item = (RunId, Vec<(u32, u32)>)>,
    ) -> Self {
        Self { runs: runs.into_iter().collect(), deleted: deleted.into_iter().collect() }
    }

    /// Every run, ascending by id.
    pub fn runs(&self) -> impl ExactSizeIterator<Item = (&RunId, &Run)> {
        self.runs.iter()
    }

    /// What of each run is deleted: half-open ranges, ascending, neither touching nor overlapping.
    pub fn deleted(&self) -> impl ExactSizeIterator<Item = (&RunId, &[(u32, u32)])> {
        self.deleted.iter().map(|(run, ranges)| (run, ranges.as_slice()))
    }

    /// The latest stamp of a run.
    pub fn latest_stamp(&self) -> Hlc {
        self.runs.keys().next_back().map_or(Hlc::ZERO, |run| run.stamp)
    }

    /// All characters in order, deleted ones included, and whether each is there.
    fn order(&self) -> Vec<(CharId, char, bool)> {
        enum Task<'a> {
            Run(RunId, &'a Run),
            Show(CharId, char),
        }
        let mut hanging: BTreeMap<_, Vec<(RunId, &Run)>> = BTreeMap::new();
        for (id, run) in &self.runs {
            hanging.entry((run.anchor, run.side)).or_default().push((*id, run));
        }
        let shown = if syncline_types::canary!(TextShowsOneOfTwo) { 1 } else { usize::MAX };
        let at = |anchor, side| hanging.get(&(anchor, side)).into_iter().flatten().rev().take(shown);
        let mut order = Vec::new();
        // A stack, not recursion: a text typed by two people in turn is a tree as deep as it is long.
        let mut tasks: Vec<Task<'_>> = [Side::Right, Side::Left]
            .into_iter()
            .flat_map(|side| at(None, side).map(|(id, run)| Task::Run(*id, run)))
            .collect();
        while let Some(task) = tasks.pop() {
            match task {
                Task::Show(id, shown) => {
                    order.push((id, shown, !contains(self.deleted.get(&id.run), id.at)));
                }
                Task::Run(id, run) => {
                    let chars: Vec<char> = run.chars.chars().collect();
                    for (n, shown) in (0u32..).zip(chars).collect::<Vec<_>>().into_iter().rev() {
                        let own = CharId { run: id, at: n };
                        tasks.extend(at(Some(own), Side::Right).map(|(id, run)| Task::Run(*id, run)));
                        tasks.push(Task::Show(own, shown));
                        tasks.extend(at(Some(own), Side::Left).map(|(id, run)| Task::Run(*id, run)));
                    }
                }
            }
        }
        order
    }

    /// How many characters it shows.
    pub fn len(&self) -> usize {
        self.order().iter().filter(|(_, _, there)| *there).count()
    }

    /// Whether it shows nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The delta that inserts `chars` before the `at`-th character shown.
    pub fn insert(&self, at: usize, chars: &str, stamp: Hlc) -> Result<Self, OutOfText> {
        let order = self.order();
        let shown: Vec<usize> =
            (0..order.len()).filter(|n| order.get(*n).is_some_and(|(.., t)| *t)).collect();
        if at > shown.len() {
            return Err(OutOfText { at, len: shown.len() });
        }
        if chars.is_empty() {
            return Ok(Self::default());
        }
        let before = at.checked_sub(1).and_then(|n| shown.get(n)).copied();
        let next = order.get(before.map_or(0, |n| n + 1)).map(|(id, ..)| *id);
        let before = before.and_then(|n| order.get(n)).map(|(id, ..)| *id);
        let (anchor, side) = match (before, next) {
            (Some(before), next) if !next.is_some_and(|next| self.is_right_of(next, before)) => {
                (Some(before), Side::Right)
            }
            (_, Some(next)) => (Some(next), Side::Left),
            (_, None) => (None, Side::Right),
        };
        let mut id = RunId { stamp, number: 0 };
        while self.runs.contains_key(&id) {
            id.number += 1;
        }
        Ok(Self {
            runs: BTreeMap::from([(id, Run { chars: chars.into(), anchor, side })]),
            ..Self::default()
        })
    }

    /// Whether `next` hangs, at whatever depth, to the right of `before`.
    fn is_right_of(&self, next: CharId, before: CharId) -> bool {
        let mut at = next;
        loop {
            if at.run == before.run && at.at > before.at {
                return true;
            }
            match self.runs.get(&at.run) {
                Some(Run { anchor: Some(anchor), side, .. }) => {
                    if *anchor == before && at.run != before.run {
                        return *side == Side::Right;
                    }
                    at = *anchor;
                }
                _ => return false,
            }
        }
    }

    /// The delta that deletes `count` characters from the `at`-th shown.
    pub fn delete(&self, at: usize, count: usize) -> Result<Self, OutOfText> {
        let shown: Vec<CharId> = self.order().into_iter().filter(|(.., t)| *t).map(|(id, ..)| id).collect();
        let end = at.saturating_add(count);
        let Some(going) = shown.get(at..end) else {
            return Err(OutOfText { at: end, len: shown.len() });
        };
        Ok(Self::deletion(going.iter().copied()))
    }

    /// The delta that deletes everything shown.
    pub fn clear(&self) -> Self {
        Self::deletion(self.order().into_iter().filter(|(.., there)| *there).map(|(id, ..)| id))
    }

    fn deletion(going: impl Iterator<Item = CharId>) -> Self {
        let mut places: BTreeMap<RunId, Vec<u32>> = BTreeMap::new();
        going.for_each(|id| places.entry(id.run).or_default().push(id.at));
        let ranges = |mut places: Vec<u32>| {
            places.sort_unstable();
            let mut ranges: Ranges = Vec::new();
            for at in places {
                match ranges.last_mut() {
                    Some((_, end)) if *end == at => *end += 1,
                    _ => ranges.push((at, at + 1)),
                }
            }
            ranges
        };
        let deleted = places.into_iter().map(|(run, places)| (run, ranges(places))).collect();
        Self { runs: BTreeMap::new(), deleted }
    }

    /// Joins `other` in. Says whether anything changed.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (id, run) in &other.runs {
            match self.runs.get_mut(id) {
                Some(own) if *own >= *run => {}
                // Only a broken or hostile replica gives two runs one name; the greater one wins.
                Some(own) => {
                    own.clone_from(run);
                    changed = true;
                }
                None => {
                    self.runs.insert(*id, run.clone());
                    changed = true;
                }
            }
        }
        for (run, ranges) in &other.deleted {
            let own = self.deleted.entry(*run).or_default();
            let union = union(own, ranges);
            changed |= union != *own;
            *own = union;
        }
        changed
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String =
            self.order().into_iter().filter(|(.., there)| *there).map(|(_, c, _)| c).collect();
        f.write_str(&shown)
    }
}

fn contains(ranges: Option<&Ranges>, at: u32) -> bool {
    let Some(ranges) = ranges else { return false };
    let after = ranges.partition_point(|(start, _)| *start <= at);
    after.checked_sub(1).and_then(|n| ranges.get(n)).is_some_and(|(_, end)| at < *end)
}

/// Both lists of ranges as one. O(n).
fn union(one: &Ranges, two: &Ranges) -> Ranges {
    let (mut one, mut two) = (one.iter().peekable(), two.iter().peekable());
    let mut all: Ranges = Vec::with_capacity(one.len().max(two.len()));
    loop {
        let next = match (one.peek(), two.peek()) {
            (Some(a), Some(b)) if a.0 <= b.0 => one.next(),
            (Some(_), None) => one.next(),
            (_, Some(_)) => two.next(),
            (None, None) => return all,
        };
        let Some(&(start, end)) = next else { return all };
        match all.last_mut() {
            Some((_, last)) if start <= *last => *last = end.max(*last),
            _ => all.push((start, end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use syncline_types::ReplicaId;

    fn stamp(ms: u64, replica: u64) -> Hlc {
        Hlc::new(ms, 0, ReplicaId::from_u64(replica))
    }

    fn with(text: &Text, delta: &Text) -> Text {
        let mut result = text.clone();
        result.join(delta);
        result
    }

    #[test]
    fn words_typed_at_one_place_at_the_same_time_do_not_interleave() {
        let base = Text::default().insert(0, "[]", stamp(1, 1)).unwrap();
        let (mut alice, mut bob) = (base.clone(), base);
        for (n, (a, b)) in "hello".chars().zip("WORLD".chars()).enumerate() {
            let ms = 2 + n as u64;
            alice = with(&alice, &alice.insert(1 + n, &a.to_string(), stamp(ms, 1)).unwrap());
            bob = with(&bob, &bob.insert(1 + n, &b.to_string(), stamp(ms, 2)).unwrap());
        }
        let merged = with(&alice, &bob);
        assert_eq!(merged, with(&bob, &alice));
        assert!(["[helloWORLD]", "[WORLDhello]"].contains(&merged.to_string().as_str()), "{merged}");
    }

    #[test]
    fn words_typed_backwards_at_one_place_do_not_interleave_either() {
        let (mut alice, mut bob) = (Text::default(), Text::default());
        for (n, (a, b)) in "olleh".chars().zip("DLROW".chars()).enumerate() {
            alice = with(&alice, &alice.insert(0, &a.to_string(), stamp(2 + n as u64, 1)).unwrap());
            bob = with(&bob, &bob.insert(0, &b.to_string(), stamp(2 + n as u64, 2)).unwrap());
        }
        let merged = with(&alice, &bob).to_string();
        assert!(["helloWORLD", "WORLDhello"].contains(&merged.as_str()), "{merged}");
    }

    #[test]
    fn a_deleted_character_stays_deleted_and_inserts_beside_it_are_kept() {
        let base = Text::default().insert(0, "abc", stamp(1, 1)).unwrap();
        let deletion = base.delete(1, 1).unwrap();
        let insertion = base.insert(2, "X", stamp(2, 2)).unwrap();
        let merged = with(&with(&base, &deletion), &insertion);
        assert_eq!(merged.to_string(), "aXc");
        assert_eq!(with(&merged, &base).to_string(), "aXc");
        assert_eq!(with(&insertion, &deletion).to_string(), "", "nothing is shown before its anchor is here");
    }

    proptest! {
        /// Three people edit and now and then exchange all they have. Each edit does to what its
        /// author sees just what it does to a string, and in the end all see the same.
        #[test]
        fn an_edit_does_what_it_does_to_a_string(
            edits in vec((0usize..3, any::<prop::sample::Index>(), "[a-c]{0,3}", 0usize..3, 0usize..12), 1..60),
        ) {
            let mut texts: [Text; 3] = Default::default();
            for (ms, (who, at, chars, going, from)) in edits.into_iter().enumerate() {
                let seen: Vec<char> = texts[who].to_string().chars().collect();
                let at = at.index(seen.len() + 1);
                let going = going.min(seen.len() - at);
                let mut expected = seen;
                let deletion = texts[who].delete(at, going).unwrap();
                expected.drain(at..at + going);
                let text = with(&texts[who], &deletion);
                let insertion = text.insert(at, &chars, stamp(ms as u64 / 4, who as u64)).unwrap();
                expected.splice(at..at, chars.chars());
                texts[who] = with(&text, &insertion);
                prop_assert_eq!(texts[who].to_string(), expected.into_iter().collect::<String>());
                if let Some(other) = texts.get(from).cloned() {
                    texts[who].join(&other);
                }
            }
            let merged = with(&with(&texts[0], &texts[1]), &texts[2]);
            prop_assert_eq!(&merged, &with(&with(&texts[2], &texts[0]), &texts[1]));
            prop_assert_eq!(merged.len(), merged.to_string().chars().count());
        }
    }

    #[test]
    fn an_edit_beyond_the_end_is_refused() {
        let text = Text::default().insert(0, "né", stamp(1, 1)).unwrap();
        assert_eq!(text.insert(3, "x", stamp(2, 1)), Err(OutOfText { at: 3, len: 2 }));
        assert_eq!(text.delete(1, 2), Err(OutOfText { at: 3, len: 2 }));
        assert_eq!(with(&text, &text.delete(1, 1).unwrap()).to_string(), "n");
    }
}
