//! Nodes that are `async fn`s.

use sync_sim::case::RunResult;
use sync_sim::custom::*;

/// What a test has its process do; the disk counts.
#[derive(Clone, Copy, Debug)]
enum Doing {
    /// Counts up a second after it began.
    Later,
    /// The same, and says that somebody waits for it.
    Owing,
    /// Two tasks that hand each other a turn over the disk.
    InTurns,
    /// Asks the other node until it answers.
    Asking,
    /// Sleeps for no time, often.
    Dozing,
    /// Two tasks that wake each other without end.
    Restless,
}

#[derive(Clone, Debug)]
struct Counting(Doing);

impl Process for Counting {
    type Op = u64;
    type Disk = u64;

    fn accept(disk: &mut u64, more: &u64) {
        *disk += more;
    }

    fn digest(disk: &u64) -> Digest {
        Digest::of(0, &disk.to_le_bytes())
    }

    async fn run(self, host: Host<Self>) {
        let second = SimDuration::from_secs(1);
        match self.0 {
            Doing::Later => {
                host.sleep(second).await;
                host.write(|disk| *disk += 1);
            }
            Doing::Owing => {
                let owed = host.owe();
                host.sleep(second).await;
                host.write(|disk| *disk += 1);
                drop(owed);
            }
            Doing::InTurns => {
                let other = host.clone();
                host.spawn(async move {
                    for turn in [1, 3, 5] {
                        other.until(|disk| (*disk == turn).then_some(())).await;
                        other.write(|disk| *disk += 1);
                    }
                });
                for turn in [0, 2, 4] {
                    host.until(|disk| (*disk == turn).then_some(())).await;
                    host.write(|disk| *disk += 1);
                }
            }
            Doing::Asking => {
                let owed = host.owe();
                let [peer] = host.peers()[..] else { panic!("two nodes: {:?}", host.peers()) };
                loop {
                    host.send(peer, 0, host.below(1 << 40).to_le_bytes());
                    if host.within(second, host.receive()).await.is_some() {
                        break;
                    }
                }
                host.write(|disk| *disk += 1);
                drop(owed);
                // The other may not have heard yet.
                loop {
                    host.receive().await;
                    host.send_housekeeping(peer, 0, [0; 8]);
                }
            }
            Doing::Restless => {
                let other = host.clone();
                host.spawn(async move {
                    loop {
                        other.until(|disk| (*disk % 2 == 1).then_some(())).await;
                        other.write(|disk| *disk += 1);
                    }
                });
                loop {
                    host.until(|disk| (*disk % 2 == 0).then_some(())).await;
                    host.write(|disk| *disk += 1);
                }
            }
            Doing::Dozing => {
                let owed = host.owe();
                for _ in 0..1_000 {
                    host.sleep(SimDuration::ZERO).await;
                }
                host.write(|disk| *disk += 1);
                drop(owed);
            }
        }
    }
}

/// Nodes that all do the same.
#[derive(Clone, Debug)]
struct All(Doing);

impl Subject for All {
    type Op = u64;
    type Node = Hosted<Counting>;

    fn node(&self, own: NodeId) -> Hosted<Counting> {
        Hosted::new(own, Counting(self.0), 0)
    }

    fn op(&self, _: NodeId, _: &mut dyn Entropy) -> u64 {
        100
    }

    fn kinds(&self) -> &[&str] {
        &["Word"]
    }
}

/// How a run of two of them without operations ends, and what their disks hold.
fn end(doing: Doing, faults: FaultConfig, seed: u64) -> (RunResult, Vec<u64>) {
    let lab = Lab::new(All(doing)).nodes(2).ops(0, SimDuration::from_millis(1)).faults(faults);
    let case = lab.case(seed);
    let (run, ended) = lab.watch(&case).unwrap();
    let disks = run.nodes().map(|(_, node)| node.read(|disk| *disk)).collect();
    (ended, disks)
}

#[test]
fn a_run_waits_for_what_is_owed_and_for_nothing_else() {
    let (ended, disks) = end(Doing::Later, FaultConfig::none(), 1);
    assert!(ended.class.is_converged() && disks == [0, 0], "{ended}: {disks:?}");
    let (ended, disks) = end(Doing::Owing, FaultConfig::none(), 1);
    assert!(ended.class.is_converged() && disks == [1, 1], "{ended}: {disks:?}");
}

#[test]
fn tasks_of_a_host_take_turns_over_its_disk() {
    let (ended, disks) = end(Doing::InTurns, FaultConfig::none(), 1);
    assert!(ended.class.is_converged() && disks == [6, 6], "{ended}: {disks:?}");
}

#[test]
fn what_is_lost_is_asked_for_again_until_it_is_answered() {
    for seed in 0..50 {
        let (ended, disks) = end(Doing::Asking, FaultConfig::none().with_loss(0.4), seed);
        assert!(ended.class.is_converged() && disks == [1, 1], "seed {seed}: {ended}: {disks:?}");
        assert_eq!(end(Doing::Asking, FaultConfig::none().with_loss(0.4), seed).0.trace, ended.trace);
    }
}

#[test]
fn tasks_end_with_a_crash_and_the_disk_stays() {
    let script = r#"
        max_time = "5s"
        nodes = [{ name = "a" }, { name = "b" }]
        script = [
            { at = "10ms", op = { node = "a", ask = 100 } },
            { at = "500ms", crash = { node = "a", down_for = "200ms" } },
        ]
    "#;
    let lab = Lab::new(All(Doing::Owing));
    let case: Result<sync_sim::case::Case, _> = script.parse();
    let (run, _) = lab.watch(&case.unwrap()).unwrap();
    let disks: Vec<u64> = run.nodes().map(|(_, node)| node.read(|disk| *disk)).collect();
    assert_eq!(disks, [101, 1], "the count that was interrupted began anew");
}

#[test]
fn time_goes_on_where_a_process_sleeps_for_none() {
    let (ended, disks) = end(Doing::Dozing, FaultConfig::none(), 1);
    assert!(
        ended.class.is_converged() && disks == [1, 1] && ended.at.as_micros() >= 1_000,
        "{ended}: {disks:?}"
    );
}

#[test]
fn tasks_that_never_wait_are_stopped() {
    let case = Lab::new(All(Doing::Restless)).nodes(2).ops(0, SimDuration::from_millis(1)).case(1);
    let ended = Lab::new(All(Doing::Restless)).replay(&case).unwrap();
    assert!(ended.stop.is_none() && ended.reason.contains("wake each other without end"), "{ended}");
}
