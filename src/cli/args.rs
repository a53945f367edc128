//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::{IntErrorKind, ParseIntError};
use std::path::PathBuf;

use crate::net::PublicUrl;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};

use super::reference;

/// Names the state directory when the command line does not.
const STATE_DIR_VARIABLE: &str = "TINCLAW_STATE_DIR";
/// How many rows a list has by default.
const DEFAULT_LIMIT: &str = "50";

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXIT_CODES: &str = "\
Exit codes: 0 success, 1 a problem was found or something failed, 2 the command line or the configuration is \
invalid.";

const RUN_NOTES: &str = "\
Without arguments, the channels of the default directory run, or the web chat when there are none; the echo agent \
replies; HTTP is served at 127.0.0.1:8080. Everything can be set in tinclaw.toml too; the command line takes \
precedence.

Agents:
  echo          replies with the same text
  exec:COMMAND  one program, run by `sh -c`, that reads messages and writes replies as JSON lines; its standard \
error goes to the log
  http:URL      POSTs each message as JSON; the body of the response is the reply
  openai:URL    asks a language model with the chat completions API, such as openai:http://127.0.0.1:11434/v1

SIGINT (Ctrl-C), SIGTERM and SIGHUP stop the host; a second one exits at once. Messages that were not acknowledged are \
redelivered at the next start.";

const CALL_NOTES: &str = "\
CALLBACK is one of on-start, on-http-request, on-poll, on-timer, on-open, on-text, on-close, on-respond, on-status, \
on-broadcast, on-shutdown. \
on-start runs first, so that the guest finds what it stores there; --no-start skips it. Requests to other servers are \
really made, see --http-rewrite.

Input is a JSON object; these are the fields and their defaults:
  on-http-request  {\"method\": \"POST\", \"path\": first allowed path,
                    \"headers\": {}, \"query\": {},
                    \"body\": text or any JSON (sent as it is),
                    \"body_base64\": instead of body, \"secret_validated\": true}
  on-timer         {\"name\": \"timer\", \"payload\": \"\"}
  on-text          {\"text\": \"\"}, a frame of the websocket
  on-close         {\"code\": null, \"reason\": \"\"}
  on-respond       {\"message_id\": \"1\", \"content\": \"Hello\", \"thread_id\": null,
                    \"metadata\": {}, \"attachments\": [{\"filename\", \"mime_type\",
                    \"data\": base64}]}
  on-broadcast     the same and \"user_id\": \"user\"
  on-status        {\"status\": \"thinking\", \"message\": \"\", \"metadata\": {}}
  the others       {}
Each may also have \"workspace\": {PATH: TEXT}, files that exist before the call.";

const SETUP_NOTES: &str = "\
At a terminal it asks for what is missing; what is stored stays when Enter is pressed. Without a terminal, secrets come \
from --secret; the only one that is missing may come from standard input. A secret is never taken from the command \
line.

  tinclaw setup                          the channels that can be set up
  tinclaw setup telegram                 asks for the token, tries it, and starts the channel
  tinclaw setup telegram --name work     a second bot
  tinclaw setup telegram --secret telegram_bot_token=token.txt --set dm_policy=open --json";

/// Runs sandboxed chat channels and gives their messages to an agent
#[derive(Debug, Parser)]
#[command(name = "tinclaw", version = reference::SHORT_VERSION, long_version = reference::LONG_VERSION, styles = STYLES)]
#[command(after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: CliCommand,
}

/// Options of every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Configuration file; by default ./tinclaw.toml, if it exists
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Where the host keeps its state; by default $XDG_STATE_HOME/tinclaw or ~/.local/state/tinclaw
    /// [env: TINCLAW_STATE_DIR]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,
    /// What to log, in the syntax of RUST_LOG: a level (`debug`), or `info,echo=debug` for one channel
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// Log more: debug, with -vv trace
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with_all = ["quiet", "log"])]
    pub verbose: u8,
    /// Log less: warnings and errors, with -qq errors only
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "log")]
    pub quiet: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Run the host: channels, their HTTP server, and an agent that replies
    #[command(after_help = RUN_NOTES)]
    Run(RunArgs),
    /// Load channels and report errors and warnings about them
    Check(CheckArgs),
    /// Run one callback of a channel in the sandbox and show its effects
    #[command(after_help = CALL_NOTES)]
    Call(CallArgs),
    /// Show channels and their status, or install one that comes with tinclaw
    #[command(subcommand)]
    Channels(ChannelsCommand),
    /// Write the source of a new channel, in Rust, into a folder of its name
    New {
        /// The channel's name: a-z, 0-9 and _, beginning with a letter
        name: String,
    },
    /// Show, check, call, install and remove tools for agents
    #[command(subcommand)]
    Tools(ToolsCommand),
    /// Inspect messages for the agent; redeliver or drop them
    #[command(subcommand)]
    Messages(MessagesCommand),
    /// Inspect replies of the agent and dead letters; retry or drop them
    #[command(subcommand)]
    Replies(RepliesCommand),
    /// Decide which unknown senders may talk to the agent
    #[command(subcommand)]
    Pairing(PairingCommand),
    /// Set, list and remove secrets; values are never shown
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Set up a channel: ask for what it needs, try it, store it, and start it
    #[command(after_help = SETUP_NOTES)]
    Setup(SetupArgs),
    /// Show what works and what is missing: of everything, or of one channel
    Status {
        /// The channel
        channel: Option<String>,
        #[command(flatten)]
        output: JsonArgs,
    },
    /// Show the status of the running host
    Health(JsonArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages into a directory
    Man {
        /// The directory, such as ~/.local/share/man/man1; it is made when it does not exist
        #[arg(value_hint = ValueHint::DirPath)]
        directory: PathBuf,
    },
}

/// `tinclaw run`.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// IP address and port to serve HTTP at; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    pub listen: Option<SocketAddr>,
    /// A directory of channels, or one .wasm file; may be repeated
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub channels: Vec<PathBuf>,
    /// Run the web chat too, although there are other channels
    #[arg(long)]
    pub webchat: bool,
    /// The agent that replies: echo, exec:COMMAND, http:URL or openai:URL [default: echo]
    #[arg(long, value_name = "AGENT", allow_hyphen_values = true)]
    pub agent: Option<String>,
    /// This host's address as providers call it, such as https://bot.example.org
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub public_url: Option<PublicUrl>,
}

/// Options of commands that only show something.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct JsonArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `tinclaw check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Directories of channels, or .wasm files
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// Run on-start of each channel too; requests to other servers are really made
    #[arg(long)]
    pub start: bool,
    #[command(flatten)]
    pub output: JsonArgs,
}

/// `tinclaw call`.
#[derive(Args, Debug)]
pub struct CallArgs {
    /// The channel's guest; its capability file is looked for beside it
    #[arg(value_name = "CHANNEL.wasm", value_hint = ValueHint::FilePath)]
    pub channel: PathBuf,
    /// Which callback
    #[arg(value_name = "CALLBACK")]
    pub callback: String,
    /// JSON file with the callback's input; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub input: Option<PathBuf>,
    /// Settings for the channel, as a JSON object; they override its file's `config`
    #[arg(long, value_name = "JSON", alias = "channel-config")]
    pub settings: Option<String>,
    /// Send the channel's requests for HOST to another base URL; may be repeated
    #[arg(long, value_name = "HOST=URL")]
    pub http_rewrite: Vec<String>,
    /// Do not run on-start first
    #[arg(long)]
    pub no_start: bool,
    #[command(flatten)]
    pub output: JsonArgs,
}

/// `tinclaw setup`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = true)]
pub struct SetupArgs {
    #[command(subcommand)]
    pub command: Option<SetupCommand>,
    #[command(flatten)]
    pub channel: SetupChannelArgs,
}

/// `tinclaw setup CHANNEL`.
#[derive(Args, Debug, Default)]
pub struct SetupChannelArgs {
    /// The channel; without one, those that can be set up are listed
    #[arg(value_name = "CHANNEL")]
    pub channel: Option<String>,
    /// The name of another account of the channel, with settings, secrets and conversations of its own
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// A secret from a file, or with `-` from standard input; may be repeated
    #[arg(long, value_name = "NAME=FILE")]
    pub secret: Vec<String>,
    /// A setting of the channel; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The host's address as providers call it, such as https://bot.example.org
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub public_url: Option<PublicUrl>,
    /// Ask the service nothing
    #[arg(long)]
    pub no_check: bool,
    /// Ask no questions, and print JSON
    #[arg(long)]
    pub json: bool,
}

/// What else can be set up.
#[derive(Debug, Subcommand)]
pub enum SetupCommand {
    /// List the models of a language model's server and ask one of them a question
    Agent {
        /// openai:URL; by default the agent of the configuration
        #[arg(value_name = "AGENT")]
        agent: Option<String>,
        /// The model to ask; by default that of the configuration, or the only one
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
    },
}

/// `tinclaw channels`.
#[derive(Debug, Subcommand)]
pub enum ChannelsCommand {
    /// The channels of the running host and their status; without a host, what would be loaded
    List(JsonArgs),
    /// Copy a channel that comes with tinclaw into a directory of channels
    Install {
        /// Its name, such as webchat
        name: String,
        /// The directory; by default the first configured one, then the default one
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        to: Option<PathBuf>,
        /// Replace existing files
        #[arg(long)]
        force: bool,
    },
}

/// `tinclaw tools`.
#[derive(Debug, Subcommand)]
pub enum ToolsCommand {
    /// The tools of the configured directories
    List(JsonArgs),
    /// Load tools and report what they are, what they may do and what is wrong with them
    Check {
        /// Directories of tools, or .wasm files
        #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        output: JsonArgs,
    },
    /// Call a tool in the sandbox and print what it returns; requests to other servers are really made
    Call(ToolCallArgs),
    /// Copy a tool and its capability file into a directory of tools
    Install {
        /// The tool; its capability file is looked for beside it
        #[arg(value_name = "TOOL.wasm", value_hint = ValueHint::FilePath)]
        wasm: PathBuf,
        /// The directory; by default the first configured one, then the default one
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        to: Option<PathBuf>,
        /// Replace existing files
        #[arg(long)]
        force: bool,
    },
    /// Remove a tool from a directory of tools
    Remove {
        /// Its name
        name: String,
        /// The directory; by default the first configured one, then the default one
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        from: Option<PathBuf>,
    },
}

/// `tinclaw tools call`.
#[derive(Args, Debug)]
pub struct ToolCallArgs {
    /// The name of a configured tool, or a .wasm file
    #[arg(value_name = "TOOL", value_hint = ValueHint::FilePath)]
    pub tool: String,
    /// The parameters as a JSON object; - is standard input
    #[arg(value_name = "PARAMS", default_value = "{}")]
    pub params: String,
    /// What the call is for, as a JSON object: conversation, channel, user
    #[arg(long, value_name = "JSON")]
    pub context: Option<String>,
    /// The directory that the tool may read, as far as its capability file allows
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub files: Option<PathBuf>,
    /// Send the tool's requests for HOST to another base URL; may be repeated
    #[arg(long, value_name = "HOST=URL")]
    pub http_rewrite: Vec<String>,
    #[command(flatten)]
    pub output: JsonArgs,
}

/// The state of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MessageStateName {
    /// Waits for the agent or is in flight
    Pending,
    /// Was acknowledged by the agent
    Acked,
    /// Was dropped by an operator
    Dropped,
    /// Failed too often: a dead letter
    Dead,
}

/// The state of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplyStateName {
    /// Waits for its first or next attempt
    Pending,
    /// Was accepted by the upstream server
    Delivered,
    /// Failed for good: a dead letter
    Dead,
    /// Was dropped by an operator
    Dropped,
}

/// Which rows of a list.
#[derive(Args, Clone, Debug)]
pub struct Rows<S: ValueEnum + Send + Sync + 'static> {
    /// Only of this channel
    #[arg(long, value_name = "NAME")]
    pub channel: Option<String>,
    /// Only in this state
    #[arg(long, value_name = "STATE")]
    pub state: Option<S>,
    /// Only with a smaller id: the last id of one page gives the next
    #[arg(long, value_name = "ID", value_parser = whole_number)]
    pub before: Option<u64>,
    /// How many, at most 1000
    #[arg(long, value_name = "N", default_value = DEFAULT_LIMIT, value_parser = page_size)]
    pub limit: usize,
}

/// `tinclaw messages`.
#[derive(Debug, Subcommand)]
pub enum MessagesCommand {
    /// The newest messages
    List {
        #[command(flatten)]
        rows: Rows<MessageStateName>,
        #[command(flatten)]
        output: JsonArgs,
    },
    /// One message in full
    Show(OneRow),
    /// Redeliver a completed message: the same message, not a copy
    Replay(OneRow),
    /// Drop a pending message; the agent does not get it
    Drop(OneRow),
}

/// `tinclaw replies`.
#[derive(Debug, Subcommand)]
pub enum RepliesCommand {
    /// The newest replies
    List {
        #[command(flatten)]
        rows: Rows<ReplyStateName>,
        #[command(flatten)]
        output: JsonArgs,
    },
    /// One reply in full
    Show(OneRow),
    /// Retry a dead or dropped reply
    Retry(OneRow),
    /// Drop a pending or dead reply
    Drop(OneRow),
}

/// One row of a list.
#[derive(Args, Clone, Copy, Debug)]
pub struct OneRow {
    /// Its id, as `list` shows it
    #[arg(value_name = "ID", value_parser = whole_number)]
    pub id: u64,
    #[command(flatten)]
    pub output: JsonArgs,
}

/// `tinclaw pairing`.
#[derive(Debug, Subcommand)]
pub enum PairingCommand {
    /// Senders that wait for approval, and approved ones
    List(JsonArgs),
    /// Let the sender with this code talk to the agent
    Approve {
        /// The channel that they write through
        channel: String,
        /// The code that they were shown
        code: String,
        /// The identity that the agent knows them by; by default their own id
        #[arg(long = "as", value_name = "NAME")]
        identity: Option<String>,
    },
    /// Withdraw an approval
    Revoke {
        /// The channel that they write through
        channel: String,
        /// Their id or identity
        id: String,
    },
}

/// `tinclaw secrets`.
#[derive(Debug, Subcommand)]
pub enum SecretsCommand {
    /// Store a secret; the value is typed without echo or read from standard input
    Set {
        /// The secret's name
        name: String,
        /// Store a random value instead
        #[arg(long)]
        generate: bool,
    },
    /// Show a secret that was generated, to be entered at the provider; asks before, and only at a terminal
    Show {
        /// The secret's name
        name: String,
    },
    /// The names of stored secrets, and of missing ones
    List(JsonArgs),
    /// Remove a secret
    Remove {
        /// The secret's name
        name: String,
    },
}

impl Arguments {
    /// Reads the command line of this process.
    pub fn from_environment() -> Result<Self, clap::Error> {
        let mut arguments = Self::try_parse()?;
        arguments.common.state_dir_from(std::env::var_os(STATE_DIR_VARIABLE));
        Ok(arguments)
    }
}

impl Common {
    /// Takes the state directory from the environment when the command line names none. An empty variable names none.
    fn state_dir_from(&mut self, variable: Option<OsString>) {
        let named = || variable.filter(|dir| !dir.is_empty()).map(PathBuf::from);
        self.state_dir = self.state_dir.take().or_else(named);
    }
}

fn whole_number(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|error: ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => "it is too large",
        _ => "expected a whole number",
    })
}

/// As many rows as the control socket returns at most.
fn page_size(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(rows @ 1..=1000) => Ok(rows),
        _ => Err("expected 1 to 1000"),
    }
}

fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8080")
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
