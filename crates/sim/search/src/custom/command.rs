//! A command line for a custom replica: `run`, `sweep`, `explain`, `replay`, `shrink` and `view`.
//!
//! This file is an edge: it reads arguments and files, and writes files.

use crate::case::{Case, RunResult};
use crate::custom::Subject;
use crate::custom::harness::Lab;
use crate::custom::sweep::SeedFailure;
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::str::FromStr;
use sync_sim_engine::faults::FaultConfig;
use toml::{Table, Value};

const USAGE: &str = "\
usage: run     [--seed N] [--json]          one run, with the last events if it fails
       sweep   [--seeds A..B] [--json]      many runs; the default for A..B is 0..1000
       explain (CASE | --seed N)            every write, fault and change of a run
       shrink  (CASE | --seed N) [--out F]  the smallest case of the same failure, as a file
       replay  CASE [--json]                the run of such a file
       view    (CASE | --seed N) [--out F]  a run as a page for the browser
settings of a run, unless a CASE contains them:
       --nodes N  --ops N  --faults NAME (none, light, heavy, partitions)
       --fault KEY=VALUE, repeatable: a line of [faults] in a case, such as message_loss_rate=0.3
exit codes: 0 success, 1 a finding, 2 bad usage or output that cannot be written";

/// The most runs that shrinking a case may take.
const MOST_RUNS: u64 = 2_000;
/// The number of events that `run` shows of a failure.
const LINES: usize = 30;

struct Arguments {
    verb: String,
    file: Option<String>,
    seed: u64,
    seeds: Range<u64>,
    nodes: Option<usize>,
    ops: Option<usize>,
    faults: Option<FaultConfig>,
    /// Single fault settings, which override those of the preset.
    settings: Table,
    out: Option<String>,
    json: bool,
}

fn number<N: FromStr>(flag: &str, text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{flag} {text}: expected a whole number"))
}

/// Overrides the values of one table by those of another, table by table.
fn override_values(base: &mut Table, overrides: Table) {
    for (key, value) in overrides {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(overrides)) => override_values(base, overrides),
            (_, value) => drop(base.insert(key, value)),
        }
    }
}

fn setting(text: &str) -> Result<Table, String> {
    let wrong = || format!("--fault {text}: expected KEY=VALUE, such as message_loss_rate=0.3");
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    let bare = format!("{key} = {value}").parse();
    // A value that is not valid TOML is a string without its quotes.
    bare.or_else(|_| format!("{key} = {value:?}").parse()).map_err(|_: toml::de::Error| wrong())
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let ends = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    ends.filter(|range: &Range<u64>| range.start < range.end)
        .ok_or_else(|| format!("--seeds {text}: expected a range such as 0..1000"))
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let verb = given.next().ok_or("there is no command")?;
        let mut parsed = Self {
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
                "--json" => parsed.json = true,
                "--out" => parsed.out = Some(value()?),
                "--seeds" => parsed.seeds = seeds(&value()?)?,
                "--seed" => parsed.seed = number(&flag, &value()?)?,
                "--nodes" => parsed.nodes = Some(number(&flag, &value()?)?),
                "--ops" => parsed.ops = Some(number(&flag, &value()?)?),
                "--fault" => override_values(&mut parsed.settings, setting(&value()?)?),
                "--faults" => {
                    parsed.faults = Some(match value()?.as_str() {
                        "none" => FaultConfig::none(),
                        "light" => FaultConfig::light_chaos(),
                        "heavy" => FaultConfig::heavy_chaos(),
                        "partitions" => FaultConfig::partition_heavy(),
                        other => return Err(format!("--faults {other}: there is no such preset")),
                    });
                }
                other if other.starts_with('-') => return Err(format!("there is no flag {other}")),
                _ if parsed.file.is_some() => return Err("there is more than one case".into()),
                _ => parsed.file = Some(flag),
            }
        }
        Ok(parsed)
    }

    /// The lab with the settings of the arguments.
    fn configure<S: Subject>(&self, mut lab: Lab<S>) -> Result<Lab<S>, String> {
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
            override_values(&mut faults, self.settings.clone());
            lab = lab.faults(faults.try_into().map_err(|error| format!("--fault: {error}"))?);
        }
        Ok(lab)
    }

    /// The case in the file, or the case of the seed.
    fn case<S: Subject>(&self, lab: &Lab<S>) -> Result<Case, String> {
        let Some(path) = &self.file else { return Ok(lab.case(self.seed)) };
        let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        text.parse().map_err(|error| format!("{path}: {error}"))
    }
}

/// Runs the command in the arguments of this process, and prints its result.
pub fn main<S: Subject>(lab: Lab<S>) -> ExitCode {
    exit(run(lab, std::env::args().skip(1)))
}

/// Prints the result of [`run`] and returns the exit code for it: 0 for success, 1 for a finding, 2 for bad
/// usage or output that cannot be written, 141 if the reader of the output has closed it.
pub fn exit(result: Result<(String, bool), String>) -> ExitCode {
    // Where the standard error cannot be written, nobody is left to tell.
    let refuse = |problem: &str| {
        let _ = writeln!(std::io::stderr(), "{problem}");
        ExitCode::from(2)
    };
    let (text, good) = match result {
        Ok(ended) => ended,
        Err(problem) => return refuse(&problem),
    };
    let mut out = std::io::stdout();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => ExitCode::from(u8::from(!good)),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(141),
        Err(error) => refuse(&format!("cannot write to the standard output: {error}")),
    }
}

/// Runs a command. Returns the text to print, and whether the command found no failure.
///
/// # Errors
///
/// If the arguments are invalid, or a file cannot be read or written.
pub fn run<S: Subject>(
    lab: Lab<S>,
    arguments: impl Iterator<Item = String>,
) -> Result<(String, bool), String> {
    let bad_usage = |problem: String| format!("{problem}\n{USAGE}");
    let arguments = Arguments::parse(arguments).map_err(bad_usage)?;
    let lab = arguments.configure(lab)?;
    match arguments.verb.as_str() {
        "help" | "-h" | "--help" => Ok((USAGE.into(), true)),
        "sweep" => sweep(&lab, &arguments),
        "run" => run_case(&lab, &lab.case(arguments.seed), arguments.json),
        "replay" if arguments.file.is_some() => run_case(&lab, &arguments.case(&lab)?, arguments.json),
        "replay" => Err(bad_usage("replay needs a case".into())),
        "explain" => {
            let (run, ended) = lab.record(&arguments.case(&lab)?).map_err(|error| error.to_string())?;
            let divergence = run.divergence().map(|text| format!("\n{text}\n")).unwrap_or_default();
            let text = format!("{}\n{divergence}\n{ended}", run.report(usize::MAX));
            Ok((text, ended.class.is_converged()))
        }
        "shrink" => shrink(&lab, &arguments),
        "view" => {
            let timeline = lab.view(&arguments.case(&lab)?).map_err(|error| error.to_string())?;
            let timeline = timeline.ok_or("the run recorded no history")?;
            let page = timeline.page().map_err(|error| error.to_string())?;
            let path = arguments.out.as_deref().unwrap_or("run.html");
            write(path, &page)?;
            Ok((format!("{}: {path}", timeline.verdict), true))
        }
        other => Err(bad_usage(format!("there is no command {other}"))),
    }
}

fn write(path: &str, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {path}: {error}"))
}

fn run_case<S: Subject>(lab: &Lab<S>, case: &Case, json: bool) -> Result<(String, bool), String> {
    let (run, ended) = lab.record(case).map_err(|error| error.to_string())?;
    let good = ended.class.is_converged();
    let RunResult { class, reason, at, events, trace, .. } = &ended;
    if json {
        let report = serde_json::json!({
            "seed": case.seed, "class": class.as_str(), "reason": reason, "at_us": at.as_micros(),
            "events": events, "trace": trace.to_string(),
        });
        return Ok((report.to_string(), good));
    }
    let report = if good { String::new() } else { format!("{}\n\n", run.report(LINES)) };
    let acknowledged = run.acknowledged().len();
    Ok((format!("{report}seed {}: {ended}, {acknowledged} operations, trace {trace}", case.seed), good))
}

fn sweep<S: Subject>(lab: &Lab<S>, arguments: &Arguments) -> Result<(String, bool), String> {
    let sweep = lab.sweep(arguments.seeds.clone()).map_err(|error| error.to_string())?;
    if arguments.json {
        return Ok((serde_json::to_string(&sweep).map_err(|error| error.to_string())?, sweep.is_good()));
    }
    let mut text = format!("{} seeds, {} converged, {} events", sweep.seeds, sweep.converged, sweep.events);
    for (class, count) in sweep.classes.iter().filter(|(class, _)| sweep.first(class).is_some()) {
        let first = sweep.first(class).expect("the filter leaves classes with a failure");
        text += &format!("\n  {count} ended as {class}; the first is seed {}: {}", first.seed, first.reason);
    }
    if let Some(SeedFailure { seed, .. }) = sweep.failures.first() {
        text += &format!("\nnext: the same with `shrink --seed {seed}`, or `explain` or `view`");
    }
    Ok((text, sweep.is_good()))
}

fn shrink<S: Subject>(lab: &Lab<S>, arguments: &Arguments) -> Result<(String, bool), String> {
    let case = arguments.case(lab)?;
    let shrunk = lab.shrink(&case, MOST_RUNS, &mut |_| true).map_err(|error| error.to_string())?;
    let text = shrunk.case.to_text().map_err(|error| error.to_string())?;
    let path = arguments.out.as_deref().unwrap_or("small.toml");
    write(path, &text)?;
    let to = shrunk.case.size();
    let from = shrunk.from;
    Ok((format!("{from}\n  became {to}, in {} runs: {path}\n\n{}", shrunk.runs, text.trim_end()), true))
}
