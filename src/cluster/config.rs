//! What an operator says about this host and the others.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::secrets::{Secret, SecretStore};
use crate::store::database::JoinedHost;
use crate::store::{Connector, DatabaseAddress, HeldChannels, MysqlStore, Opener, Scope};

/// The secret that is the password of the database.
const PASSWORD: &str = "store_password";
/// The secret that all hosts have, and with which they sign what they forward to each other.
const SECRET: &str = "cluster_secret";
/// So long it must be.
const MIN_SECRET_BYTES: usize = 16;

/// A host of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct ClusterConfig {
    /// The database.
    pub(crate) address: DatabaseAddress,
    /// The name of this host; no other one has it.
    pub(crate) host: String,
    /// How much it takes, compared with others.
    pub(crate) weight: u32,
    /// Where other hosts reach its HTTP server; where it listens, without this.
    pub(crate) url: Option<String>,
    /// The channels that it may have; all that it has the files of, without this.
    pub(crate) channels: Option<BTreeSet<String>>,
}

/// What is shared by the parts of a host that is one of several.
#[derive(Clone)]
pub(crate) struct ClusterState {
    pub(crate) config: ClusterConfig,
    pub(crate) connector: Connector,
    pub(crate) held: HeldChannels,
    pub(crate) joined: JoinedHost,
    pub(crate) secret: Arc<Secret>,
}

impl ClusterState {
    /// Reads the secrets that it needs. Nothing is connected yet.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(crate) fn new(config: &ClusterConfig, secrets: &dyn SecretStore) -> Result<Self, String> {
        let read = |name: &str| secrets.get(name).map_err(|error| format!("secret {name}: {error}"));
        let Some(secret) = read(SECRET)?.filter(|secret| secret.len() >= MIN_SECRET_BYTES) else {
            return Err(format!(
                "hosts on one database sign what they forward to each other: give all of them the same secret {SECRET}, of \
                 {MIN_SECRET_BYTES} bytes or more"
            ));
        };
        let connector = Connector::new(config.address.clone(), read(PASSWORD)?);
        Ok(Self {
            config: config.clone(),
            connector,
            held: HeldChannels::default(),
            joined: JoinedHost::default(),
            secret: Arc::new(secret),
        })
    }

    /// Opens the store of this host.
    pub(crate) fn opener(&self) -> Opener {
        let scope = Scope::Held(self.held.clone());
        MysqlStore::opener(self.connector.clone(), &self.config.host, scope, self.joined.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::MemorySecrets;

    #[test]
    fn hosts_have_a_secret_that_is_long_enough() {
        let config = ClusterConfig {
            address: DatabaseAddress::parse("mysql://u@127.0.0.1/d").unwrap(),
            host: "h1".to_owned(),
            weight: 1,
            url: None,
            channels: None,
        };
        let with = |secret: &str| {
            let secrets = MemorySecrets::default();
            secrets.set(SECRET, Secret::new(secret.to_owned())).unwrap();
            ClusterState::new(&config, &secrets).map(drop)
        };
        assert!(with("fifteen letters").is_err());
        assert_eq!(with("sixteen letters."), Ok(()));
        assert!(ClusterState::new(&config, &MemorySecrets::default()).is_err());
    }
}
