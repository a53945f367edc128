//! `tinclaw pairing`.

use log::LevelFilter;
use serde_json::{Value, json};

use super::args::{Common, PairingCommand};
use super::client::ask;
use super::config::Settings;
use super::layout::columns;
use super::output::{CommandResult, age, now_ms, print_json};
use crate::admin::ApiCall;
use crate::model::escape::escaped;

/// Does what `tinclaw pairing …` says. The running host knows at once.
pub fn pairing(common: &Common, command: &PairingCommand) -> CommandResult {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Error)?;
    match command {
        PairingCommand::List(output) => {
            let lists = ask(&settings, &ApiCall::get(&["pairing"]))?;
            if output.json {
                print_json(&lists);
            } else {
                out!("{}", to_text(&lists, now_ms()));
            }
        }
        PairingCommand::Approve { channel, code, identity, output } => {
            let lists = ask(&settings, &ApiCall::get(&["pairing"]))?;
            let accounts = settings.accounts();
            let is_account = |name: &str| {
                accounts.iter().any(|(account, guest)| account == name && guest == channel.as_str())
            };
            let channel = channel_of_code(&lists, channel, code, &is_account);
            let approval = json!({"channel": channel, "code": code, "identity": identity});
            let response = ask(&settings, &ApiCall::post(&["pairing", "approve"]).body(approval))?;
            if output.json {
                print_json(&response);
                return Ok(());
            }
            let id = escaped(response["external_id"].as_str().unwrap_or_default());
            outln!("{id} may talk to the agent through {channel}");
        }
        PairingCommand::Revoke { channel, id, output } => {
            let revocation = json!({"channel": channel, "id": id});
            let response = ask(&settings, &ApiCall::post(&["pairing", "revoke"]).body(revocation))?;
            if output.json {
                print_json(&response);
                return Ok(());
            }
            outln!("the approval of {} for {channel} is withdrawn", escaped(id));
        }
    }
    Ok(())
}

/// The channel whose sender was shown this code: the named one, or else another account of it. A guest does not know under which
/// name it runs, and writes its own into what it tells unknown senders.
fn channel_of_code(lists: &Value, channel: &str, code: &str, is_account: &dyn Fn(&str) -> bool) -> String {
    let pending = lists["pending"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has_code =
        |item: &&Value| item["code"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(code.trim()));
    let mut names = pending.iter().filter(has_code).filter_map(|item| item["channel"].as_str());
    if names.clone().any(|name| name == channel) {
        return channel.to_owned();
    }
    names.find(|name| is_account(name)).unwrap_or(channel).to_owned()
}

/// Both lists as text.
fn to_text(lists: &Value, now_ms: u64) -> String {
    let rows = |list: &str, row: &dyn Fn(&Value) -> Vec<String>| -> Vec<Vec<String>> {
        lists[list].as_array().into_iter().flatten().map(row).collect()
    };
    let text = |item: &Value, field: &str| item[field].as_str().unwrap_or_default().to_owned();
    let at = |item: &Value, field: &str| age(&item[field], now_ms);
    let pending = rows("pending", &|item| {
        let expires = at(item, "expires_at");
        vec![
            text(item, "channel"),
            text(item, "code"),
            text(item, "external_id"),
            expires,
            text(item, "meta_json"),
        ]
    });
    let approved = rows("approved", &|item| {
        let approved = at(item, "approved_at");
        vec![text(item, "channel"), text(item, "external_id"), text(item, "identity"), approved]
    });
    let table = |headings: &[&str], rows: &[Vec<String>], none: &str| match rows {
        [] => format!("{none}\n"),
        rows => columns(headings, rows),
    };
    let pending =
        table(&["channel", "code", "id", "expires", "about"], &pending, "no sender waits for approval");
    let approved = table(&["channel", "id", "identity", "approved"], &approved, "no sender is approved");
    format!("{pending}\n{approved}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_another_account_is_found_by_the_name_of_its_guest() {
        let lists = json!({"pending": [
            {"channel": "telegram", "code": "AAAA"}, {"channel": "work", "code": "BBBB"}, {"channel": "slack", "code": "CCCC"},
        ]});
        for (code, expected) in
            [("AAAA", "telegram"), ("bbbb", "work"), ("CCCC", "telegram"), ("DDDD", "telegram")]
        {
            assert_eq!(channel_of_code(&lists, "telegram", code, &|name| name == "work"), expected, "{code}");
        }
    }

    #[test]
    fn pending_and_approved_senders_are_two_tables() {
        let lists = json!({
            "pending": [{"channel": "a", "code": "ACDE", "external_id": "1", "meta_json": "{}", "expires_at": "1970-01-01T00:01:00Z"}],
            "approved": [{"channel": "b", "external_id": "2\u{1b}", "identity": "ann", "approved_at": "1970-01-01T00:00:00Z"}],
        });
        let expected = "CHANNEL  CODE  ID  EXPIRES  ABOUT\na        ACDE  1   in 60 s  {}\n\n\
                        CHANNEL  ID       IDENTITY  APPROVED\nb        2\\u{1b}  ann       0 s ago\n";
        assert_eq!(to_text(&lists, 0), expected);
        assert_eq!(to_text(&json!({}), 0), "no sender waits for approval\n\nno sender is approved\n");
    }
}
