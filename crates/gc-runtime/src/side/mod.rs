//! Native tables beside a heap, which emitted code writes: cards, logs, lists.
//!
//! A collector declares its tables in its ABI ([`SideTable`](gc_types::SideTable)), and makes a value for each when
//! it makes a heap. There is a type for each form: [`IndexedTable`], [`MaskedTable`], [`ListTable`], and
//! [`NotesTable`] for the objects that emitted code allocates. The value owns the table's memory, and the words
//! of the heap data with which emitted code finds it. No one else writes these words, a heap that is
//! [reset](crate::HeapMemory::reset) keeps them, and they are zero when the value is dropped.
//! So a table is where emitted code looks for it as long as the code can run. A heap that lacks a table
//! of its collector's ABI is refused when it is made.

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
