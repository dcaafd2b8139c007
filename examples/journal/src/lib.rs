//! A journal with several writers: async code with requests, timeouts and retries under faults.
//!
//! One host, the keeper, stores the journal. The others send it their lines and copy the new ones. A request
//! without an answer is sent again. If lines have no numbers, the keeper may accept a line twice, and a writer may
//! take a late answer for the answer to its next line, which it then never sends.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use sync_sim::custom::*;

const KEEPER: NodeId = NodeId(0);
/// The time after which a request is sent again.
const TIMEOUT: SimDuration = SimDuration::from_millis(300);
const PAUSE: SimDuration = SimDuration::from_millis(100);

/// A line of a writer, with the number of its lines before it.
type Line = (u64, String);

/// A request to append a line, if there is one, and to send the journal after its first `after` lines.
#[derive(Serialize, Deserialize)]
struct Request {
    line: Option<Line>,
    after: usize,
}

/// The number of the writer's lines that were accepted, and the journal after its first `after` lines.
#[derive(Serialize, Deserialize)]
struct Reply {
    accepted: u64,
    after: usize,
    lines: Vec<String>,
}

/// The durable state of a host.
#[derive(Clone, Default)]
pub struct Disk {
    /// The journal, as far as this host has it.
    journal: Vec<String>,
    /// The number of lines that were written here; `unsent` holds those that are not yet acknowledged.
    written: u64,
    unsent: VecDeque<Line>,
    /// On the keeper: the number of accepted lines, by writer.
    accepted: BTreeMap<u32, u64>,
}

fn bytes(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("text can be written")
}

async fn keep(host: Host<Writer>, numbered: bool) {
    // Lines that are written on the keeper itself need no message.
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
        let accepted = host.write(|disk| {
            let accepted = disk.accepted.entry(from.0).or_default();
            if let Some((number, line)) = line.filter(|(number, _)| !numbered || number == accepted) {
                disk.journal.push(line);
                *accepted = number + 1;
            }
            *accepted
        });
        let lines = host.read(|disk| disk.journal.iter().skip(after).cloned().collect());
        host.send_housekeeping(from, 1, bytes(&Reply { accepted, after, lines }));
    }
}

async fn write(host: Host<Writer>, numbered: bool) {
    loop {
        let (line, after) = host.read(|disk| (disk.unsent.front().cloned(), disk.journal.len()));
        let sends = line.is_some();
        // If the request or its answer is lost, the loop sends the request again.
        host.send_housekeeping(KEEPER, 0, bytes(&Request { line, after }));
        let reply = host.within(TIMEOUT, host.receive()).await;
        let reply = reply.and_then(|(_, frame)| serde_json::from_slice::<Reply>(&frame).ok());
        if let Some(Reply { accepted, after, lines }) = reply {
            host.write(|disk| {
                if numbered {
                    disk.unsent.retain(|(number, _)| *number >= accepted);
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

/// The process of every host.
#[derive(Clone, Debug)]
pub struct Writer {
    /// Whether the keeper and the writers compare the numbers of lines.
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

/// The system under test.
#[derive(Clone, Debug)]
pub struct Writing {
    /// Whether the keeper and the writers compare the numbers of lines.
    pub numbered: bool,
}

impl Subject for Writing {
    type Op = String;
    type Node = Hosted<Writer>;

    fn node(&self, own: NodeId) -> Hosted<Writer> {
        Hosted::new(own, Writer { numbered: self.numbered }, Disk::default())
    }

    fn op(&self, node: NodeId, random: &mut dyn Entropy) -> String {
        format!("{node} writes {}", random.below(Choice::WriteValue, 1 << 40))
    }

    fn kinds(&self) -> &[&str] {
        &["Request", "Reply"]
    }

    // The journal holds every acknowledged line exactly once.
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
