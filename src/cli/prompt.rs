//! A secret from the terminal, without echo, or from standard input.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::{Zeroize as _, Zeroizing};

use crate::secrets::Secret;

/// What ends typing without a value.
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACES: [u8; 2] = [8, 127];

/// Reads a value: typed after `question` at a terminal, else all of standard input without its last line break.
pub fn secret(question: &str) -> io::Result<Secret> {
    let stdin = io::stdin();
    let bytes = if stdin.is_terminal() {
        let _quiet = EchoOff::new()?;
        err!("{question}: ");
        io::stderr().flush()?;
        let typed = typed(&mut stdin.lock());
        errln!();
        typed?
    } else {
        piped(&mut stdin.lock())?
    };
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| io::Error::other("the value is not UTF-8 text; give binary keys as base64 or hex"))?;
    Ok(Secret::from(text))
}

/// Whether something is there to be read from standard input, or its end, within this time.
pub fn has_input(within: Duration) -> bool {
    let Ok(timeout) = Timespec::try_from(within) else { return false };
    let stdin = io::stdin();
    let mut waited = [PollFd::new(&stdin, PollFlags::IN)];
    poll(&mut waited, Some(&timeout)).is_ok_and(|ready| ready > 0)
}

/// Reads a line that is typed after `question`, without its line break.
pub fn line(question: &str) -> io::Result<String> {
    err!("{question}: ");
    io::stderr().flush()?;
    let mut line = String::new();
    if io::stdin().read_line(&mut line)? == 0 {
        errln!();
        return Err(io::Error::other("nothing was stored"));
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn piped(input: &mut impl io::Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room for all of it, so that no half-grown copy stays behind in memory.
    let room = usize::try_from(Secret::MAX_BYTES).unwrap_or(usize::MAX).saturating_add(3);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    input.take(room as u64).read_to_end(&mut bytes)?;
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    Ok(bytes)
}

fn typed(input: &mut impl io::Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    let mut byte = [0];
    loop {
        if input.read(&mut byte)? == 0 {
            break;
        }
        match byte[0] {
            b'\n' | b'\r' => break,
            CTRL_C | CTRL_D => return Err(io::Error::other("nothing was stored")),
            erase if BACKSPACES.contains(&erase) => {
                bytes.pop();
            }
            other => bytes.push(other),
        }
    }
    byte.zeroize();
    Ok(bytes)
}

/// A terminal that shows nothing of what is typed, until this is dropped. Signals are off meanwhile, because Ctrl-C would
/// leave it silent.
struct EchoOff(Termios);

impl EchoOff {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_with_its_line() {
        for (input, expected) in
            [("abc\ndef", Some("abc")), ("abx\u{7f}c\r", Some("abc")), ("a\u{3}", None), ("a", Some("a"))]
        {
            let typed = typed(&mut input.as_bytes()).ok();
            assert_eq!(
                typed.map(|bytes| bytes.to_vec()),
                expected.map(|text| text.as_bytes().to_vec()),
                "{input:?}"
            );
        }
        for (input, expected) in [("a\nb\n", "a\nb"), ("a\r\n", "a"), ("a", "a"), ("", "")] {
            assert_eq!(piped(&mut input.as_bytes()).unwrap().as_slice(), expected.as_bytes(), "{input:?}");
        }
    }
}
