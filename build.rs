//! Tells the program its commit, target and features, for `tinclaw --version`.
//!
//! It never fails: without git or outside a checkout the commit is left out. `TINCLAW_SOURCE_COMMIT` names it for builds
//! from an archive. In debug builds a new commit alone does not compile everything again, so they say "or later".

use std::path::Path;
use std::process::Command;

/// Names the commit when the sources are no checkout.
const SOURCE_COMMIT: &str = "TINCLAW_SOURCE_COMMIT";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={SOURCE_COMMIT}");
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let named = std::env::var(SOURCE_COMMIT).ok().filter(|commit| !commit.is_empty());
    let commit = match named.or_else(|| checkout_commit(is_release)) {
        Some(commit) if is_release => format!(" ({commit})"),
        Some(commit) => format!(" ({commit} or later, debug build)"),
        None if is_release => String::new(),
        None => " (debug build)".to_owned(),
    };
    println!("cargo::rustc-env=TINCLAW_COMMIT={commit}");
    println!("cargo::rustc-env=TINCLAW_TARGET={}", std::env::var("TARGET").unwrap_or_default());
    println!("cargo::rustc-env=TINCLAW_FEATURES={}", features().join(", "));
}

/// The short hash of the checkout's commit, when this package is the root of a git checkout: sources that were unpacked
/// inside another repository do not have that repository's commit.
fn checkout_commit(is_release: bool) -> Option<String> {
    let root = git(&["rev-parse", "--show-toplevel"])?;
    let here = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    if Path::new(&root).canonicalize().ok()? != Path::new(&here).canonicalize().ok()? {
        return None;
    }
    if is_release {
        watch_commit();
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// Runs this script again after a commit or a checkout, and only then. A watched file that does not exist would run it
/// at every build.
fn watch_commit() {
    let branch = git(&["symbolic-ref", "-q", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        let path = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).is_file());
        if let Some(path) = path {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty() && !text.contains('\n')).then_some(text)
}

fn features() -> Vec<String> {
    let mut features: Vec<String> = std::env::vars()
        .filter_map(|(name, _)| name.strip_prefix("CARGO_FEATURE_").map(str::to_lowercase))
        .filter(|name| name != "default")
        .map(|name| name.replace('_', "-"))
        .collect();
    features.sort_unstable();
    features
}
