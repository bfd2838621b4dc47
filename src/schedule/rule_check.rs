//! Whether a rule can be.
//!
//! Promises: a rule that is checked can fire, as far as that can be told before its job exists.
//! Imports times and [`super::rule`].

use chrono_tz::Tz;

use super::filter::Filter;
use super::rule::{InvalidRule, MAX_PASSED_OVER, MAX_PERIOD, MAX_RULES, MIN_PERIOD, Rule, When};
use crate::time::Timestamp;

impl Rule {
    /// The rule, if its parts fit together.
    pub fn checked(self) -> Result<Self, InvalidRule> {
        if let (Some(start), Some(end)) = (self.start, self.end)
            && start > end
        {
            return Err(InvalidRule::Window { start, end });
        }
        if self.count == Some(0) {
            return Err(InvalidRule::Count);
        }
        self.check_when()?;
        if let Some(filter) = &self.filter {
            self.check_filter(filter)?;
        }
        self.check_fires()?;
        Ok(self)
    }

    fn check_when(&self) -> Result<(), InvalidRule> {
        match &self.when {
            When::Every { period, .. }
                if !(MIN_PERIOD..=MAX_PERIOD).contains(period)
                    || period.subsec_nanos() % 1_000_000 != 0 =>
            {
                Err(InvalidRule::Period(*period))
            }
            When::At(at)
                if self.start.is_some_and(|start| *at < start)
                    || self.end.is_some_and(|end| *at > end) =>
            {
                Err(InvalidRule::Outside { at: *at })
            }
            When::Any(rules) => check_list(rules),
            _ => Ok(()),
        }
    }

    fn check_filter(&self, filter: &Filter) -> Result<(), InvalidRule> {
        filter.check().map_err(InvalidRule::Filter)?;
        match &self.when {
            When::Now => {
                let field = if filter.exclude.is_some() { "exclude" } else { "within" };
                Err(InvalidRule::Stray { field, needs: "at, every, cron, rrule or any" })
            }
            When::Cron(cron) => check_zone("cron", cron.parts().1, filter),
            When::RRule(rrule) => check_zone("rrule", rrule.zone(), filter),
            When::At(at) if !filter.is_open(*at) => {
                let wall = filter.local(*at).map(|at| at.format(", %a %F %T").to_string());
                let wall = wall.unwrap_or_default();
                Err(InvalidRule::Never(format!("exclude or within leave out at {at}{wall}")))
            }
            _ => Ok(()),
        }
    }

    /// Looks for the first occurrence. A rule without limits has one by itself, and of one that
    /// depends on the moment at which its job is created nothing can be said.
    fn check_fires(&self) -> Result<(), InvalidRule> {
        let limited = self.start.is_some() || self.end.is_some() || self.filter.is_some();
        let first = Timestamp::MIN;
        if !limited || self.when.has_anchor() || self.next_after(first, first).is_some() {
            return Ok(());
        }
        let bare = Self { filter: None, ..self.clone() };
        Err(InvalidRule::Never(if bare.next_after(first, first).is_none() {
            "it has no occurrence between start and end".to_owned()
        } else if self.end.is_some() {
            "exclude and within leave out every occurrence until its end".to_owned()
        } else {
            format!(
                "exclude and within leave out every occurrence, {MAX_PASSED_OVER} times in a row"
            )
        }))
    }
}

fn check_zone(kind: &str, own: Tz, filter: &Filter) -> Result<(), InvalidRule> {
    let other = filter.time_zone;
    if own == other {
        return Ok(());
    }
    Err(InvalidRule::Filter(format!(
        "{kind} is in time zone {own}, its exclude and within are in {other}; write the same"
    )))
}

fn check_list(rules: &[Rule]) -> Result<(), InvalidRule> {
    if rules.is_empty() || rules.len() > MAX_RULES {
        return Err(InvalidRule::Rules(rules.len()));
    }
    for rule in rules {
        check_in_list(rule)?;
        rule.clone().checked()?;
    }
    Ok(())
}

/// What a list asks of its rules, beyond what they ask themselves.
pub(super) fn check_in_list(rule: &Rule) -> Result<(), InvalidRule> {
    match (&rule.when, rule.count) {
        (When::Any(_), _) => Err(InvalidRule::ListInList),
        (_, Some(count)) => Err(InvalidRule::CountInList(count)),
        _ => Ok(()),
    }
}

impl When {
    /// Whether its occurrences depend on the job's creation.
    fn has_anchor(&self) -> bool {
        match self {
            Self::Now | Self::Every { from: None, .. } => true,
            Self::At(_) | Self::Every { .. } | Self::Cron(_) | Self::RRule(_) => false,
            Self::Any(rules) => rules.iter().any(|rule| rule.when.has_anchor()),
        }
    }
}
