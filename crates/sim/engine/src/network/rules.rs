//! Scripted rules: which frames they match, and what they do to them.
//!
//! A rule is plain data, so that a run with rules can be printed, cloned and replayed. Rules see every frame
//! that is sent, before partitions and random faults do. They draw nothing but the bit that one of them
//! flips, and that from a stream of its own: a rule changes no draw for another frame.

use crate::node_id::NodeId;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use syncline_types::{SimDuration, SimTime};

/// What a rule does to a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The frame passes: no later rule is applied. Partitions and random faults still apply.
    Pass,
    /// The frame is dropped. No later rule is applied.
    Drop,
    /// The frame arrives this much later.
    Delay(SimDuration),
    /// The frame arrives twice, unless a connection carries it: a connection delivers each frame once.
    Duplicate,
    /// One bit of the frame is flipped, in every copy.
    Corrupt,
    /// The connection that carries the frame breaks, and all frames in flight on it are lost. A datagram has
    /// no connection: it is dropped.
    Reset,
}

/// A kind of message: the number that the actor gave it, and a name for people. Rules match the number
/// alone.
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
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The kind of message, as its actor numbers it.
    pub kind: u8,
    /// The size in bytes.
    pub bytes: usize,
}

/// A predicate on frames and a verdict. A new rule matches every frame; each method narrows it.
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
    /// A rule that applies this verdict to every frame.
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

    /// Matches only frames that `node` sends.
    pub const fn from(mut self, node: NodeId) -> Self {
        self.from = Some(node);
        self
    }

    /// Matches only frames to `node`.
    pub const fn to(mut self, node: NodeId) -> Self {
        self.to = Some(node);
        self
    }

    /// Matches only frames of this kind. Each further call adds a kind.
    pub fn of(mut self, kind: impl Into<MessageKind>) -> Self {
        self.kinds.push(kind.into());
        self
    }

    /// Matches only frames of a size in this range, in bytes.
    pub const fn sized(mut self, bytes: RangeInclusive<usize>) -> Self {
        self.bytes = bytes;
        self
    }

    /// Matches only frames that are sent within this time.
    pub const fn during(mut self, time: Range<SimTime>) -> Self {
        self.time = time;
        self
    }

    /// Skips the first `frames` frames that match.
    pub const fn after(mut self, frames: u64) -> Self {
        self.after = frames;
        self
    }

    /// Applies the verdict to the first frame that matches, and then to each `frames`-th. 0 counts as 1.
    pub const fn one_in(mut self, frames: u64) -> Self {
        self.one_in = if frames == 0 { 1 } else { frames };
        self
    }

    /// Applies the verdict at most `frames` times.
    pub const fn at_most(mut self, frames: u64) -> Self {
        self.at_most = Some(frames);
        self
    }

    /// Whether the rule matches a frame that is sent at `now`.
    fn matches(&self, now: SimTime, frame: &Envelope) -> bool {
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

/// Identifies a rule, so that it can be removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RuleId(u64);

/// How often a rule was used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RuleUse {
    /// Frames that the rule matched.
    pub matched: u64,
    /// Frames that the verdict was applied to.
    pub applied: u64,
}

/// The combined effect of all rules on one frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct RuleOutcome {
    pub(crate) dropped: bool,
    pub(crate) reset: bool,
    pub(crate) corrupted: bool,
    pub(crate) duplicated: bool,
    pub(crate) delay: SimDuration,
}

/// The rules in force, in the order in which they were added. They are applied to each frame in that order
/// until one passes or drops it; the effects of the others add up. This costs O(rules) per frame.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<(RuleId, Rule, RuleUse)>,
    added: u64,
}

impl Rules {
    /// Adds a rule, to be applied after all others.
    pub fn add(&mut self, rule: Rule) -> RuleId {
        self.added += 1;
        let id = RuleId(self.added);
        self.rules.push((id, rule, RuleUse::default()));
        id
    }

    /// Removes a rule. Returns how often it was used, or `None` if there is no such rule.
    pub fn remove(&mut self, id: RuleId) -> Option<RuleUse> {
        let used = self.used(id)?;
        self.rules.retain(|(own, ..)| *own != id);
        Some(used)
    }

    /// How often a rule in force was used.
    pub fn used(&self, id: RuleId) -> Option<RuleUse> {
        self.rules.iter().find(|(own, ..)| *own == id).map(|(.., used)| *used)
    }

    /// The rules in force, in the order in which they are applied.
    pub fn iter(&self) -> impl Iterator<Item = (RuleId, &Rule)> {
        self.rules.iter().map(|(id, rule, _)| (*id, rule))
    }

    /// The rules that change frames that are sent at `now`.
    pub fn in_force(&self, now: SimTime) -> impl Iterator<Item = &Rule> {
        let acts = move |(_, rule, used): &&(RuleId, Rule, RuleUse)| {
            rule.verdict != Verdict::Pass
                && rule.time.contains(&now)
                && rule.at_most.is_none_or(|most| used.applied < most)
        };
        self.rules.iter().filter(acts).map(|(_, rule, _)| rule)
    }

    /// Since when a rule drops every frame from `from` to `to`, if one does at `now`. Rules before it that let frames
    /// pass are not considered.
    pub fn dropped_since(&self, from: NodeId, to: NodeId, now: SimTime) -> Option<SimTime> {
        let drops_all = |(_, rule, used): &&(RuleId, Rule, RuleUse)| {
            matches!(rule.verdict, Verdict::Drop | Verdict::Reset)
                && rule.from.is_none_or(|own| own == from)
                && rule.to.is_none_or(|own| own == to)
                && rule.kinds.is_empty()
                && rule.bytes == (0..=usize::MAX)
                && rule.time.contains(&now)
                && rule.one_in == 1
                && rule.at_most.is_none()
                && used.matched >= rule.after
        };
        self.rules.iter().filter(drops_all).map(|(_, rule, _)| rule.time.start).min()
    }

    /// Applies all rules to a frame that is sent at `now`.
    pub(crate) fn judge(&mut self, now: SimTime, frame: &Envelope) -> RuleOutcome {
        let mut outcome = RuleOutcome::default();
        for (_, rule, used) in &mut self.rules {
            if !rule.matches(now, frame) {
                continue;
            }
            let ordinal = used.matched;
            used.matched += 1;
            let is_selected =
                ordinal.checked_sub(rule.after).is_some_and(|past| past.is_multiple_of(rule.one_in));
            if !is_selected || rule.at_most.is_some_and(|most| used.applied >= most) {
                continue;
            }
            used.applied += 1;
            match rule.verdict {
                Verdict::Pass => break,
                Verdict::Drop | Verdict::Reset => {
                    outcome.dropped = true;
                    outcome.reset = rule.verdict == Verdict::Reset;
                    break;
                }
                Verdict::Delay(by) => outcome.delay = outcome.delay + by,
                Verdict::Duplicate => outcome.duplicated = true,
                Verdict::Corrupt => outcome.corrupted = true,
            }
        }
        outcome
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

    /// The indices of the frames that are dropped, of ten equal ones sent at 0 ms, 1 ms and so on.
    fn dropped(rules: &[Rule]) -> Vec<u64> {
        let mut book = Rules::default();
        for rule in rules {
            book.add(rule.clone());
        }
        let frame = frame(A, B, FrameKind::Delta, 100);
        (0..10).filter(|ms| book.judge((*ms).into(), &frame).dropped).collect()
    }

    #[test]
    fn a_rule_matches_its_frames() {
        let rule = || Rule::new(Verdict::Drop);
        let delta = frame(A, B, FrameKind::Delta, 100);
        for (narrowed, matches) in [
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
            assert_eq!(narrowed.matches(5.into(), &delta), matches, "{narrowed}");
        }
    }

    #[test]
    fn ordinals_select_frames() {
        let drop = || Rule::new(Verdict::Drop);
        assert_eq!(dropped(&[drop().at_most(3)]), [0, 1, 2]);
        assert_eq!(dropped(&[drop().after(8)]), [8, 9]);
        assert_eq!(dropped(&[drop().after(1).one_in(4).at_most(2)]), [1, 5]);
        assert_eq!(dropped(&[drop().one_in(0).during(7.into()..9.into())]), [7, 8]);
    }

    #[test]
    fn rules_apply_in_order() {
        let drop = Rule::new(Verdict::Drop);
        let pass = Rule::new(Verdict::Pass);
        assert_eq!(dropped(&[pass.clone().at_most(7), drop.clone()]), [7, 8, 9]);
        assert_eq!(dropped(&[drop.at_most(3), pass]), [0, 1, 2]);
        let mut book = Rules::default();
        let slow = Rule::new(Verdict::Delay(SimDuration::from_millis(7)));
        let first = book.add(slow.clone());
        book.add(Rule::new(Verdict::Duplicate));
        book.add(slow);
        book.add(Rule::new(Verdict::Corrupt));
        let outcome = book.judge(SimTime::ZERO, &frame(A, B, FrameKind::Delta, 1));
        let delay = SimDuration::from_millis(14);
        assert_eq!(
            outcome,
            RuleOutcome { dropped: false, reset: false, corrupted: true, duplicated: true, delay }
        );
        assert_eq!(book.remove(first), Some(RuleUse { matched: 1, applied: 1 }));
        assert_eq!((book.remove(first), book.iter().count()), (None, 3));
    }

    #[test]
    fn a_rule_displays_in_words() {
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
