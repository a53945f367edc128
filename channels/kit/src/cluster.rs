//! Which characters belong together: an accent to its letter, the parts of an emoji to each other.
//!
//! These are the extended grapheme clusters of Unicode (UAX #29), a little more generous: where in doubt, characters stay
//! together, which costs a part nothing but a few characters. The crate `unicode-segmentation` knows them exactly, but its
//! tables are 20 KB in every guest; the tests compare this with it.

/// Characters that never begin a cluster (Grapheme_Extend, SpacingMark, ZWJ): the first one in the upper 21 bits, how many
/// follow it in the lower 11. In order.
const EXTENDING: &[u32] = &[
    0x18006f, 0x241806, 0x2c882c, 0x2df800, 0x2e0801, 0x2e2001, 0x2e3800, 0x30800a, 0x325814, 0x338000,
    0x36b006, 0x36f805, 0x373801, 0x375003, 0x388800, 0x39801a, 0x3d300a, 0x3f5808, 0x3fe800, 0x40b003,
    0x40d808, 0x412802, 0x414804, 0x42c802, 0x44b808, 0x465017, 0x471820, 0x49d002, 0x49f011, 0x4a8806,
    0x4b1001, 0x4c0802, 0x4de000, 0x4df006, 0x4e3801, 0x4e5802, 0x4eb800, 0x4f1001, 0x4ff000, 0x500802,
    0x51e000, 0x51f004, 0x523801, 0x525802, 0x528800, 0x538001, 0x53a800, 0x540802, 0x55e000, 0x55f007,
    0x563802, 0x565802, 0x571001, 0x57d005, 0x580802, 0x59e000, 0x59f006, 0x5a3801, 0x5a5802, 0x5aa802,
    0x5b1001, 0x5c1000, 0x5df004, 0x5e3002, 0x5e5003, 0x5eb800, 0x600004, 0x61e000, 0x61f006, 0x623002,
    0x625003, 0x62a801, 0x631001, 0x640802, 0x65e000, 0x65f006, 0x663002, 0x665003, 0x66a801, 0x671001,
    0x679800, 0x680003, 0x69d801, 0x69f006, 0x6a3002, 0x6a5003, 0x6ab800, 0x6b1001, 0x6c0802, 0x6e5000,
    0x6e7805, 0x6eb000, 0x6ec007, 0x6f9001, 0x718800, 0x719807, 0x723807, 0x758800, 0x759809, 0x764006,
    0x78c001, 0x79a800, 0x79b800, 0x79c800, 0x79f001, 0x7b8813, 0x7c3001, 0x7c680a, 0x7cc823, 0x7e3000,
    0x81680a, 0x81c805, 0x82b003, 0x82f002, 0x838803, 0x841000, 0x842002, 0x846800, 0x84e800, 0x9ae802,
    0xb89003, 0xb99002, 0xba9001, 0xbb9001, 0xbda01f, 0xbee800, 0xc05802, 0xc07800, 0xc42801, 0xc54800,
    0xc9000b, 0xc9800b, 0xd0b804, 0xd2a809, 0xd30000, 0xd31000, 0xd32817, 0xd3f800, 0xd5802d, 0xd7000b,
    0xd80004, 0xd9a010, 0xdb5808, 0xdc0002, 0xdd080c, 0xdf300d, 0xe12013, 0xe68002, 0xe6a014, 0xe76800,
    0xe7a000, 0xe7b802, 0xee003f, 0x1006001, 0x1068020, 0x1677802, 0x16bf800, 0x16f001f, 0x1815005,
    0x184c801, 0x5337803, 0x533a009, 0x534f001, 0x5378001, 0x5401000, 0x5403000, 0x5405800, 0x5411804,
    0x5416000, 0x5440001, 0x545a011, 0x5470011, 0x547f800, 0x5493007, 0x54a380c, 0x54c0003, 0x54d980d,
    0x54f2800, 0x551480d, 0x5521800, 0x5526001, 0x553e000, 0x5558000, 0x5559002, 0x555b801, 0x555f001,
    0x5560800, 0x5575804, 0x557a801, 0x55f1807, 0x55f6001, 0x7d8f000, 0x7f0000f, 0x7f1000f, 0x7fcf001,
    0x80fe800, 0x8170000, 0x81bb004, 0x8500802, 0x8502801, 0x8506003, 0x851c002, 0x851f800, 0x8572801,
    0x8692003, 0x86b4804, 0x8755801, 0x877d005, 0x87a300a, 0x87c1003, 0x8800002, 0x881c00e, 0x8838000,
    0x8839801, 0x883f803, 0x885800a, 0x8861000, 0x8880002, 0x889380d, 0x88a2801, 0x88b9800, 0x88c0002,
    0x88d980d, 0x88e4803, 0x88e7001, 0x891600b, 0x891f000, 0x8920800, 0x896f80b, 0x8980003, 0x899d801,
    0x899f006, 0x89a3801, 0x89a5802, 0x89ab800, 0x89b1001, 0x89b3006, 0x89b8004, 0x89dc008, 0x89e1000,
    0x89e2800, 0x89e3803, 0x89e6004, 0x89e9000, 0x89f0801, 0x8a1a811, 0x8a2f000, 0x8a58013, 0x8ad7806,
    0x8adc008, 0x8aee001, 0x8b18010, 0x8b5580c, 0x8b8e802, 0x8b91009, 0x8c1600e, 0x8c98005, 0x8c9b801,
    0x8c9d803, 0x8ca0000, 0x8ca1001, 0x8ce8806, 0x8ced006, 0x8cf2000, 0x8d00809, 0x8d19806, 0x8d1d803,
    0x8d23800, 0x8d2880a, 0x8d4500f, 0x8db0007, 0x8e17807, 0x8e1c007, 0x8e49015, 0x8e5480d, 0x8e98805,
    0x8e9d000, 0x8e9e001, 0x8e9f806, 0x8ea3800, 0x8ec5004, 0x8ec8001, 0x8ec9804, 0x8f79803, 0x8f80001,
    0x8f81800, 0x8f9a006, 0x8f9f004, 0x8fad000, 0x9a20000, 0x9a2380e, 0xb08f011, 0xb578004, 0xb598006,
    0xb7a7800, 0xb7a8836, 0xb7c7803, 0xb7f2000, 0xb7f8001, 0xde4e801, 0xe78002d, 0xe798016, 0xe8b2804,
    0xe8b6805, 0xe8bd807, 0xe8c2806, 0xe8d5003, 0xe921002, 0xed00036, 0xed1d831, 0xed3a800, 0xed42000,
    0xed4d804, 0xed5080e, 0xf000006, 0xf004010, 0xf00d806, 0xf011801, 0xf013004, 0xf047800, 0xf098006,
    0xf157000, 0xf176003, 0xf276003, 0xf2f7001, 0xf371800, 0xf373000, 0xf377001, 0xf37a800, 0xf468006,
    0xf4a2006, 0xf9fd804, 0x7001005f, 0x700800ef,
];

/// Characters after which nothing is cut: those that belong to the next one (Prepend), and those that join two consonants
/// (Indic conjuncts). In order.
const JOINING: &[(u32, u32)] = &[
    (0x600, 0x605),
    (0x6dd, 0x6dd),
    (0x70f, 0x70f),
    (0x890, 0x891),
    (0x8e2, 0x8e2),
    (0x94d, 0x94d),
    (0x9cd, 0x9cd),
    (0xacd, 0xacd),
    (0xb4d, 0xb4d),
    (0xc4d, 0xc4d),
    (0xd4d, 0xd4d),
    (0xd4e, 0xd4e),
    (0x1039, 0x1039),
    (0x17d2, 0x17d2),
    (0x1a60, 0x1a60),
    (0x1b44, 0x1b44),
    (0x1bab, 0x1bab),
    (0xa9c0, 0xa9c0),
    (0xaaf6, 0xaaf6),
    (0x10a3f, 0x10a3f),
    (0x110bd, 0x110bd),
    (0x110cd, 0x110cd),
    (0x11133, 0x11133),
    (0x111c2, 0x111c3),
    (0x113d0, 0x113d0),
    (0x113d1, 0x113d1),
    (0x1193e, 0x1193e),
    (0x1193f, 0x1193f),
    (0x11941, 0x11941),
    (0x11a47, 0x11a47),
    (0x11a84, 0x11a89),
    (0x11a99, 0x11a99),
    (0x11d46, 0x11d46),
    (0x11f02, 0x11f02),
    (0x11f42, 0x11f42),
];

/// The end of the cluster that begins `text`, in bytes. 0 for an empty text.
pub(crate) fn first_cluster(text: &str) -> usize {
    let mut chars = text.char_indices();
    let Some((_, mut before)) = chars.next() else { return 0 };
    let mut flags = u32::from(is_flag_letter(before));
    for (at, c) in chars {
        let is_second_letter = is_flag_letter(c) && flags % 2 == 1;
        if !is_second_letter && !belong_together(before, c) {
            return at;
        }
        flags = if is_flag_letter(c) { flags + 1 } else { 0 };
        before = c;
    }
    text.len()
}

fn belong_together(before: char, after: char) -> bool {
    if before == '\r' {
        return after == '\n';
    }
    if before.is_control() || after.is_control() {
        return false;
    }
    is_extending(after)
        // Zero width joiner: what stands on both sides is one emoji.
        || before == '\u{200d}'
        || JOINING.iter().any(|(first, last)| (*first..=*last).contains(&u32::from(before)))
        || (is_hangul(before) && is_hangul_part(after))
        || (is_leading_consonant(before) && is_hangul(after))
}

fn is_extending(c: char) -> bool {
    let c = u32::from(c);
    let at = EXTENDING.partition_point(|range| range >> 11 <= c);
    at > 0 && c - (EXTENDING[at - 1] >> 11) <= EXTENDING[at - 1] & 0x7ff
}

/// Two of them are a flag.
fn is_flag_letter(c: char) -> bool {
    matches!(c, '\u{1f1e6}'..='\u{1f1ff}')
}

fn is_hangul(c: char) -> bool {
    is_leading_consonant(c) || is_hangul_part(c) || matches!(c, '\u{ac00}'..='\u{d7a3}')
}

fn is_leading_consonant(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{115f}' | '\u{a960}'..='\u{a97c}')
}

/// A vowel or the consonant at the end of a syllable.
fn is_hangul_part(c: char) -> bool {
    matches!(c, '\u{1160}'..='\u{11ff}' | '\u{d7b0}'..='\u{d7fb}' | '\u{16d63}' | '\u{16d67}'..='\u{16d6a}')
}

#[cfg(test)]
mod tests {
    use unicode_segmentation::UnicodeSegmentation;

    use super::*;

    /// Wherever the exact rules keep two characters together, these do.
    fn check(text: &str) {
        let cluster = text.graphemes(true).next().unwrap();
        assert!(first_cluster(text) >= cluster.len(), "{text:?} ({:x?})", text.chars().collect::<Vec<_>>());
    }

    #[test]
    fn no_cluster_of_unicode_is_cut() {
        // Beyond these planes are ideographs and private characters.
        for c in ('\0'..'\u{20000}').chain('\u{e0000}'..'\u{e1000}') {
            for other in ['a', '\u{1100}', '\u{1160}', '\u{11a8}', '\u{1f469}'] {
                check(&[c, other].iter().collect::<String>());
                check(&[other, c].iter().collect::<String>());
            }
            check(&['\u{915}', c, '\u{915}'].iter().collect::<String>());
        }
    }

    #[test]
    fn what_stands_by_itself_is_a_cluster() {
        for (text, expected) in [
            ("ab", "a"),
            ("e\u{301}x", "e\u{301}"),
            ("👨‍👩‍👧x", "👨‍👩‍👧"),
            ("👍🏽👍", "👍🏽"),
            ("🇩🇪🇫🇷", "🇩🇪"),
            ("❤️a", "❤️"),
            ("漢字", "漢"),
            ("\r\nx", "\r\n"),
            ("\n\n", "\n"),
            ("한국", "한"),
        ] {
            assert_eq!(&text[..first_cluster(text)], expected);
        }
    }
}
