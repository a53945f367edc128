//! Drives the built program: a state directory of its own, a host on a free port, commands and their output.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::support::temp_dir::TempDir;
use super::support::{client, eventually};

/// Where the program runs: a home with a state directory and channels.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(TempDir::new())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        self.0.write(name, content)
    }

    /// A fixture guest, or a channel of the program, in the directory `channels` of this place.
    pub fn channel(&self, name: &str) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let bundled = root.join("channels").join(name);
        let folder = if bundled.is_dir() { bundled } else { root.join("fixtures") };
        for file in [format!("{name}.wasm"), format!("{name}.capabilities.json")] {
            self.file(&format!("channels/{file}"), std::fs::read(folder.join(&file)).unwrap());
        }
        self.0.join("channels").join(format!("{name}.wasm"))
    }

    /// The program in this place, with nothing of the tester's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tinclaw"));
        command.args(arguments).current_dir(self.path()).env_clear();
        command.env("HOME", self.path()).env("TINCLAW_STATE_DIR", self.state());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// Runs a command with this on its standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that finds its arguments wrong ends without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Ran::from(child.wait_with_output().unwrap())
    }

    /// Starts a host on a free port and waits until it listens.
    pub fn host(&self, arguments: &[&str], environment: &[(&str, &str)]) -> RunningHost {
        let all = [&["run", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut command = self.command(&all);
        command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let mut errors = child.stderr.take().unwrap();
        let sink = log.clone();
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = errors.read(&mut piece) {
                sink.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        });
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            let read = output.read_line(&mut line).unwrap();
            assert!(read > 0, "the host ended: {said}{}", log.lock().unwrap());
            said += &line;
            if let Some(address) = line.strip_prefix("listening on http://") {
                break address.trim().parse().unwrap();
            }
        };
        thread::spawn(move || {
            let _ = output.read_to_string(&mut String::new());
        });
        RunningHost { child, address, said, log, reader }
    }
}

/// What a command came to.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        let value = serde_json::from_str(&self.out);
        let value = value.unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err));
        fields_are_documented(&value);
        value
    }

    /// Standard output of a command whose package waits, because nobody has agreed.
    pub fn waiting(&self) -> &str {
        let says_so = self.err.contains("it waits for `tinclaw approve ");
        assert!(self.code == Some(1) && says_so, "{}{}", self.out, self.err);
        &self.out
    }

    /// Standard output of a command that went well.
    pub fn good(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        &self.out
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A line named its channel as the target, at the beginning of the message and in the error that it quoted.
fn names_its_channel_once(line: &str) {
    let message = line.splitn(3, ' ').nth(2).unwrap_or_default().trim_start();
    if let Some(rest) = message.strip_prefix("channel ") {
        let name = rest.split([' ', ':']).next().unwrap_or_default().trim_matches('`');
        let again = [format!("channel `{name}`: "), format!("channel {name}: ")];
        let text = &rest[name.len()..];
        assert!(again.iter().all(|again| !text.contains(again.as_str())), "{line}");
    } else if let Some((target, text)) = message.split_once(": ") {
        assert!(!text.starts_with(&format!("channel {target}")), "{line}");
    }
}

/// Every field of an object that a command prints is in the documents. The keys of some objects are a guest's own.
fn fields_are_documented(value: &Value) {
    const DOCUMENTED: &str = include_str!("../../docs/cli.md");
    match value {
        Value::Array(items) => items.iter().for_each(fields_are_documented),
        Value::Object(fields) => {
            for (field, value) in fields {
                assert!(DOCUMENTED.contains(&format!("`{field}`")), "{field} is not in docs/cli.md");
                if !["workspace", "headers", "result", "json", "schema"].contains(&field.as_str()) {
                    fields_are_documented(value);
                }
            }
        }
        _ => {}
    }
}

/// A host that runs; killed with the test.
pub struct RunningHost {
    child: Child,
    pub address: SocketAddr,
    /// What it said before it served.
    pub said: String,
    log: Arc<Mutex<String>>,
    /// Reads the log until the host has closed it.
    reader: thread::JoinHandle<()>,
}

pub const SESSION: &str = "0123456789abcdef-test";

impl RunningHost {
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        eventually("the host ends", || self.child.try_wait().unwrap())
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Stops the host and gives its whole log.
    pub fn stop(mut self) -> String {
        self.signal("TERM");
        let status = self.wait();
        eventually("the whole log is read", || self.reader.is_finished().then_some(()));
        assert_eq!(status.code(), Some(0), "{}", self.log());
        let log = self.log();
        log.lines().for_each(names_its_channel_once);
        log
    }

    /// Says something in the web chat, once it is there.
    pub fn say(&self, id: &str, text: &str) {
        self.say_in(SESSION, id, text);
    }

    /// Says something in another session.
    pub fn say_in(&self, session: &str, id: &str, text: &str) {
        let body = json!({"session": session, "id": id, "text": text}).to_string();
        let headers = [("content-type", "application/json")];
        let reply = eventually("the web chat starts", || {
            let reply = client::request(self.address, "POST", "/chat/send", &headers, body.as_bytes());
            (reply.status != 503).then_some(reply)
        });
        assert_eq!(reply.status, 200, "{:?}", String::from_utf8_lossy(&reply.body));
    }

    /// What the agent has said in the web chat.
    pub fn heard(&self) -> Vec<String> {
        self.heard_in(SESSION)
    }

    /// What it has said in another session.
    pub fn heard_in(&self, session: &str) -> Vec<String> {
        let target = format!("/chat/messages?session={session}&after=0");
        let reply = client::request(self.address, "GET", &target, &[], b"");
        let messages = reply.json()["messages"].clone();
        let said = messages.as_array().into_iter().flatten().filter(|message| message["role"] == "agent");
        said.map(|message| message["text"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the agent has said this.
    pub fn hears(&self, text: &str) {
        eventually(&format!("the agent says {text:?}\n{}", self.log()), || {
            self.heard().iter().any(|heard| heard == text).then_some(())
        });
    }
}

impl Drop for RunningHost {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
