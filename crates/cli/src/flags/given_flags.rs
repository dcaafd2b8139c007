//! The flags of a simulation that the user typed, and the command line that repeats them.

use crate::flags::SimArgs;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

/// The flags of [`SimArgs`] that were typed, in the order in which `SimArgs` declares them.
///
/// The list is read from clap, so it can neither miss a flag nor name one that does not exist. It is a part
/// of `SimArgs` without arguments of its own. It must be the first field there: clap takes the values
/// of later fields out of the matches one after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct GivenFlags(Vec<GivenFlag>);

/// One flag as it was typed.
#[derive(Clone, Debug)]
struct GivenFlag {
    /// The long name without its dashes.
    name: String,
    /// The value as typed; `None` for a switch.
    value: Option<String>,
    /// Whether the value is the flag's default, spelled in the same way.
    is_default: bool,
}

impl GivenFlag {
    /// The flag that `arg` declares, if the user typed it.
    fn of(arg: &Arg, matches: &ArgMatches) -> Option<Self> {
        let id = arg.get_id().as_str();
        if matches.value_source(id) != Some(ValueSource::CommandLine) {
            return None;
        }
        let name = arg.get_long()?.to_owned();
        if !arg.get_action().takes_values() {
            return Some(Self { name, value: None, is_default: false });
        }
        // A list arrives as one raw value for each element.
        let typed = matches.get_raw(id).into_iter().flatten();
        let typed: Vec<String> = typed.map(|value| value.to_string_lossy().into_owned()).collect();
        let default = arg.get_default_values().iter().map(|value| value.to_string_lossy());
        let is_default = default.eq(typed.iter().map(String::as_str));
        Some(Self { name, value: Some(typed.join(",")), is_default })
    }
}

impl GivenFlags {
    /// Whether the user typed the flag of this long name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|flag| flag.name == name)
    }

    /// The long names of the flags that were typed.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|flag| flag.name.as_str())
    }

    /// Makes the command line say `--name value`, whatever was typed. A flag that was not typed goes to the
    /// front, which is the place of `--case` and `--swarm`, the only flags that commands set by themselves.
    pub(crate) fn set(&mut self, name: &str, value: Option<String>) {
        let flag = GivenFlag { name: name.to_owned(), value, is_default: false };
        match self.0.iter_mut().find(|given| given.name == name) {
            Some(given) => *given = flag,
            None => self.0.insert(0, flag),
        }
    }

    /// The words of the command line that repeats the flags. A flag at its default is left out unless
    /// `with_defaults` says that it matters: over a case file, it overrides what the file says.
    pub(crate) fn command_line(&self, with_defaults: bool) -> Vec<String> {
        let mut words = Vec::new();
        for flag in self.0.iter().filter(|flag| with_defaults || !flag.is_default) {
            words.push(format!("--{}", flag.name));
            words.extend(flag.value.clone());
        }
        words
    }
}

impl FromArgMatches for GivenFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let declared = SimArgs::augment_args(Command::new("simulation"));
        Ok(Self(declared.get_arguments().filter_map(|arg| GivenFlag::of(arg, matches)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for GivenFlags {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Simulation {
        #[command(flatten)]
        sim: SimArgs,
    }

    fn parsed(line: &str) -> SimArgs {
        Simulation::parse_from([&["simulation"], &*line.split(' ').collect::<Vec<_>>()].concat()).sim
    }

    #[test]
    fn typed_flags_keep_their_spelling() {
        let sim = parsed("--max-time 5s --nodes 5 --hostile 1 --lies garbage,lying_root --loss 0.20");
        let line = "--nodes 5 --loss 0.20 --max-time 5s --hostile 1 --lies garbage,lying_root";
        assert_eq!(sim.given.command_line(false).join(" "), line);
    }

    #[test]
    fn defaults_matter_over_a_case() {
        let sim = parsed("--nodes 3 --write-for 3s --topology mesh --writes 31");
        assert_eq!(sim.given.command_line(false), ["--writes", "31"]);
        let line = "--nodes 3 --writes 31 --write-for 3s --topology mesh";
        assert_eq!(sim.given.command_line(true).join(" "), line);
    }

    #[test]
    fn set_flags_replace_typed_ones() {
        let mut sim = parsed("--nodes 5 --protocol each");
        sim.given.set("protocol", Some("snapshot".into()));
        sim.given.set("swarm", None);
        assert_eq!(sim.given.command_line(true).join(" "), "--swarm --nodes 5 --protocol snapshot");
        assert!(sim.given.contains("swarm") && !sim.given.contains("entities"));
    }
}
