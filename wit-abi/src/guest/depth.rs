//! Bounds how deeply the types of a component are nested, before anything recursive looks at them.
//!
//! `wasmparser` reads a type that is written inside another by recursion, and follows types that refer to earlier
//! ones by recursion too. A file of a few kilobytes could so exhaust the stack. This pass reads the same sections
//! with a stack of its own, and keeps for each type an upper bound of how deep it goes.

use wasmparser::{
    BinaryReader, ComponentAlias, ComponentDefinedType, ComponentExport, ComponentExportName,
    ComponentExternalKind, ComponentImport, ComponentOuterAliasKind, ComponentType, ComponentTypeRef,
    ComponentValType, CoreType, TypeBounds,
};

use super::GuestError;

/// The deepest nesting that is accepted. Channels and what they import stay below 40.
pub(super) const MAX_DEPTH: u32 = 250;

/// The bounds of one component that is being read.
pub(super) struct Depths {
    /// The component and the types that enclose what is being read, outermost first.
    scopes: Vec<Scope>,
    /// The depth of the deepest type so far, in any scope.
    deepest: u32,
}

/// One index space of types and of instances, with the depth of each.
#[derive(Default)]
struct Scope {
    types: Vec<u32>,
    instances: Vec<u32>,
    deepest: u32,
}

/// A list whose items are still to be read.
struct Level {
    left: u32,
    /// Whether its items are declarations inside a type; else they are the types of a section.
    inside: bool,
}

impl Depths {
    pub(super) fn new() -> Self {
        Depths { scopes: Vec::new(), deepest: 0 }
    }

    /// A component begins, at top level or inside another.
    pub(super) fn enter(&mut self, offset: usize) -> Result<(), GuestError> {
        self.scopes.push(Scope::default());
        self.check(self.scopes.len() as u32, offset)
    }

    /// A component ends.
    pub(super) fn leave(&mut self) {
        self.scopes.pop();
    }

    /// Reads a section of types, given as its bytes.
    pub(super) fn type_section(&mut self, mut reader: BinaryReader<'_>) -> Result<(), GuestError> {
        let mut levels = vec![Level { left: reader.read_var_u32()?, inside: false }];
        while let Some(level) = levels.last_mut() {
            if level.left == 0 {
                let inside = level.inside;
                levels.pop();
                if inside {
                    self.end_type(reader.original_position())?;
                }
                continue;
            }
            level.left -= 1;
            match level.inside {
                true => self.declaration(&mut reader, &mut levels)?,
                false => self.ty(&mut reader, &mut levels)?,
            }
        }
        Ok(())
    }

    /// Reads a type, or the beginning of one that has others inside.
    fn ty(&mut self, reader: &mut BinaryReader<'_>, levels: &mut Vec<Level>) -> Result<(), GuestError> {
        let offset = reader.original_position();
        // 0x41 begins a component type, 0x42 an instance type: `Binary.md` of the component model.
        if matches!(reader.clone().read_u8()?, 0x41 | 0x42) {
            reader.read_u8()?;
            levels.push(Level { left: reader.read_var_u32()?, inside: true });
            return self.enter(offset);
        }
        let depth = self.depth_of(&reader.read()?);
        self.add_type(depth, offset)
    }

    /// Reads one declaration of a component type or an instance type.
    fn declaration(
        &mut self,
        reader: &mut BinaryReader<'_>,
        levels: &mut Vec<Level>,
    ) -> Result<(), GuestError> {
        let offset = reader.original_position();
        match reader.read_u8()? {
            0x00 => {
                reader.read::<CoreType<'_>>()?;
                Ok(())
            }
            0x01 => self.ty(reader, levels),
            0x02 => self.alias(&reader.read()?, offset),
            0x03 => self.import(&reader.read()?, offset),
            0x04 => {
                reader.read::<ComponentExportName<'_>>()?;
                self.extern_type(&reader.read()?, offset)
            }
            byte => Err(GuestError::Malformed {
                offset,
                message: format!("invalid leading byte (0x{byte:x}) for a declaration in a type"),
            }),
        }
    }

    fn end_type(&mut self, offset: usize) -> Result<(), GuestError> {
        let inner = self.scopes.pop().unwrap_or_default();
        self.add_type(inner.deepest + 1, offset)
    }

    pub(super) fn alias(&mut self, alias: &ComponentAlias<'_>, offset: usize) -> Result<(), GuestError> {
        match alias {
            ComponentAlias::InstanceExport { kind, instance_index, .. } => {
                let depth = self.instance(*instance_index);
                self.add(*kind, depth, offset)
            }
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, count, index } => {
                let depth = self.outer_type(*count, *index);
                self.add_type(depth, offset)
            }
            ComponentAlias::Outer { .. } | ComponentAlias::CoreInstanceExport { .. } => Ok(()),
        }
    }

    pub(super) fn import(&mut self, import: &ComponentImport<'_>, offset: usize) -> Result<(), GuestError> {
        self.extern_type(&import.ty, offset)
    }

    pub(super) fn export(&mut self, export: &ComponentExport<'_>, offset: usize) -> Result<(), GuestError> {
        let depth = match export.kind {
            ComponentExternalKind::Type => self.ty_at(export.index),
            ComponentExternalKind::Instance => self.instance(export.index),
            _ => 0,
        };
        self.add(export.kind, depth, offset)
    }

    /// An instance is made, from components and items that are there already: at worst from the deepest of them.
    pub(super) fn made_instance(&mut self, offset: usize) -> Result<(), GuestError> {
        self.add(ComponentExternalKind::Instance, self.deepest + 1, offset)
    }

    fn extern_type(&mut self, ty: &ComponentTypeRef, offset: usize) -> Result<(), GuestError> {
        match ty {
            ComponentTypeRef::Type(TypeBounds::Eq(index)) => self.add_type(self.ty_at(*index), offset),
            ComponentTypeRef::Type(TypeBounds::SubResource) => self.add_type(1, offset),
            ComponentTypeRef::Instance(index) => {
                self.add(ComponentExternalKind::Instance, self.ty_at(*index), offset)
            }
            ComponentTypeRef::Func(_)
            | ComponentTypeRef::Value(_)
            | ComponentTypeRef::Module(_)
            | ComponentTypeRef::Component(_) => Ok(()),
        }
    }

    fn add_type(&mut self, depth: u32, offset: usize) -> Result<(), GuestError> {
        self.add(ComponentExternalKind::Type, depth, offset)
    }

    fn add(&mut self, kind: ComponentExternalKind, depth: u32, offset: usize) -> Result<(), GuestError> {
        self.check(depth, offset)?;
        self.deepest = self.deepest.max(depth);
        let scope = self.scope_mut();
        match kind {
            ComponentExternalKind::Type => scope.types.push(depth),
            ComponentExternalKind::Instance => scope.instances.push(depth),
            _ => return Ok(()),
        }
        scope.deepest = scope.deepest.max(depth);
        Ok(())
    }

    fn check(&self, depth: u32, offset: usize) -> Result<(), GuestError> {
        match depth <= MAX_DEPTH {
            true => Ok(()),
            false => Err(GuestError::TooDeep { offset, limit: MAX_DEPTH }),
        }
    }

    fn depth_of(&self, ty: &ComponentType<'_>) -> u32 {
        let inner = match ty {
            ComponentType::Defined(ty) => self.depth_of_defined(ty),
            ComponentType::Func(ty) => {
                self.deepest_of(ty.params.iter().map(|(_, ty)| ty).chain(ty.result.as_ref()))
            }
            ComponentType::Resource { .. } => 0,
            // Not reached: these are read declaration by declaration.
            ComponentType::Component(_) | ComponentType::Instance(_) => self.deepest,
        };
        inner + 1
    }

    fn depth_of_defined(&self, ty: &ComponentDefinedType<'_>) -> u32 {
        match ty {
            ComponentDefinedType::Record(fields) => self.deepest_of(fields.iter().map(|(_, ty)| ty)),
            ComponentDefinedType::Variant(cases) => {
                self.deepest_of(cases.iter().filter_map(|case| case.ty.as_ref()))
            }
            ComponentDefinedType::Tuple(types) => self.deepest_of(types),
            ComponentDefinedType::List(ty) | ComponentDefinedType::Option(ty) => self.deepest_of([ty]),
            ComponentDefinedType::Result { ok, err } => self.deepest_of(ok.iter().chain(err)),
            ComponentDefinedType::Future(ty) | ComponentDefinedType::Stream(ty) => self.deepest_of(ty),
            ComponentDefinedType::Own(index) | ComponentDefinedType::Borrow(index) => self.ty_at(*index),
            ComponentDefinedType::Primitive(_)
            | ComponentDefinedType::Flags(_)
            | ComponentDefinedType::Enum(_) => 0,
        }
    }

    fn deepest_of<'t>(&self, types: impl IntoIterator<Item = &'t ComponentValType>) -> u32 {
        let depth = |ty: &ComponentValType| match ty {
            ComponentValType::Primitive(_) => 0,
            ComponentValType::Type(index) => self.ty_at(*index),
        };
        types.into_iter().map(depth).max().unwrap_or(0)
    }

    /// The depth of a type of this scope; an index that stands for none is found out by the validator.
    fn ty_at(&self, index: u32) -> u32 {
        self.outer_type(0, index)
    }

    fn outer_type(&self, count: u32, index: u32) -> u32 {
        let scope = self.scopes.len().checked_sub(1 + count as usize).and_then(|at| self.scopes.get(at));
        scope.and_then(|scope| scope.types.get(index as usize)).copied().unwrap_or(0)
    }

    fn instance(&self, index: u32) -> u32 {
        self.scope().instances.get(index as usize).copied().unwrap_or(0)
    }

    fn scope(&self) -> &Scope {
        const EMPTY: &Scope = &Scope { types: Vec::new(), instances: Vec::new(), deepest: 0 };
        self.scopes.last().unwrap_or(EMPTY)
    }

    fn scope_mut(&mut self) -> &mut Scope {
        if self.scopes.is_empty() {
            self.scopes.push(Scope::default());
        }
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }
}
