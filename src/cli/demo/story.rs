//! What the demonstration does and when: so that half a minute shows what takes days elsewhere.

use std::time::Duration;

use tokio::time::Instant;

use super::super::error::CliError;
use super::agents::Agents;
use super::screen::Screen;
use crate::json::Json;
use crate::node::{CallError, Handle};
use crate::run::Submission;

/// The agent that goes away and comes back.
const TRAVELLER: &str = "db-01";

/// One round of the story, when nothing says how long the demonstration takes.
const ROUND: Duration = Duration::from_secs(20);

/// The shortest round: what happens in it needs its time.
const SHORTEST: Duration = Duration::from_secs(6);

/// The steps and when they come, in hundredths of a round.
const STEPS: [(u32, Step); 5] = [
    (10, Step::Trigger),
    (25, Step::Leave),
    (35, Step::Submit),
    (60, Step::Return),
    (75, Step::Submit),
];

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Jobs that are due once a day run now.
    Trigger,
    /// One agent ends.
    Leave,
    /// Commands are submitted to that agent.
    Submit,
    /// That agent starts again.
    Return,
}

/// The story and how far it has come.
pub(super) struct Story {
    handle: Handle,
    round: Duration,
    begun: Instant,
    /// Whether another round follows.
    again: bool,
    next: usize,
}

impl Story {
    /// A story for a demonstration of some length; without one it begins again and again.
    pub(super) fn new(handle: Handle, length: Option<Duration>) -> Self {
        let round = length.map_or(ROUND, |length| length.clamp(SHORTEST, ROUND));
        Self { handle, round, begun: Instant::now(), again: length.is_none(), next: 0 }
    }

    /// Waits for the next step.
    pub(super) async fn next(&self) {
        match STEPS.get(self.next) {
            Some((at, _)) => tokio::time::sleep_until(self.begun + self.round * *at / 100).await,
            None => std::future::pending().await,
        }
    }

    /// Does the next step.
    pub(super) async fn go_on(
        &mut self,
        screen: &Screen,
        agents: &mut Agents,
    ) -> Result<(), CliError> {
        let Some((_, step)) = STEPS.get(self.next) else { return Ok(()) };
        self.next += 1;
        if self.again && self.next == STEPS.len() {
            self.next = 0;
            self.begun += self.round;
        }
        match step {
            Step::Trigger => self.trigger(screen).await,
            Step::Leave => {
                screen.act(&format!("{TRAVELLER} is taken away (its process is ended)"));
                agents.stop(TRAVELLER).await;
                Ok(())
            }
            Step::Submit => self.submit(screen).await,
            Step::Return => {
                screen.act(&format!("{TRAVELLER} comes back (its process starts again)"));
                agents.start(TRAVELLER)
            }
        }
    }

    async fn trigger(&self, screen: &Screen) -> Result<(), CliError> {
        for job in ["disk-report", "cert-check"] {
            let name = job.parse().map_err(CliError::server)?;
            screen.act(&format!("{job} is triggered by hand: by its rule it runs once a day"));
            match self.handle.trigger(name).await {
                Ok(_) => {}
                // The jobs directory may be the owner's own.
                Err(CallError::Refused(error)) => screen.note(&error.to_string()),
                Err(error) => return Err(CliError::server(error)),
            }
        }
        Ok(())
    }

    async fn submit(&self, screen: &Screen) -> Result<(), CliError> {
        let target = format!("client:{TRAVELLER}").parse().map_err(CliError::server)?;
        let command = "maintenance.announce".parse().map_err(CliError::server)?;
        let mut submission = Submission::new(target, command);
        let message = format!("hello {TRAVELLER}, wherever you are");
        submission.params =
            Json::new(&serde_json::json!({ "message": message })).map_err(CliError::server)?;
        screen.act(&format!("a command is submitted to {TRAVELLER}"));
        self.handle.submit(submission).await.map_err(CliError::server)?;
        Ok(())
    }
}
