//! A database server for tests: those that `TINCLAW_TEST_MYSQL` names, or one that is started for this test program.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};

use super::eventually;

/// The nodes of a database, whose `root` has no password. Its directory is under the system's directory for temporary files and is removed
/// when the server ends.
pub struct Server {
    nodes: Vec<String>,
    /// Ends the server when this process ends, however it does: the server's guard reads from it.
    _guard: Option<Child>,
}

/// The server of this test program; none, with a message, where there cannot be one.
pub fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(|| named().or_else(start)).as_ref()
}

impl Server {
    /// A new, empty database: its address, as the configuration has it.
    pub fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut conn = self.connect();
        conn.query_drop(format!("DROP DATABASE IF EXISTS {name}")).expect("no old database");
        conn.query_drop(format!("CREATE DATABASE {name}")).expect("a database");
        format!("mysql://root@{}/{name}", self.nodes.join(","))
    }

    /// Takes a database away again.
    pub fn drop_database(&self, address: &str) {
        let name = address.rsplit('/').next().expect("a name");
        let _ = self.connect().query_drop(format!("DROP DATABASE IF EXISTS {name}"));
    }

    /// A connection to the last node, to no database.
    pub fn connect_to_last(&self) -> Conn {
        connect(self.nodes.last().expect("a node")).expect("the database responds")
    }

    /// A connection to the first node, to no database.
    pub fn connect(&self) -> Conn {
        connect(&self.nodes[0]).expect("the database responds")
    }
}

fn connect(node: &str) -> mysql::Result<Conn> {
    let (host, port) = node.rsplit_once(':').expect("host and port");
    let port = port.parse().expect("a port");
    let options = OptsBuilder::new().ip_or_hostname(Some(host)).tcp_port(port).user(Some("root"));
    Conn::new(options.prefer_socket(false))
}

/// `127.0.0.1:13301,127.0.0.1:13302`, of a cluster that was started for the tests.
fn named() -> Option<Server> {
    let nodes = std::env::var("TINCLAW_TEST_MYSQL").ok()?;
    Some(Server { nodes: nodes.split(',').map(str::to_owned).collect(), _guard: None })
}

fn start() -> Option<Server> {
    let is_there = |program: &str| {
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    if !is_there("mariadbd") || !is_there("mariadb-install-db") {
        eprintln!("skipped: mariadbd is not installed");
        return None;
    }
    let directory = std::env::temp_dir().join(format!("tinclaw-mariadb-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).expect("a directory");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let guard = run(&directory, port);
    let node = format!("127.0.0.1:{port}");
    eventually("the database responds", || {
        TcpStream::connect_timeout(&node.parse().ok()?, Duration::from_secs(1)).ok()?;
        connect(&node).ok()
    });
    Some(Server { nodes: vec![node], _guard: Some(guard) })
}

/// Makes a database and runs it until the end of this process closes the pipe.
fn run(directory: &Path, port: u16) -> Child {
    let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
    let script = r#"
        mariadb-install-db --no-defaults --user="$3" --datadir="$1/data" --auth-root-authentication-method=normal \
            --skip-test-db >"$1/install.log" 2>&1
        mariadbd --no-defaults --user="$3" --datadir="$1/data" --socket="$1/socket" --pid-file="$1/pid" --port="$2" \
            --bind-address=127.0.0.1 --innodb-buffer-pool-size=64M --innodb-log-file-size=32M \
            --innodb-flush-log-at-trx-commit=0 >"$1/server.log" 2>&1 &
        cat
        kill -9 $!
        rm -rf "$1"
    "#;
    Command::new("bash")
        .args(["-c", script, "mariadb"])
        .arg(directory)
        .args([port.to_string(), user])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("bash")
}
