//! One run and what belongs to it: it adds up, and the store has it as it is or not at all.

use std::collections::HashMap;

use roaring::RoaringBitmap;
use sha2::{Digest as _, Sha256};

use super::super::line::Line;
use super::stored::{RunDigest, Stored};
use super::{Checked, Refusal, conflict, wrong};
use crate::id::{ClientId, Serial};
use crate::run::{Counts, Run};

pub(super) struct RunPlan {
    run: Run,
    /// Of its lines, if the store has a run of this serial.
    digest: Option<Sha256>,
    counts: Counts,
    /// Clients by their place in the file.
    ended: RoaringBitmap,
    open: RoaringBitmap,
    late: RoaringBitmap,
}

impl RunPlan {
    pub(super) fn new(run: Run, stored: &Stored<'_>) -> Result<Self, Refusal> {
        let serial = run.serial;
        let is_open = run.ended_at.is_none();
        let is_there = stored.has_run(serial)?;
        if is_open && !stored.is_empty && !stored.options.ended_only {
            return conflict(format!(
                "run {serial} is open, and the store is not empty; leave open runs out with --ended-only"
            ));
        }
        // One that is left out need not be the same.
        let is_compared = is_there && !is_open;
        let digest = is_compared.then(Sha256::new);
        let (counts, clients) = (Counts::default(), RoaringBitmap::new);
        let (ended, open, late) = (clients(), clients(), clients());
        let mut plan = Self { run, digest, counts, ended, open, late };
        let first = Line::Run(Box::new(plan.run.clone()));
        plan.hash(&first)?;
        Ok(plan)
    }

    fn hash(&mut self, line: &Line) -> Checked {
        if let Some(digest) = &mut self.digest {
            digest.update(line.text().map_err(std::io::Error::from)?);
        }
        Ok(())
    }

    /// Takes a line that belongs to a run.
    pub(super) fn take(&mut self, line: &Line, clients: &HashMap<ClientId, u32>) -> Checked {
        let serial = self.run.serial;
        if line.of_run() != Some(serial) {
            return wrong(format!("a {} of another run stands behind run {serial}", line.record()));
        }
        self.hash(line)?;
        let place = |id: &ClientId| match clients.get(id) {
            Some(place) => Ok(*place),
            None => wrong(format!("client {id} has no line before")),
        };
        match line {
            Line::Response(response) => {
                let client = place(&response.client)?;
                if response.retried {
                    self.counts.retried += 1;
                    return Ok(());
                }
                self.counts.add(response.outcome.state);
                let is_first = self.ended.insert(client);
                once(is_first, serial, &response.client, "has ended before")
            }
            Line::Late(late) => {
                let client = &late.answer.client;
                let is_first = self.late.insert(place(client)?);
                once(is_first, serial, client, "has a late answer before")
            }
            Line::Open(open) => {
                for id in &open.clients {
                    let client = place(id)?;
                    let is_first = self.open.insert(client) && !self.ended.contains(client);
                    once(is_first, serial, id, "is open before, or has ended")?;
                }
                Ok(())
            }
            Line::Marked(marked) => {
                for id in &marked.clients {
                    once(self.open.contains(place(id)?), serial, id, "has a mark and is not open")?;
                }
                Ok(())
            }
            other => wrong(format!("a {} belongs to no run", other.record())),
        }
    }

    /// That it adds up and is not there as another.
    pub(super) fn end(self, stored: &Stored<'_>) -> Checked {
        let Run { serial, ended_at, counts: told, .. } = &self.run;
        let (ended, open) = (self.counts.ended(), self.open.len());
        let total = told.total;
        let counts = Counts { total, ..self.counts };
        if ended_at.is_none() {
            if open == 0 || u64::from(ended) + open != u64::from(total) {
                return wrong(format!(
                    "run {serial} is open with {total} deliveries; {ended} have ended, and {open} are open"
                ));
            }
        } else if counts != *told || ended != total || open > 0 {
            return wrong(format!(
                "run {serial} has ended and does not add up: of {total} deliveries {ended} have ended, and {open} are open"
            ));
        }
        let Some(digest) = self.digest else { return Ok(()) };
        let here: RunDigest = digest.finalize().into();
        if here != stored.run_digest(*serial)? {
            return conflict(format!("run {serial} is there, and not the same"));
        }
        Ok(())
    }
}

fn once(is_so: bool, serial: Serial, client: &ClientId, problem: &str) -> Checked {
    if is_so {
        return Ok(());
    }
    wrong(format!("the delivery of run {serial} to client {client} {problem}"))
}
