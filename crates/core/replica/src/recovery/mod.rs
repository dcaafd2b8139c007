//! What a replica does about an id that has more than one life: a store that was restored, copied or lost. So it does
//! about a history that is left behind, or ahead of time: it has one life, which cannot go on.
//!
//! Such a replica stops; see [`ReplicaError::History`](crate::ReplicaError). Its host brings it
//! back under a new id, with an empty store, by one call: [`Replica::bring_back`](crate::Replica::bring_back). The call
//! copies the *legacy* of the former id into the new store: the records of the old store and what the former id has
//! written. From then on the old store is not needed.
//!
//! Most of the legacy has reached others before the id had two lives. Once the new replica has received the state of a
//! peer, it goes on in pages, one in each step:
//!
//! 1. It asks its peers by delta ids for the *fork*: the last write of the former id that they have.
//! 2. It notes what the former id had counted at the fork, the base of what it counted later.
//! 3. It joins the records of the old store into the present state, as a session would: records from before the log
//!    began, and writes of others that only the old store still has, have no other way to survive. Then it covers what
//!    the old store covered. A record that may have been collected since is left out.
//! 4. It writes again what the former id wrote after the fork, as if another replica, the *branch*, had made these changes
//!    at the times at which the former id made them: two lives of one id are then two replicas. The name of the branch
//!    follows from its first write, and counts are relative to the base. So the result is the same, whoever writes the
//!    branch again, and however often: the new replica may have two lives, too, before it is done. An id with one life has no
//!    branch, except for changes that get a new time: its writes keep its name, since a member that is away may have them.
//!
//! The row of a record or a write is deleted in the batch that handles it, so that a crash repeats and loses nothing.
//! If nobody has a state, everything is restored in the former id's own name; until it is done, the replica is deaf and
//! mute, so that nobody takes a part for the whole.
//!
//! | module | subject |
//! |---|---|
//! | `claims` | the proofs that were requested for claims of peers about this replica's own deltas |
//! | `legacy` | the rows of the legacy |
//! | `inherit` | copies the legacy from an old store |
//! | `fork` | the search for the last legacy write that others have |
//! | `progress` | what is left to do |
//! | `rejoin` | joins the records of the old store |
//! | `restamp` | the same change in the name of another replica |
//! | `reissue` | turns a legacy write into the changes of a new delta |

mod claims;
mod fork;
mod inherit;
mod legacy;
mod progress;
mod reissue;
mod rejoin;
mod restamp;

pub(crate) use claims::OpenClaims;
pub(crate) use fork::ForkSearch;
pub(crate) use inherit::inherit;
pub(crate) use legacy::{Branch, FormerId, LegacyPart, LegacyWrite, write_time};
pub(crate) use progress::{Recovering, RecoveryProgress};
pub(crate) use reissue::{Reissued, is_in_state, is_lacking, note_bases, reissue};
pub(crate) use rejoin::{Rejoin, Rejoined};
