//! The leases in the database: each operation of `lease`, as one transaction.
//!
//! A transaction that changes who has a channel also writes to the row of the host that has it or gets it. Each commit of that host writes there, too,
//! so the database puts the two in an order, also when they come to different nodes.

use std::collections::BTreeMap;

use mysql::Conn;
use mysql::prelude::Queryable;
use serde::{Deserialize, Serialize};

use super::placement::{Candidate, Digest, HostNumber, PlacementRefusal, Wanted};
use crate::store::database::{
    DatabaseFault, DatabaseSession, JoinedHost, NOW_MS, all, at_one_moment, get, key_of, lock_host, number,
    one, transaction, wait_until_current,
};
use crate::store::{ChannelKey, Connector, StoreError};

/// A channel that a host has the files of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// What its guest and its capability file are.
    #[serde(with = "digest")]
    pub(crate) digest: Digest,
    /// The paths of its webhooks.
    pub(crate) paths: Vec<String>,
}

/// What a host says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announcement {
    /// How much it takes, compared with others.
    pub(crate) weight: u32,
    /// It is to have no channels.
    pub(crate) is_draining: bool,
    /// Where other hosts reach it.
    pub(crate) url: String,
    /// The channels that it has the files of.
    pub(crate) offers: BTreeMap<String, Offer>,
}

/// A host, as all hosts see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterHost {
    /// Its number.
    pub(crate) host: HostNumber,
    /// Its name.
    pub(crate) name: String,
    /// Whether it has said in time that it lives.
    pub(crate) is_alive: bool,
    /// What it has said about itself.
    pub(crate) announced: Announcement,
}

/// A channel, as all hosts see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterChannel {
    /// Its number.
    pub(crate) number: u32,
    /// What is to be placed.
    pub(crate) wanted: Wanted,
    /// In which epoch it is held, or was held last.
    pub(crate) epoch: u64,
}

/// Who has what, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClusterView {
    /// The hosts, those that are gone, too.
    pub(crate) hosts: Vec<ClusterHost>,
    /// The channels.
    pub(crate) channels: Vec<ClusterChannel>,
}

impl ClusterView {
    /// The hosts that live, for `placement`.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        let alive = self.hosts.iter().filter(|host| host.is_alive);
        alive
            .map(|host| Candidate {
                host: host.host,
                name: host.name.clone(),
                weight: host.announced.weight.max(1),
                is_draining: host.announced.is_draining,
                offers: host
                    .announced
                    .offers
                    .iter()
                    .map(|(name, offer)| (name.clone(), offer.digest))
                    .collect(),
            })
            .collect()
    }

    /// Why no host has a channel, for an operator.
    pub(crate) fn why_nobody_has(&self, channel: &Wanted) -> &'static str {
        let unfit: Vec<PlacementRefusal> =
            self.candidates().iter().filter_map(|host| host.fits(channel).err()).collect();
        match () {
            () if unfit.len() < self.candidates().len() => "a host is about to take it",
            () if unfit.contains(&PlacementRefusal::OtherVersion) => {
                "no host that lives has the version of its files that ran last"
            }
            () if unfit.contains(&PlacementRefusal::Draining) => "every host that has its files is draining",
            () => "no host that lives has its files",
        }
    }

    /// The hosts that are to be fenced: gone, and still having channels.
    pub(crate) fn lost_hosts(&self) -> Vec<HostNumber> {
        let has_channels = |host: HostNumber| self.channels.iter().any(|it| it.wanted.host == Some(host));
        let gone = self.hosts.iter().filter(|host| !host.is_alive && has_channels(host.host));
        gone.map(|host| host.host).collect()
    }
}

/// This host's way to the leases.
pub(crate) struct LeaseTable {
    session: DatabaseSession,
    joined: JoinedHost,
    time_to_live_ms: u64,
}

impl LeaseTable {
    /// For the host that has joined; it lives for `time_to_live_ms` after each beat.
    pub(crate) fn new(connector: Connector, joined: JoinedHost, time_to_live_ms: u64) -> Self {
        Self { session: DatabaseSession::new(connector), joined, time_to_live_ms }
    }

    /// This host's number.
    pub(crate) fn host(&self) -> Option<HostNumber> {
        self.joined.host()
    }

    /// Says that this host lives, and what it offers.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when it is not what it was.
    pub(crate) fn beat(&mut self, announced: &Announcement) -> Result<(), StoreError> {
        let offers = serde_json::to_string(&announced.offers).unwrap_or_else(|_| "{}".to_owned());
        let (weight, is_draining, url) = (announced.weight, announced.is_draining, announced.url.clone());
        let time_to_live_ms = self.time_to_live_ms;
        let member = self.joined.clone();
        self.session.run(|connection| {
            let host = member.known()?;
            let found =
                number(&mut connection.conn, "SELECT incarnation FROM host WHERE id = ?", (host.id(),))?;
            if found != host.incarnation() {
                return Err(DatabaseFault::Fenced);
            }
            let sql = format!(
                "INSERT INTO beat (host, alive_until_ms, weight, draining, url, offers)
                 VALUES (?, {NOW_MS} + ?, ?, ?, ?, ?)
                 ON DUPLICATE KEY UPDATE alive_until_ms = VALUES(alive_until_ms), weight = VALUES(weight),
                     draining = VALUES(draining), url = VALUES(url), offers = VALUES(offers)"
            );
            let row = (host.id(), time_to_live_ms, weight, is_draining, &url, &offers);
            Ok(connection.conn.exec_drop(sql, row)?)
        })
    }

    /// This host has stopped and says nothing more: its channels can go to others at once.
    pub(crate) fn leave(&mut self) -> Result<(), StoreError> {
        let member = self.joined.clone();
        self.session.run(|connection| {
            transaction(&mut connection.conn, |conn| {
                let host = member.known()?;
                lock_host(conn, &host)?;
                note_change(conn, host.id())?;
                conn.exec_drop("UPDATE channel SET host = NULL WHERE host = ?", (host.id(),))?;
                Ok(conn.exec_drop("UPDATE beat SET alive_until_ms = 0 WHERE host = ?", (host.id(),))?)
            })
        })
    }

    /// Makes channels known that are not yet.
    pub(crate) fn announce(&mut self, channels: &[ChannelKey]) -> Result<(), StoreError> {
        self.session.run(|connection| {
            for channel in channels {
                let known = "SELECT COUNT(*) FROM channel WHERE hash = ?";
                if number(&mut connection.conn, known, (key_of(channel),))? == 0 {
                    let sql = "INSERT IGNORE INTO channel (hash, name) VALUES (?, ?)";
                    connection.conn.exec_drop(sql, (key_of(channel), &**channel))?;
                }
            }
            Ok(())
        })
    }

    /// Who has what. It has everything that was committed anywhere before the call.
    pub(crate) fn view(&mut self) -> Result<ClusterView, StoreError> {
        self.session.run(|connection| {
            if connection.is_replicated {
                wait_until_current(&mut connection.conn)?;
            }
            at_one_moment(&mut connection.conn, |conn| {
                Ok(ClusterView { hosts: hosts(conn)?, channels: channels(conn)? })
            })
        })
    }

    /// Fences a host that has not beaten in time; whether it was done.
    pub(crate) fn fence(&mut self, host: HostNumber) -> Result<bool, StoreError> {
        self.session.run(|connection| {
            transaction(&mut connection.conn, |conn| {
                let gone = format!(
                    "SELECT COUNT(*) FROM host LEFT JOIN beat ON beat.host = host.id
                     WHERE host.id = ? AND COALESCE(alive_until_ms, 0) < {NOW_MS} FOR UPDATE"
                );
                let has = "SELECT COUNT(*) FROM channel WHERE host = ?";
                if number(conn, &gone, (host,))? == 0 || number(conn, has, (host,))? == 0 {
                    return Ok(false);
                }
                conn.exec_drop("UPDATE host SET incarnation = incarnation + 1 WHERE id = ?", (host,))?;
                conn.exec_drop("UPDATE channel SET host = NULL WHERE host = ?", (host,))?;
                Ok(true)
            })
        })
    }

    /// Takes a channel that is nobody's, to run it in this version: the epoch, or none when it is another host's.
    pub(crate) fn take(&mut self, channel: u32, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let member = self.joined.clone();
        self.session.run(|connection| {
            transaction(&mut connection.conn, |conn| {
                let host = member.known()?;
                lock_host(conn, &host)?;
                let found = one(
                    conn,
                    "SELECT host, epoch FROM channel WHERE id = ? FOR UPDATE",
                    (channel,),
                    |row| Ok((get::<Option<u32>>(row, "host")?, get::<u64>(row, "epoch")?)),
                )?;
                match found {
                    Some((Some(owner), epoch)) if owner == host.id() => Ok(Some(epoch)),
                    Some((None, epoch)) => {
                        note_change(conn, host.id())?;
                        let taken = "UPDATE channel SET host = ?, epoch = ?, digest = ? WHERE id = ?";
                        conn.exec_drop(taken, (host.id(), epoch + 1, &digest[..], channel))?;
                        Ok(Some(epoch + 1))
                    }
                    _ => Ok(None),
                }
            })
        })
    }

    /// The channel runs here in another version than it did.
    pub(crate) fn note_version(
        &mut self,
        channel: u32,
        epoch: u64,
        digest: &Digest,
    ) -> Result<(), StoreError> {
        let member = self.joined.clone();
        self.session.run(|connection| {
            let host = member.known()?;
            let sql = "UPDATE channel SET digest = ? WHERE id = ? AND host = ? AND epoch = ?";
            Ok(connection.conn.exec_drop(sql, (&digest[..], channel, host.id(), epoch))?)
        })
    }

    /// Gives up a channel that was stopped.
    pub(crate) fn release(&mut self, channel: u32, epoch: u64) -> Result<(), StoreError> {
        let member = self.joined.clone();
        self.session.run(|connection| {
            transaction(&mut connection.conn, |conn| {
                let host = member.known()?;
                lock_host(conn, &host)?;
                note_change(conn, host.id())?;
                let freed = "UPDATE channel SET host = NULL WHERE id = ? AND host = ? AND epoch = ?";
                Ok(conn.exec_drop(freed, (channel, host.id(), epoch))?)
            })
        })
    }
}

/// The write on which this transaction meets one that fences the host.
fn note_change(conn: &mut Conn, host: u32) -> Result<(), DatabaseFault> {
    Ok(conn.exec_drop("UPDATE host SET changes = changes + 1 WHERE id = ?", (host,))?)
}

fn hosts(conn: &mut Conn) -> Result<Vec<ClusterHost>, DatabaseFault> {
    let sql = format!(
        "SELECT id, name, alive_until_ms >= {NOW_MS} AS alive, weight, draining, url, offers
         FROM host JOIN beat ON beat.host = host.id ORDER BY name"
    );
    all(conn, &sql, (), |row| {
        let offers: String = get(row, "offers")?;
        let offers = serde_json::from_str(&offers)
            .map_err(|error| DatabaseFault::Unreadable(format!("what a host offers: {error}")))?;
        Ok(ClusterHost {
            host: get(row, "id")?,
            name: get(row, "name")?,
            is_alive: get(row, "alive")?,
            announced: Announcement {
                weight: get(row, "weight")?,
                is_draining: get(row, "draining")?,
                url: get(row, "url")?,
                offers,
            },
        })
    })
}

fn channels(conn: &mut Conn) -> Result<Vec<ClusterChannel>, DatabaseFault> {
    let sql = "SELECT id, name, host, epoch, digest FROM channel WHERE INSTR(name, ':') = 0 ORDER BY name";
    all(conn, sql, (), |row| {
        let digest: Option<Vec<u8>> = get(row, "digest")?;
        Ok(ClusterChannel {
            number: get(row, "id")?,
            epoch: get(row, "epoch")?,
            wanted: Wanted {
                name: get(row, "name")?,
                host: get(row, "host")?,
                digest: digest.and_then(|digest| digest.try_into().ok()),
            },
        })
    })
}

/// Digests in JSON: hexadecimal.
mod digest {
    use data_encoding::HEXLOWER;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Digest;

    pub(super) fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(digest))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(D::Error::custom)?;
        bytes.try_into().map_err(|_| D::Error::custom("not 32 bytes"))
    }
}
