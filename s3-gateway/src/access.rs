//! On whose behalf a request is done: its signer's, or that of the bucket's owner where a policy allows it; or not at all.
//!
//! 1. What a policy denies is done for nobody, but that the owner can always see, change and remove the policy itself.
//! 2. A request that nobody has signed is done only where a policy allows it.
//! 3. Where a policy allows a request, it is done with the rights of the bucket's owner. Else the signer's own decide.

use std::net::SocketAddr;
use std::sync::Arc;

use client::User;
use client::objects::Objects;
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{CopyObjectInput, CopySource, PostObjectInput, RenameObjectInput, UploadPartCopyInput};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};

use crate::buckets::{Bucket, BucketPolicy, Buckets};
use crate::exchange::Findings;
use crate::failure::not_implemented;
use crate::form::FormTags;
use crate::identity::{Identities, Identity};
use crate::lenient::Verified;
use crate::operations::rename;
use crate::policy::{Decision, Extras, Facts, Requester, actions};

const EXPECTED_OWNER: &str = "x-amz-expected-bucket-owner";
/// What the owner of a bucket can do whatever its policy says: else nobody could mend one that denies everything.
const ADMINISTRATION: [&str; 4] = ["GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy", "GetBucketPolicyStatus"];
/// Who has signed nothing, as far as mode bits are concerned.
const NOBODY: u32 = 65534;

/// How a request came in; the server puts it there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Tls>,
}

/// What a connection agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) version: &'static str,
    pub(crate) cipher: &'static str,
}

impl Tls {
    pub(crate) fn of(connection: &rustls::ServerConnection) -> Self {
        let version = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(_) | None => "-",
        };
        let cipher = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("-");
        Self { version, cipher }
    }
}

/// On whose behalf an operation is done.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) user: User,
    pub(crate) objects: Objects,
    /// Whether it may learn that there is nothing at a key. Who may not list the bucket may not.
    sees_absence: bool,
    asked: Arc<Asked>,
}

/// What decides over a request.
#[derive(Debug)]
struct Asked {
    buckets: Buckets,
    identity: Option<Identity>,
    facts: Facts,
}

impl Caller {
    /// On whose behalf one of several things that a request asks for is done.
    pub(crate) async fn to_do(&self, actions: &[String], bucket: &str, key: &str) -> S3Result<Self> {
        let found = self.asked.buckets.find(bucket).await?;
        Asked::caller(&self.asked, &found, actions, (bucket, Some(key)))
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.asked.identity.is_none()
    }

    /// The answer for a key where nothing is, which says so only to those who may know.
    pub(crate) fn absence(&self, error: S3Error) -> S3Error {
        match error.code() {
            S3ErrorCode::NoSuchKey if !self.sees_absence => S3Error::new(S3ErrorCode::AccessDenied),
            _ => error,
        }
    }
}

impl Asked {
    fn requester(&self) -> Requester {
        self.identity.as_ref().map_or(Requester::Anonymous, |identity| Requester::User(identity.user.uid))
    }

    fn is_owner(&self, bucket: &Bucket) -> bool {
        self.identity.as_ref().is_some_and(|identity| [0, bucket.owner.uid].contains(&identity.user.uid))
    }

    /// The signer, and nobody else.
    fn signer(asked: &Arc<Self>) -> S3Result<Caller> {
        let identity = asked.identity.clone().ok_or_else(|| S3Error::new(S3ErrorCode::AccessDenied))?;
        Ok(Caller { user: identity.user, objects: identity.objects, sees_absence: true, asked: Arc::clone(asked) })
    }

    fn caller(
        asked: &Arc<Self>,
        bucket: &Bucket,
        actions: &[String],
        (name, key): (&str, Option<&str>),
    ) -> S3Result<Caller> {
        let resource = key.map_or_else(|| name.to_owned(), |key| format!("{name}/{key}"));
        let is_owner = asked.is_owner(bucket);
        match asked.decide(bucket, actions, &resource) {
            Decision::Denied => Err(S3Error::new(S3ErrorCode::AccessDenied)),
            Decision::Allowed if !is_owner && !bucket.is_restricted() => {
                let listing = ["s3:ListBucket".to_owned()];
                let sees_absence = asked.decide(bucket, &listing, name) == Decision::Allowed;
                let (user, objects, asked) = (bucket.owner.clone(), bucket.objects.clone(), Arc::clone(asked));
                Ok(Caller { user, objects, sees_absence, asked })
            }
            Decision::Allowed | Decision::Unsaid => Self::signer(asked),
        }
    }

    fn decide(&self, bucket: &Bucket, actions: &[String], resource: &str) -> Decision {
        let administers = |action: &String| ADMINISTRATION.iter().any(|name| action.strip_prefix("s3:") == Some(name));
        if self.is_owner(bucket) && actions.iter().all(administers) {
            return Decision::Unsaid;
        }
        match &bucket.policy {
            BucketPolicy::Absent => Decision::Unsaid,
            BucketPolicy::Known { policy, .. } => policy.decide(self.requester(), actions, resource, &self.facts),
            BucketPolicy::Unreadable => Decision::Denied,
        }
    }
}

/// Decides over each request before anything is done.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) identities: Identities,
    pub(crate) buckets: Buckets,
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let caller = self.caller(context).await?;
        context.extensions_mut().insert(caller);
        Ok(())
    }

    async fn copy_object(&self, request: &mut S3Request<CopyObjectInput>) -> S3Result<()> {
        let expected = request.input.expected_source_bucket_owner.clone();
        let source = request.input.copy_source.clone();
        source_is_allowed(request, &source, expected.as_deref()).await
    }

    async fn upload_part_copy(&self, request: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        let expected = request.input.expected_source_bucket_owner.clone();
        let source = request.input.copy_source.clone();
        source_is_allowed(request, &source, expected.as_deref()).await
    }

    /// A form says its key in a field. What the one who signed it lets others put is in a policy of its own, which the library
    /// has held the form against.
    async fn post_object(&self, request: &mut S3Request<PostObjectInput>) -> S3Result<()> {
        if let Some(FormTags(tags)) = request.extensions.remove() {
            request.input.tagging = Some(tags);
        }
        let PostObjectInput { bucket, key, tagging, acl, .. } = &request.input;
        let extras = Extras { tags: tagging.is_some(), acl: acl.is_some(), ..Extras::default() };
        let caller = caller_of(request)?.to_do(&actions("PutObject", extras), bucket, key).await?;
        if let Some(findings) = request.extensions.get::<Findings>() {
            findings.known().key = Some(key.clone());
        }
        request.extensions.insert(caller);
        Ok(())
    }

    /// What is renamed is gone from where it was.
    async fn rename_object(&self, request: &mut S3Request<RenameObjectInput>) -> S3Result<()> {
        let caller = caller_of(request)?;
        let RenameObjectInput { bucket, rename_source, .. } = &request.input;
        let source = rename::source(bucket, rename_source)?;
        let taken = [actions("GetObject", Extras::default()), actions("DeleteObject", Extras::default())].concat();
        same_user(caller, &caller.to_do(&taken, bucket, &source).await?)
    }
}

fn caller_of<T>(request: &S3Request<T>) -> S3Result<&Caller> {
    request.extensions.get().ok_or_else(|| S3Error::new(S3ErrorCode::InternalError))
}

/// What is done in one step is done on behalf of one user.
fn same_user(one: &Caller, other: &Caller) -> S3Result<()> {
    if one.user.uid == other.user.uid {
        Ok(())
    } else {
        Err(not_implemented("a copy whose source and destination are allowed on behalf of two owners"))
    }
}

/// The source of a copy is read with the right to read it, not with the right to write the copy. Both are exercised in one
/// step, on behalf of one user.
async fn source_is_allowed<T>(request: &S3Request<T>, source: &CopySource, expected: Option<&str>) -> S3Result<()> {
    let caller = caller_of(request)?;
    let (bucket, key, version) = match source {
        CopySource::Bucket { bucket, key, version_id } => (bucket, key, version_id),
        CopySource::AccessPoint { .. } => return Err(not_implemented("an access point")),
        CopySource::Outpost { .. } => return Err(not_implemented("an outpost")),
    };
    if let Some(expected) = expected {
        check_owner(&*caller.asked.buckets.find(bucket).await?, expected)?;
    }
    let extras = Extras { version: version.is_some(), ..Extras::default() };
    let reader = caller.to_do(&actions("GetObject", extras), bucket, key).await?;
    same_user(caller, &reader)
}

fn check_owner(bucket: &Bucket, expected: &str) -> S3Result<()> {
    if expected.parse() == Ok(bucket.owner.uid) { Ok(()) } else { Err(S3Error::new(S3ErrorCode::AccessDenied)) }
}

impl Access {
    async fn caller(&self, context: &mut S3AccessContext<'_>) -> S3Result<Caller> {
        let verified = context.extensions_mut().get::<Verified>().and_then(|Verified(access_key)| access_key.clone());
        let access_key = context.credentials().map(|credentials| credentials.access_key.clone()).or(verified);
        let identity = match access_key {
            Some(access_key) => Some(self.identities.find(&access_key).await?),
            None => None,
        };
        let peer = context.extensions_mut().get::<Peer>().copied();
        let findings = context.extensions_mut().get::<Findings>().cloned().unwrap_or_default();
        findings.found(context.s3_op().name(), identity.as_ref().map(|identity| identity.user.uid), context.s3_path());
        let facts = facts(context, peer.ok_or_else(|| S3Error::new(S3ErrorCode::InternalError))?);
        let asked = Arc::new(Asked { buckets: self.buckets.clone(), identity, facts });
        let operation = context.s3_op().name();
        let (name, key) = match (operation, context.s3_path().get_bucket_name()) {
            ("CreateBucket", _) | (_, None) => return Asked::signer(&asked),
            (_, Some(name)) => (name, context.s3_path().get_object_key()),
        };
        let bucket = self.buckets.find(name).await?;
        findings.known().owner = Some(bucket.owner.uid);
        if let Some(expected) = context.headers().get(EXPECTED_OWNER) {
            check_owner(&bucket, &String::from_utf8_lossy(expected.as_bytes()))?;
        }
        if matches!(operation, "DeleteObjects" | "PostObject") {
            // Each key is decided over by itself, once it is read.
            return Asked::signer(&asked).or_else(|_| {
                let user = User { uid: NOBODY, gid: NOBODY, groups: Vec::new() };
                let objects = self.buckets.objects_of(user.clone());
                Ok(Caller { user, objects, sees_absence: false, asked })
            });
        }
        Asked::caller(&asked, &bucket, &actions(operation, extras(context, &asked.facts)), (name, key))
    }
}

fn extras(context: &S3AccessContext<'_>, facts: &Facts) -> Extras {
    let grants = |name: &str| name == "x-amz-acl" || name.starts_with("x-amz-grant-");
    Extras {
        version: facts.query.iter().any(|(name, value)| name == "versionId" && !value.is_empty()),
        tags: context.headers().get("x-amz-tagging").is_some_and(|value| !value.is_empty()),
        acl: context.headers().keys().any(|name| grants(name.as_str())),
    }
}

fn facts(context: &S3AccessContext<'_>, peer: Peer) -> Facts {
    let query = context.uri().query().unwrap_or_default().as_bytes();
    let query = form_urlencoded::parse(query).into_owned().collect();
    let asked_about = |name: &str| name.starts_with("x-amz-") || matches!(name, "referer" | "user-agent");
    let names = context.headers().keys().filter(|name| asked_about(name.as_str()));
    let header = |name: &http::HeaderName| {
        let values = context.headers().get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        (name.as_str().to_owned(), values.collect::<Vec<_>>().join(","))
    };
    Facts { source: Some(peer.address.ip()), secure: peer.tls.is_some(), query, headers: names.map(header).collect() }
}
