//! The operations of random programs, by name. A program can be restricted to some of them.

use super::program::Op;
use anyhow::Context as _;
use cranelift_codegen::ir::Opcode;
use std::sync::LazyLock;

/// The names of the operations that a program may have, by number. A name that is there several times is
/// more frequent. An operation that is an instruction of Cranelift has its name.
pub(super) const OPS: [&str; 71] = [
    "null",
    "i31",
    "i31_get",
    "move",
    "select",
    "iconst",
    "uextend",
    "sextend",
    "struct_new",
    "struct_new",
    "struct_new",
    "struct_new_default",
    "struct_get",
    "struct_get_wide",
    "struct_get_func",
    "struct_set",
    "struct_set",
    "struct_set_wide",
    "struct_set_func",
    "array_new_default",
    "array_new_fill",
    "array_new_elements",
    "bytes_new",
    "array_len",
    "array_get",
    "array_set",
    "array_get_const",
    "array_set_const",
    "bytes_get",
    "bytes_set",
    "array_fill",
    "array_copy",
    "table_get",
    "table_set",
    "global_get",
    "global_set",
    "func_get",
    "is_null",
    "ref_eq",
    "ref_test",
    "ref_cast",
    "func_test",
    "call",
    "call",
    "call_indirect",
    "host_new",
    "host_quiet",
    "iadd",
    "isub",
    "imul",
    "band",
    "bor",
    "bxor",
    "ishl",
    "ushr",
    "sshr",
    "rotl",
    "sdiv",
    "udiv",
    "urem",
    "smin",
    "umax",
    "icmp",
    "icmp",
    "select",
    "ireduce",
    "iconst",
    "struct_get",
    "array_set",
    "table_set",
    "global_set",
];

/// The names of the ends of blocks, by number.
pub(super) const ENDS: [&str; 16] = [
    "return",
    "jump",
    "jump",
    "jump",
    "jump",
    "jump",
    "br_table",
    "ref_test_branch",
    "ref_test_branch",
    "return_call",
    "trap",
    "brif",
    "brif",
    "brif",
    "brif",
    "brif",
];

/// The variable that restricts the operations of the targets `cranelift-fuzzgen` and `cranelift-icache`.
const VARIABLE: &str = "FUZZGEN_ALLOWED_OPS";

/// The operations of which programs are made.
///
/// ```
/// use gc_testkit::clif::Operations;
///
/// let few = Operations::named("iadd, struct_new, brif")?;
/// assert!(Operations::named("iadd,goto").unwrap_err().to_string().contains("`goto`"));
/// assert!(Operations::named("").is_err());
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operations {
    /// Numbers in [`OPS`].
    pub(super) ops: Vec<usize>,
    /// Numbers in [`ENDS`].
    pub(super) ends: Vec<usize>,
}

impl Operations {
    /// All of them.
    pub fn all() -> Operations {
        Operations { ops: (0..OPS.len()).collect(), ends: (0..ENDS.len()).collect() }
    }

    /// Those in the environment variable `FUZZGEN_ALLOWED_OPS`, a list as for [`named`](Self::named), or
    /// all if it is not set. It is read once.
    ///
    /// # Errors
    /// As for [`named`](Self::named). The error names the variable.
    pub fn allowed() -> anyhow::Result<&'static Operations> {
        static ALLOWED: LazyLock<anyhow::Result<Operations>> =
            LazyLock::new(|| match std::env::var_os(VARIABLE) {
                Some(names) => names
                    .to_str()
                    .context("it is not UTF-8")
                    .and_then(Operations::named)
                    .context(VARIABLE),
                None => Ok(Operations::all()),
            });
        ALLOWED.as_ref().map_err(|why| anyhow::anyhow!("{why:#}"))
    }

    /// Those in a list of names that are separated by commas. A block may always jump and return.
    ///
    /// # Errors
    /// If there is no name, or no operation with one of the names. The error has the names that
    /// there are.
    pub fn named(list: &str) -> anyhow::Result<Operations> {
        let names: Vec<&str> =
            list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        anyhow::ensure!(!names.is_empty(), "it names no operation");
        for name in &names {
            if !OPS.contains(name) && !ENDS.contains(name) {
                let known: std::collections::BTreeSet<&str> = OPS.into_iter().chain(ENDS).collect();
                let known: Vec<&str> = known.into_iter().collect();
                anyhow::bail!("there is no operation `{name}`, only {}", known.join(", "));
            }
        }
        let chosen = |all: &[&str]| -> Vec<usize> {
            (0..all.len()).filter(|number| names.contains(&all[*number])).collect()
        };
        let mut ends = chosen(&ENDS);
        ends.extend([0, 1]);
        Ok(Operations { ops: chosen(&OPS), ends })
    }
}

impl Operations {
    /// Operations that give other operations objects to work on.
    pub(super) fn prelude(&self) -> Vec<Op> {
        let prelude = [
            ("struct_new_default", Op::StructNewDefault { r: 1, base: false }),
            ("array_new_elements", Op::ArrayNewElements { r: 2, a: 1, b: 0 }),
            ("struct_new", Op::StructNew { r: 3, a: 2, b: 1, w: 0 }),
            ("array_new_elements", Op::ArrayNewElements { r: 4, a: 3, b: 2 }),
            ("global_set", Op::GlobalSet { r: 4 }),
        ];
        prelude.into_iter().filter(|(name, _)| self.have(name)).map(|(_, op)| op).collect()
    }

    /// The instructions with two operands of the same type that are among them.
    pub(super) fn binary(&self) -> Vec<Opcode> {
        use Opcode::{Band, Bor, Bxor, Iadd, Imul, Ishl, Isub, Rotl, Sshr, Ushr};
        let all = [Iadd, Isub, Imul, Band, Bor, Bxor, Ishl, Ushr, Sshr, Rotl];
        all.into_iter().filter(|opcode| self.have(&opcode.to_string())).collect()
    }

    pub(super) fn have(&self, name: &str) -> bool {
        self.ops.iter().any(|number| OPS[*number] == name)
    }
}
