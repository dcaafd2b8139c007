//! What Syncline costs, with its peers beside it in the same run.
//!
//! `cargo bench -- [engine] [tiny] [sims] [threads] [large] [stalled] [storage] [snapshot] [memory]
//! [disk] [sync] [explore]`, from this folder, prints the tables named, or all of them. Times are wall times
//! of one thread, but for `threads`: run it on an otherwise idle machine.

mod bare;
mod bare_trie;
mod calimero;
mod disk;
mod engine;
mod explore;
mod peers;
mod sims;
mod snapshot;
mod storage;
mod sync;

use std::time::{Duration, Instant};

/// The best of `runs` timings of `job`, and what it returned.
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

/// One row: what, how many a second, and how that compares with the first row.
pub(crate) fn row(name: &str, count: u64, took: Duration, against: Option<f64>) -> f64 {
    let ratio = |rate| against.map_or_else(String::new, |base| format!("{:8.2}x", rate / base));
    noted(name, count, took, ratio)
}

/// One row, with what there is to say of it besides.
pub(crate) fn noted(name: &str, count: u64, took: Duration, note: impl Fn(f64) -> String) -> f64 {
    let rate = count as f64 / took.as_secs_f64();
    println!("  {name:<58} {rate:>14.0} /s {}", note(rate));
    rate
}

fn main() {
    // Cargo's own word to a benchmark.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match wanted.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["memory-flat"] => return storage::memory_of(false),
        ["memory-tree"] => return storage::memory_of(true),
        ["storage-bare"] => return storage::bare(),
        ["storage-peer"] => return storage::peer(),
        ["storage-own"] => return storage::own(),
        _ => {}
    }
    let all = [
        "engine", "tiny", "sims", "threads", "large", "stalled", "storage", "snapshot", "memory", "disk",
        "sync", "explore",
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
            "snapshot" => snapshot::whole_states(),
            _ => storage::apply_action(),
        }
    }
    if let Some(unknown) = wanted.iter().find(|word| !all.contains(&word.as_str())) {
        eprintln!("error: there is no table {unknown:?}; there are {}", all.join(", "));
        std::process::exit(2);
    }
}
