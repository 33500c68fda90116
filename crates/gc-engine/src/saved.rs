//! [`Code`] that is saved and loaded in the same or another process, without a compiler.
//!
//! The file is a saved image ([`gc_jit::save`]). Its embedder's section holds what a store needs to
//! know besides the image, in the format of the crate `postcard`: the types, and the functions that
//! the host can call. The decoder of `postcard` allocates nothing that the input does not contain. With
//! `serde_json`, which implements `PartialEq` between its values and other types, crates above this one would
//! have to name the types in `assert_eq!(values, [])`.
#![allow(unsafe_code)]

use crate::{Code, Engine, Signature, Type};
use anyhow::{Context as _, Result, bail, ensure};
use gc_jit::SavedImage;
use gc_types::{ArrayLayout, GcLayout, StorageType, StructLayout, TypeIndex};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The names of storage types in a file.
const STORAGE: [(StorageType, &str); 9] = [
    (StorageType::I8, "i8"),
    (StorageType::I16, "i16"),
    (StorageType::I32, "i32"),
    (StorageType::I64, "i64"),
    (StorageType::F32, "f32"),
    (StorageType::F64, "f64"),
    (StorageType::V128, "v128"),
    (StorageType::Ref, "ref"),
    (StorageType::FuncRef, "funcref"),
];

/// All types of values.
const TYPES: [Type; 5] = [Type::I32, Type::I64, Type::F32, Type::F64, Type::Ref];

/// The embedder's section.
#[derive(Serialize, Deserialize)]
struct Declarations<'a> {
    /// The types, in the order of their indices, from 1 on.
    #[serde(borrow)]
    types: Vec<SavedType<'a>>,
    /// The functions that the host can call.
    #[serde(borrow)]
    functions: Vec<SavedFunction<'a>>,
}

#[derive(Serialize, Deserialize)]
enum SavedType<'a> {
    #[serde(borrow)]
    Struct(Vec<Cow<'a, str>>),
    Array(Cow<'a, str>),
}

#[derive(Serialize, Deserialize)]
struct SavedFunction<'a> {
    name: Cow<'a, str>,
    index: u32,
    params: Vec<Cow<'a, str>>,
    results: Vec<Cow<'a, str>>,
}

impl Code {
    /// The code as bytes, from which [`deserialize`](Code::deserialize) makes it again. They are an
    /// ELF file with the machine code, which `objdump -d` and `gdb` can read. An engine can load
    /// it if its collector, options and version are the same ([`Engine::abi`]) and its machine has
    /// the processor extensions of this one.
    ///
    /// ```
    /// # #[cfg(feature = "compiler")] {
    /// use gc_engine::{Code, Collector, Engine, Module, Store, Type};
    ///
    /// let engine = Engine::new(Collector::generational())?;
    /// let mut module = Module::new(&engine);
    /// module.function("double", [Type::I64], [Type::I64], |f| {
    ///     let n = f.param(0);
    ///     let sum = f.add(n, n);
    ///     f.ret(&[sum]);
    /// })?;
    /// let bytes = module.compile()?.serialize()?;
    ///
    /// // Usually in another process, which needs no compiler.
    /// let engine = Engine::new(Collector::generational())?;
    /// // SAFETY: these are the bytes that `serialize` returned.
    /// let code = unsafe { Code::deserialize(&engine, &bytes)? };
    /// let mut store = Store::new(&engine, &code)?;
    /// assert_eq!(store.function::<i64, i64>("double")?.call(&mut store, 21)?, 42);
    /// # }
    /// # anyhow::Ok(())
    /// ```
    ///
    /// # Errors
    /// If there is no file format for this machine.
    pub fn serialize(&self) -> Result<Vec<u8>> {
        let types = self.layouts().map(|(_, layout)| save_layout(layout));
        let functions = self.exports().map(|(name, index, signature)| SavedFunction {
            name: name.into(),
            index,
            params: save_types(signature.params()),
            results: save_types(signature.results()),
        });
        let declarations =
            Declarations { types: types.collect::<Result<_>>()?, functions: functions.collect() };
        gc_jit::save(self.image(), &postcard::to_stdvec(&declarations)?)
    }

    /// Makes code from bytes that [`serialize`](Code::serialize) returned. The bytes are copied.
    ///
    /// # Errors
    /// If they are not saved code, are damaged, or belong to another version, collector, options
    /// or machine. The error names the difference.
    ///
    /// # Safety
    /// The bytes must be those that [`serialize`](Code::serialize) returned. A checksum finds
    /// accidental damage. But the bytes are machine code: someone who chooses them can do anything
    /// in this process.
    pub unsafe fn deserialize(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Code> {
        let saved = SavedImage::from_bytes(bytes.as_ref(), engine.abi());
        Code::from_saved(saved.context("loading saved code")?)
    }

    /// Loads the code that is saved in a file. The file is mapped and its code is executed in
    /// place. Nothing is copied, and processes that run the code share its memory.
    ///
    /// # Errors
    /// As for [`deserialize`](Code::deserialize), and if the file cannot be mapped.
    ///
    /// # Safety
    /// As for [`deserialize`](Code::deserialize). Also, the file must not change while the code or
    /// a store of it exists.
    pub unsafe fn deserialize_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Code> {
        let path = path.as_ref();
        // SAFETY: the caller promises that the file does not change.
        let saved = unsafe { SavedImage::open(path, engine.abi())? };
        Code::from_saved(saved).with_context(|| format!("loading {}", path.display()))
    }

    fn from_saved(saved: SavedImage) -> Result<Code> {
        let (bytes, range) = saved.embedder();
        let bytes = &(*bytes).as_ref()[range];
        let (declared, rest): (Declarations<'_>, _) =
            postcard::take_from_bytes(bytes).context("the declarations of saved code")?;
        ensure!(rest.is_empty(), "saved code has {} bytes too many", rest.len());
        let layouts = declared.types.iter().zip(1..).map(|(ty, index)| {
            let index = TypeIndex::new(index).context("there are too many types")?;
            Ok((index, Arc::new(load_layout(ty)?)))
        });
        let layouts = layouts.collect::<Result<Vec<_>>>()?;
        let mut functions = BTreeMap::new();
        for function in &declared.functions {
            let name = &function.name;
            let signature =
                Signature::new(load_types(&function.params)?, load_types(&function.results)?);
            ensure!(
                saved.image().function_offset(function.index).is_some(),
                "the image has no code of the function `{name}`"
            );
            ensure!(
                saved.image().entry(&signature.call_signature()).is_some(),
                "the image has no entry trampoline for the function `{name}`"
            );
            let before = functions.insert(name.to_string(), (function.index, signature));
            ensure!(before.is_none(), "two functions have the name `{name}`");
        }
        // The type indices in the code are those of its module.
        Ok(Code::new(saved.publish(&[])?, layouts, functions))
    }
}

fn save_layout(layout: &GcLayout) -> Result<SavedType<'static>> {
    Ok(match layout {
        GcLayout::Struct(layout) => {
            SavedType::Struct(layout.fields.iter().map(|field| save_storage(field.ty)).collect())
        }
        GcLayout::Array(layout) => SavedType::Array(save_storage(layout.element)),
        GcLayout::Exn(_) => bail!("a module has no types of exceptions"),
    })
}

fn load_layout(ty: &SavedType<'_>) -> Result<GcLayout> {
    Ok(match ty {
        SavedType::Struct(fields) => {
            let fields = fields.iter().map(|name| load_storage(name));
            GcLayout::Struct(StructLayout::new(fields.collect::<Result<Vec<_>>>()?)?)
        }
        SavedType::Array(element) => GcLayout::Array(ArrayLayout::new(load_storage(element)?)),
    })
}

fn save_storage(ty: StorageType) -> Cow<'static, str> {
    let known = STORAGE.iter().find(|(known, _)| *known == ty);
    known.map(|(_, name)| *name).expect("the table has every storage type").into()
}

fn load_storage(name: &str) -> Result<StorageType> {
    let known = STORAGE.iter().find(|(_, known)| *known == name);
    known.map(|(ty, _)| *ty).with_context(|| format!("there is no type `{name}` of fields"))
}

fn save_types(types: &[Type]) -> Vec<Cow<'static, str>> {
    types.iter().map(|ty| ty.to_string().into()).collect()
}

fn load_types(names: &[Cow<'_, str>]) -> Result<Vec<Type>> {
    let types = names.iter().map(|name| {
        let known = TYPES.into_iter().find(|ty| ty.to_string() == **name);
        known.with_context(|| format!("there is no type `{name}` of values"))
    });
    types.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_storage_type_has_a_name_of_its_own() {
        for (ty, name) in STORAGE {
            assert_eq!(load_storage(&save_storage(ty)).unwrap(), ty);
            assert_eq!(load_storage(name).unwrap(), ty);
        }
        assert!(load_storage("i128").is_err());
    }

    #[test]
    fn every_type_has_a_name_of_its_own() {
        let names = save_types(&TYPES);
        assert_eq!(load_types(&names).unwrap(), TYPES);
        assert!(load_types(&["externref".into()]).is_err());
    }
}
