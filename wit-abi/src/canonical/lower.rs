//! Lowering: from values of the host to a guest's core values and memory.

use std::ops::Range;

use super::AbiError;
use super::core_types::{CoreArgs, CoreType, CoreValue, MAX_CORE_ARGS};
use super::model::Type;
use super::records::Value;

/// A guest's memory together with its allocator.
///
/// The sandbox implements it over an instance; `realloc` runs the guest's `cabi_realloc`.
pub trait GuestAlloc {
    /// What a failed allocation is: the sandbox's own error, which a broken value turns into as well.
    type Error: From<AbiError>;

    /// The guest's memory as it is now. It may grow with every call of [`realloc`](GuestAlloc::realloc).
    fn memory(&mut self) -> &mut [u8];

    /// Calls the guest's `cabi_realloc(0, 0, align, size)` and gives what it returns, unchecked: the caller checks
    /// alignment and bounds. It is called for `size` 0 too, as the specification says.
    ///
    /// # Errors
    ///
    /// When the guest traps, or may not run any longer.
    fn realloc(&mut self, align: u32, size: u32) -> Result<u32, Self::Error>;
}

/// A value that can be handed to a guest.
pub(crate) trait Lower: Value {
    /// Writes the value where `sink` stands, and leaves `sink` behind it.
    fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>>;
}

/// The error of a sink's allocator.
pub(crate) type SinkError<S> = <<S as Sink>::Alloc as GuestAlloc>::Error;

/// Where a value is written to: flattened core values, or a place in memory.
pub(crate) trait Sink {
    type Alloc: GuestAlloc;

    /// The guest's memory and allocator, for what does not lie in the value itself.
    fn alloc(&mut self) -> &mut Self::Alloc;

    /// Writes an integer or a `bool` of type `ty`.
    fn scalar(&mut self, ty: &Type, value: u64) -> Result<(), SinkError<Self>>;

    /// Writes the discriminant of an enum, an option or a result.
    fn discriminant(&mut self, value: u8) -> Result<(), SinkError<Self>>;

    /// Goes to the payload of the option or result `ty`, whose discriminant has just been written.
    fn to_payload(&mut self, ty: &Type);

    /// Writes a value of type `ty` with `write`, and goes behind it however little of it was written.
    fn compound(
        &mut self,
        ty: &Type,
        write: impl FnOnce(&mut Self) -> Result<(), SinkError<Self>>,
    ) -> Result<(), SinkError<Self>>;

    /// Writes a pointer and a length.
    fn pointer(&mut self, address: u32, len: u32) -> Result<(), SinkError<Self>> {
        self.scalar(&Type::U32, u64::from(address))?;
        self.scalar(&Type::U32, u64::from(len))
    }
}

/// The indices of the `len` bytes at `address` in a memory of `memory` bytes, when they lie in it.
pub(super) fn range(address: u32, len: u64, memory: usize) -> Option<Range<usize>> {
    let start = u64::from(address);
    let end = start.checked_add(len).filter(|end| *end <= memory as u64)?;
    // Both are at most `memory`, which is a `usize`.
    Some(start as usize..end as usize)
}

/// That `address` is a multiple of `align`.
pub(super) fn check_alignment(what: &'static str, address: u32, align: u32) -> Result<(), AbiError> {
    match address.is_multiple_of(align) {
        true => Ok(()),
        false => Err(AbiError::Unaligned { what, address, align }),
    }
}

/// That a value of type `ty` can lie at `address` of a memory of `memory` bytes.
pub(crate) fn check_area(ty: &Type, address: u32, memory: usize) -> Result<(), AbiError> {
    let what = "the area for a result";
    check_alignment(what, address, ty.align())?;
    let len = u64::from(ty.size());
    match range(address, len, memory) {
        Some(_) => Ok(()),
        None => Err(AbiError::OutOfBounds { what, address, len, memory }),
    }
}

/// Allocates `size` bytes in the guest, and checks what its allocator says.
fn allocate<A: GuestAlloc>(alloc: &mut A, align: u32, size: u32) -> Result<u32, A::Error> {
    let what = "what cabi_realloc returned";
    let address = alloc.realloc(align, size)?;
    check_alignment(what, address, align)?;
    let (len, memory) = (u64::from(size), alloc.memory().len());
    match range(address, len, memory) {
        Some(_) => Ok(address),
        None => Err(AbiError::OutOfBounds { what, address, len, memory }.into()),
    }
}

/// Copies `bytes` to a new allocation of the guest; returns its address and length.
fn lower_bytes<A: GuestAlloc>(
    what: &'static str,
    bytes: &[u8],
    alloc: &mut A,
) -> Result<(u32, u32), A::Error> {
    let len = u32::try_from(bytes.len()).map_err(|_| AbiError::TooLong { what, count: bytes.len() })?;
    let address = allocate(alloc, 1, len)?;
    write(alloc, u64::from(address), bytes)?;
    Ok((address, len))
}

fn write<A: GuestAlloc>(alloc: &mut A, at: u64, bytes: &[u8]) -> Result<(), A::Error> {
    let memory = alloc.memory();
    let address = u32::try_from(at).unwrap_or(u32::MAX);
    match range(address, bytes.len() as u64, memory.len()) {
        Some(range) => {
            memory[range].copy_from_slice(bytes);
            Ok(())
        }
        None => {
            let (len, memory) = (bytes.len() as u64, memory.len());
            Err(AbiError::OutOfBounds { what: "a value", address, len, memory }.into())
        }
    }
}

/// A place in memory.
struct Place<'a, A> {
    alloc: &'a mut A,
    /// 64 bits wide, so that a value at the very end of 4 GiB does not wrap it.
    at: u64,
}

impl<A> Place<'_, A> {
    fn align(&mut self, align: u32) {
        self.at = self.at.next_multiple_of(u64::from(align));
    }
}

impl<A: GuestAlloc> Sink for Place<'_, A> {
    type Alloc = A;

    fn alloc(&mut self) -> &mut A {
        self.alloc
    }

    fn scalar(&mut self, ty: &Type, value: u64) -> Result<(), A::Error> {
        self.align(ty.align());
        let bytes = value.to_le_bytes();
        let bytes = &bytes[..ty.size() as usize];
        write(self.alloc, self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn discriminant(&mut self, value: u8) -> Result<(), A::Error> {
        self.scalar(&Type::U8, u64::from(value))
    }

    fn to_payload(&mut self, ty: &Type) {
        self.align(ty.align());
    }

    fn compound(
        &mut self,
        ty: &Type,
        write: impl FnOnce(&mut Self) -> Result<(), A::Error>,
    ) -> Result<(), A::Error> {
        self.align(ty.align());
        let end = self.at + u64::from(ty.size());
        write(self)?;
        self.at = end;
        Ok(())
    }
}

/// The flattened arguments of a call, lowered one parameter after the other.
pub(crate) struct ArgumentList<'a, A> {
    alloc: &'a mut A,
    args: CoreArgs,
}

impl<'a, A: GuestAlloc> ArgumentList<'a, A> {
    pub(crate) fn new(alloc: &'a mut A) -> Self {
        ArgumentList { alloc, args: CoreArgs::new() }
    }

    /// Lowers the next parameter.
    pub(crate) fn lower<T: Lower + ?Sized>(&mut self, value: &T) -> Result<(), A::Error> {
        value.lower(self)
    }

    /// The core arguments of what was lowered.
    pub(crate) fn finish(self) -> CoreArgs {
        self.args
    }

    fn push(&mut self, value: CoreValue) -> Result<(), A::Error> {
        match self.args.push(value) {
            true => Ok(()),
            false => Err(AbiError::TooLong { what: "an argument list", count: MAX_CORE_ARGS + 1 }.into()),
        }
    }
}

impl<A: GuestAlloc> Sink for ArgumentList<'_, A> {
    type Alloc = A;

    fn alloc(&mut self) -> &mut A {
        self.alloc
    }

    fn scalar(&mut self, ty: &Type, value: u64) -> Result<(), A::Error> {
        match ty {
            Type::U64 => self.push(CoreValue::I64(value)),
            _ => self.push(CoreValue::I32(value as u32)),
        }
    }

    fn discriminant(&mut self, value: u8) -> Result<(), A::Error> {
        self.push(CoreValue::I32(u32::from(value)))
    }

    fn to_payload(&mut self, _: &Type) {}

    /// What was not written, the payload of an empty option, is zero.
    fn compound(
        &mut self,
        ty: &Type,
        write: impl FnOnce(&mut Self) -> Result<(), A::Error>,
    ) -> Result<(), A::Error> {
        let start = self.args.len();
        write(self)?;
        let written = self.args.len() - start;
        if written == ty.flat_count() {
            return Ok(());
        }
        let mut flat = Vec::new();
        ty.flatten(&mut flat);
        flat[written..].iter().try_for_each(|ty| match ty {
            CoreType::I64 => self.push(CoreValue::I64(0)),
            _ => self.push(CoreValue::I32(0)),
        })
    }
}

/// Writes `value` to `address`, where a guest that called an import wants the result.
pub(crate) fn lower_to_memory<T: Lower + ?Sized, A: GuestAlloc>(
    value: &T,
    address: u32,
    alloc: &mut A,
) -> Result<(), A::Error> {
    check_area(&T::TYPE, address, alloc.memory().len())?;
    value.lower(&mut Place { alloc, at: u64::from(address) })
}

impl Lower for bool {
    fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
        sink.scalar(&Self::TYPE, u64::from(*self))
    }
}

impl Lower for u16 {
    fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
        sink.scalar(&Self::TYPE, u64::from(*self))
    }
}

impl Lower for u32 {
    fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
        sink.scalar(&Self::TYPE, u64::from(*self))
    }
}

impl Lower for u64 {
    fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
        sink.scalar(&Self::TYPE, *self)
    }
}

impl Lower for str {
    fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
        let (address, len) = lower_bytes("a string", self.as_bytes(), sink.alloc())?;
        sink.pointer(address, len)
    }
}

impl Lower for String {
    fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
        self.as_str().lower(sink)
    }
}

impl Lower for [u8] {
    fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
        let (address, len) = lower_bytes("a list of bytes", self, sink.alloc())?;
        sink.pointer(address, len)
    }
}

impl Lower for Vec<u8> {
    fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
        self.as_slice().lower(sink)
    }
}

impl<T: Lower> Lower for [T] {
    fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
        let too_long = AbiError::TooLong { what: "a list", count: self.len() };
        let (size, align) = (T::TYPE.size(), T::TYPE.align());
        let len = u32::try_from(self.len()).map_err(|_| too_long.clone())?;
        let bytes = len.checked_mul(size).ok_or(too_long)?;
        let address = allocate(sink.alloc(), align, bytes)?;
        for (element, index) in self.iter().zip(0u64..) {
            let at = u64::from(address) + index * u64::from(size);
            element.lower(&mut Place { alloc: sink.alloc(), at })?;
        }
        sink.pointer(address, len)
    }
}

impl<T: Lower> Lower for Vec<T> {
    fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
        self.as_slice().lower(sink)
    }
}

impl<T: Lower> Lower for Option<T> {
    fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
        sink.compound(&Self::TYPE, |sink| match self {
            None => sink.discriminant(0),
            Some(value) => {
                sink.discriminant(1)?;
                sink.to_payload(&Self::TYPE);
                value.lower(sink)
            }
        })
    }
}

impl<T: Lower> Lower for Result<T, String>
where
    Self: Value,
{
    fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
        sink.compound(&Self::TYPE, |sink| {
            sink.discriminant(u8::from(self.is_err()))?;
            sink.to_payload(&Self::TYPE);
            match self {
                Ok(value) => value.lower(sink),
                Err(error) => error.lower(sink),
            }
        })
    }
}

impl Lower for Result<(), String> {
    fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
        sink.compound(&Self::TYPE, |sink| {
            sink.discriminant(u8::from(self.is_err()))?;
            sink.to_payload(&Self::TYPE);
            match self {
                Ok(()) => Ok(()),
                Err(error) => error.lower(sink),
            }
        })
    }
}
