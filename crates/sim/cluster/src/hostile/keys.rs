//! Signing keys of single nodes, for runs in which not all members are trusted.

use syncline_sync::{Authority, KeyedHash, Membership, PublicKey, Scheme, Signature, Statement};
use syncline_types::{Digest, ReplicaId};

const SECRET: &[u8] = b"the secret of all secrets of a run";
const KEY: u8 = 0x4b;
const TAG: u8 = 0x54;

/// A stand-in for a signature scheme in which each member has its own key, at the cost of one hash. A
/// replica can sign only for itself. The verifier recomputes the signature from the public key, which no
/// real scheme allows; the simulator does not attack the scheme itself.
#[derive(Clone, Copy, Debug)]
struct MemberKey {
    public: PublicKey,
}

/// The public key of a replica.
fn public_key(replica: ReplicaId) -> PublicKey {
    PublicKey(Digest::of_parts(KEY, &[&replica.0]).0)
}

fn tag(key: &PublicKey, statement: &Statement) -> Signature {
    let digest = Digest::of_parts(TAG, &[SECRET, &key.0, &statement.to_bytes()]);
    Signature(digest.0.iter().take(16).copied().collect())
}

impl Scheme for MemberKey {
    fn sign(&self, statement: &Statement) -> Signature {
        tag(&self.public, statement)
    }

    fn verify(&self, key: Option<&PublicKey>, statement: &Statement, signature: &Signature) -> bool {
        key.is_some_and(|key| tag(key, statement) == *signature)
    }
}

/// The authority with which `replica` signs and verifies.
pub(crate) fn authority(replica: ReplicaId) -> Authority {
    Authority::new(MemberKey { public: public_key(replica) })
}

/// The authority of a hostile node that does not know the key of the group. It signs with another key, and believes every
/// signature: so it takes in what it overhears, and passes it on.
#[derive(Debug)]
struct Eavesdropper(KeyedHash);

impl Scheme for Eavesdropper {
    fn sign(&self, statement: &Statement) -> Signature {
        self.0.sign(statement)
    }

    fn verify(&self, _: Option<&PublicKey>, _: &Statement, _: &Signature) -> bool {
        true
    }
}

/// The authority of hostile nodes where the others share one key.
pub(crate) fn eavesdropper() -> Authority {
    Authority::new(Eavesdropper(KeyedHash::new([0xea; 32])))
}

/// A membership of these replicas with their public keys.
pub(crate) fn membership(members: impl IntoIterator<Item = ReplicaId>) -> Membership {
    Membership::of(members.into_iter().map(|member| (member, public_key(member))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_sync::{Delta, DeltaRefusal, Dot, Gate};
    use syncline_types::{ContextId, Hlc};

    #[test]
    fn member_cannot_sign_for_another() {
        let [own, other] = [1, 2].map(ReplicaId::from_u64);
        let gate = |replica| Gate {
            context: ContextId([1; 32]),
            authority: authority(replica),
            membership: membership([own, other]),
        };
        let delta = Delta::new(Dot { author: own, seq: 1 }, vec![], Hlc::ZERO, vec![]);
        let judge = gate(other);
        assert_eq!(judge.lets_in(&delta.clone().signed(&gate(own))), Ok(()));
        assert_eq!(judge.lets_in(&delta.signed(&gate(other))), Err(DeltaRefusal::BadSignature));
    }
}
