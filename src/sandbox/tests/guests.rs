//! Guests as real toolchains build them: components and plain modules, with each kind of WASI, of each ABI version.

use std::path::PathBuf;
use std::sync::Arc;

use wit_abi::types::{AgentResponse, IncomingHttpRequest};

use super::support::{Bench, lines};
use crate::event::callback::{Callback, CallbackReport, CallbackValue};

fn fixture(name: &str) -> Bench {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fixtures", &format!("{name}.wasm")].iter().collect();
    Bench::new(&std::fs::read(path).unwrap())
}

fn start(bench: &Bench, path: &str) -> CallbackReport {
    bench.run(&Callback::Start { config_json: format!(r#"{{"path": "{path}"}}"#).into() })
}

fn post(bench: &Bench, path: &str, body: &str) -> CallbackReport {
    bench.run(&Callback::HttpRequest(Arc::new(IncomingHttpRequest {
        method: "POST".into(),
        path: path.into(),
        headers_json: r#"{"content-type":"application/json"}"#.into(),
        query_json: "{}".into(),
        body: body.as_bytes().to_vec(),
        secret_validated: true,
    })))
}

#[test]
fn components_and_plain_modules_emit_the_messages_of_a_webhook() {
    for name in ["echo", "echo_plain"] {
        let bench = fixture(name);
        let path = format!("/webhook/{name}");
        let report = start(&bench, &path);
        let Ok(CallbackValue::Started(config)) = &report.result else { panic!("{name}: {report:?}") };
        assert_eq!(config.http_endpoints[0].path, path);
        let report = post(&bench, &path, r#"{"user": "ann", "text": "grüße"}"#);
        assert!(matches!(report.result, Ok(CallbackValue::Http(_))), "{name}: {report:?}");
        let [emitted] = report.effects.messages.as_slice() else { panic!("{name}: {report:?}") };
        assert_eq!((emitted.message.user_id.as_str(), emitted.message.content.as_str()), ("ann", "grüße"));
    }
}

#[test]
fn guests_of_the_size_of_a_real_channel_do_a_webhook_within_the_test_limits() {
    let bench = fixture("large");
    let update = r#"{"update_id": 1, "message": {"message_id": 7, "date": 1700000000, "text": "hello",
        "from": {"id": 5, "is_bot": false, "first_name": "Ann"}, "chat": {"id": 5, "type": "private"}}}"#;
    let report = post(&bench, "/webhook/large", update);
    assert_eq!(report.effects.messages.len(), 1, "{report:?}");
    assert_eq!(report.effects.messages[0].message.content, "hello");
    assert!(report.usage.peak_memory >= 17 * 65_536);
}

#[test]
fn every_older_abi_version_starts_and_replies() {
    for version in 1..=8 {
        let bench = fixture(&format!("abi_v{version}"));
        let report = start(&bench, "/webhook/here");
        assert!(matches!(report.result, Ok(CallbackValue::Started(_))), "{version}: {report:?}");
        let response =
            AgentResponse { metadata_json: "{}".into(), content: "hi".into(), ..Default::default() };
        let report = bench.run(&Callback::Respond(Arc::new(response)));
        assert!(!matches!(report.result, Ok(CallbackValue::NotExported)), "{version}: {report:?}");
        let fault = matches!(report.result, Ok(_) | Err(crate::sandbox::WasmChannelError::GuestError { .. }));
        assert!(fault, "{version}: {report:?}");
    }
}

#[test]
fn standard_libraries_find_the_wasi_that_they_need() {
    for name in ["preview1", "preview2"] {
        let bench = fixture(name);
        let report = start(&bench, "/webhook/here");
        assert!(matches!(report.result, Ok(CallbackValue::Started(_))), "{name}: {report:?}");
        let report = bench.poll();
        assert_eq!(report.result, Ok(CallbackValue::Done), "{name}: {:?}", lines(&report));
    }
}
