//! Resolution of targets against one that looks at every client and every part.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::client_record::{ClientRecord, Presence};
use crate::engine::registry::Registry;
use crate::engine::resolve::Salt;
use crate::id::{ClientNo, JobId};
use crate::label::{Facts, LabelTrust, Labels};
use crate::target::{Expr, Share, Target, tests::exprs};

/// A client as the test makes it: groups, own labels, reported labels, removed.
type Made = (Vec<&'static str>, Vec<(&'static str, &'static str)>, Option<&'static str>, bool);

fn made() -> impl Strategy<Value = Vec<Made>> {
    let name = || prop::sample::select(vec!["a", "b", "c.d"]);
    let value = || prop::sample::select(vec!["a", "b", "not", ""]);
    let one = (
        prop::collection::vec(name(), 0..3),
        prop::collection::vec((name(), value()), 0..3),
        prop::option::of(value()),
        prop::bool::weighted(0.1),
    );
    prop::collection::vec(one, 0..40)
}

fn record(no: usize, made: &Made) -> ClientRecord {
    let (groups, labels, reported, removed) = made;
    // The first are named as the expressions name clients.
    let id = ["a", "b", "c.d"].get(no).map_or_else(|| format!("n{no}"), |id| (*id).into());
    let pairs: BTreeMap<_, _> = labels.iter().copied().collect();
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let reported = reported.map(|value| {
        let labels = Labels::parse([format!("a={value}").as_str(), "b=a"]).unwrap();
        Box::new(Facts::default().labelled(labels).unwrap())
    });
    ClientRecord {
        no: ClientNo(u32::try_from(no).unwrap()),
        id: id.parse().unwrap(),
        groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        token: None,
        defined_at: at(0),
        removed_at: removed.then(|| at(1)),
        labels: Labels::parse(pairs.iter().map(String::as_str)).unwrap(),
        facts: reported,
        max_running: None,
    }
}

/// Of the labels that clients report, the test trusts `a`.
fn registry(clients: &[Made]) -> (Registry, Vec<ClientRecord>) {
    let mut registry = Registry::default();
    registry.trust_labels("a".parse::<LabelTrust>().unwrap());
    let records: Vec<_> = clients.iter().enumerate().map(|(no, made)| record(no, made)).collect();
    for (no, made) in clients.iter().rev().enumerate() {
        // First as another one, so that what it was must be forgotten.
        registry
            .put(record(no, &(made.0.clone(), made.1.clone(), made.2, false)), Presence::default());
    }
    for record in &records {
        registry.put(record.clone(), Presence::default());
    }
    (registry, records)
}

fn label<'a>(record: &'a ClientRecord, key: &crate::LabelKey) -> Option<&'a str> {
    let own = record.labels.get(key);
    let reported = record.facts.as_ref().filter(|_| key.as_str() == "a");
    own.or_else(|| reported?.labels().get(key)).map(crate::LabelValue::as_str)
}

/// Who is meant, by a look at each client; samples are taken from the registry's own order.
fn brute(expr: &Expr, clients: &[ClientRecord], registry: &Registry, salt: Salt) -> BTreeSet<u32> {
    let defined = clients.iter().filter(|client| client.removed_at.is_none());
    let is = |wanted: &dyn Fn(&ClientRecord) -> bool| -> BTreeSet<u32> {
        defined.clone().filter(|client| wanted(client)).map(|client| client.no.0).collect()
    };
    let of = |expr: &Expr| brute(expr, clients, registry, salt);
    match expr {
        Expr::All => is(&|_| true),
        Expr::Group(group) => is(&|client| client.groups.contains(group)),
        Expr::Client(id) => is(&|client| client.id == *id),
        Expr::Label(key, value) => is(&|client| label(client, key) == Some(value.as_str())),
        Expr::Labelled(key) => is(&|client| label(client, key).is_some()),
        Expr::Not(inner) => is(&|_| true).difference(&of(inner)).copied().collect(),
        Expr::And(parts) => {
            parts.iter().map(of).reduce(|a, b| a.intersection(&b).copied().collect()).unwrap()
        }
        Expr::Or(parts) => parts.iter().flat_map(of).collect(),
        Expr::Sample(share, inner) => {
            let of = of(inner);
            let wanted = share.of(of.len() as u64);
            // Who is in a sample is who is in the smallest of that many.
            let mut sorted = registry.by_place(&of.into_iter().collect(), salt);
            sorted.truncate(usize::try_from(wanted).unwrap());
            sorted.into_iter().collect()
        }
    }
}

fn job(n: u128) -> Salt {
    Salt::of_job(JobId::from_parts(at(0), n))
}

proptest! {
    #[test]
    fn bitmaps_mean_what_a_look_at_each_client_means(
        clients in made(), expr in exprs(), n in 0_u128..4,
    ) {
        let (registry, records) = registry(&clients);
        let salt = job(n);
        let expected = brute(&expr, &records, &registry, salt);
        let target = Target::Where(expr.clone());
        let resolved: BTreeSet<u32> = registry.resolve(&target, salt).iter().collect();
        prop_assert_eq!(&resolved, &expected, "{}", expr);
        for record in &records {
            let no = record.no;
            prop_assert_eq!(registry.means(&target, no, salt), expected.contains(&no.0));
            prop_assert!(registry.may_mean(&target, no) || !expected.contains(&no.0));
            if !expr.is_drawn() {
                prop_assert_eq!(registry.may_mean(&target, no), expected.contains(&no.0));
            }
        }
        if expected.is_empty() {
            prop_assert!(!registry.why_nobody(&target).is_empty());
        }
        let simple = Target::from(expr);
        prop_assert_eq!(registry.resolve(&simple, salt), registry.resolve(&target, salt));
    }

    #[test]
    fn a_larger_sample_holds_a_smaller_one(
        clients in made(), small in 0_u16..=10_000, large in 0_u16..=10_000, n in 0_u128..4,
    ) {
        let (registry, _) = registry(&clients);
        let (small, large) = (small.min(large), small.max(large));
        let of = |hundredths: u16| {
            let share = Share::from_hundredths(hundredths).unwrap();
            registry.resolve(&Target::Where(Expr::sample(share, Expr::All)), job(n))
        };
        prop_assert!(of(small).is_subset(&of(large)));
        let all = registry.resolve(&Target::All, job(n)).len();
        prop_assert_eq!(of(small).is_empty(), all == 0 || small == 0);
        prop_assert_eq!(of(10_000).len(), all);
    }
}

#[test]
fn samples_of_jobs_differ_and_those_of_one_job_do_not() {
    let clients: Vec<Made> = vec![(vec![], vec![], None, false); 200];
    let (registry, _) = registry(&clients);
    let tenth: Target = "10% of all".parse().unwrap();
    assert_eq!(registry.resolve(&tenth, job(1)), registry.resolve(&tenth, job(1)));
    assert_eq!(registry.resolve(&tenth, job(1)).len(), 20);
    let common =
        registry.resolve(&tenth, job(1)).intersection_len(&registry.resolve(&tenth, job(2)));
    assert!(common < 10, "{common} of 20 are the same");
    let ring: Target = "50% of all and not 10% of all".parse().unwrap();
    assert_eq!(registry.resolve(&ring, job(1)).len(), 80);
}
