use proptest::prelude::*;

use super::*;

fn path(text: &str) -> WorkspacePath {
    workspace_path(text).unwrap()
}

fn view(workspace: &Workspace) -> WorkspaceView {
    WorkspaceView::new(workspace.snapshot())
}

fn changes(workspace: &Workspace, act: impl FnOnce(&mut WorkspaceView)) -> WorkspaceChanges {
    let mut view = view(workspace);
    act(&mut view);
    view.into_changes()
}

fn content(workspace: &Workspace, at: &str) -> Option<String> {
    workspace.snapshot().get(&path(at)).map(|text| text.to_string())
}

#[test]
fn paths_are_normalised_or_refused() {
    let long = "x".repeat(MAX_PATH_BYTES);
    let longer = "x".repeat(MAX_PATH_BYTES + 1);
    let rows: &[(&str, &str, Result<&str, PathError>)] = &[
        ("plain", "state.json", Ok("state.json")),
        ("nested", "a/b/c", Ok("a/b/c")),
        ("dot segments", "./a/./b", Ok("a/b")),
        ("repeated slashes", "a//b///c", Ok("a/b/c")),
        ("trailing slash", "a/", Ok("a")),
        ("two dots inside a name", "a..b", Ok("a..b")),
        ("three dots", "...", Ok("...")),
        ("hidden file", ".cursor", Ok(".cursor")),
        ("colon later on", "chat:1", Ok("chat:1")),
        ("unicode", "räume/häuser", Ok("räume/häuser")),
        ("another channel's prefix is only a name", "channels/other/x", Ok("channels/other/x")),
        ("as long as allowed", &long, Ok(&long)),
        ("one byte longer", &longer, Err(PathError::TooLong)),
        ("empty", "", Err(PathError::Empty)),
        ("only dots and slashes", "././/", Err(PathError::Empty)),
        ("absolute", "/etc/passwd", Err(PathError::Absolute)),
        ("parent", "..", Err(PathError::ParentSegment)),
        ("parent inside", "a/../../b", Err(PathError::ParentSegment)),
        ("parent at the end", "a/..", Err(PathError::ParentSegment)),
        ("backslash", "a\\b", Err(PathError::Backslash)),
        ("backslash parent", "..\\b", Err(PathError::Backslash)),
        ("drive", "C:/x", Err(PathError::Drive)),
        ("drive after a dot segment", "./c:x", Err(PathError::Drive)),
        ("nul", "a\0b", Err(PathError::ControlCharacter)),
        ("line break", "a\nb", Err(PathError::ControlCharacter)),
    ];
    for (name, input, expected) in rows {
        let got = workspace_path(input);
        assert_eq!(got.as_ref().map(WorkspacePath::as_str).map_err(|e| *e), *expected, "{name}");
    }
}

proptest! {
    #[test]
    fn an_accepted_path_stays_inside_and_is_stable(input in "[a-c./\\\\:\\x00 ]{0,40}") {
        if let Ok(path) = workspace_path(&input) {
            let text = path.as_str();
            prop_assert!(!text.starts_with('/') && !text.contains('\\') && !text.contains('\0'));
            prop_assert!(text.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
            prop_assert!(text.len() <= MAX_PATH_BYTES);
            prop_assert_eq!(workspace_path(text).unwrap(), path);
        }
    }

    #[test]
    fn any_text_is_handled_without_a_panic(input in any::<String>()) {
        let _ = workspace_path(&input);
    }

    #[test]
    fn the_byte_count_is_the_sum_of_the_files(writes in prop::collection::vec(("[a-e]", "[x-z]{0,9}"), 0..40)) {
        let mut workspace = Workspace::new(WorkspaceLimits::default());
        for (at, text) in writes {
            let changes = changes(&workspace, |view| view.write(path(&at), text.as_str().into()).unwrap());
            workspace.apply(&changes).unwrap();
            let snapshot = workspace.snapshot();
            let sum: usize = snapshot.files().map(|(path, text)| path.as_str().len() + text.len()).sum();
            prop_assert_eq!(snapshot.bytes(), sum);
        }
    }
}

#[test]
fn a_callback_sees_its_own_writes_and_nobody_else_does() {
    let workspace = Workspace::new(WorkspaceLimits::default());
    let mut view = view(&workspace);
    view.write(path("a"), "1".into()).unwrap();
    assert_eq!(view.read(&path("a")).as_deref(), Some("1"));
    assert_eq!(content(&workspace, "a"), None);
}

#[test]
fn a_snapshot_does_not_change_under_a_callback() {
    let mut workspace = Workspace::load(WorkspaceLimits::default(), [(path("a"), "old".into())]);
    let mut before = view(&workspace);
    let new = changes(&workspace, |view| view.write(path("a"), "new".into()).unwrap());
    workspace.apply(&new).unwrap();
    assert_eq!(before.read(&path("a")).as_deref(), Some("old"));
    assert_eq!(content(&workspace, "a").as_deref(), Some("new"));
}

/// Two callbacks start from the same state and do these things; the second to commit conflicts or not.
#[test]
fn only_what_was_read_and_written_conflicts() {
    type Act = fn(&mut WorkspaceView);
    let read_write: Act = |v| {
        v.read(&path("k"));
        v.write(path("k"), "second".into()).unwrap();
    };
    let write_only: Act = |v| v.write(path("k"), "second".into()).unwrap();
    let read_only: Act = |v| {
        v.read(&path("k"));
    };
    let read_one_write_other: Act = |v| {
        v.read(&path("k"));
        v.write(path("other"), "second".into()).unwrap();
    };
    let write_then_read: Act = |v| {
        v.write(path("k"), "second".into()).unwrap();
        v.read(&path("k"));
    };
    let rows: &[(&str, Act, bool)] = &[
        ("reads and writes the same", read_write, true),
        ("writes without reading", write_only, false),
        ("reads without writing", read_only, false),
        ("reads one and writes another", read_one_write_other, false),
        ("reads only its own write", write_then_read, false),
    ];
    for existing in [None, Some("start")] {
        for (name, act, conflicts) in rows {
            let files = existing.map(|text| (path("k"), Arc::from(text)));
            let mut workspace = Workspace::load(WorkspaceLimits::default(), files);
            let second = changes(&workspace, act);
            let first = changes(&workspace, |v| v.write(path("k"), "first".into()).unwrap());
            workspace.apply(&first).unwrap();
            let outcome = workspace.apply(&second);
            assert_eq!(outcome.is_err(), *conflicts, "{name}, existing: {existing:?}");
            if *conflicts {
                assert_eq!(outcome, Err(Conflict::Changed(vec![path("k")])), "{name}");
                assert_eq!(content(&workspace, "k").as_deref(), Some("first"), "nothing applied: {name}");
                workspace.apply_over(&second);
                assert_eq!(content(&workspace, "k").as_deref(), Some("second"), "later write wins: {name}");
            }
        }
    }
}

#[test]
fn writing_what_is_already_there_changes_nothing() {
    let mut workspace = Workspace::load(WorkspaceLimits::default(), [(path("k"), "same".into())]);
    let reader = changes(&workspace, |v| {
        v.read(&path("k"));
        v.write(path("k"), "mine".into()).unwrap();
    });
    let same = changes(&workspace, |v| v.write(path("k"), "same".into()).unwrap());
    assert_eq!(workspace.apply(&same).unwrap(), []);
    assert_eq!(workspace.apply(&reader).unwrap(), [(path("k"), "mine".into())]);
}

#[test]
fn each_limit_holds_at_its_edge() {
    let limits = WorkspaceLimits { file_bytes: 10, total_bytes: 24, files: 2, ..WorkspaceLimits::default() };
    let mut view = WorkspaceView::new(Workspace::new(limits).snapshot());
    let text = |n: usize| Arc::<str>::from("x".repeat(n));
    assert_eq!(
        view.write(path("a"), text(11)),
        Err(WorkspaceError::FileTooLarge { size: 11, limit: 10, field: "workspace_max_file_bytes" })
    );
    view.write(path("a"), text(10)).unwrap();
    view.write(path("b"), text(10)).unwrap();
    assert_eq!(
        view.write(path("c"), text(0)),
        Err(WorkspaceError::TooManyFiles { limit: 2, field: "workspace_max_files" })
    );

    let mut view =
        WorkspaceView::new(Workspace::new(WorkspaceLimits { total_bytes: 21, ..limits }).snapshot());
    view.write(path("a"), text(10)).unwrap();
    assert_eq!(
        view.write(path("b"), text(10)),
        Err(WorkspaceError::TooLarge { size: 22, limit: 21, field: "workspace_max_bytes" })
    );
    view.write(path("b"), text(9)).unwrap();
}

#[test]
fn a_workspace_over_a_lowered_limit_can_shrink() {
    let limits = WorkspaceLimits { file_bytes: 10, total_bytes: 8, files: 1, ..WorkspaceLimits::default() };
    let workspace = Workspace::load(limits, [(path("a"), "12345678".into()), (path("b"), "12345678".into())]);
    let mut view = view(&workspace);
    view.write(path("a"), "1".into()).unwrap();
    assert!(view.write(path("a"), "123456789".into()).is_err());
}

#[test]
fn two_callbacks_cannot_fill_it_together() {
    let limits = WorkspaceLimits { file_bytes: 10, total_bytes: 12, files: 9, ..WorkspaceLimits::default() };
    let mut workspace = Workspace::new(limits);
    let first = changes(&workspace, |v| v.write(path("a"), "1234567".into()).unwrap());
    let second = changes(&workspace, |v| v.write(path("b"), "1234567".into()).unwrap());
    workspace.apply(&first).unwrap();
    let full = WorkspaceError::TooLarge { size: 16, limit: 12, field: "workspace_max_bytes" };
    assert_eq!(workspace.apply(&second), Err(Conflict::Full(full)));
    assert_eq!(content(&workspace, "b"), None);
}
