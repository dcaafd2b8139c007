//! The difference that a responder reads from the sketches of both sides.

use super::{Cell, SetDifference, ShortIds, Sketch, cells_to_request, decode, plan_filters};
use crate::messages::{SyncHandshake, WireRecord};
use crate::transaction::Transaction;
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_types::{Decode, DecodeError, Encode, Probe, Reader, Writer, limits};

/// The part of a handshake's answer that shows the difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LocatedDifference {
    /// The first cells of the responder, as many as the estimated difference needs. Empty if the
    /// initiator should ask with a filter instead.
    Cells(Vec<Cell>),
    /// A range of the responder's cells that contain about one differing record each.
    Sample {
        /// The index of the first cell.
        from: u32,
        /// The cells of the range.
        cells: Vec<Cell>,
    },
    /// The cells of the handshake have decoded.
    Found {
        /// Records that the initiator lacks, parents before children, up to a page.
        records: Vec<WireRecord>,
        /// Short ids of the records that the responder lacks.
        wants: ShortIds,
    },
}

/// The comparison of both sketches, as the responder makes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SketchComparison {
    /// The number of records that differ: exact if the cells have decoded, otherwise an estimate.
    pub difference: u64,
    /// The difference, if the cells of the handshake have decoded.
    pub found: Option<SetDifference>,
    /// How many records the initiator claims to have.
    their_records: u64,
}

/// The number of cells in a sample. About a dozen of them are pure.
const SAMPLE: usize = 32;
/// The cells of a handshake cannot decode an estimated difference above this, so decoding is not tried.
const MAX_DECODABLE: u64 = 4 * Sketch::HEAD as u64;

impl SketchComparison {
    /// Compares the sketch in `theirs` with the sketch of our state. `None` if `theirs` has no sketch.
    pub(crate) fn of<V: ReadView>(
        theirs: &SyncHandshake,
        work: &mut Transaction<V>,
    ) -> Result<Option<Self>, StorageError> {
        let Some(head) = &theirs.sketch else { return Ok(None) };
        let sketch = work.sketch()?;
        // A sketch includes the record of the root; the number of entities does not.
        let their_records = theirs.entity_count;
        let difference = sketch.estimate(head, their_records.saturating_add(1));
        if difference > MAX_DECODABLE {
            return Ok(Some(Self { difference, found: None, their_records }));
        }
        let ours = work.cells(0, Sketch::HEAD)?;
        let found = decode(work.sketch_key(), &ours, &head.cells, &mut work.state)?;
        let exact = found.as_ref().map(|found| (found.ours.len() + found.theirs.len()) as u64);
        Ok(Some(Self { difference: exact.unwrap_or(difference), found, their_records }))
    }

    /// The answer for a protocol that needs the whole difference.
    pub(crate) fn located<V: ReadView>(
        self,
        work: &mut Transaction<V>,
    ) -> Result<LocatedDifference, StorageError> {
        if let Some(found) = self.found {
            // Where both sides have a record with the same short id, ours is sent. The initiator pushes its
            // own back if it contains more.
            let key = work.sketch_key();
            let ours = ShortIds::of(found.ours.iter().map(|id| key.short_id(*id)));
            let theirs = found.theirs.iter().map(|symbol| symbol.short_id());
            let wants = ShortIds::of(theirs.filter(|short_id| !ours.contains(*short_id)));
            let (records, complete) = WireRecord::page(found.ours, &mut work.state, &work.limits)?;
            // Records that do not fit a page are requested page by page, from the cells below.
            if complete {
                return Ok(LocatedDifference::Found { records, wants });
            }
            work.note(Probe::LocatedCut);
        }
        // Only stored cells are sent: the answer to a handshake must not cost a scan of the state. The
        // initiator asks for more cells in a round of its own.
        let records = [work.state.stats()?.records, self.their_records];
        let wanted = match plan_filters(records, self.difference) {
            Some(_) => 0,
            None => cells_to_request(self.difference),
        };
        let count = usize::try_from(wanted).unwrap_or(usize::MAX);
        Ok(LocatedDifference::Cells(work.sketch()?.first(count).to_vec()))
    }

    /// The answer for a protocol that needs a sample of the difference: the cells from index `2 d` on, which
    /// contain about one of the `d` differing records each.
    pub(crate) fn sample<V: ReadView>(
        &self,
        work: &mut Transaction<V>,
    ) -> Result<LocatedDifference, StorageError> {
        let sketch = work.sketch()?;
        let last = sketch.first(usize::MAX).len().saturating_sub(SAMPLE);
        let from = usize::try_from(self.difference.saturating_mul(2)).unwrap_or(last).min(last);
        let cells = sketch.cells(from, SAMPLE).unwrap_or_default().to_vec();
        Ok(LocatedDifference::Sample { from: from as u32, cells })
    }
}

impl Encode for LocatedDifference {
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

impl Decode for LocatedDifference {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Cells(Cell::decode_list(input, limits::MAX_CELLS)?)),
            1 => Ok(Self::Found {
                records: input.list(limits::MAX_RECORDS_PER_FRAME, "the records of a handshake")?,
                wants: ShortIds::decode_up_to(input, Sketch::HEAD)?,
            }),
            2 => Ok(Self::Sample { from: input.u32_le()?, cells: Cell::decode_list(input, SAMPLE)? }),
            tag => Err(DecodeError::UnknownTag { what: "kind of cells", found: u64::from(tag) }),
        }
    }
}
