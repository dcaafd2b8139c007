//! Reading and writing cases as TOML.

use crate::case::error::CaseError;
use crate::case::{Case, FORMAT, error};
use serde::Serialize;
use std::fmt::{self, Write};
use std::str::FromStr;
use sync_sim_cluster::runtime::ReplicaSettings;
use sync_sim_cluster::workload::Workload;
use sync_sim_engine::faults::FaultConfig;
use toml::{Table, Value};

impl FromStr for Case {
    type Err = CaseError;

    /// Parses a case and checks everything that can be checked without running it.
    fn from_str(text: &str) -> Result<Self, CaseError> {
        let case: Self = toml::from_str(text).map_err(|error| error::unreadable(&error))?;
        if case.version != FORMAT {
            return Err(CaseError::Version { found: case.version });
        }
        case.check()?;
        Ok(case)
    }
}

fn table(value: &impl Serialize) -> Result<Table, CaseError> {
    Table::try_from(value).map_err(|error| CaseError::Unwritable(error.to_string()))
}

/// Writes a value in one line, as an item of a list.
fn inline(value: &impl Serialize) -> Result<String, CaseError> {
    let mut line = String::new();
    value
        .serialize(toml::ser::ValueSerializer::new(&mut line))
        .map_err(|error| CaseError::Unwritable(error.to_string()))?;
    Ok(line)
}

/// Writes a list with one line per item.
fn list<T: Serialize>(key: &str, items: &[T], to: &mut String) -> Result<(), CaseError> {
    if !items.is_empty() {
        let lines = items.iter().map(|item| Ok(format!("    {},\n", inline(item)?)));
        let lines: String = lines.collect::<Result<_, CaseError>>()?;
        *to += &format!("\n{key} = [\n{lines}]\n");
    }
    Ok(())
}

/// Removes the settings that have their default value.
fn without(mut table: Table, defaults: &Table) -> Table {
    table.retain(|key, value| defaults.get(key) != Some(value));
    table
}

impl Case {
    /// The text of a case file: the settings that differ from their defaults, then one line for each node,
    /// rule, event and frame.
    ///
    /// # Errors
    ///
    /// If a value cannot be represented in TOML.
    pub fn to_text(&self) -> Result<String, CaseError> {
        let mut text = format!("version = {}\n", self.version);
        // In TOML, a table swallows all keys after its heading: plain settings come before lists, and both before
        // sections.
        let mut settings = without(table(self)?, &table(&Self::default())?);
        for first in ["found", "seed"] {
            if let Some(value) = settings.remove(first) {
                text += &format!("{first} = {value}\n");
            }
        }
        let lists = ["shared", "nodes", "rules", "script", "frames"];
        for (key, value) in settings.iter().filter(|(key, _)| !lists.contains(&key.as_str())) {
            if !value.is_table() {
                text += &format!("{key} = {value}\n");
            }
        }
        list("shared", &self.shared, &mut text)?;
        list("nodes", &self.nodes, &mut text)?;
        list("rules", &self.rules, &mut text)?;
        list("script", &self.script, &mut text)?;
        list("frames", &self.frames, &mut text)?;
        let defaults = |key: &str| match key {
            "faults" => table(&FaultConfig::default()),
            "workload" => table(&Workload::default()),
            "replica" => table(&ReplicaSettings::default()),
            _ => Ok(Table::new()),
        };
        for (key, value) in &settings {
            let Value::Table(section) = value else { continue };
            let _ = write!(text, "\n[{key}]\n");
            for (key, value) in without(section.clone(), &defaults(key)?) {
                text += &format!("{key} = {value}\n");
            }
        }
        Ok(text)
    }

    /// The case as a Rust test to paste, which fails for as long as the bug exists.
    ///
    /// # Errors
    ///
    /// As [`Case::to_text`].
    pub fn to_rust(&self) -> Result<String, CaseError> {
        let text = self.to_text()?;
        let found = self.found.as_ref().map_or("diverged", |class| class.as_str());
        // The raw string needs more `#` than any `"#` in the text could close.
        let marks = "#".repeat(1 + text.matches("\"#").count());
        Ok(format!(
            "/// Found as `{found}`: {}.\n#[test]\nfn {}() {{\n    let case: sync_sim::case::Case = r{marks}\"\n{text}\"{marks}\n    \
             .parse()\n    .expect(\"a case\");\n    let ended = case.run().expect(\"a case that can be run\");\n    \
             assert!(ended.class.is_converged(), \"{{ended}}\");\n}}\n",
            self.size(),
            self.found.as_ref().map_or_else(
                || "the_case_converges".to_owned(),
                |class| format!("no_longer_{}", class.slug().replace('-', "_"))
            ),
        ))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text().map_err(|_| fmt::Error)?)
    }
}
