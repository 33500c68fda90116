//! Arguments and the environment: functions of `__moonbit_fs_unstable`.

use super::FS;
use super::context::MoonBitCtx;
use super::values::{HostRef, Values};
use anyhow::Result;
use gc_wasm::{Caller, Linker};
use std::sync::Arc;

/// Defines the functions.
pub(super) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut MoonBitCtx + Copy + Send + Sync + 'static,
    values: &Arc<Values>,
) -> Result<()> {
    let with = values.clone();
    linker.func_wrap(FS, "args_get", move |mut caller: Caller<'_, T>| -> Result<HostRef> {
        let types = with.types(caller.engine())?;
        let args = get(caller.data_mut()).args().to_vec();
        types.new_strings(&mut caller, &args)
    })?;
    // The first name is the older one.
    for name in ["env_get_var", "get_env_var"] {
        let with = values.clone();
        linker.func_wrap(
            FS,
            name,
            move |mut caller: Caller<'_, T>, name: HostRef| -> Result<HostRef> {
                let types = with.types(caller.engine())?;
                let name = types.text(&caller, name)?;
                let value = get(caller.data_mut()).variable(&name).unwrap_or("").to_owned();
                types.new_string(&mut caller, &value)
            },
        )?;
    }
    let with = values.clone();
    linker.func_wrap(
        FS,
        "get_env_var_exists",
        move |mut caller: Caller<'_, T>, name: HostRef| -> Result<i32> {
            let name = with.types(caller.engine())?.text(&caller, name)?;
            Ok(get(caller.data_mut()).variable(&name).is_some().into())
        },
    )?;
    let with = values.clone();
    linker.func_wrap(FS, "get_env_vars", move |mut caller: Caller<'_, T>| -> Result<HostRef> {
        let types = with.types(caller.engine())?;
        // Names and values take turns.
        let variables = get(caller.data_mut()).variables().iter().cloned();
        let texts: Vec<String> = variables.flat_map(|(name, value)| [name, value]).collect();
        types.new_strings(&mut caller, &texts)
    })?;
    let with = values.clone();
    linker.func_wrap(
        FS,
        "set_env_var",
        move |mut caller: Caller<'_, T>, name: HostRef, value: HostRef| -> Result<()> {
            let types = with.types(caller.engine())?;
            let (name, value) = (types.text(&caller, name)?, types.text(&caller, value)?);
            get(caller.data_mut()).set_variable(&name, &value)
        },
    )?;
    let with = values.clone();
    linker.func_wrap(
        FS,
        "unset_env_var",
        move |mut caller: Caller<'_, T>, name: HostRef| -> Result<()> {
            let name = with.types(caller.engine())?.text(&caller, name)?;
            get(caller.data_mut()).unset_variable(&name);
            Ok(())
        },
    )?;
    // An empty text means that it is not known: paths are those of the directories that the program
    // was given.
    let with = values.clone();
    linker.func_wrap(FS, "current_dir", move |mut caller: Caller<'_, T>| -> Result<HostRef> {
        with.types(caller.engine())?.new_string(&mut caller, "")
    })?;
    Ok(())
}
