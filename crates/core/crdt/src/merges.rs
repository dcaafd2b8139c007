//! Merge functions of application-defined types.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A function that merges the encodings of two states into one.
type MergeFn = dyn Fn(&[u8], &[u8]) -> Vec<u8> + Send + Sync;

/// The merge functions that an application registers, by the name of the type.
///
/// Each function must be a join: idempotent, commutative and associative, deterministic, the same on every
/// replica, and without side effects. [`Merges::check`] tests a function with examples.
#[derive(Clone, Default)]
pub struct Merges(Arc<BTreeMap<String, Arc<MergeFn>>>);

impl Merges {
    /// Adds the merge function of the type `name`. A later function for the same name replaces the earlier.
    pub fn with(
        self,
        name: impl Into<String>,
        merge: impl Fn(&[u8], &[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let mut merges = BTreeMap::clone(&self.0);
        merges.insert(name.into(), Arc::new(merge));
        Self(Arc::new(merges))
    }

    /// Whether a function is registered for `name`.
    pub fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Merges two states of the type `name`. Without a function for it the result is the greater of both byte
    /// strings, which is a join as well. A state rejects values of unregistered types before it merges them.
    pub fn merge(&self, name: &str, own: &[u8], incoming: &[u8]) -> Vec<u8> {
        match self.0.get(name) {
            Some(merge) => merge(own, incoming),
            None => own.max(incoming).to_vec(),
        }
    }

    /// Tests the three laws of a join on all triples of `examples`, O(n³) merges. The error names the first
    /// law that fails.
    pub fn check(&self, name: &str, examples: &[&[u8]]) -> Result<(), BrokenLaw> {
        let law = |law, holds: bool| if holds { Ok(()) } else { Err(BrokenLaw { law }) };
        let join = |a: &[u8], b: &[u8]| self.merge(name, a, b);
        for a in examples {
            law("idempotence", join(a, a) == *a)?;
            for b in examples {
                law("commutativity", join(a, b) == join(b, a))?;
                for c in examples {
                    law("associativity", join(&join(a, b), c) == join(a, &join(b, c)))?;
                }
            }
        }
        Ok(())
    }
}

/// A merge function is not a join: an example breaks one of the laws.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the merge function breaks the law of {law}")]
pub struct BrokenLaw {
    /// The name of the law: `idempotence`, `commutativity` or `associativity`.
    pub law: &'static str,
}

impl fmt::Debug for Merges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Two registries are equal if they share the same function objects under the same names. Functions cannot be
/// compared, so that two separately registered copies of one function are different.
impl PartialEq for Merges {
    fn eq(&self, other: &Self) -> bool {
        let same_names = self.0.keys().eq(other.0.keys());
        same_names && self.0.values().zip(other.0.values()).all(|(own, other)| Arc::ptr_eq(own, other))
    }
}

impl Eq for Merges {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_rejects_functions_without_laws() {
        let examples: [&[u8]; 3] = [&[1], &[2], &[3]];
        let merges = Merges::default()
            .with("max", |a: &[u8], b: &[u8]| a.max(b).to_vec())
            .with("newest", |_: &[u8], b: &[u8]| b.to_vec())
            .with("sum", |a: &[u8], b: &[u8]| vec![a[0] + b[0]]);
        assert_eq!(merges.check("max", &examples), Ok(()));
        assert_eq!(merges.check("newest", &examples), Err(BrokenLaw { law: "commutativity" }));
        assert_eq!(merges.check("sum", &examples), Err(BrokenLaw { law: "idempotence" }));
        assert!(merges.knows("sum") && !merges.knows("product"));
    }
}
