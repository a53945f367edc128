//! Comparing a guest's interface types with those of the channel world.

use wasmparser::PrimitiveValType;
use wasmparser::component_types::{ComponentDefinedType, ComponentFuncType, ComponentValType};
use wasmparser::types::TypesRef;

use crate::canonical::{Func, Type};

/// Where a guest's function differs from that of the channel world.
#[derive(Debug)]
pub(super) struct Difference {
    pub place: String,
    pub found: String,
    pub expected: String,
}

/// Which of `shapes` the guest's function has. When it has none, the difference is that from the shape with as many
/// parameters, or else from the newest, which is the last.
///
/// Names of parameters may differ: only types and the names in records and enums carry meaning.
pub(super) fn shape_of(
    types: TypesRef<'_>,
    found: &ComponentFuncType,
    shapes: &[Func],
) -> Result<usize, Difference> {
    let mut nearest = None;
    for (index, shape) in shapes.iter().enumerate() {
        match compare_func(types, found, shape) {
            Ok(()) => return Ok(index),
            Err(difference) if shape.params.len() == found.params.len() => nearest = Some(difference),
            Err(difference) => nearest = nearest.or(Some(difference)),
        }
    }
    Err(nearest.unwrap_or(Difference {
        place: "it".to_owned(),
        found: describe_func(types, found),
        expected: "nothing".to_owned(),
    }))
}

fn compare_func(types: TypesRef<'_>, found: &ComponentFuncType, expected: &Func) -> Result<(), Difference> {
    if found.params.len() != expected.params.len() || found.result.is_some() != expected.result.is_some() {
        return Err(Difference {
            place: "the function".to_owned(),
            found: describe_func(types, found),
            expected: expected.to_string(),
        });
    }
    for ((_, found), (name, expected)) in found.params.iter().zip(expected.params) {
        Comparison { types, place: format!("parameter {name}") }.compare(*found, expected)?;
    }
    match (&found.result, &expected.result) {
        (Some(found), Some(expected)) => {
            Comparison { types, place: "the result".to_owned() }.compare(*found, expected)
        }
        _ => Ok(()),
    }
}

/// A comparison on its way down into a type.
struct Comparison<'a> {
    types: TypesRef<'a>,
    place: String,
}

impl Comparison<'_> {
    /// It goes no deeper than `expected` does, which is a type of ours.
    fn compare(&self, found: ComponentValType, expected: &Type) -> Result<(), Difference> {
        let ComponentValType::Type(id) = found else {
            return self.require(primitive(found) == Some(*expected), found, expected);
        };
        match (&self.types[id], expected) {
            (ComponentDefinedType::Primitive(ty), expected) => {
                let found = ComponentValType::Primitive(*ty);
                self.require(primitive(found) == Some(*expected), found, expected)
            }
            (ComponentDefinedType::List(found), Type::List(expected)) => {
                self.inside("an element of", *found, expected)
            }
            (ComponentDefinedType::Option(found), Type::Option(expected)) => {
                self.inside("the value of", *found, expected)
            }
            (
                ComponentDefinedType::Result { ok, err },
                Type::Result { ok: expected_ok, err: expected_err },
            ) if ok.is_some() == expected_ok.is_some() && err.is_some() == expected_err.is_some() => {
                ok.iter().zip(expected_ok.iter()).try_for_each(|(f, e)| self.inside("success in", *f, e))?;
                err.iter().zip(expected_err.iter()).try_for_each(|(f, e)| self.inside("the error in", *f, e))
            }
            (ComponentDefinedType::Record(record), Type::Record(expected_record)) => {
                let names = record.fields.keys().map(|name| name.as_str());
                let same = names.eq(expected_record.fields.iter().map(|(name, _)| *name));
                self.require(same, found, expected)?;
                record.fields.values().zip(expected_record.fields).try_for_each(
                    |(found, (name, expected))| self.inside(&format!("field {name} of"), *found, expected),
                )
            }
            (ComponentDefinedType::Enum(cases), Type::Enum(expected_enum)) => {
                let same = cases.iter().map(|case| case.as_str()).eq(expected_enum.cases.iter().copied());
                self.require(same, found, expected)
            }
            _ => self.require(false, found, expected),
        }
    }

    fn inside(&self, step: &str, found: ComponentValType, expected: &Type) -> Result<(), Difference> {
        let place = format!("{step} {}", self.place);
        Comparison { types: self.types, place }.compare(found, expected)
    }

    fn require(&self, same: bool, found: ComponentValType, expected: &Type) -> Result<(), Difference> {
        if same {
            return Ok(());
        }
        Err(Difference {
            place: self.place.clone(),
            found: describe(self.types, found, DESCRIBED_DEPTH),
            expected: spell_out(expected),
        })
    }
}

fn primitive(ty: ComponentValType) -> Option<Type> {
    let ComponentValType::Primitive(ty) = ty else { return None };
    Some(match ty {
        PrimitiveValType::Bool => Type::Bool,
        PrimitiveValType::U8 => Type::U8,
        PrimitiveValType::U16 => Type::U16,
        PrimitiveValType::U32 => Type::U32,
        PrimitiveValType::U64 => Type::U64,
        PrimitiveValType::String => Type::String,
        _ => return None,
    })
}

/// An expected type with the names in it, one level deep.
fn spell_out(ty: &Type) -> String {
    match ty {
        Type::Record(record) => {
            let fields = record.fields.iter().map(|(name, ty)| format!("{name}: {ty}"));
            format!("record {{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        Type::Enum(cases) => format!("enum {{ {} }}", cases.cases.join(", ")),
        other => other.to_string(),
    }
}

/// How far down a guest's own type is written out in a message.
const DESCRIBED_DEPTH: u32 = 3;

/// How many fields or cases of a guest's own type are written out in a message.
const DESCRIBED_NAMES: usize = 20;

fn describe_func(types: TypesRef<'_>, func: &ComponentFuncType) -> String {
    let params = func.params.iter().take(DESCRIBED_NAMES);
    let params = params.map(|(name, ty)| format!("{name}: {}", describe(types, *ty, DESCRIBED_DEPTH)));
    let params = params.collect::<Vec<_>>().join(", ");
    match func.result {
        Some(result) => format!("func({params}) -> {}", describe(types, result, DESCRIBED_DEPTH)),
        None => format!("func({params})"),
    }
}

fn describe(types: TypesRef<'_>, ty: ComponentValType, depth: u32) -> String {
    let id = match ty {
        ComponentValType::Primitive(ty) => return ty.to_string(),
        ComponentValType::Type(id) => id,
    };
    let Some(depth) = depth.checked_sub(1) else { return "…".to_owned() };
    let inner = |ty: &ComponentValType| describe(types, *ty, depth);
    let part = |ty: &Option<ComponentValType>| ty.as_ref().map_or("_".to_owned(), inner);
    match &types[id] {
        ComponentDefinedType::Primitive(ty) => ty.to_string(),
        ComponentDefinedType::Record(record) => {
            let fields = record.fields.iter().take(DESCRIBED_NAMES);
            let fields = fields.map(|(name, ty)| format!("{name}: {}", inner(ty)));
            format!("record {{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        ComponentDefinedType::Enum(cases) => {
            let cases = cases.iter().take(DESCRIBED_NAMES).map(|case| case.to_string());
            format!("enum {{ {} }}", cases.collect::<Vec<_>>().join(", "))
        }
        ComponentDefinedType::List(ty) => format!("list<{}>", inner(ty)),
        ComponentDefinedType::Option(ty) => format!("option<{}>", inner(ty)),
        ComponentDefinedType::Result { ok, err } => format!("result<{}, {}>", part(ok), part(err)),
        ComponentDefinedType::Tuple(tuple) => {
            let types = tuple.types.iter().take(DESCRIBED_NAMES).map(inner);
            format!("tuple<{}>", types.collect::<Vec<_>>().join(", "))
        }
        ComponentDefinedType::Variant(_) => "a variant".to_owned(),
        ComponentDefinedType::Flags(_) => "flags".to_owned(),
        ComponentDefinedType::Own(_) | ComponentDefinedType::Borrow(_) => "a resource".to_owned(),
        ComponentDefinedType::Future(_) => "a future".to_owned(),
        ComponentDefinedType::Stream(_) => "a stream".to_owned(),
    }
}
