//! What a client says of itself.

use serde::{Deserialize, Serialize};

use super::{InvalidLabel, LabelKey, LabelValue, Labels, check_value, shown};

/// The keys under which a client's own facts are labels; a client cannot give labels of its own
/// these keys.
pub const FACT_KEYS: [&str; 4] = ["arch", "hostname", "os", "version"];

/// What a client says of itself when it connects. Nothing of it is proved.
///
/// Each text has at most 256 bytes and no control characters; fields that are not known are
/// ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Told")]
pub struct Facts {
    /// The version of its program.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<LabelValue>,
    /// Its operating system, such as `linux`.
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<LabelValue>,
    /// Its architecture, such as `x86_64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    arch: Option<LabelValue>,
    /// The name of its machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<LabelValue>,
    /// Its labels.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    labels: Labels,
}

/// Facts as they are written.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    arch: Option<String>,
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    labels: Labels,
}

impl TryFrom<Told> for Facts {
    type Error = InvalidLabel;
    fn try_from(told: Told) -> Result<Self, InvalidLabel> {
        let Told { version, os, arch, hostname, labels } = told;
        Self {
            version: fact("version", version)?,
            os: fact("os", os)?,
            arch: fact("arch", arch)?,
            hostname: fact("hostname", hostname)?,
            ..Self::default()
        }
        .labelled(labels)
    }
}

fn fact(name: &str, value: Option<String>) -> Result<Option<LabelValue>, InvalidLabel> {
    let Some(text) = value else { return Ok(None) };
    check_value(&text).map_err(|problem| {
        InvalidLabel(format!("fact {name} {:?} is not valid: {problem}", shown(&text)))
    })?;
    text.parse().map(Some)
}

impl Facts {
    /// The facts of this program: `version` is its own, operating system and architecture are
    /// those that it was built for.
    pub fn of_program(version: &str) -> Result<Self, InvalidLabel> {
        Ok(Self {
            version: fact("version", Some(version.to_owned()))?,
            os: fact("os", Some(std::env::consts::OS.to_owned()))?,
            arch: fact("arch", Some(std::env::consts::ARCH.to_owned()))?,
            ..Self::default()
        })
    }

    /// With the name of the machine.
    pub fn hosted(mut self, hostname: &str) -> Result<Self, InvalidLabel> {
        self.hostname = fact("hostname", Some(hostname.to_owned()))?;
        Ok(self)
    }

    /// With these labels in place of those so far. The names of facts are no keys for them.
    pub fn labelled(mut self, labels: Labels) -> Result<Self, InvalidLabel> {
        let taken = labels.iter().find(|(key, _)| FACT_KEYS.contains(&key.as_str()));
        if let Some((key, _)) = taken {
            return Err(InvalidLabel(format!(
                "label {key} is not valid: the client's own fact has this name"
            )));
        }
        self.labels = labels;
        Ok(self)
    }

    /// The labels alone.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// All of it as labels: the facts under [`FACT_KEYS`], and the labels.
    pub fn pairs(&self) -> impl Iterator<Item = (LabelKey, &LabelValue)> {
        let facts = [&self.arch, &self.hostname, &self.os, &self.version];
        let facts = FACT_KEYS.into_iter().zip(facts);
        // The four names keep to the rule of keys, as a test checks.
        let facts = facts.filter_map(|(name, value)| Some((name.parse().ok()?, value.as_ref()?)));
        facts.chain(self.labels.iter().map(|(key, value)| (key.clone(), value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Facts, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn facts_are_labels_under_their_names() {
        let facts = read(
            r#"{"version":"1.2","os":"linux","arch":"x86_64","hostname":"web-01.example",
            "labels":{"rack":"r7"},"new":[1]}"#,
        );
        let facts = facts.unwrap();
        let told: Vec<String> =
            facts.pairs().map(|(key, value)| format!("{key}={value}")).collect();
        let hostname = "hostname=web-01.example";
        assert_eq!(told, ["arch=x86_64", hostname, "os=linux", "version=1.2", "rack=r7"]);
        assert_eq!(
            facts.pairs().take(4).map(|(key, _)| key.to_string()).collect::<Vec<_>>(),
            FACT_KEYS
        );
        assert_eq!(read("{}").unwrap(), Facts::default());
    }

    #[test]
    fn what_is_too_much_or_not_allowed_is_told() {
        let long = format!(r#"{{"hostname":"{}"}}"#, "h".repeat(257));
        assert!(read(&long).unwrap_err().contains("it has 257 bytes; the most is 256"));
        assert!(read(r#"{"os":"a\u0000"}"#).unwrap_err().contains("fact os"));
        assert!(read(r#"{"labels":{"os":"linux"}}"#).unwrap_err().contains("own fact"));
        assert!(read(r#"{"labels":{"Rack":"r7"}}"#).unwrap_err().contains("label key \"Rack\""));
        assert!(read(r#"{"labels":{"rack":7}}"#).is_err());
    }
}
