//! Forms with files, `multipart/form-data` (RFC 7578).

/// A form that is put together.
#[derive(Debug, Default)]
pub struct Multipart {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    head: String,
    data: Vec<u8>,
}

impl Multipart {
    /// An empty form.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        let head = format!("content-disposition: form-data; name=\"{}\"\r\n", quoted(name));
        self.parts.push(Part { head, data: value.as_bytes().to_vec() });
        self
    }

    /// Adds a file.
    pub fn file(mut self, name: &str, filename: &str, mime_type: &str, data: Vec<u8>) -> Self {
        let head = format!(
            "content-disposition: form-data; name=\"{}\"; filename=\"{}\"\r\ncontent-type: {}\r\n",
            quoted(name),
            quoted(filename),
            mime_type.replace(['\r', '\n'], "")
        );
        self.parts.push(Part { head, data });
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

    /// A line that none of the parts has.
    fn boundary(&self) -> String {
        let mut number = 0u32;
        loop {
            let boundary = format!("tinclaw-part-{number}");
            let is_taken =
                |data: &[u8]| data.windows(boundary.len()).any(|window| window == boundary.as_bytes());
            if !self.parts.iter().any(|part| is_taken(&part.data)) {
                return boundary;
            }
            number += 1;
        }
    }
}

/// A name in quotation marks (RFC 7578, section 4.2; the escapes are those of the HTML standard).
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_its_fields_and_files() {
        let form = Multipart::new().field("chat_id", "7").file("photo", "a\"b.png", "image/png", vec![1, 2]);
        let (content_type, body) = form.finish();
        assert_eq!(content_type, "multipart/form-data; boundary=tinclaw-part-0");
        let expected = "--tinclaw-part-0\r\ncontent-disposition: form-data; name=\"chat_id\"\r\n\r\n7\r\n\
                        --tinclaw-part-0\r\ncontent-disposition: form-data; name=\"photo\"; filename=\"a%22b.png\"\r\n\
                        content-type: image/png\r\n\r\n\u{1}\u{2}\r\n--tinclaw-part-0--\r\n";
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[test]
    fn the_boundary_is_in_no_part() {
        let form = Multipart::new().field("a", "x tinclaw-part-0 y");
        assert_eq!(form.boundary(), "tinclaw-part-1");
    }
}
