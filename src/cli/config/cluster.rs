//! What the configuration says about this host and others on the same database.

use std::fs;

use super::file::ClusterTable;
use crate::cluster::ClusterConfig;
use crate::store::DatabaseAddress;

/// The longest name of a host.
const MAX_NAME_BYTES: usize = 64;

/// Why this host cannot be one of several.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// There is no database.
    #[error("[cluster] has no meaning without `store = \"mysql://…\"`")]
    NoStore,
    /// The machine has no name.
    #[error("this machine has no name: give the host one, as `host` in [cluster]")]
    NoName,
    /// A name that is no name of a host.
    #[error(
        "cluster.host: {0:?} is no name of a host: 1 to {MAX_NAME_BYTES} of A-Z, a-z, 0-9, `-`, `_` and `.`"
    )]
    BadName(String),
}

/// This host among others, when it has a database with them.
pub fn resolve(
    store: Option<DatabaseAddress>,
    table: ClusterTable,
) -> Result<Option<ClusterConfig>, ClusterError> {
    let ClusterTable { host, url, weight, channels } = table;
    let is_empty = host.is_none() && url.is_none() && weight.is_none() && channels.is_none();
    let Some(address) = store else {
        return if is_empty { Ok(None) } else { Err(ClusterError::NoStore) };
    };
    let host = host.or_else(machine_name).ok_or(ClusterError::NoName)?;
    let is_allowed = |each: char| each.is_ascii_alphanumeric() || matches!(each, '-' | '_' | '.');
    if host.is_empty() || host.len() > MAX_NAME_BYTES || !host.chars().all(is_allowed) {
        return Err(ClusterError::BadName(host));
    }
    Ok(Some(ClusterConfig {
        address,
        host,
        weight: weight.unwrap_or(1),
        url: url.map(|url| url.as_str().to_owned()),
        channels: channels.map(|channels| channels.iter().map(ToString::to_string).collect()),
    }))
}

fn machine_name() -> Option<String> {
    let name =
        fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| fs::read_to_string("/etc/hostname"));
    Some(name.ok()?.trim().to_owned()).filter(|name| !name.is_empty() && name != "(none)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Option<DatabaseAddress> {
        Some(DatabaseAddress::parse("mysql://u@127.0.0.1/d").unwrap())
    }

    #[test]
    fn a_host_has_a_name_of_up_to_sixty_four_letters() {
        let named = |name: &str| {
            let table = ClusterTable { host: Some(name.to_owned()), ..ClusterTable::default() };
            resolve(address(), table).map(|config| config.unwrap().host)
        };
        let longest = "a".repeat(MAX_NAME_BYTES);
        assert_eq!(named(&longest), Ok(longest.clone()));
        for bad in [format!("{longest}a"), String::new(), "a b".to_owned(), "tool:x".to_owned()] {
            assert_eq!(named(&bad), Err(ClusterError::BadName(bad)));
        }
    }

    #[test]
    fn a_cluster_is_on_a_database() {
        assert!(resolve(None, ClusterTable::default()).unwrap().is_none());
        let table = ClusterTable { host: Some("h1".to_owned()), ..ClusterTable::default() };
        assert_eq!(resolve(None, table).err(), Some(ClusterError::NoStore));
    }
}
