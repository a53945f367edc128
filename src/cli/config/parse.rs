//! From text to fields, with errors that name the line and the nearest field.

use super::file::ConfigFile;

/// How alike a known field must be to be suggested, from 0 to 1.
const ALIKE: f64 = 0.7;

/// Reads a configuration.
///
/// # Errors
/// One line: which line of the file, what is wrong there, and what may have been meant.
pub fn parse(text: &str) -> Result<ConfigFile, String> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| line_of(text, span.start));
        let message = with_suggestion(error.message());
        match line {
            Some(line) => format!("line {line}: {message}"),
            None => message,
        }
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Makes "unknown field `a`, expected one of `b`, `c`" say which of them is nearest.
fn with_suggestion(message: &str) -> String {
    let message = message.trim().replace('\n', "; ");
    let Some(rest) = message.strip_prefix("unknown field ") else { return message };
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let Some(field) = quoted.next() else { return message };
    let known: Vec<&str> = quoted.collect();
    let alike = |known: &&str| strsim::jaro_winkler(field, known);
    let nearest = known.iter().copied().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    match nearest.filter(|nearest| alike(nearest) >= ALIKE) {
        Some(nearest) => format!("unknown field `{field}`; did you mean `{nearest}`?"),
        None => format!("unknown field `{field}`; known here are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_field_is_named_with_its_line_and_the_nearest_one() {
        let rows = [
            ("lisen = \"127.0.0.1:1\"", "line 1: unknown field `lisen`; did you mean `listen`?"),
            (
                "workers = 3\n\n[secrets]\nenv_prefix_only = true",
                "line 4: unknown field `env_prefix_only`; did you mean `env_prefixed_only`?",
            ),
            ("[channel.echo]\nowner = 3", "line 2: unknown field `owner`; did you mean `owner_id`?"),
            ("[queue]\nzzz = 1", "line 2: unknown field `zzz`; known here are messages, megabytes, replies"),
            ("workers = \"many\"", "line 1: invalid type: string \"many\", expected usize"),
            ("durability = \"none\"", "line 1: unknown variant `none`, expected `full` or `normal`"),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text).err().as_deref(), Some(expected), "{text}");
        }
        assert!(parse("a = ").unwrap_err().starts_with("line 1: "));
    }

    #[test]
    fn every_table_is_read() {
        let file = parse(
            "listen = \"127.0.0.1:0\"\nhttp_rewrite = { \"a.example\" = \"http://127.0.0.1:1\" }\n[limits]\nmemory_mb = 64\n\
             [channel.telegram]\nowner_id = 7\n[channel.telegram.config]\ndm_policy = \"open\"\nnested = { a = [1, 2] }\n",
        )
        .unwrap();
        assert_eq!(file.limits["memory_mb"], 64);
        assert_eq!(file.channel["telegram"].owner_id, Some(7.into()));
        assert_eq!(file.channel["telegram"].config["nested"]["a"][1], 2);
    }
}
