//! The `exec` agent: a program that reads and writes JSON lines.

mod cli_support;
mod support;

use cli_support::{Place, SESSION};

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
        // Who knows the session can read the conversation: the agent used to get it with each message.
        &(format!("    assert {SESSION:?} not in text, text")
            + "
    assert message['type'] == 'message' and message['channel'] == 'webchat', message
    assert message['attempt'] == 1 and message['metadata']['visitor'] == 'visitor-1', message
    print('nonsense', flush=True)
    print('a word for the log', file=sys.stderr, flush=True)
    say(type='status', id=message['id'], status='tool_started', message='looking')
    say(type='reply', id=message['id'], content='first', done=False)
    say(type='reply', id=message['id'], content='you said ' + message['content'])
    say(type='reply', id=message['id'], content='too late')"),
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
fn a_message_is_redelivered_after_its_agent_died() {
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
    assert!(log.contains("the agent ended (exit status: 3) with 1 message in flight"), "{log}");
    assert!(log.contains("message 1 is tried in a process of its own"), "{log}");
}

/// A message that killed the agent was given to it again and again, and every restart held up everybody.
#[test]
fn a_message_that_kills_the_agent_becomes_a_dead_letter_and_costs_the_others_one_restart() {
    let place = Place::new();
    place.file("tinclaw.toml", "[agent]\nmax_attempts = 3\ndead_letter_text = \"I gave up\"\n");
    let agent = program(
        &place,
        "    if message['content'] == 'fatal':
        os._exit(3)
    say(type='reply', id=message['id'], content='%s in %d' % (message['content'], os.getppid()))",
    );
    let host = place.host(&["--agent", &agent], &[]);
    host.say("1", "fatal");
    host.say("2", "hello");
    host.hears("I gave up");
    support::eventually("the conversation goes on", || {
        host.heard().iter().any(|heard| heard.starts_with("hello")).then_some(())
    });
    let messages = place.run(&["messages", "list", "--state", "dead", "--json"]).json();
    let dead = &messages["messages"].as_array().unwrap()[..];
    assert_eq!((dead.len(), &dead[0]["id"], &dead[0]["attempt"]), (1, &1.into(), &3.into()), "{messages}");
    assert!(dead[0]["error"].as_str().unwrap().contains("exit status: 3"), "{messages}");
    let health = place.run(&["health"]);
    assert!(health.good().contains("agent     exec, last success"), "{}", health.out);
    assert!(health.out.contains("message 1: the agent ended (exit status: 3)"), "{}", health.out);
    assert!(health.out.contains("1 restart\n"), "{}", health.out);
    place.run(&["messages", "drop", "1"]).good();
    let log = host.stop();
    assert_eq!(log.matches("the agent is restarted").count(), 1, "{log}");
    assert!(log.contains("message 1 is a dead letter"), "{log}");
}

#[test]
fn a_dead_letter_can_be_retried_and_has_all_its_attempts_again() {
    let place = Place::new();
    place.file("tinclaw.toml", "[agent]\nmax_attempts = 1\n");
    let agent = program(
        &place,
        "    if os.path.exists('healed'):
        say(type='reply', id=message['id'], content='attempt %d' % message['attempt'])
    else:
        say(type='nack', id=message['id'])",
    );
    let host = place.host(&["--agent", &agent], &[]);
    host.say("1", "hello");
    host.hears("Sorry, this message could not be processed.");
    place.file("healed", "");
    support::eventually("it is a dead letter", || {
        let listed = place.run(&["messages", "list", "--state", "dead", "--json"]).json();
        (listed["messages"].as_array().unwrap().len() == 1).then_some(())
    });
    place.run(&["messages", "redeliver", "1"]).good();
    host.hears("attempt 1");
    host.stop();
}

/// Everybody who was in a program with a message that killed it lost an attempt, and one with `max_attempts = 1` their message.
#[test]
fn messages_that_were_in_the_program_with_a_fatal_one_have_not_failed() {
    let place = Place::new();
    place.file("tinclaw.toml", "[agent]\nmax_attempts = 1\ndead_letter_text = \"I gave up\"\n");
    // The program replies to nothing until it has the fatal message too.
    let agent = program(
        &place,
        "    if message['content'] == 'fatal':
        os._exit(3)
    if os.path.exists('died'):
        say(type='reply', id=message['id'], content='attempt %d' % message['attempt'])
    else:
        say(type='status', id=message['id'], status='thinking')
        print('has', message['content'], file=sys.stderr, flush=True)",
    );
    let host = place.host(&["--agent", &agent], &[]);
    let people = ["0123456789abcdef-ann", "0123456789abcdef-bob"];
    for person in people {
        host.say_in(person, "1", &person[17..]);
        support::eventually("the program has it", || {
            host.log().contains(&format!("has {}", &person[17..])).then_some(())
        });
    }
    place.file("died", "");
    host.say("1", "fatal");
    host.hears("I gave up");
    for person in people {
        let heard = support::eventually("a reply", || host.heard_in(person).first().cloned());
        assert!(heard.starts_with("attempt "), "{heard}");
    }
    host.stop();
}

/// Suspects were tried one after the other: each that hung held everybody else up for the whole time-out.
#[test]
fn messages_that_hang_alone_do_not_hold_up_the_trials_of_others() {
    let place = Place::new();
    place.file("tinclaw.toml", "[agent]\nmax_attempts = 1\ntimeout_secs = 3600\n");
    // The first process dies when it has all four; the messages that hang do so in their trials, which do not end.
    let agent = program(
        &place,
        "    if not os.path.exists('died'):
        print('has', message['content'], file=sys.stderr, flush=True)
        if message['content'] == 'last':
            open('died', 'w').close()
            os._exit(3)
    elif message['content'].startswith('hang'):
        __import__('time').sleep(3600)
    else:
        say(type='reply', id=message['id'], content='said ' + message['content'])",
    );
    let host = place.host(&["--agent", &agent], &[]);
    for name in ["hang1", "hang2", "hang3"] {
        host.say_in(&format!("0123456789abcdef-{name}"), "1", name);
        support::eventually("the program has it", || {
            host.log().contains(&format!("has {name}")).then_some(())
        });
    }
    host.say("1", "last");
    host.hears("said last");
    host.stop();
}

/// A program that does not start was taken for messages that kill it.
#[test]
fn a_program_that_never_runs_makes_no_dead_letters() {
    let place = Place::new();
    place.file("tinclaw.toml", "[agent]\nmax_attempts = 2\n");
    let agent = program(&place, "    say(type='reply', id=message['id'], content='up')");
    let broken = place.file("broken.sh", "if [ -e works ]; then exec python3 agent.py; fi; exit 7\n");
    assert!(agent.contains("agent.py"));
    let host = place.host(&["--agent", &format!("exec:sh {}", broken.display())], &[]);
    host.say("1", "hello");
    support::eventually("it died some times", || {
        (host.log().matches("the agent is restarted").count() >= 3).then_some(())
    });
    place.file("works", "");
    host.hears("up");
    assert_eq!(host.heard(), ["up"]);
    host.stop();
}

#[test]
fn a_message_without_a_reply_in_time_is_tried_alone_and_then_given_up() {
    let place = Place::new();
    place.file(
        "tinclaw.toml",
        "[agent]\nmax_attempts = 2\ntimeout_secs = 5\ndead_letter_text = \"too long\"\n",
    );
    let agent = program(
        &place,
        "    if message['content'] == 'hang':
        import time
        time.sleep(3600)
    say(type='reply', id=message['id'], content='said ' + message['content'])",
    );
    let host = place.host(&["--agent", &agent], &[]);
    host.say("1", "hang");
    host.say("2", "hello");
    host.hears("too long");
    host.hears("said hello");
    let log = host.stop();
    assert!(log.contains("no response within 5 s"), "{log}");
    assert!(log.contains("the agent has said nothing for 5 s: its process is replaced"), "{log}");
    assert!(log.contains("message 1 is tried in a process of its own"), "{log}");
}

#[test]
fn statuses_keep_a_message_that_takes_longer_than_the_timeout() {
    let place = Place::new();
    place.file("tinclaw.toml", "ack_timeout_secs = 1\n[agent]\nmax_attempts = 1\ntimeout_secs = 8\n");
    let agent = program(
        &place,
        "    import time
    for step in range(20):
        time.sleep(0.5)
        say(type='status', id=message['id'], status='tool_started', message='step %d' % step)
    say(type='reply', id=message['id'], content='after all, attempt %d' % message['attempt'])",
    );
    let host = place.host(&["--agent", &agent], &[]);
    host.say("1", "hello");
    host.hears("after all, attempt 1");
    assert_eq!(host.heard(), ["after all, attempt 1"]);
    host.stop();
}

/// `exec:yes garbage` wrote 1.2 million lines to the log in 8 seconds.
#[test]
fn an_agent_that_writes_garbage_without_end_writes_few_lines_to_the_log() {
    let place = Place::new();
    let host =
        place.host(&["--agent", "exec:yes garbage | head -n 200000; yes broken | head -n 5000 >&2"], &[]);
    support::eventually("the program ended", || host.log().contains("the agent is restarted").then_some(()));
    let log = host.stop();
    assert!(log.lines().count() < 2_000, "{} lines", log.lines().count());
    // Once a minute.
    assert!((1..5).contains(&log.matches("column 1: garbage").count()), "{log}");
    assert!(log.contains("more lines of the agent were ignored"), "{log}");
    assert!(log.contains("more lines of the agent's standard error were left out"), "{log}");
}

/// The program had the host's whole environment, secrets included.
#[test]
fn a_program_gets_no_variables_but_the_usual_and_the_named_ones() {
    let place = Place::new();
    place.file("tinclaw.toml", "[agent]\nenv = [\"NAMED\", \"UNSET\"]\n");
    let agent =
        program(&place, "    say(type='reply', id=message['id'], content=' '.join(sorted(os.environ)))");
    let environment = [
        ("TINCLAW_SECRET_SLACK_TOKEN", "hunter2"),
        ("SLACK_TOKEN", "hunter2"),
        ("NAMED", "yes"),
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
    ];
    let host = place.host(&["--agent", &agent], &environment);
    host.say("1", "hello");
    let heard = support::eventually("the agent replies", || host.heard().first().cloned());
    // The shell, Python and what chooses its version add their own.
    let added =
        |name: &str| ["PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"].contains(&name) || name.contains("PYENV");
    let ours = heard.split(' ').filter(|name| !added(name));
    assert_eq!(ours.collect::<Vec<_>>(), ["HOME", "LANG", "NAMED", "PATH", "TZ"]);
    host.stop();
}

#[test]
fn a_refused_message_is_redelivered_and_one_without_a_reply_is_not() {
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
        messages["messages"].as_array().unwrap().iter().filter(|row| row["state"] == "acked").count(),
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

/// A line that is not JSON, as Python's `print(dict)` writes it, left its message waiting for the timeout of an hour.
#[test]
fn a_reply_that_is_not_json_is_a_failed_attempt_at_once() {
    let place = Place::new();
    let agent = program(
        &place,
        "    if message['attempt'] == 1 and message['content'] == 'no id':
        print({'type': 'reply', 'content': 'hello'}, flush=True)
    elif message['attempt'] == 1:
        print('{\"type\":\"reply\",\"id\":\"%s\",\"content\":\"cut' % message['id'], flush=True)
    else:
        say(type='reply', id=message['id'], content=message['content'] + ' again')",
    );
    let host = place.host(&["--agent", &agent], &[]);
    for (id, text) in [("1", "no id"), ("2", "with an id")] {
        host.say(id, text);
        host.hears(&format!("{text} again"));
    }
    host.stop();
}

#[test]
fn a_line_of_32_mib_is_read_and_a_longer_one_is_a_failed_attempt() {
    let place = Place::new();
    let agent = program(
        &place,
        "    line = json.dumps({'type': 'reply', 'id': message['id'], 'content': 're: ' + message['content']})
    is_longer = message['content'] == 'longer' and message['attempt'] == 1
    print(line.ljust((32 << 20) + is_longer), flush=True)",
    );
    let host = place.host(&["--agent", &agent], &[]);
    host.say("1", "long");
    host.hears("re: long");
    host.say("2", "longer");
    host.hears("re: longer");
    let log = host.stop();
    assert!(!log.contains("about message 1 is ignored"), "{log}");
    assert!(log.contains("a line of the agent about message 2 is ignored"), "{log}");
}

#[test]
fn a_message_without_a_reply_is_redelivered_after_a_restart() {
    let place = Place::new();
    let deaf = program(&place, "    print(message['id'], file=sys.stderr, flush=True)");
    let host = place.host(&["--agent", &deaf], &[]);
    host.say("1", "hello");
    support::eventually("the agent has it", || host.log().contains("agent: 1").then_some(()));
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
    support::eventually("the agent is up", || host.log().contains("agent: up").then_some(()));
    host.say("1", "hello");
    host.stop();
}

/// A guest of an ABI whose replies have no attachments got the reply without them, and nothing said so.
#[test]
fn attachments_that_a_guest_cannot_take_are_left_out_with_a_warning() {
    let place = Place::new();
    let guest = place.channel("abi_v1");
    let checked = place.run(&["check", guest.to_str().unwrap()]);
    let expected = "warning: the guest is built for near:agent (first), whose replies have no attachments";
    assert!(checked.good().contains(expected), "{}", checked.out);
    let agent = program(
        &place,
        "    say(type='reply', id=message['id'], content='c', attachments=[{'filename': 'a.txt', 'data': 'aGk='}])",
    );
    let host = place.host(&["--agent", &agent, "--channels", "channels"], &[]);
    support::eventually("the reply to what was polled is sent", || {
        host.log().contains("reply 1 is sent without its attachments: the guest is built for").then_some(())
    });
    let log = host.stop();
    assert!(log.contains("channel abi_v1: the guest is built for"), "{log}");
}

/// The time of a message began when its line had been written, which never was: nobody got a reply any more.
#[test]
fn a_program_that_does_not_read_a_long_line_is_replaced() {
    let place = Place::new();
    place.file("tinclaw.toml", "[agent]\ntimeout_secs = 1\n");
    // 1031 is F_SETPIPE_SZ: the pipe holds less than the second message. The first process reads one message and no more.
    let agent = program(
        &place,
        "    is_first = not os.path.exists('started')
    open('started', 'w').close()
    __import__('fcntl').fcntl(0, 1031, 4096)
    say(type='reply', id=message['id'], content='read %d' % len(message['content']))
    if is_first:
        __import__('time').sleep(1000)",
    );
    let host = place.host(&["--agent", &agent], &[]);
    host.say("1", "first");
    host.hears("read 5");
    host.say("2", &"\"".repeat(4_000));
    host.hears("read 4000");
    host.say("3", "third one");
    host.hears("read 9");
    host.stop();
}

/// The program neither hears that its input ends nor SIGTERM, so the host would wait for seconds.
#[test]
fn a_second_signal_ends_the_host_at_once() {
    let place = Place::new();
    let mut host = place.host(&["--agent", "exec:trap '' TERM; echo begun >&2; sleep 20"], &[]);
    support::eventually("the program runs", || host.log().contains("begun").then_some(()));
    host.signal("INT");
    support::eventually("the host begins to stop", || host.log().contains("stopping").then_some(()));
    host.signal("TERM");
    assert_eq!(host.wait().code(), Some(130));
    assert!(!host.log().contains("still busy"));
}
