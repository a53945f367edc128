//! Lets authentic requests pass, and bounds what the others cost.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::routes::ChannelAccess;
use crate::channel::ChannelName;
use crate::event::response::WebhookRefusal;
use crate::model::clock;
use crate::model::log_throttle::LogThrottle;
use crate::webhook::{
    AttemptLimits, AttemptOutcome, Authenticated, FailedAttempts, Verdict, WebhookRequest, verify,
};

/// Lines about failed authentications of one channel, whatever addresses they come from: 60 at once, 30 a minute.
const LOG_LIMITS: AttemptLimits =
    AttemptLimits { burst: 60, refill: Duration::from_secs(2), max_sources: 1024 };

/// Decides whether a request is authentic, and remembers who failed.
///
/// An authentic signature passes whatever else came from its address. Only where a plain shared secret could be guessed
/// does an address that has tried too often get 429 before its value is compared.
#[derive(Debug)]
pub(super) struct AuthenticationGate {
    failures: FailedAttempts,
    /// Values that were tried for a shared secret.
    guesses: FailedAttempts,
    /// One bucket for each channel, under an address that nobody has.
    logged: FailedAttempts,
    /// Channels whose unusable secret was logged lately.
    unusable: LogThrottle<ChannelName>,
    /// When the host's clock was last said to be behind.
    clock_logged: Option<Instant>,
}

/// How long nothing more is said of the host's clock.
const CLOCK_QUIET: Duration = Duration::from_secs(60 * 60);

impl Default for AuthenticationGate {
    fn default() -> Self {
        Self {
            failures: FailedAttempts::default(),
            guesses: FailedAttempts::default(),
            logged: FailedAttempts::new(LOG_LIMITS),
            unusable: LogThrottle::default(),
            clock_logged: None,
        }
    }
}

impl AuthenticationGate {
    /// The request as an authentic one, or what its client is told.
    pub fn admit(
        &mut self,
        channel: &ChannelName,
        access: &ChannelAccess,
        request: &WebhookRequest<'_>,
        client: IpAddr,
    ) -> Result<Authenticated, WebhookRefusal> {
        let now = Instant::now();
        if access.plan.is_guessable(request)
            && let Some(retry_after) = self.guesses.blocked(channel, client, now)
        {
            return Err(WebhookRefusal::TooManyRequests { retry_after });
        }
        match Self::verify(access, request) {
            Verdict::Authentic(authenticated) => Ok(authenticated),
            Verdict::Refused(reason) => {
                self.look_at_the_clock(channel, access, request, &reason, now);
                Err(self.failed(channel, client, &reason, now))
            }
            Verdict::SecretUnusable { secret_name, problem } => {
                if let Some(suppressed) = self.unusable.check(channel, now) {
                    log::error!(
                        target: channel.as_str(),
                        "channel {channel}: secret {secret_name} {problem}{suppressed}"
                    );
                }
                Err(WebhookRefusal::NotConfigured)
            }
        }
    }

    fn verify(access: &ChannelAccess, request: &WebhookRequest<'_>) -> Verdict {
        let secrets = access.cache.current(&*access.secrets);
        verify(&access.plan, request, &|name| secrets.get(name))
    }

    /// Says once that the host's clock is behind, where that is why a request is refused. Nobody but the holder of the key can
    /// have signed a time that is still to come, so such a request proves it; one that is too old may be a replay.
    fn look_at_the_clock(
        &mut self,
        channel: &ChannelName,
        access: &ChannelAccess,
        request: &WebhookRequest<'_>,
        reason: &crate::webhook::AuthFailure,
        now: Instant,
    ) {
        let crate::webhook::AuthFailure::TimestampOutsideTolerance { skew_secs: skew_secs @ 1.. } = *reason
        else {
            return;
        };
        if self.clock_logged.is_some_and(|at| now.saturating_duration_since(at) < CLOCK_QUIET) {
            return;
        }
        let behind_ms = skew_secs.unsigned_abs().saturating_mul(1000);
        let then = WebhookRequest { now_ms: request.now_ms.saturating_add(behind_ms), ..*request };
        if matches!(Self::verify(access, &then), Verdict::Authentic(_)) {
            self.clock_logged = Some(now);
            log::error!(
                "this host's clock is {} behind: channel {channel} got a request with a good signature from the future; \
                 requests with a signed time are refused until the clock is set",
                clock::in_words(behind_ms)
            );
        }
    }

    /// Counts a failure, logs it while it is within the limits, and returns the response to the client.
    fn failed(
        &mut self,
        channel: &ChannelName,
        client: IpAddr,
        reason: &crate::webhook::AuthFailure,
        now: Instant,
    ) -> WebhookRefusal {
        if reason.is_guess() {
            self.guesses.failed(channel, client, now);
        }
        match self.failures.failed(channel, client, now) {
            AttemptOutcome::OverLimit { retry_after } => WebhookRefusal::TooManyRequests { retry_after },
            AttemptOutcome::WithinLimit { unlogged } => {
                self.log(channel, client, reason, unlogged, now);
                WebhookRefusal::Unauthorized
            }
        }
    }

    fn log(
        &mut self,
        channel: &ChannelName,
        client: IpAddr,
        reason: &crate::webhook::AuthFailure,
        unlogged: u64,
        now: Instant,
    ) {
        let everybody = IpAddr::from([0, 0, 0, 0]);
        let AttemptOutcome::WithinLimit { unlogged: of_others } = self.logged.failed(channel, everybody, now)
        else {
            return;
        };
        let omitted = match unlogged.saturating_add(of_others) {
            0 => String::new(),
            count => format!(" ({count} more failed requests were not logged)"),
        };
        log::warn!(
            target: channel.as_str(),
            "channel {channel} refused a request from {client}: {reason}{omitted}"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

    use serde_json::json;

    use super::*;
    use crate::capability::webhook::WebhookCapability;
    use crate::model::document::{Comments, read};
    use crate::secrets::{MemorySecrets, Secret, SecretError, SecretStore};

    /// A store that counts how often it is asked.
    struct Counted {
        secrets: MemorySecrets,
        revision: AtomicU64,
        reads: AtomicUsize,
        fails: AtomicBool,
    }

    impl SecretStore for Counted {
        fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
            self.reads.fetch_add(1, SeqCst);
            if self.fails.load(SeqCst) {
                return Err(SecretError::BadName { name: name.to_owned() });
            }
            self.secrets.get(name)
        }

        fn names(&self) -> Result<Vec<String>, SecretError> {
            self.secrets.names()
        }

        fn revision(&self) -> Option<u64> {
            match self.revision.load(SeqCst) {
                0 => None,
                revision => Some(revision),
            }
        }
    }

    /// Every webhook used to read its secret again, and waited for the store while anybody else read one: for a second where a
    /// file is decrypted.
    #[test]
    fn secrets_are_read_again_only_when_the_store_has_changed() {
        let store = Arc::new(Counted {
            secrets: MemorySecrets::new(),
            revision: AtomicU64::new(1),
            reads: AtomicUsize::new(0),
            fails: AtomicBool::new(false),
        });
        let set =
            |value: &str| store.secrets.set("chat_webhook_secret", Secret::new(value.to_owned())).unwrap();
        set("one");
        let access = ChannelAccess { secrets: store.clone(), ..access(json!({"auth": "secret"})) };
        let mut gate = AuthenticationGate::default();
        let mut passes =
            |value: &str| ask(&mut gate, "chat", &access, "POST", "", Some(("x-webhook-secret", value)));
        let reads = || store.reads.swap(0, SeqCst);
        assert_eq!(passes("one"), Ok(()));
        assert_eq!(reads(), 2, "the secret and the one before it");
        assert_eq!(passes("one"), Ok(()));
        assert_eq!(passes("two"), Err(WebhookRefusal::Unauthorized));
        assert_eq!(reads(), 0);
        set("two");
        store.revision.store(2, SeqCst);
        assert_eq!(passes("two"), Ok(()));
        assert_eq!(reads(), 2);
        // A store that cannot say whether it has changed is asked each time.
        store.revision.store(0, SeqCst);
        assert_eq!((passes("two"), passes("two")), (Ok(()), Ok(())));
        assert_eq!(reads(), 4);
        // What cannot be read is not missing, and not remembered.
        store.revision.store(3, SeqCst);
        store.fails.store(true, SeqCst);
        assert_eq!(passes("two"), Err(WebhookRefusal::NotConfigured));
        store.fails.store(false, SeqCst);
        assert_eq!(passes("two"), Ok(()));
    }

    const GUESSER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn access(webhook: serde_json::Value) -> ChannelAccess {
        let capability = read::<WebhookCapability>(webhook, Comments::Refused).unwrap();
        let secrets = MemorySecrets::new();
        for name in ["chat_webhook_secret", "token"] {
            secrets.set(name, Secret::new("a long secret".to_owned())).unwrap();
        }
        ChannelAccess::new(&capability, "chat", Arc::new(secrets), String::new()).unwrap()
    }

    fn ask(
        gate: &mut AuthenticationGate,
        channel: &str,
        access: &ChannelAccess,
        method: &str,
        query: &str,
        header: Option<(&str, &str)>,
    ) -> Result<(), WebhookRefusal> {
        let headers: Vec<_> =
            header.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let request = WebhookRequest {
            method,
            query,
            public_url: "https://a.example/x",
            headers: &headers,
            body: b"",
            now_ms: 0,
        };
        gate.admit(&channel.parse().unwrap(), access, &request, GUESSER).map(|_| ())
    }

    fn is_429(result: &Result<(), WebhookRefusal>) -> bool {
        matches!(result, Err(WebhookRefusal::TooManyRequests { .. }))
    }

    /// Forged requests used to lock authentic ones out, at every channel and for as long as somebody sent one forged
    /// request a second: and a provider's own address can be made to send them, by pointing an account of one's own
    /// at this host.
    #[test]
    fn an_authentic_signature_passes_after_any_number_of_forged_ones() {
        let access = access(json!({"auth": "github"}));
        let mut gate = AuthenticationGate::default();
        let forged = format!("sha256={}", "0".repeat(64));
        let results: Vec<_> = (0..100)
            .map(|_| ask(&mut gate, "chat", &access, "POST", "", Some(("x-hub-signature-256", &forged))))
            .collect();
        assert_eq!(results.iter().filter(|result| **result == Err(WebhookRefusal::Unauthorized)).count(), 20);
        assert!(results[20..].iter().all(is_429));
        // HMAC-SHA256 of the empty body under "a long secret".
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"a long secret");
        let tag = ring::hmac::sign(&key, b"");
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let authentic = format!("sha256={hex}");
        let authentic =
            ask(&mut gate, "chat", &access, "POST", "", Some(("x-hub-signature-256", &authentic)));
        assert_eq!(authentic, Ok(()));
    }

    #[test]
    fn a_clock_that_is_behind_is_logged_once_and_only_when_a_good_signature_proves_it() {
        let access = access(json!({"auth": "slack"}));
        let signed = |key: &[u8], time: u64| {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
            let tag = ring::hmac::sign(&key, format!("v0:{time}:").as_bytes());
            let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            vec![
                ("x-slack-signature".to_owned(), format!("v0={hex}")),
                ("x-slack-request-timestamp".to_owned(), time.to_string()),
            ]
        };
        let said = |headers: &[(String, String)], now_ms: u64| {
            let mut gate = AuthenticationGate::default();
            let request = WebhookRequest {
                method: "POST",
                query: "",
                public_url: "https://a.example/x",
                headers,
                body: b"",
                now_ms,
            };
            let channel = "chat".parse().unwrap();
            assert_eq!(
                gate.admit(&channel, &access, &request, GUESSER).err(),
                Some(WebhookRefusal::Unauthorized)
            );
            let first = gate.clock_logged;
            assert!(gate.admit(&channel, &access, &request, GUESSER).is_err());
            assert_eq!(gate.clock_logged, first, "once");
            first.is_some()
        };
        let now = 1_795_000_000;
        let good = signed(b"a long secret", now);
        assert!(said(&good, 0), "53 years behind");
        assert!(said(&good, (now - 301) * 1000));
        assert!(!said(&good, (now + 301) * 1000), "an old request may be a replay");
        assert!(!said(&signed(b"another", now), 0), "anybody can write a time");
    }

    #[test]
    fn guesses_of_a_shared_secret_are_limited_for_their_channel_and_address_only() {
        let access = access(json!({"auth": "secret"}));
        let mut gate = AuthenticationGate::default();
        let mut send = |channel: &str, value: Option<&str>| {
            ask(&mut gate, channel, &access, "POST", "", value.map(|value| ("x-webhook-secret", value)))
        };
        for _ in 0..20 {
            assert_eq!(send("chat", Some("a guess")), Err(WebhookRefusal::Unauthorized));
        }
        assert!(is_429(&send("chat", Some("a long secret"))), "refused before it is compared");
        assert_eq!(send("other", Some("a long secret")), Ok(()));
    }

    #[test]
    fn a_request_without_any_secret_is_no_guess() {
        let access = access(json!({"auth": "secret"}));
        let mut gate = AuthenticationGate::default();
        for number in 0..40 {
            let refused = ask(&mut gate, "chat", &access, "POST", "", None);
            assert_eq!(is_429(&refused), number >= 20, "{number}");
        }
        let authentic =
            ask(&mut gate, "chat", &access, "POST", "", Some(("x-webhook-secret", "a long secret")));
        assert_eq!(authentic, Ok(()));
    }

    #[test]
    fn guesses_of_a_verify_token_do_not_refuse_signatures() {
        let access = access(json!({"auth": "whatsapp", "methods": ["GET", "POST"], "secret_name": "token",
            "verify_token_param": "hub.verify_token", "hmac_secret_name": "chat_webhook_secret"}));
        let mut gate = AuthenticationGate::default();
        for _ in 0..20 {
            let guess = ask(&mut gate, "chat", &access, "GET", "hub.verify_token=x", None);
            assert_eq!(guess, Err(WebhookRefusal::Unauthorized));
        }
        assert!(is_429(&ask(&mut gate, "chat", &access, "GET", "hub.verify_token=a+long+secret", None)));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"a long secret");
        let hex: String =
            ring::hmac::sign(&key, b"").as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let signature = format!("sha256={hex}");
        let signed = ask(&mut gate, "chat", &access, "POST", "", Some(("x-hub-signature-256", &signature)));
        assert_eq!(signed, Ok(()));
    }
}
