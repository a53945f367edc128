//! From a guest's bytes to what the sandbox needs to link and call it.

use std::fmt;

use wasmparser::{ExternalKind, Parser};

use super::GuestError;
use super::component::{InterfaceTypes, Survey, validate};
use super::module::{CoreImport, CoreModule};
use super::names::{self, INTRINSICS};
use super::shape::shape_of;
use crate::abi_version::{AbiVersion, PackageVersion, StatusCases, World};
use crate::canonical::{CoreFuncType, CoreType, Func};
use crate::exports::GuestFunc;
use crate::imports::HostFunc;

/// The largest file that is read as a guest, in bytes: 64 MiB. A host may set a smaller limit of its own.
pub const MAX_GUEST_SIZE: usize = 64 << 20;

/// How many names a refusal lists of what an unknown module exports.
const LISTED_EXPORTS: usize = 20;

/// A guest that fits: its core module, and what the host has to know to link and call it.
#[derive(Clone)]
pub struct Guest<'a> {
    /// What the file is.
    pub kind: GuestKind,
    /// The main core module, to be handed to the engine. Its function bodies are not validated yet.
    pub module: &'a [u8],
    /// What the binary shows of its world.
    pub abi_version: AbiVersion,
    /// The functions that the module imports, in its order. There are no other imports.
    pub imports: Vec<Import>,
    /// The callbacks that it exports, in the order of [`GuestFunc::ALL`].
    pub exports: Vec<Export>,
    /// The name under which it exports its memory.
    pub memory: String,
    /// The name of the exported `cabi_realloc` for the arguments of callbacks.
    pub realloc_for_arguments: String,
    /// The name of the exported `cabi_realloc` for the results of imports; nearly always the same.
    pub realloc_for_results: String,
    /// The name of the exported `_initialize`, to be called once in a new instance before anything else.
    pub initialize: Option<String>,
    /// Whether the module has a start function, which runs when it is instantiated.
    pub has_start: bool,
}

/// What a guest's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GuestKind {
    /// A component; the main core module was taken out of it.
    Component,
    /// A plain core module.
    Module,
}

/// A function that a guest's main module imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The module's name in the import, for example `wasi:io/streams@0.2.3`.
    pub module: String,
    /// The function's name in the import.
    pub name: String,
    /// Its core type; already checked where `host_func` is there.
    pub ty: CoreFuncType,
    /// Which function of the world's host it is; none where it is something else, such as WASI.
    pub host_func: Option<HostFunc>,
}

/// A function of its world that a guest exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Which function it is.
    pub func: GuestFunc,
    /// The name under which the core module exports it.
    pub name: String,
    /// The name of the function to be called with the returned pointer once the result has been lifted.
    pub post_return: Option<String>,
}

/// The name of an import that is not of the world's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImportName<'a> {
    /// The module's name in the import.
    pub module: &'a str,
    /// The function's name in the import.
    pub name: &'a str,
}

/// What the host knows about an import that is not of the world's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportKnowledge {
    /// The host does not have it: the guest is refused.
    Unknown,
    /// The host has it for every type, because it only traps.
    AnyType,
    /// The host has it under this core type.
    Typed(CoreFuncType),
}

impl Guest<'_> {
    /// The callback `func`, when the guest exports it.
    pub fn export(&self, func: GuestFunc) -> Option<&Export> {
        self.exports.iter().find(|export| export.func == func)
    }
}

impl fmt::Debug for Guest<'_> {
    /// Writes how long the module is, not its bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest")
            .field("kind", &self.kind)
            .field("module_len", &self.module.len())
            .field("abi_version", &self.abi_version)
            .field("imports", &self.imports)
            .field("exports", &self.exports)
            .finish_non_exhaustive()
    }
}

/// Reads a channel's binary, and checks that it fits the channel world and what the host has.
///
/// `known` is asked about every imported function that is not the channel host's or the timers'.
///
/// A guest's ABI version is read from interface types where the binary has them: in a component always, in a plain core
/// module when `wit-bindgen` left its world in a custom section. Without them it is read from core types, which tell
/// everything but the number of cases of `status-type`: then an unversioned guest is taken to have five and a
/// versioned one eleven, so that none gets a case that it may not know.
///
/// # Errors
///
/// Says what is wrong and what would be accepted, see [`GuestError`].
pub fn read_guest<'a>(
    bytes: &'a [u8],
    known: &dyn Fn(&ImportName<'_>) -> ImportKnowledge,
) -> Result<Guest<'a>, GuestError> {
    read_guest_of(World::Channel, bytes, known)
}

/// The same for a guest of either world: as [`read_guest`], a tool's binary is checked against the tool world.
///
/// # Errors
///
/// As [`read_guest`].
pub fn read_guest_of<'a>(
    world: World,
    bytes: &'a [u8],
    known: &dyn Fn(&ImportName<'_>) -> ImportKnowledge,
) -> Result<Guest<'a>, GuestError> {
    if bytes.len() > MAX_GUEST_SIZE {
        return Err(GuestError::TooLarge { size: bytes.len(), limit: MAX_GUEST_SIZE });
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(GuestError::NotWebAssembly { found: first_bytes(bytes) });
    }
    let parts = match Parser::is_component(bytes) {
        true => Parts::of_component(world, bytes)?,
        false => Parts::of_module(world, bytes)?,
    };
    parts.check(known)
}

fn first_bytes(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing, it is empty".to_owned();
    }
    let hex: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("`{}`", hex.join(" "))
}

/// A guest's main module with the interface types that belong to it.
struct Parts<'a> {
    world: World,
    kind: GuestKind,
    bytes: &'a [u8],
    module: CoreModule<'a>,
    worlds: Vec<InterfaceTypes>,
    version: PackageVersion,
}

impl<'a> Parts<'a> {
    fn of_module(world: World, bytes: &'a [u8]) -> Result<Self, GuestError> {
        validate(bytes, 0)?;
        let module = CoreModule::read(bytes, 0)?;
        let worlds =
            module.worlds.iter().filter_map(|(world, offset)| InterfaceTypes::of_section(world, *offset));
        let worlds = worlds.collect();
        let version =
            world_version(world, &module).ok_or_else(|| other_world(world, &exported_interfaces(&module)))?;
        Ok(Parts { world, kind: GuestKind::Module, bytes, module, worlds, version })
    }

    fn of_component(world: World, bytes: &'a [u8]) -> Result<Self, GuestError> {
        let survey = Survey::of(bytes, 0)?;
        let types = validate(bytes, 0)?;
        let mut version = survey.exports.iter().filter_map(|name| names::guest_interface(world, name)?.1);
        let version = version.next().ok_or_else(|| other_world(world, &survey.exports))?;
        let (bytes, module) = main_module(world, bytes, &survey)?;
        let worlds = types.map(|types| InterfaceTypes::of_component(&survey, types)).into_iter().collect();
        Ok(Parts { world, kind: GuestKind::Component, bytes, module, worlds, version })
    }

    fn check(self, known: &dyn Fn(&ImportName<'_>) -> ImportKnowledge) -> Result<Guest<'a>, GuestError> {
        let mut abi_version = AbiVersion::bare(self.world, self.version);
        let exports = self.callbacks();
        self.check_present(&exports)?;
        self.check_imports_known(known)?;
        let imports = self.read_imports(&mut abi_version, known)?;
        exports.iter().try_for_each(|export| self.read_export(export, &mut abi_version))?;
        abi_version.complete();
        Ok(Guest {
            kind: self.kind,
            module: self.bytes,
            abi_version,
            imports,
            exports,
            memory: self.memory_name().unwrap_or_default().to_owned(),
            realloc_for_arguments: self.realloc(INTRINSICS.realloc_for_arguments)?,
            realloc_for_results: self.realloc(INTRINSICS.realloc_for_results)?,
            initialize: self.initialize()?,
            has_start: self.module.has_start,
        })
    }

    fn memory_name(&self) -> Option<&'static str> {
        INTRINSICS.memory.iter().find(|name| self.module.exported_memory(name).is_some()).copied()
    }

    /// The callbacks that the module exports under the names of its version.
    fn callbacks(&self) -> Vec<Export> {
        let version = world_version(self.world, &self.module);
        let find = |func: GuestFunc| {
            let is_it = |name: &str| {
                names::guest_func(self.world, name)
                    .is_some_and(|(found, at)| found == func && (at.is_none() || at == version))
            };
            let export =
                self.module.exports.iter().find(|e| e.kind == ExternalKind::Func && is_it(e.name))?;
            let post_return = names::post_return(export.name);
            let has_post_return = func.returns_pointer() && self.module.exported_func(&post_return).is_some();
            let post_return = has_post_return.then_some(post_return);
            Some(Export { func, name: export.name.to_owned(), post_return })
        };
        GuestFunc::ALL.into_iter().filter_map(find).collect()
    }

    /// That everything is there that every guest of the world exports.
    fn check_present(&self, exports: &[Export]) -> Result<(), GuestError> {
        let mut names = Vec::new();
        let required = |func: &GuestFunc| func.world() == self.world && func.is_required();
        for func in GuestFunc::ALL.into_iter().filter(required) {
            if !exports.iter().any(|export| export.func == func) {
                names.push(format!("{}{}#{func}", self.world.interface(), self.version.suffix()));
            }
        }
        if self.memory_name().is_none() {
            names.push(INTRINSICS.memory[0].to_owned());
        }
        if self.realloc_name(INTRINSICS.realloc_for_arguments).is_none() {
            names.push("cabi_realloc".to_owned());
        }
        if names.is_empty() { Ok(()) } else { Err(self.missing(names)) }
    }

    fn missing(&self, names: Vec<String>) -> GuestError {
        GuestError::MissingExport { world: self.world, names }
    }

    fn check_imports_known(
        &self,
        known: &dyn Fn(&ImportName<'_>) -> ImportKnowledge,
    ) -> Result<(), GuestError> {
        let unknown = |import: &CoreImport<'_>| {
            let (module, name) = (import.module, import.name);
            match &import.ty {
                Err(kind) => Some(format!("{module} {name} ({kind})")),
                Ok(_) if names::host_func(self.world, module, name).is_some() => None,
                Ok(_) if known(&ImportName { module, name }) != ImportKnowledge::Unknown => None,
                Ok(_) => Some(format!("{module} {name}")),
            }
        };
        let mut imports: Vec<String> = self.module.imports.iter().filter_map(unknown).collect();
        imports.dedup();
        match imports.is_empty() {
            true => Ok(()),
            false => Err(GuestError::UnknownImports { world: self.world, imports }),
        }
    }

    fn read_imports(
        &self,
        abi_version: &mut AbiVersion,
        known: &dyn Fn(&ImportName<'_>) -> ImportKnowledge,
    ) -> Result<Vec<Import>, GuestError> {
        let mut imports = Vec::new();
        for import in &self.module.imports {
            // What is no function was refused as unknown.
            let Ok(ty) = &import.ty else { continue };
            let host_func = names::host_func(self.world, import.module, import.name);
            match host_func {
                Some(func) => self.read_host_func(func, import.module, ty, abi_version)?,
                None => check_foreign(import.module, import.name, ty, known)?,
            }
            let (module, name) = (import.module.to_owned(), import.name.to_owned());
            imports.push(Import { module, name, ty: ty.clone(), host_func });
        }
        Ok(imports)
    }

    fn read_host_func(
        &self,
        func: HostFunc,
        module: &str,
        ty: &CoreFuncType,
        abi_version: &mut AbiVersion,
    ) -> Result<(), GuestError> {
        let function = format!("{module}#{func}");
        // The same import may be there twice; then both must be of one shape.
        let shapes =
            if abi_version.imports(func) { vec![func.func(abi_version)] } else { func.shapes().to_vec() };
        let newest = func.shapes().len() - 1;
        let index = self.shape(&function, ty, &shapes, Func::import_type, |world| {
            let same_name = world.import(|name| name == module, func.name());
            same_name.or_else(|| {
                let is_it = |name: &str| {
                    names::host_interface(self.world, name).is_some_and(|interface| func.is_in(interface))
                };
                world.import(is_it, func.name())
            })
        })?;
        if !abi_version.imports(func) {
            match func {
                HostFunc::HttpRequest => abi_version.http_timeout = index == newest,
                HostFunc::EmitMessage => abi_version.message_attachments = index == newest,
                _ => {}
            }
        }
        abi_version.add_import(func);
        Ok(())
    }

    fn read_export(&self, export: &Export, abi_version: &mut AbiVersion) -> Result<(), GuestError> {
        let func = export.func;
        let Some(ty) = self.module.exported_func(&export.name) else { return Ok(()) };
        // A broadcast's response is the record that `on-respond` has, which comes first.
        let shapes = match func {
            GuestFunc::OnBroadcast => vec![func.func(abi_version)],
            _ => func.shapes().to_vec(),
        };
        let index = self.shape(&export.name, ty, &shapes, Func::export_type, |world| {
            world.export(|name| self.is_interface(name, func), func.name())
        })?;
        match func {
            GuestFunc::OnRespond => abi_version.response_attachments = index == 1,
            GuestFunc::OnStatus => abi_version.status_cases = self.status_cases(index, export),
            GuestFunc::Execute => {
                // Nobody can tell without the name, and nothing depends on it.
                let has_timeout = abi_version.imports(HostFunc::HttpRequest) && abi_version.http_timeout;
                let is_newer = has_timeout || self.version != PackageVersion::Unversioned;
                abi_version.output_named = if self.has_type(export) { index == 1 } else { is_newer };
            }
            _ => {}
        }
        abi_version.add_export(func);
        self.check_post_return(export)
    }

    /// Which of `shapes` a function has, by its interface type where there is one, and that its core type is that
    /// shape's. Where there is none, the first shape with its core type.
    fn shape(
        &self,
        function: &str,
        ty: &CoreFuncType,
        shapes: &[Func],
        core_type: fn(&Func) -> CoreFuncType,
        interface_type: impl Fn(&InterfaceTypes) -> Option<wasmparser::component_types::ComponentFuncTypeId>,
    ) -> Result<usize, GuestError> {
        let differs = |expected: &Func| {
            Err(GuestError::core_type_differs(function.to_owned(), ty, &core_type(expected)))
        };
        for world in &self.worlds {
            let Some(id) = interface_type(world) else { continue };
            let index = shape_of(world.types(), &world.types()[id], shapes).map_err(|difference| {
                GuestError::SignatureDiffers {
                    function: function.to_owned(),
                    place: difference.place,
                    found: difference.found,
                    expected: difference.expected,
                }
            })?;
            return if core_type(&shapes[index]) == *ty { Ok(index) } else { differs(&shapes[index]) };
        }
        match shapes.iter().position(|shape| core_type(shape) == *ty) {
            Some(index) => Ok(index),
            None => differs(&shapes[shapes.len() - 1]),
        }
    }

    /// Core types do not tell the number of cases; see [`read_guest`] for the rule.
    fn status_cases(&self, index: usize, export: &Export) -> StatusCases {
        let eleven = match self.has_type(export) {
            true => index == 1,
            false => self.version != PackageVersion::Unversioned,
        };
        if eleven { StatusCases::Eleven } else { StatusCases::Five }
    }

    /// Whether the binary has the export's interface type.
    fn has_type(&self, export: &Export) -> bool {
        let is_it = |name: &str| self.is_interface(name, export.func);
        self.worlds.iter().any(|world| world.export(is_it, export.func.name()).is_some())
    }

    /// Whether `name` is that of the interface that `func` belongs to, at this guest's version.
    fn is_interface(&self, name: &str, func: GuestFunc) -> bool {
        names::guest_interface(self.world, name).is_some_and(|(found, at)| {
            found == func.interface() && at.is_none_or(|at| at.agrees_with(self.version))
        })
    }

    fn check_post_return(&self, export: &Export) -> Result<(), GuestError> {
        let Some(name) = &export.post_return else { return Ok(()) };
        self.check_core_type(name, &CoreFuncType::new([CoreType::I32], []))
    }

    fn realloc_name(&self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().find(|name| self.module.exported_func(name).is_some()).copied()
    }

    fn realloc(&self, names: &[&'static str]) -> Result<String, GuestError> {
        // Without one of these names the guest was refused already.
        let name = self.realloc_name(names).unwrap_or("cabi_realloc");
        self.check_core_type(name, &CoreFuncType::new([CoreType::I32; 4], [CoreType::I32]))?;
        Ok(name.to_owned())
    }

    fn initialize(&self) -> Result<Option<String>, GuestError> {
        let Some(name) = self.realloc_name(INTRINSICS.initialize) else { return Ok(None) };
        self.check_core_type(name, &CoreFuncType::default())?;
        Ok(Some(name.to_owned()))
    }

    fn check_core_type(&self, name: &str, expected: &CoreFuncType) -> Result<(), GuestError> {
        match self.module.exported_func(name) {
            Some(found) if found == expected => Ok(()),
            Some(found) => Err(GuestError::core_type_differs(name.to_owned(), found, expected)),
            None => Err(self.missing(vec![name.to_owned()])),
        }
    }
}

/// The version of the world's interface that a core module exports: that of the first function of it.
fn world_version(world: World, module: &CoreModule<'_>) -> Option<PackageVersion> {
    module.exports.iter().find_map(|export| names::guest_func(world, export.name)?.1)
}

/// The one core module of a component that exports the world's functions.
fn main_module<'a>(
    world: World,
    bytes: &'a [u8],
    survey: &Survey<'_>,
) -> Result<(&'a [u8], CoreModule<'a>), GuestError> {
    let mut mains = Vec::new();
    for range in &survey.modules {
        let module_bytes = bytes.get(range.clone()).unwrap_or_default();
        let module = CoreModule::read(module_bytes, range.start)?;
        if world_version(world, &module).is_some() {
            mains.push((module_bytes, module));
        }
    }
    match mains.len() {
        0 => Err(GuestError::NoMainModule { world }),
        1 => Ok(mains.remove(0)),
        count => {
            let what = format!("{count} core modules in it export the {world}'s functions");
            Err(GuestError::Composed { what })
        }
    }
}

fn check_foreign(
    module: &str,
    name: &str,
    ty: &CoreFuncType,
    known: &dyn Fn(&ImportName<'_>) -> ImportKnowledge,
) -> Result<(), GuestError> {
    match known(&ImportName { module, name }) {
        ImportKnowledge::Typed(expected) if expected != *ty => {
            Err(GuestError::core_type_differs(format!("{module} {name}"), ty, &expected))
        }
        _ => Ok(()),
    }
}

fn other_world<T: AsRef<str>>(world: World, exports: &[T]) -> GuestError {
    let exports = exports.iter().take(LISTED_EXPORTS).map(|name| name.as_ref().to_owned());
    GuestError::OtherWorld { world, exports: exports.collect() }
}

/// The interfaces that a core module exports, and the functions that belong to none.
fn exported_interfaces(module: &CoreModule<'_>) -> Vec<String> {
    let functions = module.exports.iter().filter(|export| export.kind == ExternalKind::Func);
    let mut names: Vec<String> = functions
        .map(|export| names::split_export(export.name).map_or(export.name, |(interface, _)| interface))
        .filter(|name| !name.starts_with("cabi_"))
        .map(str::to_owned)
        .collect();
    names.dedup();
    names
}
