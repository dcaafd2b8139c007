//! Custom nodes that are `async fn`s.

use sync_sim::case::RunResult;
use sync_sim::custom::*;

/// The behavior of a process. Its disk holds a counter.
#[derive(Clone, Copy, Debug)]
enum Behavior {
    /// Increments the counter after a second.
    Later,
    /// The same, and marks it as work in progress.
    Working,
    /// Two tasks that alternate by watching the disk.
    InTurns,
    /// Sends requests to the other node until it answers.
    Asking,
    /// Sleeps for a zero duration, many times.
    Dozing,
    /// Two tasks that wake each other without end.
    Restless,
}

#[derive(Clone, Debug)]
struct Counting(Behavior);

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
            Behavior::Later => {
                host.sleep(second).await;
                host.write(|disk| *disk += 1);
            }
            Behavior::Working => {
                let guard = host.begin_work();
                host.sleep(second).await;
                host.write(|disk| *disk += 1);
                drop(guard);
            }
            Behavior::InTurns => {
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
            Behavior::Asking => {
                let guard = host.begin_work();
                let [peer] = host.peers()[..] else { panic!("two nodes: {:?}", host.peers()) };
                loop {
                    host.send(peer, 0, host.below(1 << 40).to_le_bytes());
                    if host.within(second, host.receive()).await.is_some() {
                        break;
                    }
                }
                host.write(|disk| *disk += 1);
                drop(guard);
                // The other node may still wait for an answer.
                loop {
                    host.receive().await;
                    host.send_housekeeping(peer, 0, [0; 8]);
                }
            }
            Behavior::Restless => {
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
            Behavior::Dozing => {
                let guard = host.begin_work();
                for _ in 0..1_000 {
                    host.sleep(SimDuration::ZERO).await;
                }
                host.write(|disk| *disk += 1);
                drop(guard);
            }
        }
    }
}

/// Nodes with the same behavior.
#[derive(Clone, Debug)]
struct All(Behavior);

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

/// The end of a run of two nodes without operations, and the content of their disks.
fn end(behavior: Behavior, faults: FaultConfig, seed: u64) -> (RunResult, Vec<u64>) {
    let lab = Lab::new(All(behavior)).nodes(2).ops(0, SimDuration::from_millis(1)).faults(faults);
    let case = lab.case(seed);
    let (run, ended) = lab.record(&case).unwrap();
    let disks = run.nodes().map(|(_, node)| node.read(|disk| *disk)).collect();
    (ended, disks)
}

#[test]
fn run_waits_for_work_guards_only() {
    let (ended, disks) = end(Behavior::Later, FaultConfig::none(), 1);
    assert!(ended.class.is_converged() && disks == [0, 0], "{ended}: {disks:?}");
    let (ended, disks) = end(Behavior::Working, FaultConfig::none(), 1);
    assert!(ended.class.is_converged() && disks == [1, 1], "{ended}: {disks:?}");
}

#[test]
fn tasks_alternate_over_the_disk() {
    let (ended, disks) = end(Behavior::InTurns, FaultConfig::none(), 1);
    assert!(ended.class.is_converged() && disks == [6, 6], "{ended}: {disks:?}");
}

#[test]
fn retransmits_until_answered() {
    for seed in 0..50 {
        let (ended, disks) = end(Behavior::Asking, FaultConfig::none().with_loss(0.4), seed);
        assert!(ended.class.is_converged() && disks == [1, 1], "seed {seed}: {ended}: {disks:?}");
        assert_eq!(end(Behavior::Asking, FaultConfig::none().with_loss(0.4), seed).0.trace, ended.trace);
    }
}

#[test]
fn crash_drops_tasks_and_retains_disk() {
    let script = r#"
        max_time = "5s"
        nodes = [{ name = "a" }, { name = "b" }]
        script = [
            { at = "10ms", op = { node = "a", ask = 100 } },
            { at = "500ms", crash = { node = "a", down_for = "200ms" } },
        ]
    "#;
    let lab = Lab::new(All(Behavior::Working));
    let case: Result<sync_sim::case::Case, _> = script.parse();
    let (run, _) = lab.record(&case.unwrap()).unwrap();
    let disks: Vec<u64> = run.nodes().map(|(_, node)| node.read(|disk| *disk)).collect();
    assert_eq!(disks, [101, 1], "the interrupted second began again");
}

#[test]
fn zero_sleeps_advance_time() {
    let (ended, disks) = end(Behavior::Dozing, FaultConfig::none(), 1);
    assert!(
        ended.class.is_converged() && disks == [1, 1] && ended.at.as_micros() >= 1_000,
        "{ended}: {disks:?}"
    );
}

#[test]
fn stops_tasks_that_never_wait() {
    let case = Lab::new(All(Behavior::Restless)).nodes(2).ops(0, SimDuration::from_millis(1)).case(1);
    let ended = Lab::new(All(Behavior::Restless)).replay(&case).unwrap();
    assert!(ended.stop.is_none() && ended.reason.contains("wake each other without end"), "{ended}");
}
