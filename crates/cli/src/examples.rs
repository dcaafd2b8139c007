//! What the help of each command ends with: commands to start from.

pub(crate) const RUN: &str = "\
Examples:
  syncline run --seed 7 --faults heavy          three replicas on a hostile network, and a verdict
  syncline run --seed 7 --trace                 what happens, event by event, with a column for each replica
  syncline run --until-failure --shrink         seed after seed until one fails, and the failure made small
  syncline run --case mine.toml --seed 3        a case file, with another seed

The seed decides everything: the same command gives the same run. A finding (exit code 1) leaves a case file.";

pub(crate) const SWEEP: &str = "\
Examples:
  syncline sweep --seeds 0..10000 --faults heavy
  syncline sweep --seeds 0..200 --protocol each            the same seeds once for every protocol
  syncline sweep --seeds 0..1000000 --resume sweep.json    can be interrupted, and goes on where it was
  syncline sweep --seeds 0..1000000 --shard 2/4 --report two.json
                                                           a quarter of it; syncline merge makes the whole

Nothing in the result but the time it took depends on the machine, the threads or the shards.";

pub(crate) const REPLAY: &str = "\
Examples:
  syncline replay syncline-cases/violated-lost-17.toml
  syncline scenarios --show fresh > mine.toml && syncline replay mine.toml";

pub(crate) const SHRINK: &str = "\
Examples:
  syncline shrink syncline-cases/violated-lost-17.toml
  syncline shrink FILE.toml --time 60s -o small.toml    stops after a minute with what it has reached
  syncline shrink FILE.toml --rust >> tests/found.rs    the small case as a test of yours

Ctrl-C stops it with what it has reached.";

pub(crate) const COMPARE: &str = "\
Examples:
  syncline compare --difference 1000            a thousand entities differ
  syncline compare --difference 1000 --explain  with the figures from which the choice was made";

pub(crate) const EXPLORE: &str = "\
Examples:
  syncline explore                         every order in which two replicas that write can meet
  syncline explore --drops 1 --crashes 1   and every frame lost, and every crash, once";

pub(crate) const SCENARIOS: &str = "\
Examples:
  syncline scenarios
  syncline scenarios --show fresh > mine.toml    one of them as a case file to change";

pub(crate) const VERIFY: &str = "\
Examples:
  syncline run --keep /tmp/end && syncline verify /tmp/end/alice";

pub(crate) const INSPECT: &str = "\
Examples:
  syncline run --keep /tmp/end && syncline inspect /tmp/end/alice";
