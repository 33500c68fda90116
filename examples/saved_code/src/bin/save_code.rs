//! Compiles a program and writes it to a file, which `run_code` runs.
//!
//! ```text
//! cargo run -p saved_code --bin save_code -- generational primes.elf
//! ```

use anyhow::{Context, Result};
use cranelift_codegen::ir::{InstBuilder, condcodes::IntCC};
use gc_engine::{Collector, Control, Engine, Module, Type};

fn main() -> Result<()> {
    let usage = "usage: save_code COLLECTOR FILE";
    let mut args = std::env::args().skip(1);
    let collector: Collector = args.next().context(usage)?.parse()?;
    let file = args.next().context(usage)?;
    let engine = Engine::new(collector)?;
    let mut module = Module::new(&engine);
    let cell = module.struct_type("cell", [Type::I64, Type::Ref])?;

    // Whether no number in the list divides n.
    module.function("is_prime", [Type::I64, Type::Ref], [Type::I32], |f| {
        let (n, primes, no, yes) = (f.param(0), f.param(1), f.i32(0), f.i32(1));
        let rest = f.variable(Type::Ref);
        f.set(rest, primes);
        f.while_loop(
            |f| f.get(rest),
            |f| {
                let first = f.get(rest);
                let prime = f.struct_get(&cell, first, 0);
                let remainder = f.ins().srem(n, prime);
                let divides = f.ins().icmp_imm_s(IntCC::Equal, remainder, 0);
                f.if_then(divides, |f| f.ret(&[no]));
                let tail = f.struct_get(&cell, first, 1);
                f.set(rest, tail);
            },
        );
        f.ret(&[yes]);
    })?;
    // The list of the primes below n, the largest first.
    module.function("primes", [Type::I64], [Type::Ref], |f| {
        let (n, one, two, nil) = (f.param(0), f.i64(1), f.i64(2), f.null());
        let (i, primes) = (f.variable(Type::I64), f.variable(Type::Ref));
        f.set(i, two);
        f.set(primes, nil);
        f.while_loop(
            |f| {
                let i = f.get(i);
                f.ins().icmp(IntCC::SignedLessThan, i, n)
            },
            |f| {
                let (candidate, so_far) = (f.get(i), f.get(primes));
                let prime = f.call("is_prime", &[candidate, so_far])[0];
                f.if_then(prime, |f| {
                    let longer = f.struct_new(&cell, &[candidate, so_far]);
                    f.set(primes, longer);
                });
                let next = f.add(candidate, one);
                f.set(i, next);
            },
        );
        let primes = f.get(primes);
        f.ret(&[primes]);
    })?;
    module.function("length", [Type::Ref], [Type::I64], |f| {
        let (list, zero, one) = (f.param(0), f.i64(0), f.i64(1));
        let (rest, length) = (f.variable(Type::Ref), f.variable(Type::I64));
        f.set(rest, list);
        f.set(length, zero);
        f.while_loop(
            |f| f.get(rest),
            |f| {
                let (first, so_far) = (f.get(rest), f.get(length));
                let tail = f.struct_get(&cell, first, 1);
                f.set(rest, tail);
                let longer = f.add(so_far, one);
                f.set(length, longer);
            },
        );
        let length = f.get(length);
        f.ret(&[length]);
    })?;

    let bytes = module.compile()?.serialize()?;
    std::fs::write(&file, bytes).with_context(|| format!("writing {file}"))
}
