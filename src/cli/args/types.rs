//! What a command line can say.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A whole command line.
#[derive(Debug)]
pub struct Arguments {
    pub common: Common,
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// Where the host keeps its state.
    pub state_dir: Option<PathBuf>,
    /// What to log.
    pub log: Option<String>,
}

/// What to do.
#[derive(Debug)]
pub enum Command {
    Run(RunArgs),
    Check(CheckArgs),
    Call(CallArgs),
    Channels(ChannelsCommand),
    Messages(MessagesCommand),
    Replies(RepliesCommand),
    Pairing(PairingCommand),
    Secrets(SecretsCommand),
    Health(JsonArgs),
}

/// `tinclaw run`.
#[derive(Debug, Default)]
pub struct RunArgs {
    /// Where HTTP is served.
    pub listen: Option<SocketAddr>,
    /// Directories of channels, or `.wasm` files.
    pub channels: Vec<PathBuf>,
    /// Whether the web chat runs although there are other channels.
    pub webchat: bool,
    /// Who answers.
    pub agent: Option<String>,
    /// This host's address as providers call it.
    pub public_url: Option<String>,
}

/// Options of commands that only show something.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonArgs {
    /// Whether to print JSON.
    pub json: bool,
}

/// `tinclaw check`.
#[derive(Debug)]
pub struct CheckArgs {
    /// Directories of channels, or `.wasm` files; at least one.
    pub paths: Vec<PathBuf>,
    pub output: JsonArgs,
}

/// `tinclaw call`.
#[derive(Debug)]
pub struct CallArgs {
    /// The channel's guest.
    pub channel: PathBuf,
    /// Which callback.
    pub callback: String,
    /// A JSON file with the callback's input, or `-`.
    pub input: Option<PathBuf>,
    /// Settings for the channel, as a JSON object.
    pub settings: Option<String>,
    /// `HOST=URL`, each.
    pub http_rewrite: Vec<String>,
    /// Whether on-start is left out.
    pub no_start: bool,
    pub output: JsonArgs,
}

/// `tinclaw channels`.
#[derive(Debug)]
pub enum ChannelsCommand {
    List(JsonArgs),
    Install {
        /// Its name.
        name: String,
        /// The directory of channels.
        to: Option<PathBuf>,
        /// Whether files that are there already are replaced.
        force: bool,
    },
}

/// Which rows of a list.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Only of this channel.
    pub channel: Option<String>,
    /// Only those in this state; one of the names that the help page shows.
    pub state: Option<&'static str>,
    /// Only those with a smaller id.
    pub before: Option<u64>,
    /// How many.
    pub limit: usize,
}

/// `tinclaw messages`.
#[derive(Debug)]
pub enum MessagesCommand {
    List { rows: Rows, output: JsonArgs },
    Show(OneRow),
    Replay(OneRow),
    Drop(OneRow),
}

/// `tinclaw replies`.
#[derive(Debug)]
pub enum RepliesCommand {
    List { rows: Rows, output: JsonArgs },
    Show(OneRow),
    Retry(OneRow),
    Drop(OneRow),
}

/// One row of a list.
#[derive(Clone, Copy, Debug)]
pub struct OneRow {
    /// Its id.
    pub id: u64,
    pub output: JsonArgs,
}

/// `tinclaw pairing`.
#[derive(Debug)]
pub enum PairingCommand {
    List(JsonArgs),
    Approve {
        /// The channel that the stranger writes through.
        channel: String,
        /// The code that they show.
        code: String,
        /// What to know them as.
        identity: Option<String>,
    },
    Revoke {
        /// The channel that they write through.
        channel: String,
        /// Their id, or the name that they are known as.
        id: String,
    },
}

/// `tinclaw secrets`.
#[derive(Debug)]
pub enum SecretsCommand {
    Set {
        /// The secret's name.
        name: String,
        /// Whether a random value is made.
        generate: bool,
    },
    List(JsonArgs),
    Remove {
        /// The secret's name.
        name: String,
    },
}
