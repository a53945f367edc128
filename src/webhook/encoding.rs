//! Reading signatures: one spelling for each value, so that a signature cannot be written in two ways.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE, HEXUPPER};

use crate::capability::webhook::SignatureEncoding;

/// Longest signature text that is looked at; an HMAC-SHA512 in hexadecimal has 128 characters.
const MAX_SIGNATURE_CHARS: usize = 256;

/// The bytes of a signature, or nothing when its spelling is not the canonical one.
pub(super) fn decode(encoding: SignatureEncoding, text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_SIGNATURE_CHARS {
        return None;
    }
    match encoding {
        SignatureEncoding::Hex => HEXLOWER.decode(text.as_bytes()).ok(),
        SignatureEncoding::HexUpper => HEXUPPER.decode(text.as_bytes()).ok(),
        SignatureEncoding::Base64 => STANDARD.decode(text).ok(),
    }
}

/// The bytes of hexadecimal text in either case, for keys that people paste.
pub(super) fn hex_of_either_case(text: &[u8]) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_encoding_has_one_spelling() {
        use SignatureEncoding::{Base64, Hex, HexUpper};
        let cases: [(SignatureEncoding, &str, Option<&[u8]>); 18] = [
            (Hex, "00ff", Some(&[0x00, 0xff])),
            (Hex, "00FF", None),
            (Hex, "00f", None),
            (Hex, "0g", None),
            (Hex, " 0", None),
            (Hex, "é", None),
            (Hex, "", Some(&[])),
            (HexUpper, "00FF", Some(&[0x00, 0xff])),
            (HexUpper, "00ff", None),
            (Base64, "AP8=", Some(&[0x00, 0xff])),
            (Base64, "AP8", None),
            (Base64, "AP9=", None),
            (Base64, "AP8==", None),
            (Base64, "AP-_", None),
            (Base64, "AP8= ", None),
            (Base64, "AP\n8=", None),
            (Base64, "====", None),
            (Base64, "AP8=AP8=", None),
        ];
        for (encoding, text, bytes) in cases {
            assert_eq!(decode(encoding, text).as_deref(), bytes, "{encoding:?} {text:?}");
        }
    }

    #[test]
    fn a_signature_of_unreasonable_length_is_not_decoded() {
        let text = "0".repeat(MAX_SIGNATURE_CHARS);
        assert!(decode(SignatureEncoding::Hex, &text).is_some());
        assert!(decode(SignatureEncoding::Hex, &format!("{text}00")).is_none());
    }
}
