//! The archives with the files of the channels and of the tools that come with the program, and with the kit that channels
//! are written with.
//!
//! `channels/build.sh` packs each as one xz stream, because the guests have much in common: a line `SIZE NAME` for each
//! file, an empty line, and the files in that order.

use std::io::{self, Read};

use lzma_rust2::XzReader;

/// The archive of the channels.
pub(crate) static CHANNELS: &[u8] = include_bytes!("bundle.xz");
/// The archive of the tools.
#[cfg(any(feature = "cli", test))]
pub(crate) static TOOLS: &[u8] = include_bytes!("tools-bundle.xz");

/// The most bytes of all lines together.
const MAX_INDEX_BYTES: u64 = 64 * 1024;

/// The files with these names.
///
/// # Errors
/// The archive is damaged, or has no such file.
pub(crate) fn read<const N: usize>(archive: &[u8], names: [&str; N]) -> io::Result<[Vec<u8>; N]> {
    let mut archive = XzReader::new(archive, false);
    let mut found = [const { Vec::new() }; N];
    let mut missing = N;
    for (size, name) in index(&mut archive)? {
        let mut file = Vec::new();
        archive.by_ref().take(size).read_to_end(&mut file)?;
        if let Some(at) = names.iter().position(|wanted| *wanted == name) {
            found[at] = file;
            missing -= 1;
        }
        if missing == 0 {
            return Ok(found);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// The files of the kit: paths that begin with `kit/`, and contents.
///
/// # Errors
/// The archive is damaged.
#[cfg(any(feature = "cli", test))]
pub(super) fn kit() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut archive = XzReader::new(CHANNELS, false);
    let mut found = Vec::new();
    for (size, name) in index(&mut archive)? {
        let mut file = Vec::new();
        archive.by_ref().take(size).read_to_end(&mut file)?;
        if name.starts_with("kit/") {
            found.push((name, file));
        }
    }
    Ok(found)
}

/// Sizes and names of the files.
fn index(archive: &mut impl Read) -> io::Result<Vec<(u64, String)>> {
    let mut bytes = Vec::new();
    // One byte at a time, because what follows belongs to whoever reads on; the decoder has the bytes in memory.
    #[expect(clippy::unbuffered_bytes, reason = "a buffer would take bytes of the files")]
    for byte in archive.take(MAX_INDEX_BYTES).bytes() {
        bytes.push(byte?);
        if bytes.ends_with(b"\n\n") {
            break;
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData)?;
    let entry = |line: &str| {
        let (size, name) = line.split_once(' ')?;
        Some((size.parse().ok()?, name.to_owned()))
    };
    text.trim_end().lines().map(|line| entry(line).ok_or_else(|| io::ErrorKind::InvalidData.into())).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_archives_have_the_files_that_were_built() {
        for (place, archive) in [("channels", CHANNELS), ("tools", TOOLS)] {
            let mut archive = XzReader::new(archive, false);
            let entries = index(&mut archive).unwrap();
            assert!(!entries.is_empty());
            for (size, name) in entries {
                let mut file = Vec::new();
                archive.by_ref().take(size).read_to_end(&mut file).unwrap();
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
                let places = [folder.join(&name), folder.join(name.split('.').next().unwrap()).join(&name)];
                let path =
                    places.into_iter().find(|path| path.exists()).unwrap_or_else(|| panic!("{name} is gone"));
                assert!(
                    std::fs::read(&path).unwrap() == file,
                    "{name} is an older one: run {place}/build.sh"
                );
            }
        }
    }

    #[test]
    fn the_archive_has_the_whole_kit() {
        let mut names: Vec<String> = kit().unwrap().into_iter().map(|(name, _)| name).collect();
        names.sort();
        let mut expected = Vec::new();
        let channels = Path::new(env!("CARGO_MANIFEST_DIR")).join("channels");
        let mut folders = vec![channels.join("kit")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    expected.push(path.strip_prefix(&channels).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        expected.sort();
        assert_eq!(names, expected, "run channels/build.sh");
    }

    #[test]
    fn the_archive_is_small() {
        assert!(CHANNELS.len() < 1024 * 1024, "{} bytes", CHANNELS.len());
        assert!(TOOLS.len() < 128 * 1024, "{} bytes", TOOLS.len());
    }

    #[test]
    fn missing_archive_entries_are_named() {
        assert_eq!(read(CHANNELS, ["irc.wasm"]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
