//! The types of the channel world as data: what a component's own types are compared with, and what layouts are
//! computed from.

use std::fmt;

/// An interface type. Only what the channel world uses is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    U8,
    U16,
    U32,
    U64,
    String,
    List(&'static Type),
    Option(&'static Type),
    Result { ok: Option<&'static Type>, err: Option<&'static Type> },
    Record(&'static Record),
    Enum(&'static Enum),
}

/// A record: named fields in the order of the ABI.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub name: &'static str,
    pub fields: &'static [(&'static str, Type)],
}

/// An enum: named cases, numbered from 0.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Enum {
    pub name: &'static str,
    pub cases: &'static [&'static str],
}

/// A function of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Func {
    pub params: &'static [(&'static str, Type)],
    pub result: Option<Type>,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Bool => f.write_str("bool"),
            Type::U8 => f.write_str("u8"),
            Type::U16 => f.write_str("u16"),
            Type::U32 => f.write_str("u32"),
            Type::U64 => f.write_str("u64"),
            Type::String => f.write_str("string"),
            Type::List(element) => write!(f, "list<{element}>"),
            Type::Option(some) => write!(f, "option<{some}>"),
            Type::Result { ok, err } => write_result(f, *ok, *err),
            Type::Record(record) => f.write_str(record.name),
            Type::Enum(cases) => f.write_str(cases.name),
        }
    }
}

fn write_result(f: &mut fmt::Formatter<'_>, ok: Option<&Type>, err: Option<&Type>) -> fmt::Result {
    match (ok, err) {
        (None, None) => f.write_str("result"),
        (Some(ok), None) => write!(f, "result<{ok}>"),
        (None, Some(err)) => write!(f, "result<_, {err}>"),
        (Some(ok), Some(err)) => write!(f, "result<{ok}, {err}>"),
    }
}

impl fmt::Display for Func {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("func(")?;
        for (index, (name, ty)) in self.params.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}: {ty}")?;
        }
        f.write_str(")")?;
        match &self.result {
            Some(result) => write!(f, " -> {result}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_written_as_in_a_wit_file() {
        const TEXT: Type = Type::String;
        const BYTES: Type = Type::List(&Type::U8);
        let result = |ok, err| Some(Type::Result { ok, err });
        type Params = &'static [(&'static str, Type)];
        let rows: [(Params, Option<Type>, &str); 6] = [
            (&[], None, "func()"),
            (&[("name", TEXT)], result(None, None), "func(name: string) -> result"),
            (
                &[("a", TEXT), ("b", Type::U64)],
                result(Some(&BYTES), None),
                "func(a: string, b: u64) -> result<list<u8>>",
            ),
            (&[], result(None, Some(&TEXT)), "func() -> result<_, string>"),
            (&[], result(Some(&BYTES), Some(&TEXT)), "func() -> result<list<u8>, string>"),
            (&[], Some(Type::Option(&TEXT)), "func() -> option<string>"),
        ];
        for (params, result, written) in rows {
            assert_eq!(Func { params, result }.to_string(), written);
        }
    }
}
