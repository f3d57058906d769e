//! Who asks: access keys, their secrets and their users, as the replicated state has them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use client::objects::Objects;
use client::{Client, User};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result};
use types::Code;

use crate::failure;
use access_keys::SealingKey;

/// A key that was taken away opens nothing after this.
const REMEMBERED: Duration = Duration::from_secs(5);
/// The same of a key that follows a user, who may be disabled or change at any time.
const FOLLOWED: Duration = Duration::from_millis(500);
/// Keys remembered at a time.
const MANY: usize = 10_000;

/// An access key, as it was looked up.
struct Known {
    secret: SecretKey,
    identity: Identity,
    until: Instant,
}

/// The user behind an access key.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) user: User,
    /// On the user's behalf.
    pub(crate) objects: Objects,
}

/// Looks access keys up. Clones share what they remember.
#[derive(Clone)]
pub(crate) struct Identities(Arc<Shared>);

struct Shared {
    /// Speaks as uid 0.
    client: Client,
    sealing: SealingKey,
    known: Mutex<HashMap<String, Known>>,
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").finish_non_exhaustive()
    }
}

impl Identities {
    pub(crate) fn new(client: Client, sealing: SealingKey) -> Self {
        Self(Arc::new(Shared { client, sealing, known: Mutex::default() }))
    }

    /// The user of an access key.
    pub(crate) async fn find(&self, access_key: &str) -> S3Result<Identity> {
        self.look_up(access_key).await.map(|(_, identity)| identity)
    }

    async fn look_up(&self, id: &str) -> S3Result<(SecretKey, Identity)> {
        if let Some(found) = self.remembered(id) {
            return Ok(found);
        }
        let key = self.0.client.objects().access_key(id).await.map_err(|error| match error.code() {
            Code::NotFound | Code::InvalidArgument => S3Error::new(S3ErrorCode::InvalidAccessKeyId),
            _ => failure::of(error),
        })?;
        // As for a key that is not there: what S3 answers for an inactive one.
        if key.disabled {
            return Err(S3Error::new(S3ErrorCode::InvalidAccessKeyId));
        }
        let remembered_for = if key.name.is_some() { FOLLOWED } else { REMEMBERED };
        let secret = self.0.sealing.open(id, &key.sealed).map_err(|error| {
            tracing::error!(access_key = id, %error, "a secret cannot be opened");
            S3Error::new(S3ErrorCode::InternalError)
        })?;
        let secret = SecretKey::from(secret.as_str());
        let objects = self.0.client.as_user(key.user.clone()).objects();
        let identity = Identity { user: key.user, objects };
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MANY {
            known.clear();
        }
        let remembered =
            Known { secret: secret.clone(), identity: identity.clone(), until: Instant::now() + remembered_for };
        known.insert(id.to_owned(), remembered);
        Ok((secret, identity))
    }

    fn remembered(&self, id: &str) -> Option<(SecretKey, Identity)> {
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(id).filter(|known| Instant::now() < known.until)?;
        Some((found.secret.clone(), found.identity.clone()))
    }
}

#[async_trait::async_trait]
impl S3Auth for Identities {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.look_up(access_key).await.map(|(secret, _)| secret)
    }
}
