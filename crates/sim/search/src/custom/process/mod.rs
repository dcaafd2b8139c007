//! A node that is an `async fn`.
//!
//! A [`Process`] runs on a [`Host`], from the host's start to its crash. It sends and receives, sleeps, waits
//! for its disk to change and runs tasks beside itself, all in virtual time: whenever every task waits, the
//! step is over, and the world goes on to its next event. [`Hosted`] makes an [`Actor`] of it, so that
//! a [`Lab`](super::Lab) has it crash, sweeps it over seeds, makes its failures small and shows them.
//!
//! Any future may be awaited that is woken by something in the same process: channels, locks, joins. What
//! is woken by a thread, a socket or a clock of the machine never ends here, and what chooses by chance of
//! its own (as some `select!` do) makes runs differ.

mod host;

pub use host::{Host, Owed};

use crate::custom::process::host::Inside;
use crate::custom::{Choice, Digest, SimTime};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Polling, Poll, Wake, Waker};
use sync_sim_engine::actor::{Actor, Context, Effects, Input, TimerChange, Unfinished};
use sync_sim_engine::node_id::NodeId;

/// How often the tasks of a host may wake each other in one step.
const MOST_ROUNDS: usize = 10_000;

pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What runs on a host.
pub trait Process: Clone + 'static {
    /// What it may be asked for.
    type Op: Clone + 'static;
    /// What its host keeps through crashes.
    type Disk: Clone + 'static;

    /// Writes down what it is asked for. Once this has returned, and the host has not crashed in the same
    /// step, the operation counts as acknowledged; [`Host::until`] is how a task comes to know of it.
    fn accept(disk: &mut Self::Disk, op: &Self::Op);

    /// The digest of the state that is to be the same on all hosts.
    fn digest(disk: &Self::Disk) -> Digest;

    /// What runs from the host's start to its crash, and again at its next start. Write it as an `async fn`.
    fn run(self, host: Host<Self>) -> impl Future<Output = ()> + 'static;
}

/// Whether a task has something to do.
#[derive(Debug, Default)]
pub(super) struct Stir(AtomicBool);

impl Wake for Stir {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A process on its host. A clone of it is what a crash would leave: the disk, and nothing that runs.
pub struct Hosted<P: Process> {
    process: P,
    host: Host<P>,
    tasks: Vec<Task>,
    stir: Arc<Stir>,
    /// When its timer runs out.
    alarm: Option<SimTime>,
    digest: Digest,
}

impl<P: Process> Hosted<P> {
    /// A process that will run on the host of this number, which has this on its disk.
    pub fn new(own: NodeId, process: P, disk: P::Disk) -> Self {
        let stir = Arc::new(Stir::default());
        let digest = P::digest(&disk);
        let host = Host::new(Inside::new(own, stir.clone()), disk);
        Self { process, host, tasks: Vec::new(), stir, alarm: None, digest }
    }

    /// Reads its disk.
    pub fn read<R>(&self, read: impl FnOnce(&P::Disk) -> R) -> R {
        self.host.read(read)
    }

    /// Goes on until every task waits.
    ///
    /// # Panics
    ///
    /// If they never do.
    fn work(&mut self) {
        let waker = Waker::from(self.stir.clone());
        let mut polling = Polling::from_waker(&waker);
        for _ in 0..MOST_ROUNDS {
            self.host.wake_all();
            self.stir.0.store(false, Ordering::Relaxed);
            self.tasks.retain_mut(|task| {
                let goes_on = task.as_mut().poll(&mut polling) == Poll::Pending;
                if !goes_on {
                    self.stir.0.store(true, Ordering::Relaxed);
                }
                goes_on
            });
            self.tasks.append(&mut self.host.take_spawned());
            if !self.stir.0.load(Ordering::Relaxed) {
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
                self.host.reseed(context.entropy.below(Choice::TimerJitter, u64::MAX));
                let main = self.process.clone().run(self.host.clone());
                self.tasks.push(Box::pin(main));
            }
            Input::Peers { reachable, .. } => self.host.meet(&reachable),
            Input::Frame { from, bytes } => self.host.take_in(from, bytes.clone()),
            Input::Timer(_) => self.alarm = None,
            Input::Op(op) => self.host.write(|disk| P::accept(disk, op)),
        }
        self.work();
        if self.host.has_changed() {
            self.digest = self.read(P::digest);
        }
        self.host.give_messages(&mut effects.messages);
        let alarm = self.host.next_deadline();
        if alarm != self.alarm {
            self.alarm = alarm;
            // Who waits for an answer says so by `Host::owe`.
            effects.timers.push(match alarm {
                Some(at) => TimerChange::Set { id: 0, at: at.max(now), housekeeping: true },
                None => TimerChange::Cancel { id: 0 },
            });
        }
    }

    fn crash(&mut self) {
        *self = self.clone();
    }

    fn restart(&mut self) {}

    fn digest(&self) -> Digest {
        self.digest
    }

    fn unfinished(&self) -> Unfinished {
        Unfinished { sessions: self.host.owed(), waiting: 0 }
    }
}
