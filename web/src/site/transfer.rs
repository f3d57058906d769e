//! Files down and up.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Redirect, Response};
use client::{Client, CreateOptions, FileReader, FileWriter};
use futures::stream;
use types::Path;

use super::Site;
use super::failure::Failure;
use super::files::{Target, child, parse};
use super::path::{encode, encode_query};
use super::session::Session;

/// Bytes of a field that is no file.
const FIELD: usize = 16 << 10;

pub(super) async fn download(State(site): State<Arc<Site>>, session: Session, uri: Uri) -> Response {
    let opened = async {
        let Target { path, .. } = Target::of(&uri, "/download/")?;
        let reader = site.client_of(&session).await?.open(&path).await?;
        Ok::<_, Failure>((path, reader))
    };
    match opened.await {
        Ok((path, reader)) => sent(&path, reader),
        Err(failure) => failure.page(&session),
    }
}

/// A file as an attachment: whatever is in it, the browser shows none of it as a page of this site.
fn sent(path: &Path, reader: FileReader) -> Response {
    let length = reader.attributes().length.get();
    let name = path.last().map_or(&b"file"[..], |name| name.as_bytes());
    let disposition = format!("attachment; filename=\"download\"; filename*=UTF-8''{}", encode_query(name));
    let chunks = stream::try_unfold(reader, |mut reader| async move {
        // An error here cuts the body short of its length, which the browser tells.
        reader.next_chunk().await.map(|chunk| chunk.map(|chunk| (chunk, reader)))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    let disposition = HeaderValue::from_str(&disposition).expect("percent-encoded text is legal in a header");
    headers.insert(CONTENT_DISPOSITION, disposition);
    response
}

fn cut(error: &MultipartError) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, format!("the upload cannot be read: {error}"))
}

/// Takes a form with the fields `form_token`, `directory`, maybe `overwrite`, and then files.
pub(super) async fn upload(State(site): State<Arc<Site>>, session: Session, form: Multipart) -> Response {
    match take(&site, &session, form).await {
        Ok(directory) => Redirect::to(&format!("/files/{}", encode(&directory))).into_response(),
        Err(failure) => failure.page(&session),
    }
}

async fn take(site: &Site, session: &Session, mut form: Multipart) -> Result<Path, Failure> {
    let (mut vouched, mut directory, mut overwrite, mut stored) = (false, None, false, 0);
    while let Some(field) = form.next_field().await.map_err(|error| cut(&error))? {
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "form_token" => vouched = session.vouches_for(&text(field).await?),
            "directory" => directory = Some(parse(&text(field).await?)?),
            "overwrite" => overwrite = text(field).await? == "yes",
            "file" => {
                // Invariant 3, before a byte is stored.
                let directory = directory.as_ref().filter(|_| vouched).ok_or_else(Failure::forged)?;
                let name = field.file_name().unwrap_or_default().to_owned();
                // Some browsers send a path.
                let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
                if name.is_empty() {
                    return Err(Failure::new(StatusCode::BAD_REQUEST, "no file was chosen"));
                }
                let path = child(directory, name.as_bytes())?;
                store(&site.client_of(session).await?, &path, overwrite, field).await?;
                stored += 1;
            }
            other => {
                return Err(Failure::new(StatusCode::BAD_REQUEST, format!("the form has an unknown field {other:?}")));
            }
        }
    }
    match directory.filter(|_| stored > 0) {
        Some(directory) => Ok(directory),
        None => Err(Failure::new(StatusCode::BAD_REQUEST, "no file was chosen")),
    }
}

async fn text(mut field: Field<'_>) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| cut(&error))? {
        if bytes.len() + chunk.len() > FIELD {
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "a field of the form is too long"));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| Failure::new(StatusCode::BAD_REQUEST, "a field of the form is no text"))
}

/// Nobody sees half of a file: it has its name when it is whole, and none when the browser goes away.
async fn store(client: &Client, path: &Path, overwrite: bool, field: Field<'_>) -> Result<(), Failure> {
    let options = CreateOptions { overwrite, atomic: true, ..CreateOptions::default() };
    let mut writer = client.create(path, options).await?;
    match fill(&mut writer, field).await {
        Ok(()) => {
            writer.close().await?;
            Ok(())
        }
        Err(failure) => {
            if let Err(error) = writer.abort().await {
                tracing::debug!(%error, "an upload that was cut short is given up later");
            }
            Err(failure)
        }
    }
}

async fn fill(writer: &mut FileWriter, mut field: Field<'_>) -> Result<(), Failure> {
    while let Some(chunk) = field.chunk().await.map_err(|error| cut(&error))? {
        writer.write(chunk).await?;
    }
    Ok(())
}
