//! A JSON value kept as the text it came as.
//!
//! Promises: parameters and results pass through unparsed and unchanged, and are cheap to clone.
//! Imports nothing of fleetcron.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::DeserializeOwned;
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
#[derive(Clone, Serialize, Deserialize)]
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
