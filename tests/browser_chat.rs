//! The web chat in a real browser: what a newcomer does first.
//!
//! Needs `chromium` and `chromedriver`; where they are not installed the test says so and passes.

mod browser_support;
mod support;

use browser_support::Browser;
use serde_json::json;
use support::{client, eventually, fixtures};
use tinclaw::{AgentResponse, Host};

fn echo(host: &Host) {
    let Ok(delivery) = host.messages().recv_timeout(std::time::Duration::from_millis(20)) else { return };
    let content = format!("you said: {}", delivery.message().content);
    host.respond(&delivery, AgentResponse { content, ..AgentResponse::default() })
        .expect("the reply is kept");
    delivery.ack();
}

/// A host with the web chat, whose page is open in the browser; and the page's URL.
fn open_chat(browser: &Browser) -> (Host, String) {
    let runtime = fixtures::runtime();
    let host =
        fixtures::host(&[], &[]).channel(fixtures::channel(&runtime, "webchat")).start().expect("a host");
    let address = host.local_addr().expect("an address");
    eventually("the page is there", || {
        (client::request(address, "GET", "/chat", &[], b"").status == 200).then_some(())
    });
    let url = format!("http://{address}/chat");
    browser.open(&url);
    (host, url)
}

#[test]
fn a_visitor_types_a_message_and_reads_the_reply() {
    let Some(browser) = Browser::start() else {
        eprintln!("skipped: chromium and chromedriver are not installed");
        return;
    };
    let (host, url) = open_chat(&browser);
    browser.type_into("#text", "is <b>anybody</b> there?");
    browser.click("#send");
    let words = eventually("the response is on the page", || {
        echo(&host);
        let words = browser.script("return document.querySelector('#log').innerText").as_str()?.to_owned();
        words.contains("you said:").then_some(words)
    });
    assert!(words.contains("you said: is <b>anybody</b> there?"), "markup is shown as text: {words}");
    assert_eq!(browser.script("return document.querySelectorAll('#log b').length"), json!(0));
    assert_eq!(browser.script("return document.querySelector('#banner').hidden"), json!(true));
    // Markdown is shown as what it means, and code can be copied.
    browser.type_into("#text", "**bold** and `code`");
    browser.click("#send");
    eventually("formatted text is on the page", || {
        echo(&host);
        (browser.script("return document.querySelectorAll('#log strong').length") == json!(1)).then_some(())
    });
    assert_eq!(browser.script("return document.querySelectorAll('.agent code').length"), json!(1));
    // A draft survives a reload, and so does the conversation.
    browser.type_into("#text", "not yet sent");
    browser.open(&url);
    eventually("the conversation is back", || {
        (browser.script("return document.querySelectorAll('#log .message').length") == json!(4)).then_some(())
    });
    assert_eq!(browser.script("return document.querySelector('#text').value"), json!("not yet sent"));
    // Text over the limit is refused, and not cut.
    let pasted = "const text = document.querySelector('#text'); text.value = 'x'.repeat(4001); \
                  text.dispatchEvent(new Event('input')); \
                  return [text.value.length, document.querySelector('#send').disabled, \
                  document.querySelector('#room').textContent]";
    assert_eq!(browser.script(pasted), json!([4001, true, "1 character too many"]));
}

#[test]
fn files_go_both_ways_and_what_is_unread_is_counted() {
    let Some(browser) = Browser::start() else {
        eprintln!("skipped: chromium and chromedriver are not installed");
        return;
    };
    let (host, _) = open_chat(&browser);
    let choose = "const files = new DataTransfer(); \
                  files.items.add(new File(['note'], 'note.txt', { type: 'text/plain' })); \
                  const event = new Event('drop'); event.dataTransfer = files; dispatchEvent(event)";
    browser.script(choose);
    eventually("the file is chosen", || {
        (browser.script("return document.querySelectorAll('#chosen button').length") == json!(1))
            .then_some(())
    });
    browser.click("#send");
    let delivery = host.messages().recv_timeout(std::time::Duration::from_secs(90)).expect("a message");
    assert_eq!(delivery.message().attachments[0].filename.as_deref(), Some("note.txt"));
    let data = delivery.attachment_data(0).expect("the store works").expect("it is kept");
    assert_eq!(&data[..], b"note");
    browser.script("document.hasFocus = () => false");
    let png = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, PIXEL).expect("base64");
    let picture =
        tinclaw::Attachment { filename: "dot.png".into(), mime_type: "image/png".into(), data: png };
    let content = "```js\nlet a = 1 < 2;\n```".to_owned();
    let attachments = vec![picture];
    host.respond(&delivery, AgentResponse { content, attachments, ..AgentResponse::default() })
        .expect("the reply is kept");
    delivery.ack();
    eventually("the picture is shown", || {
        let shown = "const img = document.querySelector('.picture'); return !!img && img.naturalWidth";
        (browser.script(shown) == json!(1)).then_some(())
    });
    assert_eq!(browser.script("return document.title"), json!("(1) Chat"));
    assert_eq!(
        browser.script("return document.querySelector('.code pre').textContent"),
        json!("let a = 1 < 2;\n")
    );
    browser.click(".copy");
    eventually("the code is copied, or selected", || {
        let words = browser.script("return document.querySelector('.copy').textContent");
        ["Copied", "Selected"].contains(&words.as_str()?).then_some(())
    });
}

/// A picture of one pixel.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
