//! What a store's globals and tables refer to, as text. Objects have numbers in the order in which
//! they are found, so that the text also shows what is shared, and is the same under every collector.

use crate::refs::host_number;
use anyhow::{Context, Result};
use gc_wasm::{AnyRef, ExternRef, Instance, RootScope, Rooted, Store, Val};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};

/// The objects that were found so far.
#[derive(Default)]
struct Reached {
    /// Their numbers, by the hashes of their identities.
    numbers: HashMap<u64, usize>,
    /// Those whose contents are not described yet.
    queue: Vec<(usize, Rooted<AnyRef>)>,
    lines: Vec<String>,
    host_values: usize,
}

/// Everything that can be reached from the exports `roots` of an instance.
pub(super) struct Reachable {
    /// A line for each root, and one for each object.
    pub(super) lines: Vec<String>,
    /// The number of host values among the objects.
    pub(super) host_values: usize,
}

/// Describes what can be reached from the exports `roots`, which are globals and tables.
pub(super) fn describe<T: 'static>(
    store: &mut Store<T>,
    instance: &Instance,
    roots: &[&str],
) -> Result<Reachable> {
    let mut scope = RootScope::new(store);
    let mut found = Reached::default();
    for root in roots {
        if let Some(global) = instance.get_global(&mut scope, root) {
            let value = global.get(&mut scope);
            let text = found.value(&scope, &value)?;
            found.lines.push(format!("{root} = {text}"));
            continue;
        }
        let table = instance.get_table(&mut scope, root).context("a global or a table")?;
        let mut line = format!("{root} has {} elements", table.size(&scope));
        for index in 0..table.size(&scope) {
            let element = table.get(&mut scope, index).context("an element")?;
            if !element.is_null() {
                let text = found.value(&scope, &element.into())?;
                line.push_str(&format!(", [{index}] = {text}"));
            }
        }
        found.lines.push(line);
    }
    while let Some((number, object)) = found.queue.pop() {
        let text = found.object(&mut scope, object)?;
        found.lines.push(format!("#{number} = {text}"));
    }
    Ok(Reachable { lines: found.lines, host_values: found.host_values })
}

type Scope<'a, T> = RootScope<&'a mut Store<T>>;

impl Reached {
    /// A value as text. An object that is found for the first time gets the next number.
    fn value<T: 'static>(&mut self, store: &Scope<'_, T>, value: &Val) -> Result<String> {
        let any = match value {
            Val::AnyRef(Some(any)) => *any,
            Val::ExternRef(Some(external)) => AnyRef::convert_extern(store, *external)?,
            other => return Ok(format!("{other:?}")),
        };
        if let Some(number) = any.as_i31(store)? {
            return Ok(format!("i31 {}", number.get_u32()));
        }
        let mut hasher = DefaultHasher::new();
        any.ref_hash(store, &mut hasher)?;
        let next = self.numbers.len();
        let number = *self.numbers.entry(hasher.finish()).or_insert(next);
        if number == next {
            self.queue.push((number, any));
        }
        Ok(format!("#{number}"))
    }

    /// The contents of an object as text.
    fn object<T: 'static>(
        &mut self,
        store: &mut Scope<'_, T>,
        object: Rooted<AnyRef>,
    ) -> Result<String> {
        let (what, values): (_, Vec<Val>) = if let Some(object) = object.as_struct(&store)? {
            ("struct", object.fields(&mut *store)?.collect())
        } else if let Some(array) = object.as_array(&store)? {
            ("array", array.elems(&mut *store)?.collect())
        } else {
            let external = ExternRef::convert_any(&store, object)?;
            let number = host_number(&store, external)?.context("an object of no kind")?;
            self.host_values += 1;
            return Ok(format!("host value {number}"));
        };
        let values = values.iter().map(|value| self.value(store, value));
        let values = values.collect::<Result<Vec<_>>>()?;
        let equal = values.chunk_by(|a, b| a == b).map(|values| match values {
            [value] => value.clone(),
            values => format!("{} times {}", values.len(), values[0]),
        });
        Ok(format!("{what} of {}", equal.collect::<Vec<_>>().join(", ")))
    }
}

/// The first line in which two descriptions differ.
pub(super) fn difference(expected: &[String], actual: &[String]) -> Option<String> {
    let end = "nothing".to_owned();
    let line = |lines: &[String], n: usize| lines.get(n).unwrap_or(&end).clone();
    let count = expected.len().max(actual.len());
    let differs = |n: &usize| expected.get(*n) != actual.get(*n);
    let n = (0..count).find(differs)?;
    Some(format!("`{}` instead of `{}`", line(actual, n), line(expected, n)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gc_testkit::Ledger;
    use gc_wasm::{Engine, Module};

    #[test]
    fn identity_and_contents_are_described() {
        let engine = Engine::default();
        let text = r#"(module
            (type $s (struct (field (mut i32)) (field (mut anyref))))
            (global (export "g") anyref (struct.new $s (i32.const 5) (ref.i31 (i32.const 3))))
            (global (export "x") (mut externref) (ref.null extern))
            (table $t (export "t") 4 anyref)
            (func (export "start")
                (table.set $t (i32.const 1) (array.new_fixed $a 3 (global.get 0)
                    (ref.null any) (ref.null any)))
                (table.set $t (i32.const 3) (global.get 0)))
            (type $a (array (mut anyref))))"#;
        let module = Module::new(&engine, text).unwrap();
        let values = Ledger::default();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let start = instance.get_typed_func::<(), ()>(&mut store, "start").unwrap();
        start.call(&mut store, ()).unwrap();
        let value = ExternRef::new(&mut store, values.issue()).unwrap();
        let global = instance.get_global(&mut store, "x").unwrap();
        global.set(&mut store, Val::ExternRef(Some(value))).unwrap();
        let reachable = describe(&mut store, &instance, &["g", "x", "t"]).unwrap();
        let lines = [
            "g = #0",
            "x = #1",
            "t has 4 elements, [1] = #2, [3] = #0",
            "#2 = array of #0, 2 times AnyRef(None)",
            "#1 = host value 0",
            "#0 = struct of I32(5), i31 3",
        ];
        assert_eq!(reachable.lines, lines);
        assert_eq!(reachable.host_values, 1);
        assert_eq!(difference(&reachable.lines, &reachable.lines), None);
        let fewer = &reachable.lines[..5];
        assert!(difference(&reachable.lines, fewer).unwrap().contains("`nothing` instead of"));
    }
}
