//! Where a package comes from: a channel of the program, a file, a directory, an archive, or addresses.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use url::Url;

use super::archive::from_archive;
use super::manifest::{MAX_MANIFEST_BYTES, sha256};
use super::signature::MAX_SIGNATURE_BYTES;
use super::staging::PackageFiles;
use crate::capability::MAX_FILE_BYTES;
use crate::channel::{
    ChannelName, DiscoveredChannel, LoadError, bundled_channel_files, bundled_channel_names,
    discover_channels,
};
use crate::model::regular_file;
use crate::model::value_error::ValueError;
use crate::net::{quotable, without_credentials};

/// The most bytes that a guest may have.
pub(super) const MAX_GUEST_BYTES: usize = crate::sandbox::DEFAULT_MAX_GUEST_BYTES;
/// The most bytes of an archive, packed.
pub(crate) const MAX_ARCHIVE_BYTES: usize = MAX_GUEST_BYTES + MAX_FILE_BYTES;
pub(super) const WASM: &str = ".wasm";
pub(super) const CAPABILITIES: &str = ".capabilities.json";
pub(super) const MANIFEST: &str = ".manifest.json";
pub(super) const SIGNATURE: &str = ".manifest.json.minisig";

/// A package, and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    /// The channel.
    pub name: ChannelName,
    /// Its files.
    pub files: PackageFiles,
    /// What `tinclaw upgrade` looks at again.
    pub source: Vec<String>,
    /// It comes with this program.
    pub bundled: bool,
    /// It was fetched over the network, and nobody has said which bytes were meant.
    pub needs_signature: bool,
}

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// A file of a directory, or a channel of the program.
    #[error(transparent)]
    Files(#[from] LoadError),
    /// Another file.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An address.
    #[error("{url}: {reason}")]
    Url {
        /// Which one.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// What is packed.
    #[error("the archive {place} {reason}")]
    Archive {
        /// Which one.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// It is not what was meant.
    #[error("{place} has the SHA-256 {found}, and {expected} was expected: nothing was installed")]
    Digest {
        /// File or address.
        place: String,
        /// What it is.
        found: String,
        /// What `--sha256` says.
        expected: String,
    },
    /// The number of digests.
    #[error("give --sha256 once for each address or file, in their order ({sources} and {digests})")]
    Digests {
        /// Sources.
        sources: usize,
        /// Digests.
        digests: usize,
    },
    /// A digest that is none.
    #[error("--sha256 {0}: a SHA-256 has 64 hexadecimal digits")]
    NoDigest(String),
    /// Several channels.
    #[error("{place} has {count} channels; name one .wasm file")]
    NotOne {
        /// The directory or archive.
        place: String,
        /// How many there are.
        count: usize,
    },
    /// A name.
    #[error("{0}: {1}; rename the file")]
    Name(String, ValueError),
    /// Several sources that do not belong together.
    #[error("give one source, or the addresses of NAME.wasm and NAME.capabilities.json")]
    Pair,
}

/// Fetches at most so many bytes.
pub(crate) type Fetch<'a> = &'a dyn Fn(&Url, usize) -> Result<Vec<u8>, String>;

/// Reads a package. `sha256` says of each source in turn which bytes are meant.
///
/// # Errors
/// What is not there, not readable, not a channel, or not what was meant.
pub(crate) fn read(sources: &[String], sha256: &[String], fetch: Fetch<'_>) -> Result<Package, SourceError> {
    if !sha256.is_empty() && sha256.len() != sources.len() {
        return Err(SourceError::Digests { sources: sources.len(), digests: sha256.len() });
    }
    if let Some(digest) = sha256.iter().find(|digest| !is_digest(digest)) {
        return Err(SourceError::NoDigest(digest.clone()));
    }
    let package = match sources {
        [one] if is_bundled(one) => bundled(one),
        [one] => match address(one)? {
            Some(url) => from_archive(one, &fetched(&url, MAX_ARCHIVE_BYTES, sha256.first(), fetch)?),
            None => local(Path::new(one), sha256.first()),
        },
        [one, two] => pair([one, two], sha256, fetch),
        _ => Err(SourceError::Pair),
    }?;
    let is_remote = sources.iter().any(|source| source.starts_with("https://"));
    let source = sources.iter().map(|source| absolute(source)).collect();
    Ok(Package { source, needs_signature: is_remote && sha256.is_empty(), ..package })
}

fn is_digest(text: &str) -> bool {
    text.trim().len() == 64 && text.trim().bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A name without a folder and without an ending is one of the program's channels.
fn is_bundled(source: &str) -> bool {
    let name = source.replace('-', "_");
    bundled_channel_names().contains(&name.as_str()) && !Path::new(source).exists()
}

/// A channel of the program, also where a file has its name.
///
/// # Errors
/// There is none of this name.
pub(crate) fn read_bundled(name: &str) -> Result<Package, SourceError> {
    bundled(name).map(|package| Package { source: vec![package.name.to_string()], ..package })
}

fn bundled(name: &str) -> Result<Package, SourceError> {
    let channel = named(name)?;
    let files = bundled_channel_files(channel.as_str());
    let files = files.ok_or_else(|| match bundled_channel_names().contains(&channel.as_str()) {
        true => LoadError::NotBuiltIn { name: channel.clone() },
        false => LoadError::NotBundled { name: channel.clone() },
    })?;
    Ok(Package {
        bundled: true,
        ..package(channel, PackageFiles { channel: files, ..PackageFiles::default() })
    })
}

pub(super) fn package(name: ChannelName, files: PackageFiles) -> Package {
    Package { name, files, source: Vec::new(), bundled: false, needs_signature: false }
}

pub(super) fn named(name: &str) -> Result<ChannelName, SourceError> {
    ChannelName::new(name).map_err(|error| SourceError::Name(name.to_owned(), error))
}

/// A relative path means something else in another directory.
fn absolute(source: &str) -> String {
    if source.starts_with("https://") || is_bundled(source) {
        return source.to_owned();
    }
    std::path::absolute(source).map_or_else(|_| source.to_owned(), |path| path.display().to_string())
}

/// An `https://` address. Another scheme is refused: what is installed must come from who it says.
fn address(source: &str) -> Result<Option<Url>, SourceError> {
    let wrong = |reason: &str| SourceError::Url { url: quotable(source), reason: reason.to_owned() };
    match source.split_once("://") {
        None => Ok(None),
        Some(("https", _)) => Url::parse(source).map(Some).map_err(|error| wrong(&error.to_string())),
        Some(_) => Err(wrong("only https:// addresses are fetched")),
    }
}

fn fetched(
    url: &Url,
    limit: usize,
    expected: Option<&String>,
    fetch: Fetch<'_>,
) -> Result<Vec<u8>, SourceError> {
    let shown = || without_credentials(url.as_str()).into_owned();
    let bytes = fetch(url, limit).map_err(|reason| SourceError::Url { url: shown(), reason })?;
    check_digest(&shown(), &bytes, expected)?;
    Ok(bytes)
}

fn check_digest(place: &str, bytes: &[u8], expected: Option<&String>) -> Result<(), SourceError> {
    let found = sha256(bytes);
    match expected {
        Some(expected) if !found.eq_ignore_ascii_case(expected.trim()) => {
            let (place, expected) = (place.to_owned(), expected.clone());
            Err(SourceError::Digest { place, found, expected })
        }
        _ => Ok(()),
    }
}

/// The guest and its capability file, in either order; manifest and signature are looked for beside the guest.
fn pair(sources: [&String; 2], digests: &[String], fetch: Fetch<'_>) -> Result<Package, SourceError> {
    let mut files = PackageFiles::default();
    let mut name = None;
    for (index, source) in sources.into_iter().enumerate() {
        let url = address(source)?.ok_or(SourceError::Pair)?;
        let file = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default().to_owned();
        let digest = digests.get(index);
        if file.ends_with(CAPABILITIES) {
            files.channel.capabilities = Some(fetched(&url, MAX_FILE_BYTES, digest, fetch)?);
        } else if let Some(stem) = file.strip_suffix(WASM) {
            name = Some((named(stem)?, url.clone()));
            files.channel.wasm = fetched(&url, MAX_GUEST_BYTES, digest, fetch)?;
        }
    }
    let (Some((name, guest)), Some(_)) = (name, &files.channel.capabilities) else {
        return Err(SourceError::Pair);
    };
    let beside = |ending: &str, limit: usize| {
        let path = guest.path().strip_suffix(WASM)?;
        let mut url = guest.clone();
        url.set_path(&format!("{path}{ending}"));
        fetch(&url, limit).ok()
    };
    // Only where nobody says which bytes are meant.
    if digests.is_empty() {
        files.manifest = beside(MANIFEST, MAX_MANIFEST_BYTES);
        files.signature = beside(SIGNATURE, MAX_SIGNATURE_BYTES);
    }
    Ok(package(name, files))
}

fn local(path: &Path, digest: Option<&String>) -> Result<Package, SourceError> {
    if path.is_dir() {
        let found = discover_channels(path)?;
        let count = found.channels.len();
        let [channel] = <[DiscoveredChannel; 1]>::try_from(found.channels)
            .map_err(|_| SourceError::NotOne { place: path.display().to_string(), count })?;
        return beside_guest(&channel, digest);
    }
    let is_archive = path.to_str().is_some_and(|text| text.ends_with(".tar.gz") || text.ends_with(".tgz"));
    if is_archive {
        let bytes = read_bounded(path, MAX_ARCHIVE_BYTES)?;
        check_digest(&path.display().to_string(), &bytes, digest)?;
        return from_archive(&path.display().to_string(), &bytes);
    }
    if !path.try_exists().unwrap_or(true) {
        let known = bundled_channel_names().join(", ");
        let reason = format!("there is no such file, and no such channel in the program ({known})");
        return Err(SourceError::File { path: path.to_owned(), reason });
    }
    beside_guest(&DiscoveredChannel::at(path)?, digest)
}

/// The files of a channel as they lie in a directory.
pub(crate) fn files_of(channel: &DiscoveredChannel) -> Result<PackageFiles, SourceError> {
    let beside = |ending: &str, limit: usize| {
        let stem = channel.wasm.file_stem().unwrap_or_default().to_string_lossy();
        let path = channel.wasm.with_file_name(format!("{stem}{ending}"));
        path.is_file().then(|| read_bounded(&path, limit)).transpose()
    };
    Ok(PackageFiles {
        channel: channel.read()?,
        manifest: beside(MANIFEST, MAX_MANIFEST_BYTES)?,
        signature: beside(SIGNATURE, MAX_SIGNATURE_BYTES)?,
    })
}

fn beside_guest(channel: &DiscoveredChannel, digest: Option<&String>) -> Result<Package, SourceError> {
    let files = files_of(channel)?;
    check_digest(&channel.wasm.display().to_string(), &files.channel.wasm, digest)?;
    Ok(package(channel.name.clone(), files))
}

fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, SourceError> {
    let failed = |reason: String| SourceError::File { path: path.to_owned(), reason };
    let file = regular_file::read_named(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() > limit {
        return Err(failed(format!("it is larger than the {limit} bytes that are allowed")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::archive::packed as archive;
    use super::*;
    use crate::channel::ChannelFiles;
    use crate::test_support::temp_dir::TempDir;

    fn nothing(_: &Url, _: usize) -> Result<Vec<u8>, String> {
        Err("there is no network".to_owned())
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_package_comes_from_a_file_a_directory_or_an_archive() {
        let place = TempDir::new();
        let guest = place.write("one/irc.wasm", "guest");
        place.write("one/irc.capabilities.json", "{}");
        place.write("one/irc.manifest.json", "manifest");
        place.write("one/irc.manifest.json.minisig", "signature");
        let packed = archive(&[
            ("irc-1.0/irc.wasm", b"guest"),
            ("irc-1.0/irc.capabilities.json", b"{}"),
            ("irc-1.0/irc.manifest.json", b"manifest"),
            ("irc-1.0/irc.manifest.json.minisig", b"signature"),
            ("irc-1.0/README", b"text"),
        ]);
        let packed = place.write("irc.tar.gz", packed);
        let expected = PackageFiles {
            channel: ChannelFiles { wasm: b"guest".to_vec(), capabilities: Some(b"{}".to_vec()) },
            manifest: Some(b"manifest".to_vec()),
            signature: Some(b"signature".to_vec()),
        };
        for path in [guest, place.join("one"), packed] {
            let source = [path.display().to_string()];
            let package = read(&source, &[], &nothing).expect("a package");
            assert_eq!((package.name.as_str(), &package.files), ("irc", &expected), "{source:?}");
            assert_eq!(package.source, source);
        }
    }

    #[test]
    fn addresses_are_fetched_and_held_against_their_digests() {
        let packed = archive(&[("irc.wasm", b"guest")]);
        let fetch = |url: &Url, _: usize| match url.path() {
            "/irc.tar.gz" => Ok(packed.clone()),
            "/irc.wasm" => Ok(b"guest".to_vec()),
            "/irc.capabilities.json" => Ok(b"{}".to_vec()),
            _ => Err("status 404".to_owned()),
        };
        let pair = ["https://a.example/irc.wasm", "https://a.example/irc.capabilities.json"];
        let (guest, rights) = (sha256(b"guest"), sha256(b"{}").to_uppercase());
        let package = read(&owned(&pair), &[guest.clone(), rights], &fetch).expect("a package");
        assert_eq!((package.name.as_str(), package.needs_signature), ("irc", false));
        let package = read(&owned(&["https://a.example/irc.tar.gz"]), &[], &fetch).expect("a package");
        assert!(package.needs_signature, "nobody said which bytes are meant");
        for (sources, digests, part) in [
            (&pair[..], vec![guest.clone(), guest.clone()], "was expected: nothing was installed"),
            (&pair, vec![guest], "once for each address"),
            (&["https://a.example/other.tar.gz"], vec![], "status 404"),
            (&["http://a.example/irc.tar.gz"], vec![], "only https:// addresses"),
            (&["https://a.example/a.wasm", "https://a.example/b.wasm"], vec![], "status 404"),
            (&["a.wasm", "b.wasm", "c.wasm"], vec![], "give one source"),
            (&["irc"], vec![], "no such channel in the program"),
            (&["https://a.example/other.tar.gz"], vec!["0".repeat(66)], "64 hexadecimal digits"),
            (&["https://a.example/other.tar.gz"], vec!["z".repeat(64)], "64 hexadecimal digits"),
        ] {
            let error = read(&owned(sources), &digests, &fetch).unwrap_err().to_string();
            assert!(error.contains(part), "{sources:?}: {error}");
        }
    }

    #[cfg(feature = "bundled")]
    #[test]
    fn a_name_is_a_channel_of_the_program() {
        let package = read(&owned(&["telegram"]), &[], &nothing).expect("a package");
        assert!(package.bundled && package.files.channel.wasm.starts_with(b"\0asm"));
    }
}
