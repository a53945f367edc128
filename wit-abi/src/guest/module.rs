//! The parts of a core module that matter for linking it: imports, exports and their types.

use wasmparser::{ExternalKind, FuncType, MemoryType, Parser, Payload, TypeRef, ValType};

use super::GuestError;
use crate::canonical::{CoreFuncType, CoreType};

/// The prefix of the custom sections in which `wit-bindgen` leaves the world that a core module was built for.
const WORLD_SECTION: &str = "component-type";

/// What a core module shows to the outside.
#[derive(Default)]
pub(super) struct CoreModule<'a> {
    pub imports: Vec<CoreImport<'a>>,
    pub exports: Vec<CoreExport<'a>>,
    pub has_start: bool,
    /// The contents of its custom sections with a world, each a component, and where they begin.
    pub worlds: Vec<(&'a [u8], usize)>,
    types: Vec<CoreFuncType>,
    /// For each function, imported ones first, the index of its type.
    functions: Vec<u32>,
    memories: Vec<MemoryType>,
}

pub(super) struct CoreImport<'a> {
    pub module: &'a str,
    pub name: &'a str,
    /// The type of a function, or what it is instead.
    pub ty: Result<CoreFuncType, &'static str>,
}

pub(super) struct CoreExport<'a> {
    pub name: &'a str,
    pub kind: ExternalKind,
    index: u32,
}

impl<'a> CoreModule<'a> {
    /// Reads a module that has been validated; of one that has not, it gives an error or leaves things out.
    /// `offset` is where the module begins in the file.
    pub(super) fn read(bytes: &'a [u8], offset: usize) -> Result<Self, GuestError> {
        let mut module = CoreModule::default();
        for payload in Parser::new(offset as u64).parse_all(bytes) {
            module.add(payload?)?;
        }
        Ok(module)
    }

    fn add(&mut self, payload: Payload<'a>) -> Result<(), GuestError> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    let types = group?.into_types().map(|ty| match ty.composite_type.inner {
                        wasmparser::CompositeInnerType::Func(func) => core_func_type(&func),
                        _ => CoreFuncType::default(),
                    });
                    self.types.extend(types);
                }
            }
            Payload::ImportSection(section) => {
                for import in section {
                    let import = import?;
                    self.add_import(import.module, import.name, import.ty);
                }
            }
            Payload::FunctionSection(section) => {
                for function in section {
                    self.functions.push(function?);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.memories.push(memory?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.exports.push(CoreExport {
                        name: export.name,
                        kind: export.kind,
                        index: export.index,
                    });
                }
            }
            Payload::StartSection { .. } => self.has_start = true,
            Payload::CustomSection(section) if section.name().starts_with(WORLD_SECTION) => {
                self.worlds.push((section.data(), section.data_offset()));
            }
            _ => {}
        }
        Ok(())
    }

    fn add_import(&mut self, module: &'a str, name: &'a str, ty: TypeRef) {
        let ty = match ty {
            TypeRef::Func(index) => {
                self.functions.push(index);
                Ok(self.types.get(index as usize).cloned().unwrap_or_default())
            }
            TypeRef::Memory(memory) => {
                self.memories.push(memory);
                Err("a memory")
            }
            TypeRef::Table(_) => Err("a table"),
            TypeRef::Global(_) => Err("a global"),
            TypeRef::Tag(_) => Err("a tag"),
        };
        self.imports.push(CoreImport { module, name, ty });
    }

    /// The type of the exported function `name`.
    pub(super) fn exported_func(&self, name: &str) -> Option<&CoreFuncType> {
        let index = self.exported(name, ExternalKind::Func)?;
        let ty = self.functions.get(index as usize)?;
        self.types.get(*ty as usize)
    }

    /// The exported memory `name`.
    pub(super) fn exported_memory(&self, name: &str) -> Option<&MemoryType> {
        let index = self.exported(name, ExternalKind::Memory)?;
        self.memories.get(index as usize)
    }

    fn exported(&self, name: &str, kind: ExternalKind) -> Option<u32> {
        let export = self.exports.iter().find(|export| export.name == name && export.kind == kind)?;
        Some(export.index)
    }
}

fn core_func_type(ty: &FuncType) -> CoreFuncType {
    let core = |types: &[ValType]| types.iter().map(core_type).collect::<Vec<_>>();
    CoreFuncType::new(core(ty.params()), core(ty.results()))
}

fn core_type(ty: &ValType) -> CoreType {
    match ty {
        ValType::I32 => CoreType::I32,
        ValType::I64 => CoreType::I64,
        ValType::F32 => CoreType::F32,
        ValType::F64 => CoreType::F64,
        ValType::V128 | ValType::Ref(_) => CoreType::Other,
    }
}
