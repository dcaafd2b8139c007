//! A text for collaborative editing.
//!
//! # The semilattice
//!
//! A text is the product of two semilattices, and a product of semilattices is one:
//!
//! - the runs: a grow-only map. Its join is the union of the keys; of two runs under one key the
//!   greater wins. Union and the maximum of a total order are idempotent, commutative and associative.
//! - the deletions: a grow-only set of characters. Its join is the union. A deletion whose run has not
//!   arrived yet is retained, because commutativity requires that "delete, then insert" ends as
//!   "insert, then delete" does.
//!
//! Equal sets must be equal values, or `changed` and idempotence would depend on how a set is cut into
//! ranges. Therefore ranges have a normal form: ascending, not empty, and neither overlapping nor
//! adjacent.
//!
//! The order of the characters is no part of the state. It is a function of the runs alone, so that
//! equal states show equal texts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use syncline_types::Hlc;

/// The id of a run of characters: the stamp of the edit that inserted it, and its number among the runs of
/// that edit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RunId {
    /// The stamp of the edit, which includes its author.
    pub stamp: Hlc,
    /// The number of the run among those with the same stamp, from zero.
    pub number: u32,
}

/// The id of a character: its run, and its index in the run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CharId {
    /// The run that contains the character.
    pub run: RunId,
    /// The index of the character in its run, counted in characters from zero.
    pub at: u32,
}

/// The side of its anchor on which a run is a child.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// The run comes before its anchor.
    Left,
    /// The run comes after its anchor.
    Right,
}

/// The characters that one edit inserted. They are immutable; deletions are stored separately.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TextRun {
    /// The characters; never empty.
    pub chars: Arc<str>,
    /// The parent in the tree: the character next to which the run was inserted. `None` in an empty text.
    pub anchor: Option<CharId>,
    /// The side of the anchor on which the run is a child.
    pub side: Side,
}

/// A set of character indices in its normal form: half-open ranges, ascending, not empty, neither
/// overlapping nor adjacent.
type Ranges = Vec<(u32, u32)>;

/// A text. Every inserted character is retained, and a deleted one is marked by a tombstone (CP-13: no insert
/// is lost).
///
/// The order of the characters is that of Fugue (Weidner, Kleppmann, "The Art of the Fugue: Minimizing
/// Interleaving in Collaborative Text Editing", 2023): a tree in which each run is a left or a right child of
/// the character next to which it was inserted, read in order. Words that two people type concurrently at one
/// position do not interleave.
///
/// A join takes O(m log n) for m incoming runs. To read the text, or to find the anchor of an edit, takes
/// O(n log n) in all runs and characters ever inserted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Text {
    runs: BTreeMap<RunId, TextRun>,
    /// Tombstones, also of runs that have not arrived. No entry is empty.
    deleted: BTreeMap<RunId, Ranges>,
}

/// An edit beyond the end of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an edit at {at} of a text of {len} characters")]
pub struct OutOfText {
    /// The position of the edit, in visible characters from zero.
    pub at: usize,
    /// The length of the text, in visible characters.
    pub len: usize,
}

impl Text {
    /// Rebuilds a text from its parts. Runs must not be empty, and ranges must be in the normal form of
    /// [`Text::deleted`]; a decoder rejects other input before it gets here.
    pub fn from_parts(
        runs: impl IntoIterator<Item = (RunId, TextRun)>,
        deleted: impl IntoIterator<Item = (RunId, Vec<(u32, u32)>)>,
    ) -> Self {
        Self { runs: runs.into_iter().collect(), deleted: deleted.into_iter().collect() }
    }

    /// All runs, ascending by id.
    pub fn runs(&self) -> impl ExactSizeIterator<Item = (&RunId, &TextRun)> {
        self.runs.iter()
    }

    /// The deleted characters of each run: half-open ranges of indices, ascending, not empty, neither
    /// overlapping nor adjacent.
    pub fn deleted(&self) -> impl ExactSizeIterator<Item = (&RunId, &[(u32, u32)])> {
        self.deleted.iter().map(|(run, ranges)| (run, ranges.as_slice()))
    }

    /// The greatest stamp of a run; [`Hlc::ZERO`] if there is none.
    pub fn latest_stamp(&self) -> Hlc {
        self.runs.keys().next_back().map_or(Hlc::ZERO, |run| run.stamp)
    }

    /// All characters in the order of the tree, with tombstones. The flag says whether the character is
    /// visible.
    ///
    /// A run whose anchor has not arrived, or whose anchors form a cycle that an adversary made, is not
    /// reachable from the root and does not appear.
    fn order(&self) -> Vec<(CharId, char, bool)> {
        enum TraversalStep<'a> {
            Descend(RunId, &'a TextRun),
            Emit(CharId, char, bool),
        }
        // Siblings are ascending by id, because the runs are visited in that order.
        let mut children: BTreeMap<_, Vec<(RunId, &TextRun)>> = BTreeMap::new();
        for (id, run) in &self.runs {
            children.entry((run.anchor, run.side)).or_default().push((*id, run));
        }
        if syncline_types::canary!(TextShowsOneOfTwo) {
            children.values_mut().for_each(|runs| drop(runs.drain(..runs.len().saturating_sub(1))));
        }
        // An explicit stack instead of recursion: a text that two people type in turn is a tree as deep
        // as the text is long. The stack reverses, so that everything is pushed last to first.
        fn descend<'a>(runs: &[(RunId, &'a TextRun)]) -> impl Iterator<Item = TraversalStep<'a>> {
            runs.iter().rev().map(|(id, run)| TraversalStep::Descend(*id, run))
        }
        let mut order = Vec::new();
        let mut steps: Vec<TraversalStep<'_>> = Vec::new();
        for side in [Side::Right, Side::Left] {
            steps.extend(children.get(&(None, side)).into_iter().flat_map(|runs| descend(runs)));
        }
        while let Some(step) = steps.pop() {
            match step {
                TraversalStep::Emit(id, char, is_visible) => order.push((id, char, is_visible)),
                TraversalStep::Descend(id, run) => {
                    // In order: left children, the character, right children. The next character of the
                    // run stands for the last right child, and follows.
                    let deleted = self.deleted.get(&id);
                    let [first, last] = [0, u32::MAX].map(|at| Some(CharId { run: id, at }));
                    // The children of the characters, in the order in which the characters come: last to first.
                    let mut children =
                        children.range((first, Side::Left)..=(last, Side::Right)).rev().peekable();
                    let length = run.chars.chars().count() as u32;
                    for (at, char) in (0..length).rev().zip(run.chars.chars().rev()) {
                        let own = CharId { run: id, at };
                        // A run whose anchor is beyond the end of this one is not reachable.
                        while children.next_if(|((anchor, _), _)| *anchor > Some(own)).is_some() {}
                        if let Some((_, runs)) =
                            children.next_if(|(place, _)| **place == (Some(own), Side::Right))
                        {
                            steps.extend(descend(runs));
                        }
                        steps.push(TraversalStep::Emit(own, char, !contains(deleted, at)));
                        if let Some((_, runs)) =
                            children.next_if(|(place, _)| **place == (Some(own), Side::Left))
                        {
                            steps.extend(descend(runs));
                        }
                    }
                }
            }
        }
        debug_assert!(
            order.len() <= self.runs.values().map(|run| run.chars.chars().count()).sum(),
            "each run has one parent, so that each character appears at most once"
        );
        order
    }

    /// The number of visible characters.
    pub fn len(&self) -> usize {
        self.order().iter().filter(|(.., visible)| *visible).count()
    }

    /// Whether no character is visible.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the delta that inserts `chars` before the `at`-th visible character.
    ///
    /// The insertion rule of Fugue, with the visible character before the insertion as the left origin
    /// and the next character in the order, tombstones included, as the right origin:
    ///
    /// | left origin | right origin | the new run becomes | reason |
    /// |---|---|---|---|
    /// | exists | none, or no right descendant of the left origin | right child of the left origin | nothing lies to the right of the left origin yet |
    /// | exists | right descendant of the left origin | left child of the right origin | siblings are ordered by id: another right child might come after the right origin. The right origin has no left child, or that child would be next |
    /// | none | exists | left child of the right origin | the text begins with the right origin |
    /// | none | none | right child of the root | the text is empty |
    ///
    /// Non-interleaving: a person who types forward makes each character a right descendant of the one
    /// before, and a person who types backward a left descendant of the one after. Either way a
    /// concurrent insertion at the same position becomes a sibling of the whole subtree, and a subtree
    /// is contiguous in the order.
    pub fn insert(&self, at: usize, chars: &str, stamp: Hlc) -> Result<Self, OutOfText> {
        let order = self.order();
        let visible: Vec<usize> =
            order.iter().enumerate().filter(|(_, (.., visible))| *visible).map(|(n, _)| n).collect();
        if at > visible.len() {
            return Err(OutOfText { at, len: visible.len() });
        }
        if chars.is_empty() {
            return Ok(Self::default());
        }
        let before = at.checked_sub(1).and_then(|n| visible.get(n)).copied();
        // The right origin may be a tombstone: a concurrent insertion next to it is not known here, and
        // the two must not interleave.
        let right_origin = order.get(before.map_or(0, |n| n + 1)).map(|(id, ..)| *id);
        let left_origin = before.and_then(|n| order.get(n)).map(|(id, ..)| *id);
        let (anchor, side) = match (left_origin, right_origin) {
            (Some(left), right) if !right.is_some_and(|right| self.is_right_of(right, left)) => {
                (Some(left), Side::Right)
            }
            (_, Some(right)) => (Some(right), Side::Left),
            (_, None) => (None, Side::Right),
        };
        // One operation may insert several runs under one stamp.
        let mut id = RunId { stamp, number: 0 };
        while self.runs.contains_key(&id) {
            id.number += 1;
        }
        debug_assert!(
            anchor.is_none_or(|anchor| self.runs.contains_key(&anchor.run)),
            "the anchor of a new run exists, so that no edit makes a cycle of anchors"
        );
        Ok(Self {
            runs: BTreeMap::from([(id, TextRun { chars: chars.into(), anchor, side })]),
            ..Self::default()
        })
    }

    /// Whether `next` is a right descendant of `before`, at any depth. Later characters of a run count
    /// as right descendants of the earlier ones.
    ///
    /// `next` must come from [`Text::order`]: then it is reachable from the root, its chain of anchors
    /// ends there, and the loop terminates.
    fn is_right_of(&self, next: CharId, before: CharId) -> bool {
        let mut at = next;
        loop {
            if at.run == before.run && at.at > before.at {
                return true;
            }
            match self.runs.get(&at.run) {
                Some(TextRun { anchor: Some(anchor), side, .. }) => {
                    // Only a cycle, which is not reachable, has its anchor in its own run.
                    if *anchor == before && at.run != before.run {
                        return *side == Side::Right;
                    }
                    at = *anchor;
                }
                _ => return false,
            }
        }
    }

    /// Returns the delta that deletes `count` visible characters from the `at`-th on.
    pub fn delete(&self, at: usize, count: usize) -> Result<Self, OutOfText> {
        let visible: Vec<CharId> = self.visible().map(|(id, _)| id).collect();
        let end = at.saturating_add(count);
        let Some(deleted) = visible.get(at..end) else {
            return Err(OutOfText { at: end, len: visible.len() });
        };
        Ok(Self::deletion(deleted.iter().copied()))
    }

    /// Returns the delta that deletes all visible characters. Characters inserted concurrently remain.
    pub fn clear(&self) -> Self {
        Self::deletion(self.visible().map(|(id, _)| id))
    }

    /// The visible characters in order.
    fn visible(&self) -> impl Iterator<Item = (CharId, char)> {
        self.order().into_iter().filter(|(.., visible)| *visible).map(|(id, char, _)| (id, char))
    }

    /// The delta that deletes these characters, each given once.
    fn deletion(deleted: impl Iterator<Item = CharId>) -> Self {
        let mut indices: BTreeMap<RunId, Vec<u32>> = BTreeMap::new();
        deleted.for_each(|id| indices.entry(id.run).or_default().push(id.at));
        let ranges = |mut indices: Vec<u32>| {
            // A run is not in the order of its indices if other runs lie between its characters.
            indices.sort_unstable();
            let mut ranges: Ranges = Vec::new();
            for at in indices {
                match ranges.last_mut() {
                    Some((_, end)) if *end == at => *end += 1,
                    _ => ranges.push((at, at + 1)),
                }
            }
            debug_assert!(is_normal(&ranges), "ranges of a deletion are in normal form");
            ranges
        };
        let deleted = indices.into_iter().map(|(run, indices)| (run, ranges(indices))).collect();
        Self { runs: BTreeMap::new(), deleted }
    }

    /// Replaces `self` by the least upper bound of both. Returns whether `self` changed.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (id, run) in &other.runs {
            match self.runs.get_mut(id) {
                Some(own) if *own >= *run => {}
                // Only a broken or hostile replica gives two runs one id. The greater run wins, because
                // a join that retained the first arrival would not be commutative.
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
            // The normal form is unique: different ranges are different sets.
            changed |= union != *own;
            *own = union;
        }
        changed
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.visible().map(|(_, char)| char).collect::<String>())
    }
}

/// Whether `at` lies in one of `ranges`. O(log n).
fn contains(ranges: Option<&Ranges>, at: u32) -> bool {
    let Some(ranges) = ranges else { return false };
    // Ranges do not overlap: only the last one that starts at or before `at` can contain it.
    let after = ranges.partition_point(|(start, _)| *start <= at);
    after.checked_sub(1).and_then(|n| ranges.get(n)).is_some_and(|(_, end)| at < *end)
}

/// Whether `ranges` are in normal form: ascending, not empty, neither overlapping nor adjacent. O(n).
fn is_normal(ranges: &Ranges) -> bool {
    let starts = ranges.iter().skip(1).map(|(start, _)| start);
    ranges.iter().all(|(start, end)| start < end)
        && ranges.iter().zip(starts).all(|((_, end), next)| end < next)
}

/// The union of two sets in normal form, in normal form: a merge of two sorted lists. O(n).
fn union(one: &Ranges, two: &Ranges) -> Ranges {
    let mut all: Ranges = Vec::with_capacity(one.len().max(two.len()));
    let mut one_rest = one.iter().peekable();
    let mut two_rest = two.iter().peekable();
    loop {
        let next = match (one_rest.peek(), two_rest.peek()) {
            (Some(a), Some(b)) if a.0 <= b.0 => one_rest.next(),
            (Some(_), None) => one_rest.next(),
            (_, Some(_)) => two_rest.next(),
            (None, None) => None,
        };
        let Some(&(start, end)) = next else { break };
        match all.last_mut() {
            // Adjacent ranges are merged too, or the set would have two forms.
            Some((_, last)) if start <= *last => *last = end.max(*last),
            _ => all.push((start, end)),
        }
    }
    debug_assert!(
        is_normal(&all) || !is_normal(one) || !is_normal(two),
        "the union of sets in normal form is in normal form"
    );
    all
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
    fn concurrent_forward_typing_does_not_interleave() {
        let base = Text::default().insert(0, "[]", stamp(1, 1)).unwrap();
        let mut alice = base.clone();
        let mut bob = base;
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
    fn concurrent_backward_typing_does_not_interleave() {
        let mut alice = Text::default();
        let mut bob = Text::default();
        for (n, (a, b)) in "olleh".chars().zip("DLROW".chars()).enumerate() {
            alice = with(&alice, &alice.insert(0, &a.to_string(), stamp(2 + n as u64, 1)).unwrap());
            bob = with(&bob, &bob.insert(0, &b.to_string(), stamp(2 + n as u64, 2)).unwrap());
        }
        let merged = with(&alice, &bob).to_string();
        assert!(["helloWORLD", "WORLDhello"].contains(&merged.as_str()), "{merged}");
    }

    #[test]
    fn deletion_retains_concurrent_neighbouring_inserts() {
        let base = Text::default().insert(0, "abc", stamp(1, 1)).unwrap();
        let deletion = base.delete(1, 1).unwrap();
        let insertion = base.insert(2, "X", stamp(2, 2)).unwrap();
        let merged = with(&with(&base, &deletion), &insertion);
        assert_eq!(merged.to_string(), "aXc");
        assert_eq!(with(&merged, &base).to_string(), "aXc");
        assert_eq!(
            with(&insertion, &deletion).to_string(),
            "",
            "a run is not visible before its anchor arrives"
        );
    }

    proptest! {
        /// Three replicas edit and sometimes join the state of another. Each edit has the same effect
        /// on the visible text of its author as on a string, and in the end all replicas converge.
        #[test]
        fn edits_match_those_of_string(
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
    fn rejects_edits_beyond_end() {
        let text = Text::default().insert(0, "né", stamp(1, 1)).unwrap();
        assert_eq!(text.insert(3, "x", stamp(2, 1)), Err(OutOfText { at: 3, len: 2 }));
        assert_eq!(text.delete(1, 2), Err(OutOfText { at: 3, len: 2 }));
        assert_eq!(with(&text, &text.delete(1, 1).unwrap()).to_string(), "n");
    }
}
