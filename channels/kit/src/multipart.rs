//! Forms with files, `multipart/form-data` (RFC 7578).

use std::borrow::Cow;

use crate::host;

/// A form that is put together. Files may be borrowed: then they are copied once, into the body.
#[derive(Debug, Default)]
pub struct Multipart<'a> {
    parts: Vec<Part<'a>>,
}

#[derive(Debug)]
struct Part<'a> {
    head: String,
    data: Cow<'a, [u8]>,
}

impl<'a> Multipart<'a> {
    /// An empty form.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        let head = format!("content-disposition: form-data; name=\"{}\"\r\n", quoted(name));
        self.parts.push(Part { head, data: Cow::Owned(value.as_bytes().to_vec()) });
        self
    }

    /// Adds a file.
    pub fn file(
        mut self,
        name: &str,
        filename: &str,
        mime_type: &str,
        data: impl Into<Cow<'a, [u8]>>,
    ) -> Self {
        let head = format!(
            "content-disposition: form-data; name=\"{}\"; filename=\"{}\"\r\ncontent-type: {}\r\n",
            quoted(name),
            quoted(filename),
            mime_type.replace(['\r', '\n'], "")
        );
        self.parts.push(Part { head, data: data.into() });
        self
    }

    /// The content type and the body.
    pub(crate) fn finish(self) -> (String, Vec<u8>) {
        let boundary = self.boundary();
        let size: usize = self.parts.iter().map(|part| part.head.len() + part.data.len() + 64).sum();
        let mut body = Vec::with_capacity(size + 64);
        for part in self.parts {
            body.extend_from_slice(format!("--{boundary}\r\n{}\r\n", part.head).as_bytes());
            body.extend_from_slice(&part.data);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        (format!("multipart/form-data; boundary={boundary}"), body)
    }

    /// A line that none of the parts has. It counts from the time, so that no file can have many of them in advance.
    fn boundary(&self) -> String {
        let mut number = host::now_millis();
        loop {
            let boundary = format!("tinclaw-{number:020}-form");
            if !self.parts.iter().any(|part| has(&part.data, boundary.as_bytes())) {
                return boundary;
            }
            number = number.wrapping_add(1);
        }
    }
}

/// Whether a boundary is in the data: the search of Boyer, Moore and Horspool, which looks at one byte of some thirty, because
/// each instruction costs fuel.
fn has(data: &[u8], boundary: &[u8]) -> bool {
    let last = boundary.len() - 1;
    // How far on the boundary can end at the earliest, when this byte stands where its last one was looked for.
    let mut skips = [boundary.len(); 256];
    for (at, byte) in boundary[..last].iter().enumerate() {
        skips[usize::from(*byte)] = last - at;
    }
    let mut end = last;
    while let Some(byte) = data.get(end) {
        if data[end - last..=end] == *boundary {
            return true;
        }
        end += skips[usize::from(*byte)];
    }
    false
}

/// A name in quotation marks (RFC 7578, section 4.2; the escapes are those of the HTML standard).
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeHost;

    #[test]
    fn a_form_has_its_fields_and_files() {
        let host = FakeHost::new();
        host.set_now_ms(7);
        let form = Multipart::new().field("chat_id", "7").file("photo", "a\"b.png", "image/png", vec![1, 2]);
        let (content_type, body) = form.finish();
        assert_eq!(content_type, "multipart/form-data; boundary=tinclaw-00000000000000000007-form");
        let expected = "--B\r\ncontent-disposition: form-data; name=\"chat_id\"\r\n\r\n7\r\n\
                        --B\r\ncontent-disposition: form-data; name=\"photo\"; filename=\"a%22b.png\"\r\n\
                        content-type: image/png\r\n\r\n\u{1}\u{2}\r\n--B--\r\n";
        let expected = expected.replace("--B", "--tinclaw-00000000000000000007-form");
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[test]
    fn the_boundary_is_in_no_part() {
        let host = FakeHost::new();
        host.set_now_ms(7);
        let taken: Vec<String> = (7..9).map(|number| format!("tinclaw-{number:020}-form")).collect();
        let form = Multipart::new().field("a", &format!("x {} y", taken[0])).file(
            "b",
            "b",
            "text/plain",
            taken[1].as_bytes(),
        );
        assert_eq!(form.boundary(), "tinclaw-00000000000000000009-form");
    }

    #[test]
    fn a_boundary_is_found_at_any_place_and_nothing_else_is() {
        let boundary = b"tinclaw-00000000000000000007-form";
        let around: [&[u8]; 5] = [b"", b"x", b"tinclaw-", b"0000000000", b"-form-form"];
        for before in around {
            for after in around {
                let data = [before, boundary.as_slice(), after].concat();
                assert!(has(&data, boundary), "{}", String::from_utf8_lossy(&data));
                for wrong in before.len()..before.len() + boundary.len() {
                    let mut data = data.clone();
                    data[wrong] = b'?';
                    assert!(!has(&data, boundary), "{}", String::from_utf8_lossy(&data));
                }
            }
        }
        assert!(!has(b"", boundary));
    }
}
