//! Which of the embedded engines a store on disk is made with. Imports nothing of fleetcron.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kind of a store on disk. It is chosen when the store is made; `fleetcron store migrate`
/// changes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// sled 0.34.
    #[default]
    Sled,
    /// fjall 3.
    Fjall,
}

impl StoreKind {
    /// All of them, the default first.
    pub const ALL: [Self; 2] = [Self::Sled, Self::Fjall];

    /// Its name, as it is written everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Fjall => "fjall",
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no kind of store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no kind of store is named {0:?}; there are sled and fjall")]
pub struct InvalidStoreKind(String);

impl FromStr for StoreKind {
    type Err = InvalidStoreKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| InvalidStoreKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_and_read_by_its_name() {
        for kind in StoreKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        let error = "rocks".parse::<StoreKind>().unwrap_err().to_string();
        assert_eq!(error, "no kind of store is named \"rocks\"; there are sled and fjall");
        assert_eq!(StoreKind::default(), StoreKind::Sled);
    }
}
