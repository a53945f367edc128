//! Whether a channel may be loaded: the operator has approved what it may do, and it is signed as the operator wants.

use std::fmt;

use serde::Deserialize;

use super::manifest::{Manifest, ManifestError, capabilities_of};
use super::record::{Approved, RecordError, Records};
use super::right::{Right, rights_added, rights_of};
use super::signature::{SignatureError, TrustedKey, verify};
use super::source::files_of;
use super::staging::PackageFiles;
use crate::channel::{
    ChannelCapabilitiesFile, ChannelFiles, ChannelName, LoadCheck, PlannedChannel, bundled_channel_files,
};

/// What the operator says about signatures, under `[trust]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Trust {
    /// Whose signatures are good.
    pub keys: Vec<TrustedKey>,
    /// Whether a channel needs one. Those of the program do not.
    pub require_signature: bool,
}

/// Why a channel may not be loaded or installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadRefusal {
    /// It needs a signature.
    #[error(
        "it is not signed, and [trust] require_signature is set; sign it with `tinclaw sign`, or take one from its author"
    )]
    Unsigned,
    /// Its signature.
    #[error("its signature is not good: {0}")]
    Signature(#[from] SignatureError),
    /// Its files are not those that were packed.
    #[error("{0}; the package was changed")]
    Manifest(#[from] ManifestError),
    /// Nobody has approved it.
    #[error("it has not been approved; `tinclaw approve {channel}` shows what it may do and lets it: {}", listed(.rights))]
    NotApproved {
        /// The channel.
        channel: ChannelName,
        /// What it may do.
        rights: Vec<Right>,
    },
    /// It was approved for less.
    #[error("it asks for more than was approved; `tinclaw approve {channel}` lets it: {}", listed(.added))]
    AsksForMore {
        /// The channel.
        channel: ChannelName,
        /// What is new.
        added: Vec<Right>,
    },
    /// What was decided is not known.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Its capability file cannot be compared.
    #[error("{0}")]
    Capabilities(String),
}

fn listed(rights: &[Right]) -> String {
    if rights.is_empty() {
        return "nothing beyond the defaults".to_owned();
    }
    rights.iter().map(Right::to_string).collect::<Vec<_>>().join("; ")
}

impl Trust {
    /// Whether files are those that were packed, and signed as they have to be. Returns the id of the key, if they are signed
    /// with one that is trusted.
    ///
    /// # Errors
    /// They were changed, or the signature is missing or not good.
    pub fn check(
        &self,
        name: &ChannelName,
        files: &PackageFiles,
        bundled: bool,
    ) -> Result<Option<String>, LoadRefusal> {
        if let Some(manifest) = &files.manifest {
            Manifest::parse(manifest)?.check(name, &files.channel)?;
        }
        match (&files.manifest, &files.signature) {
            (Some(manifest), Some(signature)) if !self.keys.is_empty() => {
                Ok(Some(verify(&self.keys, manifest, signature)?))
            }
            _ if self.require_signature && !bundled => Err(LoadRefusal::Unsigned),
            _ => Ok(None),
        }
    }
}

/// Compares a capability file with what was approved.
///
/// # Errors
/// It asks for more, or nothing was approved; or the file is not accepted.
pub(crate) fn check_approval(
    channel: &ChannelName,
    approved: Option<&Approved>,
    files: &ChannelFiles,
) -> Result<(), LoadRefusal> {
    let file = parsed(channel, files)?;
    match approved {
        Some(approved) => {
            let old = approved.file(channel).unwrap_or_default();
            let added = rights_added(channel, &old, &file);
            if added.is_empty() {
                Ok(())
            } else {
                Err(LoadRefusal::AsksForMore { channel: channel.clone(), added })
            }
        }
        None => Err(LoadRefusal::NotApproved { channel: channel.clone(), rights: rights_of(channel, &file) }),
    }
}

/// The capability file of a channel's files.
pub(crate) fn parsed(
    channel: &ChannelName,
    files: &ChannelFiles,
) -> Result<ChannelCapabilitiesFile, LoadRefusal> {
    let name = format!("{channel}.capabilities.json");
    ChannelCapabilitiesFile::parse(&name, channel, capabilities_of(files))
        .map_err(|error| LoadRefusal::Capabilities(error.to_string()))
}

/// What is asked before a channel is loaded.
#[derive(Clone)]
pub(crate) struct PackagePolicy {
    records: Records,
    trust: Trust,
    /// Channels that are not known were there before approvals existed.
    adopts: bool,
    /// What is found to be approved is kept.
    keeps: bool,
}

impl PackagePolicy {
    /// By these records, and with these keys.
    pub fn new(records: Records, trust: Trust) -> Self {
        let adopts = records.adopts();
        Self { records, trust, adopts, keeps: true }
    }

    /// The same for a host that runs: its start has adopted what there was to adopt.
    pub fn without_adopting(self) -> Self {
        Self { adopts: false, ..self }
    }

    /// The same for whoever only looks: nothing is kept.
    pub fn only_looking(self) -> Self {
        Self { keeps: false, ..self }
    }

    /// Whether files may be loaded as a channel; they lie in its directory. What asks for the same or less than what was
    /// approved is approved.
    ///
    /// # Errors
    /// Why not.
    pub fn check_files(&self, name: &ChannelName, files: &PackageFiles) -> Result<(), LoadRefusal> {
        let Some((approved, why)) = self.decide(name, files)?.filter(|_| self.keeps) else { return Ok(()) };
        log::info!(
            target: name.as_str(),
            "channel {name}: {why} (guest {}, capability file {})",
            short(&approved.guest),
            short(&approved.capabilities)
        );
        self.records.change(name, |record| record.approved = Some(approved))?;
        Ok(())
    }

    /// Why files may not be loaded as a channel. Nothing is recorded.
    pub fn refusal(&self, name: &ChannelName, files: &PackageFiles) -> Option<LoadRefusal> {
        self.decide(name, files).err()
    }

    /// What is to be recorded when files are loaded, and why; nothing when they are those that were approved.
    fn decide(
        &self,
        name: &ChannelName,
        files: &PackageFiles,
    ) -> Result<Option<(Approved, &'static str)>, LoadRefusal> {
        let approved = self.records.get(name)?.approved;
        let known = approved.as_ref().filter(|approved| approved.is_of(&files.channel));
        let bundled = known.is_some_and(|approved| approved.bundled) || is_bundled(name, &files.channel);
        self.trust.check(name, files, bundled)?;
        if known.is_some() {
            return Ok(None);
        }
        let why = match check_approval(name, approved.as_ref(), &files.channel) {
            Ok(()) => "the files have changed and ask for no more than was approved",
            Err(LoadRefusal::NotApproved { .. }) if self.adopts => {
                "the channel was installed before approvals were recorded, so its present files are recorded as approved"
            }
            Err(refusal) => return Err(refusal),
        };
        let source = approved.map(|approved| approved.source).unwrap_or_default();
        Ok(Some((Approved::of(&files.channel, source, bundled), why)))
    }
}

impl LoadCheck for PackagePolicy {
    fn check(&self, planned: &PlannedChannel, files: &ChannelFiles) -> Result<(), String> {
        // What comes with the program and lies in no directory is as good as the program.
        let Some(found) = planned.found_files() else { return Ok(()) };
        let beside = files_of(found).map_err(|error| error.to_string())?;
        // What is checked is what was read, also when a file has changed since.
        let files = PackageFiles { channel: files.clone(), ..beside };
        self.check_files(&planned.guest, &files).map_err(|refusal| refusal.to_string())
    }

    fn is_disabled(&self, channel: &ChannelName) -> bool {
        self.records.get(channel).is_ok_and(|record| record.disabled)
    }
}

impl fmt::Debug for PackagePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackagePolicy").field("adopts", &self.adopts).finish_non_exhaustive()
    }
}

/// Whether these are the files of the program's own channel.
fn is_bundled(name: &ChannelName, files: &ChannelFiles) -> bool {
    bundled_channel_files(name.as_str()).is_some_and(|bundled| bundled == *files)
}

/// As much of a digest as tells it from others.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::super::signature::{new_key_pair, sign};
    use super::*;
    use crate::test_support::temp_dir::TempDir;

    fn name() -> ChannelName {
        "a".parse().expect("a name")
    }

    fn files(guest: &str, rights: &str) -> PackageFiles {
        let channel =
            ChannelFiles { wasm: guest.as_bytes().to_vec(), capabilities: Some(rights.as_bytes().to_vec()) };
        PackageFiles { channel, ..PackageFiles::default() }
    }

    const ONE_PATH: &str = r#"{"capabilities": {"channel": {"allowed_paths": ["/a"]}}}"#;
    const TWO_PATHS: &str = r#"{"capabilities": {"channel": {"allowed_paths": ["/a", "/b"]}}}"#;

    #[test]
    fn a_channel_is_loaded_with_what_was_approved_and_with_less_but_not_with_more() {
        let state = TempDir::new();
        let records = Records::in_state_dir(state.path());
        records.adopted().expect("it is kept");
        let policy = PackagePolicy::new(records.clone(), Trust::default());
        let check =
            |files: &PackageFiles| policy.check_files(&name(), files).map_err(|error| error.to_string());
        let error = check(&files("1", ONE_PATH)).expect_err("nobody has approved it");
        assert!(error.contains("tinclaw approve a") && error.contains("takes requests at /a"), "{error}");
        let first = Approved::of(&files("1", ONE_PATH).channel, Vec::new(), false);
        records.change(&name(), |record| record.approved = Some(first)).expect("it is kept");
        for (case, files, added) in [
            ("the same", files("1", ONE_PATH), None),
            ("another guest", files("2", ONE_PATH), None),
            ("more", files("2", TWO_PATHS), Some("takes requests at /b")),
            ("less", files("3", "{}"), None),
            ("what was approved before less was", files("1", ONE_PATH), Some("takes requests at /a")),
            (
                "no capability file",
                PackageFiles {
                    channel: ChannelFiles { wasm: b"4".to_vec(), capabilities: None },
                    ..PackageFiles::default()
                },
                None,
            ),
        ] {
            match (check(&files), added) {
                (Ok(()), None) => {}
                (Err(error), Some(added)) => assert!(error.contains(added), "{case}: {error}"),
                (other, _) => panic!("{case}: {other:?}"),
            }
        }
    }

    #[test]
    fn channels_found_at_the_first_start_are_approved_and_later_ones_are_not() {
        let state = TempDir::new();
        let records = Records::in_state_dir(state.path());
        let at_first = PackagePolicy::new(records.clone(), Trust::default());
        at_first.check_files(&name(), &files("1", ONE_PATH)).expect("it was there");
        assert!(records.get(&name()).expect("read").approved.is_some(), "it is pinned");
        let more = at_first.check_files(&name(), &files("1", TWO_PATHS));
        assert!(matches!(more, Err(LoadRefusal::AsksForMore { .. })), "{more:?}");
        records.adopted().expect("it is kept");
        let later = PackagePolicy::new(records, Trust::default());
        let other = later.check_files(&"b".parse().expect("a name"), &files("1", ONE_PATH));
        assert!(matches!(other, Err(LoadRefusal::NotApproved { .. })), "{other:?}");
    }

    #[test]
    fn signatures_are_asked_for_as_the_operator_wants() {
        let (secret, public) = new_key_pair(None).expect("keys");
        let key = TrustedKey::parse(public.lines().nth(1).expect("two lines")).expect("a key");
        let signed = |files: PackageFiles| {
            let manifest = Manifest::of(&name(), None, &files.channel).to_bytes();
            let signature = sign(&secret, None, &manifest, "a").expect("it is signed");
            PackageFiles { manifest: Some(manifest), signature: Some(signature.into_bytes()), ..files }
        };
        let good = || signed(files("1", ONE_PATH));
        let changed = || PackageFiles { channel: files("2", ONE_PATH).channel, ..good() };
        let repacked = || PackageFiles { manifest: signed(files("2", ONE_PATH)).manifest, ..changed() };
        let unsigned = || files("1", ONE_PATH);
        let trust = |keys: &[TrustedKey], require_signature| Trust { keys: keys.to_vec(), require_signature };
        let keys = [key];
        for (case, trust, files, bundled, expected) in [
            ("signed, required", trust(&keys, true), good(), false, "signed"),
            ("signed, not required", trust(&keys, false), good(), false, "signed"),
            ("signed, no keys", trust(&[], false), good(), false, "not signed"),
            ("signed, no keys, required", trust(&[], true), good(), false, "it is not signed"),
            ("unsigned", trust(&keys, false), unsigned(), false, "not signed"),
            ("unsigned, required", trust(&keys, true), unsigned(), false, "it is not signed"),
            ("of the program", trust(&keys, true), unsigned(), true, "not signed"),
            ("changed", trust(&[], false), changed(), false, "the package was changed"),
            (
                "changed with its manifest",
                trust(&keys, false),
                repacked(),
                false,
                "does not fit the manifest",
            ),
        ] {
            let found = match trust.check(&name(), &files, bundled) {
                Ok(Some(_)) => "signed".to_owned(),
                Ok(None) => "not signed".to_owned(),
                Err(refusal) => refusal.to_string(),
            };
            assert!(found.contains(expected), "{case}: {found}");
        }
    }
}
