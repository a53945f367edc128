//! `tinclaw record`: keeps the callbacks of a channel of the running host.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use log::LevelFilter;
use rustix::fs::OFlags;
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::args::{Common, RecordArgs};
use super::client::{HostResponse, ask_running, ask_running_within, not_running};
use super::config::Settings;
use super::output::{CommandResult, Failure, count, path_text, print_json};
use crate::admin::ApiCall;
use crate::model::regular_file;

/// How often the host is asked whether it is done.
const EVERY: Duration = Duration::from_millis(300);
/// How long the host may take to say so. A signal is noticed after it.
const STEP_TIME: Duration = Duration::from_secs(3);
/// How long it may take to give the recording.
const STOP_TIME: Duration = Duration::from_secs(10);

/// Records until it has as many callbacks as are wanted, the time is over, or a signal comes.
pub fn record(common: &Common, options: &RecordArgs) -> CommandResult {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Error)?;
    let output =
        options.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.jsonl", options.channel)));
    let is_stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, is_stopped.clone())
            .map_err(|error| Failure::problem(format!("signals cannot be waited for: {error}")))?;
    }
    // Before anything is recorded that could not be written.
    let file = RecordingFile::open(&output, options.force)?;
    let path = ["channels", options.channel.as_str(), "recording"];
    let start = ApiCall::post(&path)
        .with("callbacks", Some(options.callbacks))
        .with("seconds", Some(options.seconds));
    asked(&settings, &start)?;
    errln!(
        "recording channel {}: {} at most, for {} s; Ctrl-C ends it",
        options.channel,
        count(usize::from(options.callbacks), "callback"),
        options.seconds
    );
    let begun = Instant::now();
    while !is_stopped.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(options.seconds) {
        match ask_running_within(&settings, &ApiCall::get(&path), STEP_TIME) {
            Ok(HostResponse::Running(state)) if state["full"] == true => break,
            Ok(HostResponse::Running(_)) => thread::sleep(EVERY),
            Ok(HostResponse::NotRunning(looked)) => return Err(not_running(&looked)),
            // One that is slow may respond the next time; meanwhile a signal ends this.
            Err(_) => thread::sleep(EVERY),
        }
    }
    let stop = ApiCall::post(&["channels", &options.channel, "recording", "stop"]);
    let recording = match ask_running_within(&settings, &stop, STOP_TIME)? {
        HostResponse::Running(recording) => recording,
        HostResponse::NotRunning(looked) => return Err(not_running(&looked)),
    };
    file.write(&recording)?;
    let callbacks = recording["callbacks"].as_u64().unwrap_or_default();
    let left_out = recording["left_out"].as_u64().unwrap_or_default();
    if options.format.json {
        print_json(&json!({
            "channel": options.channel,
            "recording": path_text(&output),
            "callbacks": callbacks,
            "left_out": left_out,
        }));
        return Ok(());
    }
    let more = if left_out > 0 { format!("; {left_out} more had no room") } else { String::new() };
    outln!(
        "{} in {}{more}",
        count(usize::try_from(callbacks).unwrap_or(usize::MAX), "callback"),
        output.display()
    );
    Ok(())
}

fn asked(settings: &Settings, call: &ApiCall) -> Result<Value, Failure> {
    match ask_running(settings, call)? {
        HostResponse::Running(value) => Ok(value),
        HostResponse::NotRunning(looked) => Err(not_running(&looked)),
    }
}

/// The file of a recording. What people wrote is in it, so nobody but its owner may read it.
struct RecordingFile {
    path: PathBuf,
    file: File,
    /// Whether it was there before, or has a recording now. One that is neither goes when this is dropped.
    is_kept: bool,
}

impl RecordingFile {
    /// Opens the file; one that exists is replaced only by force, and as it is until there is a recording.
    fn open(path: &Path, is_forced: bool) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        let made = options.clone().create_new(true).open(path);
        let is_kept = made.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists);
        let file = match made {
            Err(_) if is_kept && !is_forced => {
                return Err(Failure::problem(format!(
                    "{} exists; --force replaces it, --output names another file",
                    path.display()
                )));
            }
            Err(_) if is_kept && path.starts_with("/dev") => options.open(path),
            Err(_) if is_kept => regular_file::open(&mut options, OFlags::empty(), path),
            made => made,
        };
        let file = file.map_err(|error| Self::failed(path, &error))?;
        Ok(Self { path: path.to_owned(), file, is_kept })
    }

    /// Writes a callback in each line.
    fn write(mut self, recording: &Value) -> Result<(), Failure> {
        self.is_kept = true;
        self.write_lines(recording).map_err(|error| Self::failed(&self.path, &error))
    }

    fn write_lines(&self, recording: &Value) -> io::Result<()> {
        if self.file.metadata()?.is_file() {
            self.file.set_permissions(Permissions::from_mode(0o600))?;
            self.file.set_len(0)?;
        }
        let mut out = BufWriter::new(&self.file);
        for line in recording["lines"].as_array().into_iter().flatten() {
            writeln!(out, "{line}")?;
        }
        out.flush()
    }

    fn failed(path: &Path, error: &io::Error) -> Failure {
        Failure::problem(format!("{}: {error}", path.display()))
    }
}

impl Drop for RecordingFile {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
