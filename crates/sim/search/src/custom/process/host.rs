//! The host of a process, as the process uses it.

use crate::custom::process::{Process, Task, WakeFlag};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Polling, Poll, Wake, Waker};
use sync_sim_engine::actor::Outgoing;
use sync_sim_engine::node_id::NodeId;
use syncline_store::Bytes;
use syncline_types::{Moment, SimDuration, SimTime};

/// The volatile part of a host: all of it except the disk.
pub(super) struct ProcessState {
    own: NodeId,
    moment: Moment,
    peers: Vec<NodeId>,
    inbox: VecDeque<(NodeId, Bytes)>,
    messages: Vec<Outgoing>,
    /// The deadlines of the sleeps in progress, by the number of the sleep.
    deadlines: BTreeMap<u64, SimTime>,
    sleeps: u64,
    waiting: Vec<Waker>,
    spawned: Vec<Task>,
    wake_flag: Arc<WakeFlag>,
    /// Whether the disk was written in this step.
    changed: bool,
    /// The number of work guards.
    work: u32,
    /// The state of the random number generator.
    random_state: u64,
}

impl ProcessState {
    pub(super) const fn new(own: NodeId, wake_flag: Arc<WakeFlag>) -> Self {
        Self {
            own,
            moment: Moment::at(SimTime::ZERO),
            peers: Vec::new(),
            inbox: VecDeque::new(),
            messages: Vec::new(),
            deadlines: BTreeMap::new(),
            sleeps: 0,
            waiting: Vec::new(),
            spawned: Vec::new(),
            wake_flag,
            changed: false,
            work: 0,
            random_state: 0,
        }
    }
}

/// The host that a process runs on: its network, its clock and its disk. Clones refer to the same host. A crash
/// drops the process together with its clones of the host; the next start creates a new host.
pub struct Host<P: Process> {
    state: Rc<RefCell<ProcessState>>,
    disk: Rc<RefCell<P::Disk>>,
}

impl<P: Process> Clone for Host<P> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), disk: self.disk.clone() }
    }
}

impl<P: Process> fmt::Debug for Host<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the host of {}", self.own())
    }
}

/// Marks work in progress: a run does not end while the guard exists.
#[must_use = "the work counts as done once the guard is dropped"]
pub struct WorkGuard(Rc<RefCell<ProcessState>>);

impl fmt::Debug for WorkGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("work in progress")
    }
}

impl Drop for WorkGuard {
    fn drop(&mut self) {
        let work = &mut self.0.borrow_mut().work;
        assert!(*work > 0, "every guard was counted when it was created");
        *work -= 1;
    }
}

/// A sleep in progress. Its deadline is removed when it is dropped, so that an abandoned sleep wakes no task.
struct SleepTimer {
    state: Rc<RefCell<ProcessState>>,
    number: u64,
    at: SimTime,
}

impl SleepTimer {
    fn set(state: &Rc<RefCell<ProcessState>>, after: SimDuration) -> Self {
        let mut host = state.borrow_mut();
        let at = host.moment.now + after;
        host.sleeps += 1;
        let number = host.sleeps;
        host.deadlines.insert(number, at);
        Self { state: state.clone(), number, at }
    }
}

impl Drop for SleepTimer {
    fn drop(&mut self) {
        self.state.borrow_mut().deadlines.remove(&self.number);
    }
}

impl<P: Process> Host<P> {
    pub(super) fn new(state: ProcessState, disk: P::Disk) -> Self {
        Self { state: Rc::new(RefCell::new(state)), disk: Rc::new(RefCell::new(disk)) }
    }

    /// The number of this host.
    pub fn own(&self) -> NodeId {
        self.state.borrow().own
    }

    /// The other hosts that this one has a link to, ascending. A partition does not remove them.
    pub fn peers(&self) -> Vec<NodeId> {
        self.state.borrow().peers.clone()
    }

    /// The virtual time. It is monotone.
    pub fn now(&self) -> SimTime {
        self.state.borrow().moment.now
    }

    /// The wall clock in milliseconds since the Unix epoch. It may be skewed, and may jump in both directions.
    pub fn wall_ms(&self) -> u64 {
        self.state.borrow().moment.wall_ms
    }

    /// A uniform random number below `bound`; zero if `bound` is zero. It is determined by the seed of the run.
    pub fn below(&self, bound: u64) -> u64 {
        // SplitMix64 (Steele, Lea and Flood, 2014). The high half of the product with the bound lies below the
        // bound, and its bias is at most bound / 2^64 (Lemire, 2019).
        let host = &mut *self.state.borrow_mut();
        host.random_state = host.random_state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = host.random_state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * u128::from(bound)) >> 64) as u64
    }

    /// Sends a frame. `kind` is an index into [`Subject::kinds`](crate::custom::Subject::kinds). A run does not
    /// end while the frame is in flight.
    pub fn send(&self, to: NodeId, kind: u8, bytes: impl Into<Bytes>) {
        self.push(Outgoing { to, bytes: bytes.into(), kind, housekeeping: false });
    }

    /// Sends a frame that recurs, such as a heartbeat: unlike with [`Host::send`], a run may end while the frame
    /// is in flight.
    pub fn send_housekeeping(&self, to: NodeId, kind: u8, bytes: impl Into<Bytes>) {
        self.push(Outgoing { to, bytes: bytes.into(), kind, housekeeping: true });
    }

    /// The next frame and its sender. Frames are queued in memory until a task receives them. If several tasks
    /// wait, the one that was spawned first receives the frame.
    pub async fn receive(&self) -> (NodeId, Bytes) {
        poll_fn(|polling| self.ready(polling, |host| host.inbox.pop_front())).await
    }

    /// Sleeps for this long, and for at least one microsecond. The minimum guarantees that a loop of sleeps
    /// advances the time.
    pub async fn sleep(&self, time: SimDuration) {
        let alarm = SleepTimer::set(&self.state, time.max(SimDuration::from_micros(1)));
        poll_fn(|polling| self.ready(polling, |host| (host.moment.now >= alarm.at).then_some(()))).await;
    }

    /// The output of a future, or `None` if it is not ready after this time. It is dropped then.
    pub async fn within<T>(&self, time: SimDuration, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut sleep = pin!(self.sleep(time));
        // The future comes first: an answer that arrives at the deadline still counts.
        poll_fn(|polling| match future.as_mut().poll(polling) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => sleep.as_mut().poll(polling).map(|()| None),
        })
        .await
    }

    /// Spawns a task that runs until it ends or the host crashes.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut host = self.state.borrow_mut();
        host.spawned.push(Box::pin(task));
        host.wake_flag.clone().wake();
    }

    /// Reads the disk.
    ///
    /// # Panics
    ///
    /// If it is called inside of [`Host::write`].
    pub fn read<R>(&self, read: impl FnOnce(&P::Disk) -> R) -> R {
        read(&self.disk.borrow())
    }

    /// Writes to the disk. All writes up to the next `await` that waits are one atomic commit: a crash falls
    /// between two steps of a process, never within one. The frames of a step leave after its commit
    /// (write-ahead).
    ///
    /// # Panics
    ///
    /// If it is called inside of [`Host::read`] or of another `write`.
    pub fn write<R>(&self, write: impl FnOnce(&mut P::Disk) -> R) -> R {
        let output = write(&mut self.disk.borrow_mut());
        let mut host = self.state.borrow_mut();
        host.changed = true;
        host.wake_flag.clone().wake();
        output
    }

    /// Waits until `look` finds something on the disk. It is called after every write.
    pub async fn until<R>(&self, mut look: impl FnMut(&P::Disk) -> Option<R>) -> R {
        poll_fn(|polling| match self.read(&mut look) {
            Some(found) => Poll::Ready(found),
            None => self.ready(polling, |_| None),
        })
        .await
    }

    /// Marks work in progress, such as a request that waits for its answer. The run does not end before the
    /// guard is dropped.
    pub fn begin_work(&self) -> WorkGuard {
        self.state.borrow_mut().work += 1;
        WorkGuard(self.state.clone())
    }

    fn push(&self, frame: Outgoing) {
        self.state.borrow_mut().messages.push(frame);
    }

    /// The output of `take`, or the task is registered to be woken in the next round.
    fn ready<T>(&self, polling: &Polling<'_>, take: impl FnOnce(&mut ProcessState) -> Option<T>) -> Poll<T> {
        let host = &mut *self.state.borrow_mut();
        take(host).map_or_else(
            || {
                host.waiting.push(polling.waker().clone());
                Poll::Pending
            },
            Poll::Ready,
        )
    }
}

/// The host as the actor uses it, around the tasks of a step.
impl<P: Process> Host<P> {
    pub(super) fn begin(&self, moment: Moment) {
        let host = &mut *self.state.borrow_mut();
        assert!(moment.now >= host.moment.now, "the time of a host never goes back");
        host.moment = moment;
        host.changed = false;
        // Every task is polled in a step, so the sleeps that are over need no deadline any more.
        host.deadlines.retain(|_, at| *at > moment.now);
    }

    pub(super) fn reseed(&self, seed: u64) {
        self.state.borrow_mut().random_state = seed;
    }

    pub(super) fn set_peers(&self, reachable: &[NodeId]) {
        let host = &mut *self.state.borrow_mut();
        host.peers = reachable.iter().copied().filter(|peer| *peer != host.own).collect();
    }

    pub(super) fn deliver(&self, from: NodeId, bytes: Bytes) {
        self.state.borrow_mut().inbox.push_back((from, bytes));
    }

    pub(super) fn wake_all(&self) {
        let waiting = std::mem::take(&mut self.state.borrow_mut().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(super) fn take_spawned(&self) -> Vec<Task> {
        std::mem::take(&mut self.state.borrow_mut().spawned)
    }

    pub(super) fn has_changed(&self) -> bool {
        self.state.borrow().changed
    }

    pub(super) fn drain_messages(&self, to: &mut Vec<Outgoing>) {
        to.append(&mut self.state.borrow_mut().messages);
    }

    pub(super) fn next_deadline(&self) -> Option<SimTime> {
        self.state.borrow().deadlines.values().min().copied()
    }

    /// The number of work guards.
    pub(super) fn work(&self) -> u32 {
        self.state.borrow().work
    }
}
