//! The admin page in a real browser: what an operator looks at and does.

mod browser_support;
mod cli_support;
mod support;

use browser_support::Browser;
use cli_support::{Place, RunningHost};
use serde_json::json;
use support::{client, eventually};

/// Keys of WebDriver (section 17.4.2).
const ARROW_DOWN: &str = "\u{e015}";
const ENTER: &str = "\u{e007}";

const TOKEN: &str = "a token of the admin API";

/// A host with the web chat and a fixture guest, and the URL of its page.
fn host(place: &Place) -> (RunningHost, String) {
    place.channel("everything");
    place.file("tinclaw.toml", "channels = [\"channels\"]\nwebchat = true\nadmin_token = \"admin_token\"\n");
    let token = [("TINCLAW_SECRET_ADMIN_TOKEN", TOKEN)];
    let host = place.host(&["--admin", "127.0.0.1:0"], &token);
    let url = host.said.lines().find_map(|line| line.strip_prefix("  admin     ")).expect("it says where");
    let url = format!("{url}/");
    (host, url)
}

fn text(browser: &Browser, selector: &str) -> String {
    let script = format!("return document.querySelector('{selector}')?.innerText ?? ''");
    browser.script(&script).as_str().unwrap_or_default().to_owned()
}

fn shows(browser: &Browser, selector: &str, part: &str) {
    eventually(&format!("{selector} shows {part:?}"), || {
        text(browser, selector).contains(part).then_some(())
    });
}

#[test]
fn an_operator_sees_the_host_reads_a_message_delivers_it_again_and_lets_somebody_in() {
    let Some(browser) = Browser::start() else {
        eprintln!("skipped: chromium and chromedriver are not installed");
        return;
    };
    let place = Place::new();
    let (host, url) = host(&place);
    host.say("1", "is <b>anybody</b> there?");
    host.hears("is <b>anybody</b> there?");
    browser.open(&url);

    // Nothing is shown before the token is right.
    browser.type_into("#token", "another token of it");
    browser.click("#token-form button");
    shows(&browser, "#banner", "not the token");
    assert_eq!(text(&browser, "#channels"), "");
    browser.type_into("#token", TOKEN);
    browser.click("#token-form button");
    shows(&browser, "#tiles", "Uptime");
    shows(&browser, "#channel-webchat", "Callbacks");
    shows(&browser, "#channel-everything", "/webhook/everything");
    assert_eq!(browser.script("return document.querySelectorAll('#plots svg').length"), json!(5));
    assert_eq!(
        browser.script("return document.querySelectorAll('#channel-webchat .meter').length"),
        json!(6)
    );

    // By keyboard: the second part, its search, the first row.
    browser.press("2");
    shows(&browser, "#messages-rows", "is <b>anybody</b> there?");
    assert_eq!(browser.script("return document.querySelectorAll('#messages-rows b').length"), json!(0));
    browser.press("/");
    browser.type_into("#messages-text", "nobody says this");
    shows(&browser, "#messages-rows", "None.");
    browser.script(
        "document.querySelector('#messages-text').value = 'ANYBODY'; \
        document.querySelector('#messages-text').dispatchEvent(new Event('input'))",
    );
    shows(&browser, "#messages-rows", "webchat");
    // Not with the mouse: the row may be redrawn between its pressing and its release.
    browser.script("const row = document.querySelector('#messages-rows .item'); row.focus(); row.click()");
    shows(&browser, "#story-title", "Message 1");
    shows(&browser, "#story-body", "Reply 1");
    shows(&browser, "#story-body", "delivered");
    // Its whole story, which the page did not have: from where, what it cost, each attempt.
    for part in [
        "Message accepted",
        "POST /chat/send from 127.0.0.1",
        "fuel",
        "Acknowledged by the agent",
        "Reply delivered",
    ] {
        shows(&browser, "#steps", part);
    }
    browser.click("#story-body .actions button");
    eventually("the message is delivered again", || (host.heard().len() == 2).then_some(()));
    // What becomes of it is shown without opening it again. It showed no reply that came after it was opened.
    shows(&browser, "#story-body", "Reply 2");
    browser.script("document.querySelector('#story').close()");

    // What happens is shown without a reload.
    host.say("2", "plums");
    shows(&browser, "#messages-rows", "acked");
    browser.script(
        "document.querySelector('#messages-text').value = ''; \
        document.querySelector('#messages-text').dispatchEvent(new Event('input'))",
    );
    shows(&browser, "#messages-rows", "plums");

    // One click lets somebody in.
    let task = json!({"do": "pairing-upsert-request", "channel": "everything", "id": "u1", "meta_json": "{\"name\": \"Ann\"}"});
    let headers = [("content-type", "application/json")];
    let reply =
        client::request(host.address, "POST", "/webhook/everything", &headers, task.to_string().as_bytes());
    assert_eq!(reply.status, 200);
    shows(&browser, "#tab-people", "1");
    browser.press("4");
    shows(&browser, "#people", "Ann");
    browser.click("#people .person button");
    shows(&browser, "#people", "Nobody waits.");
    shows(&browser, "#people", "Withdraw");
    assert_eq!(place.run(&["pairing", "list", "--json"]).json()["approved"][0]["external_id"], "u1");

    browser.press("6");
    shows(&browser, "#log-lines", "channel webchat is ready");
    browser.type_into("#log-text", "everything is ready");
    eventually("the log is filtered", || (!text(&browser, "#log-lines").contains("webchat")).then_some(()));
    host.stop();
}

/// The test had said so and done neither: a reply that cannot be sent is tried again, and dropped after a question. By keyboard, which
/// did nothing before somebody had tabbed into the list.
#[test]
fn an_operator_tries_a_reply_again_and_drops_it() {
    let Some(browser) = Browser::start() else {
        eprintln!("skipped: chromium and chromedriver are not installed");
        return;
    };
    let place = Place::new();
    place.channel("echo");
    let refusing = support::upstream::Upstream::start(|_, _| (503, vec![], b"later".to_vec()));
    place.file(
        "tinclaw.toml",
        format!("channels = [\"channels\"]\n[http_rewrite]\n\"api.echo.example\" = \"{}\"\n", refusing.url()),
    );
    let secrets = [
        ("TINCLAW_SECRET_ECHO_TOKEN", "a-token-of-the-api"),
        ("TINCLAW_SECRET_ECHO_WEBHOOK_SECRET", "a-secret-of-webhooks"),
    ];
    let host = place.host(&["--admin", "127.0.0.1:0"], &secrets);
    let url = host.said.lines().find_map(|line| line.strip_prefix("  admin     ")).expect("it says where");
    let body = json!({"user": "someone", "text": "hello"});
    eventually("echo takes the webhook", || {
        let reply = client::webhook(host.address, "/webhook/echo", "a-secret-of-webhooks", &body);
        (reply.status == 200).then_some(())
    });
    browser.open(&format!("{url}/"));
    shows(&browser, "#channel-echo", "1 not delivered");
    browser.press("3");
    shows(&browser, "#replies-rows", "pending");
    browser.press(ARROW_DOWN);
    browser.press(ENTER);
    shows(&browser, "#story-title", "Reply 1");
    shows(&browser, "#steps", "Reply not delivered");
    shows(&browser, "#steps", "503");
    let before = refusing.requests().len();
    // Not with the mouse: what is redrawn between its pressing and its release is not pressed.
    browser.script("document.querySelector('#story-body .actions button').click()");
    eventually("it is tried again", || (refusing.requests().len() > before).then_some(()));

    browser.script("document.querySelector('#story-body .actions .danger').click()");
    shows(&browser, "#story-body .actions .danger", "Drop it for good?");
    let state = || place.run(&["replies", "show", "1", "--json"]).json()["state"].clone();
    assert_eq!(state(), "pending");
    browser.script("document.querySelector('#story-body .actions .danger').click()");
    eventually("it is dropped", || (state() == "dropped").then_some(()));
    shows(&browser, "#story-body", "dropped");
    host.stop();
}

/// On a phone nothing may be wider than the screen.
#[test]
fn the_page_fits_a_phone_in_the_dark_and_says_when_the_host_is_gone() {
    let Some(browser) = Browser::start() else {
        eprintln!("skipped: chromium and chromedriver are not installed");
        return;
    };
    let place = Place::new();
    let (host, url) = host(&place);
    browser.devtools(
        "Emulation.setDeviceMetricsOverride",
        &json!({"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true}),
    );
    browser.devtools(
        "Emulation.setEmulatedMedia",
        &json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]}),
    );
    browser.open(&url);
    browser.script(&format!("sessionStorage.setItem('token', '{TOKEN}')"));
    browser.open(&url);
    shows(&browser, "#channel-webchat", "Callbacks");
    // The last of them were outside of the screen.
    let ends = browser.script(
        "return [...document.querySelectorAll('nav button')].map(tab => tab.getBoundingClientRect().right)",
    );
    assert!(ends.as_array().unwrap().iter().all(|end| end.as_f64() <= Some(360.0)), "{ends}");
    for part in ["overview", "messages", "replies", "people", "agent", "log"] {
        browser.script(&format!("document.querySelector('#tab-{part}').click()"));
        let widths = browser.script("return [document.documentElement.scrollWidth, window.innerWidth]");
        assert!(widths[0].as_u64() <= widths[1].as_u64(), "{part}: {widths}");
    }
    let back = browser.script("return getComputedStyle(document.body).backgroundColor");
    assert_eq!(back, json!("rgb(17, 21, 27)"));
    host.stop();
    shows(&browser, "#banner", "The host does not respond");
    // It went on to be green and "ready".
    shows(&browser, "#state", "does not respond");
}

/// A request without a token was refused after somebody had typed the right one, and the right one was thrown away:
/// the page said that it was wrong.
#[test]
fn a_refusal_that_comes_after_the_right_token_was_typed_does_not_throw_it_away() {
    let Some(browser) = Browser::start() else {
        eprintln!("skipped: chromium and chromedriver are not installed");
        return;
    };
    let place = Place::new();
    let (host, url) = host(&place);
    browser.open(&url);
    eventually("the page asks for the token", || {
        let shown = browser.script("return !document.querySelector('#login').hidden && !watch.runs");
        (shown == json!(true)).then_some(())
    });
    // The next request is held, together with the token that it had: none.
    browser.script(
        "const fetched = window.fetch; window.late = null; \
        window.fetch = (...request) => new Promise(done => { window.late = () => done(fetched(...request)); }); \
        window.outcome = ''; \
        ask('health').then(() => { window.outcome = 'responded'; }, error => { window.outcome = error.message; }); \
        window.fetch = fetched;",
    );
    browser.type_into("#token", TOKEN);
    browser.click("#token-form button");
    shows(&browser, "#channel-webchat", "Callbacks");
    browser.script("window.late()");
    let outcome = eventually("the late refusal arrives", || {
        let outcome = browser.script("return window.outcome").as_str().unwrap_or_default().to_owned();
        (!outcome.is_empty()).then_some(outcome)
    });
    assert_eq!(outcome, "responded");
    assert_eq!(browser.script("return sessionStorage.getItem('token')"), json!(TOKEN));
    assert_eq!(text(&browser, "#banner"), "");
    host.stop();
}

/// A channel that was disabled, or not approved, was on no page.
#[test]
fn a_channel_that_is_held_back_is_shown_with_the_command_that_helps() {
    let Some(browser) = Browser::start() else {
        eprintln!("skipped: chromium and chromedriver are not installed");
        return;
    };
    let place = Place::new();
    let (host, url) = host(&place);
    browser.open(&url);
    browser.type_into("#token", TOKEN);
    browser.click("#token-form button");
    shows(&browser, "#channel-everything", "/webhook/everything");
    place.run(&["disable", "everything"]).good();
    shows(&browser, "#held-everything-disabled", "tinclaw enable everything");
    assert_eq!(text(&browser, "#channel-everything"), "");
    host.stop();
}
