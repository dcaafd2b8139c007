//! Ed25519 (RFC 8032) signatures under deltas.
//!
//! Each replica has a key of its own, and membership names the public half of each. A delta is then
//! taken only if its author, and nobody else, has signed it: not even another member can write under
//! its name.
//!
//! ```
//! use syncline_keys::Keypair;
//! use syncline_sync::Membership;
//! # let (alice, bob) = (Default::default(), Default::default());
//! # let seed = [7; 32]; // Thirty-two bytes from the system's source of chance.
//! let own = Keypair::from_seed(&seed);
//! # let public_key_of_bob = own.public();
//! let membership = Membership::of([(alice, own.public()), (bob, public_key_of_bob)]);
//! let authority = own.into_authority();
//! ```
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use std::fmt;
use syncline_sync::{Authority, PublicKey, Scheme, Signature, Statement};

/// The key of one replica. Its secret half is wiped from memory when it is dropped.
#[derive(Clone)]
pub struct Keypair(SigningKey);

impl Keypair {
    /// The key that this seed stands for. Whoever knows the seed can write as the replica: it must come
    /// from a source of chance that nobody can guess, and be kept as a secret.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half, for membership.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs deltas with this key, and checks those of others with the keys that membership gives.
    pub fn into_authority(self) -> Authority {
        Authority::new(self)
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({:?})", self.public())
    }
}

impl Scheme for Keypair {
    fn sign(&self, statement: &Statement) -> Signature {
        Signature(self.0.sign(&statement.to_bytes()).to_bytes().to_vec())
    }

    /// By the strict rules, under which a signature cannot be turned into another one that holds too,
    /// and weak keys are good for nothing.
    fn verify(&self, key: Option<&PublicKey>, statement: &Statement, signature: &Signature) -> bool {
        let key = key.and_then(|key| VerifyingKey::from_bytes(&key.0).ok());
        let signature = ed25519_dalek::Signature::from_slice(&signature.0).ok();
        key.zip(signature)
            .is_some_and(|(key, signature)| key.verify_strict(&statement.to_bytes(), &signature).is_ok())
    }
}
