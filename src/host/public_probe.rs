//! A path at which no other host responds, so that its operator can find out whether a public address leads here.

use ring::rand::{SecureRandom as _, SystemRandom};

/// Where the paths are.
const PREFIX: &str = "/.well-known/tinclaw/";

/// The path and what it responds; both are made again with each host, and nobody can guess them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicProbe {
    pub path: String,
    pub token: String,
}

impl PublicProbe {
    /// Another one for each host.
    pub fn new() -> Self {
        Self { path: format!("{PREFIX}{}", random()), token: random() }
    }

    /// What a request to this path gets, if it is the one.
    pub fn response_to(&self, path: &str) -> Option<&str> {
        (path == self.path).then_some(self.token.as_str())
    }
}

/// 128 bits in hexadecimal. Without a generator there is none, and no request has this path.
fn random() -> String {
    let mut bytes = [0; 16];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => data_encoding::HEXLOWER.encode(&bytes),
        Err(_) => String::from("?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_responds_at_its_own_path_and_at_no_other() {
        let (probe, other) = (PublicProbe::new(), PublicProbe::new());
        assert_eq!(probe.response_to(&probe.path), Some(probe.token.as_str()));
        for path in [PREFIX, "/", other.path.as_str(), &format!("{}/", probe.path)] {
            assert_eq!(probe.response_to(path), None, "{path}");
        }
        assert!(probe.path.len() == PREFIX.len() + 32 && probe.token != probe.path);
    }
}
