//! Merge functions of application-defined types: their registration, and the values that they show.

use crate::Custom;
use crate::merge_cache::MergeCache;
use crate::merge_result::{MergeFailure, MergeResult};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use syncline_types::{Digest, Hasher, Hlc, canary, limits};

/// A function that merges the encodings of two states into one.
type MergeFn = dyn Fn(&[u8], &[u8]) -> Vec<u8> + Send + Sync;

/// The number of operands at which a write replaces those that its author sees by one. It bounds the calls that
/// show a value: at most this many, and one for each write that nobody had seen yet.
const MOST_OPERANDS: usize = 16;

/// The most samples of one registration. The laws take O(n³) calls for n samples.
const MOST_SAMPLES: usize = 16;

/// The merge functions that an application registers, by the name of the type.
///
/// A function must be a join: idempotent, commutative and associative, deterministic, the same on every replica,
/// and without side effects. Its laws are tried on the samples of its registration. No replica depends on them:
/// what replicates are operands, joined by a rule that calls no function (see [`Custom`]). A function that is
/// missing, panics, is no join, or is slow costs the values that are shown, on the replicas where it is so, and
/// never the agreement of replicas.
///
/// A function is called for reads and for local writes; never while a replica receives. A read calls it once for
/// each operand that is new since the last read: results are cached, in up to 8 MiB that all clones of a registry
/// share. A panic is caught here, and not again until the operands change. (A program that is built with
/// `panic = "abort"` ends instead.)
#[derive(Clone, Default)]
pub struct Merges {
    functions: Arc<BTreeMap<String, Arc<MergeFn>>>,
    cache: Arc<MergeCache>,
}

/// A value that cannot be shown, because its operands cannot be merged here. The operands are stored and
/// replicate: register a function that merges them, and the value is shown.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{operands} operands of the type {name:?} are not merged: {reason}")]
pub struct Unmerged {
    /// The name of the type.
    pub name: Arc<str>,
    /// The number of operands.
    pub operands: usize,
    /// Why they are not merged.
    pub reason: MergeFailure,
}

/// A law of a join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Law {
    /// `a ⊔ a = a`
    Idempotence,
    /// `a ⊔ b = b ⊔ a`
    Commutativity,
    /// `(a ⊔ b) ⊔ c = a ⊔ (b ⊔ c)`
    Associativity,
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idempotence => "idempotence",
            Self::Commutativity => "commutativity",
            Self::Associativity => "associativity",
        })
    }
}

/// Why a merge function is not registered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The name of the type is too long.
    #[error("a name of {bytes} bytes for a type; the limit is {}", limits::MAX_TYPE_NAME_BYTES)]
    NameTooLong {
        /// The length of the name.
        bytes: usize,
    },
    /// The laws cannot be tried without samples, and too many would take too long.
    #[error("{found} samples for the type {name:?}; give 1 to {MOST_SAMPLES} different states of the type")]
    Samples {
        /// The name of the type.
        name: String,
        /// The number of samples.
        found: usize,
    },
    /// The function is not a join.
    #[error("the merge function of {name:?} breaks the law of {law} on the samples {samples:?}")]
    BrokenLaw {
        /// The name of the type.
        name: String,
        /// The first law that does not hold.
        law: Law,
        /// The numbers of the samples, from zero, that show it.
        samples: Vec<usize>,
    },
    /// The function fails on a sample.
    #[error("the merge function of {name:?} fails on the samples {samples:?}: {reason}")]
    Fails {
        /// The name of the type.
        name: String,
        /// Why the function gives no state.
        reason: MergeFailure,
        /// The numbers of the samples, from zero, that show it.
        samples: Vec<usize>,
    },
}

impl Merges {
    /// Registers the merge function of the type `name`, in place of an earlier one of that name.
    ///
    /// `samples` are states of the type, 1 to 16, on which the laws of a join are tried: O(n³) calls. Good samples
    /// contradict each other.
    ///
    /// # Errors
    /// The first law that the function breaks on the samples, or why it cannot be tried.
    pub fn with(
        mut self,
        name: impl Into<String>,
        samples: &[&[u8]],
        merge: impl Fn(&[u8], &[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<Self, RegistrationError> {
        let name = name.into();
        if name.len() > limits::MAX_TYPE_NAME_BYTES {
            return Err(RegistrationError::NameTooLong { bytes: name.len() });
        }
        if samples.is_empty() || samples.len() > MOST_SAMPLES {
            return Err(RegistrationError::Samples { name, found: samples.len() });
        }
        try_laws(&name, samples, &merge)?;
        Arc::make_mut(&mut self.functions).insert(name, Arc::new(merge));
        // Results of the function that was replaced must not be shown.
        self.cache = Arc::default();
        Ok(self)
    }

    /// Whether a function is registered for `name`.
    pub fn knows(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    /// What an application sees of a value: its operands, merged in their canonical order. A single operand is
    /// shown as it is, without a function.
    ///
    /// O(bytes of the operands), and a call for each operand after the longest beginning of the operands whose
    /// result is cached.
    ///
    /// # Errors
    /// Why the operands cannot be merged here.
    pub fn shown(&self, value: &Custom) -> Result<Arc<[u8]>, Unmerged> {
        let operands = value.operands();
        let merged = match &*operands {
            [(_, only)] => return Ok(Arc::clone(only)),
            operands => self.merged(value.name(), operands),
        };
        merged.map_err(|reason| Unmerged { name: value.name().into(), operands: operands.len(), reason })
    }

    /// The merged state of two states of the type `name`: one call, and nothing is cached.
    ///
    /// # Errors
    /// Why there is no such state.
    pub fn merge(&self, name: &str, one: &[u8], two: &[u8]) -> Result<Arc<[u8]>, MergeFailure> {
        call(&**self.functions.get(name).ok_or(MergeFailure::Missing)?, one, two)
    }

    /// The delta of a write at `stamp` that adds the operand `bytes` to `own`.
    ///
    /// The write compacts, that is, replaces all operands by their merged state, if that takes about as many bytes
    /// as were written since the last compaction, or if there are many operands. Deltas are therefore, on average
    /// over many writes, not much larger than what was written, and a value is not much larger than what it shows.
    /// A write whose author cannot merge the operands adds its own.
    pub fn write(&self, own: &Custom, stamp: Hlc, bytes: &[u8]) -> Custom {
        let delta = Custom::written(own.name(), stamp, bytes);
        let mut next = own.clone();
        next.join(&delta);
        let operands = next.operands();
        let largest = operands.iter().map(|(_, bytes)| bytes.len()).max().unwrap_or(0);
        if operands.len() <= MOST_OPERANDS && next.bytes() - largest < largest {
            return delta;
        }
        match self.merged(own.name(), &operands) {
            Ok(merged) => own.replacing(stamp, merged),
            Err(_) => delta,
        }
    }

    /// The merged state of at least two operands, in their order.
    fn merged(&self, name: &str, operands: &[(Hlc, &Arc<[u8]>)]) -> MergeResult {
        let merge = self.functions.get(name).ok_or(MergeFailure::Missing)?;
        // The digest of each beginning of the operands.
        let keys: Vec<Digest> = operands
            .iter()
            .scan(Digest::ZERO, |last, (_, bytes)| {
                let mut hasher = Hasher::new(name.as_bytes());
                hasher.part(&last.0);
                hasher.part(bytes);
                *last = hasher.finish();
                Some(*last)
            })
            .collect();
        let first = || (0, Ok(operands.first().map(|(_, bytes)| Arc::clone(bytes)).unwrap_or_default()));
        let (last, mut merged) = self.cache.longest(&keys).unwrap_or_else(first);
        let mut key = None;
        for ((_, bytes), at) in operands.iter().zip(&keys).skip(last + 1) {
            let Ok(state) = &merged else { break };
            merged = call(&**merge, state, bytes);
            key = Some(*at);
        }
        if let Some(key) = key {
            self.cache.insert(key, merged.clone());
        }
        merged
    }
}

/// Calls a function of an application: the only place where core does.
fn call(merge: &(impl Fn(&[u8], &[u8]) -> Vec<u8> + ?Sized), one: &[u8], two: &[u8]) -> MergeResult {
    // The function sees nothing of ours but two slices that it cannot change, so a panic in it leaves nothing
    // half-done here.
    let caught = if canary!(MergePanicEscapes) {
        Ok(merge(one, two))
    } else {
        catch_unwind(AssertUnwindSafe(|| merge(one, two)))
    };
    let merged = caught.map_err(panicked)?;
    let limit = limits::MAX_VALUE_BYTES;
    if merged.len() > limit {
        return Err(MergeFailure::TooLarge { bytes: merged.len(), limit });
    }
    Ok(merged.into())
}

/// The failure of a function that panicked with `payload`.
fn panicked(payload: Box<dyn Any + Send>) -> MergeFailure {
    /// A panic may say anything, at any length.
    const SHOWN: usize = 200;
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a message");
    let failure = MergeFailure::Panicked(text.chars().take(SHOWN).collect::<String>().into());
    // The payload is the application's, too: dropping it may panic. What it panics with then is leaked, or this
    // would never end.
    if let Err(second) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        std::mem::forget(second);
    }
    failure
}

/// Tries the laws of a join on all triples of samples.
fn try_laws(
    name: &str,
    samples: &[&[u8]],
    merge: &impl Fn(&[u8], &[u8]) -> Vec<u8>,
) -> Result<(), RegistrationError> {
    let holds = |law, samples: &[usize], left: MergeResult, right: MergeResult| {
        let name = name.to_owned();
        match (left, right) {
            (Ok(left), Ok(right)) if left == right => Ok(()),
            (Ok(_), Ok(_)) => Err(RegistrationError::BrokenLaw { name, law, samples: samples.to_vec() }),
            (Err(reason), _) | (_, Err(reason)) => {
                Err(RegistrationError::Fails { name, reason, samples: samples.to_vec() })
            }
        }
    };
    let join = |one: &[u8], two: &[u8]| call(merge, one, two);
    for (i, a) in samples.iter().enumerate() {
        holds(Law::Idempotence, &[i], join(a, a), Ok((*a).into()))?;
        for (j, b) in samples.iter().enumerate() {
            holds(Law::Commutativity, &[i, j], join(a, b), join(b, a))?;
            for (k, c) in samples.iter().enumerate() {
                let left = join(a, b).and_then(|ab| join(&ab, c));
                let right = join(b, c).and_then(|bc| join(a, &bc));
                holds(Law::Associativity, &[i, j, k], left, right)?;
            }
        }
    }
    Ok(())
}

impl fmt::Debug for Merges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.functions.keys()).finish()
    }
}

/// Two registries are equal if they share the same function objects under the same names. Functions cannot be
/// compared, so that two separately registered copies of one function are different.
impl PartialEq for Merges {
    fn eq(&self, other: &Self) -> bool {
        let same_names = self.functions.keys().eq(other.functions.keys());
        same_names
            && self
                .functions
                .values()
                .zip(other.functions.values())
                .all(|(own, other)| Arc::ptr_eq(own, other))
    }
}

impl Eq for Merges {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use syncline_types::ReplicaId;

    fn at(ms: u64) -> Hlc {
        Hlc::new(ms, 0, ReplicaId::from_u64(ms % 3))
    }

    /// The union of two sets of bytes.
    fn union(a: &[u8], b: &[u8]) -> Vec<u8> {
        let all: std::collections::BTreeSet<u8> = a.iter().chain(b).copied().collect();
        all.into_iter().collect()
    }

    /// A registry with `merge`, and the number of its calls so far.
    fn counted(merge: fn(&[u8], &[u8]) -> Vec<u8>) -> (Merges, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        let counting = move |a: &[u8], b: &[u8]| {
            counter.fetch_add(1, Ordering::Relaxed);
            merge(a, b)
        };
        let merges = Merges::default().with("t", &[b""], counting).unwrap();
        calls.store(0, Ordering::Relaxed);
        (merges, calls)
    }

    /// Writes to a value; a write of replica `ms % 3` at each millisecond.
    fn write(merges: &Merges, own: &mut Custom, ms: u64, bytes: &[u8]) -> usize {
        let delta = merges.write(own, at(ms), bytes);
        own.join(&delta);
        delta.bytes()
    }

    #[test]
    fn registration_tries_the_laws_on_its_samples() {
        let samples: [&[u8]; 3] = [&[1], &[2], &[3]];
        let law = |merge: fn(&[u8], &[u8]) -> Vec<u8>| match Merges::default().with("t", &samples, merge) {
            Ok(merges) => Ok(merges.knows("t")),
            Err(RegistrationError::BrokenLaw { law, samples, .. }) => Err((law, samples)),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(law(union), Ok(true));
        assert_eq!(law(|a, b| vec![a[0] + b[0]]), Err((Law::Idempotence, vec![0])));
        assert_eq!(law(|_, b| b.to_vec()), Err((Law::Commutativity, vec![0, 1])));
        // Idempotent and commutative: the mean.
        let mean = |a: &[u8], b: &[u8]| vec![(a[0] + b[0]) / 2];
        assert_eq!(law(mean), Err((Law::Associativity, vec![0, 0, 2])));
    }

    #[test]
    fn registration_needs_samples_that_the_function_takes() {
        let with = |samples: &[&[u8]], merge: fn(&[u8], &[u8]) -> Vec<u8>| {
            Merges::default().with("t", samples, merge).map(drop).unwrap_err().to_string()
        };
        let found = |found: usize| RegistrationError::Samples { name: "t".into(), found }.to_string();
        assert_eq!(with(&[], union), found(0));
        assert_eq!(with(&[&b"x"[..]; MOST_SAMPLES + 1], union), found(MOST_SAMPLES + 1));
        let error = with(&[b"x"], |_, _| panic!("no {}", "state"));
        assert_eq!(
            error,
            "the merge function of \"t\" fails on the samples [0]: the merge function panicked: no state"
        );
        let error = with(&[b"x"], |_, _| vec![0; limits::MAX_VALUE_BYTES + 1]);
        assert!(error.contains("returned 1048577 bytes; the limit is 1048576"), "{error}");
        let long = Merges::default().with("t".repeat(256), &[b"x"], union).unwrap_err();
        assert_eq!(long, RegistrationError::NameTooLong { bytes: 256 });
    }

    #[test]
    fn one_operand_is_shown_without_a_function() {
        let mut value = Custom::written("t", at(1), *b"b");
        let none = Merges::default();
        assert_eq!(none.shown(&value).as_deref(), Ok(&b"b"[..]));
        assert_eq!(write(&none, &mut value, 2, b"a"), 1);
        let unmerged = none.shown(&value).unwrap_err();
        assert_eq!((unmerged.operands, unmerged.reason), (2, MergeFailure::Missing));
        let (merges, _) = counted(union);
        assert_eq!(merges.shown(&value).as_deref(), Ok(&b"ab"[..]));
    }

    #[test]
    fn operands_are_merged_in_the_order_of_their_stamps() {
        let (merges, calls) = counted(|a, b| [a, b].concat());
        let operands = [(7, b'c'), (2, b'a'), (9, b'd'), (5, b'b')];
        let operands = operands.map(|(ms, byte)| Custom::written("t", at(ms), [byte]));
        let mut value = operands[0].clone();
        for operand in &operands[1..] {
            value.join(operand);
        }
        assert_eq!(merges.shown(&value).as_deref(), Ok(&b"abcd"[..]));
        assert_eq!(merges.shown(&value).as_deref(), Ok(&b"abcd"[..]));
        assert_eq!(calls.load(Ordering::Relaxed), 3, "the second read finds the result");
        value.join(&Custom::written("t", at(10), *b"e"));
        assert_eq!(merges.shown(&value).as_deref(), Ok(&b"abcde"[..]));
        assert_eq!(calls.load(Ordering::Relaxed), 4, "one call for one new operand");
        let replaced = merges.with("t", &[b""], union).unwrap();
        assert_eq!(replaced.shown(&value).as_deref(), Ok(&b"abcde"[..]));
        assert_eq!(calls.load(Ordering::Relaxed), 4, "a new function starts without results");
    }

    #[test]
    fn a_panic_costs_the_shown_value_alone() {
        let (merges, calls) = counted(|a, b| {
            assert!(a.first() == b.first(), "two kinds");
            union(a, b)
        });
        let mut value = Custom::written("t", at(1), *b"x");
        for ms in 2..40 {
            assert_eq!(write(&merges, &mut value, ms, b"y"), 1);
            let unmerged = merges.shown(&value).unwrap_err();
            assert_eq!(unmerged.reason, MergeFailure::Panicked("two kinds".into()));
        }
        assert_eq!((value.operands().len(), calls.load(Ordering::Relaxed)), (39, 1), "nothing is lost");
        let repaired = merges.with("t", &[b""], union).unwrap();
        write(&repaired, &mut value, 40, b"z");
        assert_eq!(repaired.shown(&value).as_deref(), Ok(&b"xyz"[..]));
        assert_eq!(value.operands().len(), 1, "the next write compacts");
    }

    #[test]
    fn no_payload_of_a_panic_escapes() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::panic_any(Self);
            }
        }
        let bomb = |_: &[u8], _: &[u8]| std::panic::panic_any(Bomb);
        let failure = call(&bomb, b"a", b"b").unwrap_err();
        assert_eq!(failure, MergeFailure::Panicked("without a message".into()));
        let long = |_: &[u8], _: &[u8]| panic!("{}", "x".repeat(1 << 20));
        assert_eq!(call(&long, b"a", b"b").unwrap_err(), MergeFailure::Panicked("x".repeat(200).into()));
    }

    #[test]
    fn writes_cost_what_they_write_on_average() {
        let (merges, calls) = counted(union);
        let large: Vec<u8> = (0..200).collect();
        let mut value = Custom::written("t", at(1), large);
        let mut bytes = 0;
        for ms in 2..402 {
            bytes += write(&merges, &mut value, ms, &[ms as u8]);
            assert!(value.operands().len() <= MOST_OPERANDS);
            assert!(merges.shown(&value).is_ok());
        }
        assert_eq!(merges.shown(&value).unwrap().len(), 256);
        // A large state is sent with one write of sixteen, and its length bounds a compaction.
        assert!(bytes < 400 * (1 + 256 / MOST_OPERANDS + 1), "{bytes}");
        assert!(calls.load(Ordering::Relaxed) <= 2 * 400, "{calls:?}");
    }
}
