//! Tables, versions, migrations.
//!
//! What is written often is kept small and together, because flash wears by the page:
//! - What a message says never changes and is written once, at the end of its table. What does change (state, attempts) is
//!   a row of a few bytes in a table of its own, beside those of its neighbours in time. The same for replies.
//! - Dedupe keys are appended. Nobody looks one up by its key here: the host has them in memory. An index over random keys
//!   would touch another page with every webhook.
//! - No index serves a listing alone.
//! - Channels are numbered.
//! - Attachments are numbered by message and place, `message * 256 + place`, which needs no index either.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::fault::fault;
use crate::store::StoreError;

/// Marks the file as ours (`PRAGMA application_id`): "tclw".
pub(super) const APPLICATION_ID: i64 = 0x7463_6c77;

/// Each entry brings the schema from the version that is its index to the next. An entry that was released is never
/// changed.
const MIGRATIONS: &[&str] =
    &[VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6, VERSION_7, VERSION_8];

const VERSION_1: &str = "
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value ANY
) STRICT, WITHOUT ROWID;

CREATE TABLE channel (
    id        INTEGER PRIMARY KEY,
    name      TEXT NOT NULL UNIQUE,
    polled_ms INTEGER
) STRICT;

CREATE TABLE file (
    id      INTEGER PRIMARY KEY,
    channel INTEGER NOT NULL REFERENCES channel (id),
    path    TEXT NOT NULL,
    content TEXT NOT NULL,
    UNIQUE (channel, path)
) STRICT;

CREATE TABLE timer (
    channel INTEGER NOT NULL REFERENCES channel (id),
    name    TEXT NOT NULL,
    due_ms  INTEGER NOT NULL,
    payload TEXT NOT NULL,
    PRIMARY KEY (channel, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE message (
    id            INTEGER PRIMARY KEY,
    channel       INTEGER NOT NULL REFERENCES channel (id),
    received_ms   INTEGER NOT NULL,
    conversation  TEXT NOT NULL,
    user_id       TEXT NOT NULL,
    user_name     TEXT,
    thread_id     TEXT,
    metadata_json TEXT NOT NULL,
    content       TEXT NOT NULL
) STRICT;

CREATE TABLE delivery (
    id         INTEGER PRIMARY KEY REFERENCES message (id),
    state      INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    bytes      INTEGER NOT NULL
) STRICT;

CREATE TABLE message_file (
    id             INTEGER PRIMARY KEY,
    name           TEXT NOT NULL,
    mime_type      TEXT NOT NULL,
    filename       TEXT,
    size_bytes     INTEGER,
    source_url     TEXT,
    storage_key    TEXT,
    extracted_text TEXT,
    extras_json    TEXT NOT NULL,
    data           BLOB
) STRICT;

CREATE TABLE reply (
    id            INTEGER PRIMARY KEY,
    channel       INTEGER NOT NULL REFERENCES channel (id),
    created_ms    INTEGER NOT NULL,
    answers       INTEGER,
    conversation  TEXT NOT NULL,
    broadcast_to  TEXT,
    message_id    TEXT NOT NULL,
    thread_id     TEXT,
    metadata_json TEXT NOT NULL,
    content       TEXT NOT NULL
) STRICT;

CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY REFERENCES reply (id),
    state      INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    flags      INTEGER NOT NULL,
    since_ms   INTEGER NOT NULL,
    next_ms    INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    error      TEXT
) STRICT;

CREATE TABLE reply_file (
    id        INTEGER PRIMARY KEY,
    filename  TEXT NOT NULL,
    mime_type TEXT NOT NULL,
    data      BLOB NOT NULL
) STRICT;

CREATE TABLE seen (
    id           INTEGER PRIMARY KEY,
    channel      INTEGER NOT NULL REFERENCES channel (id),
    at_ms        INTEGER NOT NULL,
    expires_ms   INTEGER NOT NULL,
    key          BLOB NOT NULL,
    status       INTEGER,
    headers_json TEXT,
    body         BLOB
) STRICT;

CREATE TABLE pairing_request (
    channel     INTEGER NOT NULL REFERENCES channel (id),
    external_id TEXT NOT NULL,
    code        TEXT NOT NULL,
    meta_json   TEXT NOT NULL,
    created_ms  INTEGER NOT NULL,
    expires_ms  INTEGER NOT NULL,
    PRIMARY KEY (channel, external_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE pairing_identity (
    channel     INTEGER NOT NULL REFERENCES channel (id),
    external_id TEXT NOT NULL,
    identity    TEXT NOT NULL,
    at_ms       INTEGER NOT NULL,
    PRIMARY KEY (channel, external_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE pairing_allowed (
    channel INTEGER NOT NULL REFERENCES channel (id),
    entry   TEXT NOT NULL,
    PRIMARY KEY (channel, entry)
) STRICT, WITHOUT ROWID;

CREATE TABLE pairing_lock (
    channel         INTEGER PRIMARY KEY REFERENCES channel (id),
    wrong           INTEGER NOT NULL,
    locked_until_ms INTEGER NOT NULL
) STRICT;
";

/// How many attempts of a reply have trapped.
const VERSION_2: &str = "ALTER TABLE outbox ADD COLUMN traps INTEGER NOT NULL DEFAULT 0;";

/// When a timer was set: after a restart with another clock it waits no longer than it was set for.
const VERSION_3: &str = "ALTER TABLE timer ADD COLUMN set_ms INTEGER NOT NULL DEFAULT 0;";

/// Why a message is a dead letter.
const VERSION_4: &str = "ALTER TABLE delivery ADD COLUMN error TEXT;";

/// From here on `meta` has the number of the last batch, `last_batch`, from which a host that has reopened the file sees what is
/// in it. When a channel was polled was never used.
const VERSION_5: &str = "ALTER TABLE channel DROP COLUMN polled_ms;";

/// What an agent remembers of conversations. A row is replaced as a whole and then has the largest id.
const VERSION_6: &str = "
CREATE TABLE transcript (
    id           INTEGER PRIMARY KEY,
    conversation TEXT NOT NULL UNIQUE,
    changed_ms   INTEGER NOT NULL,
    content      TEXT NOT NULL
) STRICT;
";

/// The names that the program has for these since.
const VERSION_7: &str = "
ALTER TABLE reply RENAME COLUMN answers TO in_reply_to;
ALTER TABLE pairing_lock RENAME COLUMN wrong TO wrong_codes;
ALTER TABLE seen RENAME TO dedupe_key;
UPDATE meta SET name = 'last_dedupe_key' WHERE name = 'last_seen';
";

/// What happened to messages and replies, in the order in which it did. `subject` is twice the id of a message, or that of a reply
/// and one more. There is no index: it is read by a person who asks for one message, and written with every message.
const VERSION_8: &str = "
CREATE TABLE step (
    id         INTEGER PRIMARY KEY,
    subject    INTEGER NOT NULL,
    kind       INTEGER NOT NULL,
    at_ms      INTEGER NOT NULL,
    attempt    INTEGER,
    fuel       INTEGER,
    took_us    INTEGER,
    dedupe_key INTEGER,
    text       TEXT
) STRICT;
";

/// Looks at a database without changing it: `None` for an empty one, else its schema version.
///
/// # Errors
/// [`StoreError::Foreign`] and [`StoreError::Newer`], and whatever reading meets.
pub(super) fn version(conn: &Connection, path: &Path) -> Result<Option<usize>, StoreError> {
    version_within(conn, path, MIGRATIONS.len())
}

/// Brings the schema to the newest version, each step in a transaction of its own.
pub(super) fn migrate(conn: &mut Connection, path: &Path, from: usize) -> Result<(), StoreError> {
    migrate_through(conn, from, MIGRATIONS).map_err(|error| fault(path, &error))
}

fn version_within(conn: &Connection, path: &Path, known: usize) -> Result<Option<usize>, StoreError> {
    let ask = |query: &str| conn.query_row(query, [], |row| row.get::<_, i64>(0));
    let failed = |error| fault(path, &error);
    let application = ask("PRAGMA application_id").map_err(failed)?;
    let found = ask("PRAGMA user_version").map_err(failed)?;
    let objects = ask("SELECT count(*) FROM sqlite_schema").map_err(failed)?;
    match (application, found, objects) {
        (0, 0, 0) => Ok(None),
        (APPLICATION_ID, found, _) => match usize::try_from(found) {
            Ok(version) if version <= known => Ok(Some(version)),
            _ => Err(StoreError::Newer { path: path.to_owned(), found, known: known as i64 }),
        },
        _ => Err(StoreError::Foreign { path: path.to_owned() }),
    }
}

fn migrate_through(conn: &mut Connection, from: usize, migrations: &[&str]) -> rusqlite::Result<()> {
    for (version, migration) in migrations.iter().enumerate().skip(from) {
        let step = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.execute_batch(migration)?;
        step.pragma_update(None, "application_id", APPLICATION_ID)?;
        step.pragma_update(None, "user_version", version as i64 + 1)?;
        step.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Connection {
        Connection::open_in_memory().unwrap()
    }

    fn version_of(conn: &Connection, known: usize) -> Result<Option<usize>, StoreError> {
        version_within(conn, Path::new("test.db"), known)
    }

    #[test]
    fn an_old_file_is_brought_forward_step_by_step_and_keeps_its_rows() {
        let steps = ["CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y DEFAULT 7", "CREATE INDEX i ON a (y)"];
        let mut conn = empty();
        migrate_through(&mut conn, 0, &steps[..1]).unwrap();
        conn.execute("INSERT INTO a VALUES (1)", []).unwrap();
        assert_eq!(version_of(&conn, 3), Ok(Some(1)));
        migrate_through(&mut conn, 1, &steps).unwrap();
        assert_eq!(version_of(&conn, 3), Ok(Some(3)));
        let row: (i64, i64) =
            conn.query_row("SELECT x, y FROM a", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(row, (1, 7));
    }

    #[test]
    fn a_reply_of_the_first_version_has_not_trapped() {
        let mut conn = empty();
        migrate_through(&mut conn, 0, &MIGRATIONS[..1]).unwrap();
        conn.execute_batch(
            "INSERT INTO channel VALUES (1, 'a', NULL);
             INSERT INTO reply VALUES (1, 1, 0, NULL, 'c', NULL, 'm', NULL, '{}', 'hello');
             INSERT INTO outbox VALUES (1, 0, 2, 0, 0, 0, 0, 5, 'away');",
        )
        .unwrap();
        migrate_through(&mut conn, 1, MIGRATIONS).unwrap();
        let loaded = crate::store::sqlite::load::load(&conn, 0).unwrap();
        assert_eq!((loaded.replies()[0].attempts, loaded.replies()[0].traps), (2, 0));
    }

    #[test]
    fn a_message_of_the_first_version_has_no_error() {
        let mut conn = empty();
        migrate_through(&mut conn, 0, &MIGRATIONS[..1]).unwrap();
        conn.execute_batch(
            "INSERT INTO channel VALUES (1, 'a', NULL);
             INSERT INTO message VALUES (1, 1, 0, 'c', 'u', NULL, NULL, '{}', 'hello');
             INSERT INTO delivery VALUES (1, 0, 2, 0, 5);",
        )
        .unwrap();
        migrate_through(&mut conn, 1, MIGRATIONS).unwrap();
        let found = crate::store::sqlite::read::message(&conn, crate::store::MessageId(1)).unwrap().unwrap();
        assert_eq!((found.attempt, found.error), (2, None));
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_before_it_and_nothing_half() {
        let steps = ["CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE a (x)"];
        let mut conn = empty();
        assert!(migrate_through(&mut conn, 0, &steps).is_err());
        assert_eq!(version_of(&conn, 2), Ok(Some(1)));
        let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
    }

    #[test]
    fn a_newer_file_and_one_of_another_program_are_told_apart() {
        let mut conn = empty();
        assert_eq!(version_of(&conn, 1), Ok(None));
        migrate_through(&mut conn, 0, &["CREATE TABLE a (x)", "CREATE TABLE b (x)"]).unwrap();
        assert!(matches!(version_of(&conn, 1), Err(StoreError::Newer { found: 2, known: 1, .. })));
        conn.pragma_update(None, "application_id", 12).unwrap();
        assert!(matches!(version_of(&conn, 1), Err(StoreError::Foreign { .. })));
    }
}
