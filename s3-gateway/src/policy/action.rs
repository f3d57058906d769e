//! The names that policies have for what is done.

/// What a policy may name. Some are of operations that are not served, which a policy may well speak of.
const KNOWN: &[&str] = &[
    "AbortMultipartUpload",
    "BypassGovernanceRetention",
    "CreateBucket",
    "DeleteBucket",
    "DeleteBucketPolicy",
    "DeleteBucketWebsite",
    "DeleteObject",
    "DeleteObjectTagging",
    "DeleteObjectVersion",
    "DeleteObjectVersionTagging",
    "GetAccelerateConfiguration",
    "GetAnalyticsConfiguration",
    "GetBucketAcl",
    "GetBucketCORS",
    "GetBucketLocation",
    "GetBucketLogging",
    "GetBucketNotification",
    "GetBucketObjectLockConfiguration",
    "GetBucketOwnershipControls",
    "GetBucketPolicy",
    "GetBucketPolicyStatus",
    "GetBucketPublicAccessBlock",
    "GetBucketRequestPayment",
    "GetBucketTagging",
    "GetBucketVersioning",
    "GetBucketWebsite",
    "GetEncryptionConfiguration",
    "GetInventoryConfiguration",
    "GetLifecycleConfiguration",
    "GetMetricsConfiguration",
    "GetObject",
    "GetObjectAcl",
    "GetObjectAttributes",
    "GetObjectLegalHold",
    "GetObjectRetention",
    "GetObjectTagging",
    "GetObjectTorrent",
    "GetObjectVersion",
    "GetObjectVersionAcl",
    "GetObjectVersionAttributes",
    "GetObjectVersionTagging",
    "GetReplicationConfiguration",
    "ListBucket",
    "ListBucketMultipartUploads",
    "ListBucketVersions",
    "ListMultipartUploadParts",
    "PutAccelerateConfiguration",
    "PutAnalyticsConfiguration",
    "PutBucketAcl",
    "PutBucketCORS",
    "PutBucketLogging",
    "PutBucketNotification",
    "PutBucketObjectLockConfiguration",
    "PutBucketOwnershipControls",
    "PutBucketPolicy",
    "PutBucketPublicAccessBlock",
    "PutBucketRequestPayment",
    "PutBucketTagging",
    "PutBucketVersioning",
    "PutBucketWebsite",
    "PutEncryptionConfiguration",
    "PutInventoryConfiguration",
    "PutLifecycleConfiguration",
    "PutMetricsConfiguration",
    "PutObject",
    "PutObjectAcl",
    "PutObjectLegalHold",
    "PutObjectRetention",
    "PutObjectTagging",
    "PutObjectVersionAcl",
    "PutObjectVersionTagging",
    "PutReplicationConfiguration",
    "RestoreObject",
];

/// Whether a policy may name this, which has no wildcard, behind `s3:`. Case does not matter.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// How a request is made, as far as it takes further rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extras {
    /// It names a version.
    pub(crate) version: bool,
    /// It brings tags along.
    pub(crate) tags: bool,
    /// It brings an access control list along.
    pub(crate) acl: bool,
}

/// The rights that an operation takes, all of them. Operations that are named like their action come last.
pub(crate) fn actions(operation: &str, extras: Extras) -> Vec<String> {
    let mut named: Vec<&str> = match operation {
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => vec!["ListBucket"],
        "ListObjectVersions" => vec!["ListBucketVersions"],
        "ListMultipartUploads" => vec!["ListBucketMultipartUploads"],
        "ListParts" => vec!["ListMultipartUploadParts"],
        "GetObject" | "HeadObject" if extras.version => vec!["GetObject", "GetObjectVersion"],
        "GetObject" | "HeadObject" | "SelectObjectContent" => vec!["GetObject"],
        "GetObjectAttributes" => vec!["GetObject", "GetObjectAttributes"],
        "GetObjectTagging" if extras.version => vec!["GetObjectTagging", "GetObjectVersionTagging"],
        "PutObjectTagging" if extras.version => vec!["PutObjectTagging", "PutObjectVersionTagging"],
        "DeleteObjectTagging" if extras.version => vec!["DeleteObjectTagging", "DeleteObjectVersionTagging"],
        "DeleteObject" if extras.version => vec!["DeleteObject", "DeleteObjectVersion"],
        "PutObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "RenameObject" => vec!["PutObject"],
        "DeleteBucketCors" | "PutBucketCors" => vec!["PutBucketCORS"],
        "GetBucketCors" => vec!["GetBucketCORS"],
        "DeletePublicAccessBlock" | "PutPublicAccessBlock" => vec!["PutBucketPublicAccessBlock"],
        "GetPublicAccessBlock" => vec!["GetBucketPublicAccessBlock"],
        "DeleteBucketTagging" => vec!["PutBucketTagging"],
        "DeleteBucketOwnershipControls" => vec!["PutBucketOwnershipControls"],
        "DeleteBucketLifecycle" | "PutBucketLifecycleConfiguration" => vec!["PutLifecycleConfiguration"],
        "GetBucketLifecycleConfiguration" => vec!["GetLifecycleConfiguration"],
        "DeleteBucketEncryption" | "PutBucketEncryption" => vec!["PutEncryptionConfiguration"],
        "GetBucketEncryption" => vec!["GetEncryptionConfiguration"],
        "DeleteBucketReplication" | "PutBucketReplication" => vec!["PutReplicationConfiguration"],
        "GetBucketReplication" => vec!["GetReplicationConfiguration"],
        "GetBucketAccelerateConfiguration" => vec!["GetAccelerateConfiguration"],
        "GetObjectLockConfiguration" => vec!["GetBucketObjectLockConfiguration"],
        "PutObjectLockConfiguration" => vec!["PutBucketObjectLockConfiguration"],
        "GetBucketNotificationConfiguration" => vec!["GetBucketNotification"],
        "PutBucketNotificationConfiguration" => vec!["PutBucketNotification"],
        other => vec![other],
    };
    if extras.tags && named.contains(&"PutObject") {
        named.push("PutObjectTagging");
    }
    if extras.acl && named.contains(&"PutObject") {
        named.push("PutObjectAcl");
    }
    named.into_iter().map(|name| format!("s3:{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_takes_the_rights_that_s3_names() {
        let none = Extras::default();
        for (operation, extras, expected) in [
            ("ListObjectsV2", none, &["s3:ListBucket"][..]),
            ("HeadObject", none, &["s3:GetObject"]),
            ("GetObject", Extras { version: true, ..none }, &["s3:GetObject", "s3:GetObjectVersion"]),
            ("PutObject", Extras { tags: true, ..none }, &["s3:PutObject", "s3:PutObjectTagging"]),
            ("CompleteMultipartUpload", none, &["s3:PutObject"]),
            ("DeleteBucketCors", none, &["s3:PutBucketCORS"]),
            ("GetBucketLocation", none, &["s3:GetBucketLocation"]),
        ] {
            assert_eq!(actions(operation, extras), expected, "{operation}");
        }
        assert!(is_known("getobject") && !is_known("GetObjct"));
    }
}
