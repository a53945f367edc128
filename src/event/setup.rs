//! Everything the router needs to know to run a channel.

use std::fmt;
use std::sync::Arc;

use wit_abi::types::ChannelConfig;

use super::link::OpenLink;
use crate::channel::{ChannelLimits, ChannelName, Registration};
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::sandbox::{ChannelRuntimeInfo, PreparedChannelModule};
use crate::secrets::SecretError;

/// Applies a capability file to what `on-start` returned, and publishes the routes that come of it.
pub type Register = Box<dyn Fn(&ChannelConfig) -> Registration + Send>;

/// The text that `on-start` gets, or why the secrets in it cannot be read. Asked again for every start, by
/// the worker that runs it: it reads secrets, which takes files and perhaps the derivation of a key.
pub type ReadStartConfig = Arc<dyn Fn() -> Result<Arc<str>, SecretError> + Send + Sync>;

/// A channel that is ready to run.
pub struct ChannelSetup {
    /// Its name.
    pub name: ChannelName,
    /// Its guest.
    pub module: Arc<PreparedChannelModule>,
    /// What its callbacks are run with.
    pub runtime: Arc<ChannelRuntimeInfo>,
    /// What it may take.
    pub limits: ChannelLimits,
    /// Makes the text for `on-start`.
    pub start_config: ReadStartConfig,
    /// Deals with what `on-start` returned.
    pub register: Register,
    /// Whether a message's own `message_id` recognises duplicates.
    pub message_id_from_metadata: bool,
    /// Opens the channel's websocket, if it has one.
    pub open_link: Option<OpenLink>,
    /// What was found about the channel, although it can run.
    pub diagnostics: Vec<Diagnostic>,
}

impl ChannelSetup {
    /// Errors and warnings that hold as long as the channel runs, for its health and the log.
    pub fn problems(&self) -> impl Iterator<Item = Diagnostic> {
        self.diagnostics.iter().filter(|found| found.severity < Severity::Note).cloned()
    }
}

impl fmt::Debug for ChannelSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSetup").field("name", &self.name).finish_non_exhaustive()
    }
}
