//! Signatures of manifests in the format of minisign, over Ed25519: <https://jedisct1.github.io/minisign/>. What this program
//! signs the tool `minisign` verifies, and the other way round.

use std::fmt;
use std::io::Cursor;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox, SignatureBox};
use serde::{Deserialize, Deserializer, de};
use zeroize::Zeroizing;

/// The most bytes that a signature or a key may have.
pub(crate) const MAX_SIGNATURE_BYTES: usize = 4 * 1024;

/// A public key that the operator trusts: the second line of `minisign.pub`, such as `RWQf6LRC…`.
#[derive(Clone)]
pub(crate) struct TrustedKey {
    text: String,
    key: PublicKey,
}

impl TrustedKey {
    /// Reads the line.
    ///
    /// # Errors
    /// What it has to be.
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let key = PublicKey::from_base64(text.trim()).map_err(|_| SignatureError::Key(text.to_owned()))?;
        Ok(Self { text: text.trim().to_owned(), key })
    }

    /// The key's id, as `minisign` writes it.
    pub fn id(&self) -> String {
        id_of(self.key.keynum())
    }
}

impl fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for TrustedKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<'de> Deserialize<'de> for TrustedKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Why something is not signed, or a signature is not good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    /// A public key.
    #[error("{0:?} is no public key of minisign: give the second line of the file minisign.pub")]
    Key(String),
    /// The signature's file.
    #[error("the signature is not one of minisign")]
    Unreadable,
    /// Whoever signed is not among those that the operator trusts.
    #[error("it is signed with the key {signed}, which is not trusted (trusted: {}); add that key to [trust] keys", listed(.trusted))]
    UnknownKey {
        /// The key's id.
        signed: String,
        /// The ids of those that are trusted.
        trusted: Vec<String>,
    },
    /// The file was changed after it was signed, or the signature is made up.
    #[error(
        "the signature with the key {0} does not fit the manifest: the manifest or the signature was changed"
    )]
    Invalid(String),
    /// The secret key.
    #[error("the secret key cannot be used: {0}")]
    SecretKey(String),
    /// It is encrypted, and there is no password.
    #[error("the secret key is encrypted: give its password at the terminal or with --password-file")]
    NoPassword,
}

fn listed(ids: &[String]) -> String {
    if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
}

/// Verifies the signature of a manifest. Returns the id of the key. Several keys may be trusted, so that one can be replaced.
///
/// # Errors
/// Nobody who is trusted has signed this.
pub(crate) fn verify(
    keys: &[TrustedKey],
    manifest: &[u8],
    signature: &[u8],
) -> Result<String, SignatureError> {
    let text = std::str::from_utf8(signature).map_err(|_| SignatureError::Unreadable)?;
    let signature = SignatureBox::from_string(text).map_err(|_| SignatureError::Unreadable)?;
    let signed = id_of(signature.keynum());
    let Some(key) = keys.iter().find(|key| key.key.keynum() == signature.keynum()) else {
        return Err(SignatureError::UnknownKey {
            signed,
            trusted: keys.iter().map(TrustedKey::id).collect(),
        });
    };
    match minisign::verify(&key.key, &signature, Cursor::new(manifest), true, false, false) {
        Ok(()) => Ok(signed),
        Err(_) => Err(SignatureError::Invalid(signed)),
    }
}

/// Signs a manifest; `comment` is part of what is signed. Returns the text of the signature's file.
///
/// # Errors
/// The secret key cannot be used, or needs a password.
pub(crate) fn sign(
    secret_key: &str,
    password: Option<&str>,
    manifest: &[u8],
    comment: &str,
) -> Result<String, SignatureError> {
    let unusable = |error: minisign::PError| SignatureError::SecretKey(error.to_string());
    let bytes = bytes_of(secret_key);
    let key = match (bytes.get(ENCRYPTION), password) {
        // The tool writes no checksum into a key that it does not encrypt, so none is looked for.
        (Some([0, 0]), _) => SecretKey::from_bytes(&bytes).map_err(unusable)?,
        (Some(_), Some(password)) => SecretKeyBox::from_string(secret_key)
            .and_then(|key| key.into_secret_key(Some(password.to_owned())))
            .map_err(unusable)?,
        (Some(b"Sc"), None) => return Err(SignatureError::NoPassword),
        _ => return Err(SignatureError::SecretKey("it is no secret key of minisign".to_owned())),
    };
    let signature = minisign::sign(
        None,
        &key,
        Cursor::new(manifest),
        Some(comment),
        Some("signature of a package of tinclaw"),
    );
    Ok(signature.map_err(unusable)?.into_string())
}

/// Where a secret key says how it is encrypted: `Sc`, or zeros when it is not.
const ENCRYPTION: Range<usize> = 2..4;

/// The second line of a secret key's file.
fn bytes_of(secret_key: &str) -> Zeroizing<Vec<u8>> {
    let line = secret_key.lines().nth(1).unwrap_or_default();
    Zeroizing::new(STANDARD.decode(line.trim()).unwrap_or_default())
}

/// Makes a key pair: the texts of the secret key's file and of the public key's file. Without a password the secret key is not
/// encrypted.
///
/// # Errors
/// The system has no randomness.
pub(crate) fn new_key_pair(password: Option<&str>) -> Result<(String, String), SignatureError> {
    let unusable = |error: minisign::PError| SignatureError::SecretKey(error.to_string());
    let pair = match password {
        Some(password) => KeyPair::generate_encrypted_keypair(Some(password.to_owned())),
        None => KeyPair::generate_unencrypted_keypair(),
    };
    let KeyPair { pk, sk } = pair.map_err(unusable)?;
    let secret = sk.to_box(None).map_err(unusable)?.into_string();
    Ok((secret, pk.to_box().map_err(unusable)?.into_string()))
}

/// A key's id is eight bytes, the lowest first.
fn id_of(keynum: &[u8]) -> String {
    keynum.iter().rev().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, TrustedKey) {
        let (secret, public) = new_key_pair(None).expect("keys");
        (secret, TrustedKey::parse(public.lines().nth(1).expect("two lines")).expect("a key"))
    }

    #[test]
    fn a_signature_is_good_for_what_was_signed_with_a_key_that_is_trusted() {
        let (secret, old) = pair();
        let (_, new) = pair();
        let signature = sign(&secret, None, b"manifest", "channel a").expect("it is signed");
        let check = |keys: &[TrustedKey], manifest: &[u8], signature: &str| {
            verify(keys, manifest, signature.as_bytes()).map_err(|error| error.to_string())
        };
        let keys = [new.clone(), old.clone()];
        assert_eq!(check(&keys, b"manifest", &signature), Ok(old.id()), "either of two keys will do");
        let other_comment = signature.replace("channel a", "channel b");
        for (case, keys, manifest, signature, expected) in [
            ("a changed manifest", &keys[..], &b"Manifest"[..], &*signature, "does not fit the manifest"),
            ("a changed comment", &keys, b"manifest", &other_comment, "does not fit the manifest"),
            ("a key that was taken out", &keys[..1], b"manifest", &signature, "which is not trusted"),
            ("no keys", &[], b"manifest", &signature, "trusted: none"),
            ("no signature", &keys, b"manifest", "nonsense", "not one of minisign"),
        ] {
            let error = check(keys, manifest, signature).expect_err(case);
            assert!(error.contains(expected), "{case}: {error}");
        }
    }

    #[test]
    fn an_encrypted_key_needs_its_password() {
        // The derivation takes a second and a gigabyte by its format, so one key has to do.
        let (secret, _) = pair();
        assert_eq!(bytes_of(&secret).get(ENCRYPTION), Some(&[0, 0][..]));
        for (text, expected) in [("nonsense", "no secret key"), ("a\nb", "no secret key")] {
            let error = sign(text, None, b"", "").unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        // The head of a file that `minisign -G` has written.
        let encrypted = format!("untrusted comment: x\n{}", "RWRTY0Iy".to_owned() + &"A".repeat(204));
        assert_eq!(sign(&encrypted, None, b"", ""), Err(SignatureError::NoPassword));
    }

    #[test]
    fn malformed_public_keys_are_refused_with_the_expected_form() {
        for text in ["", "RWQ", "untrusted comment: minisign public key"] {
            assert!(matches!(TrustedKey::parse(text), Err(SignatureError::Key(_))), "{text}");
        }
    }
}
