//! A soak of the durable store: two replicas write for ten minutes in a process that is killed again and again. What
//! was acknowledged must be there after each kill, and files and memory must follow the live data.

use crate::pair::Pair;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};
use syncline_disk::DiskStore;
use syncline_replica::model::Register;
use syncline_replica::{Event, Operation, Target};
use syncline_storage::Interface;
use syncline_store::Store;
use syncline_types::{SimDuration, SimTime};

const MINUTES: u64 = 10;
/// The longest time between two kills, in milliseconds.
const MOST_MS: u64 = 9_000;
/// The number of entities of each kind that the writes change.
const KEYS: u64 = 2_000;
/// How much more than in the third minute files and memory may take in the last one, in percent.
const FLAT_PERCENT: u64 = 10;

fn counter() -> Register<u64> {
    Register::named("written")
}

/// The time since 1970, which goes on over restarts.
fn now() -> SimTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    SimTime::from_micros(since.as_micros() as u64)
}

/// The operations of write `n`: the counter, and a value of one of four kinds.
fn operations(n: u64) -> Vec<Operation> {
    let key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS;
    let bytes = format!("value {n} of {key}").into_bytes();
    let label = key.to_le_bytes();
    let value = match n % 8 {
        0..=3 => Operation::Set { target: Target::named(format!("register {key}").as_bytes()), bytes },
        4 | 5 => Operation::Set { target: Target::named(b"map").child(&label), bytes },
        6 => Operation::SetOwn { storage: Target::named(b"own"), bytes },
        _ => {
            // A frozen value is written once.
            let bytes = format!("frozen {key}").into_bytes();
            Operation::Freeze { target: Target::named(b"frozen").child(&label), bytes }
        }
    };
    vec![counter().set(&n), value]
}

/// The process that is killed: prints what it found, and each acknowledged write.
pub(crate) fn child(path: &Path) {
    let open = |name: &str| DiskStore::open(&path.join(name)).expect("a store");
    let mut pair = Pair::start([open("one"), open("two")], now(), |_| (), &mut ());
    let found = pair.sides.iter().map(|side| {
        let mut state = Interface::open(side.store.view()).expect("a state");
        counter().get(&mut state).expect("a register").unwrap_or(0)
    });
    let found = found.max().unwrap_or(0);
    println!("found {found}");
    for n in found + 1.. {
        pair.step((n % 2) as usize, "write", Event::Write(operations(n)), &mut ());
        pair.run_until(now() + SimDuration::from_millis(1), &mut ());
        if writeln!(std::io::stdout(), "acknowledged {n}").is_err() {
            return;
        }
    }
}

struct Killed {
    child: Child,
    lines: Receiver<String>,
}

fn spawn(path: &Path) -> Killed {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .args(["soak-child".as_ref(), path.as_os_str()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let (sender, lines) = channel();
    let out = BufReader::new(child.stdout.take().expect("its output"));
    std::thread::spawn(move || out.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
    Killed { child, lines }
}

/// The bytes of all files in a folder and its folders.
fn bytes_in(path: &Path) -> u64 {
    let mut folders = vec![path.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        // A file may be removed between the listing and the look at it.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes += metadata.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// The resident memory of a process, in bytes.
fn resident_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let pages = status.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}

/// The number after a word.
fn number(line: &str, word: &str) -> Option<u64> {
    line.strip_prefix(word)?.trim().parse().ok()
}

/// Kills the process for ten minutes, and prints each minute what it wrote and holds.
pub(crate) fn killed_for_ten_minutes() {
    println!("\nten minutes of two replicas on durable stores; their process is killed every few seconds");
    println!("  {:>6} {:>6} {:>9} {:>10} {:>10}", "minute", "kills", "writes", "files", "memory");
    let path: PathBuf = std::env::temp_dir().join(format!("syncline-soak-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a folder");
    let began = Instant::now();
    let (mut kills, mut acknowledged, mut memory, mut minute) = (0u64, 0, 0, 1);
    let mut third = None;
    while minute <= MINUTES {
        let Killed { mut child, lines } = spawn(&path);
        let until = Instant::now() + Duration::from_millis(1_000 + kills.wrapping_mul(977_777) % MOST_MS);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = lines.recv_timeout(left) else { break };
            acknowledged = note(&line, acknowledged);
        }
        memory = resident_bytes(child.id()).max(memory);
        child.kill().expect("a process that can be killed");
        child.wait().expect("a process that ends");
        kills += 1;
        lines.iter().for_each(|line| acknowledged = note(&line, acknowledged));
        while minute <= MINUTES && began.elapsed() >= Duration::from_secs(60 * minute) {
            let files = bytes_in(&path);
            let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
            println!(
                "  {minute:>6} {kills:>6} {acknowledged:>9} {:>6.1} MiB {:>6.1} MiB",
                mib(files),
                mib(memory)
            );
            let (files_then, memory_then) = *third.get_or_insert((files, memory));
            if minute < 3 {
                third = None;
            }
            for (what, then, now) in [("files", files_then, files), ("memory", memory_then, memory)] {
                if now * 100 > then * (100 + FLAT_PERCENT) {
                    println!("         NOT FLAT: {what} took {:.1} MiB in the third minute", mib(then));
                }
            }
            memory = 0;
            minute += 1;
        }
    }
    let _ = std::fs::remove_dir_all(&path);
}

/// Takes in a line of the process. Fails if a write is gone that was acknowledged.
fn note(line: &str, acknowledged: u64) -> u64 {
    if let Some(found) = number(line, "found ") {
        // The last write may have been made and not yet acknowledged.
        assert!(
            found >= acknowledged,
            "write {acknowledged} was acknowledged, and {found} is the last one there"
        );
        return found;
    }
    number(line, "acknowledged ").unwrap_or(acknowledged)
}
