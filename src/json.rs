//! A JSON value kept as the text it came as.
//!
//! Promises: parameters and results pass through unparsed and unchanged, and are cheap to clone.
//! Imports nothing of fleetcron.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// Any JSON value, as text.
///
/// ```
/// # use fleetcron::Json;
/// let params = Json::new(&serde_json::json!({"path": "/"}))?;
/// assert_eq!(params.text(), r#"{"path":"/"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Json(Arc<RawValue>);

impl Json {
    /// The JSON of any value.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self(to_raw_value(value)?.into()))
    }

    /// The empty object, `{}`.
    #[must_use]
    pub fn empty() -> Self {
        Self::constant("{}")
    }

    /// `null`.
    #[must_use]
    pub fn null() -> Self {
        Self::constant("null")
    }

    fn constant(text: &str) -> Self {
        // The two callers above pass valid JSON.
        let raw = RawValue::from_string(text.to_owned()).expect("constant JSON");
        Self(raw.into())
    }

    /// The value as JSON text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Reads the value into a type.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text())
    }

    /// Reads a value of any self-describing format, TOML included; for
    /// `#[serde(deserialize_with = …)]`. Object keys come out sorted.
    pub fn from_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Self::new(&value).map_err(serde::de::Error::custom)
    }
}

/// The name under which `serde_json` hands out a value's own text. Should it ever change, values
/// are read by way of [`serde_json::Value`]: still right, no longer verbatim.
const RAW: &str = "$serde_json::private::RawValue";

/// Verbatim from JSON text. From a buffer, as `#[serde(flatten)]` and tagged enums make one, and
/// from other formats the text is gone: then as [`Json::from_any`].
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(RAW, JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Json, A::Error> {
        let raw = Box::<RawValue>::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Json(raw.into()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<Json, D::Error> {
        Json::from_any(value)
    }
}

impl Default for Json {
    fn default() -> Self {
        Self::empty()
    }
}

impl FromStr for Json {
    type Err = serde_json::Error;
    fn from_str(text: &str) -> Result<Self, serde_json::Error> {
        Ok(Self(RawValue::from_string(text.to_owned())?.into()))
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Json {}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Plain {
        value: Json,
    }

    #[derive(Debug, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        plain: Plain,
    }

    #[test]
    fn json_text_is_kept_as_it_is_written() {
        let text = r#"{"value": {"b": 1.50, "a" : [1e400]} }"#;
        let plain: Plain = serde_json::from_str(text).unwrap();
        assert_eq!(plain.value.text(), r#"{"b": 1.50, "a" : [1e400]}"#);
    }

    #[test]
    fn a_value_in_a_flattened_struct_can_be_read() {
        for value in [r#"{"a":1}"#, "[1,2]", "\"x\"", "null", "7"] {
            let flat: Flat = serde_json::from_str(&format!(r#"{{"value":{value}}}"#)).unwrap();
            assert_eq!(flat.plain.value.text(), value);
        }
    }
}
