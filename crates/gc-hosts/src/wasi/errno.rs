//! Error numbers of WASI preview 1, and their origins.

use rustix::io::Errno as Os;
use std::io;

macro_rules! errnos {
    ($($name:ident = $number:literal $(<- $os:ident)?,)*) => {
        /// An error number, by its name in WASI.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub(super) enum Errno {
            $($name = $number,)*
        }

        impl Errno {
            /// The number for an error number of the system.
            fn from_os(error: Os) -> Errno {
                match error {
                    $($(Os::$os => Errno::$name,)?)*
                    _ => Errno::Io,
                }
            }
        }
    };
}

errnos! {
    TooBig = 1 <- TOOBIG,
    Acces = 2 <- ACCESS,
    Again = 6 <- AGAIN,
    Badf = 8 <- BADF,
    Busy = 10 <- BUSY,
    Canceled = 11 <- CANCELED,
    Deadlk = 16 <- DEADLK,
    Dquot = 19 <- DQUOT,
    Exist = 20 <- EXIST,
    Fault = 21 <- FAULT,
    Fbig = 22 <- FBIG,
    Ilseq = 25 <- ILSEQ,
    Intr = 27 <- INTR,
    Inval = 28 <- INVAL,
    Io = 29,
    Isdir = 31 <- ISDIR,
    Loop = 32 <- LOOP,
    Mfile = 33 <- MFILE,
    Mlink = 34 <- MLINK,
    Nametoolong = 37 <- NAMETOOLONG,
    Nfile = 41 <- NFILE,
    Nodev = 43 <- NODEV,
    Noent = 44 <- NOENT,
    Nomem = 48 <- NOMEM,
    Nospc = 51 <- NOSPC,
    Nosys = 52 <- NOSYS,
    Notdir = 54 <- NOTDIR,
    Notempty = 55 <- NOTEMPTY,
    Notsock = 57 <- NOTSOCK,
    Notsup = 58 <- OPNOTSUPP,
    Notty = 59 <- NOTTY,
    Nxio = 60 <- NXIO,
    Overflow = 61 <- OVERFLOW,
    Perm = 63 <- PERM,
    Pipe = 64 <- PIPE,
    Range = 68 <- RANGE,
    Rofs = 69 <- ROFS,
    Spipe = 70 <- SPIPE,
    Stale = 72 <- STALE,
    Timedout = 73 <- TIMEDOUT,
    Txtbsy = 74 <- TXTBSY,
    Xdev = 75 <- XDEV,
}

impl From<Os> for Errno {
    fn from(error: Os) -> Errno {
        Errno::from_os(error)
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Errno {
        if let Some(os) = Os::from_io_error(&error) {
            return Errno::from_os(os);
        }
        match error.kind() {
            // `cap-std` says so of paths that lead out of their directory.
            io::ErrorKind::PermissionDenied => Errno::Perm,
            io::ErrorKind::NotFound => Errno::Noent,
            io::ErrorKind::AlreadyExists => Errno::Exist,
            io::ErrorKind::InvalidInput => Errno::Inval,
            io::ErrorKind::InvalidData => Errno::Ilseq,
            io::ErrorKind::BrokenPipe => Errno::Pipe,
            io::ErrorKind::WouldBlock => Errno::Again,
            io::ErrorKind::Interrupted => Errno::Intr,
            io::ErrorKind::Unsupported => Errno::Notsup,
            _ => Errno::Io,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_keep_their_meaning() {
        let os = |errno: Os| Errno::from(io::Error::from_raw_os_error(errno.raw_os_error()));
        assert_eq!(os(Os::NOENT), Errno::Noent);
        assert_eq!(os(Os::ACCESS), Errno::Acces);
        assert_eq!(os(Os::NOTSUP), Errno::Notsup);
        assert_eq!(os(Os::NODATA), Errno::Io);
        let escape = io::Error::new(io::ErrorKind::PermissionDenied, "out of the directory");
        assert_eq!(Errno::from(escape), Errno::Perm);
    }
}
