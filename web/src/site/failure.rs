//! What goes wrong, as a page and as JSON.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use types::{Code, ErrorKind};

use super::page::{Frame, render};
use super::session::Session;

/// Why there is no page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) line: String,
}

#[derive(Template)]
#[template(path = "failure.html")]
struct Page {
    frame: Frame,
    line: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, line: impl Into<String>) -> Self {
        Self { status, line: line.into() }
    }

    pub(super) fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "this namenode is stopping")
    }

    pub(super) fn forged() -> Self {
        let line = "the form was not made for this session; go back, load the page again and repeat it";
        Self::new(StatusCode::FORBIDDEN, line)
    }

    pub(super) fn superusers_only() -> Self {
        Self::new(StatusCode::FORBIDDEN, "this is for uid 0 and the supergroup; sign in with such a user's key")
    }

    /// As a page of a session.
    pub(super) fn page(self, session: &Session) -> Response {
        let frame = Frame::new("That did not work", "", session);
        render(self.status, &Page { frame, line: self.line })
    }

    pub(super) fn json(self) -> Response {
        (self.status, axum::Json(serde_json::json!({ "error": self.line }))).into_response()
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        let status = match (error.code(), error.kind()) {
            (Code::NotFound, _) | (_, ErrorKind::NotFound) => StatusCode::NOT_FOUND,
            (_, ErrorKind::Denied) => StatusCode::FORBIDDEN,
            (_, ErrorKind::Exists) => StatusCode::CONFLICT,
            (_, ErrorKind::Invalid) => StatusCode::BAD_REQUEST,
            (_, ErrorKind::Full) => StatusCode::INSUFFICIENT_STORAGE,
            (_, ErrorKind::Retry | ErrorKind::Fenced) => StatusCode::SERVICE_UNAVAILABLE,
            (_, ErrorKind::Corrupt) => StatusCode::BAD_GATEWAY,
        };
        Self { status, line: error.brief() }
    }
}

/// Whoever is not signed in learns nothing of what there is.
pub(super) async fn nothing_here(session: Option<Session>) -> Response {
    let failure = Failure::new(StatusCode::NOT_FOUND, "there is no such page");
    match session {
        Some(session) => failure.page(&session),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
