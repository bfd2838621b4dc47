//! Whether a target means a client, by what the registry has of it now.

use crate::client_record::ClientRecord;
use crate::target::{Expr, Target};

/// `None`: that depends on what is not known here, as with a sample, or with labels that a client
/// gives itself.
pub(super) fn meant(target: &Target, client: &ClientRecord) -> Option<bool> {
    match target {
        Target::All => Some(true),
        Target::One(id) => Some(*id == client.id),
        Target::Group(group) => Some(client.groups.contains(group)),
        Target::Where(expr) => of(expr, client),
    }
}

fn of(expr: &Expr, client: &ClientRecord) -> Option<bool> {
    match expr {
        Expr::All => Some(true),
        Expr::Group(group) => Some(client.groups.contains(group)),
        Expr::Client(id) => Some(*id == client.id),
        Expr::Label(key, value) => client.labels.get(key).map(|own| own == value),
        Expr::Labelled(key) => client.labels.get(key).map(|_| true),
        Expr::Not(inner) => of(inner, client).map(|is| !is),
        Expr::Sample(_, inner) => of(inner, client).filter(|is| !is),
        Expr::And(parts) => all(parts, client, false),
        Expr::Or(parts) => all(parts, client, true),
    }
}

/// What parts give together, when `decides` in one of them decides.
fn all(parts: &[Expr], client: &ClientRecord, decides: bool) -> Option<bool> {
    let mut known = Some(!decides);
    for part in parts {
        match of(part, client) {
            Some(is) if is == decides => return Some(decides),
            Some(_) => {}
            None => known = None,
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_means_a_client_or_not_or_it_is_not_known() {
        let client: ClientRecord = serde_json::from_str(
            r#"{"no": 1, "id": "web-01", "groups": ["web"], "labels": {"os": "linux"},
                "defined_at": "2026-01-01T00:00:00Z"}"#,
        )
        .unwrap();
        let of = |target: &str| meant(&target.parse().unwrap(), &client);
        for target in ["all", "group:web", "client:web-01", "label.os=linux", "group:db or all"] {
            assert_eq!(of(target), Some(true), "{target}");
        }
        for target in ["group:db", "client:web-02", "not group:web", "group:web and label.os=bsd"] {
            assert_eq!(of(target), Some(false), "{target}");
        }
        for target in ["10% of group:web", "label.arch=arm", "group:web and label.arch=arm"] {
            assert_eq!(of(target), None, "{target}");
        }
        assert_eq!(of("10% of group:db"), Some(false));
        assert_eq!(of("group:web or label.arch=arm"), Some(true));
    }
}
