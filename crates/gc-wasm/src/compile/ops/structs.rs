//! Structs.

use crate::compile::TypeWords;
use crate::compile::env::struct_type;
use crate::compile::translate::Translator;
use crate::types::registered::RegisteredType;
use anyhow::Result;
use cranelift_codegen::ir::{self, InstBuilder, types};
use gc_compiler::Extend;
use gc_types::{TypeIndex, TypeWord};

impl Translator<'_, '_> {
    /// Word 0 of the header of objects of type `ty` (`I32`).
    pub(super) fn header_word(&mut self, ty: &RegisteredType) -> ir::Value {
        let kind = ty.kind().expect("a type with objects");
        self.type_word(ty, |ty| TypeWord::header(ty, kind))
    }

    /// The index of type `ty` (`I32`).
    pub(super) fn type_index(&mut self, ty: &RegisteredType) -> ir::Value {
        self.type_word(ty, TypeWord::index)
    }

    fn type_word(
        &mut self,
        ty: &RegisteredType,
        word: impl Fn(TypeIndex) -> TypeWord,
    ) -> ir::Value {
        match self.env.cx.type_words {
            TypeWords::Constants => {
                let value = word(ty.index).value(ty.index);
                self.builder.ins().iconst(types::I32, i64::from(value))
            }
            TypeWords::Table => {
                let word = word(self.env.cx.info.types.number(ty.index));
                let word = self.env.type_word(self.builder.func, word);
                gc_compiler::type_word(&mut self.builder, word)
            }
        }
    }

    pub(super) fn struct_new(&mut self, type_index: u32) -> Result<()> {
        let registered = self.env.module_type(type_index);
        let (ty, layout) = struct_type(registered)?;
        let mut values = self.stack.pop_n(ty.fields.len());
        for (value, field) in values.iter_mut().zip(&ty.fields) {
            *value = self.value_to_stored(&field.element_type, *value);
        }
        let word = self.header_word(registered);
        let object = self.emitter().struct_new(word, layout, &values);
        self.stack.push(object);
        Ok(())
    }

    pub(super) fn struct_new_default(&mut self, type_index: u32) -> Result<()> {
        let registered = self.env.module_type(type_index);
        let (_, layout) = struct_type(registered)?;
        let word = self.header_word(registered);
        let object = self.emitter().struct_new_default(word, layout);
        self.stack.push(object);
        Ok(())
    }

    pub(super) fn struct_get(
        &mut self,
        type_index: u32,
        field: u32,
        extend: Option<Extend>,
    ) -> Result<()> {
        let registered = self.env.module_type(type_index);
        let (ty, layout) = struct_type(registered)?;
        let field = field as usize;
        let object = self.stack.pop();
        let stored = self.emitter().struct_get(object, layout, field, extend);
        let from = (registered.index, field as u32);
        self.push_stored(&ty.fields[field].element_type, stored, Some(from));
        Ok(())
    }

    pub(super) fn struct_set(&mut self, type_index: u32, field: u32) -> Result<()> {
        let registered = self.env.module_type(type_index);
        let (ty, layout) = struct_type(registered)?;
        let field = field as usize;
        let (object, value) = self.stack.pop2();
        let value = self.value_to_stored(&ty.fields[field].element_type, value);
        self.emitter().struct_set(object, layout, field, value);
        Ok(())
    }
}
