//! Calendars: days, under a name, that the rules of many jobs leave out.
//!
//! Promises: a [`Calendar`] that exists is valid. Imports identifiers, times, jobs' limits and
//! rules.

use serde::{Deserialize, Serialize};

use crate::id::CalendarName;
use crate::job::MAX_DESCRIPTION;
use crate::schedule::{DateRange, Days, Weekdays};
use crate::time::Timestamp;

/// A calendar as its owner writes it.
///
/// ```
/// # use fleetcron::Calendar;
/// let calendar: Calendar = serde_json::from_str(
///     r#"{"name": "holidays-se", "dates": ["2026-12-24..2026-12-26", "2027-01-01"]}"#,
/// )?;
/// assert_eq!(calendar.days().dates().len(), 2);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenCalendar")]
pub struct Calendar {
    name: CalendarName,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(flatten)]
    days: Days,
}

/// The fields of a calendar.
pub(crate) const CALENDAR_FIELDS: [&str; 4] = ["name", "description", "dates", "weekdays"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a calendar: an object")]
struct WrittenCalendar {
    name: CalendarName,
    description: Option<String>,
    #[serde(default)]
    dates: Vec<DateRange>,
    weekdays: Option<Weekdays>,
}

/// A calendar that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("calendar {name:?}: {problem}")]
pub struct InvalidCalendar {
    name: CalendarName,
    problem: String,
}

impl TryFrom<WrittenCalendar> for Calendar {
    type Error = InvalidCalendar;

    fn try_from(written: WrittenCalendar) -> Result<Self, InvalidCalendar> {
        let WrittenCalendar { name, description, dates, weekdays } = written;
        Self::new(name, description, dates, weekdays)
    }
}

impl Calendar {
    /// A calendar with at least one day, at most [`MAX_DATES`](crate::schedule::MAX_DATES) dates
    /// and ranges, and a description of at most [`MAX_DESCRIPTION`] bytes.
    pub fn new(
        name: CalendarName,
        description: Option<String>,
        dates: Vec<DateRange>,
        weekdays: Option<Weekdays>,
    ) -> Result<Self, InvalidCalendar> {
        let described = description.as_ref().map_or(0, String::len);
        let days = if described > MAX_DESCRIPTION {
            Err(format!("description has {described} bytes; the most is {MAX_DESCRIPTION}"))
        } else {
            Days::new("it", dates, weekdays.unwrap_or_default())
        };
        match days {
            Ok(days) if days.is_empty() => {
                let problem = "it has no day; write dates or weekdays".to_owned();
                Err(InvalidCalendar { name, problem })
            }
            Ok(days) => Ok(Self { name, description, days }),
            Err(problem) => Err(InvalidCalendar { name, problem }),
        }
    }

    /// Its unique name.
    #[must_use]
    pub fn name(&self) -> &CalendarName {
        &self.name
    }

    /// What it is for, in a sentence.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Its days.
    #[must_use]
    pub fn days(&self) -> &Days {
        &self.days
    }
}

/// A calendar as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalendarRecord {
    /// 1 at first, one more with each change.
    pub revision: u32,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// What its owner wrote.
    pub spec: Calendar,
}

/// A calendar as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalendarView {
    /// The stored definition.
    #[serde(flatten)]
    pub record: CalendarRecord,
    /// How many jobs use it.
    pub jobs: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Calendar, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = r#"{"name":"se","description":"Sweden","dates":["2026-12-24..2026-12-26","2027-01-01"],"weekdays":["sat","sun"]}"#;
        let calendar = read(text).unwrap();
        assert_eq!(serde_json::to_string(&calendar).unwrap(), text);
        let shuffled = read(
            r#"{"name": "se", "description": "Sweden", "weekdays": ["sat-sun"],
                "dates": ["2027-01-01", "2026-12-24..2026-12-25", "2026-12-25..2026-12-26"]}"#,
        );
        assert_eq!(shuffled, Ok(calendar.clone()));
        let record =
            CalendarRecord { revision: 3, updated_at: Timestamp::from_millis(5), spec: calendar };
        let view = CalendarView { record, jobs: 7 };
        let text = serde_json::to_string(&view).unwrap();
        assert_eq!(serde_json::from_str::<CalendarView>(&text).unwrap(), view);
    }

    #[test]
    fn a_calendar_without_a_day_or_with_too_many_is_refused() {
        let no_day = "calendar \"se\": it has no day; write dates or weekdays";
        assert!(read(r#"{"name": "se"}"#).unwrap_err().starts_with(no_day));
        assert!(read(r#"{"name": "se", "dates": []}"#).unwrap_err().starts_with(no_day));
        let name: CalendarName = "se".parse().unwrap();
        let many = vec!["2026-12-24".parse().unwrap(); crate::schedule::MAX_DATES + 1];
        let error = Calendar::new(name.clone(), None, many, None).unwrap_err().to_string();
        assert_eq!(error, "calendar \"se\": it has 1001 dates; the most is 1000");
        let long = Some("x".repeat(MAX_DESCRIPTION + 1));
        let error = Calendar::new(name, long, Vec::new(), None).unwrap_err().to_string();
        assert_eq!(error, "calendar \"se\": description has 1025 bytes; the most is 1024");
        assert!(read(r#"{"name": "s e", "weekdays": ["sat"]}"#).unwrap_err().contains("\"s e\""));
        assert!(read(r#"{"name": "se", "days": ["sat"]}"#).unwrap_err().contains("`days`"));
    }
}
