//! The rule of a job, as written.
//!
//! Promises: what is written is read back as the same rule; a field that is wrong is refused
//! while it is read, so that an error's path (`rule.cron`) leads to it. Imports times,
//! [`super::rule`], [`super::cron`] and [`super::rrule`].

use std::time::Duration;

use chrono::NaiveDateTime;
use chrono_tz::Tz;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::cron::{self, Cron, InvalidCron};
use super::cron_text::Pattern;
use super::filter::Exclude;
use super::rrule::{self, InvalidRRule, RRule};
use super::rrule_text::Written;
use super::rule::{InvalidRule, MAX_RULES, Rule, When};
use super::rule_check::check_in_list;
use super::window::Window;
use crate::time::{InvalidTime, Timestamp, duration};

/// The fields of a rule that is written as a table.
pub(crate) const RULE_FIELDS: [&str; 13] = [
    "at",
    "every",
    "from",
    "cron",
    "rrule",
    "any",
    "time_zone",
    "now",
    "start",
    "end",
    "count",
    "exclude",
    "within",
];

/// The rule as a table.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "duration::optional::serialize",
        deserialize_with = "period"
    )]
    every: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Beginning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<Expression>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rrule: Option<Recurrence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    any: Option<List>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<Zone>,
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "count")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exclude: Option<Exclude>,
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<Windows>,
}

fn period<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(every) = duration::optional::deserialize(deserializer)? else { return Ok(None) };
    Rule::every(every).map(|_| Some(every)).map_err(D::Error::custom)
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match Option::<u64>::deserialize(deserializer)? {
        Some(0) => Err(D::Error::custom(InvalidRule::Count)),
        count => Ok(count),
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Expression(Pattern);

impl TryFrom<String> for Expression {
    type Error = InvalidCron;
    fn try_from(text: String) -> Result<Self, InvalidCron> {
        Pattern::read(&text).map(Self)
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.expression)
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Recurrence(Written);

impl TryFrom<String> for Recurrence {
    type Error = InvalidRRule;
    fn try_from(text: String) -> Result<Self, InvalidRRule> {
        rrule::read(&text).map(Self)
    }
}

impl Serialize for Recurrence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// When a rule begins: the phase of `every`, a moment, or the first day of `rrule`, a local time.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
enum Beginning {
    Moment(Timestamp),
    Local(NaiveDateTime),
}

impl TryFrom<String> for Beginning {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match (rrule::read_from(&text), text.parse()) {
            (Ok(local), _) => Ok(Self::Local(local)),
            (_, Ok(moment)) => Ok(Self::Moment(moment)),
            (Err(local), Err(moment)) => {
                let moment: InvalidTime = moment;
                Err(format!("{moment}; {local}"))
            }
        }
    }
}

impl Serialize for Beginning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Moment(at) => at.serialize(serializer),
            Self::Local(at) => serializer.serialize_str(&rrule::write_from(*at)),
        }
    }
}

impl Beginning {
    fn moment(self) -> Result<Timestamp, InvalidRule> {
        match self {
            Self::Moment(at) => Ok(at),
            Self::Local(at) => Err(InvalidRule::LocalFrom(at.format("%FT%T").to_string())),
        }
    }

    fn local(self) -> Result<NaiveDateTime, InvalidRule> {
        match self {
            Self::Local(at) => Ok(at),
            Self::Moment(at) => Err(InvalidRRule::From(at.to_string()).into()),
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Zone(Tz);

impl TryFrom<String> for Zone {
    type Error = InvalidCron;
    fn try_from(text: String) -> Result<Self, InvalidCron> {
        cron::zone(&text).map(Self)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

/// The windows of a table, at least one.
#[derive(Serialize, Deserialize)]
#[serde(try_from = "Vec<Window>")]
struct Windows(Vec<Window>);

impl TryFrom<Vec<Window>> for Windows {
    type Error = &'static str;
    fn try_from(windows: Vec<Window>) -> Result<Self, &'static str> {
        if windows.is_empty() {
            return Err("within is empty; leave it out, or write a window");
        }
        Ok(Self(windows))
    }
}

/// The rules of a list, each checked at its place in it.
#[derive(Serialize)]
#[serde(transparent)]
struct List(Vec<Rule>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of rules")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List, A::Error> {
        let mut rules = Vec::new();
        while let Some(InList(rule)) = items.next_element()? {
            if rules.len() == MAX_RULES {
                return Err(A::Error::custom(InvalidRule::Rules(MAX_RULES + 1)));
            }
            rules.push(rule);
        }
        if rules.is_empty() {
            return Err(A::Error::custom(InvalidRule::Rules(0)));
        }
        Ok(List(rules))
    }
}

/// A rule of a list.
struct InList(Rule);

impl<'de> Deserialize<'de> for InList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rule = deserializer.deserialize_any(RuleVisitor { in_list: true })?;
        check_in_list(&rule).map_err(D::Error::custom)?;
        Ok(Self(rule))
    }
}

impl Table {
    /// The kinds of rule that are written in it.
    fn kinds(&self) -> Vec<&'static str> {
        [
            ("now", self.now == Some(true)),
            ("at", self.at.is_some()),
            ("every", self.every.is_some()),
            ("cron", self.cron.is_some()),
            ("rrule", self.rrule.is_some()),
            ("any", self.any.is_some()),
        ]
        .into_iter()
        .filter_map(|(kind, present)| present.then_some(kind))
        .collect()
    }
}

impl TryFrom<Table> for Rule {
    type Error = InvalidRule;

    fn try_from(table: Table) -> Result<Self, InvalidRule> {
        match table.kinds().as_slice() {
            [_] => {}
            [] => return Err(InvalidRule::Kind("none of at, every, cron, rrule and any".into())),
            several => return Err(InvalidRule::Kind(several.join(" and "))),
        }
        let dated = table.cron.is_some() || table.rrule.is_some();
        if table.from.is_some() && table.every.is_none() && table.rrule.is_none() {
            return Err(InvalidRule::Stray { field: "from", needs: "every or rrule" });
        }
        let filtered = table.exclude.is_some() || table.within.is_some();
        if table.time_zone.is_some() && !dated && !filtered {
            return Err(InvalidRule::Stray {
                field: "time_zone",
                needs: "cron, rrule, exclude or within",
            });
        }
        let zone = table.time_zone.map_or(Tz::UTC, |zone| zone.0);
        let when = if let Some(at) = table.at {
            When::At(at)
        } else if let Some(period) = table.every {
            When::Every { period, from: table.from.map(Beginning::moment).transpose()? }
        } else if let Some(Expression(pattern)) = table.cron {
            When::Cron(Cron::from_parts(pattern, zone))
        } else if let Some(Recurrence(written)) = table.rrule {
            let from = table.from.ok_or(InvalidRule::NoFrom)?.local()?;
            When::RRule(RRule::from_parts(written, from, zone)?)
        } else if let Some(List(rules)) = table.any {
            When::Any(rules)
        } else {
            When::Now
        };
        let (start, end, count) = (table.start, table.end, table.count);
        let within = table.within.map(|windows| windows.0).unwrap_or_default();
        let rule = Self { start, end, count, ..when.into() };
        rule.with_filter(zone, table.exclude, within).checked()
    }
}

impl From<&Rule> for Table {
    fn from(rule: &Rule) -> Self {
        let mut table =
            Self { start: rule.start, end: rule.end, count: rule.count, ..Self::default() };
        match &rule.when {
            When::Now => table.now = Some(true),
            When::At(at) => table.at = Some(*at),
            When::Every { period, from } => {
                table.every = Some(*period);
                table.from = from.map(Beginning::Moment);
            }
            When::Cron(cron) => {
                let (pattern, zone) = cron.parts();
                table.cron = Some(Expression(pattern.clone()));
                table.time_zone = Some(Zone(zone));
            }
            When::RRule(recurrence) => {
                table.rrule = Some(Recurrence(recurrence.written().clone()));
                table.from = Some(Beginning::Local(recurrence.local_from()));
                table.time_zone = Some(Zone(recurrence.zone()));
            }
            When::Any(rules) => table.any = Some(List(rules.clone())),
        }
        if let Some(filter) = &rule.filter {
            table.time_zone = Some(Zone(filter.time_zone));
            table.exclude.clone_from(&filter.exclude);
            let within = Some(filter.within.clone()).filter(|within| !within.is_empty());
            table.within = within.map(Windows);
        }
        table
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { when, start: None, end: None, count: None, filter: None } = self else {
            return Table::from(self).serialize(serializer);
        };
        match when {
            When::Now => serializer.serialize_str("now"),
            When::Any(rules) => rules.serialize(serializer),
            _ => Table::from(self).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RuleVisitor { in_list: false })
    }
}

struct RuleVisitor {
    /// No list stands in a list.
    in_list: bool,
}

impl<'de> Visitor<'de> for RuleVisitor {
    type Value = Rule;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"now\", a table with one of at, every, cron, rrule or any, or a list of such")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Rule, E> {
        match text {
            "now" => Ok(Rule::now()),
            other => Err(E::invalid_value(Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rule, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        Rule::try_from(table).map_err(serde::de::Error::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Rule, A::Error> {
        if self.in_list {
            return Err(A::Error::custom(InvalidRule::ListInList));
        }
        Ok(When::Any(ListVisitor.visit_seq(items)?.0).into())
    }
}
