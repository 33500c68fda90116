//! [`Meter`]: emits the code by which a function is metered, for an embedder that wants to stop or
//! suspend code after some work (fuel) or after some time (epochs).
//!
//! *Fuel* is exact. Code adds up what its operations cost. The sum is in a register while a function
//! runs, and in the store context when control leaves the function. It begins as a negative number,
//! so the check of whether the fuel is used up is a test of the sign.
//!
//! *Epochs* are not exact. The host increments a counter from time to time. A check loads it and
//! the store's deadline, and compares them. The deadline is not kept in a register, so a deadline
//! that the host brings forward is seen at the next check.
//!
//! Checks stand where a function begins and where each turn of a loop begins, so the time between
//! two of them is bounded by the size of a function. A failed check calls the host in a cold block.
//! The host may run code and collect there, so the call is a safepoint. Nothing is emitted unless
//! the [`Abi`] says so. A function without calls needs no check of the stack. With a check of fuel or of an
//! epoch it has a call, and so it also has a check of the stack, which is five instructions.

use crate::{GcEmitter, regions};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, types};
use cranelift_frontend::Variable;
use gc_types::{Abi, HostCall};

/// The host calls of metered code. Neither has parameters or a result. Both may fail and may
/// collect, and both are the embedder's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterCalls {
    /// The fuel is used up. The host gives more, or fails.
    pub out_of_fuel: HostCall,
    /// The epoch's deadline is reached. The host sets another one, or fails.
    pub new_epoch: HostCall,
}

/// Meters one function, as its [`Abi`] says: [fuel](Abi::fuel), [epochs](Abi::epochs), both or
/// neither.
///
/// The duties of its user:
/// 1. [`enter`](Meter::enter) is called at the beginning, and [`check`](Meter::check) at the head of
///    each loop.
/// 2. [`commit`](Meter::commit) is called before control forks or joins, so that each path has its
///    own costs only. An operation on many elements that is emitted with
///    [`GcEmitter::metered`] does so itself.
/// 3. [`flush`](Meter::flush) is called before control leaves the function: before calls that may
///    look at the fuel or change it, returns, throws, and traps that count. Where control comes
///    back, also to a handler, [`reload`](Meter::reload) is called.
///
/// # Examples
/// A function that costs three units:
///
/// ```
/// use cranelift_codegen::ir::{self, AbiParam, InstBuilder, types};
/// use cranelift_codegen::isa::CallConv;
/// use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
/// use gc_compiler::collector::copying::CopyingCompiler;
/// use gc_compiler::{
///     Annotations, GcCompiler, GcEmitter, GcFuncEnv, Meter, MeterCalls, import_host_call,
/// };
/// use gc_types::{Abi, HostCall};
///
/// gc_types::declare_host_calls! {
///     /// The host calls of the language.
///     const CALLS from HostCall::FIRST_EMBEDDER, named "";
///
///     /// Gives more fuel.
///     OUT_OF_FUEL: [collects] fn out_of_fuel() -> Result<()>;
///     /// Sets another deadline.
///     NEW_EPOCH: [collects] fn new_epoch() -> Result<()>;
/// }
///
/// struct Env(Abi, ir::Value, Annotations);
///
/// impl GcFuncEnv for Env {
///     fn abi(&self) -> &Abi {
///         &self.0
///     }
///
///     fn vmctx(&mut self, _: &mut ir::Function) -> ir::Value {
///         self.1
///     }
///
///     fn host_call(&mut self, func: &mut ir::Function, call: HostCall) -> ir::FuncRef {
///         import_host_call(func, call, self.0.host_call(call).expect("it is declared"))
///     }
///
///     fn annotations(&mut self) -> &mut Annotations {
///         &mut self.2
///     }
/// }
///
/// let gc = CopyingCompiler;
/// let abi = Abi::new(gc.abi()).with_fuel(true).with_host_calls(CALLS.iter().copied());
/// let mut signature = ir::Signature::new(CallConv::Tail);
/// signature.params.push(AbiParam::special(types::I64, ir::ArgumentPurpose::VMContext));
/// let mut func = ir::Function::with_name_signature(Default::default(), signature);
/// let mut context = FunctionBuilderContext::new();
/// let mut builder = FunctionBuilder::new(&mut func, &mut context);
/// let entry = builder.create_block();
/// builder.append_block_params_for_function_params(entry);
/// builder.switch_to_block(entry);
/// builder.seal_block(entry);
///
/// let calls = MeterCalls { out_of_fuel: OUT_OF_FUEL, new_epoch: NEW_EPOCH };
/// let mut meter = Meter::new(&abi, calls);
/// let mut env = Env(abi, builder.block_params(entry)[0], Annotations::default());
/// let mut e = GcEmitter::new(&mut builder, &mut env, &gc);
/// meter.consume(1);
/// meter.enter(&mut e);
/// // Its two operations are emitted here.
/// meter.consume(2);
/// meter.flush(&mut e);
/// e.builder.ins().return_(&[]);
/// builder.seal_all_blocks();
///
/// let text = func.display().to_string();
/// assert!(text.contains("fn1:16") || text.contains("u1:16"), "it calls the host: {text}");
/// ```
#[derive(Clone, Debug)]
pub struct Meter {
    /// The host call for used up fuel, if fuel is consumed.
    out_of_fuel: Option<HostCall>,
    /// The host call for a reached deadline, if epochs are checked.
    new_epoch: Option<HostCall>,
    /// The fuel word, from the beginning of the function on.
    fuel: Option<Variable>,
    /// What was consumed, but is not yet added to the variable.
    pending: i64,
}

impl Meter {
    /// The most that is added up in constants. A check follows each operation that may consume much,
    /// so the sum of what is consumed between two checks does not overflow.
    const MAX: i64 = 1 << 62;

    /// The meter of a function with this ABI. The first consumption is that of its call, if it has
    /// a cost.
    pub fn new(abi: &Abi, calls: MeterCalls) -> Meter {
        Meter {
            out_of_fuel: abi.fuel().then_some(calls.out_of_fuel),
            new_epoch: abi.epochs().then_some(calls.new_epoch),
            fuel: None,
            pending: 0,
        }
    }

    /// Whether it emits anything.
    pub fn is_on(&self) -> bool {
        self.out_of_fuel.is_some() || self.new_epoch.is_some()
    }

    /// Begins the function, with a [check](Meter::check). Call it once, before any code that costs
    /// fuel is emitted.
    pub fn enter(&mut self, e: &mut GcEmitter<'_, '_>) {
        if self.out_of_fuel.is_some() {
            self.fuel = Some(e.builder.declare_var(types::I64));
            self.reload(e);
        }
        self.check(e);
    }

    /// Notes that the code from here on consumes `units` of fuel.
    pub fn consume(&mut self, units: u32) {
        if self.out_of_fuel.is_some() {
            self.pending = self.pending.saturating_add(units.into()).min(Meter::MAX);
        }
    }

    /// Notes that an operation on `units` elements (`I32`, unsigned) consumes `per_unit` fuel for each.
    /// It was [committed](Meter::commit) if control has forked since.
    pub fn consume_many(&mut self, e: &mut GcEmitter<'_, '_>, units: ir::Value, per_unit: u32) {
        let Some(variable) = self.fuel else { return };
        let per_unit = i64::from(per_unit);
        if let Some(units) = constant(e.builder.func, units) {
            let units = i64::try_from(units).unwrap_or(Meter::MAX);
            let cost = units.saturating_mul(per_unit).min(Meter::MAX);
            self.pending = self.pending.saturating_add(cost).min(Meter::MAX);
        } else if per_unit > 0 {
            let units = e.builder.ins().uextend(types::I64, units);
            let cost = e.builder.ins().imul_imm_u(units, per_unit);
            self.commit(e);
            let fuel = e.builder.use_var(variable);
            let fuel = e.builder.ins().iadd(fuel, cost);
            e.builder.def_var(variable, fuel);
        }
    }

    /// [Checks](Meter::check) if `condition` is not zero, in a cold block.
    pub fn check_if(&mut self, e: &mut GcEmitter<'_, '_>, condition: ir::Value) {
        self.commit(e);
        let (cold, next) = (e.create_cold_block(), e.builder.create_block());
        e.builder.ins().brif(condition, cold, &[], next, &[]);
        e.continue_in(cold);
        self.check(e);
        e.builder.ins().jump(next, &[]);
        e.continue_in(next);
    }

    /// Adds to the fuel word what was consumed so far.
    pub fn commit(&mut self, e: &mut GcEmitter<'_, '_>) {
        let Some(variable) = self.fuel else { return };
        let pending = std::mem::take(&mut self.pending);
        if pending != 0 {
            let fuel = e.builder.use_var(variable);
            let fuel = e.builder.ins().iadd_imm_s(fuel, pending);
            e.builder.def_var(variable, fuel);
        }
    }

    /// [Commits](Meter::commit), and writes the fuel word to the store context.
    pub fn flush(&mut self, e: &mut GcEmitter<'_, '_>) {
        self.commit(e);
        let Some(variable) = self.fuel else { return };
        let context = store_context(e);
        let fuel = e.builder.use_var(variable);
        let flags = e.native_flags(regions::FUEL);
        let offset = e.offsets().store_fuel().cast_signed();
        e.builder.ins().store(flags, fuel, context, offset);
    }

    /// Reads the fuel word from the store context.
    pub fn reload(&mut self, e: &mut GcEmitter<'_, '_>) {
        let Some(variable) = self.fuel else { return };
        let context = store_context(e);
        let offset = e.offsets().store_fuel();
        let fuel = e.load_native(types::I64, regions::FUEL, context, offset);
        e.builder.def_var(variable, fuel);
    }

    /// [Commits](Meter::commit), and calls the host if the fuel is used up or the deadline is
    /// reached.
    pub fn check(&mut self, e: &mut GcEmitter<'_, '_>) {
        if let (Some(call), Some(variable)) = (self.out_of_fuel, self.fuel) {
            self.commit(e);
            let fuel = e.builder.use_var(variable);
            let used_up = e.builder.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, fuel, 0);
            self.call_if(e, used_up, call);
        }
        if let Some(call) = self.new_epoch {
            let context = store_context(e);
            let offset = e.offsets().store_epoch_counter();
            let counter = constant_pointer(e, regions::STORE_CONTEXT, context, offset);
            let epoch = e.load_native(types::I64, regions::EPOCHS, counter, 0);
            let offset = e.offsets().store_epoch_deadline();
            let deadline = e.load_native(types::I64, regions::EPOCHS, context, offset);
            let reached = e.builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, epoch, deadline);
            self.call_if(e, reached, call);
        }
    }

    /// Calls the host in a cold block if `condition` is not zero.
    fn call_if(&mut self, e: &mut GcEmitter<'_, '_>, condition: ir::Value, call: HostCall) {
        let cold = e.builder.create_block();
        let next = e.builder.create_block();
        e.builder.set_cold_block(cold);
        e.builder.ins().brif(condition, cold, &[], next, &[]);
        e.builder.seal_block(cold);
        e.builder.switch_to_block(cold);
        self.flush(e);
        e.call_host(call, &[]);
        self.reload(e);
        e.builder.ins().jump(next, &[]);
        e.builder.seal_block(next);
        e.builder.switch_to_block(next);
    }
}

/// The store context's address.
fn store_context(e: &mut GcEmitter<'_, '_>) -> ir::Value {
    let vmctx = e.vmctx();
    let offset = e.offsets().vmctx_store_context();
    constant_pointer(e, regions::VMCTX, vmctx, offset)
}

/// Loads a pointer that does not change while the function runs. Unlike other such loads, those of a
/// meter are needed again after each call, and in loops, so Cranelift may keep the pointer.
fn constant_pointer(
    e: &mut GcEmitter<'_, '_>,
    region: regions::Region,
    address: ir::Value,
    offset: u32,
) -> ir::Value {
    let region = regions::intern(e.builder.func, region);
    let flags = MemFlagsData::trusted().with_readonly().with_can_move();
    let flags = flags.with_alias_region(Some(region));
    e.builder.ins().load(types::I64, flags, address, offset.cast_signed())
}

/// The value of a constant, unsigned.
fn constant(func: &ir::Function, value: ir::Value) -> Option<u64> {
    let inst = func.dfg.value_def(func.dfg.resolve_aliases(value)).inst()?;
    match func.dfg.insts[inst] {
        ir::InstructionData::UnaryImm { opcode: ir::Opcode::Iconst, imm } => {
            let bits = imm.bits().cast_unsigned();
            Some(match func.dfg.value_type(value) {
                types::I32 => u64::from(bits as u32),
                _ => bits,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Annotations;
    use crate::collector::null::NullCompiler;
    use crate::{GcCompiler as _, GcFuncEnv, import_host_call};
    use cranelift_codegen::ir::{AbiParam, ArgumentPurpose, Function, Opcode, Signature};
    use cranelift_codegen::isa::CallConv;
    use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

    gc_types::declare_host_calls! {
        /// The host calls of the functions here.
        const CALLS from HostCall::FIRST_EMBEDDER, named "";

        /// Gives more fuel.
        OUT_OF_FUEL: [collects] fn out_of_fuel() -> Result<()>;
        /// Sets another deadline.
        NEW_EPOCH: [collects] fn new_epoch() -> Result<()>;
    }

    struct Env(Abi, ir::Value, Annotations);

    impl GcFuncEnv for Env {
        fn abi(&self) -> &Abi {
            &self.0
        }

        fn vmctx(&mut self, _: &mut Function) -> ir::Value {
            self.1
        }

        fn host_call(&mut self, func: &mut Function, call: HostCall) -> ir::FuncRef {
            import_host_call(func, call, self.0.host_call(call).expect("it is declared"))
        }

        fn annotations(&mut self) -> &mut Annotations {
            &mut self.2
        }
    }

    /// The opcodes of a function that `body` emits, with the sum of all constants.
    fn emitted(
        fuel: bool,
        epochs: bool,
        body: impl FnOnce(&mut Meter, &mut GcEmitter<'_, '_>),
    ) -> (Vec<Opcode>, i64) {
        let abi = Abi::new(NullCompiler.abi()).with_host_calls(CALLS.iter().copied());
        let abi = abi.with_fuel(fuel).with_epochs(epochs);
        let mut signature = Signature::new(CallConv::Tail);
        signature.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
        let mut func = Function::with_name_signature(Default::default(), signature);
        let mut context = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut func, &mut context);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.seal_block(entry);
        let calls = MeterCalls { out_of_fuel: OUT_OF_FUEL, new_epoch: NEW_EPOCH };
        let mut meter = Meter::new(&abi, calls);
        let mut env = Env(abi, builder.block_params(entry)[0], Annotations::default());
        let mut e = GcEmitter::new(&mut builder, &mut env, &NullCompiler);
        meter.consume(1);
        meter.enter(&mut e);
        body(&mut meter, &mut e);
        meter.flush(&mut e);
        builder.ins().return_(&[]);
        builder.seal_all_blocks();
        let insts = func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
        let (mut opcodes, mut sum) = (Vec::new(), 0);
        for inst in insts {
            opcodes.push(func.dfg.insts[inst].opcode());
            if let ir::InstructionData::UnaryImm { imm, .. } = func.dfg.insts[inst] {
                sum += imm.bits();
            }
        }
        (opcodes, sum)
    }

    fn count(opcodes: &[Opcode], wanted: Opcode) -> usize {
        opcodes.iter().filter(|opcode| **opcode == wanted).count()
    }

    #[test]
    fn nothing_is_emitted_unless_the_abi_says_so() {
        let (opcodes, _) = emitted(false, false, |meter, e| {
            meter.consume(5);
            let many = e.builder.ins().iconst(types::I32, 1000);
            meter.consume_many(e, many, 1);
            meter.check(e);
            meter.reload(e);
            assert!(!meter.is_on());
        });
        assert_eq!(opcodes, [Opcode::Iconst, Opcode::Return]);
    }

    #[test]
    fn both_modes_check_at_the_entry() {
        for (fuel, epochs, calls) in [(true, false, 1), (false, true, 1), (true, true, 2)] {
            let (opcodes, _) = emitted(fuel, epochs, |_, _| ());
            assert_eq!(count(&opcodes, Opcode::Call), calls);
            assert_eq!(count(&opcodes, Opcode::Brif), calls);
            assert_eq!(count(&opcodes, Opcode::Iadd), usize::from(fuel));
        }
    }

    #[test]
    fn costs_are_added_up_until_they_are_committed() {
        let (opcodes, sum) = emitted(true, false, |meter, e| {
            for cost in [1, 2, 3] {
                meter.consume(cost);
            }
            meter.commit(e);
            meter.commit(e);
            meter.consume(4);
        });
        // The call, the sum, and what is left at the end. The check compares with zero.
        assert_eq!((count(&opcodes, Opcode::Iadd), sum), (3, 1 + 6 + 4));
    }

    #[test]
    fn many_units_are_added() {
        let units = |units: i64, per_unit| {
            let (opcodes, sum) = emitted(true, false, |meter, e| {
                let units = e.builder.ins().iconst(types::I32, units);
                meter.consume_many(e, units, per_unit);
            });
            assert_eq!(count(&opcodes, Opcode::Call), 1);
            sum - 1 - i64::from(units as u32)
        };
        assert_eq!(units(128, 1), 128);
        assert_eq!(units(64, 3), 192);
        assert_eq!(units(1000, 0), 0);
        assert_eq!(units(0xffff_ffff, 255), 0xffff_ffff * 255);
        // What is not constant is multiplied. It has at most 32 bits, so the product does not wrap.
        for per_unit in [0, 1] {
            let (opcodes, _) = emitted(true, true, |meter, e| {
                let vmctx = e.vmctx();
                let units = e.load_native(types::I32, regions::VMCTX, vmctx, 0);
                meter.consume_many(e, units, per_unit);
                meter.check_if(e, units);
            });
            assert_eq!(count(&opcodes, Opcode::Call), 4);
            assert_eq!(count(&opcodes, Opcode::Uextend), per_unit as usize);
        }
    }
}
