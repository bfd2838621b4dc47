//! `fleetcron status`: counts of everything.

use super::args::Global;
use super::connect::connect;
use super::output::{NOTHING, Out, moment};
use super::{Done, Verdict};

pub(super) async fn execute(global: &Global) -> Done {
    let out = Out::new(global);
    let status = connect(global)?.status().await?;
    if out.is_json() {
        out.json(&status)?;
        return Ok(Verdict::Succeeded);
    }
    let next = status.next_due.map_or_else(|| NOTHING.to_owned(), |at| moment(at, out.now));
    let kind = status.store.map_or_else(|| NOTHING.to_owned(), |kind| kind.to_string());
    let of = |part: u64, whole: u64| format!("{part} of {whole}");
    out.pairs(vec![
        ("clients connected", of(status.clients_connected, status.clients_defined).into()),
        ("jobs active", of(status.jobs_active, status.jobs).into()),
        ("runs open", status.runs_open.to_string().into()),
        ("deliveries open", status.deliveries_open.to_string().into()),
        ("next job due", next.into()),
        ("clock jumps", status.clock_jumps.to_string().into()),
        ("store", kind.into()),
    ])?;
    Ok(Verdict::Succeeded)
}
