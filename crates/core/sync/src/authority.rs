//! Who may write to a context, and how a delta proves whose it is.
//!
//! A [`Gate`] stands before the delta log: every delta passes it, by whatever way it came, and one
//! that does not changes nothing. It asks two things. Is the author a member, as membership is *now*
//! and *here*? And is the signature the author's, over this content in this context?
//!
//! What was accepted from an author stays when the author is removed; only what comes later is
//! refused. Replicas may learn of a removal at different times, so one may hold a delta that another
//! refuses. They still become equal: a sync of states brings *records*, which nobody signs. So
//! members trust each other for the state that they hold, for the deltas it covers and for how far
//! they have forgotten what is dead; a signature keeps everybody else out, and keeps one member from
//! writing deltas under another's name.

use crate::delta::Delta;
use crate::log::DeltaRefusal;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use syncline_types::{
    ContextId, Decode, DecodeError, DeltaId, Digest, Encode, Reader, ReplicaId, Writer, canary, limits,
};

/// Proof that a delta is its author's, in the form of its scheme. Empty where there is none.
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

/// What an author signs: that this delta is its own, in this context. The id is a digest of author,
/// number, parents, stamp and actions, so that none of them can be changed or moved elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Statement {
    /// Where it was written.
    pub context: ContextId,
    /// The digest of its content.
    pub delta: DeltaId,
}

/// Keeps signatures of deltas apart from signatures of anything else made with the same key.
const DOMAIN: &[u8; 32] = b"syncline/delta-signature/v1\0\0\0\0\0";

impl Statement {
    /// The bytes that are signed.
    pub fn to_bytes(&self) -> [u8; 96] {
        let mut bytes = [0; 96];
        let parts = DOMAIN.iter().chain(&self.context.0).chain(&self.delta.0);
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        bytes
    }
}

/// The public half of a member's key, in the form of its scheme; all zeros with schemes that need
/// none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PublicKey(pub [u8; 32]);

/// A way to sign: the secret of one replica, and how the signatures of others are checked.
pub trait Scheme: fmt::Debug + Send + Sync {
    /// Signs as this replica.
    fn sign(&self, statement: &Statement) -> Signature;

    /// Whether `signature` is that of the author of the delta, whose key membership gives: `None`
    /// where membership is open.
    fn verify(&self, key: Option<&PublicKey>, statement: &Statement, signature: &Signature) -> bool;
}

/// How this replica signs and how it checks what others signed. Cheap to clone; two are equal if one
/// is a clone of the other.
#[derive(Clone, Debug, Default)]
pub struct Authority(Option<Arc<dyn Scheme>>);

impl Authority {
    /// No signatures: deltas are sent without, and whatever they carry is not looked at. Whoever can
    /// send a frame can write under any name. For contexts whose every peer is trusted.
    pub const fn open() -> Self {
        Self(None)
    }

    /// Signs and checks by `scheme`.
    pub fn new(scheme: impl Scheme + 'static) -> Self {
        Self(Some(Arc::new(scheme)))
    }

    /// Signs and checks with a secret that all members share; see [`KeyedHash`].
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
/// It costs next to nothing, and keeps out everybody who does not know the secret. It does not keep
/// members from writing under each other's names. For simulations, and for groups that trust their
/// members wholly.
#[derive(Clone)]
pub struct KeyedHash {
    secret: [u8; 32],
}

impl KeyedHash {
    const LEN: usize = 16;
    const TAG: u8 = 0x53;

    /// The scheme of those who know `secret`.
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
        // Every byte is looked at, so that the time it takes tells nothing.
        let difference = expected.0.iter().zip(&signature.0).fold(0, |all, (own, other)| all | (own ^ other));
        signature.0.len() == Self::LEN && difference == 0
    }
}

/// Who may write to a context, and be synced with. It keeps nobody from reading: that is for the host,
/// which decides whom a replica can reach. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Membership {
    /// Everybody. Nothing dead is ever forgotten, since nobody knows who has not seen it yet. With
    /// keys of their own nobody's key is known, so that nobody else's deltas are taken.
    #[default]
    Open,
    /// These, with their keys; this replica among them, or it may not write. A replica that is given
    /// another key takes another name too: what it signed with the old one cannot be checked any more.
    Members(Arc<BTreeMap<ReplicaId, PublicKey>>),
}

impl Membership {
    /// These members, with their keys.
    pub fn of(members: impl IntoIterator<Item = (ReplicaId, PublicKey)>) -> Self {
        Self::Members(Arc::new(members.into_iter().collect()))
    }

    /// These members, for schemes in which members have no keys of their own.
    pub fn named(members: impl IntoIterator<Item = ReplicaId>) -> Self {
        Self::of(members.into_iter().map(|member| (member, PublicKey::default())))
    }

    /// The members, where it is said who they are.
    pub const fn members(&self) -> Option<&Arc<BTreeMap<ReplicaId, PublicKey>>> {
        match self {
            Self::Open => None,
            Self::Members(members) => Some(members),
        }
    }

    /// Whether it names `replica`. Nobody is named where membership is open.
    pub fn names(&self, replica: ReplicaId) -> bool {
        self.members().is_some_and(|members| members.contains_key(&replica))
    }

    /// Whether `replica` may write and be synced with.
    pub fn admits(&self, replica: ReplicaId) -> bool {
        *self == Self::Open || self.names(replica) || canary!(StrangersLetIn)
    }
}

/// What every delta must pass; see the head of this module. [`Gate::default`] lets everything pass.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gate {
    /// The context.
    pub context: ContextId,
    /// How deltas are signed.
    pub authority: Authority,
    /// Who may write.
    pub membership: Membership,
}

impl Gate {
    /// The signature of this replica under a delta that it made.
    pub(crate) fn sign(&self, delta: DeltaId) -> Signature {
        self.authority.sign(&Statement { context: self.context, delta })
    }

    /// Whether the author of `delta`, whose id is `id`, may write and has signed it.
    pub(crate) fn check(&self, delta: &Delta, id: DeltaId) -> Result<(), DeltaRefusal> {
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

    /// Whether `delta` would be let in now.
    pub fn lets_in(&self, delta: &Delta) -> Result<(), DeltaRefusal> {
        self.check(delta, delta.id())
    }
}
