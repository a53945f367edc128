//! `tinclaw new`: a crate for a new channel, with the kit beside it.

use std::io;
use std::path::Path;

use serde_json::json;

use super::args::JsonArgs;
use super::output::{CommandResult, Failure, path_text, path_texts, print_json};
use crate::channel::{ChannelName, kit_files};

/// Stands in the templates for the channel's name.
const PLACEHOLDER: &str = "NAME";

/// The files of a new crate and what is in them.
const TEMPLATES: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("template/Cargo.toml.in")),
    (".cargo/config.toml", include_str!("template/cargo-config.toml.in")),
    (".gitignore", include_str!("template/gitignore.in")),
    ("src/lib.rs", include_str!("template/lib.rs.in")),
    ("channels/NAME.capabilities.json", include_str!("template/capabilities.json.in")),
    ("tinclaw.toml", include_str!("template/tinclaw.toml.in")),
];

/// Names that a crate of Rust cannot have: keywords, crates of the language, and what the new crate depends on.
const REFUSED: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "kit",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "serde_json",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "tinclaw_kit",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// Does what `tinclaw new NAME` says, in the current directory.
pub fn new(name: &str, output: JsonArgs) -> CommandResult {
    let channel = checked(name)?;
    let kit = kit_files().ok_or_else(|| {
        Failure::problem("the kit for channels is not in this program: build it with the feature `bundled`")
    })?;
    let folder = Path::new(name);
    // Fails when anything of this name is there already.
    std::fs::create_dir(folder).map_err(|error| cannot(folder, &error))?;
    let mut files = Vec::new();
    for (path, template) in TEMPLATES {
        let text = template.replace(PLACEHOLDER, channel.as_str());
        let path = folder.join(path.replace(PLACEHOLDER, channel.as_str()));
        write(&path, text.as_bytes())?;
        files.push(path);
    }
    for (path, content) in kit {
        let path = folder.join(path);
        write(&path, &content)?;
        files.push(path);
    }
    if output.json {
        print_json(&json!({"channel": channel, "directory": path_text(folder), "files": path_texts(&files)}));
        return Ok(());
    }
    outln!("wrote the channel {channel} into {}", folder.display());
    outln!("next, after `rustup target add wasm32-unknown-unknown`:");
    outln!("  cd {} && cargo build --release --target wasm32-unknown-unknown", folder.display());
    outln!("  cp target/wasm32-unknown-unknown/release/{channel}.wasm channels/");
    outln!("  tinclaw check channels");
    Ok(())
}

/// The name, when a channel and a crate of Rust may have it.
fn checked(name: &str) -> Result<ChannelName, Failure> {
    let channel = ChannelName::new(name).map_err(Failure::usage)?;
    if !channel.as_str().starts_with(|first: char| first.is_ascii_lowercase()) {
        return Err(Failure::usage(format!(
            "`{name}` does not begin with a letter, as the name of a crate must"
        )));
    }
    if REFUSED.contains(&channel.as_str()) {
        return Err(Failure::usage(format!("`{name}` cannot be the name of a crate: choose another name")));
    }
    Ok(channel)
}

fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let written = match path.parent() {
        Some(parent) => std::fs::create_dir_all(parent).and_then(|()| std::fs::write(path, content)),
        None => std::fs::write(path, content),
    };
    written.map_err(|error| cannot(path, &error))
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Failure::problem(format!(
            "{} is there already: choose another name, or remove it",
            path.display()
        ));
    }
    Failure::problem(format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChannelCapabilitiesFile;

    #[test]
    fn names_that_make_no_channel_or_no_crate_are_refused() {
        for good in ["shout", "my-bot", "a1", "x_2"] {
            assert!(checked(good).is_ok(), "{good}");
        }
        for wrong in
            ["", "Shout", "../x", "a/b", "a.b", "1st", "_a", "-a", "fn", "serde", "tinclaw-kit", "host"]
        {
            assert!(matches!(checked(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn the_capability_file_of_a_new_channel_loads() {
        let (_, template) = TEMPLATES.iter().find(|(path, _)| path.ends_with(".json")).unwrap();
        let name = ChannelName::new("shout").unwrap();
        let text = template.replace(PLACEHOLDER, "shout");
        let file = ChannelCapabilitiesFile::parse("shout.capabilities.json", &name, text.as_bytes()).unwrap();
        assert_eq!(file.name.as_deref(), Some("shout"));
    }

    #[test]
    fn no_placeholder_is_left() {
        for (path, template) in TEMPLATES {
            assert!(!template.replace(PLACEHOLDER, "shout").contains(PLACEHOLDER), "{path}");
        }
    }
}
