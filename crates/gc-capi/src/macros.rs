//! How a function becomes one of the C interface: with its name in the library, and with errors that
//! are recorded instead of panics that leave it.

/// Defines functions of the C interface. A body is a `Result`. See [`entry`](crate::error::entry).
macro_rules! exports {
    ($($(#[$attribute:meta])*
       fn $name:ident($($argument:ident: $ty:ty),* $(,)?) $(-> $result:ty)? $body:block)*) => {$(
        $(#[$attribute])*
        // SAFETY: no other function of the process has a name that begins so.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($argument: $ty),*) $(-> $result)? {
            $crate::error::entry(stringify!($name), move || $body)
        }
    )*};
}

pub(crate) use exports;
