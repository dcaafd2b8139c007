//! Benchmarks of Syncline, with comparable software in the same run.
//!
//! `cargo bench -- [engine] [tiny] [sims] [threads] [large] [stalled] [storage] [snapshot] [memory]
//! [disk] [sync] [explore] [hostile]`, from this folder, prints the named tables, or all of them. `steps`, `soak`
//! and `soak-disk` take minutes, and run only if they are named alone. Times are wall-clock times of one thread, except
//! for `threads`: run the benchmarks on an idle machine.

mod bare;
mod bare_trie;
mod calimero;
mod disk;
mod engine;
mod explore;
mod hostile;
mod pair;
mod peers;
mod sims;
mod snapshot;
mod soak;
mod soak_disk;
mod steps;
mod storage;
mod sync;

use std::time::{Duration, Instant};

/// The shortest of `runs` timings of `job`, and its result.
pub(crate) fn best<T>(runs: usize, mut job: impl FnMut() -> T) -> (Duration, T) {
    let mut best: Option<(Duration, T)> = None;
    for _ in 0..runs {
        let started = Instant::now();
        let result = job();
        let took = started.elapsed();
        if best.as_ref().is_none_or(|(least, _)| took < *least) {
            best = Some((took, result));
        }
    }
    best.expect("at least one run")
}

/// Prints a row: the name, the rate per second, and the ratio to the first row.
pub(crate) fn row(name: &str, count: u64, took: Duration, against: Option<f64>) -> f64 {
    let ratio = |rate| against.map_or_else(String::new, |base| format!("{:8.2}x", rate / base));
    noted(name, count, took, ratio)
}

/// Prints a row with a note.
pub(crate) fn noted(name: &str, count: u64, took: Duration, note: impl Fn(f64) -> String) -> f64 {
    let rate = count as f64 / took.as_secs_f64();
    println!("  {name:<58} {rate:>14.0} /s {}", note(rate));
    rate
}

fn main() {
    // Cargo passes `--bench` to every benchmark.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match wanted.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["memory-flat"] => return storage::memory_of(false),
        ["memory-tree"] => return storage::memory_of(true),
        ["storage-bare"] => return storage::bare(),
        ["storage-peer"] => return storage::peer(),
        ["storage-own"] => return storage::own(),
        ["steps"] => return steps::on_a_million_records(),
        ["soak"] => return soak::virtual_day(),
        ["soak-disk"] => return soak_disk::killed_for_ten_minutes(),
        ["soak-child", path] => return soak_disk::child(path.as_ref()),
        _ => {}
    }
    let all = [
        "engine", "tiny", "sims", "threads", "large", "stalled", "storage", "snapshot", "memory", "disk",
        "sync", "explore", "hostile",
    ];
    for name in all.into_iter().filter(|name| wanted.is_empty() || wanted.iter().any(|w| w == name)) {
        match name {
            "engine" => engine::deliveries(),
            "tiny" => engine::tiny(),
            "sims" => sims::reference_sweep(),
            "threads" => sims::threads(),
            "large" => sims::large(),
            "stalled" => sims::stalled(),
            "memory" => storage::memory(),
            "disk" => disk::durable(),
            "sync" => sync::reconcile(),
            "explore" => explore::exhaustively(),
            "hostile" => hostile::frames_and_their_times(),
            "snapshot" => snapshot::whole_states(),
            _ => storage::apply_action(),
        }
    }
    if let Some(unknown) = wanted.iter().find(|word| !all.contains(&word.as_str())) {
        eprintln!("error: there is no table {unknown:?}; there are {}", all.join(", "));
        std::process::exit(2);
    }
}
