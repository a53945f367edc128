//! Asks the service whether what was given is right.

use std::sync::Arc;

use serde_json::Value;

use super::inputs::Given;
use super::target::{SetupTarget, concerns};
use crate::capability::StatusQuery;
use crate::cli::config::Settings;
use crate::cli::output::Failure;
use crate::host::{ChannelHarness, ServiceVerdict};
use crate::secrets::{ChainSecrets, MemorySecrets};

/// What came of asking the service.
pub enum AccountCheck {
    /// What it said.
    Asked(ServiceVerdict),
    /// It was not asked: the channel names no place for it, or nobody wanted it.
    NotAsked,
}

impl AccountCheck {
    /// What the service said, null when it said nothing that can be used.
    pub fn response(&self) -> &Value {
        match self {
            Self::Asked(ServiceVerdict::Accepted(response)) => response,
            _ => &Value::Null,
        }
    }
}

/// Asks the service with what was given, and with what is stored for the rest.
///
/// # Errors
/// The channel cannot be put together.
pub fn check(
    settings: &Settings,
    target: &SetupTarget,
    given: &Given,
    no_check: bool,
) -> Result<AccountCheck, Failure> {
    let setup = target.setup();
    let Some(url) = setup.validation_endpoint.filter(|_| !no_check) else {
        return Ok(AccountCheck::NotAsked);
    };
    let (harness, config) = harness(settings, target, given)?;
    let query = StatusQuery {
        url,
        method: setup.validation_method,
        body: setup.validation_body,
        ..StatusQuery::default()
    };
    Ok(AccountCheck::Asked(harness.ask_service(&query, &config)))
}

/// Everything that a channel's service can be asked about it: the question, and what of the response is of interest.
///
/// # Errors
/// The channel cannot be put together.
pub fn questions_of(
    settings: &Settings,
    target: &SetupTarget,
) -> Result<Vec<(StatusQuery, ServiceVerdict)>, Failure> {
    let setup = target.setup();
    let (harness, config) = harness(settings, target, &Given::default())?;
    let validation = setup.validation_endpoint.map(|url| {
        let place = setup.account.map(Value::from);
        let show = place.into_iter().map(|place| ("account".to_owned(), place)).collect();
        StatusQuery { url, method: setup.validation_method, body: setup.validation_body, show, when: None }
    });
    let queries = validation.into_iter().chain(setup.status);
    let asked = queries.filter(|query| concerns(settings, query.when)).map(|query| {
        let response = harness.ask_service(&query, &config);
        (query, response)
    });
    Ok(asked.collect())
}

fn harness(
    settings: &Settings,
    target: &SetupTarget,
    given: &Given,
) -> Result<(ChannelHarness, serde_json::Map<String, Value>), Failure> {
    let mut manager = settings.manager_in_memory()?;
    let own = manager.channels.entry(target.name().clone()).or_default();
    own.config.extend(given.settings.clone());
    let values = MemorySecrets::new();
    for (name, value) in &given.secrets {
        values.set(name, value.clone()).map_err(Failure::usage)?;
    }
    manager.secrets = Arc::new(ChainSecrets::new(vec![Arc::new(values), manager.secrets]));
    let mut config = target.config(settings);
    config.extend(given.settings.clone());
    let harness = ChannelHarness::new(&target.channel, manager).map_err(Failure::problem)?;
    Ok((harness, config))
}
