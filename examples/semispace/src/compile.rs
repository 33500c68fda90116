//! Compiles a program to an object. What concerns stack maps is between the anchors `stack_maps`.

use crate::emit::{Emitter, Runtime};
use crate::read::{Expression, Function};
use anyhow::{Context as _, Result, bail, ensure};
use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, UserFuncName, types};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule, ObjectProduct};
use stack_roots::check::check_roots;
use stack_roots::write::Maps;
use std::collections::HashMap;
use std::sync::Arc;

/// A compiled program.
#[derive(Debug)]
pub struct Compiled {
    /// The object, a relocatable ELF file.
    pub object: Vec<u8>,
    /// The CLIF of its functions.
    pub clif: String,
}

/// The functions of a program that is compiled.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    /// The number and the parameters of each function.
    pub(crate) functions: HashMap<String, (FuncId, usize)>,
}

fn isa() -> Result<Arc<dyn TargetIsa>> {
    let mut flags = settings::builder();
    flags.set("opt_level", "speed")?;
    flags.set("is_pic", "true")?;
    // The stack is walked by frame pointers.
    flags.set("preserve_frame_pointers", "true")?;
    let isa = cranelift_native::builder().map_err(anyhow::Error::msg)?;
    Ok(isa.finish(settings::Flags::new(flags))?)
}

/// A signature of values of the language.
pub(crate) fn signature(params: usize) -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(types::I64); params];
    signature.returns = vec![AbiParam::new(types::I64)];
    signature
}

/// Compiles a program.
///
/// # Errors
/// If a name is unknown or defined twice, a call has the wrong number of arguments, or `main` has parameters.
pub fn compile(functions: &[Function]) -> Result<Compiled> {
    let builder = ObjectBuilder::new(isa()?, "program", default_libcall_names())?;
    let mut module = ObjectModule::new(builder);
    let mut declared = Declared::default();
    for Function { name, params, body } in functions {
        let symbol = format!("semispace.{name}");
        let linkage = if body.is_some() { Linkage::Export } else { Linkage::Import };
        let id = module.declare_function(&symbol, linkage, &signature(params.len()))?;
        let before = declared.functions.insert(name.clone(), (id, params.len()));
        ensure!(before.is_none(), "the function {name} is defined twice");
    }
    let runtime = Runtime::declare(&mut module)?;
    let mut maps = Maps::new(module.isa())?;
    let mut clif = String::new();
    for function in functions {
        if let Some(body) = &function.body {
            define(&mut module, &mut maps, &declared, &runtime, function, body, &mut clif)
                .with_context(|| format!("function {}", function.name))?;
        }
    }
    match declared.functions.get("main") {
        None => {}
        Some((main, 0)) => define_start(&mut module, &mut maps, &runtime, *main)?,
        Some(_) => bail!("the function main has no parameters"),
    }
    let product = finish(module, &maps)?;
    Ok(Compiled { object: product.emit()?, clif })
}

fn define(
    module: &mut ObjectModule,
    maps: &mut Maps,
    declared: &Declared,
    runtime: &Runtime,
    function: &Function,
    body: &Expression,
    clif: &mut String,
) -> Result<()> {
    let (id, params) = declared.functions[&function.name];
    let mut context = module.make_context();
    context.func.signature = signature(params);
    context.func.name = UserFuncName::testcase(&function.name);
    let mut frontend = FunctionBuilderContext::new();
    let builder = FunctionBuilder::new(&mut context.func, &mut frontend);
    let types =
        Emitter::new(builder, module, declared, runtime).function(&function.params, body)?;
    // ANCHOR: stack_maps
    types.mark_quiet_calls(&mut context.func);
    check_roots(&context.func, &types)?;
    module.define_function(id, &mut context)?;
    maps.add(id, &context)?;
    // ANCHOR_END: stack_maps
    *clif += &format!("; {}\n{}\n", function.name, context.func);
    Ok(())
}

/// `main` of C, which calls the runtime with the address of the program's own `main`.
fn define_start(
    module: &mut ObjectModule,
    maps: &mut Maps,
    runtime: &Runtime,
    main: FuncId,
) -> Result<()> {
    let mut context = module.make_context();
    context.func.signature.returns.push(AbiParam::new(types::I32));
    let id = module.declare_function("main", Linkage::Export, &context.func.signature)?;
    let mut frontend = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut frontend);
    let block = builder.create_block();
    builder.switch_to_block(block);
    builder.seal_block(block);
    let main = module.declare_func_in_func(main, builder.func);
    let run = module.declare_func_in_func(runtime.run, builder.func);
    let main = builder.ins().func_addr(types::I64, main);
    let call = builder.ins().call(run, &[main]);
    let code = builder.inst_results(call)[0];
    builder.ins().return_(&[code]);
    builder.finalize(module.isa().frontend_config());
    module.define_function(id, &mut context)?;
    // It is below the entry function, so no walk reaches it.
    maps.leave_out(id)?;
    Ok(())
}

// ANCHOR: stack_maps_finish
fn finish(module: ObjectModule, maps: &Maps) -> Result<ObjectProduct> {
    let mut product = module.finish();
    maps.write(&mut product)?;
    Ok(product)
}
// ANCHOR_END: stack_maps_finish
