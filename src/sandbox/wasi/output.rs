//! Standard output and error: bytes become log lines.

use wit_abi::types::LogLevel;

use crate::sandbox::error::Halt;
use crate::sandbox::state::{ChannelHostState, Guest};

/// One of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum Output {
    /// Lines are `Info`.
    Stdout,
    /// Lines are `Warn`.
    Stderr,
}

/// What was written behind the last line break.
#[derive(Debug, Default)]
pub(super) struct LineBuffer(Vec<u8>);

/// Takes what the guest wrote.
pub(super) fn write(guest: &mut Guest<'_>, output: Output, address: u32, len: u32) -> Result<(), Halt> {
    guest.bytes("a buffer", address, len)?;
    guest.charge_bytes(len as usize)?;
    let (memory, state) = guest.memory_and_state();
    // In bounds: just checked.
    take(state, output, &memory[address as usize..][..len as usize]);
    Ok(())
}

fn take(state: &mut ChannelHostState, output: Output, bytes: &[u8]) {
    let longest = state.channel.limits.log_line_bytes;
    for (index, part) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if index > 0 {
            end_line(state, output);
        }
        let line = &mut buffer(state, output).0;
        // What is beyond the longest line would be cut from the log anyway; one byte more shows that it was cut.
        let room = (longest + 1).saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
    }
}

fn end_line(state: &mut ChannelHostState, output: Output) {
    let line = std::mem::take(&mut buffer(state, output).0);
    let level = match output {
        Output::Stdout => LogLevel::Info,
        Output::Stderr => LogLevel::Warn,
    };
    let text = String::from_utf8_lossy(&line);
    let longest = state.channel.limits.log_line_bytes;
    let text = state.channel.services.without_given_secrets(&text, longest);
    state.record.log(level, &text);
}

fn buffer(state: &mut ChannelHostState, output: Output) -> &mut LineBuffer {
    match output {
        Output::Stdout => &mut state.wasi.stdout,
        Output::Stderr => &mut state.wasi.stderr,
    }
}

/// Logs what has no line break yet, at the end of a callback.
pub(in crate::sandbox) fn flush(state: &mut ChannelHostState) {
    for output in [Output::Stdout, Output::Stderr] {
        if !buffer(state, output).0.is_empty() {
            end_line(state, output);
        }
    }
}
