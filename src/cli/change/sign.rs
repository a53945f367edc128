//! `tinclaw sign` and `tinclaw verify`.

use std::io::Read as _;
use std::path::Path;

use log::LevelFilter;
use serde_json::json;

use crate::channel::{DiscoveredChannel, replace_file, replace_file_as};
use crate::cli::args::{Common, SignArgs, VerifyArgs};
use crate::cli::config::Settings;
use crate::cli::output::{CommandResult, Failure, path_text, print_json};
use crate::cli::{logging, prompt};
use crate::model::regular_file;
use crate::package::{
    LoadRefusal, Manifest, PackageFiles, SignatureError, Trust, TrustedKey, files_of, new_key_pair, parsed,
    sign as sign_manifest,
};

/// Signs a channel: writes its manifest and the manifest's signature beside it. Or makes a key pair.
pub fn sign(common: &Common, arguments: &SignArgs) -> CommandResult {
    logging::start(common, None, LevelFilter::Error)?;
    if arguments.new_key {
        return make_keys(arguments);
    }
    let Some(guest) = &arguments.channel else {
        return Err(Failure::usage("name the channel's .wasm file, or make a key with --new-key"));
    };
    let found = DiscoveredChannel::at(guest).map_err(Failure::problem)?;
    let files = files_of(&found).map_err(Failure::problem)?;
    let file = parsed(&found.name, &files.channel).map_err(Failure::problem)?;
    let manifest = Manifest::of(&found.name, file.version.clone(), &files.channel);
    let bytes = manifest.to_bytes();
    let secret_key = read_text(&arguments.key)?;
    let comment = match &file.version {
        Some(version) => format!("channel {} {version}", found.name),
        None => format!("channel {}", found.name),
    };
    let password = password(arguments)?;
    let signed = match sign_manifest(&secret_key, password.as_deref(), &bytes, &comment) {
        Err(SignatureError::NoPassword) if std::io::IsTerminal::is_terminal(&std::io::stdin()) => {
            let typed = prompt::secret("password of the key").map_err(Failure::problem)?;
            sign_manifest(&secret_key, Some(typed.expose()), &bytes, &comment)
        }
        signed => signed,
    };
    let signature = signed.map_err(Failure::problem)?;
    let stem = guest.file_stem().unwrap_or_default().to_string_lossy();
    let manifest_path = guest.with_file_name(format!("{stem}.manifest.json"));
    let signature_path = guest.with_file_name(format!("{stem}.manifest.json.minisig"));
    for (path, bytes) in [(&manifest_path, &*bytes), (&signature_path, signature.as_bytes())] {
        replace_file(path, bytes).map_err(|error| cannot_write(path, &error))?;
    }
    if arguments.json {
        let done = json!({"channel": found.name, "manifest": path_text(&manifest_path), "signature": path_text(&signature_path)});
        print_json(&done);
    } else {
        outln!("wrote {} and {}", manifest_path.display(), signature_path.display());
    }
    Ok(())
}

/// Verifies a channel's signature with the keys of the configuration, or with those that are named.
pub fn verify(common: &Common, arguments: &VerifyArgs) -> CommandResult {
    let settings = Settings::load(common)?;
    logging::start(common, None, LevelFilter::Error)?;
    let keys = arguments.key.iter().map(|key| TrustedKey::parse(key)).collect::<Result<Vec<_>, _>>();
    let mut keys = keys.map_err(Failure::usage)?;
    if keys.is_empty() {
        keys.clone_from(&settings.trust.keys);
    }
    if keys.is_empty() {
        return Err(Failure::usage("name a public key with --key, or trust one in [trust] keys"));
    }
    let found = DiscoveredChannel::at(&arguments.channel).map_err(Failure::problem)?;
    let files: PackageFiles = files_of(&found).map_err(Failure::problem)?;
    let trust = Trust { keys, require_signature: true };
    let key = trust.check(&found.name, &files, false);
    let key = key.map_err(|refusal| {
        let reason = match refusal {
            LoadRefusal::Unsigned => {
                "it is not signed: there is no manifest with a signature beside it".to_owned()
            }
            refusal => refusal.to_string(),
        };
        Failure::problem(format!("channel {}: {reason}", found.name))
    })?;
    let key = key.unwrap_or_default();
    if arguments.output.json {
        print_json(&json!({"channel": found.name, "key": key}));
    } else {
        outln!("channel {} is signed with the key {key}", found.name);
    }
    Ok(())
}

fn make_keys(arguments: &SignArgs) -> CommandResult {
    let public = arguments.key.with_extension("pub");
    if let Some(path) = [&arguments.key, &public].into_iter().find(|path| path.exists()) {
        return Err(Failure::problem(format!("{} is there already; name another file", path.display())));
    }
    let password = password(arguments)?;
    let (secret_key, public_key) = new_key_pair(password.as_deref()).map_err(Failure::problem)?;
    let written = replace_file_as(&arguments.key, secret_key.as_bytes(), 0o600);
    written.map_err(|error| cannot_write(&arguments.key, &error))?;
    replace_file(&public, public_key.as_bytes()).map_err(|error| cannot_write(&public, &error))?;
    let line = public_key.lines().nth(1).unwrap_or_default();
    if arguments.json {
        print_json(
            &json!({"key": line, "secret_key": path_text(&arguments.key), "public_key": path_text(&public)}),
        );
    } else {
        outln!("wrote {} and {}", arguments.key.display(), public.display());
        if password.is_none() {
            outln!(
                "{} is not encrypted: whoever can read it can sign; --password-file encrypts a new one",
                arguments.key.display()
            );
        }
        outln!("whoever trusts it writes into tinclaw.toml:\n[trust]\nkeys = [\"{line}\"]");
    }
    Ok(())
}

/// The password of the secret key, from its file.
fn password(arguments: &SignArgs) -> Result<Option<String>, Failure> {
    let text = arguments.password_file.as_deref().map(read_text).transpose()?;
    Ok(text.map(|text| text.trim_end_matches(['\n', '\r']).to_owned()))
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    regular_file::read_named(path)
        .and_then(|mut file| file.read_to_string(&mut text))
        .map_err(|error| Failure::problem(format!("cannot read {}: {error}", path.display())))?;
    Ok(text)
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::problem(format!("cannot write {}: {error}", path.display()))
}
