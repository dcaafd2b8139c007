//! What a process has of its host.

use crate::custom::process::{Process, Stir, Task};
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

/// All of a host but its disk.
pub(super) struct Inside {
    own: NodeId,
    moment: Moment,
    peers: Vec<NodeId>,
    inbox: VecDeque<(NodeId, Bytes)>,
    messages: Vec<Outgoing>,
    /// When the tasks that sleep want to be woken, by the number of the sleep.
    deadlines: BTreeMap<u64, SimTime>,
    sleeps: u64,
    waiting: Vec<Waker>,
    spawned: Vec<Task>,
    stir: Arc<Stir>,
    changed: bool,
    owed: u32,
    chance: u64,
}

impl Inside {
    pub(super) const fn new(own: NodeId, stir: Arc<Stir>) -> Self {
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
            stir,
            changed: false,
            owed: 0,
            chance: 0,
        }
    }
}

/// The host that a process runs on: its network, its time, its disk. Clones are the same host. After a
/// crash the process is gone, and what it holds of its host is no use any more.
pub struct Host<P: Process> {
    inside: Rc<RefCell<Inside>>,
    disk: Rc<RefCell<P::Disk>>,
}

impl<P: Process> Clone for Host<P> {
    fn clone(&self) -> Self {
        Self { inside: self.inside.clone(), disk: self.disk.clone() }
    }
}

impl<P: Process> fmt::Debug for Host<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the host of {}", self.own())
    }
}

/// Held for as long as somebody waits for something: a run does not end meanwhile.
#[must_use = "nothing is owed any more once this is dropped"]
pub struct Owed(Rc<RefCell<Inside>>);

impl fmt::Debug for Owed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("something owed")
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.0.borrow_mut().owed -= 1;
    }
}

/// A sleep that has begun.
struct Alarm {
    inside: Rc<RefCell<Inside>>,
    number: u64,
    at: SimTime,
}

impl Alarm {
    fn set(inside: &Rc<RefCell<Inside>>, after: SimDuration) -> Self {
        let mut host = inside.borrow_mut();
        let at = host.moment.now + after;
        host.sleeps += 1;
        let number = host.sleeps;
        host.deadlines.insert(number, at);
        Self { inside: inside.clone(), number, at }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.inside.borrow_mut().deadlines.remove(&self.number);
    }
}

impl<P: Process> Host<P> {
    pub(super) fn new(inside: Inside, disk: P::Disk) -> Self {
        Self { inside: Rc::new(RefCell::new(inside)), disk: Rc::new(RefCell::new(disk)) }
    }

    /// Which host this is.
    pub fn own(&self) -> NodeId {
        self.inside.borrow().own
    }

    /// The others that it has a link to, by number. A partition does not show here.
    pub fn peers(&self) -> Vec<NodeId> {
        self.inside.borrow().peers.clone()
    }

    /// The time, which never goes back.
    pub fn now(&self) -> SimTime {
        self.inside.borrow().moment.now
    }

    /// The wall clock, in milliseconds. It may be wrong, and jump.
    pub fn wall_ms(&self) -> u64 {
        self.inside.borrow().moment.wall_ms
    }

    /// A number below `bound`, by chance; zero if the bound is. The seed of the run decides.
    pub fn below(&self, bound: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014), and the high half of a product, which is below the bound.
        let host = &mut *self.inside.borrow_mut();
        host.chance = host.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = host.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * u128::from(bound)) >> 64) as u64
    }

    /// Sends a frame. `kind` is a number of [`Subject::kinds`](crate::custom::Subject::kinds). A run does not
    /// end before it has arrived or is lost.
    pub fn send(&self, to: NodeId, kind: u8, bytes: impl Into<Bytes>) {
        self.push(Outgoing { to, bytes: bytes.into(), kind, housekeeping: false });
    }

    /// As [`Host::send`], for frames that recur for ever: a run may end while one is on its way.
    pub fn send_housekeeping(&self, to: NodeId, kind: u8, bytes: impl Into<Bytes>) {
        self.push(Outgoing { to, bytes: bytes.into(), kind, housekeeping: true });
    }

    /// The next frame that arrives, and from whom. Frames that arrive while nobody asks for them wait, in
    /// memory. Of several tasks that ask, the one that was spawned first has it.
    pub async fn receive(&self) -> (NodeId, Bytes) {
        poll_fn(|polling| self.ready(polling, |host| host.inbox.pop_front())).await
    }

    /// Waits for so long, and for a microsecond at least: time goes on.
    pub async fn sleep(&self, time: SimDuration) {
        let alarm = Alarm::set(&self.inside, time.max(SimDuration::from_micros(1)));
        poll_fn(|polling| self.ready(polling, |host| (host.moment.now >= alarm.at).then_some(()))).await;
    }

    /// What a future comes to within so long; `None` if it takes longer, and then it is dropped.
    pub async fn within<T>(&self, time: SimDuration, future: impl Future<Output = T>) -> Option<T> {
        let (mut future, mut sleep) = (pin!(future), pin!(self.sleep(time)));
        poll_fn(|polling| match future.as_mut().poll(polling) {
            Poll::Ready(came) => Poll::Ready(Some(came)),
            Poll::Pending => sleep.as_mut().poll(polling).map(|()| None),
        })
        .await
    }

    /// Runs a task beside this one, until it ends or the host crashes.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut host = self.inside.borrow_mut();
        host.spawned.push(Box::pin(task));
        host.stir.clone().wake();
    }

    /// Reads the disk.
    ///
    /// # Panics
    ///
    /// If it is called by what [`Host::write`] is doing.
    pub fn read<R>(&self, read: impl FnOnce(&P::Disk) -> R) -> R {
        read(&self.disk.borrow())
    }

    /// Writes to the disk. All that is written up to the next `await` that waits is written at once, or not
    /// at all: a crash may come between two steps of a process, and not within one. Frames go out after
    /// what was written in the same step, never before.
    ///
    /// # Panics
    ///
    /// If it is called by what [`Host::read`] or another `write` is doing.
    pub fn write<R>(&self, write: impl FnOnce(&mut P::Disk) -> R) -> R {
        let came = write(&mut self.disk.borrow_mut());
        let mut host = self.inside.borrow_mut();
        host.changed = true;
        host.stir.clone().wake();
        came
    }

    /// Waits until the disk has what is looked for. It is looked at after every write.
    pub async fn until<R>(&self, mut look: impl FnMut(&P::Disk) -> Option<R>) -> R {
        poll_fn(|polling| match self.read(&mut look) {
            Some(found) => Poll::Ready(found),
            None => self.ready(polling, |_| None),
        })
        .await
    }

    /// Says that somebody waits for something, for as long as what it gives is held.
    pub fn owe(&self) -> Owed {
        self.inside.borrow_mut().owed += 1;
        Owed(self.inside.clone())
    }

    fn push(&self, frame: Outgoing) {
        self.inside.borrow_mut().messages.push(frame);
    }

    /// What there is, or the task waits for the next step.
    fn ready<T>(&self, polling: &Polling<'_>, take: impl FnOnce(&mut Inside) -> Option<T>) -> Poll<T> {
        let host = &mut *self.inside.borrow_mut();
        take(host).map_or_else(
            || {
                host.waiting.push(polling.waker().clone());
                Poll::Pending
            },
            Poll::Ready,
        )
    }
}

/// What the step of the actor does with it.
impl<P: Process> Host<P> {
    pub(super) fn begin(&self, moment: Moment) {
        let host = &mut *self.inside.borrow_mut();
        host.moment = moment;
        host.changed = false;
        // Those are woken now.
        host.deadlines.retain(|_, at| *at > moment.now);
    }

    pub(super) fn reseed(&self, chance: u64) {
        self.inside.borrow_mut().chance = chance;
    }

    pub(super) fn meet(&self, reachable: &[NodeId]) {
        let host = &mut *self.inside.borrow_mut();
        host.peers = reachable.iter().copied().filter(|peer| *peer != host.own).collect();
    }

    pub(super) fn take_in(&self, from: NodeId, bytes: Bytes) {
        self.inside.borrow_mut().inbox.push_back((from, bytes));
    }

    pub(super) fn wake_all(&self) {
        let waiting = std::mem::take(&mut self.inside.borrow_mut().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(super) fn take_spawned(&self) -> Vec<Task> {
        std::mem::take(&mut self.inside.borrow_mut().spawned)
    }

    pub(super) fn has_changed(&self) -> bool {
        self.inside.borrow().changed
    }

    pub(super) fn give_messages(&self, to: &mut Vec<Outgoing>) {
        to.append(&mut self.inside.borrow_mut().messages);
    }

    pub(super) fn next_deadline(&self) -> Option<SimTime> {
        self.inside.borrow().deadlines.values().min().copied()
    }

    pub(super) fn owed(&self) -> u32 {
        self.inside.borrow().owed
    }
}
