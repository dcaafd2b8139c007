//! Bounds on all input from outside. A decoder rejects input beyond them before it allocates. A sender
//! splits its data into pages, so that it never reaches them.
//!
//! The constants are the bounds of the wire format: all replicas share them. [`Limits`] are the choices of
//! one replica below these bounds.

/// The greatest size of a frame, in bytes.
pub const MAX_FRAME_BYTES: usize = 4 << 20;
/// The greatest size of the payload of one record, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// The most replicas that may ever write to one context. It bounds the entries of a counter and of a
/// version vector.
pub const MAX_REPLICAS: usize = 1 << 16;
/// The greatest sequence number of a delta among those of its author.
pub const MAX_DELTA_SEQ: u64 = 1 << 48;
/// The greatest size of one delta, in bytes. It leaves space for a page in the same frame.
pub const MAX_DELTA_BYTES: usize = 2 << 20;
/// The most ancestors between an entity and the root: the greatest depth of the tree.
pub const MAX_ANCESTORS: usize = 2_048;
/// The greatest size of a label, in bytes: the key of a map entry, an element of a set, a position in a list.
pub const MAX_LABEL_BYTES: usize = 32 << 10;
/// The greatest length of the name of an application-defined type, in bytes.
pub const MAX_TYPE_NAME_BYTES: usize = 255;
/// The most actions in one delta.
pub const MAX_ACTIONS_PER_DELTA: usize = 1_024;
/// The most parents that one delta names, and therefore the most heads that a log remembers.
pub const MAX_PARENTS: usize = 8;
/// The most deltas that one frame may request or carry.
pub const MAX_DELTAS_PER_FRAME: usize = 256;
/// The most questions in one request of a tree walk.
pub const MAX_QUESTIONS: usize = 1_024;
/// The greatest size of a Bloom filter over records, in bytes.
pub const MAX_FILTER_BYTES: usize = 1 << 20;
/// The most cells of a sketch in one frame.
pub const MAX_CELLS: usize = 1 << 18;
/// The most cells of a filtered IBLT: the lookup table over the records that passed the peer's Bloom filter.
pub const MAX_IBLT_CELLS: usize = 3 << 16;
/// The most short ids of records that failed the peer's Bloom filter.
pub const MAX_SHORT_IDS: usize = 1 << 18;
/// The greatest index of a cell of a rateless sketch that a peer may request.
pub const MAX_CELL_INDEX: u32 = 1 << 20;
/// The most ids that one frame may list as missing.
pub const MAX_MISSING: usize = 1 << 15;
/// The most records that one frame may request, answer with, or push.
pub const MAX_RECORDS_PER_FRAME: usize = 1_024;
/// The most questions, record requests and pushes that wait at the same time in a session.
pub const MAX_SESSION_QUEUE: usize = 1 << 20;
/// The size after which a responder ends a page, in bytes; a page with a single item may exceed it.
pub const PAGE_BYTES: usize = 256 << 10;
/// The size of a snapshot page before compression, in bytes; a page with a single record may exceed it.
pub const SNAPSHOT_PAGE_BYTES: usize = 64 << 10;
/// The greatest size of a snapshot page after decompression, in bytes.
pub const MAX_PAGE_BYTES: usize = MAX_FRAME_BYTES;
/// The greatest size of the signature of a delta, in bytes.
pub const MAX_SIGNATURE_BYTES: usize = 128;
/// The most children that one answer may list.
pub const MAX_CHILDREN: usize = 2_048;
/// The most protocols that a handshake may list.
pub const MAX_PROTOCOLS: usize = 32;

/// Lists the limits: documentation, names, the least value, the greatest value, which is also the default, and
/// how many bytes of a frame one unit may need.
macro_rules! limits {
    ($($(#[doc = $doc:literal])* $limit:ident $name:ident: $least:expr, $most:expr, $share:expr;)*) => {
        /// One of the [`Limits`].
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Limit {
            $($(#[doc = $doc])* $limit,)*
        }

        impl Limit {
            /// All limits.
            pub const ALL: &'static [Self] = &[$(Self::$limit),*];

            /// The name of the limit, as in settings.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$limit => stringify!($name),)* }
            }

            /// The least value that it may have.
            pub const fn least(self) -> usize {
                match self { $(Self::$limit => $least,)* }
            }

            /// The greatest value that it may have, which is its default.
            pub const fn most(self) -> usize {
                match self { $(Self::$limit => $most,)* }
            }

            /// How many bytes of a frame one unit of it may need; zero if it has no part in frames.
            const fn share(self) -> usize {
                match self { $(Self::$limit => $share,)* }
            }
        }

        /// What one replica chooses for itself: the sizes of the frames that it sends and accepts, the bounds of
        /// what its sessions store, and the sizes of the writes that it makes. No limit needs the consent of a
        /// peer, except `frame_bytes`: a replica must send no frame that its peers do not accept, so all
        /// replicas of a context should have the same.
        ///
        /// Each limit is at most its default. Small limits make rare cases common, which is of use in tests.
        /// Invariant: each limit is within its bounds, and a frame has room for its share of each.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct Limits {
            $($name: usize,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $most,)* }
            }
        }

        impl Limits {
            $($(#[doc = $doc])*
            pub const fn $name(&self) -> usize {
                self.$name
            })*

            /// The value of a limit.
            pub const fn get(&self, limit: Limit) -> usize {
                match limit { $(Limit::$limit => self.$name,)* }
            }

            const fn set(&mut self, limit: Limit, value: usize) {
                match limit { $(Limit::$limit => self.$name = value,)* }
            }
        }
    };
}

limits! {
    /// The greatest size of a frame that is accepted, in bytes.
    FrameBytes frame_bytes: 64 << 10, MAX_FRAME_BYTES, 0;
    /// The size after which a page ends, in bytes; a page with a single item may exceed it.
    PageBytes page_bytes: 1, PAGE_BYTES, 16;
    /// The size of a snapshot page before compression, in bytes; a page with a single record may exceed it.
    SnapshotPageBytes snapshot_page_bytes: 1, SNAPSHOT_PAGE_BYTES, 16;
    /// The most records that a frame requests, answers with, or pushes.
    RecordsPerFrame records_per_frame: 1, MAX_RECORDS_PER_FRAME, 0;
    /// The most deltas that a frame requests or carries.
    DeltasPerFrame deltas_per_frame: 1, MAX_DELTAS_PER_FRAME, 0;
    /// The most questions in a request. One place is for the question by short ids.
    QuestionsPerFrame questions_per_frame: 2, MAX_QUESTIONS, 0;
    /// The most children that one answer contains.
    ChildrenPerAnswer children_per_answer: 1, MAX_CHILDREN, 128;
    /// The most children under a prefix for which a subtree is sent. A larger one is compared instead.
    SubtreeChildren subtree_children: 1, 4_096, 0;
    /// The most ids that an answer lists as missing.
    MissingPerAnswer missing_per_answer: 1, MAX_MISSING, 128;
    /// The most cells of a sketch that a request asks for and an answer contains. Not below the cells of a
    /// handshake.
    CellsPerFrame cells_per_frame: 32, MAX_CELLS, 16;
    /// How many pages of subtrees a session receives before it compares the rest instead.
    SubtreePages subtree_pages: 0, 64, 0;
    /// How often a session asks for more cells of a sketch, before a walk replaces the decoder.
    CellPages cell_pages: 0, 3, 0;
    /// The most bytes of records that wait for their parents in a session.
    OrphanBytes orphan_bytes: 0, 16 << 20, 0;
    /// How many boundaries a session reads a snapshot from before it leaves the rest to a later session. One is
    /// that of the session before.
    Boundaries boundaries: 2, 8, 0;
    /// How many records that are ahead of the local clock a snapshot may be published without.
    EarlyRecords early_records: 1, 4_096, 0;
    /// How many rows of an abandoned or replaced state one step removes.
    SweepRows sweep_rows: 1, 4_096, 0;
    /// How many records below deletes one step visits in order to collect them. A collection that takes more goes on in
    /// later steps.
    CollectedRecords collected_records: 1, 4_096, 0;
    /// How many peers in a row that have much less than the promised state are skipped, before the staged
    /// records of a snapshot are given up for one of them.
    SkippedPeers skipped_peers: 0, 3, 0;
    /// The most children of its own that a session compares one by one with a bucket of the peer.
    ComparedChildren compared_children: 0, 128, 0;
    /// The greatest size of the value that a write makes, in bytes.
    ValueBytes value_bytes: 1, MAX_VALUE_BYTES, 4;
    /// The greatest size of a label that a write makes, in bytes.
    LabelBytes label_bytes: 1, MAX_LABEL_BYTES, 32;
    /// The greatest size of the delta that a write makes, in bytes.
    DeltaBytes delta_bytes: 1, MAX_DELTA_BYTES, 2;
    /// The most operations in a write.
    ActionsPerDelta actions_per_delta: 1, MAX_ACTIONS_PER_DELTA, 0;
}

/// Why a limit cannot have a value.
#[allow(missing_docs, reason = "the messages say what the fields hold")]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LimitError {
    /// The value is outside the bounds of the limit.
    #[error("{limit} is {found}; it must lie between {least} and {most}")]
    OutOfBounds { limit: &'static str, found: usize, least: usize, most: usize },
    /// A frame would not have room for what the limit allows.
    #[error("{limit} is {found}; in frames of {frame_bytes} bytes it may be {most} at most")]
    NoRoom { limit: &'static str, found: usize, frame_bytes: usize, most: usize },
}

impl Limits {
    /// The same limits with another value for one of them. To lower `frame_bytes`, lower first what frames hold.
    ///
    /// # Errors
    ///
    /// If the value is out of bounds, or a frame has no room for what the limits allow.
    pub fn with(mut self, limit: Limit, value: usize) -> Result<Self, LimitError> {
        let least = limit.least();
        let most = limit.most();
        if !(least..=most).contains(&value) {
            return Err(LimitError::OutOfBounds { limit: limit.name(), found: value, least, most });
        }
        self.set(limit, value);
        for part in Limit::ALL {
            let found = self.get(*part);
            if found * part.share() > self.frame_bytes {
                let most = self.frame_bytes / part.share();
                let frame_bytes = self.frame_bytes;
                return Err(LimitError::NoRoom { limit: part.name(), found, frame_bytes, most });
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_accepts_its_bounds() {
        for limit in Limit::ALL.iter().filter(|limit| limit.name() != "frame_bytes") {
            assert_eq!(Limits::default().get(*limit), limit.most(), "{limit:?}");
            assert_eq!(Limits::default().with(*limit, limit.most()), Ok(Limits::default()), "{limit:?}");
            let small = Limits::default().with(*limit, limit.least()).unwrap();
            assert_eq!(small.get(*limit), limit.least(), "{limit:?}");
            assert!(Limits::default().with(*limit, limit.most() + 1).is_err(), "{limit:?}");
        }
    }

    #[test]
    fn small_frames_need_small_parts() {
        let error = Limits::default().with(Limit::FrameBytes, 64 << 10).unwrap_err();
        assert_eq!(
            error.to_string(),
            "page_bytes is 262144; in frames of 65536 bytes it may be 4096 at most"
        );
        let mut limits = Limits::default();
        for part in Limit::ALL.iter().filter(|part| part.share() > 0) {
            limits = limits.with(*part, (64 << 10) / part.share().max(1)).unwrap();
        }
        let limits = limits.with(Limit::FrameBytes, 64 << 10).unwrap();
        assert!(limits.with(Limit::DeltaBytes, 64 << 10).is_err());
    }
}
