//! Rules that interfere with chosen frames of a run.

use crate::runtime::sim_runtime::SimRuntime;
use std::ops::{Deref, DerefMut};
use sync_sim_engine::network::{Rule, RuleId, RuleUse};

impl SimRuntime {
    /// Adds a rule. It is evaluated for every frame, after all other rules, until it is removed.
    pub fn add_rule(&mut self, rule: Rule) -> RuleId {
        self.world.add_rule(rule)
    }

    /// Removes a rule. Returns how often it was evaluated, or `None` if it was removed already.
    pub fn remove_rule(&mut self, rule: RuleId) -> Option<RuleUse> {
        self.world.remove_rule(rule)
    }

    /// How often a rule in force was evaluated.
    pub fn rule_use(&self, rule: RuleId) -> Option<RuleUse> {
        self.world.rule_use(rule)
    }

    /// The run under one more rule for the lifetime of the guard. Guards nest.
    ///
    /// ```
    /// use sync_sim::prelude::*;
    ///
    /// let mut rt = SimRuntime::with_seed(1);
    /// rt.apply_scenario(Scenario::n_nodes_diverged(2, 3));
    /// {
    ///     let mut mute = rt.under_rule(Rule::new(Verdict::Drop));
    ///     mute.run_until(|rt| rt.now() > SimTime::from_secs(2));
    ///     assert_not_converged!(mute);
    /// }
    /// assert_eq!(rt.run(), StopCondition::Converged);
    /// ```
    pub fn under_rule(&mut self, rule: Rule) -> RuleGuard<'_> {
        let id = self.add_rule(rule);
        RuleGuard { runtime: self, id }
    }
}

/// A run under a rule. Dropping the guard removes the rule.
#[derive(Debug)]
pub struct RuleGuard<'a> {
    runtime: &'a mut SimRuntime,
    id: RuleId,
}

impl RuleGuard<'_> {
    /// The id of the rule.
    pub const fn id(&self) -> RuleId {
        self.id
    }

    /// How often the rule was evaluated.
    pub fn used(&self) -> RuleUse {
        self.runtime.rule_use(self.id).unwrap_or_default()
    }
}

impl Deref for RuleGuard<'_> {
    type Target = SimRuntime;

    fn deref(&self) -> &SimRuntime {
        self.runtime
    }
}

impl DerefMut for RuleGuard<'_> {
    fn deref_mut(&mut self) -> &mut SimRuntime {
        self.runtime
    }
}

impl Drop for RuleGuard<'_> {
    fn drop(&mut self) {
        self.runtime.remove_rule(self.id);
    }
}
