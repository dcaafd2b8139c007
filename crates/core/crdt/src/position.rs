//! Places in a list, as bytes whose order is the order of the list.
//!
//! A position is a path in the tree of Fugue (Weidner, Kleppmann, 2023; as strings: Weidner, "Fugue: A
//! Basic List CRDT", 2022). Elements that one replica puts one after another form a *run*; a run
//! hangs to the left or the right of an element of another run. Each step of the path is the run,
//! the number of the element in it, and where the path goes on:
//!
//! | bytes | |
//! |---|---|
//! | 24 | the run: the time it was begun, big endian, and its replica |
//! | 1 to 9 | the number, in a form that orders as numbers do; a run grows both ways from zero |
//! | 1 | 0: into the runs on the left; 1: here; 2: into the runs on the right |
//!
//! What is put at the end of a list begins a run of its own at the top, so that replicas who append
//! in turn do not make ever longer paths.

use syncline_types::{Hlc, ReplicaId};

const LEFT: u8 = 0;
const HERE: u8 = 1;
const RIGHT: u8 = 2;
const RUN: usize = 24;

fn run(stamp: Hlc) -> [u8; RUN] {
    let mut bytes = [0; RUN];
    let (time, replica) = bytes.split_at_mut(8);
    time.copy_from_slice(&stamp.time().to_be_bytes());
    replica.copy_from_slice(stamp.replica().as_bytes());
    bytes
}

/// Numbers near zero take one byte. Others take their significant bytes, led by how many there are: the
/// more, the further from zero.
const NEAR: i64 = 60;

fn push_number(out: &mut Vec<u8>, number: i64) {
    if (-NEAR..=NEAR).contains(&number) {
        out.push((128 + number) as u8);
        return;
    }
    let bytes = number.to_be_bytes();
    // The bytes that only repeat the sign say nothing.
    let sign = if number < 0 { 0xff } else { 0 };
    let skip = bytes.iter().take(7).take_while(|byte| **byte == sign).count();
    let len = (8 - skip) as i64;
    out.push((128 + if number < 0 { -NEAR - len } else { NEAR + len }) as u8);
    out.extend(bytes.iter().skip(skip));
}

fn read_number(first: u8, digits: &[u8]) -> i64 {
    let sign = if i64::from(first) < 128 { -1 } else { 0 };
    digits.iter().fold(sign, |number, digit| number << 8 | i64::from(*digit))
}

/// The last step of a position: where its number starts, the number, and its replica.
fn last_step(position: &[u8]) -> Option<(usize, i64, ReplicaId)> {
    let mut at = 0;
    loop {
        let replica = ReplicaId(position.get(at + 8..at + RUN)?.try_into().ok()?);
        let number_at = at + RUN;
        let first = *position.get(number_at)?;
        let far = (i64::from(first) - 128).abs() - NEAR;
        if far > 8 {
            return None;
        }
        let digits = position.get(number_at + 1..number_at + 1 + far.max(0) as usize)?;
        let number = if far <= 0 { i64::from(first) - 128 } else { read_number(first, digits) };
        at = number_at + 2 + digits.len();
        match *position.get(at - 1)? {
            HERE => return (at == position.len()).then_some((number_at, number, replica)),
            LEFT | RIGHT => {}
            _ => return None,
        }
    }
}

/// Whether these bytes are a position.
pub fn is_position(bytes: &[u8]) -> bool {
    last_step(bytes).is_some()
}

/// A new position between two neighbours, for an element inserted at `stamp`. `taken` says whether a
/// position is or was in use. `None` if a neighbour is no position: somebody made it up.
pub fn between(
    left: Option<&[u8]>,
    right: Option<&[u8]>,
    stamp: Hlc,
    mut taken: impl FnMut(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    let stem = |position: &[u8]| position.split_last().map_or_else(Vec::new, |(_, stem)| stem.to_vec());
    let fits = |new: &[u8]| left.is_none_or(|left| left < new) && right.is_none_or(|right| new < right);
    // The neighbour's run goes on, if it is ours.
    let mut beside = |neighbour: Option<&[u8]>, step: i64| {
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
    if let Some(next) = beside(left, 1).or_else(|| beside(right, -1)) {
        return Some(next);
    }
    let mut base = match (left, right) {
        (Some(left), None) if *left < run(stamp)[..] => Vec::new(),
        (Some(left), right) if !right.is_some_and(|right| right.starts_with(&stem(left))) => {
            let mut base = stem(left);
            base.push(RIGHT);
            base
        }
        (_, Some(right)) => {
            let mut base = stem(right);
            base.push(LEFT);
            base
        }
        (_, None) => Vec::new(),
    };
    base.extend(run(stamp));
    (0..).find_map(|number| {
        let mut position = base.clone();
        push_number(&mut position, number);
        position.push(HERE);
        (!taken(&position)).then_some(position)
    })
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
        fn a_new_position_lies_between_its_neighbours(
            edits in vec((any::<prop::sample::Index>(), 1u64..4, any::<bool>()), 1..120),
        ) {
            let (mut list, mut used): (Vec<Vec<u8>>, BTreeSet<Vec<u8>>) = Default::default();
            for (ms, (at, replica, delete)) in edits.into_iter().enumerate() {
                let at = at.index(list.len() + 1);
                if delete && at < list.len() {
                    list.remove(at);
                    continue;
                }
                let left = at.checked_sub(1).map(|at| list[at].as_slice());
                let right = list.get(at).map(Vec::as_slice);
                // Few distinct stamps, so that runs meet their own names again.
                let new = between(left, right, stamp(ms as u64 / 8, replica), |p| used.contains(p)).unwrap();
                prop_assert!(left.is_none_or(|left| left < new.as_slice()));
                prop_assert!(right.is_none_or(|right| new.as_slice() < right));
                prop_assert!(used.insert(new.clone()));
                list.insert(at, new);
            }
        }
    }

    #[test]
    fn lists_that_grow_at_an_end_keep_short_positions() {
        let (mut last, mut first, mut turns) = (None::<Vec<u8>>, None::<Vec<u8>>, None::<Vec<u8>>);
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
    fn numbers_order_as_their_bytes_do() {
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
    fn elements_that_two_replicas_insert_at_one_place_do_not_interleave() {
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
    fn bytes_that_are_no_position_are_noticed() {
        for wrong in [&[][..], &[7; 10], &[7; 60]] {
            assert_eq!(between(Some(wrong), None, stamp(1, 1), |_| false), None);
        }
    }
}
