//! What drawn sweeps find and nobody has repaired yet: `docs/found.md` is generated here. `SYNCLINE_UPDATE_DOCS=1 cargo
//! test --release -p sync-sim --test sim found::` rewrites it.

use crate::known::golden;
use std::fmt::Write;
use sync_sim::known::{KNOWN_FINDINGS, KnownFinding};
use sync_sim::shrink::shrink;
use sync_sim::swarm;

const TEXT: &str = "\
# What sweeps have found

Faults of the replicas that `syncline sweep` finds by itself, and that are not repaired yet: the *known findings*. A
sweep counts the runs that match the signature of one, names it and does not fail for it; any other failure is new.
The signatures are in `crates/sim/search/src/known/list.rs`, with a pinned case each in `crates/sim/search/known`.
A finding leaves the list with its repair: a pinned case that converges fails a test (`tests/known.rs`). The second table
has the findings that were repaired; their cases are in `crates/sim/search/repaired`. A finding that was repaired in steps
has a row, marked *partly*, for each step.

*Seed* is the first of the drawn seeds that shows the finding, which is also the number of runs before it. Its case has
so many *causes* (writes, crashes, partitions, frames with a fault, initial entities), and the case after *shrinking*
has so many, after so many *runs*. Most seeds were looked for among the first 20,000; a longer search found the later ones. A
finding without a seed was found in another way, such as a case written by hand or the draws of an earlier commit.
*Shows* names the programs that show the same fault, by folder and name. People who read the code of the replicas made them before
the sweeps could find this; they are not part of this repository. *Issue* is the number of the issue of this project that
repairs the finding. Made by `crates/sim/facade/tests/found.rs`.

| finding | what is wrong | seed | found as | causes | after shrinking | what is left | runs | shows | issue |
| --- | --- | ---: | --- | ---: | ---: | --- | ---: | --- | ---: |
";

/// The findings that were repaired, as they stood in the table above before their repair.
const REPAIRED: &str = "
## Repaired

| finding | what was wrong | seed | found as | causes | after shrinking | what was left | runs | shows | issue |
| --- | --- | ---: | --- | ---: | ---: | --- | ---: | --- | ---: |
| `merge-divides` | a merge function that some nodes lack, or that is no join, divides the replicas | 222 | violated: DividedByMerge | 2035 | 1 | 2 nodes, 1 write | 38 | core/adv_misc (a merge function that some lack, a merge that is no join) | 24 |
| `merge-panics` | a merge function that panics ends the process of every node that receives the delta | 1245 | panicked: a merge function of the application panicked, as the case wants | 119 | 2 | 2 nodes, 2 writes | 61 | core/adv_misc (a panicking merge) | 24 |
| `keys-overflow-the-stack` | keys that begin each other make a tree so deep that a recursion overflows the stack and ends the process | 22 (large) | aborted: stack overflow | | | | | core/adv_stack | 24 |
| `forgotten-tombstone-decides-lost` | what is written after a delete depends on whether its writer had collected the tombstone | 221 | violated: Lost | 262 | 4 | 3 nodes, 4 writes | 257 | core/forget_three, core/forget_element | 24 |
| `forgotten-tombstone-decides-wrong` | what is written after a delete depends on whether its writer had collected the tombstone | 1087 | violated: WrongValue | 99 | 3 | 3 nodes, 3 writes | 298 | core/forget_three | 24 |
| `collected-list-position-taken-again` | an item takes the position of one that its author has collected, and others show the former one there | none | violated: Lost | | | | |  | 24 |
| `clock-ahead-mutes` | a node that wrote while its clock was far ahead is no longer heard once its clock is right | 56 | violated: Muted | 251 | 2 | 2 nodes, 1 write, 1 fault | 67 | core/adv_misc (a clock an hour ahead), field/09 | 24 |
| `horizon-ahead-is-refused` | a horizon from a clock that was far ahead is impossible for everyone whose clock is right | 17479 | violated: ImpossibleOutcome | 889 | 4 | 1 node, 1 write, 3 faults | 401 |  | 24 |
| `delta-ahead-is-sent-again` | while a delta is ahead of its reader's clock, session after session sends it in vain | 10132 | violated: OverBudget(idle bytes) | 262 | 18 | 2 nodes, 1 line of initial entities, 15 writes, 2 faults | 4572 | core/adv_misc (a clock an hour ahead) | 24 |
| `deltas-wait-for-outsider` | deltas that nobody can complete are dropped once each peer has said so, which one that answers nothing never does | 7263 | max_time | | | | |  | 24 |
| `delete-of-member-named-late` | what a member deletes before all know of it comes back: those who did not know it have collected meanwhile | none | violated: Lost | | | | |  | 24 |
| `authors-weigh-on-writes` | every write stores a version vector of all authors that ever wrote | 407 | violated: OverBudget(write bytes) | 477 | 122 | 1 node, 121 lines of initial entities, 1 write | 20000 | core/adv_authors | 24 |
| `replaced-disk-loses-history` | a node whose disk was restored, copied or lost numbers new deltas like old ones, and writes are lost | 1506 | violated: HistoryLost | 184 | 3 | 2 nodes, 2 writes, 1 fault | 58 | core/adv_backup | 24 |
| `replaced-disk-is-refused` | a node whose disk was restored, copied or lost is refused by its peers for good | 379 | violated: NotBroughtBack | 49 | 4 | 2 nodes, 1 line of initial entities, 1 write, 2 faults | 105 | core/adv_backup (a store from six starts ago), field/08 | 24 |
| `one-id-in-two-lives-loses` (partly) | two lives of one id set the value that the id owns, or the place of an entity depends on a write that was lost | 1506 | violated: HistoryLost | 166 | 3 | 2 nodes, 2 writes, 1 fault | 58 |  | 24 |
| `one-id-in-two-lives-stays-away` (partly) | a node whose disk was replaced again while it received a snapshot, or restored from before the horizon of the others, does not come back | 379 | violated: NotBroughtBack | 54 | 3 | 3 nodes, 1 write, 2 faults | 162 |  | 24 |
| `forgotten-tombstone-costs-a-walk` | a delta that recreates a collected entity makes other records than at a node that collected it later | none | violated: NeedlessWalk | | | | |  | 24 |
| `clock-ahead-at-start-mutes` | a node that starts while its clock is far ahead, and writes before it has heard a peer, is no longer heard | 1463 | violated: Muted | 1209 | 3 | 2 nodes, 1 write, 2 faults | 264 |  | 24 |
| `member-named-late` | a member that is named late in one place is left behind there: its deltas were collected meanwhile | 314 | violated: ImpossibleOutcome | 68 | 5 | 1 node, 2 writes, 3 faults | 161 |  | 24 |
| `writes-of-member-named-late` | what a member writes before all know of it is from before the horizon of those who have collected meanwhile | 366 | violated: HonestFrameRefused | 25 | 5 | 3 nodes, 2 writes, 3 faults | 230 |  | 24 |
| `one-id-in-two-lives-loses` (partly) | of two lives that counted in one name, a state shows the larger count alone; a node that comes back takes a write that others have pruned for its own | 6509 | violated: HistoryLost | 30 | 6 | 4 nodes, 5 writes, 1 fault | 280 |  | 24 |
| `one-id-in-two-lives-stays-away` | a node whose disk has fewer starts only answers, and its answers are dropped without a word; a disk from before the horizon is left behind | none | violated: NotBroughtBack | | | | |  | 24 |
| `writes-stored-by-one-away` | a node comes back while a member that has its writes is away, and writes them again under another name | none | violated: WrongValue | | | | |  | 24 |
| `writes-ahead-are-pruned` | a node that comes back from ahead of time has pruned what nobody had taken | none | violated: Lost | | | | |  | 24 |
| `accumulating-value-from-before-horizon` | one who is left behind and comes back does not write again what it wrote into a text or a custom value that others have deleted and written again | 48308 | violated: Lost | 902 | 7 | 2 nodes, 4 writes, 3 faults | 310 |  | 24 |
| `register-hides-counter` | a member that is named late is left behind and comes back; its register hides a counter of the same name | 17493 | violated: Lost | 669 | 6 | 1 node, 3 writes, 3 faults | 232 |  | 24 |
| `vectors-of-earlier-session` | a handshake is answered relative to vectors that its sender does not have any more, again and again | none | max_time | | | | |  | 24 |
| `claim-met-in-own-session` | a claim that a node meets in a session of its own is never settled: the answer to its question is dropped | 54676 | violated: NotBroughtBack | | | | |  | 24 |
| `copy-of-joiner-recovers-forever` | a node whose disk becomes a copy of one that receives a snapshot waits for the rest of it forever, though all states are equal | 64110 | violated: NotBroughtBack | 1019 | 6 | 1 node, 2 lines of initial entities, 3 writes, 1 fault |  |  | 24 |
| `copies-yield-to-each-other` | copies of one disk that start sessions with each other at once both yield, again and again | 23435 | violated: NotBroughtBack | | | | |  | 24 |
| `two-lives-insert-twice` | an insert of one of two lives of one id is written again under another name where its own name is there too | 2778 | violated: HistoryLost | 46 | 5 | 3 nodes, 2 writes, 3 faults | 1888 |  | 24 |
| `most-clocks-ahead` | a node comes back from ahead of time while its clock is ahead again; what it then writes again keeps a stamp that is ahead, and it is never heard | 11932 | violated: Muted | 7026 | 12 | 3 nodes, 7 writes, 4 faults, 1 frame fault | 996 |  | 24 |
| `rewritten-after-collection-walks` | a node that was away writes or deletes again what the others have forgotten: one walk joins the old tombstone and the record without it, which the check took for needless | 21594 | violated: NeedlessWalk | 24 | 5 | 3 nodes, 2 writes, 1 fault, 2 frame faults | 166 |  | 24 |
| `delete-around-late-name` | a node whose clock is behind covers what a peer has collected by a horizon that is ahead of this clock, and then writes before that horizon | 57136 | violated: Lost | 62 | 6 | 2 nodes, 2 writes, 4 faults | 211 |  | 24 |
| `deep-tree-outlasts-sessions` | a walk to the bottom of a deep tree over a slow link exceeds the bounds of every session | none | violated: ImpossibleOutcome | | | | |  | 24 |
| `small-frames-outlast-sessions` | a session of many small frames exceeds its bounds where a round trip takes longer than the credit for a round | none | violated: ImpossibleOutcome | | | | |  | 24 |
| `hidden-before-its-delete` | a session that is cut off brings what a delete hides, and not the delete; who has the delete collects it, and the value lives again everywhere | 62255 | violated: Lost | | | 4 nodes, 4 writes |  |  | 24 |
| `placeholder-before-its-delete` | the same where the receiver has an empty record of the entity, as the place of something later | none | violated: Lost | | | | |  | 24 |
| `horizons-rise-in-session` | both sides of a session raise their horizons while it runs, and what one of them received before is joined after | none | violated: Lost | | | | |  | 24 |
| `member-named-late-loops` | what a member wrote before all knew of it is refused again and again: each session says that it was written to | 101 | violated: StickyLoop | 69 | 5 | 2 nodes, 3 writes, 2 faults | 227 |  | 24 |
";

/// The most runs that shrinking one case may take.
const RUNS: u64 = 4_000;

#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "it takes minutes without optimization; `.ci/run release-tests` runs it"
)]
fn drawn_seeds_show_every_known_finding() {
    let mut text = TEXT.to_owned();
    for finding in KNOWN_FINDINGS {
        let KnownFinding { name, about, issue, drawn_seed, programs, .. } = finding;
        let Some(seed) = drawn_seed else {
            let _ = writeln!(
                text,
                "| `{name}` | {about} | none | {} | | | | | {programs} | {issue} |",
                finding.class
            );
            continue;
        };
        let case = swarm::draw(*seed);
        let ended = case.run().unwrap();
        let shown = KnownFinding::of(&case, &ended.class, &ended.reason);
        assert_eq!(shown, Some(finding), "seed {seed}: {ended}");
        let shrunk = shrink(&case, RUNS, &mut |_| true).unwrap();
        let small = shrunk.case.run().unwrap();
        assert_eq!(small.class, ended.class, "seed {seed}: {small}");
        let (from, size, runs) = (shrunk.from.causes(), shrunk.case.size(), shrunk.runs);
        let _ = writeln!(
            text,
            "| `{name}` | {about} | {seed} | {} | {from} | {} | {size} | {runs} | {programs} | {issue} |",
            ended.class,
            size.causes()
        );
    }
    text.push_str(REPAIRED);
    golden("../../../docs/found.md", &text);
}
