//! Attachments of the published guest `wechat`. WeChat keeps files encrypted with a key of their own, AES-128 in ECB mode with
//! PKCS#7 padding; the guest does not encrypt, its host does.
//!
//! A file of a reply is handed over as `ICWXENC1`, the length of a JSON object (32 bits, little-endian), that object, and the
//! encrypted file. A file of a message is emitted as its address, with the key in its extras as `wechat_aes_key`.

use aes::Aes128;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ecb::cipher::block_padding::Pkcs7;
use ecb::cipher::{BlockDecryptMut as _, BlockEncryptMut as _, KeyInit as _};
use md5::{Digest as _, Md5};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use wit_abi::types::{AgentResponse, Attachment};

/// The guest, by the name of its file.
pub(crate) const GUEST: &str = "wechat";

/// What an envelope begins with.
const MAGIC: &[u8; 8] = b"ICWXENC1";
const KEY_BYTES: usize = 16;

type Key = [u8; KEY_BYTES];

/// What the guest has to tell WeChat of a file.
#[derive(Serialize)]
struct Description {
    raw_size: usize,
    /// In hexadecimal.
    raw_md5: String,
    ciphertext_size: usize,
    /// The name of the file at WeChat, which the host chooses: 32 hexadecimal digits.
    filekey: String,
    aes_key_base64: String,
    aes_key_hex: String,
}

/// A reply with each of its files in an envelope, under a new key. None when the system has no randomness.
pub(super) fn sealed(response: &AgentResponse) -> Option<AgentResponse> {
    let random = SystemRandom::new();
    let seal = |file: &Attachment| -> Option<Attachment> {
        let (mut key, mut filekey) = (Key::default(), Key::default());
        random.fill(&mut key).ok()?;
        random.fill(&mut filekey).ok()?;
        Some(Attachment { data: envelope(&file.data, &key, &filekey), ..file.clone() })
    };
    let attachments = response.attachments.iter().map(seal).collect::<Option<_>>()?;
    Some(AgentResponse { attachments, ..response.clone() })
}

fn envelope(data: &[u8], key: &Key, filekey: &Key) -> Vec<u8> {
    let encrypted = ecb::Encryptor::<Aes128>::new(key.into()).encrypt_padded_vec_mut::<Pkcs7>(data);
    let description = Description {
        raw_size: data.len(),
        raw_md5: HEXLOWER.encode(&Md5::digest(data)),
        ciphertext_size: encrypted.len(),
        filekey: HEXLOWER.encode(filekey),
        aes_key_base64: STANDARD.encode(key),
        aes_key_hex: HEXLOWER.encode(key),
    };
    // It is a struct of texts and numbers, and some 250 bytes long.
    let json = serde_json::to_vec(&description).unwrap_or_default();
    let length = u32::try_from(json.len()).unwrap_or_default();
    [MAGIC, &length.to_le_bytes()[..], &json, &encrypted].concat()
}

/// The key in the extras of a file that is still encrypted where it lies. None for other files.
pub(super) fn key_of(extras_json: &str) -> Option<Key> {
    #[derive(Deserialize)]
    struct Extras {
        wechat_aes_key: String,
    }
    let Extras { wechat_aes_key: text } = serde_json::from_str(extras_json).ok()?;
    hex_key(text.as_bytes()).or_else(|| {
        let bytes = STANDARD.decode(text.trim()).ok()?;
        // WeChat has both in base64: the key, and its hexadecimal digits.
        Key::try_from(bytes.as_slice()).ok().or_else(|| hex_key(&bytes))
    })
}

fn hex_key(text: &[u8]) -> Option<Key> {
    Key::try_from(HEXLOWER_PERMISSIVE.decode(text.trim_ascii()).ok()?).ok()
}

/// A file that was encrypted with this key. None when it was not.
pub(super) fn decrypted(mut data: Vec<u8>, key: &Key) -> Option<Vec<u8>> {
    let length = ecb::Decryptor::<Aes128>::new(key.into()).decrypt_padded_mut::<Pkcs7>(&mut data).ok()?.len();
    data.truncate(length);
    Some(data)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: Key = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    /// Plain text and what OpenSSL makes of it with that key (`openssl enc -aes-128-ecb`), in hexadecimal.
    const VECTORS: [(&str, &str); 4] = [
        ("", "954f64f2e4e86e9eee82d20216684899"),
        ("hello", "5d8749e2af7531b2bf6661e9e5daf012"),
        ("exactly 16 bytes", "a2bc4c7ba89e1d14b482c3d8c7d6ac77954f64f2e4e86e9eee82d20216684899"),
        (
            "more than one block of sixteen bytes",
            "999f84cc39ee35457eb2d0d53a965b190afa53744b3e68e619f5056e54df140cdef2c270d532092d01c1d5fd7f6570ab",
        ),
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        HEXLOWER.decode(hex.as_bytes()).expect("hexadecimal")
    }

    #[test]
    fn files_are_encrypted_and_decrypted_as_openssl_does() {
        for (plain, hex) in VECTORS {
            let sealed = envelope(plain.as_bytes(), &KEY, &KEY);
            assert!(sealed.ends_with(&bytes(hex)), "{plain:?}");
            assert_eq!(decrypted(bytes(hex), &KEY).as_deref(), Some(plain.as_bytes()), "{plain:?}");
        }
    }

    #[test]
    fn an_envelope_describes_its_file() {
        let sealed = envelope(b"hello", &KEY, &[0xab; 16]);
        assert_eq!(&sealed[..8], b"ICWXENC1");
        let length = u32::from_le_bytes(sealed[8..12].try_into().expect("4 bytes")) as usize;
        let description: serde_json::Value = serde_json::from_slice(&sealed[12..12 + length]).expect("JSON");
        let expected = json!({
            "raw_size": 5,
            "raw_md5": "5d41402abc4b2a76b9719d911017c592",
            "ciphertext_size": 16,
            "filekey": "ab".repeat(16),
            "aes_key_base64": "AAECAwQFBgcICQoLDA0ODw==",
            "aes_key_hex": "000102030405060708090a0b0c0d0e0f",
        });
        assert_eq!(description, expected);
        assert_eq!(sealed.len(), 12 + length + 16);
    }

    #[test]
    fn each_file_of_a_reply_has_a_key_of_its_own() {
        let file =
            |name: &str| Attachment { filename: name.into(), mime_type: "a/b".into(), data: b"x".to_vec() };
        let attachments = vec![file("a"), file("b")];
        let reply = AgentResponse { content: "hi".into(), attachments, ..AgentResponse::default() };
        let sealed = sealed(&reply).expect("randomness");
        let [a, b] = sealed.attachments.as_slice() else { panic!("{sealed:?}") };
        assert_eq!((a.filename.as_str(), b.filename.as_str(), sealed.content.as_str()), ("a", "b", "hi"));
        assert_ne!(a.data, b.data);
    }

    #[test]
    fn a_key_is_hexadecimal_or_base64() {
        let hex = "000102030405060708090A0B0C0D0E0F";
        let (raw, digits) = (STANDARD.encode(KEY), STANDARD.encode(hex.to_lowercase()));
        for (text, expected) in [
            (hex, Some(KEY)),
            (raw.as_str(), Some(KEY)),
            (digits.as_str(), Some(KEY)),
            (&hex[2..], None),
            ("", None),
            ("AAEC", None),
        ] {
            let extras = json!({"other": 1, "wechat_aes_key": text}).to_string();
            assert_eq!(key_of(&extras), expected, "{text}");
        }
        for extras in ["", "{}", "[]", r#"{"wechat_aes_key": 7}"#] {
            assert_eq!(key_of(extras), None, "{extras}");
        }
    }

    #[test]
    fn files_encrypted_with_another_key_are_refused() {
        let [_, (_, hello), ..] = VECTORS;
        for data in [Vec::new(), b"hello".to_vec(), bytes(&hello[..30]), vec![0; 32]] {
            assert_eq!(decrypted(data.clone(), &KEY), None, "{data:?}");
        }
        assert_ne!(decrypted(bytes(hello), &[1; 16]).as_deref(), Some(&b"hello"[..]));
    }
}
