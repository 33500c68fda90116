//! What a store needs to know of code besides its image: the types, and the functions that the host can call. It
//! is in saved code and in objects, in the format of the crate `postcard`.
//!
//! The decoder of `postcard` allocates nothing that the input does not contain. With `serde_json`, which implements
//! `PartialEq` between its values and other types, crates above this one would have to name the types in
//! `assert_eq!(values, [])`.

use crate::code::{Function, Parts, Word};
use crate::registry::{Definition, EngineType};
use crate::{Code, Engine, Signature, Type};
use anyhow::{Context as _, Result, bail, ensure};
use gc_jit::CodeMemory;
use gc_types::{ArrayLayout, GcLayout, StorageType, StructLayout, TypeIndex};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What belongs to the code of an image.
pub(crate) struct Declarations {
    /// The types, in the order of their numbers in the image.
    pub(crate) types: Vec<Definition>,
    /// The functions that other code and the host can call, ascending by name.
    pub(crate) functions: Vec<Exported>,
    /// The words that the code reads from its vmctx.
    pub(crate) words: Vec<Word>,
    /// Whether it can get or make references, so that it needs a heap.
    pub(crate) uses_heap: bool,
}

/// A function that other code and the host can call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exported {
    pub(crate) name: Arc<str>,
    /// Its number in the image.
    pub(crate) index: u32,
    pub(crate) signature: Arc<Signature>,
}

impl Declarations {
    /// Those of code.
    pub(crate) fn of(code: &Code) -> Declarations {
        let Parts { types, functions, words, uses_heap, .. } = code.parts();
        Declarations {
            types: types.iter().map(|ty| ty.definition().clone()).collect(),
            functions: functions
                .iter()
                .map(|function| Exported {
                    name: function.name.clone(),
                    index: function.index,
                    signature: function.signature().clone(),
                })
                .collect(),
            words: words.clone(),
            uses_heap: *uses_heap,
        }
    }

    /// The code of an engine that has these. `publish` makes the image executable, with the indices of the types.
    ///
    /// # Errors
    /// If `publish` fails, or if the image does not have the functions.
    pub(crate) fn into_code(
        self,
        engine: &Engine,
        publish: impl FnOnce(&[TypeIndex]) -> Result<Arc<CodeMemory>>,
    ) -> Result<Code> {
        let Declarations { types, functions, words, uses_heap } = self;
        let register = |ty: &Definition| engine.types().register(ty);
        let types = all(types.iter().map(register))?;
        let functions = functions.into_iter().map(|Exported { name, index, signature }| {
            Ok((name, index, register(&Definition::Function(signature))?))
        });
        let functions = all(functions)?;
        Registered { types, functions, words, uses_heap }.into_code(engine, publish)
    }

    /// As bytes.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let of_types = self.types.iter().filter_map(|ty| match ty {
            Definition::Function(signature) => Some(signature),
            Definition::Object(..) => None,
        });
        let of_functions = self.functions.iter().map(|function| &function.signature);
        let of_words = self.words.iter().filter_map(|word| match word {
            Word::Import(_, signature) | Word::Reference(_, signature) => Some(signature),
            Word::Global(..) | Word::Constant(..) | Word::Unused => None,
        });
        let mut signatures: Vec<&Signature> = Vec::new();
        let mut numbers = FxHashMap::default();
        for signature in of_types.chain(of_functions).chain(of_words) {
            numbers.entry(&**signature).or_insert_with(|| {
                signatures.push(signature);
                signatures.len() as u32 - 1
            });
        }
        let number = |signature: &Arc<Signature>| numbers[&**signature];
        let codes = |types: &[Type]| types.iter().map(|ty| code_of(*ty, &TYPES)).collect();
        let signatures: Vec<[Vec<u8>; 2]> = signatures
            .into_iter()
            .map(|signature| [codes(signature.params()), codes(signature.results())])
            .collect();
        let fields: Vec<Vec<u8>> = self.types.iter().map(codes_of_fields).collect();

        let types = self.types.iter().zip(&fields).map(|(ty, fields)| {
            Ok(match ty {
                Definition::Function(signature) => SavedType::Function(number(signature)),
                Definition::Object(name, layout) => match &**layout {
                    GcLayout::Struct(_) => SavedType::Struct(name, fields),
                    GcLayout::Array(layout) => {
                        SavedType::Array(name, code_of(layout.element, &StorageType::ALL))
                    }
                    GcLayout::Exn(_) => bail!("a module has no types of exceptions"),
                },
            })
        });
        let functions = self.functions.iter().map(|function| {
            let Exported { name, index, signature } = function;
            (*index, &**name, number(signature))
        });
        let words = self.words.iter().map(|word| match word {
            Word::Import(name, signature) => SavedWord::Import(name, number(signature)),
            Word::Reference(index, signature) => SavedWord::Reference(*index, number(signature)),
            Word::Global(name, ty) => SavedWord::Global(name, code_of(*ty, &TYPES)),
            Word::Constant(ty, bytes) => SavedWord::Constant(*ty, bytes),
            Word::Unused => SavedWord::Unused,
        });
        let saved = Saved {
            types: types.collect::<Result<_>>()?,
            signatures: signatures
                .iter()
                .map(|[params, results]| (&**params, &**results))
                .collect(),
            functions: functions.collect(),
            words: words.collect(),
            uses_heap: self.uses_heap,
        };
        Ok(postcard::to_stdvec(&saved)?)
    }
}

/// Makes code of bytes. Types and signatures that several pieces of code have are made once.
pub(crate) struct Loader<'a> {
    engine: &'a Engine,
    signatures: FxHashMap<SavedSignature<'a>, EngineType>,
    objects: FxHashMap<SavedType<'a>, EngineType>,
}

impl<'a> Loader<'a> {
    /// One for code of this engine.
    pub(crate) fn new(engine: &'a Engine) -> Loader<'a> {
        Loader { engine, signatures: FxHashMap::default(), objects: FxHashMap::default() }
    }

    /// The code with the declarations that [`to_bytes`](Declarations::to_bytes) has written. `publish` makes its image
    /// executable, with the indices of the types.
    ///
    /// # Errors
    /// If they are others, if `publish` fails, or if the image does not have the functions.
    pub(crate) fn load(
        &mut self,
        bytes: &'a [u8],
        publish: impl FnOnce(&[TypeIndex]) -> Result<Arc<CodeMemory>>,
    ) -> Result<Code> {
        self.read(bytes)?.into_code(self.engine, publish)
    }

    fn read(&mut self, bytes: &'a [u8]) -> Result<Registered> {
        let (saved, rest): (Saved<'a>, _) =
            postcard::take_from_bytes(bytes).context("the declarations of code")?;
        ensure!(rest.is_empty(), "the declarations have {} bytes too many", rest.len());
        let signatures = saved.signatures.iter().map(|it| self.signature(*it));
        let signatures = all(signatures)?;
        let ty = |number: u32| {
            let found = signatures.get(number as usize);
            found.with_context(|| format!("the declarations have no signature {number}"))
        };
        let signature = |number: u32| -> Result<Arc<Signature>> {
            let signature = ty(number)?.signature();
            Ok(signature.expect("it is a type of functions").clone())
        };
        let types = saved.types.iter().map(|saved| match saved {
            SavedType::Function(number) => ty(*number).cloned(),
            SavedType::Struct(..) | SavedType::Array(..) => self.object(saved),
        });
        let types = all(types)?;
        let functions = saved
            .functions
            .iter()
            .map(|(index, name, number)| Ok(((*name).into(), *index, ty(*number)?.clone())));
        let functions: Vec<(Arc<str>, u32, EngineType)> = all(functions)?;
        let is_sorted = functions.is_sorted_by(|(before, ..), (after, ..)| before < after);
        ensure!(is_sorted, "the names of functions are not ascending");
        let words = saved.words.iter().map(|word| match word {
            SavedWord::Import(name, number) => {
                Ok(Word::Import((*name).into(), signature(*number)?))
            }
            SavedWord::Reference(index, number) => Ok(Word::Reference(*index, signature(*number)?)),
            SavedWord::Global(name, ty) => Ok(Word::Global((*name).into(), type_of(*ty, &TYPES)?)),
            SavedWord::Constant(ty, bytes) => {
                let known = types.get(*ty as usize).and_then(EngineType::object);
                ensure!(known.is_some(), "a constant is of type {ty}, which is no type of objects");
                Ok(Word::Constant(*ty, (*bytes).into()))
            }
            SavedWord::Unused => Ok(Word::Unused),
        });
        let words = all(words)?;
        Ok(Registered { types, functions, words, uses_heap: saved.uses_heap })
    }

    fn signature(&mut self, saved: SavedSignature<'a>) -> Result<EngineType> {
        if let Some(known) = self.signatures.get(&saved) {
            return Ok(known.clone());
        }
        let types = |codes: &[u8]| {
            codes.iter().map(|code| type_of(*code, &TYPES)).collect::<Result<Vec<_>>>()
        };
        let (params, results) = saved;
        let signature = Arc::new(Signature::new(types(params)?, types(results)?));
        let ty = self.engine.types().register(&Definition::Function(signature))?;
        self.signatures.insert(saved, ty.clone());
        Ok(ty)
    }

    fn object(&mut self, saved: &SavedType<'a>) -> Result<EngineType> {
        if let Some(known) = self.objects.get(saved) {
            return Ok(known.clone());
        }
        let (name, layout) = match saved {
            SavedType::Function(_) => bail!("a type of functions is no type of objects"),
            SavedType::Struct(name, fields) => {
                let fields = fields.iter().map(|code| type_of(*code, &StorageType::ALL));
                (name, GcLayout::Struct(StructLayout::new(fields.collect::<Result<Vec<_>>>()?)?))
            }
            SavedType::Array(name, element) => {
                (name, GcLayout::Array(ArrayLayout::new(type_of(*element, &StorageType::ALL)?)))
            }
        };
        let definition = Definition::Object((*name).into(), Arc::new(layout));
        let ty = self.engine.types().register(&definition)?;
        self.objects.insert(*saved, ty.clone());
        Ok(ty)
    }
}

/// All items, in a list that is as large as they are: `collect` makes room for four at least.
fn all<T>(items: impl ExactSizeIterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        all.push(item?);
    }
    Ok(all)
}

/// [`Declarations`] whose types are those of an engine.
struct Registered {
    types: Vec<EngineType>,
    /// Names, numbers in the image, and types.
    functions: Vec<(Arc<str>, u32, EngineType)>,
    words: Vec<Word>,
    uses_heap: bool,
}

impl Registered {
    /// The code that has these.
    fn into_code(
        self,
        engine: &Engine,
        publish: impl FnOnce(&[TypeIndex]) -> Result<Arc<CodeMemory>>,
    ) -> Result<Code> {
        let Registered { types, functions, words, uses_heap } = self;
        let indices: Vec<_> = types.iter().map(EngineType::index).collect();
        let (engine, memory) = (engine.clone(), publish(&indices)?);
        let functions = functions.into_iter().map(|(name, index, ty)| {
            let offset = memory.image().function_offset(index);
            let offset = offset
                .with_context(|| format!("the image has no code of the function `{name}`"))?;
            let signature = ty.signature().expect("it is a type of functions");
            let trampoline = memory.entry_trampoline(signature.call_signature());
            let trampoline = trampoline.with_context(|| {
                format!("the image has no entry trampoline for the function `{name}`")
            })?;
            Ok(Function { name, index, ty, offset, trampoline })
        });
        let functions = all(functions)?;
        for word in &words {
            if let Word::Reference(index, _) = word {
                ensure!(
                    memory.image().function_offset(*index).is_some(),
                    "the image has no code of function {index}, to which it makes references"
                );
            }
        }
        Ok(Code::new(Parts { engine, memory, types, functions, words, uses_heap }))
    }
}

/// All types of values. The place of each is its code in the bytes.
const TYPES: [Type; 6] = [Type::I32, Type::I64, Type::F32, Type::F64, Type::Ref, Type::Func];

/// The code of one of `all` types.
fn code_of<T: PartialEq>(ty: T, all: &[T]) -> u8 {
    let place = all.iter().position(|known| *known == ty).expect("the list has all types");
    u8::try_from(place).expect("there are few types")
}

/// The type with a code.
fn type_of<T: Copy>(code: u8, all: &[T]) -> Result<T> {
    all.get(usize::from(code)).copied().with_context(|| format!("there is no type {code}"))
}

#[derive(Serialize, Deserialize)]
struct Saved<'a> {
    #[serde(borrow)]
    types: Vec<SavedType<'a>>,
    /// For each the codes of the types of parameters, and of those of results.
    signatures: Vec<SavedSignature<'a>>,
    /// Numbers in the image, names, and numbers of signatures.
    functions: Vec<(u32, &'a str, u32)>,
    words: Vec<SavedWord<'a>>,
    uses_heap: bool,
}

#[derive(Serialize, Deserialize)]
enum SavedWord<'a> {
    /// A name, and the number of a signature.
    Import(&'a str, u32),
    /// The number of a function in the image, and that of a signature.
    Reference(u32, u32),
    /// A name, and the code of a type.
    Global(&'a str, u8),
    /// The number of a type, and bytes.
    Constant(u32, &'a [u8]),
    Unused,
}

/// The codes of the types of a function's parameters, and of those of its results.
type SavedSignature<'a> = (&'a [u8], &'a [u8]);

#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum SavedType<'a> {
    /// A name, and the codes of the fields' types.
    Struct(&'a str, &'a [u8]),
    /// A name, and the code of the elements' type.
    Array(&'a str, u8),
    /// The number of a signature.
    Function(u32),
}

/// The codes of the types of a struct's fields. For other types there are none.
fn codes_of_fields(ty: &Definition) -> Vec<u8> {
    let Definition::Object(_, layout) = ty else { return Vec::new() };
    let GcLayout::Struct(layout) = &**layout else { return Vec::new() };
    layout.fields.iter().map(|field| code_of(field.ty, &StorageType::ALL)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Collector;

    #[test]
    fn the_lists_have_all_types() {
        for ty in StorageType::ALL {
            assert_eq!(type_of(code_of(ty, &StorageType::ALL), &StorageType::ALL).unwrap(), ty);
        }
        // The code of the one that was added last.
        assert_eq!(code_of(Type::Func, &TYPES), 5);
        assert!(type_of(6, &TYPES).is_err());
    }

    #[test]
    fn declarations_are_the_same_again() {
        let signature = |params: &[Type], results: &[Type]| {
            Arc::new(Signature::new(params.iter().copied(), results.iter().copied()))
        };
        let (one, other) = (signature(&TYPES, &[Type::Ref]), signature(&[], &TYPES));
        let layout = StructLayout::new(StorageType::ALL.to_vec()).unwrap();
        let array = ArrayLayout::new(StorageType::I8);
        let types = vec![
            Definition::Object("all".into(), Arc::new(GcLayout::Struct(layout))),
            Definition::Function(other.clone()),
            Definition::Object("bytes".into(), Arc::new(GcLayout::Array(array))),
        ];
        let functions = [("a", 3, &one), ("b", 1, &other), ("c", 2, &one)];
        let functions = functions.map(|(name, index, signature)| Exported {
            name: name.into(),
            index,
            signature: signature.clone(),
        });
        let words = vec![
            Word::Import("d".into(), other.clone()),
            Word::Reference(2, one),
            Word::Global("g".into(), Type::Func),
            Word::Constant(2, b"text".as_slice().into()),
            Word::Unused,
        ];
        let declared = Declarations { types, functions: functions.into(), words, uses_heap: true };
        let bytes = declared.to_bytes().unwrap();
        let engine = Engine::new(Collector::copying()).unwrap();
        let mut loader = Loader::new(&engine);
        // The second time, the types are known.
        for _ in 0..2 {
            let again = loader.read(&bytes).unwrap();
            let types: Vec<_> = again.types.iter().map(|ty| ty.definition().clone()).collect();
            assert_eq!(types, declared.types);
            assert_eq!(again.words, declared.words);
            let functions = again.functions.into_iter().map(|(name, index, ty)| {
                let signature = ty.signature().unwrap().clone();
                Exported { name, index, signature }
            });
            assert!(functions.eq(declared.functions.iter().cloned()) && again.uses_heap);
        }
        for length in 0..bytes.len() {
            assert!(loader.read(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn names_of_functions_are_there_once() {
        let signature = Arc::new(Signature::new([], []));
        let function =
            |name: &str| Exported { name: name.into(), index: 0, signature: signature.clone() };
        let declared = |names: [&str; 2]| Declarations {
            types: Vec::new(),
            functions: names.map(function).into(),
            words: Vec::new(),
            uses_heap: false,
        };
        let engine = Engine::new(Collector::copying()).unwrap();
        let is_read = |names| {
            let bytes = declared(names).to_bytes().unwrap();
            Loader::new(&engine).read(&bytes).is_ok()
        };
        assert!(is_read(["f", "g"]));
        assert!(!is_read(["f", "f"]) && !is_read(["g", "f"]));
    }
}
