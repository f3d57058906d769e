//! What may be asked for where an object is stored, and is not there (invariant 5); and what is kept of the rest.

use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::failure::not_implemented;

/// What the request asks for besides storing an object.
pub(crate) struct Unsupported<'a> {
    pub(crate) encrypted: bool,
    pub(crate) locked: bool,
    pub(crate) redirected: bool,
    pub(crate) granted: bool,
    pub(crate) acl: Option<&'a str>,
    pub(crate) class: Option<&'a str>,
}

impl Unsupported<'_> {
    pub(crate) fn refuse(&self) -> S3Result<()> {
        for (asked, what) in [
            (self.encrypted, "server-side encryption"),
            (self.locked, "object lock"),
            (self.redirected, "website redirection"),
        ] {
            if asked {
                return Err(not_implemented(what));
            }
        }
        check_acl(self.acl, self.granted)?;
        if self.class.is_some_and(|class| class != "STANDARD") {
            return Err(S3Error::new(S3ErrorCode::InvalidStorageClass));
        }
        Ok(())
    }
}

/// As a bucket whose owner's rights are enforced: only lists that say what holds anyway are taken.
pub(crate) fn check_acl(canned: Option<&str>, granted: bool) -> S3Result<()> {
    match canned {
        None | Some("private" | "bucket-owner-full-control") if !granted => Ok(()),
        None | Some(_) => Err(S3Error::with_message(
            S3ErrorCode::AccessControlListNotSupported,
            "access control lists are not supported; modes and policies decide",
        )),
    }
}

/// The inputs have these fields, and no type in common.
macro_rules! unsupported {
    ($input:expr) => {
        $crate::operations::unsupported::Unsupported {
            encrypted: $input.server_side_encryption.is_some()
                || $input.sse_customer_algorithm.is_some()
                || $input.sse_customer_key.is_some()
                || $input.ssekms_key_id.is_some(),
            locked: $input.object_lock_mode.is_some()
                || $input.object_lock_legal_hold_status.is_some()
                || $input.object_lock_retain_until_date.is_some(),
            redirected: $input.website_redirect_location.is_some(),
            granted: $input.grant_full_control.is_some()
                || $input.grant_read.is_some()
                || $input.grant_read_acp.is_some()
                || $input.grant_write_acp.is_some(),
            acl: $input.acl.as_ref().map(|acl| acl.as_str()),
            class: $input.storage_class.as_ref().map(|class| class.as_str()),
        }
    };
}
pub(crate) use unsupported;

/// What a request says of the object, to be kept with it.
macro_rules! properties_of {
    ($input:expr) => {
        $crate::properties::Properties {
            content_type: $input.content_type.clone(),
            cache_control: $input.cache_control.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_encoding: $input.content_encoding.as_deref().and_then($crate::operations::put::without_framing),
            content_language: $input.content_language.clone(),
            expires: $input.expires.clone(),
            metadata: $crate::operations::put::metadata($input.metadata.as_ref()),
            checksum: None,
        }
    };
}
pub(crate) use properties_of;

/// Whether a request on the rights of a bucket or an object grants something by headers.
macro_rules! grants {
    ($input:expr) => {
        $input.grant_full_control.is_some()
            || $input.grant_read.is_some()
            || $input.grant_read_acp.is_some()
            || $input.grant_write.is_some()
            || $input.grant_write_acp.is_some()
    };
}
pub(crate) use grants;
