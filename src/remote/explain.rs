//! Explanations over HTTP.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::{Remote, RemoteError};
use crate::explain::{ClientQuery, Item, JobQuery};

impl Remote {
    /// Every firing that a job was to have in a span, and what became of it; then the sums.
    #[must_use]
    pub fn explain_job(&self, query: JobQuery) -> BoxStream<'static, Result<Item, RemoteError>> {
        let JobQuery { job, client, group, since, until, only, all_clients } = query;
        let mut pairs = vec![("only", only.to_string()), ("all_clients", all_clients.to_string())];
        pairs.extend(client.map(|client| ("client", client.to_string())));
        pairs.extend(group.map(|group| ("group", group.to_string())));
        pairs.extend(since.map(|since| ("since", since.to_string())));
        pairs.extend(until.map(|until| ("until", until.to_string())));
        self.whole(vec!["jobs".into(), job.to_string(), "explain".into()], pairs)
    }

    /// Every delivery that a client was to get in a span, what became of it, and when the client
    /// was away; then the sums.
    #[must_use]
    pub fn explain_client(
        &self,
        query: ClientQuery,
    ) -> BoxStream<'static, Result<Item, RemoteError>> {
        let ClientQuery { client, since, until, only } = query;
        let mut pairs = vec![("only", only.to_string())];
        pairs.extend(since.map(|since| ("since", since.to_string())));
        pairs.extend(until.map(|until| ("until", until.to_string())));
        self.whole(vec!["clients".into(), client.to_string(), "explain".into()], pairs)
    }

    /// A stream that is whole only with its sums: one that ends before them does so with an error.
    fn whole(
        &self,
        path: Vec<String>,
        query: Vec<(&'static str, String)>,
    ) -> BoxStream<'static, Result<Item, RemoteError>> {
        let url = self.http.base().to_owned();
        let items = self.stream::<Item>(path, query);
        stream::unfold((items, false), move |(mut items, ended)| {
            let url = url.clone();
            async move {
                match items.next().await {
                    Some(Ok(item)) => {
                        let ended = matches!(item, Item::Sums(_));
                        Some((Ok(item), (items, ended)))
                    }
                    Some(Err(error)) => Some((Err(error), (stream::empty().boxed(), true))),
                    None if ended => None,
                    None => {
                        let cause = "the explanation ended before its sums".to_owned();
                        let broken = RemoteError::Broken { url, cause };
                        Some((Err(broken), (items, true)))
                    }
                }
            }
        })
        .boxed()
    }
}
