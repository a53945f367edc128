//! The `exec` agent: a program that reads and writes JSON lines.

mod cli_support;
mod harness;

use cli_support::Place;

/// A program in Python, which every machine with a compiler has; `body` is what it does with each `message`.
fn program(place: &Place, body: &str) -> String {
    let text = format!(
        "import json, os, sys\n\
         def say(**line):\n    print(json.dumps(line), flush=True)\n\
         for text in sys.stdin:\n    message = json.loads(text)\n{body}\n"
    );
    format!("exec:python3 {}", place.file("agent.py", text).display())
}

#[test]
fn replies_statuses_and_files_reach_the_person_and_nonsense_is_ignored() {
    let place = Place::new();
    let agent = program(
        &place,
        "    assert message['type'] == 'message' and message['channel'] == 'webchat', message
    assert message['attempt'] == 1 and message['metadata']['session'], message
    print('nonsense', flush=True)
    print('a word for the log', file=sys.stderr, flush=True)
    say(type='status', id=message['id'], status='tool_started', message='looking')
    say(type='reply', id=message['id'], content='first', done=False)
    say(type='reply', id=message['id'], content='you said ' + message['content'])
    say(type='reply', id=message['id'], content='too late')",
    );
    let host = place.host(&["--agent", &agent], &[]);
    host.say("1", "hello");
    host.hears("you said hello");
    host.say("2", "again");
    host.hears("you said again");
    assert_eq!(host.heard(), ["first", "you said hello", "first", "you said again"]);
    let log = host.stop();
    assert!(log.contains("a line of the agent is ignored") && log.contains("a word for the log"), "{log}");
    assert!(log.contains("not JSON: expected ident at line 1 column 2: nonsense"), "{log}");
    assert!(log.contains("which is unknown or already acknowledged"), "{log}");
}

#[test]
fn an_agent_that_dies_gets_the_message_again() {
    let place = Place::new();
    let agent = program(
        &place,
        "    if message['attempt'] == 1 and message['content'] == 'fatal':
        os._exit(3)
    say(type='reply', id=message['id'], content='attempt %d of %s' % (message['attempt'], message['content']))",
    );
    let host = place.host(&["--agent", &agent], &[]);
    host.say("1", "fatal");
    host.hears("attempt 2 of fatal");
    host.say("2", "hello");
    host.hears("attempt 1 of hello");
    let log = host.stop();
    assert!(
        log.contains("the agent has ended (exit status: 3); 1 messages without an answer come again"),
        "{log}"
    );
}

#[test]
fn what_an_agent_gives_back_comes_again_and_what_needs_no_reply_does_not() {
    let place = Place::new();
    let agent = program(
        &place,
        "    if message['content'] == 'silence':
        say(type='done', id=message['id'])
    elif message['attempt'] < 3:
        say(type='nack', id=message['id'], delay_secs=0)
    else:
        say(type='reply', id=message['id'], content='attempt %d' % message['attempt'])",
    );
    let host = place.host(&["--agent", &agent], &[]);
    host.say("1", "silence");
    host.say("2", "hello");
    host.hears("attempt 3");
    assert_eq!(host.heard(), ["attempt 3"]);
    let messages = place.run(&["messages", "list", "--json"]).json();
    assert_eq!(
        messages.as_array().unwrap().iter().filter(|row| row["state"] == "acked").count(),
        2,
        "{messages}"
    );
}

/// Such lines were ignored, and their conversations waited for ever: half an emoji, which Python writes when it cuts a text,
/// a byte order mark, a byte of latin-1, `null`.
#[test]
fn lines_that_programs_really_write_are_understood() {
    let place = Place::new();
    let agent = program(
        &place,
        r#"    id = message['id'].encode()
    line = {
        'surrogate': b'{"type":"reply","id":"%s","content":"cut \\ud83c"}',
        'mark': b'\xef\xbb\xbf{"type":"reply","id":"%s","content":"marked"}',
        'latin': b'{"type":"reply","id":"%s","content":"caf\xe9"}',
        'null': b'{"type":"reply","id":"%s","content":null}',
        'last': b'{"type":"reply","id":"%s","content":"last"}',
    }[message['content']]
    sys.stdout.buffer.write(line % id + b'\n')
    sys.stdout.buffer.flush()"#,
    );
    let host = place.host(&["--agent", &agent], &[]);
    for (id, text) in [("1", "surrogate"), ("2", "mark"), ("3", "latin"), ("4", "null"), ("5", "last")] {
        host.say(id, text);
    }
    host.hears("last");
    assert_eq!(host.heard(), ["cut \u{fffd}", "marked", "caf\u{fffd}", "last"]);
    host.stop();
}

#[test]
fn a_reply_that_is_not_understood_is_quoted_with_its_message_and_is_a_failed_attempt() {
    let place = Place::new();
    let agent = program(
        &place,
        "    if message['attempt'] == 1:
        say(type='reply', id=message['id'], text='no content')
    else:
        say(type='reply', id=message['id'], content='attempt %d' % message['attempt'])",
    );
    let host = place.host(&["--agent", &agent], &[]);
    host.say("1", "hello");
    host.hears("attempt 2");
    let log = host.stop();
    assert!(log.contains("about message 1 is ignored: neither `content` nor `attachments`: {"), "{log}");
    assert!(log.contains("no content"), "{log}");
}

#[test]
fn a_message_without_an_answer_comes_again_after_a_restart() {
    let place = Place::new();
    let deaf = program(&place, "    print(message['id'], file=sys.stderr, flush=True)");
    let host = place.host(&["--agent", &deaf], &[]);
    host.say("1", "hello");
    harness::eventually("the agent has it", || host.log().contains("agent: 1").then_some(()));
    let log = host.stop();
    assert!(!log.contains("still busy"), "{log}");
    let host = place.host(&["--agent", "echo"], &[]);
    host.hears("hello");
}

#[test]
fn an_agent_that_ignores_everything_does_not_keep_the_host_from_ending() {
    let place = Place::new();
    let stubborn = format!(
        "exec:python3 {}",
        place
            .file(
                "stubborn.py",
                "import signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
                 print('up', file=sys.stderr, flush=True)\nwhile True: time.sleep(1)\n"
            )
            .display()
    );
    let host = place.host(&["--agent", &stubborn], &[]);
    harness::eventually("the agent is up", || host.log().contains("agent: up").then_some(()));
    host.say("1", "hello");
    host.stop();
}
