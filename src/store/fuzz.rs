//! Fuzzing of the database.

use std::path::PathBuf;
use std::sync::OnceLock;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::{Durability, MessageFilter, ReplyFilter, SqliteOptions, SqliteStore, Store};

/// A file that lies where the database should be: it is refused, or everything in it can be asked for.
pub fn database(bytes: &[u8]) {
    let path = placed(bytes);
    if let Some(store) = open(&path) {
        read_all(store);
    }
}

/// A database of this version with one row in each table, whose values come from the input: they are refused, or can be
/// asked for.
pub fn database_rows(bytes: &[u8]) {
    static EMPTY: OnceLock<Vec<u8>> = OnceLock::new();
    let empty = EMPTY.get_or_init(|| {
        let path = placed(b"");
        drop(open(&path).expect("an empty file becomes a database"));
        std::fs::read(path).expect("the database was written")
    });
    let path = placed(empty);
    let connection = Connection::open(&path).expect("the store has made it");
    connection.pragma_update(None, "synchronous", "off").expect("it is a setting of SQLite");
    insert_rows(&connection, bytes).expect("the schema can be read");
    drop(connection);
    if let Some(store) = open(&path) {
        read_all(store);
    }
}

/// Puts a row into every table, as far as the input goes; a row that the schema refuses is left out.
fn insert_rows(connection: &Connection, mut bytes: &[u8]) -> rusqlite::Result<()> {
    connection.pragma_update(None, "foreign_keys", false)?;
    let tables = "SELECT m.name, count(*) FROM sqlite_master m, pragma_table_info(m.name) WHERE m.type = 'table' GROUP BY 1";
    let tables: Vec<(String, u32)> = connection
        .prepare(tables)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (table, columns) in tables {
        let columns = columns as usize;
        let values: Vec<Value> = (0..columns).map_while(|_| next_value(&mut bytes)).collect();
        if values.len() == columns {
            let places = vec!["?"; columns].join(", ");
            let statement = format!("INSERT OR REPLACE INTO {table} VALUES ({places})");
            let _ = connection.execute(&statement, rusqlite::params_from_iter(values));
        }
    }
    Ok(())
}

/// A byte for the type, and what the type takes: a small number, eight bytes of a number, or a length and as many bytes.
fn next_value(bytes: &mut &[u8]) -> Option<Value> {
    let (kind, rest) = bytes.split_first()?;
    let (size, rest) = rest.split_first()?;
    let (taken, value) = match kind % 6 {
        0 => (0, Value::Null),
        1 => (0, Value::Integer(i64::from(*size))),
        2 => {
            let (number, _) = rest.split_first_chunk::<8>()?;
            (8, Value::Integer(i64::from_le_bytes(*number)))
        }
        3 => {
            let (number, _) = rest.split_first_chunk::<8>()?;
            (8, Value::Real(f64::from_le_bytes(*number)))
        }
        kind => {
            let data = rest.get(..usize::from(*size))?;
            let text = || Value::Text(String::from_utf8_lossy(data).into_owned());
            (data.len(), if kind == 4 { text() } else { Value::Blob(data.to_vec()) })
        }
    };
    *bytes = &rest[taken..];
    Some(value)
}

/// The bytes as a database file, with nothing beside it.
fn placed(bytes: &[u8]) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("tinclaw-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("the temporary directory can be written");
    let path = directory.join("tinclaw.db");
    for name in ["tinclaw.db-wal", "tinclaw.db-shm", "tinclaw.db-journal"] {
        let _ = std::fs::remove_file(directory.join(name));
    }
    std::fs::write(&path, bytes).expect("the temporary directory can be written");
    path
}

/// Without the reserve, which is larger than all the rest.
fn open(path: &std::path::Path) -> Option<SqliteStore> {
    let options =
        SqliteOptions { durability: Durability::Normal, reserve_bytes: 0, ..SqliteOptions::default() };
    SqliteStore::open_with(path, &options).ok()
}

fn read_all(mut store: SqliteStore) {
    let _ = store.load(0);
    if let Ok(messages) = store.messages(&MessageFilter::default()) {
        for message in messages {
            let _ = store.message(message.id);
        }
    }
    if let Ok(replies) = store.replies(&ReplyFilter::default()) {
        for reply in replies {
            let _ = store.reply(reply.id);
        }
    }
}
