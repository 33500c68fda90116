//! What a store needs to know of code besides its image: the types, and the functions that the host can call. It
//! is in saved code and in objects, in the format of the crate `postcard`.
//!
//! The decoder of `postcard` allocates nothing that the input does not contain. With `serde_json`, which implements
//! `PartialEq` between its values and other types, crates above this one would have to name the types in
//! `assert_eq!(values, [])`.

use crate::code::{Parts, Word};
use crate::registry::{Definition, EngineType};
use crate::types::storage_name;
use crate::{Code, Engine, Signature, Type};
use anyhow::{Context as _, Result, bail, ensure};
use gc_jit::CodeMemory;
use gc_types::{ArrayLayout, CodeImage, GcLayout, StorageType, StructLayout, TypeIndex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What belongs to the code of an image.
pub(crate) struct Declarations {
    /// The types, in the order of their numbers in the image.
    pub(crate) types: Vec<Definition>,
    /// The functions that other code and the host can call, with their numbers in the image.
    pub(crate) functions: BTreeMap<String, (u32, Arc<Signature>)>,
    /// The words that the code reads from its vmctx.
    pub(crate) words: Vec<Word>,
    /// Whether it can get or make references, so that it needs a heap.
    pub(crate) uses_heap: bool,
}

impl Declarations {
    /// Those of code.
    pub(crate) fn of(code: &Code) -> Declarations {
        let Parts { types, functions, words, uses_heap, .. } = code.parts();
        Declarations {
            types: types.iter().map(|ty| ty.definition().clone()).collect(),
            functions: functions.clone(),
            words: words.clone(),
            uses_heap: *uses_heap,
        }
    }

    /// The code of an engine that has these. `publish` makes the image executable, with the indices of the types.
    pub(crate) fn into_code(
        self,
        engine: &Engine,
        publish: impl FnOnce(&[TypeIndex]) -> Result<Arc<CodeMemory>>,
    ) -> Result<Code> {
        let Declarations { types, functions, words, uses_heap } = self;
        let types = types.iter().map(|ty| engine.types().register(ty));
        let types = types.collect::<Result<Vec<_>>>()?;
        let indices: Vec<_> = types.iter().map(EngineType::index).collect();
        let (engine, memory) = (engine.clone(), publish(&indices)?);
        Ok(Code::new(Parts { engine, memory, types, functions, words, uses_heap }))
    }

    /// As bytes.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let functions = self.functions.iter().map(|(name, (index, signature))| {
            (*index, SavedFunction { name: name.into(), signature: save_signature(signature) })
        });
        let words = self.words.iter().map(|word| match word {
            Word::Import(name, ty) => {
                let (name, signature) = ((&**name).into(), save_signature(ty));
                SavedWord::Import(SavedFunction { name, signature })
            }
            Word::Reference(index, ty) => SavedWord::Reference(*index, save_signature(ty)),
            Word::Global(name, ty) => SavedWord::Global((&**name).into(), ty.to_string()),
            Word::Constant(ty, bytes) => SavedWord::Constant(*ty, bytes.to_vec()),
            Word::Unused => SavedWord::Unused,
        });
        let saved = Saved {
            types: self.types.iter().map(save_type).collect::<Result<_>>()?,
            functions: functions.collect(),
            words: words.collect(),
            uses_heap: self.uses_heap,
        };
        Ok(postcard::to_stdvec(&saved)?)
    }

    /// From bytes that [`to_bytes`](Declarations::to_bytes) has made.
    ///
    /// # Errors
    /// If they are others, or do not fit the image.
    pub(crate) fn from_bytes(bytes: &[u8], image: &CodeImage) -> Result<Declarations> {
        let (saved, rest): (Saved, _) =
            postcard::take_from_bytes(bytes).context("the declarations of code")?;
        ensure!(rest.is_empty(), "the declarations have {} bytes too many", rest.len());
        let types = saved.types.iter().map(load_type).collect::<Result<Vec<_>>>()?;
        let mut functions = BTreeMap::new();
        for (index, SavedFunction { name, signature }) in &saved.functions {
            let signature = load_signature(signature)?;
            ensure!(
                image.function_offset(*index).is_some(),
                "the image has no code of the function `{name}`"
            );
            ensure!(
                image.entry(&signature.call_signature()).is_some(),
                "the image has no entry trampoline for the function `{name}`"
            );
            let before = functions.insert(name.to_string(), (*index, signature));
            ensure!(before.is_none(), "two functions have the name `{name}`");
        }
        let words = saved.words.iter().map(|word| match word {
            SavedWord::Import(SavedFunction { name, signature }) => {
                Ok(Word::Import((&**name).into(), load_signature(signature)?))
            }
            SavedWord::Reference(index, signature) => {
                ensure!(
                    image.function_offset(*index).is_some(),
                    "the image has no code of function {index}, to which it makes references"
                );
                Ok(Word::Reference(*index, load_signature(signature)?))
            }
            SavedWord::Global(name, ty) => {
                let ty = load_types(std::slice::from_ref(ty))?;
                Ok(Word::Global((&**name).into(), ty[0]))
            }
            SavedWord::Constant(ty, bytes) => {
                let known = types.get(*ty as usize);
                let is_object = matches!(known, Some(Definition::Object(..)));
                ensure!(is_object, "a constant is of type {ty}, which is no type of objects");
                Ok(Word::Constant(*ty, bytes.as_slice().into()))
            }
            SavedWord::Unused => Ok(Word::Unused),
        });
        let words = words.collect::<Result<_>>()?;
        Ok(Declarations { types, functions, words, uses_heap: saved.uses_heap })
    }
}

/// All types of values.
const TYPES: [Type; 6] = [Type::I32, Type::I64, Type::F32, Type::F64, Type::Ref, Type::Func];

#[derive(Serialize, Deserialize)]
struct Saved {
    types: Vec<SavedType>,
    functions: Vec<(u32, SavedFunction)>,
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
