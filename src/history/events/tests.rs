//! Queries beside a filter by hand over all events, on ledgers made under a seed.

mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::engine::{EVENT_RESULT, What};

pub(in crate::history) use world::{Random, World};

/// All events of a query, by pages of a size.
pub(in crate::history) fn read_all(
    store: &dyn Store,
    mut query: EventQuery,
    members: Option<&RoaringBitmap>,
    page: usize,
) -> Vec<Recorded> {
    let mut found = Vec::new();
    query.limit = Some(page);
    loop {
        let part = events(store, &query, members.cloned()).unwrap();
        assert!(part.events.len() <= page);
        found.extend(part.events);
        query.after = part.next;
        if query.after.is_none() {
            return found;
        }
    }
}

/// Whether an event meets a query, from its JSON and nothing else. `big` has the results that a
/// query does not show, and yet searches.
fn meets(event: &Recorded, query: &EventQuery, members: Option<&RoaringBitmap>) -> bool {
    let json = serde_json::to_value(event).unwrap();
    let at = event.event.at;
    let within = ["response", "answer"].into_iter().find_map(|name| json.get(name));
    let client = within.and_then(|it| it.get("client")).or(json.get("client"));
    let serial = within.and_then(|it| it.get("serial")).or(json.get("serial"));
    let outcome = within.map(|it| it.get("outcome").unwrap_or(it));
    let state = outcome.and_then(|it| it.get("state"));
    let text =
        |value: Option<&serde_json::Value>| value.and_then(|it| it.as_str()).map(str::to_owned);
    let is = |wanted: Option<String>, value: Option<&serde_json::Value>| {
        wanted.is_none_or(|wanted| text(value) == Some(wanted))
    };
    let number = text(client).and_then(|id| id.strip_prefix("web-")?.parse::<u32>().ok());
    query.from.is_none_or(|from| at >= from)
        && query.to.is_none_or(|to| at < to)
        && is(query.job.as_ref().map(ToString::to_string), json.get("job"))
        && is(query.client.as_ref().map(ToString::to_string), client)
        && is(query.serial.map(|it| it.to_string()), serial)
        && is(query.actor.as_ref().map(ToString::to_string), json.get("actor"))
        && (query.states.is_empty()
            || query.states.iter().any(|it| text(state).as_deref() == Some(it.name())))
        && (query.kinds.is_empty()
            || query.kinds.iter().any(|it| text(json.get("event")).as_deref() == Some(it.name())))
        && members.is_none_or(|members| number.is_some_and(|no| members.contains(no)))
        && query.text.as_ref().is_none_or(|wanted| {
            let wanted = wanted.to_lowercase();
            let searched = match json.get("response") {
                Some(response) => format!("{} {}", response["reason"], response["result"]),
                None => serde_json::to_string(&event.event.what).unwrap(),
            };
            searched.to_lowercase().contains(&wanted)
        })
}

/// All of a query's events by hand: filtered from all there are, with results whole.
pub(in crate::history) fn by_hand(
    all: &[Recorded],
    query: &EventQuery,
    members: Option<&RoaringBitmap>,
) -> Vec<u64> {
    let met = all.iter().filter(|event| meets(event, query, members));
    let mut numbers: Vec<u64> = met.map(|event| event.no).collect();
    if query.order == EventOrder::Newest {
        numbers.reverse();
    }
    numbers
}

pub(in crate::history) fn whole(store: &dyn Store) -> Vec<Recorded> {
    let (order, results) = (EventOrder::Oldest, ResultsShown::Whole);
    read_all(store, EventQuery { order, results, ..EventQuery::default() }, None, 1_000)
}

pub(in crate::history) fn numbers(events: &[Recorded]) -> Vec<u64> {
    events.iter().map(|event| event.no).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn the_ledger_tells_everything_once_and_in_order(seed in any::<u64>()) {
        let mut world = World::new(seed);
        world.go_on(60);
        let all = world.all();
        prop_assert!(all.windows(2).all(|pair| pair[0].no < pair[1].no));
        prop_assert!(all.windows(2).all(|pair| pair[0].event.at <= pair[1].event.at));
        let mut told: Vec<String> = all
            .iter()
            .map(|it| format!("{} {}", it.event.actor, serde_json::to_string(&it.event.what).unwrap()))
            .collect();
        told.sort();
        let expected = world.expected();
        prop_assert_eq!(told.iter().zip(&expected).find(|(told, it)| told != it), None);
        prop_assert_eq!(told.len(), expected.len());
    }

    #[test]
    fn a_query_gives_what_a_filter_by_hand_gives(seed in any::<u64>()) {
        let mut world = World::new(seed);
        world.go_on(40);
        let all = whole(&world.store);
        for _ in 0..15 {
            let (query, members) = world.query();
            let page = 1 + usize::try_from(world.random.below(40)).unwrap();
            let found = read_all(&world.store, query.clone(), members.as_ref(), page);
            let expected = by_hand(&all, &query, members.as_ref());
            prop_assert_eq!(numbers(&found), expected, "{:?} {:?}", query, members);
        }
    }

    #[test]
    fn pages_go_on_while_events_are_added_and_forgotten(seed in any::<u64>()) {
        let mut world = World::new(seed);
        world.go_on(30);
        for order in [EventOrder::Oldest, EventOrder::Newest] {
            let before = numbers(&world.all());
            let mut query = EventQuery { order, limit: Some(7), ..EventQuery::default() };
            let mut found = Vec::new();
            let mut pages = 0;
            loop {
                let page = events(&world.store, &query, None).unwrap();
                found.extend(numbers(&page.events));
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
                pages += 1;
                if pages % 4 == 0 && pages < 40 {
                    world.go_on(1);
                }
            }
            if order == EventOrder::Newest {
                found.reverse();
            }
            prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "none twice");
            let there: BTreeSet<u64> = found.into_iter().collect();
            let still = numbers(&world.all()).into_iter().collect::<BTreeSet<_>>();
            let missing = before.into_iter().find(|no| !there.contains(no) && still.contains(no));
            prop_assert_eq!(missing, None);
            if order == EventOrder::Oldest {
                prop_assert_eq!(still.into_iter().find(|no| !there.contains(no)), None);
            }
        }
    }
}

#[test]
fn a_reader_goes_on_with_what_is_added() {
    let mut world = World::new(3);
    let query = EventQuery { order: EventOrder::Oldest, ..EventQuery::default() };
    let mut reader = EventReader::new(&world.store, query, None).unwrap();
    let mut found = Vec::new();
    for _ in 0..20 {
        world.go_on(3);
        loop {
            let page = reader.read(&world.store).unwrap();
            found.extend(numbers(&page.events));
            if page.next.is_none() {
                break;
            }
        }
    }
    let all = numbers(&world.all());
    // Of what was forgotten since it is no longer told.
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(all.iter().all(|no| found.contains(no)) && found.len() > 100);
}

#[test]
fn results_are_whole_when_asked_for_and_left_out_when_large() {
    let mut world = World::new(5);
    world.go_on(200);
    let result = |event: &Recorded| match &event.event.what {
        What::DeliveryEnded { response, .. } => response.outcome.result.clone(),
        _ => None,
    };
    let longest = |events: &[Recorded]| {
        events.iter().filter_map(result).map(|result| result.text().len()).max()
    };
    assert!(longest(&world.all()).unwrap() <= EVENT_RESULT);
    assert_eq!(longest(&whole(&world.store)), Some("outside".len() * 8_000 + 2));
}
