//! Merge functions of an application's own types.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A merge of two states of a type into one.
type Merge = dyn Fn(&[u8], &[u8]) -> Vec<u8> + Send + Sync;

/// The merge functions that an application brings, by the name of the type.
///
/// Each must be a join: idempotent, commutative and associative, the same on every replica, and
/// without any other effect. [`Merges::check`] tries a function on examples.
#[derive(Clone, Default)]
pub struct Merges(Arc<BTreeMap<String, Arc<Merge>>>);

impl Merges {
    /// These and one more; a later one of the same name replaces the earlier.
    pub fn with(
        self,
        name: impl Into<String>,
        merge: impl Fn(&[u8], &[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let mut merges = BTreeMap::clone(&self.0);
        merges.insert(name.into(), Arc::new(merge));
        Self(Arc::new(merges))
    }

    /// Whether there is one for `name`.
    pub fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Merges two states of the type `name`. Without a function for it the greater bytes win, which
    /// is a join too; states refuse such values before it comes to that.
    pub fn merge(&self, name: &str, own: &[u8], incoming: &[u8]) -> Vec<u8> {
        match self.0.get(name) {
            Some(merge) => merge(own, incoming),
            None => own.max(incoming).to_vec(),
        }
    }

    /// Tries the laws of a join on every three of these examples. The error names the first that fails.
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

/// A merge function is not a join.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the merge function breaks the law of {law}")]
pub struct BrokenLaw {
    /// Which law.
    pub law: &'static str,
}

impl fmt::Debug for Merges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Two registries are equal when they hold the very same functions.
impl PartialEq for Merges {
    fn eq(&self, other: &Self) -> bool {
        let names = self.0.keys().eq(other.0.keys());
        names && self.0.values().zip(other.0.values()).all(|(own, other)| Arc::ptr_eq(own, other))
    }
}

impl Eq for Merges {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_is_no_join_is_found_out() {
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
