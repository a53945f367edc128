//! What can be written on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 a problem was found or something failed, 2 the command line or the
configuration is wrong.";

/// Runs sandboxed chat channels and gives their messages to an agent.
#[derive(Parser)]
#[command(name = "tinclaw", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Default)]
pub struct Common {
    /// Configuration file; without this, ./tinclaw.toml when there is one
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the host keeps its state; default $XDG_STATE_HOME/tinclaw, else ~/.local/state/tinclaw
    #[arg(long, global = true, value_name = "DIR", env = "TINCLAW_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// What to log, as RUST_LOG says it: `debug`, or `info,echo=debug` for one channel
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run the host: channels, their HTTP server, and an agent that answers
    Run(RunArgs),
    /// Load channels and say what is wrong with them
    Check(CheckArgs),
    /// Run one callback of a channel in the sandbox and show everything it did
    Call(CallArgs),
    /// Show channels and how they fare, or install one that comes with tinclaw
    #[command(subcommand)]
    Channels(ChannelsCommand),
    /// Look at messages for the agent; hand them out again or drop them
    #[command(subcommand)]
    Messages(MessagesCommand),
    /// Look at replies of the agent and dead letters; send them again or drop them
    #[command(subcommand)]
    Replies(RepliesCommand),
    /// Decide which strangers may talk to the agent
    #[command(subcommand)]
    Pairing(PairingCommand),
    /// Set, list and remove secrets; values are never shown
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Ask the running host how everything is
    Health(JsonArgs),
}

const RUN_HELP: &str = "\
With no arguments, the channels of the default directory run, or the web chat when there are
none; the echo agent answers; HTTP is served at 127.0.0.1:8080. Everything can be set in
tinclaw.toml too; the command line wins.

Agents:
  echo           says what it was told
  exec:COMMAND   one program, run by `sh -c`, that reads messages and writes replies as JSON lines;
                 what it writes to standard error goes to the log
  http:URL       POSTs each message as JSON; the answer's body is the reply

Stop with Ctrl-C or SIGTERM; a second one exits at once. Messages without an answer come again
at the next start.";

#[derive(Args, Default)]
#[command(after_help = RUN_HELP)]
pub struct RunArgs {
    /// Address and port to serve HTTP at; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// A directory of channels, or one .wasm file; may be given several times
    #[arg(long, value_name = "PATH")]
    pub channels: Vec<PathBuf>,
    /// Run the web chat too, although there are other channels
    #[arg(long)]
    pub webchat: bool,
    /// Who answers: echo, exec:COMMAND or http:URL [default: echo]
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// This host's address as providers call it, such as https://bot.example.org
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
}

/// Options of commands that only show something.
#[derive(Args, Clone, Copy, Default)]
pub struct JsonArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct CheckArgs {
    /// Directories of channels, or .wasm files
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub output: JsonArgs,
}

const CALL_HELP: &str = "\
CALLBACK is one of on-start, on-http-request, on-poll, on-timer, on-respond, on-status,
on-broadcast, on-shutdown. on-start is run first, so that the guest finds what it keeps there;
--no-start leaves that out. Requests to other servers are really made, see --http-rewrite.

Input is a JSON object; what is left out has the value shown:
  on-http-request  {\"method\": \"POST\", \"path\": first allowed path, \"headers\": {}, \"query\": {},
                    \"body\": text or any JSON (as it is sent), \"body_base64\": instead of body,
                    \"secret_validated\": true}
  on-timer         {\"name\": \"timer\", \"payload\": \"\"}
  on-respond       {\"message_id\": \"1\", \"content\": \"Hello\", \"thread_id\": null, \"metadata\": {},
                    \"attachments\": [{\"filename\", \"mime_type\", \"data\": base64}]}
  on-broadcast     the same and \"user_id\": \"user\"
  on-status        {\"status\": \"thinking\", \"message\": \"\", \"metadata\": {}}
  the others       {}
Each may also have \"workspace\": {PATH: TEXT}, files that are there before the call.";

#[derive(Args)]
#[command(after_help = CALL_HELP)]
pub struct CallArgs {
    /// The channel's guest; its capability file is looked for beside it
    #[arg(value_name = "CHANNEL.wasm")]
    pub channel: PathBuf,
    /// Which callback
    #[arg(value_name = "CALLBACK")]
    pub callback: String,
    /// JSON file with the callback's input; - is standard input
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Settings for the channel, as a JSON object; they override its file's `config`
    #[arg(long = "settings", visible_alias = "channel-config", value_name = "JSON")]
    pub settings: Option<String>,
    /// Send the channel's requests for HOST to another base URL; may be given several times
    #[arg(long, value_name = "HOST=URL")]
    pub http_rewrite: Vec<String>,
    /// Do not run on-start first
    #[arg(long)]
    pub no_start: bool,
    #[command(flatten)]
    pub output: JsonArgs,
}

#[derive(Subcommand)]
pub enum ChannelsCommand {
    /// The channels of the running host and how they fare; without one, what would be loaded
    List(JsonArgs),
    /// Copy a channel that comes with tinclaw into a directory of channels
    Install {
        /// Its name, such as webchat
        name: String,
        /// The directory; else the first configured one, else the default one
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
        /// Replace files that are there already
        #[arg(long)]
        force: bool,
    },
}

/// Which rows of a list.
#[derive(Args, Clone, Default)]
pub struct Rows {
    /// Only of this channel
    #[arg(long, value_name = "NAME")]
    pub channel: Option<String>,
    /// Only those with a smaller id: the last id of one page gives the next
    #[arg(long, value_name = "ID")]
    pub before: Option<u64>,
    /// How many, at most 1000
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum MessageStateArg {
    /// Waits for the agent
    Pending,
    /// Was answered
    Acked,
    /// Was dropped by an operator
    Dropped,
}

#[derive(Subcommand)]
pub enum MessagesCommand {
    /// The newest messages
    List {
        #[command(flatten)]
        rows: Rows,
        /// Only those in this state
        #[arg(long)]
        state: Option<MessageStateArg>,
        #[command(flatten)]
        output: JsonArgs,
    },
    /// One message in full
    Show(OneRow),
    /// Hand a settled message out again: the same message, not a copy
    Replay(OneRow),
    /// Take a waiting message away from the agent
    Drop(OneRow),
}

#[derive(Clone, Copy, ValueEnum)]
pub enum ReplyStateArg {
    /// Waits for its first or next attempt
    Pending,
    /// The upstream has it
    Delivered,
    /// Given up: a dead letter
    Dead,
    /// Was dropped by an operator
    Dropped,
}

#[derive(Subcommand)]
pub enum RepliesCommand {
    /// The newest replies
    List {
        #[command(flatten)]
        rows: Rows,
        /// Only those in this state; `dead` lists the dead letters
        #[arg(long)]
        state: Option<ReplyStateArg>,
        #[command(flatten)]
        output: JsonArgs,
    },
    /// One reply in full
    Show(OneRow),
    /// Try a dead or dropped reply again
    Retry(OneRow),
    /// Give up a reply that waits, or forget a dead one
    Drop(OneRow),
}

#[derive(Args, Clone, Copy)]
pub struct OneRow {
    /// Its id, as `list` shows it
    pub id: u64,
    #[command(flatten)]
    pub output: JsonArgs,
}

#[derive(Subcommand)]
pub enum PairingCommand {
    /// Strangers who wait for approval, and those who were approved
    List(JsonArgs),
    /// Let the stranger who has this code talk to the agent
    Approve {
        /// The channel that they write through
        channel: String,
        /// The code that they show
        code: String,
        /// What to know them as; else their own id
        #[arg(long = "as", value_name = "NAME")]
        identity: Option<String>,
    },
    /// Forget somebody who was approved
    Revoke {
        /// The channel that they write through
        channel: String,
        /// Their id, or the name that they are known as
        id: String,
    },
}

#[derive(Subcommand)]
pub enum SecretsCommand {
    /// Store a secret; the value is typed (and not shown) or comes from standard input
    Set {
        /// The secret's name
        name: String,
        /// Make a random value instead of asking for one
        #[arg(long)]
        generate: bool,
    },
    /// The names of the secrets that are stored, and those that channels miss
    List(JsonArgs),
    /// Remove a secret
    Remove {
        /// The secret's name
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }
}
