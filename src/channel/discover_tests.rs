use std::os::unix::fs::symlink;

use super::*;
use crate::test_support::temp_dir::TempDir;

/// A directory of channels.
pub(in crate::channel) struct Dir(TempDir);

impl Dir {
    pub(in crate::channel) fn new() -> Self {
        Self(TempDir::new())
    }

    pub(in crate::channel) fn with(files: &[(&str, &[u8])]) -> Self {
        let dir = Self::new();
        for (name, bytes) in files {
            dir.0.write(name, bytes);
        }
        dir
    }

    pub(in crate::channel) fn directory(&self) -> &Path {
        self.0.path()
    }

    pub(in crate::channel) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

fn names(found: &Discovery) -> Vec<&str> {
    found.channels.iter().map(|channel| channel.name.as_str()).collect()
}

#[test]
fn channels_are_found_with_their_capability_files() {
    let dir = Dir::with(&[
        ("echo.wasm", b"guest"),
        ("echo.capabilities.json", b"{}"),
        ("a-b.wasm", b"x"),
        ("a-b.capabilities.json", b"{}"),
        ("lonely.wasm", b"x"),
        ("orphan.capabilities.json", b"{}"),
        ("README.md", b"x"),
        ("echo.json", b"x"),
    ]);
    std::fs::create_dir(dir.path("sub")).unwrap();
    let found = discover_channels(dir.directory()).unwrap();
    assert_eq!(names(&found), ["a_b", "echo", "lonely"]);
    assert!(found.refused.is_empty());
    assert_eq!(found.channels[1].capabilities, Some(dir.path("echo.capabilities.json")));
    let files = found.channels[1].read().unwrap();
    assert_eq!((files.wasm.as_slice(), files.capabilities.as_deref()), (&b"guest"[..], Some(&b"{}"[..])));
    assert_eq!(found.channels[2].read().unwrap().capabilities, None, "no file, no rights");
    assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
    assert!(found.warnings[0].message.contains("orphan.capabilities.json"), "{:?}", found.warnings);
    assert!(found.warnings[1].message.contains("lonely"), "{:?}", found.warnings);
}

#[test]
fn a_directory_that_is_not_there_is_an_error_that_names_it() {
    let error = discover_channels(Path::new("/does/not/exist")).unwrap_err();
    assert!(error.to_string().contains("/does/not/exist"), "{error}");
}

#[test]
fn names_that_no_channel_can_have_are_refused_and_the_others_found() {
    let dir = Dir::with(&[
        ("Upper.wasm", b""),
        ("host.wasm", b""),
        (".wasm", b""),
        ("a.b.wasm", b""),
        ("ok.wasm", b""),
    ]);
    let found = discover_channels(dir.directory()).unwrap();
    assert_eq!(names(&found), ["ok"]);
    assert_eq!(found.refused.len(), 4);
    assert!(found.refused.iter().all(|error| matches!(error, LoadError::Name { .. })), "{:?}", found.refused);
}

#[test]
fn a_name_that_is_not_text_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let dir = Dir::new();
    if std::fs::write(dir.directory().join(OsStr::from_bytes(b"a\xFF.wasm")), b"").is_err() {
        return; // a file system whose names are text
    }
    let found = discover_channels(dir.directory()).unwrap();
    assert!(matches!(&found.refused[..], [LoadError::Name { source: ValueError::NameNotText, .. }]));
}

#[test]
fn two_files_of_one_name_are_both_refused() {
    let dir = Dir::with(&[("a-b.wasm", b""), ("a_b.wasm", b""), ("c.wasm", b"")]);
    let found = discover_channels(dir.directory()).unwrap();
    assert_eq!(names(&found), ["c"]);
    let [error @ LoadError::SameName { files, .. }] = &found.refused[..] else {
        panic!("{:?}", found.refused)
    };
    assert_eq!(files.len(), 2);
    assert!(error.to_string().contains("a-b.wasm") && error.to_string().contains("a_b.wasm"), "{error}");
}

#[test]
fn links_are_refused_wherever_they_lead() {
    let outside = Dir::with(&[("secret", b"secret")]);
    let dir = Dir::with(&[("real.wasm", b"guest"), ("linked_file.wasm", b"guest")]);
    symlink(outside.path("secret"), dir.path("leaves.wasm")).unwrap();
    symlink("real.wasm", dir.path("stays.wasm")).unwrap();
    symlink("nowhere", dir.path("dangles.wasm")).unwrap();
    symlink(outside.path("secret"), dir.path("linked_file.capabilities.json")).unwrap();

    let found = discover_channels(dir.directory()).unwrap();
    assert_eq!(names(&found), ["linked_file", "real"]);
    assert_eq!(found.refused.len(), 3);
    assert!(found.refused.iter().all(|error| matches!(error, LoadError::Link { .. })), "{:?}", found.refused);

    let error = found.channels[0].read().unwrap_err();
    assert!(matches!(error, LoadError::Link { .. }), "{error}");
    let named = DiscoveredChannel::at(&dir.path("leaves.wasm")).unwrap();
    assert!(matches!(named.read(), Err(LoadError::Link { .. })));
}

#[test]
fn a_link_that_appears_after_the_listing_is_refused() {
    let outside = Dir::with(&[("secret", b"secret")]);
    let dir = Dir::with(&[("a.wasm", b"guest")]);
    let found = discover_channels(dir.directory()).unwrap();
    std::fs::remove_file(dir.path("a.wasm")).unwrap();
    symlink(outside.path("secret"), dir.path("a.wasm")).unwrap();
    assert!(matches!(found.channels[0].read(), Err(LoadError::Link { .. })));
}

#[test]
fn discovery_refuses_special_files_without_blocking() {
    let dir = Dir::new();
    std::fs::create_dir(dir.path("directory.wasm")).unwrap();
    let pipe = rustix::fs::CWD;
    rustix::fs::mknodat(pipe, dir.path("pipe.wasm"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let found = discover_channels(dir.directory()).unwrap();
    assert_eq!(names(&found), ["directory", "pipe"]);
    for channel in &found.channels {
        let error = channel.read().unwrap_err();
        assert!(matches!(error, LoadError::NotAFile { .. }), "{error}");
    }
}

#[test]
fn a_file_may_be_as_large_as_its_limit_and_no_larger() {
    let dir = Dir::with(&[("at", &[7; 100]), ("past", &[7; 101])]);
    let read = |name: &str| read_file(&dir.path(name), 100, |_| String::new());
    assert_eq!(read("at").unwrap().len(), 100);
    assert!(matches!(read("past"), Err(LoadError::TooLarge { limit: 100, .. })));
}

#[test]
fn capability_files_and_guests_have_their_own_limits() {
    let dir = Dir::with(&[("a.wasm", &[0; 1]), ("a.capabilities.json", &vec![b' '; MAX_FILE_BYTES + 1])]);
    let channel = DiscoveredChannel::at(&dir.path("a.wasm")).unwrap();
    assert!(matches!(channel.read(), Err(LoadError::TooLarge { limit: MAX_FILE_BYTES, .. })));
    let guest = File::create(dir.path("big.wasm")).unwrap();
    guest.set_len(MAX_WASM_BYTES as u64 + 1).unwrap();
    let channel = DiscoveredChannel::at(&dir.path("big.wasm")).unwrap();
    assert!(matches!(channel.read(), Err(LoadError::TooLarge { limit: MAX_WASM_BYTES, .. })));
}

#[test]
fn one_guest_can_be_named_by_its_path() {
    let dir = Dir::with(&[("my-bot.wasm", b"guest"), ("my-bot.capabilities.json", b"{}")]);
    let channel = DiscoveredChannel::at(&dir.path("my-bot.wasm")).unwrap();
    assert_eq!(channel.name, "my_bot");
    assert_eq!(channel.capabilities_file_name(), "my-bot.capabilities.json");
    assert!(matches!(DiscoveredChannel::at(&dir.path("my-bot.wat")), Err(LoadError::NotAGuest { .. })));
    assert!(matches!(DiscoveredChannel::at(Path::new("..")), Err(LoadError::NotAGuest { .. })));
    assert!(matches!(
        DiscoveredChannel::at(&dir.path("gone.wasm")).unwrap().read(),
        Err(LoadError::File { .. })
    ));
}

#[test]
fn the_default_directory_follows_the_environment() {
    type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str);
    let table: &[Row] = &[
        ("named", &[("TINCLAW_CHANNELS_DIR", "c"), ("XDG_DATA_HOME", "/x"), ("HOME", "/h")], "c"),
        ("XDG", &[("XDG_DATA_HOME", "/x"), ("HOME", "/h")], "/x/tinclaw/channels"),
        (
            "relative XDG is ignored",
            &[("XDG_DATA_HOME", "x"), ("HOME", "/h")],
            "/h/.local/share/tinclaw/channels",
        ),
        ("home", &[("HOME", "/h")], "/h/.local/share/tinclaw/channels"),
        ("nothing", &[], "channels"),
    ];
    for (case, variables, expected) in table {
        let dir = data_directory_from(CHANNELS_DIR_VARIABLE, "channels", |name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| PathBuf::from(value))
        });
        assert_eq!(dir, Path::new(expected), "{case}");
    }
}
