//! The sandbox: the bytes of a heap are overwritten at random between operations of
//! compiled code, host access and collections, thousands of times, and everything
//! ends in a value (a wrong one maybe), a trap or an error. What lies outside the
//! heap is as it was: linear memory, functions, another store's heap, the host's
//! values.

mod common;

use anyhow::{Context, Result};
use common::{Drops, Setting};
use gc_wasm::{
    AnyRef, ArrayRef, AsContext, AsContextMut, Caller, Engine, EqRef, ExternRef, Func, Global,
    HeapType, Instance, Linker, Memory, Module, OwnedRooted, RootScope, Rooted, Store,
    StoreContextMut, StructRef, Table, TrapError, Val,
};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Marsaglia's xorshift: the same numbers for the same seed, everywhere.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Fields of `$big`, which is larger than the null page.
const BIG: usize = 8300;

/// Descendants of `$base`: more than the display row of a type has room for.
const DEPTH: usize = 11;

fn module() -> String {
    let mut wat = String::from("(module (type $f (func (param i32) (result i32)))\n(rec\n");
    let base = "(field (mut i32)) (field (mut (ref null $base))) (field (mut anyref))";
    writeln!(wat, "(type $base (sub (struct {base})))").unwrap();
    writeln!(wat, "(type $d0 (sub $base (struct {base} (field (mut i64)))))").unwrap();
    for i in 1..DEPTH {
        writeln!(wat, "(type $d{i} (sub $d{} (struct {base} (field (mut i64)))))", i - 1).unwrap();
    }
    writeln!(wat, "(type $big (struct").unwrap();
    for _ in 0..BIG {
        wat += "(field (mut i64)) ";
    }
    wat += "(field (mut anyref))))\n";
    wat += r#"
        (type $funcs (struct (field (mut (ref null $f))) (field (mut funcref))
            (field (mut externref)) (field (mut (ref $base)))))
        (type $bytes (array (mut i8))) (type $words (array (mut i32)))
        (type $longs (array (mut i64))) (type $refs (array (mut anyref)))
        (type $bases (array (mut (ref null $base)))) (type $fs (array (mut (ref null $f)))))
    (import "host" "any" (func $host_any (param anyref) (result anyref)))
    (import "host" "extern" (func $host_extern (param externref) (result externref)))
    (import "host" "base" (func $host_base (param (ref struct)) (result i32)))
    (import "host" "gc" (func $gc))
    (memory (export "memory") 1)
    (data (i32.const 1000) "the canary")
    (table $functions (export "functions") funcref (elem $add $mul $rec))
    (table $objs (export "objs") 32 200 anyref)
    (table $externs (export "externs") 8 100 externref)
    (elem $ref_elem anyref (ref.i31 (i32.const 1)) (ref.null any)
        (struct.new $base (i32.const 3) (ref.null $base) (ref.null any)))
    (elem $f_elem (ref null $f) (ref.func $add) (ref.null $f) (ref.func $mul) (ref.func $rec))
    (data $bytes "0123456789abcdefghijklmnopqrstuvwxyz")
    (global $base (export "base") (mut (ref null $base)) (ref.null $base))
    (global $funcs (mut (ref null $funcs)) (ref.null $funcs))
    (global $big (mut (ref null $big)) (ref.null $big))
    (global $gbytes (export "bytes") (mut (ref null $bytes)) (ref.null $bytes))
    (global $words (mut (ref null $words)) (ref.null $words))
    (global $longs (mut (ref null $longs)) (ref.null $longs))
    (global $refs (export "refs") (mut (ref null $refs)) (ref.null $refs))
    (global $bases (mut (ref null $bases)) (ref.null $bases))
    (global $fs (mut (ref null $fs)) (ref.null $fs))
    (global (export "constant") i64 (i64.const 0x123456789abcdef))
    (func $add (type $f) (i32.add (local.get 0) (i32.const 1)))
    (func $mul (type $f) (i32.mul (local.get 0) (i32.const 3)))
    (func $rec (type $f) (if (result i32) (i32.lt_u (local.get 0) (i32.const 10))
        (then (i32.const 0)) (else (call $add (i32.div_u (local.get 0) (i32.const 2))))))
    (func $obj (param $i i32) (result anyref)
        (table.get $objs (i32.rem_u (local.get $i) (table.size $objs))))
    (func $put (param $i i32) (param anyref)
        (table.set $objs (i32.rem_u (local.get $i) (table.size $objs)) (local.get 1)))
    (func (export "setup") (param $x externref)
        (local $i i32)
        (loop $again
            (global.set $base
                (struct.new $base (local.get $i) (global.get $base)
                    (ref.i31 (local.get $i))))
            (global.set $base (ref.as_non_null (global.get $base)))
            (call $put (local.get $i) (global.get $base))
            (br_if $again (i32.lt_u
                (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 300))))
        (global.set $funcs (struct.new $funcs (ref.func $add) (ref.func $mul) (local.get $x)
            (ref.as_non_null (global.get $base))))
        (global.set $big (struct.new_default $big))
        (global.set $gbytes (array.new_data $bytes $bytes (i32.const 0) (i32.const 36)))
        (global.set $words (array.new $words (i32.const 7) (i32.const 500)))
        (global.set $longs (array.new $longs (i64.const 7) (i32.const 300)))
        (global.set $refs (array.new $refs (global.get $base) (i32.const 400)))
        (global.set $bases (array.new $bases (global.get $base) (i32.const 100)))
        (global.set $fs (array.new_elem $fs $f_elem (i32.const 0) (i32.const 4)))
        (call $put (i32.const 1) (global.get $funcs))
        (call $put (i32.const 2) (global.get $refs))
        (call $put (i32.const 3) (global.get $bases))
        (call $put (i32.const 4) (global.get $gbytes))
        (call $put (i32.const 5) (global.get $big))
        (call $put (i32.const 6) (any.convert_extern (local.get $x)))
        (table.fill $externs (i32.const 0) (local.get $x) (i32.const 4))
        (table.set $externs (i32.const 5) (extern.convert_any (global.get $words)))
"#;
    for i in 0..DEPTH {
        writeln!(
            wat,
            "(call $put (i32.const {}) (struct.new $d{i} (i32.const {i}) (global.get $base)
                (global.get $refs) (i64.const {i})))",
            i + 10
        )
        .unwrap();
    }
    wat += ")\n";
    let op = |wat: &mut String, name: &str, body: &str| {
        writeln!(
            wat,
            "(func (export \"op {name}\") (param $i i32) (param $j i32) (param $k i32) (result i32)
                (local $n i32) (local $b (ref null $base)) (local $a anyref)
                {body})"
        )
        .unwrap();
    };
    op(
        &mut wat,
        "walk",
        "
        (local.set $b (global.get $base))
        (block $end (loop $again
            (br_if $end (ref.is_null (local.get $b)))
            (local.set $i (i32.add (local.get $i) (struct.get $base 0 (local.get $b))))
            (local.set $b (struct.get $base 1 (local.get $b)))
            (br_if $again (i32.lt_u
                (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 400)))))
        (local.get $i)",
    );
    op(
        &mut wat,
        "next",
        "
        (global.set $base (struct.get $base 1 (global.get $base)))
        (struct.set $base 2 (global.get $base) (call $obj (local.get $i)))
        (call $put (local.get $j) (struct.get $base 2 (struct.get $base 1 (global.get $base))))
        (i32.const 0)",
    );
    op(
        &mut wat,
        "link",
        "
        (local.set $b (ref.cast (ref null $base) (call $obj (local.get $i))))
        (struct.set $base 1 (local.get $b) (ref.cast (ref null $base) (call $obj (local.get $j))))
        (global.set $base (local.get $b))
        (i32.const 0)",
    );
    op(
        &mut wat,
        "non-null field",
        "
        (local.set $b (struct.get $funcs 3 (global.get $funcs)))
        (struct.set $base 0 (struct.get $funcs 3 (global.get $funcs)) (local.get $i))
        (struct.set $base 1 (struct.get $funcs 3 (global.get $funcs)) (global.get $base))
        (struct.set $funcs 3 (global.get $funcs) (ref.as_non_null (global.get $base)))
        (struct.get $base 0 (local.get $b))",
    );
    for (array, ty, conversion, get) in [
        ("$gbytes", "$bytes", "", "array.get_u"),
        ("$words", "$words", "", "array.get"),
        ("$longs", "$longs", "i64.extend_i32_u", "array.get"),
    ] {
        let value = |v: &str| match conversion {
            "" => format!("(local.get {v})"),
            conversion => format!("({conversion} (local.get {v}))"),
        };
        let result = if conversion.is_empty() { "" } else { "i32.wrap_i64" };
        op(
            &mut wat,
            &format!("access {array}"),
            &format!(
                "
            (array.set {ty} (global.get {array}) (local.get $i) {})
            ({get} {ty} (global.get {array}) (local.get $j)) {result}
            ({get} {ty} (global.get {array})
                (i32.sub (array.len (global.get {array})) (i32.const 1))) {result}
            (i32.add)",
                value("$k")
            ),
        );
        op(
            &mut wat,
            &format!("copy {array}"),
            &format!(
                "
            (array.copy {ty} {ty} (global.get {array}) (local.get $i)
                (global.get {array}) (local.get $j) (local.get $k))
            (array.len (global.get {array}))"
            ),
        );
        op(
            &mut wat,
            &format!("fill {array}"),
            &format!(
                "
            (array.fill {ty} (global.get {array}) (local.get $i) {} (local.get $k))
            (i32.const 0)",
                value("$j")
            ),
        );
        op(
            &mut wat,
            &format!("loop {array}"),
            &format!(
                "
            (loop $again
                (local.set $j (i32.add (local.get $j)
                    ({get} {ty} (global.get {array}) (local.get $n)) {result}))
                (array.set {ty} (global.get {array}) (local.get $n) {})
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $again (i32.and (i32.lt_u (local.get $n) (i32.const 2000))
                    (i32.lt_u (local.get $n) (array.len (global.get {array}))))))
            (local.get $j)",
                value("$i")
            ),
        );
    }
    for (array, ty, value) in [
        ("$refs", "$refs", "(call $obj (local.get $k))"),
        ("$bases", "$bases", "(global.get $base)"),
    ] {
        op(
            &mut wat,
            &format!("access {array}"),
            &format!(
                "
            (call $put (local.get $k) (array.get {ty} (global.get {array}) (local.get $i)))
            (array.set {ty} (global.get {array}) (local.get $j) {value})
            (i32.const 0)"
            ),
        );
        op(
            &mut wat,
            &format!("copy {array}"),
            &format!(
                "
            (array.copy {ty} {ty} (global.get {array}) (local.get $i)
                (global.get {array}) (local.get $j) (local.get $k))
            (array.len (global.get {array}))"
            ),
        );
        op(
            &mut wat,
            &format!("fill {array}"),
            &format!(
                "
            (array.fill {ty} (global.get {array}) (local.get $i) {value} (local.get $j))
            (i32.const 0)"
            ),
        );
    }
    op(
        &mut wat,
        "copy subtypes",
        "
        (array.copy $refs $bases (global.get $refs) (local.get $i)
            (global.get $bases) (local.get $j) (local.get $k)) (i32.const 0)",
    );
    op(
        &mut wat,
        "init",
        "
        (array.init_elem $refs $ref_elem (global.get $refs) (local.get $i)
            (i32.const 0) (i32.const 3))
        (array.init_data $bytes $bytes (global.get $gbytes) (local.get $j)
            (i32.const 3) (i32.const 5))
        (array.init_elem $fs $f_elem (global.get $fs) (i32.const 0) (i32.const 1) (i32.const 3))
        (i32.const 0)",
    );
    op(
        &mut wat,
        "call field",
        "
        (call_ref $f (local.get $i) (struct.get $funcs 0 (global.get $funcs)))
        (call_ref $f (local.get $i)
            (ref.cast (ref $f) (struct.get $funcs 1 (global.get $funcs))))
        (i32.add)",
    );
    op(
        &mut wat,
        "call element",
        "
        (call_ref $f (local.get $i)
            (array.get $fs (global.get $fs) (i32.and (local.get $j) (i32.const 7))))",
    );
    op(
        &mut wat,
        "set functions",
        "
        (struct.set $funcs 1 (global.get $funcs)
            (array.get $fs (global.get $fs) (i32.and (local.get $i) (i32.const 3))))
        (array.set $fs (global.get $fs) (i32.and (local.get $j) (i32.const 3))
            (struct.get $funcs 0 (global.get $funcs)))
        (ref.is_null (struct.get $funcs 1 (global.get $funcs)))",
    );
    let mut tests = String::from("(local.set $a (call $obj (local.get $i)))");
    for ty in ["$base", "$big", "$funcs", "$bytes", "$refs", "i31", "eq", "struct", "array"] {
        write!(
            tests,
            "(local.set $n (i32.add (i32.shl (local.get $n) (i32.const 1))
            (ref.test (ref {ty}) (local.get $a))))"
        )
        .unwrap();
    }
    for i in 0..DEPTH {
        write!(
            tests,
            "(local.set $n (i32.add (i32.shl (local.get $n) (i32.const 1))
            (ref.test (ref $d{i}) (local.get $a))))"
        )
        .unwrap();
    }
    op(&mut wat, "test", &format!("{tests} (local.get $n)"));
    for i in [0, 3, 7, 8, DEPTH - 1] {
        op(
            &mut wat,
            &format!("cast {i}"),
            &format!(
                "
            (block $yes (result (ref $d{i}))
                (br_on_cast $yes anyref (ref $d{i}) (call $obj (local.get $i)))
                (return (i32.wrap_i64 (struct.get $d{i} 3
                    (ref.cast (ref $d{i}) (call $obj (local.get $j)))))))
            (struct.get $d{i} 0)"
            ),
        );
    }
    op(
        &mut wat,
        "i31",
        "
        (i31.get_s (ref.cast i31ref (struct.get $base 2 (ref.cast (ref $base)
            (call $obj (local.get $i))))))",
    );
    op(
        &mut wat,
        "eq",
        "
        (ref.eq (ref.cast eqref (call $obj (local.get $i)))
            (ref.cast eqref (array.get $refs (global.get $refs) (local.get $j))))",
    );
    op(
        &mut wat,
        "host any",
        "
        (call $put (local.get $i) (call $host_any (call $obj (local.get $j))))
        (call $put (local.get $k)
            (call $host_any (array.get $refs (global.get $refs) (local.get $i))))
        (i32.const 0)",
    );
    op(
        &mut wat,
        "host extern",
        "
        (struct.set $funcs 2 (global.get $funcs)
            (call $host_extern (struct.get $funcs 2 (global.get $funcs))))
        (table.set $externs (i32.const 7)
            (call $host_extern (table.get $externs (i32.and (local.get $i) (i32.const 7)))))
        (i32.const 0)",
    );
    op(
        &mut wat,
        "host base",
        "
        (call $host_base (struct.get $funcs 3 (global.get $funcs)))",
    );
    op(
        &mut wat,
        "convert",
        "
        (table.set $externs (i32.and (local.get $i) (i32.const 7))
            (extern.convert_any (call $obj (local.get $j))))
        (call $put (local.get $k)
            (any.convert_extern (table.get $externs (i32.and (local.get $j) (i32.const 7)))))
        (i32.const 0)",
    );
    op(
        &mut wat,
        "new structs",
        "
        (loop $again
            (global.set $base (struct.new $base (local.get $n) (global.get $base)
                (call $obj (local.get $n))))
            (drop (struct.new $d9 (local.get $n) (global.get $base) (global.get $refs)
                (i64.const 1)))
            (br_if $again (i32.lt_u
                (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 40))))
        (i32.const 0)",
    );
    op(
        &mut wat,
        "new arrays",
        "
        (global.set $refs (array.new $refs (call $obj (local.get $i))
            (i32.and (local.get $j) (i32.const 511))))
        (global.set $gbytes (array.new $bytes (local.get $i)
            (i32.and (local.get $k) (i32.const 4095))))
        (global.set $bases (array.new_fixed $bases 3
            (global.get $base) (ref.null $base) (global.get $base)))
        (call $put (local.get $i) (array.new_elem $refs $ref_elem (i32.const 0) (i32.const 3)))
        (call $put (local.get $j) (array.new_data $words $bytes (i32.const 1) (i32.const 7)))
        (i32.const 0)",
    );
    op(
        &mut wat,
        "big",
        &format!(
            "
        (struct.set $big {BIG} (global.get $big) (call $obj (local.get $i)))
        (struct.set $big {} (global.get $big) (i64.const -1))
        (call $put (local.get $j) (struct.get $big {BIG} (global.get $big)))
        (global.set $big (ref.cast (ref null $big) (call $obj (i32.const 5))))
        (i32.wrap_i64 (struct.get $big {} (global.get $big)))",
            BIG - 1,
            BIG - 3
        ),
    );
    op(
        &mut wat,
        "tables",
        "
        (table.copy $objs $objs (i32.const 8) (i32.const 0) (i32.const 20))
        (table.fill $objs (i32.and (local.get $i) (i32.const 15))
            (array.get $refs (global.get $refs) (local.get $i)) (i32.const 5))
        (table.grow $objs (struct.get $base 2 (global.get $base)) (i32.const 2))",
    );
    op(&mut wat, "gc", "(call $gc) (i32.const 0)");
    wat += r#"
        (func (export "get base") (result (ref struct))
            (struct.get $funcs 3 (global.get $funcs)))
        (func (export "take any") (param anyref) (result anyref)
            (call $put (i32.const 9) (local.get 0)) (call $obj (i32.const 20)))
        (func (export "take base") (param (ref null $base)) (result i32)
            (struct.get $base 0 (local.get 0))))"#;
    wat
}

/// What the host may do with any reference that it is given: everything.
fn inspect<T: 'static>(
    mut store: StoreContextMut<'_, T>,
    any: Rooted<AnyRef>,
    depth: u32,
) -> Result<()> {
    any.ty(&store)?;
    any.as_i31(&store)?;
    for ty in [HeapType::Any, HeapType::Eq, HeapType::I31, HeapType::Struct, HeapType::Array] {
        any.matches_ty(&store, &ty)?;
    }
    let _: Option<Rooted<EqRef>> = any.as_eqref(&store)?;
    if let Some(object) = any.as_struct(&store)? {
        let ty = object.ty(&store)?;
        let count = ty.fields().len().min(8);
        for i in 0..count {
            let value = object.field(&mut store, i)?;
            if let Val::AnyRef(Some(inner)) = value
                && depth > 0
            {
                inspect(store.as_context_mut(), inner, depth - 1)?;
            }
            object.set_field(&mut store, i, value)?;
        }
        any.matches_ty(&store, &HeapType::ConcreteStruct(ty.clone()))?;
        let values: Vec<Val> =
            (0..count).map(|i| object.field(&mut store, i)).collect::<Result<_>>()?;
        if ty.fields().len() == count {
            StructRef::new(&mut store, &ty, &values)?;
        }
    }
    if let Some(array) = any.as_array(&store)? {
        let ty = array.ty(&store)?;
        let len = array.len(&store)?;
        for i in [0, 1, len / 2, len.wrapping_sub(1), len] {
            // Out of bounds is no reason to stop.
            if let Ok(value) = array.get_element(&mut store, i) {
                array.set_element(&mut store, i, value)?;
                ArrayRef::new(&mut store, &ty, &value, len.min(50))?;
            }
        }
        if len < 600 {
            array.elements(&mut store)?;
        }
    }
    let external = ExternRef::convert_any(&store, any)?;
    look(&store, external)
}

fn look<T: 'static>(store: &impl AsContext<Data = T>, external: Rooted<ExternRef>) -> Result<()> {
    if let Some(data) = external.data(store)? {
        // Of another externref maybe, but one of ours and alive.
        let value = data.downcast_ref::<common::Counted>().expect("a value of the test's");
        assert!(value.number < 1_000_000);
    }
    AnyRef::convert_extern(store, external)?;
    Ok(())
}

fn linker(engine: &Engine) -> Result<Linker<Drops>> {
    let mut linker: Linker<Drops> = Linker::new(engine);
    linker.func_wrap("host", "gc", |mut caller: Caller<'_, Drops>| caller.gc())?;
    linker.func_wrap(
        "host",
        "any",
        |mut caller: Caller<'_, Drops>, any: Option<Rooted<AnyRef>>| {
            any.map(|any| inspect(caller.as_context_mut(), any, 3)).transpose()?;
            anyhow::Ok(any)
        },
    )?;
    linker.func_wrap(
        "host",
        "extern",
        |mut caller: Caller<'_, Drops>, external: Option<Rooted<ExternRef>>| {
            external.map(|external| look(&caller, external)).transpose()?;
            let value = caller.data().value();
            ExternRef::new(&mut caller, value).map(Some)
        },
    )?;
    linker.func_wrap(
        "host",
        "base",
        |mut caller: Caller<'_, Drops>, base: Rooted<StructRef>| -> Result<i32> {
            caller.gc()?;
            base.field(&mut caller, 0)?.i32().context("an i32")
        },
    )?;
    Ok(linker)
}

/// Overwrites some of the heap: single bits up to whole ranges, nonsense up to words
/// that could almost be right.
fn corrupt(store: &mut Store<Drops>, rng: &mut Rng) {
    let (start, end) = (64 << 10, store.gc_heap_len());
    // Mostly where objects are.
    let place = |rng: &mut Rng, align: u64| {
        let end = if rng.below(4) == 0 { end } else { end.min(start + (100 << 10)) };
        (start + rng.below(end - start)) & !(align - 1)
    };
    let edges = [
        0,
        1,
        2,
        3,
        4,
        7,
        8,
        0xfff8,
        0xffff,
        0x1_0000,
        0x1_0004,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fff8,
        0xffff_fffc,
        0xffff_fffe,
        u32::MAX,
        end as u32,
        end as u32 - 4,
        end as u32 - 8,
        end as u32 + 8,
        0xfffe_fff8,
    ];
    for _ in 0..1 + rng.below(12) {
        match rng.below(8) {
            0 => {
                let at = place(rng, 1);
                assert!(store.overwrite_gc_heap(at, &[rng.next() as u8]));
            }
            1 | 2 => {
                let at = place(rng, 4);
                store.overwrite_gc_heap(at, &(rng.next() as u32).to_le_bytes());
            }
            3 => {
                let at = place(rng, 4);
                let word = rng.pick(&edges);
                store.overwrite_gc_heap(at, &word.to_le_bytes());
            }
            4 | 5 => {
                // A reference to somewhere among the objects.
                let at = place(rng, 4);
                let word = place(rng, 8) as u32 + rng.pick(&[0, 0, 0, 0, 4, 1, 2]);
                store.overwrite_gc_heap(at, &word.to_le_bytes());
            }
            6 => {
                // A header: a kind with a small type index, a plausible collector's word.
                let at = place(rng, 8);
                let kind = rng.pick(&[0_u32, 1, 2, 3, 4, 5, 6, 7, 31, 63]) << 26;
                let word = kind | rng.below(40) as u32;
                store.overwrite_gc_heap(at, &word.to_le_bytes());
                let word = rng.pick(&[0_u32, 1, 2, 4, 5, 8, 0x10, 0xffff_ffff, 0x8000_0000]);
                store.overwrite_gc_heap(at + 4, &word.to_le_bytes());
            }
            _ => {
                let at = place(rng, 4);
                let byte = rng.pick(&[0_u8, 0xff, 0xa5, 1]);
                let most = if rng.below(20) == 0 { 20_000 } else { 64 };
                let len = rng.below(most);
                let len = len.min(end - at) as usize;
                assert!(store.overwrite_gc_heap(at, &vec![byte; len]));
            }
        }
    }
}

/// A store under attack, and what of it lies outside its heap.
struct Victim {
    store: Store<Drops>,
    instance: Instance,
    ops: Vec<(String, Func)>,
    memory: Memory,
    objs: Table,
    externs: Table,
    globals: Vec<Global>,
    handles: Vec<OwnedRooted<AnyRef>>,
}

impl Victim {
    fn new(engine: &Engine, module: &Module, drops: &Drops) -> Result<Victim> {
        let mut store = Store::new(engine, drops.clone())?;
        let instance = linker(engine)?.instantiate(&mut store, module)?;
        let value = ExternRef::new(&mut store, drops.value())?;
        let setup =
            instance.get_typed_func::<Option<Rooted<ExternRef>>, ()>(&mut store, "setup")?;
        setup.call(&mut store, Some(value))?;
        let mut ops = Vec::new();
        for (name, item) in instance.exports(&store)? {
            if let Some(op) = name.strip_prefix("op ") {
                ops.push((op.to_string(), item.into_func().context("a function")?));
            }
        }
        let memory = instance.get_memory(&mut store, "memory").context("memory")?;
        let objs = instance.get_table(&mut store, "objs").context("objs")?;
        let externs = instance.get_table(&mut store, "externs").context("externs")?;
        let globals = ["base", "bytes", "refs"].into_iter();
        let globals = globals.filter_map(|name| instance.get_global(&mut store, name)).collect();
        let mut data: Vec<u8> = (0..65536).map(|i| (i * 7) as u8).collect();
        data[1000..1010].copy_from_slice(b"the canary");
        memory.data_mut(&mut store)?.copy_from_slice(&data);
        Ok(Victim { store, instance, ops, memory, objs, externs, globals, handles: Vec::new() })
    }

    /// One operation, of compiled code or of the host.
    fn step(&mut self, rng: &mut Rng, name: &mut String) -> Result<()> {
        let number = |rng: &mut Rng| match rng.below(6) {
            0 => rng.next() as i32,
            1 => rng.below(2) as i32,
            _ => rng.below(300) as i32,
        };
        if rng.below(4) > 0 {
            let n = rng.below(self.ops.len() as u64) as usize;
            let (op, func) = &self.ops[n];
            name.clone_from(op);
            let arguments = [(); 3].map(|()| Val::I32(number(rng)));
            let mut scope = RootScope::new(&mut self.store);
            return func.call(&mut scope, &arguments, &mut [Val::I32(0)]);
        }
        let mut scope = RootScope::new(&mut self.store);
        let index = rng.below(32) as u32;
        match rng.below(9) {
            0 => {
                *name = "Store::gc".into();
                scope.as_context_mut().gc()
            }
            1 => {
                *name = "Table::get".into();
                let value = self.objs.get(&mut scope, index)?.context("an element")?;
                let Some(any) = value.any_ref().flatten() else { return Ok(()) };
                inspect(scope.as_context_mut(), any, 4)
            }
            2 => {
                *name = "Global::get".into();
                let global = rng.pick(&self.globals);
                let value = global.get(&mut scope)?;
                self.objs.set(&mut scope, index, value)?;
                let Some(any) = value.any_ref().flatten() else { return Ok(()) };
                self.handles.push(any.to_owned_rooted(&mut scope)?);
                inspect(scope.as_context_mut(), any, 4)
            }
            3 => {
                *name = "Global::set".into();
                let value = self.objs.get(&mut scope, index)?.context("an element")?;
                rng.pick(&self.globals).set(&mut scope, value)
            }
            4 => {
                *name = "typed results".into();
                let get = self
                    .instance
                    .get_typed_func::<(), Rooted<StructRef>>(&mut scope, "get base")?;
                let base = get.call(&mut scope, ())?;
                let take = self
                    .instance
                    .get_typed_func::<Option<Rooted<StructRef>>, i32>(&mut scope, "take base")?;
                take.call(&mut scope, Some(base))?;
                inspect(scope.as_context_mut(), base.to_anyref(), 2)
            }
            5 => {
                *name = "handles".into();
                if self.handles.is_empty() {
                    return Ok(());
                }
                let n = rng.below(self.handles.len() as u64) as usize;
                let handle = self.handles.swap_remove(n);
                let any = handle.to_rooted(&mut scope)?;
                let take = self
                    .instance
                    .get_typed_func::<Option<Rooted<AnyRef>>, Option<Rooted<AnyRef>>>(
                        &mut scope, "take any",
                    )?;
                take.call(&mut scope, Some(any))?;
                Ok(())
            }
            6 => {
                *name = "ExternRef".into();
                let value = scope.as_context().data().value();
                let value = ExternRef::new(&mut scope, value)?;
                let old = self.externs.get(&mut scope, index % 8)?.context("an element")?;
                self.externs.set(&mut scope, index % 8, value.into())?;
                match old.extern_ref().flatten() {
                    Some(old) => look(&scope, old),
                    None => Ok(()),
                }
            }
            7 => {
                *name = "Val::ty".into();
                let value = self.objs.get(&mut scope, index)?.context("an element")?;
                value.ty(&scope)?;
                Ok(())
            }
            _ => {
                *name = "Table::grow".into();
                let value = self.objs.get(&mut scope, index)?.context("an element")?;
                self.objs.grow(&mut scope, 1, value)?;
                Ok(())
            }
        }
    }

    /// Whatever was done to the heap: all that lies outside is as it was.
    fn check_canaries(&mut self) -> Result<()> {
        let data = self.memory.data(&self.store)?;
        for (i, byte) in data.iter().enumerate() {
            let expected = match i {
                1000..1010 => b"the canary"[i - 1000],
                _ => (i * 7) as u8,
            };
            assert_eq!(*byte, expected, "byte {i} of the linear memory");
        }
        let constant = self.instance.get_global(&mut self.store, "constant").context("constant")?;
        assert_eq!(constant.get(&mut self.store)?.i64(), Some(0x0123_4567_89ab_cdef));
        let functions = self.instance.get_table(&mut self.store, "functions").context("table")?;
        for (i, expected) in [41, 120, 21].into_iter().enumerate() {
            let f = functions.get(&mut self.store, i as u32)?.and_then(|f| f.func_ref().flatten());
            let f = f.context("a function")?.typed::<i32, i32>(&self.store)?;
            assert_eq!(f.call(&mut self.store, 40)?, expected, "function {i}");
        }
        Ok(())
    }
}

/// How the steps ended.
#[derive(Default, Debug)]
struct Outcomes {
    fine: u32,
    traps: BTreeMap<String, u32>,
    errors: u32,
}

fn attack(setting: &Setting, seeds: std::ops::Range<u64>, steps: u32) -> Result<Outcomes> {
    let mut config = setting.config();
    config.gc_heap_initial(256 << 10).gc_heap_maximum(512 << 10);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, module())?;
    let mut outcomes = Outcomes::default();
    // A second store of the same engine and module, which nobody touches.
    let bystander_drops = Drops::default();
    let mut bystander = Victim::new(&engine, &module, &bystander_drops)?;
    let walk = |victim: &mut Victim| -> Result<Option<i32>> {
        let f = victim.ops.iter().find(|(name, _)| name == "walk").context("walk")?.1;
        let mut result = [Val::I32(0)];
        f.call(&mut victim.store, &[Val::I32(0); 3], &mut result)?;
        Ok(result[0].i32())
    };
    for seed in seeds {
        let mut rng = Rng::new(seed);
        let drops = Drops::default();
        let mut victim = Victim::new(&engine, &module, &drops)?;
        for step in 0..steps {
            corrupt(&mut victim.store, &mut rng);
            let mut name = String::new();
            let start = Instant::now();
            let result = victim.step(&mut rng, &mut name);
            let took = start.elapsed();
            assert!(took < Duration::from_secs(5), "{setting}, {seed}.{step} {name}: {took:?}");
            match result {
                Ok(()) => outcomes.fine += 1,
                Err(error) => match error.downcast_ref::<TrapError>() {
                    Some(error) => {
                        *outcomes.traps.entry(format!("{:?}", error.trap)).or_default() += 1;
                    }
                    None => outcomes.errors += 1,
                },
            }
        }
        victim.check_canaries().with_context(|| format!("{setting}, seed {seed}"))?;
        drop(victim);
        // No host value was dropped twice, and all of them once.
        assert_eq!(drops.count(), drops.made(), "{setting}, seed {seed}");
    }
    bystander.check_canaries()?;
    assert_eq!(walk(&mut bystander)?, Some(299 * 300 / 2));
    assert_eq!(bystander_drops.count(), 0);
    Ok(outcomes)
}

/// Under each collector, in each bounds mode. A damaged heap refuses to allocate or
/// collect sooner or later, so that there are many stores rather than long lives.
#[test]
fn a_heap_of_random_bytes_harms_nothing_outside() -> Result<()> {
    for setting in Setting::all() {
        eprintln!("--- {setting}");
        let seeds = if setting.zeal { 0..10 } else { 0..100 };
        let outcomes = attack(&setting, seeds, 60)?;
        eprintln!("{outcomes:?}");
        if !setting.zeal {
            // It is an attack: much goes wrong. It is not all over at the first blow:
            // much goes on.
            let traps: u32 = outcomes.traps.values().sum();
            assert!(outcomes.fine > 1000, "{setting}: {outcomes:?}");
            assert!(traps > 1000, "{setting}: {outcomes:?}");
        }
    }
    Ok(())
}

/// The same operations on a heap nobody damages: each of them works for some numbers,
/// so that the attack is not on code that never runs.
#[test]
fn the_operations_work_on_a_sound_heap() -> Result<()> {
    for setting in Setting::all() {
        eprintln!("--- {setting}");
        let mut config = setting.config();
        config.gc_heap_initial(256 << 10).gc_heap_maximum(8 << 20);
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, module())?;
        let drops = Drops::default();
        let mut victim = Victim::new(&engine, &module, &drops)?;
        for op in 0..victim.ops.len() {
            // Afresh, since some leave little of what others need.
            victim = Victim::new(&engine, &module, &drops)?;
            let (name, func) = victim.ops[op].clone();
            let mut worked = 0;
            for n in 0..25 {
                let mut scope = RootScope::new(&mut victim.store);
                let arguments = [n, (n * 3) % 25, n % 7].map(Val::I32);
                match func.call(&mut scope, &arguments, &mut [Val::I32(0)]) {
                    Ok(()) => worked += 1,
                    Err(error) => assert!(error.is::<TrapError>(), "{setting}, {name}: {error:?}"),
                }
            }
            assert!(worked > 0, "{setting}: {name} never works");
        }
        let mut rng = Rng::new(1);
        let mut name = String::new();
        for _ in 0..if setting.zeal { 100 } else { 1000 } {
            if let Err(error) = victim.step(&mut rng, &mut name) {
                let shown = format!("{error:#}");
                assert!(!shown.to_lowercase().contains("corrupt"), "{setting}, {name}: {shown}");
            }
        }
        victim.handles.clear();
        victim.store.gc()?;
        victim.check_canaries()?;
        drop(victim);
        assert_eq!(drops.count(), drops.made());
    }
    Ok(())
}
