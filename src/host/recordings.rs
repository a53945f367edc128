//! Looking into a channel while it runs: recording its callbacks, explaining its requests.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::HostError;
use super::manager::ChannelManager;
use crate::channel::ChannelName;
use crate::channel::recording::Recorder;
use crate::egress::ExplainedStep;
use crate::event::Event;
use crate::event::arrival::RouterCommand;
use crate::model::oneshot;
use crate::sandbox::CallbackRunner;

/// What became of the wish to record a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordingStart {
    /// Its callbacks are noted from now on.
    Started,
    /// There is no such channel.
    NoChannel,
    /// Somebody else records it, for as long as this.
    AlreadyRecorded { left: Duration },
}

impl ChannelManager {
    /// Notes the callbacks of a channel from now on, unless they are noted already: each recording belongs to whoever began it.
    ///
    /// # Errors
    /// The host has shut down.
    pub(crate) fn start_recording(
        &self,
        channel: &ChannelName,
        recorder: Recorder,
    ) -> Result<RecordingStart, HostError> {
        {
            let mut recorders = self.recorders();
            if let Some(left) = recorders.get(channel).and_then(Recorder::time_left) {
                return Ok(RecordingStart::AlreadyRecorded { left });
            }
            recorders.insert(channel.clone(), recorder.clone());
        }
        match self.run_with(channel, Some(Arc::new(recorder))) {
            Ok(true) => Ok(RecordingStart::Started),
            other => {
                self.recorders().remove(channel);
                other.map(|_| RecordingStart::NoChannel)
            }
        }
    }

    /// What is noted of a channel, if it is.
    pub(crate) fn recording(&self, channel: &ChannelName) -> Option<Recorder> {
        self.recorders().get(channel).cloned()
    }

    /// Ends that, and gives what was noted.
    ///
    /// # Errors
    /// The host has shut down.
    pub(crate) fn stop_recording(&self, channel: &ChannelName) -> Result<Option<Recorder>, HostError> {
        self.run_with(channel, None)?;
        Ok(self.recorders().remove(channel))
    }

    /// What would become of a request of a running channel, with the rights that it has; none when there is no such channel.
    ///
    /// # Errors
    /// The host has shut down.
    pub(crate) fn explain_request(
        &self,
        channel: &ChannelName,
        method: &str,
        url: &str,
    ) -> Result<Option<Vec<ExplainedStep>>, HostError> {
        let (done, result) = oneshot::channel();
        self.send(Event::Command(RouterCommand::Services(channel.clone(), done)))?;
        let services = result.wait().ok_or(HostError::Closed)?;
        // Here and not in the router: it looks names up.
        Ok(services.map(|services| services.explain_request(method, url)))
    }

    fn run_with(
        &self,
        channel: &ChannelName,
        runner: Option<Arc<dyn CallbackRunner>>,
    ) -> Result<bool, HostError> {
        let (done, result) = oneshot::channel();
        self.send(Event::Command(RouterCommand::RunWith(channel.clone(), runner, done)))?;
        result.wait().ok_or(HostError::Closed)
    }

    fn recorders(&self) -> MutexGuard<'_, HashMap<ChannelName, Recorder>> {
        self.recorders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
