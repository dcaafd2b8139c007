//! Who may write to a context, and how a delta proves whose it is.
//!
//! Every delta passes a [`Gate`] before it enters the delta log, whichever way it came. A delta that
//! does not pass changes nothing. The gate checks two conditions: the author is a member, in the local
//! and current view of the membership; and the signature is the author's, over this content in this
//! context.
//!
//! Deltas that were accepted from an author stay when the author is removed; only later ones are refused.
//! Replicas may learn of a removal at different times, so one may have a delta that another refuses. They
//! still become equal, because a sync of states transfers *records*, which are not signed. Members therefore
//! trust each other for three things: their state, the deltas that it covers, and their horizon. Signatures
//! exclude all others, and prevent a member from writing deltas under the name of another member.

use super::{Delta, DeltaRefusal};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use syncline_types::{
    ContextId, Decode, DecodeError, DeltaId, Digest, Encode, Reader, ReplicaId, Writer, canary, limits,
};

/// The proof that a delta is its author's, in the format of its scheme. Empty without a scheme.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Signature(pub Vec<u8>);

impl Encode for Signature {
    fn encode(&self, out: &mut Writer) {
        out.bytes(&self.0);
    }
}

impl Decode for Signature {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(input.bytes(limits::MAX_SIGNATURE_BYTES, "a signature")?.to_vec()))
    }
}

/// The statement that an author signs: this delta is its own, in this context. The id is a digest of
/// author, number, parents, stamp and actions, so that none of them can be altered or moved to another
/// delta.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Statement {
    /// The context that the delta belongs to.
    pub context: ContextId,
    /// The digest of the delta's content.
    pub delta: DeltaId,
}

/// Domain separation: a signature of a delta is never valid for other content signed with the same key.
const DOMAIN: &[u8; 32] = b"syncline/delta-signature/v1\0\0\0\0\0";

impl Statement {
    /// The 96 bytes that are signed: domain, context, delta.
    pub fn to_bytes(&self) -> [u8; 96] {
        let mut bytes = [0; 96];
        let parts = DOMAIN.iter().chain(&self.context.0).chain(&self.delta.0);
        debug_assert_eq!(parts.clone().count(), bytes.len(), "the parts fill the statement");
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        bytes
    }
}

/// The public half of a member's key, in the format of its scheme; all zeros with schemes that need no
/// public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PublicKey(pub [u8; 32]);

/// A signature scheme: the secret of one replica, and the verification of others' signatures.
pub trait Scheme: fmt::Debug + Send + Sync {
    /// Signs `statement` as this replica.
    fn sign(&self, statement: &Statement) -> Signature;

    /// Whether `signature` is that of the delta's author. `key` is the author's key in the membership;
    /// `None` where membership is open.
    fn verify(&self, key: Option<&PublicKey>, statement: &Statement, signature: &Signature) -> bool;
}

/// How this replica signs deltas and verifies the signatures of others. Cheap to clone; two are equal
/// if one is a clone of the other.
#[derive(Clone, Debug, Default)]
pub struct Authority(Option<Arc<dyn Scheme>>);

impl Authority {
    /// No signatures: deltas are sent without one, and signatures of received deltas are ignored. Anyone
    /// who can send a frame can write under any name. For contexts in which every peer is trusted.
    pub const fn open() -> Self {
        Self(None)
    }

    /// Whether deltas are not signed.
    pub const fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Signs and verifies with `scheme`.
    pub fn new(scheme: impl Scheme + 'static) -> Self {
        Self(Some(Arc::new(scheme)))
    }

    /// Signs and verifies with a secret that all members share; see [`KeyedHash`].
    pub fn keyed(secret: [u8; 32]) -> Self {
        Self::new(KeyedHash::new(secret))
    }

    fn sign(&self, statement: &Statement) -> Signature {
        self.0.as_ref().map_or_else(Signature::default, |scheme| scheme.sign(statement))
    }

    fn verify(&self, key: Option<&PublicKey>, statement: &Statement, signature: &Signature) -> bool {
        self.0.as_ref().is_none_or(|scheme| scheme.verify(key, statement, signature))
    }
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }
}

impl Eq for Authority {}

/// Signatures as hashes keyed with one secret that all members share: 16 bytes of SHA-256 over the
/// secret and the statement, both of fixed length.
///
/// It costs one hash of about 130 bytes, and excludes all replicas that do not know the secret. It does not
/// prevent members from writing under each other's names. For simulations, and for groups whose members trust
/// each other fully.
#[derive(Clone)]
pub struct KeyedHash {
    secret: [u8; 32],
}

impl KeyedHash {
    const LEN: usize = 16;
    const TAG: u8 = 0x53;

    /// The scheme of the replicas that know `secret`.
    pub const fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    fn tag(&self, statement: &Statement) -> Digest {
        Digest::of_parts(Self::TAG, &[&self.secret, &statement.to_bytes()])
    }
}

impl fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedHash(…)")
    }
}

impl Scheme for KeyedHash {
    fn sign(&self, statement: &Statement) -> Signature {
        Signature(self.tag(statement).0.iter().take(Self::LEN).copied().collect())
    }

    fn verify(&self, _: Option<&PublicKey>, statement: &Statement, signature: &Signature) -> bool {
        let expected = self.tag(statement);
        // Constant time: the comparison reads every byte, so that its duration reveals nothing about the
        // expected signature.
        let difference = expected.0.iter().zip(&signature.0).fold(0, |all, (own, other)| all | (own ^ other));
        signature.0.len() == Self::LEN && difference == 0
    }
}

/// Which replicas may write to a context and be synced with. It does not restrict reading: the host
/// decides which peers a replica can reach. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Membership {
    /// Every replica is a member. Tombstones are never collected, since it is unknown which replicas have not
    /// seen them yet. With a scheme of individual keys no other replica's key is known, so that the deltas of
    /// all others are refused.
    #[default]
    Open,
    /// The members with their keys. This replica may write only if it is one of them. A replica with a new
    /// key needs a new id too, because its earlier signatures cannot be verified any more.
    Members(Arc<BTreeMap<ReplicaId, PublicKey>>),
}

impl Membership {
    /// A membership of these replicas, with their keys.
    pub fn of(members: impl IntoIterator<Item = (ReplicaId, PublicKey)>) -> Self {
        Self::Members(Arc::new(members.into_iter().collect()))
    }

    /// A membership of these replicas, for schemes without individual keys.
    pub fn named(members: impl IntoIterator<Item = ReplicaId>) -> Self {
        Self::of(members.into_iter().map(|member| (member, PublicKey::default())))
    }

    /// The members, or `None` where membership is open.
    pub const fn members(&self) -> Option<&Arc<BTreeMap<ReplicaId, PublicKey>>> {
        match self {
            Self::Open => None,
            Self::Members(members) => Some(members),
        }
    }

    /// Whether `replica` is listed as a member. No replica is where membership is open.
    pub fn names(&self, replica: ReplicaId) -> bool {
        self.members().is_some_and(|members| members.contains_key(&replica))
    }

    /// Whether `replica` may write and be synced with.
    pub fn admits(&self, replica: ReplicaId) -> bool {
        *self == Self::Open || self.names(replica) || canary!(StrangersLetIn)
    }
}

/// The check that every delta must pass; see the documentation of this module. [`Gate::default`] admits
/// every delta.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gate {
    /// The context that deltas must be signed for.
    pub context: ContextId,
    /// The signature scheme.
    pub authority: Authority,
    /// The replicas that may write.
    pub membership: Membership,
}

impl Gate {
    /// The signature of this replica for a delta that it made.
    pub(super) fn sign(&self, delta: DeltaId) -> Signature {
        self.authority.sign(&Statement { context: self.context, delta })
    }

    /// Checks that the author of `delta`, whose id is `id`, may write and has signed it.
    pub(super) fn check(&self, delta: &Delta, id: DeltaId) -> Result<(), DeltaRefusal> {
        let author = delta.dot.author;
        let key = match &self.membership {
            Membership::Open => None,
            Membership::Members(members) => match members.get(&author) {
                None if canary!(StrangersLetIn) => return Ok(()),
                key => Some(key.ok_or(DeltaRefusal::NotAMember)?),
            },
        };
        let statement = Statement { context: self.context, delta: id };
        let signed = canary!(SignaturesUnchecked) || self.authority.verify(key, &statement, &delta.signature);
        if signed { Ok(()) } else { Err(DeltaRefusal::BadSignature) }
    }

    /// Checks that the gate admits `delta` now. One hash and one signature verification.
    pub fn lets_in(&self, delta: &Delta) -> Result<(), DeltaRefusal> {
        self.check(delta, delta.id())
    }
}
