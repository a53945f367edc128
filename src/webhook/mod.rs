//! Webhook authentication: declared as data, decided without I/O.
//!
//! A channel's [`WebhookCapability`](crate::capability::webhook::WebhookCapability) becomes an [`AuthPlan`]
//! once, when the channel is loaded. For each request `verify` says whether it is authentic, before any guest is
//! made. Nothing here opens a socket, reads a clock or keeps a secret: what is needed comes in as arguments, so every
//! decision can be tested as a table.
//!
//! | file | what it decides |
//! |---|---|
//! | `plan` | What does this capability file ask for, and which stored secrets does that take? |
//! | `presets`, `auth_section` | What do the published fields mean alone, and what does `auth` mean beside them? |
//! | `plan`, `presets` | Which kinds of check are there, and what are the providers' formats? |
//! | `template`, `encoding` | What was signed, and how is the signature written? |
//! | `hmac`, `twilio`, `ed25519`, `feishu` | Does this request pass that check? |
//! | `verify` | Does it pass all of them? And the secrets that are sent as they are? |
//! | `freshness` | Is it recent, and was it captured and sent again? |
//! | `dedupe`, `provider_ids`, `dedupe_memory` | Was it handled before? |
//! | `request` | What of it does the guest see, and is its body of an accepted type? |
//! | `peer`, `attempts` | Who sends it, and how often did they fail? |
//! | `explain`, `error` | Why, for a person? And why is a `webhook` object refused? |

mod attempts;
mod auth_section;
mod dedupe;
mod dedupe_memory;
mod ed25519;
mod encoding;
mod error;
#[cfg(feature = "cli")]
mod explain;
mod feishu;
mod freshness;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod hmac;
mod peer;
mod plan;
mod presets;
mod provider_ids;
mod request;
mod template;
mod twilio;
mod verify;

#[cfg(test)]
mod tests;

pub(crate) use attempts::{AttemptLimits, AttemptOutcome, FailedAttempts};
pub(crate) use dedupe_memory::{DedupeKey, DedupeMemory, Known};
pub(crate) use error::WebhookConfigError;
#[cfg(feature = "cli")]
pub(crate) use explain::{Explanation, explain};
pub use peer::TrustedProxies;
pub(crate) use plan::{AuthPlan, Requirement};
pub(crate) use request::{WebhookRequest, media_type_allowed, visible_headers, visible_query};
pub(crate) use verify::{AuthFailure, Authenticated, SecretProblem, Verdict, verify};
