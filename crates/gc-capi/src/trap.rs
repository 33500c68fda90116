//! Traps: how calls fail. A trap has a message and the functions that were on the stack.

use crate::error::{given, message};
use crate::host_info::HostInfo;
use crate::macros::exports;
use crate::reference::{What, wasm_instance_t, wasm_ref_t, wasm_trap_t};
use crate::store::{Data, StoreRef, store_of, wasm_store_t};
use crate::vector::{Out, put, wasm_byte_vec_t, wasm_frame_vec_t};
use anyhow::{Error, Result, bail, ensure};
use gc_wasm::{
    AsContextMut as _, ExnRef, FrameInfo, Module, OwnedRooted, RootScope, StoreContextMut,
    ThrownException, WasmBacktrace,
};
use std::cell::OnceCell;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

/// A trap that C has a handle to.
pub(crate) struct TrapObject {
    message: String,
    /// The exception that it stands for.
    exception: Option<OwnedRooted<ExnRef>>,
    /// The functions on the stack, innermost first. Not set for a trap that no call has returned.
    frames: OnceLock<Vec<FrameInfo>>,
    pub(crate) info: Mutex<HostInfo>,
}

/// A trap that a function of C has returned, on its way through the engine.
#[derive(Clone)]
struct Returned(Arc<TrapObject>);

impl fmt::Debug for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Returned({:?})", self.0.message)
    }
}

impl fmt::Display for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Returned {}

impl TrapObject {
    fn new(message: String) -> TrapObject {
        TrapObject { message, exception: None, frames: OnceLock::new(), info: Mutex::default() }
    }

    /// The trap of an error. It is the same trap if a function of C has returned it. If the error says
    /// that an exception was thrown, that is `exception`.
    pub(crate) fn of_error(
        error: Error,
        exception: Option<OwnedRooted<ExnRef>>,
    ) -> Arc<TrapObject> {
        let backtrace = error.downcast_ref::<WasmBacktrace>();
        let frames = backtrace.map_or_else(Vec::new, |backtrace| backtrace.frames().to_vec());
        let trap = match error.downcast_ref::<Returned>() {
            Some(returned) => returned.0.clone(),
            None => {
                // The functions are in a list of their own.
                let traced = backtrace.map(ToString::to_string);
                let texts = error.chain().map(ToString::to_string);
                let texts: Vec<_> = texts.filter(|text| Some(text) != traced.as_ref()).collect();
                Arc::new(TrapObject { exception, ..TrapObject::new(texts.join(": ")) })
            }
        };
        // The innermost call that returned it has set them.
        let _ = trap.frames.set(frames);
        trap
    }

    fn frames(&self) -> &[FrameInfo] {
        self.frames.get().map_or(&[], Vec::as_slice)
    }
}

impl wasm_trap_t {
    /// The trap of a call in a store that failed. It takes the exception that the call has not caught.
    pub(crate) fn of_error(
        context: &mut StoreContextMut<'_, Data>,
        error: Error,
    ) -> Result<wasm_trap_t> {
        let store = context.data().store()?;
        let exception = error.is::<ThrownException>().then(|| {
            let mut context = RootScope::new(context.as_context_mut());
            match context.as_context_mut().take_pending_exception() {
                Some(exception) => exception.to_owned_rooted(&mut context).map(Some),
                None => Ok(None),
            }
        });
        let (error, exception) = match exception.transpose() {
            Ok(exception) => (error, exception.flatten()),
            Err(why) => (error.context(why), None),
        };
        Ok(wasm_trap_t(wasm_ref_t::new(&store, What::Trap(TrapObject::of_error(error, exception)))))
    }

    pub(crate) fn message(&self) -> &str {
        self.object().map_or("", |trap| &trap.message)
    }

    fn object(&self) -> Result<&Arc<TrapObject>> {
        match &self.0.what {
            What::Trap(trap) => Ok(trap),
            other => bail!("{} is no trap", other.name()),
        }
    }

    /// Ends a function of C in `store` that has returned this trap: throws the trap's exception, or returns
    /// the trap as an error.
    pub(crate) fn raise(
        self,
        mut context: StoreContextMut<'_, Data>,
        store: &StoreRef,
    ) -> Result<()> {
        let trap = self.object()?;
        // A trap of a call without a store belongs to none.
        let elsewhere = self.0.store.as_ref().is_some_and(|own| !own.is(store));
        ensure!(!elsewhere, "a trap of another store: {}", trap.message);
        let Some(exception) = &trap.exception else {
            return Err(Error::new(Returned(trap.clone())));
        };
        let exception = exception.to_rooted(&mut context);
        context.throw(exception)
    }
}

/// A function in the trace of a trap: `wasm_frame_t`.
#[derive(Clone)]
pub struct wasm_frame_t {
    store: Option<StoreRef>,
    frame: FrameInfo,
    instance: OnceCell<Option<Box<wasm_instance_t>>>,
}

impl wasm_frame_t {
    fn new(trap: &wasm_trap_t, frame: &FrameInfo) -> wasm_frame_t {
        wasm_frame_t {
            store: trap.0.store.clone(),
            frame: frame.clone(),
            instance: OnceCell::new(),
        }
    }

    /// The instance of the function, if only one was made of its module.
    fn find_instance(&self) -> Result<Option<Box<wasm_instance_t>>> {
        let Some(store) = &self.store else { return Ok(None) };
        let found = store.with(|context| {
            let instances = context.data().instances.iter();
            let mut found =
                instances.filter(|(module, _)| Module::same(module, self.frame.module()));
            let first = found.next().map(|(_, instance)| *instance);
            Ok(first.filter(|_| found.next().is_none()))
        })?;
        let handle = |instance| wasm_instance_t(wasm_ref_t::new(store, What::Instance(instance)));
        Ok(found.map(|instance| Box::new(handle(instance))))
    }
}

exports! {
    /// Makes a trap for a function of C to return. The message may end with a zero byte.
    fn wasm_trap_new(
        store: Option<&wasm_store_t>,
        message: Option<&wasm_byte_vec_t>,
    ) -> Option<Box<wasm_trap_t>> {
        let store = &store_of(store)?;
        let message = given(message, "message")?.as_slice();
        let message = message.strip_suffix(&[0]).unwrap_or(message);
        let trap = TrapObject::new(String::from_utf8_lossy(message).into_owned());
        Ok(Some(Box::new(wasm_trap_t(wasm_ref_t::new(store, What::Trap(Arc::new(trap)))))))
    }

    /// Writes the trap's message, which ends with a zero byte, to `out`.
    fn wasm_trap_message(trap: Option<&wasm_trap_t>, out: Out<'_, wasm_byte_vec_t>) {
        let out = put(out, "out")?;
        *out = message(&given(trap, "trap")?.object()?.message);
        Ok(())
    }

    /// The function of WebAssembly that was executing, or NULL if there was none.
    fn wasm_trap_origin(trap: Option<&wasm_trap_t>) -> Option<Box<wasm_frame_t>> {
        let trap = given(trap, "trap")?;
        let frame = trap.object()?.frames().first();
        Ok(frame.map(|frame| Box::new(wasm_frame_t::new(trap, frame))))
    }

    /// Writes the functions of WebAssembly that were on the stack to `out`, the innermost first.
    fn wasm_trap_trace(trap: Option<&wasm_trap_t>, out: Out<'_, wasm_frame_vec_t>) {
        let out = put(out, "out")?;
        let trap = given(trap, "trap")?;
        let frames = trap.object()?.frames().iter();
        let frames = frames.map(|frame| Some(Box::new(wasm_frame_t::new(trap, frame))));
        *out = frames.collect::<Vec<_>>().into();
        Ok(())
    }

    /// Makes a trap of an exception. A function of C that returns this trap throws the exception.
    fn reclaim_trap_new_exception(exception: Option<&wasm_ref_t>) -> Option<Box<wasm_trap_t>> {
        let handle = given(exception, "exception")?;
        let What::Exception(exception) = &handle.what else {
            bail!("expected an exception, found {}", handle.what.name());
        };
        let exception = Some(exception.clone());
        let trap = TrapObject { exception, ..TrapObject::new("an exception of C".into()) };
        Ok(Some(Box::new(wasm_trap_t(wasm_ref_t::new(&handle.store()?, What::Trap(Arc::new(trap)))))))
    }

    /// The exception that a trap stands for: one that a call has not caught, or one that a trap was made
    /// of. NULL if there is none.
    fn reclaim_trap_exception(trap: Option<&wasm_trap_t>) -> Option<Box<wasm_ref_t>> {
        let trap = given(trap, "trap")?;
        let Some(exception) = &trap.object()?.exception else { return Ok(None) };
        let what = What::Exception(exception.clone());
        Ok(Some(Box::new(wasm_ref_t::new(&trap.0.store()?, what))))
    }

    /// Deletes a function of a trace.
    fn wasm_frame_delete(frame: Option<Box<wasm_frame_t>>) {
        drop(frame);
        Ok(())
    }

    /// A copy. NULL for NULL.
    fn wasm_frame_copy(frame: Option<&wasm_frame_t>) -> Option<Box<wasm_frame_t>> {
        Ok(frame.cloned().map(Box::new))
    }

    /// The instance of the function. It belongs to the frame. NULL unless exactly one instance of the
    /// module was made in the store: the instances of one module share its code, so it is not known
    /// which of them ran.
    fn wasm_frame_instance(frame: Option<&wasm_frame_t>) -> Option<&wasm_instance_t> {
        let frame = given(frame, "frame")?;
        if frame.instance.get().is_none() {
            let _ = frame.instance.set(frame.find_instance()?);
        }
        Ok(frame.instance.get().and_then(Option::as_deref))
    }

    /// The function's index in its module.
    fn wasm_frame_func_index(frame: Option<&wasm_frame_t>) -> u32 {
        Ok(given(frame, "frame")?.frame.func_index())
    }

    /// The offset of the instruction in the function's body in bytes. 0 if it is not known.
    fn wasm_frame_func_offset(frame: Option<&wasm_frame_t>) -> usize {
        Ok(given(frame, "frame")?.frame.func_offset().unwrap_or(0))
    }

    /// The offset of the instruction in the module in bytes. 0 if it is not known.
    fn wasm_frame_module_offset(frame: Option<&wasm_frame_t>) -> usize {
        Ok(given(frame, "frame")?.frame.module_offset().unwrap_or(0))
    }

    /// Writes the function's name, with a zero byte at its end, to `out`. `false` if it has none.
    fn reclaim_frame_func_name(
        frame: Option<&wasm_frame_t>,
        out: Out<'_, wasm_byte_vec_t>,
    ) -> bool {
        let out = put(out, "out")?;
        let name = given(frame, "frame")?.frame.func_name();
        if let Some(name) = name {
            *out = message(name);
        }
        Ok(name.is_some())
    }
}
