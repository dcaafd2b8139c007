//! What stands for a record in a sketch, and where it goes.

use syncline_types::{ContextId, Decode, DecodeError, Digest, Encode, EntityId, Reader, Writer};

/// A record in short: the beginning of its entity's id, by which it can be found again, and sixteen bits of
/// a keyed hash of its digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Symbol(u64);

/// A cell of seven bytes: the exclusive or of the symbols in it, in its low 44 bits, and of their checks
/// above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell(pub(super) u64);

/// What keys a context's sketches: who does not know the context cannot choose records that collide.
/// Who does, can; that costs a walk, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SketchKey(u64);

/// Bits of the hash in a symbol.
const HASH: u32 = 16;
const SYMBOL: u64 = (1 << (EntityId::PREFIX_BITS + HASH)) - 1;
const CELL: u64 = (1 << (8 * Cell::BYTES)) - 1;

impl Symbol {
    /// That of the entity's id.
    pub const fn beginning(self) -> u32 {
        (self.0 >> HASH) as u32
    }

    /// All of it.
    pub(super) const fn bits(self) -> u64 {
        self.0
    }
}

impl SketchKey {
    /// The key of a context.
    pub fn of(context: ContextId) -> Self {
        Self(Digest::of(12, context.as_bytes()).short())
    }

    /// The symbol of an entity's record.
    pub fn symbol(self, id: EntityId, own: Digest) -> Symbol {
        Symbol((u64::from(id.prefix()) << HASH) | (mix(own.short() ^ self.0) >> (u64::BITS - HASH)))
    }

    /// What a symbol adds to each of its cells.
    pub(super) const fn cell(self, symbol: Symbol) -> Cell {
        Cell(symbol.0 | (mix(self.seed(symbol)) & (CELL & !SYMBOL)))
    }

    /// What a symbol's places are drawn from.
    pub(super) const fn seed(self, symbol: Symbol) -> u64 {
        mix(symbol.0 ^ self.0.rotate_left(32))
    }

    /// The places of the cells that a symbol is in, ascending, without end.
    pub(super) const fn places(self, symbol: Symbol) -> Places {
        Places { at: Some(0), state: self.seed(symbol) }
    }

    /// The only symbol in a cell, if there is but one. About one in 2^12 of other cells seems to hold one.
    pub(super) const fn only(self, cell: Cell) -> Option<Symbol> {
        let symbol = Symbol(cell.0 & SYMBOL);
        if self.cell(symbol).0 == cell.0 { Some(symbol) } else { None }
    }
}

/// See [`SketchKey::places`]. Cell `i` is one of a symbol's places with probability `1 / (1 + i / 2)`:
/// the distance to the next is drawn as the paper has it, in integers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    at: Option<u64>,
    state: u64,
}

impl Iterator for Places {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let at = self.at?;
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        // 2^16 / root is one over the square root of a number drawn between zero and one. A square root of 32
        // bits is exact to 53, and the same wherever IEEE 754 holds.
        let root = f64::from((mix(self.state) >> 32) as u32).sqrt() as u64 + 1;
        let gap = ((2 * at + 3) * ((1 << 16) + 1 - root)).div_ceil(2 * root).max(1);
        self.at = Some(at + gap).filter(|at| *at < 1 << 32);
        Some(at as usize)
    }
}

impl Cell {
    /// A cell with nothing in it.
    pub const EMPTY: Self = Self(0);
    /// How many bytes one takes on the wire.
    pub const BYTES: usize = 7;

    /// The exclusive or of both.
    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn encode_list(cells: &[Self], out: &mut Writer) {
        out.varint(cells.len() as u64);
        for cell in cells {
            out.raw(cell.0.to_le_bytes().split_at(Self::BYTES).0);
        }
    }

    pub(crate) fn decode_list(input: &mut Reader<'_>, limit: usize) -> Result<Vec<Self>, DecodeError> {
        let len = input.length(limit, "the cells of a sketch")?;
        let cell = |[a, b, c, d, e, f, g]: [u8; Self::BYTES]| u64::from_le_bytes([a, b, c, d, e, f, g, 0]);
        (0..len).map(|_| input.array().map(cell).map(Self)).collect()
    }
}

impl Encode for Symbol {
    fn encode(&self, out: &mut Writer) {
        out.raw(self.0.to_le_bytes().split_at(6).0);
    }
}

impl Decode for Symbol {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let [a, b, c, d, e, f] = input.array()?;
        let bits = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        if bits > SYMBOL {
            return Err(DecodeError::NotCanonical { what: "a record in short" });
        }
        Ok(Self(bits))
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood, 2014): every input bit reaches every output bit.
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
