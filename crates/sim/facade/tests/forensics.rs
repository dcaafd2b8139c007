//! Forensics: an investigation finds the event after which a run could not converge, and the history of the
//! records that differ.

use sync_sim::forensics::{Finding, IndexPosition, investigate};
use sync_sim::prelude::*;

fn diverged(seed: u64) -> SimRuntime {
    let mut rt = SimRuntime::with_seed(seed);
    rt.apply_scenario(Scenario::n_nodes_diverged(2, 40));
    rt
}

#[test]
fn converged_run_has_no_finding() {
    let report = investigate(|| diverged(1));
    assert_eq!((report.finding, report.trials), (Finding::Converged, 0));
}

#[test]
fn partitioned_replicas_could_still_agree() {
    let report = investigate(|| {
        let mut rt = diverged(2);
        rt.partition_bidirectional("alice", "bob", None);
        rt
    });
    assert_eq!(report.finding, Finding::CouldStillAgree);
    assert_eq!(report.sides, Some(("alice".to_owned(), "bob".to_owned())));
    // The path leads from the root through an inner node to the record, and the hashes differ all along.
    assert!(report.path.len() >= 4, "{report}");
    assert!(report.path.iter().all(|step| step.left != step.right), "{report}");
    let positions: Vec<&IndexPosition> = report.path.iter().map(|step| &step.place).collect();
    assert!(
        matches!(
            positions[..],
            [IndexPosition::Root, IndexPosition::Children { .. }, .., IndexPosition::Record { .. }]
        ),
        "{report}"
    );
}

#[cfg(feature = "canary")]
mod broken {
    use super::*;
    use sync_sim::canary::{self, Canary};
    use sync_sim::forensics::FailureReport;

    fn write(value: u8) -> Vec<Operation> {
        vec![Operation::Set { target: Target::top(EntityId::from_u64(7)), bytes: vec![value] }]
    }

    fn under(bug: Canary, build: impl Fn() -> SimRuntime) -> FailureReport {
        canary::set(Some(bug));
        let report = investigate(build);
        canary::set(None);
        report
    }

    #[test]
    fn finds_event_that_lost_a_write() {
        // Alice acknowledges a write that is durable nowhere.
        let report = under(Canary::AcknowledgedBeforeCommit, || {
            let mut rt = SimRuntime::with_seed(3);
            rt.apply_scenario(Scenario::n_nodes_synced(2, 5));
            rt.write_at(900.into(), "bob", write(1));
            rt.crash_at(1_999.into(), "alice", CrashPoint::BeforeCommit, Some(100.into()));
            rt.write_at(2_000.into(), "alice", write(2));
            rt
        });
        assert!(report.stop.contains("C6"), "{report}");
        let Finding::Turned { .. } = report.finding else { panic!("{report}") };
        let turn = report.turn.as_ref().unwrap();
        assert!(turn.words.contains("alice: the application writes"), "{report}");
        assert!(turn.words.contains("accepted: sets entity 0700000000000000"), "{report}");
        assert!(report.differences[0].contains("| "), "{report}");
        assert!(report.slice.iter().any(|line| line.event == turn.event), "{report}");
        assert!(
            report.slice.iter().any(|line| line.words.contains("before its writes are durable")),
            "{report}"
        );
        assert!(report.touches.iter().any(|touch| touch.how == "a delta from bob"), "{report}");
    }

    #[test]
    fn finds_event_that_broke_invariant() {
        let simulation = |seed| {
            let faults = FaultConfig::heavy_chaos();
            let mut rt = SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(faults));
            rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
            rt.apply_workload(&Workload::new(30, SimDuration::from_secs(3)));
            rt
        };
        canary::set(Some(Canary::SuccessWithoutComparingRoots));
        let false_success = |stop| matches!(stop, StopCondition::Violated(Check::FalseSuccess { .. }));
        let seed = (0..100).find(|seed| false_success(simulation(*seed).run())).unwrap();
        let report = under(Canary::SuccessWithoutComparingRoots, || simulation(seed));
        let Finding::Broken { event } = report.finding else { panic!("{report}") };
        assert_eq!(event, report.events);
        assert!(report.turn.unwrap().words.contains("ends its session"), "{:?}", report.slice);
    }
}
