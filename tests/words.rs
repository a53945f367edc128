//! Names and texts use the field's standard words: none of the words that were replaced comes back.

use std::fs;
use std::path::{Path, PathBuf};

/// What was replaced, and by what. `_` in an identifier counts as a space, so `handed out` also finds `handed_out`; a
/// word with a capital letter is found as it is written, every other one in any case.
const REPLACED: &[(&str, &str)] = &[
    ("unwell", "unhealthy or degraded"),
    ("how they fare", "status"),
    ("stranger", "unknown sender or unauthenticated client"),
    ("strangers", "unknown senders or unauthenticated clients"),
    ("rude", "misbehaving"),
    ("owe", "pending write"),
    ("owes", "pending write"),
    ("owed", "pending write"),
    ("comes again", "is redelivered"),
    ("come again", "redelivered, or retry"),
    ("handed out", "in flight, delivered or allocated"),
    ("hands out", "delivers or allocates"),
    ("given back", "requeued or released"),
    ("gives back", "requeues or releases"),
    ("give back", "requeue or release"),
    ("settled", "completed"),
    ("loosely", "say what is accepted"),
    ("loose", "unbounded_prefix"),
    ("whom", "name the person or the part"),
    ("farewell", "the shutdown callback"),
    ("tidy", "maintain or prune"),
    ("mend", "fix or repair"),
    ("mended", "fixed or repaired"),
    ("upkeep", "maintain"),
    ("Housekeeping", "PruneStats"),
    ("wrong:", "error:"),
    ("thing is wrong", "1 error"),
    ("things are wrong", "2 errors"),
    ("timeout: global", "timed out after 5 s"),
    ("visibility secs", "ack_timeout_secs"),
    ("visibility timeout", "ack_timeout"),
    ("most secs", "max_backoff_secs"),
    ("most traps", "max_traps"),
    ("first secs", "initial_backoff_secs"),
    ("give up after secs", "max_elapsed_secs"),
    ("poll floor ms", "min_poll_interval_ms"),
    ("head secs", "header_timeout_secs"),
    ("head fields", "max_headers"),
    ("answer secs", "response_timeout_secs"),
    ("handover secs", "dispatch_timeout_secs"),
    ("max seen", "max_dedupe_keys"),
    ("lacks secrets", "missing_secrets"),
    ("left host", "had_side_effects"),
    ("flavour", "abi_version"),
    ("flavours", "ABI versions"),
    ("NamedFlavour", "NamedAbiVersion"),
    ("OutboundAnswer", "OutboundResponse"),
    ("GuestHttpAnswer", "OutgoingHttpResponse"),
    ("HttpAnswer", "WebhookResponse"),
    ("StoredAnswer", "StoredResponse"),
    ("AnswerMemory", "ResponseMemory"),
    ("AnswerThread", "ResponseThread"),
    ("AnswerSlot", "ResponseSender"),
    ("an answer", "a response"),
    ("the answer", "the response"),
    ("its answer", "its response"),
    ("stored answer", "stored_response"),
    ("seen key", "dedupe key"),
    ("seen keys", "dedupe keys"),
    ("seen id", "dedupe key"),
    ("seen ids", "dedupe keys"),
    ("keep answer", "keep_response"),
    ("check answer", "check_response"),
    ("upstream answered", "upstream responded"),
    ("server answered", "server responded"),
    ("guest answered", "guest responded"),
    ("AnsweredQueue", "RespondedQueue"),
    ("SeenId", "DedupeId"),
    ("SeenRecord", "DedupeRecord"),
    ("started again", "restarted"),
    ("Remark", "Diagnostic"),
    ("HostCeilings", "LimitCaps"),
    ("Adjusted", "ClampedLimit"),
    ("PairingDesk", "PairingService"),
    ("ChannelTrial", "ChannelHarness"),
    ("SeenKey", "DedupeKey"),
    ("Door", "Listener"),
    ("Knock", "Accepted"),
    ("Claim", "EvictionPriority"),
    ("keep what is to be kept soon", "flush_deferred"),
    ("turn out unfinished", "close_incomplete_requests"),
    ("unlist", "clear_runnable"),
];

/// Where a replaced word may stand: the beginning of a path, the word, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("tests/words.rs", "", "the list itself"),
    ("CHANGELOG.md", "", "tells which names became which"),
    ("src/cli/config/file.rs", "", "the table of renamed keys, which are refused with the new name"),
    ("fixtures/", "flavour", "names in guests that are built and kept as binaries"),
    ("fixtures/", "flavours", "the directory of these guests"),
    ("wit-abi/wit/", "the answer", "comments of the published interface, which built guests may carry"),
    ("wit-abi/wit/", "an answer", "the same"),
    ("fixtures/guests/", "upstream answered", "a text in guests that are built and kept as binaries"),
    ("src/agent/openai/", "an answer", "what a language model says, beside the responses of its server"),
    ("src/agent/openai/", "the answer", "the same"),
    ("src/agent/openai/", "its answer", "the same"),
    ("docs/security.md", "an answer", "the name of a test of that agent"),
    ("tests/channel_suite/", "an answer", "what a fake agent says"),
    ("tests/agent_exec.rs", "flavour", "the name of a built fixture"),
    ("tests/cli_run.rs", "flavour", "the name of a built fixture"),
    ("tests/end_to_end.rs", "flavour", "the name of a built fixture"),
    ("tests/fixtures_load.rs", "flavour", "the name of a built fixture"),
    ("src/sandbox/tests/guests.rs", "flavour", "the name of a built fixture"),
];

/// What is read: texts that people of the project write.
const PLACES: [&str; 9] =
    ["src", "tests", "benches", "docs", "fixtures", "wit-abi", "README.md", "CONTRIBUTING.md", "SECURITY.md"];

#[test]
fn no_replaced_word_is_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("CHANGELOG.md"), root.join("Cargo.toml")];
    PLACES.iter().for_each(|place| collect(&root.join(place), &mut files));
    assert!(files.len() > 300, "only {} files were found", files.len());

    let mut found = Vec::new();
    let mut excused = vec![false; EXCEPTIONS.len()];
    for file in &files {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap();
        let text = fs::read_to_string(file).unwrap();
        for (number, line) in text.lines().enumerate() {
            let line = Line::of(line);
            for (old, new) in REPLACED.iter().filter(|(old, _)| line.has(old)) {
                let excuse = EXCEPTIONS
                    .iter()
                    .position(|(place, word, _)| path.starts_with(place) && (word.is_empty() || word == old));
                match excuse {
                    Some(index) => excused[index] = true,
                    None => found.push(format!("{path}:{}: \"{old}\" is now: {new}", number + 1)),
                }
            }
        }
    }
    assert!(found.is_empty(), "{} replaced words:\n{}", found.len(), found.join("\n"));
    let unused: Vec<_> =
        EXCEPTIONS.iter().zip(excused).filter(|(_, used)| !used).map(|(row, _)| row).collect();
    assert!(unused.is_empty(), "exceptions without a use: {unused:?}");
}

fn collect(place: &Path, files: &mut Vec<PathBuf>) {
    const ENDINGS: [&str; 8] = ["rs", "md", "sh", "json", "toml", "wit", "wat", "list"];
    if place.is_file() {
        let ending = place.extension().and_then(|ending| ending.to_str());
        files.extend(ending.filter(|ending| ENDINGS.contains(ending)).map(|_| place.to_owned()));
    } else if place.file_name().is_some_and(|name| name != "target") {
        for entry in fs::read_dir(place).unwrap() {
            collect(&entry.unwrap().path(), files);
        }
    }
}

/// A line with spaces for `_`, as it is written and in small letters.
struct Line {
    written: String,
    small: String,
}

impl Line {
    fn of(line: &str) -> Self {
        let written = line.replace('_', " ");
        Self { small: written.to_ascii_lowercase(), written }
    }

    /// Whether the line has this word, or these words one after the other.
    fn has(&self, word: &str) -> bool {
        let line = if word.contains(|c: char| c.is_ascii_uppercase()) { &self.written } else { &self.small };
        let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        line.match_indices(word).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + word.len()..]);
            let ends = word.ends_with(':') || !is_letter(after.chars().next());
            !is_letter(before.chars().next_back()) && ends
        })
    }
}

#[test]
fn words_are_found_in_texts_and_in_identifiers() {
    let rows = [
        ("A stranger asks.", "stranger", true),
        ("Stranger", "stranger", true),
        ("a_stranger_is_refused", "stranger", true),
        ("estranger", "stranger", false),
        ("fn handed_out()", "handed out", true),
        ("handed outside", "handed out", false),
        ("recommend", "mend", false),
        ("struct Door;", "Door", true),
        ("the door", "Door", false),
        ("Doorbell", "Door", false),
        ("wrong: the name", "wrong:", true),
        ("what is wrong", "wrong:", false),
    ];
    for (line, word, expected) in rows {
        assert_eq!(Line::of(line).has(word), expected, "{word} in {line}");
    }
}
