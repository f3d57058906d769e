//! What the S3 library leaves out of a form: the field with the tags. The fields before the file are looked at, and go on as
//! they came.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use s3s::{S3Error, S3ErrorCode, S3Result};

/// Of what comes before the file. S3 takes 20 KB of fields.
const MAX_BEGINNING: usize = 64 << 10;

/// The tags of a form: a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FormTags(pub(crate) String);

/// What separates the parts of a form, if the request is one.
pub(crate) fn boundary(method: &Method, headers: &HeaderMap) -> Option<String> {
    let (kind, parameters) = headers.get(CONTENT_TYPE)?.to_str().ok()?.split_once(';')?;
    if *method != Method::POST || !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"').to_owned())
    })
}

/// A body whose beginning was looked at.
pub(crate) struct Begun<B: Body> {
    beginning: Option<Bytes>,
    /// Why no more of it came.
    failed: Option<B::Error>,
    rest: B,
}

/// Reads a form up to its file.
pub(crate) async fn begin<B>(boundary: &str, mut body: B) -> S3Result<(Option<FormTags>, Begun<B>)>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut failed = None;
    let line = format!("--{boundary}");
    let mut read = BytesMut::new();
    let mut found = look(&read, line.as_bytes());
    while !found.whole
        && let Some(frame) = body.frame().await
    {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                failed = Some(error);
                break;
            }
        };
        read.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        found = look(&read, line.as_bytes());
        if !found.whole && read.len() > MAX_BEGINNING {
            return Err(S3Error::new(S3ErrorCode::MaxPostPreDataLengthExceededError));
        }
    }
    let beginning = Some(read.freeze()).filter(|read| !read.is_empty());
    Ok((found.tags, Begun { beginning, failed, rest: body }))
}

struct Found {
    tags: Option<FormTags>,
    /// The file begins: no more fields count.
    whole: bool,
}

fn look(read: &[u8], line: &[u8]) -> Found {
    let mut found = Found { tags: None, whole: false };
    let mut left = position(read, line).map(|at| &read[at + line.len()..]);
    while let Some(part) = left {
        let next = position(part, line);
        let Some(head) = position(part, b"\r\n\r\n") else { break };
        let name = name(&String::from_utf8_lossy(&part[..head]));
        if name.as_deref() == Some("file") {
            found.whole = true;
            break;
        }
        let Some(end) = next else { break };
        if name.as_deref() == Some("tagging") {
            let value = part.get(head + 4..end).unwrap_or_default();
            let value = value.strip_suffix(b"\r\n").unwrap_or(value);
            found.tags = Some(FormTags(String::from_utf8_lossy(value).into_owned()));
        }
        left = Some(&part[end + line.len()..]);
    }
    found
}

/// Of a field, as its headers say it.
fn name(headers: &str) -> Option<String> {
    let headers = headers.to_ascii_lowercase();
    let disposition = headers.lines().find_map(|line| line.strip_prefix("content-disposition:"))?;
    let name = disposition.split(';').find_map(|parameter| parameter.trim().strip_prefix("name="))?;
    Some(name.trim_matches('"').to_owned())
}

fn position(among: &[u8], wanted: &[u8]) -> Option<usize> {
    among.windows(wanted.len()).position(|window| window == wanted)
}

impl<B: Body<Data = Bytes, Error: Unpin> + Unpin> Body for Begun<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(beginning) = self.beginning.take() {
            return Poll::Ready(Some(Ok(Frame::data(beginning))));
        }
        match self.failed.take() {
            Some(error) => Poll::Ready(Some(Err(error))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.beginning.is_none() && self.failed.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let beginning = self.beginning.as_ref().map_or(0, |beginning| beginning.len() as u64);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + beginning);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + beginning);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body_util::StreamBody;

    use super::*;

    fn field(name: &str, value: &str) -> String {
        format!("--line\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    /// The tags of a form that comes in pieces, and whether it went on as it came.
    async fn tags(form: &str, pieces: usize) -> S3Result<Option<String>> {
        let frames: Vec<_> = form.as_bytes().chunks(pieces).map(Bytes::copy_from_slice).collect();
        let frames = frames.into_iter().map(|data| Ok::<_, Infallible>(Frame::data(data)));
        let (tags, body) = begin("line", StreamBody::new(stream::iter(frames))).await?;
        assert_eq!(body.collect().await.expect("never fails").to_bytes(), form.as_bytes());
        Ok(tags.map(|tags| tags.0))
    }

    #[tokio::test]
    async fn the_tags_are_found_before_the_file_and_nothing_is_lost() {
        let file = "--line\r\nContent-Disposition: form-data; name=\"file\"; filename=\"tagging\"\r\n\r\ncontent\r\n";
        let (key, tagging) = (field("key", "name=\"tagging\""), field("Tagging", "<T>\r\n</T>"));
        for pieces in [1, 7, 4096] {
            let form = format!("{key}{tagging}{file}--line--\r\n");
            assert_eq!(tags(&form, pieces).await.expect("short"), Some("<T>\r\n</T>".to_owned()));
            for without in [format!("{key}{file}{tagging}--line--\r\n"), "rubbish".to_owned(), String::new()] {
                assert_eq!(tags(&without, pieces).await.expect("short"), None, "{without}");
            }
        }
        let long = tags(&field("key", &"k".repeat(MAX_BEGINNING)), 4096).await.expect_err("refused");
        assert_eq!(*long.code(), S3ErrorCode::MaxPostPreDataLengthExceededError);
    }

    #[test]
    fn a_form_is_known_by_its_type() {
        let of = |method, kind: &'static str| {
            boundary(&method, &HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static(kind))]))
        };
        let form = "multipart/form-data; charset=utf-8; boundary=\"a b\"";
        assert_eq!(of(Method::POST, form).as_deref(), Some("a b"));
        assert_eq!([of(Method::PUT, form), of(Method::POST, "text/plain; boundary=x")], [None, None]);
    }
}
