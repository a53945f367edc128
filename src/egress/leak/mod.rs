//! Finding the values of secrets in what guests write and in what servers respond.
//!
//! A guest should never have a secret. A request whose URL or headers contain one is refused; in a request's body, which
//! is mostly what people wrote, the value is replaced and the request is sent; what a server responds is freed of them
//! before the guest sees it. All of it is logged by the secret's name.
//!
//! # Which secrets
//! Those that a guest could steal ([`is_guarded`]): what is put into the channel's requests, and any other value that is
//! long and random. A short word that a person chose and that only serves to check inbound requests (a verify token
//! `hello`) is an ordinary word in a conversation and is not searched for.
//!
//! # What is found
//! A value of at least [`MIN_SEARCHED_BYTES`] is found anywhere in a text: as it is; percent-encoded (all usual sets of
//! characters, either case of the digits); in base64, standard or URL-safe, at each of the three alignments that it can
//! have inside a longer encoded text; in hexadecimal, either or mixed case; escaped for JSON or HTML. In guests' texts the
//! percent-encoding and the JSON escapes are also undone before the search, and in what a server sends the JSON escapes, so that
//! no choice of what to escape hides anything. In the names of headers, which are sent in lower case, the case does not count.
//!
//! A shorter value of at least [`MIN_GUARDED_BYTES`] is found only as it is and only as a word of its own, with no letter
//! or digit directly before or after it: `1234` inside of `51234` is chance. Values that are shorter still are not looked
//! for. A determined guest that does have a secret can still hide it (encrypt it, send it in halves); what keeps it from
//! having one is that it never gets one, and what limits the damage is the allow-list.
//!
//! # How
//! One pass over the text, which looks at each pair of bytes in a bitmap of the patterns' first two. Where it says yes, the
//! first eight (or four) bytes are looked up among the patterns, and only what begins alike is compared. With 20 secrets,
//! some 250 patterns, that is a few nanoseconds per byte.

mod encodings;
mod escapes;
mod guarded;
mod guest_text;
mod matcher;
mod response_text;
#[cfg(test)]
mod tests;

pub(super) use guarded::{Use, is_guarded};
pub(super) use guest_text::{BodySearch, find_in_head};
pub(super) use matcher::SecretMatcher;

/// Values from this length on are searched for anywhere and in every encoding.
pub const MIN_SEARCHED_BYTES: usize = 8;
/// Values from this length on are searched for as whole words. Shorter ones are not guarded.
pub const MIN_GUARDED_BYTES: usize = 4;
/// From this length on a value that mixes letters and digits, or cases, counts as random.
pub const MIN_RANDOM_BYTES: usize = 16;
/// What stands in a text in place of a secret.
pub const REDACTED: &str = "[redacted]";
