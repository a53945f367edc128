//! What is said and asked at the terminal.

use serde_json::Value;

use super::inputs::Given;
use super::needs::{NeededSecret, NeededSetting, Needs};
use super::steps::OperatorStep;
use super::target::SetupTarget;
use crate::cli::output::Failure;
use crate::cli::prompt;
use crate::model::escape::{escaped, escaped_lines};
use crate::net::PublicUrl;
use crate::package::rights_of;

/// Says what is being set up and where its parts are found.
pub fn introduce(target: &SetupTarget) {
    let auth = target.auth();
    let account =
        if target.is_account() { format!(", as the account {}", target.name()) } else { String::new() };
    outln!("{}{account}", escaped(&target.service()));
    if let Some(description) = &target.channel.capabilities_file().description {
        outln!("{}", escaped(description));
    }
    if let Some(instructions) = auth.instructions {
        outln!("\n{}", escaped_lines(&instructions));
    }
    if let Some(url) = auth.setup_url.or(target.setup().setup_url) {
        outln!("  {}", escaped(&url));
    }
}

/// Shows what the channel may do once it is set up, where it is not installed yet.
pub fn show_rights(target: &SetupTarget) {
    if target.is_installed || target.is_account() {
        return;
    }
    outln!("\nthe channel {} gets these rights:", target.name());
    for right in rights_of(target.name(), target.channel.capabilities_file()) {
        outln!("  {}", escaped(&right.to_string()));
    }
}

/// Shows what is to be done at the service.
pub fn show_steps(steps: &[OperatorStep]) {
    for (number, OperatorStep { text, json }) in steps.iter().enumerate() {
        outln!("\n{}. {}", number + 1, escaped_lines(text));
        if let Some(json) = json {
            outln!("\n{}", escaped_lines(&pretty(json)));
        }
    }
}

/// JSON in several lines, to be pasted.
pub fn pretty(json: &Value) -> String {
    serde_json::to_string_pretty(json).unwrap_or_default()
}

/// Asks for the host's public address. None when it is left empty.
///
/// # Errors
/// The terminal is gone, or the person gave up.
pub fn public_url() -> Result<Option<PublicUrl>, Failure> {
    outln!(
        "\nIts service has to reach this host: through a tunnel or a reverse proxy (docs/daemon.md), whose address is asked \
         for here."
    );
    loop {
        let text = line("Public address of this host, such as https://bot.example.org (empty: later)")?;
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse::<PublicUrl>() {
            Ok(url) => return Ok(Some(url)),
            Err(error) => outln!("  {}", escaped(&error.to_string())),
        }
    }
}

/// Asks for what is neither given nor asked for yet. What is stored or set is kept when Enter is pressed, unless it was
/// refused.
///
/// # Errors
/// The terminal is gone, or the person gave up.
pub fn ask(
    target: &SetupTarget,
    needs: &Needs,
    given: &mut Given,
    keeps_stored: bool,
) -> Result<(), Failure> {
    let wanted: Vec<&NeededSecret> =
        needs.secrets.iter().filter(|secret| !given.has_secret(secret)).collect();
    let settings: Vec<&NeededSetting> = needs
        .settings
        .iter()
        .filter(|setting| !given.settings.contains_key(&setting.declared.name))
        .collect();
    if wanted.is_empty() && !keeps_stored {
        return Err(Failure::problem("what was given on the command line is refused; nothing was stored"));
    }
    outln!();
    for secret in wanted {
        ask_secret(target, secret, given, keeps_stored)?;
    }
    for setting in settings {
        ask_setting(target, setting, given)?;
    }
    Ok(())
}

fn ask_secret(
    target: &SetupTarget,
    secret: &NeededSecret,
    given: &mut Given,
    keeps_stored: bool,
) -> Result<(), Failure> {
    let may_keep = secret.is_stored && keeps_stored;
    let mut question =
        question(&secret.declared.prompt, &secret.declared.name, secret.declared.url.as_deref());
    question += if may_keep { " (Enter keeps the stored one)" } else { " (not shown)" };
    loop {
        let value = prompt::secret(&question).map_err(given_up)?;
        if value.expose().trim().is_empty() {
            if may_keep {
                return Ok(());
            }
            outln!("  it is needed; Ctrl-C ends this");
            continue;
        }
        match given.set_asked(target, secret, value) {
            Ok(()) => return Ok(()),
            Err(error) => outln!("  {}", escaped(&error.to_string())),
        }
    }
}

fn ask_setting(target: &SetupTarget, setting: &NeededSetting, given: &mut Given) -> Result<(), Failure> {
    let NeededSetting { declared, value } = setting;
    let mut question = question(&declared.prompt, &declared.name, declared.url.as_deref());
    if !declared.choices.is_empty() {
        question += &format!(" ({})", declared.choices.join(", "));
    }
    let now = value.as_ref().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    if let Some(now) = &now {
        question += &format!(" [{now}]");
    }
    loop {
        let text = line(&question)?;
        if text.is_empty() {
            if now.is_some() {
                return Ok(());
            }
            outln!("  it is needed; Ctrl-C ends this");
            continue;
        }
        match given.set(target, &declared.name, &text) {
            Ok(()) => return Ok(()),
            Err(error) => outln!("  {}", escaped(&error.to_string())),
        }
    }
}

/// Says that the service refuses what it was told.
pub fn refused(target: &SetupTarget, words: &str) {
    outln!("  {} refuses this: {}", escaped(&target.service()), escaped(words));
}

fn question(prompt: &str, name: &str, url: Option<&str>) -> String {
    let prompt = if prompt.is_empty() { name } else { prompt };
    let url = url.map(|url| format!("\n  {url}\n")).unwrap_or_default();
    escaped_lines(&format!("{prompt}{url}"))
}

fn line(question: &str) -> Result<String, Failure> {
    prompt::line(question).map(|text| text.trim().to_owned()).map_err(given_up)
}

fn given_up(error: std::io::Error) -> Failure {
    Failure::problem(format!("the set-up ended, {error}"))
}
