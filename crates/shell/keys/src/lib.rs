//! Ed25519 signatures (RFC 8032) on deltas.
//!
//! Each replica has a key of its own, and the membership maps each replica to its public key. Replicas then
//! accept a delta only if its author has signed it. Not even another member can forge a delta of that author.
//!
//! ```
//! use syncline_keys::Keypair;
//! use syncline_sync::Membership;
//! # let alice = Default::default();
//! # let bob = Default::default();
//! # let seed = [7; 32]; // 32 bytes from the system's source of randomness.
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

/// The key pair of one replica. Dropping it wipes the secret key from memory. A clone costs O(1).
#[derive(Clone)]
pub struct Keypair(SigningKey);

impl Keypair {
    /// Derives the key pair from `seed`, as RFC 8032 section 5.1.5 specifies. Anyone who knows the seed can
    /// write as the replica: draw the seed from a cryptographically secure source of randomness, and store it
    /// as a secret.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public key, for the membership.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// An authority that signs deltas with this key, and verifies deltas with the keys of the membership.
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
        let signature = Signature(self.0.sign(&statement.to_bytes()).to_bytes().to_vec());
        debug_assert!(
            self.verify(Some(&self.public()), statement, &signature),
            "a signature verifies with the public key of its author"
        );
        signature
    }

    /// Verifies by the strict rules: they reject weak keys, which verify any message, and non-canonical
    /// signatures, which anybody could derive from a valid one. So the signature of a delta is unique.
    fn verify(&self, key: Option<&PublicKey>, statement: &Statement, signature: &Signature) -> bool {
        let key = key.and_then(|key| VerifyingKey::from_bytes(&key.0).ok());
        let signature = ed25519_dalek::Signature::from_slice(&signature.0).ok();
        key.zip(signature)
            .is_some_and(|(key, signature)| key.verify_strict(&statement.to_bytes(), &signature).is_ok())
    }
}
