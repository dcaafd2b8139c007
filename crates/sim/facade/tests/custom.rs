//! Custom replicas under the faults, checks and tools of Syncline's own.

#[allow(dead_code, unreachable_pub, reason = "the program of the book's tutorial, as it stands")]
#[path = "../../../../examples/naive/src/main.rs"]
mod naive;

use naive::Sharing;
use std::collections::BTreeSet;
use sync_sim::case::{Case, CaseError};
use sync_sim::custom::*;

/// A set of numbers on the disk of one node, without replication.
#[derive(Clone, Debug, Default)]
struct NumberSet {
    numbers: BTreeSet<u64>,
    behaviour: Behaviour,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Behaviour {
    #[default]
    Sound,
    /// Loses everything in a crash.
    Forgetful,
    /// Changes for ever without any input.
    Restless,
    /// Panics at some numbers.
    Panics,
}

impl Actor for NumberSet {
    type Op = u64;
    type Notice = ();

    fn step(&mut self, input: Input<'_, u64>, context: &mut Context<'_>, effects: &mut Effects<()>) {
        match input {
            Input::Op(number) => {
                assert!(self.behaviour != Behaviour::Panics || number % 8 != 7, "seven");
                self.numbers.insert(*number);
            }
            Input::Start | Input::Timer(_) if self.behaviour == Behaviour::Restless => {
                let at = context.moment.now + SimDuration::from_millis(10);
                self.numbers.insert(at.as_micros());
                effects.timers.push(TimerChange::Set { id: 0, at, housekeeping: true });
            }
            _ => {}
        }
    }

    fn crash(&mut self) {
        if self.behaviour == Behaviour::Forgetful {
            self.numbers.clear();
        }
    }

    fn restart(&mut self) {}

    fn digest(&self) -> Digest {
        Digest::of(0, format!("{:?}", self.numbers).as_bytes())
    }

    fn unfinished(&self) -> Unfinished {
        Unfinished::default()
    }
}

#[derive(Clone, Copy, Debug)]
struct NumberSets(Behaviour);

impl Subject for NumberSets {
    type Op = u64;
    type Node = NumberSet;

    fn node(&self, _: NodeId) -> NumberSet {
        NumberSet { behaviour: self.0, ..NumberSet::default() }
    }

    fn op(&self, _: NodeId, random: &mut dyn Entropy) -> u64 {
        random.below(Choice::WriteValue, 1 << 40)
    }

    fn invariant(&self, node: &NumberSet) -> Result<(), Violation> {
        let most = if node.behaviour == Behaviour::Restless { usize::MAX } else { 12 };
        if node.numbers.len() <= most {
            Ok(())
        } else {
            Err(Violation::new("too many", "more than were written"))
        }
    }

    fn judge(&self, done: &[Acknowledged<u64>], nodes: &[&NumberSet]) -> Result<(), Violation> {
        let expected: BTreeSet<u64> = done.iter().filter(|done| !done.lost).map(|done| done.op).collect();
        if nodes.iter().all(|node| node.numbers == expected) {
            return Ok(());
        }
        Err(Violation::new("lost number", format!("expected {expected:?}, found {nodes:?}")))
    }
}

/// One node, and crashes at all points.
fn crashing(behaviour: Behaviour) -> Lab<NumberSets> {
    let faults = FaultConfig::none().with_crashes(0.02, 10..100);
    Lab::new(NumberSets(behaviour)).nodes(1).faults(faults)
}

#[test]
fn acknowledged_operations_survive_crashes() {
    crashing(Behaviour::Sound).check(0..200);
    let disk = FaultConfig::none().with_crashes(0.02, 10..100).with_failed_writes(0.2);
    let disk = disk.with_torn_writes(0.02).with_lying_syncs(0.3);
    let lab = crashing(Behaviour::Sound).faults(disk).ops(12, SimDuration::from_secs(5));
    lab.check(0..500);
    let lost = |seed: u64| {
        let (run, _) = lab.record(&lab.case(seed)).unwrap();
        run.acknowledged().iter().filter(|done| done.lost).count()
    };
    assert!((0..100).map(lost).sum::<usize>() > 20, "false syncs lose acknowledged operations");
}

#[test]
fn finds_loss_in_crash() {
    let sweep = crashing(Behaviour::Forgetful).sweep(0..100).unwrap();
    assert!(sweep.first("violated: lost number").is_some(), "{:?}", sweep.classes);
}

#[test]
fn stops_storms_and_catches_panics() {
    let restless = Lab::new(NumberSets(Behaviour::Restless)).faults(FaultConfig::none()).run(0).unwrap();
    assert_eq!(restless.class.as_str(), "violated: Storm", "{restless}");
    let panics = Lab::new(NumberSets(Behaviour::Panics)).sweep(0..5).unwrap();
    assert!(panics.failures.iter().any(|failure| failure.reason.contains("seven")), "{panics:?}");
}

#[test]
fn checks_invariant_after_every_event() {
    let many = crashing(Behaviour::Sound).faults(FaultConfig::none()).ops(13, SimDuration::from_secs(1));
    assert_eq!(many.run(0).unwrap().class.as_str(), "violated: too many");
}

#[test]
fn sweep_is_independent_of_threads() {
    let lab = Lab::new(Sharing);
    let one = lab.sweep_on(1, 0..100).unwrap();
    assert_eq!(one, lab.sweep_on(3, 0..100).unwrap());
    assert!(one.converged > 5 && one.failures.len() > 50, "{:?}", one.classes);
}

#[test]
fn failure_is_shrunk_replayed_and_rendered() {
    let lab = Lab::new(Sharing);
    let seed = lab.sweep(0..10).unwrap().failures.first().unwrap().seed;
    let shrunk = lab.shrink(&lab.case(seed), 1_000, &mut |_| true).unwrap();
    let size = shrunk.case.size();
    assert!(shrunk.finished && size.nodes == 2 && size.causes() <= 2, "{} became {size}", shrunk.from);
    let read: Case = shrunk.case.to_text().unwrap().parse().unwrap();
    assert_eq!(read, shrunk.case);
    let first = lab.replay(&read).unwrap();
    let again = lab.replay(&read).unwrap();
    assert_eq!((first.trace, &first.class), (again.trace, read.found.as_ref().unwrap()));
    let (run, ended) = lab.record(&read).unwrap();
    assert!(run.report(10).contains(r#"node-0: the application writes; {"note":"#), "{}", run.report(10));
    let page = run.timeline(&ended).unwrap().page().unwrap();
    assert!(page.contains("\"Notes\"") && page.contains("NOT CONVERGED"));
}

#[test]
fn reports_divergence_point() {
    let divergence = |case: &str| {
        let lab = Lab::new(Sharing);
        let (run, ended) = lab.record(&case.parse().unwrap()).unwrap();
        assert_eq!(run.divergence().is_none(), ended.class.is_converged());
        run.divergence().unwrap_or_default()
    };
    let text = divergence(LOST);
    for part in [
        "The replicas were equal for the last time at 1.010s.",
        r#"They differ since 2000.000 ms a: the application writes; {"note":"n","text":"late"}"#,
        "] has changed once since: 2010.000 ms b: Notes 2 from a arrives",
        "] has not changed since",
        "a sent Notes 3 to c: lost on the link",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(divergence(&LOST.replace("lost = true", r#"takes = "1ms""#)), "");
}

/// A write whose only frame to one of the two other nodes is lost.
const LOST: &str = r#"
    nodes = [{ name = "a" }, { name = "b" }, { name = "c" }]
    script = [
        { at = "1s", op = { node = "a", ask = { note = "n", text = "early" } } },
        { at = "2s", op = { node = "a", ask = { note = "n", text = "late" } } },
    ]
    frames = [{ from = "a", to = "c", frame = 2, lost = true }]
    [faults]
    base_latency_ms = 10
    latency_jitter_ms = 0
"#;

#[test]
fn pinned_case_fails_as_its_seed() {
    let faults = FaultConfig::heavy_chaos().with_churn(0.01, 100..1_000).with_late_joiners(1, 0..2_000);
    let lab = Lab::new(Sharing).faults(faults);
    for seed in lab.sweep(0..10).unwrap().failures.iter().map(|failure| failure.seed) {
        let none = lab.shrink(&lab.case(seed), 0, &mut |_| true).unwrap();
        assert!(none.case.workload.writes == 0, "seed {seed} could not be pinned line by line");
        assert_eq!(Some(lab.replay(&none.case).unwrap().class), none.case.found);
    }
}

#[test]
fn pinning_keeps_each_scripted_line_once() {
    let text = LOST.replace("script = [", "script = [{ at = \"500ms\", join = \"d\" },");
    let lab = Lab::new(Sharing);
    let pinned = lab.shrink(&text.parse().unwrap(), 0, &mut |_| true).unwrap().case;
    assert_eq!(pinned.script.len(), 3, "{}", pinned.to_text().unwrap());
}

#[test]
fn rejects_lines_for_other_replicas() {
    let lab = Lab::new(Sharing);
    for (text, expected) in [
        ("nodes = [{ name = \"a\", entities = [\"x/0..3\"] }]", "begin empty"),
        ("[scenario]\nname = \"fresh\"", "begin empty"),
        (
            "nodes = [{ name = \"a\" }]\nscript = [{ at = \"0ms\", op = { node = \"a\", ask = 3 } }]",
            "not one of this replica",
        ),
        (
            "nodes = [{ name = \"a\" }]\nscript = [{ at = \"0ms\", write = { node = \"a\", ops = [{ increment = { target = \"likes\", by = 2 } }] } }]",
            "`write` is for Syncline's own",
        ),
    ] {
        let error = lab.replay(&text.parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let case = "nodes = [{ name = \"a\" }]\nscript = [{ at = \"0ms\", op = { node = \"a\", ask = 3 } }]";
    let ours = case.parse::<Case>().unwrap().run().unwrap_err();
    assert!(matches!(ours, CaseError::Impossible { .. }), "{ours}");
    let sound = lab.faults(FaultConfig::none()).ops(1, SimDuration::from_secs(1));
    assert_eq!(sound.shrink(&sound.case(0), 9, &mut |_| true), Err(CaseError::NothingWrong));
}

#[test]
fn command_line_reports_results_and_errors() {
    let ask = |line: &str| command::run(Lab::new(Sharing), line.split_whitespace().map(str::to_owned));
    let (text, good) = ask("sweep --seeds 0..50").unwrap();
    assert!(!good && text.contains("ended as diverged; the first is seed"), "{text}");
    let (text, good) = ask("sweep --seeds 0..50 --faults none --json").unwrap();
    assert!(good && text.contains("\"converged\":50"), "{text}");
    let (text, good) = ask("run --seed 1").unwrap();
    assert!(!good && text.contains("the application writes"), "{text}");
    assert_eq!(ask("run --seed 1").unwrap(), ask("run --seed 1").unwrap());
    let (text, _) = ask("sweep --seeds 0..9 --faults none --fault message_loss_rate=1 --ops 1").unwrap();
    assert!(text.contains("9 ended as diverged"), "{text}");
    for (line, expected) in [
        ("", "usage"),
        ("sweat", "there is no command sweat"),
        ("run --seed", "has no value"),
        ("run --seed x", "expected a whole number"),
        ("sweep --seeds 5..5", "0..1000"),
        ("run --fault loss=1", "expected one of `base_latency_ms`"),
        ("run --faults wild", "there is no such preset"),
        ("run --nodes 0", "nodes"),
        ("replay", "needs a case"),
        ("replay nowhere.toml", "nowhere.toml"),
    ] {
        let error = ask(line).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }
}
