//! What tools keep between their calls: a workspace of each tool for each person.
//!
//! In a host it is in the store, as files of names that no channel has; without one it ends with the registry. What a call
//! wrote is on disk before its caller gets the result.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use wit_abi::imports::HostFunc;

use super::prepared::PreparedTool;
use crate::capability::limits::ChannelLimits;
use crate::channel::workspace::{
    Conflict, LimitNames, Workspace, WorkspaceChanges, WorkspaceError, WorkspaceLimits, WorkspaceSnapshot,
    workspace_path,
};
use crate::model::name::ChannelName;
use crate::store::{Batch, Change, ChannelKey, LoadedChannel, StateError, StoreHandle};

/// What the names of workspaces begin with. No channel has a name with a colon.
const PREFIX: &str = "tool:";

/// Why what a call wrote is not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    /// Another call has written what this one read.
    #[error("other calls for the same person write its files all the time")]
    Changed,
    /// Another call has taken the room that there was.
    #[error("its files have filled up meanwhile: {0}")]
    Full(WorkspaceError),
    /// The store does not take it.
    #[error(transparent)]
    NotStored(StateError),
}

/// The workspaces of all tools.
#[derive(Default)]
pub(super) struct ToolStates {
    /// Held to look up a workspace and to count its bytes, never while something is stored.
    index: Mutex<StateIndex>,
}

/// What there is of all tools.
#[derive(Default)]
struct StateIndex {
    store: Option<StoreHandle>,
    /// Those with files. Each is held while what a call wrote is stored: a later call of this person comes after it.
    workspaces: HashMap<ChannelKey, Arc<Mutex<Workspace>>>,
    /// Bytes of all workspaces of a tool: a call counts what it changes before that is stored, and takes it back when it was not.
    bytes: HashMap<ChannelName, usize>,
}

impl ToolStates {
    /// From now on the state is what this store has, and is kept there.
    pub(super) fn move_to(
        &self,
        store: StoreHandle,
        loaded: impl IntoIterator<Item = (ChannelKey, LoadedChannel)>,
    ) {
        let mut index = StateIndex { store: Some(store), ..StateIndex::default() };
        for (key, stored) in loaded {
            let Some(tool) = tool_of(&key) else { continue };
            let workspace = loaded_workspace(&key, stored);
            *index.bytes.entry(tool).or_default() += bytes_of(&key, &workspace);
            index.workspaces.insert(key, Arc::new(Mutex::new(workspace)));
        }
        *self.lock() = index;
    }

    /// The state of a tool for the person of a call; nothing when the tool cannot ask for it.
    pub(super) fn of_call<'a>(
        &'a self,
        tool: &'a PreparedTool,
        context: Option<&str>,
    ) -> Option<CallState<'a>> {
        let imports = |func| tool.abi_version().imports(func);
        (imports(HostFunc::StateRead) || imports(HostFunc::StateWrite)).then(|| CallState {
            states: self,
            tool: tool.key(),
            limits: tool.limits(),
            key: key_of(tool.key(), context),
        })
    }

    fn lock(&self) -> MutexGuard<'_, StateIndex> {
        lock(&self.index)
    }
}

/// One tool's state for one person.
pub(super) struct CallState<'a> {
    states: &'a ToolStates,
    tool: &'a ChannelName,
    limits: &'a ChannelLimits,
    key: ChannelKey,
}

impl CallState<'_> {
    /// The files as they are now.
    pub(super) fn snapshot(&self) -> WorkspaceSnapshot {
        let (found, limits) = {
            let index = self.states.lock();
            (index.workspaces.get(&self.key).cloned(), self.limits(&index))
        };
        match found {
            Some(workspace) => {
                let mut workspace = lock(&workspace);
                let own = workspace.snapshot().bytes();
                workspace.set_limits(limits(own));
                workspace.snapshot()
            }
            None => Workspace::new(limits(0)).snapshot(),
        }
    }

    /// Keeps what a call wrote; it is durable when this returns. With `over` also what another call has written meanwhile
    /// is written over.
    ///
    /// # Errors
    /// [`KeepError`]; nothing is kept then.
    pub(super) fn keep(&self, changes: &WorkspaceChanges, over: bool) -> Result<(), KeepError> {
        if changes.is_empty() {
            return Ok(());
        }
        let (workspace, store, limits) = {
            let mut index = self.states.lock();
            let limits = self.limits(&index);
            let new = || Arc::new(Mutex::new(Workspace::new(limits(0))));
            let workspace = Arc::clone(index.workspaces.entry(Arc::clone(&self.key)).or_insert_with(new));
            (workspace, index.store.clone(), limits)
        };
        let mut workspace = lock(&workspace);
        let own = workspace.snapshot().bytes();
        workspace.set_limits(limits(own));
        match workspace.check(changes) {
            Err(Conflict::Full(error)) => return Err(KeepError::Full(error)),
            Err(Conflict::Changed(_)) if !over => return Err(KeepError::Changed),
            _ => {}
        }
        let mut next = workspace.clone();
        let written = next.apply_over(changes);
        let (before, after) = (bytes_of(&self.key, &workspace), bytes_of(&self.key, &next));
        self.count(before, after)?;
        if let (Some(store), false) = (store, written.is_empty()) {
            let put = |(path, content): (_, _)| put(&self.key, path, content);
            let batch = Batch { changes: written.into_iter().map(put).collect() };
            if let Err(error) = store.try_commit_and_wait(batch) {
                self.uncount(before, after);
                return Err(KeepError::NotStored(error));
            }
        }
        *workspace = next;
        Ok(())
    }

    /// The limits of a workspace that holds so many bytes now.
    fn limits(&self, index: &StateIndex) -> impl Fn(usize) -> WorkspaceLimits + use<> {
        let ChannelLimits {
            tool_state_bytes,
            tool_state_file_bytes,
            tool_state_files,
            tool_state_total_bytes,
            ..
        } = *self.limits;
        let all = index.bytes.get(self.tool).copied().unwrap_or_default();
        let name_bytes = self.key.len();
        move |own| {
            // The name counts where it is not counted yet.
            let room = tool_state_total_bytes.saturating_sub(all + if own == 0 { name_bytes } else { 0 });
            let of_all = own.saturating_add(room);
            let (total_bytes, total_name) = match of_all < tool_state_bytes {
                true => (of_all, "tool.max_state_total_bytes"),
                false => (tool_state_bytes, "tool.max_state_bytes"),
            };
            let names = LimitNames {
                file_bytes: "tool.max_state_file_bytes",
                total_bytes: total_name,
                files: "tool.max_state_files",
            };
            WorkspaceLimits { file_bytes: tool_state_file_bytes, total_bytes, files: tool_state_files, names }
        }
    }

    /// Counts a workspace that grows, when there is room: others may have grown since the limits were looked up.
    fn count(&self, before: usize, after: usize) -> Result<(), KeepError> {
        let mut index = self.states.lock();
        let limit = self.limits.tool_state_total_bytes;
        let all = index.bytes.entry(self.tool.clone()).or_default();
        let size = all.saturating_sub(before).saturating_add(after);
        if size > limit && after > before {
            let field = "tool.max_state_total_bytes";
            return Err(KeepError::Full(WorkspaceError::TooLarge { size, limit, field }));
        }
        *all = size;
        Ok(())
    }

    fn uncount(&self, before: usize, after: usize) {
        let mut index = self.states.lock();
        let all = index.bytes.entry(self.tool.clone()).or_default();
        *all = all.saturating_sub(after).saturating_add(before);
    }
}

/// Takes what tools have kept out of what a store has.
pub(crate) fn take_stored(
    channels: &mut BTreeMap<ChannelKey, LoadedChannel>,
) -> Vec<(ChannelKey, LoadedChannel)> {
    let keys: Vec<ChannelKey> = channels.keys().filter(|key| key.starts_with(PREFIX)).cloned().collect();
    keys.into_iter().filter_map(|key| channels.remove_entry(&key)).collect()
}

/// The name of the workspace: `tool:NAME`, and `:CHANNEL:USER` when the call says who it is for.
fn key_of(tool: &ChannelName, context: Option<&str>) -> ChannelKey {
    let context: Value = context.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    match (context["channel"].as_str(), context["user"].as_str()) {
        (Some(channel), Some(user)) => format!("{PREFIX}{tool}:{channel}:{user}").into(),
        _ => format!("{PREFIX}{tool}").into(),
    }
}

fn tool_of(key: &str) -> Option<ChannelName> {
    ChannelName::new(key.strip_prefix(PREFIX)?.split(':').next()?).ok()
}

/// What a workspace takes of the bytes of its tool: with its name, so that many small ones are counted as well.
fn bytes_of(key: &str, workspace: &Workspace) -> usize {
    match workspace.snapshot().bytes() {
        0 => 0,
        bytes => key.len() + bytes,
    }
}

fn loaded_workspace(key: &str, stored: LoadedChannel) -> Workspace {
    let files = stored.files.into_iter().filter_map(|(path, content)| match workspace_path(&path) {
        Ok(path) => Some((path, content)),
        Err(error) => {
            log::error!("state of {key}: stored file {path:?}: {error}");
            None
        }
    });
    Workspace::load(WorkspaceLimits::default(), files)
}

fn put(key: &ChannelKey, path: crate::channel::workspace::WorkspacePath, content: Arc<str>) -> Change {
    Change::PutFile { channel: Arc::clone(key), path: path.shared(), content }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is held is replaced as a whole, or not at all.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::workspace::WorkspaceView;
    use crate::store::{MemoryStore, Retention, StoreThread};

    struct Bench {
        states: ToolStates,
        name: ChannelName,
        limits: ChannelLimits,
    }

    impl Bench {
        /// Of one person 100 bytes in two files of at most 90, of all people 200.
        fn new() -> Self {
            let limits = ChannelLimits {
                tool_state_bytes: 100,
                tool_state_file_bytes: 90,
                tool_state_files: 2,
                tool_state_total_bytes: 200,
                ..ChannelLimits::default()
            };
            Self { states: ToolStates::default(), name: ChannelName::new("notes").unwrap(), limits }
        }

        fn of(&self, user: &str) -> CallState<'_> {
            let context = format!(r#"{{"channel":"c","user":"{user}"}}"#);
            let key = key_of(&self.name, Some(&context));
            CallState { states: &self.states, tool: &self.name, limits: &self.limits, key }
        }

        /// A call that writes one file.
        fn write(&self, user: &str, path: &str, bytes: usize) -> Result<(), String> {
            let state = self.of(user);
            let mut view = WorkspaceView::new(state.snapshot());
            let content = "x".repeat(bytes).into();
            view.write(workspace_path(path).unwrap(), content).map_err(|error| error.to_string())?;
            state.keep(&view.into_changes(), false).map_err(|error| error.to_string())
        }

        fn read(&self, user: &str, path: &str) -> Option<usize> {
            Some(self.of(user).snapshot().get(&workspace_path(path).unwrap())?.len())
        }

        fn counted(&self) -> usize {
            self.states.lock().bytes.get(&self.name).copied().unwrap_or_default()
        }
    }

    fn thread(store: &MemoryStore) -> StoreThread {
        StoreThread::in_memory(store.clone(), &Retention::default())
    }

    #[test]
    fn each_person_has_their_own_files_and_they_survive() {
        let (store, first) = (MemoryStore::new(), Bench::new());
        let held = thread(&store);
        first.states.move_to(held.handle(), []);
        first.write("ann", "a", 3).unwrap();
        first.write("bob:c", "a", 5).unwrap();
        assert_eq!(
            (first.read("ann", "a"), first.read("bob:c", "a"), first.read("c", "a")),
            (Some(3), Some(5), None)
        );
        let second = Bench::new();
        let mut channels = held.handle().query(|engine| engine.load(0)).unwrap().channels;
        let stored = take_stored(&mut channels);
        assert!(stored.len() == 2 && channels.is_empty());
        second.states.move_to(held.handle(), stored);
        assert_eq!((second.read("ann", "a"), second.read("bob:c", "a")), (Some(3), Some(5)));
        assert_eq!(second.counted(), first.counted());
    }

    #[test]
    fn each_limit_holds_and_one_past_it_is_refused() {
        let bench = Bench::new();
        let refused = |result: Result<(), String>, field: &str| {
            let error = result.expect_err(field);
            assert!(error.contains(field), "{error}");
        };
        refused(bench.write("ann", "a", 91), "tool.max_state_file_bytes");
        bench.write("ann", "a", 90).unwrap();
        // The paths count.
        refused(bench.write("ann", "b", 9), "tool.max_state_bytes");
        bench.write("ann", "b", 8).unwrap();
        bench.write("ann", "a", 80).unwrap();
        refused(bench.write("ann", "c", 1), "tool.max_state_files");
        // `tool:notes:c:ann` and 90 bytes of hers leave 94, of which `tool:notes:c:bob` takes 16.
        refused(bench.write("bob", "a", 78), "tool.max_state_total_bytes");
        assert_eq!((bench.counted(), bench.read("bob", "a")), (106, None));
        bench.write("bob", "a", 77).unwrap();
        assert_eq!(bench.counted(), 200);
        refused(bench.write("eve", "a", 0), "tool.max_state_total_bytes");
        bench.write("ann", "b", 0).unwrap();
        assert_eq!(bench.counted(), 192, "what shrinks makes room");
    }

    #[test]
    fn a_file_changed_since_it_was_read_is_not_overwritten_unless_forced() {
        let bench = Bench::new();
        let path = workspace_path("a").unwrap();
        let changes = |content: &str| {
            let mut view = WorkspaceView::new(bench.of("ann").snapshot());
            view.read(&path);
            view.write(path.clone(), content.into()).unwrap();
            view.into_changes()
        };
        let (one, other) = (changes("one"), changes("other"));
        bench.of("ann").keep(&one, false).unwrap();
        assert!(matches!(bench.of("ann").keep(&other, false), Err(KeepError::Changed)));
        assert_eq!(bench.read("ann", "a"), Some(3));
        bench.of("ann").keep(&other, true).unwrap();
        assert_eq!(bench.read("ann", "a"), Some(5));
    }

    #[test]
    fn a_refused_write_leaves_no_file() {
        let bench = Bench::new();
        let held = thread(&MemoryStore::new());
        bench.states.move_to(held.handle(), []);
        bench.write("ann", "a", 3).unwrap();
        held.stop();
        assert!(bench.write("ann", "a", 4).unwrap_err().contains("stopped"));
        assert!(bench.write("bob", "a", 4).is_err());
        assert_eq!((bench.read("ann", "a"), bench.read("bob", "a")), (Some(3), None));
        assert_eq!(bench.counted(), "tool:notes:c:ann".len() + 1 + 3);
    }

    #[test]
    fn a_call_for_nobody_has_the_state_of_the_operator() {
        let name = ChannelName::new("notes").unwrap();
        for (context, key) in [
            (None, "tool:notes"),
            (Some("x"), "tool:notes"),
            (Some(r#"{"channel":"c"}"#), "tool:notes"),
            (Some(r#"{"channel":"c","user":"a:b"}"#), "tool:notes:c:a:b"),
        ] {
            assert_eq!(&*key_of(&name, context), key);
            assert_eq!(tool_of(key), Some(name.clone()));
        }
    }
}
