//! The honest store: s3s-fs on a folder, made to refuse what real S3 refuses.
//!
//! s3s verifies signature, expiry and skew. s3s-fs renames an object into place before it compares the checksum, and so
//! keeps what it answers `BadDigest` to; therefore the bytes are hashed here before it sees them. It also takes a
//! checksum that no signature covers, which S3 does not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use s3s::auth::SimpleAuth;
use s3s::dto::{PutObjectInput, PutObjectOutput, StreamingBlob};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::stream::DynByteStream;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use sha2::Digest;
use turnstage_cloud_sync::Sha256;

use super::presign::{BUCKET, CHECKSUM, Signer, decoded, parameters};
use super::service::Service;

/// The store in front of its folder.
pub struct Store {
    s3: S3Service,
    service: Arc<Service>,
}

impl Store {
    /// Opens the store in `folder`, which exists; the service hears of what fails.
    pub fn open(folder: &Path, signer: &Signer, service: Arc<Service>) -> Self {
        std::fs::create_dir_all(folder.join(BUCKET)).expect("a folder for the bucket");
        let files = FileSystem::new(folder).expect("s3s-fs opens the folder");
        let mut builder = S3ServiceBuilder::new(Strict { files });
        builder.set_auth(SimpleAuth::from_single(signer.access_key.clone(), signer.secret_key.clone()));
        Self { s3: builder.build(), service }
    }

    /// Serves one request.
    pub async fn serve(&self, request: Request<Body>) -> Response<Bytes> {
        let put = (request.method() == Method::PUT).then(|| key(request.uri().path())).flatten();
        let answer = match self.s3.call(request).await {
            Ok(answer) => whole(answer).await,
            Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
        };
        if let Some(key) = put.filter(|_| counts(answer.status(), answer.body())) {
            self.service.put_failed(&key);
        }
        answer
    }
}

/// Whether the answer to a PUT is a failed attempt: a URL that ended is nobody's fault.
pub(super) fn counts(status: StatusCode, body: &[u8]) -> bool {
    !status.is_success() && !String::from_utf8_lossy(body).contains("<Message>Request has expired</Message>")
}

/// The storage key that a path of the store names.
pub(super) fn key(path: &str) -> Option<String> {
    let key = path.strip_prefix('/')?.strip_prefix(BUCKET)?.strip_prefix('/')?;
    Some(decoded(key))
}

async fn whole(answer: Response<Body>) -> Response<Bytes> {
    let (parts, body) = answer.into_parts();
    match body.collect().await {
        Ok(body) => Response::from_parts(parts, body.to_bytes()),
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn empty(status: StatusCode) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    answer
}

/// Every object in `folder` with the hash of the bytes that lie there.
pub fn objects(folder: &Path) -> BTreeMap<String, Sha256> {
    let mut found = BTreeMap::new();
    collect(&folder.join(BUCKET), "", &mut found);
    found
}

fn collect(folder: &Path, prefix: &str, found: &mut BTreeMap<String, Sha256>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder of the store").flatten() {
        let name = entry.file_name().into_string().expect("keys are text");
        let path = entry.path();
        if path.is_dir() {
            collect(&path, &format!("{prefix}{name}/"), found);
        } else {
            let bytes = std::fs::read(&path).expect("a readable object");
            found.insert(format!("{prefix}{name}"), Sha256::of(&bytes));
        }
    }
}

/// Puts other bytes in the place of an object.
pub fn corrupt(folder: &Path, key: &str, bytes: &[u8]) {
    let path = folder.join(BUCKET).join(key);
    assert!(path.is_file(), "nothing lies under {key}");
    std::fs::write(path, bytes).expect("a writable object");
}

/// PUT and nothing else: a device has no right to read.
struct Strict {
    files: FileSystem,
}

#[async_trait::async_trait]
impl S3 for Strict {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        if !signs_checksum(request.uri.query().unwrap_or_default()) {
            return Err(s3_error!(
                AccessDenied,
                "There were headers present in the request which were not signed"
            ));
        }
        let Some(promised) = request.input.checksum_sha256.clone() else {
            return Err(s3_error!(InvalidRequest, "{CHECKSUM} is required"));
        };
        let mut request = request;
        let body = request.input.body.take().map(DynByteStream::from).map(Body::from).unwrap_or_default();
        // Whole or not at all: what was cut on its way never comes near the folder.
        let Ok(body) = body.collect().await else { return Err(s3_error!(IncompleteBody)) };
        let body = body.to_bytes();
        if STANDARD.encode(sha2::Sha256::digest(&body)) != promised {
            return Err(s3_error!(
                BadDigest,
                "The SHA256 you specified did not match the calculated checksum."
            ));
        }
        request.input.body = Some(StreamingBlob::from(Body::from(body)));
        let mut answer = self.files.put_object(request).await?;
        answer.output.checksum_sha256 = Some(promised);
        Ok(answer)
    }
}

/// Whether the signature in this query covers the header with the checksum.
pub(super) fn signs_checksum(query: &str) -> bool {
    parameters(query).any(|(name, value)| {
        name == "X-Amz-SignedHeaders" && value.split(';').any(|header| header == CHECKSUM)
    })
}
