//! The fields of a JSON record beside its message, level and time, for whoever exports whole records.

use super::json::{Members, NotJson, Text, Value};
use super::keys;

/// Fields of one record; further ones are left out.
const MAX_ATTRIBUTES: usize = 100;
/// Objects nested deeper are given as text.
const MAX_DEPTH: usize = 8;
/// Bytes of a value, cut between two characters.
const MAX_VALUE_BYTES: usize = 4096;

/// The other fields of a record by their names, those of nested objects joined by dots. Arrays are given as JSON.
/// Empty if the message is no JSON object.
pub fn attributes(line: &[u8]) -> Vec<(String, String)> {
    let mut attributes = Vec::new();
    match collect("", line, 0, &mut attributes) {
        Ok(()) => attributes,
        Err(NotJson) => Vec::new(),
    }
}

fn collect(
    prefix: &str,
    object: &[u8],
    depth: usize,
    attributes: &mut Vec<(String, String)>,
) -> Result<(), NotJson> {
    let mut members = Members::of(object).ok_or(NotJson)?;
    while let Some((name, value)) = members.next()? {
        let raw = name.raw();
        let known = keys::is_message(raw) && matches!(value, Value::String(_))
            || keys::is_level(raw)
            || keys::is_time(raw);
        if attributes.len() >= MAX_ATTRIBUTES || depth == 0 && known {
            continue;
        }
        let name = text(name);
        let name = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Object(nested) if depth + 1 < MAX_DEPTH => {
                collect(&name, nested, depth + 1, attributes)?;
            }
            Value::String(value) => attributes.push((name, text(value))),
            Value::Scalar(raw) | Value::Object(raw) | Value::Array(raw) => {
                attributes.push((name, cut(raw)));
            }
        }
    }
    Ok(())
}

fn text(text: Text<'_>) -> String {
    cut(text.read(&mut Vec::new()))
}

fn cut(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_VALUE_BYTES)]).into_owned();
    if bytes.len() > MAX_VALUE_BYTES && text.ends_with(char::REPLACEMENT_CHARACTER) {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::attributes;

    #[test]
    fn nested_fields_get_dotted_names() {
        let line = br#"{"msg":"m","level":"info","ts":1,"a":{"b":{"c":"x\n"},"level":2},"d":[1,{"e":2}],"f":null}"#;
        let expected = [
            ("a.b.c", "x\n"),
            ("a.level", "2"),
            ("d", r#"[1,{"e":2}]"#),
            ("f", "null"),
        ];
        assert_eq!(
            attributes(line),
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn the_number_and_size_of_fields_are_limited() {
        let many: Vec<String> = (0..200).map(|n| format!("\"k{n}\":{n}")).collect();
        assert_eq!(
            attributes(format!("{{{}}}", many.join(",")).as_bytes()).len(),
            100
        );
        let long = format!("{{\"k\":\"{}\"}}", "ß".repeat(4000));
        assert_eq!(attributes(long.as_bytes())[0].1, "ß".repeat(2048));
        let deep = format!("{}1{}", "{\"a\":".repeat(20), "}".repeat(20));
        assert_eq!(attributes(deep.as_bytes())[0].0, ["a"; 8].join("."));
        assert!(attributes(b"text").is_empty());
    }
}
