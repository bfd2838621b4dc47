//! A client that may run little at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fleetcron::client::Context;
use tokio::sync::Semaphore;

use crate::fleet::{command, is_responded};
use crate::pair::World;

#[tokio::test(start_paused = true)]
async fn a_client_honours_the_smaller_of_its_own_limit_and_the_servers() {
    for (name, most) in [("limited-1", 1), ("web-01", 3)] {
        let world = World::new(|server| server);
        let gate = Arc::new(Semaphore::new(0));
        let (running, peak) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let handler = {
            let (gate, peak) = (Arc::clone(&gate), Arc::clone(&peak));
            move |_: Context, (): ()| {
                let (gate, running, peak) =
                    (Arc::clone(&gate), Arc::clone(&running), Arc::clone(&peak));
                async move {
                    let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                    peak.fetch_max(now, Ordering::SeqCst);
                    gate.acquire().await.unwrap().forget();
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                }
            }
        };
        let client = world.client(name).concurrency(3).on("wait", handler).start().unwrap();
        client.connected().await.unwrap();
        for n in 1..=6 {
            world.fleet.send(1, command(n, "wait", "null"));
        }
        for done in 1..=6 {
            gate.add_permits(1);
            world.fleet.until_count(done, is_responded).await;
        }
        assert_eq!(peak.load(Ordering::SeqCst), most, "{name}");
    }
}
