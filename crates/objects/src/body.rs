use futures::io::{AsyncBufRead, AsyncBufReadExt};

/// An answer that is read as it arrives.
pub(crate) struct Body<R> {
    reader: R,
    used: usize,
}

impl<R: AsyncBufRead + Unpin> Body<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, used: 0 }
    }

    /// The next part; an empty one at the end.
    pub(crate) async fn next(&mut self) -> kube::Result<&[u8]> {
        self.reader.consume_unpin(std::mem::take(&mut self.used));
        let chunk = self.reader.fill_buf().await.map_err(kube::Error::ReadEvents)?;
        self.used = chunk.len();
        Ok(chunk)
    }
}
