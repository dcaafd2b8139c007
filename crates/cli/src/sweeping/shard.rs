//! Shards: the parts of a sweep that run in different processes, and what batch systems report about them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// One part of a sweep that is split into `of` parts; `index` counts from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct Shard {
    pub(crate) index: u64,
    pub(crate) of: u64,
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// Parses a shard as on the command line: `2/4`.
pub(crate) fn shard(text: &str) -> Result<Shard, String> {
    let numbers = text.split_once('/').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    match numbers {
        Some((index, of)) if (1..=of).contains(&index) => Ok(Shard { index, of }),
        _ => Err("a shard looks like 1/4, the first of four, up to 4/4".into()),
    }
}

impl Shard {
    /// The only shard of a sweep that is not split.
    pub(crate) const WHOLE: Self = Self { index: 1, of: 1 };

    /// The shard of this process in an array job of SLURM or Kubernetes, from the variables that the batch
    /// system sets; `None` outside of one. `of` is the number of shards, if the command line gives it.
    pub(crate) fn from_environment(
        of: Option<u64>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, String> {
        let number = |name: &str| match variable(name) {
            None => Ok(None),
            Some(text) => {
                text.trim().parse::<u64>().map(Some).map_err(|_| format!("{name}={text} is not a number"))
            }
        };
        let of = of.map_or_else(|| number("SYNCLINE_SHARDS"), |of| Ok(Some(of)))?;
        let (index, of) = if let Some(task) = number("SLURM_ARRAY_TASK_ID")? {
            let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
            let step = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
            let tasks = number("SLURM_ARRAY_TASK_MAX")?.map(|last| last.saturating_sub(first) / step + 1);
            let count = number("SLURM_ARRAY_TASK_COUNT")?;
            if tasks.is_some() && count.is_some() && tasks != count {
                // With gaps, a task's index cannot be derived from its id.
                return Err("the tasks of this SLURM array have gaps; name the shard with --shard".into());
            }
            (task.checked_sub(first).map(|task| task / step), of.or(count).or(tasks))
        } else if let Some(task) = number("JOB_COMPLETION_INDEX")? {
            (Some(task), of)
        } else {
            return match of {
                None | Some(1) => Ok(None),
                Some(_) => {
                    Err("the number of shards is given, but not which one this is; use --shard".into())
                }
            };
        };
        match (index, of) {
            (_, None) => {
                Err("this is one task of an array; give the number of tasks with SYNCLINE_SHARDS or \
                              --shards, or run all seeds with --shard 1/1"
                    .into())
            }
            (Some(index), Some(of)) if index < of => Ok(Some(Self { index: index + 1, of })),
            (_, Some(of)) => Err(format!("this task lies beyond the {of} shards")),
        }
    }

    /// The shard's part of `total` seeds, as a range of their indices. The parts of all shards in order cover all
    /// seeds without overlap; their sizes differ by at most one.
    pub(crate) fn part(self, total: u64) -> Range<u64> {
        let until = |index: u64| (u128::from(total) * u128::from(index) / u128::from(self.of)) as u64;
        until(self.index - 1)..until(self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard_in(of: Option<u64>, set: &[(&str, &str)]) -> Result<Option<Shard>, String> {
        let value =
            |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Shard::from_environment(of, value)
    }

    #[test]
    fn batch_systems_determine_the_shard() {
        let shard = |index, of| Ok(Some(Shard { index, of }));
        assert_eq!(shard_in(None, &[]), Ok(None));
        assert_eq!(shard_in(None, &[("JOB_COMPLETION_INDEX", "0"), ("SYNCLINE_SHARDS", "4")]), shard(1, 4));
        assert_eq!(shard_in(Some(8), &[("JOB_COMPLETION_INDEX", "7")]), shard(8, 8));
        let slurm = [("SLURM_ARRAY_TASK_ID", "14"), ("SLURM_ARRAY_TASK_MIN", "10")];
        let counted =
            [&slurm[..], &[("SLURM_ARRAY_TASK_MAX", "19"), ("SLURM_ARRAY_TASK_COUNT", "10")]].concat();
        assert_eq!(shard_in(None, &counted), shard(5, 10));
        let stepped =
            [&counted[..3], &[("SLURM_ARRAY_TASK_COUNT", "5"), ("SLURM_ARRAY_TASK_STEP", "2")]].concat();
        assert_eq!(shard_in(None, &stepped), shard(3, 5));
        let gaps = [&counted[..3], &[("SLURM_ARRAY_TASK_COUNT", "4")]].concat();
        assert!(shard_in(None, &gaps).unwrap_err().contains("gaps"));
        assert!(shard_in(None, &[("JOB_COMPLETION_INDEX", "3")]).unwrap_err().contains("SYNCLINE_SHARDS"));
        assert!(shard_in(Some(3), &[("JOB_COMPLETION_INDEX", "3")]).unwrap_err().contains("beyond"));
        assert!(shard_in(Some(3), &[]).unwrap_err().contains("--shard"));
        assert!(shard_in(None, &[("JOB_COMPLETION_INDEX", "x")]).unwrap_err().contains("not a number"));
    }

    #[test]
    fn shards_partition_the_seeds() {
        for (total, of) in [(10, 3), (2, 5), (u64::MAX, 7), (0, 2)] {
            let mut at = 0;
            for index in 1..=of {
                let part = Shard { index, of }.part(total);
                assert_eq!(part.start, at);
                assert!((total / of..=total / of + 1).contains(&(part.end - part.start)));
                at = part.end;
            }
            assert_eq!(at, total);
        }
        for bad in ["0/2", "3/2", "1", "a/b", "1/0", "/"] {
            assert!(shard(bad).is_err(), "{bad}");
        }
    }
}
