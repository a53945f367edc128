//! The encrypted file's format: bytes to secrets and back, without any file.
//!
//! A file is two lines of text and then ciphertext:
//!
//! 1. a JSON object: format, version, cipher, how the key is derived (with its cost and salt), a check of the key, the
//!    nonce;
//! 2. the SHA-256 of the first line in hexadecimal, which tells damage from a wrong key (and is no protection);
//! 3. the secrets, encrypted with ChaCha20-Poly1305 (RFC 8439), with the first line as authenticated data: whoever
//!    changes the cost, the salt or anything else in it makes the file unreadable, not weaker.
//!
//! The key comes from a passphrase through Argon2id (RFC 9106), or from a file's random bytes through HKDF-SHA-256 (RFC
//! 5869). From that master key two are expanded: one encrypts, of the other 16 bytes are stored as the check. Each writing
//! takes a new random nonce of 96 bits; with a key used for fewer than 2^32 writings, which no person types, a repetition
//! is out of reach (NIST SP 800-38D, section 8.3, has the same arithmetic).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use data_encoding::HEXLOWER;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Secret, SecretError, normalise_name};

const FORMAT: &str = "tinclaw-secrets";
const VERSION: u64 = 1;
const CIPHER: &str = "chacha20-poly1305";
const KEY_BYTES: usize = 32;
const CHECK_BYTES: usize = 16;
const SALT_BYTES: usize = 16;
/// The longest first line that is looked at.
const MAX_HEADER_BYTES: usize = 1024;
/// The shortest content of a key file, in bytes: 256 bits if they are random, as `head -c 32 /dev/urandom` gives.
pub(super) const MIN_KEY_FILE_BYTES: usize = 32;
/// The shortest passphrase, in bytes.
const MIN_PASSPHRASE_BYTES: usize = 8;

/// Where the key of an encrypted file comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A file with at least 32 random bytes (any content counts, one line break at the end does not).
    File(PathBuf),
    /// A credential of that name from systemd (`LoadCredentialEncrypted=` binds it to this machine), used like a key file.
    SystemdCredential(String),
    /// A passphrase of at least 8 bytes.
    Passphrase(Secret),
}

/// The cost of turning a passphrase into a key. Stored in the file, so it can be raised later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KdfCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// How often all of it is gone through.
    pub passes: u32,
    /// How much could be done in parallel.
    pub lanes: u32,
}

impl Default for KdfCost {
    /// 32 MiB, 3 passes, 1 lane: more than the least that OWASP recommends (19 MiB, 2 passes), and something that a
    /// Raspberry Pi with 512 MB has free at start, for about a second.
    fn default() -> Self {
        Self { memory_kib: 32 * 1024, passes: 3, lanes: 1 }
    }
}

impl KdfCost {
    /// The most that a file may ask for, so that a planted one cannot exhaust the machine: 256 MiB, 16 passes, 8 lanes.
    const MAX: Self = Self { memory_kib: 256 * 1024, passes: 16, lanes: 8 };

    fn is_acceptable(self) -> bool {
        self.memory_kib <= Self::MAX.memory_kib
            && self.passes <= Self::MAX.passes
            && self.lanes <= Self::MAX.lanes
    }
}

/// What a key is derived from, read from its source.
pub(super) struct KeyMaterial {
    bytes: Zeroizing<Vec<u8>>,
    is_passphrase: bool,
}

impl KeyMaterial {
    pub(super) fn from_passphrase(passphrase: &Secret) -> Result<Self, SecretError> {
        if passphrase.len() < MIN_PASSPHRASE_BYTES {
            return Err(SecretError::BadKey { reason: "the passphrase has fewer than 8 bytes" });
        }
        Ok(Self { bytes: Zeroizing::new(passphrase.expose().as_bytes().to_vec()), is_passphrase: true })
    }

    pub(super) fn from_file_content(bytes: Zeroizing<Vec<u8>>) -> Result<Self, SecretError> {
        if bytes.len() < MIN_KEY_FILE_BYTES {
            return Err(SecretError::BadKey { reason: "the key file has fewer than 32 bytes" });
        }
        Ok(Self { bytes, is_passphrase: false })
    }

    /// How a new file's key will be derived from this.
    pub(super) fn new_derivation(&self, cost: KdfCost) -> Result<Derivation, SecretError> {
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).map_err(|_| SecretError::NoRandomness)?;
        let kdf = if self.is_passphrase { Kdf::Argon2id(cost) } else { Kdf::HkdfSha256 {} };
        Ok(Derivation { kdf, salt: BASE64.encode(salt) })
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaterial(***)")
    }
}

/// How a file's key is derived; a part of its first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Derivation {
    kdf: Kdf,
    salt: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Kdf {
    Argon2id(KdfCost),
    HkdfSha256 {},
}

/// A derived key. Erased when it is dropped.
pub(super) struct SealingKey {
    encrypt: Zeroizing<[u8; KEY_BYTES]>,
    check: [u8; CHECK_BYTES],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedHeader {
    format: String,
    version: u64,
    cipher: String,
    derivation: Derivation,
    key_check: String,
    nonce: String,
}

/// A file that was read but not decrypted yet.
#[derive(Debug)]
pub(super) struct Sealed<'a> {
    line: &'a [u8],
    derivation: Derivation,
    key_check: Vec<u8>,
    nonce: [u8; NONCE_LEN],
    ciphertext: &'a [u8],
}

/// The secrets of a file, by name.
pub(super) type Secrets = BTreeMap<String, Secret>;

impl Derivation {
    /// Derives the key; slow when it is from a passphrase.
    pub(super) fn derive(&self, material: &KeyMaterial, path: &Path) -> Result<SealingKey, SecretError> {
        let salt = BASE64.decode(&self.salt).map_err(|_| damaged(path, "the salt is not base64"))?;
        let master = match (&self.kdf, material.is_passphrase) {
            (Kdf::Argon2id(cost), true) => argon2id(*cost, &salt, &material.bytes, path)?,
            (Kdf::HkdfSha256 {}, false) => extract(&salt, &material.bytes),
            (Kdf::Argon2id(_), false) => {
                return Err(SecretError::BadKey {
                    reason: "the file was written with a passphrase, not a key file",
                });
            }
            (Kdf::HkdfSha256 {}, true) => {
                return Err(SecretError::BadKey {
                    reason: "the file was written with a key file, not a passphrase",
                });
            }
        };
        let mut encrypt = Zeroizing::new([0; KEY_BYTES]);
        let mut check = [0; CHECK_BYTES];
        expand(&master, b"tinclaw secrets v1: encrypt", &mut *encrypt);
        expand(&master, b"tinclaw secrets v1: key check", &mut check);
        Ok(SealingKey { encrypt, check })
    }
}

fn argon2id(cost: KdfCost, salt: &[u8], passphrase: &[u8], path: &Path) -> Result<hkdf::Prk, SecretError> {
    if !cost.is_acceptable() {
        return Err(damaged(path, "the cost of its key derivation is beyond all bounds"));
    }
    let unusable = |_| damaged(path, "the cost of its key derivation makes no sense");
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_BYTES)).map_err(unusable)?;
    let mut master = Zeroizing::new([0; KEY_BYTES]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut *master)
        .map_err(unusable)?;
    Ok(hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &*master))
}

fn extract(salt: &[u8], material: &[u8]) -> hkdf::Prk {
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(material)
}

/// The length that HKDF is asked for.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(master: &hkdf::Prk, purpose: &[u8], out: &mut [u8]) {
    let purpose = [purpose];
    let okm = master.expand(&purpose, Length(out.len()));
    okm.and_then(|okm| okm.fill(out)).expect("HKDF-SHA-256 gives up to 8,160 bytes, these are at most 32");
}

/// Reads everything but the secrets.
pub(super) fn parse<'a>(bytes: &'a [u8], path: &Path) -> Result<Sealed<'a>, SecretError> {
    let (line, rest) =
        split_line(bytes, MAX_HEADER_BYTES).ok_or_else(|| damaged(path, "it has no first line"))?;
    let (sum, ciphertext) = split_line(rest, 64).ok_or_else(|| damaged(path, "it has no checksum"))?;
    if sum != HEXLOWER.encode(digest(&SHA256, line).as_ref()).as_bytes() {
        return Err(damaged(path, "its first line does not fit its checksum"));
    }
    let value: serde_json::Value =
        serde_json::from_slice(line).map_err(|_| damaged(path, "its first line is not JSON"))?;
    check_version(&value, path)?;
    let header: SealedHeader =
        serde_json::from_value(value).map_err(|_| damaged(path, "its first line is incomplete"))?;
    if header.cipher != CIPHER {
        return Err(damaged(path, "its cipher is not known"));
    }
    let key_check =
        BASE64.decode(&header.key_check).map_err(|_| damaged(path, "the key check is not base64"))?;
    let nonce = BASE64.decode(&header.nonce).ok().and_then(|nonce| nonce.try_into().ok());
    let nonce = nonce.ok_or_else(|| damaged(path, "the nonce is not 12 bytes"))?;
    Ok(Sealed { line, derivation: header.derivation, key_check, nonce, ciphertext })
}

fn check_version(header: &serde_json::Value, path: &Path) -> Result<(), SecretError> {
    if header.get("format").and_then(|format| format.as_str()) != Some(FORMAT) {
        return Err(damaged(path, "its first line names another format"));
    }
    match header.get("version").and_then(serde_json::Value::as_u64) {
        Some(VERSION) => Ok(()),
        Some(version) => Err(SecretError::UnknownVersion { path: path.to_owned(), version, known: VERSION }),
        None => Err(damaged(path, "it has no version")),
    }
}

impl Sealed<'_> {
    pub(super) fn derivation(&self) -> &Derivation {
        &self.derivation
    }

    /// Decrypts the secrets.
    pub(super) fn open(&self, key: &SealingKey, path: &Path) -> Result<Secrets, SecretError> {
        if !bool::from(self.key_check.ct_eq(&key.check)) {
            return Err(SecretError::WrongKey { path: path.to_owned() });
        }
        let mut buffer = Zeroizing::new(self.ciphertext.to_vec());
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let plain = aead(key)
            .open_in_place(nonce, Aad::from(self.line), &mut buffer)
            .map_err(|_| damaged(path, "its content was changed or cut"))?;
        read_records(plain).ok_or_else(|| damaged(path, "its content makes no sense"))
    }
}

/// Encrypts the secrets with a new nonce.
pub(super) fn seal(
    secrets: &Secrets,
    derivation: &Derivation,
    key: &SealingKey,
) -> Result<Vec<u8>, SecretError> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| SecretError::NoRandomness)?;
    let header = SealedHeader {
        format: FORMAT.to_owned(),
        version: VERSION,
        cipher: CIPHER.to_owned(),
        derivation: derivation.clone(),
        key_check: BASE64.encode(key.check),
        nonce: BASE64.encode(nonce),
    };
    let line = serde_json::to_string(&header).expect("strings and numbers are always JSON");
    let mut buffer = write_records(secrets);
    let tag = aead(key)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(line.as_bytes()),
            &mut buffer,
        )
        .expect("ChaCha20-Poly1305 takes up to 256 GiB");
    let sum = HEXLOWER.encode(digest(&SHA256, line.as_bytes()).as_ref());
    Ok([line.as_bytes(), b"\n", sum.as_bytes(), b"\n", &buffer, tag.as_ref()].concat())
}

fn aead(key: &SealingKey) -> LessSafeKey {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &*key.encrypt).expect("the key has the cipher's 32 bytes");
    LessSafeKey::new(key)
}

/// Name and value of each secret, each after its length in four bytes (little-endian).
fn write_records(secrets: &Secrets) -> Zeroizing<Vec<u8>> {
    let size: usize = secrets.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(size));
    for part in secrets.iter().flat_map(|(name, value)| [name.as_str(), value.expose()]) {
        let length = u32::try_from(part.len()).expect("names and values are bounded far below 4 GiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(part.as_bytes());
    }
    out
}

pub(super) fn read_records(mut rest: &[u8]) -> Option<Secrets> {
    let mut secrets = Secrets::new();
    while !rest.is_empty() {
        let name = normalise_name(take_text(&mut rest)?).ok()?;
        let value = Secret::from(take_text(&mut rest)?);
        secrets.insert(name, value);
    }
    Some(secrets)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (length, after) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (text, after) = after.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

fn split_line(bytes: &[u8], longest: usize) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(longest + 1).position(|b| *b == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn damaged(path: &Path, reason: &'static str) -> SecretError {
    SecretError::Damaged { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least that Argon2 takes, so that tests are quick.
    const QUICK: KdfCost = KdfCost { memory_kib: 8, passes: 1, lanes: 1 };

    fn path() -> &'static Path {
        Path::new("secrets.enc")
    }

    fn passphrase(text: &str) -> KeyMaterial {
        KeyMaterial::from_passphrase(&Secret::from(text)).unwrap()
    }

    fn sealed(material: &KeyMaterial, secrets: &Secrets) -> Vec<u8> {
        let derivation = material.new_derivation(QUICK).unwrap();
        seal(secrets, &derivation, &derivation.derive(material, path()).unwrap()).unwrap()
    }

    fn opened(material: &KeyMaterial, bytes: &[u8]) -> Result<Secrets, SecretError> {
        let sealed = parse(bytes, path())?;
        let key = sealed.derivation().derive(material, path())?;
        sealed.open(&key, path())
    }

    fn two() -> Secrets {
        [("a".to_owned(), Secret::from("value of a")), ("b".to_owned(), Secret::from("ü\n\0"))].into()
    }

    #[test]
    fn sealed_data_opens_with_the_same_key() {
        let key_file = KeyMaterial::from_file_content(Zeroizing::new(vec![7; 32])).unwrap();
        for material in [passphrase("correct horse"), key_file] {
            let bytes = sealed(&material, &two());
            assert_eq!(opened(&material, &bytes).unwrap(), two());
            assert!(!bytes.windows(10).any(|part| part == b"value of a"));
            assert!(opened(&material, &sealed(&material, &Secrets::new())).unwrap().is_empty());
        }
    }

    #[test]
    fn two_writings_never_look_alike() {
        let material = passphrase("correct horse");
        assert_ne!(sealed(&material, &two()), sealed(&material, &two()));
    }

    #[test]
    fn a_wrong_key_is_told_from_damage() {
        let bytes = sealed(&passphrase("correct horse"), &two());
        assert!(matches!(opened(&passphrase("wrong horse"), &bytes), Err(SecretError::WrongKey { .. })));
        let key_file = KeyMaterial::from_file_content(Zeroizing::new(vec![7; 32])).unwrap();
        assert!(matches!(opened(&key_file, &bytes), Err(SecretError::BadKey { .. })));
        let bytes = sealed(&key_file, &two());
        assert!(matches!(opened(&passphrase("correct horse"), &bytes), Err(SecretError::BadKey { .. })));
    }

    #[test]
    fn every_single_changed_bit_and_every_cut_is_damage() {
        let material = KeyMaterial::from_file_content(Zeroizing::new(vec![7; 32])).unwrap();
        let bytes = sealed(&material, &two());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let result = opened(&material, &changed);
            assert!(matches!(result, Err(SecretError::Damaged { .. })), "byte {at}: {result:?}");
            assert!(
                matches!(opened(&material, &bytes[..at]), Err(SecretError::Damaged { .. })),
                "cut at {at}"
            );
        }
    }

    /// A file whose first line was changed by somebody who also repaired the checksum.
    fn with_header(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
        let (line, rest) = split_line(bytes, MAX_HEADER_BYTES).unwrap();
        let (_, ciphertext) = split_line(rest, 64).unwrap();
        let line = String::from_utf8(line.to_vec()).unwrap();
        assert!(line.contains(from), "{line}");
        let line = line.replace(from, to);
        let sum = HEXLOWER.encode(digest(&SHA256, line.as_bytes()).as_ref());
        [line.as_bytes(), b"\n", sum.as_bytes(), b"\n", ciphertext].concat()
    }

    #[test]
    fn a_planted_first_line_neither_weakens_nor_exhausts() {
        let material = passphrase("correct horse");
        let bytes = sealed(&material, &two());
        let cheaper = with_header(&bytes, "\"passes\":1", "\"passes\":2");
        assert!(matches!(opened(&material, &cheaper), Err(SecretError::WrongKey { .. })));
        let huge = with_header(&bytes, "\"memory_kib\":8", "\"memory_kib\":4194304");
        assert!(matches!(opened(&material, &huge), Err(SecretError::Damaged { .. })));
        let slow = with_header(&bytes, "\"passes\":1", "\"passes\":4000000000");
        assert!(matches!(opened(&material, &slow), Err(SecretError::Damaged { .. })));
        let newer = with_header(&bytes, "\"version\":1", "\"version\":2");
        assert!(matches!(opened(&material, &newer), Err(SecretError::UnknownVersion { version: 2, .. })));
        let other = with_header(&bytes, CIPHER, "rot13");
        assert!(matches!(opened(&material, &other), Err(SecretError::Damaged { .. })));
        let added = with_header(&bytes, "\"version\":1", "\"version\":1,\"x\":1");
        assert!(matches!(opened(&material, &added), Err(SecretError::Damaged { .. })));
    }

    #[test]
    fn weak_keys_are_refused_at_the_limit() {
        let file = |n| KeyMaterial::from_file_content(Zeroizing::new(vec![1; n]));
        assert!(file(32).is_ok());
        assert!(file(31).is_err());
        assert!(KeyMaterial::from_passphrase(&Secret::from("12345678")).is_ok());
        assert!(KeyMaterial::from_passphrase(&Secret::from("1234567")).is_err());
    }

    #[test]
    fn the_default_cost_is_one_that_files_may_ask_for() {
        assert!(KdfCost::default().is_acceptable());
        assert!(KdfCost::MAX.is_acceptable());
        assert!(!KdfCost { memory_kib: KdfCost::MAX.memory_kib + 1, ..KdfCost::MAX }.is_acceptable());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let material = KeyMaterial::from_file_content(Zeroizing::new(vec![7; 32])).unwrap();
            prop_assert!(opened(&material, &bytes).is_err());
            let _ = read_records(&bytes);
        }

        #[test]
        fn records_come_back_as_they_were(secrets in prop::collection::btree_map("[a-z0-9_][a-z0-9_.-]{0,20}", any::<String>(), 0..8)) {
            let secrets: Secrets = secrets.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
            prop_assert_eq!(read_records(&write_records(&secrets)), Some(secrets));
        }
    }
}
