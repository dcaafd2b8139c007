//! A log that a primary replicates to a backup, under loss, partitions and crashes at every point of a step.
//!
//! The primary appends operations to its log and sends one entry at a time until the backup acknowledges it.
//! After every event the run checks two invariants: the log of the backup is a prefix of the primary's, and
//! every entry that was acknowledged to the application is durable on both nodes.
//!
//! `cargo run -p sync-sim-engine --example primary_backup`

use std::sync::Arc;
use sync_sim_engine::actor::{Actor, Commit, Context, Effects, Input, Outgoing, TimerChange, Unfinished};
use sync_sim_engine::event::SimEvent;
use sync_sim_engine::faults::FaultConfig;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::random::{Choices, Stream};
use sync_sim_engine::run::{Observer, RunLimits, StopReason, run};
use sync_sim_engine::world::{StepReport, World};
use sync_sim_engine::{Choice, Digest, SimDuration, SimTime};

const PRIMARY: NodeId = NodeId(0);
const BACKUP: NodeId = NodeId(1);
const RETRANSMIT: u64 = 1;

/// One of the two nodes. A crash reverts `log` to `durable` and forgets `acknowledged`.
#[derive(Clone, Default)]
struct LogNode {
    is_primary: bool,
    log: Vec<u64>,
    durable: Vec<u64>,
    /// How many entries the backup has, as far as the primary knows.
    acknowledged: usize,
}

/// The primary tells the application that the entry at this index is safe.
type EntryIsSafe = usize;

impl LogNode {
    fn send(to: NodeId, numbers: &[u64], effects: &mut Effects<EntryIsSafe>) {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        effects.messages.push(Outgoing { to, bytes: Arc::from(bytes), kind: 0, housekeeping: false });
    }

    fn step_primary(&mut self, input: &Input<'_, u64>, now: SimTime, effects: &mut Effects<EntryIsSafe>) {
        match input {
            Input::Op(value) => self.log.push(**value),
            Input::Frame { bytes, .. } => {
                let stored = (read(bytes)[0] as usize).min(self.log.len());
                effects.notices.extend(self.acknowledged..stored);
                self.acknowledged = self.acknowledged.max(stored);
            }
            _ => {}
        }
        if let Some(next) = self.log.get(self.acknowledged) {
            Self::send(BACKUP, &[self.acknowledged as u64, *next], effects);
            let at = now + SimDuration::from_millis(100);
            effects.timers.push(TimerChange::Set { id: RETRANSMIT, at, housekeeping: false });
        } else {
            effects.timers.push(TimerChange::Cancel { id: RETRANSMIT });
        }
    }

    fn step_backup(&mut self, input: &Input<'_, u64>, effects: &mut Effects<EntryIsSafe>) {
        if let Input::Frame { bytes, .. } = input {
            let numbers = read(bytes);
            // Retransmissions and frames from before a crash are idempotent: only the next entry is new.
            if numbers[0] == self.log.len() as u64 {
                self.log.push(numbers[1]);
            }
            Self::send(PRIMARY, &[self.log.len() as u64], effects);
        }
    }
}

fn read(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect()
}

impl Actor for LogNode {
    type Op = u64;
    type Notice = EntryIsSafe;

    fn step(&mut self, input: Input<'_, u64>, context: &mut Context<'_>, effects: &mut Effects<EntryIsSafe>) {
        if self.is_primary {
            self.step_primary(&input, context.moment.now, effects);
        } else {
            self.step_backup(&input, effects);
        }
        // The engine discards the frames and notices of a step whose writes are lost.
        if context.commit == Commit::Durable {
            self.durable.clone_from(&self.log);
        }
    }

    fn crash(&mut self) {
        self.acknowledged = 0;
        self.log.clone_from(&self.durable);
    }

    fn restart(&mut self) {}

    fn digest(&self) -> Digest {
        let bytes: Vec<u8> = self.log.iter().flat_map(|number| number.to_le_bytes()).collect();
        Digest::of(0, &bytes)
    }

    fn unfinished(&self) -> Unfinished {
        let pending = if self.is_primary { self.log.len() - self.acknowledged } else { 0 };
        Unfinished { sessions: 0, waiting: pending as u32 }
    }
}

/// The run with its checks.
struct Checker {
    world: World<LogNode>,
    acknowledged: usize,
    violation: Option<&'static str>,
}

impl Observer for Checker {
    type Actor = LogNode;

    fn world(&self) -> &World<LogNode> {
        &self.world
    }

    fn world_mut(&mut self) -> &mut World<LogNode> {
        &mut self.world
    }

    fn observe(&mut self, report: StepReport<EntryIsSafe>) {
        for index in report.notices {
            self.acknowledged = self.acknowledged.max(index + 1);
        }
        let (Some(primary), Some(backup)) = (self.world.actor(PRIMARY), self.world.actor(BACKUP)) else {
            return;
        };
        if !primary.log.starts_with(&backup.log) {
            self.violation = Some("the backup's log is no prefix of the primary's");
        }
        if primary.durable.len().min(backup.durable.len()) < self.acknowledged {
            self.violation = Some("an acknowledged entry is not durable on both nodes");
        }
    }

    fn is_violated(&self) -> bool {
        self.violation.is_some()
    }
}

fn main() {
    let mut crashes = 0;
    for seed in 0..100 {
        let faults = FaultConfig::default()
            .with_loss(0.2)
            .with_duplicates(0.1)
            .with_reorder_window(50)
            .with_partitions(0.005, 100..500)
            .with_crashes(0.01, 100..1_000);
        let mut world = World::new(Choices::seeded(seed), faults);
        world.add(LogNode { is_primary: true, ..LogNode::default() });
        world.add(LogNode::default());
        world.set_chaos_until(SimTime::from_secs(10));
        for op in 0..50 {
            let after = world.choices_mut().below(Stream::Workload, Choice::WriteTime, 5_000_000);
            world.schedule(SimTime::from_micros(after), SimEvent::Op { node: PRIMARY, op });
        }
        let mut checker = Checker { world, acknowledged: 0, violation: None };
        let stop = run(&mut checker, RunLimits::default());
        assert_eq!(stop, StopReason::Converged, "seed {seed}: {:?}", checker.violation);
        assert!(checker.world.router().fates().is_balanced());
        crashes += checker.world.random_crashes();
    }
    println!("100 seeds converged and kept both invariants through {crashes} crashes");
    assert!(crashes > 100, "crashes happen");
}
