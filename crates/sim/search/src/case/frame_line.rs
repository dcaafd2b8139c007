//! The lines of a case that are about frames: single ones, and rules for many.

use crate::case::Name;
use crate::case::error::CaseError;
use crate::case::serde_names::{maybe_time, names};
use serde::{Deserialize, Serialize};
use sync_sim_engine::faults::time;
use sync_sim_engine::network::{FrameFault, FrameName, Rule, Verdict};
use sync_sim_engine::node_id::NodeId;
use syncline_replica::FrameKind;
use syncline_types::{SimDuration, SimTime};

/// What a link does to one frame: `{ from = "alice", to = "bob", frame = 3, lost = true }`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// By whom it is sent.
    pub from: Name,
    /// To whom.
    pub to: Name,
    /// Which of the frames sent along this link, from 1.
    pub frame: u64,
    /// It is lost.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lost: bool,
    /// How long it takes.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub takes: Option<SimDuration>,
    /// It arrives twice, the second copy after this time.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub again: Option<SimDuration>,
    /// This bit of it is flipped; one beyond its end counts from its beginning again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flipped: Option<u64>,
    /// This bit of the second copy is flipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_flipped: Option<u64>,
    /// How often it is lost before it gets through, if it is lost on a connection; chance decides if that is
    /// not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub losses: Option<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Frame {
    /// The line that tells of one fault of one frame.
    pub(crate) fn of(from: Name, to: Name, frame: u64, fault: FrameFault) -> Self {
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

    /// What it asks for.
    pub(super) fn faults(
        &self,
        resolve: impl Fn(&str, &Name) -> Result<NodeId, CaseError>,
    ) -> Result<Vec<(FrameName, FrameFault)>, CaseError> {
        let place = format!("frame {} from {} to {}", self.frame, self.from, self.to);
        let impossible =
            |problem: &str| CaseError::Impossible { place: place.clone(), problem: problem.into() };
        if self.frame == 0 {
            return Err(impossible("frames are counted from 1"));
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

/// Which frames, and what is done to them: `{ do = "drop", from = "alice", kinds = ["heartbeat"] }`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleLine {
    /// What is done to them.
    #[serde(rename = "do")]
    pub verdict: Done,
    /// Only what this node sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Name>,
    /// Only what is sent to this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Name>,
    /// Only frames of these kinds.
    #[serde(default, with = "names", skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<FrameKind>,
    /// Only frames of so many bytes or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_bytes: Option<usize>,
    /// Only frames of so many bytes or fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_bytes: Option<usize>,
    /// Only frames sent at this time or later.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub since: Option<SimTime>,
    /// Only frames sent before this time.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub until: Option<SimTime>,
    /// Not the first so many of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only the first of so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_in: Option<u64>,
    /// No more than so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
}

/// What a rule does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// No later rule is asked.
    Pass,
    /// The frame is dropped.
    Drop,
    /// It takes this much longer.
    Delay(#[serde(with = "time")] SimDuration),
    /// It arrives twice.
    Duplicate,
    /// One of its bits is flipped.
    Corrupt,
    /// The connection that carries it breaks.
    Reset,
}

impl RuleLine {
    /// The rule.
    pub(crate) fn rule(
        &self,
        resolve: impl Fn(&str, &Name) -> Result<NodeId, CaseError>,
    ) -> Result<Rule, CaseError> {
        let mut rule = Rule::new(match self.verdict {
            Done::Pass => Verdict::Pass,
            Done::Drop => Verdict::Drop,
            Done::Delay(by) => Verdict::Delay(by),
            Done::Duplicate => Verdict::Duplicate,
            Done::Corrupt => Verdict::Corrupt,
            Done::Reset => Verdict::Reset,
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
