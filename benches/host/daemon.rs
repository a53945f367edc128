//! The daemon: its size, its time to start, and its memory.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::resident;

/// How often the daemon is started for a figure.
const STARTS: usize = 9;

pub fn size_start_and_memory() {
    let program = env!("CARGO_BIN_EXE_tinclaw");
    println!("program: {:.2} MB", fs::metadata(program).expect("the program").len() as f64 / 1e6);
    for channels in [1, 6] {
        start_and_memory(program, channels);
    }
}

/// Starts the daemon with so many channels of the size of real ones, and reads when the last one is ready.
fn start_and_memory(program: &str, channels: usize) {
    let dir = std::env::temp_dir().join(format!("tinclaw-bench-{}-{channels}", std::process::id()));
    let channels_dir = dir.join("channels");
    fs::create_dir_all(&channels_dir).expect("a directory");
    for number in 0..channels {
        install_large(&channels_dir, number);
    }
    let mut times = Vec::new();
    let mut memory = 0.0;
    for _ in 0..STARTS {
        let begin = Instant::now();
        let mut daemon = spawn(program, &dir, &channels_dir);
        wait_until_ready(&mut daemon, channels);
        times.push(begin.elapsed());
        if times.len() == STARTS {
            // What only the start needed has gone back by then.
            thread::sleep(Duration::from_secs(3));
            memory = resident(daemon.id());
        }
        daemon.kill().expect("the daemon runs");
        daemon.wait().expect("the daemon ends");
    }
    times.sort();
    println!(
        "{channels} channels of 360 KB: ready after {:.0} ms (median of {STARTS}), resident {memory:.1} MiB",
        times[STARTS / 2].as_secs_f64() * 1e3
    );
    fs::remove_dir_all(&dir).expect("the directory goes");
}

fn install_large(channels_dir: &Path, number: usize) {
    let name = format!("large{number}");
    let file = fs::read(fixture("large.capabilities.json")).expect("the capability file");
    let mut file: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
    file["name"] = name.clone().into();
    file["capabilities"]["channel"]["workspace_prefix"] = format!("channels/{name}/").into();
    // Bytes that differ, so that nothing is shared between the channels.
    let mut wasm = fs::read(fixture("large.wasm")).expect("the guest");
    wasm.extend([0, 5, 3, b'n', b'o', b'.', b'0' + u8::try_from(number).expect("few channels")]);
    fs::write(channels_dir.join(format!("{name}.wasm")), wasm).expect("the guest is written");
    fs::write(channels_dir.join(format!("{name}.capabilities.json")), file.to_string())
        .expect("the file is written");
}

fn spawn(program: &str, dir: &Path, channels_dir: &Path) -> Child {
    Command::new(program)
        .args(["run", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(dir.join("state"))
        .arg("--channels")
        .arg(channels_dir)
        .env("RUST_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the daemon starts")
}

fn wait_until_ready(daemon: &mut Child, channels: usize) {
    let log = BufReader::new(daemon.stderr.take().expect("its log"));
    let mut ready = 0;
    for line in log.lines().map_while(Result::ok) {
        ready += usize::from(line.contains("is ready"));
        if ready == channels {
            return;
        }
    }
    panic!("the daemon ended with {ready} of {channels} channels ready");
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}
