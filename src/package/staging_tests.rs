use std::cell::Cell;
use std::collections::BTreeMap;

use super::*;
use crate::test_support::temp_dir::TempDir;

fn name() -> ChannelName {
    "a_b".parse().expect("a name")
}

fn package(content: &str, is_signed: bool) -> PackageFiles {
    let bytes = |what: &str| format!("{what} {content}").into_bytes();
    PackageFiles {
        channel: ChannelFiles { wasm: bytes("guest"), capabilities: Some(bytes("rights")) },
        manifest: is_signed.then(|| bytes("manifest")),
        signature: is_signed.then(|| bytes("signature")),
    }
}

fn approved(files: &PackageFiles) -> Approved {
    Approved::of(&files.channel, Vec::new(), false)
}

/// The channel's files and what was approved: what counts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    files: BTreeMap<String, String>,
    approved: Option<Approved>,
}

struct Place {
    home: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { home: TempDir::new() }
    }

    fn directory(&self) -> PathBuf {
        self.home.join("channels")
    }

    fn records(&self) -> Records {
        Records::in_state_dir(&self.home.join("state"))
    }

    fn state(&self) -> State {
        let files = fs::read_dir(self.directory()).into_iter().flatten().flatten();
        let files = files.filter(|entry| entry.path().is_file()).map(|entry| {
            let text = fs::read_to_string(entry.path()).expect("it is read");
            (entry.file_name().to_string_lossy().into_owned(), text)
        });
        let record = self.records().get(&name()).expect("it is read");
        State { files: files.collect(), approved: record.approved }
    }

    /// Opens the packages as the next command does.
    fn recover(&self) {
        Staging::open(&self.directory(), &self.records()).expect("it recovers");
    }

    /// Nothing is left of what was on its way.
    fn is_clean(&self) -> bool {
        let left = fs::read_dir(self.directory().join(FOLDER)).into_iter().flatten().flatten();
        left.map(|entry| entry.file_name()).all(|file| file == "lock" || file == "a_b.pending")
    }
}

/// What is done to a directory.
type Change = fn(&Staging<'_>) -> Result<(), StagingError>;

fn install_new(staging: &Staging<'_>) -> Result<(), StagingError> {
    let files = package("new", false);
    staging.stage(&name(), &files, approved(&files), true)?;
    staging.commit(&name())
}

fn install_old(staging: &Staging<'_>) -> Result<(), StagingError> {
    let files = package("old", true);
    staging.stage(&name(), &files, approved(&files), true)?;
    staging.commit(&name())
}

fn remove(staging: &Staging<'_>) -> Result<(), StagingError> {
    staging.remove(&name())
}

/// Replaces a package that waits, and then lets it count.
fn replace_pending(staging: &Staging<'_>) -> Result<(), StagingError> {
    let files = package("waiting", false);
    staging.stage(&name(), &files, approved(&files), false)?;
    install_new(staging)
}

fn approve_and_commit(staging: &Staging<'_>) -> Result<(), StagingError> {
    let files = package("new", false);
    staging.stage(&name(), &files, approved(&files), false)?;
    staging.approve(&name())?;
    staging.commit(&name())
}

/// The program ends at each named point of each change, in turn: the next one finds the old state or the new one.
#[test]
fn a_program_that_ends_at_any_point_leaves_the_old_state_or_the_new_one() {
    let rows: [(&str, Option<Change>, Change); 6] = [
        ("a first installation", None, install_new),
        ("an upgrade", Some(install_old), install_new),
        ("a removal", Some(install_old), remove),
        ("a package that waits is replaced", Some(install_old), replace_pending),
        ("an approval", Some(install_old), approve_and_commit),
        ("an upgrade to a signed package", Some(install_new), install_old),
    ];
    for (case, before, change) in rows {
        let prepared = || {
            let place = Place::new();
            if let Some(before) = before {
                before(&Staging::open(&place.directory(), &place.records()).expect("it opens")).expect("old");
            }
            place
        };
        let place = prepared();
        let old = place.state();
        change(&Staging::open(&place.directory(), &place.records()).expect("it opens")).expect("new");
        let new = place.state();
        assert_ne!(old, new, "{case}");
        let mut ends = 0;
        for last in 0.. {
            let (place, count) = (prepared(), Cell::new(0));
            let (records, directory) = (place.records(), place.directory());
            let at_point = |_: &'static str| {
                count.set(count.get() + 1);
                if count.get() > last { Err(io::Error::other("the program ends")) } else { Ok(()) }
            };
            let staging = Staging::open_with(&directory, &records, &at_point).expect("it opens");
            let is_complete = change(&staging).is_ok();
            drop(staging);
            place.recover();
            let found = place.state();
            assert!(found == old || found == new, "{case}, after point {last}: {found:?}");
            assert!(place.is_clean(), "{case}, after point {last}");
            ends += 1;
            if is_complete {
                assert_eq!(found, new, "{case}");
                break;
            }
        }
        assert!(ends > 8, "{case}: {ends} points");
    }
}

/// Recovery itself is ended at each point.
#[test]
fn a_recovery_that_ends_at_any_point_is_taken_up_again() {
    for last in 0..9 {
        let place = Place::new();
        install_old(&Staging::open(&place.directory(), &place.records()).expect("it opens")).expect("old");
        let (records, directory) = (place.records(), place.directory());
        let at_commit = |point: &'static str| match point {
            "committed" => Err(io::Error::other("the program ends")),
            _ => Ok(()),
        };
        let staging = Staging::open_with(&directory, &records, &at_commit).expect("it opens");
        assert!(install_new(&staging).is_err());
        drop(staging);
        let count = Cell::new(0);
        let at_point = |_: &'static str| {
            count.set(count.get() + 1);
            if count.get() > last { Err(io::Error::other("the program ends")) } else { Ok(()) }
        };
        drop(Staging::open_with(&directory, &records, &at_point));
        place.recover();
        let files = place.state().files;
        assert_eq!(files.len(), 2, "after point {last}: the old package's manifest is gone: {files:?}");
        assert_eq!(files["a_b.wasm"], "guest new");
        assert!(place.is_clean());
    }
}

#[test]
fn a_package_waits_until_it_counts_or_is_dropped() {
    let place = Place::new();
    let records = place.records();
    let staging = Staging::open(&place.directory(), &records).expect("it opens");
    assert!(staging.waiting().is_empty() && staging.pending(&name()).expect("read").is_none());
    let files = package("new", true);
    staging.stage(&name(), &files, approved(&files), false).expect("it waits");
    assert_eq!(staging.waiting(), [name()]);
    let pending = staging.pending(&name()).expect("read").expect("it waits");
    assert_eq!((pending.files, pending.plan.approved), (files, false));
    staging.approve(&name()).expect("it is approved");
    assert!(staging.pending(&name()).expect("read").expect("it waits").plan.approved);
    assert!(place.state().files.is_empty(), "nothing counts yet");
    staging.drop_pending(&name()).expect("it is dropped");
    assert!(matches!(staging.commit(&name()), Err(StagingError::NothingWaits(_))));
    assert!(matches!(staging.approve(&name()), Err(StagingError::NothingWaits(_))));
}

/// `a-b.wasm` is the channel a_b too: a second pair of files would be two channels of one name.
#[test]
fn files_keep_the_spelling_of_those_that_they_replace() {
    let place = Place::new();
    place.home.write("channels/a-b.wasm", "guest");
    place.home.write("channels/a-b.capabilities.json", "{}");
    let records = place.records();
    let staging = Staging::open(&place.directory(), &records).expect("it opens");
    install_new(&staging).expect("new");
    let files = place.state().files;
    assert_eq!(files.keys().collect::<Vec<_>>(), ["a-b.capabilities.json", "a-b.wasm"]);
    remove(&staging).expect("it is removed");
    assert!(place.state().files.is_empty());
}

#[test]
fn a_plan_that_leads_out_of_the_directory_is_refused() {
    let place = Place::new();
    let plan = Plan { stem: "../a".to_owned(), files: Vec::new(), approved: true, record: None };
    place.home.write("channels/.packages/a_b.commit/plan.json", plan.to_bytes());
    let error = Staging::open(&place.directory(), &place.records()).err().expect("refused").to_string();
    assert!(error.contains("is damaged"), "{error}");
}

/// A full state directory left the files of a package in their places and its approval unwritten: the command said error, the next
/// one installed it all the same, and meanwhile the host refused the files as not approved.
#[test]
fn a_package_whose_approval_cannot_be_recorded_changes_nothing_and_waits() {
    let place = Place::new();
    let records = place.records();
    install_old(&Staging::open(&place.directory(), &records).expect("it opens")).expect("old");
    let old = place.state();
    let directory = place.directory();
    let is_full = |point: &'static str| match point {
        "before it is recorded" => Err(io::Error::other("no space left")),
        _ => Ok(()),
    };
    let staging = Staging::open_with(&directory, &records, &is_full).expect("it opens");
    let error = install_new(&staging).expect_err("there is no room").to_string();
    assert!(error.contains("no space left") && !error.contains("not complete"), "{error}");
    drop(staging);
    assert_eq!(place.state(), old);
    place.recover();
    assert_eq!(place.state(), old, "nothing is installed later, without being asked for");
    let staging = Staging::open(&directory, &records).expect("it opens");
    assert_eq!(staging.waiting(), [name()]);
    staging.commit(&name()).expect("there is room again");
    assert_eq!(place.state().files["a_b.wasm"], "guest new");
}

/// What counts and cannot be completed must say that it will be.
#[test]
fn an_interrupted_installation_is_completed_and_reported() {
    let place = Place::new();
    let (records, directory) = (place.records(), place.directory());
    let fails = |point: &'static str| match point {
        "file in place" => Err(io::Error::other("the disk is gone")),
        _ => Ok(()),
    };
    let staging = Staging::open_with(&directory, &records, &fails).expect("it opens");
    let error = install_new(&staging).expect_err("it fails").to_string();
    assert!(error.contains("the disk is gone") && error.contains("completes it"), "{error}");
    assert!(records.get(&name()).expect("read").approved.is_some(), "a host may load what is there");
}

/// Programs waited without end, and silently, for a command that was stopped.
#[test]
fn a_lock_that_another_program_keeps_is_an_error_after_a_while() {
    let place = Place::new();
    let records = place.records();
    let _holds = Staging::open(&place.directory(), &records).expect("it opens");
    let second = Staging::open_within(&place.directory(), &records, Duration::from_millis(60));
    let error = second.err().expect("it is held").to_string();
    assert!(error.contains(".packages/lock") && error.contains("another tinclaw program"), "{error}");
}

/// A removal took the channel out of the host before it found that the disk was full.
#[test]
fn a_removal_is_recorded_before_files_are_removed() {
    let place = Place::new();
    let records = place.records();
    let staging = Staging::open(&place.directory(), &records).expect("it opens");
    install_old(&staging).expect("old");
    let old = place.state();
    staging.prepare_removal(&name()).expect("it is written");
    assert_eq!(place.state(), old);
    staging.remove_prepared(&name()).expect("it is removed");
    assert!(place.state().files.is_empty());
}
