//! The daemon under a limit on address space, as `ulimit -v` and `LimitAS=` set one: it serves, or it says why not.

mod cli_support;
mod support;

use std::fs::{self, File};
use std::process::Command;
use std::thread;

use cli_support::Place;
use support::{client, eventually};

/// `tinclaw run` with so many KiB of addresses.
fn limited(place: &Place, kibibytes: u32) -> Command {
    let run = place.command(&["run", "--listen", "127.0.0.1:0"]);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v \"$0\" && exec \"$@\"", &kibibytes.to_string()]);
    command.arg(run.get_program()).args(run.get_args()).current_dir(place.path());
    command.env_clear().envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Runs a host under the limit; when it serves, 32 clients at once ask it for something. What it logged, and whether it served.
fn serves(kibibytes: u32) -> (bool, String) {
    let place = Place::new();
    let file = place.path().join("log");
    let log = || fs::read_to_string(&file).unwrap();
    let sink = File::create(&file).unwrap();
    let mut host = limited(&place, kibibytes).stdout(sink.try_clone().unwrap()).stderr(sink).spawn().unwrap();
    let address = eventually("the host serves or ends", || {
        if let Some(status) = host.try_wait().unwrap() {
            assert_eq!(status.code(), Some(1), "{kibibytes}: {}", log());
            return Some(None);
        }
        let log = log();
        let address = log.lines().find_map(|line| line.strip_prefix("listening on http://"))?;
        log.contains("channel webchat is ready").then(|| Some(address.parse().unwrap()))
    });
    let Some(address) = address else { return (false, log()) };
    let clients: Vec<_> = (0..32)
        .map(|_| thread::spawn(move || client::request(address, "GET", "/chat", &[], b"").status))
        .collect();
    for client in clients {
        let status = client.join().unwrap();
        assert!(status == 200, "{kibibytes}: {status}: {}", log());
    }
    let pid = rustix::process::Pid::from_child(&host);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = host.wait().unwrap();
    assert!(ended.success(), "{kibibytes}: {ended}: {}", log());
    (true, log())
}

// The daemon failed to start without a reason or lost threads between 80,000 and 250,000 KiB: stretches of 64 MiB for guests' memories took the
// addresses that threads need for their stacks.
#[test]
fn a_host_with_few_addresses_serves_or_says_how_many_it_needs() {
    let mut served = 0;
    for kibibytes in [80_000, 100_000, 120_000, 150_000, 200_000, 250_000] {
        let (serves, log) = serves(kibibytes);
        assert!(!log.contains("panicked"), "{kibibytes}: {log}");
        assert!(
            serves || log.contains("the limit on address space is"),
            "{kibibytes} KiB: the reason is not the address space: {log}"
        );
        assert!(serves || served == 0, "{kibibytes} KiB are too few, and fewer were enough: {log}");
        served += usize::from(serves);
    }
    assert!(served > 0, "250,000 KiB are enough for a host");
}
