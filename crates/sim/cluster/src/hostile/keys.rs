//! Keys of single nodes, where members are not all to be trusted.

use syncline_sync::{Authority, Membership, PublicKey, Scheme, Signature, Statement};
use syncline_types::{Digest, ReplicaId};

const SECRET: &[u8] = b"the secret of all secrets of a run";
const KEY: u8 = 0x4b;
const TAG: u8 = 0x54;

/// A stand-in for a scheme in which each member has a key of its own, at the cost of a hash. Only a
/// replica's own signatures can be made with it; whoever checks one works out what its author would have
/// signed, as no real scheme could.
#[derive(Clone, Copy, Debug)]
struct OwnKey {
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

impl Scheme for OwnKey {
    fn sign(&self, statement: &Statement) -> Signature {
        tag(&self.public, statement)
    }

    fn verify(&self, key: Option<&PublicKey>, statement: &Statement, signature: &Signature) -> bool {
        key.is_some_and(|key| tag(key, statement) == *signature)
    }
}

/// What `replica` signs with and checks others with.
pub(crate) fn authority(replica: ReplicaId) -> Authority {
    Authority::new(OwnKey { public: public_key(replica) })
}

/// These members, with their keys.
pub(crate) fn membership(members: impl IntoIterator<Item = ReplicaId>) -> Membership {
    Membership::of(members.into_iter().map(|member| (member, public_key(member))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_sync::{Delta, DeltaRefusal, Dot, Gate};
    use syncline_types::{ContextId, Hlc};

    #[test]
    fn a_member_cannot_sign_for_another() {
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
