//! Who is signed in. Sessions live in this process: whoever goes to another namenode signs in there.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::{IntoResponse as _, Redirect, Response};
use client::User;
use subtle::ConstantTimeEq as _;

use super::Site;
use super::path::encode_query;

const COOKIE_NAME: &str = "ashlar_session";
/// Sessions at a time; the one that was silent for longest goes first.
const MANY: usize = 1000;
/// Bytes of a token.
const TOKEN: usize = 32;

/// One browser of a user.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) user: User,
    pub(crate) access_key: String,
    /// To be found in every request that changes something.
    pub(crate) form_token: String,
    /// Whether it may do what root may.
    pub(crate) superuser: bool,
    used: Instant,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("user", &self.user)
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Of one request that carries its key: nothing is changed by it.
    pub(super) fn of_request(user: User, access_key: String, superuser: bool) -> Self {
        Self { user, access_key, form_token: String::new(), superuser, used: Instant::now() }
    }

    /// Invariant 3 of the site.
    pub(crate) fn vouches_for(&self, form_token: &str) -> bool {
        !self.form_token.is_empty() && bool::from(self.form_token.as_bytes().ct_eq(form_token.as_bytes()))
    }
}

pub(super) struct Sessions {
    timeout: Duration,
    open: Mutex<HashMap<String, Session>>,
}

impl Sessions {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session: its cookie.
    pub(super) fn begin(
        &self,
        user: User,
        access_key: String,
        superuser: bool,
    ) -> Result<HeaderValue, getrandom::Error> {
        let (token, form_token) = (draw()?, draw()?);
        let now = Instant::now();
        let mut open = self.open();
        open.retain(|_, session| now - session.used < self.timeout);
        if open.len() >= MANY
            && let Some(oldest) = open.iter().min_by_key(|(_, session)| session.used).map(|(token, _)| token.clone())
        {
            open.remove(&oldest);
        }
        open.insert(token.clone(), Session { user, access_key, form_token, superuser, used: now });
        Ok(cookie(&token, "Strict; HttpOnly"))
    }

    /// The session of a request. It lives on from now.
    pub(super) fn find(&self, headers: &HeaderMap) -> Option<Session> {
        let token = token(headers)?;
        let mut open = self.open();
        // Tokens are drawn from 256 bits: how long the map takes says nothing of use.
        let session = open.get_mut(&token).filter(|session| session.used.elapsed() < self.timeout)?;
        session.used = Instant::now();
        Some(session.clone())
    }

    /// Ends the session of a request: a cookie that takes its place.
    pub(super) fn end(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(token) = token(headers) {
            self.open().remove(&token);
        }
        cookie("", "Strict; HttpOnly; Max-Age=0")
    }
}

fn cookie(token: &str, rest: &str) -> HeaderValue {
    let text = format!("{COOKIE_NAME}={token}; Path=/; SameSite={rest}");
    HeaderValue::from_str(&text).expect("hexadecimal digits are legal in a header")
}

fn token(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, token) = pairs.find(|(name, _)| *name == COOKIE_NAME)?;
    (token.len() == 2 * TOKEN).then(|| token.to_owned())
}

fn draw() -> Result<String, getrandom::Error> {
    let mut bytes = [0; TOKEN];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

/// Whoever has no session is sent to sign in, and back.
impl FromRequestParts<Arc<Site>> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Response> {
        site.sessions.find(&parts.headers).ok_or_else(|| sign_in_first(&parts.uri).into_response())
    }
}

impl OptionalFromRequestParts<Arc<Site>> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Option<Self>, Response> {
        Ok(site.sessions.find(&parts.headers))
    }
}

fn sign_in_first(uri: &Uri) -> Redirect {
    match uri.path_and_query().map(|path| path.as_str()) {
        None | Some("/") => Redirect::to("/sign-in"),
        Some(path) => Redirect::to(&format!("/sign-in?next={}", encode_query(path.as_bytes()))),
    }
}

/// Sets the cookie on an answer.
pub(super) fn with_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().append(SET_COOKIE, cookie);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User { uid: 7, gid: 7, groups: Vec::new() }
    }

    fn headers(cookie: &HeaderValue) -> HeaderMap {
        let pair = cookie.to_str().expect("text").split(';').next().expect("a pair").to_owned();
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, format!("other=1; {pair}").parse().expect("legal"));
        headers
    }

    #[test]
    fn a_session_is_found_by_its_cookie_until_it_ends() {
        let sessions = Sessions::new(Duration::from_secs(60));
        let cookie = sessions.begin(user(), "K".to_owned(), false).expect("drawn");
        let text = cookie.to_str().expect("text");
        assert!(text.contains("HttpOnly") && text.contains("SameSite=Strict") && text.contains("Path=/"), "{text}");
        let headers = headers(&cookie);
        let session = sessions.find(&headers).expect("signed in");
        assert_eq!((session.user.uid, session.access_key.as_str()), (7, "K"));
        assert!(session.vouches_for(&session.form_token) && !session.vouches_for("") && !session.vouches_for("x"));
        assert!(!format!("{session:?}").contains(&session.form_token), "tokens are not for logs");
        assert!(sessions.end(&headers).to_str().expect("text").contains("Max-Age=0"));
        assert!(sessions.find(&headers).is_none());
        assert!(sessions.find(&HeaderMap::new()).is_none());
    }

    #[test]
    fn a_silent_session_ends_and_their_number_is_bounded() {
        let sessions = Sessions::new(Duration::ZERO);
        let cookie = sessions.begin(user(), "K".to_owned(), false).expect("drawn");
        assert!(sessions.find(&headers(&cookie)).is_none());
        let sessions = Sessions::new(Duration::from_secs(60));
        let first = sessions.begin(user(), "K".to_owned(), false).expect("drawn");
        for _ in 0..MANY {
            sessions.begin(user(), "K".to_owned(), false).expect("drawn");
        }
        assert_eq!(sessions.open().len(), MANY);
        assert!(sessions.find(&headers(&first)).is_none(), "the oldest had to go");
    }
}
