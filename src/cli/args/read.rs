//! From what was given to types: a function for each command of the table.

use std::path::PathBuf;

use super::given::Given;
use super::parse::Environment;
use super::types::{
    CallArgs, ChannelsCommand, CheckArgs, Command, Common, JsonArgs, MessagesCommand, OneRow, PairingCommand,
    RepliesCommand, Rows, RunArgs, SecretsCommand,
};
use super::value::Value;

/// Names the state directory when the command line does not.
const STATE_DIR_VARIABLE: &str = "TINCLAW_STATE_DIR";
/// How many rows a list has when nobody says.
const DEFAULT_LIMIT: usize = 50;

/// A command, or what is wrong with a value that was given for it.
type Read = Result<Command, String>;

/// The options of every command.
pub fn common(given: &Given, environment: Environment<'_>) -> Result<Common, String> {
    let variable = || environment(STATE_DIR_VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    Ok(Common {
        config: given.one("config", Value::path)?,
        state_dir: given.one("state-dir", Value::path)?.or_else(variable),
        log: given.one("log", Value::text)?,
    })
}

pub fn run(given: &Given) -> Read {
    Ok(Command::Run(RunArgs {
        listen: given.one("listen", Value::address)?,
        channels: given.every("channels", Value::path)?,
        webchat: given.switch("webchat"),
        agent: given.one("agent", Value::text)?,
        public_url: given.one("public-url", Value::text)?,
    }))
}

pub fn check(given: &Given) -> Read {
    Ok(Command::Check(CheckArgs { paths: given.every("PATH", Value::path)?, output: json(given) }))
}

pub fn call(given: &Given) -> Read {
    Ok(Command::Call(CallArgs {
        channel: given.argument("CHANNEL.wasm", Value::path)?,
        callback: given.argument("CALLBACK", Value::text)?,
        input: given.one("input", Value::path)?,
        settings: given.one("settings", Value::text)?,
        http_rewrite: given.every("http-rewrite", Value::text)?,
        no_start: given.switch("no-start"),
        output: json(given),
    }))
}

pub fn channels_list(given: &Given) -> Read {
    Ok(Command::Channels(ChannelsCommand::List(json(given))))
}

pub fn channels_install(given: &Given) -> Read {
    Ok(Command::Channels(ChannelsCommand::Install {
        name: given.argument("NAME", Value::text)?,
        to: given.one("to", Value::path)?,
        force: given.switch("force"),
    }))
}

pub fn messages_list(given: &Given) -> Read {
    Ok(Command::Messages(MessagesCommand::List { rows: rows(given)?, output: json(given) }))
}

pub fn messages_show(given: &Given) -> Read {
    Ok(Command::Messages(MessagesCommand::Show(one_row(given)?)))
}

pub fn messages_replay(given: &Given) -> Read {
    Ok(Command::Messages(MessagesCommand::Replay(one_row(given)?)))
}

pub fn messages_drop(given: &Given) -> Read {
    Ok(Command::Messages(MessagesCommand::Drop(one_row(given)?)))
}

pub fn replies_list(given: &Given) -> Read {
    Ok(Command::Replies(RepliesCommand::List { rows: rows(given)?, output: json(given) }))
}

pub fn replies_show(given: &Given) -> Read {
    Ok(Command::Replies(RepliesCommand::Show(one_row(given)?)))
}

pub fn replies_retry(given: &Given) -> Read {
    Ok(Command::Replies(RepliesCommand::Retry(one_row(given)?)))
}

pub fn replies_drop(given: &Given) -> Read {
    Ok(Command::Replies(RepliesCommand::Drop(one_row(given)?)))
}

pub fn pairing_list(given: &Given) -> Read {
    Ok(Command::Pairing(PairingCommand::List(json(given))))
}

pub fn pairing_approve(given: &Given) -> Read {
    Ok(Command::Pairing(PairingCommand::Approve {
        channel: given.argument("CHANNEL", Value::text)?,
        code: given.argument("CODE", Value::text)?,
        identity: given.one("as", Value::text)?,
    }))
}

pub fn pairing_revoke(given: &Given) -> Read {
    Ok(Command::Pairing(PairingCommand::Revoke {
        channel: given.argument("CHANNEL", Value::text)?,
        id: given.argument("ID", Value::text)?,
    }))
}

pub fn secrets_set(given: &Given) -> Read {
    Ok(Command::Secrets(SecretsCommand::Set {
        name: given.argument("NAME", Value::text)?,
        generate: given.switch("generate"),
    }))
}

pub fn secrets_list(given: &Given) -> Read {
    Ok(Command::Secrets(SecretsCommand::List(json(given))))
}

pub fn secrets_remove(given: &Given) -> Read {
    Ok(Command::Secrets(SecretsCommand::Remove { name: given.argument("NAME", Value::text)? }))
}

pub fn health(given: &Given) -> Read {
    Ok(Command::Health(json(given)))
}

fn json(given: &Given) -> JsonArgs {
    JsonArgs { json: given.switch("json") }
}

fn rows(given: &Given) -> Result<Rows, String> {
    let limit = given.one("limit", Value::number)?;
    Ok(Rows {
        channel: given.one("channel", Value::text)?,
        state: given.one("state", Value::choice)?,
        before: given.one("before", Value::number)?,
        limit: limit.map_or(DEFAULT_LIMIT, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
    })
}

fn one_row(given: &Given) -> Result<OneRow, String> {
    Ok(OneRow { id: given.argument("ID", Value::number)?, output: json(given) })
}
