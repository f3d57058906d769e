//! Putting an object together of its parts.

use client::objects::{Completion, Part, Stored, UploadName};
use md5::{Digest as _, Md5};
use s3s::dto::{ChecksumType, CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, ETag};
use s3s::{S3Error, S3ErrorCode, S3Result};
use types::Code;

use super::put;
use super::upload;
use crate::access::Caller;
use crate::condition;
use crate::digest::raw;
use crate::failure::{self, not_implemented};
use crate::parts::{Begun, ChecksumKind, Kept as _, PartList, PartNotes, whole};
use crate::properties::{Algorithm, Checksum, Properties, given_checksums, set_checksum};

/// Of a part that is not the last.
const MIN_PART: u64 = 5 << 20;
const MAX_PARTS: usize = 10_000;
/// Parts asked for at a time.
const PAGE: u32 = 1000;

/// A part that the client wants in the object.
struct Wanted {
    number: u16,
    etag: String,
    checksum: Option<Checksum>,
}

/// A part that is there, as wanted.
struct Chosen {
    part: Part,
    checksum: Option<Checksum>,
}

pub(crate) async fn complete(
    caller: &Caller,
    input: CompleteMultipartUploadInput,
) -> S3Result<CompleteMultipartUploadOutput> {
    if input.sse_customer_algorithm.is_some() || input.sse_customer_key.is_some() {
        return Err(not_implemented("server-side encryption"));
    }
    let upload = upload::name(&input.bucket, &input.key, &input.upload_id)?;
    let condition = condition::of_change(input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let wanted = wanted(input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_deref()))?;
    let etag = etag(&wanted)?;
    let (said, there) = match there(caller, &upload).await {
        Ok(found) => found,
        // It may be complete already, of the very same parts: the state machine knows.
        Err(error) if error.code() == Code::NoSuchUpload => return again(caller, &input, &upload, etag).await,
        Err(error) => return Err(failure::of(error)),
    };
    let begun = Begun::of_bytes(&said)?;
    let chosen = choose(&wanted, there)?;
    let lengths: Vec<u64> = chosen.iter().map(|chosen| chosen.part.length).collect();
    check_lengths(&lengths, input.mpu_object_size)?;
    let checksum = checksum_of(&begun, &chosen);
    check_given(&input, checksum.as_ref())?;
    let part_list = part_list(&chosen, lengths, begun.kind).to_bytes();
    let properties = Properties { checksum: checksum.clone(), ..begun.properties };
    let completion = Completion {
        parts: chosen.iter().map(|chosen| (chosen.part.number, chosen.part.inode)).collect(),
        etag,
        properties: properties.encode(),
        attributes: put::tags(begun.tags.as_deref())?,
        condition,
        part_list,
    };
    let stored = caller.objects.complete_upload(&upload, completion).await.map_err(failure::of)?;
    Ok(answer(&input, stored, checksum))
}

fn answer(
    input: &CompleteMultipartUploadInput,
    stored: Stored,
    checksum: Option<Checksum>,
) -> CompleteMultipartUploadOutput {
    let mut output = CompleteMultipartUploadOutput {
        bucket: Some(input.bucket.clone()),
        key: Some(input.key.clone()),
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        e_tag: Some(ETag::Strong(stored.etag)),
        ..Default::default()
    };
    if let Some(checksum) = checksum {
        output.checksum_type = Some(checksum_type(&checksum));
        set_checksum!(output, checksum);
    }
    output
}

/// What the checksum of a stored object is of.
pub(crate) fn checksum_type(checksum: &Checksum) -> ChecksumType {
    let kind = if checksum.is_composite() { ChecksumKind::Composite } else { ChecksumKind::FullObject };
    ChecksumType::from_static(kind.name())
}

/// The same request once more, after it was done: the same answer.
async fn again(
    caller: &Caller,
    input: &CompleteMultipartUploadInput,
    upload: &UploadName,
    etag: String,
) -> S3Result<CompleteMultipartUploadOutput> {
    let (parts, properties, attributes, part_list) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let completion = Completion { parts, etag, properties, attributes, condition: None, part_list };
    let stored = caller.objects.complete_upload(upload, completion).await.map_err(failure::of)?;
    let found = caller.objects.head(&input.bucket, &upload.key).await.map_err(failure::of)?;
    let checksum = Properties::decode(&found.properties).checksum;
    Ok(answer(input, stored, checksum.filter(|_| found.as_given)))
}

/// What the client names, checked for what can be told without the upload.
fn wanted(parts: Option<&[CompletedPart]>) -> S3Result<Vec<Wanted>> {
    let malformed = || S3Error::new(S3ErrorCode::MalformedXML);
    let parts = parts.filter(|parts| !parts.is_empty() && parts.len() <= MAX_PARTS).ok_or_else(malformed)?;
    let mut wanted: Vec<Wanted> = Vec::with_capacity(parts.len());
    for part in parts {
        let number = upload::number(part.part_number.ok_or_else(malformed)?)?;
        let etag = part.e_tag.as_ref().ok_or_else(malformed)?.value().to_owned();
        let mut given =
            given_checksums!(part).into_iter().filter_map(|(algorithm, value)| Some((algorithm, value.clone()?)));
        let checksum = given.next().map(|(algorithm, value)| Checksum { algorithm, value });
        if wanted.last().is_some_and(|last| last.number >= number) {
            return Err(S3Error::new(S3ErrorCode::InvalidPartOrder));
        }
        wanted.push(Wanted { number, etag, checksum });
    }
    Ok(wanted)
}

/// The MD5 of the MD5s, and their number.
fn etag(wanted: &[Wanted]) -> S3Result<String> {
    let mut md5 = Md5::new();
    for part in wanted {
        // Parts get nothing else for an etag, so there is no part with another one.
        let raw = hex::decode(&part.etag).ok().filter(|raw| raw.len() == 16);
        md5.update(raw.ok_or_else(|| invalid_part(part.number))?);
    }
    Ok(format!("{}-{}", hex::encode(md5.finalize()), wanted.len()))
}

fn invalid_part(number: u16) -> S3Error {
    let message =
        format!("part {number} could not be found: it was not uploaded, or its entity tag or checksum is another one");
    S3Error::with_message(S3ErrorCode::InvalidPart, message)
}

/// What was said when the upload was begun, and all of its parts.
async fn there(caller: &Caller, upload: &UploadName) -> Result<(Vec<u8>, Vec<Part>), client::Error> {
    let mut all: Vec<Part> = Vec::new();
    loop {
        let after = all.last().map_or(0, |part| part.number);
        let page = caller.objects.parts(upload, after, PAGE).await?;
        all.extend(page.parts);
        if !page.more {
            return Ok((page.upload.properties, all));
        }
    }
}

/// The parts that are wanted, if all are there as the client says.
fn choose(wanted: &[Wanted], there: Vec<Part>) -> S3Result<Vec<Chosen>> {
    let mut there = there.into_iter();
    let mut chosen = Vec::with_capacity(wanted.len());
    for Wanted { number, etag, checksum } in wanted {
        let part = there.by_ref().find(|part| part.number >= *number).filter(|part| part.number == *number);
        let part = part.filter(|part| part.etag == *etag).ok_or_else(|| invalid_part(*number))?;
        let known = PartNotes::of_bytes(&part.properties)?.checksum;
        if checksum.as_ref().is_some_and(|checksum| Some(checksum) != known.as_ref()) {
            return Err(invalid_part(*number));
        }
        chosen.push(Chosen { part, checksum: known });
    }
    Ok(chosen)
}

fn check_lengths(lengths: &[u64], said: Option<i64>) -> S3Result<()> {
    let all_but_last = lengths.split_last().map_or(&[][..], |(_, others)| others);
    if all_but_last.iter().any(|length| *length < MIN_PART) {
        return Err(S3Error::new(S3ErrorCode::EntityTooSmall));
    }
    let total: u64 = lengths.iter().sum();
    if said.is_some_and(|said| u64::try_from(said) != Ok(total)) {
        let message = format!("the parts have {total} bytes, and x-amz-mp-object-size says another number");
        return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message));
    }
    Ok(())
}

/// The checksum of the object: of the kind that was asked for at the beginning, else what the parts came with.
fn checksum_of(begun: &Begun, chosen: &[Chosen]) -> Option<Checksum> {
    let sums: Option<Vec<_>> =
        chosen.iter().map(|chosen| Some((chosen.checksum.clone()?, chosen.part.length))).collect();
    let sums = sums?;
    let algorithm = begun.algorithm.or_else(|| sums.first().map(|(checksum, _)| checksum.algorithm))?;
    let unsaid = match algorithm {
        Algorithm::Crc32 | Algorithm::Crc32c | Algorithm::Crc64Nvme => ChecksumKind::FullObject,
        Algorithm::Sha1 | Algorithm::Sha256 => ChecksumKind::Composite,
    };
    whole(begun.kind.unwrap_or(unsaid), algorithm, &sums)
}

/// Refuses an object that is not the one that was meant.
fn check_given(input: &CompleteMultipartUploadInput, computed: Option<&Checksum>) -> S3Result<()> {
    let kind = input.checksum_type.as_ref();
    if let (Some(kind), Some(computed)) = (kind, computed)
        && *kind != checksum_type(computed)
    {
        let message = "the checksum type is another one than that of the upload";
        return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message));
    }
    for (algorithm, value) in given_checksums!(input) {
        let Some(value) = value else { continue };
        // The number of parts may be left out.
        let matches = computed.is_some_and(|computed| {
            let bare = computed.value.split('-').next().unwrap_or_default();
            computed.algorithm == algorithm && (*value == computed.value || value == bare)
        });
        if !matches {
            let message = format!("the object does not match its {} checksum", algorithm.name());
            return Err(S3Error::with_message(S3ErrorCode::BadDigest, message));
        }
    }
    Ok(())
}

/// What is kept of the parts. The checksums of parts are told only where that of the object is made of them.
fn part_list(chosen: &[Chosen], lengths: Vec<u64>, kind: Option<ChecksumKind>) -> PartList {
    let checksums: Option<Vec<&Checksum>> = chosen.iter().map(|chosen| chosen.checksum.as_ref()).collect();
    let checksums = checksums.filter(|_| kind == Some(ChecksumKind::Composite)).unwrap_or_default();
    let algorithm = checksums.first().map(|checksum| checksum.algorithm);
    let sums = checksums.into_iter().filter_map(raw).flatten().collect();
    PartList { lengths, algorithm, sums }
}

#[cfg(test)]
mod tests {
    use types::{InodeId, Timestamp};

    use super::*;
    use crate::digest;

    fn named(number: i32, etag: &str) -> CompletedPart {
        let e_tag = Some(ETag::Strong(etag.to_owned()));
        CompletedPart { part_number: Some(number), e_tag, ..Default::default() }
    }

    fn part(number: u16, etag: &str, length: u64) -> Part {
        let checksum = Checksum { algorithm: Algorithm::Crc32, value: digest::text(&[0, 0, 0, 1]) };
        Part {
            number,
            inode: InodeId::new(u64::from(number) + 40),
            length,
            modified: Timestamp::EPOCH,
            etag: etag.to_owned(),
            properties: PartNotes { checksum: Some(checksum) }.to_bytes(),
        }
    }

    const A: &str = "0cc175b9c0f1b6a831c399e269772661";
    const B: &str = "92eb5ffee6ae2fec3ad71c777531578f";

    fn code<T>(refused: S3Result<T>) -> S3ErrorCode {
        refused.err().expect("must be refused").code().clone()
    }

    #[test]
    fn what_is_named_must_be_in_order_and_there() {
        assert_eq!(code(wanted(None)), S3ErrorCode::MalformedXML);
        assert_eq!(code(wanted(Some(&[]))), S3ErrorCode::MalformedXML);
        assert_eq!(code(wanted(Some(&[CompletedPart::default()]))), S3ErrorCode::MalformedXML);
        assert_eq!(code(wanted(Some(&[named(2, A), named(1, B)]))), S3ErrorCode::InvalidPartOrder);
        assert_eq!(code(wanted(Some(&[named(1, A), named(1, A)]))), S3ErrorCode::InvalidPartOrder);
        assert_eq!(code(wanted(Some(&[named(0, A)]))), S3ErrorCode::InvalidArgument);
        let there = || vec![part(1, A, 5), part(2, B, 6), part(4, A, 7)];
        let chosen = |parts: &[CompletedPart]| choose(&wanted(Some(parts))?, there());
        let found = chosen(&[named(1, A), named(4, A)]).expect("there");
        let numbers: Vec<u16> = found.iter().map(|one| one.part.number).collect();
        assert_eq!(numbers, vec![1, 4]);
        assert_eq!(code(chosen(&[named(1, B)])), S3ErrorCode::InvalidPart);
        assert_eq!(code(chosen(&[named(3, A)])), S3ErrorCode::InvalidPart);
        assert_eq!(code(chosen(&[named(1, A), named(9, A)])), S3ErrorCode::InvalidPart);
        let other_sum = CompletedPart { checksum_crc32: Some("AAAAAA==".to_owned()), ..named(1, A) };
        assert_eq!(code(chosen(&[other_sum])), S3ErrorCode::InvalidPart);
        let right_sum = CompletedPart { checksum_crc32: Some("AAAAAQ==".to_owned()), ..named(1, A) };
        assert!(chosen(&[right_sum]).is_ok());
    }

    /// The value is that of `md5(unhex(A) + unhex(B))`.
    #[test]
    fn the_etag_is_the_digest_of_the_digests_and_their_number() {
        let parts = wanted(Some(&[named(1, A), named(2, B)])).expect("legal");
        let both = [hex::decode(A).expect("hex"), hex::decode(B).expect("hex")].concat();
        assert_eq!(etag(&parts).expect("legal"), format!("{}-2", hex::encode(Md5::digest(&both))));
        let rubbish = wanted(Some(&[named(1, "rubbish")])).expect("legal so far");
        assert_eq!(code(etag(&rubbish)), S3ErrorCode::InvalidPart);
    }

    #[test]
    fn only_the_last_part_may_be_short_and_the_length_must_be_the_one_said() {
        assert!(check_lengths(&[MIN_PART, 1], None).is_ok() && check_lengths(&[0], Some(0)).is_ok());
        assert_eq!(code(check_lengths(&[MIN_PART - 1, MIN_PART], None)), S3ErrorCode::EntityTooSmall);
        assert!(check_lengths(&[MIN_PART, 3], Some((5 << 20) + 3)).is_ok());
        assert_eq!(code(check_lengths(&[3], Some(4))), S3ErrorCode::InvalidRequest);
        assert_eq!(code(check_lengths(&[3], Some(-3))), S3ErrorCode::InvalidRequest);
    }
}
