//! Arrays.

use crate::compile::env::array_type;
use crate::compile::translate::Translator;
use crate::host_calls;
use anyhow::Result;
use cranelift_codegen::ir;
use gc_compiler::{ArrayInit, Extend};
use gc_types::HostCall;

/// The most bytes of a data segment that are constants in the code of a new array.
const MAX_CONSTANT_BYTES: usize = 64;

impl Translator<'_, '_> {
    pub(super) fn array_new(&mut self, type_index: u32) -> Result<()> {
        let registered = self.env.module_type(type_index);
        let (element, layout) = array_type(registered)?;
        let (value, length) = self.stack.pop2();
        let value = self.value_to_stored(element, value);
        let word = self.header_word(registered);
        let init = ArrayInit::Fill(value, length);
        let array = self.metered_emitter().array_new(word, layout, init);
        self.stack.push(array);
        Ok(())
    }

    pub(super) fn array_new_default(&mut self, type_index: u32) -> Result<()> {
        let registered = self.env.module_type(type_index);
        let (_, layout) = array_type(registered)?;
        let length = self.stack.pop();
        let word = self.header_word(registered);
        let init = ArrayInit::Default(length);
        let array = self.metered_emitter().array_new(word, layout, init);
        self.stack.push(array);
        Ok(())
    }

    pub(super) fn array_new_fixed(&mut self, type_index: u32, length: u32) -> Result<()> {
        let registered = self.env.module_type(type_index);
        let (element, layout) = array_type(registered)?;
        let mut values = self.stack.pop_n(length as usize);
        for value in &mut values {
            *value = self.value_to_stored(element, *value);
        }
        let word = self.header_word(registered);
        let init = ArrayInit::Elements(&values);
        let array = self.emitter().array_new(word, layout, init);
        self.stack.push(array);
        Ok(())
    }

    pub(super) fn array_new_data(&mut self, type_index: u32, data: u32) -> Result<()> {
        let registered = self.env.module_type(type_index);
        let (_, layout) = array_type(registered)?;
        if let Some(bytes) = self.constant_data(data, layout.element.size()) {
            let _operands = self.stack.pop2();
            let word = self.header_word(registered);
            let init = ArrayInit::Bytes(bytes);
            let array = self.metered_emitter().array_new(word, layout, init);
            self.stack.push(array);
            return Ok(());
        }
        let size = self.index(layout.element.size());
        self.array_from_segment(host_calls::ARRAY_NEW_DATA, type_index, &[size], data);
        Ok(())
    }

    pub(super) fn array_new_elem(&mut self, type_index: u32, element: u32) {
        self.array_from_segment(host_calls::ARRAY_NEW_ELEM, type_index, &[], element);
    }

    /// Passes `more` to the host between the type and the segment.
    fn array_from_segment(
        &mut self,
        call: HostCall,
        type_index: u32,
        more: &[ir::Value],
        segment: u32,
    ) {
        let registered = self.env.module_type(type_index);
        let (start, length) = self.stack.pop2();
        let word = self.header_word(registered);
        let segment = self.index(segment);
        let mut args = vec![word];
        args.extend_from_slice(more);
        args.extend([segment, start, length]);
        self.call_metered(call, &args);
        let array = self.emitter().host_result_ref();
        self.stack.push(array);
    }

    pub(super) fn array_get(&mut self, type_index: u32, extend: Option<Extend>) -> Result<()> {
        let registered = self.env.module_type(type_index);
        let (element, layout) = array_type(registered)?;
        let (array, index) = self.stack.pop2();
        let stored = self.emitter().array_get(array, layout, index, extend);
        self.push_stored(element, stored, None);
        Ok(())
    }

    pub(super) fn array_set(&mut self, type_index: u32) -> Result<()> {
        let registered = self.env.module_type(type_index);
        let (element, layout) = array_type(registered)?;
        let (array, index, value) = self.stack.pop3();
        let value = self.value_to_stored(element, value);
        self.emitter().array_set(array, layout, index, value);
        Ok(())
    }

    pub(super) fn array_len(&mut self) {
        let array = self.stack.pop();
        let length = self.emitter().array_len(array);
        self.stack.push(length);
    }

    pub(super) fn array_fill(&mut self, type_index: u32) -> Result<()> {
        let registered = self.env.module_type(type_index);
        let (element, layout) = array_type(registered)?;
        let length = self.stack.pop();
        let (array, index, value) = self.stack.pop3();
        let value = self.value_to_stored(element, value);
        self.metered_emitter().array_fill(array, layout, index, value, length);
        Ok(())
    }

    pub(super) fn array_copy(&mut self, type_index: u32) -> Result<()> {
        let registered = self.env.module_type(type_index);
        let (_, layout) = array_type(registered)?;
        let (source, source_index, length) = self.stack.pop3();
        let (destination, index) = self.stack.pop2();
        let (to, from) = ((destination, index), (source, source_index));
        self.metered_emitter().array_copy(layout, to, from, length);
        Ok(())
    }

    pub(super) fn array_init_data(&mut self, data: u32) {
        self.array_init(host_calls::ARRAY_INIT_DATA, data);
    }

    pub(super) fn array_init_elem(&mut self, element: u32) {
        self.array_init(host_calls::ARRAY_INIT_ELEM, element);
    }

    fn array_init(&mut self, call: HostCall, segment: u32) {
        let (index, start, length) = self.stack.pop3();
        let array = self.stack.pop();
        let segment = self.index(segment);
        self.emitter().trap_if_null(array);
        self.call_metered(call, &[array, index, segment, start, length]);
    }
}

impl<'a> Translator<'a, '_> {
    /// The bytes of the elements of `size` bytes that the uppermost operands select in a data segment:
    /// the first byte and the number of elements. `None` if they are not constants, there are too many
    /// elements, or the instruction traps.
    fn constant_data(&mut self, data: u32, size: u32) -> Option<&'a [u8]> {
        let &[start, length] = self.stack.peek_n(2) else { return None };
        let e = self.emitter();
        let [start, length] = [e.constant(start)?, e.constant(length)?];
        let [start, length] = [start, length].map(|word| word as u32 as usize);
        let end = start.checked_add(length.checked_mul(size as usize)?)?;
        let bytes = self.env.cx.info.data[data as usize].constant()?.get(start..end)?;
        (bytes.len() <= MAX_CONSTANT_BYTES).then_some(bytes)
    }
}
