//! An upload in parts that is as durable as a single put.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use object_store::{Error, MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::{Staged, blocking, failure};

/// Parts written to a staging file at their places; [`MultipartUpload::complete`] syncs it and gives it its name.
#[derive(Debug)]
pub(super) struct StagedUpload {
    /// `None` once completed or aborted.
    staged: Option<Staged>,
    path: PathBuf,
    offset: u64,
}

impl StagedUpload {
    pub(super) fn new(staged: Staged, path: PathBuf) -> Self {
        Self { staged: Some(staged), path, offset: 0 }
    }
}

#[async_trait]
impl MultipartUpload for StagedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some(staged) = &self.staged else {
            return std::future::ready(Err(ended(&self.path))).boxed();
        };
        let (file, path) = (Arc::clone(&staged.file), self.path.clone());
        let mut offset = self.offset;
        self.offset += data.content_length() as u64;
        blocking(move || {
            for part in data.iter() {
                file.write_all_at(part, offset).map_err(|e| failure("write", &path, e))?;
                offset += part.len() as u64;
            }
            Ok(())
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let staged = self.staged.take().ok_or_else(|| ended(&self.path))?;
        let path = self.path.clone();
        blocking(move || staged.publish(&path, false)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        let staged = self.staged.take().ok_or_else(|| ended(&self.path))?;
        blocking(move || {
            drop(staged);
            Ok(())
        })
        .await
    }
}

fn ended(path: &std::path::Path) -> Error {
    failure("write", path, std::io::Error::other("the upload was completed or aborted before"))
}
