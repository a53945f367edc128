//! Who may talk to the agent: one policy, with the same words for every channel.
//!
//! | setting | meaning |
//! |---|---|
//! | `dm_policy` | `pairing` (default): unknown senders get a code that the operator approves; `allowlist`: they are ignored; `open`: everybody may talk |
//! | `allow_from` | ids of those who may always talk; `*` is everybody |
//! | `owner_id` | the owner's id, who may always talk |
//! | `group_policy` | `mention` (default): in groups the bot must be mentioned, replied to or commanded; `all`: it hears everything; `none`: it is deaf there |
//!
//! People are known by the service's id, never by a name that they choose. In a group, whoever speaks to the bot must be
//! somebody who may talk.

use serde_json::{Map, Value};

use crate::{host, state};

/// Where the policy is kept in the workspace.
const PATH: &str = "policy.json";

/// The policy of a channel. The kit reads it from the channel's settings when the channel starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Who may talk.
    pub dm_policy: DmPolicy,
    /// Ids of those who may always talk; numbers and texts.
    pub allow_from: Vec<String>,
    /// The owner's id; a number or a text.
    pub owner_id: Option<String>,
    /// What the bot hears in groups.
    pub group_policy: GroupPolicy,
}

/// Who may talk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DmPolicy {
    /// Those who are approved; unknown senders get a code for that.
    #[default]
    Pairing,
    /// Those in `allow_from`, the owner, and those who were approved.
    Allowlist,
    /// Everybody.
    Open,
}

/// What the bot hears in groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupPolicy {
    /// Mentions, replies to it, and commands.
    #[default]
    Mention,
    /// Everything.
    All,
    /// Nothing.
    None,
}

/// Where a message was written, as far as that decides who may talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A conversation with the bot alone.
    Direct,
    /// A group; whether the message is for the bot: a mention, a reply to it, a command.
    Group {
        /// The message is for the bot.
        is_addressed: bool,
    },
}

/// What to do with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is for the agent.
    Allowed,
    /// Nothing.
    Ignored,
    /// The sender is unknown: send them this text, with a code for the operator.
    Pair(String),
}

impl Policy {
    /// Reads a policy. What is not there, or null, has its default.
    ///
    /// # Errors
    /// A value that is none of those that exist.
    pub fn of(config: &Map<String, Value>) -> Result<Self, String> {
        let word = |name: &str| config.get(name).filter(|value| !value.is_null());
        let dm_policy = match word("dm_policy").map(|value| value.as_str().unwrap_or_default()) {
            None | Some("pairing") => DmPolicy::Pairing,
            Some("allowlist") => DmPolicy::Allowlist,
            Some("open") => DmPolicy::Open,
            Some(_) => return Err("dm_policy is `pairing`, `allowlist` or `open`".to_owned()),
        };
        let group_policy = match word("group_policy").map(|value| value.as_str().unwrap_or_default()) {
            None | Some("mention") => GroupPolicy::Mention,
            Some("all") => GroupPolicy::All,
            Some("none") => GroupPolicy::None,
            Some(_) => return Err("group_policy is `mention`, `all` or `none`".to_owned()),
        };
        let allow_from = match word("allow_from") {
            None => Vec::new(),
            Some(Value::Array(ids)) => ids.iter().filter_map(id).collect(),
            Some(_) => return Err("allow_from is a list of ids".to_owned()),
        };
        Ok(Self { dm_policy, allow_from, owner_id: word("owner_id").and_then(id), group_policy })
    }

    /// The policy of this channel.
    pub fn current() -> Self {
        // The start has checked it; without a start nobody may talk.
        state::find::<Map<String, Value>>(PATH)
            .and_then(|config| Self::of(&config).ok())
            .unwrap_or(Self { dm_policy: DmPolicy::Allowlist, ..Self::default() })
    }

    /// Decides about a message of the sender with this id. `channel` is the name of the channel, `about` what the operator
    /// sees of the sender: a name, which proves nothing.
    pub fn decide(&self, channel: &str, sender: &str, about: Option<&str>, place: Place) -> Verdict {
        let is_heard = match (place, self.group_policy) {
            (Place::Direct, _) | (Place::Group { .. }, GroupPolicy::All) => true,
            (Place::Group { is_addressed }, GroupPolicy::Mention) => is_addressed,
            (Place::Group { .. }, GroupPolicy::None) => false,
        };
        if !is_heard || sender.is_empty() {
            return Verdict::Ignored;
        }
        if self.dm_policy == DmPolicy::Open || self.is_listed(sender) || is_paired(channel, sender) {
            return Verdict::Allowed;
        }
        // In a group, only who speaks to the bot is told what to do.
        let may_pair = !matches!(place, Place::Group { is_addressed: false });
        if self.dm_policy == DmPolicy::Pairing && may_pair {
            pair(channel, sender, about)
        } else {
            Verdict::Ignored
        }
    }

    /// Whether somebody may talk at all; for invitations and the like, which are no messages.
    pub fn may_talk(&self, channel: &str, sender: &str) -> bool {
        self.dm_policy == DmPolicy::Open || self.is_listed(sender) || is_paired(channel, sender)
    }

    fn is_listed(&self, sender: &str) -> bool {
        self.owner_id.as_deref() == Some(sender) || self.allow_from.iter().any(|id| id == sender || id == "*")
    }
}

fn is_paired(channel: &str, sender: &str) -> bool {
    host::paired_identity(channel, sender).is_ok_and(|identity| identity.is_some())
}

fn pair(channel: &str, sender: &str, about: Option<&str>) -> Verdict {
    let meta = serde_json::json!({"name": about}).to_string();
    match host::pairing_request(channel, sender, &meta) {
        // A code is told once: who writes ten messages gets one reply.
        Ok(request) if request.created => Verdict::Pair(format!(
            "I do not know you yet. Give this code to the operator: {0}\n\nThey approve it with: tinclaw pairing approve {channel} {0}",
            request.code
        )),
        Ok(_) => Verdict::Ignored,
        Err(error) => {
            host::warn(&format!("no pairing code for an unknown sender: {error}"));
            Verdict::Ignored
        }
    }
}

/// Keeps the settings that the policy has, for the calls after the start.
pub(crate) fn keep(config: &Map<String, Value>) -> Result<(), String> {
    Policy::of(config)?;
    let names = ["dm_policy", "allow_from", "owner_id", "group_policy"];
    let kept: Map<String, Value> =
        names.into_iter().filter_map(|name| Some((name.to_owned(), config.get(name)?.clone()))).collect();
    state::set(PATH, &Value::Object(kept));
    Ok(())
}

/// An id as text: services have numbers and texts.
fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeHost;

    fn read(json: &str) -> Result<Policy, String> {
        Policy::of(&crate::json::fields(json))
    }

    fn policy(json: &str) -> Policy {
        read(json).unwrap()
    }

    const ADDRESSED: Place = Place::Group { is_addressed: true };
    const OVERHEARD: Place = Place::Group { is_addressed: false };

    #[test]
    fn ids_are_numbers_or_texts() {
        let all = policy(r#"{"owner_id": 7, "allow_from": [1, "U2"], "dm_policy": null, "other": true}"#);
        assert_eq!(
            (all.owner_id.as_deref(), &all.allow_from[..]),
            (Some("7"), &["1".to_owned(), "U2".to_owned()][..])
        );
        assert_eq!(policy(r#"{"owner_id": null, "allow_from": null}"#), Policy::default());
        for wrong in [
            r#"{"dm_policy": "openn"}"#,
            r#"{"dm_policy": 1}"#,
            r#"{"group_policy": "some"}"#,
            r#"{"allow_from": "7"}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn who_may_talk() {
        let host = FakeHost::new();
        host.pair("paired", "ann");
        for (settings, sender, place, expected) in [
            (r#"{"owner_id": 7}"#, "7", Place::Direct, Verdict::Allowed),
            (r#"{"owner_id": 7}"#, "7", OVERHEARD, Verdict::Ignored),
            (r#"{"owner_id": 7}"#, "7", ADDRESSED, Verdict::Allowed),
            (r#"{"dm_policy": "allowlist"}"#, "8", Place::Direct, Verdict::Ignored),
            (r#"{"dm_policy": "allowlist", "allow_from": ["8"]}"#, "8", Place::Direct, Verdict::Allowed),
            (r#"{"dm_policy": "allowlist", "allow_from": ["*"]}"#, "9", Place::Direct, Verdict::Allowed),
            (r#"{"dm_policy": "allowlist"}"#, "paired", Place::Direct, Verdict::Allowed),
            ("{}", "paired", Place::Direct, Verdict::Allowed),
            (r#"{"dm_policy": "open"}"#, "9", Place::Direct, Verdict::Allowed),
            (r#"{"dm_policy": "open"}"#, "9", OVERHEARD, Verdict::Ignored),
            (r#"{"dm_policy": "open", "group_policy": "all"}"#, "9", OVERHEARD, Verdict::Allowed),
            (r#"{"dm_policy": "open", "group_policy": "none"}"#, "9", ADDRESSED, Verdict::Ignored),
            (r#"{"group_policy": "all"}"#, "9", OVERHEARD, Verdict::Ignored),
            (r#"{"dm_policy": "open"}"#, "", Place::Direct, Verdict::Ignored),
        ] {
            assert_eq!(
                policy(settings).decide("test", sender, None, place),
                expected,
                "{settings} {sender} {place:?}"
            );
        }
    }

    #[test]
    fn an_unknown_sender_is_told_a_code_once() {
        let _host = FakeHost::new();
        let decide = || Policy::default().decide("test", "9", Some("Ann"), Place::Direct);
        let Verdict::Pair(text) = decide() else { panic!("no code") };
        assert!(text.contains("tinclaw pairing approve test CODE1"), "{text}");
        assert_eq!(decide(), Verdict::Ignored);
    }
}
