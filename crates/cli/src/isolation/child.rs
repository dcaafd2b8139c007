//! One child process: starting it, listening to it, and what its end means.

use crate::flags::ProcessLimits;
use crate::interrupt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use sync_sim::case::{AbnormalEnd, Class};

/// How a child ended.
pub(crate) enum ChildEnd {
    /// It did what it was asked.
    Done,
    /// It ended before it was done.
    Abnormal(Class),
    /// The command was interrupted, or wants no more of it. The child may have reported what it had.
    Interrupted,
}

/// The most bytes of a child's standard error that are retained: the last ones, which say how it ended.
const LAST_WORDS: usize = 64 << 10;
/// How long a child may take to report what it has when the command is interrupted: less than the command itself has.
const LAST_REPORT: Duration = Duration::from_millis(500);
/// How often a parent looks up from the output of a child.
const LOOK_UP: Duration = Duration::from_millis(50);

/// Starts this program again with these words on its command line and `input` on its standard input. Each line of its
/// standard output goes to `each`; a line is a sign of life. The child is killed once `go_on`, which is called
/// regularly, returns false.
pub(crate) fn run_child(
    words: &[String],
    input: Option<String>,
    limits: &ProcessLimits,
    each: &mut dyn FnMut(&str),
    go_on: &mut dyn FnMut() -> bool,
) -> Result<ChildEnd, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(this);
    command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    // What the allocator reserves before the limit of memory is set would not count.
    command.env("MIMALLOC_ARENA_RESERVE", "0");
    // A process group of its own keeps Ctrl-C from the child: its parent decides when it ends.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().map_err(|error| format!("cannot start a child process: {error}"))?;
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
        // A child that ends before it has read everything says why on its standard error.
        std::thread::spawn(move || drop(pipe.write_all(input.as_bytes())));
    }
    let words = last_words(&mut child);
    let lines = lines(&mut child);
    let end = listen(&mut child, &lines, limits, each, go_on);
    let status = child.wait().map_err(|error| error.to_string())?;
    let said = words.join().unwrap_or_default();
    Ok(match end {
        Some(end) => end,
        None if status.success() => ChildEnd::Done,
        None => match status.code() {
            // Bad usage: the parent made a mistake, or what it was given is wrong.
            Some(code) if !said.contains("memory allocation of") => {
                return Err(format!("a child process ended with {code}: {}", said.trim()));
            }
            _ => ChildEnd::Abnormal(Class::abnormal(meaning(status, &said))),
        },
    })
}

/// Passes on the lines of a child until it closes its output. Kills it if it says nothing for too long, or `go_on`
/// returns false. If the command is interrupted, so is the child, which then has a moment to report what it has.
fn listen(
    child: &mut Child,
    lines: &Receiver<String>,
    limits: &ProcessLimits,
    each: &mut dyn FnMut(&str),
    go_on: &mut dyn FnMut() -> bool,
) -> Option<ChildEnd> {
    let longest = Duration::from_secs(limits.wall_seconds());
    let mut heard = Instant::now();
    let mut interrupted: Option<Instant> = None;
    loop {
        if !go_on() {
            let _ = child.kill();
            return Some(ChildEnd::Interrupted);
        }
        if interrupt::requested() {
            match interrupted {
                None => {
                    interrupted = Some(Instant::now());
                    interrupt_child(child);
                }
                Some(at) if at.elapsed() > LAST_REPORT => {
                    let _ = child.kill();
                    return Some(ChildEnd::Interrupted);
                }
                Some(_) => {}
            }
        }
        match lines.recv_timeout(LOOK_UP) {
            Ok(line) => {
                heard = Instant::now();
                each(&line);
            }
            Err(RecvTimeoutError::Disconnected) => return interrupted.map(|_| ChildEnd::Interrupted),
            Err(RecvTimeoutError::Timeout) if heard.elapsed() > longest => {
                let _ = child.kill();
                return Some(ChildEnd::Abnormal(Class::abnormal(AbnormalEnd::Hung)));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Asks a child to report what it has and to end.
#[cfg(unix)]
fn interrupt_child(child: &Child) {
    use nix::sys::signal::{Signal, kill};
    if let Ok(id) = i32::try_from(child.id()) {
        // The child may have ended meanwhile.
        let _ = kill(nix::unistd::Pid::from_raw(id), Signal::SIGINT);
    }
}

/// A system without signals: the child ends later, when its parent kills it.
#[cfg(not(unix))]
fn interrupt_child(_: &Child) {}

fn lines(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    if let Some(out) = child.stdout.take() {
        std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
    }
    receiver
}

fn last_words(child: &mut Child) -> std::thread::JoinHandle<String> {
    let err = child.stderr.take();
    std::thread::spawn(move || {
        let mut said = Vec::new();
        let mut chunk = [0; 4_096];
        let Some(mut err) = err else { return String::new() };
        while let Ok(read @ 1..) = err.read(&mut chunk) {
            said.extend_from_slice(&chunk[..read]);
            let excess = said.len().saturating_sub(LAST_WORDS);
            said.drain(..excess);
        }
        String::from_utf8_lossy(&said).into_owned()
    })
}

/// What the end of a child means that was not asked to end.
fn meaning(status: ExitStatus, said: &str) -> AbnormalEnd {
    // The runtime of Rust says both before it aborts.
    if said.contains("has overflowed its stack") {
        return AbnormalEnd::StackOverflow;
    }
    if said.contains("memory allocation of") {
        return AbnormalEnd::Memory;
    }
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        const KILLED: i32 = 9;
        const TOO_LONG: i32 = 24;
        match status.signal() {
            Some(TOO_LONG) => return AbnormalEnd::Hung,
            // The system kills who takes too much memory of the machine.
            Some(KILLED) => return AbnormalEnd::Memory,
            Some(signal) => return AbnormalEnd::Signal(signal),
            None => {}
        }
    }
    AbnormalEnd::Signal(status.code().unwrap_or(-1))
}
