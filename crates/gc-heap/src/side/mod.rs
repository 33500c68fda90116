//! Native tables beside a heap, which emitted code writes: cards, logs, lists.
//!
//! A collector declares its tables in its ABI ([`SideTable`]), and makes a value for each when
//! it makes a heap. There is a type for each form: [`IndexedTable`], [`MaskedTable`], [`ListTable`], and
//! [`NotesTable`] for the objects that emitted code allocates. The value owns the table's memory, and the words
//! of the heap data with which emitted code finds it. No one else writes these words, and a heap that is
//! [reset](crate::HeapMemory::reset) keeps them. If the value is dropped, words and table stay as long as the
//! heap's [mapping](crate::HeapMapping), because code may still run. So a table is always where emitted code looks
//! for it. A table that the collector's ABI does not have is refused when it is made, and so is a heap that lacks
//! one.

mod indexed;
mod list;
mod masked;
mod notes;

pub use indexed::IndexedTable;
pub use list::ListTable;
pub use masked::MaskedTable;
pub use notes::NotesTable;

use gc_types::SideTable;

/// The address of a table, for emitted code.
fn address<T>(table: *const T) -> u64 {
    table.expose_provenance() as u64
}

/// A table was declared in one form, and made in another one.
#[cold]
fn other_form(table: SideTable) -> ! {
    panic!("the table `{}` has another form: {table}", table.name())
}
