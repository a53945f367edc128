//! The command line: what it can say, and how it is read.
//!
//! Everything hangs on one table. It says which commands there are and what each of them takes; names are looked up in
//! it, help pages and usage lines are made from it, and what is misspelt is compared with it.
//!
//! | file | job |
//! |---|---|
//! | `types` | what a command line can say |
//! | `commands` | the table: every command, option and argument, with its help |
//! | `spec` | what the table is made of |
//! | `parse` | from words to types; no I/O |
//! | `given` | what stands on one command line, by name |
//! | `value` | one value, and what it is read as |
//! | `read` | from what was given to types, a function for each command |
//! | `help` | help pages and usage lines |
//! | `error` | what is wrong with a command line, and what was meant |

mod commands;
mod error;
mod given;
mod help;
mod parse;
mod read;
mod spec;
#[cfg(test)]
mod tests;
mod types;
mod value;

pub use parse::{Parsed, parse};
pub use types::{
    Arguments, CallArgs, ChannelsCommand, CheckArgs, Command, Common, JsonArgs, MessagesCommand, OneRow,
    PairingCommand, RepliesCommand, Rows, RunArgs, SecretsCommand,
};
