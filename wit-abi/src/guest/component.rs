//! Taking a component apart, as far as a guest needs it: its core modules, and the types of what it imports and
//! exports.

use std::ops::Range;

use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentEntityType, ComponentFuncTypeId, ComponentInstanceTypeId,
};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{
    BinaryReader, CanonicalFunction, CanonicalOption, Encoding, Parser, Payload, ValidPayload, Validator,
};

use super::GuestError;
use super::depth::Depths;
use super::features::FEATURES;

/// What a component has at its top level.
#[derive(Default)]
pub(super) struct Survey<'a> {
    /// Where its core modules are in the file.
    pub modules: Vec<Range<usize>>,
    /// The names of its imports.
    pub imports: Vec<&'a str>,
    /// The names of its exports.
    pub exports: Vec<&'a str>,
}

impl<'a> Survey<'a> {
    /// Looks through the component `bytes`, which begins at `offset` of its file and need not be valid. Refuses
    /// what is nested too deeply for a validator, and what a channel must not contain.
    pub(super) fn of(bytes: &'a [u8], offset: usize) -> Result<Self, GuestError> {
        let mut surveyor = Surveyor { bytes, offset, ..Surveyor::default() };
        for payload in Parser::new(offset as u64).parse_all(bytes) {
            surveyor.payload(payload?)?;
        }
        Ok(surveyor.survey)
    }
}

/// Refuses a binary that is nested too deeply for what reads types by recursion, such as a validator; everything else about
/// it may be wrong. [`read_guest`](super::read_guest) does this by itself.
///
/// # Errors
///
/// [`GuestError::TooDeep`], or what makes the binary unreadable.
pub fn check_nesting(bytes: &[u8]) -> Result<(), GuestError> {
    let mut surveyor = Surveyor { bytes, only_nesting: true, ..Surveyor::default() };
    Parser::new(0).parse_all(bytes).try_for_each(|payload| surveyor.payload(payload?))
}

#[derive(Default)]
struct Surveyor<'a> {
    bytes: &'a [u8],
    /// Whether the rest of what a channel must not contain is left alone.
    only_nesting: bool,
    offset: usize,
    survey: Survey<'a>,
    /// What encloses the payload that is being looked at, outermost first.
    enclosing: Vec<Encoding>,
    depths: Option<Depths>,
}

impl<'a> Surveyor<'a> {
    fn payload(&mut self, payload: Payload<'a>) -> Result<(), GuestError> {
        match &payload {
            Payload::Version { encoding, range, .. } => return self.enter(*encoding, range.start),
            Payload::End(_) => {
                self.leave();
                return Ok(());
            }
            _ => {}
        }
        if self.enclosing.last() != Some(&Encoding::Component) {
            return Ok(());
        }
        self.nesting(&payload)?;
        match self.enclosing.len() {
            _ if self.only_nesting => Ok(()),
            1 => self.top_level(payload),
            _ => inner_component(&payload),
        }
    }

    fn enter(&mut self, encoding: Encoding, offset: usize) -> Result<(), GuestError> {
        self.enclosing.push(encoding);
        match encoding {
            Encoding::Component => self.depths().enter(offset),
            Encoding::Module => Ok(()),
        }
    }

    fn leave(&mut self) {
        if self.enclosing.pop() == Some(Encoding::Component) {
            self.depths().leave();
        }
    }

    fn depths(&mut self) -> &mut Depths {
        self.depths.get_or_insert_with(Depths::new)
    }

    /// Everything that adds a type or an instance.
    fn nesting(&mut self, payload: &Payload<'a>) -> Result<(), GuestError> {
        match payload {
            Payload::ComponentTypeSection(section) => {
                let range = section.range();
                let bytes = self.bytes.get(range.start - self.offset..range.end - self.offset);
                self.depths().type_section(BinaryReader::new(bytes.unwrap_or_default(), range.start))
            }
            Payload::ComponentAliasSection(section) => {
                each(section, |alias, at| self.depths().alias(alias, at))
            }
            Payload::ComponentImportSection(section) => {
                each(section, |import, at| self.depths().import(import, at))
            }
            Payload::ComponentExportSection(section) => {
                each(section, |export, at| self.depths().export(export, at))
            }
            Payload::ComponentInstanceSection(section) => {
                each(section, |_, at| self.depths().made_instance(at))
            }
            _ => Ok(()),
        }
    }

    fn top_level(&mut self, payload: Payload<'a>) -> Result<(), GuestError> {
        match payload {
            Payload::ModuleSection { unchecked_range, .. } => self.survey.modules.push(unchecked_range),
            Payload::ComponentImportSection(section) => {
                for import in section {
                    self.survey.imports.push(import?.name.0);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    self.survey.exports.push(export?.name.0);
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    check_canonical(&function?)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn each<'a, T: wasmparser::FromReader<'a>>(
    section: &wasmparser::SectionLimited<'a, T>,
    mut visit: impl FnMut(&T, usize) -> Result<(), GuestError>,
) -> Result<(), GuestError> {
    for item in section.clone().into_iter_with_offsets() {
        let (offset, item) = item?;
        visit(&item, offset)?;
    }
    Ok(())
}

/// Encoders wrap the exports in a component inside that only gives them names. One with code is another program.
fn inner_component(payload: &Payload<'_>) -> Result<(), GuestError> {
    match payload {
        Payload::ModuleSection { unchecked_range, .. } => Err(GuestError::Composed {
            what: format!(
                "a component inside it has a core module of its own, at byte {}",
                unchecked_range.start
            ),
        }),
        Payload::InstanceSection(section) => Err(GuestError::Composed {
            what: format!(
                "a component inside it instantiates core modules, at byte {}",
                section.range().start
            ),
        }),
        _ => Ok(()),
    }
}

fn check_canonical(function: &CanonicalFunction) -> Result<(), GuestError> {
    let options = match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => options,
        _ => return Ok(()),
    };
    options.iter().try_for_each(|option| match option {
        CanonicalOption::UTF16 => Err(GuestError::StringEncoding { found: "UTF-16" }),
        CanonicalOption::CompactUTF16 => Err(GuestError::StringEncoding { found: "Latin-1 or UTF-16" }),
        CanonicalOption::Async | CanonicalOption::Callback(_) => {
            Err(GuestError::Async { what: "functions".to_owned() })
        }
        _ => Ok(()),
    })
}

/// Validates everything but function bodies, and gives the types of the outermost module or component. `offset` is
/// where `bytes` begins in its file.
pub(super) fn validate(bytes: &[u8], offset: usize) -> Result<Option<Types>, GuestError> {
    let mut validator = Validator::new_with_features(FEATURES);
    let mut types = None;
    for payload in Parser::new(offset as u64).parse_all(bytes) {
        if let ValidPayload::End(done) = validator.payload(&payload?)? {
            types = Some(done);
        }
    }
    Ok(types)
}

/// The interface types of what a guest imports and exports.
pub(super) struct InterfaceTypes {
    types: Types,
    imports: Vec<Interface>,
    exports: Vec<Interface>,
}

struct Interface {
    name: String,
    ty: ComponentInstanceTypeId,
}

impl InterfaceTypes {
    /// The world of a component that was surveyed and validated.
    pub(super) fn of_component(survey: &Survey<'_>, types: Types) -> Self {
        let instances = |names: &[&str], entity: &dyn Fn(&str) -> Option<ComponentEntityType>| {
            let named = names.iter().filter_map(|name| Some((name.to_string(), entity(name)?)));
            named.filter_map(interface).collect()
        };
        let imports = instances(&survey.imports, &|name| types.component_entity_type_of_import(name));
        let exports = instances(&survey.exports, &|name| types.component_entity_type_of_export(name));
        InterfaceTypes { types, imports, exports }
    }

    /// The world that `wit-bindgen` left in a custom section of a core module: a component that exports a component
    /// type, which exports the world as a component type.
    ///
    /// It only adds to what the module itself shows, so one that cannot be read is as good as none.
    pub(super) fn of_section(bytes: &[u8], offset: usize) -> Option<Self> {
        let survey = Survey::of(bytes, offset).ok()?;
        let types = validate(bytes, offset).ok()??;
        let outer = survey.exports.iter().find_map(|name| types.component_entity_type_of_export(name))?;
        let package = &types[component_type(outer)?];
        let world = package.exports.values().find_map(|entity| component_type(*entity))?;
        let interfaces = |entities: &mut dyn Iterator<Item = (&String, &ComponentEntityType)>| {
            entities.filter_map(|(name, entity)| interface((name.clone(), *entity))).collect()
        };
        let imports = interfaces(&mut types[world].imports.iter());
        let exports = interfaces(&mut types[world].exports.iter());
        Some(InterfaceTypes { types, imports, exports })
    }

    pub(super) fn types(&self) -> TypesRef<'_> {
        self.types.as_ref()
    }

    /// The imported function `func` of the first interface for which `is_it`.
    pub(super) fn import(&self, is_it: impl Fn(&str) -> bool, func: &str) -> Option<ComponentFuncTypeId> {
        self.func(&self.imports, is_it, func)
    }

    /// The exported function `func` of the first interface for which `is_it`.
    pub(super) fn export(&self, is_it: impl Fn(&str) -> bool, func: &str) -> Option<ComponentFuncTypeId> {
        self.func(&self.exports, is_it, func)
    }

    fn func(
        &self,
        interfaces: &[Interface],
        is_it: impl Fn(&str) -> bool,
        func: &str,
    ) -> Option<ComponentFuncTypeId> {
        let interface = interfaces.iter().find(|interface| is_it(&interface.name))?;
        match self.types[interface.ty].exports.get(func)? {
            ComponentEntityType::Func(ty) => Some(*ty),
            _ => None,
        }
    }
}

fn interface((name, entity): (String, ComponentEntityType)) -> Option<Interface> {
    match entity {
        ComponentEntityType::Instance(ty) => Some(Interface { name, ty }),
        _ => None,
    }
}

fn component_type(entity: ComponentEntityType) -> Option<wasmparser::component_types::ComponentTypeId> {
    match entity {
        ComponentEntityType::Component(ty) => Some(ty),
        ComponentEntityType::Type { referenced: ComponentAnyTypeId::Component(ty), .. } => Some(ty),
        _ => None,
    }
}
