//! Merge functions that are missing, panic, or are no join cost the values that are shown, and never the agreement of
//! replicas.

use std::collections::BTreeSet;
use sync_sim::prelude::*;
use sync_sim::workload::{MergeFaults, MergeFunction, Mix};
use syncline_replica::MergeFailure;
use syncline_replica::model::{Merged, ReadError};

/// The three writers of a case, each of which merges a bit of its own at the same time.
fn writers(faults: &str) -> Case {
    let merge = |at: &str, node: &str, state: &str| {
        format!(
            "{{ at = \"{at}\", write = {{ node = \"{node}\", ops = [{{ merge = {{ target = \"flags\", \
             type = \"workload.flags\", in = \"{state}\" }} }}] }} }},"
        )
    };
    // The letters are 0b1100001, 0b1100010 and 0b1110000.
    let script = [merge("1s", "alice", "a"), merge("1s", "bob", "b"), merge("1s", "carol", "p")].concat();
    let nodes = "nodes = [{ name = \"alice\" }, { name = \"bob\" }, { name = \"carol\" }]";
    format!("merge_faults = {faults}\n{nodes}\nscript = [{script}]").parse().unwrap()
}

/// Runs a case, which must converge, and gives what each node shows.
fn shown(case: &Case) -> Vec<Result<Option<Vec<u8>>, ReadError>> {
    let mut rt = case.build().unwrap();
    let stop = rt.run();
    assert_eq!(stop, StopCondition::Converged, "{case}");
    let flags = Merged::named("flags");
    let nodes = rt.node_ids();
    let states = nodes.iter().map(|node| rt.node(*node).state().unwrap());
    let mut states: Vec<_> = states.collect();
    let operands: BTreeSet<_> = states.iter_mut().map(|state| flags.operands(state).unwrap()).collect();
    assert_eq!(operands.len(), 1, "all nodes have the same operands");
    states.iter_mut().map(|state| flags.get(state)).collect()
}

fn failure(shown: &Result<Option<Vec<u8>>, ReadError>) -> (usize, MergeFailure) {
    match shown {
        Err(ReadError::Unmerged { unmerged, .. }) => (unmerged.operands, unmerged.reason.clone()),
        shown => panic!("{shown:?} is shown"),
    }
}

#[test]
fn node_without_the_function_has_the_operands() {
    let shown = shown(&writers("{ lacking = 1 }"));
    assert_eq!(failure(&shown[0]), (3, MergeFailure::Missing));
    assert!(shown[1..].iter().all(|shown| *shown == Ok(Some(vec![0b111_0011]))), "{shown:?}");
}

#[test]
fn panic_is_said_where_the_value_is_read() {
    for shown in shown(&writers("{ function = \"panics\" }")) {
        let (operands, reason) = failure(&shown);
        assert_eq!(operands, 3);
        assert!(reason.to_string().contains("panicked, as the case wants"), "{reason}");
    }
}

#[test]
fn nodes_agree_on_what_a_function_shows_that_is_no_join() {
    let shown = shown(&writers("{ function = \"appends\" }"));
    let letters: BTreeSet<u8> = shown[0].clone().unwrap().unwrap().into_iter().collect();
    assert_eq!(letters, BTreeSet::from(*b"abp"));
    assert!(shown.iter().all(|one| *one == shown[0]), "{shown:?}");
}

/// A join, but not the one that the application means: all nodes agree on a value that nobody wrote.
///
/// Promises: C6
#[test]
fn wrong_join_is_a_finding() {
    let stop = writers("{ function = \"intersects\" }").build().unwrap().run();
    let StopCondition::Violated(Check::Lost { wrong, .. } | Check::WrongValue { wrong, .. }) = &stop else {
        panic!("{stop}");
    };
    assert!(wrong.to_string().contains("workload.flags \"s\" must be"), "{stop}");
}

/// Of a hundred values, a replica without the function once received none, in 540 sessions in ten minutes.
#[test]
fn newcomer_without_the_function_takes_everything_at_once() {
    let mut rt =
        SimRuntime::with_config(SimConfig { max_time: SimTime::from_secs(600), ..SimConfig::with_seed(4) });
    let nodes: [NodeId; 2] = rt.apply_scenario_n(Scenario::n_nodes_synced(2, 3));
    let late = rt.add_node("late");
    rt.configure(late, |config| config.merges = syncline_replica::Merges::default());
    for node in nodes {
        rt.partition_bidirectional(node, late, Some(5_000.into()));
    }
    let flags = |key: u64| Merged::named(&format!("flags {key}"));
    for key in 0..100 {
        for (node, bit) in nodes.into_iter().zip([1, 2]) {
            rt.write_at(
                SimTime::from_millis(100 + key),
                node,
                vec![flags(key).merge("workload.flags", &[bit])],
            );
        }
    }
    assert_eq!(rt.run(), StopCondition::Converged);
    let mut state = rt.node(late).state().unwrap();
    let taken = (0..100).filter(|key| flags(*key).operands(&mut state).unwrap().len() == 2).count();
    assert_eq!(taken, 100, "of 100 values");
    let sessions = rt.sessions().len();
    assert!(sessions <= 20, "{sessions} sessions");
}

/// Under faults of every kind, with many writes of one value.
#[test]
fn no_function_divides_replicas() {
    let functions = [
        MergeFaults { lacking: 1, ..MergeFaults::NONE },
        MergeFaults { lacking: 2, ..MergeFaults::NONE },
        MergeFaults { function: MergeFunction::Panics, ..MergeFaults::NONE },
        MergeFaults { lacking: 1, function: MergeFunction::Appends },
    ];
    let mix = Mix { merge: 40, ..Mix::BALANCED };
    for seed in 0..if cfg!(debug_assertions) { 4 } else { 100 } {
        for merge_faults in functions {
            let workload = Workload { mix, ..Workload::new(60, SimDuration::from_secs(3)) };
            let faults = FaultConfig::heavy_chaos();
            let case = Case { seed, faults, merge_faults, workload, ..writers("{}") };
            let ended = case.run().unwrap();
            assert!(ended.class.is_converged(), "seed {seed}, {merge_faults:?}: {ended}");
        }
    }
}
