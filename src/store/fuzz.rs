//! Fuzzing of the database.

use super::{MessageFilter, ReplyFilter, SqliteOptions, SqliteStore, Store};

/// A file that lies where the database should be: it is refused, or everything in it can be asked for.
pub fn database(bytes: &[u8]) {
    let directory = std::env::temp_dir().join(format!("tinclaw-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("the temporary directory can be written");
    let path = directory.join("tinclaw.db");
    for name in ["tinclaw.db-wal", "tinclaw.db-shm", "tinclaw.db-journal"] {
        let _ = std::fs::remove_file(directory.join(name));
    }
    std::fs::write(&path, bytes).expect("the temporary directory can be written");
    let Ok(mut store) = SqliteStore::open_with(&path, &SqliteOptions::default()) else { return };
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
