//! The context of emitted code: offsets into the native structures that the driver fills and
//! compiled code reads.
//!
//! There are three structures. A *vmctx* is the first parameter of every compiled function. Its
//! first words, the prefix, are the same for every embedder. The rest belongs to the embedder. The
//! vmctxs of one store share one *store context*. A *function reference* is a callable: code, the
//! vmctx to pass, and its type. Only the host writes native pointers in these structures.
//!
//! Offsets depend only on the size of a pointer, so code can be compiled for another machine than
//! the compiler's.

/// The offsets in bytes for one pointer size.
///
/// # Examples
/// ```
/// use gc_types::VMOffsets;
///
/// let offsets = VMOffsets::new(8);
/// assert_eq!(offsets.vmctx_heap_base(), 0);
/// assert_eq!(offsets.vmctx_store_context(), 16);
/// // The embedder's part of a vmctx begins here.
/// assert_eq!(offsets.vmctx_prefix_size(), 48);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VMOffsets {
    pointer_size: u8,
}

macro_rules! pointer_fields {
    ($($(#[$doc:meta])* $name:ident = $slot:literal;)*) => {
        impl VMOffsets {
            $($(#[$doc])* pub const fn $name(&self) -> u32 {
                $slot * self.pointer_size as u32
            })*

            /// All offsets with their names.
            pub(crate) fn entries(&self) -> impl Iterator<Item = (&'static str, u32)> {
                let sizes = [
                    ("pointer_size", u32::from(self.pointer_size)),
                    ("vmctx_prefix_size", self.vmctx_prefix_size()),
                    ("func_ref_type", self.func_ref_type()),
                    ("func_ref_id", self.func_ref_id()),
                    ("func_ref_size", self.func_ref_size()),
                    ("display_types", VMOffsets::DISPLAY_TYPES),
                    ("display_row", VMOffsets::DISPLAY_ROW),
                    ("poll_page_size", VMOffsets::POLL_PAGE_SIZE),
                ];
                [$((stringify!($name), self.$name()),)*].into_iter().chain(sizes)
            }
        }
    };
}

pointer_fields! {
    /// vmctx: the heap's base address (pointer). Constant as long as the store lives.
    vmctx_heap_base = 0;
    /// vmctx: the collector's [heap data](crate::HeapDataOffsets) (pointer). Constant.
    vmctx_heap_data = 1;
    /// vmctx: the store context (pointer). Constant.
    vmctx_store_context = 2;
    /// vmctx: the number by which the embedder identifies it (pointer-sized integer). Constant.
    vmctx_number = 3;
    /// vmctx: the [poll page](VMOffsets::POLL_PAGE_SIZE) (pointer), which code reads in each loop
    /// if [loops are polled](crate::Abi::polls). Constant.
    vmctx_poll_page = 4;

    /// Store context: the lowest stack pointer that compiled code may have (address).
    store_stack_limit = 0;
    /// Store context: the frame pointer of the trampoline by which compiled code last called the
    /// host (address). Its saved return address is in the compiled caller.
    store_last_exit_fp = 1;
    /// Store context: the innermost activation (pointer).
    store_activation = 2;
    /// Store context: table of host function pointers by [`HostCall`](crate::HostCall) index (pointer).
    store_host_calls = 3;
    /// Store context: the 64-bit result of trampolines that must not use result registers.
    store_host_result = 4;
    /// Store context: the type display table (pointer); see [`VMOffsets::DISPLAY_ROW`].
    store_type_displays = 5;
    /// Store context: table of pointers to function references by id (pointer).
    store_func_refs = 6;
    /// Store context: number of ids in that table (pointer-sized integer).
    store_func_refs_len = 7;
    /// Store context: the fuel that is left, as a negative 64-bit number, if
    /// [code consumes fuel](crate::Abi::fuel). Code adds what it consumes. A number that is not
    /// negative means that there is no more.
    store_fuel = 8;
    /// Store context: the epoch (64 bits) from which on code calls the host, if
    /// [code checks epochs](crate::Abi::epochs).
    store_epoch_deadline = 9;
    /// Store context: the counter of epochs (pointer to 64 bits). Constant while code runs.
    store_epoch_counter = 10;

    /// Function reference: the code's address (`CallConv::Tail`).
    func_ref_code = 0;
    /// Function reference: the vmctx to pass (pointer).
    func_ref_vmctx = 1;

    /// Activation: the previous activation, below it on the stack (pointer).
    activation_previous = 0;
    /// Activation: the entry trampoline's frame pointer, which the trampoline writes (address).
    activation_entry_fp = 1;
}

impl VMOffsets {
    /// Number of rows of a display table, one for each type. Emitted code masks indices with this
    /// number minus one.
    pub const DISPLAY_TYPES: u32 = 1 << 20;

    /// Number of u32 words in a display row. Word `d` in the row of type `t` is the index plus one
    /// of the ancestor of `t` at depth `d` (0 is the root of the hierarchy), and zero beyond the
    /// depth of `t`. For deeper types the code calls
    /// [`HostCall::IS_SUBTYPE`](crate::HostCall::IS_SUBTYPE). Displays: Cohen, "Type-Extension Type
    /// Tests Can Be Performed In Constant Time", 1991.
    pub const DISPLAY_ROW: u32 = 8;

    /// The size of the poll page in bytes, a multiple of the size of the system's pages. Each loop
    /// of a function reads another byte of it. The host makes the page inaccessible to interrupt the
    /// code. (HotSpot's polls of safepoints work in this way.)
    pub const POLL_PAGE_SIZE: u32 = 1 << 16;

    /// The size of a display table in bytes. All of it must be readable.
    pub const DISPLAY_TABLE_SIZE: u32 = VMOffsets::DISPLAY_TYPES * VMOffsets::DISPLAY_ROW * 4;

    /// Offsets for pointers of `pointer_size` bytes.
    ///
    /// # Panics
    /// Unless `pointer_size` is 4 or 8.
    pub const fn new(pointer_size: u8) -> VMOffsets {
        assert!(pointer_size == 4 || pointer_size == 8);
        VMOffsets { pointer_size }
    }

    /// Offsets for the machine for which this crate was compiled.
    pub const HOST: VMOffsets = VMOffsets::new(size_of::<usize>() as u8);

    /// The size of a pointer in bytes.
    pub const fn pointer_size(&self) -> u8 {
        self.pointer_size
    }

    /// vmctx: the size of the prefix in bytes. The embedder's own part begins here, aligned to 16
    /// bytes.
    pub const fn vmctx_prefix_size(&self) -> u32 {
        (5 * self.pointer_size as u32).next_multiple_of(16)
    }

    /// Function reference: its type's index in the engine (u32).
    pub const fn func_ref_type(&self) -> u32 {
        2 * self.pointer_size as u32
    }

    /// Function reference: its id in the store's table (u32). Never zero.
    pub const fn func_ref_id(&self) -> u32 {
        2 * self.pointer_size as u32 + 4
    }

    /// The size of a function reference in bytes.
    pub const fn func_ref_size(&self) -> u32 {
        2 * self.pointer_size as u32 + 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_scale_with_the_pointer() {
        let (p4, p8) = (VMOffsets::new(4), VMOffsets::new(8));
        assert_eq!((p4.vmctx_heap_data(), p8.vmctx_heap_data()), (4, 8));
        assert_eq!((p4.vmctx_prefix_size(), p8.vmctx_prefix_size()), (32, 48));
        assert_eq!(p8.func_ref_id(), 20);
    }
}
