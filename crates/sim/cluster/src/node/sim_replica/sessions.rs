//! What the checks need to know of the sessions that a replica has begun.

use super::SimReplica;
use std::collections::BTreeMap;
use syncline_replica::{Event, Notice, SyncActions, Timer, TimerOp};
use syncline_types::{PeerId, Probes, SimTime};

/// A session that a replica has begun.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SessionNote {
    /// When it last sent a request.
    pub(crate) asked: SimTime,
    /// Whether deltas that arrived then had to wait for the end of this session, and of no other one.
    pub(crate) holds_deltas: bool,
    /// Whether another session or the number of sessions was a reason to end it.
    pub(crate) has_given_way: bool,
    /// The rare branches of the steps that frames of the peer have caused since it began.
    pub(crate) probes: Probes,
}

/// With more sessions than this a replica may end one that has run out of time.
const MANY_SESSIONS: usize = 4;

/// The latest sessions of a replica, by peer.
#[derive(Clone, Debug, Default)]
pub(super) struct SessionNotes {
    begun: BTreeMap<PeerId, SessionNote>,
    /// The sessions that the last step has ended. The same step may begin the next session with the same peer.
    ended: BTreeMap<PeerId, SessionNote>,
}

impl SessionNotes {
    /// The sender of the frame that causes a step.
    pub(super) const fn sender(event: &Event) -> Option<PeerId> {
        match event {
            Event::Frame { from, .. } => Some(*from),
            _ => None,
        }
    }

    /// Forgets the sessions that the last step has ended.
    pub(super) fn forget_ended(&mut self) {
        self.ended.clear();
    }

    /// The bytes of all notes. The time of a request is left out while the session lasts: its timer has it.
    pub(super) fn each_bytes(&self, take: &mut impl FnMut(&[u8])) {
        for (peer, note) in &self.begun {
            take(&peer.0.to_le_bytes());
            take(&note.probes.bits().to_le_bytes());
            take(&[u8::from(note.holds_deltas)]);
        }
        take(&(self.ended.len() as u64).to_le_bytes());
        for (peer, note) in &self.ended {
            take(&peer.0.to_le_bytes());
            take(&note.probes.bits().to_le_bytes());
            take(&note.asked.as_micros().to_le_bytes());
            take(&[u8::from(note.holds_deltas), u8::from(note.has_given_way)]);
        }
    }

    /// A step that a frame of `from` has caused, if any has, ends with these effects. After it, sessions hold deltas or
    /// not.
    pub(super) fn on_step(
        &mut self,
        from: Option<PeerId>,
        effects: &SyncActions,
        holds_deltas: bool,
        now: SimTime,
    ) {
        if let Some(note) = from.and_then(|from| self.begun.get_mut(&from)) {
            note.probes |= effects.probes;
        }
        for notice in &effects.notices {
            match notice {
                Notice::SessionStarted { peer } => {
                    self.ended.values_mut().for_each(|ended| ended.has_given_way = true);
                    self.begun.insert(*peer, SessionNote { asked: now, ..SessionNote::default() });
                }
                Notice::SessionEnded { peer, .. } => {
                    let has_given_way = self.begun.len() > MANY_SESSIONS;
                    let note = self.begun.remove(peer).unwrap_or_default();
                    self.ended.insert(*peer, SessionNote { has_given_way, ..note });
                }
                _ => {}
            }
        }
        let is_only = self.begun.len() == 1;
        for op in &effects.timers {
            // A session sets its timer whenever it sends a request.
            if let TimerOp::Set { timer: Timer::Session(peer), .. } = op
                && let Some(note) = self.begun.get_mut(peer)
            {
                note.asked = now;
                note.holds_deltas = holds_deltas && is_only;
            }
        }
    }
}

impl SimReplica {
    /// The session with a peer that the last step has ended.
    pub(crate) fn ended_session(&self, peer: PeerId) -> Option<SessionNote> {
        self.session_notes.ended.get(&peer).copied()
    }

    /// Imitates a session that has ended.
    #[cfg(test)]
    pub(crate) fn end_session(&mut self, peer: PeerId, note: SessionNote) {
        self.session_notes.ended.insert(peer, note);
    }
}
