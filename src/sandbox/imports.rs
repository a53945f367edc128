//! Linking: which host function stands behind each of a guest's imports.

use std::sync::Arc;

use wasmi::{Caller, Engine, ExternType, FuncType, Linker, Module, Val};
use wit_abi::canonical::{CoreValue, MAX_CORE_ARGS};
use wit_abi::guest::{Guest as GuestBinary, ImportKnowledge, ImportName};
use wit_abi::imports::HostFunc;

use super::halt::Halt;
use super::host_calls;
use super::state::{Guest, State, core_value, wasmi_value};
use super::wasi::{self, Wasi, WasiFunc};

/// What an import is.
#[derive(Clone, Copy)]
enum HostImport {
    Channel(HostFunc),
    Wasi(WasiFunc),
    NotGiven,
}

/// Answers the reader's question about imports that are not the channel's.
pub(super) fn knowledge(import: &ImportName<'_>) -> ImportKnowledge {
    match wasi::find(import.module, import.name) {
        Some(Wasi::Given(func)) => ImportKnowledge::Typed(func.core_type()),
        Some(Wasi::NotGiven) => ImportKnowledge::AnyType,
        None => ImportKnowledge::Unknown,
    }
}

/// A linker with exactly what this guest imports, so that names are looked up among few.
///
/// # Errors
/// Says which import cannot be linked. The reader has refused nearly all of those.
pub(super) fn link(
    engine: &Engine,
    module: &Module,
    guest: &GuestBinary<'_>,
) -> Result<Linker<State>, String> {
    let mut linker = Linker::new(engine);
    let mut linked: Vec<(&str, &str, FuncType)> = Vec::new();
    for import in module.imports() {
        let (module, name) = (import.module(), import.name());
        let ExternType::Func(ty) = import.ty() else {
            return Err(format!("it imports `{module}` `{name}`, which is no function"));
        };
        // A module may list an import twice.
        if let Some((.., other)) = linked.iter().find(|(m, n, _)| (*m, *n) == (module, name)) {
            if other != ty {
                return Err(format!("it imports `{module}` `{name}` twice with different types"));
            }
            continue;
        }
        let func = resolve(guest, module, name)?;
        let label: Arc<str> = format!("{module} {name}").into();
        linker
            .func_new(module, name, ty.clone(), move |caller, params, results| {
                Ok(call(caller, func, &label, params, results)?)
            })
            .map_err(|error| error.to_string())?;
        linked.push((module, name, ty.clone()));
    }
    Ok(linker)
}

fn resolve(guest: &GuestBinary<'_>, module: &str, name: &str) -> Result<HostImport, String> {
    let of_channel = guest.imports.iter().find(|import| import.module == module && import.name == name);
    match (of_channel.and_then(|import| import.host_func), wasi::find(module, name)) {
        (Some(func), _) => Ok(HostImport::Channel(func)),
        (None, Some(Wasi::Given(func))) => Ok(HostImport::Wasi(func)),
        (None, Some(Wasi::NotGiven)) => Ok(HostImport::NotGiven),
        (None, None) => Err(format!("it imports `{module}` `{name}`, which this host does not have")),
    }
}

fn call(
    mut caller: Caller<'_, State>,
    func: HostImport,
    label: &Arc<str>,
    params: &[Val],
    results: &mut [Val],
) -> Result<(), Halt> {
    use wasmi::AsContextMut;
    let mut guest = Guest::new(caller.as_context_mut());
    guest.enter(label)?;
    let mut args = [CoreValue::I32(0); MAX_CORE_ARGS];
    let answer = match func {
        HostImport::NotGiven => return Err(Halt::NotGiven(Arc::clone(label))),
        HostImport::Channel(func) => host_calls::run(&mut guest, func, core_args(params, &mut args)?)?,
        HostImport::Wasi(func) => func.call(&mut guest, core_args(params, &mut args)?)?,
    };
    match (results, answer) {
        ([result], Some(value)) => *result = wasmi_value(value),
        ([], None) => {}
        _ => return Err(Halt::Host(format!("`{label}` was linked with a type that was not checked"))),
    }
    Ok(())
}

fn core_args<'a>(params: &[Val], args: &'a mut [CoreValue; MAX_CORE_ARGS]) -> Result<&'a [CoreValue], Halt> {
    let Some(args) = args.get_mut(..params.len()) else {
        return Err(Halt::Host("an import was linked with a type that was not checked".to_owned()));
    };
    for (arg, param) in args.iter_mut().zip(params) {
        *arg = core_value(param)?;
    }
    Ok(args)
}
