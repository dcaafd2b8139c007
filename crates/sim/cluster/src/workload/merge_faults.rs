//! Merge functions that are wrong: missing on some nodes, panicking, no join, or not the one that is meant.

use crate::workload::mix::FLAGS;
use serde::{Deserialize, Serialize};
use syncline_crdt::Merges;

/// The faults of the merge function of the application type of workloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MergeFaults {
    /// The number of nodes, from the first on, that do not have the function.
    pub lacking: usize,
    /// What the function does on the other nodes.
    pub function: MergeFunction,
}

/// What the merge function of workloads does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum MergeFunction {
    /// The union of the bits, which is a join.
    #[default]
    #[serde(rename = "union")]
    Union,
    /// It panics as soon as two states together have three bits.
    #[serde(rename = "panics")]
    Panics,
    /// It appends one state to the other, up to a limit, which is no join.
    #[serde(rename = "appends")]
    Appends,
    /// The bits that both states have: a join, but not the one that the application means. All nodes agree on values
    /// that nobody wrote, which is a finding.
    #[serde(rename = "intersects")]
    Intersects,
}

impl MergeFaults {
    /// Every node has the function, and it is a join.
    pub const NONE: Self = Self { lacking: 0, function: MergeFunction::Union };

    /// Whether every node has the function, and it is a join.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// The merge functions of node number `node`; `base` is what it has without these faults.
    pub(crate) fn merges(&self, node: usize, base: &Merges) -> Merges {
        if node < self.lacking {
            return Merges::default();
        }
        let faulty = match self.function {
            MergeFunction::Union => return base.clone(),
            // The samples of the faulty functions are too few to show that they are faulty.
            MergeFunction::Panics => base.clone().with(FLAGS, &[&[1]], |one: &[u8], two: &[u8]| {
                let bits: u32 = union(one, two).iter().map(|byte| byte.count_ones()).sum();
                assert!(bits < 3, "a merge function of the application panicked, as the case wants");
                union(one, two)
            }),
            MergeFunction::Appends => base.clone().with(FLAGS, &[&[]], |one: &[u8], two: &[u8]| {
                const MOST: usize = 64;
                let mut both = [one, two].concat();
                both.truncate(MOST);
                both
            }),
            MergeFunction::Intersects => base.clone().with(FLAGS, &[&[1], &[3]], |one: &[u8], two: &[u8]| {
                one.iter().zip(two).map(|(one, two)| one & two).collect()
            }),
        };
        faulty.expect("the samples do not show the fault")
    }
}

/// The union of the bits of two states.
pub(super) fn union(one: &[u8], two: &[u8]) -> Vec<u8> {
    let byte = |bytes: &[u8], at: usize| bytes.get(at).copied().unwrap_or_default();
    (0..one.len().max(two.len())).map(|at| byte(one, at) | byte(two, at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::merges;

    #[test]
    fn functions_are_faulty_as_they_say() {
        let merge = |function, one: &[u8], two: &[u8]| {
            let merges = MergeFaults { lacking: 1, function }.merges(1, &merges());
            merges.merge(FLAGS, one, two).ok().map(|all| all.to_vec())
        };
        assert_eq!(merge(MergeFunction::Union, &[1], &[6]), Some(vec![7]));
        assert_eq!(merge(MergeFunction::Panics, &[1], &[2]), Some(vec![3]));
        assert_eq!(merge(MergeFunction::Panics, &[1], &[6]), None);
        assert_eq!(merge(MergeFunction::Appends, &[1], &[2]), Some(vec![1, 2]));
        assert_eq!(merge(MergeFunction::Intersects, &[3], &[6]), Some(vec![2]));
        assert!(!MergeFaults { lacking: 1, ..MergeFaults::NONE }.merges(0, &merges()).knows(FLAGS));
    }
}
