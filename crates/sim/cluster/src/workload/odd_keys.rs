//! Operations on keys that are any bytes: empty, of different lengths, with zeros, and each the beginning of others.

use crate::workload::Workload;
use sync_sim_engine::random::{Choices, Stream};
use syncline_replica::{Operation, Target};
use syncline_types::Choice;

/// The bytes of keys: those that an encoding may treat as its own, and an ordinary one.
const BYTES: [u8; 4] = [0, 1, b'a', 0xff];
/// The greatest length of a key.
const LENGTH: u64 = 3;

impl Workload {
    /// Draws an operation on an entry of a sorted map, or an element of a sorted set.
    pub(super) fn of_odd_key(choices: &mut Choices) -> Operation {
        let mut below = |choice, bound| choices.below(Stream::Workload, choice, bound);
        let kind = below(Choice::WriteKind, 8);
        let length = below(Choice::WriteKey, LENGTH + 1);
        let key: Vec<u8> =
            (0..length).map(|_| BYTES[below(Choice::WriteKey, BYTES.len() as u64) as usize]).collect();
        let value = below(Choice::WriteValue, 1_000);
        let entry = Target::named(b"odd keys").ordered_child(&key);
        let element = Target::named(b"odd elements").ordered_child(&key);
        match kind {
            0..=3 => Operation::Set { target: entry, bytes: format!("value {value}").into_bytes() },
            4 => Operation::Delete { target: entry },
            5 | 6 => Operation::AddElement { target: element },
            _ => Operation::RemoveElement { target: element },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use sync_sim_engine::faults::Rate;

    #[test]
    fn keys_are_any_bytes() {
        let mut choices = Choices::seeded(1);
        let workload = Workload { odd_keys: Rate::ppm(1_000_000), ..Workload::default() };
        let keys: BTreeSet<Vec<u8>> = (0..500)
            .map(|_| workload.operation(&mut choices).named_target().label.bytes().unwrap().to_vec())
            .collect();
        let begins = |key: &Vec<u8>| keys.iter().any(|other| other != key && other.starts_with(key));
        assert!(
            keys.contains(&vec![])
                && keys.contains(&vec![0])
                && keys.iter().filter(|key| begins(key)).count() > 9
        );
    }
}
