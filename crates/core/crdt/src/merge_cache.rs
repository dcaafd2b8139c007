//! A bounded cache of the results of merge functions.

use crate::merge_result::MergeResult;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use syncline_types::Digest;

/// The most bytes of cached results.
const MOST_BYTES: usize = 8 << 20;
/// What an entry takes beside its state: two keys, two counts and the nodes of the maps.
const ENTRY_BYTES: usize = 256;

/// Results by the digest of the name of the type and the operands, the least recently used of which is
/// dropped first. A result follows from the digest alone, so the cache decides how often a function is called
/// and never what is shown.
#[derive(Default)]
pub(crate) struct MergeCache(Mutex<CachedResults>);

/// Invariants: `by_use` has the key of each entry of `by_key` under the number of its last use, and `bytes` is
/// the sum of their sizes.
#[derive(Default)]
struct CachedResults {
    by_key: BTreeMap<Digest, (u64, MergeResult)>,
    by_use: BTreeMap<u64, Digest>,
    uses: u64,
    bytes: usize,
}

fn size(merged: &MergeResult) -> usize {
    ENTRY_BYTES + merged.as_ref().map_or(0, |state| state.len())
}

impl MergeCache {
    /// The last of `keys` that is cached, and its result. O(keys · log n).
    pub(crate) fn longest(&self, keys: &[Digest]) -> Option<(usize, MergeResult)> {
        // No function of an application is called while the lock is held, so nothing panics in between.
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, key) = keys.iter().enumerate().rev().find(|(_, key)| entries.by_key.contains_key(*key))?;
        entries.uses += 1;
        let now = entries.uses;
        let (last, merged) = entries.by_key.get_mut(key)?;
        let last = std::mem::replace(last, now);
        let merged = merged.clone();
        entries.by_use.remove(&last);
        entries.by_use.insert(now, *key);
        Some((at, merged))
    }

    /// Adds a result, and drops the least recently used ones beyond the limit. O(log n) on average.
    pub(crate) fn insert(&self, key: Digest, merged: MergeResult) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let CachedResults { by_key, by_use, uses, bytes } = &mut *entries;
        *uses += 1;
        *bytes += size(&merged);
        by_use.insert(*uses, key);
        if let Some((last, replaced)) = by_key.insert(key, (*uses, merged)) {
            by_use.remove(&last);
            *bytes -= size(&replaced);
        }
        while *bytes > MOST_BYTES
            && let Some((_, oldest)) = by_use.pop_first()
            && let Some((_, dropped)) = by_key.remove(&oldest)
        {
            *bytes -= size(&dropped);
        }
        debug_assert_eq!(by_key.len(), by_use.len(), "each entry has one last use");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> Digest {
        Digest::of(0, &number.to_be_bytes())
    }

    fn finds(cache: &MergeCache, number: u64) -> bool {
        cache.longest(&[key(number)]).is_some()
    }

    #[test]
    fn the_least_recently_used_result_is_dropped() {
        let cache = MergeCache::default();
        let fit = (MOST_BYTES / ((1 << 20) + ENTRY_BYTES)) as u64;
        for number in 0..fit {
            cache.insert(key(number), Ok(vec![0; 1 << 20].into()));
        }
        assert!(finds(&cache, 0), "all fit");
        cache.insert(key(fit), Ok(vec![0; 1 << 20].into()));
        assert!(finds(&cache, 0) && !finds(&cache, 1) && finds(&cache, fit));
        let entries = cache.0.lock().unwrap();
        let sum: usize = entries.by_key.values().map(|(_, merged)| size(merged)).sum();
        assert_eq!((entries.bytes, entries.by_use.len()), (sum, entries.by_key.len()));
        assert!(sum <= MOST_BYTES);
    }

    #[test]
    fn second_result_replaces_first() {
        let cache = MergeCache::default();
        cache.insert(key(1), Ok([1; 9].into()));
        cache.insert(key(1), Ok([1].into()));
        let entries = cache.0.lock().unwrap();
        assert_eq!((entries.by_key.len(), entries.by_use.len()), (1, 1));
        assert_eq!(entries.bytes, size(&Ok([1].into())));
    }

    #[test]
    fn the_longest_beginning_is_found() {
        let cache = MergeCache::default();
        cache.insert(key(1), Ok([1].into()));
        cache.insert(key(2), Ok([2].into()));
        let keys: Vec<Digest> = (0..5).map(key).collect();
        assert_eq!(cache.longest(&keys), Some((2, Ok([2].into()))));
        assert_eq!(cache.longest(&keys[..2]), Some((1, Ok([1].into()))));
        assert_eq!(cache.longest(&keys[..1]), None);
    }
}
