//! What a package is, in one small file that can be signed: the channel's name and the SHA-256 of its guest and of its
//! capability file.

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::capability::MAX_FILE_BYTES;
use crate::channel::{ChannelFiles, ChannelName};

/// The most bytes that a manifest may have.
pub(crate) const MAX_MANIFEST_BYTES: usize = 16 * 1024;
/// The only format so far.
const FORMAT: u32 = 1;
/// The capability file of a channel that has none: no rights.
pub(crate) const NO_RIGHTS: &[u8] = b"{}";

/// `NAME.manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The version of this file's format: 1.
    format: u32,
    /// The channel.
    pub name: ChannelName,
    /// The version of the channel, as its capability file says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `NAME.wasm`.
    pub guest: FileDigest,
    /// `NAME.capabilities.json`.
    pub capabilities: FileDigest,
}

/// One file of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileDigest {
    /// 64 hexadecimal digits in lower case.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

/// Why files are not those of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestError {
    /// The file itself.
    #[error("the manifest is not one of tinclaw: {0}; make it with `tinclaw sign`")]
    Unreadable(String),
    /// Written by a newer version.
    #[error("the manifest has format {0}, and this version knows {FORMAT}; update tinclaw")]
    Format(u32),
    /// It is for another channel.
    #[error("the manifest is that of the channel {0}")]
    Name(ChannelName),
    /// A file was changed.
    #[error("the {what} is not the one of the manifest: its SHA-256 is {found} and not {expected}")]
    Changed {
        /// Which file.
        what: &'static str,
        /// What it is.
        found: String,
        /// What it has to be.
        expected: String,
    },
}

impl Manifest {
    /// That of these files.
    pub fn of(name: &ChannelName, version: Option<String>, files: &ChannelFiles) -> Self {
        let capabilities = capabilities_of(files);
        Self {
            format: FORMAT,
            name: name.clone(),
            version,
            guest: FileDigest::of(&files.wasm),
            capabilities: FileDigest::of(capabilities),
        }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// It is none, or one of a newer format.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let unreadable = |error: serde_json::Error| ManifestError::Unreadable(error.to_string());
        let Head { format } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if format != FORMAT {
            return Err(ManifestError::Format(format));
        }
        serde_json::from_slice(bytes).map_err(unreadable)
    }

    /// The text of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A struct of texts and numbers is always JSON.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Whether these are the files that it describes.
    ///
    /// # Errors
    /// Which one is not.
    pub fn check(&self, name: &ChannelName, files: &ChannelFiles) -> Result<(), ManifestError> {
        if self.name != *name {
            return Err(ManifestError::Name(self.name.clone()));
        }
        let pairs = [
            ("guest", &self.guest, &*files.wasm),
            ("capability file", &self.capabilities, capabilities_of(files)),
        ];
        for (what, expected, bytes) in pairs {
            let found = sha256(bytes);
            if found != expected.sha256 {
                return Err(ManifestError::Changed { what, found, expected: expected.sha256.clone() });
            }
        }
        Ok(())
    }
}

impl FileDigest {
    fn of(bytes: &[u8]) -> Self {
        Self { sha256: sha256(bytes), bytes: bytes.len() as u64 }
    }
}

/// The bytes of the capability file, also of a channel without one.
pub(crate) fn capabilities_of(files: &ChannelFiles) -> &[u8] {
    debug_assert!(NO_RIGHTS.len() < MAX_FILE_BYTES);
    files.capabilities.as_deref().unwrap_or(NO_RIGHTS)
}

/// The SHA-256 of bytes, as 64 hexadecimal digits in lower case.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> ChannelFiles {
        ChannelFiles { wasm: b"guest".to_vec(), capabilities: Some(b"{}".to_vec()) }
    }

    fn name(name: &str) -> ChannelName {
        name.parse().expect("a name")
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_fits_its_own_files_only() {
        let manifest = Manifest::of(&name("a"), Some("1.0".to_owned()), &files());
        let manifest = Manifest::parse(&manifest.to_bytes()).expect("it is read");
        assert_eq!(manifest.check(&name("a"), &files()), Ok(()));
        let without = ChannelFiles { capabilities: None, ..files() };
        assert_eq!(manifest.check(&name("a"), &without), Ok(()), "no file is the same as no rights");
        assert_eq!(manifest.check(&name("b"), &files()), Err(ManifestError::Name(name("a"))));
        for (what, changed) in [
            ("guest", ChannelFiles { wasm: b"other".to_vec(), ..files() }),
            ("capability file", ChannelFiles { capabilities: Some(b"{ }".to_vec()), ..files() }),
        ] {
            let error = manifest.check(&name("a"), &changed).unwrap_err().to_string();
            assert!(error.starts_with(&format!("the {what} is not the one of the manifest")), "{error}");
        }
    }

    #[test]
    fn manifests_of_another_version_are_refused() {
        let good = Manifest::of(&name("a"), None, &files());
        let text = String::from_utf8(good.to_bytes()).expect("text");
        for (text, expected) in [
            ("nonsense".to_owned(), "not one of tinclaw"),
            ("{}".to_owned(), "not one of tinclaw"),
            (text.replace("\"format\": 1", "\"format\": 2"), "has format 2"),
            (text.replace("\"name\"", "\"Name\""), "not one of tinclaw"),
        ] {
            let error = Manifest::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    /// NIST's example for "abc".
    #[test]
    fn the_digest_is_sha_256_in_lower_case() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
