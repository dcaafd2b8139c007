//! Positions in a list: byte strings whose lexicographic order is the order of the list.
//!
//! A position is a path from the root of a Fugue tree (Weidner, Kleppmann, "The Art of the Fugue: Minimizing
//! Interleaving in Collaborative Text Editing", 2023; as strings: Weidner, "Fugue: A Basic List CRDT", 2022).
//! Elements that one replica inserts one after another form a *run*. A run is a left or a right child of an
//! element of another run, or is at the top. Each step of the path has three parts:
//!
//! | bytes | meaning |
//! |---|---|
//! | 24 | the id of the run: the [`Hlc::time`] of its first insertion, big endian, and its replica |
//! | 1 to 9 | the number of the element in the run, in an order-preserving encoding; a run grows from zero in both directions |
//! | 1 | the direction: 0 continues into a left child, 1 ends here, 2 continues into a right child |
//!
//! The length of a step follows from its own bytes. So no step is a prefix of another one, and the
//! first step that differs decides the order of two positions.
//!
//! An element appended to the list starts a run at the top, so that replicas that append in turn do not
//! make ever longer paths.

use syncline_types::{Hlc, ReplicaId};

const LEFT: u8 = 0;
const HERE: u8 = 1;
const RIGHT: u8 = 2;
/// The size of the id of a run, in bytes.
const RUN: usize = 24;

/// The id of a run whose first element is inserted at `stamp`.
fn run(stamp: Hlc) -> [u8; RUN] {
    let mut bytes = [0; RUN];
    let (time, replica) = bytes.split_at_mut(8);
    time.copy_from_slice(&stamp.time().to_be_bytes());
    replica.copy_from_slice(stamp.replica().as_bytes());
    bytes
}

/// The greatest absolute value of a number that takes one byte. A number further from zero takes its
/// significant bytes after a byte with their count and the sign: the more bytes, the further from zero.
const NEAR: i64 = 60;

/// Appends the encoding of `number`. The encodings have the order of the numbers, and none is a prefix of
/// another.
fn push_number(out: &mut Vec<u8>, number: i64) {
    if (-NEAR..=NEAR).contains(&number) {
        out.push((128 + number) as u8);
        return;
    }
    let bytes = number.to_be_bytes();
    // Leading bytes that only repeat the sign carry no information; the length byte has the sign.
    let sign = if number < 0 { 0xff } else { 0 };
    let skip = bytes.iter().take(7).take_while(|byte| **byte == sign).count();
    let len = (8 - skip) as i64;
    debug_assert!((1..=8).contains(&len), "the length byte is outside of the range of numbers near zero");
    out.push((128 + if number < 0 { -NEAR - len } else { NEAR + len }) as u8);
    out.extend(bytes.iter().skip(skip));
}

/// Reads the number whose length byte is `first`.
fn read_number(first: u8, digits: &[u8]) -> i64 {
    let sign = if i64::from(first) < 128 { -1 } else { 0 };
    digits.iter().fold(sign, |number, digit| number << 8 | i64::from(*digit))
}

/// The last step of a position: the offset of its number, the number, and the replica of its run.
/// `None` if the bytes are not a position.
fn last_step(position: &[u8]) -> Option<(usize, i64, ReplicaId)> {
    let mut at = 0;
    loop {
        let replica = ReplicaId(position.get(at + 8..at + RUN)?.try_into().ok()?);
        let number_at = at + RUN;
        let first = *position.get(number_at)?;
        // How many bytes follow the first one; not positive if the number is in the first byte itself.
        let len = (i64::from(first) - 128).abs() - NEAR;
        if len > 8 {
            return None;
        }
        let digits = position.get(number_at + 1..number_at + 1 + len.max(0) as usize)?;
        let number = if len <= 0 { i64::from(first) - 128 } else { read_number(first, digits) };
        // The direction follows the number, and the next step follows the direction.
        at = number_at + 2 + digits.len();
        match *position.get(at - 1)? {
            HERE => return (at == position.len()).then_some((number_at, number, replica)),
            LEFT | RIGHT => {}
            _ => return None,
        }
    }
}

/// Whether `bytes` are a position. O(bytes).
pub fn is_position(bytes: &[u8]) -> bool {
    last_step(bytes).is_some()
}

/// Returns a new position between two visible neighbours, for an element inserted at `stamp`. `left`
/// must be less than `right`; `None` stands for the start or the end of the list. `taken` says whether
/// a position is or was in use, so that no position is used twice. The result is `None` if a neighbour
/// is not a position, which only an adversary makes.
///
/// # Cases
///
/// Write `L` and `R` for the neighbours, and `stem(P)` for the position `P` without its last byte, which is
/// `HERE`. The first case that applies is taken:
///
/// | | condition | new position | in the Fugue tree |
/// |---|---|---|---|
/// | 1 | `L` is in a run of ours, its next number is free and before `R` | next number in the run of `L` | right child of `L`, stored as part of the run |
/// | 2 | `R` is in a run of ours, the number before it is free and after `L` | previous number in the run of `R` | left child of `R`, stored as part of the run |
/// | 3 | no `R`, and the new run id is greater than `L` | new run at the top | right child of the root |
/// | 4 | `L`, and `R` is no right descendant of `L` or does not exist | `stem(L)` `RIGHT` new run | right child of `L` |
/// | 5 | `R` is a right descendant of `L`, or there is no `L` | `stem(R)` `LEFT` new run | left child of `R` |
/// | 6 | neither `L` nor `R` | new run at the top | right child of the root |
///
/// Cases 4 and 5 are the insertion rule of the paper ("right child of the left origin, unless that has a
/// right descendant; then left child of the right origin"). Cases 1 and 2 are the same rule for a replica
/// that continues to type: a chain of children is stored as consecutive numbers. Case 3 is a shortcut for
/// appending.
///
/// # Why each case keeps the order
///
/// Cases 1 and 2 compare the candidate with both neighbours. The others prove it:
///
/// 3. `L` is longer than a run id, so that it is less than the id only if it differs within it. What
///    follows the id does not matter then.
/// 4. `stem(L) RIGHT` is greater than `stem(L) HERE`, which is `L`. `R` is greater than `L` and does
///    not begin with `stem(L)`, so that it differs from `stem(L)` within the stem, and is greater than
///    all that begins with it.
/// 5. `stem(R) LEFT` is less than `stem(R) HERE`, which is `R`. Without `L` that is all. With `L`, `R`
///    begins with `stem(L)` and is greater than `L`, so that it begins with `stem(L) RIGHT`; so does
///    the new position, which therefore is greater than `L` too.
/// 6. There is nothing to be compared with.
///
/// # Why concurrent insertions do not interleave
///
/// All positions with a common prefix are contiguous in lexicographic order. So all descendants of an
/// element on one side are contiguous, and a run is interrupted only by descendants of its own
/// elements.
///
/// Say two replicas insert several elements each at one position concurrently. Each puts its elements
/// into one run: a new one, or its own run that ends there, continued by cases 1 and 2. What one of
/// them inserts descends from elements that both knew, and never from an element that the other is
/// inserting. So it is not between two of the other's elements: one sequence is wholly before the
/// other, whether they were inserted forward or backward. Which is first follows from the positions
/// alone, and is the same on all replicas.
///
/// The paper takes the right origin among all elements, deleted ones included; here the neighbours are
/// the visible ones, because a list whose tombstones were collected has no others. The proof of the
/// order uses only `L < R` and so is not affected.
pub fn between(
    left: Option<&[u8]>,
    right: Option<&[u8]>,
    stamp: Hlc,
    mut taken: impl FnMut(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    let stem = |position: &[u8]| position.split_last().map_or_else(Vec::new, |(_, stem)| stem.to_vec());
    let fits = |new: &[u8]| left.is_none_or(|left| left < new) && right.is_none_or(|right| new < right);
    let ordered = left.zip(right).is_none_or(|(left, right)| left < right);
    // Cases 1 and 2: continue the run of the neighbour if its replica is ours.
    let mut continue_run = |neighbour: Option<&[u8]>, step: i64| {
        let (number_at, number, replica) = last_step(neighbour?)?;
        let mut next = neighbour?.get(..number_at).filter(|_| replica == stamp.replica())?.to_vec();
        push_number(&mut next, number.checked_add(step)?);
        next.push(HERE);
        (fits(&next) && !taken(&next)).then_some(next)
    };
    if left.is_some_and(|left| last_step(left).is_none())
        || right.is_some_and(|right| last_step(right).is_none())
    {
        return None;
    }
    if let Some(next) = continue_run(left, 1).or_else(|| continue_run(right, -1)) {
        return Some(next);
    }
    let mut base = match (left, right) {
        // Case 3. If the clock of the author of `left` is ahead of ours, the new run would come before
        // `left`.
        (Some(left), None) if *left < run(stamp)[..] => Vec::new(),
        // Case 4. Steps are prefix-free: to begin with the stem is to be that element or a descendant.
        (Some(left), right) if !right.is_some_and(|right| right.starts_with(&stem(left))) => {
            let mut base = stem(left);
            base.push(RIGHT);
            base
        }
        // Case 5.
        (_, Some(right)) => {
            let mut base = stem(right);
            base.push(LEFT);
            base
        }
        // Case 6.
        (_, None) => Vec::new(),
    };
    base.extend(run(stamp));
    // Several elements inserted at one stamp, and deleted again, may have used the first numbers of
    // this run. Finitely many positions are taken, so that the search ends.
    let new = (0..).find_map(|number| {
        let mut position = base.clone();
        push_number(&mut position, number);
        position.push(HERE);
        (!taken(&position)).then_some(position)
    });
    debug_assert!(
        !ordered || new.as_ref().is_some_and(|new| fits(new) && is_position(new)),
        "a new position is a position between its neighbours"
    );
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn stamp(ms: u64, replica: u64) -> Hlc {
        Hlc::new(ms, 0, ReplicaId::from_u64(replica))
    }

    proptest! {
        #[test]
        fn new_position_lies_between_neighbours(
            edits in vec((any::<prop::sample::Index>(), 1u64..4, any::<bool>()), 1..120),
        ) {
            let mut list: Vec<Vec<u8>> = Vec::new();
            let mut used: BTreeSet<Vec<u8>> = BTreeSet::new();
            for (ms, (at, replica, delete)) in edits.into_iter().enumerate() {
                let at = at.index(list.len() + 1);
                if delete && at < list.len() {
                    list.remove(at);
                    continue;
                }
                let left = at.checked_sub(1).map(|at| list[at].as_slice());
                let right = list.get(at).map(Vec::as_slice);
                // There are few distinct stamps, so that run ids repeat.
                let new = between(left, right, stamp(ms as u64 / 8, replica), |p| used.contains(p)).unwrap();
                prop_assert!(left.is_none_or(|left| left < new.as_slice()));
                prop_assert!(right.is_none_or(|right| new.as_slice() < right));
                prop_assert!(used.insert(new.clone()));
                list.insert(at, new);
            }
        }
    }

    #[test]
    fn positions_at_list_ends_stay_short() {
        let mut last = None::<Vec<u8>>;
        let mut first = None::<Vec<u8>>;
        let mut turns = None::<Vec<u8>>;
        for ms in 0..10_000 {
            last = between(last.as_deref(), None, stamp(ms, 1), |_| false);
            first = between(None, first.as_deref(), stamp(ms, 1), |_| false);
            turns = between(turns.as_deref(), None, stamp(ms, ms % 3), |_| false);
        }
        for position in [last, first, turns] {
            assert!(position.unwrap().len() <= RUN + 4);
        }
    }

    #[test]
    fn encoded_numbers_keep_their_order() {
        let numbers = [
            i64::MIN,
            i64::MIN + 1,
            -70_000,
            -65_537,
            -65_536,
            -257,
            -256,
            -62,
            -61,
            -60,
            -1,
            0,
            59,
            60,
            61,
            127,
            128,
            255,
            256,
            65_535,
            65_536,
            i64::MAX,
        ];
        let bytes = |number| {
            let mut bytes = Vec::new();
            push_number(&mut bytes, number);
            bytes
        };
        for pair in numbers.windows(2) {
            assert!(bytes(pair[0]) < bytes(pair[1]), "{pair:?}");
        }
        for number in numbers {
            let position = [&[0; RUN][..], &bytes(number), &[HERE]].concat();
            assert_eq!(last_step(&position).map(|(_, found, _)| found), Some(number));
        }
    }

    #[test]
    fn concurrent_insertions_do_not_interleave() {
        let first = between(None, None, stamp(1, 1), |_| false).unwrap();
        let push = |replica: u64| {
            let mut list = vec![first.clone()];
            for ms in 2..6 {
                let last = list.last().cloned();
                list.push(between(last.as_deref(), None, stamp(ms, replica), |_| false).unwrap());
            }
            list
        };
        let mut all: Vec<(Vec<u8>, u64)> = Vec::new();
        for replica in [2, 3] {
            all.extend(push(replica).into_iter().skip(1).map(|position| (position, replica)));
        }
        all.sort();
        let authors: Vec<u64> = all.into_iter().map(|(_, replica)| replica).collect();
        assert_eq!(authors, [2, 2, 2, 2, 3, 3, 3, 3]);
    }

    #[test]
    fn rejects_bytes_that_are_no_position() {
        for wrong in [&[][..], &[7; 10], &[7; 60]] {
            assert_eq!(between(Some(wrong), None, stamp(1, 1), |_| false), None);
        }
    }
}
