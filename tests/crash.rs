//! The server is killed in the middle of its work, again and again: what was acknowledged stays,
//! what was running goes on, nothing is done twice, and all that was decided comes out again.
//!
//! `FLEETCRON_KILLS=200 cargo test --test crash` kills it so often.

mod common;

use common::number;
use common::server::{Place, Server};
use common::survival::{End, survives};

/// How often the server is killed unless told otherwise.
const KILLS: usize = 5;

/// Kills of one server, at most: a client that is away has no more room in its queue for what
/// fires in many of its lives.
const OF_ONE: usize = 25;

struct Kill;

impl End for Kill {
    async fn end(&self, server: &mut Server) {
        server.process.kill();
    }
}

async fn is_killed(store: &str) {
    let kills = number("FLEETCRON_KILLS", KILLS);
    for before in (0..kills).step_by(OF_ONE) {
        survives(store, &Place::new(), OF_ONE.min(kills - before), &Kill).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills_and_nothing_runs_twice() {
    is_killed("sled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_it_does_in_fjall() {
    is_killed("fjall").await;
}
