//! The whole store, over HTTP.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::Method;

use super::{Remote, RemoteError};
use crate::node::{ExportQuery, StoreStats};

/// A stream of bytes. An error is its last item.
pub type ByteStream = BoxStream<'static, Result<Bytes, RemoteError>>;

impl Remote {
    /// A backup of the store as of one commit, taken while the node goes on: the bytes of a file
    /// for [`backup::restore`](crate::store::backup::restore), or for
    /// [`verify`](crate::store::backup::verify): a stream that broke off is one that has no
    /// trailer, not always an error here.
    pub async fn backup(&self) -> Result<ByteStream, RemoteError> {
        self.bytes(self.http.request(Method::GET, &["backup"])?).await
    }

    /// An export of the store, or of a part of it: lines of JSON, see
    /// [`exchange`](crate::store::exchange). One that is not whole has no trailer: its last line is
    /// an error body, or it ends within a line, which is not always an error here.
    pub async fn export(&self, query: ExportQuery) -> Result<ByteStream, RemoteError> {
        let request = self.http.request(Method::GET, &["export"])?;
        self.bytes(request.query(&query)).await
    }

    /// How much there is of what in the store, and on disk. Reads all of it.
    pub async fn store_stats(&self) -> Result<StoreStats, RemoteError> {
        self.fetch(&["store"]).await
    }

    async fn bytes(&self, request: reqwest::RequestBuilder) -> Result<ByteStream, RemoteError> {
        let url = self.http.base().to_owned();
        let pieces = self.http.send(request).await?.bytes_stream();
        Ok(pieces
            .map(move |piece| piece.map_err(|error| RemoteError::exchange(&url, &error)))
            .boxed())
    }
}
