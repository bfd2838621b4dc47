//! Options of `run` that say how a delivery is tried.

use std::time::Duration;

use clap::Args;

use super::error::CliError;
use crate::policy::{
    ACCEPT_TIMEOUT, BACKOFF, DeliveryMode, InvalidPolicy, LONGEST_BACKOFF, Retry, Timeout,
};
use crate::time::duration;

/// How often, how long, and whether twice.
#[derive(Debug, Args)]
#[command(next_help_heading = "How a delivery is tried")]
pub(super) struct Tries {
    /// Try a delivery that fails or times out up to so many times, 1 to 100.
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true)]
    attempts: u32,
    /// The pause after the first attempt, at most; it doubles with each. Default 10s.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, requires = "attempts")]
    backoff: Option<Duration>,
    /// The longest pause between two attempts. Default 1h.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, requires = "attempts")]
    max_backoff: Option<Duration>,
    /// End a delivery that a connected client does not take within this time. Default 30s.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    accept_timeout: Option<Duration>,
    /// End a command that runs longer than this.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    run_timeout: Option<Duration>,
    /// Never send a delivery twice, even if nobody knows whether it arrived.
    #[arg(long)]
    at_most_once: bool,
}

impl Tries {
    pub(super) fn retry(&self) -> Result<Retry, CliError> {
        let backoff = self.backoff.unwrap_or(BACKOFF);
        let longest = self.max_backoff.unwrap_or(LONGEST_BACKOFF.max(backoff));
        Retry::new(self.attempts, backoff, longest).map_err(|error| usage(&error))
    }

    pub(super) fn timeout(&self) -> Result<Timeout, CliError> {
        let accept = self.accept_timeout.unwrap_or(ACCEPT_TIMEOUT);
        Timeout::new(accept, self.run_timeout).map_err(|error| usage(&error))
    }

    pub(super) fn delivery(&self) -> DeliveryMode {
        if self.at_most_once { DeliveryMode::AtMostOnce } else { DeliveryMode::AtLeastOnce }
    }
}

fn usage(error: &InvalidPolicy) -> CliError {
    CliError::Usage(error.to_string())
}
