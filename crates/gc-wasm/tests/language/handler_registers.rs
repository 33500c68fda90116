//! What lives into a handler in callee-saved registers has the right value there, whoever throws and
//! whatever the functions in between keep in these registers. Calls with handlers pass arguments and
//! results of all types.

use crate::common::everywhere;
use anyhow::{Context, Result};
use gc_wasm::{
    AsContextMut, Caller, ExnRef, ExnRefPre, ExnType, Extern, Func, FuncType, Instance, Module,
};
use gc_wasm::{Store, Tag, TagType, Val, ValType};
use std::fmt::Write as _;

/// The number of values that live across each call: more than there are registers.
const LIVE: usize = 9;

/// The word at `at` in the memory of the program.
fn word(at: usize) -> i64 {
    (at as i64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)
}

/// A function whose locals live across `call`, which leaves a number. They are loaded from a memory,
/// because pure values can be computed again. The function returns the sum of all, and of its
/// parameter.
fn busy(head: &str, first: usize, call: &str) -> String {
    let mut text = format!("({head} (param $x i64) (param $way i32) (result i64)");
    (0..LIVE).for_each(|i| write!(text, " (local $l{i} i64)").unwrap());
    for i in 0..LIVE {
        let at = 8 * (first + i);
        write!(text, "(local.set $l{i} (i64.load offset={at} (i32.const 0)))").unwrap();
    }
    text.push_str(call);
    for i in 0..LIVE {
        write!(text, "(i64.add (i64.rotl (local.get $l{i}) (i64.const {i})))").unwrap();
    }
    text.push_str("(i64.add (local.get $x)))");
    text
}

/// What `busy` returns if `call` leaves `number`.
fn busy_result(x: i64, first: usize, number: i64) -> i64 {
    (0..LIVE).fold(number.wrapping_add(x), |sum, i| {
        sum.wrapping_add(word(first + i).rotate_left(i as u32))
    })
}

/// The number of ways in which `thrower` throws.
const WAYS: i32 = 6;

/// `run` catches, in frames with values in registers, what `thrower` throws: by itself, by a tail call,
/// by a host function, by a tail call of a host function, out of a handler, or out of the host.
fn program() -> String {
    let call = "(call_indirect (type $f) (local.get $x) (local.get $way) (i32.const 1))";
    let caught = format!("(block $h (result i64) (try_table (result i64) (catch $e $h) {call}))");
    let middle = busy("func $middle (type $f)", 0, &call.replace("const 1", "const 0"));
    let run = busy(r#"func (export "run") (type $f)"#, 20, &caught);
    let outer = r#"(call $again (local.get $x) (local.get $way))"#;
    let outer = busy(r#"func (export "outer") (type $f)"#, 40, outer);
    let again = run.replace(r#"func (export "run")"#, "func $again");
    let bytes = (0..100).flat_map(|at| word(at).to_le_bytes());
    let bytes: String = bytes.map(|byte| format!("\\{byte:02x}")).collect();
    format!(
        r#"(module
        (type $f (func (param i64 i32) (result i64)))
        (import "host" "tag" (tag $e (param i64)))
        (import "host" "throw" (func $host (type $f)))
        (import "host" "enter" (func $enter (type $f)))
        (memory 1)
        (data (i32.const 0) "{bytes}")
        (table funcref (elem $thrower $middle $host))
        (func $direct (export "direct") (type $f) (throw $e (local.get 0)))
        (func $thrower (type $f)
            (block $out (block $rethrown (block $host_tail (block $by_host (block $tail (block $own
                (br_table $own $tail $by_host $host_tail $rethrown $out (local.get 1)))
                (throw $e (local.get 0)))
                (return_call $direct (local.get 0) (local.get 1)))
                (return (call $host (local.get 0) (local.get 1))))
                (return_call_indirect (type $f) (local.get 0) (local.get 1) (i32.const 2)))
                (block $h (result exnref)
                    (try_table (catch_all_ref $h) (drop (call $host (local.get 0) (local.get 1))))
                    (unreachable))
                (throw_ref))
            (call $enter (local.get 0) (local.get 1)))
        {middle} {run} {again} {outer})"#
    )
}

#[test]
fn values_live_into_handlers() -> Result<()> {
    let program = program();
    everywhere(|setting| {
        let engine = setting.engine()?;
        let module = Module::new(&engine, &program)?;
        let mut store: Store<Option<Instance>> = Store::new(&engine, None);
        let payload = FuncType::new(&engine, [ValType::I64], []);
        let tag = Tag::new(&mut store, &TagType::new(payload))?;
        type C<'a> = Caller<'a, Option<Instance>>;
        let throw =
            Func::wrap(&mut store, move |mut caller: C<'_>, x: i64, _: i32| -> Result<i64> {
                let ty = ExnType::from_tag_type(&tag.ty(&caller))?;
                let pre = ExnRefPre::new(&mut caller, ty);
                let exn = ExnRef::new(&mut caller, &pre, &tag, &[Val::I64(x)])?;
                caller.as_context_mut().throw(exn)
            });
        // The exception goes through an activation of the host.
        let enter = Func::wrap(&mut store, |mut caller: C<'_>, x: i64, way: i32| -> Result<i64> {
            let instance = caller.data().context("set below")?;
            let direct = instance.get_typed_func::<(i64, i32), i64>(&mut caller, "direct")?;
            direct.call(&mut caller, (x, way))
        });
        let imports: [Extern; 3] = [tag.into(), throw.into(), enter.into()];
        let instance = Instance::new(&mut store, &module, &imports)?;
        *store.data_mut() = Some(instance);
        for (name, outer) in [("run", false), ("outer", true)] {
            let run = instance.get_typed_func::<(i64, i32), i64>(&mut store, name)?;
            for way in 0..WAYS {
                for x in [3, -5, 0x0123_4567_89ab_cdef] {
                    let inner = busy_result(x, 20, x);
                    let expected = if outer { busy_result(x, 40, inner) } else { inner };
                    assert_eq!(run.call(&mut store, (x, way))?, expected, "{name}, way {way}");
                }
            }
        }
        Ok(())
    })
}

/// A function returns its last parameters, or throws, and is called with a handler. So does one of the
/// host.
fn passing(params: &[&str], results: &[&str]) -> String {
    let [all, back] = [params, results].map(|types| types.join(" "));
    let constant = |i: usize, ty: &str| match ty {
        "v128" => format!("(v128.const i64x2 {i} {})", i + 100),
        ty => format!("({ty}.const {i})"),
    };
    let args: String = params.iter().enumerate().map(|(i, ty)| constant(i + 1, ty)).collect();
    let last = params.len() - results.len() + 1..=params.len();
    let last: String = last.map(|i| format!("(local.get {i})")).collect();
    let none: String = results.iter().map(|ty| constant(0, ty)).collect();
    let caller = |name: &str, call: &str, index: &str| {
        format!(
            r#"(func (export "{name}") (param $throws i32) (result {back})
            (block $h
                (try_table (result {back}) (catch_all $h)
                    ({call} (local.get $throws) {args} {index}))
                (return))
            {none})"#
        )
    };
    let direct = caller("direct", "call $callee", "");
    let by_host = caller("host", "call $host", "");
    let indirect = caller("indirect", "call_indirect (type $t)", "(i32.const 0)");
    let host_indirect = caller("host indirect", "call_indirect (type $t)", "(i32.const 1)");
    format!(
        r#"(module
        (import "host" "f" (func $host (param i32 {all}) (result {back})))
        (tag $e)
        (func $callee (param i32 {all}) (result {back})
            (if (local.get 0) (then (throw $e))) {last})
        (table funcref (elem $callee $host))
        (type $t (func (param i32 {all}) (result {back})))
        {direct} {by_host} {indirect} {host_indirect})"#
    )
}

#[test]
fn arguments_and_results_pass() -> Result<()> {
    let cases: [(&[&str], &[&str]); 12] = [
        (&["i64"], &[]),
        (&["i32"], &["i32"]),
        (&["i64"; 4], &["i64"]),
        (&["i64"; 5], &["i64"]),
        (&["i64"; 12], &["i64"; 3]),
        (&["f64"; 8], &["f64"; 2]),
        (&["f32"; 9], &["f32"]),
        (&["f64"; 9], &["f64"; 3]),
        (&["v128", "f32", "i64"], &["v128", "f32", "i64"]),
        (&["i64", "f64", "i64"], &["f64", "i64"]),
        (&["v128"; 9], &["v128"; 9]),
        (&["i64", "i64"], &["i64", "i64"]),
    ];
    for (params, results) in cases {
        let wat = passing(params, results);
        let engine = crate::common::Setting::all()[0].engine()?;
        let module = Module::new(&engine, &wat)?;
        let mut store = Store::new(&engine, ());
        let tag = Tag::new(&mut store, &TagType::new(FuncType::new(&engine, [], [])))?;
        let import = module.imports().next().context("the host's")?;
        let ty = import.ty().func().context("a function")?.clone();
        let host = Func::new(&mut store, ty, move |mut caller, args, results| {
            if args[0].i32() == Some(0) {
                let last = args.len() - results.len()..;
                results.clone_from_slice(&args[last]);
                return Ok(());
            }
            let ty = ExnType::from_tag_type(&tag.ty(&caller))?;
            let pre = ExnRefPre::new(&mut caller, ty);
            let exn = ExnRef::new(&mut caller, &pre, &tag, &[])?;
            caller.as_context_mut().throw(exn)
        });
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        for name in ["direct", "host", "indirect", "host indirect"] {
            for throws in [0, 1] {
                let func = instance.get_func(&mut store, name).context("exported")?;
                let mut found = vec![Val::I32(0); results.len()];
                func.call(&mut store, &[Val::I32(throws)], &mut found)?;
                for (i, value) in found.iter().enumerate() {
                    let number = match throws {
                        0 => params.len() - results.len() + i + 1,
                        _ => 0,
                    };
                    let vector = number as u128 | (number as u128 + 100) << 64;
                    let same = match *value {
                        Val::I32(value) => value as usize == number,
                        Val::I64(value) => value as usize == number,
                        Val::F32(bits) => f32::from_bits(bits) as usize == number,
                        Val::F64(bits) => f64::from_bits(bits) as usize == number,
                        Val::V128(value) => value.as_u128() == vector,
                        _ => false,
                    };
                    assert!(same, "{name} {params:?} {results:?} {throws}: {i} is {value:?}");
                }
            }
        }
    }
    Ok(())
}
