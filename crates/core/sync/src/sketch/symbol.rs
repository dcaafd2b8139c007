//! Symbols and cells: how a record is represented in a sketch, and which cells it is in.

use syncline_types::{ContextId, Decode, DecodeError, Digest, Encode, EntityId, Reader, ShortIdKey, Writer};

/// The symbol of a record: the [short id](ShortIdKey) of its entity (28 bits), by which the record can be found
/// again, and sixteen bits of a keyed hash of its digest. Both are hashes, so that symbols are distributed alike
/// whatever ids have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Symbol(u64);

/// A coded symbol of seven bytes: the exclusive or of the symbols in it, in the low 44 bits, and of their
/// check bits, in the high twelve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell(pub(super) u64);

/// The key of a context's sketches. Crafting records whose symbols collide requires knowledge of the context.
/// A member has it; the cost of such records is a walk instead of a decoded sketch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SketchKey {
    hash: u64,
    short_ids: ShortIdKey,
}

/// Bits of the record's hash in a symbol.
const HASH_BITS: u32 = 16;
const SYMBOL_MASK: u64 = (1 << (ShortIdKey::BITS + HASH_BITS)) - 1;
const CELL_MASK: u64 = (1 << (8 * Cell::BYTES)) - 1;

impl Symbol {
    /// The short id of the entity.
    pub const fn short_id(self) -> u32 {
        (self.0 >> HASH_BITS) as u32
    }

    /// All bits of the symbol.
    pub(super) const fn bits(self) -> u64 {
        self.0
    }
}

impl SketchKey {
    /// The key of a context.
    pub fn of(context: ContextId) -> Self {
        Self { hash: Digest::of(12, context.as_bytes()).short(), short_ids: ShortIdKey::of(context) }
    }

    /// The same key with the short ids of a state.
    pub const fn with_short_ids(self, short_ids: ShortIdKey) -> Self {
        Self { short_ids, ..self }
    }

    /// The short id of an entity.
    pub fn short_id(self, id: EntityId) -> u32 {
        self.short_ids.short_id(id)
    }

    /// The symbol of an entity's record with digest `own`.
    pub fn symbol(self, id: EntityId, own: Digest) -> Symbol {
        let hash = mix(own.short() ^ self.hash) >> (u64::BITS - HASH_BITS);
        let symbol = Symbol((u64::from(self.short_id(id)) << HASH_BITS) | hash);
        debug_assert!(symbol.0 <= SYMBOL_MASK, "a symbol has 44 bits");
        symbol
    }

    /// The cell that contains this symbol only: the symbol with its check bits.
    pub(super) const fn cell(self, symbol: Symbol) -> Cell {
        Cell(symbol.0 | (mix(self.seed(symbol)) & (CELL_MASK & !SYMBOL_MASK)))
    }

    /// The seed of the random sequence of a symbol's places.
    pub(super) const fn seed(self, symbol: Symbol) -> u64 {
        mix(symbol.0 ^ self.hash.rotate_left(32))
    }

    /// The indices of the cells that a symbol is in: ascending, without end.
    pub(super) const fn places(self, symbol: Symbol) -> Places {
        Places { at: Some(0), state: self.seed(symbol) }
    }

    /// The symbol of a pure cell. The false-positive rate for cells with several symbols is 2^-12.
    pub(super) const fn pure_symbol(self, cell: Cell) -> Option<Symbol> {
        let symbol = Symbol(cell.0 & SYMBOL_MASK);
        if self.cell(symbol).0 == cell.0 { Some(symbol) } else { None }
    }
}

/// The iterator of [`SketchKey::places`]. A symbol is in cell `i` with probability `ρ(i) = 1 / (1 + i / 2)`,
/// so in the first cell for certain, and in about `2 ln m` of the first `m` cells. This is the mapping of
/// Yang et al. (SIGCOMM 2024) with α = 1/2. As there, the gap to the next place is drawn by
/// inverse transform sampling, `(i + 3/2) (1 / √u - 1)` for a uniform `u`, so that the cells between two
/// places cost nothing.
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
        // `root` is 2^16 √u for a uniform `u` of 32 bits. Both sides must compute the same places. The square
        // root is the only operation on floats: IEEE 754 requires it to be correctly rounded, and 32 bits fit
        // the mantissa, so its result is the same on every machine. The rest is integer arithmetic.
        let root = f64::from((mix(self.state) >> 32) as u32).sqrt() as u64 + 1;
        let gap = ((2 * at + 3) * ((1 << 16) + 1 - root)).div_ceil(2 * root).max(1);
        debug_assert!(gap >= 1 && root <= 1 << 16, "places ascend");
        // Indices end at 2^32, so that the product above cannot overflow 64 bits.
        self.at = Some(at + gap).filter(|at| *at < 1 << 32);
        Some(at as usize)
    }
}

impl Cell {
    /// The cell without symbols.
    pub const EMPTY: Self = Self(0);
    /// The length of a cell on the wire, in bytes.
    pub const BYTES: usize = 7;

    /// The exclusive or of both cells: their symbols, except those that are in both.
    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn encode_list(cells: &[Self], out: &mut Writer) {
        out.varint(cells.len() as u64);
        for cell in cells {
            debug_assert!(cell.0 <= CELL_MASK, "a cell has 56 bits");
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
        if bits > SYMBOL_MASK {
            return Err(DecodeError::NotCanonical { what: "a symbol" });
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
