//! A command line for a replica of one's own: `run`, `sweep`, `replay`, `shrink` and `view`.
//!
//! This file is an edge: it reads arguments and files, and writes files.

use crate::case::{Case, RunResult};
use crate::custom::Subject;
use crate::custom::harness::Lab;
use crate::custom::sweep::Failure;
use std::io::Write;
use std::ops::Range;
use std::process::ExitCode;
use std::str::FromStr;
use sync_sim_engine::faults::FaultConfig;
use toml::{Table, Value};

const USAGE: &str = "\
usage: run     [--seed N] [--json]          one run, and what went wrong in it
       sweep   [--seeds A..B] [--json]      many runs; A..B is 0..1000 if left out
       explain (CASE | --seed N)            all that mattered in a run, event by event
       shrink  (CASE | --seed N) [--out F]  the smallest case that fails alike, as a file
       replay  CASE [--json]                the run of such a file
       view    (CASE | --seed N) [--out F]  a run as a page for the browser
what is run, unless a CASE says it:
       --nodes N  --ops N  --faults NAME (none, light, heavy, partitions)
       --fault KEY=VALUE, as often as wanted: a line of [faults] in a case, as message_loss_rate=0.3
exit codes: 0 all is well, 1 a finding, 2 bad usage";

/// Runs that making a case small may take.
const MOST_RUNS: u64 = 2_000;
/// Lines of its story that a run that fails shows.
const LINES: usize = 30;

struct Arguments {
    verb: String,
    file: Option<String>,
    seed: u64,
    seeds: Range<u64>,
    nodes: Option<usize>,
    ops: Option<usize>,
    faults: Option<FaultConfig>,
    /// Single settings of faults.
    settings: Table,
    out: Option<String>,
    json: bool,
}

fn number<N: FromStr>(flag: &str, text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{flag} {text}: a whole number is wanted"))
}

/// Lays one table over another.
fn lay_over(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above),
            (_, value) => drop(below.insert(key, value)),
        }
    }
}

fn setting(text: &str) -> Result<Table, String> {
    let wrong = || format!("--fault {text}: it looks like message_loss_rate=0.3");
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    let bare = format!("{key} = {value}").parse();
    // What is no number is a text, with or without its quotes.
    bare.or_else(|_| format!("{key} = {value:?}").parse()).map_err(|_: toml::de::Error| wrong())
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let ends = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    ends.filter(|range: &Range<u64>| range.start < range.end)
        .ok_or_else(|| format!("--seeds {text}: a range looks like 0..1000"))
}

impl Arguments {
    fn read(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let verb = given.next().ok_or("what is to be done?")?;
        let mut read = Self {
            verb,
            file: None,
            seed: 0,
            seeds: 0..1_000,
            nodes: None,
            ops: None,
            faults: None,
            settings: Table::new(),
            out: None,
            json: false,
        };
        while let Some(flag) = given.next() {
            let mut value = || given.next().ok_or_else(|| format!("{flag} has no value"));
            match flag.as_str() {
                "--json" => read.json = true,
                "--out" => read.out = Some(value()?),
                "--seeds" => read.seeds = seeds(&value()?)?,
                "--seed" => read.seed = number(&flag, &value()?)?,
                "--nodes" => read.nodes = Some(number(&flag, &value()?)?),
                "--ops" => read.ops = Some(number(&flag, &value()?)?),
                "--fault" => lay_over(&mut read.settings, setting(&value()?)?),
                "--faults" => {
                    read.faults = Some(match value()?.as_str() {
                        "none" => FaultConfig::none(),
                        "light" => FaultConfig::light_chaos(),
                        "heavy" => FaultConfig::heavy_chaos(),
                        "partitions" => FaultConfig::partition_heavy(),
                        other => return Err(format!("--faults {other}: there are none of that name")),
                    });
                }
                other if other.starts_with('-') => return Err(format!("there is no flag {other}")),
                _ if read.file.is_some() => return Err("one case at a time".into()),
                _ => read.file = Some(flag),
            }
        }
        Ok(read)
    }

    /// The lab, with what the arguments change of it.
    fn settle<S: Subject>(&self, mut lab: Lab<S>) -> Result<Lab<S>, String> {
        if let Some(nodes) = self.nodes {
            lab = lab.nodes(nodes);
        }
        if let Some(ops) = self.ops {
            let over = lab.case(0).workload.over;
            lab = lab.ops(ops, over);
        }
        if let Some(faults) = &self.faults {
            lab = lab.faults(faults.clone());
        }
        if !self.settings.is_empty() {
            let mut faults = Table::try_from(lab.case(0).faults).map_err(|error| error.to_string())?;
            lay_over(&mut faults, self.settings.clone());
            lab = lab.faults(faults.try_into().map_err(|error| format!("--fault: {error}"))?);
        }
        Ok(lab)
    }

    fn case<S: Subject>(&self, lab: &Lab<S>) -> Result<Case, String> {
        let Some(path) = &self.file else { return Ok(lab.case(self.seed)) };
        let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        text.parse().map_err(|error| format!("{path}: {error}"))
    }
}

/// Does what the arguments of this process say, and says how it went.
pub fn main<S: Subject>(lab: Lab<S>) -> ExitCode {
    exit(run(lab, std::env::args().skip(1)))
}

/// Prints what [`run`] has to say, and gives the exit code that goes with it.
pub fn exit(said: Result<(String, bool), String>) -> ExitCode {
    // Whoever reads may have had enough: that is no error.
    ExitCode::from(match said {
        Ok((text, good)) => {
            let _ = writeln!(std::io::stdout(), "{text}");
            u8::from(!good)
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            2
        }
    })
}

/// Does what the arguments say. Gives what is printed, and whether all was well.
///
/// # Errors
///
/// What cannot be done, and why.
pub fn run<S: Subject>(
    lab: Lab<S>,
    arguments: impl Iterator<Item = String>,
) -> Result<(String, bool), String> {
    let unclear = |problem: String| format!("{problem}\n{USAGE}");
    let arguments = Arguments::read(arguments).map_err(unclear)?;
    let lab = arguments.settle(lab)?;
    match arguments.verb.as_str() {
        "help" | "-h" | "--help" => Ok((USAGE.into(), true)),
        "sweep" => sweep(&lab, &arguments),
        "run" => shown(&lab, &lab.case(arguments.seed), arguments.json),
        "replay" if arguments.file.is_some() => shown(&lab, &arguments.case(&lab)?, arguments.json),
        "replay" => Err(unclear("replay which case?".into())),
        "explain" => {
            let (run, ended) = lab.watch(&arguments.case(&lab)?).map_err(|error| error.to_string())?;
            let parting = run.parting().map(|parting| format!("\n{parting}\n")).unwrap_or_default();
            Ok((format!("{}\n{parting}\n{ended}", run.story(usize::MAX)), ended.class.is_converged()))
        }
        "shrink" => shrunk(&lab, &arguments),
        "view" => {
            let timeline = lab.view(&arguments.case(&lab)?).map_err(|error| error.to_string())?;
            let timeline = timeline.ok_or("no history was kept")?;
            let page = timeline.page().map_err(|error| error.to_string())?;
            let path = arguments.out.as_deref().unwrap_or("run.html");
            write(path, &page)?;
            Ok((format!("{}: {path}", timeline.verdict), true))
        }
        other => Err(unclear(format!("there is no command {other}"))),
    }
}

fn write(path: &str, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {path}: {error}"))
}

fn shown<S: Subject>(lab: &Lab<S>, case: &Case, json: bool) -> Result<(String, bool), String> {
    let (run, ended) = lab.watch(case).map_err(|error| error.to_string())?;
    let good = ended.class.is_converged();
    let RunResult { class, reason, at, events, trace, .. } = &ended;
    if json {
        let told = serde_json::json!({
            "seed": case.seed, "class": class.as_str(), "reason": reason, "at_us": at.as_micros(),
            "events": events, "trace": trace.to_string(),
        });
        return Ok((told.to_string(), good));
    }
    let story = if good { String::new() } else { format!("{}\n\n", run.story(LINES)) };
    let acknowledged = run.acknowledged().len();
    Ok((format!("{story}seed {}: {ended}, {acknowledged} operations, trace {trace}", case.seed), good))
}

fn sweep<S: Subject>(lab: &Lab<S>, arguments: &Arguments) -> Result<(String, bool), String> {
    let sweep = lab.sweep(arguments.seeds.clone()).map_err(|error| error.to_string())?;
    if arguments.json {
        return Ok((serde_json::to_string(&sweep).map_err(|error| error.to_string())?, sweep.is_good()));
    }
    let mut text = format!("{} seeds, {} converged, {} events", sweep.seeds, sweep.converged, sweep.events);
    for (class, count) in sweep.classes.iter().filter(|(class, _)| sweep.first(class).is_some()) {
        let Some(first) = sweep.first(class) else { continue };
        text += &format!("\n  {count} ended as {class}; the first is seed {}: {}", first.seed, first.reason);
    }
    if let Some(Failure { seed, .. }) = sweep.failures.first() {
        text += &format!("\nnext: the same with `shrink --seed {seed}`, or `explain` or `view`");
    }
    Ok((text, sweep.is_good()))
}

fn shrunk<S: Subject>(lab: &Lab<S>, arguments: &Arguments) -> Result<(String, bool), String> {
    let case = arguments.case(lab)?;
    let shrunk = lab.shrink(&case, MOST_RUNS, &mut |_| true).map_err(|error| error.to_string())?;
    let text = shrunk.case.to_text().map_err(|error| error.to_string())?;
    let path = arguments.out.as_deref().unwrap_or("small.toml");
    write(path, &text)?;
    let (from, to) = (shrunk.from, shrunk.case.size());
    Ok((format!("{from}\n  became {to}, in {} runs: {path}\n\n{}", shrunk.runs, text.trim_end()), true))
}
