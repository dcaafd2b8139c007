//! A node that is an `async fn`.
//!
//! A [`Process`] runs on a [`Host`], from the start of the host to its crash. It sends and receives, sleeps,
//! waits for its disk to change and spawns tasks, all in virtual time: when every task waits, the step is
//! over and the world continues with its next event. [`Hosted`] turns it into an [`Actor`], so that a
//! [`Lab`](super::Lab) can run it.
//!
//! A process may await any future that something in the same process wakes: channels, locks, joins. A future
//! that a thread, a socket or a system clock wakes never completes here. One that draws random numbers of its
//! own, as some `select!` macros do, makes runs nondeterministic.

mod host;

pub use host::{Host, WorkGuard};

use crate::custom::process::host::ProcessState;
use crate::custom::{Choice, Digest, SimTime};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Polling, Poll, Wake, Waker};
use sync_sim_engine::actor::{Actor, Context, Effects, Input, TimerChange, Unfinished};
use sync_sim_engine::node_id::NodeId;

/// The most rounds of polling in one step. Tasks that wake each other without end would never finish it.
const MAX_ROUNDS: usize = 10_000;

pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The program that runs on a host.
pub trait Process: Clone + 'static {
    /// An operation that the application may ask for.
    type Op: Clone + 'static;
    /// The durable state, which survives crashes.
    type Disk: Clone + 'static;

    /// Writes an operation to the disk. Once this has returned, and unless the host crashes in the same step,
    /// the operation counts as acknowledged. A task learns of it by [`Host::until`].
    fn accept(disk: &mut Self::Disk, op: &Self::Op);

    /// The digest of the state that must become equal on all hosts.
    fn digest(disk: &Self::Disk) -> Digest;

    /// The main task: it runs from each start of the host to the next crash. Implement it as an `async fn`.
    fn run(self, host: Host<Self>) -> impl Future<Output = ()> + 'static;
}

/// Set when a task of the host was woken, and has to be polled once more.
#[derive(Debug, Default)]
pub(super) struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A process on its host. A clone is the process as a crash leaves it: with the disk, and without tasks. The
/// simulated disk relies on this to undo a step.
pub struct Hosted<P: Process> {
    process: P,
    host: Host<P>,
    tasks: Vec<Task>,
    wake_flag: Arc<WakeFlag>,
    /// The deadline of the timer that is set in the engine.
    alarm: Option<SimTime>,
    digest: Digest,
}

impl<P: Process> Hosted<P> {
    /// A process on the host with this number, and the initial content of its disk.
    pub fn new(own: NodeId, process: P, disk: P::Disk) -> Self {
        let wake_flag = Arc::new(WakeFlag::default());
        let digest = P::digest(&disk);
        let host = Host::new(ProcessState::new(own, wake_flag.clone()), disk);
        Self { process, host, tasks: Vec::new(), wake_flag, alarm: None, digest }
    }

    /// Reads the disk from outside, for checks.
    pub fn read<R>(&self, read: impl FnOnce(&P::Disk) -> R) -> R {
        self.host.read(read)
    }

    /// Polls all tasks until every one of them waits.
    ///
    /// # Panics
    ///
    /// If they wake each other without end.
    fn run_tasks(&mut self) {
        let waker = Waker::from(self.wake_flag.clone());
        let mut polling = Polling::from_waker(&waker);
        for _ in 0..MAX_ROUNDS {
            // Every task is polled in every round, in the order of spawning, so the order in which futures wake
            // each other has no influence on the run.
            self.host.wake_all();
            self.wake_flag.0.store(false, Ordering::Relaxed);
            self.tasks.retain_mut(|task| {
                let pending = task.as_mut().poll(&mut polling) == Poll::Pending;
                // Another task may wait for the end of this one.
                if !pending {
                    self.wake_flag.0.store(true, Ordering::Relaxed);
                }
                pending
            });
            self.tasks.append(&mut self.host.take_spawned());
            if !self.wake_flag.0.load(Ordering::Relaxed) {
                return;
            }
        }
        panic!("the tasks of {} wake each other without end", self.host.own());
    }
}

impl<P: Process> Clone for Hosted<P> {
    fn clone(&self) -> Self {
        Self::new(self.host.own(), self.process.clone(), self.read(P::Disk::clone))
    }
}

impl<P: Process> Actor for Hosted<P> {
    type Op = P::Op;
    type Notice = ();

    fn step(&mut self, input: Input<'_, P::Op>, context: &mut Context<'_>, effects: &mut Effects<()>) {
        let now = context.moment.now;
        self.host.begin(context.moment);
        match input {
            Input::Start => {
                // One draw from the run's stream seeds all random numbers of the process.
                self.host.reseed(context.entropy.below(Choice::TimerJitter, u64::MAX));
                let main = self.process.clone().run(self.host.clone());
                self.tasks.push(Box::pin(main));
            }
            Input::Peers { reachable, .. } => self.host.set_peers(&reachable),
            Input::Frame { from, bytes } => self.host.deliver(from, bytes.clone()),
            Input::Timer(_) => self.alarm = None,
            Input::Op(op) => self.host.write(|disk| P::accept(disk, op)),
        }
        self.run_tasks();
        if self.host.has_changed() {
            self.digest = self.read(P::digest);
        }
        self.host.drain_messages(&mut effects.messages);
        let alarm = self.host.next_deadline();
        if alarm != self.alarm {
            self.alarm = alarm;
            // A sleep alone does not keep a run going; a task that does work states it by `Host::begin_work`.
            effects.timers.push(match alarm {
                Some(at) => TimerChange::Set { id: 0, at: at.max(now), housekeeping: true },
                None => TimerChange::Cancel { id: 0 },
            });
        }
    }

    fn crash(&mut self) {
        // Dropping the old host drops its tasks, and with them every future that they await.
        *self = self.clone();
    }

    fn restart(&mut self) {}

    fn digest(&self) -> Digest {
        self.digest
    }

    fn unfinished(&self) -> Unfinished {
        Unfinished { sessions: self.host.work(), waiting: 0 }
    }
}
