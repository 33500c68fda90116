//! The keys of functions in a cache.

use cranelift_codegen::ir;
use cranelift_codegen::isa::TargetIsa;
use gc_types::Abi;
use sha2::{Digest as _, Sha256};
use std::hash::{Hash as _, Hasher};

/// The version of the entries. Increment it when an entry is read differently, or when the same
/// CLIF is compiled differently, within one version of this crate.
const FORMAT: u32 = 5;

/// What is the same for all functions of a compiler for `abi`.
pub(super) fn prefix(abi: &Abi) -> String {
    format!(
        "reclaim function {FORMAT}, gc-compiler {}, Cranelift {}, ABI {}",
        env!("CARGO_PKG_VERSION"),
        cranelift_codegen::VERSION,
        abi.fingerprint()
    )
}

/// The key of `func`.
///
/// The stencil of a function is all of it, without the names of its callees and the absolute source
/// locations. An entry has neither.
pub(super) fn of(prefix: &str, isa: &dyn TargetIsa, func: &ir::Function) -> [u8; 32] {
    let mut hasher = Sha256Hasher { sha: Sha256::new(), buffer: Vec::with_capacity(BUFFER) };
    prefix.hash(&mut hasher);
    isa.name().hash(&mut hasher);
    isa.triple().hash(&mut hasher);
    isa.flags().hash(&mut hasher);
    isa.isa_flags_hash_key().hash(&mut hasher);
    func.stencil.hash(&mut hasher);
    hasher.flush();
    hasher.sha.finalize().into()
}

/// The number of bytes that are hashed at once. Most writes have few bytes.
const BUFFER: usize = 4096;

struct Sha256Hasher {
    sha: Sha256,
    buffer: Vec<u8>,
}

impl Sha256Hasher {
    fn flush(&mut self) {
        self.sha.update(&self.buffer);
        self.buffer.clear();
    }
}

impl Hasher for Sha256Hasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush();
        }
        if bytes.len() > BUFFER {
            self.sha.update(bytes);
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }

    fn finish(&self) -> u64 {
        unreachable!("the hash has 256 bits")
    }
}
