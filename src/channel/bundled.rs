//! Channels that come with the program.
//!
//! With the feature `bundled` (on by default) their files are inside the program. Without it their names are known
//! and nothing can be installed.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};

use super::discover::{ChannelFiles, DiscoveredChannel};
use super::load_error::LoadError;
use crate::model::document::nearest;
use crate::model::name::ChannelName;

/// The channels that come with the program. `channels/build.sh` packs their files.
const NAMES: &[&str] =
    &["discord", "feishu", "matrix", "signal", "slack", "telegram", "webchat", "webhook", "whatsapp"];

/// The names of the channels that belong to the program, whether or not their files are in this build.
pub fn bundled_channel_names() -> Vec<&'static str> {
    NAMES.to_vec()
}

/// The names of the channels that [`install_bundled_channel`] can install: all of them, or none in a build without
/// the feature `bundled`.
pub fn available_channel_names() -> Vec<&'static str> {
    if cfg!(feature = "bundled") { NAMES.to_vec() } else { Vec::new() }
}

/// The files of a bundled channel, for those who run it without a directory. Nothing when there is no such channel in
/// this build.
pub fn bundled_channel_files(name: &str) -> Option<ChannelFiles> {
    let (wasm, capabilities) = find(name).ok()?.1;
    Some(ChannelFiles { wasm, capabilities: Some(capabilities) })
}

/// Writes the two files of a bundled channel into `target_dir`, which is made if it is not there.
///
/// Each file appears whole or not at all; the capability file comes first, so the guest is never seen without it. A
/// file that is already there stays, unless `force` says that it is to be replaced. A symbolic link in the place of
/// a file is replaced itself, never what it points to.
///
/// # Errors
/// [`LoadError`]: there is no such channel, a file is there already, or a file cannot be written.
pub fn install_bundled_channel(
    name: &str,
    target_dir: &Path,
    force: bool,
) -> Result<DiscoveredChannel, LoadError> {
    let (name, (wasm, capabilities)) = find(name)?;
    let installed = DiscoveredChannel {
        wasm: target_dir.join(format!("{name}.wasm")),
        capabilities: Some(target_dir.join(format!("{name}.capabilities.json"))),
        name,
    };
    let files = [(installed.capabilities.as_ref(), &capabilities), (Some(&installed.wasm), &wasm)];
    let files = files.into_iter().filter_map(|(path, bytes)| Some((path?, bytes)));
    if let Some((path, _)) = files.clone().find(|(path, _)| !force && path.symlink_metadata().is_ok()) {
        return Err(LoadError::Exists { path: path.clone() });
    }
    std::fs::create_dir_all(target_dir)
        .map_err(|source| LoadError::Write { path: target_dir.to_owned(), source })?;
    for (path, bytes) in files {
        replace_file(path, bytes).map_err(|source| LoadError::Write { path: path.clone(), source })?;
    }
    Ok(installed)
}

/// The guest and its capability file.
type Files = (Vec<u8>, Vec<u8>);

fn find(name: &str) -> Result<(ChannelName, Files), LoadError> {
    let wanted = ChannelName::new(name).map_err(LoadError::InstallName)?;
    if !NAMES.contains(&wanted.as_str()) {
        return Err(LoadError::NotBundled { name: wanted });
    }
    match unpack(wanted.as_str()) {
        Some(files) => Ok((wanted, files)),
        None => Err(LoadError::NotBuiltIn { name: wanted }),
    }
}

/// The files of a channel, out of the archive in the program.
#[cfg(feature = "bundled")]
fn unpack(name: &str) -> Option<Files> {
    let wasm = format!("{name}.wasm");
    let capabilities = format!("{name}.capabilities.json");
    let [wasm, capabilities] = super::archive::read(super::archive::CHANNELS, [&wasm, &capabilities]).ok()?;
    Some((wasm, capabilities))
}

#[cfg(not(feature = "bundled"))]
fn unpack(_: &str) -> Option<Files> {
    None
}

/// The source of the kit that channels are written with: paths that begin with `kit/`, and contents. Nothing in a build
/// without the feature `bundled`.
#[cfg(feature = "cli")]
pub(crate) fn kit_files() -> Option<Vec<(String, Vec<u8>)>> {
    #[cfg(feature = "bundled")]
    return super::archive::kit().ok();
    #[cfg(not(feature = "bundled"))]
    None
}

/// Writes a file beside its place and moves it there when it is complete and on the disk.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_file_as(path, bytes, 0o644)
}

/// The same with the mode that the file is to have, as far as the umask lets it.
pub(crate) fn replace_file_as(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = rustix::fs::open(parent, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let fresh = format!(".{name}.{}.new", std::process::id());
    // What is left of an earlier attempt of the same process id is nobody's.
    rustix::fs::unlinkat(&dir, fresh.as_str(), AtFlags::empty()).ok();
    let written = write_new(&dir, &fresh, bytes, mode)
        .and_then(|()| Ok(rustix::fs::renameat(&dir, fresh.as_str(), &dir, name.as_ref())?))
        .and_then(|()| Ok(rustix::fs::fsync(&dir)?));
    if written.is_err() {
        rustix::fs::unlinkat(&dir, fresh.as_str(), AtFlags::empty()).ok();
    }
    written
}

fn write_new(dir: &OwnedFd, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(mode & 0o777);
    let mut file = File::from(rustix::fs::openat(dir, name, flags, mode)?);
    file.write_all(bytes)?;
    file.sync_all()
}

/// The bundled channel that may have been meant, or all of them.
pub(super) fn meant(name: &ChannelName) -> String {
    let known = bundled_channel_names();
    match nearest(name.as_str(), &known) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => format!("there is {}", known.join(", ")),
    }
}

#[cfg(all(test, feature = "bundled"))]
mod tests {
    use super::*;
    use crate::channel::discover::tests::Dir;
    use crate::channel::{ChannelCapabilitiesFile, discover_channels};

    #[test]
    fn bundled_channels_have_good_names_and_files() {
        assert_eq!(available_channel_names(), bundled_channel_names());
        for name in bundled_channel_names() {
            let files = bundled_channel_files(name).unwrap();
            let channel = ChannelName::new(name).unwrap();
            assert!(files.wasm.starts_with(b"\0asm"), "{name}");
            ChannelCapabilitiesFile::parse(name, &channel, &files.capabilities.unwrap()).unwrap();
        }
    }

    #[test]
    fn an_installed_channel_is_found_with_its_files() {
        let dir = Dir::new();
        let target = dir.path("new/channels");
        let installed = install_bundled_channel("webchat", &target, false).unwrap();
        let found = discover_channels(&target).unwrap();
        assert_eq!(found.channels, [installed]);
        assert_eq!(found.channels[0].read().unwrap(), bundled_channel_files("webchat").unwrap());
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn existing_files_are_kept_unless_replacing_is_asked_for() {
        let dir = Dir::with(&[("webchat.capabilities.json", b"mine")]);
        let error = install_bundled_channel("webchat", dir.directory(), false).unwrap_err();
        assert!(matches!(error, LoadError::Exists { .. }), "{error}");
        assert!(!dir.path("webchat.wasm").exists());
        assert_eq!(std::fs::read(dir.path("webchat.capabilities.json")).unwrap(), b"mine");
        install_bundled_channel("webchat", dir.directory(), true).unwrap();
        install_bundled_channel("webchat", dir.directory(), true).unwrap();
        assert_ne!(std::fs::read(dir.path("webchat.capabilities.json")).unwrap(), b"mine");
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let dir = Dir::with(&[("precious", b"mine")]);
        let target = dir.path("channels");
        std::fs::create_dir(&target).unwrap();
        std::os::unix::fs::symlink(dir.path("precious"), target.join("webchat.wasm")).unwrap();
        assert!(install_bundled_channel("webchat", &target, false).is_err());
        install_bundled_channel("webchat", &target, true).unwrap();
        assert_eq!(std::fs::read(dir.path("precious")).unwrap(), b"mine");
        assert!(target.join("webchat.wasm").symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn other_names_are_refused() {
        let dir = Dir::new();
        let refused = |name: &str| install_bundled_channel(name, dir.directory(), false).unwrap_err();
        assert!(matches!(refused("irc"), LoadError::NotBundled { .. }));
        assert!(matches!(refused("../webchat"), LoadError::InstallName(_)));
        assert!(bundled_channel_files("irc").is_none());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let dir = Dir::with(&[("file", b"")]);
        let error = install_bundled_channel("webchat", &dir.path("file/channels"), false).unwrap_err();
        assert!(error.to_string().contains("file/channels"), "{error}");
    }
}
