//! Examples at the end of each command's help: commands to start from.

pub(crate) const OVERVIEW: &str = "\
Examples:
  syncline run                                  three replicas with different states on a faulty network
  syncline run --seed 7 --faults heavy --json   one run with a machine-readable result
  syncline sweep --seeds 0..1000 --faults heavy a thousand runs over all cores
  syncline compare --difference 1000 --explain  every protocol on the same two states, and which one is selected
  syncline sweep --seeds 0..200 --protocol each the same seeds once for every protocol, side by side
  syncline sweep                                cases drawn from the seeds: nodes, faults, writes, network
  syncline hunt --time 10m                      a search that mutates the worlds that reached something new
  syncline explore --drops 1 --crashes 1        every order of events of two replicas that write concurrently
  syncline merge one.json two.json              the reports of a sweep's shards, merged into one
  syncline run --until-failure --shrink         one seed after another until one fails, then minimize the failure
  syncline replay syncline-cases/FILE.toml      a case again, left by a finding or written by hand
  syncline shrink syncline-cases/FILE.toml      minimize a failing case, and print it as a test
  syncline scenarios --show fresh > mine.toml   a scenario as a case file to edit
  syncline run --keep /tmp/end                  save the final state of each replica as a store
  syncline verify /tmp/end/alice                check that a store is consistent with its records
  syncline inspect /tmp/end/alice               show the contents of a store

Exit codes:
  0  success: every run converged and every check passed
  1  a finding: a run did not converge, an invariant was violated, or verify found a store damaged; the
     output shows how to reproduce it, or what is wrong
  2  bad usage: an unknown flag, an impossible value, a file or a store that cannot be read or written
  130 interrupted by Ctrl-C; a long command first prints what it has learned so far
  141 the reader of the output has closed it, as head does";

pub(crate) const RUN: &str = "\
Examples:
  syncline run --seed 7 --faults heavy          three replicas on a network with many faults
  syncline run --seed 7 --trace                 every event, with a column for each replica
  syncline run --until-failure --shrink         one seed after another until one fails, then minimize the failure
  syncline run --case mine.toml --seed 3        a case file, with another seed

The seed decides all randomness: the same command gives the same run. A finding (exit code 1) leaves a case
file.";

pub(crate) const SWEEP: &str = "\
Examples:
  syncline sweep --seeds 0..10000 --faults heavy
  syncline sweep --seeds 0..200 --protocol each            the same seeds once for every protocol
  syncline sweep --seeds 0..1000000 --resume sweep.json    can be interrupted and continued
  syncline sweep --seeds 0..1000000 --shard 2/4 --report two.json
                                                           one quarter of it; syncline merge combines the parts

Apart from the elapsed time, the result does not depend on the machine, the threads or the shards.";

pub(crate) const HUNT: &str = "\
Examples:
  syncline hunt                                 10000 runs of drawn worlds, and of mutations of them
  syncline hunt --time 10m --runs 1000000       as many runs as ten minutes allow
  syncline hunt --seed 7 --until-failure        stop at the first failure that no known finding explains

A sweep draws each world from its seed alone. A hunt retains every world whose run reached something new: a
fault, a rare branch, a pair of rare branches, another order of magnitude of a counter. It mutates these
worlds: other parts, another seed, or other random draws from some place of the run on. A failure leaves a
case file, which replay and shrink take like any other.";

pub(crate) const MERGE: &str = "\
Examples:
  syncline sweep --seeds 0..1000 --shard 1/2 --report one.json    on one machine
  syncline sweep --seeds 0..1000 --shard 2/2 --report two.json    on another
  syncline merge one.json two.json                                the same as one sweep over 0..1000

In an array job of Kubernetes or SLURM each task runs its own shard; see deploy/.";

pub(crate) const REPLAY: &str = "\
Examples:
  syncline replay syncline-cases/violated-lost-17.toml
  syncline scenarios --show fresh > mine.toml && syncline replay mine.toml";

pub(crate) const SHRINK: &str = "\
Examples:
  syncline shrink syncline-cases/violated-lost-17.toml
  syncline shrink FILE.toml --for 10m -o small.toml    takes ten minutes at most instead of one
  syncline shrink FILE.toml --rust >> tests/found.rs   the minimized case as a Rust test

First nodes, events, frames and entities are removed for as long as the case fails in the same way. Then what is left
becomes small: values, texts, numbers, names, sizes and times. A case of megabytes is first cut down in large parts. The
same case gives the same result, unless the time ends first.

Ctrl-C stops the search and writes the smallest case so far.";

pub(crate) const COMPARE: &str = "\
Examples:
  syncline compare --difference 1000            a thousand entities differ
  syncline compare --difference 1000 --explain  with the estimated costs behind the selection";

pub(crate) const VIEW: &str = "\
Examples:
  syncline view syncline-cases/FILE.toml                 a failure as a page, with its analysis on top
  syncline view --seed 42 --faults heavy                 any run: run.html
  syncline view --seed 42 --format perfetto -o run.json  for https://ui.perfetto.dev
  syncline view --seed 42 --format shiviz -o run.log     for ShiViz

The page is one file that needs no network; any browser shows it.";

pub(crate) const EXPLORE: &str = "\
Examples:
  syncline explore                         every order of events of two replicas that write concurrently
  syncline explore --drops 1 --crashes 1   also every way to lose one frame and to crash one replica";

pub(crate) const SCENARIOS: &str = "\
Examples:
  syncline scenarios
  syncline scenarios --show fresh > mine.toml    a scenario as a case file to edit";

pub(crate) const VERIFY: &str = "\
Examples:
  syncline run --keep /tmp/end && syncline verify /tmp/end/alice";

pub(crate) const INSPECT: &str = "\
Examples:
  syncline run --keep /tmp/end && syncline inspect /tmp/end/alice";

pub(crate) const COMPLETIONS: &str = "\
Examples:
  syncline completions bash > ~/.local/share/bash-completion/completions/syncline
  syncline completions zsh  > \"${fpath[1]}/_syncline\"
  syncline completions fish > ~/.config/fish/completions/syncline.fish";

pub(crate) const MAN: &str = "\
Examples:
  syncline man | man -l -
  syncline man --to ~/.local/share/man/man1";
