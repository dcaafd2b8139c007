//! Replicas of one's own, under the faults, checks and tools of ours.

#[allow(dead_code, unreachable_pub, reason = "the program of the book's tutorial, as it stands")]
#[path = "../../../../examples/naive/src/main.rs"]
mod naive;

use naive::Sharing;
use std::collections::BTreeSet;
use sync_sim::case::{Case, CaseError};
use sync_sim::custom::*;

/// Numbers, each kept on the disk of the node that was given it, and told to nobody.
#[derive(Clone, Debug, Default)]
struct Keeper {
    kept: BTreeSet<u64>,
    behaviour: Behaviour,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Behaviour {
    #[default]
    Sound,
    /// Forgets all when it crashes.
    Forgetful,
    /// Changes for ever, with nothing from outside.
    Restless,
    /// Cannot count to seven.
    Panics,
}

impl Actor for Keeper {
    type Op = u64;
    type Notice = ();

    fn step(&mut self, input: Input<'_, u64>, context: &mut Context<'_>, effects: &mut Effects<()>) {
        match input {
            Input::Op(number) => {
                assert!(self.behaviour != Behaviour::Panics || number % 8 != 7, "seven");
                self.kept.insert(*number);
            }
            Input::Start | Input::Timer(_) if self.behaviour == Behaviour::Restless => {
                let at = context.moment.now + SimDuration::from_millis(10);
                self.kept.insert(at.as_micros());
                effects.timers.push(TimerChange::Set { id: 0, at, housekeeping: true });
            }
            _ => {}
        }
    }

    fn crash(&mut self) {
        if self.behaviour == Behaviour::Forgetful {
            self.kept.clear();
        }
    }

    fn restart(&mut self) {}

    fn digest(&self) -> Digest {
        Digest::of(0, format!("{:?}", self.kept).as_bytes())
    }

    fn unfinished(&self) -> Unfinished {
        Unfinished::default()
    }
}

#[derive(Clone, Copy, Debug)]
struct Keeping(Behaviour);

impl Subject for Keeping {
    type Op = u64;
    type Node = Keeper;

    fn node(&self, _: NodeId) -> Keeper {
        Keeper { behaviour: self.0, ..Keeper::default() }
    }

    fn op(&self, _: NodeId, chance: &mut dyn Entropy) -> u64 {
        chance.below(Choice::WriteValue, 1 << 40)
    }

    fn invariant(&self, node: &Keeper) -> Result<(), Wrong> {
        let most = if node.behaviour == Behaviour::Restless { usize::MAX } else { 12 };
        if node.kept.len() <= most { Ok(()) } else { Err(Wrong::new("too many", "more than were given")) }
    }

    fn judge(&self, done: &[Acknowledged<u64>], nodes: &[&Keeper]) -> Result<(), Wrong> {
        let expected: BTreeSet<u64> = done.iter().filter(|done| !done.lost).map(|done| done.op).collect();
        if nodes.iter().all(|node| node.kept == expected) {
            return Ok(());
        }
        Err(Wrong::new("not what was given", format!("{expected:?} was given, {nodes:?} is there")))
    }
}

/// One node, and crashes at all points.
fn crashing(behaviour: Behaviour) -> Lab<Keeping> {
    let faults = FaultConfig::none().with_crashes(0.02, 10..100);
    Lab::new(Keeping(behaviour)).nodes(1).faults(faults)
}

#[test]
fn a_replica_has_after_every_crash_what_it_acknowledged_and_its_disk_kept() {
    crashing(Behaviour::Sound).check(0..200);
    let disk = FaultConfig::none().with_crashes(0.02, 10..100).with_failed_writes(0.2);
    let disk = disk.with_torn_writes(0.02).with_lying_syncs(0.3);
    let lab = crashing(Behaviour::Sound).faults(disk).ops(12, SimDuration::from_secs(5));
    lab.check(0..500);
    let lost = |seed: u64| {
        let (run, _) = lab.watch(&lab.case(seed)).unwrap();
        run.acknowledged().iter().filter(|done| done.lost).count()
    };
    assert!((0..100).map(lost).sum::<usize>() > 20, "disks that lie lose what was acknowledged");
}

#[test]
fn one_that_forgets_in_a_crash_is_found_out() {
    let sweep = crashing(Behaviour::Forgetful).sweep(0..100).unwrap();
    assert!(sweep.first("violated: not what was given").is_some(), "{:?}", sweep.classes);
}

#[test]
fn one_that_never_comes_to_rest_is_stopped_and_one_that_panics_is_caught() {
    let restless = Lab::new(Keeping(Behaviour::Restless)).faults(FaultConfig::none()).run(0).unwrap();
    assert_eq!(restless.class.as_str(), "violated: Storm", "{restless}");
    let panics = Lab::new(Keeping(Behaviour::Panics)).sweep(0..5).unwrap();
    assert!(panics.failures.iter().any(|failure| failure.reason.contains("seven")), "{panics:?}");
}

#[test]
fn an_invariant_is_asked_after_every_event() {
    let many = crashing(Behaviour::Sound).faults(FaultConfig::none()).ops(13, SimDuration::from_secs(1));
    assert_eq!(many.run(0).unwrap().class.as_str(), "violated: too many");
}

#[test]
fn a_sweep_is_the_same_on_any_number_of_threads_and_finds_what_is_naive() {
    let lab = Lab::new(Sharing);
    let one = lab.sweep_on(1, 0..100).unwrap();
    assert_eq!(one, lab.sweep_on(3, 0..100).unwrap());
    assert!(one.converged > 5 && one.failures.len() > 50, "{:?}", one.classes);
}

#[test]
fn what_is_found_is_made_small_written_down_replayed_and_shown() {
    let lab = Lab::new(Sharing);
    let seed = lab.sweep(0..10).unwrap().failures.first().unwrap().seed;
    let shrunk = lab.shrink(&lab.case(seed), 1_000, &mut |_| true).unwrap();
    let size = shrunk.case.size();
    assert!(shrunk.finished && size.nodes == 2 && size.causes() <= 2, "{} became {size}", shrunk.from);
    let read: Case = shrunk.case.to_text().unwrap().parse().unwrap();
    assert_eq!(read, shrunk.case);
    let (first, again) = (lab.replay(&read).unwrap(), lab.replay(&read).unwrap());
    assert_eq!((first.trace, &first.class), (again.trace, read.found.as_ref().unwrap()));
    let (run, ended) = lab.watch(&read).unwrap();
    assert!(run.story(10).contains(r#"node-0: the application writes; {"note":"#), "{}", run.story(10));
    let page = run.timeline(&ended).unwrap().page().unwrap();
    assert!(page.contains("\"Notes\"") && page.contains("NOT CONVERGED"));
}

#[test]
fn replicas_that_end_apart_are_told_since_when_and_by_what() {
    let parting = |case: &str| {
        let lab = Lab::new(Sharing);
        let (run, ended) = lab.watch(&case.parse().unwrap()).unwrap();
        assert_eq!(run.parting().is_none(), ended.class.is_converged());
        run.parting().unwrap_or_default()
    };
    let told = parting(LOST);
    for part in [
        "The replicas were equal for the last time at 1.010s.",
        r#"They differ since 2000.000 ms a: the application writes; {"note":"n","text":"late"}"#,
        "] has changed once since: 2010.000 ms b: Notes 2 from a arrives",
        "] has not changed since",
        "a sent Notes 3 to c: lost on the link",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(parting(&LOST.replace("lost = true", r#"takes = "1ms""#)), "");
}

/// One write that one of two others never hears of.
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
fn a_pinned_case_fails_as_its_seed_does_under_every_kind_of_fault() {
    let faults = FaultConfig::heavy_chaos().with_churn(0.01, 100..1_000).with_late_joiners(1, 0..2_000);
    let lab = Lab::new(Sharing).faults(faults);
    for seed in lab.sweep(0..10).unwrap().failures.iter().map(|failure| failure.seed) {
        let none = lab.shrink(&lab.case(seed), 0, &mut |_| true).unwrap();
        assert!(none.case.workload.writes == 0, "seed {seed} could not be told line by line");
        assert_eq!(Some(lab.replay(&none.case).unwrap().class), none.case.found);
    }
}

#[test]
fn what_makes_no_sense_to_such_a_replica_is_said() {
    let lab = Lab::new(Sharing);
    for (text, said) in [
        ("nodes = [{ name = \"a\", entities = [\"x/0..3\"] }]", "begin empty"),
        ("[scenario]\nname = \"fresh\"", "begin empty"),
        (
            "nodes = [{ name = \"a\" }]\nscript = [{ at = \"0ms\", op = { node = \"a\", ask = 3 } }]",
            "not asked so",
        ),
        (
            "nodes = [{ name = \"a\" }]\nscript = [{ at = \"0ms\", write = { node = \"a\", ops = [{ increment = { target = \"likes\", by = 2 } }] } }]",
            "a `write` is for ours",
        ),
    ] {
        let error = lab.replay(&text.parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    let case = "nodes = [{ name = \"a\" }]\nscript = [{ at = \"0ms\", op = { node = \"a\", ask = 3 } }]";
    let ours = case.parse::<Case>().unwrap().run().unwrap_err();
    assert!(matches!(ours, CaseError::Impossible { .. }), "{ours}");
    let sound = lab.faults(FaultConfig::none()).ops(1, SimDuration::from_secs(1));
    assert_eq!(sound.shrink(&sound.case(0), 9, &mut |_| true), Err(CaseError::NothingWrong));
}

#[test]
fn the_command_line_says_how_it_went_and_what_it_does_not_understand() {
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
    for (line, said) in [
        ("", "usage"),
        ("sweat", "there is no command sweat"),
        ("run --seed", "has no value"),
        ("run --seed x", "a whole number is wanted"),
        ("sweep --seeds 5..5", "0..1000"),
        ("run --fault loss=1", "expected one of `base_latency_ms`"),
        ("run --faults wild", "there are none of that name"),
        ("run --nodes 0", "nodes"),
        ("replay", "which case"),
        ("replay nowhere.toml", "nowhere.toml"),
    ] {
        let error = ask(line).unwrap_err();
        assert!(error.contains(said), "{line}: {error}");
    }
}
