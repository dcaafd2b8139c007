//! The lines of a case about frames: faults of single frames, and rules for many.

use crate::case::Name;
use crate::case::error::CaseError;
use crate::case::serde_names::{maybe_time, names};
use serde::{Deserialize, Serialize};
use sync_sim_engine::faults::time;
use sync_sim_engine::network::{FrameFault, FrameName, Rule, Verdict};
use sync_sim_engine::node_id::NodeId;
use syncline_replica::FrameKind;
use syncline_types::{SimDuration, SimTime};

/// The fault of one frame on its link: `{ from = "alice", to = "bob", frame = 3, lost = true }`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameLine {
    /// The name of the sender.
    pub from: Name,
    /// The name of the receiver.
    pub to: Name,
    /// The number of the frame among all frames sent along this link; the first is 1.
    pub frame: u64,
    /// Whether the frame is lost.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lost: bool,
    /// The time that the frame takes to arrive.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub takes: Option<SimDuration>,
    /// If given, the frame is duplicated, and the second copy takes this time.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub again: Option<SimDuration>,
    /// The index of a bit that is flipped in the frame; it wraps around at the end of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flipped: Option<u64>,
    /// The index of a bit that is flipped in the second copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_flipped: Option<u64>,
    /// On a stream link, the number of times that the frame is lost before a retransmission arrives. Random
    /// if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub losses: Option<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl FrameLine {
    /// The line for one fault of one frame.
    pub(crate) fn of(from: Name, to: Name, frame: u64, fault: FrameFault) -> Self {
        // One line for each fault of a frame, so that shrinking can remove each of them alone.
        let none = Self {
            from,
            to,
            frame,
            lost: false,
            takes: None,
            again: None,
            flipped: None,
            again_flipped: None,
            losses: None,
        };
        match fault {
            FrameFault::Lost => Self { lost: true, ..none },
            FrameFault::Takes(time) => Self { takes: Some(time), ..none },
            FrameFault::Again(time) => Self { again: Some(time), ..none },
            FrameFault::Flipped(bit) => Self { flipped: Some(bit), ..none },
            FrameFault::AgainFlipped(bit) => Self { again_flipped: Some(bit), ..none },
            FrameFault::Losses(times) => Self { losses: Some(times), ..none },
        }
    }

    /// The faults that the line asks for, with the frame that they concern.
    pub(super) fn faults(
        &self,
        resolve: impl Fn(&str, &Name) -> Result<NodeId, CaseError>,
    ) -> Result<Vec<(FrameName, FrameFault)>, CaseError> {
        let place = format!("frame {} from {} to {}", self.frame, self.from, self.to);
        let impossible =
            |problem: &str| CaseError::Impossible { place: place.clone(), problem: problem.into() };
        // No frame has this ordinal: the line would silently have no effect.
        if self.frame == 0 {
            return Err(impossible("frames are counted from 1"));
        }
        if self.from == self.to {
            return Err(impossible("a node sends no frame to itself; name two nodes"));
        }
        let name = FrameName {
            from: resolve(&place, &self.from)?,
            to: resolve(&place, &self.to)?,
            ordinal: self.frame,
        };
        let faults: Vec<_> = [
            self.lost.then_some(FrameFault::Lost),
            self.takes.map(FrameFault::Takes),
            self.again.map(FrameFault::Again),
            self.flipped.map(FrameFault::Flipped),
            self.again_flipped.map(FrameFault::AgainFlipped),
            self.losses.map(FrameFault::Losses),
        ]
        .into_iter()
        .flatten()
        .map(|fault| (name, fault))
        .collect();
        if faults.is_empty() {
            return Err(impossible(
                "nothing is done to it; say lost, takes, again, flipped, again_flipped or losses",
            ));
        }
        Ok(faults)
    }
}

/// A rule: which frames it matches, and what happens to them.
///
/// For example `{ do = "drop", from = "alice", kinds = ["heartbeat"] }`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleLine {
    /// What happens to the matching frames.
    #[serde(rename = "do")]
    pub verdict: RuleAction,
    /// Matches only frames from this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Name>,
    /// Matches only frames to this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Name>,
    /// Matches only frames of these kinds; all kinds if empty, which a file says by leaving it out.
    #[serde(default, with = "names", skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<FrameKind>,
    /// Matches only frames of at least so many bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_bytes: Option<usize>,
    /// Matches only frames of at most so many bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_bytes: Option<usize>,
    /// Matches only frames sent at this time or later.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub since: Option<SimTime>,
    /// Matches only frames sent before this time.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub until: Option<SimTime>,
    /// Skips the first so many matching frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Applies to one in so many matching frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_in: Option<u64>,
    /// Applies to so many frames at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
}

/// What a rule does to a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleAction {
    /// The frame passes; later rules are not evaluated.
    Pass,
    /// The frame is dropped.
    Drop,
    /// The frame takes this much longer.
    Delay(#[serde(with = "time")] SimDuration),
    /// The frame is duplicated.
    Duplicate,
    /// One bit of the frame is flipped.
    Corrupt,
    /// The connection that carries the frame is reset.
    Reset,
}

impl RuleLine {
    /// Why no frame can ever match the rule, if none can.
    fn matches_nothing(&self) -> Option<&'static str> {
        let empty_time = self.until.is_some_and(|until| self.since.unwrap_or(SimTime::ZERO) >= until);
        let empty_size = self.least_bytes > self.most_bytes && self.most_bytes.is_some();
        let never = [
            (self.one_in == Some(0), "one in 0 frames is no frame; one_in is at least 1"),
            (self.at_most == Some(0), "at most 0 frames is no frame; at_most is at least 1"),
            (empty_time, "no time lies in it; until must be later than since"),
            (empty_size, "no size lies in it; most_bytes must not be less than least_bytes"),
            (self.from.is_some() && self.from == self.to, "a node sends no frame to itself; name two nodes"),
        ];
        never.into_iter().find(|(is_so, _)| *is_so).map(|(_, problem)| problem)
    }

    /// The rule for the network, with the names resolved.
    pub(crate) fn rule(
        &self,
        resolve: impl Fn(&str, &Name) -> Result<NodeId, CaseError>,
    ) -> Result<Rule, CaseError> {
        if let Some(problem) = self.matches_nothing() {
            return Err(CaseError::impossible("rules", problem));
        }
        let mut rule = Rule::new(match self.verdict {
            RuleAction::Pass => Verdict::Pass,
            RuleAction::Drop => Verdict::Drop,
            RuleAction::Delay(by) => Verdict::Delay(by),
            RuleAction::Duplicate => Verdict::Duplicate,
            RuleAction::Corrupt => Verdict::Corrupt,
            RuleAction::Reset => Verdict::Reset,
        });
        if let Some(from) = &self.from {
            rule = rule.from(resolve("rules", from)?);
        }
        if let Some(to) = &self.to {
            rule = rule.to(resolve("rules", to)?);
        }
        for kind in &self.kinds {
            rule = rule.of(*kind);
        }
        rule = rule.sized(self.least_bytes.unwrap_or(0)..=self.most_bytes.unwrap_or(usize::MAX));
        rule = rule.during(self.since.unwrap_or(SimTime::ZERO)..self.until.unwrap_or(SimTime::MAX));
        rule = rule.after(self.after.unwrap_or(0)).one_in(self.one_in.unwrap_or(1));
        Ok(match self.at_most {
            Some(most) => rule.at_most(most),
            None => rule,
        })
    }
}
