//! What to know of a run that ran out of time or events: whether it was still making progress, and which fault has
//! not ended.

use crate::runtime::SimRuntime;
use crate::verdict::ConvergenceBlockers;
use sync_sim_engine::faults::Rate;
use sync_sim_engine::network::ActivePartition;
use syncline_sync::Outcome;
use syncline_types::SimTime;

impl SimRuntime {
    /// As [`SimRuntime::blockers`], for a run that ran out of time or events at `end`.
    pub(super) fn blockers_at_limit(&self, end: SimTime) -> ConvergenceBlockers {
        ConvergenceBlockers { ran_out: self.ran_out(end), ..self.blockers() }
    }

    /// Whether the run made progress in the last tenth of its time, and the faults that have not ended, in words.
    fn ran_out(&self, end: SimTime) -> Vec<String> {
        let mut words = vec![self.progress_words(end)];
        let unended = self.unended_faults();
        if !unended.is_empty() {
            words.push(format!("not ended yet: {}", unended.join(", ")));
        }
        words
    }

    fn progress_words(&self, end: SimTime) -> String {
        let since = SimTime::from_micros(end.as_micros() - end.as_micros() / 10);
        let nodes = || self.honest().map(|(node, _)| node);
        let changes: usize = nodes().map(|node| self.world.changes_since(node, since)).sum();
        let last = nodes().map(|node| self.world.last_change(node)).max().unwrap_or_default();
        let ended = self.sessions().iter().filter(|session| session.ended_at >= since);
        let sessions = ended.clone().count();
        let converged = ended.filter(|session| matches!(session.outcome, Outcome::Converged { .. })).count();
        let recently = format!(
            "in the last tenth of the time, since {since}, {sessions} sessions ended ({converged} converged)"
        );
        match changes {
            0 => format!("it was making no progress: no state has changed since {last}, and {recently}"),
            1 => format!("it was still making progress: {recently} and a state changed"),
            changes => format!("it was still making progress: {recently} and states changed {changes} times"),
        }
    }

    /// The faults that were still in force when the run stopped.
    fn unended_faults(&self) -> Vec<String> {
        let now = self.now();
        let router = self.world.router();
        let mut words: Vec<String> =
            router.partitions().active(now).map(|partition| self.partition_words(partition)).collect();
        words.extend(router.rules().in_force(now).map(|rule| format!("the rule \"{rule}\"")));
        if let Some(at) = self.world.next_scripted() {
            words.push(format!("the script, whose next event is due at {at}"));
        }
        let until = self.world.chaos_until();
        words.extend(self.damage_to_frames());
        let random = self.random_faults();
        if until > now && !random.is_empty() {
            let until = if until == SimTime::MAX { "for ever".to_owned() } else { format!("until {until}") };
            words.push(format!("{} at random {until}", random.join(", ")));
        }
        words
    }

    fn partition_words(&self, partition: &ActivePartition) -> String {
        let cut = partition.spec.words(&|node| self.name(node));
        let end = partition.end.map_or_else(|| "without an end".to_owned(), |end| format!("until {end}"));
        format!("the partition {cut} (since {}, {end})", partition.since)
    }

    /// The random faults of frames, which do not end with those of nodes.
    fn damage_to_frames(&self) -> Vec<String> {
        let faults = self.world.faults();
        let rates = [(faults.message_loss_rate, "loss"), (faults.corruption_rate, "corruption")];
        let standing = rates.into_iter().filter(|(rate, _)| *rate > Rate::ZERO);
        standing.map(|(rate, name)| format!("the {name} of {rate} of all frames")).collect()
    }

    /// The kinds of random faults of nodes and partitions that the settings have.
    fn random_faults(&self) -> Vec<&'static str> {
        let faults = self.world.faults();
        let rates = [
            (faults.partition_probability, "partitions"),
            (faults.crash_probability, "crashes"),
            (faults.churn_probability, "departures"),
        ];
        rates.into_iter().filter(|(rate, _)| *rate > Rate::ZERO).map(|(_, name)| name).collect()
    }
}
