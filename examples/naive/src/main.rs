// Notes that several people share. A replica sends each write to all others once, and accepts what it receives.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::process::ExitCode;
use sync_sim::custom::*;

/// An operation of the application.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Write {
    note: String,
    text: String,
}

type Notes = BTreeMap<String, String>;

#[derive(Clone)]
pub struct Replica {
    own: NodeId,
    peers: Vec<NodeId>,
    notes: Notes,
}

impl Replica {
    fn send(&self, notes: &Notes, effects: &mut Effects<()>) {
        let bytes: Vec<u8> = serde_json::to_vec(notes).expect("text can be written");
        for &to in &self.peers {
            let bytes = bytes.clone().into();
            effects.messages.push(Outgoing { to, bytes, kind: 0, housekeeping: false });
        }
    }

    fn merge(&mut self, received: Notes) {
        self.notes.extend(received);
    }
}

impl Actor for Replica {
    type Op = Write;
    type Notice = ();

    fn step(&mut self, input: Input<'_, Write>, _: &mut Context<'_>, effects: &mut Effects<()>) {
        match input {
            Input::Start | Input::Timer(_) => {}
            Input::Peers { reachable, .. } => {
                self.peers = reachable.iter().copied().filter(|peer| *peer != self.own).collect();
            }
            Input::Op(Write { note, text }) => {
                let written = Notes::from([(note.clone(), text.clone())]);
                self.send(&written, effects);
                self.merge(written);
            }
            Input::Frame { bytes, .. } => match serde_json::from_slice(bytes) {
                Ok(received) => self.merge(received),
                Err(_) => effects.refusal = Some(DropCause::Corrupt),
            },
        }
    }

    // All notes are on disk, so a crash loses nothing.
    fn crash(&mut self) {}

    fn restart(&mut self) {}

    fn digest(&self) -> Digest {
        Digest::of(0, &serde_json::to_vec(&self.notes).expect("text can be written"))
    }

    fn unfinished(&self) -> Unfinished {
        Unfinished::default()
    }
}

/// The system under test.
#[derive(Clone, Debug)]
pub struct Sharing;

impl Subject for Sharing {
    type Op = Write;
    type Node = Replica;

    fn node(&self, own: NodeId) -> Replica {
        Replica { own, peers: Vec::new(), notes: Notes::new() }
    }

    fn op(&self, node: NodeId, random: &mut dyn Entropy) -> Write {
        let note = ["milk", "rent"][random.below(Choice::WriteKey, 2) as usize].to_owned();
        Write { note, text: format!("{node} says {}", random.below(Choice::WriteValue, 1_000)) }
    }

    fn kinds(&self) -> &[&str] {
        &["Notes"]
    }

    // A note must show the last text of one of its writers.
    fn judge(&self, done: &[Acknowledged<Write>], nodes: &[&Replica]) -> Result<(), Violation> {
        let mut last = BTreeMap::new();
        for Acknowledged { node, op, .. } in done.iter().filter(|done| !done.lost) {
            last.insert((&op.note, node), &op.text);
        }
        for (note, _) in last.keys() {
            let shown = nodes.first().and_then(|node| node.notes.get(*note));
            if !last.iter().any(|((other, _), text)| other == note && Some(*text) == shown) {
                return Err(Violation::new("a write is gone", format!("{note} shows {shown:?}")));
            }
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    command::main(Lab::new(Sharing))
}
