//! The reasons why compiled code stops: trap codes that emitted code contains and the driver
//! reports. Where WebAssembly's specification suite has a text for a trap, the text here is the
//! same, because users know it from other engines. `Display` begins with "wasm trap: ", as Wasmtime's
//! does, because programs look for it.

use std::fmt;

macro_rules! traps {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// The reason why compiled code stopped.
        ///
        /// # Examples
        /// ```
        /// use gc_types::Trap;
        ///
        /// let trap = Trap::NullReference;
        /// assert_eq!(trap.reason(), "null reference");
        /// assert_eq!(trap.to_string(), "wasm trap: null reference");
        /// assert_eq!(Trap::from_code(trap.code()), Some(trap));
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Trap {
            $($(#[$doc])* $name = $code,)*
        }

        impl Trap {
            /// Every trap.
            pub const ALL: &'static [Trap] = &[$(Trap::$name,)*];

            /// The trap with this code, if there is one.
            pub const fn from_code(code: u8) -> Option<Trap> {
                match code {
                    $($code => Some(Trap::$name),)*
                    _ => None,
                }
            }

            /// The reason in words, without what [`Display`](fmt::Display) puts in front of it.
            pub const fn reason(self) -> &'static str {
                match self { $(Trap::$name => $text,)* }
            }
        }
    };
}

traps! {
    /// The stack's limit was reached.
    StackOverflow = 1, "call stack exhausted";
    /// A linear memory access outside its bounds.
    MemoryOutOfBounds = 2, "out of bounds memory access";
    /// A table access or an indirect call through an index outside the table.
    TableOutOfBounds = 3, "undefined element: out of bounds table access";
    /// An indirect call through a null table element.
    IndirectCallToNull = 5, "uninitialized element";
    /// An indirect call whose callee has another type.
    BadSignature = 6, "indirect call type mismatch";
    /// Integer overflow, for example of `i32::MIN / -1`.
    IntegerOverflow = 7, "integer overflow";
    /// Division by zero.
    IntegerDivisionByZero = 8, "integer divide by zero";
    /// A float that is NaN converted to an integer.
    BadConversionToInteger = 9, "invalid conversion to integer";
    /// `unreachable` was executed.
    UnreachableCodeReached = 10, "wasm `unreachable` instruction executed";
    /// A null reference was used where an object is needed.
    NullReference = 11, "null reference";
    /// An array access outside its bounds.
    ArrayOutOfBounds = 12, "out of bounds array access";
    /// An array or struct larger than any heap allows.
    AllocationTooLarge = 13, "allocation size too large";
    /// A reference that is not of the target type of a cast.
    CastFailure = 14, "cast failure";
    /// A reference that points outside the heap or to invalid data. The heap's bytes were damaged.
    CorruptHeap = 15, "corrupt GC heap";
    /// The heap reached its limit and a collection did not free enough.
    OutOfMemory = 16, "GC heap out of memory";
    /// A function reference read from the heap is not one of the expected type.
    BadFuncRef = 17, "corrupt function reference in the GC heap";
    /// The host interrupted the code.
    Interrupt = 18, "interrupt";
    /// The fuel that the host gave was used up.
    OutOfFuel = 19, "all fuel consumed by WebAssembly";
}

impl Trap {
    /// The trap's code in emitted code. It is never zero.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wasm trap: {}", self.reason())
    }
}

impl std::error::Error for Trap {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for trap in Trap::ALL {
            assert_eq!(Trap::from_code(trap.code()), Some(*trap));
            assert!(!trap.reason().is_empty());
            assert_eq!(trap.to_string(), format!("wasm trap: {}", trap.reason()));
        }
        assert_eq!(Trap::from_code(0), None);
    }
}
