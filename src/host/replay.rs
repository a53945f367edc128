//! Runs recorded callbacks again, perhaps in another build of the channel.

use std::sync::Arc;

use serde_json::Value;

use super::harness::ChannelHarness;
use crate::channel::recording::{RecordedCallback, ReplayServices, compare, outcome};
use crate::channel::workspace::PathError;
use crate::event::callback::Callback;

/// What came of a callback that was run again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Replayed {
    /// What it returned and did, as recordings have it.
    pub outcome: Value,
    /// What it did in another way than the recorded one, line by line; none when it did the same.
    pub differences: Vec<String>,
}

impl ChannelHarness {
    /// Runs a recorded callback again, with what was recorded in place of the network, the clocks and random values. `callback` is
    /// what its input says.
    ///
    /// # Errors
    /// A path of the recorded workspace is none.
    pub(crate) fn replay(
        &mut self,
        recorded: &RecordedCallback,
        callback: &Callback,
    ) -> Result<Replayed, PathError> {
        self.set_files(&recorded.workspace)?;
        let services = Arc::new(ReplayServices::new(recorded));
        let (report, written) = self.run_with(callback, services.clone());
        let outcome = outcome(&report, &written);
        let mut differences = services.differences();
        differences.extend(compare(&recorded.outcome, &outcome));
        Ok(Replayed { outcome, differences })
    }
}
