//! The bounds of the counts in a case. What a file asks for is made in memory before the run begins, so that a count
//! out of bounds would end the process.
//!
//! The flags of the command have the same bounds.

use crate::case::{Case, CaseError, Entities, ScenarioSpec};
use sync_sim_cluster::runtime::MAX_FORMER_AUTHORS;
use sync_sim_engine::faults::MOST_JOINERS;

/// The most nodes that a run begins with.
pub const MOST_NODES: u32 = 10_000;
/// The most entities of one node of a named scenario, and of one run of names such as `alice/0..300`.
pub const MOST_ENTITIES: u32 = 10_000_000;
/// The most entities of all nodes and contexts together; the limit keeps a run within the memory of one machine.
const MOST_ENTITIES_IN_ALL: u64 = 20_000_000;

impl Case {
    /// Checks every count that decides how much a run takes before its first event.
    ///
    /// # Errors
    ///
    /// The first count that is out of bounds.
    pub(crate) fn check_counts(&self) -> Result<(), CaseError> {
        self.workload.validate()?;
        let most = MOST_NODES as usize;
        if self.nodes.len() > most {
            return Err(CaseError::impossible(
                "nodes",
                format!("{} of them; the limit is {most}", self.nodes.len()),
            ));
        }
        if let Some(ScenarioSpec { nodes, .. }) = self.scenario
            && !(1..=most).contains(&nodes)
        {
            return Err(CaseError::impossible(
                "scenario",
                format!("{nodes} nodes; there are from 1 to {most}"),
            ));
        }
        let joins = (self.joiners().count() as u64).saturating_add(self.faults.late_joiners);
        if joins > MOST_JOINERS {
            let problem = format!("{joins} nodes join, late joiners included; the limit is {MOST_JOINERS}");
            return Err(CaseError::impossible("script", problem));
        }
        if self.former_authors > MAX_FORMER_AUTHORS {
            let problem = format!("{} of them; the limit is {MAX_FORMER_AUTHORS}", self.former_authors);
            return Err(CaseError::impossible("former_authors", problem));
        }
        self.check_entities()
    }

    fn check_entities(&self) -> Result<(), CaseError> {
        const MOST: u64 = MOST_ENTITIES_IN_ALL;
        let contexts = self.contexts as u64;
        if let Some(ScenarioSpec { nodes, entities, .. }) = self.scenario {
            let all = (nodes as u64).saturating_mul(entities as u64);
            if all > MOST {
                let problem =
                    format!("{nodes} nodes with {entities} entities each; the limit is {MOST} in all");
                return Err(CaseError::impossible("scenario", problem));
            }
            if all.saturating_mul(contexts) > MOST {
                let problem = format!("{all} entities in each of {contexts}; the limit is {MOST} in all");
                return Err(CaseError::impossible("contexts", problem));
            }
        }
        let count = |some: &[Entities]| some.iter().map(Entities::count).fold(0, u64::saturating_add);
        let shared = count(&self.shared);
        let of_nodes = self.nodes.iter().map(|node| {
            let later = node.contexts.iter().map(|contents| count(&contents.entities));
            let own = later.fold(count(&node.entities), u64::saturating_add);
            if node.shared { own.saturating_add(shared) } else { own }
        });
        let found = of_nodes.fold(0, u64::saturating_add);
        if found > MOST {
            let problem =
                format!("{found} entities, the shared ones on each node; the limit is {MOST} in all");
            return Err(CaseError::impossible("nodes", problem));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_sim_cluster::workload::Growth;
    use toml::{Table, Value};

    fn refused(text: &str) -> String {
        text.parse::<Case>().expect_err(text).to_string()
    }

    #[test]
    fn counts_are_bounded() {
        let nodes = "nodes = [{ name = \"a\" }, { name = \"b\" }]\n";
        let said = refused(&format!("{nodes}[workload]\nwrites = 9223372036854775807"));
        assert_eq!(said, "workload.writes is 9223372036854775807; it must lie between 0 and 1000000");
        for (text, words) in [
            ("shared = [\"x/0..10000000\", \"y/0..1000000\"]\n", "22000000 entities"),
            ("former_authors = 9223372036854775807\n", "9223372036854775807 of them"),
            ("contexts = 9223372036854775807\n", "from 1 to 8"),
            ("[faults]\nlate_joiners = 9223372036854775807\n", "late joiners"),
            ("[faults.hostile]\nnodes = 9223372036854775807\n", "hostile nodes is 9223372036854775807"),
            ("[faults]\nslow_node_permille = 9223372036854775807\n", "slow node factor"),
        ] {
            let said = refused(&format!("{nodes}{text}"));
            assert!(said.contains(words), "{text}: {said}");
        }
        let many: String = (0..=MOST_NODES).map(|at| format!("{{ name = \"n{at}\" }},")).collect();
        assert!(refused(&format!("nodes = [{many}]")).contains("10001 of them; the limit is 10000"));
        let joins: String = (0..10_001).map(|at| format!("{{ at = \"1s\", join = \"n{at}\" }},")).collect();
        assert!(refused(&format!("script = [{joins}]\n[scenario]")).contains("10001 nodes join"));
        // A case that was made and not read is checked, too.
        let mut case: Case = nodes.parse().unwrap();
        case.workload.writes = usize::MAX;
        assert!(case.run().unwrap_err().to_string().contains("workload.writes"));
    }

    /// The places of all numbers, ranges and times of a table, each with an extreme value of it.
    fn extremes(table: &Table, path: &[String], found: &mut Vec<(Vec<String>, Value)>) {
        for (key, value) in table {
            let path = [path, std::slice::from_ref(key)].concat();
            let extreme = match value {
                Value::Table(inner) => {
                    extremes(inner, &path, found);
                    continue;
                }
                Value::Integer(_) => Value::Integer(i64::MAX),
                Value::String(text) if text.contains("..") => {
                    Value::String("9223372036854775806..9223372036854775807".into())
                }
                Value::String(text)
                    if text.ends_with('s') && text.starts_with(|c: char| c.is_ascii_digit()) =>
                {
                    Value::String("18446744073709551615us".into())
                }
                _ => continue,
            };
            found.push((path, extreme));
        }
    }

    fn set(table: &mut Table, path: &[String], value: Value) {
        match (path, table.get_mut(&path[0])) {
            ([key], _) => drop(table.insert(key.clone(), value)),
            ([_, rest @ ..], Some(Value::Table(inner))) => set(inner, rest, value),
            _ => unreachable!("the path leads through tables"),
        }
    }

    /// Turns every probability on, so that what goes with it is used.
    fn turn_on(table: &mut Table) {
        for value in table.iter_mut().map(|(_, value)| value) {
            match value {
                Value::Table(inner) => turn_on(inner),
                Value::Float(_) => *value = Value::Float(0.05),
                Value::String(text) if text.contains("..") => *value = Value::String("1..50".into()),
                _ => {}
            }
        }
    }

    /// A case in which everything is on.
    fn busy(grows: Option<Growth>) -> Table {
        let mut case = Case { scenario: Some(ScenarioSpec::default()), ..Case::default() };
        case.workload.writes = 12;
        case.workload.grows = grows;
        case.workload.size = 8;
        case.workload.breaks = 1;
        case.faults.hosts.clock_ahead_ms = 1..50;
        case.faults.hosts.clock_ahead_for_ms = 1..50;
        let mut table = Table::try_from(&case).unwrap();
        turn_on(&mut table);
        table
    }

    #[test]
    fn no_number_of_a_file_breaks_a_run() {
        let mut tried = 0;
        for grows in Growth::ALL.into_iter().map(Some).chain([None]) {
            let table = busy(grows);
            let mut all = Vec::new();
            extremes(&table, &[], &mut all);
            for (path, extreme) in all {
                let is_write = path[0] == "workload";
                // The other settings do not depend on what the writes make large.
                if path[0] == "seed" || path[0] == "version" || grows.is_some() && !is_write {
                    continue;
                }
                let mut table = table.clone();
                set(&mut table, &path, extreme);
                let Ok(case) = toml::to_string(&table).unwrap().parse::<Case>() else { continue };
                let mut asked = 0;
                let ended = case.run_while(&mut || {
                    asked += 1;
                    asked < 20
                });
                let panicked = ended.is_ok_and(|ended| ended.class.as_str().contains("panic"));
                assert!(!panicked, "{path:?} {grows:?}");
                tried += 1;
            }
        }
        assert!(tried >= 20, "only {tried} of the extremes are allowed");
    }
}
