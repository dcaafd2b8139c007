//! The divergence point of a run: since when its replicas differ, and what changed since.

use crate::custom::Subject;
use crate::custom::report::describe_dropped;
use crate::custom::run::LabRun;
use sync_sim_engine::history::{Fate, History, HistoryEntry};
use sync_sim_engine::node_id::NodeId;
use syncline_types::SimTime;

/// The number of dropped frames that are described one by one.
const FRAMES: usize = 5;

impl<S: Subject> LabRun<'_, S> {
    /// The divergence point, in words: when the replicas were equal for the last time, which event made them
    /// differ, what changed each of them since, and which frames were dropped. `None` if the replicas ended equal
    /// or the run recorded no history. O(events × nodes).
    pub fn divergence(&self) -> Option<String> {
        let history = self.world.history()?;
        let nodes: Vec<NodeId> =
            (0..self.names.len() as u32).map(NodeId).filter(|node| !self.world.is_retired(*node)).collect();
        let mut digests: Vec<u64> = nodes.iter().map(|node| self.world.first_digest(*node).short()).collect();
        let agree = |digests: &[u64]| digests.windows(2).all(|two| two.first() == two.last());
        // The number of entries of the history when the replicas agreed for the last time, if they ever did.
        let mut agreed = agree(&digests).then_some(0);
        for (place, entry) in history.entries.iter().enumerate() {
            let node = entry.node.and_then(|node| nodes.iter().position(|own| *own == node));
            if let Some(digest) = node.and_then(|node| digests.get_mut(node)) {
                *digest = entry.digest;
            }
            if agree(&digests) {
                agreed = Some(place + 1);
            }
        }
        if agree(&digests) {
            return None;
        }
        let begun = agreed.unwrap_or_default();
        let since: Vec<&HistoryEntry> = history.entries.iter().skip(begun).collect();
        let changes: Vec<&HistoryEntry> = since.iter().copied().filter(|entry| entry.changed).collect();
        let last = begun.checked_sub(1).and_then(|last| history.entries.get(last));
        let at = SimTime::from_micros(last.map_or(0, |entry| entry.at_us));
        let mut lines = vec![match agreed {
            Some(_) => format!("The replicas were equal for the last time at {at}."),
            None => "The replicas were never equal.".into(),
        }];
        lines.extend(changes.first().map(|first| format!("They differ since {}", history.words(first))));
        for (node, digest) in nodes.iter().zip(digests) {
            let own: Vec<&HistoryEntry> =
                changes.iter().copied().filter(|entry| entry.node == Some(*node)).collect();
            let times = match own.as_slice() {
                [] => "has not changed since".into(),
                [only] => format!("has changed once since: {}", history.words(only)),
                [.., last] => {
                    format!("has changed {} times since, most recently: {}", own.len(), history.words(last))
                }
            };
            lines.push(format!("  {} [{:016x}] {times}", history.name(*node), digest.swap_bytes()));
        }
        lines.extend(describe_lost_frames(history, &since));
        Some(lines.join("\n"))
    }
}

/// The frames of these entries of which no copy arrived, in words.
fn describe_lost_frames(history: &History, since: &[&HistoryEntry]) -> Vec<String> {
    let sent = since.iter().flat_map(|entry| &entry.sent);
    let lost = |number: &u64| {
        let frame = history.frame(*number)?;
        let arrived = frame.copies.iter().any(|copy| copy.fate == Fate::Delivered);
        let words = describe_dropped(history, *number)?;
        (!arrived).then(|| format!("  {} sent {}", history.name(frame.from), words.trim_start()))
    };
    let lost: Vec<String> = sent.filter_map(lost).collect();
    let more = lost.len().saturating_sub(FRAMES);
    let mut lines: Vec<String> = lost.into_iter().take(FRAMES).collect();
    lines.extend((more > 0).then(|| format!("  (and {more} more frames that were dropped)")));
    lines
}
