use super::*;
use crate::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Keys that share long prefixes, and keys that are prefixes of others.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let stem = prop_oneof![Just(vec![]), Just(vec![0; 20]), Just(vec![0x12, 0x34])];
    (stem, vec(prop_oneof![Just(0u8), Just(1), Just(0x10), any::<u8>()], 0..4))
        .prop_map(|(stem, tail)| [stem, tail].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn matches_a_b_tree(
        steps in vec((key(), prop_oneof![3 => any::<u8>().prop_map(Some), 1 => Just(None)]), 0..400),
        (from, to) in (key(), key()),
        limit in 0usize..50,
    ) {
        let mut map = RadixMap::<Bytes>::default();
        let mut model = BTreeMap::new();
        let mut clones = Vec::new();
        for (at, (key, value)) in steps.into_iter().enumerate() {
            match value {
                Some(byte) => {
                    map.insert(Key::from(key.as_slice()), Bytes::from([byte]));
                    model.insert(key, byte);
                }
                None => {
                    map.remove(&key);
                    model.remove(&key);
                }
            }
            if at % 64 == 0 {
                clones.push((map.clone(), model.clone()));
            }
        }
        clones.push((map, model));
        for (map, model) in clones {
            prop_assert_eq!(map.len(), model.len());
            for (key, byte) in &model {
                prop_assert_eq!(map.get(key).map(|value| value[0]), Some(*byte));
            }
            let mut found = Vec::new();
            map.walk(&from, |key, value| {
                found.push((key.to_vec(), value[0]));
                found.len() > limit
            });
            let expected: Vec<_> = model.range(from.clone()..).take(limit + 1).map(|(k, v)| (k.clone(), *v)).collect();
            prop_assert_eq!(found, expected);
            let mut found = Vec::new();
            map.walk_between(&from, &to, |key, _| {
                found.push(key.to_vec());
                false
            });
            let between = |from: &Vec<u8>, to: &Vec<u8>| -> Vec<Vec<u8>> {
                model.keys().filter(|key| from <= *key && *key < to).cloned().collect()
            };
            prop_assert_eq!(found, between(&from, &to));
            let bounds: Vec<_> = model.keys().zip(model.keys().skip(2)).chain([(&from, &to)]).collect();
            for bounds in bounds.chunks(AT_ONCE) {
                let ranges: Vec<_> =
                    bounds.iter().map(|(from, to)| (Key::from(from.as_slice()), Key::from(to.as_slice()))).collect();
                let mut found = vec![Vec::new(); ranges.len()];
                map.walk_ranges(&ranges, |value| value[0], |number, key, _| {
                    found[number].push(key.to_vec());
                    false
                });
                let expected: Vec<_> = bounds.iter().map(|(from, to)| between(from, to)).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}

/// Keys that begin each other, two branches for each byte: the deepest tree that keys of their length can make.
fn keys_that_begin_each_other(length: usize) -> impl Iterator<Item = Key> {
    (0..length)
        .flat_map(|n| {
            let begun = vec![0x11; n];
            [[begun.as_slice(), &[0x12]].concat(), [begun.as_slice(), &[0x21]].concat()]
        })
        .map(|key| Key::from(key.as_slice()))
}

#[test]
fn depth_costs_no_stack() {
    const LENGTH: usize = 1_500;
    let deep = || {
        let mut map = RadixMap::<Bytes>::default();
        for key in keys_that_begin_each_other(LENGTH) {
            map.insert(key, Bytes::from([1]));
        }
        assert_eq!(map.len(), 2 * LENGTH);
        let copy = map.clone();
        let mut count = 0;
        map.walk(&[], |_, _| {
            count += 1;
            false
        });
        assert_eq!((count, format!("{map:?}").len() < 100), (map.len(), true));
        let bounds: Vec<Key> = keys_that_begin_each_other(LENGTH).skip(2 * LENGTH - 4).collect();
        let mut between = 0;
        // A longer key goes on with less than a shorter one ends with.
        map.walk_between(&bounds[2], &bounds[1], |_, _| {
            between += 1;
            false
        });
        assert_eq!(between, 3, "the deepest keys");
        for key in keys_that_begin_each_other(LENGTH) {
            map.remove(&key);
            assert!(map.get(&key).is_none() && copy.get(&key).is_some());
        }
        assert_eq!((map.len(), copy.len()), (0, 2 * LENGTH));
    };
    // One level took more than 100 bytes when these functions were recursive.
    std::thread::Builder::new().stack_size(128 << 10).spawn(deep).unwrap().join().unwrap();
}

/// Keys of the two slots of a state begin with bytes that agree in one half byte: the branch is
/// within the first byte.
#[test]
fn covering_finds_keys_across_slots() {
    let firsts = [0x03u8, 0x0b];
    let mut map = RadixMap::<Bytes>::default();
    for (first, n) in firsts.into_iter().flat_map(|first| (0..40u8).map(move |n| (first, n))) {
        map.insert(Key::of(&[&[first, n]]), Bytes::from([first, n]));
    }
    for (first, n) in firsts.into_iter().flat_map(|first| (0..40u8).map(move |n| (first, n))) {
        let found = map.covering(&[first, n, 7]).map(|(key, value)| (&**key, &**value));
        assert_eq!(found, Some((&[first, n][..], &[first, n][..])));
    }
    assert!(map.covering(&[0x13, 0, 7]).is_none());
}
