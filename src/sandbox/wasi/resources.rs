//! The resources of WASI 0.2 behind the small numbers that guests hold.

use std::time::Instant;

use super::output::Output;
use crate::sandbox::error::Halt;

/// Resources that one instance may hold at the same time.
const MAX_RESOURCES: usize = 1_000;

/// Something that a guest holds a handle to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// Standard input, which is always at its end.
    Input,
    /// Standard output or error.
    Output(Output),
    /// Ready from this moment on.
    Pollable(PollableReady),
}

/// When a pollable is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PollableReady {
    Now,
    At(Instant),
}

impl PollableReady {
    pub(super) fn is_ready(self, now: Instant) -> bool {
        match self {
            Self::Now => true,
            Self::At(moment) => now >= moment,
        }
    }
}

/// A table of handles. Handle 0 is never given out, as the canonical ABI asks for.
#[derive(Debug, Default)]
pub(super) struct Resources {
    slots: Vec<Option<Resource>>,
}

impl Resources {
    pub(super) fn add(&mut self, resource: Resource) -> Result<u32, Halt> {
        let free = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if free >= MAX_RESOURCES {
            return Err(Halt::Trap(format!("it holds more than {MAX_RESOURCES} WASI resources")));
        }
        match self.slots.get_mut(free) {
            Some(slot) => *slot = Some(resource),
            None => self.slots.push(Some(resource)),
        }
        Ok(free as u32 + 1)
    }

    pub(super) fn remove(&mut self, handle: u32) -> Result<(), Halt> {
        match self.slot(handle).and_then(Option::take) {
            Some(_) => Ok(()),
            None => Err(unknown(handle)),
        }
    }

    pub(super) fn get(&mut self, handle: u32) -> Result<Resource, Halt> {
        self.slot(handle).and_then(|slot| *slot).ok_or_else(|| unknown(handle))
    }

    pub(super) fn output(&mut self, handle: u32) -> Result<Output, Halt> {
        match self.get(handle)? {
            Resource::Output(output) => Ok(output),
            other => Err(mismatch(handle, other, "an output stream")),
        }
    }

    pub(super) fn input(&mut self, handle: u32) -> Result<(), Halt> {
        match self.get(handle)? {
            Resource::Input => Ok(()),
            other => Err(mismatch(handle, other, "an input stream")),
        }
    }

    pub(super) fn pollable(&mut self, handle: u32) -> Result<PollableReady, Halt> {
        match self.get(handle)? {
            Resource::Pollable(ready) => Ok(ready),
            other => Err(mismatch(handle, other, "a pollable")),
        }
    }

    fn slot(&mut self, handle: u32) -> Option<&mut Option<Resource>> {
        self.slots.get_mut((handle as usize).checked_sub(1)?)
    }
}

fn unknown(handle: u32) -> Halt {
    Halt::Abi(format!("it used the handle {handle}, which it does not hold"))
}

fn mismatch(handle: u32, found: Resource, expected: &str) -> Halt {
    let found = match found {
        Resource::Input => "an input stream",
        Resource::Output(_) => "an output stream",
        Resource::Pollable(_) => "a pollable",
    };
    Halt::Abi(format!("it used the handle {handle} as {expected}, and it is {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_small_used_again_and_checked() {
        let mut table = Resources::default();
        assert_eq!(table.add(Resource::Input), Ok(1));
        assert_eq!(table.add(Resource::Pollable(PollableReady::Now)), Ok(2));
        assert_eq!(table.remove(1), Ok(()));
        assert!(table.remove(1).is_err());
        assert_eq!(table.add(Resource::Output(Output::Stderr)), Ok(1));
        assert_eq!(table.output(1), Ok(Output::Stderr));
        assert!(table.output(2).is_err());
        for handle in [0, 3, u32::MAX] {
            assert!(table.get(handle).is_err(), "{handle}");
        }
    }

    #[test]
    fn the_number_of_handles_is_bounded() {
        let mut table = Resources::default();
        for _ in 0..MAX_RESOURCES {
            table.add(Resource::Input).unwrap();
        }
        assert!(table.add(Resource::Input).is_err());
        table.remove(7).unwrap();
        assert_eq!(table.add(Resource::Input), Ok(7));
    }
}
