//! Names, the servers that channels call, and the public address.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::{Finding, ask_host};
use crate::channel::PlannedChannel;
use crate::cli::config::Settings;
use crate::cli::output::Failure;
use crate::egress::{OutboundError, OutboundHttp, OutboundHttpSettings, Reached};
use crate::model::human_duration::HumanDuration;

/// How far this host's clock may be from that of a server.
const MAX_SKEW: Duration = Duration::from_secs(60);

pub(super) fn findings(
    settings: &Settings,
    outbound: &OutboundHttpSettings,
) -> Result<Vec<Finding>, Failure> {
    let outbound = OutboundHttp::new(outbound).map_err(Failure::usage)?;
    let mut findings = Vec::new();
    let mut date = None;
    let hosts = hosts(settings)?;
    if hosts.is_empty() {
        findings.push(Finding::good("outbound", "no channel names a server that could be asked"));
    }
    for host in hosts {
        let reached = outbound.reach(&format!("https://{host}/"));
        date = date.or(reached.as_ref().ok().and_then(|reached| Some((host.clone(), reached.date?))));
        findings.push(server(&host, reached));
    }
    findings.extend(date.and_then(|(host, date)| skew(&host, date, SystemTime::now())));
    findings.push(public_url(settings, &outbound)?);
    Ok(findings)
}

/// Servers that installed channels may call, as far as their files name them in full.
fn hosts(settings: &Settings) -> Result<BTreeSet<String>, Failure> {
    let loader = settings.loader()?;
    let mut hosts = BTreeSet::new();
    for channel in settings.installed() {
        // One that cannot be loaded is told of with the channels.
        let Ok(channel) = loader.load_planned(&PlannedChannel::found(channel)) else { continue };
        let http = channel.capabilities_file().capabilities.http.as_ref();
        let names = http.into_iter().flat_map(|http| &http.allowlist).map(|entry| entry.host.clone());
        hosts.extend(names.filter(|host| !host.contains(['*', '{', ':', '/'])));
    }
    Ok(hosts)
}

/// Whether a server responds. Any status is a response: the page at its root is nobody's business.
fn server(host: &str, reached: Result<Reached, OutboundError>) -> Finding {
    match reached {
        Ok(Reached { route, status, .. }) => {
            Finding::good("outbound", format!("{host} responds with {status}; {route}"))
        }
        Err(OutboundError::Resolve { reason, .. }) => Finding::error(
            "dns",
            format!("{host} is not found: {reason}"),
            "look at /etc/resolv.conf and at the network: `getent hosts` asks the same resolver",
        ),
        Err(error) => Finding::error(
            "outbound",
            format!("{host}: {error}"),
            "look at firewall and proxy (`proxy` in tinclaw.toml); `tinclaw egress explain` shows each check",
        ),
    }
}

/// A clock that differs from that of a server.
fn skew(host: &str, theirs: SystemTime, ours: SystemTime) -> Option<Finding> {
    let (ahead, by) = match ours.duration_since(theirs) {
        Ok(by) => ("ahead of", by),
        Err(error) => ("behind", error.duration()),
    };
    (by > MAX_SKEW).then(|| {
        Finding::error(
            "clock",
            format!("this host's clock is {} {ahead} that of {host}", HumanDuration(by)),
            "set it (`timedatectl set-ntp true`): signatures that name a time are refused",
        )
    })
}

/// Whether the public address leads to the running host.
fn public_url(settings: &Settings, outbound: &OutboundHttp) -> Result<Finding, Failure> {
    const CHECK: &str = "public_url";
    let Some(url) = settings.public_url() else {
        return Ok(Finding::note(
            CHECK,
            "none is configured",
            "channels that get webhooks need one: `public_url` in tinclaw.toml",
        ));
    };
    let url = url.as_str();
    let Some(probe) = ask_host(settings, &["public-probe"])? else {
        return Ok(Finding::unknown(CHECK, format!("{url} cannot be tried: no host runs"), "start the host"));
    };
    let (path, token) = (&probe["path"], &probe["token"]);
    let (path, token) = (path.as_str().unwrap_or_default(), token.as_str().unwrap_or_default());
    Ok(match outbound.reach(&format!("{url}{path}")) {
        Ok(reached) if reached.body == token.as_bytes() => {
            Finding::good(CHECK, format!("{url} leads to this host; {}", reached.route))
        }
        Ok(reached) => Finding::error(
            CHECK,
            format!("{url} leads to something else, which responded with {}", reached.status),
            "look where the tunnel or proxy sends requests: it must be the address that the host listens on",
        ),
        Err(OutboundError::Url(_)) => Finding::unknown(
            CHECK,
            format!("{url} is not tried: only https:// is"),
            "services call https:// addresses; have a tunnel or proxy with TLS in front of the host",
        ),
        Err(error) => Finding::error(
            CHECK,
            format!("{url} cannot be reached: {error}"),
            "look at the tunnel or proxy, at its certificate, and at the name's address; from inside a network its own \
             public address is not always reachable",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::CheckState;
    use super::*;

    #[test]
    fn a_clock_may_differ_by_a_minute_and_no_more() {
        let ours = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let second = Duration::from_secs(1);
        for (theirs, expected) in [
            (ours, None),
            (ours + MAX_SKEW, None),
            (ours + MAX_SKEW + second, Some("behind that of a.example")),
            (ours - MAX_SKEW, None),
            (ours - MAX_SKEW - second, Some("ahead of that of a.example")),
        ] {
            let found = skew("a.example", theirs, ours);
            assert_eq!(found.is_some(), expected.is_some(), "{theirs:?}");
            assert!(expected.is_none_or(|part| found.unwrap().text.contains(part)), "{theirs:?}");
        }
    }

    #[test]
    fn a_name_that_is_not_found_is_told_from_a_server_that_does_not_respond() {
        let unknown = OutboundError::Resolve { host: "a.example".into(), reason: "no such name".into() };
        let away = OutboundError::Connection { host: "a.example".into(), reason: "refused", is_sent: false };
        for (error, check) in [(unknown, "dns"), (away, "outbound")] {
            let found = server("a.example", Err(error));
            assert_eq!((found.check, found.health), (check, CheckState::Error));
            assert!(found.help.is_some());
        }
    }
}
