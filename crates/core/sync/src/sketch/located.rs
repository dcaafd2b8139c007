//! What a responder's sketch says of a difference.

use super::{Cell, Difference, Names, Sketch, cells_wanted, decode, plan};
use crate::handshake::SyncHandshake;
use crate::message::WireRecord;
use crate::transaction::Transaction;
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_types::{Decode, DecodeError, Encode, Reader, Writer, limits};

/// What the answer to a handshake says of the difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Located {
    /// The first cells of the responder, enough for what the difference seems to be. None if filters are
    /// what that should be asked for with.
    Cells(Vec<Cell>),
    /// Some cells of the responder that hold about one differing record each.
    Sample {
        /// The place of the first.
        from: u32,
        /// The cells.
        cells: Vec<Cell>,
    },
    /// The handshake's own cells told the difference.
    Found {
        /// Records that the initiator lacks, parents before children, up to a page.
        records: Vec<WireRecord>,
        /// Records that the responder lacks.
        wants: Names,
    },
}

/// What the sketches of both sides say, as the responder sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sight {
    /// About how many records differ.
    pub difference: u64,
    /// Exactly which, if the cells of the handshake told.
    pub found: Option<Difference>,
    /// How many records the initiator says it has.
    their_records: u64,
}

/// Cells of a sample: about a dozen of them tell a record.
pub(crate) const SAMPLE: usize = 32;
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
        let their_records = theirs.entity_count;
        let difference = sketch.estimate(head, their_records.saturating_add(1));
        if difference > HOPELESS {
            return Ok(Some(Self { difference, found: None, their_records }));
        }
        let ours = work.cells(0, Sketch::HEAD)?;
        let found = decode(work.sketch_key(), &ours, &head.cells, &mut work.state)?;
        let exact = found.as_ref().map(|found| (found.ours.len() + found.theirs.len()) as u64);
        Ok(Some(Self { difference: exact.unwrap_or(difference), found, their_records }))
    }

    /// What to answer.
    pub(crate) fn located<V: ReadView>(self, work: &mut Transaction<V>) -> Result<Located, StorageError> {
        if let Some(found) = self.found {
            // Of an entity that both have, but not the same record of, ours goes, and theirs comes back.
            let ours = Names::of(found.ours.iter().map(|id| id.prefix()));
            let theirs = found.theirs.iter().map(|symbol| symbol.beginning());
            let wants = Names::of(theirs.filter(|name| !ours.contains(*name)));
            let (records, complete) = WireRecord::page(found.ours, &mut work.state)?;
            // What does not fit a page is asked for page by page.
            if complete {
                return Ok(Located::Found { records, wants });
            }
        }
        // More than are kept must be asked for: a handshake costs no look at the whole state.
        let records = [work.state.stats()?.records, self.their_records];
        let wanted = match plan(records, self.difference) {
            Some(_) => 0,
            None => cells_wanted(self.difference),
        };
        let count = usize::try_from(wanted).unwrap_or(usize::MAX);
        Ok(Located::Cells(work.sketch()?.first(count).to_vec()))
    }

    /// Some of the differing records, wherever in the row there is about one to a cell.
    pub(crate) fn sample<V: ReadView>(&self, work: &mut Transaction<V>) -> Result<Located, StorageError> {
        let sketch = work.sketch()?;
        let last = sketch.first(usize::MAX).len().saturating_sub(SAMPLE);
        let from = usize::try_from(self.difference.saturating_mul(2)).unwrap_or(last).min(last);
        let cells = sketch.cells(from, SAMPLE).unwrap_or_default().to_vec();
        Ok(Located::Sample { from: from as u32, cells })
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
                wants.encode(out);
            }
            Self::Sample { from, cells } => {
                out.u8(2);
                out.u32_le(*from);
                Cell::encode_list(cells, out);
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
                wants: Names::decode_up_to(input, Sketch::HEAD)?,
            }),
            2 => Ok(Self::Sample { from: input.u32_le()?, cells: Cell::decode_list(input, SAMPLE)? }),
            tag => Err(DecodeError::UnknownTag { what: "kind of cells", found: u64::from(tag) }),
        }
    }
}
