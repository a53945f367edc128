//! `mysql://USER@HOST:PORT,HOST:PORT/DATABASE?tls=…`: where the database is and how to speak with it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// The port of the protocol.
const PORT: u16 = 3306;
/// What an address begins with.
const SCHEME: &str = "mysql://";
/// Most nodes that are named.
const MAX_NODES: usize = 16;

/// Why a text is no address of a database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address of the database cannot be used: {0}")]
pub(crate) struct AddressError(String);

/// Whether what is sent is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    /// Yes, and the node shows a certificate of an authority that browsers know.
    Required,
    /// Yes, and the certificate is of an authority in this file.
    Authority(PathBuf),
    /// No.
    Off,
}

/// One node of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// A name or an address.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
}

/// Where the database is. It has no password, so it can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DatabaseAddress {
    /// Whose rights the host has.
    pub(crate) user: String,
    /// The nodes, the preferred one first.
    pub(crate) nodes: Vec<Node>,
    /// The database.
    pub(crate) database: String,
    /// Whether what is sent is encrypted.
    pub(crate) tls: Tls,
}

impl DatabaseAddress {
    /// Reads `mysql://USER@HOST[:PORT][,HOST[:PORT]…]/DATABASE[?tls=required|off][&ca=FILE]`.
    ///
    /// # Errors
    /// What is wrong with it. A password is refused, and not repeated.
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        let bad = |what: String| Err(AddressError(what));
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return bad(format!("it does not begin with {SCHEME}"));
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let Some((authority, database)) = rest.split_once('/') else {
            return bad("it names no database: mysql://USER@HOST/DATABASE".to_owned());
        };
        let Some((user, nodes)) = authority.rsplit_once('@') else {
            return bad("it names no user: mysql://USER@HOST/DATABASE".to_owned());
        };
        if user.contains(':') {
            return bad(
                "a password does not belong into it: store it as the secret store_password".to_owned()
            );
        }
        if user.is_empty() || !is_name(user) || database.is_empty() || !is_name(database) {
            return bad("user and database are letters, digits, `_`, `-` and `.`".to_owned());
        }
        let nodes = nodes.split(',').map(node).collect::<Result<Vec<_>, _>>()?;
        if nodes.len() > MAX_NODES {
            return bad(format!("it names {} nodes, at most {MAX_NODES} may be", nodes.len()));
        }
        let tls = tls(query, &nodes)?;
        Ok(Self { user: user.to_owned(), nodes, database: database.to_owned(), tls })
    }
}

impl fmt::Display for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}@", self.user)?;
        for (place, node) in self.nodes.iter().enumerate() {
            write!(f, "{}{node}", if place == 0 { "" } else { "," })?;
        }
        write!(f, "/{}", self.database)
    }
}

impl Node {
    /// Whether it is this machine, whose traffic nobody else sees.
    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

fn node(text: &str) -> Result<Node, AddressError> {
    let bad = || AddressError(format!("{text:?} is no HOST or HOST:PORT"));
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")))
        }
        None => {
            let (host, port) =
                text.split_once(':').map_or((text, Some("")), |(host, port)| (host, Some(port)));
            if !is_name(host) {
                return Err(bad());
            }
            (host, port)
        }
    };
    let port = match port.ok_or_else(bad)? {
        "" if text.ends_with(':') => return Err(bad()),
        "" => PORT,
        port => port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?,
    };
    if host.is_empty() {
        return Err(bad());
    }
    Ok(Node { host: host.to_owned(), port })
}

fn is_name(text: &str) -> bool {
    text.chars().all(|each| each.is_ascii_alphanumeric() || matches!(each, '_' | '-' | '.'))
}

/// Off by default only where all nodes are this machine.
fn tls(query: &str, nodes: &[Node]) -> Result<Tls, AddressError> {
    let bad = |what: String| Err(AddressError(what));
    let (mut asked, mut authority) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("tls", "required")) => asked = Some(true),
            Some(("tls", "off")) => asked = Some(false),
            Some(("ca", file)) if !file.is_empty() => authority = Some(PathBuf::from(file)),
            _ => return bad(format!("{pair:?} is not known: tls=required, tls=off or ca=FILE")),
        }
    }
    match (asked, authority) {
        (Some(false), Some(_)) => bad("ca=FILE has no meaning with tls=off".to_owned()),
        (_, Some(file)) => Ok(Tls::Authority(file)),
        (Some(false), None) => Ok(Tls::Off),
        (Some(true), None) => Ok(Tls::Required),
        (None, None) if nodes.iter().all(Node::is_loopback) => Ok(Tls::Off),
        (None, None) => Ok(Tls::Required),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_one_node_and_with_several() {
        let one = DatabaseAddress::parse("mysql://tinclaw@db.example/chat").unwrap();
        assert_eq!((one.nodes.len(), &*one.nodes[0].host, one.nodes[0].port), (1, "db.example", 3306));
        assert_eq!((&*one.user, &*one.database, one.tls), ("tinclaw", "chat", Tls::Required));
        let three = DatabaseAddress::parse("mysql://u@a:1,[::1]:2,[2001:db8::1]/d?ca=/etc/ca.pem").unwrap();
        assert_eq!(three.to_string(), "mysql://u@a:1,[::1]:2,[2001:db8::1]:3306/d");
        assert_eq!(three.tls, Tls::Authority("/etc/ca.pem".into()));
    }

    #[test]
    fn tls_is_off_for_loopback_or_when_configured() {
        for (text, expected) in [
            ("mysql://u@127.0.0.1,localhost,[::1]/d", Tls::Off),
            ("mysql://u@127.0.0.1,db/d", Tls::Required),
            ("mysql://u@10.0.0.1/d?tls=off", Tls::Off),
            ("mysql://u@127.0.0.1/d?tls=required", Tls::Required),
            ("mysql://u@127.0.0.1/d?tls=required&ca=x", Tls::Authority("x".into())),
        ] {
            assert_eq!(DatabaseAddress::parse(text).unwrap().tls, expected, "{text}");
        }
    }

    #[test]
    fn invalid_addresses_are_refused_without_showing_the_password() {
        for text in [
            "mariadb://u@h/d",
            "mysql://u@h",
            "mysql://h/d",
            "mysql://@h/d",
            "mysql://u@h/",
            "mysql://u@/d",
            "mysql://u@h:0/d",
            "mysql://u@h:/d",
            "mysql://u@h:65536/d",
            "mysql://u@[::1/d",
            "mysql://u@[db]:1/d",
            "mysql://u@h,/d",
            "mysql://u@h/d?tls=maybe",
            "mysql://u@h/d?tls=off&ca=x",
            "mysql://u@h/d?pool=9",
            "mysql://u@h/d;drop",
        ] {
            assert!(DatabaseAddress::parse(text).is_err(), "{text}");
        }
        let error = DatabaseAddress::parse("mysql://u:hunter2@h/d").unwrap_err().to_string();
        assert!(!error.contains("hunter2") && error.contains("store_password"), "{error}");
    }

    #[test]
    fn sixteen_nodes_may_be_named_and_not_one_more() {
        let address = |count: usize| format!("mysql://u@{}/d", vec!["h"; count].join(","));
        assert_eq!(DatabaseAddress::parse(&address(MAX_NODES)).unwrap().nodes.len(), MAX_NODES);
        assert!(DatabaseAddress::parse(&address(MAX_NODES + 1)).is_err());
    }
}
