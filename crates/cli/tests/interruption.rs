//! Ctrl-C: every long command stops and prints what it has learned.
#![cfg(target_os = "linux")]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A run that takes hours.
const LONG: [&str; 12] = [
    "--nodes",
    "30",
    "--writes",
    "50000",
    "--write-for",
    "10000s",
    "--max-time",
    "20000s",
    "--max-events",
    "1000000000",
    "--faults",
    "heavy",
];

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interrupted").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn syncline(place: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.current_dir(place).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for a process that was asked to end. One that does not is killed, and fails the test.
fn ended(mut child: Child, args: &[&str]) -> Output {
    // No bound on how fast: a busy machine is slow. A command that ignores Ctrl-C takes hours.
    let patience = Instant::now() + Duration::from_secs(60);
    // A report may be longer than a pipe holds, so it is read while the command writes it.
    let stdout = read_all(child.stdout.take().expect("a pipe"));
    let stderr = read_all(child.stderr.take().expect("a pipe"));
    let status = loop {
        if let Some(status) = child.try_wait().expect("a status") {
            break status;
        }
        if Instant::now() > patience {
            child.kill().expect("it can be killed");
            panic!("{args:?} goes on after Ctrl-C");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let read = |thread: JoinHandle<Vec<u8>>| thread.join().expect("its output");
    Output { status, stdout: read(stdout), stderr: read(stderr) }
}

/// Reads a pipe to its end on a thread of its own.
fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

/// What an interrupted command printed.
struct Interrupted {
    printed: String,
    said: String,
}

impl Interrupted {
    /// Starts a command, and presses Ctrl-C after a while.
    fn after(pause_ms: u64, place: &Path, args: &[&str]) -> Self {
        let child = syncline(place, args).spawn().expect("the command starts");
        std::thread::sleep(Duration::from_millis(pause_ms));
        let pressed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(pressed.expect("kill runs").success(), "{args:?} ended by itself");
        let output = ended(child, args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, said) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(130), "{args:?}: {printed}\n{said}");
        assert!(said.contains("interrupted"), "{args:?}: {said}");
        Self { printed, said }
    }

    fn of(place: &Path, args: &[&str]) -> Self {
        Self::after(1_000, place, args)
    }

    /// Asserts that both outputs together have all of the words. On a machine so busy that the command could not answer in
    /// time, they are only about that.
    fn tells(&self, words: &[&str]) {
        let all = format!("{}\n{}", self.printed, self.said);
        let has_words = words.iter().all(|word| all.contains(word));
        assert!(has_words || all.contains("in the middle of a long step"), "{words:?} in {all}");
    }
}

#[test]
fn long_run_stops_with_report() {
    let place = folder("run");
    let run = |args: &[&str]| Interrupted::of(&place, &[args, &LONG[..]].concat());
    run(&["run", "--seed", "1"]).tells(&["INTERRUPTED after", "repeat it with:"]);
    run(&["run", "--seed", "1", "--json"]).tells(&["\"stop\": \"interrupted\""]);
    run(&["run", "--until-failure"]).tells(&["0 seeds from 0 on converged"]);
    run(&["run", "--seed", "1", "--follow"]).tells(&["INTERRUPTED after"]);
    run(&["view", "--seed", "1", "--keep", "2000"]).tells(&["interrupted; written to run.html"]);
    assert!(!place.join("syncline-cases").exists(), "an interruption is no finding");
}

#[test]
fn sweep_stops_in_every_seed() {
    let place = folder("sweep");
    let sweep = Interrupted::of(&place, &["sweep", "--seeds", "0..1000000"]);
    // Drawn seeds find faults that nobody has repaired yet.
    sweep.tells(&["INTERRUPTED, ", "SO FAR", "of 1 000 000 seeds"]);
    let long = [&["sweep", "--seeds", "0..4"][..], &LONG[..]].concat();
    let sweep = Interrupted::of(&place, &long);
    sweep.tells(&["interrupted after 0 of 4 seeds; the next is 0"]);
    let sweep = Interrupted::of(&place, &[&long[..], &["--resume", "state"]].concat());
    sweep.tells(&["the same command continues"]);
    let sweep = Interrupted::of(&place, &[&long[..], &["--protocol", "each"]].concat());
    sweep.tells(&["NO FAILURE SO FAR"]);
}

#[test]
fn search_and_comparison_stop() {
    let place = folder("search");
    let search = Interrupted::of(&place, &["explore", "--writes", "3", "--drops", "3", "--crashes", "3"]);
    search.tells(&["Ctrl-C stopped the search"]);
    Interrupted::of(&place, &["compare", "-n", "3000000", "-d", "1000"]);
}

#[test]
fn long_case_stops_replay_and_shrink() {
    let place = folder("case");
    let short =
        ["run", "--seed", "1", "--cases", ".", "--nodes", "20", "--writes", "400", "--write-for", "5s"];
    let short = [&short[..], &["--faults", "heavy", "--max-events", "12000"]].concat();
    syncline(&place, &short).output().expect("a run that fails");
    let text = std::fs::read_to_string(place.join("max-events-1.toml")).expect("a case");
    let mut long = text;
    for (short, long_setting) in [
        ("max_events = 12000", "max_events = 1000000000\nmax_time = \"20000s\""),
        ("over = \"5s\"", "over = \"10000s\""),
        ("writes = 400", "writes = 50000"),
    ] {
        assert!(long.contains(short), "{long}");
        long = long.replace(short, long_setting);
    }
    std::fs::write(place.join("long.toml"), long).expect("a file");
    Interrupted::of(&place, &["replay", "long.toml"]).tells(&["INTERRUPTED after"]);
    Interrupted::of(&place, &["shrink", "long.toml"]).tells(&["nothing was removed"]);
    // How long the case takes to run depends on the machine; shrinking it takes a hundred times longer.
    let mut pauses = (1..10).map(|seconds| seconds * 2_000);
    let shrunk = pauses.find_map(|pause_ms| {
        let args = ["shrink", "max-events-1.toml", "--runs", "1000000"];
        let shrunk = Interrupted::after(pause_ms, &place, &args);
        (!shrunk.said.contains("nothing was removed")).then_some(shrunk)
    });
    let shrunk = shrunk.expect("the case runs to its end");
    shrunk.tells(&["continue with"]);
    assert!(place.join("max-events-1.small.toml").exists() || shrunk.said.contains("long step"));
}
