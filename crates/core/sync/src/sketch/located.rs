//! What a responder's sketch says of a difference.

use super::{Cell, Difference, Sketch, Symbol, cells_for, decode};
use crate::handshake::SyncHandshake;
use crate::message::WireRecord;
use crate::transaction::Transaction;
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_types::{Decode, DecodeError, Encode, Reader, Writer, limits};

/// What the answer to a handshake says of the difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Located {
    /// The first cells of the responder, enough for what the difference seems to be.
    Cells(Vec<Cell>),
    /// The handshake's own cells told the difference.
    Found {
        /// Records that the initiator lacks, parents before children, up to a page.
        records: Vec<WireRecord>,
        /// Records that the responder lacks.
        wants: Vec<Symbol>,
    },
}

/// What the sketches of both sides say, as the responder sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sight {
    /// About how many records differ.
    pub difference: u64,
    /// Exactly which, if the cells of the handshake told.
    pub found: Option<Difference>,
}

/// Above this estimate, the cells of a handshake do not tell the difference.
const HOPELESS: u64 = 4 * Sketch::HEAD as u64;

impl Sight {
    /// What `theirs`, a handshake with a sketch, shows beside the state of `work`.
    pub(crate) fn of<V: ReadView>(
        theirs: &SyncHandshake,
        work: &mut Transaction<V>,
    ) -> Result<Option<Self>, StorageError> {
        let Some(head) = &theirs.sketch else { return Ok(None) };
        let sketch = work.sketch()?;
        // The root's record counts in a sketch, and in no count of entities.
        let difference = sketch.estimate(head, theirs.entity_count.saturating_add(1));
        if difference > HOPELESS {
            return Ok(Some(Self { difference, found: None }));
        }
        let ours = work.cells(0, Sketch::HEAD)?;
        let found = decode(work.sketch_key(), &ours, &head.cells, &mut work.state)?;
        let exact = found.as_ref().map(|found| (found.ours.len() + found.theirs.len()) as u64);
        Ok(Some(Self { difference: exact.unwrap_or(difference), found }))
    }

    /// What to answer.
    pub(crate) fn located<V: ReadView>(self, work: &mut Transaction<V>) -> Result<Located, StorageError> {
        if let Some(found) = self.found {
            let wants = found.only_theirs().collect();
            let (records, complete) = WireRecord::page(found.ours, &mut work.state)?;
            // What does not fit a page is asked for page by page.
            if complete {
                return Ok(Located::Found { records, wants });
            }
        }
        // Estimates err by a fifth: a few cells more than it seems are cheaper than another round. More
        // than are kept must be asked for: a handshake costs no look at the whole state.
        let wanted = cells_for(self.difference.saturating_mul(5) / 4);
        let count = usize::try_from(wanted).unwrap_or(usize::MAX);
        let sketch = work.sketch()?;
        Ok(Located::Cells(sketch.first(count).to_vec()))
    }
}

impl Encode for Located {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Cells(cells) => {
                out.u8(0);
                Cell::encode_list(cells, out);
            }
            Self::Found { records, wants } => {
                out.u8(1);
                out.list(records);
                out.list(wants);
            }
        }
    }
}

impl Decode for Located {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Cells(Cell::decode_list(input, limits::MAX_CELLS)?)),
            1 => Ok(Self::Found {
                records: input.list(limits::MAX_RECORDS_PER_FRAME, "the records of a handshake")?,
                wants: input.list(Sketch::HEAD, "the wishes of a handshake")?,
            }),
            tag => Err(DecodeError::UnknownTag { what: "kind of cells", found: u64::from(tag) }),
        }
    }
}
