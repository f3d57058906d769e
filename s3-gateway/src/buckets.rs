//! What a gateway knows of buckets: their owners, and what is kept with them. Looked up for each request, remembered for
//! a moment.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use client::objects::{BucketSetting, Objects};
use client::{Client, User};
use s3s::S3Result;

use crate::cors::Rules;
use crate::failure;
use crate::policy::{Policy, Record};
use crate::public_access::PublicAccessBlock;

/// A policy that another gateway has changed holds here after this. One that is changed here holds at once.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Buckets remembered at a time.
const MANY: usize = 10_000;

/// A bucket as it was looked up.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) owner: User,
    /// On the owner's behalf.
    pub(crate) objects: Objects,
    pub(crate) policy: BucketPolicy,
    pub(crate) block: Option<PublicAccessBlock>,
    pub(crate) cors: Option<Rules>,
}

#[derive(Debug)]
pub(crate) enum BucketPolicy {
    Absent,
    Known {
        record: Record,
        policy: Policy,
    },
    /// Of a later version, say. It may forbid anything, and so forbids everything.
    Unreadable,
}

impl Bucket {
    /// Whether a public policy gives nobody but the owner a right.
    pub(crate) fn is_restricted(&self) -> bool {
        let restricts = self.block.is_some_and(|block| block.restrict_public_buckets);
        restricts && matches!(&self.policy, BucketPolicy::Known { policy, .. } if policy.is_public())
    }
}

/// Looks buckets up. Clones share what they remember.
#[derive(Clone)]
pub(crate) struct Buckets(Arc<Shared>);

struct Shared {
    /// Speaks as uid 0.
    client: Client,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    buckets: HashMap<String, (Instant, Arc<Bucket>)>,
    /// What was looked up before the latest change is not remembered.
    changes: u64,
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets").finish_non_exhaustive()
    }
}

impl Buckets {
    pub(crate) fn new(client: Client) -> Self {
        Self(Arc::new(Shared { client, known: Mutex::default() }))
    }

    /// What is done on behalf of a user.
    pub(crate) fn objects_of(&self, user: User) -> Objects {
        self.0.client.as_user(user).objects()
    }

    /// A bucket as it was a moment ago at the earliest.
    pub(crate) async fn find(&self, name: &str) -> S3Result<Arc<Bucket>> {
        let remembered = self.known().buckets.get(name).filter(|(since, _)| since.elapsed() < REMEMBERED).cloned();
        match remembered {
            Some((_, bucket)) => Ok(bucket),
            None => self.look_up(name).await,
        }
    }

    /// A bucket as it is now.
    pub(crate) async fn look_up(&self, name: &str) -> S3Result<Arc<Bucket>> {
        let (since, changes) = (Instant::now(), self.known().changes);
        let found = self.0.client.objects().bucket(name).await.map_err(failure::of)?;
        let owner = User { uid: found.attributes.uid, gid: found.attributes.gid, groups: Vec::new() };
        let mut bucket = Bucket {
            objects: self.objects_of(owner.clone()),
            owner,
            policy: BucketPolicy::Absent,
            block: None,
            cors: None,
        };
        for (setting, value) in found.settings {
            bucket.take(name, setting, &value);
        }
        let bucket = Arc::new(bucket);
        let mut known = self.known();
        if known.changes == changes {
            if known.buckets.len() >= MANY {
                known.buckets.clear();
            }
            known.buckets.insert(name.to_owned(), (since, Arc::clone(&bucket)));
        }
        Ok(bucket)
    }

    /// After each change of a bucket through this gateway.
    pub(crate) fn forget(&self, name: &str) {
        let mut known = self.known();
        known.changes += 1;
        known.buckets.remove(name);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    fn take(&mut self, name: &str, setting: BucketSetting, value: &[u8]) {
        let unreadable = |what: &'static str| {
            tracing::error!(bucket = name, setting = what, "what is kept with a bucket does not read");
        };
        match setting {
            BucketSetting::Policy => {
                let read = Record::decode(value).and_then(|record| {
                    let policy = record.policy(name).ok()?;
                    Some(BucketPolicy::Known { record, policy })
                });
                self.policy = read.unwrap_or_else(|| {
                    unreadable("policy");
                    BucketPolicy::Unreadable
                });
            }
            BucketSetting::PublicAccessBlock => {
                let read = PublicAccessBlock::decode(value);
                self.block = read.or_else(|| {
                    unreadable("public access block");
                    Some(PublicAccessBlock::ALL)
                });
            }
            BucketSetting::Cors => {
                self.cors = Rules::decode(value);
                if self.cors.is_none() {
                    unreadable("CORS rules");
                }
            }
        }
    }
}
