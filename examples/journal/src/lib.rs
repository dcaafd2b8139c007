//! A journal that several people write: async code under faults.
//!
//! One host keeps it; the others send it their lines, and copy what is new. Whatever is not answered is asked for
//! again. Where lines bear no number that has one taken twice, and an answer that comes late passes for that to
//! another line, which is then never sent.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use sync_sim::custom::*;

const KEEPER: NodeId = NodeId(0);
const PATIENCE: SimDuration = SimDuration::from_millis(300);
const PAUSE: SimDuration = SimDuration::from_millis(100);

/// One line of a writer, and how many came before it.
type Line = (u64, String);

/// Take this line, if there is one, and say what comes after so many.
#[derive(Serialize, Deserialize)]
struct Request {
    line: Option<Line>,
    after: usize,
}

/// So many lines of yours are taken; this is what comes after so many of all.
#[derive(Serialize, Deserialize)]
struct Reply {
    taken: u64,
    after: usize,
    lines: Vec<String>,
}

/// What a host keeps through crashes.
#[derive(Clone, Default)]
pub struct Disk {
    /// The journal as far as it knows.
    journal: Vec<String>,
    /// How many lines were written here, and those that are still to be sent.
    written: u64,
    unsent: VecDeque<Line>,
    /// Of the keeper: how many lines of each writer it has taken.
    taken: BTreeMap<u32, u64>,
}

fn bytes(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("text can be written")
}

async fn keep(host: Host<Writer>, numbered: bool) {
    // What is written on the keeper itself needs no message.
    let own = host.clone();
    host.spawn(async move {
        loop {
            own.until(|disk| (!disk.unsent.is_empty()).then_some(())).await;
            own.write(|disk| disk.journal.extend(disk.unsent.drain(..).map(|(_, line)| line)));
        }
    });
    loop {
        let (from, frame) = host.receive().await;
        let Ok(Request { line, after }) = serde_json::from_slice(&frame) else { continue };
        let taken = host.write(|disk| {
            let taken = disk.taken.entry(from.0).or_default();
            if let Some((number, line)) = line.filter(|(number, _)| !numbered || number == taken) {
                disk.journal.push(line);
                *taken = number + 1;
            }
            *taken
        });
        let lines = host.read(|disk| disk.journal.iter().skip(after).cloned().collect());
        host.send_housekeeping(from, 1, bytes(&Reply { taken, after, lines }));
    }
}

async fn write(host: Host<Writer>, numbered: bool) {
    loop {
        let (line, after) = host.read(|disk| (disk.unsent.front().cloned(), disk.journal.len()));
        let sends = line.is_some();
        // Whatever of this is lost, on the way there or back: ask again.
        host.send_housekeeping(KEEPER, 0, bytes(&Request { line, after }));
        let reply = host.within(PATIENCE, host.receive()).await;
        let reply = reply.and_then(|(_, frame)| serde_json::from_slice::<Reply>(&frame).ok());
        if let Some(Reply { taken, after, lines }) = reply {
            host.write(|disk| {
                if numbered {
                    disk.unsent.retain(|(number, _)| *number >= taken);
                } else if sends {
                    disk.unsent.pop_front();
                }
                if after == disk.journal.len() {
                    disk.journal.extend(lines);
                }
            });
        }
        host.sleep(PAUSE).await;
    }
}

/// What runs on every host.
#[derive(Clone, Debug)]
pub struct Writer {
    /// Whether the numbers of lines are looked at.
    pub numbered: bool,
}

impl Process for Writer {
    type Op = String;
    type Disk = Disk;

    fn accept(disk: &mut Disk, line: &String) {
        disk.unsent.push_back((disk.written, line.clone()));
        disk.written += 1;
    }

    fn digest(disk: &Disk) -> Digest {
        Digest::of(0, &bytes(&(&disk.journal, &disk.unsent)))
    }

    async fn run(self, host: Host<Self>) {
        if host.own() == KEEPER {
            keep(host, self.numbered).await;
        } else {
            write(host, self.numbered).await;
        }
    }
}

/// What is tested.
#[derive(Clone, Debug)]
pub struct Writing {
    /// Whether the numbers of lines are looked at.
    pub numbered: bool,
}

impl Subject for Writing {
    type Op = String;
    type Node = Hosted<Writer>;

    fn node(&self, own: NodeId) -> Hosted<Writer> {
        Hosted::new(own, Writer { numbered: self.numbered }, Disk::default())
    }

    fn op(&self, node: NodeId, chance: &mut dyn Entropy) -> String {
        format!("{node} writes {}", chance.below(Choice::WriteValue, 1 << 40))
    }

    fn kinds(&self) -> &[&str] {
        &["Request", "Reply"]
    }

    // Every line that was written is in the journal, once.
    fn judge(&self, done: &[Acknowledged<String>], nodes: &[&Hosted<Writer>]) -> Result<(), Violation> {
        let journal = nodes.first().map(|node| node.read(|disk| disk.journal.clone())).unwrap_or_default();
        for Acknowledged { op, .. } in done.iter().filter(|done| !done.lost) {
            match journal.iter().filter(|line| *line == op).count() {
                0 => return Err(Violation::new("a line is lost", op)),
                1 => {}
                _ => return Err(Violation::new("a line is there twice", op)),
            }
        }
        Ok(())
    }
}
