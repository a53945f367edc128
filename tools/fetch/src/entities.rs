//! Characters that are written as `&name;` or by their number.

/// Those that texts really have. HTML knows two thousand; what is not here stays as it is written.
const NAMED: &[(&str, &str)] = &[
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", " "),
    ("shy", ""),
    ("ensp", " "),
    ("emsp", " "),
    ("thinsp", " "),
    ("zwnj", ""),
    ("zwj", ""),
    ("lrm", ""),
    ("rlm", ""),
    ("ndash", "–"),
    ("mdash", "—"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("sbquo", "‚"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("bdquo", "„"),
    ("laquo", "«"),
    ("raquo", "»"),
    ("lsaquo", "‹"),
    ("rsaquo", "›"),
    ("hellip", "…"),
    ("bull", "•"),
    ("middot", "·"),
    ("copy", "©"),
    ("reg", "®"),
    ("trade", "™"),
    ("deg", "°"),
    ("euro", "€"),
    ("pound", "£"),
    ("yen", "¥"),
    ("cent", "¢"),
    ("sect", "§"),
    ("para", "¶"),
    ("times", "×"),
    ("divide", "÷"),
    ("plusmn", "±"),
    ("minus", "−"),
    ("frac12", "½"),
    ("frac14", "¼"),
    ("frac34", "¾"),
    ("sup2", "²"),
    ("sup3", "³"),
    ("micro", "µ"),
    ("larr", "←"),
    ("rarr", "→"),
    ("uarr", "↑"),
    ("darr", "↓"),
    ("auml", "ä"),
    ("ouml", "ö"),
    ("uuml", "ü"),
    ("Auml", "Ä"),
    ("Ouml", "Ö"),
    ("Uuml", "Ü"),
    ("szlig", "ß"),
    ("eacute", "é"),
    ("egrave", "è"),
    ("ecirc", "ê"),
    ("euml", "ë"),
    ("agrave", "à"),
    ("aacute", "á"),
    ("acirc", "â"),
    ("aring", "å"),
    ("aelig", "æ"),
    ("ccedil", "ç"),
    ("iacute", "í"),
    ("icirc", "î"),
    ("iuml", "ï"),
    ("ntilde", "ñ"),
    ("oacute", "ó"),
    ("ograve", "ò"),
    ("ocirc", "ô"),
    ("oslash", "ø"),
    ("oelig", "œ"),
    ("uacute", "ú"),
    ("ugrave", "ù"),
    ("ucirc", "û"),
    ("Aring", "Å"),
    ("AElig", "Æ"),
    ("Oslash", "Ø"),
    ("Eacute", "É"),
    ("Ccedil", "Ç"),
];
/// Bytes of the longest name.
const MAX_NAME_BYTES: usize = 10;

/// The text with its characters.
pub fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        rest = after;
        let name =
            rest.bytes().take(MAX_NAME_BYTES + 1).position(|byte| byte == b';').map(|end| &rest[..end]);
        match name.and_then(|name| Some((name, of(name)?))) {
            Some((name, Character::Named(text))) => (out.push_str(text), rest = &rest[name.len() + 1..]).1,
            Some((name, Character::Numbered(character))) => {
                (out.push(character), rest = &rest[name.len() + 1..]).1
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    out
}

enum Character {
    Named(&'static str),
    Numbered(char),
}

fn of(name: &str) -> Option<Character> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => number.parse(),
        };
        let character = char::from_u32(code.ok()?)?;
        return Some(Character::Numbered(if character.is_control() { ' ' } else { character }));
    }
    NAMED.iter().find(|(known, _)| *known == name).map(|(_, text)| Character::Named(text))
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn characters_are_decoded_and_the_rest_stays() {
        for (text, expected) in [
            ("a &amp; b &lt;c&gt;", "a & b <c>"),
            ("&#228;&#xE4;&#XE4;&auml;", "ääää"),
            ("&amp;lt;", "&lt;"),
            ("R&D; &unknown; & &", "R&D; &unknown; & &"),
            ("&#0;&#xD800;&#99999999999;", " &#xD800;&#99999999999;"),
            ("&ä;", "&ä;"),
            ("", ""),
        ] {
            assert_eq!(decoded(text), expected, "{text}");
        }
    }
}
