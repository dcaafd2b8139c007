//! Sweeps in parts, on many machines: which part is ours, what of it is written down, and `syncline merge`.

use crate::report::grouped;
use crate::spec::Spec;
use crate::totals::{SweepReport, Totals, print};
use crate::{Ending, interrupt};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use sync_sim::case::Case;

pub(crate) const MERGE_HELP: &str = "\
Examples:
  syncline sweep --seeds 0..1000 --shard 1/2 --report one.json    on one machine
  syncline sweep --seeds 0..1000 --shard 2/2 --report two.json    on another
  syncline merge one.json two.json                                the same as one sweep over 0..1000

In an array job of Kubernetes or SLURM each task takes its own shard; see deploy/.";

/// One of so many parts of a sweep, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct Shard {
    index: u64,
    of: u64,
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// A shard as it is written on the command line: `2/4`.
pub(crate) fn shard(text: &str) -> Result<Shard, String> {
    let numbers = text.split_once('/').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    match numbers {
        Some((index, of)) if (1..=of).contains(&index) => Ok(Shard { index, of }),
        _ => Err("a shard looks like 1/4, the first of four, up to 4/4".into()),
    }
}

impl Shard {
    /// The shard that a batch system says is ours, if one does.
    pub(crate) fn ours(
        of: Option<u64>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, String> {
        let number = |name: &str| match variable(name) {
            None => Ok(None),
            Some(text) => {
                text.trim().parse::<u64>().map(Some).map_err(|_| format!("{name}={text} is no number"))
            }
        };
        let of = of.map_or_else(|| number("SYNCLINE_SHARDS"), |of| Ok(Some(of)))?;
        let (index, of) = if let Some(task) = number("SLURM_ARRAY_TASK_ID")? {
            let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
            let step = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
            let tasks = number("SLURM_ARRAY_TASK_MAX")?.map(|last| last.saturating_sub(first) / step + 1);
            let count = number("SLURM_ARRAY_TASK_COUNT")?;
            if tasks.is_some() && count.is_some() && tasks != count {
                return Err(
                    "the tasks of this SLURM array have gaps; say which shard this is with --shard".into()
                );
            }
            (task.checked_sub(first).map(|task| task / step), of.or(count).or(tasks))
        } else if let Some(task) = number("JOB_COMPLETION_INDEX")? {
            (Some(task), of)
        } else {
            return match of {
                None | Some(1) => Ok(None),
                Some(_) => {
                    Err("it is said how many shards there are and not which is ours; say it with --shard"
                        .into())
                }
            };
        };
        match (index, of) {
            (_, None) => Err("this is a task of many; say of how many with SYNCLINE_SHARDS or --shards, or --shard 1/1 for all".into()),
            (Some(index), Some(of)) if index < of => Ok(Some(Self { index: index + 1, of })),
            (_, Some(of)) => Err(format!("this task lies beyond the {of} shards")),
        }
    }

    /// Its part of so many seeds: a block, so that shards one after the other are the whole. Parts differ by
    /// one seed at most.
    pub(crate) fn part(self, total: u64) -> Range<u64> {
        let until = |index: u64| (u128::from(total) * u128::from(index) / u128::from(self.of)) as u64;
        until(self.index - 1)..until(self.index)
    }
}

/// What a shard has learnt, to be merged.
#[derive(Serialize, Deserialize)]
pub(crate) struct Piece {
    /// What decides the sweep, and is the same for all its shards.
    pub(crate) plan: String,
    pub(crate) shard: Shard,
    /// The case that every seed runs.
    pub(crate) case: String,
    pub(crate) protocol: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) totals: Totals,
}

impl Piece {
    /// The piece of a sweep that is not in shards, if `shard` is none.
    pub(crate) fn whole(shard: Option<Shard>) -> Shard {
        shard.unwrap_or(Shard { index: 1, of: 1 })
    }

    fn load(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read the report {shown}: {error}"))?;
        serde_json::from_str(&text).map_err(|error| {
            format!("{shown} is no report of a sweep, as `sweep --report` writes it: {error}")
        })
    }

    /// Writes it as a whole or not at all.
    pub(crate) fn save(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        let new = path.with_extension("new");
        path.parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&new, text))
            .and_then(|()| std::fs::rename(&new, path))
            .map_err(|error| format!("cannot write the report {}: {error}", path.display()))
    }
}

/// The flags of `merge`.
#[derive(Args, Clone, Debug)]
pub(crate) struct MergeArgs {
    /// The reports, one of each shard, in any order.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Accept that shards are missing, and say which.
    #[arg(long)]
    partial: bool,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    json: bool,
}

/// Makes one report of those of all shards.
pub(crate) fn merge(args: &MergeArgs) -> Result<Ending, String> {
    let mut pieces: BTreeMap<Shard, (&PathBuf, Piece)> = BTreeMap::new();
    for path in &args.files {
        let piece = Piece::load(path)?;
        if let Some((first, other)) = pieces.values().next()
            && (&piece.plan, piece.shard.of) != (&other.plan, other.shard.of)
        {
            let (first, path) = (first.display(), path.display());
            return Err(format!("{first} and {path} are shards of different sweeps"));
        }
        if let Some((first, piece)) = pieces.insert(piece.shard, (path, piece)) {
            let (first, path, shard) = (first.display(), path.display(), piece.shard);
            return Err(format!("{first} and {path} are both shard {shard}"));
        }
    }
    let shards = grouped(pieces.len() as u64);
    let of = pieces.keys().next().map_or(0, |shard| shard.of);
    let missing = (1..=of).map(|index| Shard { index, of }).filter(|shard| !pieces.contains_key(shard));
    let missing: Vec<String> = missing.take(20).map(|shard| shard.to_string()).collect();
    if !missing.is_empty() {
        let said = format!("no report holds shard {}", missing.join(", "));
        if !args.partial {
            return Err(format!("{said}; --partial merges what is there"));
        }
        eprintln!("warning: {said}");
    }
    let report = add_up(pieces.into_values().map(|(_, piece)| piece))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
    } else {
        print(&report, &format!("{shards} shards"));
    }
    Ok(if report.failures.is_empty() { Ending::Good } else { Ending::Finding })
}

/// Adds up pieces in the order of their shards.
fn add_up(pieces: impl Iterator<Item = Piece>) -> Result<SweepReport, String> {
    let (mut totals, mut seconds, mut first) = (Totals::default(), 0f64, None);
    for piece in pieces {
        totals.merge(piece.totals);
        // They ran side by side.
        seconds = seconds.max(piece.seconds);
        first.get_or_insert((piece.case, piece.protocol));
    }
    let (case, protocol) = first.ok_or("there is nothing to merge")?;
    let case: Case = case.parse().map_err(|error| format!("the reports hold no case: {error}"))?;
    let report = totals.report(&Spec { case, flags: Vec::new() }, seconds);
    Ok(SweepReport { protocol, ..report })
}

/// What is said of a sweep that was interrupted: how far it has come, and where it goes on.
pub(crate) fn interrupted(done: u64, of: u64, next: Option<u64>, resume: Option<&Path>) -> Ending {
    let how = match resume {
        Some(path) => format!("the same command goes on from here, as {} says", path.display()),
        None => "with --resume FILE a sweep goes on where it was".to_owned(),
    };
    let next = next.map_or_else(String::new, |seed| format!("; the next is {seed}"));
    interrupt::said(&format!("interrupted after {} of {} seeds{next}; {how}", grouped(done), grouped(of)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(of: Option<u64>, set: &[(&str, &str)]) -> Result<Option<Shard>, String> {
        Shard::ours(of, |name| set.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn batch_systems_say_which_shard_is_ours() {
        let shard = |index, of| Ok(Some(Shard { index, of }));
        assert_eq!(ours(None, &[]), Ok(None));
        assert_eq!(ours(None, &[("JOB_COMPLETION_INDEX", "0"), ("SYNCLINE_SHARDS", "4")]), shard(1, 4));
        assert_eq!(ours(Some(8), &[("JOB_COMPLETION_INDEX", "7")]), shard(8, 8));
        let slurm = [("SLURM_ARRAY_TASK_ID", "14"), ("SLURM_ARRAY_TASK_MIN", "10")];
        let counted =
            [&slurm[..], &[("SLURM_ARRAY_TASK_MAX", "19"), ("SLURM_ARRAY_TASK_COUNT", "10")]].concat();
        assert_eq!(ours(None, &counted), shard(5, 10));
        let stepped =
            [&counted[..3], &[("SLURM_ARRAY_TASK_COUNT", "5"), ("SLURM_ARRAY_TASK_STEP", "2")]].concat();
        assert_eq!(ours(None, &stepped), shard(3, 5));
        let gaps = [&counted[..3], &[("SLURM_ARRAY_TASK_COUNT", "4")]].concat();
        assert!(ours(None, &gaps).unwrap_err().contains("gaps"));
        assert!(ours(None, &[("JOB_COMPLETION_INDEX", "3")]).unwrap_err().contains("SYNCLINE_SHARDS"));
        assert!(ours(Some(3), &[("JOB_COMPLETION_INDEX", "3")]).unwrap_err().contains("beyond"));
        assert!(ours(Some(3), &[]).unwrap_err().contains("--shard"));
        assert!(ours(None, &[("JOB_COMPLETION_INDEX", "x")]).unwrap_err().contains("no number"));
    }

    #[test]
    fn shards_one_after_the_other_are_the_whole() {
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
