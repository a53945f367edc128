//! Lifting: from a guest's core values and memory to values of the host.

use super::core_types::{CoreType, CoreValue};
use super::model::Type;
use super::records::Value;
use super::{AbiError, lower};

/// A value that can come from a guest.
pub(crate) trait Lift: Value + Sized {
    /// Reads the value where `source` stands, and leaves `source` behind it.
    fn lift<'m>(source: &mut impl Source<'m>) -> Result<Self, AbiError>;
}

/// Where a value is read from: flattened core values, or a place in memory.
pub(crate) trait Source<'m> {
    /// The guest's memory, and what may still be copied out of it.
    fn memory(&mut self) -> &mut GuestMemory<'m>;

    /// Reads an integer or a `bool` of type `ty`. A flattened one may be wider than its type: the specification takes a
    /// narrow integer modulo its width, and every `bool` but 0 as true.
    fn scalar(&mut self, ty: &Type) -> Result<u64, AbiError>;

    /// Reads the discriminant of an enum, an option or a result, none of which has more than 256 cases here.
    fn discriminant(&mut self) -> Result<u32, AbiError>;

    /// Goes to the payload of the option or result `ty`, whose discriminant has just been read.
    fn to_payload(&mut self, ty: &Type);

    /// Reads a value of type `ty` with `read`, and goes behind it however much of it `read` took.
    fn compound<T>(
        &mut self,
        ty: &Type,
        read: impl FnOnce(&mut Self) -> Result<T, AbiError>,
    ) -> Result<T, AbiError>;

    /// Reads an unsigned integer of at most 32 bits.
    fn u32(&mut self) -> Result<u32, AbiError> {
        // A scalar of this type is below 2^32 in either source.
        self.scalar(&Type::U32).map(|value| value as u32)
    }
}

/// A guest's memory while one value or one call's arguments are lifted from it.
///
/// A value never takes more room in the host than the guest's memory has; [`with_room`](Self::with_room) bounds it
/// further.
pub struct GuestMemory<'m> {
    bytes: &'m [u8],
    left: usize,
    room: Option<&'m mut dyn FnMut(u64) -> bool>,
}

impl<'m, T: AsRef<[u8]> + ?Sized> From<&'m T> for GuestMemory<'m> {
    fn from(bytes: &'m T) -> Self {
        let bytes = bytes.as_ref();
        GuestMemory { bytes, left: bytes.len(), room: None }
    }
}

impl<'m> GuestMemory<'m> {
    /// Memory of which each part is copied only after `room` was asked whether the host has room for its bytes.
    pub fn with_room(bytes: &'m [u8], room: &'m mut dyn FnMut(u64) -> bool) -> Self {
        GuestMemory { bytes, left: bytes.len(), room: Some(room) }
    }

    /// The size of the memory in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The `len` bytes at `address`.
    fn slice(&self, what: &'static str, address: u32, len: u64) -> Result<&'m [u8], AbiError> {
        let out = AbiError::OutOfBounds { what, address, len, memory: self.bytes.len() };
        let range = lower::range(address, len, self.bytes.len()).ok_or(out)?;
        Ok(&self.bytes[range])
    }

    /// Takes `needed` bytes of the host's memory, before anything is copied.
    fn charge(&mut self, needed: u64) -> Result<(), AbiError> {
        let left = self.left as u64;
        if needed > left {
            return Err(AbiError::Oversized { needed, left: self.left, memory: self.bytes.len() });
        }
        if !self.room.as_mut().is_none_or(|room| room(needed)) {
            return Err(AbiError::NoRoom { needed });
        }
        self.left = (left - needed) as usize;
        Ok(())
    }

    fn string(&mut self, address: u32, len: u32) -> Result<String, AbiError> {
        let bytes = self.slice("a string", address, u64::from(len))?;
        self.charge(u64::from(len))?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(AbiError::InvalidUtf8 { address, len, valid: error.valid_up_to() }),
        }
    }

    fn bytes(&mut self, address: u32, len: u32) -> Result<Vec<u8>, AbiError> {
        let bytes = self.slice("a list of bytes", address, u64::from(len))?;
        self.charge(u64::from(len))?;
        Ok(bytes.to_vec())
    }

    fn list<T: Lift>(&mut self, address: u32, len: u32) -> Result<Vec<T>, AbiError> {
        let (size, align) = (T::TYPE.size(), T::TYPE.align());
        lower::check_alignment("a list", address, align)?;
        self.slice("a list", address, u64::from(len) * u64::from(size))?;
        self.charge(u64::from(len) * size_of::<T>() as u64)?;
        let mut elements = Vec::with_capacity(len as usize);
        for index in 0..u64::from(len) {
            let at = u64::from(address) + index * u64::from(size);
            elements.push(T::lift(&mut Place { memory: self, at })?);
        }
        Ok(elements)
    }
}

/// A place in memory.
struct Place<'a, 'm> {
    memory: &'a mut GuestMemory<'m>,
    /// 64 bits wide, so that a value at the very end of 4 GiB does not wrap it.
    at: u64,
}

impl Place<'_, '_> {
    fn go_to(&mut self, at: u64, align: u32) {
        self.at = at.next_multiple_of(u64::from(align));
    }
}

impl<'m> Source<'m> for Place<'_, 'm> {
    fn memory(&mut self) -> &mut GuestMemory<'m> {
        self.memory
    }

    fn scalar(&mut self, ty: &Type) -> Result<u64, AbiError> {
        self.go_to(self.at, ty.align());
        let len = u64::from(ty.size());
        let address = u32::try_from(self.at).unwrap_or(u32::MAX);
        let bytes = self.memory.slice("a value", address, len)?;
        self.at += len;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn discriminant(&mut self) -> Result<u32, AbiError> {
        self.scalar(&Type::U8).map(|value| value as u32)
    }

    fn to_payload(&mut self, ty: &Type) {
        self.go_to(self.at, ty.align());
    }

    fn compound<T>(
        &mut self,
        ty: &Type,
        read: impl FnOnce(&mut Self) -> Result<T, AbiError>,
    ) -> Result<T, AbiError> {
        self.go_to(self.at, ty.align());
        let end = self.at + u64::from(ty.size());
        let value = read(self)?;
        self.at = end;
        Ok(value)
    }
}

/// The flattened arguments of a call.
pub(crate) struct Arguments<'a, 'm> {
    values: &'a [CoreValue],
    next: usize,
    memory: GuestMemory<'m>,
}

impl<'a, 'm> Arguments<'a, 'm> {
    /// The arguments `values` of a guest whose memory is `memory`.
    pub(crate) fn new(values: &'a [CoreValue], memory: impl Into<GuestMemory<'m>>) -> Self {
        Arguments { values, next: 0, memory: memory.into() }
    }

    /// Lifts the next parameter.
    pub(crate) fn next<T: Lift>(&mut self) -> Result<T, AbiError> {
        T::lift(self)
    }

    fn i32(&mut self) -> Result<u32, AbiError> {
        match self.values.get(self.next) {
            Some(CoreValue::I32(value)) => {
                self.next += 1;
                Ok(*value)
            }
            _ => Err(AbiError::WrongArgument { index: self.next, expected: CoreType::I32 }),
        }
    }

    fn i64(&mut self) -> Result<u64, AbiError> {
        match self.values.get(self.next) {
            Some(CoreValue::I64(value)) => {
                self.next += 1;
                Ok(*value)
            }
            _ => Err(AbiError::WrongArgument { index: self.next, expected: CoreType::I64 }),
        }
    }
}

impl<'m> Source<'m> for Arguments<'_, 'm> {
    fn memory(&mut self) -> &mut GuestMemory<'m> {
        &mut self.memory
    }

    fn scalar(&mut self, ty: &Type) -> Result<u64, AbiError> {
        match ty {
            Type::U64 => self.i64(),
            _ => self.i32().map(u64::from),
        }
    }

    fn discriminant(&mut self) -> Result<u32, AbiError> {
        self.i32()
    }

    fn to_payload(&mut self, _: &Type) {}

    fn compound<T>(
        &mut self,
        ty: &Type,
        read: impl FnOnce(&mut Self) -> Result<T, AbiError>,
    ) -> Result<T, AbiError> {
        let end = self.next + ty.flat_count();
        let value = read(self)?;
        self.next = end;
        Ok(value)
    }
}

/// Lifts the value at `address`, where a guest's exported function says that its result is.
pub(crate) fn lift_from_memory<'m, T: Lift>(
    address: u32,
    memory: impl Into<GuestMemory<'m>>,
) -> Result<T, AbiError> {
    let mut memory = memory.into();
    lower::check_area(&T::TYPE, address, memory.bytes.len())?;
    T::lift(&mut Place { memory: &mut memory, at: u64::from(address) })
}

impl Lift for bool {
    fn lift<'m>(source: &mut impl Source<'m>) -> Result<Self, AbiError> {
        Ok(source.scalar(&Self::TYPE)? != 0)
    }
}

impl Lift for u16 {
    fn lift<'m>(source: &mut impl Source<'m>) -> Result<Self, AbiError> {
        Ok(source.scalar(&Self::TYPE)? as u16)
    }
}

impl Lift for u32 {
    fn lift<'m>(source: &mut impl Source<'m>) -> Result<Self, AbiError> {
        source.u32()
    }
}

impl Lift for u64 {
    fn lift<'m>(source: &mut impl Source<'m>) -> Result<Self, AbiError> {
        source.scalar(&Self::TYPE)
    }
}

impl Lift for String {
    fn lift<'m>(source: &mut impl Source<'m>) -> Result<Self, AbiError> {
        let (address, len) = (source.u32()?, source.u32()?);
        source.memory().string(address, len)
    }
}

impl Lift for Vec<u8> {
    fn lift<'m>(source: &mut impl Source<'m>) -> Result<Self, AbiError> {
        let (address, len) = (source.u32()?, source.u32()?);
        source.memory().bytes(address, len)
    }
}

impl<T: Lift> Lift for Vec<T> {
    fn lift<'m>(source: &mut impl Source<'m>) -> Result<Self, AbiError> {
        let (address, len) = (source.u32()?, source.u32()?);
        source.memory().list(address, len)
    }
}

impl<T: Lift> Lift for Option<T> {
    fn lift<'m>(source: &mut impl Source<'m>) -> Result<Self, AbiError> {
        source.compound(&Self::TYPE, |source| match source.discriminant()? {
            0 => Ok(None),
            1 => {
                source.to_payload(&Self::TYPE);
                T::lift(source).map(Some)
            }
            value => Err(AbiError::InvalidDiscriminant { ty: "option", value, cases: 2 }),
        })
    }
}

impl<T: Lift> Lift for Result<T, String>
where
    Self: Value,
{
    fn lift<'m>(source: &mut impl Source<'m>) -> Result<Self, AbiError> {
        source.compound(&Self::TYPE, |source| match source.discriminant()? {
            0 => {
                source.to_payload(&Self::TYPE);
                T::lift(source).map(Ok)
            }
            1 => {
                source.to_payload(&Self::TYPE);
                String::lift(source).map(Err)
            }
            value => Err(AbiError::InvalidDiscriminant { ty: "result", value, cases: 2 }),
        })
    }
}

impl Lift for Result<(), String> {
    fn lift<'m>(source: &mut impl Source<'m>) -> Result<Self, AbiError> {
        source.compound(&Self::TYPE, |source| match source.discriminant()? {
            0 => Ok(Ok(())),
            1 => {
                source.to_payload(&Self::TYPE);
                String::lift(source).map(Err)
            }
            value => Err(AbiError::InvalidDiscriminant { ty: "result", value, cases: 2 }),
        })
    }
}
