//! The table: every command, option and argument, with its help.

use super::read;
use super::spec::{Parameter, Spec, Then, argument, option, switch};

/// The program.
pub static TINCLAW: Spec = Spec {
    name: "tinclaw",
    about: "Runs sandboxed chat channels and gives their messages to an agent",
    parameters: &[switch("version", "Print version").short('V')],
    notes: include_str!("notes/tinclaw.txt"),
    then: Then::Commands(&[RUN, CHECK, CALL, CHANNELS, MESSAGES, REPLIES, PAIRING, SECRETS, HEALTH]),
};

/// What every command takes, wherever it stands.
pub static COMMON: &[Parameter] = &[
    option("config", "FILE", "Configuration file; without this, ./tinclaw.toml when there is one"),
    option(
        "state-dir",
        "DIR",
        "Where the host keeps its state; default $XDG_STATE_HOME/tinclaw, else \
         ~/.local/state/tinclaw\n[env: TINCLAW_STATE_DIR]",
    ),
    option(
        "log",
        "FILTER",
        "What to log, as RUST_LOG says it: `debug`, or `info,echo=debug` for one channel",
    ),
    switch("help", "Print help").short('h'),
];

const JSON: Parameter = switch("json", "Print JSON");

const RUN: Spec = Spec {
    name: "run",
    about: "Run the host: channels, their HTTP server, and an agent that answers",
    parameters: &[
        option(
            "listen",
            "ADDRESS",
            "Address and port to serve HTTP at; port 0 takes a free one [default: 127.0.0.1:8080]",
        ),
        option("channels", "PATH", "A directory of channels, or one .wasm file; may be given several times")
            .many(),
        switch("webchat", "Run the web chat too, although there are other channels"),
        option("agent", "AGENT", "Who answers: echo, exec:COMMAND or http:URL\n[default: echo]"),
        option(
            "public-url",
            "URL",
            "This host's address as providers call it, such as https://bot.example.org",
        ),
    ],
    notes: include_str!("notes/run.txt"),
    then: Then::Read(read::run),
};

const CHECK: Spec = Spec {
    name: "check",
    about: "Load channels and say what is wrong with them",
    parameters: &[argument("PATH", "Directories of channels, or .wasm files").many(), JSON],
    notes: "",
    then: Then::Read(read::check),
};

const CALL: Spec = Spec {
    name: "call",
    about: "Run one callback of a channel in the sandbox and show everything it did",
    parameters: &[
        argument("CHANNEL.wasm", "The channel's guest; its capability file is looked for beside it"),
        argument("CALLBACK", "Which callback"),
        option("input", "FILE", "JSON file with the callback's input; - is standard input"),
        option(
            "settings",
            "JSON",
            "Settings for the channel, as a JSON object; they override its file's `config`",
        )
        .alias("channel-config"),
        option(
            "http-rewrite",
            "HOST=URL",
            "Send the channel's requests for HOST to another base URL; may be given several times",
        )
        .many(),
        switch("no-start", "Do not run on-start first"),
        JSON,
    ],
    notes: include_str!("notes/call.txt"),
    then: Then::Read(read::call),
};

const CHANNELS: Spec = Spec {
    name: "channels",
    about: "Show channels and how they fare, or install one that comes with tinclaw",
    parameters: &[],
    notes: "",
    then: Then::Commands(&[
        Spec {
            name: "list",
            about: "The channels of the running host and how they fare; without one, what would be loaded",
            parameters: &[JSON],
            notes: "",
            then: Then::Read(read::channels_list),
        },
        Spec {
            name: "install",
            about: "Copy a channel that comes with tinclaw into a directory of channels",
            parameters: &[
                argument("NAME", "Its name, such as webchat"),
                option("to", "DIR", "The directory; else the first configured one, else the default one"),
                switch("force", "Replace files that are there already"),
            ],
            notes: "",
            then: Then::Read(read::channels_install),
        },
    ]),
};

const CHANNEL: Parameter = option("channel", "NAME", "Only of this channel");
const BEFORE: Parameter =
    option("before", "ID", "Only those with a smaller id: the last id of one page gives the next");
const LIMIT: Parameter = option("limit", "N", "How many, at most 1000 [default: 50]");
const ID: Parameter = argument("ID", "Its id, as `list` shows it");

const MESSAGES: Spec = Spec {
    name: "messages",
    about: "Look at messages for the agent; hand them out again or drop them",
    parameters: &[],
    notes: "",
    then: Then::Commands(&[
        Spec {
            name: "list",
            about: "The newest messages",
            parameters: &[
                CHANNEL,
                option("state", "STATE", "Only those in this state:").choices(&[
                    ("pending", "waits for the agent"),
                    ("acked", "was answered"),
                    ("dropped", "was dropped by an operator"),
                    ("dead", "failed too often"),
                ]),
                BEFORE,
                LIMIT,
                JSON,
            ],
            notes: "",
            then: Then::Read(read::messages_list),
        },
        Spec {
            name: "show",
            about: "One message in full",
            parameters: &[ID, JSON],
            notes: "",
            then: Then::Read(read::messages_show),
        },
        Spec {
            name: "replay",
            about: "Hand a settled message out again: the same message, not a copy",
            parameters: &[ID, JSON],
            notes: "",
            then: Then::Read(read::messages_replay),
        },
        Spec {
            name: "drop",
            about: "Take a waiting message away from the agent",
            parameters: &[ID, JSON],
            notes: "",
            then: Then::Read(read::messages_drop),
        },
    ]),
};

const REPLIES: Spec = Spec {
    name: "replies",
    about: "Look at replies of the agent and dead letters; send them again or drop them",
    parameters: &[],
    notes: "",
    then: Then::Commands(&[
        Spec {
            name: "list",
            about: "The newest replies",
            parameters: &[
                CHANNEL,
                option("state", "STATE", "Only those in this state:").choices(&[
                    ("pending", "waits for its first or next attempt"),
                    ("delivered", "the upstream has it"),
                    ("dead", "given up: a dead letter"),
                    ("dropped", "was dropped by an operator"),
                ]),
                BEFORE,
                LIMIT,
                JSON,
            ],
            notes: "",
            then: Then::Read(read::replies_list),
        },
        Spec {
            name: "show",
            about: "One reply in full",
            parameters: &[ID, JSON],
            notes: "",
            then: Then::Read(read::replies_show),
        },
        Spec {
            name: "retry",
            about: "Try a dead or dropped reply again",
            parameters: &[ID, JSON],
            notes: "",
            then: Then::Read(read::replies_retry),
        },
        Spec {
            name: "drop",
            about: "Give up a reply that waits, or forget a dead one",
            parameters: &[ID, JSON],
            notes: "",
            then: Then::Read(read::replies_drop),
        },
    ]),
};

const STRANGERS_CHANNEL: Parameter = argument("CHANNEL", "The channel that they write through");

const PAIRING: Spec = Spec {
    name: "pairing",
    about: "Decide which strangers may talk to the agent",
    parameters: &[],
    notes: "",
    then: Then::Commands(&[
        Spec {
            name: "list",
            about: "Strangers who wait for approval, and those who were approved",
            parameters: &[JSON],
            notes: "",
            then: Then::Read(read::pairing_list),
        },
        Spec {
            name: "approve",
            about: "Let the stranger who has this code talk to the agent",
            parameters: &[
                STRANGERS_CHANNEL,
                argument("CODE", "The code that they show"),
                option("as", "NAME", "What to know them as; else their own id"),
            ],
            notes: "",
            then: Then::Read(read::pairing_approve),
        },
        Spec {
            name: "revoke",
            about: "Forget somebody who was approved",
            parameters: &[STRANGERS_CHANNEL, argument("ID", "Their id, or the name that they are known as")],
            notes: "",
            then: Then::Read(read::pairing_revoke),
        },
    ]),
};

const SECRET: Parameter = argument("NAME", "The secret's name");

const SECRETS: Spec = Spec {
    name: "secrets",
    about: "Set, list and remove secrets; values are never shown",
    parameters: &[],
    notes: "",
    then: Then::Commands(&[
        Spec {
            name: "set",
            about: "Store a secret; the value is typed (and not shown) or comes from standard input",
            parameters: &[SECRET, switch("generate", "Make a random value instead of asking for one")],
            notes: "",
            then: Then::Read(read::secrets_set),
        },
        Spec {
            name: "list",
            about: "The names of the secrets that are stored, and those that channels miss",
            parameters: &[JSON],
            notes: "",
            then: Then::Read(read::secrets_list),
        },
        Spec {
            name: "remove",
            about: "Remove a secret",
            parameters: &[SECRET],
            notes: "",
            then: Then::Read(read::secrets_remove),
        },
    ]),
};

const HEALTH: Spec = Spec {
    name: "health",
    about: "Ask the running host how everything is",
    parameters: &[JSON],
    notes: "",
    then: Then::Read(read::health),
};
