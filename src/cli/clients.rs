//! `fleetcron clients`: the registry, and who of it is connected.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::args::{Global, LIST_LIMIT};
use super::connect::{connect, read_all};
use super::error::CliError;
use super::output::{Field, NOTHING, Out, Tone, moment, note, relative};
use super::{Done, Verdict, statistics};
use crate::api::message::ClientRequest;
use crate::client_record::ClientView;
use crate::command_limit::{CommandLimit, InvalidCommandLimit};
use crate::engine::{ClientLimit, Regroup, Relabel};
use crate::id::{ClientId, GroupName};
use crate::label::{InvalidLabel, LabelKey, LabelValue, Labels};
use crate::remote::Remote;
use crate::statistics::ClientStatistics;
use crate::time::Timestamp;

/// The arguments of `clients`.
#[derive(Debug, Args)]
pub(super) struct ClientsArgs {
    #[command(flatten)]
    list: ListArgs,
    #[command(subcommand)]
    command: Option<ClientsCommand>,
}

/// The arguments of `clients list`.
#[derive(Debug, Default, PartialEq, Args)]
struct ListArgs {
    /// Only members of this group.
    #[arg(long, value_name = "NAME")]
    group: Option<GroupName>,
    /// Show at most so many. Default: 1000.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Subcommand)]
enum ClientsCommand {
    /// List clients in the order of their names.
    List(ListArgs),
    /// Show one client.
    Show {
        /// The client's id.
        id: ClientId,
    },
    /// Define a client. Its token is shown once, and never again.
    Add {
        /// The client's id.
        id: ClientId,
        /// A group to be in; may be given several times.
        #[arg(long = "group", value_name = "NAME")]
        groups: Vec<GroupName>,
        /// Read the token from this file instead of letting the server make one.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// Put a client into groups and take it out of others.
    Group {
        /// The client's id.
        id: ClientId,
        /// A group to be in; may be given several times.
        #[arg(long, value_name = "NAME", required_unless_present = "remove")]
        add: Vec<GroupName>,
        /// A group to be in no longer; may be given several times.
        #[arg(long, value_name = "NAME")]
        remove: Vec<GroupName>,
    },
    /// Set labels of a client, and take others away.
    Label {
        /// The client's id.
        id: ClientId,
        /// KEY=VALUE to set a label, KEY- to take it away.
        #[arg(value_name = "LABEL", required = true, value_parser = label)]
        labels: Vec<LabelArg>,
    },
    /// Say how many commands a client may run at once, from its next connection on.
    Limit {
        /// The client's id.
        id: ClientId,
        /// How many, 1 to 1000; or none, for as many as the client is set up for.
        #[arg(value_name = "N|none", value_parser = limit)]
        max_running: Limit,
    },
    /// Remove a client; its queued deliveries end as removed.
    Remove {
        /// The client's id.
        id: ClientId,
    },
}

/// What was written for a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Limit(Option<CommandLimit>);

fn limit(text: &str) -> Result<Limit, InvalidCommandLimit> {
    if text == "none" { Ok(Limit(None)) } else { text.parse().map(|limit| Limit(Some(limit))) }
}

pub(super) async fn execute(args: ClientsArgs, global: &Global) -> Done {
    let out = Out::new(global);
    let command = match args.command {
        None => ClientsCommand::List(args.list),
        Some(_) if args.list != ListArgs::default() => {
            let message = "--group and --limit belong after: clients list, clients add";
            return Err(CliError::Usage(message.to_owned()));
        }
        Some(command) => command,
    };
    let remote = connect(global)?;
    match command {
        ClientsCommand::List(args) => list(&out, &remote, args).await?,
        ClientsCommand::Show { id } => show_whole(&out, &remote, id).await?,
        ClientsCommand::Add { id, groups, token_file } => {
            let token = token_file.as_deref().map(read_token).transpose()?;
            let groups = groups.into_iter().collect();
            add(&out, &remote, ClientRequest { id, groups, token }).await?;
        }
        ClientsCommand::Group { id, add, remove } => {
            let change = Regroup {
                id,
                add: add.into_iter().collect(),
                remove: remove.into_iter().collect(),
            };
            show_one(&out, &remote.regroup(change).await?)?;
        }
        ClientsCommand::Label { id, labels } => {
            show_one(&out, &remote.label_client(relabel(id, labels)?).await?)?;
        }
        ClientsCommand::Limit { id, max_running: Limit(max_running) } => {
            show_one(&out, &remote.limit_client(ClientLimit { id, max_running }).await?)?;
        }
        ClientsCommand::Remove { id } => {
            remote.remove_client(id.clone()).await?;
            if out.is_json() {
                out.json(&json!({ "removed": id }))?;
            } else {
                out.line(&format!("removed {id}"))?;
            }
        }
    }
    Ok(Verdict::Succeeded)
}

/// A label to set or, without a value, to take away.
type LabelArg = (LabelKey, Option<LabelValue>);

fn label(text: &str) -> Result<LabelArg, String> {
    let told = |error: InvalidLabel| error.to_string();
    match (text.split_once('='), text.strip_suffix('-')) {
        (Some((key, value)), _) => {
            Ok((key.parse().map_err(told)?, Some(value.parse().map_err(told)?)))
        }
        (None, Some(key)) => Ok((key.parse().map_err(told)?, None)),
        (None, None) => Err("write KEY=VALUE to set a label, KEY- to take it away".into()),
    }
}

fn relabel(id: ClientId, labels: Vec<LabelArg>) -> Result<Relabel, CliError> {
    let (mut set, mut remove) = (BTreeMap::new(), BTreeSet::new());
    for (key, value) in labels {
        if set.contains_key(&key) || remove.contains(&key) {
            return Err(CliError::Usage(format!("label {key} is given twice")));
        }
        match value {
            Some(value) => drop(set.insert(key, value)),
            None => drop(remove.insert(key)),
        }
    }
    let set = Labels::try_from(set).map_err(|error| CliError::Usage(error.to_string()))?;
    Ok(Relabel { id, set, remove })
}

/// The token alone goes to standard output, so that it can go on into a file.
async fn add(out: &Out, remote: &Remote, request: ClientRequest) -> Result<(), CliError> {
    let given = request.token.is_some();
    let added = remote.add_client(request).await?;
    if out.is_json() {
        return out.json(&added);
    }
    note(&format!("added client {}", added.client.id));
    if given {
        return Ok(());
    }
    note("its token, which is shown this once:");
    out.line(&added.token)
}

fn read_token(path: &Path) -> Result<String, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::Usage(format!("cannot read {}: {error}", path.display())))?;
    match text.trim() {
        "" => Err(CliError::Usage(format!("token file {} is empty", path.display()))),
        token => Ok(token.to_owned()),
    }
}

async fn list(out: &Out, remote: &Remote, args: ListArgs) -> Result<(), CliError> {
    let limit = args.limit.unwrap_or(LIST_LIMIT);
    let read = async |page| remote.clients(page, args.group.clone()).await;
    let (clients, more) = read_all(limit, |client: &ClientView| client.id.clone(), read).await?;
    if out.is_json() {
        out.json(&clients)?;
    } else {
        let status = remote.status().await?;
        let headings = ["CLIENT", "STATE", "SINCE", "OPEN", "GROUPS", "REASON"];
        out.table(&headings, clients.iter().map(|client| row(client, out.now)).collect())?;
        let (defined, connected) = (status.clients_defined, status.clients_connected);
        note(&format!("{defined} clients defined, {connected} connected"));
    }
    if let Some(group) = args.group.filter(|_| clients.is_empty()) {
        note(&format!("group {group} has no clients"));
    }
    if more {
        note(&format!("there are more than {limit} clients; --limit shows more"));
    }
    Ok(())
}

fn row(client: &ClientView, now: Timestamp) -> Vec<Field> {
    let presence = &client.presence;
    let since = if client.connected { presence.connected_at } else { presence.disconnected_at };
    let reason = presence.reason.as_deref().filter(|_| !client.connected);
    vec![
        client.id.as_str().into(),
        state(client),
        since.map_or_else(|| NOTHING.into(), |at| relative(at, now)).into(),
        client.open.to_string().into(),
        names(&client.groups).into(),
        reason.unwrap_or_default().into(),
    ]
}

fn state(client: &ClientView) -> Field {
    match (client.connected, client.presence.connected_at) {
        (true, _) => Field::toned("connected", Tone::Good),
        (false, Some(_)) => Field::toned("away", Tone::Busy),
        (false, None) => Field::toned("never seen", Tone::Quiet),
    }
}

fn names(groups: &BTreeSet<GroupName>) -> String {
    match groups.len() {
        0 => NOTHING.to_owned(),
        _ => groups.iter().map(GroupName::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// What waits for a client that is away.
fn queued(client: &ClientView) -> String {
    format!("{}, {} bytes of parameters", client.queued, client.queued_bytes)
}

/// A client with its statistics, as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    client: &'a ClientView,
    statistics: &'a ClientStatistics,
}

async fn show_whole(out: &Out, remote: &Remote, id: ClientId) -> Result<(), CliError> {
    let client = remote.client(id.clone()).await?;
    let statistics = remote.client_statistics(id).await?;
    if out.is_json() {
        return out.json(&Shown { client: &client, statistics: &statistics });
    }
    show_one(out, &client)?;
    statistics::write(out, &(&statistics).into())
}

fn show_one(out: &Out, client: &ClientView) -> Result<(), CliError> {
    if out.is_json() {
        return out.json(client);
    }
    let presence = &client.presence;
    let mut pairs: Vec<(&str, Field)> = vec![
        ("client", client.id.as_str().into()),
        ("state", state(client)),
        ("groups", names(&client.groups).into()),
        ("open deliveries", client.open.to_string().into()),
        ("queued", queued(client).into()),
        ("defined", moment(client.defined_at, out.now).into()),
    ];
    let times = [
        ("last connected", presence.connected_at),
        ("last disconnected", presence.disconnected_at),
    ];
    for (name, at) in times {
        pairs.extend(at.map(|at| (name, moment(at, out.now).into())));
    }
    pairs.extend(presence.reason.as_deref().map(|reason| ("reason", reason.into())));
    if !client.labels.is_empty() {
        pairs.push(("labels", client.labels.to_string().into()));
    }
    let most = client.max_running.map(|most| ("runs at once", format!("at most {most}").into()));
    pairs.extend(most);
    if let Some(facts) = &client.facts {
        let says: Vec<String> =
            facts.pairs().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.push(("says of itself", says.join(", ").into()));
        let trusted: Vec<&str> = client.trusted.iter().map(LabelKey::as_str).collect();
        let trusted = if trusted.is_empty() { NOTHING.to_owned() } else { trusted.join(", ") };
        pairs.push(("of it trusted", trusted.into()));
    }
    out.pairs(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_may_end_with_a_line_end_but_not_be_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        assert_eq!(read_token(&path).unwrap(), "0123456789abcdef");
        std::fs::write(&path, "\n").unwrap();
        let error = read_token(&path).unwrap_err().to_string();
        assert!(error.starts_with("token file ") && error.ends_with(" is empty"), "{error}");
    }

    #[test]
    fn labels_are_set_and_taken_away_once_each() {
        let of = |words: &[&str]| -> Result<Relabel, String> {
            let labels = words.iter().map(|word| label(word)).collect::<Result<_, _>>()?;
            relabel("a".parse().unwrap(), labels).map_err(|error| error.to_string())
        };
        let change = of(&["rack=r7", "tier=", "old-", "x-y=z-"]).unwrap();
        assert_eq!(change.set.to_string(), "rack=r7, tier=, x-y=z-");
        assert_eq!(change.remove, ["old".parse().unwrap()].into());
        assert_eq!(of(&["rack=1", "rack-"]).unwrap_err(), "label rack is given twice");
        assert_eq!(of(&["rack=1", "rack=1"]).unwrap_err(), "label rack is given twice");
        assert!(of(&["rack"]).unwrap_err().contains("KEY-"));
    }

    #[test]
    fn who_was_never_here_is_told_from_who_is_away() {
        let view = |connected: bool, at: Option<&str>| -> ClientView {
            serde_json::from_value(json!({
                "id": "web-01", "groups": ["web"], "connected": connected, "open": 2,
                "defined_at": "2026-11-22T06:00:00Z", "connected_at": at,
            }))
            .unwrap()
        };
        let at = Some("2026-11-22T06:00:00Z");
        let told = |view: ClientView| format!("{:?}", state(&view));
        assert!(told(view(true, at)).contains("connected"));
        assert!(told(view(false, at)).contains("away"));
        assert!(told(view(false, None)).contains("never seen"));
    }
}
