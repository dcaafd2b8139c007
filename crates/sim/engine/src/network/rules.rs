//! Scripted interference: which frames, and what becomes of them.
//!
//! A rule is plain data, so that a run that had it can be printed, cloned and replayed. Rules see every
//! frame that is sent, before partitions and chance do, and draw nothing but the bit that one of them
//! flips, from a stream of its own: what a rule does to one frame moves no other.

use crate::node_id::NodeId;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use syncline_types::{SimDuration, SimTime};

/// What a rule does to a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// No later rule is asked. Partitions and chance are not rules: they strike as ever.
    Pass,
    /// It is dropped. No later rule is asked.
    Drop,
    /// It takes this much longer.
    Delay(SimDuration),
    /// It arrives twice; but not where a connection carries it, which hands over each frame once.
    Duplicate,
    /// One of its bits is flipped, in every copy.
    Corrupt,
    /// The connection that carries it breaks, and what was on its way on it is lost. Frames that fend for
    /// themselves have none: it is dropped.
    Reset,
}

/// What a frame carries: the number by which its actor calls it, and a name for people. Rules match
/// the number alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageKind {
    number: u8,
    label: String,
}

impl<K: Into<u8> + fmt::Debug> From<K> for MessageKind {
    fn from(kind: K) -> Self {
        let label = format!("{kind:?}");
        Self { number: kind.into(), label }
    }
}

/// A frame as rules see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// By whom it was sent.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// The number of what it carries.
    pub kind: u8,
    /// How many bytes it has.
    pub bytes: usize,
}

/// Which frames, and what is done to them. A new rule holds for all; each method narrows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    verdict: Verdict,
    from: Option<NodeId>,
    to: Option<NodeId>,
    kinds: Vec<MessageKind>,
    bytes: RangeInclusive<usize>,
    time: Range<SimTime>,
    after: u64,
    one_in: u64,
    at_most: Option<u64>,
}

impl Rule {
    /// Does this to every frame.
    pub const fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            from: None,
            to: None,
            kinds: Vec::new(),
            bytes: 0..=usize::MAX,
            time: SimTime::ZERO..SimTime::MAX,
            after: 0,
            one_in: 1,
            at_most: None,
        }
    }

    /// Only what `node` sends.
    pub const fn from(mut self, node: NodeId) -> Self {
        self.from = Some(node);
        self
    }

    /// Only what is sent to `node`.
    pub const fn to(mut self, node: NodeId) -> Self {
        self.to = Some(node);
        self
    }

    /// Only frames of this kind; called again, of that kind too.
    pub fn of(mut self, kind: impl Into<MessageKind>) -> Self {
        self.kinds.push(kind.into());
        self
    }

    /// Only frames with so many bytes.
    pub const fn sized(mut self, bytes: RangeInclusive<usize>) -> Self {
        self.bytes = bytes;
        self
    }

    /// Only frames sent in this time.
    pub const fn during(mut self, time: Range<SimTime>) -> Self {
        self.time = time;
        self
    }

    /// Leaves the first `frames` alone, of those that the rule holds for.
    pub const fn after(mut self, frames: u64) -> Self {
        self.after = frames;
        self
    }

    /// Of those that the rule holds for, strikes the first, and then each `frames`-th. 0 counts as 1.
    pub const fn one_in(mut self, frames: u64) -> Self {
        self.one_in = if frames == 0 { 1 } else { frames };
        self
    }

    /// Strikes no more than `frames` times.
    pub const fn at_most(mut self, frames: u64) -> Self {
        self.at_most = Some(frames);
        self
    }

    /// Whether the rule holds for a frame sent at `now`.
    fn holds(&self, now: SimTime, frame: &Envelope) -> bool {
        self.from.is_none_or(|from| from == frame.from)
            && self.to.is_none_or(|to| to == frame.to)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind.number == frame.kind))
            && self.bytes.contains(&frame.bytes)
            && self.time.contains(&now)
    }
}

/// The rule in words.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Pass => write!(f, "pass")?,
            Verdict::Drop => write!(f, "drop")?,
            Verdict::Delay(by) => write!(f, "delay by {by}")?,
            Verdict::Duplicate => write!(f, "duplicate")?,
            Verdict::Corrupt => write!(f, "corrupt")?,
            Verdict::Reset => write!(f, "reset")?,
        }
        match self.one_in {
            1 => write!(f, " every frame")?,
            n => write!(f, " one in {n} frames")?,
        }
        for (at, kind) in self.kinds.iter().enumerate() {
            write!(f, "{}", if at == 0 { " of kind " } else { " or " })?;
            f.write_str(&kind.label)?;
        }
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        match (*self.bytes.start(), *self.bytes.end()) {
            (0, usize::MAX) => {}
            (least, usize::MAX) => write!(f, " of {least} bytes or more")?,
            (least, most) => write!(f, " of {least} to {most} bytes")?,
        }
        match (self.time.start, self.time.end) {
            (SimTime::ZERO, SimTime::MAX) => {}
            (start, SimTime::MAX) => write!(f, ", from {start} on")?,
            (start, end) => write!(f, ", from {start} to {end}")?,
        }
        if self.after > 0 {
            write!(f, ", but not the first {}", self.after)?;
        }
        self.at_most.map_or(Ok(()), |most| write!(f, ", at most {most} times"))
    }
}

/// Names a rule, so that it can be taken away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RuleId(u64);

/// How often a rule was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RuleUse {
    /// Frames that it held for.
    pub held: u64,
    /// Of those, the ones that it did something to.
    pub struck: u64,
}

/// What all rules together do to a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ruling {
    pub(crate) dropped: bool,
    pub(crate) reset: bool,
    pub(crate) corrupted: bool,
    pub(crate) doubled: bool,
    pub(crate) delay: SimDuration,
}

/// The rules in force, in the order in which they were added. Each frame asks them in that order until
/// one passes or drops it; what the others do to it adds up. Asking costs O(rules).
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<(RuleId, Rule, RuleUse)>,
    added: u64,
}

impl Rules {
    /// Adds a rule, to be asked after all others.
    pub fn add(&mut self, rule: Rule) -> RuleId {
        self.added += 1;
        let id = RuleId(self.added);
        self.rules.push((id, rule, RuleUse::default()));
        id
    }

    /// Takes a rule away. Says how often it was asked, or `None` if it was gone already.
    pub fn remove(&mut self, id: RuleId) -> Option<RuleUse> {
        let used = self.used(id)?;
        self.rules.retain(|(own, ..)| *own != id);
        Some(used)
    }

    /// How often a rule was asked.
    pub fn used(&self, id: RuleId) -> Option<RuleUse> {
        self.rules.iter().find(|(own, ..)| *own == id).map(|(.., used)| *used)
    }

    /// The rules in force, in the order in which they are asked.
    pub fn iter(&self) -> impl Iterator<Item = (RuleId, &Rule)> {
        self.rules.iter().map(|(id, rule, _)| (*id, rule))
    }

    /// Asks all rules about a frame sent at `now`.
    pub(crate) fn judge(&mut self, now: SimTime, frame: &Envelope) -> Ruling {
        let mut ruling = Ruling::default();
        for (_, rule, used) in &mut self.rules {
            if !rule.holds(now, frame) {
                continue;
            }
            let ordinal = used.held;
            used.held += 1;
            let turn = ordinal.checked_sub(rule.after).is_some_and(|past| past.is_multiple_of(rule.one_in));
            if !turn || rule.at_most.is_some_and(|most| used.struck >= most) {
                continue;
            }
            used.struck += 1;
            match rule.verdict {
                Verdict::Pass => break,
                Verdict::Drop | Verdict::Reset => {
                    ruling.dropped = true;
                    ruling.reset = rule.verdict == Verdict::Reset;
                    break;
                }
                Verdict::Delay(by) => ruling.delay = ruling.delay + by,
                Verdict::Duplicate => ruling.doubled = true,
                Verdict::Corrupt => ruling.corrupted = true,
            }
        }
        ruling
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Message kinds of an actor.
    #[derive(Clone, Copy, Debug)]
    enum FrameKind {
        Delta,
        Heartbeat,
        Handshake,
    }

    impl From<FrameKind> for u8 {
        fn from(kind: FrameKind) -> Self {
            kind as Self
        }
    }

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);

    fn frame(from: NodeId, to: NodeId, kind: FrameKind, bytes: usize) -> Envelope {
        Envelope { from, to, kind: kind as u8, bytes }
    }

    /// Which of ten equal frames, sent at 0 ms, 1 ms, …, are dropped.
    fn dropped(rules: &[Rule]) -> Vec<u64> {
        let mut book = Rules::default();
        for rule in rules {
            book.add(rule.clone());
        }
        let frame = frame(A, B, FrameKind::Delta, 100);
        (0..10).filter(|ms| book.judge((*ms).into(), &frame).dropped).collect()
    }

    #[test]
    fn a_rule_holds_for_the_frames_it_names() {
        let rule = || Rule::new(Verdict::Drop);
        let delta = frame(A, B, FrameKind::Delta, 100);
        for (narrowed, holds) in [
            (rule(), true),
            (rule().from(A).to(B), true),
            (rule().from(B), false),
            (rule().to(A), false),
            (rule().of(FrameKind::Heartbeat), false),
            (rule().of(FrameKind::Heartbeat).of(FrameKind::Delta), true),
            (rule().of(FrameKind::Delta as u8), true),
            (rule().sized(100..=100), true),
            (rule().sized(101..=usize::MAX), false),
            (rule().during(5.into()..6.into()), true),
            (rule().during(0.into()..5.into()), false),
        ] {
            assert_eq!(narrowed.holds(5.into(), &delta), holds, "{narrowed}");
        }
    }

    #[test]
    fn ordinals_decide_which_frames_are_struck() {
        let drop = || Rule::new(Verdict::Drop);
        assert_eq!(dropped(&[drop().at_most(3)]), [0, 1, 2]);
        assert_eq!(dropped(&[drop().after(8)]), [8, 9]);
        assert_eq!(dropped(&[drop().after(1).one_in(4).at_most(2)]), [1, 5]);
        assert_eq!(dropped(&[drop().one_in(0).during(7.into()..9.into())]), [7, 8]);
    }

    #[test]
    fn rules_are_asked_in_order_until_one_passes_or_drops() {
        let (drop, pass) = (Rule::new(Verdict::Drop), Rule::new(Verdict::Pass));
        assert_eq!(dropped(&[pass.clone().at_most(7), drop.clone()]), [7, 8, 9]);
        assert_eq!(dropped(&[drop.at_most(3), pass]), [0, 1, 2]);
        let mut book = Rules::default();
        let slow = Rule::new(Verdict::Delay(SimDuration::from_millis(7)));
        let first = book.add(slow.clone());
        book.add(Rule::new(Verdict::Duplicate));
        book.add(slow);
        book.add(Rule::new(Verdict::Corrupt));
        let ruling = book.judge(SimTime::ZERO, &frame(A, B, FrameKind::Delta, 1));
        let delay = SimDuration::from_millis(14);
        assert_eq!(ruling, Ruling { dropped: false, reset: false, corrupted: true, doubled: true, delay });
        assert_eq!(book.remove(first), Some(RuleUse { held: 1, struck: 1 }));
        assert_eq!((book.remove(first), book.iter().count()), (None, 3));
    }

    #[test]
    fn a_rule_is_printed_in_words() {
        let rule = Rule::new(Verdict::Delay(SimDuration::from_millis(5)))
            .from(A)
            .to(B)
            .of(FrameKind::Handshake)
            .of(9)
            .sized(10..=20)
            .during(1_000.into()..2_000.into())
            .after(2)
            .one_in(3)
            .at_most(4);
        let said = rule.to_string();
        for word in
            ["delay by", "one in 3", "Handshake or 9", "from #0 to #1", "10 to 20", "first 2", "4 times"]
        {
            assert!(said.contains(word), "{said}");
        }
        assert_eq!(Rule::new(Verdict::Drop).to_string(), "drop every frame");
    }
}
