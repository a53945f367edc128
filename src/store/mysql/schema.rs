//! Tables, versions, migrations by one host at a time.
//!
//! Statements that define tables are no part of a transaction here, so each of them may be run twice, and a migration that ended
//! in the middle is run again from its beginning. Texts that are keys are kept as digests, beside the text: a key has a limit, a text
//! has none. Columns are compared byte by byte. There are no foreign keys: they cost a look at each row and save nothing that the
//! host does not see to.

use std::thread;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use super::fault::{DatabaseFault, Remedy, remedy};
use super::row::number;
use crate::model::deadline::deadline_after;

/// A step from one version to the next.
struct Migration {
    /// What is done, statement by statement.
    statements: &'static [&'static str],
    /// The oldest release, by its newest version, that still works with the result: hosts of two neighbouring releases run beside each
    /// other while one after the other is upgraded.
    oldest: u64,
}

/// Each entry brings the schema from the version that is its index to the next. An entry that was released is never changed.
const MIGRATIONS: &[Migration] = &[Migration { statements: VERSION_1, oldest: 1 }];

/// What says which version there is, and who changes it.
const META: &str = "CREATE TABLE IF NOT EXISTS meta (
    name  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    value BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB";

const VERSION_1: &[&str] = &[
    // A host's row is written with every commit of that host; see `member`.
    "CREATE TABLE IF NOT EXISTS host (
        id              INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        name            VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
        incarnation     BIGINT UNSIGNED NOT NULL,
        last_batch      BIGINT UNSIGNED NOT NULL,
        changes         BIGINT UNSIGNED NOT NULL DEFAULT 0,
        stretch         BIGINT UNSIGNED NOT NULL,
        last_message    BIGINT UNSIGNED NOT NULL DEFAULT 0,
        last_reply      BIGINT UNSIGNED NOT NULL DEFAULT 0,
        last_dedupe_key BIGINT UNSIGNED NOT NULL DEFAULT 0,
        last_step       BIGINT UNSIGNED NOT NULL DEFAULT 0
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    // `host` and `epoch`: who may write to the channel; `digest`: which version of it ran last. They mean nothing where one host has the
    // database for itself.
    "CREATE TABLE IF NOT EXISTS channel (
        id     INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        hash   BINARY(32) NOT NULL UNIQUE,
        name   LONGTEXT NOT NULL,
        host   INT UNSIGNED,
        epoch  BIGINT UNSIGNED NOT NULL DEFAULT 0,
        digest BINARY(32),
        KEY host (host)
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    // Until when a host counts as alive, and what it has said about itself. Not in the host's row, so that a beat and a commit do not
    // meet.
    "CREATE TABLE IF NOT EXISTS beat (
        host           INT UNSIGNED NOT NULL PRIMARY KEY,
        alive_until_ms BIGINT UNSIGNED NOT NULL,
        weight         INT UNSIGNED NOT NULL,
        draining       TINYINT UNSIGNED NOT NULL,
        url            LONGTEXT NOT NULL,
        offers         LONGTEXT NOT NULL
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS file (
        channel INT UNSIGNED NOT NULL,
        hash    BINARY(32) NOT NULL,
        path    LONGTEXT NOT NULL,
        content LONGTEXT NOT NULL,
        PRIMARY KEY (channel, hash)
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS timer (
        channel INT UNSIGNED NOT NULL,
        hash    BINARY(32) NOT NULL,
        name    LONGTEXT NOT NULL,
        set_ms  BIGINT UNSIGNED NOT NULL,
        due_ms  BIGINT UNSIGNED NOT NULL,
        payload LONGTEXT NOT NULL,
        PRIMARY KEY (channel, hash)
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS message (
        id            BIGINT UNSIGNED NOT NULL PRIMARY KEY,
        channel       INT UNSIGNED NOT NULL,
        received_ms   BIGINT UNSIGNED NOT NULL,
        conversation  LONGTEXT NOT NULL,
        user_id       LONGTEXT NOT NULL,
        user_name     LONGTEXT,
        thread_id     LONGTEXT,
        metadata_json LONGTEXT NOT NULL,
        content       LONGTEXT NOT NULL
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    // What changes about a message is a small row of its own: a changed row goes to the other nodes as a whole.
    "CREATE TABLE IF NOT EXISTS delivery (
        id         BIGINT UNSIGNED NOT NULL PRIMARY KEY,
        channel    INT UNSIGNED NOT NULL,
        state      TINYINT UNSIGNED NOT NULL,
        attempt    INT UNSIGNED NOT NULL,
        changed_ms BIGINT UNSIGNED NOT NULL,
        bytes      BIGINT UNSIGNED NOT NULL,
        error      LONGTEXT,
        KEY channel (channel, state)
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS message_file (
        message        BIGINT UNSIGNED NOT NULL,
        place          SMALLINT UNSIGNED NOT NULL,
        name           LONGTEXT NOT NULL,
        mime_type      LONGTEXT NOT NULL,
        filename       LONGTEXT,
        size_bytes     BIGINT UNSIGNED,
        source_url     LONGTEXT,
        storage_key    LONGTEXT,
        extracted_text LONGTEXT,
        extras_json    LONGTEXT NOT NULL,
        data           LONGBLOB,
        PRIMARY KEY (message, place)
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS reply (
        id            BIGINT UNSIGNED NOT NULL PRIMARY KEY,
        channel       INT UNSIGNED NOT NULL,
        created_ms    BIGINT UNSIGNED NOT NULL,
        in_reply_to   BIGINT UNSIGNED,
        conversation  LONGTEXT NOT NULL,
        broadcast_to  LONGTEXT,
        message_id    LONGTEXT NOT NULL,
        thread_id     LONGTEXT,
        metadata_json LONGTEXT NOT NULL,
        content       LONGTEXT NOT NULL,
        KEY in_reply_to (in_reply_to)
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    // `flags`: 1 an attempt was begun and has no outcome yet, 2 the outcome of an earlier one is unknown.
    "CREATE TABLE IF NOT EXISTS outbox (
        id         BIGINT UNSIGNED NOT NULL PRIMARY KEY,
        channel    INT UNSIGNED NOT NULL,
        state      TINYINT UNSIGNED NOT NULL,
        attempts   INT UNSIGNED NOT NULL,
        traps      INT UNSIGNED NOT NULL,
        flags      TINYINT UNSIGNED NOT NULL,
        since_ms   BIGINT UNSIGNED NOT NULL,
        next_ms    BIGINT UNSIGNED NOT NULL,
        changed_ms BIGINT UNSIGNED NOT NULL,
        bytes      BIGINT UNSIGNED NOT NULL,
        error      LONGTEXT,
        KEY channel (channel, state)
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS reply_file (
        reply     BIGINT UNSIGNED NOT NULL,
        place     SMALLINT UNSIGNED NOT NULL,
        filename  LONGTEXT NOT NULL,
        mime_type LONGTEXT NOT NULL,
        data      LONGBLOB NOT NULL,
        PRIMARY KEY (reply, place)
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS dedupe_key (
        id           BIGINT UNSIGNED NOT NULL PRIMARY KEY,
        channel      INT UNSIGNED NOT NULL,
        at_ms        BIGINT UNSIGNED NOT NULL,
        expires_ms   BIGINT UNSIGNED NOT NULL,
        hash         BINARY(16) NOT NULL,
        status       SMALLINT UNSIGNED,
        headers_json LONGTEXT,
        body         LONGBLOB,
        KEY channel (channel)
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS transcript (
        id           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        hash         BINARY(32) NOT NULL UNIQUE,
        conversation LONGTEXT NOT NULL,
        changed_ms   BIGINT UNSIGNED NOT NULL,
        content      LONGTEXT NOT NULL
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    // `subject`: twice the id of a message, or that of a reply and one more. `host` is the one that wrote the step, and forgets it.
    "CREATE TABLE IF NOT EXISTS step (
        id         BIGINT UNSIGNED NOT NULL PRIMARY KEY,
        host       INT UNSIGNED NOT NULL,
        subject    BIGINT UNSIGNED NOT NULL,
        kind       SMALLINT UNSIGNED NOT NULL,
        at_ms      BIGINT UNSIGNED NOT NULL,
        attempt    INT UNSIGNED,
        fuel       BIGINT UNSIGNED,
        took_us    BIGINT UNSIGNED,
        dedupe_key BIGINT UNSIGNED,
        text       LONGTEXT,
        KEY subject (subject),
        KEY host (host)
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS pairing_request (
        channel     INT UNSIGNED NOT NULL,
        hash        BINARY(32) NOT NULL,
        external_id LONGTEXT NOT NULL,
        code        LONGTEXT NOT NULL,
        meta_json   LONGTEXT NOT NULL,
        created_ms  BIGINT UNSIGNED NOT NULL,
        expires_ms  BIGINT UNSIGNED NOT NULL,
        PRIMARY KEY (channel, hash)
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS pairing_identity (
        channel     INT UNSIGNED NOT NULL,
        hash        BINARY(32) NOT NULL,
        external_id LONGTEXT NOT NULL,
        identity    LONGTEXT NOT NULL,
        at_ms       BIGINT UNSIGNED NOT NULL,
        PRIMARY KEY (channel, hash)
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS pairing_allowed (
        channel INT UNSIGNED NOT NULL,
        hash    BINARY(32) NOT NULL,
        entry   LONGTEXT NOT NULL,
        PRIMARY KEY (channel, hash)
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS pairing_lock (
        channel         INT UNSIGNED NOT NULL PRIMARY KEY,
        wrong_codes     INT UNSIGNED NOT NULL,
        locked_until_ms BIGINT UNSIGNED NOT NULL
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CREATE TABLE IF NOT EXISTS probe (
        host INT UNSIGNED NOT NULL PRIMARY KEY,
        data LONGBLOB NOT NULL
    ) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "INSERT IGNORE INTO meta VALUES ('stretches', 0)",
];

/// How long one host waits for another one that changes the schema.
const PATIENCE: Duration = Duration::from_secs(60);
/// After this time a host that was to change the schema counts as gone.
const CLAIM_MS: u64 = 60_000;
/// The database's clock in milliseconds.
pub(crate) const NOW_MS: &str = "CAST(UNIX_TIMESTAMP(UTC_TIMESTAMP(3)) * 1000 AS UNSIGNED)";

/// Brings the schema to the newest version, or waits until another host has done so.
///
/// # Errors
/// [`DatabaseFault::Newer`] when hosts of this release do not work with it any more, and whatever the database meets.
pub(super) fn migrate(conn: &mut Conn) -> Result<(), DatabaseFault> {
    migrate_through(conn, MIGRATIONS)
}

fn migrate_through(conn: &mut Conn, migrations: &[Migration]) -> Result<(), DatabaseFault> {
    let known = migrations.len() as u64;
    let until = deadline_after(Instant::now(), PATIENCE);
    again(|| prepare(conn))?;
    loop {
        let (version, oldest) = versions(conn)?;
        if oldest > known {
            return Err(DatabaseFault::Newer { found: version, known });
        }
        if version >= known {
            return Ok(());
        }
        if again(|| claim(conn, version))? {
            let steps = migrations.iter().skip(version as usize);
            for (step, next) in steps.zip(version + 1..) {
                again(|| run(conn, step, next))?;
            }
        } else if Instant::now() >= until {
            let detail = "another host changes the tables, and does not come to an end";
            return Err(DatabaseFault::Unreadable(detail.to_owned()));
        } else {
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Tries again what another transaction was in the way of.
fn again<T>(mut work: impl FnMut() -> Result<T, DatabaseFault>) -> Result<T, DatabaseFault> {
    for _ in 0..100 {
        match work() {
            Err(DatabaseFault::Sql(error)) if remedy(&error) == Remedy::Again => {
                thread::sleep(Duration::from_millis(10));
            }
            other => return other,
        }
    }
    work()
}

fn prepare(conn: &mut Conn) -> Result<(), DatabaseFault> {
    conn.query_drop(META)?;
    conn.query_drop(
        "INSERT IGNORE INTO meta VALUES ('version', 0), ('oldest', 0), ('changing_until_ms', 0)",
    )?;
    Ok(())
}

/// The version of the schema, and the oldest release that works with it.
fn versions(conn: &mut Conn) -> Result<(u64, u64), DatabaseFault> {
    let mut of = |name: &str| number(conn, "SELECT value FROM meta WHERE name = ?", (name,));
    Ok((of("version")?, of("oldest")?))
}

/// Takes the right to change the schema from this version; whether it was to be had. `GET_LOCK` keeps hosts of one node apart, and the row
/// hosts of different nodes, where such a lock is not known.
fn claim(conn: &mut Conn, version: u64) -> Result<bool, DatabaseFault> {
    if number(conn, "SELECT GET_LOCK('tinclaw.schema', 1)", ())? == 0 {
        return Ok(false);
    }
    let claimed = claim_row(conn, version);
    conn.query_drop("DO RELEASE_LOCK('tinclaw.schema')")?;
    claimed
}

fn claim_row(conn: &mut Conn, version: u64) -> Result<bool, DatabaseFault> {
    conn.exec_drop(
        format!(
            "UPDATE meta, (SELECT value AS found FROM meta WHERE name = 'version') AS present
             SET value = {NOW_MS} + ? WHERE name = 'changing_until_ms' AND value < {NOW_MS} AND found = ?"
        ),
        (CLAIM_MS, version),
    )?;
    Ok(conn.affected_rows() == 1)
}

fn run(conn: &mut Conn, step: &Migration, next: u64) -> Result<(), DatabaseFault> {
    for statement in step.statements {
        conn.query_drop(statement)?;
    }
    conn.query_drop(format!(
        "UPDATE meta SET value = CASE name WHEN 'version' THEN {next} WHEN 'oldest' THEN {} ELSE 0 END
         WHERE name IN ('version', 'oldest', 'changing_until_ms')",
        step.oldest
    ))?;
    Ok(())
}
