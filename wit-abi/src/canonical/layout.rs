//! Sizes, alignments and flattening: the rules of the Canonical ABI (`CanonicalABI.md` of the component model) for
//! a 32-bit memory.

use super::core_types::{CoreFuncType, CoreType};
use super::model::{Func, Type};

/// How many core values the parameters of a function may flatten to; more go through memory
/// (`MAX_FLAT_PARAMS` of the specification). No function of the channel world reaches it.
const MAX_FLAT_PARAMS: usize = 16;

/// How many core values a result may flatten to; more go through memory (`MAX_FLAT_RESULTS`).
const MAX_FLAT_RESULTS: usize = 1;

/// The size of a pointer and a length, and the alignment of both.
const POINTER: u32 = 4;

/// Rounds `offset` up to a multiple of `align`, which is a power of two.
pub(crate) const fn align_to(offset: u32, align: u32) -> u32 {
    offset.div_ceil(align) * align
}

const fn max(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}

impl Type {
    /// The alignment in memory, in bytes.
    pub(crate) const fn align(&self) -> u32 {
        match self {
            Type::Bool | Type::U8 | Type::Enum(_) => 1,
            Type::U16 => 2,
            Type::U32 => 4,
            Type::U64 => 8,
            Type::String | Type::List(_) => POINTER,
            Type::Option(some) => some.align(),
            Type::Result { ok, err } => max(payload_align(ok), payload_align(err)),
            Type::Record(record) => {
                let mut align = 1;
                let mut index = 0;
                while index < record.fields.len() {
                    align = max(align, record.fields[index].1.align());
                    index += 1;
                }
                align
            }
        }
    }

    /// The size in memory, in bytes.
    pub(crate) const fn size(&self) -> u32 {
        match self {
            Type::Bool | Type::U8 | Type::Enum(_) => 1,
            Type::U16 => 2,
            Type::U32 => 4,
            Type::U64 => 8,
            Type::String | Type::List(_) => 2 * POINTER,
            Type::Option(some) => align_to(self.payload_offset() + some.size(), self.align()),
            Type::Result { ok, err } => {
                align_to(self.payload_offset() + max(payload_size(ok), payload_size(err)), self.align())
            }
            Type::Record(record) => {
                let mut size = 0;
                let mut index = 0;
                while index < record.fields.len() {
                    let field = record.fields[index].1;
                    size = align_to(size, field.align()) + field.size();
                    index += 1;
                }
                align_to(size, self.align())
            }
        }
    }

    /// Where the payload of an option or a result begins: behind its one byte of discriminant.
    pub(crate) const fn payload_offset(&self) -> u32 {
        align_to(1, self.align())
    }

    /// How many core values it flattens to.
    pub(crate) const fn flat_count(&self) -> usize {
        match self {
            Type::Bool | Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::Enum(_) => 1,
            Type::String | Type::List(_) => 2,
            Type::Option(some) => 1 + some.flat_count(),
            Type::Result { ok, err } => {
                let (ok, err) = (payload_flat_count(ok), payload_flat_count(err));
                1 + if ok > err { ok } else { err }
            }
            Type::Record(record) => {
                let mut count = 0;
                let mut index = 0;
                while index < record.fields.len() {
                    count += record.fields[index].1.flat_count();
                    index += 1;
                }
                count
            }
        }
    }

    /// The core types it flattens to, appended to `flat`.
    pub(crate) fn flatten(&self, flat: &mut Vec<CoreType>) {
        match self {
            Type::Bool | Type::U8 | Type::U16 | Type::U32 | Type::Enum(_) => flat.push(CoreType::I32),
            Type::U64 => flat.push(CoreType::I64),
            Type::String | Type::List(_) => flat.extend([CoreType::I32, CoreType::I32]),
            Type::Option(some) => {
                flat.push(CoreType::I32);
                some.flatten(flat);
            }
            Type::Result { ok, err } => {
                flat.push(CoreType::I32);
                flat.extend(join(&flattened(*ok), &flattened(*err)));
            }
            Type::Record(record) => record.fields.iter().for_each(|(_, ty)| ty.flatten(flat)),
        }
    }
}

const fn payload_align(payload: &Option<&'static Type>) -> u32 {
    match payload {
        Some(ty) => ty.align(),
        None => 1,
    }
}

const fn payload_size(payload: &Option<&'static Type>) -> u32 {
    match payload {
        Some(ty) => ty.size(),
        None => 0,
    }
}

const fn payload_flat_count(payload: &Option<&'static Type>) -> usize {
    match payload {
        Some(ty) => ty.flat_count(),
        None => 0,
    }
}

/// The core types of a payload or a result, which may be absent.
fn flattened(ty: Option<&Type>) -> Vec<CoreType> {
    let mut flat = Vec::new();
    if let Some(ty) = ty {
        ty.flatten(&mut flat);
    }
    flat
}

/// The core types that can hold either of two cases. There are only integers here, so two that differ are held in
/// the wider one.
fn join(a: &[CoreType], b: &[CoreType]) -> Vec<CoreType> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let both = long.iter().zip(short).map(|(x, y)| if x == y { *x } else { CoreType::I64 });
    both.chain(long[short.len()..].iter().copied()).collect()
}

impl Func {
    /// Whether the result is written to memory instead of being returned.
    pub(crate) fn returns_by_memory(&self) -> bool {
        self.result.is_some_and(|result| result.flat_count() > MAX_FLAT_RESULTS)
    }

    /// The core type under which a guest imports it: a result in memory goes where the last parameter points.
    pub(crate) fn import_type(&self) -> CoreFuncType {
        let mut params = self.flat_params();
        if self.returns_by_memory() {
            params.push(CoreType::I32);
            return CoreFuncType::new(params, []);
        }
        CoreFuncType::new(params, flattened(self.result.as_ref()))
    }

    /// The core type under which a guest exports it: a result in memory is where the returned pointer says.
    pub(crate) fn export_type(&self) -> CoreFuncType {
        let results =
            if self.returns_by_memory() { vec![CoreType::I32] } else { flattened(self.result.as_ref()) };
        CoreFuncType::new(self.flat_params(), results)
    }

    fn flat_params(&self) -> Vec<CoreType> {
        let mut flat = Vec::new();
        self.params.iter().for_each(|(_, ty)| ty.flatten(&mut flat));
        if flat.len() > MAX_FLAT_PARAMS {
            return vec![CoreType::I32];
        }
        flat
    }
}

#[cfg(test)]
mod tests {
    use CoreType::{I32, I64};

    use super::*;

    #[test]
    fn two_cases_are_held_in_what_can_hold_either() {
        let rows: [(&[CoreType], &[CoreType], &[CoreType]); 6] = [
            (&[], &[], &[]),
            (&[], &[I32], &[I32]),
            (&[I32, I64], &[I64], &[I64, I64]),
            (&[I32], &[I32, I64], &[I32, I64]),
            (&[I64], &[I64], &[I64]),
            (&[I64], &[I32], &[I64]),
        ];
        for (a, b, both) in rows {
            assert_eq!(join(a, b), both, "{a:?} or {b:?}");
        }
    }

    #[test]
    fn sixteen_core_values_are_passed_and_seventeen_lie_in_memory() {
        const TWO: [(&str, Type); 2] = [("a", Type::U32), ("b", Type::U64)];
        const EIGHT: [(&str, Type); 8] = [("a", Type::String); 8];
        const NINE: [(&str, Type); 9] = [("a", Type::String); 9];
        let flat = |params| Func { params, result: None }.flat_params();
        assert_eq!(flat(&TWO), [I32, I64]);
        assert_eq!(flat(&EIGHT), [I32; 16]);
        assert_eq!(flat(&NINE), [I32]);
        const SEVENTEEN: [(&str, Type); 17] = [("a", Type::U32); 17];
        assert_eq!(flat(&SEVENTEEN), [I32]);
    }
}
