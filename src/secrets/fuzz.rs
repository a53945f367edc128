//! Fuzzing of the encrypted file of secrets.

use std::path::Path;

use ring::digest::{SHA256, digest};

use super::sealed;

/// The file as it is; and, since no fuzzer finds a checksum, the first line of the input with the right one before the rest.
pub fn secrets_file(bytes: &[u8]) {
    let path = Path::new("secrets");
    let _ = sealed::parse(bytes, path).map(|file| file.derivation().clone());
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let (line, rest) = bytes.split_at(end);
    let sum: String = digest(&SHA256, line).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let whole = [line, b"\n", sum.as_bytes(), rest].concat();
    let _ = sealed::parse(&whole, path).map(|file| file.derivation().clone());
    let _ = sealed::read_records(bytes);
}
