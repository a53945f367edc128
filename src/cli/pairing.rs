//! `tinclaw pairing`.

use super::args::{Common, PairingCommand};
use super::config::Settings;
use super::control::{Request, ask};
use super::outcome::Outcome;
use super::table::{age, columns, harmless, now_ms};

/// Does what `tinclaw pairing …` says. The running host knows at once.
pub fn pairing(common: &Common, command: &PairingCommand) -> Outcome {
    let settings = Settings::load(common)?;
    super::logging::start(common.log.as_deref(), "error");
    match command {
        PairingCommand::List(output) => {
            let pending = ask(&settings, Request::ListPairing)?;
            let items = pending.as_array().map(Vec::as_slice).unwrap_or_default();
            if output.json {
                println!("{pending}");
            } else if items.is_empty() {
                println!("nobody waits for approval");
            } else {
                let text = |item: &serde_json::Value, field: &str| {
                    item[field].as_str().unwrap_or_default().to_owned()
                };
                let row = |item: &serde_json::Value| {
                    let expires = age(item["expires_ms"].as_u64().unwrap_or_default(), now_ms());
                    vec![
                        text(item, "channel"),
                        text(item, "code"),
                        text(item, "external_id"),
                        expires,
                        text(item, "meta_json"),
                    ]
                };
                let rows: Vec<Vec<String>> = items.iter().map(row).collect();
                print!("{}", columns(&["channel", "code", "id", "expires", "about"], &rows));
            }
        }
        PairingCommand::Approve { channel, code, identity } => {
            let request = Request::ApprovePairing {
                channel: channel.clone(),
                code: code.clone(),
                identity: identity.clone(),
            };
            let answer = ask(&settings, request)?;
            println!(
                "{} may talk to the agent through {channel}",
                harmless(answer["id"].as_str().unwrap_or_default())
            );
        }
        PairingCommand::Revoke { channel, id } => {
            ask(&settings, Request::RevokePairing { channel: channel.clone(), id: id.clone() })?;
            println!("{} is forgotten; a stranger again to {channel}", harmless(id));
        }
    }
    Ok(())
}
