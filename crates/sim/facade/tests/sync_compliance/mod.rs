//! The compliance cases: negotiation (N), buffering (B), merging (M), end to end (E), safety (S) and the
//! invariants (I1 to I12). `docs/promises.md` lists the promise of each.
//!
//! A case is a function of a network. The same body runs on a clean network and under heavy chaos with
//! several seeds. With the feature `canary`, `under_canary` asserts that cases fail when the code is
//! broken on purpose.

use std::error::Error;
use sync_sim::prelude::*;

/// Ends a case with an error, unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+).into());
        }
    };
}

mod buffering;
mod end_to_end;
mod hostile;
mod invariants;
mod merging;
mod negotiation;
mod safety;
#[cfg(feature = "canary")]
mod under_canary;

/// The result of a case; the error says what was found.
type Verdict = Result<(), Box<dyn Error>>;

/// A case on one network.
type Case = fn(&Net) -> Verdict;

/// Chaos seeds with which each case runs.
const SEEDS: u64 = 40;

/// The network of a case and the seed of all random choices.
struct Net {
    seed: u64,
    faults: FaultConfig,
}

impl Net {
    fn clean() -> Self {
        Self { seed: 1, faults: FaultConfig::default() }
    }

    fn chaos(seed: u64) -> Self {
        Self { seed, faults: FaultConfig::heavy_chaos() }
    }

    fn is_clean(&self) -> bool {
        self.faults == FaultConfig::default()
    }

    fn config(&self) -> SimConfig {
        SimConfig::with_seed(self.seed).with_faults(self.faults.clone())
    }

    /// The network without crashes, for cases about state that a crash may lose.
    fn config_without_crashes(&self) -> SimConfig {
        self.config().with_faults(self.faults.clone().with_crashes(0.0, 0..1))
    }

    /// A run on this network with a scenario.
    fn start<const N: usize>(&self, scenario: Scenario) -> (SimRuntime, [NodeId; N]) {
        start(self.config(), scenario)
    }
}

fn start<const N: usize>(config: SimConfig, scenario: Scenario) -> (SimRuntime, [NodeId; N]) {
    let mut rt = SimRuntime::with_config(config);
    let nodes = rt.apply_scenario_n(scenario);
    (rt, nodes)
}

/// Runs a case on a clean network and then under chaos. The error names the network.
fn everywhere(case: Case) -> Result<(), String> {
    case(&Net::clean()).map_err(|error| format!("on a clean network: {error}"))?;
    (0..SEEDS)
        .try_for_each(|seed| case(&Net::chaos(seed)).map_err(|error| format!("chaos, seed {seed}: {error}")))
}

#[track_caller]
fn holds(case: Case) {
    if let Err(error) = everywhere(case) {
        panic!("{error}");
    }
}

/// Runs until all nodes agree on the acknowledged writes.
fn converge(rt: &mut SimRuntime) -> Verdict {
    let stop = rt.run();
    ensure!(stop == StopCondition::Converged, "{stop}\n{}", rt.explain());
    Ok(())
}

/// Runs until `done`, which must hold before the run has converged or time is up.
fn run_until(rt: &mut SimRuntime, what: &str, done: impl FnMut(&SimRuntime) -> bool) -> Verdict {
    let stop = rt.run_until(done);
    ensure!(stop == StopCondition::Manual, "it never came to this: {what}; {stop}");
    Ok(())
}

/// A write of `text` to the child of the root with this number.
fn set(key: u64, text: &str) -> Operation {
    Operation::Set { target: Target::top(EntityId::from_u64(key)), bytes: text.into() }
}

/// The protocols of ended sessions, in the order of their ends.
fn chosen(rt: &SimRuntime) -> Vec<SyncProtocolKind> {
    rt.sessions().iter().filter_map(|session| session.protocol).collect()
}

/// Whether a session chose this protocol. A crash may have lost the only session that did, with what it
/// had not transferred.
fn ran(rt: &SimRuntime, protocol: SyncProtocolKind) -> bool {
    chosen(rt).contains(&protocol) || rt.metrics().effects.node_crashes > 0
}
