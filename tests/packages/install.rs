use serde_json::json;

use crate::home::*;
use crate::support::fixtures;
use crate::support::upstream::Upstream;

#[test]
fn a_channel_is_installed_into_the_running_host_and_removed_from_it() {
    let place = home();
    let host = place.host(&[], &[]);
    let guest = version(&place, "one", |_| {});
    let ran = place.run(&["install", text(&guest), "--yes", "--json"]);
    ran.good();
    assert_eq!(ran.json()["state"], "installed");
    wait_for_version(&place, "one");
    assert_eq!(post(&host), 200);
    assert_eq!(files(&place), ["everything.capabilities.json", "everything.wasm"]);
    let again = place.run(&["install", text(&guest), "--yes"]);
    assert!(again.code == Some(1) && again.err.contains("tinclaw upgrade everything"), "{}", again.err);

    place.run(&["remove", "everything"]).good();
    assert_eq!(post(&host), 404, "its paths are gone at once");
    assert!(files(&place).is_empty() && running_version(&place).is_none());
    host.stop();
}

#[test]
fn an_installation_shows_rights_and_waits_for_approval() {
    let place = home();
    let host = place.host(&[], &[]);
    let guest = version(&place, "one", |_| {});
    let ran = place.run(&["install", text(&guest)]);
    assert_eq!(ran.code, Some(1), "nobody has agreed");
    let shown = ran.out.clone() + &ran.err;
    for part in [
        "sends any requests to api.everything.example",
        "sends the secret everything_key to api.everything.example in the parameter key, at /keyed",
        "takes requests at /webhook/everything\n",
        "takes requests from anybody, without authentication",
        "may take 6000 requests (http.rate_limit.requests_per_minute)",
        "it waits for `tinclaw approve everything`",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(files(&place).is_empty() && running_version(&place).is_none());
    assert!(place.run(&["approve", "everything", "--yes"]).good().contains("installed everything; it runs"));
    wait_for_version(&place, "one");
    assert_eq!(post(&host), 200);
    host.stop();
}

#[test]
fn without_a_host_the_files_are_put_in_their_places() {
    let place = home();
    let guest = version(&place, "one", |_| {});
    let ran = place.run(&["install", text(guest.parent().unwrap()), "--yes", "--json"]);
    assert_eq!(ran.json()["state"], "installed");
    let host = place.host(&[], &[]);
    wait_for_version(&place, "one");
    drop(host);
    place.run(&["disable", "everything"]).good();
    let host = place.host(&[], &[]);
    assert_eq!((post(&host), running_version(&place)), (404, None), "it is disabled over a restart");
    assert!(host.log().contains("channel everything is disabled"), "{}", host.log());
    place.run(&["enable", "everything"]).good();
    wait_for_version(&place, "one");
    place.run(&["disable", "everything"]).good();
    assert_eq!(post(&host), 404);
    host.stop();
    place.run(&["remove", "everything"]).good();
    assert!(files(&place).is_empty());
}

/// What lay there before approvals existed runs on; what is put there later does not run by itself.
#[test]
fn channels_that_were_there_are_taken_as_approved_and_later_ones_are_not() {
    let place = home();
    place.channel("everything");
    let log = place.host(&[], &[]).stop();
    assert!(log.contains("was installed before approvals were recorded"), "{log}");
    place.channel("echo");
    let host = place.host(&[], &[]);
    wait_for_version(&place, "Everything");
    let log = host.stop();
    assert!(log.contains("channel echo: it has not been approved; `tinclaw approve echo`"), "{log}");
    let ran = place.run(&["approve", "echo", "--yes"]);
    assert!(ran.good().contains("sends POST requests to api.echo.example"), "{}", ran.out);
    let host = place.host(&[], &[]);
    assert!(host.said.contains("echo"), "{}", host.said);
    // Its author's next version, copied by hand, asks for more.
    version(&place, "channels", asks_for_more);
    host.stop();
    let host = place.host(&[], &[]);
    let log = host.stop();
    assert!(
        log.contains("channel everything: it asks for more than was approved") && log.contains(MORE),
        "{log}"
    );
}

#[test]
fn packages_are_fetched_with_the_hosts_own_rules_and_their_digests() {
    let archive = {
        let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let mut archive = tar::Builder::new(packed);
        for file in ["everything.wasm", "everything.capabilities.json"] {
            let content = std::fs::read(fixtures::path(file)).unwrap();
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, format!("everything-1.0/{file}"), &*content).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    };
    let digest = {
        let place = home();
        let path = place.file("a", &archive);
        let output = std::process::Command::new("sha256sum").arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()[..64].to_owned()
    };
    let served = archive.clone();
    let upstream = Upstream::start(move |request, _| match request.target.as_str() {
        "/everything.tar.gz" => (200, Vec::new(), served.clone()),
        "/everything.wasm" => (200, Vec::new(), fixtures::guest("everything")),
        "/everything.capabilities.json" => {
            (200, Vec::new(), std::fs::read(fixtures::path("everything.capabilities.json")).unwrap())
        }
        _ => (404, Vec::new(), Vec::new()),
    });
    let place = home();
    let rewrite =
        format!("channels = [\"channels\"]\n[http_rewrite]\n\"a.example\" = \"{}\"\n", upstream.url());
    place.file("tinclaw.toml", rewrite);
    let url = "https://a.example/everything.tar.gz";
    for (arguments, expected) in [
        (vec!["install", url, "--yes"], "say with --sha256"),
        (vec!["install", url, "--yes", "--sha256", &"0".repeat(64)], "nothing was installed"),
        (vec!["install", "http://a.example/everything.tar.gz", "--yes"], "only https:// addresses"),
        (vec!["install", "https://a.example/nothing.tar.gz", "--yes"], "status 404"),
        (vec!["install", "https://127.0.0.1/everything.tar.gz", "--yes"], "127.0.0.1"),
    ] {
        let ran = place.run(&arguments);
        assert!(ran.code == Some(1) && ran.err.contains(expected), "{arguments:?}: {}", ran.err);
        assert!(files(&place).is_empty());
    }
    place.run(&["install", url, "--yes", "--sha256", &digest]).good();
    assert_eq!(files(&place), ["everything.capabilities.json", "everything.wasm"]);
    let again = place.run(&["install", url, "--yes", "--sha256", &digest]);
    let command = format!("`tinclaw upgrade everything {url} --sha256 {digest}`");
    assert!(again.err.contains(&command), "{}", again.err);
    // It is looked for where it came from.
    let ran = place.run(&["upgrade", "everything", "--sha256", &digest, "--json"]);
    assert_eq!(ran.json(), json!({"channel": "everything", "state": "unchanged"}));
}
