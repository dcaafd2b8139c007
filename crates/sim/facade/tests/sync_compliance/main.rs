//! The compliance cases: negotiation (N), buffering (B), merging (M), end to end (E), safety (S) and the
//! invariants (I1 to I12). `docs/promises.md` says what each of them promises.
//!
//! A case is a function of a network. It runs on a clean one and under heavy chaos with several seeds, the
//! same body each time. With the feature `canary`, `under_canary` demands that cases fail when the code is
//! broken on purpose.

use std::error::Error;
use sync_sim::prelude::*;

/// Ends a case with words, unless the condition holds.
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

/// Whether a case held, and what was found if not.
type Verdict = Result<(), Box<dyn Error>>;

/// What a case does on one network.
type Case = fn(&Net) -> Verdict;

/// Seeds of chaos that each case runs with.
const SEEDS: u64 = 40;

/// The network that a case runs on, and the seed of all chance.
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

    /// The same without crashes, for cases about something that a crash is allowed to lose.
    fn config_without_crashes(&self) -> SimConfig {
        self.config().with_faults(self.faults.clone().with_crashes(0.0, 0..1))
    }

    /// A run on this network that begins with a scenario.
    fn start<const N: usize>(&self, scenario: Scenario) -> (SimRuntime, [NodeId; N]) {
        start(self.config(), scenario)
    }
}

fn start<const N: usize>(config: SimConfig, scenario: Scenario) -> (SimRuntime, [NodeId; N]) {
    let mut rt = SimRuntime::with_config(config);
    let nodes = rt.apply_scenario_n(scenario);
    (rt, nodes)
}

/// Runs a case on a clean network and then under chaos. The error says on which it did not hold.
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

/// Runs until all agree, on what was written.
fn converge(rt: &mut SimRuntime) -> Verdict {
    let stop = rt.run();
    ensure!(stop == StopCondition::Converged, "{stop}\n{}", rt.explain());
    Ok(())
}

/// Runs until `done`, which must come before everything has converged and time is up.
fn run_until(rt: &mut SimRuntime, what: &str, done: impl FnMut(&SimRuntime) -> bool) -> Verdict {
    let stop = rt.run_until(done);
    ensure!(stop == StopCondition::Manual, "it never came to this: {what}; {stop}");
    Ok(())
}

/// The child of the root with this number, set to `text`.
fn set(key: u64, text: &str) -> Operation {
    Operation::Set { target: Target::top(EntityId::from_u64(key)), bytes: text.into() }
}

/// The protocols that were chosen so far, in the order in which their sessions ended.
fn chosen(rt: &SimRuntime) -> Vec<SyncProtocolKind> {
    rt.sessions().iter().filter_map(|session| session.protocol).collect()
}

/// Whether a session chose this protocol. A crash may have lost the only one that did, and what it did not.
fn ran(rt: &SimRuntime, protocol: SyncProtocolKind) -> bool {
    chosen(rt).contains(&protocol) || rt.metrics().effects.node_crashes > 0
}
