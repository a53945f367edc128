//! A package in a `.tar.gz`: one channel, in whichever folder. Nothing is written: names of files lead nowhere.

use std::io::{self, Cursor, Read as _};

use flate2::read::GzDecoder;

use super::manifest::MAX_MANIFEST_BYTES;
use super::signature::MAX_SIGNATURE_BYTES;
use super::source::{
    CAPABILITIES, MANIFEST, MAX_ARCHIVE_BYTES, MAX_GUEST_BYTES, Package, SIGNATURE, SourceError, WASM, named,
    package,
};
use super::staging::PackageFiles;
use crate::capability::MAX_FILE_BYTES;
use crate::channel::ChannelFiles;

/// The most files and folders in an archive.
const MAX_ARCHIVE_FILES: usize = 1_000;

/// Unpacks one. An archive that is not whole is refused: a file that was left out could be the signature.
///
/// # Errors
/// What is wrong with it.
pub(super) fn from_archive(place: &str, bytes: &[u8]) -> Result<Package, SourceError> {
    let wrong = |reason: String| SourceError::Archive { place: place.to_owned(), reason };
    let broken = |error: std::io::Error| wrong(format!("cannot be read as .tar.gz: {error}"));
    // A megabyte can unpack to gigabytes.
    let unpacked = GzDecoder::new(Cursor::new(bytes)).take(2 * MAX_ARCHIVE_BYTES as u64);
    let mut archive = tar::Archive::new(unpacked);
    let (mut guests, mut others) = (Vec::new(), Vec::new());
    for (count, entry) in archive.entries().map_err(broken)?.enumerate() {
        if count == MAX_ARCHIVE_FILES {
            return Err(wrong(format!("has more than {MAX_ARCHIVE_FILES} files")));
        }
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let Some(file) = path.file_name().and_then(|file| file.to_str()).map(str::to_owned) else { continue };
        let limit = match &file {
            _ if entry.header().entry_type().is_dir() => continue,
            file if file.ends_with(WASM) => MAX_GUEST_BYTES,
            file if file.ends_with(CAPABILITIES) => MAX_FILE_BYTES,
            file if file.ends_with(MANIFEST) => MAX_MANIFEST_BYTES,
            file if file.ends_with(SIGNATURE) => MAX_SIGNATURE_BYTES,
            _ => continue,
        };
        // A link means nothing here, and leaving it out would install the channel without that file.
        if !entry.header().entry_type().is_file() {
            return Err(wrong(format!(
                "has a {file} that is no file but a link or a device; pack the file itself"
            )));
        }
        let mut content = Vec::new();
        entry.by_ref().take(limit as u64 + 1).read_to_end(&mut content).map_err(broken)?;
        if content.len() > limit {
            return Err(wrong(format!("has a {file} of more than {limit} bytes")));
        }
        match file.strip_suffix(WASM) {
            Some(stem) => guests.push((stem.to_owned(), content)),
            None => others.push((file, content)),
        }
    }
    // The checksum is behind what the entries need.
    let mut unpacked = archive.into_inner();
    io::copy(&mut unpacked, &mut io::sink()).map_err(broken)?;
    if unpacked.limit() == 0 {
        return Err(wrong(format!("has more than {} bytes unpacked", 2 * MAX_ARCHIVE_BYTES)));
    }
    let count = guests.len();
    let [(stem, wasm)] = <[(String, Vec<u8>); 1]>::try_from(guests)
        .map_err(|_| SourceError::NotOne { place: place.to_owned(), count })?;
    let mut take = |ending: &str| {
        let at = others.iter().position(|(file, _)| *file == format!("{stem}{ending}"))?;
        Some(others.swap_remove(at).1)
    };
    let files = PackageFiles {
        channel: ChannelFiles { wasm, capabilities: take(CAPABILITIES) },
        manifest: take(MANIFEST),
        signature: take(SIGNATURE),
    };
    Ok(package(named(&stem)?, files))
}

/// An archive of these files.
#[cfg(test)]
pub(super) fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
    let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut archive = tar::Builder::new(packed);
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, *content).expect("it is packed");
    }
    archive.into_inner().and_then(flate2::write::GzEncoder::finish).expect("it is packed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_bounded_and_has_one_channel() {
        let large = vec![0; MAX_FILE_BYTES + 1];
        let bomb = vec![0; 3 * MAX_ARCHIVE_BYTES];
        for (case, files, part) in [
            ("none", vec![("README", &b""[..])], "has 0 channels"),
            ("two", vec![("a.wasm", &b""[..]), ("b.wasm", b"")], "has 2 channels"),
            ("large", vec![("a.wasm", &b""[..]), ("a.capabilities.json", &large)], "of more than"),
            ("a bomb", vec![("README", &bomb[..]), ("a.wasm", b"")], "cannot be read as .tar.gz"),
            ("a name", vec![("A.wasm", &b""[..])], "rename the file"),
        ] {
            let error = from_archive("it", &packed(&files)).unwrap_err().to_string();
            assert!(error.contains(part), "{case}: {error}");
        }
        assert!(from_archive("it", b"nonsense").is_err());
        let exact = vec![b' '; MAX_FILE_BYTES];
        assert!(from_archive("it", &packed(&[("a.wasm", b""), ("a.capabilities.json", &exact)])).is_ok());
    }

    /// The signature behind a thousand other files, a capability file that is a link, and one that was damaged on the way were
    /// left out or taken without a word.
    #[test]
    fn an_archive_that_is_not_whole_is_refused() {
        let names: Vec<String> = (0..MAX_ARCHIVE_FILES).map(|number| format!("text{number}")).collect();
        let mut files: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, &b""[..])).collect();
        files[0] = ("a.wasm", b"guest");
        from_archive("it", &packed(&files)).expect("as many as are allowed");
        files.push(("a.capabilities.json", b"{}"));
        let error = from_archive("it", &packed(&files)).unwrap_err().to_string();
        assert!(error.contains("has more than 1000 files"), "{error}");

        for kind in [tar::EntryType::Symlink, tar::EntryType::Link] {
            let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            let mut linked = tar::Builder::new(packed);
            let mut header = tar::Header::new_gnu();
            header.set_size(5);
            linked.append_data(&mut header, "a.wasm", &b"guest"[..]).expect("it is packed");
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(0);
            linked.append_link(&mut header, "a.capabilities.json", "other.json").expect("it is packed");
            let packed =
                linked.into_inner().and_then(flate2::write::GzEncoder::finish).expect("it is packed");
            let error = from_archive("it", &packed).unwrap_err().to_string();
            assert!(error.contains("a.capabilities.json that is no file"), "{error}");
        }

        let mut damaged = packed(&[("a.wasm", b"guest")]);
        let checksum = damaged.len() - 8;
        damaged[checksum] ^= 1;
        let error = from_archive("it", &damaged).unwrap_err().to_string();
        assert!(error.contains("cannot be read as .tar.gz"), "{error}");
    }
}
