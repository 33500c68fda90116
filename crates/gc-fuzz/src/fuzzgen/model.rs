//! Interprets a program's CLIF with `cranelift-interpreter`.
//!
//! The memory of the program is a few ranges of bytes at made-up addresses: the heap, its data, the
//! contexts, the table, the collector's tables. The heap is never collected. Host calls are done
//! here. The interpreter knows neither them nor calls of functions that are not in its own store, so
//! calls are taken from it.

use super::outcome::{End, Graph, Outcome, Roots};
use super::{Case, machine};
use anyhow::{Result, anyhow, bail, ensure};
use cranelift_codegen::data_value::DataValue;
use cranelift_codegen::ir::{
    ExternalName, FuncRef, Function, GlobalValue, Inst, InstructionData, MemFlagsData, Opcode,
    StackSlot, TrapCode, Type, types,
};
use cranelift_interpreter::address::{Address, AddressRegion, AddressSize};
use cranelift_interpreter::frame::Frame;
use cranelift_interpreter::instruction::DfgInstructionContext;
use cranelift_interpreter::interpreter::LibCallHandler;
use cranelift_interpreter::state::{InterpreterFunctionRef, MemoryError, State};
use cranelift_interpreter::step::{ControlFlow, CraneliftTrap, step};
use gc_compiler::HOST_CALL_NAMESPACE;
use gc_testkit::clif::world::{self, NODE, TABLE_LENGTH};
use gc_types::collector::{bump, drc, generational, nursery};
use gc_types::{
    Abi, ArrayLayout, GcLayout, HeapDataOffsets, HostCall, NULL_PAGE_SIZE, Trap, VMGcHeader,
    VMOffsets,
};

/// Addresses of the ranges. A range is at most 4 GiB long.
const STACK: u64 = 1 << 32;
const VMCTX: u64 = 2 << 32;
const STORE: u64 = 3 << 32;
const DATA: u64 = 4 << 32;
const DISPLAYS: u64 = 5 << 32;
const FUNC_REFS: u64 = 6 << 32;
const FUNC_REF: u64 = 7 << 32;
const TABLE: u64 = 8 << 32;
const CARDS: u64 = 9 << 32;
const SLOT_CARDS: u64 = 10 << 32;
const LIST: u64 = 11 << 32;
const STARTS: u64 = 12 << 32;
const LOG: u64 = 13 << 32;
const BUNDLES: u64 = 14 << 32;
const HEAP: u64 = 16 << 32;
/// The address of the program's code.
const CODE: u64 = 99 << 32;

/// Bytes of the heap, the null page included.
const HEAP_SIZE: u32 = 512 << 10;
/// Where the host allocates.
const HOST_PART: u32 = NULL_PAGE_SIZE + (128 << 10);
/// Entries of the list of counted objects.
const LIST_CAPACITY: u32 = 16;
/// The instructions that a program executes at most.
const STEPS: u32 = 1 << 20;

/// Interprets the program.
pub(super) fn run(case: &Case, abi: &Abi, func: &Function) -> Result<Outcome> {
    let mut model = Model {
        ranges: Vec::new(),
        frames: Vec::new(),
        frame_offset: 0,
        next: HOST_PART,
        layouts: world::layouts(),
        steps: STEPS,
    };
    model.make_memory(case, abi);
    let arguments = [VMCTX, case.arguments[0], case.arguments[1]];
    let arguments = arguments.map(|word| DataValue::I64(word.cast_signed()));
    let (end, result) = match model.call(func, &arguments)? {
        Ok(results) => match results[..] {
            [DataValue::I64(word)] => (End::Returned, u32::try_from(word)?),
            _ => bail!("the program returned {results:?}"),
        },
        Err(trap) => (End::Trapped(trap), 0),
    };
    let word = |at, size| model.read(at, size).unwrap_or(0);
    let mut table = [0; TABLE_LENGTH as usize];
    for (n, element) in table.iter_mut().enumerate() {
        *element = word(TABLE + 4 * n as u64, 4) as u32;
    }
    let global = word(VMCTX + u64::from(world::GLOBAL_OFFSET.cast_unsigned()), 4) as u32;
    let roots = Roots { result, global, table };
    let graph = Graph::of(&roots, |at, size| model.read(HEAP + u64::from(at), size));
    let fuel = word(VMCTX + u64::from(world::FUEL), 4) as u32;
    let observed = word(VMCTX + u64::from(world::OBSERVED), 8);
    Ok(Outcome { end, fuel, observed, graph })
}

/// The memory and the frames.
struct Model<'a> {
    /// Bytes at an address.
    ranges: Vec<(u64, Vec<u8>)>,
    frames: Vec<Frame<'a>>,
    /// Where the stack slots of the innermost frame begin.
    frame_offset: u64,
    /// Where the host allocates next.
    next: u32,
    layouts: [(gc_types::TypeIndex, GcLayout); 4],
    steps: u32,
}

/// The result of a call: values, or the trap.
type Called = Result<Vec<DataValue>, Trap>;

impl<'a> Model<'a> {
    fn make_memory(&mut self, case: &Case, abi: &Abi) {
        let heap = HEAP_SIZE as usize;
        for (at, size) in [
            (STACK, 256 << 10),
            (VMCTX, world::VMCTX_SIZE as usize),
            (STORE, 128),
            (DATA, HeapDataOffsets::SIZE as usize),
            (DISPLAYS, 64 * VMOffsets::DISPLAY_ROW as usize * 4),
            (FUNC_REFS, 16),
            (FUNC_REF, 24),
            (TABLE, TABLE_LENGTH as usize * 4),
            (CARDS, heap >> generational::CARD_SHIFT),
            (SLOT_CARDS, generational::SLOT_CARDS_LEN as usize),
            (LIST, LIST_CAPACITY as usize * 4),
            (STARTS, heap >> drc::STARTS_SHIFT),
            (LOG, 1 << 16),
            (BUNDLES, heap >> generational::BUNDLE_SHIFT),
            (HEAP, heap),
        ] {
            self.ranges.push((at, vec![0; size]));
        }
        // An address is looked up by the last start that is not after it.
        assert!(self.ranges.is_sorted_by_key(|(at, _)| *at));
        let o = abi.offsets();
        let mut set = |at: u64, offset: u32, size: u32, word: u64| {
            self.write(at + u64::from(offset), size, word).expect("it is in a range");
        };
        set(VMCTX, o.vmctx_heap_base(), 8, HEAP);
        set(VMCTX, o.vmctx_heap_data(), 8, DATA);
        set(VMCTX, o.vmctx_store_context(), 8, STORE);
        set(VMCTX, world::TABLE_BASE, 8, TABLE);
        set(VMCTX, world::FUNC_REF, 8, FUNC_REF);
        set(VMCTX, world::FUEL, 8, machine::FUEL.into());
        set(STORE, o.store_type_displays(), 8, DISPLAYS);
        set(STORE, o.store_func_refs(), 8, FUNC_REFS);
        set(STORE, o.store_func_refs_len(), 8, 2);
        set(FUNC_REFS, 8, 8, FUNC_REF);
        set(FUNC_REF, o.func_ref_code(), 8, CODE);
        set(FUNC_REF, o.func_ref_vmctx(), 8, VMCTX);
        set(FUNC_REF, o.func_ref_type(), 4, world::FUNC.as_u32().into());
        set(FUNC_REF, o.func_ref_id(), 4, 1);
        for (at, word) in world::displays() {
            set(DISPLAYS, at as u32 * 4, 4, word.into());
        }
        set(DATA, HeapDataOffsets::BOUND, 8, HEAP_SIZE.into());
        set(DATA, HeapDataOffsets::ZEAL_COUNTDOWN, 4, case.heap.zeal.into());
        // Every collector allocates between these words.
        set(DATA, bump::NEXT, 4, NULL_PAGE_SIZE.into());
        set(DATA, bump::LIMIT, 4, (NULL_PAGE_SIZE + case.room).into());
        match abi.collector().name() {
            drc::NAME => {
                set(DATA, drc::STARTS.address(), 8, STARTS);
                set(DATA, drc::LIST.address(), 8, LIST);
                set(DATA, drc::LIST_CAPACITY, 4, LIST_CAPACITY.into());
            }
            generational::NAME => {
                set(DATA, generational::CARDS.address(), 8, CARDS);
                set(DATA, generational::BUNDLES.address(), 8, BUNDLES);
                set(DATA, generational::SLOT_CARDS.address(), 8, SLOT_CARDS);
                set(DATA, generational::LOG.address(), 8, LOG);
                let nursery = abi.option(nursery::NURSERY) as u32;
                let last = if case.marking { u32::MAX } else { nursery - 1 };
                set(DATA, generational::MARKING, 4, case.marking.into());
                set(DATA, generational::YOUNG_LAST, 4, last.into());
            }
            _ => {}
        }
    }

    /// The bytes at an address. `None` if there are none.
    fn bytes(&self, at: u64, size: u32) -> Option<&[u8]> {
        // The null page is not mapped.
        let mapped = at < HEAP || at >= HEAP + u64::from(NULL_PAGE_SIZE);
        let (first, bytes) = self.ranges.iter().rfind(|(first, _)| *first <= at)?;
        let at = usize::try_from(at - first).ok()?;
        bytes.get(at..at.checked_add(size as usize)?).filter(|_| mapped)
    }

    fn read(&self, at: u64, size: u32) -> Option<u64> {
        let mut word = [0; 8];
        word[..size as usize].copy_from_slice(self.bytes(at, size)?);
        Some(u64::from_le_bytes(word))
    }

    fn bytes_mut(&mut self, at: u64, size: u32) -> Option<&mut [u8]> {
        self.bytes(at, size)?;
        let (first, bytes) = self.ranges.iter_mut().rfind(|(first, _)| *first <= at)?;
        let at = (at - *first) as usize;
        Some(&mut bytes[at..at + size as usize])
    }

    fn write(&mut self, at: u64, size: u32, word: u64) -> Option<()> {
        let bytes = self.bytes_mut(at, size)?;
        bytes.copy_from_slice(&word.to_le_bytes()[..size as usize]);
        Some(())
    }

    // ---- control ----------------------------------------------------------

    /// Calls a function.
    fn call(&mut self, func: &'a Function, arguments: &[DataValue]) -> Result<Called> {
        self.push_frame(func);
        let entry = func.layout.entry_block().ok_or_else(|| anyhow!("an empty function"))?;
        let params = func.dfg.block_params(entry);
        self.current_frame_mut().set_all(params, arguments.to_vec());
        let mut next = func.layout.first_inst(entry);
        while let Some(inst) = next {
            self.steps = self.steps.checked_sub(1).ok_or_else(|| anyhow!("it does not end"))?;
            next = func.layout.next_inst(inst);
            let data = &func.dfg.insts[inst];
            if data.opcode().is_call() {
                let called = self.called(func, inst)?;
                if let (true, _) | (_, Err(_)) = (data.opcode().is_return(), &called) {
                    self.pop_frame();
                    return Ok(called);
                }
                let results = called.unwrap_or_default();
                self.current_frame_mut().set_all(func.dfg.inst_results(inst), results);
                continue;
            }
            let flow = step(self, DfgInstructionContext::new(inst, &func.dfg));
            match flow.map_err(|why| anyhow!("{}: {why}", func.dfg.display_inst(inst)))? {
                ControlFlow::Assign(values) => {
                    let results = func.dfg.inst_results(inst);
                    self.current_frame_mut().set_all(results, values.to_vec());
                }
                ControlFlow::Continue => {}
                ControlFlow::ContinueAt(block, values) => {
                    let params = func.dfg.block_params(block);
                    self.current_frame_mut().set_all(params, values.to_vec());
                    next = func.layout.first_inst(block);
                }
                ControlFlow::Return(values) => {
                    self.pop_frame();
                    return Ok(Ok(values.to_vec()));
                }
                ControlFlow::Trap(CraneliftTrap::User(code)) => {
                    self.pop_frame();
                    return Ok(Err(trap(code)?));
                }
                other => bail!("{} led to {other:?}", func.dfg.display_inst(inst)),
            }
        }
        bail!("a block has no end")
    }

    /// Does the call that `inst` is.
    fn called(&mut self, func: &'a Function, inst: Inst) -> Result<Called> {
        let args = func.dfg.inst_args(inst);
        let mut args = self.current_frame().get_all(args);
        let data = &func.dfg.insts[inst];
        match data {
            InstructionData::Call {
                func_ref, opcode: Opcode::Call | Opcode::ReturnCall, ..
            } => {
                let ExternalName::User(name) = func.dfg.ext_funcs[*func_ref].name else {
                    bail!("a call of something else than a function")
                };
                let name = &func.params.user_named_funcs()[name];
                if name.namespace == HOST_CALL_NAMESPACE {
                    let call = HostCall::from_index(name.index);
                    let result = self.host_call(call, &args)?;
                    return Ok(result.map(|word| {
                        let at = STORE + u64::from(VMOffsets::HOST.store_host_result());
                        self.write(at, 8, word).expect("it is in a range");
                        Vec::new()
                    }));
                }
            }
            InstructionData::CallIndirect { .. } => {
                let code = args.remove(0);
                ensure!(code == DataValue::I64(CODE.cast_signed()), "a call of {code}");
            }
            other => bail!("a call with the opcode {}", other.opcode()),
        }
        self.call(func, &args)
    }

    // ---- the host ---------------------------------------------------------

    fn host_call(&mut self, call: HostCall, args: &[DataValue]) -> Result<Result<u64, Trap>> {
        let word = |arg: &DataValue| match arg {
            DataValue::I32(word) => u64::from(word.cast_unsigned()),
            DataValue::I64(word) => word.cast_unsigned(),
            _ => 0,
        };
        let words: Vec<u64> = args.iter().skip(1).map(word).collect();
        let small = |n: usize| words[n] as u32;
        Ok(match call {
            HostCall::ALLOC_STRUCT => Ok(self.alloc(small(0), 0)?.into()),
            HostCall::ALLOC_ARRAY => Ok(self.alloc(small(0), small(1))?.into()),
            // Nothing depends on the collector's notes.
            HostCall::COLLECTOR => Ok(0),
            HostCall::IS_SUBTYPE => Ok((words[0] == words[1]).into()),
            HostCall::ARRAY_COPY => {
                let (to, from) = (small(0), small(2));
                let (to, from) = (
                    self.elements(to, small(1), small(4)),
                    self.elements(from, small(3), small(4)),
                );
                match (to, from) {
                    (Some(to), Some((from, size))) => {
                        let bytes = self.bytes(from, size).map(<[u8]>::to_vec);
                        let bytes = bytes.ok_or_else(|| anyhow!("a wild array"))?;
                        let target = self.bytes_mut(to.0, size);
                        target.ok_or_else(|| anyhow!("a wild array"))?.copy_from_slice(&bytes);
                        Ok(0)
                    }
                    _ => Err(Trap::ArrayOutOfBounds),
                }
            }
            HostCall::ARRAY_FILL => match self.elements(small(0), small(1), small(3)) {
                Some((at, size)) => {
                    for n in 0..u64::from(size) / 4 {
                        self.write(at + 4 * n, 4, words[2]).ok_or_else(|| anyhow!("wild"))?;
                    }
                    Ok(0)
                }
                None => Err(Trap::ArrayOutOfBounds),
            },
            machine::NEW => {
                let node = self.alloc(NODE.header_word(gc_types::VMGcKind::StructRef), 0)?;
                let at = HEAP + u64::from(node + world::value_field().offset);
                self.write(at, 8, small(0).into()).ok_or_else(|| anyhow!("a wild object"))?;
                Ok(node.into())
            }
            machine::TYPE_OF => {
                let header = match small(0) {
                    0 => None,
                    word if word & 1 != 0 => None,
                    word => self.read(HEAP + u64::from(word), 4),
                };
                let ty = |word| VMGcHeader::from_words(word as u32, 0).ty().as_u32();
                Ok(header.map_or(0, ty).into())
            }
            call => bail!("the program made host call {}", call.index()),
        })
    }

    /// Allocates an object in the host's part.
    fn alloc(&mut self, header_word: u32, length: u32) -> Result<u32> {
        let ty = VMGcHeader::from_words(header_word, 0).ty();
        let layout = self.layouts.iter().find(|(known, _)| *known == ty);
        let (_, layout) = layout.ok_or_else(|| anyhow!("an object of an unknown type"))?;
        let size = layout.size(length).ok_or_else(|| anyhow!("a large object"))?;
        let object = self.next;
        self.next += size;
        let is_array = layout.as_array().is_some();
        let at = HEAP + u64::from(object);
        let full = || anyhow!("the model's heap is full");
        self.write(at, 4, header_word.into()).ok_or_else(full)?;
        if is_array {
            let at = at + u64::from(ArrayLayout::LENGTH_OFFSET);
            self.write(at, 4, length.into()).ok_or_else(full)?;
        }
        self.bytes(at, size).ok_or_else(full)?;
        Ok(object)
    }

    /// The address and the bytes of some elements of an array of references, if it has them.
    fn elements(&self, array: u32, index: u32, count: u32) -> Option<(u64, u32)> {
        let at = HEAP + u64::from(array);
        let length = self.read(at + u64::from(ArrayLayout::LENGTH_OFFSET), 4)?;
        let inside = u64::from(index) + u64::from(count) <= length;
        let offset = world::element_offset(index);
        inside.then_some((at + offset, count * 4))
    }
}

/// The trap of a Cranelift code.
fn trap(code: TrapCode) -> Result<Trap> {
    Ok(match code {
        TrapCode::INTEGER_OVERFLOW => Trap::IntegerOverflow,
        TrapCode::INTEGER_DIVISION_BY_ZERO => Trap::IntegerDivisionByZero,
        code => Trap::from_code(code.as_raw().get()).ok_or_else(|| anyhow!("trap {code}"))?,
    })
}

/// The made-up address behind one of the interpreter's. Ours are all small, so that they are those
/// of its stack.
fn flat(address: &Address) -> Option<u64> {
    (address.region == AddressRegion::Stack).then_some(address.offset)
}

impl<'a> State<'a> for Model<'a> {
    fn get_function(&self, _func_ref: FuncRef) -> Option<&'a Function> {
        None
    }

    fn get_current_function(&self) -> &'a Function {
        self.current_frame().function()
    }

    fn get_libcall_handler(&self) -> LibCallHandler {
        |_, _| Err(CraneliftTrap::UnreachableCodeReached)
    }

    fn push_frame(&mut self, function: &'a Function) {
        if let Some(frame) = self.frames.last() {
            self.frame_offset += u64::from(frame.function().fixed_stack_size());
        }
        self.frames.push(Frame::new(function));
    }

    fn pop_frame(&mut self) {
        self.frames.pop();
        if let Some(frame) = self.frames.last() {
            self.frame_offset -= u64::from(frame.function().fixed_stack_size());
        }
    }

    fn current_frame_mut(&mut self) -> &mut Frame<'a> {
        self.frames.last_mut().expect("a function runs")
    }

    fn current_frame(&self) -> &Frame<'a> {
        self.frames.last().expect("a function runs")
    }

    fn stack_address(
        &self,
        size: AddressSize,
        slot: StackSlot,
        offset: u64,
    ) -> Result<Address, MemoryError> {
        let slots = &self.get_current_function().sized_stack_slots;
        let before: u64 = slots
            .keys()
            .take_while(|other| *other != slot)
            .map(|other| slots[other].size)
            .map(u64::from)
            .sum();
        let at = STACK + self.frame_offset + before + offset;
        Address::from_parts(size, AddressRegion::Stack, 0, at)
    }

    fn checked_load(
        &self,
        address: Address,
        ty: Type,
        mem_flags: MemFlagsData,
    ) -> Result<DataValue, MemoryError> {
        match flat(&address).and_then(|at| self.bytes(at, ty.bytes())) {
            Some(bytes) => Ok(DataValue::read_from_slice_le(bytes, ty)),
            None => Err(MemoryError::OutOfBoundsLoad {
                addr: address,
                load_size: ty.bytes() as usize,
                mem_flags,
            }),
        }
    }

    fn checked_store(
        &mut self,
        address: Address,
        value: DataValue,
        mem_flags: MemFlagsData,
    ) -> Result<(), MemoryError> {
        let size = value.ty().bytes();
        match flat(&address).and_then(|at| self.bytes_mut(at, size)) {
            Some(bytes) => {
                value.write_to_slice_le(bytes);
                Ok(())
            }
            None => Err(MemoryError::OutOfBoundsStore {
                addr: address,
                store_size: size as usize,
                mem_flags,
            }),
        }
    }

    fn function_address(
        &self,
        _size: AddressSize,
        _name: &ExternalName,
    ) -> Result<Address, MemoryError> {
        Err(MemoryError::InvalidAddressType(types::I64))
    }

    fn get_function_from_address(&self, _address: Address) -> Option<InterpreterFunctionRef<'a>> {
        None
    }

    fn resolve_global_value(&self, _global: GlobalValue) -> Result<DataValue, MemoryError> {
        Err(MemoryError::InvalidAddressType(types::I64))
    }

    fn get_pinned_reg(&self) -> DataValue {
        DataValue::I64(0)
    }

    fn set_pinned_reg(&mut self, _value: DataValue) {}
}
