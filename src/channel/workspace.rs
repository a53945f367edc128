//! A channel's workspace: the small files in which a guest keeps what must outlive a callback.
//!
//! The router owns one [`Workspace`] per channel, in memory. A callback gets a [`WorkspaceSnapshot`], which costs one
//! reference count, and works on a [`WorkspaceView`] of it that also shows the callback's own writes. What it wrote
//! comes back as [`WorkspaceChanges`] and is applied in one step, or refused when it depends on something that has
//! changed meanwhile.
//!
//! There is no way to remove a file: the guests' world has none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Longest path, in bytes, after normalisation.
pub const MAX_PATH_BYTES: usize = 512;

/// How much a workspace may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkspaceLimits {
    /// Bytes of one file's content. Default 1 MiB.
    pub file_bytes: usize,
    /// Bytes of all paths and contents. Default 16 MiB.
    pub total_bytes: usize,
    /// Number of files. Default 4,096.
    pub files: usize,
    /// What errors call these limits.
    pub names: LimitNames,
}

/// The fields of a capability file that set the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitNames {
    pub file_bytes: &'static str,
    pub total_bytes: &'static str,
    pub files: &'static str,
}

impl LimitNames {
    /// Those of channels.
    pub const OF_CHANNELS: Self = Self {
        file_bytes: "workspace_max_file_bytes",
        total_bytes: "workspace_max_bytes",
        files: "workspace_max_files",
    };
}

impl Default for WorkspaceLimits {
    fn default() -> Self {
        Self {
            file_bytes: 1024 * 1024,
            total_bytes: 16 * 1024 * 1024,
            files: 4096,
            names: LimitNames::OF_CHANNELS,
        }
    }
}

/// A path inside one channel's workspace, checked and normalised.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspacePath(Arc<str>);

impl WorkspacePath {
    /// The normalised text, such as `state/cursor.json`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for WorkspacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for WorkspacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a path is refused. The guest gets this text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Nothing is left after normalisation.
    #[error("the path is empty")]
    Empty,
    /// Longer than [`MAX_PATH_BYTES`].
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
    /// Starts with `/`.
    #[error("the path is absolute; workspace paths are relative")]
    Absolute,
    /// Has a `..` segment. A name such as `a..b` is ordinary.
    #[error("the path has a `..` segment")]
    ParentSegment,
    /// Has a backslash.
    #[error("the path has a backslash; segments are separated by `/`")]
    Backslash,
    /// Starts with a drive such as `C:`.
    #[error("the path starts with a drive letter")]
    Drive,
    /// Has a NUL or another control character.
    #[error("the path has a control character")]
    ControlCharacter,
}

/// Checks and normalises a path as a guest gives it.
///
/// `.` segments and repeated slashes go away; everything that could name something outside of the workspace on any
/// platform is refused.
///
/// # Errors
/// Says which rule the path breaks.
pub fn workspace_path(path: &str) -> Result<WorkspacePath, PathError> {
    if path.starts_with('/') {
        return Err(PathError::Absolute);
    }
    if path.contains('\\') {
        return Err(PathError::Backslash);
    }
    if path.chars().any(char::is_control) {
        return Err(PathError::ControlCharacter);
    }
    let mut normal = String::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => return Err(PathError::ParentSegment),
            name => {
                if !normal.is_empty() {
                    normal.push('/');
                }
                normal.push_str(name);
            }
        }
        if normal.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong);
        }
    }
    if normal.is_empty() {
        return Err(PathError::Empty);
    }
    if let [letter, b':', ..] = normal.as_bytes()
        && letter.is_ascii_alphabetic()
    {
        return Err(PathError::Drive);
    }
    Ok(WorkspacePath(normal.into()))
}

/// Why a write is refused. The guest gets this text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkspaceError {
    /// The path breaks a rule.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The content is larger than one file may be.
    #[error("the content is {size} bytes and a workspace file holds at most {limit} ({field})")]
    FileTooLarge {
        /// Bytes of the content.
        size: usize,
        /// Bytes that are allowed.
        limit: usize,
        /// The field that sets it.
        field: &'static str,
    },
    /// The workspace as a whole would be too large.
    #[error("the workspace would hold {size} bytes and may hold {limit} ({field})")]
    TooLarge {
        /// Bytes after the write.
        size: usize,
        /// Bytes that are allowed.
        limit: usize,
        /// The field that sets it.
        field: &'static str,
    },
    /// There are as many files as there may be.
    #[error("the workspace already has its {limit} files ({field})")]
    TooManyFiles {
        /// Files that are allowed.
        limit: usize,
        /// The field that sets it.
        field: &'static str,
    },
}

/// Counts up with each change of a file; 0 is the version of a file that does not exist.
pub type FileVersion = u64;

#[derive(Clone, Debug)]
struct File {
    content: Arc<str>,
    version: FileVersion,
}

/// A channel's files, in memory. One owner, the router, changes it.
#[derive(Clone, Debug)]
pub struct Workspace {
    state: WorkspaceSnapshot,
    last_version: FileVersion,
}

/// A workspace as it was at one moment. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct WorkspaceSnapshot {
    files: Arc<BTreeMap<WorkspacePath, File>>,
    bytes: usize,
    limits: WorkspaceLimits,
}

/// What a callback wrote, and what of that it had read before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkspaceChanges {
    /// The last content written to each path.
    pub writes: BTreeMap<WorkspacePath, Arc<str>>,
    /// For each path that was read from the snapshot and written, the version that was read.
    pub read_versions: BTreeMap<WorkspacePath, FileVersion>,
}

impl WorkspaceChanges {
    /// Nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// A callback's changes depend on something that has changed since it read it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// These files were read and written, and another callback wrote them in between.
    #[error("changed by another callback meanwhile: {}", list(.0))]
    Changed(Vec<WorkspacePath>),
    /// The workspace has filled up in between.
    #[error("filled up meanwhile: {0}")]
    Full(WorkspaceError),
}

fn list(paths: &[WorkspacePath]) -> String {
    paths.iter().map(WorkspacePath::as_str).collect::<Vec<_>>().join(", ")
}

impl Workspace {
    /// An empty workspace.
    #[must_use]
    pub fn new(limits: WorkspaceLimits) -> Self {
        Self { state: WorkspaceSnapshot { files: Arc::default(), bytes: 0, limits }, last_version: 0 }
    }

    /// A workspace with the files that a store kept. They are taken even when they are over `limits`, which an
    /// operator may have lowered: losing state would be worse.
    #[must_use]
    pub fn load(limits: WorkspaceLimits, files: impl IntoIterator<Item = (WorkspacePath, Arc<str>)>) -> Self {
        let mut workspace = Self::new(limits);
        workspace.write_all(files);
        workspace
    }

    /// Other limits from now on. What is over them stays.
    pub fn set_limits(&mut self, limits: WorkspaceLimits) {
        self.state.limits = limits;
    }

    /// Counts up with every change.
    #[must_use]
    pub fn version(&self) -> FileVersion {
        self.last_version
    }

    /// The state as it is now, for a callback to read.
    #[must_use]
    pub fn snapshot(&self) -> WorkspaceSnapshot {
        self.state.clone()
    }

    /// Applies what a callback wrote. Returns the files that really differ from what was there, which are the ones
    /// worth storing.
    ///
    /// # Errors
    /// A path that the callback read and wrote has changed since it read it, or there is no longer room. Nothing is
    /// applied then.
    #[cfg(test)]
    pub fn apply(&mut self, changes: &WorkspaceChanges) -> Result<Vec<(WorkspacePath, Arc<str>)>, Conflict> {
        self.check(changes)?;
        Ok(self.apply_over(changes))
    }

    /// What stands in the way of applying `changes`. That there is no room comes first: it cannot be overridden.
    ///
    /// # Errors
    /// A path that the callback read and wrote has changed since it read it, or there is no longer room.
    pub fn check(&self, changes: &WorkspaceChanges) -> Result<(), Conflict> {
        if changes.is_empty() {
            return Ok(());
        }
        self.state.check_room(&changes.writes).map_err(Conflict::Full)?;
        let changed = self.conflicts(changes);
        if changed.is_empty() { Ok(()) } else { Err(Conflict::Changed(changed)) }
    }

    /// Applies what a callback wrote without looking at what changed meanwhile: the later write wins. For callbacks
    /// that cannot be run again because something has left the host.
    pub fn apply_over(&mut self, changes: &WorkspaceChanges) -> Vec<(WorkspacePath, Arc<str>)> {
        let different = changes
            .writes
            .iter()
            .filter(|(path, content)| self.state.read(path).is_none_or(|file| *file.content != ***content))
            .map(|(path, content)| (path.clone(), Arc::clone(content)))
            .collect::<Vec<_>>();
        self.write_all(different.iter().cloned());
        different
    }

    /// The paths that stand in the way of applying `changes`.
    #[must_use]
    pub fn conflicts(&self, changes: &WorkspaceChanges) -> Vec<WorkspacePath> {
        changes
            .read_versions
            .iter()
            .filter(|(path, version)| self.state.version(path) != **version)
            .map(|(path, _)| path.clone())
            .collect()
    }

    fn write_all(&mut self, files: impl IntoIterator<Item = (WorkspacePath, Arc<str>)>) {
        let mut files = files.into_iter().peekable();
        if files.peek().is_none() {
            return;
        }
        self.last_version += 1;
        let map = Arc::make_mut(&mut self.state.files);
        for (path, content) in files {
            let added = path.as_str().len() + content.len();
            let file = File { content, version: self.last_version };
            let removed =
                map.insert(path.clone(), file).map_or(0, |old| path.as_str().len() + old.content.len());
            self.state.bytes = self.state.bytes + added - removed;
        }
    }
}

impl WorkspaceSnapshot {
    /// A snapshot of nothing, with the default limits.
    #[must_use]
    pub fn empty() -> Self {
        Workspace::new(WorkspaceLimits::default()).snapshot()
    }

    /// The content of a file.
    #[must_use]
    pub fn get(&self, path: &WorkspacePath) -> Option<Arc<str>> {
        self.read(path).map(|file| Arc::clone(&file.content))
    }

    /// All files, ordered by path.
    #[cfg(any(feature = "cli", test))]
    pub fn files(&self) -> impl Iterator<Item = (&WorkspacePath, &Arc<str>)> {
        self.files.iter().map(|(path, file)| (path, &file.content))
    }

    /// Bytes of all paths and contents.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether the limits hold after all of `writes`.
    fn check_room(&self, writes: &BTreeMap<WorkspacePath, Arc<str>>) -> Result<(), WorkspaceError> {
        let (mut files, mut bytes) = (self.len(), self.bytes);
        for (path, content) in writes {
            match self.read(path) {
                Some(old) => bytes = bytes - old.content.len() + content.len(),
                None => (files, bytes) = (files + 1, bytes + path.as_str().len() + content.len()),
            }
        }
        self.check_growth((self.len(), self.bytes), (files, bytes))
    }

    /// What does not grow is let through: a workspace that is over a lowered limit must be able to shrink.
    fn check_growth(&self, before: (usize, usize), after: (usize, usize)) -> Result<(), WorkspaceError> {
        let limits = self.limits;
        if after.1 > limits.total_bytes && after.1 > before.1 {
            return Err(WorkspaceError::TooLarge {
                size: after.1,
                limit: limits.total_bytes,
                field: limits.names.total_bytes,
            });
        }
        if after.0 > limits.files && after.0 > before.0 {
            return Err(WorkspaceError::TooManyFiles { limit: limits.files, field: limits.names.files });
        }
        Ok(())
    }

    fn read(&self, path: &WorkspacePath) -> Option<&File> {
        self.files.get(path)
    }

    fn version(&self, path: &WorkspacePath) -> FileVersion {
        self.read(path).map_or(0, |file| file.version)
    }
}

/// What one callback sees: a snapshot under its own writes.
#[derive(Debug)]
pub struct WorkspaceView {
    snapshot: WorkspaceSnapshot,
    writes: BTreeMap<WorkspacePath, Arc<str>>,
    reads: BTreeMap<WorkspacePath, FileVersion>,
    bytes: usize,
    files: usize,
    /// Bytes of the contents in `writes`.
    written_bytes: usize,
}

impl WorkspaceView {
    /// A view without writes.
    #[must_use]
    pub fn new(snapshot: WorkspaceSnapshot) -> Self {
        let (bytes, files) = (snapshot.bytes, snapshot.len());
        Self { snapshot, writes: BTreeMap::new(), reads: BTreeMap::new(), bytes, files, written_bytes: 0 }
    }

    /// Bytes that the callback's own writes hold.
    #[must_use]
    pub fn written_bytes(&self) -> usize {
        self.written_bytes
    }

    /// The content of a file: the callback's own write, else the snapshot's.
    pub fn read(&mut self, path: &WorkspacePath) -> Option<Arc<str>> {
        if let Some(own) = self.writes.get(path) {
            return Some(Arc::clone(own));
        }
        self.reads.entry(path.clone()).or_insert_with(|| self.snapshot.version(path));
        self.snapshot.get(path)
    }

    /// Replaces a file's content.
    ///
    /// # Errors
    /// The write would break one of the [`WorkspaceLimits`]. The view is then as it was.
    pub fn write(&mut self, path: WorkspacePath, content: Arc<str>) -> Result<(), WorkspaceError> {
        let limits = self.snapshot.limits;
        if content.len() > limits.file_bytes {
            return Err(WorkspaceError::FileTooLarge {
                size: content.len(),
                limit: limits.file_bytes,
                field: limits.names.file_bytes,
            });
        }
        let old = self.writes.get(&path).or_else(|| self.snapshot.read(&path).map(|file| &file.content));
        let (files, size) = match old {
            Some(old) => (self.files, self.bytes - old.len() + content.len()),
            None => (self.files + 1, self.bytes + path.as_str().len() + content.len()),
        };
        self.snapshot.check_growth((self.files, self.bytes), (files, size))?;
        (self.files, self.bytes) = (files, size);
        self.written_bytes += content.len();
        let replaced = self.writes.insert(path, content);
        self.written_bytes -= replaced.map_or(0, |old| old.len());
        Ok(())
    }

    /// What is to be applied when the callback succeeds.
    #[must_use]
    pub fn into_changes(self) -> WorkspaceChanges {
        let Self { writes, mut reads, .. } = self;
        reads.retain(|path, _| writes.contains_key(path));
        WorkspaceChanges { writes, read_versions: reads }
    }
}

#[cfg(test)]
#[path = "workspace_tests.rs"]
mod tests;
