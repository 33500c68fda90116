//! [`Language`]: what the checker must know of a language, and [`Types`], which is enough for most.

use super::facts::Facts;
use super::kinds::ValueKinds;
use cranelift_codegen::ir::{self, FuncRef, Inst, Opcode, SigRef, Type, Value, types};
use std::collections::{HashMap, HashSet};

/// The type of a parameter or a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// A reference to an object, null, or a value that the language stores instead of a reference, for example
    /// a tagged integer.
    Ref,
    /// A native pointer that a collection does not change.
    Pointer,
    /// Any other value: an integer of any width, a float, a vector.
    Data,
}

/// The types of a signature's parameters and results, in the order of the CLIF signature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SignatureTypes {
    /// The types of the parameters.
    pub params: Vec<ValueType>,
    /// The types of the results.
    pub results: Vec<ValueType>,
}

impl SignatureTypes {
    /// A signature with these parameters and results.
    pub fn new(
        params: impl IntoIterator<Item = ValueType>,
        results: impl IntoIterator<Item = ValueType>,
    ) -> SignatureTypes {
        SignatureTypes {
            params: params.into_iter().collect(),
            results: results.into_iter().collect(),
        }
    }

    /// A signature whose first parameter is a native pointer, for example a context, and then these.
    pub fn with_vmctx(
        params: impl IntoIterator<Item = ValueType>,
        results: impl IntoIterator<Item = ValueType>,
    ) -> SignatureTypes {
        SignatureTypes::new([ValueType::Pointer].into_iter().chain(params), results)
    }
}

/// A value that an instruction defines, for [`Language::kind`].
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The instruction.
    pub inst: Inst,
    /// The number of the result.
    pub index: usize,
    /// The result.
    pub value: Value,
    /// The last call before the instruction in its block. Also the call of which the block is the normal
    /// return, if nothing else leads to the block.
    pub last_call: Option<Inst>,
}

/// What a language says of a function that is checked. The duties:
///
/// 1. [`own`](Language::own) and [`call`](Language::call) say which parameters and results are references.
/// 2. [`may_collect`](Language::may_collect) is true for each call during which objects may move or be freed.
/// 3. [`kind`](Language::kind) says which loads from memory give references.
///
/// They come from the types of the language, and not from what the compiler marked for its stack maps,
/// because that is what is checked. [`Types`] does all of it for most languages.
pub trait Language {
    /// The types of the function's own signature.
    fn own(&self) -> &SignatureTypes;

    /// The types of the call `inst`. `None` if they are not known, which is an error.
    fn call(&self, func: &ir::Function, inst: Inst) -> Option<&SignatureTypes>;

    /// Whether the call `inst`, which is not a tail call, may collect.
    fn may_collect(&self, func: &ir::Function, inst: Inst) -> bool;

    /// The kinds of a value, where the language knows more than CLIF says. For a load this is the only way to
    /// know that it gives a reference. `None` leaves it to the checker's own rules.
    fn kind(&self, facts: &Facts<'_>, definition: Definition) -> Option<ValueKinds>;

    /// The type of references in values, slots and stack maps. By default it is `I64`.
    fn reference(&self) -> Type {
        types::I64
    }

    /// Whether a value of these kinds may be where a reference is expected. By default, references, null and
    /// unboxed values may.
    fn fits(&self, kinds: ValueKinds) -> bool {
        kinds.fits_ref()
    }

    /// Whether a value of these kinds may be where [`ValueType::Data`] is expected. By default any value may.
    /// [`Types`] does not let references be there.
    fn fits_data(&self, _kinds: ValueKinds) -> bool {
        true
    }

    /// The type of a value that an exception handler gets (`BlockArg::TryCallExn`). By default it is no
    /// reference.
    fn exception(&self, _index: u32) -> ValueType {
        ValueType::Data
    }
}

/// Which values that are not references may be where a reference is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Unboxed {
    /// None but null.
    #[default]
    Never,
    /// Values whose lowest bit is set, as integers in OCaml. The checker recognizes constants and the usual
    /// arithmetic that sets the bit, such as `(x << 1) | 1`. A shift of a reference to the right by one gives an integer.
    LowestBitSet,
    /// Any value, for example because it is boxed in a NaN. So a value of this type that is not a reference is
    /// no error anywhere. Floats and values that are narrower than a reference are never taken for
    /// addresses.
    Any,
}

/// The types of one function, for the checker. A compiler makes one for each function that it checks.
///
/// ```
/// use cranelift_codegen::ir::SigRef;
/// use stack_roots::check::{SignatureTypes, Types, Unboxed, ValueType};
///
/// // fn(reference, i64) -> reference, in a language with tagged integers.
/// let own = SignatureTypes::new([ValueType::Ref, ValueType::Data], [ValueType::Ref]);
/// let mut types = Types::new(own);
/// types.unboxed(Unboxed::LowestBitSet);
/// // The signature of a function `fn() -> reference` that it calls.
/// types.declare_signature(SigRef::from_u32(0), SignatureTypes::new([], [ValueType::Ref]));
/// ```
#[derive(Clone, Debug)]
pub struct Types {
    own: SignatureTypes,
    signatures: HashMap<SigRef, SignatureTypes>,
    functions: HashMap<FuncRef, SignatureTypes>,
    quiet: HashSet<FuncRef>,
    values: HashMap<Value, ValueType>,
    regions: HashMap<u32, ValueType>,
    unboxed: Unboxed,
    reference: Type,
    symbols_are_references: bool,
    exception: [ValueType; 2],
}

impl Types {
    /// The types of a function with this signature. References are `I64`.
    pub fn new(own: SignatureTypes) -> Types {
        Types {
            own,
            signatures: HashMap::new(),
            functions: HashMap::new(),
            quiet: HashSet::new(),
            values: HashMap::new(),
            regions: HashMap::new(),
            unboxed: Unboxed::Never,
            reference: types::I64,
            symbols_are_references: false,
            exception: [ValueType::Data; 2],
        }
    }

    /// Declares the types of a signature that calls use. A call whose types are not declared is refused.
    pub fn declare_signature(&mut self, signature: SigRef, types: SignatureTypes) -> &mut Types {
        self.signatures.insert(signature, types);
        self
    }

    /// Declares the types of a function, if functions with other types have the same signature. `FuncRef`s are numbers of
    /// one function of CLIF, as signatures are.
    pub fn declare_function(&mut self, function: FuncRef, types: SignatureTypes) -> &mut Types {
        self.functions.insert(function, types);
        self
    }

    /// Declares that no collection happens in calls of this function. All other calls may collect.
    pub fn declare_quiet(&mut self, function: FuncRef) -> &mut Types {
        self.quiet.insert(function);
        self
    }

    /// Declares the type of a load's result, or of a call's if it is another one than the function's types say. A load
    /// that was not declared gives [`ValueType::Data`].
    pub fn declare_value(&mut self, value: Value, ty: ValueType) -> &mut Types {
        self.values.insert(value, ty);
        self
    }

    /// Declares what loads give that have this alias region.
    pub fn declare_region(&mut self, user_id: u32, ty: ValueType) -> &mut Types {
        self.regions.insert(user_id, ty);
        self
    }

    /// Sets which values may be where a reference is expected. By default it is only null.
    pub fn unboxed(&mut self, unboxed: Unboxed) -> &mut Types {
        self.unboxed = unboxed;
        self
    }

    /// Sets the type of references. By default it is `I64`.
    pub fn reference(&mut self, ty: Type) -> &mut Types {
        self.reference = ty;
        self
    }

    /// Sets whether the address of a symbol, a `symbol_value`, may be where a reference is expected: an object
    /// in static data, which never moves. By default it may not.
    pub fn symbols_are_references(&mut self, are: bool) -> &mut Types {
        self.symbols_are_references = are;
        self
    }

    /// Sets the types of the two values that an exception handler gets. By default they are no references.
    pub fn exception(&mut self, types: [ValueType; 2]) -> &mut Types {
        self.exception = types;
        self
    }

    /// [Marks](crate::calls::mark_quiet_calls) the calls of functions that were [declared](Types::declare_quiet) as quiet.
    pub fn mark_quiet_calls(&self, func: &mut ir::Function) {
        crate::calls::mark_quiet_calls(func, |func, call| self.may_collect(func, call));
    }

    fn is_unboxed(&self, func: &ir::Function, value: Value) -> bool {
        self.unboxed == Unboxed::LowestBitSet && lowest_bit(func, value, 8) == Some(true)
    }
}

impl Language for Types {
    fn own(&self) -> &SignatureTypes {
        &self.own
    }

    fn call(&self, func: &ir::Function, inst: Inst) -> Option<&SignatureTypes> {
        let function = super::facts::callee(func, inst).and_then(|f| self.functions.get(&f));
        function.or_else(|| self.signatures.get(&super::facts::signature(func, inst)?))
    }

    fn may_collect(&self, func: &ir::Function, inst: Inst) -> bool {
        super::facts::callee(func, inst).is_none_or(|callee| !self.quiet.contains(&callee))
    }

    fn kind(&self, facts: &Facts<'_>, definition: Definition) -> Option<ValueKinds> {
        let func = facts.func;
        let data = func.dfg.insts[definition.inst];
        let (opcode, ty) = (data.opcode(), func.dfg.value_type(definition.value));
        let arg = |n: usize| func.dfg.inst_args(definition.inst).get(n).copied();
        if opcode.can_load() && !opcode.is_call() && !facts.is_root_slot_access(definition.inst) {
            let region = || self.regions.get(&facts.region(definition.inst)?).copied();
            let declared = self.values.get(&definition.value).copied().or_else(region);
            return declared.map(|declared| ValueKinds::of_type(declared, ty));
        }
        match opcode {
            _ if opcode.is_call() => {
                let declared = self.values.get(&definition.value);
                declared.map(|declared| ValueKinds::of_type(*declared, ty))
            }
            Opcode::SymbolValue if self.symbols_are_references => Some(ValueKinds::UNBOXED),
            Opcode::Iconst if ty == self.reference && self.unboxed == Unboxed::Any => {
                Some(ValueKinds::UNBOXED)
            }
            // The lowest bits of an address are the same wherever the object is.
            Opcode::Band
                if (0..2).any(|n| {
                    arg(n).is_some_and(|mask| matches!(facts.iconst(mask), Some(1..=7)))
                }) =>
            {
                Some(ValueKinds::INT)
            }
            // They combine what their operands are.
            Opcode::Select | Opcode::SelectSpectreGuard | Opcode::Uextend => None,
            _ if ty == self.reference && self.is_unboxed(func, definition.value) => {
                Some(ValueKinds::UNBOXED)
            }
            Opcode::Sshr | Opcode::Ushr
                if self.unboxed == Unboxed::LowestBitSet
                    && arg(1).is_some_and(|by| facts.iconst(by) == Some(1)) =>
            {
                Some(ValueKinds::INT)
            }
            _ if self.unboxed == Unboxed::Any
                && !opcode.is_call()
                && (ty.is_float() || ty.is_int() && ty.bits() < self.reference.bits()) =>
            {
                Some(ValueKinds::integer(ty))
            }
            _ => None,
        }
    }

    fn reference(&self) -> Type {
        self.reference
    }

    fn fits(&self, kinds: ValueKinds) -> bool {
        match self.unboxed {
            Unboxed::Any => !kinds.has(ValueKinds::VECTOR_OF_REFS),
            _ => kinds.fits_ref(),
        }
    }

    fn fits_data(&self, kinds: ValueKinds) -> bool {
        !kinds.has(ValueKinds::REF)
    }

    fn exception(&self, index: u32) -> ValueType {
        self.exception.get(index as usize).copied().unwrap_or(ValueType::Data)
    }
}

/// The lowest bit of a value, if it is the same whatever the program does.
fn lowest_bit(func: &ir::Function, value: Value, depth: u32) -> Option<bool> {
    let dfg = &func.dfg;
    let inst = dfg.value_def(dfg.resolve_aliases(value)).inst()?;
    let depth = depth.checked_sub(1)?;
    let args = dfg.inst_args(inst);
    let of = |n: usize| lowest_bit(func, args[n], depth);
    match dfg.insts[inst] {
        ir::InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(imm.bits() & 1 != 0),
        data => match data.opcode() {
            Opcode::Iadd | Opcode::Isub | Opcode::Bxor => Some(of(0)? ^ of(1)?),
            Opcode::Band | Opcode::Imul => match (of(0), of(1)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (a, b) => Some(a? & b?),
            },
            Opcode::Bor => match (of(0), of(1)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (a, b) => Some(a? | b?),
            },
            Opcode::Ishl => {
                let by = dfg.value_def(dfg.resolve_aliases(args[1])).inst()?;
                match dfg.insts[by] {
                    ir::InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => {
                        let bits = i64::from(dfg.value_type(value).bits());
                        if imm.bits() & (bits - 1) == 0 { of(0) } else { Some(false) }
                    }
                    _ => None,
                }
            }
            Opcode::Uextend | Opcode::Sextend => of(0),
            _ => None,
        },
    }
}
