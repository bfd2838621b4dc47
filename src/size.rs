//! Sizes as people write them: `70000`, `48KiB`, `10MiB`, `2GiB`, `1TiB`.
//!
//! Promises: what [`format()`] writes, [`parse`] reads back as the same number. Imports nothing of
//! fleetcron.

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

/// The units, the largest first.
const UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Reads a number of bytes, with or without a unit; the error names the value.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" | "B" => Some(1),
        unit => UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes),
    };
    let number = digits.parse::<u64>().ok();
    unit.zip(number).and_then(|(unit, number)| number.checked_mul(unit)).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        format!(
            "size {shown:?} is not valid: write a number of bytes, or one with KiB, MiB, GiB or TiB"
        )
    })
}

/// Writes a number of bytes in the largest unit of which it is a whole number.
#[must_use]
pub fn format(bytes: u64) -> String {
    match UNITS.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// A size in a file: text with a unit, or a number of bytes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

/// Deserializes an optional size. For `#[serde(with = …)]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    const FORMS: &str = "write a size, such as 512KiB or 10MiB, or a number of bytes";
    match Option::<Written>::deserialize(deserializer).map_err(|_| D::Error::custom(FORMS))? {
        None => Ok(None),
        Some(Written::Number(bytes)) => Ok(Some(bytes)),
        Some(Written::Text(text)) => parse(&text).map(Some).map_err(D::Error::custom),
    }
}

/// Serializes an optional size as text.
pub fn serialize<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(bytes) => serializer.serialize_str(&format(*bytes)),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_or_none_and_come_back() {
        for (text, bytes) in
            [("70000", 70_000), ("48KiB", 49_152), ("1MiB", 1_048_576), ("3TiB", 3 << 40), ("0", 0)]
        {
            assert_eq!(parse(text), Ok(bytes));
            assert_eq!(format(bytes), text);
        }
        assert_eq!(parse("12B"), Ok(12));
        for text in ["", "MiB", "-1", "1.5MiB", "1MB", "1 MiB", "99999999999TiB"] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(&format!("size {text:?} is not valid")), "{error}");
        }
    }
}
