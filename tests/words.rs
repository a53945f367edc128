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
    ("gives it back", "returns it"),
    ("give it back", "return it"),
    ("gives them back", "releases them"),
    ("handover", "dispatch"),
    ("head timeout", "header timeout"),
    ("HeadTimeout", "HeaderTimeout"),
    ("WRONG", "ERROR"),
    ("ChannelTable", "ChannelSettings"),
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
    ("seen key", "dedupe key"),
    ("seen keys", "dedupe keys"),
    ("seen id", "dedupe key"),
    ("seen ids", "dedupe keys"),
    ("AnsweredQueue", "RespondedQueue"),
    ("answer", "response, or reply of an agent"),
    ("answers", "responds, or replies"),
    ("answered", "responded, or replied"),
    ("answering", "responding, or replying"),
    ("unanswered", "without a response"),
    ("NoAnswer", "NoReply"),
    ("MOST", "MAX"),
    ("LONGEST", "MAX"),
    ("Slot", "say what it holds"),
    ("Seen", "DedupeKey"),
    ("Told", "say what it holds"),
    ("Whom", "name the person or the part"),
    ("Letter", "say what it holds"),
    ("Standing", "say what it holds"),
    ("Desk", "ProcessState"),
    ("desk", "state"),
    ("OpenMessages", "InFlightMessages"),
    ("Teller", "oneshot::Sender"),
    ("Waiter", "oneshot::Receiver"),
    ("visibility", "ack_timeout"),
    ("adjusted", "clamped"),
    ("remarks", "diagnostics"),
    ("upkeep", "maintain"),
    ("housekeeping", "maintain or prune"),
    ("fare", "status"),
    ("fares", "status"),
    ("spoken of", "reported or logged"),
    ("body secs", "body_timeout_secs"),
    ("write secs", "write_timeout_secs"),
    ("settled days", "completed_days"),
    ("max settled", "max_completed"),
    ("lacks a secret", "has a missing secret"),
    ("a repeat", "a duplicate"),
    ("the repeat", "the duplicate"),
    ("its repeat", "its duplicate"),
    ("recognises repeats", "recognises duplicates"),
    ("say farewell when drained", "start_on_shutdown"),
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
    ("anew", "again: restarted, reloaded, reopened"),
    ("an response", "a response"),
    ("an reply", "a reply"),
    ("is there twice", "duplicate field"),
    ("dead days", "dead_letter_days"),
    ("TINCLAW_QUEUE__MESSAGES", "TINCLAW_QUEUE__MAX_MESSAGES"),
    ("parked_requests", "waiting_requests"),
    ("messages replay", "messages redeliver"),
    ("TellStopped", "MarkStoppedOnDrop"),
    ("Stretch", "IdRange"),
    ("Trouble", "DatabaseFault"),
    ("Operated", "HostOperation"),
    ("PassedOn", "TakeoverOffer"),
    ("LinkNews", "LinkEvent"),
    ("Circumstances", "CallbackFacts"),
    ("OrBusy", "BusyOnDrop"),
    ("PutInError", "StartError"),
];

/// Where a replaced word may stand: the beginning of a path, the word, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("tests/words.rs", "", "the list itself"),
    ("CHANGELOG.md", "", "tells which names became which"),
    ("src/cli/config/file.rs", "", "the table of renamed keys, which are refused with the new name"),
    ("src/cli/queues.rs", "messages replay", "the old command, which is refused with the new one"),
    ("channels/", "anew", "sources of the kit, which the archive of the channels has"),
    ("wit-abi/LICENSE", "whom", "the text of a licence"),
    ("src/store/sqlite/schema.rs", "answers", "the name of a column before schema 7"),
    ("src/agent/openai/turn.rs", "answer", "the name of a stored field before, which is still read"),
];

/// What is read: texts that people of the project write.
const PLACES: &[&str] = &[
    "src",
    "tests",
    "benches",
    "channels",
    "tools",
    "daemon",
    "docs",
    "examples",
    "fixtures",
    "fuzz",
    "wit-abi",
    "packaging",
    ".ci",
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
];

/// Names of files that say nothing of what they hold.
const VAGUE_FILES: [&str; 15] = [
    "told",
    "once",
    "wrong",
    "given",
    "shown",
    "later",
    "keep",
    "object",
    "core",
    "said",
    "elsewhere",
    "startable",
    "waiting",
    "room",
    "declared",
];

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
        let whole = Line::of(&text);
        let in_file: Vec<_> = REPLACED.iter().filter(|(old, _)| whole.has(old)).collect();
        for (number, line) in text.lines().enumerate().filter(|_| !in_file.is_empty()) {
            let line = Line::of(line);
            for (old, new) in in_file.iter().filter(|(old, _)| line.has(old)) {
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

#[test]
fn files_are_named_after_what_they_hold() {
    let mut files = Vec::new();
    PLACES.iter().for_each(|place| collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(place), &mut files));
    files.retain(|file| file.extension().is_some_and(|ending| ending == "rs"));
    files.retain(|file| VAGUE_FILES.iter().any(|name| file.file_stem().is_some_and(|stem| stem == *name)));
    assert!(files.is_empty(), "{files:?}");
}

/// Each of these was the name of up to six types at once.
const NAMES_OF_ONE_TYPE: [&str; 27] = [
    "Shared",
    "Refusal",
    "Slot",
    "Job",
    "Request",
    "Route",
    "Command",
    "Seen",
    "Asked",
    "Outcome",
    "Health",
    "HostView",
    "Process",
    "Held",
    "Environment",
    "Session",
    "Remedy",
    "NoReply",
    "Wait",
    "Waiting",
    "Window",
    "Bounds",
    "Rules",
    "View",
    "Stamp",
    "Approval",
    "Story",
];

#[test]
fn a_name_that_meant_several_things_means_one() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let lines: Vec<&str> = texts.iter().flat_map(|text| text.lines()).collect();
    for name in NAMES_OF_ONE_TYPE {
        let defines = |line: &&&str| {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let kind = words.find(|word| ["struct", "enum", "trait", "type"].contains(word));
            kind.is_some() && words.next() == Some(name) && !line.trim_start().starts_with("//")
        };
        let found: Vec<_> = lines.iter().filter(defines).collect();
        assert!(found.len() <= 1, "{name}: {found:?}");
    }
}

fn collect(place: &Path, files: &mut Vec<PathBuf>) {
    const BINARIES: [&str; 3] = ["wasm", "xz", "lock"];
    if place.is_file() {
        let ending = place.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let is_text = !BINARIES.contains(&ending) && fs::read_to_string(place).is_ok();
        files.extend(is_text.then(|| place.to_owned()));
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
