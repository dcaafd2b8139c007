//! Sets one setting of the replicas by its name, as flags give it.

use crate::case::Case;
use crate::case::error::{CaseError, unreadable};
use syncline_types::Limit;
use toml::{Table, Value};

impl Case {
    /// Gives a setting of the replicas, or one of their limits, the value that this text states. The names are
    /// those of the table `[replica]`.
    ///
    /// # Errors
    ///
    /// If there is no such setting, or it cannot have that value.
    pub fn set_replica(&mut self, name: &str, value: &str) -> Result<(), CaseError> {
        let table = Table::try_from(&self.replica);
        let mut settings = table.map_err(|error| CaseError::Unwritable(error.to_string()))?;
        let value = value.parse().map_or_else(|_| Value::String(value.to_owned()), Value::Integer);
        let is_limit = Limit::ALL.iter().any(|limit| limit.name() == name);
        match settings.get_mut("limits") {
            Some(Value::Table(limits)) if is_limit => limits.insert(name.to_owned(), value),
            _ => settings.insert(name.to_owned(), value),
        };
        self.replica = settings.try_into().map_err(|error| unreadable(&error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_types::SimDuration;

    #[test]
    fn replica_settings_survive_text() {
        let mut case = Case { scenario: Some(crate::case::ScenarioSpec::default()), ..Case::default() };
        assert!(!case.to_text().unwrap().contains("replica"), "defaults are not written");
        case.set_replica("backoff_max", "1s").unwrap();
        case.set_replica("max_sessions", "2").unwrap();
        case.set_replica("page_bytes", "64").unwrap();
        let text = case.to_text().unwrap();
        let section = "[replica]\nbackoff_max = \"1s\"\nlimits = { page_bytes = 64 }\nmax_sessions = 2\n";
        assert!(text.contains(section), "{text}");
        assert_eq!(text.parse::<Case>().unwrap(), case);
        assert_eq!(case.replica.backoff_max, SimDuration::from_secs(1));
    }

    #[test]
    fn refuses_settings_that_cannot_be() {
        let refused = |name, value| Case::default().set_replica(name, value).unwrap_err().to_string();
        assert!(refused("page_bytes", "0").contains("between 1 and 262144"));
        assert!(refused("backof_max", "1s").contains("did you mean \"backoff_max\"?"));
        assert!(refused("backoff_max", "soon").contains("a time looks like"));
        let text = "[scenario]\n[replica]\nbackoff_max = \"1ms\"\n";
        let error = text.parse::<Case>().unwrap_err().to_string();
        assert!(error.contains("replica.backoff_max (in ms) is 1; it must lie between 250"), "{error}");
    }
}
