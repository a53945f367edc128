//! Tools in a directory: where it is, and putting a tool there or taking it away.

use std::io;
use std::path::{Path, PathBuf};

use super::bundled::{bundled_tool_files, bundled_tool_names};
use crate::channel::{
    ChannelFiles, DiscoveredChannel, LoadError, data_directory, discover_channels, replace_file,
};

/// Environment variable that names the directory of tools.
const TOOLS_DIR_VARIABLE: &str = "TINCLAW_TOOLS_DIR";

/// The directory that tools are looked for in, when nobody names one.
///
/// In this order: `$TINCLAW_TOOLS_DIR`; `tinclaw/tools` in `$XDG_DATA_HOME` when that is absolute;
/// `~/.local/share/tinclaw/tools`; `tools` in the working directory when there is no home. The directory need not exist.
pub(crate) fn default_tools_dir() -> PathBuf {
    data_directory(TOOLS_DIR_VARIABLE, "tools")
}

/// Why a tool was not installed or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    /// Its files cannot be found or read.
    #[error(transparent)]
    Files(#[from] LoadError),
    /// It is none of the tools of the program.
    #[error(
        "no tool {name} is in this program, which has {}: name a .wasm file for another one",
        bundled_tool_names().join(", ")
    )]
    NotBundled {
        /// The name.
        name: String,
    },
    /// A tool of this name is installed.
    #[error("{} is there already: replace it with --force", .0.display())]
    Exists(PathBuf),
    /// No tool of this name is installed.
    #[error("there is no tool {name} in {}", directory.display())]
    NoTool {
        /// The name.
        name: String,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// A file cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be removed.
    #[error("{} cannot be removed: {source}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Copies a tool's files into a directory, which is made when it is missing. Each file appears whole or not at all; the
/// capability file comes first, so the guest is never seen without it. What is there stays, unless `force` says that it is to
/// be replaced; then a capability file that the new tool does not have is removed.
///
/// # Errors
/// A file is there already, or cannot be read or written. Whether the files are a tool is not looked at here.
pub(crate) fn install_tool(wasm: &Path, directory: &Path, force: bool) -> Result<PathBuf, InstallError> {
    let found = DiscoveredChannel::at(wasm)?;
    install_files(found.name.as_str(), &found.read()?, directory, force)
}

/// The same for a tool that comes with the program; `-` is as good as `_`.
///
/// # Errors
/// Also when there is no such tool.
pub(crate) fn install_bundled_tool(
    name: &str,
    directory: &Path,
    force: bool,
) -> Result<PathBuf, InstallError> {
    let (name, files) =
        bundled_tool_files(name).ok_or_else(|| InstallError::NotBundled { name: name.to_owned() })?;
    install_files(name, &files, directory, force)
}

fn install_files(
    name: &str,
    ChannelFiles { wasm, capabilities }: &ChannelFiles,
    directory: &Path,
    force: bool,
) -> Result<PathBuf, InstallError> {
    let place = |ending: &str| directory.join(format!("{name}{ending}"));
    let (guest, file) = (place(".wasm"), place(".capabilities.json"));
    let installed = installed_files(name, directory)?;
    if let Some(path) = installed.first().filter(|_| !force) {
        return Err(InstallError::Exists(path.clone()));
    }
    let failed = |path: &Path, source: io::Error| InstallError::Write { path: path.to_owned(), source };
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    if let Some(capabilities) = capabilities {
        replace_file(&file, capabilities).map_err(|error| failed(&file, error))?;
    }
    replace_file(&guest, wasm).map_err(|error| failed(&guest, error))?;
    // What is left of the tool that was replaced, under another spelling of its name, or rights that the new one does not ask
    // for.
    let is_old = |path: &&PathBuf| **path != guest && (**path != file || capabilities.is_none());
    for path in installed.iter().filter(is_old) {
        std::fs::remove_file(path).map_err(|error| failed(path, error))?;
    }
    Ok(guest)
}

/// Removes a tool's files from a directory. The capability file goes last, so the guest is never seen without it.
///
/// # Errors
/// There is no such tool, or a file cannot be removed.
pub(crate) fn remove_tool(name: &str, directory: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let files = installed_files(name, directory)?;
    if files.is_empty() {
        return Err(InstallError::NoTool { name: name.to_owned(), directory: directory.to_owned() });
    }
    for path in &files {
        let removed = std::fs::remove_file(path);
        removed.map_err(|source| InstallError::Remove { path: path.clone(), source })?;
    }
    Ok(files)
}

/// The files of the tool of this name in a directory, the guest first.
fn installed_files(name: &str, directory: &Path) -> Result<Vec<PathBuf>, InstallError> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let normal = name.replace('-', "_");
    let found = discover_channels(directory)?.channels;
    let tool = found.into_iter().find(|tool| tool.name.as_str() == normal);
    Ok(tool.map(|tool| std::iter::once(tool.wasm).chain(tool.capabilities).collect()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_installed_replaced_and_removed_with_its_file() {
        let base = std::env::temp_dir().join(format!("tinclaw-tool-install-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&base);
        std::fs::create_dir_all(base.join("from")).unwrap();
        let (source, to) = (base.join("from/my-tool.wasm"), base.join("to"));
        let file = source.with_extension("capabilities.json");
        std::fs::write(&source, "first").unwrap();
        std::fs::write(&file, "{}").unwrap();
        let installed = install_tool(&source, &to, false).unwrap();
        assert_eq!(installed, to.join("my_tool.wasm"));
        assert_eq!(std::fs::read(&installed).unwrap(), b"first");
        assert!(to.join("my_tool.capabilities.json").exists());

        std::fs::write(&source, "second").unwrap();
        std::fs::remove_file(&file).unwrap();
        let error = install_tool(&source, &to, false).unwrap_err().to_string();
        assert!(error.contains("--force"), "{error}");
        assert_eq!(std::fs::read(&installed).unwrap(), b"first");
        install_tool(&source, &to, true).unwrap();
        assert_eq!(std::fs::read(&installed).unwrap(), b"second");
        assert!(
            !to.join("my_tool.capabilities.json").exists(),
            "rights of the old tool are not the new one's"
        );

        assert_eq!(remove_tool("my-tool", &to).unwrap(), [installed]);
        assert!(remove_tool("my-tool", &to).unwrap_err().to_string().contains("there is no tool"));
        std::fs::remove_dir_all(base).unwrap();
    }
}
