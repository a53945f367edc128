//! Three nodes of a database that are one cluster.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// The cluster; its nodes end with the test.
pub struct Galera {
    directory: PathBuf,
    base: u16,
    guard: Child,
}

impl Drop for Galera {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/galera.sh")
}

impl Galera {
    /// Starts three nodes with an empty database `chat`; none, with a message, where they are not installed.
    pub fn start() -> Option<Self> {
        let is_there = |program: &str| {
            let mut asked = Command::new(program);
            asked.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
        };
        let provider = Path::new("/usr/lib/galera/libgalera_smm.so");
        if !["mariadbd", "mariadb", "rsync"].into_iter().all(is_there) || !provider.exists() {
            eprintln!("skipped: mariadb-server, galera-4 and rsync are not installed");
            return None;
        }
        // One after the other: two clusters at a time are too much for a small machine.
        static COUNT: AtomicU16 = AtomicU16::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("tinclaw-galera-{}-{count}", std::process::id()));
        let base = 20_000 + (std::process::id() % 200) as u16 * 50 + count * 10_000;
        #[expect(clippy::zombie_processes, reason = "it is waited for when this is dropped")]
        let mut guard = Command::new(script())
            .arg("run")
            .arg(&directory)
            .arg(base.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script runs");
        let mut said = String::new();
        BufReader::new(guard.stdout.take()?).read_line(&mut said).expect("it says something");
        assert_eq!(said.trim(), "ready", "the nodes do not come up");
        let galera = Self { directory, base, guard };
        galera.sql("CREATE DATABASE chat");
        Some(galera)
    }

    /// The address of the database for a host that prefers this node.
    pub fn address(&self, preferred: usize) -> String {
        let node = |turn: usize| format!("127.0.0.1:{}", self.base as usize + (preferred + turn) % 3 + 1);
        format!("mysql://root@{},{},{}/chat", node(0), node(1), node(2))
    }

    fn sql(&self, statement: &str) {
        let socket = self.directory.join("n1/socket");
        let done = Command::new("mariadb")
            .args(["--no-defaults", "-uroot", "-e", statement, "-S"])
            .arg(socket)
            .status()
            .expect("the client runs");
        assert!(done.success());
    }

    /// Kills a node as a machine dies, without a word to the others.
    pub fn kill(&self, node: usize) {
        let path = self.directory.join(format!("n{}/pid", node + 1));
        let pid = std::fs::read_to_string(path).expect("its process");
        let killed = Command::new("kill").args(["-9", pid.trim()]).status();
        assert!(killed.expect("kill runs").success());
    }

    /// Starts a node that was killed, and waits until it has caught up.
    pub fn restart(&self, node: usize) {
        let started = Command::new(script())
            .arg("node")
            .arg(&self.directory)
            .args([self.base.to_string(), (node + 1).to_string()])
            .stdout(Stdio::null())
            .status();
        assert!(started.expect("the script runs").success(), "node {} does not come back", node + 1);
    }
}
