//! The command line.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::num::{IntErrorKind, ParseIntError};
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::builder::{NonEmptyStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, Args, Command, Error, Parser, Subcommand, ValueEnum, ValueHint};

use super::logging::LogFormat;
use super::reference;
use crate::admin::AdminAddress;
use crate::channel::bundled_channel_names;
use crate::event::callback::CallbackKind;
use crate::net::PublicUrl;

/// Names the state directory when the command line does not.
const STATE_DIR_VARIABLE: &str = "TINCLAW_STATE_DIR";
/// Names the host that is asked when the command line does not.
pub const HOST_VARIABLE: &str = "TINCLAW_HOST";
/// How many rows a list has by default.
const DEFAULT_LIMIT: &str = "50";

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXIT_CODES: &str = "\
To begin: `tinclaw run` serves a web chat at http://127.0.0.1:8080/chat, `tinclaw setup` lists the channels and sets one up, \
`tinclaw status` shows what works and what is missing.

Exit codes: 0 success, 1 a problem was found or something failed, 2 the command line or the configuration is \
invalid.";

const RUN_NOTES: &str = "\
Without arguments, the channels of the default directory run, or the web chat when there are none; the echo agent \
replies; HTTP is served at 127.0.0.1:8080. Everything can be set in tinclaw.toml too; the command line takes \
precedence.

Agents:
  echo          replies with the same text
  exec:COMMAND  one program, run by `sh -c`, that reads
                messages and writes replies as JSON lines;
                its standard error goes to the log
  http:URL      POSTs each message as JSON; the body of
                the response is the reply
  openai:URL    asks a language model with the chat
                completions API, such as
                openai:http://127.0.0.1:11434/v1

SIGINT (Ctrl-C) and SIGTERM stop the host; a second one exits at once. Messages that were not acknowledged are \
redelivered at the next start. SIGHUP reads the configuration again, as `tinclaw reload` does; at a terminal, which sends it \
when it closes, it stops the host.";

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

const INSTALL_NOTES: &str = "\
What the channel may do is shown, and it runs when that is approved: at the terminal, with --yes, or later with \
`tinclaw approve`. A version that asks for the same or less needs no approval.

  tinclaw install telegram
  tinclaw install ./irc.wasm
  tinclaw install https://example.org/irc-1.0.tar.gz --sha256 DIGEST

Addresses need --sha256, or a signature with a key of [trust] keys.";

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
    /// Configuration file; by default ./tinclaw.toml, else ~/.config/tinclaw/tinclaw.toml, where they exist
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Where the host keeps its state; by default $XDG_STATE_HOME/tinclaw or ~/.local/state/tinclaw
    /// [env: TINCLAW_STATE_DIR]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,
    /// The running host that is asked: its state directory, its socket, or http://ADDRESS:PORT; by default the one that
    /// has the state directory [env: TINCLAW_HOST]
    #[arg(long, global = true, value_name = "HOST", value_hint = ValueHint::AnyPath)]
    pub host: Option<String>,
    /// What to log, in the syntax of RUST_LOG: a level (`debug`), or `info,echo=debug` for one channel
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// Log more: debug, with -vv trace
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with_all = ["quiet", "log"])]
    pub verbose: u8,
    /// Log less: warnings and errors, with -qq errors only, with -qqq nothing
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "log")]
    pub quiet: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Run the host: channels, their HTTP server, and an agent that replies
    #[command(after_help = RUN_NOTES)]
    Run(RunArgs),
    /// Set up a channel: ask for what it needs, try it, store it, and start it
    #[command(after_help = SETUP_NOTES)]
    Setup(SetupArgs),
    /// Show what works and what is missing: of everything, or of one channel
    Status {
        /// The channel
        channel: Option<String>,
        /// Show it again whenever something changes, until interrupted
        #[arg(long, conflicts_with_all = ["channel", "json"])]
        watch: bool,
        #[command(flatten)]
        output: JsonArgs,
    },
    /// Show the status of the running host
    Health(JsonArgs),
    /// Find what does not work: clock, disk, permissions, DNS, servers, public address, channels, secrets, store
    Doctor(JsonArgs),
    /// Install a channel: a name of one that comes with tinclaw, a file, a directory, or https:// addresses
    #[command(after_help = INSTALL_NOTES)]
    Install(InstallArgs),
    /// Replace a channel by another version, without a gap while the host runs
    Upgrade(UpgradeArgs),
    /// Show what a channel asks for and has not been approved, and approve it
    Approve(ApproveArgs),
    /// Run a disabled channel again
    Enable(ChannelArgs),
    /// Take a channel out of the running host and leave it out, also after a restart
    Disable(ChannelArgs),
    /// Take a channel out of the running host, and remove its files
    Remove(ChannelArgs),
    /// Have the running host read the configuration again, or load one channel again
    Reload(ReloadArgs),
    /// Show channels and their status, or install one that comes with tinclaw
    #[command(subcommand)]
    Channels(ChannelsCommand),
    /// Check the configuration, or show every value and where it comes from
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Set, list and remove secrets; no value is shown but those that were generated
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Decide which unknown senders may talk to the agent
    #[command(subcommand)]
    Pairing(PairingCommand),
    /// Inspect messages for the agent; redeliver or drop them
    #[command(subcommand)]
    Messages(MessagesCommand),
    /// Inspect replies of the agent and dead letters; retry or drop them
    #[command(subcommand)]
    Replies(RepliesCommand),
    /// Show what became of a message: each step, each attempt, its replies
    Trace(TraceArgs),
    /// Show, check, call, install and remove tools for agents
    #[command(subcommand)]
    Tools(ToolsCommand),
    /// Write the source of a new channel, in Rust, into a folder of its name
    New {
        /// The channel's name: a-z, 0-9 and _, beginning with a letter
        name: String,
        #[command(flatten)]
        output: JsonArgs,
    },
    /// Load channels and report errors and warnings about them
    Check(CheckArgs),
    /// Run one callback of a channel in the sandbox and show its effects
    #[command(after_help = CALL_NOTES)]
    Call(CallArgs),
    /// Record the callbacks of a channel of the running host, for `tinclaw replay`
    Record(RecordArgs),
    /// Run the callbacks of a recording again, without the network, and show what another build of the channel does otherwise
    Replay(ReplayArgs),
    /// Explain what would become of a channel's request to another server
    #[command(subcommand)]
    Egress(EgressCommand),
    /// Explain why a webhook request is authentic or not, without sending it
    VerifyWebhook(VerifyWebhookArgs),
    /// Sign a channel in the format of minisign, or make a key pair
    Sign(SignArgs),
    /// Verify the signature of a channel
    Verify(VerifyArgs),
    /// Show the hosts that share a database, and who has which channel
    #[cfg(feature = "cluster")]
    Hosts(JsonArgs),
    /// Have the running host hand its channels over to the others
    #[cfg(feature = "cluster")]
    Drain(DrainArgs),
    /// Write the files by which systemd runs the host, or remove them
    #[command(subcommand)]
    Service(ServiceCommand),
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

/// `tinclaw run`. An option that is not given is that of the configuration, so its default is not clap's, and is written out in the
/// help.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// IP address and port to serve HTTP at; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    pub listen: Option<SocketAddr>,
    /// Serve the admin API, metrics and page here too, such as 127.0.0.1:9191 or unix:/PATH
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<AdminAddress>,
    /// A directory of channels, or one .wasm file; may be repeated
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub channels: Vec<PathBuf>,
    /// Run the web chat too, although there are other channels
    #[arg(long)]
    pub webchat: bool,
    /// The agent that replies: echo, exec:COMMAND, http:URL or openai:URL [default: echo]
    #[arg(long, value_name = "AGENT", allow_hyphen_values = true)]
    pub agent: Option<String>,
    /// Take socket and state from the host that runs, when it has served what has connected
    #[arg(long)]
    pub takeover: bool,
    /// This host's address as providers call it, such as https://bot.example.org
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub public_url: Option<PublicUrl>,
    /// How the log is written [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Write the log to a file instead of standard error
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub log_file: Option<PathBuf>,
    /// Megabytes of a log file; then a new one is begun [default: 10]
    #[arg(long, value_name = "MB", value_parser = number_within::<u32, 1, 1_024>)]
    pub log_file_max_mb: Option<u32>,
    /// Log files that are kept, with the present one [default: 5]
    #[arg(long, value_name = "COUNT", value_parser = number_within::<u32, 1, 100>)]
    pub log_files: Option<u32>,
}

/// `tinclaw config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read the configuration and load its channels as `tinclaw run` would, and report errors and warnings
    Check {
        /// The file; by default the one that `tinclaw run` reads
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        #[command(flatten)]
        output: JsonArgs,
    },
    /// Show every value and where it comes from: the command line, a variable of the environment, the file, or the defaults
    Show(JsonArgs),
}

/// `tinclaw install`.
#[derive(Args, Debug)]
pub struct InstallArgs {
    /// A name, NAME.wasm, a directory, NAME.tar.gz, an https:// address of one, or those of NAME.wasm and its capability file
    #[arg(value_name = "SOURCE", required = true, num_args = 1..=2, value_hint = ValueHint::AnyPath)]
    pub source: Vec<String>,
    /// The SHA-256 of each source, in their order
    #[arg(long, value_name = "DIGEST")]
    pub sha256: Vec<String>,
    /// Approve what the channel asks for
    #[arg(long)]
    pub yes: bool,
    /// Ask no questions, and print JSON
    #[arg(long)]
    pub json: bool,
}

/// `tinclaw upgrade`.
#[derive(Args, Debug)]
pub struct UpgradeArgs {
    /// The channel
    #[arg(value_name = "CHANNEL")]
    pub channel: String,
    /// Where its other version is; by default where it came from
    #[arg(value_name = "SOURCE", num_args = 0..=2, value_hint = ValueHint::AnyPath)]
    pub source: Vec<String>,
    /// The SHA-256 of each source, in their order
    #[arg(long, value_name = "DIGEST")]
    pub sha256: Vec<String>,
    /// Approve what the channel asks for
    #[arg(long)]
    pub yes: bool,
    /// Ask no questions, and print JSON
    #[arg(long)]
    pub json: bool,
}

/// `tinclaw approve`.
#[derive(Args, Debug)]
pub struct ApproveArgs {
    /// The channel
    #[arg(value_name = "CHANNEL")]
    pub channel: String,
    /// Approve it without a question
    #[arg(long)]
    pub yes: bool,
    /// Only show what it asks for
    #[arg(long, conflicts_with = "yes")]
    pub show: bool,
    /// Discard the package that waits; what is installed stays
    #[arg(long, conflicts_with_all = ["yes", "show"])]
    pub reject: bool,
    /// Ask no questions, and print JSON
    #[arg(long)]
    pub json: bool,
}

/// A command about one channel.
#[derive(Args, Debug)]
pub struct ChannelArgs {
    /// The channel
    #[arg(value_name = "CHANNEL")]
    pub channel: String,
    #[command(flatten)]
    pub output: JsonArgs,
}

/// `tinclaw reload`.
#[derive(Args, Debug)]
pub struct ReloadArgs {
    /// The channel that is loaded again; without one, the configuration is read
    #[arg(value_name = "CHANNEL")]
    pub channel: Option<String>,
    #[command(flatten)]
    pub output: JsonArgs,
}

/// `tinclaw drain`.
#[cfg(feature = "cluster")]
#[derive(Args, Debug)]
pub struct DrainArgs {
    /// Have it take its share of the channels again
    #[arg(long)]
    pub undo: bool,
    #[command(flatten)]
    pub output: JsonArgs,
}

/// `tinclaw sign`.
#[derive(Args, Debug)]
pub struct SignArgs {
    /// The channel's guest; its capability file is looked for beside it
    #[arg(value_name = "CHANNEL.wasm", value_hint = ValueHint::FilePath)]
    pub channel: Option<PathBuf>,
    /// The file with the secret key, as `minisign -G` or --new-key makes it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key: PathBuf,
    /// A file with the password of the secret key; without one it is asked for at the terminal
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub password_file: Option<PathBuf>,
    /// Make a key pair, into the file of --key and one beside it that ends in .pub
    #[arg(long, conflicts_with = "channel")]
    pub new_key: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `tinclaw verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The channel's guest; its other files are looked for beside it
    #[arg(value_name = "CHANNEL.wasm", value_hint = ValueHint::FilePath)]
    pub channel: PathBuf,
    /// A public key; by default those of [trust] keys; may be repeated
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,
    #[command(flatten)]
    pub output: JsonArgs,
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
    /// Which callback; with --replay it is that of the recording
    #[arg(value_name = "CALLBACK", required_unless_present = "replay", value_parser = callback_names())]
    pub callback: Option<String>,
    /// Run a callback of a recording again, with its times and random values, without the network
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["callback", "input"])]
    pub replay: Option<PathBuf>,
    /// Which callback of the recording, counted from 1
    #[arg(long, value_name = "NUMBER", requires = "replay", default_value_t = 1)]
    pub number: usize,
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
    #[arg(value_name = "CHANNEL", value_parser = Suggested(bundled_channel_names), hide_possible_values = true)]
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
    /// Do not ask the service whether it accepts what was given
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
        #[command(flatten)]
        output: JsonArgs,
    },
}

/// `tinclaw service`.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Write unit, socket and user of the service, and say what to run
    Install(ServiceInstallArgs),
    /// Remove unit, socket and user of the service
    Uninstall {
        /// Where the system's files are
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "/")]
        root: PathBuf,
        #[command(flatten)]
        output: JsonArgs,
    },
}

/// `tinclaw service install`.
#[derive(Args, Debug)]
pub struct ServiceInstallArgs {
    /// The program that the service runs; by default this one
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub program: Option<PathBuf>,
    /// The configuration that it reads; made when it does not exist
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, default_value = "/etc/tinclaw/tinclaw.toml")]
    pub service_config: PathBuf,
    /// Where the system's files are
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "/")]
    pub root: PathBuf,
    #[command(flatten)]
    pub output: JsonArgs,
}

/// `tinclaw trace`.
#[derive(Args, Debug)]
pub struct TraceArgs {
    /// The id of a message or of a reply, or what the service calls the message or the delivery
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub id: String,
    /// What the id is; by default the first of these that is known
    #[arg(long, value_name = "KIND")]
    pub kind: Option<TraceIdKind>,
    #[command(flatten)]
    pub output: JsonArgs,
}

/// What an id is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TraceIdKind {
    /// A message for the agent
    Message,
    /// A reply of the agent
    Reply,
    /// What the service calls a message or a delivery
    Provider,
}

/// `tinclaw record`.
#[derive(Args, Debug)]
pub struct RecordArgs {
    /// The channel
    #[arg(value_name = "CHANNEL")]
    pub channel: String,
    /// End after so many callbacks, at most 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = number_within::<u16, 1, 1_000>)]
    pub callbacks: u16,
    /// End after so many seconds, at most 3600
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = number_within::<u64, 1, 3_600>)]
    pub seconds: u64,
    /// Where to; by default CHANNEL.jsonl
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Replace the file when it exists
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub format: JsonArgs,
}

/// `tinclaw replay`.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// The channel's guest; its capability file is looked for beside it
    #[arg(value_name = "CHANNEL.wasm", value_hint = ValueHint::FilePath)]
    pub channel: PathBuf,
    /// What `tinclaw record` has written
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub recording: PathBuf,
    /// Show only what differs: messages, responses, files, timers and requests to other servers
    #[arg(long)]
    pub diff: bool,
    #[command(flatten)]
    pub output: JsonArgs,
}

/// `tinclaw egress`.
#[derive(Debug, Subcommand)]
pub enum EgressCommand {
    /// Show each check of a request with its result; nothing is sent, but the name is resolved
    Explain {
        /// The channel
        channel: String,
        /// The method, such as POST
        method: String,
        /// The URL as the guest writes it, with placeholders of secrets
        url: String,
        #[command(flatten)]
        output: JsonArgs,
    },
}

/// `tinclaw verify-webhook`.
#[derive(Args, Debug)]
pub struct VerifyWebhookArgs {
    /// The channel
    pub channel: String,
    /// A file with the HTTP request as it was sent: request line, header fields, an empty line, body; - is standard input
    #[arg(long, value_name = "REQUEST", value_hint = ValueHint::FilePath)]
    pub input: PathBuf,
    /// Decide as if it were this time: RFC 3339, or seconds of Unix time
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    #[command(flatten)]
    pub output: JsonArgs,
}

/// `tinclaw channels`.
#[derive(Debug, Subcommand)]
pub enum ChannelsCommand {
    /// List the channels of the running host and their status; without a host, what would be loaded
    List(JsonArgs),
    /// Install a channel that comes with tinclaw, as `tinclaw install` does, or with `--to` copy it into another directory
    Install {
        /// Its name, such as webchat
        #[arg(value_name = "NAME", value_parser = Suggested(bundled_channel_names), hide_possible_values = true)]
        name: String,
        /// Only copy its files, into this directory
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        to: Option<PathBuf>,
        /// Replace existing files
        #[arg(long)]
        force: bool,
        /// Approve what the channel asks for
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        output: JsonArgs,
    },
}

/// `tinclaw tools`.
#[derive(Debug, Subcommand)]
pub enum ToolsCommand {
    /// List the tools of the configured directories
    List(JsonArgs),
    /// Load tools and report what they are, what they may do and what is wrong with them
    Check {
        /// Directories of tools, .wasm files, or names of installed tools
        #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        output: JsonArgs,
    },
    /// Call a tool in the sandbox and print what it returns; requests to other servers are really made
    Call(ToolCallArgs),
    /// Copy a tool and its capability file into a directory of tools
    Install {
        /// A .wasm file, whose capability file is looked for beside it; or fetch, home-assistant or notes, which come with the
        /// program
        #[arg(value_name = "TOOL", value_hint = ValueHint::FilePath)]
        tool: PathBuf,
        /// The directory; by default the first configured one, then the default one
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        to: Option<PathBuf>,
        /// Replace existing files
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        output: JsonArgs,
    },
    /// Remove a tool from a directory of tools
    Remove {
        /// Its name
        name: String,
        /// The directory; by default the first configured one, then the default one
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        from: Option<PathBuf>,
        #[command(flatten)]
        output: JsonArgs,
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
    #[value(alias = "completed", alias = "acknowledged")]
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
    #[arg(long, value_name = "N", default_value = DEFAULT_LIMIT, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
}

/// `tinclaw messages`.
#[derive(Debug, Subcommand)]
pub enum MessagesCommand {
    /// List the newest messages
    List {
        #[command(flatten)]
        rows: Rows<MessageStateName>,
        #[command(flatten)]
        output: JsonArgs,
    },
    /// Show one message in full
    Show(OneRow),
    /// Redeliver a completed message or a dead letter: the same message, not a copy
    Redeliver(OneRow),
    /// What `redeliver` was called
    #[command(hide = true)]
    Replay(OneRow),
    /// Drop a pending message or a dead letter; the agent does not get it
    Drop(OneRow),
}

/// `tinclaw replies`.
#[derive(Debug, Subcommand)]
pub enum RepliesCommand {
    /// List the newest replies
    List {
        #[command(flatten)]
        rows: Rows<ReplyStateName>,
        #[command(flatten)]
        output: JsonArgs,
    },
    /// Show one reply in full
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
    /// List senders that wait for approval, and approved ones
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
        #[command(flatten)]
        output: JsonArgs,
    },
    /// Withdraw an approval
    Revoke {
        /// The channel that they write through
        channel: String,
        /// Their id or identity
        id: String,
        #[command(flatten)]
        output: JsonArgs,
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
        #[command(flatten)]
        output: JsonArgs,
    },
    /// Show a secret that was generated, to be entered at the provider; asks before, and only at a terminal
    Show {
        /// The secret's name
        name: String,
    },
    /// List the names of stored secrets, and of missing ones
    List(JsonArgs),
    /// Remove a secret
    Remove {
        /// The secret's name
        name: String,
        #[command(flatten)]
        output: JsonArgs,
    },
}

impl Arguments {
    /// Reads the command line of this process. Variables are read here, not by clap: an empty one names nothing, which clap
    /// would refuse, and `config show` tells a variable from an option.
    pub fn from_environment() -> Result<Self, clap::Error> {
        let mut arguments = Self::try_parse()?;
        arguments.common.state_dir_from(std::env::var_os(STATE_DIR_VARIABLE));
        let host = || std::env::var(HOST_VARIABLE).ok().filter(|host| !host.is_empty());
        arguments.common.host = arguments.common.host.take().or_else(host);
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

/// Names of callbacks; `on-` may be left out.
fn callback_names() -> PossibleValuesParser {
    PossibleValuesParser::new(
        CallbackKind::ALL.map(|kind| PossibleValue::new(kind.name()).alias(&kind.name()[3..])),
    )
}

/// Any text; shells complete it to one of these.
#[derive(Clone)]
struct Suggested(fn() -> Vec<&'static str>);

impl TypedValueParser for Suggested {
    type Value = String;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<String, Error> {
        NonEmptyStringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0().into_iter().map(PossibleValue::new)))
    }
}

/// A whole number between two others, which are named when it is not.
fn number_within<T: TryFrom<u64>, const MIN: u64, const MAX: u64>(text: &str) -> Result<T, String> {
    let number = text.parse::<u64>().ok().filter(|number| (MIN..=MAX).contains(number));
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("expected a whole number from {MIN} to {MAX}"))
}

fn whole_number(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|error: ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => "it is too large",
        _ => "expected a whole number",
    })
}

fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8080")
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
