//! What a run reached, as features by which runs are compared.

use crate::case::{Case, RunResult};
use crate::coverage::Coverage;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use sync_sim_cluster::runtime::SimRuntime;

/// A feature of a run.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Feature {
    /// A coverage target.
    Target(String),
    /// Two rare branches of replicas in one run.
    Pair(&'static str, &'static str),
    /// A counter of the run, and the number of binary digits of its value.
    Counter(String, u32),
}

/// What a run reached, and how long it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunFeatures {
    pub(super) features: BTreeSet<Feature>,
    /// The number of random draws of the run.
    pub(super) draws: u64,
}

impl RunFeatures {
    /// The features of a run that has ended. O(sessions + branches²).
    pub fn of(case: &Case, rt: &SimRuntime, ended: &RunResult) -> Self {
        let mut features = BTreeSet::new();
        features.extend(Coverage::of(case, rt, ended).names().map(|name| Feature::Target(name.to_owned())));
        let branches: Vec<&'static str> = rt.probes().iter().map(|probe| probe.words()).collect();
        for (at, one) in branches.iter().enumerate() {
            features.extend(branches[at + 1..].iter().map(|other| Feature::Pair(one, other)));
        }
        let metrics = rt.metrics();
        count("protocol", &metrics.protocol, &mut features);
        count("effects", &metrics.effects, &mut features);
        count("events", &rt.events_processed(), &mut features);
        Self { features, draws: rt.draws() }
    }
}

/// Adds the counters of `metrics`. Each doubling of a counter is a feature of its own.
fn count(name: &str, metrics: &impl Serialize, features: &mut BTreeSet<Feature>) {
    let value = serde_json::to_value(metrics).expect("metrics are numbers with names");
    let mut left = vec![(name.to_owned(), value)];
    while let Some((name, value)) = left.pop() {
        match value {
            Value::Object(fields) => {
                left.extend(fields.into_iter().map(|(field, value)| (format!("{name}.{field}"), value)));
            }
            value => {
                let digits = u64::BITS - value.as_u64().unwrap_or_default().leading_zeros();
                features.insert(Feature::Counter(name, digits));
            }
        }
    }
}
