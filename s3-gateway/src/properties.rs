//! What is kept with an object, between the requests of S3 and the form that all doors share.

pub(crate) use client::objects::{Algorithm, Checksum, Properties};

/// Inputs and outputs have a field for each algorithm, and no type in common.
macro_rules! set_checksum {
    ($output:expr, $checksum:expr) => {{
        let client::objects::Checksum { algorithm, value } = $checksum;
        let value = Some(value);
        match algorithm {
            client::objects::Algorithm::Crc32 => $output.checksum_crc32 = value,
            client::objects::Algorithm::Crc32c => $output.checksum_crc32c = value,
            client::objects::Algorithm::Crc64Nvme => $output.checksum_crc64nvme = value,
            client::objects::Algorithm::Sha1 => $output.checksum_sha1 = value,
            client::objects::Algorithm::Sha256 => $output.checksum_sha256 = value,
        }
    }};
}
pub(crate) use set_checksum;

/// What was given of each algorithm.
macro_rules! given_checksums {
    ($input:expr) => {
        [
            (client::objects::Algorithm::Crc32, &$input.checksum_crc32),
            (client::objects::Algorithm::Crc32c, &$input.checksum_crc32c),
            (client::objects::Algorithm::Crc64Nvme, &$input.checksum_crc64nvme),
            (client::objects::Algorithm::Sha1, &$input.checksum_sha1),
            (client::objects::Algorithm::Sha256, &$input.checksum_sha256),
        ]
    };
}
pub(crate) use given_checksums;
