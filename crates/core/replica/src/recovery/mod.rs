//! What a replica does about an id that has more than one life: a store that was restored, copied or lost. So it does
//! about a history that is left behind, or ahead of time: it has one life, which cannot go on.
//!
//! Such a replica stops; see [`ReplicaError::History`](crate::ReplicaError). Its host brings it
//! back under a new id, with an empty store, by one call: [`Replica::bring_back`](crate::Replica::bring_back). The call
//! copies what the former id has written, its *legacy*, into the new store. From then on the old store is not needed.
//!
//! Most of the legacy has reached others before the id had two lives. Once the new replica has received the state of a
//! peer, it asks its peers by delta ids which part has. It writes the rest again, as if the new id had made these
//! changes at the times at which the former id made them: two lives of one id are then two replicas. The row of a
//! legacy write is deleted in the batch that writes it again, so that a crash repeats and loses nothing.
//!
//! | module | subject |
//! |---|---|
//! | `claims` | the proofs that were requested for claims of peers about this replica's own deltas |
//! | `legacy` | the rows of the legacy: what a former id has written |
//! | `inherit` | reads the legacy from an old store |
//! | `fork` | the search for the last legacy write that others have |
//! | `progress` | what is left to do |
//! | `restamp` | the same change in the name of another replica |
//! | `reissue` | turns a legacy write into the changes of a new delta |

mod claims;
mod fork;
mod inherit;
mod legacy;
mod progress;
mod reissue;
mod restamp;

pub(crate) use claims::OpenClaims;
pub(crate) use fork::ForkSearch;
pub(crate) use inherit::inherit;
pub(crate) use legacy::{FormerId, LegacyWrite};
pub(crate) use progress::{Recovering, RecoveryProgress};
pub(crate) use reissue::{Reissued, reissue};
