//! Core WebAssembly as the canonical ABI sees it: value types, values and function types.

use std::fmt;
use std::ops::Deref;

/// The type of a core value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CoreType {
    /// A 32-bit integer; every pointer, length, discriminant, `bool` and integer up to 32 bits.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit float. Nothing in the channel world uses it; an import of a guest may.
    F32,
    /// A 64-bit float. Nothing in the channel world uses it; an import of a guest may.
    F64,
    /// A vector or a reference. Nothing in the channel world uses it.
    Other,
}

impl fmt::Display for CoreType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CoreType::I32 => "i32",
            CoreType::I64 => "i64",
            CoreType::F32 => "f32",
            CoreType::F64 => "f64",
            CoreType::Other => "(vector or reference)",
        })
    }
}

/// The type of a core function. Its `Display` is `(i32, i64) -> i32`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CoreFuncType {
    /// The parameters in order.
    pub params: Vec<CoreType>,
    /// The results in order; the canonical ABI has at most one.
    pub results: Vec<CoreType>,
}

impl CoreFuncType {
    /// Makes a function type.
    pub fn new(params: impl Into<Vec<CoreType>>, results: impl Into<Vec<CoreType>>) -> Self {
        CoreFuncType { params: params.into(), results: results.into() }
    }
}

impl fmt::Display for CoreFuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, &self.params)?;
        match self.results.as_slice() {
            [] => Ok(()),
            [one] => write!(f, " -> {one}"),
            several => {
                f.write_str(" -> ")?;
                write_list(f, several)
            }
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, types: &[CoreType]) -> fmt::Result {
    f.write_str("(")?;
    for (index, ty) in types.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{ty}")?;
    }
    f.write_str(")")
}

/// A core value of a channel function: there are no floats among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CoreValue {
    /// A 32-bit integer.
    I32(u32),
    /// A 64-bit integer.
    I64(u64),
}

/// The most core parameters that a function of the canonical ABI has: 16 that are flattened, and the pointer to
/// the area for the result.
pub const MAX_CORE_ARGS: usize = 17;

/// The core arguments of one call, without an allocation. It reads as a slice of [`CoreValue`].
#[derive(Clone, Copy)]
pub struct CoreArgs {
    values: [CoreValue; MAX_CORE_ARGS],
    len: usize,
}

impl CoreArgs {
    /// No arguments.
    pub const fn new() -> Self {
        CoreArgs { values: [CoreValue::I32(0); MAX_CORE_ARGS], len: 0 }
    }

    /// Appends a value; `false` when [`MAX_CORE_ARGS`] are there already, and then nothing is changed.
    pub fn push(&mut self, value: CoreValue) -> bool {
        let Some(place) = self.values.get_mut(self.len) else { return false };
        *place = value;
        self.len += 1;
        true
    }
}

impl Default for CoreArgs {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for CoreArgs {
    type Target = [CoreValue];

    fn deref(&self) -> &[CoreValue] {
        &self.values[..self.len]
    }
}

impl fmt::Debug for CoreArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_types_read_like_signatures() {
        use CoreType::*;
        let rows = [
            (CoreFuncType::default(), "()"),
            (CoreFuncType::new([I32, I64], [I32]), "(i32, i64) -> i32"),
            (CoreFuncType::new([F32], [F64, I32]), "(f32) -> (f64, i32)"),
        ];
        for (ty, text) in rows {
            assert_eq!(ty.to_string(), text);
        }
    }

    #[test]
    fn arguments_stop_at_their_limit() {
        let mut args = CoreArgs::new();
        for index in 0..MAX_CORE_ARGS {
            assert!(args.push(CoreValue::I32(index as u32)));
        }
        assert!(!args.push(CoreValue::I32(99)));
        assert_eq!(args.len(), MAX_CORE_ARGS);
        assert_eq!(args[16], CoreValue::I32(16));
    }

    #[test]
    fn arguments_are_shown_as_a_list() {
        let mut args = CoreArgs::new();
        assert!(args.push(CoreValue::I32(7)));
        assert_eq!(format!("{args:?}"), "[I32(7)]");
    }
}
