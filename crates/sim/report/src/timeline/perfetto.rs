//! The trace event format of Chrome, which <https://ui.perfetto.dev> reads. Each node is a process, each
//! session and outage a slice, and each frame an arrow from its sender to its receiver.

use crate::timeline::Timeline;
use serde_json::{Value, json};

impl Timeline {
    /// The timeline as trace events in JSON. O(frames).
    pub fn perfetto(&self) -> Value {
        let mut events = Vec::new();
        for (pid, node) in self.nodes.iter().enumerate() {
            events.push(
                json!({"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": node.name}}),
            );
            for (tid, name) in
                [(SENT, "frames"), (SESSIONS, "sessions"), (STATES, "state"), (OUTAGES, "outages")]
            {
                events.push(
                    json!({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}),
                );
            }
        }
        self.slices(&mut events);
        self.arrows(&mut events);
        json!({"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"run": self.title, "verdict": self.verdict}})
    }

    fn slices(&self, events: &mut Vec<Value>) {
        for span in &self.spans {
            let tid = if span.what == "session" { SESSIONS } else { OUTAGES };
            let name = if span.what == "session" { span.text.as_str() } else { span.what };
            let nodes = span.node.map_or_else(|| (0..self.nodes.len() as u32).collect(), |node| vec![node]);
            for pid in nodes {
                let lasted = span.to - span.from;
                events.push(json!({"ph": "X", "name": name, "cat": span.what, "pid": pid, "tid": tid, "ts": span.from, "dur": lasted}));
            }
        }
        for (pid, digests) in self.digests.iter().enumerate() {
            let ends = digests.t.iter().skip(1).copied().chain([self.end]);
            for ((from, digest), to) in digests.t.iter().zip(&digests.d).zip(ends) {
                let name = self.digest_names.get(*digest).map_or("", String::as_str);
                let lasted = to.saturating_sub(*from);
                events.push(json!({"ph": "X", "name": name, "cat": "state", "pid": pid, "tid": STATES, "ts": from, "dur": lasted}));
            }
        }
        for mark in &self.marks {
            let pid = mark.node.unwrap_or_default();
            events.push(json!({"ph": "i", "s": "p", "name": mark.what, "cat": "mark", "pid": pid, "tid": SENT, "ts": mark.t, "args": {"what": mark.text}}));
        }
    }

    fn arrows(&self, events: &mut Vec<Value>) {
        let frames = &self.frames;
        for (id, &from) in frames.from.iter().enumerate() {
            let column = |column: &[u8]| usize::from(column.get(id).copied().unwrap_or_default());
            let kind = self.kinds.get(column(&frames.kind)).map_or("frame", String::as_str);
            let fate = self.fates.get(column(&frames.fate)).copied().unwrap_or_default();
            let sent = frames.sent[id];
            let end = frames.end[id];
            let args = json!({"bytes": frames.bytes[id], "fate": fate});
            events.push(json!({"ph": "X", "name": kind, "cat": "sent", "pid": from, "tid": SENT, "ts": sent, "dur": 1, "args": args}));
            if column(&frames.fate) == 0 {
                let to = frames.to[id];
                events.push(json!({"ph": "X", "name": kind, "cat": "arrived", "pid": to, "tid": SENT, "ts": end, "dur": 1, "args": args}));
                events.push(json!({"ph": "s", "name": kind, "cat": "frame", "id": id, "pid": from, "tid": SENT, "ts": sent}));
                events.push(json!({"ph": "f", "bp": "e", "name": kind, "cat": "frame", "id": id, "pid": to, "tid": SENT, "ts": end}));
            }
        }
    }
}

const SENT: u32 = 1;
const SESSIONS: u32 = 2;
const STATES: u32 = 3;
const OUTAGES: u32 = 4;
