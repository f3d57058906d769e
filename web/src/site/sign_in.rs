//! Signing in, with the access key of a user.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::Form;
use axum::extract::{Extension, Query, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use client::User;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tracing::{info, warn};
use types::Code;

use super::Site;
use super::failure::Failure;
use super::page::{Frame, ok, render};
use super::session::{Session, with_cookie};

#[derive(Template)]
#[template(path = "sign-in.html")]
struct Page {
    frame: Frame,
    next: String,
    access_key: String,
    complaint: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(super) struct Submitted {
    access_key: String,
    secret_key: String,
    #[serde(default)]
    next: String,
}

/// Why nobody is signed in.
#[derive(Debug)]
pub(super) enum Refused {
    /// No such key, or another secret: which of them is not told.
    Wrong,
    /// Wait for so many seconds.
    TooOften(u64),
    Failed(Failure),
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::Wrong => StatusCode::UNAUTHORIZED,
            Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Failed(failure) => failure.status,
        }
    }

    fn line(&self) -> String {
        match self {
            Self::Wrong => "there is no such key with this secret".to_owned(),
            Self::TooOften(seconds) => format!("too many attempts; try again in {seconds} s"),
            Self::Failed(failure) => failure.line.clone(),
        }
    }

    pub(super) fn json(self) -> Response {
        let (status, line) = (self.status(), self.line());
        self.with_time(Failure::new(status, line).json())
    }

    fn with_time(&self, mut response: Response) -> Response {
        if let Self::TooOften(seconds) = self {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*seconds));
        }
        response
    }
}

impl Site {
    /// The user behind an access key, if the secret is its (invariant 5).
    pub(super) async fn identify(&self, from: SocketAddr, id: &str, secret: &str) -> Result<User, Refused> {
        if let Err(wait) = self.attempts.begin(from.ip(), id, Instant::now()) {
            return Err(Refused::TooOften(wait.as_secs() + 1));
        }
        let client = self.superuser().await.map_err(|error| Refused::Failed(error.into()))?;
        let found = match client.objects().access_key(id).await {
            Ok(found) => Some(found),
            Err(error) if matches!(error.code(), Code::NotFound | Code::InvalidArgument) => None,
            Err(error) => return Err(Refused::Failed(error.into())),
        };
        let known = found.as_ref().and_then(|key| match self.sealing.open(id, &key.sealed) {
            Ok(known) => Some(known),
            Err(error) => {
                warn!(access_key = id, %error, "a secret cannot be opened");
                None
            }
        });
        // A key that is not there takes the same steps.
        let known = Sha256::digest(known.as_ref().map_or("", |known| known.as_str()));
        let same = bool::from(known.as_slice().ct_eq(Sha256::digest(secret).as_slice()));
        // One of a disabled user is as good as none.
        match found.filter(|key| same && !secret.is_empty() && !key.disabled) {
            Some(key) => {
                self.attempts.forgive(from.ip(), id, Instant::now());
                Ok(key.user)
            }
            None => {
                warn!(%from, access_key = id, "somebody could not sign in");
                Err(Refused::Wrong)
            }
        }
    }

    /// Whether a user may do what root may.
    pub(super) async fn is_superuser(&self, user: &User) -> Result<bool, client::Error> {
        if user.uid == 0 {
            return Ok(true);
        }
        let supergroup = self.superuser().await?.supergroup().await?;
        Ok(supergroup.is_some_and(|group| user.gid == group || user.groups.contains(&group)))
    }
}

/// A place on this site, and no other.
fn inside(next: &str) -> &str {
    let legal = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    if legal { next } else { "/" }
}

pub(super) async fn page(session: Option<Session>, Query(asked): Query<Asked>) -> Response {
    let next = inside(&asked.next).to_owned();
    if session.is_some() {
        return Redirect::to(&next).into_response();
    }
    ok(&Page { frame: Frame::outside("Sign in"), next, access_key: String::new(), complaint: None })
}

pub(super) async fn submit(
    State(site): State<Arc<Site>>,
    Extension(from): Extension<SocketAddr>,
    Form(submitted): Form<Submitted>,
) -> Response {
    let Submitted { access_key, secret_key, next } = submitted;
    let access_key = access_key.trim().to_owned();
    let next = inside(&next).to_owned();
    let signed_in = async {
        let user = site.identify(from, &access_key, secret_key.trim()).await?;
        let superuser = site.is_superuser(&user).await.map_err(|error| Refused::Failed(error.into()))?;
        info!(%from, access_key, uid = user.uid, "signed in");
        site.sessions.begin(user, access_key.clone(), superuser).map_err(|error| {
            Refused::Failed(Failure::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("no source of randomness: {error}"),
            ))
        })
    };
    match signed_in.await {
        Ok(cookie) => with_cookie(Redirect::to(&next).into_response(), cookie),
        Err(refused) => {
            let complaint = Some(refused.line());
            let page = Page { frame: Frame::outside("Sign in"), next, access_key, complaint };
            refused.with_time(render(refused.status(), &page))
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Token {
    form_token: String,
}

pub(super) async fn leave(
    State(site): State<Arc<Site>>,
    session: Session,
    headers: HeaderMap,
    Form(token): Form<Token>,
) -> Response {
    if !session.vouches_for(&token.form_token) {
        return Failure::forged().page(&session);
    }
    with_cookie(Redirect::to("/sign-in").into_response(), site.sessions.end(&headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for (next, there) in [
            ("/files/a?b=c", "/files/a?b=c"),
            ("//evil.example/", "/"),
            ("https://evil.example/", "/"),
            ("/\\evil.example", "/"),
            ("/a\r\nset-cookie: x", "/"),
            ("", "/"),
        ] {
            assert_eq!(inside(next), there);
        }
    }
}
