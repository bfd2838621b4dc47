//! From targets to clients: by bitmaps of groups and labels, never by a look at every client,
//! but for samples, which must compare the clients that they are drawn from.

use roaring::RoaringBitmap;

use super::registry::Registry;
use crate::id::{ClientNo, JobId, Serial};
use crate::run::Run;
use crate::target::{Expr, Share, Target};

/// What makes the samples of one job other than those of another. All runs of a job have the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Salt([u8; 16]);

impl Salt {
    /// For a forecast that is not about one job.
    pub(super) const NONE: Self = Self([0; 16]);

    pub(super) fn of_job(job: JobId) -> Self {
        Self(job.to_bytes())
    }

    /// That of its job; a submitted command has its own.
    pub(super) fn of_run(run: &Run) -> Self {
        Self(run.job_id.map_or_else(|| Serial::to_bytes(run.serial), JobId::to_bytes))
    }

    /// A client's place in all samples with this salt: a larger sample goes on where a smaller
    /// one ends. FNV-1a, and the last step of splitmix64, so that near names are far apart.
    fn place(self, client: &str) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in self.0.iter().chain(client.as_bytes()) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }
}

impl Registry {
    /// The clients that a target means now.
    pub(super) fn resolve(&self, target: &Target, salt: Salt) -> RoaringBitmap {
        match target {
            Target::All => self.defined().clone(),
            Target::Group(group) => self.members(group).cloned().unwrap_or_default(),
            Target::One(id) => self.find(id).map(|no| no.0).into_iter().collect(),
            Target::Where(expr) => self.meant(expr, salt),
        }
    }

    fn meant(&self, expr: &Expr, salt: Salt) -> RoaringBitmap {
        match expr {
            Expr::All => self.defined().clone(),
            Expr::Group(group) => self.members(group).cloned().unwrap_or_default(),
            Expr::Client(id) => self.find(id).map(|no| no.0).into_iter().collect(),
            Expr::Label(key, value) => {
                self.labels().having(key, value).cloned().unwrap_or_default()
            }
            Expr::Labelled(key) => self.labels().labelled(key).cloned().unwrap_or_default(),
            Expr::Not(inner) => self.defined() - self.meant(inner, salt),
            Expr::And(parts) => self.meant_by_all(parts, salt),
            Expr::Or(parts) => {
                parts.iter().fold(RoaringBitmap::new(), |all, part| all | self.meant(part, salt))
            }
            Expr::Sample(share, inner) => self.sample(*share, self.meant(inner, salt), salt),
        }
    }

    /// What is wanted first, then without what is not, so that nothing is made of all clients
    /// that a part then takes away.
    fn meant_by_all(&self, parts: &[Expr], salt: Salt) -> RoaringBitmap {
        let (without, with): (Vec<&Expr>, Vec<&Expr>) =
            parts.iter().partition(|part| matches!(part, Expr::Not(_)));
        let with = with.into_iter().map(|part| self.meant(part, salt));
        let mut meant =
            with.reduce(|all, part| all & part).unwrap_or_else(|| self.defined().clone());
        for part in without {
            if let Expr::Not(inner) = part {
                meant -= self.meant(inner, salt);
            }
        }
        meant
    }

    fn sample(&self, share: Share, of: RoaringBitmap, salt: Salt) -> RoaringBitmap {
        let wanted = share.of(of.len());
        if wanted == of.len() {
            return of;
        }
        let mut places = self.places(&of, salt);
        // Fewer than all, so there is one at that index.
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        if wanted < places.len() {
            places.select_nth_unstable(wanted);
            places.truncate(wanted);
        }
        places.into_iter().map(|(_, no)| no).collect()
    }

    fn places(&self, of: &RoaringBitmap, salt: Salt) -> Vec<(u64, u32)> {
        let place = |no| self.get(ClientNo(no)).map(|client| (salt.place(client.name()), no));
        of.iter().filter_map(place).collect()
    }

    /// Clients in the order in which samples take them.
    #[cfg(test)]
    pub(super) fn by_place(&self, of: &RoaringBitmap, salt: Salt) -> Vec<u32> {
        let mut places = self.places(of, salt);
        places.sort_unstable();
        places.into_iter().map(|(_, no)| no).collect()
    }

    /// Whether a target means a client now.
    pub(super) fn means(&self, target: &Target, no: ClientNo, salt: Salt) -> bool {
        match target {
            Target::Where(expr) => {
                self.defined().contains(no.0)
                    && self.is_meant(expr, no, &|share, inner| {
                        self.sample(share, self.meant(inner, salt), salt).contains(no.0)
                    })
            }
            simple => self.names(simple, no),
        }
    }

    /// Whether a target may mean a client, whatever its samples draw: who is outside of them by
    /// the draw alone still may be in.
    pub(super) fn may_mean(&self, target: &Target, no: ClientNo) -> bool {
        match target {
            Target::Where(expr) => self.defined().contains(no.0) && self.may(expr, no, true),
            simple => self.names(simple, no),
        }
    }

    /// Of a client that is defined. With `wanted` false: whether what is meant may leave the client out.
    fn may(&self, expr: &Expr, no: ClientNo, wanted: bool) -> bool {
        match expr {
            Expr::Not(inner) => self.may(inner, no, !wanted),
            Expr::And(parts) if wanted => parts.iter().all(|part| self.may(part, no, true)),
            Expr::And(parts) => parts.iter().any(|part| self.may(part, no, false)),
            Expr::Or(parts) if wanted => parts.iter().any(|part| self.may(part, no, true)),
            Expr::Or(parts) => parts.iter().all(|part| self.may(part, no, false)),
            Expr::Sample(_, inner) if wanted => self.may(inner, no, true),
            Expr::Sample(..) => true,
            term => self.is_meant(term, no, &|_, _| false) == wanted,
        }
    }

    /// Whether a part means a client that is defined.
    fn is_meant(&self, expr: &Expr, no: ClientNo, drawn: &dyn Fn(Share, &Expr) -> bool) -> bool {
        match expr {
            Expr::All => self.defined().contains(no.0),
            Expr::Group(group) => self.members(group).is_some_and(|set| set.contains(no.0)),
            Expr::Client(id) => self.find(id) == Some(no),
            Expr::Label(key, value) => {
                self.labels().having(key, value).is_some_and(|set| set.contains(no.0))
            }
            Expr::Labelled(key) => {
                self.labels().labelled(key).is_some_and(|set| set.contains(no.0))
            }
            Expr::Not(inner) => !self.is_meant(inner, no, drawn),
            Expr::And(parts) => parts.iter().all(|part| self.is_meant(part, no, drawn)),
            Expr::Or(parts) => parts.iter().any(|part| self.is_meant(part, no, drawn)),
            Expr::Sample(share, inner) => self.is_meant(inner, no, drawn) && drawn(*share, inner),
        }
    }

    fn names(&self, simple: &Target, no: ClientNo) -> bool {
        match simple {
            Target::All => self.defined().contains(no.0),
            Target::Group(group) => self.members(group).is_some_and(|set| set.contains(no.0)),
            Target::One(id) => self.find(id) == Some(no),
            Target::Where(_) => false,
        }
    }

    /// Why a target means nobody.
    pub(super) fn why_nobody(&self, target: &Target) -> String {
        match target {
            Target::All => "no client is defined".into(),
            Target::Group(group) => format!("no client is in group {:?}", group.as_str()),
            Target::One(id) => format!("no client is named {:?}", id.as_str()),
            Target::Where(expr) => self.why_not(expr),
        }
    }

    /// The innermost part that alone leaves nobody.
    fn why_not(&self, expr: &Expr) -> String {
        let nobody = |part: &&Expr| self.meant(part, Salt::NONE).is_empty();
        match expr {
            Expr::All | Expr::Group(_) | Expr::Client(_) => {
                self.why_nobody(&Target::from(expr.clone()))
            }
            Expr::Label(key, _) | Expr::Labelled(key) if self.labels().labelled(key).is_none() => {
                format!("no client has a label {key} that counts for targets")
            }
            Expr::Label(key, value) => format!("no client has label {key}={value}"),
            Expr::Sample(share, _) if share.of(1) == 0 => format!("{share} is nobody"),
            Expr::Sample(_, inner) => self.why_not(inner),
            Expr::And(parts) => match parts.iter().find(nobody) {
                Some(part) => self.why_not(part),
                None => format!("no client is in all of: {expr}"),
            },
            Expr::Or(parts) => {
                parts.iter().map(|part| self.why_not(part)).collect::<Vec<_>>().join("; ")
            }
            Expr::Labelled(_) | Expr::Not(_) if self.defined().is_empty() => {
                "no client is defined".into()
            }
            Expr::Labelled(_) | Expr::Not(_) => format!("no client is in: {expr}"),
        }
    }
}
