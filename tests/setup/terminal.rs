//! The dialogue at a terminal, which `script` (util-linux) gives. Skipped where it is not installed.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::cli_support::Place;
use crate::home::{TOKEN, home};
use crate::support::eventually;
use crate::telegram_fake::Telegram;

/// A command that runs at a terminal of its own.
struct Terminal {
    child: Child,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    /// None where there is no `script`.
    fn run(place: &Place, arguments: &[&str]) -> Option<Self> {
        let is_there =
            Command::new("script").arg("--version").output().is_ok_and(|output| output.status.success());
        if !is_there {
            eprintln!("`script` of util-linux is not installed: the dialogue is not tried");
            return None;
        }
        let program = place.command(arguments);
        let words = std::iter::once(program.get_program()).chain(program.get_args());
        let line: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
        command.env_clear().current_dir(place.path());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script runs");
        let screen = Arc::<Mutex<String>>::default();
        let (mut output, shown) = (child.stdout.take().expect("its output"), screen.clone());
        thread::spawn(move || {
            let mut piece = [0; 1024];
            while let Ok(read @ 1..) = output.read(&mut piece) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        });
        Some(Self { child, screen })
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// Waits until the screen shows this so many times.
    fn shows(&self, text: &str, times: usize) {
        eventually(&format!("the screen shows {text:?}: {}", self.screen()), || {
            (self.screen().matches(text).count() >= times).then_some(())
        });
    }

    fn types(&mut self, line: &str) {
        self.presses(&format!("{line}\r"));
    }

    /// Keys, without Enter.
    fn presses(&mut self, keys: &str) {
        let input = self.child.stdin.as_mut().expect("its input");
        input.write_all(keys.as_bytes()).expect("it is typed");
        input.flush().expect("it is typed");
    }

    fn ends(&mut self, code: i32) {
        let status = eventually("the command ends", || self.child.try_wait().expect("its status"));
        assert_eq!(status.code(), Some(code), "{}", self.screen());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_token_is_asked_for_until_it_is_right_and_never_shown() {
    let service = Telegram::with_token(TOKEN);
    let place = home(&[("api.telegram.org", service.upstream.url())]);
    let Some(mut terminal) = Terminal::run(&place, &["setup", "telegram"]) else { return };
    let question = "Token of the bot, from @BotFather (not shown): ";
    terminal.shows("https://t.me/BotFather", 1);
    terminal.shows(question, 1);
    terminal.types("no token");
    terminal.shows("Digits, a colon", 1);
    terminal.shows(question, 2);
    terminal.types("9:unknown");
    terminal.shows("Telegram refuses this: Unauthorized", 1);
    terminal.shows(question, 3);
    terminal.types(TOKEN);
    terminal.shows("Telegram knows it as tin_bot", 1);
    terminal.ends(0);
    let screen = terminal.screen();
    assert!(
        !screen.contains("9:unknown") && !screen.contains(TOKEN) && !screen.contains("no token"),
        "{screen}"
    );
    // Again: Enter keeps what is stored.
    let Some(mut terminal) = Terminal::run(&place, &["setup", "telegram"]) else { return };
    terminal.shows("(Enter keeps the stored one): ", 1);
    terminal.types("");
    terminal.shows("telegram_bot_token as before", 1);
    terminal.ends(0);
    // And Ctrl-C leaves everything as it was.
    let Some(mut terminal) = Terminal::run(&place, &["setup", "telegram"]) else { return };
    terminal.shows("(Enter keeps the stored one): ", 1);
    terminal.types("\u{3}");
    terminal.shows("nothing was stored", 1);
    terminal.ends(1);
}

#[test]
fn a_generated_secret_is_shown_to_a_person_who_says_yes_and_no_other() {
    let service = Telegram::with_token(TOKEN);
    let place = home(&[("api.telegram.org", service.upstream.url())]);
    place.run(&["setup", "webhook"]).good();
    place.run_with_input(&["setup", "telegram"], TOKEN).good();
    let show = ["secrets", "show", "webhook_webhook_secret"];
    let is_secret =
        |line: &str| line.trim().len() == 64 && line.trim().bytes().all(|byte| byte.is_ascii_hexdigit());
    for (typed, code) in [("y", 0), ("n", 1), ("", 1)] {
        let Some(mut terminal) = Terminal::run(&place, &show) else { return };
        terminal.shows("Show it? [y/N]: ", 1);
        terminal.types(typed);
        terminal.ends(code);
        eventually("all of it is read", || {
            let screen = terminal.screen();
            let is_shown = screen.lines().any(is_secret);
            let is_over = is_shown || screen.contains("it was not shown");
            (is_over && is_shown == (code == 0)).then_some(())
        });
    }
    // A token that a person brought is not for anybody's eyes.
    let Some(mut terminal) = Terminal::run(&place, &["secrets", "show", "telegram_bot_token"]) else {
        return;
    };
    terminal.shows("telegram_bot_token is not shown", 1);
    terminal.ends(1);
}

#[test]
fn a_channel_that_has_to_be_reached_asks_for_the_public_address_first() {
    let place = home(&[("graph.facebook.com", "http://127.0.0.1:1".to_owned())]);
    let Some(mut terminal) = Terminal::run(&place, &["setup", "whatsapp"]) else { return };
    terminal.shows("Public address of this host", 1);
    terminal.types("bot.example.org");
    terminal.shows("is not an http:// or https:// address", 1);
    terminal.types("https://bot.example.org");
    terminal.shows("Permanent access token", 1);
    terminal.types("EAAB");
    terminal.shows("App secret, from", 1);
    terminal.types("0123456789abcdef0123456789abcdef");
    terminal.shows("Phone number ID, from", 1);
    terminal.types("1066");
    terminal.shows("callback URL https://bot.example.org/webhook/whatsapp", 1);
    terminal.ends(0);
    let text = std::fs::read_to_string(place.path().join("tinclaw.toml")).expect("it is there");
    assert!(text.contains("public_url = \"https://bot.example.org\""), "{text}");
}

/// Neither token nor signing secret was asked for once both had become optional, and the channel stayed silent.
#[test]
fn without_a_public_address_slack_is_set_up_for_socket_mode() {
    let place = home(&[("slack.com", "http://127.0.0.1:1".to_owned())]);
    let Some(mut terminal) = Terminal::run(&place, &["setup", "slack"]) else { return };
    terminal.shows("\"socket_mode_enabled\": true", 1);
    terminal.shows("Bot token, from", 1);
    terminal.types("xoxb-a");
    terminal.shows("App-level token", 1);
    terminal.types("xapp-a");
    terminal.ends(0);
}

/// `approve` granted what it had just printed, without a question.
#[test]
fn an_approval_is_asked_for_at_the_terminal_and_can_be_refused() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("channels")).unwrap();
    place.file("tinclaw.toml", "channels = [\"channels\"]\n");
    place.run(&["install", "webhook"]).waiting();
    for (reply, code) in [("n", 1), ("y", 0)] {
        let Some(mut terminal) = Terminal::run(&place, &["approve", "webhook"]) else { return };
        terminal.shows("approve this? [y/N]", 1);
        assert!(terminal.screen().contains("takes requests at /webhook"), "{}", terminal.screen());
        assert!(!place.path().join("channels/webhook.wasm").exists());
        terminal.types(reply);
        terminal.ends(code);
        assert_eq!(place.path().join("channels/webhook.wasm").exists(), code == 0);
    }
}

/// The documented `secrets show admin_token` refused: no channel had asked for that secret.
#[test]
fn the_token_of_the_admin_api_is_shown_at_the_terminal() {
    let place = Place::new();
    let made = place.run(&["secrets", "set", "admin_token", "--generate"]);
    let token = made.good().lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    assert!(made.out.contains("for whoever may use the admin API"), "{}", made.out);
    assert!(!made.out.contains("provider"), "{}", made.out);
    let Some(mut terminal) = Terminal::run(&place, &["secrets", "show", "admin_token"]) else { return };
    terminal.shows("Show it? [y/N]", 1);
    terminal.types("y");
    terminal.shows(&token, 1);
    terminal.ends(0);
    assert!(place.run(&["secrets", "show", "other"]).err.contains("is not shown"));
}

/// Keys had to be followed by Enter, and what was on the screen before was gone.
#[test]
fn a_watched_status_follows_the_host_until_q_and_gives_the_screen_back() {
    const ALTERNATE: &str = "\u{1b}[?1049h";
    const ORDINARY: &str = "\u{1b}[?1049l";
    let place = Place::new();
    let host = place.host(&[], &[]);
    for quit in ["q", "Q"] {
        let Some(mut terminal) = Terminal::run(&place, &["status", "--watch"]) else { return };
        terminal.shows("store     ", 1);
        terminal.shows("webchat", 1);
        // Another key is nothing.
        terminal.presses("x");
        terminal.shows("host      tinclaw", 2);
        assert!(!terminal.screen().contains(ORDINARY), "{}", terminal.screen());
        terminal.presses(quit);
        terminal.ends(0);
        terminal.shows(ORDINARY, 1);
        assert_eq!(terminal.screen().matches(ALTERNATE).count(), 1, "{}", terminal.screen());
        assert!(terminal.screen().trim_end().ends_with(ORDINARY), "{}", terminal.screen());
    }
    // It stays when the host goes, and says so.
    let Some(mut terminal) = Terminal::run(&place, &["status", "--watch"]) else { return };
    terminal.shows("webchat", 1);
    host.stop();
    terminal.shows("host      does not run", 1);
    terminal.presses("q");
    terminal.ends(0);
}
