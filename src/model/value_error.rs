//! Why a text or a number is no value of the type that it was read as.

/// Why a text or a number is no value of the type that it was read as: a name of a channel, a range of addresses, a public
/// address, a header, a cap of a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// A channel's name: there is none at all.
    #[error("a channel's name is empty: give it 1 to {max} characters of a-z, 0-9 and _")]
    EmptyName {
        /// The most bytes that a name may have.
        max: usize,
    },
    /// A channel's name is too long.
    #[error("a channel's name has {bytes} bytes: at most {max} are allowed")]
    LongName {
        /// How long it is.
        bytes: usize,
        /// The most bytes that a name may have.
        max: usize,
    },
    /// A channel's name has a character that is not allowed; upper case is one of these.
    #[error(
        "the channel name {name:?} contains {character:?}: only a-z, 0-9, _ and - (taken as _) are allowed"
    )]
    NameCharacter {
        /// The name as it was given.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// The name of a file that is to be a channel's name is not text in UTF-8.
    #[error("a channel's name is not text: only a-z, 0-9, _ and - (taken as _) are allowed")]
    NameNotText,
    /// The host uses the channel's name for itself.
    #[error("the channel name `{name}` is used by the host itself: choose another")]
    ReservedName {
        /// The name, with `-` already replaced.
        name: String,
    },
    /// A range of addresses: it is neither an address nor a network.
    #[error("`{0}` is no address range: expected something like 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7")]
    AddressRange(String),
    /// A range of addresses has bits set behind its prefix, so one of the two is not what is meant.
    #[error("`{0}` has bits set behind its prefix length; did you mean another length?")]
    HostBits(String),
    /// A range of trusted proxies covers every address, so that any client could choose its own.
    #[error("`{0}` covers every address, and anybody could claim any; name your proxy's")]
    EveryAddress(String),
    /// The public address of a host: providers could not call it.
    #[error("{0:?} is not an http:// or https:// address, such as https://bot.example.org")]
    PublicUrl(String),
    /// The name of a header has characters that HTTP does not allow in one.
    #[error("{0:?} is not a header name; use letters, digits and -")]
    HeaderName(String),
    /// The header belongs to the connection or to the framing of a request.
    #[error("the header {0:?} is the host's to set; leave it out")]
    HostHeader(String),
    /// The value of the header of this name has line ends or other characters that HTTP does not allow in one. It may be a
    /// secret, so it is not here.
    #[error("the value of the header {0:?} cannot be sent; use printable ASCII on one line")]
    HeaderValue(String),
    /// A cap: no limit has this name.
    #[error("there is no limit `{field}`: the limits are {known}")]
    UnknownLimit {
        /// The name that was given.
        field: String,
        /// Those that there are, with commas between them.
        known: String,
    },
    /// A cap of a limit is outside of what any host may give.
    #[error("`{field}` cannot be {value}: give {min} to {max}")]
    CapOutOfRange {
        /// The limit.
        field: &'static str,
        /// The value that was given.
        value: u64,
        /// The lowest that is accepted.
        min: u64,
        /// The highest that is accepted.
        max: u64,
    },
}
