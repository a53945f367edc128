//! Parses `multipart/form-data` bodies (RFC 7578) and refuses what services refuse.

/// One field of a form.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub filename: Option<String>,
    pub data: Vec<u8>,
}

/// The fields of a form, or what is wrong with it.
pub fn read(content_type: &str, body: &[u8]) -> Result<Vec<Field>, String> {
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").ok_or("no form")?;
    let delimiter = format!("--{boundary}");
    let mut rest = body.strip_prefix(delimiter.as_bytes()).ok_or("no first boundary")?;
    let mut fields = Vec::new();
    loop {
        if rest == b"--\r\n" {
            return Ok(fields);
        }
        rest = rest.strip_prefix(b"\r\n").ok_or("no line end after a boundary")?;
        let head_end = find(rest, b"\r\n\r\n").ok_or("no end of a head")?;
        let head = std::str::from_utf8(&rest[..head_end]).map_err(|_| "a head that is no text")?;
        let data = &rest[head_end + 4..];
        let end = find(data, format!("\r\n{delimiter}").as_bytes()).ok_or("no end of a part")?;
        fields.push(field(head, &data[..end])?);
        rest = &data[end + 2 + delimiter.len()..];
    }
}

fn field(head: &str, data: &[u8]) -> Result<Field, String> {
    let line = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let disposition = line("content-disposition").ok_or("no disposition")?;
    let parameter = |name: &str| {
        let start = disposition.find(&format!("; {name}=\""))? + name.len() + 4;
        let end = disposition[start..].find('"')?;
        Some(disposition[start..start + end].to_owned())
    };
    Ok(Field {
        name: parameter("name").ok_or("no name")?,
        filename: parameter("filename"),
        data: data.to_vec(),
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
