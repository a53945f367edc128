//! Another version of a channel: tried beside it, put in its place, or dropped.

use super::*;

/// `on-start` that ended well and did this.
fn started(effects: Effects) -> CallbackReport {
    ended(CallbackValue::Started(ChannelConfig::default()), effects)
}

fn sent(mut report: CallbackReport) -> CallbackReport {
    report.effects.had_side_effects = true;
    report
}

impl Subject {
    fn try_version(&mut self, change: impl FnOnce(&mut MachineSettings)) -> Vec<String> {
        let mut settings = settings();
        change(&mut settings);
        self.command(ChannelCommand::Try(Box::new(settings)))
    }

    fn switched(&mut self) -> Vec<String> {
        self.turn(|channel, turn| channel.switched(registration(), turn))
    }
}

#[test]
fn a_trial_version_is_committed_or_rolled_back() {
    let written = || started(effects(&[], &[("a", "1")]));
    for (case, report, then, left) in [
        ("it starts", written(), &["store [a=1]", "switch"][..], 0),
        ("it traps", trapped(), &["drop version: "], 0),
        ("it returns nothing", done(), &["runnable trial", "drop version: "], 1),
        ("it traps when a request went out", sent(trapped()), &["runnable trial", "drop version: "], 1),
    ] {
        let mut subject = Subject::ready();
        assert_eq!(subject.try_version(|_| {}), ["runnable trial"], "{case}");
        let actions = subject.run_next(LaneKind::Trial, report);
        assert!(
            actions.len() == then.len()
                && actions.iter().zip(then).all(|(action, then)| action.starts_with(then)),
            "{case}: {actions:?}"
        );
        let restores = subject.start_next(LaneKind::Trial);
        assert_eq!(restores.is_some(), left == 1, "{case}");
        // Failures of a version that does not run count for nothing.
        assert_eq!(subject.channel.health(None).state, crate::event::health::ChannelState::Ready, "{case}");
    }
}

#[test]
fn the_running_version_keeps_working_during_a_trial() {
    let mut subject = Subject::ready();
    subject.try_version(|_| {});
    let (trial, kind) = subject.start_next(LaneKind::Trial).expect("it runs");
    assert_eq!(kind, CallbackKind::Start);
    subject.request("one");
    let actions = subject.run_next(LaneKind::Inbound, responded(200, effects(&["hello"], &[])));
    assert_eq!(actions, ["store [message hello, dedupe], then respond 200"]);
    subject.request("two");
    assert_eq!(subject.finish(trial, started(Effects::default())), ["switch"]);
    assert!(subject.switched().contains(&"set Poll in 0ns".to_owned()));
    let actions = subject.run_next(LaneKind::Inbound, responded(200, Effects::default()));
    assert_eq!(actions, ["store [dedupe], then respond 200"], "a request that waited is the new version's");
}

#[test]
fn the_limits_of_the_new_version_count_once_it_is_in_its_place() {
    let mut subject = Subject::ready_with(|settings| settings.limits.inbound_concurrency = 1);
    subject.request("one");
    subject.request("two");
    let (one, _) = subject.start_next(LaneKind::Inbound).expect("it runs");
    assert!(subject.start_next(LaneKind::Inbound).is_none(), "one at a time");
    subject.try_version(|settings| {
        settings.limits.inbound_concurrency = 2;
        settings.limits.messages_per_minute = 0;
    });
    assert_eq!(subject.run_next(LaneKind::Trial, started(Effects::default())), ["switch"]);
    subject.switched();
    let (two, _) = subject.start_next(LaneKind::Inbound).expect("two at a time");
    for ticket in [one, two] {
        let actions = subject.finish(ticket, responded(200, effects(&["hello"], &[])));
        assert_eq!(actions, ["store [dedupe], then respond 200"], "the new version may not emit");
    }
}

#[test]
fn a_callback_of_the_old_version_that_ends_late_is_kept() {
    let mut subject = Subject::ready();
    subject.request("one");
    let (old, _) = subject.start_next(LaneKind::Inbound).expect("it runs");
    subject.try_version(|_| {});
    assert_eq!(subject.run_next(LaneKind::Trial, started(Effects::default())), ["switch"]);
    subject.switched();
    let actions = subject.finish(old, responded(200, effects(&["late"], &[])));
    assert_eq!(actions, ["store [message late, dedupe], then respond 200"]);
}

#[test]
fn a_trial_whose_file_has_changed_meanwhile_runs_once_more() {
    let mut subject = Subject::ready();
    subject.try_version(|_| {});
    let (trial, _) = subject.start_next(LaneKind::Trial).expect("it runs");
    subject.request("one");
    subject.run_next(LaneKind::Inbound, responded(200, effects(&[], &[("state", "1")])));
    let mut outdated = effects(&[], &[("state", "migrated")]);
    outdated.workspace.read_versions.insert(workspace_path("state").expect("a path"), 0);
    assert_eq!(subject.finish(trial, started(outdated)), ["runnable trial"]);
    let (_, kind) = subject.start_next(LaneKind::Trial).expect("again");
    assert_eq!(kind, CallbackKind::Start);
}

#[test]
fn a_version_ends_a_start_that_fails_and_a_pause() {
    let mut starting = Subject::new(settings());
    starting.command(ChannelCommand::Start);
    starting.run_next(LaneKind::Inbound, trapped());
    starting.due(Due::Start);
    starting.try_version(|_| {});
    assert_eq!(starting.run_next(LaneKind::Trial, started(Effects::default())), ["switch"]);
    let actions = starting.switched();
    assert!(actions.contains(&"cancel Start".to_owned()), "{actions:?}");
    assert!(starting.start_next(LaneKind::Inbound).is_none(), "the old start does not run any more");

    let mut paused = Subject::ready();
    for id in ["1", "2", "3", "4", "5"] {
        paused.request(id);
        paused.run_next(LaneKind::Inbound, trapped());
    }
    assert_eq!(paused.request("6"), ["respond channel_paused"]);
    paused.try_version(|_| {});
    assert_eq!(paused.run_next(LaneKind::Trial, started(Effects::default())), ["switch"]);
    let actions = paused.switched();
    assert!(actions.contains(&"cancel Resume".to_owned()), "{actions:?}");
    assert_eq!(paused.request("7"), ["runnable inbound", "queued"]);
}

/// The start of the old version ends after the new one has taken its place.
#[test]
fn a_start_that_ends_late_changes_nothing() {
    for report in [started(Effects::default()), trapped()] {
        let mut subject = Subject::new(settings());
        subject.command(ChannelCommand::Start);
        let (old, _) = subject.start_next(LaneKind::Inbound).expect("it runs");
        subject.try_version(|_| {});
        subject.run_next(LaneKind::Trial, started(Effects::default()));
        subject.switched();
        assert_eq!(subject.finish(old, report), [""; 0]);
        assert_eq!(subject.request("one"), ["runnable inbound", "queued"]);
    }
}

#[test]
fn limits_are_those_of_the_version_that_runs_and_both_while_one_is_tried() {
    let mut subject = Subject::ready_with(|settings| settings.limits.workspace_files = 1);
    let two_files = || effects(&[], &[("a", "1"), ("b", "1")]);
    subject.try_version(|settings| settings.limits.workspace_files = 2);
    assert_eq!(subject.run_next(LaneKind::Trial, started(two_files())), ["store [a=1, b=1]", "switch"]);
    subject.switched();
    subject.request("one");
    let three = responded(200, effects(&[], &[("c", "1")]));
    assert_eq!(
        subject.run_next(LaneKind::Inbound, three),
        ["runnable inbound"],
        "a third file is one too many"
    );

    let mut subject = Subject::ready_with(|settings| settings.limits.workspace_files = 1);
    subject.try_version(|settings| settings.limits.workspace_files = 2);
    subject.run_next(LaneKind::Trial, trapped());
    subject.request("one");
    assert_eq!(subject.run_next(LaneKind::Inbound, responded(200, two_files())), ["runnable inbound"]);
}

#[test]
fn a_version_that_is_tried_at_shutdown_is_dropped() {
    let mut subject = Subject::ready();
    subject.try_version(|_| {});
    let (trial, _) = subject.start_next(LaneKind::Trial).expect("it runs");
    subject.command(ChannelCommand::Drain);
    let actions = subject.finish(trial, started(Effects::default()));
    assert_eq!(actions, ["drop version: the host is shutting down"]);
}

#[test]
fn health_says_why_a_version_was_dropped_until_one_is_taken() {
    let mut subject = Subject::ready();
    let refused = |subject: &Subject| {
        let health = subject.channel.health(None);
        health.problems.iter().any(|problem| problem.to_string().contains("the new version cannot start"))
    };
    subject.try_version(|_| {});
    subject.run_next(LaneKind::Trial, trapped());
    assert!(refused(&subject));
    subject.try_version(|_| {});
    subject.run_next(LaneKind::Trial, started(Effects::default()));
    subject.switched();
    assert!(!refused(&subject));
}
