//! The rules of pairing: no I/O, no clock, no randomness.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use subtle::ConstantTimeEq;

use crate::model::clock::{time_of, was_unset};
use crate::store::{
    Change, ChannelKey, PairedIdentity, PairingKey, PairingLock, PairingRecord, PairingRequest, PairingState,
    StateError,
};

/// The numbers of pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairingLimits {
    /// How long a code is good, in milliseconds. Default 15 minutes.
    pub code_ms: u64,
    /// Codes of one channel that may be good at one time. Default 20.
    pub max_pending: usize,
    /// Wrong codes in a row after which approving is locked. Default 5.
    pub max_wrong_codes: u32,
    /// How long it is locked, in milliseconds. Default 15 minutes.
    pub lock_ms: u64,
}

impl Default for PairingLimits {
    fn default() -> Self {
        Self { code_ms: 15 * 60 * 1000, max_pending: 20, max_wrong_codes: 5, lock_ms: 15 * 60 * 1000 }
    }
}

/// The most bytes that a guest may keep with a pairing request.
const MAX_META_BYTES: usize = 4096;

/// The most bytes of an id.
const MAX_ID_BYTES: usize = 256;

/// How often a guest gets the code of one person within [`TOLD_MS`], and so how many messages it sends them.
const MAX_CODES_SENT: u32 = 3;

/// See [`MAX_CODES_SENT`], in milliseconds.
const TOLD_MS: u64 = 60_000;

/// An unknown sender who waits for approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingPairing {
    /// The channel.
    pub channel: String,
    /// The code that the sender was given.
    pub code: String,
    /// Who it is, in the channel's own terms.
    pub external_id: String,
    /// What the guest says about them, as JSON text.
    pub meta_json: String,
    /// Unix milliseconds after which the code is no longer good.
    pub(crate) expires_ms: u64,
}

impl PendingPairing {
    /// Until when the code is good.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        time_of(self.expires_ms)
    }
}

/// Somebody who was approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovedPairing {
    /// The channel.
    pub channel: String,
    /// Who it is, in the channel's own terms.
    pub external_id: String,
    /// Who they are to the host: the name that the operator gave them, or their own id.
    pub identity: String,
    /// Unix milliseconds of their approval.
    pub(crate) approved_ms: u64,
}

impl ApprovedPairing {
    /// When they were approved.
    #[must_use]
    pub fn approved_at(&self) -> SystemTime {
        time_of(self.approved_ms)
    }
}

/// Why a guest gets no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpsertError {
    /// The channel has as many pending requests as it may have.
    #[error("{0} unknown senders wait for approval already")]
    TooMany(usize),
    /// The guest asks again and again for the same person, and would send them a message each time.
    #[error("this person was sent their code {MAX_CODES_SENT} times within a minute")]
    TooOften,
    /// The id or what is said about it is too long, or there is no id.
    #[error("an id of 1 to {MAX_ID_BYTES} bytes and at most {MAX_META_BYTES} bytes about it are accepted")]
    Unfit,
}

/// Why a pairing was not approved or revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PairingError {
    /// Nobody waits with this code.
    #[error("no unknown sender of channel {0} has this code; codes are good for 15 minutes")]
    WrongCode(String),
    /// Too many wrong codes.
    #[error("too many wrong codes: approving for channel {channel} is locked for {seconds} s more")]
    Locked {
        /// The channel.
        channel: String,
        /// For how long.
        seconds: u64,
    },
    /// It could not be stored.
    #[error(transparent)]
    NotStored(#[from] StateError),
}

/// Who waits, who is known, and who is locked out.
#[derive(Debug)]
pub(super) struct Pairings {
    limits: PairingLimits,
    channels: BTreeMap<ChannelKey, ChannelPairings>,
}

/// What is known about one channel.
#[derive(Debug, Default)]
struct ChannelPairings {
    /// By the senders' ids.
    pending: BTreeMap<String, PairingRequest>,
    /// How often guests got the codes of those who wait, and since when that is counted. By their ids.
    codes_sent: BTreeMap<String, (u32, u64)>,
    /// By their own ids.
    identities: BTreeMap<String, PairedIdentity>,
    allowed: Vec<String>,
    wrong_codes: u32,
    locked_until_ms: u64,
}

/// A code for a guest.
#[derive(Debug, PartialEq)]
pub(super) struct Upserted {
    pub code: String,
    /// What is to be stored, when the request is new.
    pub change: Option<Change>,
}

/// Somebody who was approved, and what there was before.
#[derive(Debug, PartialEq)]
pub(super) struct Approval {
    /// Their id.
    pub id: String,
    request: Option<PairingRequest>,
    known: Option<PairedIdentity>,
    lock: (u32, u64),
}

/// Counts that a guest gets somebody's code.
fn count_sent(sent: &mut BTreeMap<String, (u32, u64)>, id: &str, now_ms: u64) -> Result<(), UpsertError> {
    let (count, since_ms) = sent.entry(id.to_owned()).or_insert((0, now_ms));
    if now_ms.abs_diff(*since_ms) >= TOLD_MS {
        (*count, *since_ms) = (0, now_ms);
    }
    if *count >= MAX_CODES_SENT {
        return Err(UpsertError::TooOften);
    }
    *count += 1;
    Ok(())
}

impl Pairings {
    /// Takes in what was stored. Nothing lasts for longer than the limits say, whatever the clock said then.
    pub fn new(limits: PairingLimits, state: PairingState, now_ms: u64) -> Self {
        let mut pairings = Self { limits, channels: BTreeMap::new() };
        pairings.take_in(state, now_ms);
        pairings
    }

    /// Nothing of a channel is known any more.
    #[cfg(feature = "cluster")]
    pub fn forget_channel(&mut self, channel: &str) {
        self.channels.remove(channel);
    }

    /// Takes in what was stored.
    pub fn take_in(&mut self, state: PairingState, now_ms: u64) {
        for mut request in state.requests {
            let longest = now_ms.saturating_add(self.limits.code_ms);
            request.expires_ms = match was_unset(request.created_ms, now_ms) {
                true => longest,
                false => request.expires_ms.min(longest),
            };
            self.entry(&request.channel).pending.insert(request.external_id.clone(), request);
        }
        for known in state.identities {
            self.entry(&known.channel).identities.insert(known.external_id.clone(), known);
        }
        for (channel, entry) in state.allowed {
            self.entry(&channel).allowed.push(entry);
        }
        let lock_ms = self.limits.lock_ms;
        for lock in state.locks {
            let entry = self.entry(&lock.channel);
            entry.wrong_codes = lock.wrong_codes;
            entry.locked_until_ms = lock.locked_until_ms.min(now_ms.saturating_add(lock_ms));
        }
    }

    fn entry(&mut self, channel: &ChannelKey) -> &mut ChannelPairings {
        self.channels.entry(channel.clone()).or_default()
    }

    /// The code of an unknown sender: the one that they have, while it is good, else the new one.
    pub fn upsert(
        &mut self,
        channel: &ChannelKey,
        id: &str,
        meta_json: &str,
        new_code: impl FnOnce() -> String,
        now_ms: u64,
    ) -> Result<Upserted, UpsertError> {
        if id.is_empty() || id.len() > MAX_ID_BYTES || meta_json.len() > MAX_META_BYTES {
            return Err(UpsertError::Unfit);
        }
        let limits = self.limits;
        let entry = self.entry(channel);
        entry.pending.retain(|_, request| request.expires_ms > now_ms);
        entry.forget_codes_sent();
        if let Some(request) = entry.pending.get(id) {
            count_sent(&mut entry.codes_sent, id, now_ms)?;
            return Ok(Upserted { code: request.code.clone(), change: None });
        }
        if entry.pending.len() >= limits.max_pending {
            return Err(UpsertError::TooMany(limits.max_pending));
        }
        let request = PairingRequest {
            channel: channel.clone(),
            external_id: id.to_owned(),
            code: new_code(),
            meta_json: meta_json.to_owned(),
            created_ms: now_ms,
            expires_ms: now_ms + limits.code_ms,
        };
        entry.pending.insert(id.to_owned(), request.clone());
        count_sent(&mut entry.codes_sent, id, now_ms)?;
        let code = request.code.clone();
        Ok(Upserted { code, change: Some(Change::PutPairing(PairingRecord::Request(request))) })
    }

    /// Takes back a request that could not be stored.
    pub fn forget(&mut self, channel: &ChannelKey, id: &str) {
        self.entry(channel).pending.remove(id);
    }

    /// Approves a code: from now on the sender is known as `identity`, or by their own id. Returns their id and what
    /// is to be stored, which is something even when the code is wrong.
    pub fn approve(
        &mut self,
        channel: &ChannelKey,
        code: &str,
        identity: Option<&str>,
        now_ms: u64,
    ) -> (Result<Approval, PairingError>, Vec<Change>) {
        let limits = self.limits;
        let entry = self.entry(channel);
        if entry.locked_until_ms > now_ms {
            let seconds = (entry.locked_until_ms - now_ms).div_ceil(1000);
            return (Err(PairingError::Locked { channel: channel.to_string(), seconds }), Vec::new());
        }
        entry.pending.retain(|_, request| request.expires_ms > now_ms);
        let matching = entry.pending.values().find(|request| same(&request.code, code));
        let Some(id) = matching.map(|request| request.external_id.clone()) else {
            let change = entry.count_wrong(channel, &limits, now_ms);
            return (Err(PairingError::WrongCode(channel.to_string())), vec![change]);
        };
        let before = Approval {
            request: entry.pending.get(&id).cloned(),
            known: entry.identities.get(&id).cloned(),
            lock: (entry.wrong_codes, entry.locked_until_ms),
            id: id.clone(),
        };
        entry.pending.remove(&id);
        (entry.wrong_codes, entry.locked_until_ms) = (0, 0);
        let identity = identity.unwrap_or(&id).to_owned();
        let known =
            PairedIdentity { channel: channel.clone(), external_id: id.clone(), identity, at_ms: now_ms };
        entry.identities.insert(id.clone(), known.clone());
        let changes = vec![
            Change::PutPairing(PairingRecord::Identity(known)),
            Change::RemovePairing(PairingKey::Request { channel: channel.clone(), external_id: id.clone() }),
            Change::RemovePairing(PairingKey::Lock { channel: channel.clone() }),
        ];
        (Ok(before), changes)
    }

    /// Takes back an approval that could not be stored: the sender waits with their code as before.
    pub fn take_back(&mut self, channel: &ChannelKey, before: Approval) {
        let entry = self.entry(channel);
        entry.identities.remove(&before.id);
        if let Some(known) = before.known {
            entry.identities.insert(before.id.clone(), known);
        }
        if let Some(request) = before.request {
            entry.pending.insert(before.id, request);
        }
        (entry.wrong_codes, entry.locked_until_ms) = before.lock;
    }

    /// Forgets whoever was approved with this id, or when there is none, everybody who is known by this name. Returns what
    /// is to be stored: nothing when nobody was known.
    pub fn revoke(&mut self, channel: &ChannelKey, id_or_name: &str) -> Vec<Change> {
        let entry = self.entry(channel);
        let gone: Vec<String> = match entry.identities.contains_key(id_or_name) {
            true => vec![id_or_name.to_owned()],
            false => entry.known_as(id_or_name).map(|known| known.external_id.clone()).collect(),
        };
        let forget = |external_id: String| {
            entry.identities.remove(&external_id);
            Change::RemovePairing(PairingKey::Identity { channel: channel.clone(), external_id })
        };
        gone.into_iter().map(forget).collect()
    }

    /// Who was approved, of all channels, by channel and id.
    pub fn approved(&self) -> Vec<ApprovedPairing> {
        let identities = self.channels.values().flat_map(|entry| entry.identities.values());
        identities
            .map(|known| ApprovedPairing {
                channel: known.channel.to_string(),
                external_id: known.external_id.clone(),
                identity: known.identity.clone(),
                approved_ms: known.at_ms,
            })
            .collect()
    }

    /// Who waits, of all channels.
    pub fn pending(&self, now_ms: u64) -> Vec<PendingPairing> {
        let requests = self.channels.values().flat_map(|entry| entry.pending.values());
        requests
            .filter(|request| request.expires_ms > now_ms)
            .map(|request| PendingPairing {
                channel: request.channel.to_string(),
                code: request.code.clone(),
                external_id: request.external_id.clone(),
                meta_json: request.meta_json.clone(),
                expires_ms: request.expires_ms,
            })
            .collect()
    }

    /// Who somebody is to the host.
    pub fn resolve(&self, channel: &str, id: &str) -> Option<String> {
        let entry = self.channels.get(channel)?;
        entry.identities.get(id).map(|known| known.identity.clone())
    }

    /// The ids that may talk to the agent.
    pub fn allow_from(&self, channel: &str) -> Vec<String> {
        let Some(entry) = self.channels.get(channel) else { return Vec::new() };
        entry.allowed.iter().chain(entry.identities.keys()).cloned().collect()
    }

    /// Whether somebody may talk to the agent, by id or by name. A list may hold `@name` for a name and `*` for all.
    pub fn is_allowed(&self, channel: &str, id: &str, username: Option<&str>) -> bool {
        let Some(entry) = self.channels.get(channel) else { return false };
        let by_name = |allowed: &String| {
            let name = allowed.strip_prefix('@');
            username.is_some_and(|username| name.is_some_and(|name| name.eq_ignore_ascii_case(username)))
        };
        entry.identities.contains_key(id)
            || entry.allowed.iter().any(|allowed| allowed == "*" || allowed == id || by_name(allowed))
    }
}

impl ChannelPairings {
    /// Counts only for those who wait, so that there are no more of them than may wait.
    fn forget_codes_sent(&mut self) {
        let pending = &self.pending;
        self.codes_sent.retain(|id, _| pending.contains_key(id));
    }

    fn known_as(&self, name: &str) -> impl Iterator<Item = &PairedIdentity> {
        self.identities.values().filter(move |known| known.identity == name)
    }

    fn count_wrong(&mut self, channel: &ChannelKey, limits: &PairingLimits, now_ms: u64) -> Change {
        self.wrong_codes += 1;
        if self.wrong_codes >= limits.max_wrong_codes {
            self.wrong_codes = 0;
            self.locked_until_ms = now_ms + limits.lock_ms;
        }
        Change::PutPairing(PairingRecord::Lock(PairingLock {
            channel: Arc::clone(channel),
            wrong_codes: self.wrong_codes,
            locked_until_ms: self.locked_until_ms,
        }))
    }
}

fn same(code: &str, typed: &str) -> bool {
    code.as_bytes().ct_eq(typed.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn pairings() -> (Pairings, ChannelKey) {
        (Pairings::new(PairingLimits::default(), PairingState::default(), 0), "telegram".into())
    }

    fn code(pairings: &mut Pairings, channel: &ChannelKey, id: &str, code: &str, now_ms: u64) -> Upserted {
        pairings.upsert(channel, id, "{}", || code.to_owned(), now_ms).unwrap()
    }

    #[test]
    fn an_unknown_sender_who_writes_again_gets_the_same_code_for_15_minutes() {
        let (mut pairings, channel) = pairings();
        assert!(code(&mut pairings, &channel, "ann", "AAAA", 0).change.is_some());
        let again = code(&mut pairings, &channel, "ann", "BBBB", 15 * MINUTE - 1);
        assert_eq!((again.code.as_str(), again.change), ("AAAA", None));
        assert_eq!(code(&mut pairings, &channel, "ann", "BBBB", 15 * MINUTE).code, "BBBB");
    }

    // An approval that could not be stored stayed in force until the next start.
    #[test]
    fn an_approval_that_is_taken_back_leaves_everything_as_it_was() {
        let (mut pairings, channel) = pairings();
        code(&mut pairings, &channel, "ann", "AAAA", 0);
        pairings.approve(&channel, "NOBODY", None, 1).0.unwrap_err();
        let (approval, _) = pairings.approve(&channel, "AAAA", Some("owner"), 2);
        pairings.take_back(&channel, approval.unwrap());
        assert!(!pairings.is_allowed("telegram", "ann", None));
        assert_eq!((pairings.pending(3).len(), pairings.entry(&channel).wrong_codes), (1, 1));
        // The same code works when it is tried again, and somebody who was known before is known as before.
        pairings.approve(&channel, "AAAA", Some("owner"), 3).0.unwrap();
        code(&mut pairings, &channel, "ann", "BBBB", 4);
        let (approval, _) = pairings.approve(&channel, "BBBB", Some("guest"), 5);
        pairings.take_back(&channel, approval.unwrap());
        assert_eq!(pairings.resolve("telegram", "ann"), Some("owner".into()));
    }

    // Somebody who wrote once a second got their code each time, and used up the channel's requests.
    #[test]
    fn a_guest_gets_the_code_of_one_person_three_times_a_minute() {
        let (mut pairings, channel) = pairings();
        let mut ask =
            |id: &str, now_ms| pairings.upsert(&channel, id, "{}", || "AAAA".into(), now_ms).map(|_| ());
        for now_ms in [0, 1_000, 2_000] {
            assert_eq!(ask("ann", now_ms), Ok(()));
        }
        assert_eq!(ask("ann", 3_000), Err(UpsertError::TooOften));
        assert_eq!(ask("ann", MINUTE - 1), Err(UpsertError::TooOften));
        assert_eq!(ask("bob", 3_000), Ok(()), "others are not held up");
        assert_eq!(ask("ann", MINUTE), Ok(()));
    }

    #[test]
    fn twenty_unknown_senders_may_wait_and_not_one_more() {
        let (mut pairings, channel) = pairings();
        for number in 0..20 {
            code(&mut pairings, &channel, &format!("user{number}"), "AAAA", 0);
        }
        let more = pairings.upsert(&channel, "late", "{}", || "B".into(), 1);
        assert_eq!(more, Err(UpsertError::TooMany(20)));
        assert!(pairings.upsert(&channel, "late", "{}", || "B".into(), 15 * MINUTE).is_ok());
    }

    #[test]
    fn an_approved_sender_is_known_and_an_expired_code_is_wrong() {
        let (mut pairings, channel) = pairings();
        code(&mut pairings, &channel, "ann", "AAAA", 0);
        code(&mut pairings, &channel, "bob", "BBBB", 0);
        let (approved, changes) = pairings.approve(&channel, "AAAA", Some("owner"), 1);
        assert_eq!((approved.unwrap().id.as_str(), changes.len()), ("ann", 3));
        assert_eq!(pairings.resolve("telegram", "ann"), Some("owner".into()));
        assert!(pairings.is_allowed("telegram", "ann", None));
        assert_eq!(pairings.allow_from("telegram"), ["ann"]);
        assert!(pairings.approve(&channel, "BBBB", None, 15 * MINUTE).0.is_err());
        assert!(!pairings.is_allowed("telegram", "bob", None));
    }

    #[test]
    fn the_approved_are_listed_until_they_are_revoked_by_id_or_name() {
        let (mut pairings, channel) = pairings();
        for (id, typed, identity) in [
            ("1", "AAAA", Some("ann")),
            ("2", "BBBB", None),
            ("3", "CCCC", Some("ann")),
            ("4", "DDDD", Some("2")),
        ] {
            code(&mut pairings, &channel, id, typed, 0);
            pairings.approve(&channel, typed, identity, 7).0.unwrap();
        }
        let known = |pairings: &Pairings| -> Vec<(String, String)> {
            pairings.approved().into_iter().map(|known| (known.external_id, known.identity)).collect()
        };
        let pair = |id: &str, identity: &str| (id.to_owned(), identity.to_owned());
        assert_eq!(known(&pairings), [pair("1", "ann"), pair("2", "2"), pair("3", "ann"), pair("4", "2")]);
        assert_eq!(
            (pairings.approved()[0].channel.as_str(), pairings.approved()[0].approved_ms),
            ("telegram", 7)
        );
        // An id goes before a name, and a name is everybody who has it.
        assert_eq!(pairings.revoke(&channel, "2").len(), 1);
        assert_eq!(known(&pairings), [pair("1", "ann"), pair("3", "ann"), pair("4", "2")]);
        assert_eq!(pairings.revoke(&channel, "ann").len(), 2);
        assert_eq!(known(&pairings), [pair("4", "2")]);
        assert_eq!(
            (pairings.revoke(&channel, "ann"), pairings.revoke(&"slack".into(), "4")),
            (vec![], vec![])
        );
    }

    #[test]
    fn the_fifth_wrong_code_locks_approving_for_15_minutes() {
        let (mut pairings, channel) = pairings();
        code(&mut pairings, &channel, "ann", "AAAA", 10 * MINUTE);
        for _ in 0..5 {
            assert!(matches!(
                pairings.approve(&channel, "X", None, 10 * MINUTE).0,
                Err(PairingError::WrongCode(_))
            ));
        }
        let locked = PairingError::Locked { channel: "telegram".into(), seconds: 900 };
        assert_eq!(pairings.approve(&channel, "AAAA", None, 10 * MINUTE).0, Err(locked));
        assert!(pairings.approve(&channel, "AAAA", None, 25 * MINUTE - 1).0.is_err());
    }

    #[test]
    fn four_wrong_codes_and_a_right_one_lock_nothing() {
        let (mut pairings, channel) = pairings();
        code(&mut pairings, &channel, "ann", "AAAA", 0);
        for _ in 0..4 {
            assert!(pairings.approve(&channel, "X", None, 1).0.is_err());
        }
        assert!(pairings.approve(&channel, "AAAA", None, 1).0.is_ok());
        assert!(matches!(pairings.approve(&channel, "X", None, 1).0, Err(PairingError::WrongCode(_))));
    }

    #[test]
    fn a_channel_sees_no_unknown_senders_of_another() {
        let (mut pairings, channel) = pairings();
        code(&mut pairings, &channel, "ann", "AAAA", 0);
        assert!(pairings.approve(&"slack".into(), "AAAA", None, 1).0.is_err());
        assert!(pairings.approve(&channel, "AAAA", None, 1).0.is_ok());
        assert_eq!(pairings.resolve("slack", "ann"), None);
    }

    // A clock that was a year ahead for a minute locked approving for a year.
    #[test]
    fn stored_codes_and_locks_expire_within_the_limits_even_when_the_clock_was_ahead() {
        let channel: ChannelKey = "a".into();
        let request = PairingRequest {
            channel: channel.clone(),
            external_id: "ann".into(),
            code: "AAAA".into(),
            meta_json: "{}".into(),
            created_ms: 1_000 * MINUTE,
            expires_ms: 1_015 * MINUTE,
        };
        let lock = PairingLock { channel: channel.clone(), wrong_codes: 0, locked_until_ms: 1_000 * MINUTE };
        let state = PairingState { requests: vec![request], locks: vec![lock], ..PairingState::default() };
        let mut pairings = Pairings::new(PairingLimits::default(), state, 0);
        assert_eq!(pairings.pending(15 * MINUTE - 1).len(), 1);
        assert!(pairings.pending(15 * MINUTE).is_empty());
        let mut refused = |now_ms| pairings.approve(&channel, "BBBB", None, now_ms).0.unwrap_err();
        assert!(matches!(refused(15 * MINUTE - 1), PairingError::Locked { .. }));
        assert!(matches!(refused(15 * MINUTE), PairingError::WrongCode(_)));
    }

    // A code that was made before a board heard of the year was gone after its next start.
    #[test]
    fn a_code_from_before_the_clock_was_set_lasts_from_the_restart_on() {
        const NOW_MS: u64 = 1_800_000_000_000;
        let request = PairingRequest {
            channel: "a".into(),
            external_id: "ann".into(),
            code: "AAAA".into(),
            meta_json: "{}".into(),
            created_ms: MINUTE,
            expires_ms: 16 * MINUTE,
        };
        let state = PairingState { requests: vec![request], ..PairingState::default() };
        let pairings = Pairings::new(PairingLimits::default(), state, NOW_MS);
        assert_eq!(pairings.pending(NOW_MS + 15 * MINUTE - 1).len(), 1);
        assert!(pairings.pending(NOW_MS + 15 * MINUTE).is_empty());
    }

    #[test]
    fn names_and_a_star_in_the_list_allow() {
        let state = PairingState {
            allowed: vec![("a".into(), "@Ann".into()), ("b".into(), "*".into()), ("c".into(), "7".into())],
            ..PairingState::default()
        };
        let pairings = Pairings::new(PairingLimits::default(), state, 0);
        for (channel, id, username, allowed) in [
            ("a", "1", Some("ann"), true),
            ("a", "1", Some("bob"), false),
            ("a", "ann", None, false),
            ("b", "1", None, true),
            ("c", "7", None, true),
            ("c", "8", None, false),
        ] {
            assert_eq!(pairings.is_allowed(channel, id, username), allowed, "{channel} {id} {username:?}");
        }
    }

    #[test]
    fn too_long_values_are_refused() {
        let (mut pairings, channel) = pairings();
        for (id, meta, is_fit) in [
            (String::new(), 0, false),
            ("i".repeat(256), 4096, true),
            ("i".repeat(257), 0, false),
            ("i".into(), 4097, false),
        ] {
            let result = pairings.upsert(&channel, &id, &"m".repeat(meta), || "A".into(), 0);
            assert_eq!(result.is_ok(), is_fit, "{} {meta}", id.len());
        }
    }
}
