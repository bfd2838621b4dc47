//! What history is kept: which jobs say so themselves, and how ended runs are forgotten.

use super::change::Change;
use super::core::Engine;
use super::effect::Reply;
use super::event::What;
use super::input::{Forgotten, Page};
use crate::id::{JobId, Serial};

impl Engine {
    /// Forgets a bounded part of these ended runs, the first first; called again and again, all
    /// of them. Those that are open stay, and so does the one with the highest serial of all: by it
    /// a restart knows where serials go on. Gives those that it forgets.
    pub(super) fn forget_runs(&mut self, mut serials: Vec<Serial>) -> Reply {
        serials.retain(|serial| self.runs.get(*serial).is_none() && *serial != self.last_serial);
        for serial in &serials {
            self.withdrawn.forget(*serial);
        }
        if !serials.is_empty() {
            self.store(serials.iter().copied().map(Change::ForgetRun).collect());
        }
        Reply::Forgetting(serials)
    }

    /// The jobs that say what of their history is kept, in the order of their numbers.
    pub(super) fn keeping(&self, page: &Page<JobId>) -> Reply {
        Reply::Keeping(self.jobs.keeping(page.after, page.limit.min(Page::<JobId>::MAX)))
    }

    /// Tells what a round of retention has forgotten.
    pub(super) fn note_forgotten(&mut self, forgotten: Forgotten) -> Reply {
        self.notify(What::Forgotten { forgotten });
        Reply::Done
    }
}
