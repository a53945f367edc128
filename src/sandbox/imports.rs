//! Linking: which host function stands behind each of a guest's imports.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use wasmi::{AsContextMut, Caller, Extern, ExternType, Func, FuncType, Memory, Module, Val};
use wit_abi::canonical::{CoreValue, MAX_CORE_ARGS};
use wit_abi::guest::{Guest as GuestBinary, ImportKnowledge, ImportName};
use wit_abi::imports::HostFunc;

use super::halt::Halt;
use super::host_calls;
use super::scan;
use super::state::{ChannelHostState, Guest, core_value, wasmi_value};
use super::wasi::{self, Wasi, WasiFunc};
use super::worker_pool::panic_text;

/// What an import is.
#[derive(Clone, Copy)]
enum HostImport {
    Channel(HostFunc),
    Wasi(WasiFunc),
    NotGiven,
}

/// What the reader has to know about imports that are not the channel's.
pub(super) fn knowledge(import: &ImportName<'_>) -> ImportKnowledge {
    match wasi::find(import.module, import.name) {
        Some(Wasi::Given(func)) => ImportKnowledge::Typed(func.core_type()),
        Some(Wasi::NotGiven) => ImportKnowledge::AnyType,
        None => ImportKnowledge::Unknown,
    }
}

/// What an instance is linked with, in the order of the module's imports: no name is looked up any more.
pub(super) struct HostImports(Vec<LinkedImport>);

enum LinkedImport {
    Func {
        ty: FuncType,
        func: HostImport,
        label: Arc<str>,
    },
    /// The memory that scanning has turned into an import.
    Memory,
}

impl HostImports {
    /// Finds what stands behind each import of `module`.
    ///
    /// # Errors
    /// Says which import cannot be linked. The reader has refused nearly all of those.
    pub(super) fn of(module: &Module, guest: &GuestBinary<'_>) -> Result<Self, String> {
        let slot = |import: wasmi::ImportType<'_>| {
            let (module, name) = (import.module(), import.name());
            match import.ty() {
                ExternType::Func(ty) => Ok(LinkedImport::Func {
                    ty: ty.clone(),
                    func: resolve(guest, module, name)?,
                    label: format!("{module} {name}").into(),
                }),
                ExternType::Memory(_) if (module, name) == scan::MEMORY_IMPORT => Ok(LinkedImport::Memory),
                _ => Err(format!("it imports `{module}` `{name}`, which is no function")),
            }
        };
        module.imports().map(slot).collect::<Result<Vec<_>, _>>().map(Self)
    }

    /// Makes the imports of one instance.
    pub(super) fn externs(
        &self,
        mut store: impl AsContextMut<Data = ChannelHostState>,
        memory: Option<Memory>,
    ) -> Vec<Extern> {
        let mut externs = Vec::with_capacity(self.0.len());
        for slot in &self.0 {
            match slot {
                LinkedImport::Func { ty, func, label } => {
                    let (func, label) = (*func, Arc::clone(label));
                    let run = move |caller: Caller<'_, ChannelHostState>,
                                    params: &[Val],
                                    results: &mut [Val]| {
                        // wasmi's handlers are functions of a foreign calling convention: a panic that reached them
                        // would end the process.
                        let run = AssertUnwindSafe(|| call(caller, func, &label, params, results));
                        Ok(catch_unwind(run).unwrap_or_else(|panic| Err(panicked(&label, panic.as_ref())))?)
                    };
                    externs.push(Func::new(&mut store, ty.clone(), run).into());
                }
                LinkedImport::Memory => externs.extend(memory.map(Extern::from)),
            }
        }
        externs
    }
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

fn panicked(import: &str, panic: &(dyn Any + Send)) -> Halt {
    Halt::Host(format!("a panic in `{import}`: {}", panic_text(panic)))
}

fn call(
    mut caller: Caller<'_, ChannelHostState>,
    func: HostImport,
    label: &Arc<str>,
    params: &[Val],
    results: &mut [Val],
) -> Result<(), Halt> {
    use wasmi::AsContextMut;
    let mut guest = Guest::new(caller.as_context_mut());
    guest.enter(label)?;
    let mut args = [CoreValue::I32(0); MAX_CORE_ARGS];
    let outcome = match func {
        HostImport::NotGiven => return Err(Halt::NotGiven(Arc::clone(label))),
        HostImport::Channel(func) => host_calls::run(&mut guest, func, core_args(params, &mut args)?)?,
        HostImport::Wasi(func) => func.call(&mut guest, core_args(params, &mut args)?)?,
    };
    match (results, outcome) {
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
