//! The calendars that a rule names, and their days.
//!
//! Promises: binding changes which occurrences fire, and nothing of what is written: a rule
//! equals itself bound. Imports identifiers, [`super::days`],
//! [`super::filter`] and [`super::rule`].

use std::collections::BTreeSet;
use std::sync::Arc;

use super::days::Days;
use super::filter::Exclude;
use super::rule::{Rule, When};
use crate::id::CalendarName;

impl Rule {
    /// The calendars that it names, itself or in a rule of its list.
    ///
    /// ```
    /// # use fleetcron::Rule;
    /// let rule = r#"{"cron": "0 6 * * *", "exclude": {"calendars": ["holidays-se"]}}"#;
    /// let rule: Rule = serde_json::from_str(rule)?;
    /// assert_eq!(rule.calendars().first().map(|name| name.as_str()), Some("holidays-se"));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn calendars(&self) -> BTreeSet<&CalendarName> {
        let own = self.filter.iter().filter_map(|filter| filter.exclude.as_ref());
        let mut names: BTreeSet<_> = own.flat_map(Exclude::calendars).collect();
        if let When::Any(rules) = &self.when {
            names.extend(rules.iter().flat_map(Self::calendars));
        }
        names
    }

    /// Takes the days of its calendars, and of those in its list, in place of those that it had.
    /// A calendar of which `days` knows nothing excludes nothing.
    pub fn bind(&mut self, days: &dyn Fn(&CalendarName) -> Option<Arc<Days>>) {
        if let Some(filter) = &mut self.filter
            && filter.exclude.as_ref().is_some_and(|exclude| !exclude.calendars().is_empty())
            && let Some(exclude) = &mut Arc::make_mut(filter).exclude
        {
            exclude.bind(days);
        }
        if let When::Any(rules) = &mut self.when {
            for rule in rules {
                rule.bind(days);
            }
        }
    }
}
