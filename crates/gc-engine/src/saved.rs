//! [`Code`] that is saved and loaded in the same or another process, without a compiler.
//!
//! The file is a saved image ([`gc_jit::save`]). Its embedder's section holds what a store needs to
//! know besides the image, in the format of the crate `postcard`: the types, and the functions that
//! the host can call. The decoder of `postcard` allocates nothing that the input does not contain. With
//! `serde_json`, which implements `PartialEq` between its values and other types, crates above this one would
//! have to name the types in `assert_eq!(values, [])`.
#![allow(unsafe_code)]

use crate::code::{Parts, Word};
use crate::registry::{Definition, EngineType};
use crate::types::storage_name;
use crate::{Code, Engine, Signature, Type};
use anyhow::{Context as _, Result, bail, ensure};
use gc_jit::SavedImage;
use gc_types::{ArrayLayout, GcLayout, StorageType, StructLayout};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// All types of values.
const TYPES: [Type; 6] = [Type::I32, Type::I64, Type::F32, Type::F64, Type::Ref, Type::Func];

/// The embedder's section.
#[derive(Serialize, Deserialize)]
struct Declarations {
    /// The types, in the order of their numbers in the image.
    types: Vec<SavedType>,
    /// The functions that the host can call, with their numbers in the image.
    functions: Vec<(u32, SavedFunction)>,
    /// The words that the code reads from its vmctx.
    words: Vec<SavedWord>,
    uses_heap: bool,
}

#[derive(Serialize, Deserialize)]
enum SavedWord {
    Import(SavedFunction),
    Reference(u32, SavedSignature),
    /// A name, and a type.
    Global(String, String),
    /// The number of a type, and bytes.
    Constant(u32, Vec<u8>),
    Unused,
}

#[derive(Serialize, Deserialize)]
enum SavedType {
    /// A name, and the types of the fields.
    Struct(String, Vec<String>),
    /// A name, and the type of the elements.
    Array(String, String),
    Function(SavedSignature),
}

#[derive(Serialize, Deserialize)]
struct SavedFunction {
    name: String,
    signature: SavedSignature,
}

#[derive(Serialize, Deserialize)]
struct SavedSignature {
    params: Vec<String>,
    results: Vec<String>,
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
    /// let mut store = Store::new(&engine, ())?;
    /// store.load(&code)?;
    /// assert_eq!(store.function::<i64, i64>("double")?.call(&mut store, 21)?, 42);
    /// # }
    /// # anyhow::Ok(())
    /// ```
    ///
    /// # Errors
    /// If there is no file format for this machine.
    pub fn serialize(&self) -> Result<Vec<u8>> {
        let parts = self.parts();
        let types = parts.types.iter().map(|ty| save_type(ty.definition()));
        let functions = parts.functions.iter().map(|(name, (index, signature))| {
            (*index, SavedFunction { name: name.into(), signature: save_signature(signature) })
        });
        let words = parts.words.iter().map(|word| match word {
            Word::Import(name, ty) => {
                let (name, signature) = ((&**name).into(), save_signature(ty));
                SavedWord::Import(SavedFunction { name, signature })
            }
            Word::Reference(index, ty) => SavedWord::Reference(*index, save_signature(ty)),
            Word::Global(name, ty) => SavedWord::Global((&**name).into(), ty.to_string()),
            Word::Constant(ty, bytes) => SavedWord::Constant(*ty, bytes.to_vec()),
            Word::Unused => SavedWord::Unused,
        });
        let declarations = Declarations {
            types: types.collect::<Result<_>>()?,
            functions: functions.collect(),
            words: words.collect(),
            uses_heap: parts.uses_heap,
        };
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
        Code::from_saved(engine, saved.context("loading saved code")?)
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
        Code::from_saved(engine, saved).with_context(|| format!("loading {}", path.display()))
    }

    fn from_saved(engine: &Engine, saved: SavedImage) -> Result<Code> {
        let (bytes, range) = saved.embedder();
        let bytes = &(*bytes).as_ref()[range];
        let (declared, rest): (Declarations, _) =
            postcard::take_from_bytes(bytes).context("the declarations of saved code")?;
        ensure!(rest.is_empty(), "saved code has {} bytes too many", rest.len());
        let types = declared.types.iter().map(|ty| engine.types().register(&load_type(ty)?));
        let types = types.collect::<Result<Vec<_>>>()?;
        let mut functions = BTreeMap::new();
        for (index, SavedFunction { name, signature }) in &declared.functions {
            let signature = load_signature(signature)?;
            ensure!(
                saved.image().function_offset(*index).is_some(),
                "the image has no code of the function `{name}`"
            );
            ensure!(
                saved.image().entry(&signature.call_signature()).is_some(),
                "the image has no entry trampoline for the function `{name}`"
            );
            let before = functions.insert(name.to_string(), (*index, signature));
            ensure!(before.is_none(), "two functions have the name `{name}`");
        }
        let words = declared.words.iter().map(|word| match word {
            SavedWord::Import(SavedFunction { name, signature }) => {
                Ok(Word::Import((&**name).into(), load_signature(signature)?))
            }
            SavedWord::Reference(index, signature) => {
                ensure!(
                    saved.image().function_offset(*index).is_some(),
                    "the image has no code of function {index}, to which it makes references"
                );
                Ok(Word::Reference(*index, load_signature(signature)?))
            }
            SavedWord::Global(name, ty) => {
                let ty = load_types(std::slice::from_ref(ty))?;
                Ok(Word::Global((&**name).into(), ty[0]))
            }
            SavedWord::Constant(ty, bytes) => {
                let known = types.get(*ty as usize).and_then(EngineType::object);
                ensure!(known.is_some(), "a constant is of type {ty}, which is no type of objects");
                Ok(Word::Constant(*ty, bytes.as_slice().into()))
            }
            SavedWord::Unused => Ok(Word::Unused),
        });
        let words = words.collect::<Result<_>>()?;
        let indices: Vec<_> = types.iter().map(EngineType::index).collect();
        let memory = saved.publish(&indices)?;
        let (engine, uses_heap) = (engine.clone(), declared.uses_heap);
        Ok(Code::new(Parts { engine, memory, types, functions, words, uses_heap }))
    }
}

fn save_type(ty: &Definition) -> Result<SavedType> {
    Ok(match ty {
        Definition::Function(signature) => SavedType::Function(save_signature(signature)),
        Definition::Object(name, layout) => match &**layout {
            GcLayout::Struct(layout) => {
                let fields = layout.fields.iter().map(|field| storage_name(field.ty).into());
                SavedType::Struct((&**name).into(), fields.collect())
            }
            GcLayout::Array(layout) => {
                SavedType::Array((&**name).into(), storage_name(layout.element).into())
            }
            GcLayout::Exn(_) => bail!("a module has no types of exceptions"),
        },
    })
}

fn load_type(ty: &SavedType) -> Result<Definition> {
    let (name, layout) = match ty {
        SavedType::Function(signature) => {
            return Ok(Definition::Function(load_signature(signature)?));
        }
        SavedType::Struct(name, fields) => {
            let fields = fields.iter().map(|name| load_storage(name));
            (name, GcLayout::Struct(StructLayout::new(fields.collect::<Result<Vec<_>>>()?)?))
        }
        SavedType::Array(name, element) => {
            (name, GcLayout::Array(ArrayLayout::new(load_storage(element)?)))
        }
    };
    Ok(Definition::Object((&**name).into(), Arc::new(layout)))
}

fn load_storage(name: &str) -> Result<StorageType> {
    let known = StorageType::ALL.into_iter().find(|known| storage_name(*known) == name);
    known.with_context(|| format!("there is no type `{name}` of fields"))
}

fn save_signature(signature: &Signature) -> SavedSignature {
    SavedSignature {
        params: save_types(signature.params()),
        results: save_types(signature.results()),
    }
}

fn load_signature(signature: &SavedSignature) -> Result<Arc<Signature>> {
    let SavedSignature { params, results } = signature;
    Ok(Arc::new(Signature::new(load_types(params)?, load_types(results)?)))
}

fn save_types(types: &[Type]) -> Vec<String> {
    types.iter().map(|ty| ty.to_string()).collect()
}

fn load_types(names: &[String]) -> Result<Vec<Type>> {
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
        for ty in StorageType::ALL {
            assert_eq!(load_storage(storage_name(ty)).unwrap(), ty);
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
