//! What `tinclaw run` would refuse of a configuration, found without changing anything: a start looks here before it tells a running
//! host to stop, a reload before it changes one, and `tinclaw config check` to report it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::args::Common;
use super::channels::{WEBCHAT, webchat};
use super::config::Settings;
use super::output::Failure;
use super::setup::RunningAgent;
use super::tools::paths as tool_paths;
use super::{access_log, admin_api, logging, takeover};
use crate::channel::{ChannelName, LoadError, PlannedChannel};
use crate::egress::OutboundHttp;
use crate::{HostError, WasmChannel, WasmChannelLoader, WasmChannelRuntime, WasmToolRuntime};

/// What keeps a host from starting with these settings, in the order in which a start would find it. Addresses that somebody listens at
/// are none of it: that may be the host that runs.
pub fn problems(common: &Common, settings: &Settings, engine: &WasmChannelRuntime) -> Vec<Failure> {
    let checks = [
        logging::check_filters(common, settings.log.as_deref(), &settings.place_of("log")),
        logging::check_output(&settings.log_output),
        settings.access_log.as_ref().map_or(Ok(()), access_log::check),
        check_outbound(settings),
        settings.manager().map(drop),
        admin_api::check(settings),
        takeover::check(settings.listen),
        RunningAgent::new(settings).map(drop),
        check_tools(settings, engine),
        named_channels(settings).and_then(|named| match named.has_webchat {
            true => webchat(&settings.loader_on(engine)).map(drop),
            false => Ok(()),
        }),
    ];
    let mut problems: Vec<Failure> = Vec::new();
    for problem in checks.into_iter().filter_map(Result::err) {
        // Several parts need the secrets, and each says why there are none.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    problems
}

fn check_outbound(settings: &Settings) -> Result<(), Failure> {
    OutboundHttp::new(settings.outbound()).map(drop).map_err(|error| {
        let place = settings.place_of(&field_of(&error.setting));
        Failure::problem(format!("{place}{}", HostError::from(error)))
    })
}

/// The field of an outbound setting with its entry: `http_rewrite: 'a.example'`.
fn field_of(text: &str) -> String {
    let (field, rest) = text.split_once(": ").unwrap_or((text, ""));
    let entry = rest.strip_prefix('\'').and_then(|rest| rest.split_once('\'')).map(|(entry, _)| entry);
    match entry.filter(|_| field == "http_rewrite") {
        Some(host) => format!("{field}.{host}"),
        None => field.to_owned(),
    }
}

fn check_tools(settings: &Settings, engine: &WasmChannelRuntime) -> Result<(), Failure> {
    let paths = tool_paths(settings);
    // What is wrong with the outbound settings is reported by itself.
    if paths.is_empty() || check_outbound(settings).is_err() {
        return Ok(());
    }
    WasmToolRuntime::on(engine, settings.tool_runtime()?).map_err(Failure::problem)?;
    match paths.iter().find(|path| !path.exists()) {
        Some(path) => Err(Failure::problem(format!(
            "{}tools: {} does not exist: name a directory of tools, or a .wasm file",
            settings.place_of("tools"),
            path.display()
        ))),
        None => Ok(()),
    }
}

/// The channels that a configuration names.
pub struct NamedChannels {
    /// Directories and guests.
    pub paths: Vec<PathBuf>,
    /// Whether the web chat of the program is one.
    pub has_webchat: bool,
    /// Whether there is a web chat, of the program or one that takes its place.
    pub has_any_webchat: bool,
    /// Whether the web chat runs because there is nothing else.
    pub is_fallback: bool,
}

/// The channels that the configuration names, and the web chat when it is wanted.
///
/// # Errors
/// A path cannot be read, or there is nothing to run.
pub fn named_channels(settings: &Settings) -> Result<NamedChannels, Failure> {
    let paths = settings.channel_paths();
    let mut is_empty = settings.accounts().is_empty();
    let mut has_own = false;
    for path in &paths {
        let found = WasmChannelLoader::discover(path)
            .map_err(|error| Failure::problem(format!("{}{error}", settings.channels_place)))?;
        is_empty &= found.channels.is_empty() && found.refused.is_empty();
        has_own |= found.channels.iter().any(|found| found.name.as_str() == WEBCHAT);
    }
    let has_webchat = runs_bundled_webchat(settings, is_empty, has_own);
    if is_empty && !has_webchat {
        return Err(no_channels("there are no channels"));
    }
    let is_fallback = settings.webchat.is_none() && is_empty && !paths.is_empty();
    let has_any_webchat = has_webchat || has_own;
    Ok(NamedChannels { paths, has_webchat, has_any_webchat, is_fallback })
}

/// Whether the web chat of the program runs: when it is wanted, or when there is nothing else. One that is installed, or an account of
/// that name, takes its place.
pub fn runs_bundled_webchat(settings: &Settings, is_empty: bool, has_own: bool) -> bool {
    let has_own = has_own || settings.accounts().keys().any(|name| name.as_str() == WEBCHAT);
    settings.webchat.unwrap_or(is_empty) && !has_own
}

/// Says that there is nothing to run.
pub fn no_channels(why: &str) -> Failure {
    Failure::problem(format!(
        "{why}; `tinclaw check PATH` reports why a channel cannot be loaded, and --webchat runs the web chat"
    ))
}

/// What a host would load that starts now.
#[derive(Default)]
pub struct LoadedChannels {
    /// What it would run, without the web chat of the program.
    pub loaded: Vec<WasmChannel>,
    /// What it would leave out.
    pub refused: Vec<LoadError>,
}

/// Loads what a host would that starts now: every channel that is found, approved, signed as it must be, and not disabled.
pub fn load_channels(settings: &Settings, engine: &WasmChannelRuntime) -> LoadedChannels {
    let loader = settings.looking_loader_on(engine);
    let check = settings.restart_check();
    let mut refused = Vec::new();
    let mut planned: Vec<PlannedChannel> = Vec::new();
    for path in settings.channel_paths() {
        match WasmChannelLoader::discover(&path) {
            Ok(found) => {
                planned.extend(found.channels.into_iter().map(PlannedChannel::found));
                refused.extend(found.refused);
            }
            Err(error) => refused.push(error),
        }
    }
    for (name, guest) in settings.accounts().iter().filter(|(name, _)| !check.is_disabled(name)) {
        match settings.planned(name) {
            Some(account) => planned.push(account),
            None => refused.push(LoadError::no_guest(name, guest)),
        }
    }
    let mut names: BTreeSet<ChannelName> = BTreeSet::new();
    planned.retain(|planned| {
        let is_first = names.insert(planned.name.clone());
        if !is_first {
            refused.push(LoadError::second_of_name(&planned.name, &planned.place()));
        }
        is_first && !check.is_disabled(&planned.name)
    });
    let found = Mutex::new(Vec::new());
    loader.load_each(&planned, &|index, result| {
        found.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(index, _)| *index);
    let mut channels = LoadedChannels { loaded: Vec::new(), refused };
    for (_, result) in found {
        match result {
            Ok(channel) => channels.loaded.push(channel),
            Err(error) => channels.refused.push(error),
        }
    }
    channels
}

/// Whether a host that starts now would have a channel to run.
///
/// # Errors
/// Every channel that there is would be refused, and why.
pub fn check_channels(settings: &Settings, engine: &WasmChannelRuntime) -> Result<(), Failure> {
    if named_channels(settings)?.has_webchat {
        return Ok(());
    }
    let found = load_channels(settings, engine);
    if !found.loaded.is_empty() || found.refused.is_empty() {
        return Ok(());
    }
    let reasons: Vec<String> = found.refused.iter().map(ToString::to_string).collect();
    Err(no_channels(&format!("none of the channels can be loaded: {}", reasons.join("; "))))
}
