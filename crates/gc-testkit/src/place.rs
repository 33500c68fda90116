//! [`RootSlot`]: where a mutator keeps a reference.

use arbitrary::{Arbitrary, Unstructured};

/// Slots of each kind.
pub const SLOTS: usize = 16;

/// A place where a mutator can keep a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RootSlot {
    /// A slot of a compiled function's frame.
    Stack(u8),
    /// An element of a table.
    Table(u8),
    /// A global.
    Global(u8),
    /// A handle of the host.
    Handle(u8),
}

impl RootSlot {
    /// The place for `byte`; every byte has one. Three of four bytes give one of the first four
    /// places of a kind, so that operations use each other's results.
    pub const fn from_byte(byte: u8) -> RootSlot {
        let number = if byte & 0x30 == 0 { byte % SLOTS as u8 } else { byte % 4 };
        match byte >> 6 {
            0 => RootSlot::Stack(number),
            1 => RootSlot::Table(number),
            2 => RootSlot::Global(number),
            _ => RootSlot::Handle(number),
        }
    }

    /// Every place.
    pub fn all() -> impl Iterator<Item = RootSlot> + Clone {
        let kinds = [RootSlot::Stack, RootSlot::Table, RootSlot::Global, RootSlot::Handle];
        kinds.into_iter().flat_map(|kind| (0..SLOTS as u8).map(kind))
    }

    /// All places, beginning with this one and wrapping around.
    pub fn onwards(self) -> impl Iterator<Item = RootSlot> {
        RootSlot::all().cycle().skip(self.number()).take(4 * SLOTS)
    }

    /// Its number among all places.
    pub fn number(self) -> usize {
        match self {
            RootSlot::Stack(number) => usize::from(number) % SLOTS,
            RootSlot::Table(number) => SLOTS + usize::from(number) % SLOTS,
            RootSlot::Global(number) => 2 * SLOTS + usize::from(number) % SLOTS,
            RootSlot::Handle(number) => 3 * SLOTS + usize::from(number) % SLOTS,
        }
    }
}

impl<'a> Arbitrary<'a> for RootSlot {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<RootSlot> {
        Ok(RootSlot::from_byte(u.arbitrary()?))
    }

    fn size_hint(_depth: usize) -> (usize, Option<usize>) {
        (1, Some(1))
    }
}
